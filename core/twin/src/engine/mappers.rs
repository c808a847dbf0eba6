//! Mappers come and go; configurations follow, and what they say of devices.

use std::{sync::Arc, time::Duration};

use longshore_types::{
    Fault,
    command::{Command, CommandKind, Status},
    report::DeviceState,
};

use super::{
    CONFIGURES_UNDER_WAY, Device, Engine, Now, OUTAGE_MS, Setup, UnderWay, What,
    device::{Places, is_place, mapper_faults},
    standing::{Cause, Reach, Served},
};
use crate::desired::Event;

/// Time that a mapper may take to accept a configuration.
const CONFIGURE_BUDGET: Duration = Duration::from_secs(5);
/// Pause before a configuration is offered again that did not arrive.
const CONFIGURE_AGAIN_MS: u64 = 500;

impl Engine {
    pub(super) fn mapper_of(&self, protocol: &str) -> Option<usize> {
        let by_protocol = self
            .mappers
            .iter()
            .position(|mapper| mapper.info.protocol == protocol);
        by_protocol.or_else(|| {
            self.mappers
                .iter()
                .position(|mapper| mapper.info.name == protocol)
        })
    }

    /// Queues a device for its mapper, if that is up. `event` is what that
    /// means for the device's desired values.
    pub(super) fn configure(&mut self, id: u32, event: &Event<'_>, now: Now) {
        let Some(mapper) = self.device(id).and_then(|device| device.mapper) else {
            return;
        };
        let wants_config = self
            .device(id)
            .is_some_and(|device| device.config.is_empty());
        let slot = &mut self.mappers[mapper];
        let (up, reason) = (slot.up, slot.down_reason.clone());
        if up && !wants_config {
            slot.queue.push_back(id);
        }
        self.wants_objects |= wants_config;
        let Some(device) = self.device_mut(id) else {
            return;
        };
        device.wants_config = wants_config;
        if up && device.reach.get().is_mapper_down() {
            device.reach.lose(Cause::NotReadYet, now);
        }
        if up && wants_config {
            device.setup = Setup::Idle;
        } else if up {
            device.setup = Setup::Queued { not_before: now.ms };
        } else {
            device.setup = Setup::Idle;
            if matches!(device.reach.get(), Reach::Unknown { .. }) {
                let why = reason.clone();
                device.reach.lose(Cause::MapperDown { why }, now);
            }
            device.served.turn(Served::MapperDown { why: reason }, now);
            self.unchecked.insert(id);
        }
        self.step_all_desired(id, event, now);
    }

    fn step_all_desired(&mut self, id: u32, event: &Event<'_>, now: Now) {
        let points = self.device(id).map(|device| device.points.clone());
        for point in points.unwrap_or_default() {
            self.step_desired(point, event, now);
        }
    }

    /// Sends as many configurations as a mapper may have under way.
    pub(super) fn pump_configurations(&mut self, now: Now) {
        for mapper in 0..self.mappers.len() {
            let mut left = self.mappers[mapper].queue.len();
            while left > 0
                && self.mappers[mapper].up
                && self.mappers[mapper].configures < CONFIGURES_UNDER_WAY
            {
                left -= 1;
                let Some(id) = self.mappers[mapper].queue.pop_front() else {
                    break;
                };
                let (setup, of) = self
                    .device(id)
                    .map_or((Setup::Idle, None), |d| (d.setup, d.mapper));
                match setup {
                    Setup::Queued { not_before } if of == Some(mapper) && not_before <= now.ms => {
                        self.send_configuration(id, mapper)
                    }
                    Setup::Queued { .. } if of == Some(mapper) => {
                        self.mappers[mapper].queue.push_back(id)
                    }
                    // Removed, changed or sent meanwhile.
                    _ => {}
                }
            }
        }
    }

