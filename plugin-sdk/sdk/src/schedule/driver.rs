//! Carries out what the machine of one bus says. The only file that awaits a bus.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant, SystemTime},
};

use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    Connection, Protocol, Received, RequestError, Samples, Status, WatchPoint, wire::Line,
};

use super::{
    emitter::{Emitter, Output},
    machine::{BusCommand, FAILED, Input, Job, Machine, Next, Outcome},
    unit::Now,
};

/// Samples are emitted in batches of about this size, …
const BATCH: usize = 1024;
/// … or after this time.
const WINDOW: Duration = Duration::from_millis(20);
/// Commands taken between two exchanges.
const COMMANDS: usize = 256;
/// What comes by itself is taken this often in a row.
const RECEIVES: usize = 64;
/// As many points to watch take as long as one exchange.
const WATCHED_AT_ONCE: usize = 1000;

/// The present time, once for each input.
pub(super) fn now() -> Now {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Now {
        instant: Instant::now(),
        unix_ns: i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX),
    }
}

struct Driver<P: Protocol> {
    protocol: Arc<P>,
    bus: P::Bus,
    connection: Option<P::Connection>,
    machine: Machine<P>,
    commands: mpsc::Receiver<BusCommand<P>>,
    /// The router gave up this bus: it ends when nothing is left to do.
    abandoned: bool,
    emitter: Emitter,
    cancel: CancellationToken,
    output: Output,
    line: Arc<Line>,
    /// When the oldest sample that was not emitted yet was read.
    gathered: Option<Instant>,
}

/// Serves one bus until its last device is removed or the instance stops.
pub(super) async fn run<P: Protocol>(
    protocol: Arc<P>,
    bus: P::Bus,
    commands: mpsc::Receiver<BusCommand<P>>,
    emitter: Emitter,
    cancel: CancellationToken,
    line: Arc<Line>,
) {
    let seed = fastrand::u64(..);
    let mut driver = Driver {
        machine: Machine::new(Arc::clone(&protocol), bus.clone(), seed, Instant::now()),
        protocol,
        bus,
        connection: None,
        commands,
        abandoned: false,
        emitter,
        cancel,
        output: Output::default(),
        line,
        gathered: None,
    };
    let failed = {
        let mut driving = pin!(driver.drive());
        let guarded = poll_fn(|context| {
            // Unwind safety: after a panic only the queues are used, which no
            // code of an author sees.
            match catch_unwind(AssertUnwindSafe(|| driving.as_mut().poll(context))) {
                Ok(poll) => poll.map(Ok),
                Err(payload) => Poll::Ready(Err(payload)),
            }
        });
        guarded.await.err()
    };
    match failed {
        None => driver.end(Status::Stopped, "the mapper is stopped").await,
        Some(payload) => {
            driver.end(Status::Internal, FAILED).await;
            resume_unwind(payload);
        }
    }
}

/// The connection keeps to its deadline by itself; this is for one that does not.
fn exchange_limit<P: Protocol>(protocol: &P, bus: &P::Bus, job: &Job<P>) -> Duration {
    let limit = match job {
        Job::Read { unit, .. } | Job::Write { unit, .. } => protocol.timeout(bus, unit),
        Job::Watch { unit, devices } => {
            let points: usize = devices.iter().map(|device| device.pushed()).sum();
            let times = 1 + points / WATCHED_AT_ONCE;
            protocol.timeout(bus, unit) * u32::try_from(times).unwrap_or(u32::MAX)
        }
        Job::Call { unit, deadline, .. } => {
            let left = deadline.saturating_duration_since(Instant::now());
            protocol.timeout(bus, unit).max(left)
        }
    };
    limit + (limit / 4).max(Duration::from_millis(100))
}

async fn exchange<P: Protocol>(
    connection: &mut P::Connection,
    job: &Job<P>,
    samples: &mut Samples,
) -> Result<Outcome, RequestError> {
    match job {
        Job::Read { unit, planned } => {
            connection.read(unit, &planned.request, samples).await?;
            Ok(Outcome::Done)
        }
        Job::Write {
            unit,
            device,
            slot,
            value,
        } => {
            let point = &device.slots[*slot].point;
            connection.write(unit, point, value).await?;
            Ok(Outcome::Done)
        }
        Job::Watch { unit, devices } => {
            let slots = devices.iter().flat_map(|device| &device.slots);
            let points: Vec<_> = slots
                .filter(|slot| slot.is_pushed())
                .map(|slot| WatchPoint {
                    id: slot.id,
                    point: &slot.point,
                    interval: slot.interval,
                })
                .collect();
            let watched = connection.watch(unit, &points, samples).await?;
            Ok(Outcome::Watched(watched))
        }
        Job::Call { unit, call, .. } => {
            let result = connection.call(unit, &call.method, &call.arguments).await?;
            Ok(Outcome::Called(result.to_string()))
        }
    }
}

