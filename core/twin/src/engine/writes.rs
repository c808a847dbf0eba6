//! Desired values: where they come from, and their way into the device.
//!
//! Why this is long: one value has two givers and three lives. The Device gives
//! it, and so does a client of the bus; whoever spoke last counts, which is told
//! by the Device's own text and metadata at the time when the other one spoke
//! ([`DesiredValue::of_device`]). It has to outlive a changed model (the same
//! text may mean another value), a restart of the edge (rows of the store) and a
//! restart of the mapper. [`Engine::choose`] is the one place that decides
//! between them. What happens to a value once it is chosen is the state machine
//! of [`crate::desired`]; here its actions become commands. A property that is
//! part of a register takes a detour: it is read first, one of a device at a
//! time, or two of them would undo each other's bits.

use std::time::Duration;

use longshore_types::{
    EffectiveDevice, Value,
    command::{CommandKind, Status},
    device::WriteState,
    effective::{Desired, EffectiveProperty},
    policy::Confirm,
    report::PropertyReport,
};

use super::{Engine, Now, SavedDesired, Setup, WRITES_UNDER_WAY, What};
use crate::{
    desired::{Action, Context, DesiredValue, Event, Outcome, State, of_device},
    outputs::{DesiredRow, DeviceChange, Message, PropertyChange},
};

/// Pause of a part of a register while another part is being written.
const PART_MS: u64 = 50;
/// Time for reading a value back.
const READ_BUDGET: Duration = Duration::from_secs(3);

impl Engine {
    /// Takes over the desired values of a Device. A local one stands until the
    /// Device's own changes: the last word counts.
    pub(super) fn set_all_desired(&mut self, id: u32, effective: &EffectiveDevice, now: Now) {
        let points = self
            .device(id)
            .map(|device| device.points.clone())
            .unwrap_or_default();
        let mut saved = self
            .saved_desired
            .remove(effective.name.as_str())
            .unwrap_or_default();
        for (property, point) in effective.properties.iter().zip(points) {
            let before = self.property_twin(id, point);
            let chosen = self.choose(point, property, saved.remove(&property.name), now);
            let former = self.points[point as usize].desired.take();
            let given = |desired: &Option<Box<DesiredValue>>| {
                desired.as_ref().map(|d| (d.text.clone(), d.version))
            };
            let changed = given(&former) != given(&chosen);
            self.points[point as usize].desired = chosen;
            self.update_active(point);
            if changed {
                if self.points[point as usize].desired.is_none() {
                    self.save_desired(id, point);
                }
                self.tell_desired(id, point, before);
            }
        }
        for property in saved.into_keys() {
            let device = effective.name.to_string();
            self.out.desired.push(DesiredRow {
                device,
                property,
                json: None,
            });
        }
    }

    fn choose(
        &mut self,
        point: u32,
        property: &EffectiveProperty,
        saved: Option<SavedDesired>,
        now: Now,
    ) -> Option<Box<DesiredValue>> {
        let (text, target): (Option<Box<str>>, _) = match &property.desired {
            Desired::None => (None, Err(Box::default())),
            Desired::Value(value) => (Some(value.to_string().into()), Ok(value.clone())),
            Desired::Refused { text, message } => {
                (Some(text.as_str().into()), Err(message.as_str().into()))
            }
        };
        let given = text
            .as_deref()
            .map(|text| of_device(text, &property.desired_metadata));
        let check = |text: &str| match &property.broken {
            Some(message) => Err(message.as_str().into()),
            None => property
                .check_text(text)
                .map_err(|error| error.to_string().into()),
        };
        let existing = self.points[point as usize].desired.as_deref();
        let version = existing.map_or(0, |desired| desired.version);
        if let Some(existing) = existing
            && existing.of_device == given
            && (existing.local || text.is_some())
        {
            let target = if existing.local {
                check(&existing.text)
            } else {
                target
            };
            if target == existing.target {
                return self.points[point as usize].desired.take();
            }
            // The model changed: the same text means something else now.
            let mut again = DesiredValue::new(
                &existing.text,
                target,
                existing.local,
                existing.given_ms,
                version,
            );
            again.of_device = given;
            return Some(Box::new(again));
        }
        if let (None, Some(saved)) = (existing, saved)
            && saved.of_device.as_deref() == given.as_deref()
            && (saved.local || text.is_some())
        {
            let target = if saved.local {
                check(&saved.text)
            } else {
                target
            };
            let mut resumed =
                DesiredValue::new(&saved.text, target, saved.local, saved.given_ms, version);
            let write = match saved.write.as_str() {
                "confirmed" => WriteState::Confirmed,
                "failed" => WriteState::Failed,
                _ => WriteState::Pending,
            };
            resumed.resume(write, saved.refused, &saved.message, saved.since_ms);
            resumed.of_device = given;
            return Some(Box::new(resumed));
        }
        // Withdrawn by the Device: a local one that came later still stands.
        if text.is_none()
            && let Some(local) = existing.filter(|existing| existing.local)
        {
            let mut local = local.clone();
            local.of_device = None;
            return Some(Box::new(local));
        }
        let mut fresh =
            DesiredValue::new(text.as_deref()?, target, false, now.unix_ms, version + 1);
        fresh.of_device = given;
        Some(Box::new(fresh))
    }

