//! Devices come, change and go; each property keeps its point.

use std::{collections::HashMap, sync::Arc};

use longshore_types::{DeviceName, EffectiveDevice, effective::EffectiveProperty};

use super::{
    Device, Engine, Now, REUSE_MS, Setup,
    device::configuration,
    standing::{Cause, Manifest, Reach, Served},
};
use crate::{
    blob::SavedDevice,
    desired::Event,
    outputs::{DesiredRow, MembershipChange, Message, TwinBlob},
    point::{FREE, Point},
    reconcile::{Planned, hash},
    rules::Rules,
};

impl Engine {
    /// A device is to be served (or is known to be broken) from now on.
    pub(crate) fn set_device(
        &mut self,
        name: DeviceName,
        fingerprint: u64,
        planned: Planned,
        now: Now,
    ) {
        let uid = match &planned {
            Planned::Same => return,
            Planned::Serve(effective) => effective.uid.clone(),
            Planned::Broken { uid, .. } => uid.clone(),
        };
        if let Some(id) = self.by_name.get(&name).copied() {
            // Deleted and made anew under the same name: nothing of the former one counts.
            if self.device(id).is_some_and(|device| {
                device.uid != uid && !device.uid.is_empty() && !uid.is_empty()
            }) {
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
            Planned::Broken {
                reason, message, ..
            } => self.withdraw(id, reason, &message, now),
        }
        self.touch(id, now);
        if added && let Some(twin) = self.device_twin(id) {
            let change = MembershipChange::Added(Box::new(twin));
            self.messages.push(Message::Membership(change));
        }
    }

    /// A device is not served any more. Commands under way end unheard.
    pub fn remove_device(&mut self, name: &DeviceName, now: Now) {
        let Some(id) = self.by_name.remove(name) else {
            return;
        };
        let Some(device) = self.devices[id as usize].take() else {
            return;
        };
        self.tell_removed(id, &device);
        for event in device.behavior.iter().flat_map(|behavior| &behavior.events) {
            if event.since_ms != 0 {
                self.forget_event(name, &event.rule.name);
            }
        }
        self.open_events.remove(&id);
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
        self.out.forgotten.push(TwinBlob {
            device: name.to_string(),
            data: Vec::new(),
        });
        self.dirty.remove(&id);
        self.retired_devices.push_back((id, now.ms + REUSE_MS));
        let change = MembershipChange::Removed(name.clone());
        self.messages.push(Message::Membership(change));
    }

    /// Every device for which `keep` says no is removed.
    pub fn retain_devices(&mut self, keep: impl Fn(&DeviceName) -> bool, now: Now) {
        let gone: Vec<_> = self
            .by_name
            .keys()
            .filter(|name| !keep(name))
            .cloned()
            .collect();
        for name in gone {
            self.remove_device(&name, now);
        }
    }

    /// Rows of devices that are no longer there; they went while this node was off.
    pub fn forget_orphans(&mut self) {
        for (device, _) in std::mem::take(&mut self.saved) {
            self.out.forgotten.push(TwinBlob {
                device,
                data: Vec::new(),
            });
        }
        for (device, rows) in std::mem::take(&mut self.saved_desired) {
            let rows = rows.into_keys().map(|property| DesiredRow {
                device: device.clone(),
                property,
                json: None,
            });
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
        let saved = self
            .saved
            .remove(effective.name.as_str())
            .unwrap_or_default();
        // Of a former device with this name: not ours.
        let mut saved = if saved.uid == effective.uid {
            saved
        } else {
            SavedDevice::default()
        };
        let events = std::mem::take(&mut saved.events);
        self.set_points(id, &effective, saved, now);
        self.set_behavior(id, &effective, events, now);
        let config = configuration(
            &effective,
            &self.devices[id as usize]
                .as_ref()
                .map(|d| d.points.clone())
                .unwrap_or_default(),
        );
        let mapper = self.mapper_of(&effective.protocol);
        let Some(device) = self.device_mut(id) else {
            return;
        };
        device.report_state = effective.report_state;
        let config_hash = hash(&config);
        let changed =
            device.config_hash != config_hash || device.mapper != mapper || device.wants_config;
        let former = device.mapper;
        device.set_faults(&effective.faults, now);
        let answered = matches!(device.setup, Setup::Done | Setup::Refused);
        if mapper.is_none() || (answered && !changed) {
            device.judged = device.fingerprint;
        }
        if mapper.is_none() {
            let protocol: Box<str> = effective.protocol.as_str().into();
            let cause = Cause::NoMapper {
                protocol: protocol.clone(),
            };
            device.reach.lose(cause, now);
            device.served.turn(Served::NoMapper { protocol }, now);
        }
        if changed {
            if former.is_some() && former != mapper {
                self.tell_mapper_removed(id, former);
            }
            let Some(device) = self.device_mut(id) else {
                return;
            };
            // Another mapper comes up with what the former one had.
            let same = device.config_hash == config_hash && former == mapper;
            let event = if same {
                Event::HandedOver
            } else {
                Event::Interrupted
            };
            if mapper.is_some() && matches!(device.reach.get(), Reach::Unknown { .. }) {
                device.reach.lose(Cause::NotReadYet, now);
            }
            device.config = config.into();
            device.config_hash = config_hash;
            device.wants_config = false;
            device.mapper = mapper;
            device.setup = Setup::Idle;
            self.configure(id, &event, now);
        }
        self.set_all_desired(id, &effective, now);
    }

    /// Nothing of the device can be used now. Its mapper forgets it; its twins
    /// stay in the store for when it is usable again.
    fn withdraw(&mut self, id: u32, reason: &'static str, message: &str, now: Now) {
        let Some(device) = self.device_mut(id) else {
            return;
        };
        let former = device.mapper.take();
        device.setup = Setup::Idle;
        device.judged = device.fingerprint;
        device.config = Box::default();
        device.config_hash = 0;
        device.wants_config = false;
        let why: Box<str> = message.into();
        let unusable = Manifest::Unusable {
            reason,
            why: why.clone(),
        };
        if device.manifest.turn(unusable, now) {
            tracing::warn!(device = %device.name, reason, why = message, "a device cannot be used");
        }
        device.served.turn(Served::Unusable { reason }, now);
        device.reach.forget(Cause::Unusable { reason, why }, now);
        if former.is_some() {
            self.tell_mapper_removed(id, former);
            for point in self
                .device(id)
                .map(|device| device.points.clone())
                .unwrap_or_default()
            {
                self.step_desired(point, &Event::Interrupted, now);
            }
        }
    }

    /// Gives each property its point: the former one of that name, or a new one.
    fn set_points(&mut self, id: u32, effective: &EffectiveDevice, saved: SavedDevice, now: Now) {
        let Some(device) = self.device_mut(id) else {
            return;
        };
        let names = std::mem::take(&mut device.names);
        let mut former: HashMap<Arc<str>, u32> = names
            .into_iter()
            .zip(std::mem::take(&mut device.points))
            .collect();
        let mut saved: HashMap<_, _> = saved
            .values
            .into_iter()
            .map(|value| (value.name.clone(), value))
            .collect();
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
                        self.points[point as usize].restore(
                            value.value,
                            value.source_time_ns,
                            value.good_ns,
                        );
                    }
                    (property.name.as_str().into(), point)
                }
            };
            names.push(name);
            points.push(point);
        }
        let pushes = self.pushes(&effective.protocol);
        self.set_staleness(&points, pushes);
        let device_name = effective.name.to_string();
        for (property, point) in former {
            self.retire(point, now);
            self.out.desired.push(DesiredRow {
                device: device_name.clone(),
                property: property.to_string(),
                json: None,
            });
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
            self.interned
                .retain(|_, rules| Arc::strong_count(rules) > 1);
        }
        self.interned
            .entry(key)
            .or_insert_with(|| Arc::new(rules))
            .clone()
    }

    fn change_rules(&mut self, point: u32, rules: Arc<Rules>) {
        let entry = &mut self.points[point as usize];
        if entry.rules == rules {
            return;
        }
        if entry.rules.value_type == rules.value_type
            && rules.broken.is_none()
            && entry.rules.broken.is_none()
        {
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

    fn allocate(
        &mut self,
        device: u32,
        property: &EffectiveProperty,
        rules: Arc<Rules>,
        now: Now,
    ) -> u32 {
        // Set once it is known how its values come.
        let stale = u32::MAX;
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
}
