//! What the end of a dial or an exchange means for the line, the unit and its points.
//!
//! # Why this shape
//! A failed exchange says little by itself: the wire lost a bit, the unit is
//! switched off, a gateway closed the connection, or the device minds one
//! address. Each end is taken for the smallest thing that explains it. A refusal
//! is an answer, so the unit is well; a request that is refused as a whole is
//! halved until the point that the device minds stands alone, and that is
//! remembered for the next plan (`alone` and `cuts` of the unit). An answer that
//! is missing or garbled is asked for once more, behind all else that is due,
//! before its points are bad. Only silence in a row makes a unit offline: it is
//! then probed alone with growing pauses, and its points are told to be bad once,
//! not at each period. A lost connection is nobody's fault until dialling fails.
//!
//! What was read is taken over last, because a configuration may have come while
//! the request was under way: a sample counts only if its point was configured
//! before the request was planned (`born` and `epoch`), and a sample of a group
//! only with all others of it ([`super::snapshot`]).

use std::time::Duration;

use crate::{DeviceState, Level, Protocol, Reason, RequestError, Status};

use super::{
    codes::{reason_of, status_of},
    cycle::{Cycle, Learned, Piece, Purpose},
    emitter::Output,
    machine::{
        Ask, DIAL_FIRST, DIAL_LAST, EAGER, Flight, Link, Machine, Outcome, PROBE_FIRST,
        PROBE_FLAPPING, PROBE_LAST, Waiting, complete, earlier,
    },
    recovery::{dial_pause, probe_pause},
    unit::{Health, Now, Outage, following},
};

/// Exchanges in a row without any answer after which a unit is offline.
const SILENT: u8 = 2;
/// Exchanges in a row without a usable answer after which a unit is offline.
const USELESS: u8 = 4;
/// Bytes of a method's result at most: a batch to the host has its limit.
const LONGEST_RESULT: usize = 1 << 20;
/// How far a cycle with a failed request steps back behind the others.
const AGAIN: Duration = Duration::from_secs(1);
/// A unit that was online for this long has recovered: its next quarantine starts short.
pub(super) const STEADY: Duration = Duration::from_secs(30);

impl<P: Protocol> Machine<P> {
    pub(super) fn dialled(&mut self, result: Result<(), RequestError>, now: Now, out: &mut Output) {
        if !matches!(self.link, Link::Dialing) {
            return;
        }
        if let Err(error) = result {
            return self.line_down(&error, EAGER, now, out);
        }
        self.link = Link::Up;
        self.dials = 0;
        self.down_since = None;
        self.next_due = Some(now.instant);
        if self.line_error.take().is_some() {
            out.logs
                .push((Level::Info, format!("{} is connected again", self.bus)));
        }
        for index in 0..self.units.len() {
            let Some(unit) = &mut self.units[index] else {
                continue;
            };
            if matches!(&unit.health, Health::Offline(outage) if outage.by_line) {
                unit.health = Health::Unknown;
                (unit.silent, unit.useless) = (0, 0);
                self.restart_unit(index, now.instant);
            }
        }
        for index in 0..self.units.len() {
            self.greet(index);
        }
        self.watch_anew(now.instant);
    }

    /// Dialling failed: everything on the bus is offline until it succeeds.
    /// Pauses double up to `soon`, however short the time is that it is down.
    pub(super) fn line_down(
        &mut self,
        error: &RequestError,
        soon: Duration,
        now: Now,
        out: &mut Output,
    ) {
        let error = match error {
            RequestError::Line(message) | RequestError::Timeout(message) => message.clone(),
            other => other.to_string(),
        };
        let since = *self.down_since.get_or_insert(now.instant);
        let away = now.instant.saturating_duration_since(since);
        let cost = (self.last_dial).map_or(Duration::ZERO, |dial| {
            now.instant.saturating_duration_since(dial)
        });
        let steps = (DIAL_FIRST, soon, DIAL_LAST);
        let pause = self.jittered(dial_pause(away, self.dials, steps, cost));
        self.dials = self.dials.saturating_add(1);
        self.link = Link::Down {
            until: now.instant + pause,
        };
        self.cycles.clear();
        for index in 0..self.units.len() {
            let Some(unit) = &mut self.units[index] else {
                continue;
            };
            match &mut unit.health {
                Health::Offline(outage) => outage.probing = false,
                Health::Unknown | Health::Online { .. } => {
                    let outage = Outage::of_line(format!("no connection: {error}"), now);
                    self.take_offline(index, outage, out);
                }
            }
        }
        if self.line_error.is_none() {
            out.logs.push((
                Level::Warn,
                format!("{} is down: {error}; dialling until it is back", self.bus),
            ));
        }
        self.line_error = Some(error);
    }

