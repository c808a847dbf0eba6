//! A protocol of numbered registers, and a bus that answers in virtual time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    Completion, Connection, Delivery, DeviceConfig, DeviceState, Fault, Parsed, PlanPoint, Planned,
    Protocol, Reading, Reason, Received, RequestError, SampleValue, Samples, Watched,
    schedule::{
        emitter::Output,
        machine::{BusCommand, BusCommandKind, Input, Job, Machine, Next, Outcome},
        unit::{Device, Now, Slot},
    },
};

pub(super) struct Registers;

/// Registers from `first` to `last`.
pub(super) struct Span {
    pub(super) first: u16,
    pub(super) last: u16,
}

pub(super) struct NoConnection;

const LONGEST: u16 = 10;
const GAP: u16 = 4;

impl Protocol for Registers {
    type Bus = &'static str;
    type Unit = u8;
    type Point = u16;
    type Request = Span;
    type Connection = NoConnection;

    fn new(_config: &Value) -> Result<Self, Vec<Fault>> {
        Ok(Self)
    }

    fn parse(&self, _device: &DeviceConfig) -> Result<Parsed<Self>, Vec<Fault>> {
        Err(Vec::new())
    }

    fn plan(
        &self,
        _bus: &&'static str,
        _unit: &u8,
        points: &[PlanPoint<'_, u16>],
    ) -> Vec<Planned<Span>> {
        let mut sorted: Vec<_> = points.iter().collect();
        sorted.sort_by_key(|point| *point.point);
        let mut planned: Vec<Planned<Span>> = Vec::new();
        let mut closed = true;
        for point in sorted {
            let address = *point.point;
            match planned.last_mut() {
                Some(Planned { request, points })
                    if !closed
                        && !point.alone
                        && !point.cut
                        && address <= request.last + GAP
                        && address < request.first + LONGEST =>
                {
                    request.last = address;
                    points.push(point.id);
                }
                _ => {
                    planned.push(Planned {
                        request: Span {
                            first: address,
                            last: address,
                        },
                        points: vec![point.id],
                    });
                    closed = point.alone;
                }
            }
        }
        planned
    }

    async fn connect(&self, _bus: &&'static str) -> Result<NoConnection, RequestError> {
        Ok(NoConnection)
    }

    fn timeout(&self, _bus: &&'static str, _unit: &u8) -> Duration {
        Duration::from_secs(1)
    }
}

impl Connection<Registers> for NoConnection {
    async fn read(&mut self, _: &u8, _: &Span, _: &mut Samples) -> Result<(), RequestError> {
        Ok(())
    }

