//! Devices come, change and go; mappers come and go; configurations follow.

use std::{collections::HashMap, sync::Arc, time::Duration};

use longshore_host::{Command, CommandKind, Status};
use longshore_types::{DeviceName, EffectiveDevice, Fault, Topic, device::AccessMode, effective::EffectiveProperty};

use super::{CONFIGURES_UNDER_WAY, Device, Engine, Now, REUSE_MS, Setup, UnderWay, What};
use crate::{
    ports::MembershipChange,
    store::{DesiredRow, TwinBlob},
    twin::{
        blob::SavedDevice,
        desired::Event,
        handle::{Condition, DeviceState},
        point::{FREE, Point, Rules},
        reconcile::Planned,
    },
};

/// Time that a mapper may take to accept a configuration.
const CONFIGURE_BUDGET: Duration = Duration::from_secs(5);
/// Pause before a configuration is offered again that did not arrive.
const CONFIGURE_AGAIN_MS: u64 = 500;

impl Engine {
    /// A device is to be served (or is known to be broken) from now on.
    pub(crate) fn set_device(&mut self, name: DeviceName, fingerprint: u64, planned: Planned, now: Now) {
        let uid = match &planned {
            Planned::Same => return,
            Planned::Serve(effective) => effective.uid.clone(),
            Planned::Broken { uid, .. } => uid.clone(),
        };
        if let Some(id) = self.by_name.get(&name).copied() {
            // Deleted and made anew under the same name: nothing of the former one counts.
            if self.device(id).is_some_and(|device| device.uid != uid && !device.uid.is_empty() && !uid.is_empty()) {
                self.remove_device(&name, now);
            }
        }
        let added = !self.by_name.contains_key(&name);
        let id = self.slot(&name, &uid, now);
        if let Some(device) = self.device_mut(id) {
            device.fingerprint = fingerprint;
            device.uid = uid;
        }
        match planned {
            Planned::Same => {}
            Planned::Serve(effective) => self.serve(id, *effective, now),
            Planned::Broken { reason, message, .. } => self.withdraw(id, reason, &message, now),
        }
        self.touch(id, now);
        if added && let Some(twin) = self.device_twin(id) {
            self.bus.membership(MembershipChange::Added(Box::new(twin)));
        }
    }

    /// A device is not served any more. Commands under way end unheard.
    pub(crate) fn remove_device(&mut self, name: &DeviceName, now: Now) {
        let Some(id) = self.by_name.remove(name) else { return };
        let Some(device) = self.devices[id as usize].take() else { return };
        self.tell_removed(id, &device);
        for (point, property) in device.points.iter().zip(&device.names) {
            self.retire(*point, now);
            self.out.desired.push(DesiredRow {
                device: name.to_string(),
                property: property.to_string(),
                json: None,
            });
        }
        self.saved.remove(name.as_str());
        self.saved_desired.remove(name.as_str());
        self.out.forgotten.push(TwinBlob { device: name.to_string(), data: Vec::new() });
        self.dirty.remove(&id);
        self.retired_devices.push_back((id, now.ms + REUSE_MS));
        self.bus.membership(MembershipChange::Removed(name.clone()));
    }

    /// Every device for which `keep` says no is removed.
    pub(crate) fn retain_devices(&mut self, keep: impl Fn(&DeviceName) -> bool, now: Now) {
        let gone: Vec<_> = self.by_name.keys().filter(|name| !keep(name)).cloned().collect();
        for name in gone {
            self.remove_device(&name, now);
        }
    }

    /// Rows of devices that are no longer there; they went while this node was off.
    pub(crate) fn forget_orphans(&mut self) {
        for (device, _) in std::mem::take(&mut self.saved) {
            self.out.forgotten.push(TwinBlob { device, data: Vec::new() });
        }
        for (device, rows) in std::mem::take(&mut self.saved_desired) {
            let rows = rows.into_keys().map(|property| DesiredRow { device: device.clone(), property, json: None });
            self.out.desired.extend(rows);
        }
    }

    fn slot(&mut self, name: &DeviceName, uid: &str, now: Now) -> u32 {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let device = Box::new(Device::new(name.clone(), uid.to_owned(), now));
        let id = match self.retired_devices.front() {
            Some((id, from)) if *from <= now.ms => {
                let id = *id;
                self.retired_devices.pop_front();
                self.devices[id as usize] = Some(device);
                id
            }
            _ => {
                self.devices.push(Some(device));
                (self.devices.len() - 1) as u32
            }
        };
        self.by_name.insert(name.clone(), id);
        id
    }

