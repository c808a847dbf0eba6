//! Points that come by themselves: which the device is told to send, what comes, what is lost.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{Protocol, Received, RequestError, Watched};

use super::{
    codes::{message_of, reason_of},
    emitter::Output,
    machine::{DIAL_LAST, Flight, Job, Link, Machine, Outcome, PROBE_FIRST, PROBE_LAST, earlier},
    outcome::STEADY,
    unit::{Health, Now},
};

/// Connections in a row that do not last after which the bus counts as down.
const SHORT_LIVED: u32 = 3;

/// The pushed points of a unit.
///
/// Stale → told, at `at` at the earliest, or as the probe of a unit that is
/// offline → stale when the set changes, the unit is lost or the line was down.
pub(super) struct Watch {
    /// How many there are.
    pub(super) points: usize,
    /// The device does not know the present set.
    pub(super) stale: bool,
    /// The unit is not told before this time.
    pub(super) at: Instant,
    /// It stands in the queue of units to be told.
    pub(super) queued: bool,
    /// The count of configurations when it was last told on this connection.
    pub(super) epoch: Option<u64>,
    /// Attempts in a row that failed.
    failures: u32,
    /// Whether its points were told to be bad since.
    is_bad: bool,
    /// The pause before the next attempt.
    pause: Duration,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            points: 0,
            stale: false,
            at: now,
            queued: false,
            epoch: None,
            failures: 0,
            is_bad: false,
            pause: Duration::ZERO,
        }
    }

    /// The set is another one: the unit is told as soon as possible.
    pub(super) fn change(&mut self, now: Instant) {
        self.stale = true;
        self.at = now;
        self.succeed();
    }

    fn succeed(&mut self) {
        self.failures = 0;
        self.is_bad = false;
        self.pause = Duration::ZERO;
    }
}

impl<P: Protocol> Machine<P> {
    /// A new connection knows of no set.
    pub(super) fn watch_anew(&mut self, now: Instant) {
        self.watches.clear();
        self.unwatches.clear();
        for unit in self.units.iter_mut().flatten() {
            if let (true, Health::Offline(outage)) = (unit.watch.queued, &mut unit.health) {
                outage.probing = false;
            }
            unit.watch.queued = false;
            unit.watch.epoch = None;
            unit.watch.stale = unit.watch.points > 0;
            unit.watch.at = unit.watch.at.min(now + unit.watch.pause);
        }
    }

    /// A unit that is back is told at once what it shall send.
    pub(super) fn watch_now(&mut self, index: usize, now: Instant) {
        if let Some(unit) = &mut self.units[index]
            && unit.watch.stale
        {
            unit.watch.at = now;
            self.next_due = Some(now);
        }
    }

    pub(super) fn queue_watch(&mut self, index: usize) {
        if let Some(unit) = &mut self.units[index]
            && !std::mem::replace(&mut unit.watch.queued, true)
        {
            self.watches.push_back(index);
        }
    }

    /// A unit that is offline is not told now after all: its next probe does.
    pub(super) fn unqueue_watch(&mut self, index: usize) {
        self.watches.retain(|queued| *queued != index);
        if let Some(unit) = &mut self.units[index] {
            unit.watch.queued = false;
        }
    }

    /// Whether anything may come by itself.
    pub(super) fn listens(&self) -> bool {
        self.pushed > 0 && matches!(self.link, Link::Up)
    }

    /// The next unit that is to be told what it shall send.
    pub(super) fn next_watch(&mut self) -> Option<Job<P>> {
        // Without devices the connection will be closed, which says it all.
        if self.devices.is_empty() {
            return None;
        }
        while let Some(address) = self.unwatches.pop() {
            let mut units = self.units.iter_mut().flatten();
            let anew = units.find(|unit| unit.address == address && unit.watch.points > 0);
            if let Some(unit) = anew {
                // It is told its new set. Until then it sends the old one, of
                // which no point is configured any more.
                unit.watch.epoch.get_or_insert(0);
                continue;
            }
            self.flight = Flight::Watch {
                unit: None,
                epoch: self.epoch,
            };
            return Some(Job::Watch {
                unit: address,
                devices: Vec::new(),
            });
        }
        while let Some(index) = self.watches.pop_front() {
            // The place may be another unit's by now.
            let Some(unit) = self.units[index].as_mut().filter(|unit| unit.watch.queued) else {
                continue;
            };
            if !unit.greetings.is_empty() {
                // First what makes it send.
                self.watches.push_front(index);
                if let Some(job) = self.greeting_of(index) {
                    return Some(job);
                }
                self.watches.pop_front();
            }
            let Some(unit) = self.units[index].as_mut() else {
                continue;
            };
            unit.watch.queued = false;
            unit.watch.stale = false;
            self.flight = Flight::Watch {
                unit: Some(index),
                epoch: self.epoch,
            };
            let devices = unit
                .devices
                .iter()
                .filter_map(|id| self.devices.get(id))
                .filter(|device| device.pushed() > 0)
                .map(Arc::clone)
                .collect();
            return Some(Job::Watch {
                unit: unit.address.clone(),
                devices,
            });
        }
        None
    }