    async fn write(&mut self, _: &u8, _: &u16, _: &SampleValue) -> Result<(), RequestError> {
        Ok(())
    }
}

/// What the bus does; tests change it between runs.
pub(super) struct World {
    pub(super) latency: Duration,
    pub(super) timeout: Duration,
    pub(super) dead: BTreeSet<u8>,
    pub(super) illegal: BTreeSet<u16>,
    pub(super) is_down: bool,
    /// Exchanges, counted from 1, that get no answer.
    pub(super) silent_at: Vec<usize>,
    /// Points that are answered with nonsense, …
    pub(super) undecodable: BTreeSet<u32>,
    /// … and with nothing.
    pub(super) left_out: BTreeSet<u32>,
    /// Units that refuse to be watched.
    pub(super) unwatchable: BTreeSet<u8>,
    /// What a watch that went well says.
    pub(super) watched: Watched,
}

pub(super) struct Exchange {
    pub(super) at: Duration,
    pub(super) unit: u8,
    pub(super) is_write: bool,
    /// The points that it reads or, of a watch, that shall be sent.
    pub(super) points: Vec<u32>,
    pub(super) is_watch: bool,
}

/// What comes by itself.
#[derive(Debug, Clone)]
pub(super) enum Push {
    /// Good samples of these points, as far as the bus is to send them.
    Values(Vec<u32>),
    /// A bad sample.
    Bad(u32),
    Lost(u8),
    /// The connection ends.
    Broken,
}

/// Points from this address on are pushed.
pub(super) const PUSHED: u16 = 1000;

pub(super) struct Bench {
    machine: Machine<Registers>,
    out: Output,
    start: Instant,
    pub(super) at: Duration,
    next: Next<Registers>,
    pub(super) world: World,
    commands: VecDeque<(Duration, BusCommand<Registers>)>,
    pushes: VecDeque<(Duration, Push)>,
    /// What each unit is to send, as long as it is connected.
    pub(super) watched: BTreeMap<u8, Vec<u32>>,
    is_connected: bool,
    pub(super) exchanges: Vec<Exchange>,
    pub(super) dials: Vec<Duration>,
    pub(super) reads: Vec<(Duration, u32)>,
    pub(super) bad: Vec<(Duration, u32, Reason)>,
    /// The messages of the bad samples.
    pub(super) reasons: Vec<String>,
    /// Points and source times of each step that gave samples.
    pub(super) batches: Vec<Vec<(u32, i64)>>,
    pub(super) completions: Vec<(Duration, Completion)>,
    pub(super) states: Vec<(Duration, DeviceState)>,
    pub(super) logs: Vec<String>,
}

/// A device of points `(id, address, interval in milliseconds)`.
pub(super) fn device(id: u32, unit: u8, points: &[(u32, u16, u64)]) -> Arc<Device<Registers>> {
    let slots = points.iter().map(|(point, address, interval)| Slot {
        id: *point,
        name: format!("p{point}").into(),
        writable: true,
        priority: 0,
        group: None,
        delivery: if *address >= PUSHED {
            Delivery::Pushed
        } else {
            Delivery::Polled
        },
        interval: (*interval > 0).then(|| Duration::from_millis(*interval)),
        point: *address,
    });
    Arc::new(Device {
        id,
        name: format!("default/d{id}"),
        unit,
        slots: slots.collect(),
        methods: Vec::new(),
        connect: Vec::new(),
        broken: Vec::new(),
    })
}

impl Bench {
    pub(super) fn new() -> Self {
        let start = Instant::now();
        Self {
            machine: Machine::new(Arc::new(Registers), "bus", 7, start),
            out: Output::default(),
            start,
            at: Duration::ZERO,
            next: Next::Wait(None),
            world: World {
                latency: Duration::from_millis(1),
                timeout: Duration::from_millis(500),
                dead: BTreeSet::new(),
                illegal: BTreeSet::new(),
                is_down: false,
                silent_at: Vec::new(),
                undecodable: BTreeSet::new(),
                left_out: BTreeSet::new(),
                unwatchable: BTreeSet::new(),
                watched: Watched::Answered,
            },
            commands: VecDeque::new(),
            pushes: VecDeque::new(),
            watched: BTreeMap::new(),
            is_connected: false,
            exchanges: Vec::new(),
            dials: Vec::new(),
            reads: Vec::new(),
            bad: Vec::new(),
            reasons: Vec::new(),
            batches: Vec::new(),
            completions: Vec::new(),
            states: Vec::new(),
            logs: Vec::new(),
        }
    }

    /// Gives a command at a time from the start; times must not go back.
    pub(super) fn command(
        &mut self,
        at: Duration,
        token: u64,
        device: u32,
        kind: BusCommandKind<Registers>,
    ) {
        let deadline = self.start + at + Duration::from_secs(3);
        self.commands.push_back((
            at,
            BusCommand {
                token: Some(token),
                deadline,
                device,
                kind,
            },
        ));
    }

    pub(super) fn configure(&mut self, device: Arc<Device<Registers>>) {
        let id = device.id;
        self.command(
            self.at,
            u64::from(id),
            id,
            BusCommandKind::Configure {
                device,
                message: String::new(),
            },
        );
    }

    /// Something comes by itself at a time from the start; times must not go back.
    pub(super) fn push(&mut self, at: Duration, push: Push) {
        self.pushes.push_back((at, push));
    }

    pub(super) fn now(&self) -> Now {
        Now {
            instant: self.start + self.at,
            unix_ns: self.at.as_nanos() as i64,
        }
    }

