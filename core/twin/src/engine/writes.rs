//! Desired values: where they come from, and their way into the device.
//!
//! Why this is long: one value has two givers and three lives. The Device gives
//! it, and so does a client of the bus; whoever spoke last counts, which is told
//! by the Device's own text and metadata at the time when the other one spoke
//! ([`DesiredValue::of_device`]). It has to outlive a changed model (the same
//! text may mean another value), a restart of the edge (rows of the store) and a
//! restart of the mapper. [`choose`] is the one place that decides between them.
//! What happens to a value once it is chosen is the state machine of
//! [`crate::desired`]; here its actions become commands. A command waits for its
//! row before the mapper gets it. A property that is part of a register takes a
//! detour: it is read first, one of a device at a time, or two of them would undo
//! each other's bits.

use std::{sync::Arc, time::Duration};

use longshore_types::{
    EffectiveDevice,
    command::{CommandKind, Status},
    device::WriteState,
    effective::Desired,
    policy::{Confirm, OnReturn},
    report::PropertyReport,
};

use super::{
    Engine, Now,
    desires::{SavedDesired, choose},
    fleet::Setup,
    links::What,
    saving::Key,
    standing::Reach,
};
use crate::{
    desired::{Action, Context, DesiredValue, Event, Outcome, State},
    outputs::{DeviceChange, Message, PropertyChange, RowKind},
};

/// Pause of a part of a register while another part is being written.
const PART_MS: u64 = 50;
/// Time for reading a value back.
const READ_BUDGET: Duration = Duration::from_secs(3);

/// The way of a value into its device.
#[derive(Clone, Copy)]
struct Way {
    device: u32,
    mapper: usize,
    point: u32,
    /// Time for one try.
    timeout: Duration,
}

impl Engine {
    /// Takes over the desired values of a Device. A local one stands until the
    /// Device's own changes: the last word counts.
    pub(super) fn set_all_desired(&mut self, id: u32, effective: &EffectiveDevice, now: Now) {
        let name = effective.name.as_str();
        let mut saved = self.desires.take_saved(name);
        let points = self.fleet.points_of(id);
        for (property, point) in effective.properties.iter().zip(points) {
            // Nobody wants anything of most of them.
            let said = property.desired != Desired::None || saved.contains_key(&property.name);
            if !said && self.fleet.point(point).desired.is_none() {
                continue;
            }
            let before = self.property_twin(id, point);
            let former = self.fleet.point_mut(point).desired.take();
            let given =
                |desired: Option<&DesiredValue>| desired.map(|d| (d.text.clone(), d.version));
            let was = given(former.as_deref());
            let saved = saved.remove(&property.name);
            let ended = saved.as_ref().map(SavedDesired::ended);
            let mut chosen = choose(former, property, saved, now);
            let changed = was != given(chosen.as_deref());
            if let Some(chosen) = &mut chosen {
                chosen.repeats(property.policy.write.repeat.is_some());
            }
            // A command that is new, or that a former life left in doubt.
            let command = chosen.as_ref().is_some_and(|chosen| chosen.command);
            let keeps = match &chosen {
                None => changed,
                Some(chosen) => {
                    (command && changed && ended.is_none())
                        || (chosen.state == State::Unknown && ended == Some(false))
                }
            };
            self.desires.note(point, chosen.as_deref());
            self.fleet.point_mut(point).desired = chosen;
            if keeps {
                self.note_outcome(id, point);
                self.save_desired(id, point);
            }
            if command && ended.is_some() {
                self.taken_up(point);
            }
            if changed {
                self.tell_desired(id, point, before);
            }
        }
        for property in saved.into_keys() {
            self.saving.fact(Key {
                device: effective.name.clone(),
                kind: RowKind::Desired,
                name: property.into(),
            });
        }
    }

    /// A local client's desired value, which the store has by now. False when
    /// the Device spoke meanwhile: the last word counts.
    pub(super) fn take_local_desired(
        &mut self,
        id: u32,
        point: u32,
        mut fresh: Box<DesiredValue>,
        now: Now,
    ) -> bool {
        let before = self.property_twin(id, point);
        let former = self.fleet.point(point).desired.as_deref();
        let spoken = former.and_then(|desired| desired.of_device.as_deref());
        if spoken != fresh.of_device.as_deref() {
            return false;
        }
        fresh.version = former.map_or(0, |desired| desired.version) + 1;
        self.desires.note(point, Some(&fresh));
        self.fleet.point_mut(point).desired = Some(fresh);
        self.tell_desired(id, point, before);
        self.touch(id, now);
        true
    }