    /// The end of a [`Job::Watch`]; first values may stand in [`Output::read`].
    pub(super) fn watch_done(
        &mut self,
        index: Option<usize>,
        epoch: u64,
        result: Result<Outcome, RequestError>,
        now: Now,
        out: &mut Output,
    ) {
        let Some(index) = index.filter(|index| matches!(self.units.get(*index), Some(Some(_))))
        else {
            return;
        };
        match result {
            Ok(outcome) => {
                if let Some(unit) = &mut self.units[index] {
                    unit.watch.epoch = Some(epoch);
                    unit.watch.succeed();
                    if let Health::Offline(outage) = &mut unit.health {
                        outage.probing = false;
                    }
                }
                if matches!(outcome, Outcome::Watched(Watched::Answered)) {
                    self.heard(index, now, out);
                }
                let Output { read, pushed, .. } = out;
                pushed.append(read);
                self.keep_pushed(now, out);
            }
            Err(error) => self.watch_failed(index, &error, now, out),
        }
    }

    fn watch_failed(&mut self, index: usize, error: &RequestError, now: Now, out: &mut Output) {
        let is_alive = match error {
            RequestError::Refused(_) | RequestError::RefusedTogether(_) => {
                self.heard(index, now, out);
                true
            }
            RequestError::InvalidValue(_) => true,
            _ => false,
        };
        let is_online = is_alive || self.useless_answer(index, error, now, out);
        let Some(unit) = &mut self.units[index] else {
            return;
        };
        unit.watch.stale = true;
        unit.watch.failures = unit.watch.failures.saturating_add(1);
        // One that is offline is told as its probe.
        if !is_online {
            return;
        }
        if !is_alive && unit.watch.failures == 1 {
            unit.watch.at = now.instant;
            self.next_due = Some(now.instant);
            return;
        }
        let pause = (unit.watch.pause * 2).clamp(PROBE_FIRST, PROBE_LAST);
        let is_told = std::mem::replace(&mut unit.watch.is_bad, true);
        unit.watch.pause = pause;
        let at = now.instant + self.jittered(pause);
        self.next_due = earlier(self.next_due, Some(at));
        let Some(unit) = &mut self.units[index] else {
            return;
        };
        unit.watch.at = at;
        if is_told {
            return;
        }
        let (reason, message) = (reason_of(error), message_of(error));
        let devices = unit.devices.iter().filter_map(|id| self.devices.get(id));
        for slot in devices.flat_map(|device| &device.slots) {
            if slot.is_pushed() {
                let samples = &mut out.event.samples;
                samples.push_bad(slot.id, reason, &message, now.unix_ns);
            }
        }
    }

    /// Something has come by itself, or nothing will any more.
    pub(super) fn received(
        &mut self,
        result: Result<Received<P::Unit>, RequestError>,
        now: Now,
        out: &mut Output,
    ) {
        self.keep_pushed(now, out);
        match result {
            Ok(Received::Samples) => {}
            Ok(Received::Lost { unit, error }) => {
                if let Some(index) = self.unit_index(&unit) {
                    self.lost(index, &error, now, out);
                }
            }
            Err(error) if matches!(self.link, Link::Up) => {
                let is_fresh = self
                    .last_dial
                    .is_some_and(|dial| now.instant < dial + STEADY);
                self.short_lived = if is_fresh { self.short_lived + 1 } else { 1 };
                if self.short_lived < SHORT_LIVED {
                    return self.redial(now);
                }
                self.dials = self.short_lived;
                // Each of its connections stands for a moment: that is no outage
                // whose length would tell how often to try.
                self.line_down(&error, DIAL_LAST, now, out);
            }
            Err(_) => {}
        }
    }

    /// A unit has gone silent, as its connection says.
    fn lost(&mut self, index: usize, error: &RequestError, now: Now, out: &mut Output) {
        let Some(unit) = &mut self.units[index] else {
            return;
        };
        // Somebody else has ended it in the meantime.
        if unit.watch.points == 0 {
            return;
        }
        unit.watch.stale = true;
        if matches!(&unit.health, Health::Offline(outage) if outage.by_line || outage.probing) {
            return;
        }
        self.quarantine(index, error, now, out);
    }

    /// Takes over what has come by itself, but for points that were removed or
    /// configured anew since their unit was told. What is good shows that the
    /// unit is there.
    fn keep_pushed(&mut self, now: Now, out: &mut Output) {
        if out.pushed.is_empty() {
            return;
        }
        let mut pushed = std::mem::take(&mut out.pushed);
        let mut all = true;
        let mut last = None;
        for (point, is_bad) in pushed.points() {
            match self.sender(point) {
                Some(unit) if !is_bad && last != Some(unit) => {
                    self.heard(unit, now, out);
                    last = Some(unit);
                }
                Some(_) => {}
                None => all = false,
            }
        }
        if all {
            out.event.samples.append(&mut pushed);
        } else {
            let samples = &mut out.event.samples;
            samples.append_where(&mut pushed, |point| self.sender(point).is_some());
        }
        // Its memory is used again.
        out.pushed = pushed;
    }

    /// The unit that was told to send the point as it is configured now.
    fn sender(&self, point: u32) -> Option<usize> {
        let place = self.points.get(&point)?;
        let told = self.units.get(place.unit)?.as_ref()?.watch.epoch?;
        (place.born <= told).then_some(place.unit)
    }
}
