//! What a bus does next: a pure state machine over inputs and time.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{Completion, DeviceState, Level, PlanPoint, Planned, Protocol, Reason, RequestError, SampleValue, Status};

use super::{
    cycle::{Cycle, Piece, Purpose},
    emitter::Output,
    unit::{Device, Health, Now, Outage, Plan, Unit},
};

/// Pauses between attempts to dial.
pub(super) const DIAL_FIRST: Duration = Duration::from_millis(100);
pub(super) const DIAL_LAST: Duration = Duration::from_secs(30);
/// Pauses between probes of a silent unit.
pub(super) const PROBE_FIRST: Duration = Duration::from_secs(1);
pub(super) const PROBE_LAST: Duration = Duration::from_secs(60);
/// A command may bring a dial or a probe forward, but not more often than this.
pub(super) const EAGER: Duration = Duration::from_secs(1);
/// Commands in a row before a reading that is due gets its turn.
const COMMANDS_IN_A_ROW: u8 = 8;
/// Commands that may wait for the bus.
const WAITING: usize = 4096;
/// The phases of buses that start together are spread over this time.
const STAGGER: Duration = Duration::from_millis(100);

/// A command for a device of this bus.
pub(super) struct BusCommand<P: Protocol> {
    /// `None`: nobody waits for the end.
    pub(super) token: Option<u64>,
    pub(super) deadline: Instant,
    pub(super) device: u32,
    pub(super) kind: BusCommandKind<P>,
}

pub(super) enum BusCommandKind<P: Protocol> {
    Configure {
        device: Arc<Device<P>>,
        /// The findings, for the completion.
        message: String,
    },
    Remove,
    Read {
        point: u32,
    },
    Write {
        point: u32,
        value: SampleValue,
    },
}

/// What happened.
pub(super) enum Input<P: Protocol> {
    Command(BusCommand<P>),
    /// The end of [`Next::Dial`].
    Dialled(Result<(), RequestError>),
    /// The end of [`Next::Run`]; the samples stand in [`Output::read`].
    Done {
        result: Result<(), RequestError>,
        /// Whether the connection still is.
        usable: bool,
    },
    /// Time has passed.
    Tick,
    /// The instance is being stopped.
    Stop,
}

/// What to do next.
pub(super) enum Next<P: Protocol> {
    /// Open the bus and tell with [`Input::Dialled`].
    Dial,
    /// Carry this out and tell with [`Input::Done`].
    Run(Job<P>),
    /// The dial or exchange under way goes on; `Tick` at this time at the latest.
    Busy(Option<Instant>),
    /// Nothing to do before this time.
    Wait(Option<Instant>),
}

/// An exchange.
pub(super) enum Job<P: Protocol> {
    Read { unit: P::Unit, planned: Arc<Planned<P::Request>> },
    Write { unit: P::Unit, device: Arc<Device<P>>, slot: usize, value: SampleValue },
}

/// The connection.
pub(super) enum Link {
    /// None. At `until` → `Dialing`.
    Down { until: Instant },
    /// `Dialled` → `Up` or `Down`.
    Dialing,
    /// `Done` with an unusable connection → `Down`, to be left at once when
    /// the last dial is not too fresh.
    Up,
}

/// What is under way on the connection.
pub(super) enum Flight<P: Protocol> {
    None,
    Cycle { cycle: Cycle<P>, piece: Piece<P> },
    Command { command: Waiting, unit: usize, epoch: u64 },
}

/// A read or write that waits for its turn.
pub(super) struct Waiting {
    /// `None` once it is completed (its deadline passed during the exchange).
    pub(super) token: Option<u64>,
    pub(super) deadline: Instant,
    pub(super) device: u32,
    pub(super) point: u32,
    /// `None` for a read.
    pub(super) value: Option<SampleValue>,
}

/// Where a point is.
pub(super) struct Place {
    pub(super) device: u32,
    pub(super) slot: u32,
    /// The count of configurations when it was configured.
    pub(super) born: u64,
}

pub(super) struct Machine<P: Protocol> {
    pub(super) protocol: Arc<P>,
    pub(super) bus: P::Bus,
    pub(super) link: Link,
    pub(super) dials: u32,
    pub(super) last_dial: Option<Instant>,
    /// Why the line is down, while it is.
    pub(super) line_error: Option<String>,
    pub(super) flight: Flight<P>,
    pub(super) writes: VecDeque<Waiting>,
    pub(super) reads: VecDeque<Waiting>,
    in_a_row: u8,
    pub(super) devices: HashMap<u32, Arc<Device<P>>>,
    pub(super) points: HashMap<u32, Place>,
    pub(super) units: Vec<Option<Unit<P>>>,
    pub(super) cycles: Vec<Cycle<P>>,
    /// No unit needs anything before this time.
    pub(super) next_due: Option<Instant>,
    /// The origin of all rasters.
    pub(super) base: Instant,
    pub(super) epoch: u64,
    pub(super) random: fastrand::Rng,
    pub(super) skipped: u64,
    pub(super) skips_told: Option<Instant>,
}

