//! What a bus does next: a pure state machine over inputs and time.

use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    Completion, Level, MethodConfig, Planned, Protocol, Reason, Received, RequestError,
    SampleValue, Status, Watched,
};

use super::{
    cycle::{Cycle, Piece},
    emitter::Output,
    unit::{Device, Health, Now, Unit},
};

/// Pauses between attempts to dial.
pub(super) const DIAL_FIRST: Duration = Duration::from_millis(100);
pub(super) const DIAL_LAST: Duration = Duration::from_secs(30);
/// Pauses between probes of a silent unit.
pub(super) const PROBE_FIRST: Duration = Duration::from_secs(1);
pub(super) const PROBE_LAST: Duration = Duration::from_secs(60);
/// The same at the beginning for a unit that comes and goes, at most.
pub(super) const PROBE_FLAPPING: Duration = Duration::from_secs(8);
/// A command may bring a dial or a probe forward, but not more often than this.
pub(super) const EAGER: Duration = Duration::from_secs(1);
/// Commands in a row before a reading that is due gets its turn.
const COMMANDS_IN_A_ROW: u8 = 8;
/// What is said of a bus on which the author's code panicked.
pub(super) const FAILED: &str = "the mapper failed on this bus; see its log";
/// Commands that may wait for the bus.
pub(super) const WAITING: usize = 4096;
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
    Call(MethodCall),
}

/// A method and what it is called with.
#[derive(Debug, Clone)]
pub(super) struct MethodCall {
    pub(super) method: MethodConfig,
    pub(super) arguments: serde_json::Value,
}

/// What an exchange has brought besides samples.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    Watched(Watched),
    /// The result of a method, as JSON.
    Called(String),
}

/// What happened.
pub(super) enum Input<P: Protocol> {
    Command(BusCommand<P>),
    /// The end of [`Next::Dial`].
    Dialled(Result<(), RequestError>),
    /// The end of [`Next::Run`]; the samples stand in [`Output::read`].
    Done {
        result: Result<Outcome, RequestError>,
        /// Whether the connection still is.
        usable: bool,
    },
    /// [`crate::Connection::receive`] has returned; the samples stand in
    /// [`Output::pushed`]. After an error there is no connection.
    Received(Result<Received<P::Unit>, RequestError>),
    /// Time has passed.
    Tick,
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
    Read {
        unit: P::Unit,
        planned: Arc<Planned<P::Request>>,
    },
    Write {
        unit: P::Unit,
        device: Arc<Device<P>>,
        slot: usize,
        value: SampleValue,
    },
    /// All pushed points of these devices are what the unit is to send.
    Watch {
        unit: P::Unit,
        devices: Vec<Arc<Device<P>>>,
    },
    Call {
        unit: P::Unit,
        call: Box<MethodCall>,
        /// The call may take until then.
        deadline: Instant,
    },
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
    Cycle {
        cycle: Cycle<P>,
        piece: Piece<P>,
    },
    Command {
        command: Waiting,
        unit: usize,
        epoch: u64,
    },
    /// A write after connecting.
    Greeting {
        unit: usize,
        device: u32,
        place: usize,
    },
    /// `unit` is `None` for one that was removed.
    Watch {
        unit: Option<usize>,
        epoch: u64,
    },
}

/// A command that waits for its turn.
pub(super) struct Waiting {
    /// `None` once it is completed (its deadline passed during the exchange).
    pub(super) token: Option<u64>,
    pub(super) deadline: Instant,
    pub(super) device: u32,
    /// Greater goes first, among equals the oldest.
    pub(super) priority: i32,
    pub(super) ask: Ask,
}

/// What a command wants of its device.
pub(super) enum Ask {
    Read { point: u32 },
    Write { point: u32, value: SampleValue },
    Call(Box<MethodCall>),
}

impl Ask {
    pub(super) fn point(&self) -> Option<u32> {
        match self {
            Self::Read { point } | Self::Write { point, .. } => Some(*point),
            Self::Call(_) => None,
        }
    }
}

/// Where a point is.
pub(super) struct Place {
    pub(super) device: u32,
    pub(super) slot: u32,
    pub(super) unit: usize,
    /// The count of configurations when it was configured.
    pub(super) born: u64,
}