    /// A local client's desired value.
    pub(super) fn set_local_desired(
        &mut self,
        id: u32,
        point: u32,
        text: &str,
        target: Value,
        now: Now,
    ) {
        let before = self.property_twin(id, point);
        let entry = &mut self.points[point as usize];
        let former = entry.desired.as_deref();
        let mut fresh = DesiredValue::new(
            text,
            Ok(target),
            true,
            now.unix_ms,
            former.map_or(0, |d| d.version) + 1,
        );
        fresh.of_device = former.and_then(|desired| desired.of_device.clone());
        entry.desired = Some(Box::new(fresh));
        self.update_active(point);
        self.save_desired(id, point);
        self.tell_desired(id, point, before);
        self.touch(id, now);
        self.step_desired(point, &Event::Tick, now);
    }

    /// Clients of the KubeEdge topics hear of a new desired value (delta).
    fn tell_desired(&mut self, id: u32, point: u32, before: Option<PropertyReport>) {
        let wants = self
            .device(id)
            .is_some_and(|device| self.interest.wants_changes(&device.name));
        if !wants {
            return;
        }
        let current = self.property_twin(id, point);
        if let (Some(last), Some(current), Some(device)) = (before, current, self.device(id)) {
            let properties = vec![PropertyChange { last, current }];
            self.messages.push(Message::Changed(DeviceChange {
                device: device.name.clone(),
                properties,
            }));
        }
    }

    fn update_active(&mut self, point: u32) {
        let active = self.points[point as usize]
            .desired
            .as_ref()
            .is_some_and(|desired| !desired.is_settled());
        if active {
            self.active.insert(point);
        } else {
            self.active.remove(&point);
        }
    }

    /// One step of a point's desired value, and what follows from it.
    pub(super) fn step_desired(&mut self, id: u32, event: &Event<'_>, now: Now) {
        let Some(point) = self.points.get(id as usize) else {
            return;
        };
        if point.desired.is_none() {
            return;
        }
        let device_id = point.device;
        let Some(device) = self.device(device_id) else {
            return;
        };
        let mapper = device.mapper;
        let ready = device.setup == Setup::Done
            && mapper
                .is_some_and(|m| self.mappers[m].up && self.mappers[m].writes < WRITES_UNDER_WAY);
        let policy = point.rules.policy.write;
        let token = self.token();
        let context = Context {
            now_ms: now.ms,
            unix_ms: now.unix_ms,
            ready,
            timeout_ms: u64::try_from(policy.timeout.as_millis()).unwrap_or(u64::MAX),
            retries: policy.retries,
            read_back: policy.confirm == Confirm::Readback,
            token,
        };
        let Some(desired) = self.points[id as usize].desired.as_deref_mut() else {
            return;
        };
        let (action, mut changed) = desired.step(event, &context);
        if action != Action::Nothing {
            changed |= self.act(device_id, id, action, token, policy.timeout, now);
        }
        self.update_active(id);
        if changed {
            self.note_outcome(id);
            self.save_desired(device_id, id);
            self.touch(device_id, now);
        }
    }