    fn serve(&mut self, id: u32, effective: EffectiveDevice, now: Now) {
        let saved = self.saved.remove(effective.name.as_str()).unwrap_or_default();
        // Of a former device with this name: not ours.
        let saved = if saved.uid == effective.uid { saved } else { SavedDevice::default() };
        self.set_points(id, &effective, saved, now);
        let config = configuration(&effective, &self.devices[id as usize].as_ref().map(|d| d.points.clone()).unwrap_or_default());
        let mapper = self.mapper_of(&effective.protocol);
        let Some(device) = self.device_mut(id) else { return };
        device.report_state = effective.report_state;
        let changed = device.config.as_ref() != config || device.mapper != mapper;
        let former = device.mapper;
        device.set_faults(&effective.faults, now);
        if mapper.is_none() {
            let message = format!("no mapper for protocol `{}` runs on this node", effective.protocol);
            device.served.set(Some(false), "MapperNotFound", message, now);
        }
        if changed {
            if former.is_some() && former != mapper {
                self.tell_mapper_removed(id, former);
            }
            let Some(device) = self.device_mut(id) else { return };
            device.config = config.into();
            device.mapper = mapper;
            device.setup = Setup::Idle;
            self.configure(id, now);
        }
        self.set_all_desired(id, &effective, now);
    }

    /// Nothing of the device can be used now. Its mapper forgets it; its twins
    /// stay in the store for when it is usable again.
    fn withdraw(&mut self, id: u32, reason: &'static str, message: &str, now: Now) {
        let Some(device) = self.device_mut(id) else { return };
        let former = device.mapper.take();
        device.setup = Setup::Idle;
        device.config = Box::default();
        device.config_valid.set(Some(false), reason, message, now);
        device.served.set(Some(false), reason, "", now);
        device.faults = Vec::new();
        device.own_faults = 0;
        if former.is_some() {
            self.tell_mapper_removed(id, former);
            for point in self.device(id).map(|device| device.points.clone()).unwrap_or_default() {
                self.step_desired(point, &Event::Interrupted, now);
            }
        }
        self.set_device_state(id, DeviceState::Unknown, message, now);
    }

    /// Gives each property its point: the former one of that name, or a new one.
    fn set_points(&mut self, id: u32, effective: &EffectiveDevice, saved: SavedDevice, now: Now) {
        let Some(device) = self.device_mut(id) else { return };
        let names = std::mem::take(&mut device.names);
        let mut former: HashMap<Arc<str>, u32> = names.into_iter().zip(std::mem::take(&mut device.points)).collect();
        let mut saved: HashMap<_, _> = saved.values.into_iter().map(|value| (value.name.clone(), value)).collect();
        let (mut names, mut points) = (Vec::new(), Vec::new());
        for property in &effective.properties {
            let rules = self.intern(Rules::new(property));
            let (name, point) = match former.remove_entry(property.name.as_str()) {
                Some((name, point)) => {
                    self.change_rules(point, rules);
                    (name, point)
                }
                None => {
                    let point = self.allocate(id, property, rules, now);
                    if let Some(value) = saved.remove(&property.name) {
                        self.points[point as usize].restore(value.value, value.source_time_ns, value.good_ns);
                    }
                    (property.name.as_str().into(), point)
                }
            };
            names.push(name);
            points.push(point);
        }
        let device_name = effective.name.to_string();
        for (property, point) in former {
            self.retire(point, now);
            self.out.desired.push(DesiredRow { device: device_name.clone(), property: property.to_string(), json: None });
        }
        if let Some(device) = self.device_mut(id) {
            device.names = names;
            device.points = points;
        }
    }

    fn intern(&mut self, rules: Rules) -> Arc<Rules> {
        // Debug text as key: rules hold floating point numbers, which have no hash.
        let key = format!("{rules:?}");
        if self.interned.len() > 10_000 {
            self.interned.retain(|_, rules| Arc::strong_count(rules) > 1);
        }
        self.interned.entry(key).or_insert_with(|| Arc::new(rules)).clone()
    }

    fn change_rules(&mut self, point: u32, rules: Arc<Rules>) {
        let entry = &mut self.points[point as usize];
        if entry.rules == rules {
            return;
        }
        self.stale_after[point as usize] = rules.stale_ms;
        if entry.rules.value_type == rules.value_type && rules.broken.is_none() && entry.rules.broken.is_none() {
            entry.rules = rules;
            return;
        }
        // Another type: what it was says nothing about what it will be.
        let name = entry.fragment.clone();
        let desired = entry.desired.take();
        let mut fresh = Point::new(entry.device, "", rules);
        fresh.fragment = name;
        fresh.desired = desired;
        *entry = fresh;
    }

