//! The hot path: a batch of readings in, one message per device out.
//!
//! Why it is cut like this: every value of the node comes through here, up to
//! millions a second, so work is done where it repeats least. For each reading:
//! one step to its point by index, the point's rules, and some bytes at the end
//! of a buffer that is used again. For each device, once: who serves it, who
//! listens, its events, its message. A batch brings a device's readings together,
//! so a [`Group`] begins where the device changes; were they mixed, there would
//! only be more and smaller messages.
//!
//! What a reading sets off beyond its point (a write that waited to be read back,
//! an event, a report) waits in [`Scratch`] until the group or the batch is
//! through: it must see all values of one reading of the device, never half of
//! them. So do the properties of a `group` that are not reported by themselves:
//! whether another one of theirs is, is known at the end.

use std::sync::Arc;

use bytes::Bytes;
use longshore_types::{
    PropertySample, Quality, Value,
    report::{DeviceState, PropertyReport},
};

use super::{
    Engine, Now,
    history::{self, MOST_VALUE_BYTES},
    standing::Reach,
};
use crate::{
    desired::{DesiredValue, Event, State},
    engine::view::shortened,
    format,
    outputs::{DeviceChange, Message, PropertyChange},
    point::{FREE, Reading},
};

/// Buffers that are used again for each batch.
#[derive(Default)]
pub(super) struct Scratch {
    values: Vec<u8>,
    quality: Vec<u8>,
    changes: Vec<PropertyChange>,
    history: Vec<PropertySample>,
    /// Points with a desired value that got a reading in this batch.
    desired: Vec<u32>,
    /// Points of groups that were read and are not reported by themselves.
    along: Vec<u32>,
    /// Groups of which a point is reported.
    groups: Vec<Arc<str>>,
    /// Size of the last payload, a good guess for the next one.
    size: usize,
}

/// The readings of one device that stand together in a batch.
#[derive(Clone, Copy)]
struct Group {
    device: u32,
    /// Whose readings they are; none for those of a local client.
    mapper: Option<usize>,
    served: bool,
    wants_batch: bool,
    wants_changes: bool,
    has_events: bool,
    reported: bool,
    good: bool,
    time_ns: i64,
}

const NO_GROUP: Group = Group {
    device: FREE,
    mapper: None,
    served: false,
    wants_batch: false,
    wants_changes: false,
    has_events: false,
    reported: false,
    good: false,
    time_ns: 0,
};

impl Engine {
    /// Takes the readings of a batch in. Readings of one device that stand
    /// together become one message.
    pub fn samples<'a>(
        &mut self,
        mapper: usize,
        readings: impl Iterator<Item = (u32, Reading<'a>)>,
        now: Now,
    ) {
        let now_ms = now.ms as u32;
        let mut group = NO_GROUP;
        for (id, reading) in readings {
            self.counters.samples += 1;
            let Some(device) = self.fleet.point_if_known(id).map(|point| point.device) else {
                self.never_given(mapper, id);
                continue;
            };
            if device != group.device {
                self.end_group(group, now);
                group = self.begin_group(device, Some(mapper));
            }
            // Its point was freed or became another mapper's while it was on its way.
            if !group.served {
                self.counters.strays += 1;
                continue;
            }
            self.sample(id, &reading, now_ms, &mut group);
        }
        self.end_group(group, now);
        self.desired_readings(now);
    }

    /// No mapper was ever given such a point.
    #[cold]
    fn never_given(&mut self, mapper: usize, point: u32) {
        self.counters.strays += 1;
        let name = self.links.name(mapper);
        self.dangling.of_mapper(name, "point", u64::from(point));
    }

    #[inline]
    fn sample(&mut self, id: u32, reading: &Reading<'_>, now_ms: u32, group: &mut Group) {
        let point = self.fleet.read(id, now_ms);
        let last = if group.wants_changes {
            Some((point.value.clone(), point.source_time_ns, point.version))
        } else {
            None
        };
        let passed = match group.mapper {
            Some(_) => point.passes_over(reading),
            None => None,
        };
        let report = passed.unwrap_or_else(|| point.apply(reading, now_ms));
        group.good |= reading.quality == Quality::Good && point.quality == Quality::Good;
        if point.desired.is_some() {
            self.scratch.desired.push(id);
        }
        if point.rules.is_grouped {
            self.note_group(id, report);
        }
        if !report {
            return;
        }
        self.reported(id, group);
        if self.fleet.point(id).rules.has_history {
            self.note_history(group.device, id, reading.source_time_ns);
        }
        if let Some(last) = last {
            self.note_change(group.device, id, last);
        }
    }