    fn send_configuration(&mut self, id: u32, mapper: usize) {
        let token = self.token();
        let Some(device) = self.device_mut(id) else {
            return;
        };
        device.setup = Setup::Sent { token };
        let kind = CommandKind::Configure(device.config.to_string());
        self.mappers[mapper].configures += 1;
        self.send(
            mapper,
            token,
            id,
            CONFIGURE_BUDGET,
            kind,
            What::Configure(id),
        );
    }

    pub(super) fn send(
        &mut self,
        mapper: usize,
        token: u64,
        device: u32,
        budget: Duration,
        kind: CommandKind,
        what: What,
    ) {
        self.counters.commands += 1;
        self.under_way.insert(token, UnderWay { mapper, what });
        self.out.commands.push((
            mapper,
            Command {
                token,
                device,
                budget,
                kind,
            },
        ));
    }

    pub(super) fn tell_removed(&mut self, id: u32, device: &Device) {
        if matches!(
            device.setup,
            Setup::Sent { .. } | Setup::Done | Setup::Refused
        ) {
            self.tell_mapper_removed(id, device.mapper);
        }
    }

    pub(super) fn tell_mapper_removed(&mut self, id: u32, mapper: Option<usize>) {
        let Some(mapper) = mapper.filter(|mapper| self.mappers[*mapper].up) else {
            return;
        };
        let token = self.token();
        self.send(
            mapper,
            token,
            id,
            CONFIGURE_BUDGET,
            CommandKind::Remove,
            What::Remove,
        );
    }

    /// A mapper runs (again): it knows nothing, so it gets all of its devices.
    pub fn mapper_up(&mut self, mapper: usize, now: Now) {
        self.mapper_lost(mapper);
        let slot = &mut self.mappers[mapper];
        slot.up = true;
        if !slot.doubtful {
            slot.outage_at = None;
        }
        let event = match std::mem::take(&mut slot.hands_over) {
            true => Event::HandedOver,
            false => Event::Interrupted,
        };
        for id in self.devices_of(mapper) {
            self.configure(id, &event, now);
        }
        self.pump(now);
    }

    /// A mapper makes room for another version of it, which is up in a moment.
    /// What was under way is lost, but its devices were there all the time: a
    /// value that somebody set at one of them meanwhile stands.
    pub fn mapper_hands_over(&mut self, mapper: usize, reason: &str, now: Now) {
        self.goes_down(mapper, reason, &Event::HandedOver, now);
        self.mappers[mapper].hands_over = true;
    }

    /// A mapper is gone: what was under way gets no completion. Its devices
    /// keep their state for [`OUTAGE_MS`], since most mappers are back by then.
    pub fn mapper_down(&mut self, mapper: usize, reason: &str, now: Now) {
        self.goes_down(mapper, reason, &Event::Interrupted, now);
    }

    fn goes_down(&mut self, mapper: usize, reason: &str, event: &Event<'_>, now: Now) {
        self.mapper_lost(mapper);
        let why: Arc<str> = reason.into();
        let slot = &mut self.mappers[mapper];
        slot.down_reason = why.clone();
        slot.doubtful = true;
        slot.hands_over = false;
        slot.outage_at = slot.outage_at.or(Some(now.ms + OUTAGE_MS));
        for id in self.devices_of(mapper) {
            let Some(device) = self.device_mut(id) else {
                continue;
            };
            device.setup = Setup::Idle;
            device.state_by_mapper = false;
            let (for_served, for_reach) = (why.clone(), why.clone());
            let mut news = (device.served).turn(Served::MapperDown { why: for_served }, now);
            news |= device.reach.lose(Cause::MapperDown { why: for_reach }, now);
            self.step_all_desired(id, event, now);
            if news {
                self.touch(id, now);
            }
        }
    }