    pub(super) fn done(
        &mut self,
        result: Result<Outcome, RequestError>,
        usable: bool,
        now: Now,
        out: &mut Output,
    ) {
        let lost = !usable || matches!(result, Err(RequestError::Line(_)));
        match std::mem::replace(&mut self.flight, Flight::None) {
            Flight::None => {}
            Flight::Cycle { cycle, piece } => {
                self.cycle_done(cycle, piece, result.map(drop), now, out);
            }
            Flight::Greeting {
                unit,
                device,
                place,
            } => self.greeted((unit, device, place), result, now, out),
            Flight::Watch { unit, epoch } => self.watch_done(unit, epoch, result, now, out),
            Flight::Command {
                command,
                unit,
                epoch,
            } => self.command_done(command, unit, epoch, result, now, out),
        }
        out.read.clear();
        if lost {
            self.redial(now);
        }
    }

    /// The connection is gone: opens it anew.
    pub(super) fn redial(&mut self, now: Now) {
        for cycle in &mut self.cycles {
            cycle.reconnects();
        }
        if matches!(self.link, Link::Up) {
            // Devices close idle connections and gateways restart: nobody need
            // know, unless dialling fails. Not too often, for a peer that
            // accepts and closes at once.
            let until = self
                .last_dial
                .map_or(now.instant, |dial| (dial + EAGER).max(now.instant));
            self.link = Link::Down { until };
        }
    }

    fn cycle_done(
        &mut self,
        mut cycle: Cycle<P>,
        piece: Piece<P>,
        result: Result<(), RequestError>,
        now: Now,
        out: &mut Output,
    ) {
        let index = cycle.unit;
        if self.units.get(index).is_none_or(Option::is_none) {
            return;
        }
        match result {
            Ok(()) => {
                self.heard(index, now, out);
                self.keep_read(&mut cycle, &piece, out);
                if let (Learned::CutBefore(point), Some(unit)) =
                    (cycle.succeeded(&piece), &mut self.units[index])
                {
                    unit.cuts.insert(point);
                    unit.forget_plans();
                }
            }
            Err(RequestError::RefusedTogether(message)) if piece.planned.points.len() > 1 => {
                self.heard(index, now, out);
                self.tell_parts(index, &message, now, out);
                let (first, second) = piece
                    .planned
                    .points
                    .split_at(piece.planned.points.len() / 2);
                let halves = [self.requests(index, first), self.requests(index, second)];
                cycle.split(&piece, halves);
            }
            Err(RequestError::RefusedTogether(message)) => {
                self.heard(index, now, out);
                self.bad(&mut cycle, &piece, Reason::Refused, &message, now, out);
                if let Some(unit) = &mut self.units[index] {
                    unit.learns(now.instant);
                    let known = unit.alone.len();
                    unit.alone.extend(&piece.planned.points);
                    if unit.alone.len() > known {
                        unit.forget_plans();
                    }
                }
            }
            Err(RequestError::Refused(message)) => {
                self.heard(index, now, out);
                self.bad(&mut cycle, &piece, Reason::Refused, &message, now, out);
            }
            Err(RequestError::InvalidValue(message)) => {
                self.bad(&mut cycle, &piece, Reason::Decode, &message, now, out);
            }
            Err(error) => {
                if !self.useless_answer(index, &error, now, out) {
                    return;
                }
                self.failed_once(&mut cycle, piece, &error, now, out);
            }
        }
        if cycle.is_done() {
            self.finish_cycle(cycle, now, out);
        } else {
            self.give_snapshots(&mut cycle, false, now, out);
            self.cycles.push(cycle);
        }
    }