    /// What a group of properties is reported with: all of it that was read.
    fn note_group(&mut self, id: u32, reported: bool) {
        if !reported {
            self.scratch.along.push(id);
            return;
        }
        let group = self.fleet.point(id).rules.policy.group.clone();
        if let Some(group) = group.filter(|group| !self.scratch.groups.contains(group)) {
            self.scratch.groups.push(group);
        }
    }

    #[cold]
    fn report_along(&mut self, group: &mut Group, now_ms: u32) {
        let mut along = std::mem::take(&mut self.scratch.along);
        let groups = std::mem::take(&mut self.scratch.groups);
        for id in along.drain(..) {
            let point = self.fleet.point_mut(id);
            let with = point.rules.policy.group.as_ref();
            if with.is_some_and(|with| groups.contains(with)) {
                point.report_along(now_ms);
                let time_ns = point.source_time_ns;
                let has_history = point.rules.has_history;
                self.reported(id, group);
                if has_history {
                    self.note_history(group.device, id, time_ns);
                }
            }
        }
        self.scratch.along = along;
    }

    /// Puts a property into the message.
    #[inline]
    fn reported(&mut self, id: u32, group: &mut Group) {
        let point = self.fleet.point(id);
        self.counters.changes += 1;
        group.reported = true;
        group.time_ns = group.time_ns.max(point.source_time_ns);
        if group.wants_batch {
            if point.quality != Quality::Bad
                && let Some(value) = &point.value
            {
                self.scratch
                    .values
                    .extend_from_slice(point.fragment.as_bytes());
                format::value(&mut self.scratch.values, value.borrow(), point.rules.single);
                self.scratch.values.push(b',');
            }
            if point.quality != Quality::Good {
                self.scratch
                    .quality
                    .extend_from_slice(point.fragment.as_bytes());
                format::string(&mut self.scratch.quality, point.quality.as_str());
                self.scratch.quality.push(b',');
            }
        }
    }

    fn note_change(
        &mut self,
        device: u32,
        id: u32,
        (value, time_ns, version): (Option<Value>, i64, u32),
    ) {
        if let Some(current) = self.property_twin(device, id) {
            let value = value.map(|value| shortened(&value, self.fleet.point(id).rules.single));
            let source_time_ms = (time_ns != 0).then_some(time_ns / 1_000_000);
            let last = PropertyReport {
                value,
                source_time_ms,
                version: u64::from(version),
                ..current.clone()
            };
            self.scratch.changes.push(PropertyChange { last, current });
        }
    }

    /// Keeps what was reported of a property for the hub. Its time is that of
    /// the source, or the present one where `time_ns` is 0.
    fn note_history(&mut self, device: u32, id: u32, time_ns: i64) {
        // The hub knows the devices that it gave, by their uid, and no others.
        let of = self.fleet.device(device);
        let of = of.filter(|of| self.history.is_wanted() && !of.uid.is_empty());
        let (Some(of), Some((_, property))) = (of, self.fleet.place(device, id)) else {
            return;
        };
        let point = self.fleet.point(id);
        // A bad reading has no value: what stands there is an older one.
        let value = point.value.as_ref();
        let value = value.filter(|_| point.quality != Quality::Bad);
        if history::size(value) > MOST_VALUE_BYTES {
            let (device, property) = (&of.name, &**property);
            // Once: it may come with each reading.
            if self.counters.history_dropped == 0 {
                tracing::warn!(%device, property, "values of more than 1 MiB are not kept for the hub's history");
            }
            self.counters.history_dropped += 1;
            return;
        }
        let sample = PropertySample {
            property: Arc::clone(property),
            value: value.map(|value| shortened(value, point.rules.single)),
            quality: point.quality,
            reason: point.reason,
            time_ms: time_ns / 1_000_000,
        };
        self.counters.history += 1;
        self.scratch.history.push(sample);
    }

