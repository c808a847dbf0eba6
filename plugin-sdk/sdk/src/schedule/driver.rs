//! Carries out what the machine of one bus says. The only file that awaits a bus.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{Connection, Protocol, RequestError};

use super::{
    emitter::{Emitter, Output},
    machine::{BusCommand, Input, Job, Machine, Next},
    unit::Now,
};

/// Samples are emitted in batches of about this size, …
const BATCH: usize = 1024;
/// … or after this time.
const WINDOW: Duration = Duration::from_millis(5);
/// Commands taken between two exchanges.
const COMMANDS: usize = 256;

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
    machine: Machine<P>,
    commands: mpsc::Receiver<BusCommand<P>>,
    /// The router gave up this bus: it ends when nothing is left to do.
    abandoned: bool,
    emitter: Emitter,
    cancel: CancellationToken,
    output: Output,
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
) {
    let machine = Machine::new(
        Arc::clone(&protocol),
        bus.clone(),
        fastrand::u64(..),
        Instant::now(),
    );
    let mut driver = Driver {
        machine,
        commands,
        abandoned: false,
        emitter,
        cancel,
        output: Output::default(),
        gathered: None,
    };
    let mut connection: Option<P::Connection> = None;
    let mut next = Next::Wait(None);
    loop {
        if driver.cancel.is_cancelled() {
            break;
        }
        next = match next {
            Next::Dial => {
                connection = None;
                let limit = protocol.connect_timeout(&bus);
                let result = driver.attend(timeout(limit, protocol.connect(&bus))).await;
                let result = match result {
                    None => break,
                    Some(Ok(Ok(open))) => {
                        connection = Some(open);
                        Ok(())
                    }
                    Some(Ok(Err(error))) => Err(error),
                    Some(Err(_)) => Err(RequestError::Line(format!(
                        "no connection within {} ms",
                        limit.as_millis()
                    ))),
                };
                driver.take_commands();
                driver.step(Input::Dialled(result))
            }
            Next::Run(job) => {
                let limit = exchange_limit(&*protocol, &bus, &job);
                let mut samples = std::mem::take(&mut driver.output.read);
                let result = match &mut connection {
                    Some(open) => {
                        driver
                            .attend(timeout(limit, exchange(open, &job, &mut samples)))
                            .await
                    }
                    None => Some(Ok(Err(RequestError::Line("not connected".to_owned())))),
                };
                driver.output.read = samples;
                let (result, kept) = match result {
                    None => break,
                    Some(Ok(result)) => {
                        let usable =
                            result.is_ok() || connection.as_ref().is_some_and(Connection::usable);
                        (result, usable)
                    }
                    // The call was dropped half-way: what comes next on this connection is anybody's guess.
                    Some(Err(_)) => (
                        Err(RequestError::Timeout(format!(
                            "within {} ms",
                            limit.as_millis()
                        ))),
                        false,
                    ),
                };
                if !kept || matches!(result, Err(RequestError::Line(_))) {
                    connection = None;
                }
                driver.take_commands();
                let next = driver.step(Input::Done {
                    result,
                    usable: kept,
                });
                // A bus that always has its answer ready must not starve the others.
                tokio::task::consume_budget().await;
                next
            }
            Next::Busy(_) => unreachable!("a dial and an exchange are awaited where they start"),
            Next::Wait(until) => {
                driver.flush();
                if driver.abandoned {
                    break;
                }
                match driver.wait(until).await {
                    Some(input) => driver.step_all(input),
                    None => Next::Wait(until),
                }
            }
        };
    }
    driver.end().await;
}

/// The connection keeps to its deadline by itself; this is for one that does not.
fn exchange_limit<P: Protocol>(protocol: &P, bus: &P::Bus, job: &Job<P>) -> Duration {
    let (Job::Read { unit, .. } | Job::Write { unit, .. }) = job;
    let limit = protocol.timeout(bus, unit);
    limit + (limit / 4).max(Duration::from_millis(100))
}

async fn exchange<P: Protocol>(
    connection: &mut P::Connection,
    job: &Job<P>,
    samples: &mut crate::Samples,
) -> Result<(), RequestError> {
    match job {
        Job::Read { unit, planned } => connection.read(unit, &planned.request, samples).await,
        Job::Write {
            unit,
            device,
            slot,
            value,
        } => {
            connection
                .write(unit, &device.slots[*slot].point, value)
                .await
        }
    }
}

impl<P: Protocol> Driver<P> {
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

    /// Waits for a command or the time. `None`: stop, or nothing will come any more.
    async fn wait(&mut self, until: Option<Instant>) -> Option<Input<P>> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => None,
            command = self.commands.recv() => {
                self.abandoned = command.is_none();
                command.map(Input::Command)
            }
            () = sleep_until(until) => Some(Input::Tick),
        }
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
    async fn end(mut self) {
        self.commands.close();
        let mut left = Vec::new();
        while let Some(command) = self.commands.recv().await {
            left.push(command);
        }
        for command in left {
            super::machine::complete(
                &mut self.output,
                command.token,
                crate::Status::Stopped,
                "the mapper is stopped",
            );
        }
        self.step(Input::Stop);
        self.flush();
    }
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}