    /// Clients of the KubeEdge topics hear of a new desired value (delta).
    fn tell_desired(&mut self, id: u32, point: u32, before: Option<PropertyReport>) {
        let wants = self
            .fleet
            .device(id)
            .is_some_and(|device| self.interest.wants_changes(&device.name));
        if !wants {
            return;
        }
        let current = self.property_twin(id, point);
        if let (Some(last), Some(current), Some(device)) = (before, current, self.fleet.device(id))
        {
            let properties = vec![PropertyChange { last, current }];
            self.messages.push(Message::Changed(DeviceChange {
                device: device.name.clone(),
                properties,
            }));
        }
    }

    /// The value came further, or is another one.
    fn note_desired(&mut self, point: u32) {
        let value = self.fleet.point(point).desired.as_deref();
        self.desires.note(point, value);
    }

    /// One step of the desired value of a device's point, if there is one, and
    /// what follows from it.
    #[track_caller]
    pub(super) fn step_desired(&mut self, id: u32, event: &Event<'_>, now: Now) {
        let point = self.fleet.point(id);
        if point.desired.is_none() {
            return;
        }
        let device_id = point.device;
        let Some(device) = self.fleet.device(device_id) else {
            return;
        };
        let mapper = device.mapper;
        let timeout = point.rules.policy.write.timeout;
        let token = self.links.token();
        let away = self.away_text(device_id, id);
        let context = Context {
            away: &away,
            token,
            ..self.context(device_id, id, now)
        };
        let Some(desired) = self.fleet.desired_mut(id) else {
            return;
        };
        let (action, mut changed) = desired.step(event, &context);
        match mapper {
            _ if action == Action::Nothing => {}
            // The mapper gets it once that is on the disk.
            _ if action == Action::Announce => self.save_desired(device_id, id),
            Some(mapper) => {
                let way = Way {
                    device: device_id,
                    mapper,
                    point: id,
                    timeout,
                };
                changed |= self.act(way, action, token, now);
            }
            // Such a device is never ready, and nothing of it is under way.
            None => (self.dangling).ours("point written without a mapper", u64::from(id)),
        }
        self.note_desired(id);
        if changed {
            self.note_outcome(device_id, id);
            self.save_desired(device_id, id);
            self.show_commanded(id, now);
        }
    }