    /// When the next reading is due.
    pub(super) fn next_due(&self) -> Duration {
        self.machine.next_due.unwrap() - self.start
    }

    /// The end; what still waits is recorded.
    pub(super) fn stop(&mut self) {
        self.machine.stop(crate::Status::Stopped, "", &mut self.out);
        self.step(Input::Tick);
    }

    /// One input, and the record of what comes out.
    pub(super) fn step(&mut self, input: Input<Registers>) {
        let now = self.now();
        self.next = self.machine.step(input, now, &mut self.out);
        for sample in self.out.event.samples.iter() {
            match sample.reading {
                Reading::Bad { reason, message } => {
                    self.bad.push((self.at, sample.point, reason.unwrap()));
                    self.reasons.push(message.to_owned());
                }
                _ => self.reads.push((self.at, sample.point)),
            }
        }
        if !self.out.event.samples.is_empty() {
            let samples = self.out.event.samples.iter();
            let batch = samples.map(|sample| (sample.point, sample.source_time_ns));
            self.batches.push(batch.collect());
        }
        self.out.event.samples.clear();
        let at = self.at;
        self.completions.extend(
            self.out
                .event
                .completions
                .drain(..)
                .map(|completion| (at, completion)),
        );
        self.states
            .extend(self.out.event.states.drain(..).map(|state| (at, state)));
        self.logs
            .extend(self.out.logs.drain(..).map(|(_, line)| line));
    }

    /// Lets time pass until `end`, while the machine and the bus do as they do.
    pub(super) fn run_until(&mut self, end: Duration) {
        while self.at < end {
            match std::mem::replace(&mut self.next, Next::Wait(None)) {
                Next::Dial => {
                    self.dials.push(self.at);
                    self.pass(self.world.latency);
                    let down = || Err(RequestError::Line("connection refused".to_owned()));
                    let result = if self.world.is_down { down() } else { Ok(()) };
                    self.is_connected = result.is_ok();
                    self.watched.clear();
                    self.step(Input::Dialled(result));
                }
                Next::Run(job) => self.exchange(&job),
                Next::Busy(_) => panic!("nothing is under way"),
                Next::Wait(until) => {
                    let until = until
                        .map_or(end, |until| until.saturating_duration_since(self.start))
                        .max(self.at);
                    let command = self.commands.front().map(|(at, _)| *at);
                    let push = self.pushes.front().map(|(at, _)| *at);
                    let until_end = until.min(end);
                    match (command, push) {
                        (Some(at), push)
                            if at <= until_end && push.is_none_or(|push| at <= push) =>
                        {
                            self.at = self.at.max(at);
                            let (_, command) = self.commands.pop_front().unwrap();
                            self.step(Input::Command(command));
                        }
                        (_, Some(at)) if at <= until_end => {
                            self.at = self.at.max(at);
                            self.next = Next::Wait(Some(self.start + until));
                            self.receive();
                        }
                        _ if until >= end => {
                            self.next = Next::Wait(Some(self.start + until));
                            self.at = end;
                        }
                        _ => {
                            self.at = until;
                            self.step(Input::Tick);
                        }
                    }
                }
            }
        }
    }

    /// The next thing that comes by itself, as the connection has it. Nothing
    /// comes without a connection.
    fn receive(&mut self) {
        let (_, push) = self.pushes.pop_front().unwrap();
        if !self.is_connected {
            return;
        }
        let time = self.at.as_nanos() as i64;
        let is_sent = |point: &u32| self.watched.values().flatten().any(|of| of == point);
        let result = match push {
            Push::Values(points) => {
                for point in points.iter().filter(|point| is_sent(point)) {
                    self.out.pushed.push_u64(*point, 1, time);
                }
                Ok(Received::Samples)
            }
            Push::Bad(point) => {
                if is_sent(&point) {
                    let pushed = &mut self.out.pushed;
                    pushed.push_bad(point, Reason::Decode, "nonsense", time);
                }
                Ok(Received::Samples)
            }
            Push::Lost(unit) => Ok(Received::Lost {
                unit,
                error: RequestError::Timeout("silent".to_owned()),
            }),
            Push::Broken => {
                self.is_connected = false;
                Err(RequestError::Line("closed".to_owned()))
            }
        };
        self.step(Input::Received(result));
    }

