//! Mappers come and go; configurations follow, and what they say of devices.

use std::{sync::Arc, time::Duration};

use longshore_types::{
    Fault,
    command::{Command, CommandKind, Status},
    report::DeviceState,
};

use super::{
    Engine, Now,
    configuration::{Places, is_place, mapper_faults},
    fleet::Setup,
    links::{CameUp, What},
    standing::{Cause, Reach, Served},
};
use crate::desired::Event;

/// Time that a mapper may take to accept a configuration.
const CONFIGURE_BUDGET: Duration = Duration::from_secs(5);
/// Pause before a configuration is offered again that did not arrive.
const CONFIGURE_AGAIN_MS: u64 = 500;

impl Engine {
    /// Queues a device for its mapper, if it has one and that is up. `event` is
    /// what that means for the device's desired values.
    pub(super) fn configure(&mut self, id: u32, event: &Event<'_>, now: Now) {
        let Some(device) = self.fleet.device_mut(id) else {
            return;
        };
        let Some(mapper) = device.mapper else {
            return;
        };
        // It was handed over: it is made anew from the store's objects.
        device.wants_config = device.config.is_empty();
        self.wants_objects |= device.wants_config;
        device.setup = Setup::Idle;
        if let Some(why) = self.links.absent(mapper) {
            if matches!(device.reach.get(), Reach::Unknown { .. }) {
                let why = why.clone();
                device.reach.lose(Cause::MapperDown { why }, now);
            }
            device.served.turn(Served::MapperDown { why }, now);
            self.links.leave_unchecked(mapper, id);
        } else {
            if device.reach.get().is_mapper_down() {
                device.reach.lose(Cause::NotReadYet, now);
            }
            if !device.wants_config {
                device.setup = Setup::Queued { not_before: now.ms };
                self.links.queue(mapper, id);
            }
        }
        self.step_all_desired(id, event, now);
    }

    pub(super) fn step_all_desired(&mut self, id: u32, event: &Event<'_>, now: Now) {
        for point in self.fleet.points_of(id) {
            self.step_desired(point, event, now);
        }
    }

    /// Sends as many configurations as a mapper may have under way.
    pub(super) fn pump_configurations(&mut self, now: Now) {
        for mapper in 0..self.links.len() {
            // Each of them once: one that has to wait goes to the end.
            for _ in 0..self.links.queued(mapper) {
                let Some(id) = self.links.next_to_configure(mapper) else {
                    break;
                };
                // Removed, changed or sent meanwhile, or another mapper's by now.
                let device = self.fleet.device_if_there(id);
                let Some(device) = device.filter(|device| device.mapper == Some(mapper)) else {
                    continue;
                };
                match device.setup {
                    Setup::Queued { not_before } if not_before <= now.ms => {
                        self.send_configuration(id, mapper)
                    }
                    Setup::Queued { .. } => drop(self.links.queue(mapper, id)),
                    Setup::Idle | Setup::Sent { .. } | Setup::Done | Setup::Refused => {}
                }
            }
        }
    }

    fn send_configuration(&mut self, id: u32, mapper: usize) {
        let Some(device) = self.fleet.device_mut(id) else {
            return;
        };
        let token = self.links.token();
        device.setup = Setup::Sent { token };
        let kind = CommandKind::Configure(device.config.to_string());
        let what = What::Configure(id);
        self.send(mapper, token, id, CONFIGURE_BUDGET, kind, what);
    }

    /// Sends a command to a mapper that is up.
    #[track_caller]
    pub(super) fn send(
        &mut self,
        mapper: usize,
        token: u64,
        device: u32,
        budget: Duration,
        kind: CommandKind,
        what: What,
    ) {
        if !self.links.sent(mapper, token, what) {
            return;
        }
        self.counters.commands += 1;
        let command = Command {
            token,
            device,
            budget,
            kind,
        };
        self.out.commands.push((mapper, command));
    }

    /// The mapper that a device had, if any, is to forget it. One that is down
    /// has forgotten it already.
    pub(super) fn tell_mapper_removed(&mut self, id: u32, mapper: Option<usize>) {
        let Some(mapper) = mapper.filter(|mapper| self.links.is_up(*mapper)) else {
            return;
        };
        let token = self.links.token();
        let kind = CommandKind::Remove;
        self.send(mapper, token, id, CONFIGURE_BUDGET, kind, What::Remove);
    }

    /// A mapper runs (again): it knows nothing, so it gets all of its devices.
    pub fn mapper_up(&mut self, mapper: usize, now: Now) {
        self.drop_commands(mapper);
        let event = match self.links.up(mapper) {
            CameUp::HandedOver => Event::HandedOver,
            CameUp::Anew => Event::Interrupted,
        };
        for id in self.fleet.of_mapper(mapper) {
            self.configure(id, &event, now);
        }
        self.pump(now);
    }

    /// A mapper makes room for another version of it, which is up in a moment.
    /// What was under way is lost, but its devices were there all the time: a
    /// value that somebody set at one of them meanwhile stands.
    pub fn mapper_hands_over(&mut self, mapper: usize, reason: &str, now: Now) {
        self.goes_down(mapper, reason, true, now);
    }

    /// A mapper is gone: what was under way gets no completion. Its devices
    /// keep their state for a moment, since most mappers are back by then.
    pub fn mapper_down(&mut self, mapper: usize, reason: &str, now: Now) {
        self.goes_down(mapper, reason, false, now);
    }