    /// Carries out what a step asks for. True when what people see has changed.
    fn act(
        &mut self,
        device: u32,
        id: u32,
        action: Action,
        token: u64,
        timeout: Duration,
        now: Now,
    ) -> bool {
        let Some(mapper) = self.device(device).and_then(|device| device.mapper) else {
            return false;
        };
        let point = &self.points[id as usize];
        let Some(desired) = point.desired.as_deref() else {
            return false;
        };
        if action == Action::Write && point.rules.is_part {
            return self.prepare_part(device, id, mapper, token, timeout, now);
        }
        let (kind, budget) = match (action, &desired.target) {
            (Action::Write, Ok(target)) => match point.rules.invert(target, point.raw_whole) {
                Ok(value) => (CommandKind::Write { point: id, value }, timeout),
                Err(why) => return self.refuse(id, why, now),
            },
            (Action::Read, _) => (CommandKind::Read { point: id }, READ_BUDGET),
            _ => return false,
        };
        self.mappers[mapper].writes += 1;
        self.send(mapper, token, device, budget, kind, What::Point(id));
        false
    }

    /// A property that shares its raw value with others is read before it is
    /// written, one of a device at a time: else two of them would undo each
    /// other's bits.
    fn prepare_part(
        &mut self,
        device: u32,
        id: u32,
        mapper: usize,
        token: u64,
        timeout: Duration,
        now: Now,
    ) -> bool {
        let points = self.device(device).map(|device| device.points.as_slice());
        let busy = points.unwrap_or_default().iter().any(|other| {
            let point = &self.points[*other as usize];
            let state = point.desired.as_deref().map(|desired| desired.state);
            *other != id && point.rules.is_part && matches!(state, Some(State::Writing { .. }))
        });
        let Some(desired) = self.points[id as usize].desired.as_deref_mut() else {
            return false;
        };
        if busy {
            desired.state = State::Pending {
                not_before: now.ms + PART_MS,
            };
            return false;
        }
        desired.reads_first = true;
        self.mappers[mapper].writes += 1;
        let kind = CommandKind::Read { point: id };
        self.send(mapper, token, device, timeout, kind, What::Point(id));
        false
    }

    /// The register of a part was read: now it can be written. `None` when this
    /// completion is of something else.
    fn write_part(&mut self, id: u32, token: u64, status: Status, now: Now) -> Option<()> {
        let point = self.points.get_mut(id as usize)?;
        let desired = point.desired.as_deref_mut()?;
        let State::Writing { token: of, .. } = desired.state else {
            return None;
        };
        if of != token || !std::mem::take(&mut desired.reads_first) || status != Status::Ok {
            return None;
        }
        let target = desired.target.clone().ok()?;
        let device_id = point.device;
        let raw = match point.raw.as_deref() {
            Some(former) => point
                .rules
                .invert(&target, point.raw_whole)
                .and_then(|raw| point.rules.among(raw, *former)),
            None => Err("the register that it is a part of was read without a value".to_owned()),
        };
        let timeout = point.rules.policy.write.timeout;
        match raw {
            Ok(value) => {
                let token = self.token();
                let mapper = self.device(device_id)?.mapper?;
                let deadline = now.ms + u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                let desired = self.points[id as usize].desired.as_deref_mut()?;
                desired.written_as(token, deadline);
                self.mappers[mapper].writes += 1;
                let kind = CommandKind::Write { point: id, value };
                self.send(mapper, token, device_id, timeout, kind, What::Point(id));
            }
            Err(why) => {
                self.refuse(id, why, now);
                self.update_active(id);
                self.note_outcome(id);
                self.save_desired(device_id, id);
                self.touch(device_id, now);
            }
        }
        Some(())
    }

    /// There is no raw value for it: the device is not asked at all.
    fn refuse(&mut self, id: u32, why: String, now: Now) -> bool {
        if let Some(desired) = self.points[id as usize].desired.as_deref_mut() {
            desired.state = State::Refused;
            desired.message = why.into();
            desired.since_ms = now.unix_ms;
        }
        true
    }