impl<P: Protocol> Machine<P> {
    pub(super) fn new(protocol: Arc<P>, bus: P::Bus, seed: u64, now: Instant) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let base = now + STAGGER.mul_f64(random.f64());
        Self {
            protocol,
            bus,
            link: Link::Down { until: now },
            dials: 0,
            last_dial: None,
            line_error: None,
            flight: Flight::None,
            writes: VecDeque::new(),
            reads: VecDeque::new(),
            in_a_row: 0,
            devices: HashMap::new(),
            points: HashMap::new(),
            units: Vec::new(),
            cycles: Vec::new(),
            next_due: Some(now),
            base,
            epoch: 0,
            random,
            skipped: 0,
            skips_told: None,
        }
    }

    /// Takes one input and says what to do next.
    pub(super) fn step(&mut self, input: Input<P>, now: Now, out: &mut Output) -> Next<P> {
        match input {
            Input::Command(command) => self.command(command, now, out),
            Input::Dialled(result) => self.dialled(result, now, out),
            Input::Done { result, usable } => self.done(result, usable, now, out),
            Input::Tick => {}
            Input::Stop => self.stop(out),
        }
        self.expire(now.instant, out);
        self.next(now, out)
    }

    fn next(&mut self, now: Now, out: &mut Output) -> Next<P> {
        if !matches!(self.flight, Flight::None) {
            return Next::Busy(self.first_deadline());
        }
        match self.link {
            Link::Dialing => Next::Busy(self.first_deadline()),
            Link::Down { until } if until <= now.instant && !self.devices.is_empty() => {
                self.link = Link::Dialing;
                self.last_dial = Some(now.instant);
                Next::Dial
            }
            Link::Down { until } => {
                let until = (!self.devices.is_empty()).then_some(until);
                Next::Wait(earlier(until, self.first_deadline()))
            }
            Link::Up => self.next_exchange(now, out),
        }
    }

    fn next_exchange(&mut self, now: Now, out: &mut Output) -> Next<P> {
        if self.next_due.is_some_and(|due| due <= now.instant) {
            self.form_cycles(now);
        }
        if (self.cycles.is_empty() || self.in_a_row < COMMANDS_IN_A_ROW)
            && let Some(job) = self.next_command(now, out)
        {
            self.in_a_row = self.in_a_row.saturating_add(1);
            return Next::Run(job);
        }
        self.in_a_row = 0;
        while let Some(index) = (0..self.cycles.len()).min_by_key(|index| self.cycles[*index].deadline) {
            let mut cycle = self.cycles.swap_remove(index);
            if let (Some(unit), Some(piece)) = (self.units[cycle.unit].as_ref(), cycle.take()) {
                let job = Job::Read { unit: unit.address.clone(), planned: Arc::clone(&piece.planned) };
                self.flight = Flight::Cycle { cycle, piece };
                return Next::Run(job);
            }
            self.finish_cycle(cycle, now, out);
        }
        Next::Wait(self.next_due)
    }

    /// The next command whose exchange makes sense.
    fn next_command(&mut self, now: Now, out: &mut Output) -> Option<Job<P>> {
        while let Some(command) = self.writes.pop_front().or_else(|| self.reads.pop_front()) {
            let Some((device, slot)) = self.find(command.device, command.point) else {
                complete(out, command.token, Status::InvalidArgument, "the device was configured anew without this point");
                continue;
            };
            let index = self.unit_index(&device.unit);
            let Some(unit) = index.and_then(|index| self.units[index].as_mut()) else {
                continue;
            };
            if let Health::Offline(outage) = &mut unit.health {
                if now.instant < outage.tried + EAGER || outage.probing {
                    let message = format!("{}; it is tried again soon", outage.message);
                    complete(out, command.token, status_of_reason(outage.reason), message);
                    continue;
                }
                outage.tried = now.instant;
            }
            let unit_address = device.unit.clone();
            let job = match &command.value {
                Some(value) => {
                    Job::Write { unit: unit_address, device: Arc::clone(&device), slot, value: value.clone() }
                }
                None => {
                    let plan = self.plan(index.unwrap_or_default(), &[command.point]);
                    let Some(planned) = plan.first() else {
                        complete(out, command.token, Status::Internal, "the protocol planned no request for this point");
                        continue;
                    };
                    Job::Read { unit: unit_address, planned: Arc::clone(planned) }
                }
            };
            self.flight = Flight::Command { command, unit: index.unwrap_or_default(), epoch: self.epoch };
            return Some(job);
        }
        None
    }

    /// Turns what is due into cycles.
    fn form_cycles(&mut self, now: Now) {
        let mut soonest: Option<Instant> = None;
        for index in 0..self.units.len() {
            let Some(unit) = &mut self.units[index] else { continue };
            if unit.dirty {
                unit.regroup(&self.devices, self.base, now.instant);
            }
            match &mut unit.health {
                Health::Offline(outage) if outage.by_line || outage.probing => continue,
                Health::Offline(outage) if outage.probe_at > now.instant => {
                    soonest = earlier(soonest, Some(outage.probe_at));
                    continue;
                }
                Health::Offline(outage) => {
                    outage.probing = true;
                    self.form_probe(index, now);
                    continue;
                }
                Health::Unknown | Health::Online { .. } => {}
            }
            if !unit.fresh.is_empty() {
                let fresh = std::mem::take(&mut unit.fresh);
                let plan = self.plan(index, &fresh);
                self.cycles.push(Cycle::new(index, Purpose::Fresh, now.instant, self.epoch, plan));
            }
            soonest = earlier(soonest, self.form_due(index, now));
        }
        self.next_due = soonest;
    }

    /// One cycle for all groups of the unit that are due; gives when the next one is.
    fn form_due(&mut self, index: usize, now: Now) -> Option<Instant> {
        let unit = self.units[index].as_mut()?;
        let mut key: Vec<u16> = Vec::new();
        let mut due: Vec<(Duration, Instant)> = Vec::new();
        let mut soonest = None;
        let mut deadline: Option<Instant> = None;
        for (position, group) in unit.groups.iter_mut().enumerate().filter(|(_, group)| !group.reading) {
            if group.due <= now.instant {
                group.reading = true;
                key.push(position as u16);
                due.push((group.interval, group.due));
                deadline = earlier(deadline, Some(group.due + group.interval));
            } else {
                soonest = earlier(soonest, Some(group.due));
            }
        }
        if let Some(deadline) = deadline {
            let plan = unit.plan(&key);
            let plan = plan.unwrap_or_else(|| {
                let points = self.units[index].iter().flat_map(|unit| &unit.groups).enumerate();
                let points: Vec<u32> = points
                    .filter(|(position, _)| key.contains(&(*position as u16)))
                    .flat_map(|(_, group)| group.points.iter().copied())
                    .collect();
                let plan = self.plan(index, &points);
                if let Some(unit) = &mut self.units[index] {
                    unit.keep_plan(&key, Arc::clone(&plan));
                }
                plan
            });
            self.cycles.push(Cycle::new(index, Purpose::Due(due), deadline, self.epoch, plan));
        }
        soonest
    }

    /// One point is enough to know whether the unit answers.
    fn form_probe(&mut self, index: usize, now: Now) {
        let Some(unit) = &mut self.units[index] else { return };
        let point = unit.groups.iter().find_map(|group| group.points.first().copied());
        if let (None, Health::Offline(outage)) = (point, &mut unit.health) {
            // Nothing is polled there: the next command will tell.
            outage.probing = false;
            outage.probe_at = now.instant + PROBE_LAST;
            return;
        }
        let points: Vec<u32> = point.into_iter().collect();
        let plan = self.plan(index, &points);
        self.cycles.push(Cycle::new(index, Purpose::Probe, now.instant, self.epoch, plan));
    }

    pub(super) fn plan(&self, index: usize, points: &[u32]) -> Plan<P> {
        let Some(unit) = &self.units[index] else {
            return Arc::new([]);
        };
        let points: Vec<_> = points
            .iter()
            .filter_map(|id| {
                let place = self.points.get(id)?;
                let slot = self.devices.get(&place.device)?.slots.get(place.slot as usize)?;
                Some(PlanPoint {
                    id: *id,
                    point: &slot.point,
                    alone: unit.alone.contains(id),
                    cut: unit.cuts.contains(id),
                })
            })
            .collect();
        if points.is_empty() {
            return Arc::new([]);
        }
        self.protocol.plan(&self.bus, &unit.address, &points).into_iter().map(Arc::new).collect()
    }

    fn command(&mut self, command: BusCommand<P>, now: Now, out: &mut Output) {
        let BusCommand { token, deadline, device, kind } = command;
        let (point, value) = match kind {
            BusCommandKind::Configure { device, message } => {
                self.configure(device, now, out);
                return complete(out, token, Status::Ok, message);
            }
            BusCommandKind::Remove => {
                let name = self.remove(device);
                for queue in [&mut self.writes, &mut self.reads] {
                    queue.retain(|waiting| {
                        if waiting.device == device {
                            let message = format!("device `{name}` was removed");
                            complete(out, waiting.token, Status::InvalidArgument, message);
                        }
                        waiting.device != device
                    });
                }
                return complete(out, token, Status::Ok, "");
            }
            BusCommandKind::Read { point } => (point, None),
            BusCommandKind::Write { point, value } => (point, Some(value)),
        };
        match self.find(device, point) {
            None => {
                let name = self.devices.get(&device).map_or("?", |device| &device.name);
                return complete(out, token, Status::InvalidArgument, format!("device `{name}` has no usable point {point}"));
            }
            Some((of, slot)) if value.is_some() && !of.slots[slot].writable => {
                let message = format!("`{}` of device `{}` is read-only", of.slots[slot].name, of.name);
                return complete(out, token, Status::InvalidArgument, message);
            }
            Some(_) => {}
        }
        if self.writes.len() + self.reads.len() >= WAITING {
            return complete(out, token, Status::Busy, format!("too many commands wait for {}", self.bus));
        }
        // Somebody wants something of a bus that is down: look now, unless we just did.
        if let Link::Down { until } = &mut self.link
            && self.last_dial.is_none_or(|dial| dial + EAGER <= now.instant)
        {
            *until = now.instant;
        }
        let queue = if value.is_some() { &mut self.writes } else { &mut self.reads };
        queue.push_back(Waiting { token, deadline, device, point, value });
    }

    fn configure(&mut self, device: Arc<Device<P>>, now: Now, out: &mut Output) {
        self.remove(device.id);
        self.epoch += 1;
        let index = self.unit_index(&device.unit).unwrap_or_else(|| {
            let unit = Some(Unit::new(device.unit.clone()));
            match self.units.iter().position(Option::is_none) {
                // A cycle of the unit that had this place may still be under way.
                Some(free) if !self.cycle_uses(free) => {
                    self.units[free] = unit;
                    free
                }
                _ => {
                    self.units.push(unit);
                    self.units.len() - 1
                }
            }
        });
        if let (Some(error), Some(unit)) = (&self.line_error, &mut self.units[index])
            && unit.devices.is_empty()
        {
            unit.health = Health::Offline(Outage::of_line(format!("no connection: {error}"), now));
        }
        for (point, fault) in &device.broken {
            out.event.samples.push_bad(*point, Reason::Config, fault, now.unix_ns);
        }
        for (slot, of) in device.slots.iter().enumerate() {
            self.points.insert(of.id, Place { device: device.id, slot: slot as u32, born: self.epoch });
        }
        let Some(unit) = &mut self.units[index] else { return };
        unit.devices.insert(device.id);
        unit.dirty = true;
        match &unit.health {
            Health::Unknown => {}
            Health::Online { .. } => {
                out.event.states.push(DeviceState { device: device.id, online: true, message: String::new() });
            }
            Health::Offline(outage) => {
                let message = outage.message.clone();
                for slot in &device.slots {
                    out.event.samples.push_bad(slot.id, outage.reason, &message, outage.since_ns);
                }
                out.event.states.push(DeviceState { device: device.id, online: false, message });
            }
        }
        unit.fresh.extend(device.slots.iter().filter(|slot| slot.interval.is_some()).map(|slot| slot.id));
        self.devices.insert(device.id, device);
        self.next_due = Some(now.instant);
    }

    /// Forgets a device; gives its name.
    fn remove(&mut self, id: u32) -> String {
        let Some(device) = self.devices.remove(&id) else {
            return id.to_string();
        };
        self.epoch += 1;
        let gone = |point: &u32| device.slots.iter().any(|slot| slot.id == *point);
        for slot in &device.slots {
            if self.points.get(&slot.id).is_some_and(|place| place.device == id) {
                self.points.remove(&slot.id);
            }
        }
        if let Some(index) = self.unit_index(&device.unit)
            && let Some(unit) = &mut self.units[index]
        {
            unit.devices.remove(&id);
            unit.dirty = true;
            if !unit.fresh.is_empty() {
                unit.fresh.retain(|point| !gone(point));
            }
            for slot in &device.slots {
                unit.alone.remove(&slot.id);
                unit.cuts.remove(&slot.id);
            }
            if unit.devices.is_empty() {
                self.units[index] = None;
                self.cycles.retain(|cycle| cycle.unit != index);
            }
        }
        device.name.clone()
    }

    fn cycle_uses(&self, index: usize) -> bool {
        match &self.flight {
            Flight::Cycle { cycle, .. } => cycle.unit == index,
            Flight::Command { unit, .. } => *unit == index,
            Flight::None => false,
        }
    }

    /// Ends all that waits: the instance is being stopped.
    fn stop(&mut self, out: &mut Output) {
        let flight = match std::mem::replace(&mut self.flight, Flight::None) {
            Flight::Command { command, .. } => Some(command),
            _ => None,
        };
        for waiting in flight.into_iter().chain(self.writes.drain(..)).chain(self.reads.drain(..)) {
            complete(out, waiting.token, Status::Stopped, "the mapper is stopped");
        }
        self.devices.clear();
        self.cycles.clear();
        self.units.clear();
        self.next_due = None;
    }

    /// Completes commands whose deadline has passed.
    fn expire(&mut self, now: Instant, out: &mut Output) {
        if let Flight::Command { command, .. } = &mut self.flight
            && command.deadline <= now
        {
            complete(out, command.token.take(), Status::Timeout, "no answer before the command's deadline");
        }
        if !self.writes.iter().chain(&self.reads).any(|waiting| waiting.deadline <= now) {
            return;
        }
        let (status, message) = match &self.line_error {
            Some(error) => (Status::Line, format!("no connection to {}: {error}", self.bus)),
            None => (Status::Timeout, format!("no turn on {} before the command's deadline", self.bus)),
        };
        for queue in [&mut self.writes, &mut self.reads] {
            queue.retain_mut(|waiting| {
                let over = waiting.deadline <= now;
                if over {
                    complete(out, waiting.token, status, message.clone());
                }
                !over
            });
        }
    }

    /// When the first command that waits has to end.
    fn first_deadline(&self) -> Option<Instant> {
        let flight = match &self.flight {
            Flight::Command { command, .. } if command.token.is_some() => Some(command.deadline),
            _ => None,
        };
        self.writes.iter().chain(&self.reads).map(|waiting| waiting.deadline).chain(flight).min()
    }

    pub(super) fn unit_index(&self, address: &P::Unit) -> Option<usize> {
        self.units.iter().position(|unit| unit.as_ref().is_some_and(|unit| unit.address == *address))
    }

    fn find(&self, device: u32, point: u32) -> Option<(Arc<Device<P>>, usize)> {
        let place = self.points.get(&point).filter(|place| place.device == device)?;
        Some((Arc::clone(self.devices.get(&device)?), place.slot as usize))
    }

    /// Says that periods are skipped: at once, then once a minute.
    pub(super) fn tell_skips(&mut self, now: Instant, out: &mut Output) {
        const TELL_EVERY: Duration = Duration::from_secs(60);
        if self.skipped == 0 || self.skips_told.is_some_and(|told| now < told + TELL_EVERY) {
            return;
        }
        let line = format!(
            "{} cannot keep up: a cycle takes longer than its interval, {} readings skipped so far; \
             hint: longer intervals, or fewer points",
            self.bus, self.skipped
        );
        out.logs.push((Level::Warn, line));
        self.skips_told = Some(now);
        self.skipped = 0;
    }

    /// Reads all of the unit at once, and goes on from there.
    pub(super) fn restart_unit(&mut self, index: usize, now: Instant) {
        let base = self.base;
        if let Some(unit) = &mut self.units[index] {
            unit.start_over(base, now);
        }
        self.next_due = Some(now);
    }
}

pub(super) fn complete(out: &mut Output, token: Option<u64>, status: Status, message: impl Into<String>) {
    if let Some(token) = token {
        out.event.completions.push(Completion { token, status, message: message.into() });
    }
}

pub(super) fn status_of_reason(reason: Reason) -> Status {
    match reason {
        Reason::Line | Reason::Decode => Status::Line,
        Reason::Timeout => Status::Timeout,
        Reason::Refused => Status::Refused,
        Reason::Config => Status::InvalidConfig,
    }
}

pub(super) fn earlier(left: Option<Instant>, right: Option<Instant>) -> Option<Instant> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (one, other) => one.or(other),
    }
}