    /// A request is refused as a whole: told once until the whole is tried again.
    fn tell_parts(&mut self, index: usize, message: &str, now: Now, out: &mut Output) {
        let Some(unit) = &mut self.units[index] else {
            return;
        };
        if unit.learns(now.instant) {
            out.logs.push((
                Level::Info,
                format!(
                    "unit {} on {} does not take a request as a whole ({message}); it is read in parts",
                    unit.address, self.bus
                ),
            ));
        }
    }

    /// Gives out the groups that are whole, or at the end `all` of them.
    fn give_snapshots(&self, cycle: &mut Cycle<P>, all: bool, now: Now, out: &mut Output) {
        let (epoch, samples) = (cycle.epoch, &mut out.event.samples);
        let counts = |point| self.counts(point, epoch);
        cycle
            .snapshots
            .give(&cycle.plan, all, now.unix_ns, samples, counts);
    }

    /// A request brought nothing usable, but its unit is not given up: it is
    /// tried once more.
    fn failed_once(
        &self,
        cycle: &mut Cycle<P>,
        piece: Piece<P>,
        error: &RequestError,
        now: Now,
        out: &mut Output,
    ) {
        let (reason, message) = (reason_of(error), error.to_string());
        match piece.run {
            Some(snapshot) => cycle.run_failed(snapshot, reason, &message),
            // In the middle of a group that was split nothing can be put off.
            None if piece.again || cycle.is_inside() => {
                return self.bad(cycle, &piece, reason, &message, now, out);
            }
            None => cycle.put_back(piece),
        }
        // The others that are due go first.
        cycle.deadline = cycle.deadline.max(now.instant + AGAIN);
    }

    /// All requests of a cycle are done: its groups wait for their next period.
    pub(super) fn finish_cycle(&mut self, mut cycle: Cycle<P>, now: Now, out: &mut Output) {
        self.give_snapshots(&mut cycle, true, now, out);
        let Some(unit) = &mut self.units[cycle.unit] else {
            return;
        };
        match cycle.purpose {
            Purpose::Fresh => {}
            Purpose::Probe => {
                if let Health::Offline(outage) = &mut unit.health {
                    outage.probing = false;
                }
                self.next_due = Some(now.instant);
            }
            Purpose::Due(groups) => {
                for (interval, due) in groups {
                    let Some(group) = unit
                        .groups
                        .iter_mut()
                        .find(|group| group.interval == interval)
                    else {
                        continue;
                    };
                    // A restart of the unit has set its own time.
                    if !std::mem::replace(&mut group.reading, false) {
                        continue;
                    }
                    let (next, skipped) = following(due, interval, now.instant);
                    group.due = next;
                    self.skipped += skipped * group.points.len() as u64;
                    self.next_due = earlier(self.next_due, Some(next));
                }
            }
        }
        self.tell_skips(now.instant, out);
    }

    fn command_done(
        &mut self,
        command: Waiting,
        unit: usize,
        epoch: u64,
        result: Result<Outcome, RequestError>,
        now: Now,
        out: &mut Output,
    ) {
        let known = self.units.get(unit).is_some_and(Option::is_some);
        let (status, message) = match result {
            Ok(Outcome::Called(text)) if text.len() > LONGEST_RESULT => {
                let message = format!("the result of the method has {} bytes", text.len());
                (Status::Internal, message)
            }
            Ok(outcome) => {
                self.keep_samples(epoch, out);
                let message = match outcome {
                    Outcome::Called(text) => text,
                    Outcome::Done | Outcome::Watched(_) => String::new(),
                };
                (Status::Ok, message)
            }
            Err(error) => {
                let status = status_of(&error);
                let is_alive = matches!(status, Status::InvalidArgument | Status::Refused);
                if known && !is_alive {
                    self.useless_answer(unit, &error, now, out);
                }
                self.read_failed(&command, unit, &error, now, out);
                (status, error.to_string())
            }
        };
        if known && matches!(status, Status::Ok | Status::Refused) {
            self.heard(unit, now, out);
        }
        complete(out, command.token, status, message);
    }