pub(super) struct Machine<P: Protocol> {
    pub(super) protocol: Arc<P>,
    pub(super) bus: P::Bus,
    pub(super) link: Link,
    pub(super) dials: u32,
    pub(super) last_dial: Option<Instant>,
    /// When the first of the dials failed that have failed since.
    pub(super) down_since: Option<Instant>,
    /// When the exchange that was last began.
    pub(super) exchanged: Instant,
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
    /// How many points come by themselves.
    pub(super) pushed: usize,
    /// Units that are to be told which points they shall send.
    pub(super) watches: VecDeque<usize>,
    /// Units that were removed and still send.
    pub(super) unwatches: Vec<P::Unit>,
    /// Connections in a row that were lost soon after they were opened.
    pub(super) short_lived: u32,
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
            down_since: None,
            exchanged: now,
            line_error: None,
            flight: Flight::None,
            writes: VecDeque::new(),
            reads: VecDeque::new(),
            in_a_row: 0,
            devices: HashMap::new(),
            points: HashMap::new(),
            units: Vec::new(),
            cycles: Vec::new(),
            pushed: 0,
            watches: VecDeque::new(),
            unwatches: Vec::new(),
            short_lived: 0,
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
            Input::Received(result) => self.received(result, now, out),
            Input::Tick => {}
        }
        self.expire(now.instant, out);
        let next = self.next(now, out);
        if matches!(next, Next::Run(_)) {
            self.exchanged = now.instant;
        }
        next
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
        // Nothing comes between the requests of a group.
        let mut inside = self.cycles.iter().position(Cycle::is_inside);
        if inside.is_none()
            && let Some(job) = self.next_greeting()
        {
            return Next::Run(job);
        }
        if inside.is_none()
            && (self.cycles.is_empty() || self.in_a_row < COMMANDS_IN_A_ROW)
            && let Some(job) = self.next_command(now, out).or_else(|| self.next_watch())
        {
            self.in_a_row = self.in_a_row.saturating_add(1);
            return Next::Run(job);
        }
        self.in_a_row = 0;
        // One unit after the other: readings that stand together in a batch
        // become one message.
        let first = |cycles: &[Cycle<P>]| {
            (0..cycles.len()).min_by_key(|index| (cycles[*index].deadline, cycles[*index].unit))
        };
        while let Some(index) = inside.take().or_else(|| first(&self.cycles)) {
            let mut cycle = self.cycles.swap_remove(index);
            if let (Some(unit), Some(piece)) = (self.units[cycle.unit].as_ref(), cycle.take()) {
                let job = Job::Read {
                    unit: unit.address.clone(),
                    planned: Arc::clone(&piece.planned),
                };
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
            // The protocol plans in there; a panic of it ends the bus, and
            // this command stands in no queue any more.
            let job = catch_unwind(AssertUnwindSafe(|| self.job_of(&command, now.instant)));
            let job = job.unwrap_or_else(|payload| {
                complete(out, command.token, Status::Internal, FAILED);
                resume_unwind(payload)
            });
            match job {
                Ok((unit, job)) => {
                    self.flight = Flight::Command {
                        command,
                        unit,
                        epoch: self.epoch,
                    };
                    return Some(job);
                }
                Err((status, message)) => complete(out, command.token, status, message),
            }
        }
        None
    }

    /// The unit of a command and its exchange, or how the command ends without one.
    fn job_of(
        &mut self,
        command: &Waiting,
        now: Instant,
    ) -> Result<(usize, Job<P>), (Status, String)> {
        let invalid = |message: &str| (Status::InvalidArgument, message.to_owned());
        let found = match command.ask.point() {
            Some(point) => self.find(command.device, point),
            None => self
                .devices
                .get(&command.device)
                .map(|device| (Arc::clone(device), 0)),
        };
        let (device, slot) =
            found.ok_or_else(|| invalid("the device was configured anew without this point"))?;
        let index = self
            .unit_index(&device.unit)
            .ok_or_else(|| invalid("the device was removed"))?;
        if let Some(Health::Offline(outage)) = self.units[index].as_mut().map(|of| &mut of.health) {
            if now < outage.tried + EAGER || outage.probing {
                let message = format!("{}; it is tried again soon", outage.message);
                let status = match command.ask {
                    Ask::Read { .. } => status_of_reason(outage.reason),
                    Ask::Write { .. } | Ask::Call(_) => Status::NotSent,
                };
                return Err((status, message));
            }
            outage.tried = now;
        }
        let unit = device.unit.clone();
        let job = match &command.ask {
            Ask::Write { value, .. } => Job::Write {
                unit,
                device,
                slot,
                value: value.clone(),
            },
            Ask::Call(call) => Job::Call {
                unit,
                call: call.clone(),
                deadline: command.deadline,
            },
            Ask::Read { point } => {
                let requests = self.requests(index, &[*point]);
                let planned = requests.into_iter().next().ok_or_else(|| {
                    let message = "the protocol planned no request for this point";
                    (Status::Internal, message.to_owned())
                })?;
                Job::Read { unit, planned }
            }
        };
        Ok((index, job))
    }

    pub(super) fn unit_index(&self, address: &P::Unit) -> Option<usize> {
        self.units
            .iter()
            .position(|unit| unit.as_ref().is_some_and(|unit| unit.address == *address))
    }

    pub(super) fn find(&self, device: u32, point: u32) -> Option<(Arc<Device<P>>, usize)> {
        let place = self
            .points
            .get(&point)
            .filter(|place| place.device == device)?;
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

pub(super) fn complete(
    out: &mut Output,
    token: Option<u64>,
    status: Status,
    message: impl Into<String>,
) {
    if let Some(token) = token {
        out.event.completions.push(Completion {
            token,
            status,
            message: message.into(),
        });
    }
}

pub(super) fn status_of_reason(reason: Reason) -> Status {
    match reason {
        Reason::Line | Reason::Decode => Status::Line,
        Reason::Timeout => Status::Timeout,
        Reason::Refused | Reason::WriteOnly => Status::Refused,
        Reason::Config => Status::InvalidConfig,
    }
}

pub(super) fn earlier(left: Option<Instant>, right: Option<Instant>) -> Option<Instant> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (one, other) => one.or(other),
    }
}