    fn goes_down(&mut self, mapper: usize, reason: &str, planned: bool, now: Now) {
        self.drop_commands(mapper);
        let why: Arc<str> = reason.into();
        self.links.down(mapper, why.clone(), planned, now.ms);
        let event = match planned {
            true => Event::HandedOver,
            false => Event::Interrupted,
        };
        for id in self.fleet.of_mapper(mapper) {
            let Some(device) = self.fleet.device_mut(id) else {
                continue;
            };
            device.setup = Setup::Idle;
            device.state_by_mapper = false;
            let cause = Cause::MapperDown { why: why.clone() };
            let mut news = device.reach.lose(cause, now);
            let served = Served::MapperDown { why: why.clone() };
            news |= device.served.turn(served, now);
            self.step_all_desired(id, &event, now);
            if news {
                self.touch(id, now);
            }
        }
    }

    /// What was not handed out yet was for the instance that is gone: the next
    /// one would not know what to do with it.
    fn drop_commands(&mut self, mapper: usize) {
        self.out.commands.retain(|(of, _)| *of != mapper);
    }

    /// Why a mapper that is down does not run now; `lasting` when it is not
    /// expected back soon. Its devices show it.
    pub fn mapper_is_down(&mut self, mapper: usize, why: &str, lasting: bool, now: Now) {
        let Some(why) = self.links.excuse(mapper, why, lasting, now.ms) else {
            return;
        };
        for id in self.fleet.of_mapper(mapper) {
            let Some(device) = self.fleet.device_mut(id) else {
                continue;
            };
            let served = Served::MapperDown { why: why.clone() };
            let mut news = device.served.turn(served, now);
            if device.reach.get().is_mapper_down() {
                let why = why.clone();
                news |= device.reach.lose(Cause::MapperDown { why }, now);
            }
            if news {
                self.touch(id, now);
            }
        }
    }

    /// Nobody knows how the devices of a mapper are that stays down.
    pub(super) fn tick_outages(&mut self, now: Now) {
        for mapper in 0..self.links.len() {
            if let Some(why) = self.links.outage(mapper, now.ms) {
                for id in self.fleet.of_mapper(mapper) {
                    self.lose_sight(id, &why, now);
                }
            }
        }
    }

    fn lose_sight(&mut self, id: u32, why: &str, now: Now) {
        let cause = Cause::MapperDown { why: why.into() };
        if let Some(device) = self.fleet.device_mut(id) {
            device.reach.forget(cause, now);
        }
        self.age(id, why, now);
        self.touch(id, now);
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
        let Some(what) = self.links.ended(mapper, token) else {
            let name = self.links.name(mapper);
            self.dangling.of_mapper(name, "token of a command", token);
            return;
        };
        match what {
            What::Configure(id) => self.configured(id, token, status, message, now),
            What::Remove => {}
            What::Point(point) => self.point_completed(point, token, status, message, now),
            What::Step(number) => self.step_completed(number, token, (status, message), now),
            What::Call(number) => self.call_completed(number, token, status, message, now),
        }
    }

    fn configured(&mut self, id: u32, token: u64, status: Status, message: &str, now: Now) {
        // It may have been removed or changed since this was sent.
        let sent = Setup::Sent { token };
        let device = self.fleet.device_if_there(id);
        if device.is_none_or(|device| device.setup != sent) {
            return;
        }
        let places = self.places(id);
        let Some(device) = self.fleet.device_mut(id) else {
            return;
        };
        let faults = match status {
            Status::Ok => {
                device.setup = Setup::Done;
                device.served.turn(Served::Yes, now);
                mapper_faults(message, &places)
            }
            Status::InvalidConfig
            | Status::InvalidArgument
            | Status::Unsupported
            | Status::Refused => {
                device.setup = Setup::Refused;
                device.served.turn(Served::Refused, now);
                let mut faults = mapper_faults(message, &places);
                if faults.is_empty() {
                    faults.push(Fault::error("spec.protocol.configData", message));
                }
                faults
            }
            _ => {
                device.setup = Setup::Queued {
                    not_before: now.ms + CONFIGURE_AGAIN_MS,
                };
                let why = message.into();
                device.served.turn(Served::Failed { why }, now);
                if let Some(mapper) = device.mapper {
                    self.links.queue(mapper, id);
                }
                return self.touch(id, now);
            }
        };
        device.is_judged();
        device.config = Box::default();
        device.set_mapper_faults(faults, now);
        if let Some(mapper) = device.mapper {
            self.links.checked(mapper, id);
        }
        self.touch(id, now);
    }

    /// Where people find what a mapper names.
    pub(super) fn places(&self, id: u32) -> Places {
        let Some(device) = self.fleet.device(id) else {
            return Places::default();
        };
        let points = device.points().iter().enumerate();
        let usable = points.filter(|(_, point)| self.fleet.point(**point).rules.broken.is_none());
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
            // The mapper may have gone since they were handed out.
            if let Some(mapper) = self.links.holder(*token) {
                let why = "the mapper's queue is full";
                self.completion(mapper, *token, Status::Busy, why, now);
            }
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
        if !self.fleet.was_device(id) {
            let name = self.links.name(mapper);
            self.dangling.of_mapper(name, "device", u64::from(id));
        }
        // It may have been removed, or be another mapper's, since this was said.
        let device = self.fleet.device_mut_if_there(id);
        let Some(device) = device.filter(|device| device.mapper == Some(mapper)) else {
            return;
        };
        device.state_by_mapper = online.is_some();
        self.links.heard(mapper);
        if let Some(faults) = self.of_configuration(id, online, message) {
            // Nobody asked the device.
            let faults = faults.into();
            if let Some(device) = self.fleet.device_mut(id)
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
        let Some(device) = self.fleet.device_mut(id) else {
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
            if former != DeviceState::Online {
                self.step_all_desired(id, &Event::Back, now);
            }
        }
        if news {
            self.touch(id, now);
        }
    }
}