/// What comes by itself; never returns without a connection.
async fn receive<P: Protocol>(
    connection: &mut Option<P::Connection>,
    pushed: &mut Samples,
) -> Result<Received<P::Unit>, RequestError> {
    match connection {
        Some(open) => open.receive(pushed).await,
        None => std::future::pending().await,
    }
}

/// What has come by itself already.
async fn receive_now<P: Protocol>(
    connection: &mut Option<P::Connection>,
    pushed: &mut Samples,
) -> Option<Result<Received<P::Unit>, RequestError>> {
    let polled = {
        let mut receiving = pin!(receive::<P>(connection, pushed));
        poll_fn(|context| {
            Poll::Ready(match receiving.as_mut().poll(context) {
                Poll::Ready(result) => Some(result),
                Poll::Pending => None,
            })
        })
        .await
    };
    // Also what was pushed by a call that then went on waiting.
    polled.or_else(|| (!pushed.is_empty()).then_some(Ok(Received::Samples)))
}

impl<P: Protocol> Driver<P> {
    /// Does what the machine says until there is nothing more to do.
    async fn drive(&mut self) {
        let mut next = Some(Next::Wait(None));
        while let Some(now) = next.take().filter(|_| !self.cancel.is_cancelled()) {
            next = match now {
                Next::Dial => self.dial().await,
                Next::Run(job) => self.carry_out(job).await,
                Next::Busy(_) => {
                    unreachable!("a dial and an exchange are awaited where they start")
                }
                Next::Wait(until) => self.wait(until).await,
            };
        }
    }