    /// Why a mapper that is down does not run now; `lasting` when it is not
    /// expected back soon. Its devices show it.
    pub fn mapper_is_down(&mut self, mapper: usize, why: &str, lasting: bool, now: Now) {
        let slot = &mut self.mappers[mapper];
        if slot.up {
            return;
        }
        if lasting && slot.outage_at.is_some() {
            slot.outage_at = Some(now.ms);
        }
        if why.is_empty() || *slot.down_reason == *why {
            return;
        }
        let why: Arc<str> = why.into();
        slot.down_reason = why.clone();
        for id in self.devices_of(mapper) {
            let Some(device) = self.device_mut(id) else {
                continue;
            };
            let (for_served, for_reach) = (why.clone(), why.clone());
            let mut news = (device.served).turn(Served::MapperDown { why: for_served }, now);
            if device.reach.get().is_mapper_down() {
                news |= device.reach.lose(Cause::MapperDown { why: for_reach }, now);
            }
            if news {
                self.touch(id, now);
            }
        }
    }

    /// Nobody knows how the devices of a mapper are that stays down.
    pub(super) fn tick_outages(&mut self, now: Now) {
        for mapper in 0..self.mappers.len() {
            let slot = &mut self.mappers[mapper];
            if slot.outage_at.is_none_or(|at| now.ms < at) {
                continue;
            }
            (slot.outage_at, slot.hands_over) = (None, false);
            let why = format!("mapper {}: {}", slot.info.name, slot.down_reason);
            for id in self.devices_of(mapper) {
                self.lose_sight(id, &why, now);
            }
        }
    }

    fn lose_sight(&mut self, id: u32, why: &str, now: Now) {
        let Some(device) = self.device_mut(id) else {
            return;
        };
        device
            .reach
            .forget(Cause::MapperDown { why: why.into() }, now);
        let points = device.points.clone();
        self.age(id, &points, why, now);
        self.touch(id, now);
    }

    /// The mapper told something of a device.
    pub(super) fn mapper_heard(&mut self, mapper: usize) {
        let slot = &mut self.mappers[mapper];
        slot.outage_at = None;
        slot.doubtful = false;
    }

    fn mapper_lost(&mut self, mapper: usize) {
        self.under_way
            .retain(|_, under_way| under_way.mapper != mapper);
        let slot = &mut self.mappers[mapper];
        slot.up = false;
        slot.queue.clear();
        slot.configures = 0;
        slot.writes = 0;
    }

    fn devices_of(&self, mapper: usize) -> Vec<u32> {
        let ids = (0..).zip(&self.devices);
        ids.filter(|(_, device)| device.as_ref().is_some_and(|d| d.mapper == Some(mapper)))
            .map(|(id, _)| id)
            .collect()
    }

    /// A command ended.
    pub fn completion(
        &mut self,
        mapper: usize,
        token: u64,
        status: Status,
        message: &str,
        now: Now,
    ) {
        let Some(under_way) = self
            .under_way
            .get(&token)
            .copied()
            .filter(|u| u.mapper == mapper)
        else {
            return;
        };
        self.under_way.remove(&token);
        match under_way.what {
            What::Configure(id) => {
                let slot = &mut self.mappers[mapper];
                slot.configures = slot.configures.saturating_sub(1);
                self.configured(id, token, status, message, now);
            }
            What::Remove => {}
            What::Point(point) => {
                let slot = &mut self.mappers[mapper];
                slot.writes = slot.writes.saturating_sub(1);
                self.point_completed(point, token, status, message, now);
            }
            What::Call(number) => self.call_completed(number, status, message, now),
        }
    }

    fn configured(&mut self, id: u32, token: u64, status: Status, message: &str, now: Now) {
        let places = self.places(id);
        let Some(device) = self.device_mut(id) else {
            return;
        };
        if device.setup != (Setup::Sent { token }) {
            return;
        }
        match status {
            Status::Ok => {
                device.setup = Setup::Done;
                device.judged = device.fingerprint;
                device.config = Box::default();
                device.served.turn(Served::Yes, now);
                device.set_mapper_faults(mapper_faults(message, &places), now);
            }
            Status::InvalidConfig
            | Status::InvalidArgument
            | Status::Unsupported
            | Status::Refused => {
                device.setup = Setup::Refused;
                device.judged = device.fingerprint;
                device.config = Box::default();
                let mut faults = mapper_faults(message, &places);
                if faults.is_empty() {
                    faults.push(Fault::error("spec.protocol.configData", message));
                }
                device.set_mapper_faults(faults, now);
                device.served.turn(Served::Refused, now);
            }
            _ => {
                device.setup = Setup::Queued {
                    not_before: now.ms + CONFIGURE_AGAIN_MS,
                };
                let why = message.into();
                device.served.turn(Served::Failed { why }, now);
                if let Some(mapper) = device.mapper {
                    self.mappers[mapper].queue.push_back(id);
                }
            }
        }
        self.touch(id, now);
    }