    /// What the machine of a desired value has to know of its point, but for the
    /// token and why the device is away.
    pub(super) fn context(&self, device: u32, id: u32, now: Now) -> Context<'static> {
        let point = self.fleet.point(id);
        let policy = &point.rules.policy.write;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Context {
            now_ms: now.ms,
            unix_ms: now.unix_ms,
            ready: self.ready(device).is_some(),
            away: "",
            timeout_ms: millis(policy.timeout),
            retries: policy.retries,
            read_back: policy.confirm == Confirm::Readback,
            command: point.writes_commands(),
            expires_ms: millis(policy.expires),
            restore: policy.on_return == OnReturn::Restore,
            repeat_ms: policy.repeat.map(millis),
            token: 0,
        }
    }

    /// The mapper to which something for a device may go now. A device that is known
    /// to be away gets nothing: what waits for it goes when it is back. Where nothing
    /// is ever read of it, only a write can tell.
    pub(super) fn ready(&self, device: u32) -> Option<usize> {
        let of = self.fleet.device_if_there(device)?;
        let mapper = of
            .mapper
            .filter(|mapper| self.links.takes_writes(*mapper))?;
        let blind = || {
            let mut points = of.points().iter().map(|id| &self.fleet.point(*id).rules);
            points.all(|rules| rules.broken.is_some() || rules.policy.write.command)
        };
        let there = !matches!(of.reach.get(), Reach::Down { .. }) || blind();
        (of.setup == Setup::Done && there).then_some(mapper)
    }

    /// Why nothing may go to a device now, where a command waits for it.
    fn away_text(&self, device: u32, point: u32) -> String {
        if !self.fleet.point(point).writes_commands() || self.ready(device).is_some() {
            return String::new();
        }
        self.why_away(device)
    }

    /// Why nothing may go to a device now, for people.
    pub(super) fn why_away(&self, device: u32) -> String {
        let Some(of) = self.fleet.device_if_there(device) else {
            return "the device is gone".to_owned();
        };
        let [reach, served] = [of.reach.condition(), of.served.condition()];
        match of.reach.get() {
            Reach::Down { .. } if reach.message.is_empty() => "the device is offline".to_owned(),
            Reach::Down { .. } => format!("the device is offline: {}", reach.message),
            _ if !served.message.is_empty() => served.message,
            _ if !reach.message.is_empty() => reach.message,
            _ => "the device is not ready".to_owned(),
        }
    }

    /// Carries out what a step asks for. True when what people see has changed.
    fn act(&mut self, way: Way, action: Action, token: u64, now: Now) -> bool {
        let id = way.point;
        let shown = self.fleet.point(id).shown_text();
        let Some(desired) = self.fleet.desired_mut(id) else {
            return false;
        };
        if action == Action::Write {
            desired.before = shown;
        }
        let point = self.fleet.point(id);
        if action == Action::Write && point.rules.is_part {
            return self.prepare_part(way, token, now);
        }
        let Some(desired) = self.fleet.desired(id) else {
            return false;
        };
        let (kind, budget) = match (action, &desired.target) {
            (Action::Write, Ok(target)) => match point.rules.invert(target, point.raw_whole) {
                Ok(value) => (CommandKind::Write { point: id, value }, way.timeout),
                Err(why) => return self.refuse(id, why, now),
            },
            (Action::Read, _) => (CommandKind::Read { point: id }, READ_BUDGET),
            _ => return false,
        };
        self.send(way.mapper, token, way.device, budget, kind, What::Point(id));
        false
    }

    /// A property that shares its raw value with others is read before it is
    /// written, one of a device at a time: else two of them would undo each
    /// other's bits.
    fn prepare_part(&mut self, way: Way, token: u64, now: Now) -> bool {
        let id = way.point;
        let busy = self.part_is_busy(way.device, id);
        let Some(desired) = self.fleet.desired_mut(id) else {
            return false;
        };
        if busy {
            desired.state = State::Pending {
                not_before: now.ms + PART_MS,
            };
            return false;
        }
        // A watchdog's as well: it is a write like any other.
        let budget_ms = u64::try_from(way.timeout.as_millis()).unwrap_or(u64::MAX);
        desired.written_as(token, now.ms + budget_ms);
        desired.reads_first = true;
        let kind = CommandKind::Read { point: id };
        let (mapper, budget) = (way.mapper, way.timeout);
        self.send(mapper, token, way.device, budget, kind, What::Point(id));
        false
    }

    /// Whether something else writes a part of a register of this device.
    pub(super) fn part_is_busy(&self, device: u32, id: u32) -> bool {
        let points = self.fleet.device(device).map(|device| device.points());
        let desired = points.unwrap_or_default().iter().any(|other| {
            let point = self.fleet.point(*other);
            let state = point.desired.as_deref().map(|desired| desired.state);
            *other != id && point.rules.is_part && matches!(state, Some(State::Writing { .. }))
        });
        desired || self.calls.writes_part(device)
    }

    /// The register of a part was read: now it can be written. `None` when this
    /// completion is of something else.
    fn write_part(&mut self, id: u32, token: u64, status: Status, now: Now) -> Option<()> {
        let point = self.fleet.point_mut(id);
        let desired = point.desired.as_deref_mut()?;
        let State::Writing { token: of, .. } = desired.state else {
            return None;
        };
        if of != token || !desired.reads_first || status != Status::Ok {
            return None;
        }
        desired.reads_first = false;
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
                // Only the mapper that it is with answers with its token.
                let Some(mapper) = self.fleet.device(device_id)?.mapper else {
                    (self.dangling).ours("part written without a mapper", u64::from(id));
                    return None;
                };
                let token = self.links.token();
                let deadline = now.ms + u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                let desired = self.fleet.desired_mut(id)?;
                desired.written_as(token, deadline);
                let kind = CommandKind::Write { point: id, value };
                self.send(mapper, token, device_id, timeout, kind, What::Point(id));
            }
            Err(why) => {
                self.refuse(id, why, now);
                self.note_desired(id);
                self.note_outcome(device_id, id);
                self.save_desired(device_id, id);
            }
        }
        Some(())
    }

    /// There is no raw value for it: the device is not asked at all.
    fn refuse(&mut self, id: u32, why: String, now: Now) -> bool {
        if let Some(desired) = self.fleet.desired_mut(id) {
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
        // Its device or its property may have gone meanwhile.
        if !self.fleet.point(id).is_active() {
            return;
        }
        if self.write_part(id, token, status, now).is_some() {
            return;
        }
        let text = if message.is_empty() {
            status_text(status)
        } else {
            message
        };
        let outcome = outcome(status, text);
        let point = self.fleet.point_mut(id);
        let desired = point.desired.as_deref();
        let reads_back = desired.is_some_and(|desired| desired.reads_back(token));
        let outcome = match outcome {
            Outcome::Done if reads_back && point.write_only => {
                Outcome::Refused("it can only be written")
            }
            outcome => outcome,
        };
        if matches!(outcome, Outcome::Refused(_)) && reads_back {
            // Written, and the device lets nobody see it.
            point.write_only = true;
        }
        let seen = match (&point.value, point.error.as_deref()) {
            (_, Some(error)) => error.to_owned(),
            (Some(value), None) => value.to_string(),
            (None, None) => "nothing".to_owned(),
        };
        let matches = point.shows_desired();
        let completed = Event::Completed {
            token,
            outcome,
            seen: &seen,
            matches,
        };
        self.step_desired(id, &completed, now);
        // A mapper need not emit a sample for a value that did not change.
        if status == Status::Ok && self.fleet.point(id).shows_desired() && self.is_confirming(id) {
            self.step_desired(id, &Event::Reading { matches: true }, now);
        }
    }

    fn is_confirming(&self, id: u32) -> bool {
        let desired = self.fleet.point(id).desired.as_ref();
        let state = desired.map(|desired| desired.state);
        // Without a token the read back is done, and its sample is in.
        matches!(state, Some(State::Confirming { token: None, .. }))
    }

    fn note_outcome(&mut self, device: u32, id: u32) {
        let Some(desired) = self.fleet.point(id).desired.as_deref() else {
            return;
        };
        match desired.shown() {
            WriteState::Pending => {}
            WriteState::Confirmed => self.counters.writes_confirmed += 1,
            WriteState::Failed => self.counters.writes_failed += 1,
            WriteState::Unknown => {
                self.counters.writes_unknown += 1;
                let names = self.fleet.device(device).zip(self.fleet.place(device, id));
                if let Some((device, (_, property))) = names {
                    let (device, value, why) = (&device.name, &desired.text, &desired.message);
                    tracing::warn!(%device, property = &**property, %value, %why, "a write may have reached its device or not, and is not sent again; look at the device, and set it again if it is still wanted");
                }
            }
        }
    }

    /// What is so of a point's desired value goes to the disk; then it may be told.
    fn save_desired(&mut self, device: u32, id: u32) {
        let names = self.fleet.device(device).zip(self.fleet.place(device, id));
        let Some((device, (_, property))) = names else {
            return;
        };
        self.saving.fact(Key {
            device: device.name.clone(),
            kind: RowKind::Desired,
            name: Arc::clone(property),
        });
        if let Some(desired) = self.fleet.point_mut(id).desired.as_deref_mut() {
            desired.kept = false;
        }
    }

    pub(super) fn tick_desired(&mut self, now: Now) {
        for id in self.desires.unsettled() {
            if self.fleet.desired(id).is_some() {
                self.step_desired(id, &Event::Tick, now);
            } else {
                self.desires.forget(id);
            }
        }
    }
}

/// What the end of a command means for what was sent with it.
pub(super) fn outcome(status: Status, text: &str) -> Outcome<'_> {
    match status {
        Status::Ok => Outcome::Done,
        Status::Busy => Outcome::Busy,
        Status::NotSent => Outcome::NotSent(text),
        Status::Refused | Status::InvalidArgument | Status::InvalidConfig | Status::Unsupported => {
            Outcome::Refused(text)
        }
        _ => Outcome::Line(text),
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
        Status::NotSent => "the device is away, nothing was sent",
        _ => "the mapper failed",
    }
}