    fn allocate(&mut self, device: u32, property: &EffectiveProperty, rules: Arc<Rules>, now: Now) -> u32 {
        let stale = rules.stale_ms;
        let point = Point::new(device, &property.name, rules);
        let seen = now.ms as u32;
        if let Some((id, from)) = self.retired_points.front().copied()
            && from <= now.ms
        {
            self.retired_points.pop_front();
            self.points[id as usize] = point;
            self.seen[id as usize] = seen;
            self.stale_after[id as usize] = stale;
            return id;
        }
        self.points.push(point);
        self.seen.push(seen);
        self.stale_after.push(stale);
        (self.points.len() - 1) as u32
    }

    fn retire(&mut self, id: u32, now: Now) {
        let point = &mut self.points[id as usize];
        let rules = point.rules.clone();
        *point = Point::new(FREE, "", rules);
        self.active.remove(&id);
        self.retired_points.push_back((id, now.ms + REUSE_MS));
    }

    fn mapper_of(&self, protocol: &str) -> Option<usize> {
        let by_protocol = self.mappers.iter().position(|mapper| mapper.info.protocol == protocol);
        by_protocol.or_else(|| self.mappers.iter().position(|mapper| mapper.info.name == protocol))
    }

    /// Queues a device for its mapper, if that is up.
    fn configure(&mut self, id: u32, now: Now) {
        let Some(mapper) = self.device(id).and_then(|device| device.mapper) else { return };
        let slot = &mut self.mappers[mapper];
        let (up, reason) = (slot.up, slot.down_reason.clone());
        if up {
            slot.queue.push_back(id);
        }
        let Some(device) = self.device_mut(id) else { return };
        if up {
            device.setup = Setup::Queued { not_before: now.ms };
        } else {
            device.setup = Setup::Idle;
            device.served.set(Some(false), "MapperDown", reason, now);
        }
        for point in self.device(id).map(|device| device.points.clone()).unwrap_or_default() {
            self.step_desired(point, &Event::Interrupted, now);
        }
    }

    /// Sends as many configurations as a mapper may have under way.
    pub(super) fn pump_configurations(&mut self, now: Now) {
        for mapper in 0..self.mappers.len() {
            let mut left = self.mappers[mapper].queue.len();
            while left > 0 && self.mappers[mapper].up && self.mappers[mapper].configures < CONFIGURES_UNDER_WAY {
                left -= 1;
                let Some(id) = self.mappers[mapper].queue.pop_front() else { break };
                let (setup, of) = self.device(id).map_or((Setup::Idle, None), |d| (d.setup, d.mapper));
                match setup {
                    Setup::Queued { not_before } if of == Some(mapper) && not_before <= now.ms => self.send_configuration(id, mapper),
                    Setup::Queued { .. } if of == Some(mapper) => self.mappers[mapper].queue.push_back(id),
                    // Removed, changed or sent meanwhile.
                    _ => {}
                }
            }
        }
    }

    fn send_configuration(&mut self, id: u32, mapper: usize) {
        let token = self.token();
        let Some(device) = self.device_mut(id) else { return };
        device.setup = Setup::Sent { token };
        let kind = CommandKind::Configure(device.config.to_string());
        self.mappers[mapper].configures += 1;
        self.send(mapper, token, id, CONFIGURE_BUDGET, kind, What::Configure(id));
    }

    pub(super) fn send(&mut self, mapper: usize, token: u64, device: u32, budget: Duration, kind: CommandKind, what: What) {
        self.counters.commands += 1;
        self.under_way.insert(token, UnderWay { mapper, what });
        self.out.commands.push((mapper, Command { token, device, budget, kind }));
    }

    fn tell_removed(&mut self, id: u32, device: &Device) {
        if matches!(device.setup, Setup::Sent { .. } | Setup::Done | Setup::Refused) {
            self.tell_mapper_removed(id, device.mapper);
        }
    }

    fn tell_mapper_removed(&mut self, id: u32, mapper: Option<usize>) {
        let Some(mapper) = mapper.filter(|mapper| self.mappers[*mapper].up) else { return };
        let token = self.token();
        self.send(mapper, token, id, CONFIGURE_BUDGET, CommandKind::Remove, What::Remove);
    }