    #[cold]
    fn keep_history(&mut self, device: u32, now: Now) {
        let mut samples = std::mem::take(&mut self.scratch.history);
        if let Some(of) = self.fleet.device(device) {
            let timed = samples.drain(..).map(|mut sample| {
                if sample.time_ms == 0 {
                    sample.time_ms = now.unix_ms;
                }
                sample
            });
            let of = (&of.name, of.uid.as_str());
            self.history.add(device, of, timed, now.ms);
        }
        samples.clear();
        self.scratch.history = samples;
    }

    fn begin_group(&mut self, device: u32, mapper: Option<usize>) -> Group {
        // A point that is free again has no device.
        let Some(entry) = self.fleet.device_mut_if_there(device) else {
            return Group { device, ..NO_GROUP };
        };
        let version = self.interest.version();
        if entry.interest != version {
            entry.interest = version;
            entry.wants_batch = self.interest.wanted(&entry.topic);
            entry.wants_changes = self.interest.wants_changes(&entry.name);
        }
        Group {
            device,
            mapper,
            served: mapper.is_none() || entry.mapper == mapper,
            wants_batch: entry.wants_batch,
            wants_changes: entry.wants_changes,
            has_events: entry.behavior.is_some(),
            ..NO_GROUP
        }
    }

    fn end_group(&mut self, mut group: Group, now: Now) {
        if !group.served {
            return;
        }
        if !self.scratch.along.is_empty() || !self.scratch.groups.is_empty() {
            self.report_along(&mut group, now.ms as u32);
        }
        if !self.scratch.history.is_empty() {
            self.keep_history(group.device, now);
        }
        if group.has_events {
            self.look_at_events(group.device, now);
        }
        if group.good {
            if let Some(mapper) = group.mapper {
                self.links.heard(mapper);
            }
            self.heard_of(group.device, now);
        }
        if !group.reported {
            return;
        }
        self.touch(group.device, now);
        self.publish(group);
    }

    fn publish(&mut self, group: Group) {
        let scratch = &mut self.scratch;
        let Some(device) = self.fleet.device(group.device) else {
            return;
        };
        if group.wants_batch && !(scratch.values.is_empty() && scratch.quality.is_empty()) {
            let mut payload = Vec::with_capacity(
                scratch
                    .size
                    .max(64 + scratch.values.len() + scratch.quality.len()),
            );
            payload.extend_from_slice(b"{\"timestamp\":");
            format::whole(&mut payload, group.time_ns / 1_000_000);
            payload.extend_from_slice(b",\"values\":{");
            scratch.values.pop();
            payload.extend_from_slice(&scratch.values);
            payload.push(b'}');
            if !scratch.quality.is_empty() {
                scratch.quality.pop();
                payload.extend_from_slice(b",\"quality\":{");
                payload.extend_from_slice(&scratch.quality);
                payload.push(b'}');
            }
            payload.push(b'}');
            self.counters.payloads += 1;
            self.messages.push(Message::Batch {
                topic: device.topic.clone(),
                payload: Bytes::from(payload),
            });
        }
        scratch.values.clear();
        scratch.quality.clear();
        if !scratch.changes.is_empty() {
            let properties = std::mem::take(&mut scratch.changes);
            self.messages.push(Message::Changed(DeviceChange {
                device: device.name.clone(),
                properties,
            }));
        }
    }

    /// A good reading came: the device is there, unless its mapper knows better.
    fn heard_of(&mut self, id: u32, now: Now) {
        self.due.read(id, now);
        let Some(device) = self.fleet.device_mut(id) else {
            return;
        };
        device.last_online_ms = Some(now.unix_ms);
        // Online and yet not known to be reachable: its mapper was down for a moment.
        let news = *device.reach.get() != Reach::Up;
        if news && !device.state_by_mapper {
            self.set_device_state(id, DeviceState::Online, "", now);
        }
    }

    /// Shows the desired values what was read. Their samples are all in by now.
    fn desired_readings(&mut self, now: Now) {
        let mut ids = std::mem::take(&mut self.scratch.desired);
        for id in ids.drain(..) {
            let point = self.fleet.point(id);
            let listens = (point.desired.as_deref()).is_some_and(DesiredValue::listens);
            if !listens || point.quality == Quality::Bad || !point.is_active() {
                continue;
            }
            let matches = point.shows_desired();
            self.step_desired(id, &Event::Reading { matches }, now);
        }
        self.scratch.desired = ids;
    }