    /// A point that was read on command is bad, unless its unit is offline
    /// anyway, which was told.
    fn read_failed(
        &self,
        command: &Waiting,
        unit: usize,
        error: &RequestError,
        now: Now,
        out: &mut Output,
    ) {
        let Ask::Read { point } = command.ask else {
            return;
        };
        let is_there = self
            .points
            .get(&point)
            .is_some_and(|place| place.device == command.device);
        let unit = self.units.get(unit).and_then(Option::as_ref);
        if is_there && unit.is_some_and(|unit| !unit.is_offline()) {
            let (reason, message) = (reason_of(error), error.to_string());
            out.event
                .samples
                .push_bad(point, reason, &message, now.unix_ns);
        }
    }

    /// The unit answered, whatever it said.
    pub(super) fn heard(&mut self, index: usize, now: Now, out: &mut Output) {
        let Some(unit) = &mut self.units[index] else {
            return;
        };
        (unit.silent, unit.useless) = (0, 0);
        let was_offline = match &unit.health {
            Health::Online { .. } => return,
            Health::Unknown => false,
            Health::Offline(_) => true,
        };
        unit.health = Health::Online { since: now.instant };
        for device in &unit.devices {
            out.event.states.push(DeviceState {
                device: *device,
                online: true,
                message: String::new(),
            });
        }
        if was_offline {
            out.logs.push((
                Level::Info,
                format!("unit {} on {} answers again", unit.address, self.bus),
            ));
            self.restart_unit(index, now.instant);
            self.watch_now(index, now.instant);
        }
    }

    /// An exchange brought nothing. `false`: the unit is offline now, and its cycles are gone.
    pub(super) fn useless_answer(
        &mut self,
        index: usize,
        error: &RequestError,
        now: Now,
        out: &mut Output,
    ) -> bool {
        let Some(unit) = &mut self.units[index] else {
            return false;
        };
        unit.useless = unit.useless.saturating_add(1);
        if !matches!(error, RequestError::Garbled(_)) {
            unit.silent = unit.silent.saturating_add(1);
        }
        let is_offline = unit.is_offline();
        if !is_offline && unit.silent < SILENT && unit.useless < USELESS {
            return true;
        }
        self.quarantine(index, error, now, out);
        false
    }

    /// The unit is offline from now on, or still: it is probed after a pause
    /// that grows while it keeps failing.
    pub(super) fn quarantine(
        &mut self,
        index: usize,
        error: &RequestError,
        now: Now,
        out: &mut Output,
    ) {
        let Some(unit) = &mut self.units[index] else {
            return;
        };
        let away = match &unit.health {
            Health::Online { since } if now.instant < *since + STEADY => {
                unit.pause = (unit.pause * 2).clamp(PROBE_FIRST, PROBE_FLAPPING);
                Duration::ZERO
            }
            Health::Online { .. } | Health::Unknown => {
                unit.pause = PROBE_FIRST;
                Duration::ZERO
            }
            Health::Offline(outage) => now.instant.saturating_duration_since(outage.since),
        };
        let floor = unit.pause.max(PROBE_FIRST);
        let (cost, silent) = self.cost_of_probes(now.instant);
        let pause = probe_pause(away, floor, PROBE_LAST, cost, silent);
        let probe_at = now.instant + self.jittered(pause);
        let Some(unit) = &mut self.units[index] else {
            return;
        };
        if let Health::Offline(outage) = &mut unit.health {
            outage.probing = false;
            outage.tried = now.instant;
            outage.probe_at = probe_at;
            self.next_due = earlier(self.next_due, Some(probe_at));
            self.cycles.retain(|cycle| cycle.unit != index);
            return;
        }
        let message = error.to_string();
        out.logs.push((
            Level::Warn,
            format!(
                "unit {} on {} is offline ({message}); it is probed alone until it answers",
                unit.address, self.bus
            ),
        ));
        let outage = Outage {
            by_line: false,
            reason: reason_of(error),
            message,
            since_ns: now.unix_ns,
            since: now.instant,
            probe_at,
            probing: false,
            tried: now.instant,
        };
        self.take_offline(index, outage, out);
    }