    /// A mapper runs (again): it knows nothing, so it gets all of its devices.
    pub(crate) fn mapper_up(&mut self, mapper: usize, now: Now) {
        self.mapper_lost(mapper, "", now);
        self.mappers[mapper].up = true;
        for id in self.devices_of(mapper) {
            self.configure(id, now);
        }
        self.pump(now);
    }

    /// A mapper is gone: what was under way gets no completion.
    pub(crate) fn mapper_down(&mut self, mapper: usize, reason: &str, now: Now) {
        self.mapper_lost(mapper, reason, now);
        for id in self.devices_of(mapper) {
            let Some(device) = self.device_mut(id) else { continue };
            device.setup = Setup::Idle;
            device.state_by_mapper = false;
            let mut news = device.served.set(Some(false), "MapperDown", reason, now);
            news |= device.reachable.set(None, "MapperDown", reason, now);
            for point in self.device(id).map(|device| device.points.clone()).unwrap_or_default() {
                self.step_desired(point, &Event::Interrupted, now);
            }
            if news {
                self.touch(id, now);
            }
        }
    }

    fn mapper_lost(&mut self, mapper: usize, reason: &str, _now: Now) {
        self.under_way.retain(|_, under_way| under_way.mapper != mapper);
        let slot = &mut self.mappers[mapper];
        slot.up = false;
        slot.down_reason = reason.to_owned();
        slot.queue.clear();
        slot.configures = 0;
        slot.writes = 0;
    }

    fn devices_of(&self, mapper: usize) -> Vec<u32> {
        let ids = (0..).zip(&self.devices);
        ids.filter(|(_, device)| device.as_ref().is_some_and(|d| d.mapper == Some(mapper))).map(|(id, _)| id).collect()
    }

    /// A command ended.
    pub(crate) fn completion(&mut self, mapper: usize, token: u64, status: Status, message: &str, now: Now) {
        let Some(under_way) = self.under_way.get(&token).copied().filter(|u| u.mapper == mapper) else { return };
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
        }
    }

    fn configured(&mut self, id: u32, token: u64, status: Status, message: &str, now: Now) {
        let places = self.places(id);
        let Some(device) = self.device_mut(id) else { return };
        if device.setup != (Setup::Sent { token }) {
            return;
        }
        match status {
            Status::Ok => {
                device.setup = Setup::Done;
                device.served.set(Some(true), "Configured", "", now);
                device.set_mapper_faults(mapper_faults(message, &places), now);
            }
            Status::InvalidConfig | Status::InvalidArgument | Status::Unsupported | Status::Refused => {
                device.setup = Setup::Refused;
                let mut faults = mapper_faults(message, &places);
                if faults.is_empty() {
                    faults.push(Fault::error("spec.protocol.configData", message));
                }
                device.set_mapper_faults(faults, now);
                device.served.set(Some(false), "ConfigRefused", "the mapper refused the configuration", now);
            }
            _ => {
                device.setup = Setup::Queued { not_before: now.ms + CONFIGURE_AGAIN_MS };
                device.served.set(Some(false), "ConfigFailed", message, now);
                if let Some(mapper) = device.mapper {
                    self.mappers[mapper].queue.push_back(id);
                }
            }
        }
        self.touch(id, now);
    }

    /// Index of the property of each point that the mapper was told of.
    fn places(&self, id: u32) -> Vec<usize> {
        let points = self.device(id).map(|device| device.points.as_slice()).unwrap_or_default();
        let usable = points.iter().enumerate().filter(|(_, point)| self.points[**point as usize].rules.broken.is_none());
        usable.map(|(index, _)| index).collect()
    }

    /// Commands that were not taken: their turn comes again.
    pub(crate) fn not_submitted(&mut self, tokens: &[u64], now: Now) {
        for token in tokens {
            let Some(mapper) = self.under_way.get(token).map(|under_way| under_way.mapper) else { continue };
            self.completion(mapper, *token, Status::Busy, "the mapper's queue is full", now);
        }
    }

    /// The mapper says whether a device answers.
    pub(crate) fn device_state(&mut self, mapper: usize, id: u32, online: Option<bool>, message: &str, now: Now) {
        let Some(device) = self.device_mut(id).filter(|device| device.mapper == Some(mapper)) else { return };
        device.state_by_mapper = online.is_some();
        let state = match online {
            Some(true) => DeviceState::Online,
            Some(false) => DeviceState::Offline,
            None => DeviceState::Unknown,
        };
        self.set_device_state(id, state, message, now);
    }

    pub(super) fn set_device_state(&mut self, id: u32, state: DeviceState, message: &str, now: Now) {
        let Some(device) = self.device_mut(id) else { return };
        let former = std::mem::replace(&mut device.state, state);
        let news = match state {
            DeviceState::Online => {
                device.last_online_ms = Some(now.unix_ms);
                device.reachable.set(Some(true), "Answers", "", now)
            }
            DeviceState::Offline => device.reachable.set(Some(false), "NoAnswer", message, now),
            DeviceState::Unknown => device.reachable.set(None, "Unknown", message, now),
        };
        if former != DeviceState::Online && state == DeviceState::Online {
            for point in self.device(id).map(|device| device.points.clone()).unwrap_or_default() {
                self.step_desired(point, &Event::Back, now);
            }
        }
        if former != state || news {
            self.touch(id, now);
        }
    }
}