    /// Opens the bus. `None`: stop.
    async fn dial(&mut self) -> Option<Next<P>> {
        // A serial port can be opened once at a time.
        self.connection = None;
        let (protocol, bus) = (Arc::clone(&self.protocol), self.bus.clone());
        let limit = protocol.connect_timeout(&bus);
        let result = match self.attend(timeout(limit, protocol.connect(&bus))).await? {
            Ok(Ok(open)) => {
                self.connection = Some(open);
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(_) => {
                let message = format!("no connection within {} ms", limit.as_millis());
                Err(RequestError::Line(message))
            }
        };
        self.take_commands();
        Some(self.step(Input::Dialled(result)))
    }

    /// Carries out an exchange. `None`: stop.
    async fn carry_out(&mut self, job: Job<P>) -> Option<Next<P>> {
        let limit = exchange_limit(&*self.protocol, &self.bus, &job);
        let mut samples = std::mem::take(&mut self.output.read);
        let mut connection = self.connection.take();
        let result = match &mut connection {
            Some(open) => {
                let exchange = timeout(limit, exchange(open, &job, &mut samples));
                self.attend(exchange).await?
            }
            None => Ok(Err(RequestError::Line("not connected".to_owned()))),
        };
        self.output.read = samples;
        let (result, usable) = match result {
            Ok(result) => {
                let usable = result.is_ok() || connection.as_ref().is_some_and(Connection::usable);
                let usable = usable && !matches!(result, Err(RequestError::Line(_)));
                (result, usable)
            }
            // The call was dropped half-way: what comes next on this connection is anybody's guess.
            Err(_) => {
                let message = format!("within {} ms", limit.as_millis());
                (Err(RequestError::Timeout(message)), false)
            }
        };
        if self.line.is_on() {
            let error = result.as_ref().err().map(ToString::to_string);
            let what = match &job {
                Job::Read { .. } => "read",
                Job::Write { .. } => "write",
                Job::Watch { .. } => "watch",
                Job::Call { .. } => "call",
            };
            self.line
                .taken_for(what, &self.output.read, error.as_deref());
        }
        self.connection = connection.filter(|_| usable);
        if self.machine.listens() {
            // A bus that is always busy must not starve what comes by itself.
            self.listen().await;
        }
        let usable = usable && self.connection.is_some();
        self.take_commands();
        let next = self.step(Input::Done { result, usable });
        // A bus that always has its answer ready must not starve the others.
        tokio::task::consume_budget().await;
        Some(next)
    }

    fn step(&mut self, input: Input<P>) -> Next<P> {
        let now = now();
        let next = self.machine.step(input, now, &mut self.output);
        let samples = self.output.event.samples.len();
        if samples > 0 && self.gathered.is_none() {
            self.gathered = Some(now.instant);
        }
        let late = self
            .gathered
            .is_some_and(|since| now.instant >= since + WINDOW);
        if samples >= BATCH || late || self.output.is_pressing() {
            self.flush();
        }
        next
    }

    fn flush(&mut self) {
        self.emitter.flush(&mut self.output);
        self.gathered = None;
    }

    /// Awaits a dial or an exchange and meanwhile takes commands, ends those
    /// whose deadline passes, and lets no sample wait. `None`: stop.
    async fn attend<F: Future>(&mut self, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        let mut deadline = self.machine.first_deadline();
        loop {
            let wake = super::machine::earlier(deadline, self.gathered.map(|since| since + WINDOW));
            let next = tokio::select! {
                biased;
                result = &mut work => return Some(result),
                () = self.cancel.cancelled() => return None,
                command = self.commands.recv(), if !self.abandoned => match command {
                    Some(command) => self.step(Input::Command(command)),
                    None => {
                        self.abandoned = true;
                        continue;
                    }
                },
                () = sleep_until(wake) => self.step(Input::Tick),
            };
            deadline = match next {
                Next::Busy(deadline) => deadline,
                Next::Dial | Next::Run(_) | Next::Wait(_) => None,
            };
        }
    }

    /// Takes what has come by itself, between two exchanges or when the bus
    /// is idle; `None` when nothing has.
    async fn listen(&mut self) -> Option<Next<P>> {
        let mut next = None;
        for _ in 0..RECEIVES {
            if matches!(next, Some(Next::Dial | Next::Run(_))) {
                break;
            }
            let result = receive_now::<P>(&mut self.connection, &mut self.output.pushed).await;
            let Some(result) = result else { break };
            next = Some(self.take(result));
        }
        next
    }

    /// Takes what [`Connection::receive`] gave.
    fn take(&mut self, result: Result<Received<P::Unit>, RequestError>) -> Next<P> {
        if result.is_err() {
            self.connection = None;
        }
        self.step(Input::Received(result))
    }

    /// Waits for a command, the time, or what comes by itself. `None`: stop,
    /// or nothing will come any more.
    async fn wait(&mut self, until: Option<Instant>) -> Option<Next<P>> {
        self.flush();
        if self.abandoned {
            return None;
        }
        let receiving = receive::<P>(&mut self.connection, &mut self.output.pushed);
        let woken = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return None,
            command = self.commands.recv() => Woken::Input(Input::Command(command?)),
            result = receiving => Woken::Received(result),
            () = sleep_until(until) => Woken::Input(Input::Tick),
        };
        let next = match woken {
            Woken::Received(result) => match self.take(result) {
                // More of it may be there: that becomes one batch.
                Next::Wait(until) => self.listen().await.unwrap_or(Next::Wait(until)),
                next => next,
            },
            Woken::Input(input) if self.output.pushed.is_empty() => self.step_all(input),
            // The receive that was dropped had something already.
            Woken::Input(input) => match self.take(Ok(Received::Samples)) {
                Next::Wait(_) => self.step_all(input),
                next => {
                    drop(self.step(input));
                    next
                }
            },
        };
        // A connection that always has something must not starve other buses.
        tokio::task::consume_budget().await;
        Some(next)
    }

    /// Takes the commands that have come, while the bus is busy with what `done` ends.
    fn take_commands(&mut self) {
        for _ in 0..COMMANDS {
            match self.commands.try_recv() {
                Ok(command) => drop(self.step(Input::Command(command))),
                Err(mpsc::error::TryRecvError::Empty) => break,
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    self.abandoned = true;
                    break;
                }
            }
        }
    }

    /// Takes an input and the commands behind it, until there is something to do:
    /// devices that are configured together are first read together.
    fn step_all(&mut self, input: Input<P>) -> Next<P> {
        let mut next = self.step(input);
        while matches!(next, Next::Wait(_))
            && let Ok(command) = self.commands.try_recv()
        {
            next = self.step(Input::Command(command));
        }
        next
    }

    /// Ends whatever still waits.
    async fn end(mut self, status: Status, message: &str) {
        self.commands.close();
        while let Some(command) = self.commands.recv().await {
            super::machine::complete(&mut self.output, command.token, status, message);
        }
        self.machine.stop(status, message, &mut self.output);
        self.flush();
    }
}

/// What ends a wait.
enum Woken<P: Protocol> {
    Input(Input<P>),
    Received(Result<Received<P::Unit>, RequestError>),
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}
