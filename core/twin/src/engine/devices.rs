//! Devices come, change and go; each property keeps its point.

use std::collections::HashSet;

use longshore_types::{DeviceName, EffectiveDevice, Fault, effective::EffectiveProperty};

use super::{
    Engine, Now,
    configuration::{at_connecting, configuration},
    fleet::{Gone, Setup},
    members::Member,
    saving::Key,
    standing::{Cause, Manifest, Reach, Served},
};
use crate::{
    blob::SavedRow,
    desired::Event,
    outputs::{MembershipChange, RowKind},
    planned::{Planned, hash},
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
        let former = self.fleet.id(&name).and_then(|id| self.fleet.device(id));
        // Deleted and made anew under the same name: nothing of the former one counts.
        if former
            .is_some_and(|device| device.uid != uid && !device.uid.is_empty() && !uid.is_empty())
        {
            self.remove_device(&name, now);
        }
        let (id, added) = match self.fleet.id(&name) {
            Some(id) => (id, false),
            None => (self.fleet.add(name, &uid, now), true),
        };
        if let Some(device) = self.fleet.device_mut(id) {
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
        if added && let Some(device) = self.fleet.device(id) {
            self.members.came(&device.name);
        }
    }

    /// The device that came or went longest ago, of whom the bus was not told.
    /// The same again until [`Engine::member_told`].
    pub fn member_to_tell(&mut self) -> Option<MembershipChange> {
        while let Some(member) = self.members.first() {
            let name = match member {
                Member::Went(name) => return Some(MembershipChange::Removed(name)),
                Member::Came(name) => name,
            };
            if let Some(twin) = self.get(&name) {
                return Some(MembershipChange::Added(Box::new(twin)));
            }
            // Whoever goes is told to have gone, so this one is there.
            self.dangling.ours("device that came", 0);
            self.members.told();
        }
        None
    }

    /// The bus has taken what [`Engine::member_to_tell`] gave.
    pub fn member_told(&mut self) {
        self.members.told();
    }

    /// Whether the bus is to be told of somebody.
    pub fn has_members_to_tell(&self) -> bool {
        !self.members.is_empty()
    }

    /// Nobody listens to who comes and goes: there is nothing to tell.
    pub fn forget_members(&mut self) {
        self.members.forget();
    }

    /// A device is not served any more. Commands under way end unheard.
    pub fn remove_device(&mut self, name: &DeviceName, now: Now) {
        // Whoever asks need not know that it is there.
        let Some((id, device)) = self.fleet.remove(name, now) else {
            return;
        };
        if device.is_known_to_mapper() {
            self.tell_mapper_removed(id, device.mapper);
        }
        if let Some(mapper) = device.mapper {
            self.links.checked(mapper, id);
        }
        for event in device.behavior.iter().flat_map(|behavior| &behavior.events) {
            if event.since_ms != 0 {
                self.forget_event(name, &event.rule.name);
            }
        }
        for point in device.points() {
            self.desires.forget(*point);
        }
        self.saved.remove(name.as_str());
        self.desires.take_saved(name.as_str());
        self.saving.forget(name.to_string());
        self.due.forget(id);
        self.history.close(id);
        self.members.went(name);
    }

    /// Every device for which `keep` says no is removed.
    pub fn retain_devices(&mut self, keep: impl Fn(&DeviceName) -> bool, now: Now) {
        let names = self.fleet.ids().map(|(name, _)| name);
        let gone: Vec<_> = names.filter(|name| !keep(name)).cloned().collect();
        for name in gone {
            self.remove_device(&name, now);
        }
    }

    /// Rows of devices that are no longer there; they went while this node was off.
    /// One that is there and cannot be used yet keeps its own: what a command came
    /// to must not be forgotten because a model comes late.
    pub fn forget_orphans(&mut self) {
        let names: HashSet<&str> = self.fleet.ids().map(|(name, _)| name.as_str()).collect();
        let gone = self
            .saved
            .extract_if(|device, _| !names.contains(&**device));
        let gone: Vec<_> = gone.map(|(device, _)| device).collect();
        let desired = self.desires.take_orphans(|device| names.contains(device));
        for device in gone.into_iter().chain(desired) {
            self.saving.forget(device);
        }
    }

    fn serve(&mut self, id: u32, effective: EffectiveDevice, now: Now) {
        let saved = self.saved.remove(effective.name.as_str());
        let (mut saved, others) = saved.unwrap_or_default().of(&effective.uid);
        for row in others {
            let (kind, name) = match row {
                SavedRow::Actual(value) => (RowKind::Actual, value.name),
                SavedRow::Event(event) => (RowKind::Event, event.name),
            };
            self.row_is_gone(&effective.name, kind, &name);
        }
        let events = std::mem::take(&mut saved.events);
        let pushes = self.links.pushes(&effective.protocol);
        let gone = (self.fleet).lay_out(id, &effective.properties, saved.values, pushes, now);
        for Gone { property, point } in gone {
            self.desires.forget(point);
            self.row_is_gone(&effective.name, RowKind::Desired, &property);
            self.row_is_gone(&effective.name, RowKind::Actual, &property);
        }
        self.set_behavior(id, &effective, events, now);
        let mapper = self.links.of_protocol(&effective.protocol);
        let mut faults = effective.faults.clone();
        let config = self.fleet.device(id).map_or_else(String::new, |device| {
            let shared = |property: &EffectiveProperty| Some(&*self.fleet.shared(property)?.told);
            let connect = self.connect_writes(&effective, device.points(), &mut faults);
            configuration(&effective, device.points(), connect, shared)
        });
        let Some(device) = self.fleet.device_mut(id) else {
            return;
        };
        device.report_state = effective.report_state;
        let config_hash = hash(&config);
        let changed =
            device.config_hash != config_hash || device.mapper != mapper || device.wants_config;
        let former = device.mapper;
        device.set_faults(&faults, now);
        let answered = matches!(device.setup, Setup::Done | Setup::Refused);
        if mapper.is_none() || (answered && !changed) {
            device.is_judged();
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
            if former != mapper {
                self.leave_mapper(id, former);
            }
            let Some(device) = self.fleet.device_mut(id) else {
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

    /// What the mapper writes after each connecting, as raw values.
    fn connect_writes(
        &self,
        effective: &EffectiveDevice,
        points: &[u32],
        faults: &mut Vec<Fault>,
    ) -> Vec<serde_json::Value> {
        let mut writes = Vec::with_capacity(effective.connect.len());
        for write in &effective.connect {
            let Some(point) = points.get(write.property) else {
                continue;
            };
            match self.fleet.point(*point).rules.invert(&write.value, None) {
                Ok(raw) => writes.push(at_connecting(*point, &raw)),
                Err(why) => faults.push(Fault::error(format!("{}.value", write.path), why)),
            }
        }
        writes
    }

    /// Nothing of the device can be used now. Its mapper forgets it; its twins
    /// stay in the store for when it is usable again.
    fn withdraw(&mut self, id: u32, reason: &'static str, message: &str, now: Now) {
        let Some(device) = self.fleet.device_mut(id) else {
            return;
        };
        let former = device.mapper.take();
        device.setup = Setup::Idle;
        device.is_judged();
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
            self.leave_mapper(id, former);
            self.step_all_desired(id, &Event::Interrupted, now);
        }
    }

    /// The device is not this mapper's any more.
    fn leave_mapper(&mut self, id: u32, mapper: Option<usize>) {
        self.tell_mapper_removed(id, mapper);
        if let Some(mapper) = mapper {
            self.links.checked(mapper, id);
        }
    }

    fn row_is_gone(&mut self, device: &DeviceName, kind: RowKind, name: &str) {
        self.saving.fact(Key {
            device: device.clone(),
            kind,
            name: name.into(),
        });
    }
}