impl Device {
    fn new(name: DeviceName, uid: String, now: Now) -> Self {
        let topic = Topic::Batch(name.clone()).to_string().into();
        let mut reachable = Condition::new("Reachable");
        reachable.set(None, "NotReadYet", "", now);
        Self {
            name,
            uid,
            fingerprint: 0,
            topic,
            mapper: None,
            names: Vec::new(),
            points: Vec::new(),
            config: Box::default(),
            setup: Setup::Idle,
            report_state: true,
            state: DeviceState::Unknown,
            state_by_mapper: false,
            last_online_ms: None,
            reachable,
            config_valid: Condition::new("ConfigValid"),
            served: Condition::new("Served"),
            faults: Vec::new(),
            own_faults: 0,
            interest: u64::MAX,
            wants_batch: false,
            wants_changes: false,
            last_report: None,
            report_due: None,
            snapshot_due: None,
        }
    }

    /// Faults of the manifests.
    fn set_faults(&mut self, faults: &[Fault], now: Now) {
        // What the mapper found stays until it has looked again.
        let of_mapper = self.faults.split_off(self.own_faults);
        self.faults = faults.to_vec();
        self.own_faults = faults.len();
        self.faults.extend(of_mapper);
        self.judge_config(now);
    }

    /// Faults that the mapper found.
    fn set_mapper_faults(&mut self, faults: Vec<Fault>, now: Now) {
        self.faults.truncate(self.own_faults);
        self.faults.extend(faults);
        self.judge_config(now);
    }

    fn judge_config(&mut self, now: Now) {
        let errors: Vec<_> = self.faults.iter().filter(|fault| fault.is_error()).map(ToString::to_string).collect();
        if errors.is_empty() {
            self.config_valid.set(Some(true), "Valid", "", now);
        } else {
            self.config_valid.set(Some(false), "Faults", errors.join("; "), now);
        }
    }
}

/// The faults of a completion: a JSON array as the contract has it. Key paths
/// of the mapper's configuration become those of the Device; `properties` has
/// the index of each point's property.
fn mapper_faults(message: &str, properties: &[usize]) -> Vec<Fault> {
    let mut faults: Vec<Fault> = serde_json::from_str(message).unwrap_or_default();
    for fault in &mut faults {
        if let Some(rest) = fault.path.strip_prefix("protocol") {
            fault.path = format!("spec.protocol.configData{rest}");
            continue;
        }
        let point = fault.path.strip_prefix("points[").and_then(|rest| rest.split_once(']'));
        let place = point.and_then(|(index, rest)| Some((properties.get(index.parse::<usize>().ok()?)?, rest)));
        if let Some((index, rest)) = place {
            let rest = rest.strip_prefix(".config").map(|key| format!(".visitors.configData{key}")).unwrap_or_else(|| rest.to_owned());
            fault.path = format!("spec.properties[{index}]{rest}");
        }
    }
    faults
}

/// The JSON of `COMMAND_CONFIGURE`. Broken properties are left out: the mapper
/// could do nothing with them.
fn configuration(effective: &EffectiveDevice, points: &[u32]) -> String {
    let usable = effective.properties.iter().zip(points).filter(|(property, _)| property.broken.is_none());
    let points: Vec<_> = usable
        .map(|(property, id)| {
            serde_json::json!({
                "id": id,
                "name": property.name,
                "writable": property.access == AccessMode::ReadWrite,
                "intervalMs": property.collect_cycle.as_millis() as u64,
                "type": property.value_type.as_str(),
                "config": property.config,
            })
        })
        .collect();
    serde_json::json!({ "device": effective.name.as_str(), "protocol": effective.protocol_config, "points": points })
        .to_string()
}