    /// Time passes during a dial or an exchange; commands come meanwhile.
    fn pass(&mut self, time: Duration) {
        let end = self.at + time;
        while self.commands.front().is_some_and(|(at, _)| *at <= end) {
            let (at, command) = self.commands.pop_front().unwrap();
            self.at = self.at.max(at);
            self.step(Input::Command(command));
            assert!(matches!(self.next, Next::Busy(_)), "the bus is in use");
        }
        self.at = end;
    }

    fn exchange(&mut self, job: &Job<Registers>) {
        let (unit, points) = match job {
            Job::Read { unit, planned } => (*unit, planned.points.clone()),
            Job::Write { unit, .. } | Job::Call { unit, .. } => (*unit, Vec::new()),
            Job::Watch { unit, devices } => {
                let slots = devices.iter().flat_map(|device| &device.slots);
                let pushed = slots.filter(|slot| slot.is_pushed());
                (*unit, pushed.map(|slot| slot.id).collect())
            }
        };
        self.exchanges.push(Exchange {
            at: self.at,
            unit,
            is_write: matches!(job, Job::Write { .. }),
            points: points.clone(),
            is_watch: matches!(job, Job::Watch { .. }),
        });
        let result = if self.world.is_down {
            self.pass(self.world.latency);
            self.is_connected = false;
            Err(RequestError::Line("closed".to_owned()))
        } else if self.world.dead.contains(&unit)
            || self.world.silent_at.contains(&self.exchanges.len())
        {
            self.pass(self.world.timeout);
            if matches!(job, Job::Watch { .. }) {
                // The connection is through with it, whatever the unit thinks.
                self.watched.remove(&unit);
            }
            Err(RequestError::Timeout("within 500 ms".to_owned()))
        } else {
            self.pass(self.world.latency);
            self.answer(job, unit, points)
        };
        while self.pushes.front().is_some_and(|(at, _)| *at <= self.at) {
            self.receive();
        }
        let usable = self.is_connected;
        self.step(Input::Done { result, usable });
    }

    /// What a bus that is fine answers.
    fn answer(
        &mut self,
        job: &Job<Registers>,
        unit: u8,
        points: Vec<u32>,
    ) -> Result<Outcome, RequestError> {
        match job {
            Job::Read { planned, .. } => {
                let span = planned.request.first..=planned.request.last;
                if self.world.illegal.range(span).next().is_some() {
                    return Err(RequestError::RefusedTogether("illegal address".to_owned()));
                }
                let (read, time) = (&mut self.out.read, self.at.as_nanos() as i64);
                for point in points {
                    if self.world.undecodable.contains(&point) {
                        read.push_bad(point, Reason::Decode, "nonsense", time);
                    } else if !self.world.left_out.contains(&point) {
                        read.push_u64(point, 1, time);
                    }
                }
                Ok(Outcome::Done)
            }
            Job::Write { .. } => Ok(Outcome::Done),
            Job::Call { call, .. } => Ok(Outcome::Called(call.arguments.to_string())),
            Job::Watch { .. } if self.world.unwatchable.contains(&unit) => {
                Err(RequestError::Refused("no subscriptions".to_owned()))
            }
            Job::Watch { .. } => {
                self.watched.insert(unit, points);
                Ok(Outcome::Watched(self.world.watched))
            }
        }
    }

    /// When a point was read.
    pub(super) fn reads_of(&self, point: u32) -> Vec<Duration> {
        self.reads
            .iter()
            .filter(|(_, of)| *of == point)
            .map(|(at, _)| *at)
            .collect()
    }

    pub(super) fn completion(&self, token: u64) -> Option<&(Duration, Completion)> {
        self.completions
            .iter()
            .find(|(_, completion)| completion.token == token)
    }
}

pub(super) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