    pub(super) fn point_completed(
        &mut self,
        id: u32,
        token: u64,
        status: Status,
        message: &str,
        now: Now,
    ) {
        if self.write_part(id, token, status, now).is_some() {
            return;
        }
        let text = if message.is_empty() {
            status_text(status)
        } else {
            message
        };
        let outcome = match status {
            Status::Ok => Outcome::Done,
            Status::Busy => Outcome::Busy,
            Status::Refused
            | Status::InvalidArgument
            | Status::InvalidConfig
            | Status::Unsupported => Outcome::Refused(text),
            _ => Outcome::Line(text),
        };
        let point = &self.points[id as usize];
        let seen = match (&point.value, point.error.as_deref()) {
            (_, Some(error)) => error.to_owned(),
            (Some(value), None) => value.to_string(),
            (None, None) => "nothing".to_owned(),
        };
        self.step_desired(
            id,
            &Event::Completed {
                token,
                outcome,
                seen: &seen,
            },
            now,
        );
        // A mapper need not emit a sample for a value that did not change.
        if status == Status::Ok
            && self.points[id as usize].shows_desired()
            && self.is_confirming(id)
        {
            self.step_desired(id, &Event::Reading { matches: true }, now);
        }
    }

    fn is_confirming(&self, id: u32) -> bool {
        let state = self.points[id as usize]
            .desired
            .as_ref()
            .map(|desired| desired.state);
        // Without a token the read back is done, and its sample is in.
        matches!(state, Some(State::Confirming { token: None, .. }))
    }

    fn note_outcome(&mut self, id: u32) {
        match self.points[id as usize]
            .desired
            .as_ref()
            .map(|desired| desired.shown())
        {
            Some(WriteState::Confirmed) => self.counters.writes_confirmed += 1,
            Some(WriteState::Failed) => self.counters.writes_failed += 1,
            _ => {}
        }
    }

    fn save_desired(&mut self, device: u32, id: u32) {
        let Some(device) = self.device(device) else {
            return;
        };
        let Some(position) = device.points.iter().position(|point| *point == id) else {
            return;
        };
        let json = self.points[id as usize].desired.as_deref().map(|desired| {
            let saved = SavedDesired {
                text: desired.text.to_string(),
                local: desired.local,
                of_device: desired.of_device.as_deref().map(str::to_owned),
                given_ms: desired.given_ms,
                write: desired.shown().as_str().to_owned(),
                refused: desired.state == State::Refused,
                message: desired.message.to_string(),
                since_ms: desired.since_ms,
            };
            // A struct of texts and numbers always has a JSON form.
            serde_json::to_string(&saved).unwrap_or_default()
        });
        let row = DesiredRow {
            device: device.name.to_string(),
            property: device.names[position].to_string(),
            json,
        };
        self.out.desired.push(row);
    }

    fn tick_desired(&mut self, now: Now) {
        let ids: Vec<u32> = self.active.iter().copied().collect();
        for id in ids {
            self.step_desired(id, &Event::Tick, now);
        }
    }

    /// Time passes: whatever is due is done.
    pub fn tick(&mut self, now: Now) {
        self.scan_stale(now);
        self.tick_outages(now);
        self.tick_events(now);
        self.pump(now);
    }

    /// Commands whose turn has come.
    pub fn pump(&mut self, now: Now) {
        self.pump_configurations(now);
        self.tick_desired(now);
        self.pump_calls(now);
    }
}

pub(super) fn status_text(status: Status) -> &'static str {
    match status {
        Status::Ok => "done",
        Status::InvalidArgument => "the mapper does not know the point or the type of value",
        Status::InvalidConfig => "the point's configuration is wrong",
        Status::Unsupported => "the mapper cannot do that",
        Status::Timeout => "no answer in time",
        Status::Line => "the line is down",
        Status::Refused => "the device refused",
        Status::Panic => "the mapper panicked",
        Status::Stopped => "the mapper is stopped",
        Status::Busy => "the mapper's queue is full",
        _ => "the mapper failed",
    }
}