    /// Tells the transition: the devices, and each point once.
    fn take_offline(&mut self, index: usize, outage: Outage, out: &mut Output) {
        let Some(unit) = &mut self.units[index] else {
            return;
        };
        for device in unit.devices.iter().filter_map(|id| self.devices.get(id)) {
            for slot in &device.slots {
                out.event.samples.push_bad(
                    slot.id,
                    outage.reason,
                    &outage.message,
                    outage.since_ns,
                );
            }
            let message = outage.message.clone();
            out.event.states.push(DeviceState {
                device: device.id,
                online: false,
                message,
            });
        }
        self.next_due = earlier(self.next_due, Some(outage.probe_at));
        unit.health = Health::Offline(outage);
        // Whatever it was told to send: that is asked for anew.
        unit.watch.stale |= unit.watch.points > 0;
        self.cycles.retain(|cycle| cycle.unit != index);
        self.greet(index);
    }

    /// Bad samples for the points of a request, and for the groups that they belong to.
    fn bad(
        &self,
        cycle: &mut Cycle<P>,
        piece: &Piece<P>,
        reason: Reason,
        message: &str,
        now: Now,
        out: &mut Output,
    ) {
        for point in &piece.planned.points {
            match cycle.plan.snapshot_of(*point) {
                Some(snapshot) => cycle.snapshots.fail(snapshot, reason, message),
                None if self.is_of_a_group(cycle, *point) => {}
                None if self.counts(*point, cycle.epoch) => {
                    let samples = &mut out.event.samples;
                    samples.push_bad(*point, reason, message, now.unix_ns);
                }
                None => {}
            }
        }
    }

    /// Whether a probe has asked for a point of a group, which does not come
    /// alone: it is read with the others in a moment.
    fn is_of_a_group(&self, cycle: &Cycle<P>, point: u32) -> bool {
        cycle.purpose == Purpose::Probe
            && self
                .points
                .get(&point)
                .and_then(|place| self.find(place.device, point))
                .is_some_and(|(device, slot)| device.slots[slot].group.is_some())
    }

    /// Whether what was planned at `epoch` still says something about the point.
    fn counts(&self, point: u32, epoch: u64) -> bool {
        self.points
            .get(&point)
            .is_some_and(|place| place.born <= epoch)
    }

    /// Takes over what a request of a cycle has read: at once, or when the
    /// group is whole.
    fn keep_read(&self, cycle: &mut Cycle<P>, piece: &Piece<P>, out: &mut Output) {
        let mut points = piece.planned.points.iter();
        if points.any(|point| self.is_of_a_group(cycle, *point)) {
            return out.read.clear();
        }
        if cycle.plan.snapshots.is_empty() {
            return self.keep_samples(cycle.epoch, out);
        }
        let epoch = cycle.epoch;
        cycle.snapshots.hold(
            &cycle.plan,
            &piece.planned.points,
            &mut out.read,
            &mut out.event.samples,
            |point| self.counts(point, epoch),
        );
    }

    /// Takes over what the exchange has read, but for points that were removed
    /// or configured anew in the meantime.
    fn keep_samples(&self, epoch: u64, out: &mut Output) {
        if epoch == self.epoch {
            return out.event.samples.append(&mut out.read);
        }
        let (kept, read) = (&mut out.event.samples, &mut out.read);
        kept.append_where(read, |point| self.counts(point, epoch));
    }
}