    /// A command that ended shows in the value of its property.
    pub(super) fn show_commanded(&mut self, id: u32, now: Now) {
        let point = self.fleet.point(id);
        let Some(desired) = point.desired.as_deref().filter(|_| point.takes_commands()) else {
            return;
        };
        let Ok(value) = desired.target.clone() else {
            return;
        };
        match desired.state {
            State::Confirmed => self.commanded(id, value, (Quality::Good, ""), now),
            State::Unknown => {
                let why = desired.message.clone();
                self.commanded(id, value, (Quality::Uncertain, &why), now);
            }
            _ => {}
        }
    }

    /// The value of a property is what was commanded.
    pub(super) fn commanded(&mut self, id: u32, value: Value, how: (Quality, &str), now: Now) {
        let device = self.fleet.point(id).device;
        let mut group = self.begin_group(device, None);
        let now_ms = now.ms as u32;
        let time_ns = now.unix_ms.saturating_mul(1_000_000);
        let point = self.fleet.point_mut(id);
        let last = (point.value.clone(), point.source_time_ns, point.version);
        point.commanded(value, how, time_ns, now_ms);
        let has_history = point.rules.has_history;
        self.reported(id, &mut group);
        if has_history {
            self.note_history(device, id, time_ns);
        }
        if group.wants_changes {
            self.note_change(device, id, last);
        }
        self.end_group(group, now);
    }

    /// A command that a former life brought to its end shows as it did.
    pub(super) fn taken_up(&mut self, id: u32) {
        let point = self.fleet.point_mut(id);
        point.write_only |= !point.rules.policy.write.command;
        let Some(desired) = point.desired.as_deref() else {
            return;
        };
        let time_ns = desired.since_ms.saturating_mul(1_000_000);
        let how = match desired.state {
            State::Confirmed => (Quality::Good, Box::default()),
            State::Unknown => (Quality::Uncertain, desired.message.clone()),
            _ => return,
        };
        // A method may have commanded something since.
        if point.source_time_ns > time_ns && how.0 == Quality::Good {
            return;
        }
        if let Ok(value) = desired.target.clone() {
            point.commanded(value, (how.0, &how.1), time_ns, 0);
        }
    }

    /// One reading outside of a mapper's batch: a local client measured by itself.
    pub(super) fn one_reading(&mut self, id: u32, reading: &Reading<'_>, now: Now) {
        let device = self.fleet.point(id).device;
        let mut group = self.begin_group(device, None);
        self.sample(id, reading, now.ms as u32, &mut group);
        self.end_group(group, now);
        self.desired_readings(now);
    }

    /// Marks what was not read for too long. Costs nothing per sample.
    pub(super) fn scan_stale(&mut self, now: Now) {
        if !self.due.stale_scan(now) {
            return;
        }
        let now_ms = now.ms as u32;
        let stale = self.fleet.stale(now_ms);
        self.due.stale_in(self.fleet.next_stale(now_ms), now);
        let mut group = NO_GROUP;
        for id in stale {
            let device = self.fleet.point(id).device;
            if device == FREE {
                continue;
            }
            if device != group.device {
                self.end_group(group, now);
                group = self.begin_group(device, None);
            }
            self.stale(id, "no reading for too long", now_ms, &mut group);
        }
        self.end_group(group, now);
    }

    /// The good values of a device are stale from now on.
    pub(super) fn age(&mut self, device: u32, why: &str, now: Now) {
        let mut group = self.begin_group(device, None);
        for id in self.fleet.points_of(device) {
            self.stale(id, why, now.ms as u32, &mut group);
        }
        self.end_group(group, now);
    }

    fn stale(&mut self, id: u32, why: &str, now_ms: u32, group: &mut Group) {
        let point = self.fleet.point_mut(id);
        if !point.go_stale(why, now_ms) {
            return;
        }
        group.reported = true;
        group.time_ns = group.time_ns.max(point.source_time_ns);
        let has_history = point.rules.has_history;
        if group.wants_batch {
            self.scratch
                .quality
                .extend_from_slice(point.fragment.as_bytes());
            self.scratch.quality.extend_from_slice(b"\"uncertain\",");
        }
        if has_history {
            // Not the time of its last reading: it was good then.
            self.note_history(group.device, id, 0);
        }
    }
}