    /// Where people find what a mapper names.
    pub(super) fn places(&self, id: u32) -> Places {
        let Some(device) = self.device(id) else {
            return Places::default();
        };
        let points = device.points.iter().enumerate();
        let usable =
            points.filter(|(_, point)| self.points[**point as usize].rules.broken.is_none());
        let methods = device.behavior.iter().flat_map(|b| &b.methods);
        let with_call = methods.filter(|method| method.call.is_some());
        Places {
            properties: usable.map(|(index, _)| index).collect(),
            methods: with_call.map(|method| method.path.clone()).collect(),
        }
    }

    /// Commands that were not taken: their turn comes again.
    pub fn not_submitted(&mut self, tokens: &[u64], now: Now) {
        for token in tokens {
            let Some(mapper) = self.under_way.get(token).map(|under_way| under_way.mapper) else {
                continue;
            };
            self.completion(
                mapper,
                *token,
                Status::Busy,
                "the mapper's queue is full",
                now,
            );
        }
    }

    /// The mapper says whether a device answers.
    pub fn device_state(
        &mut self,
        mapper: usize,
        id: u32,
        online: Option<bool>,
        message: &str,
        now: Now,
    ) {
        let Some(device) = self
            .device_mut(id)
            .filter(|device| device.mapper == Some(mapper))
        else {
            return;
        };
        device.state_by_mapper = online.is_some();
        self.mapper_heard(mapper);
        if let Some(fault) = self.of_configuration(id, online, message) {
            // Nobody asked the device.
            let faults = fault.into();
            if let Some(device) = self.device_mut(id)
                && device.reach.forget(Cause::Config { faults }, now)
            {
                self.touch(id, now);
            }
            return;
        }
        let state = match online {
            Some(true) => DeviceState::Online,
            Some(false) => DeviceState::Offline,
            None => DeviceState::Unknown,
        };
        self.set_device_state(id, state, message, now);
    }

    /// What a mapper says of a device that it did not take, at the places that
    /// people know. `None` when it says something else.
    fn of_configuration(&self, id: u32, online: Option<bool>, message: &str) -> Option<String> {
        if online != Some(false) || !is_place(message) {
            return None;
        }
        let places = self.places(id);
        let faults = message.split("; ").map(|fault| {
            places
                .in_manifest(fault)
                .unwrap_or_else(|| fault.to_owned())
        });
        Some(faults.collect::<Vec<_>>().join("; "))
    }

    pub(super) fn set_device_state(
        &mut self,
        id: u32,
        state: DeviceState,
        message: &str,
        now: Now,
    ) {
        let Some(device) = self.device_mut(id) else {
            return;
        };
        let why = message.into();
        let reach = match state {
            DeviceState::Online => Reach::Up,
            DeviceState::Offline => Reach::Down { why },
            DeviceState::Unknown => Reach::Unknown {
                cause: Cause::Said { why },
                shown: DeviceState::Unknown,
            },
        };
        let former = device.reach.get().state();
        let news = device.reach.turn(reach, now);
        if state == DeviceState::Online {
            device.last_online_ms = Some(now.unix_ms);
        }
        if former != DeviceState::Online && state == DeviceState::Online {
            self.step_all_desired(id, &Event::Back, now);
        }
        if news {
            self.touch(id, now);
        }
    }
}
