//! Polls buses: the actor between the host's commands and an author's [`Protocol`].
//!
//! One thread for each instance, one task for each bus. All decisions are in
//! [`machine`], which is pure: it gets inputs and the time, and says what to do
//! next. [`driver`] carries that out and is the only one that awaits the bus;
//! [`router`] finds the bus of a command.
//!
//! # Guarantees
//! - Points of one unit that are due together are read together, across
//!   devices and intervals. Phases are aligned, so that intervals that divide
//!   each other fall together.
//! - A write goes between two requests, never behind a whole cycle; but the
//!   requests of a group that is read as one follow each other.
//! - A group comes in one batch with one source time, or all of it is bad: also
//!   when one of its values is, and when the connection is lost in the middle
//!   and again when it is read once more. A point that is read on command
//!   comes alone.
//! - A unit that does not answer is probed alone with growing pauses; each
//!   probe costs its neighbours one timeout at most. Its points get one bad
//!   sample, at the time of the transition.
//! - A cycle that takes longer than its interval skips whole periods and says
//!   so; readings never queue up.
//! - Each command gets one completion, at its deadline at the latest.
//! - What a device sends by itself is taken between any two exchanges, and at
//!   any time when the bus is idle. A device is asked to send after each
//!   connecting and when its points change, and again while it is lost.
//! - Configuring or removing a device leaves the connection and the other
//!   devices alone.

mod codes;
mod cycle;
mod discovery;
mod driver;
mod emitter;
mod forming;
mod greeting;
mod intake;
mod machine;
mod outcome;
mod recovery;
mod router;
mod snapshot;
#[cfg(test)]
mod tests;
mod unit;
mod watching;

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc as std_mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{Command, CreateError, Host, Mapper, Protocol, SubmitError};

use self::{
    emitter::Emitter,
    router::{Queued, Router},
};

/// Commands that may wait for the router. A node configures all of its devices
/// in one go after a start; memory is taken only while they wait.
const QUEUE: usize = 65_536;

/// As other threads have it: a protocol with cryptography goes deep where it is
/// built without optimisation. What is not touched takes no memory.
const STACK: usize = 2 << 20;

/// The mapper of a polled protocol: implements [`Mapper`] for any [`Protocol`].
pub struct ProtocolMapper<P: Protocol> {
    commands: mpsc::Sender<Queued>,
    cancel: CancellationToken,
    emitter: Emitter,
    thread: Mutex<Option<(JoinHandle<()>, std_mpsc::Receiver<()>)>>,
    protocol: std::marker::PhantomData<fn() -> P>,
}

impl<P: Protocol> Mapper for ProtocolMapper<P> {
    fn create(host: Host, config: &serde_json::Value) -> Result<Self, CreateError> {
        let protocol = Arc::new(P::new(config).map_err(|faults| {
            CreateError::Config(
                faults
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("; "),
            )
        })?);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| CreateError::Start(format!("no runtime: {error}")))?;
        let (commands, queue) = mpsc::channel(QUEUE);
        let cancel = CancellationToken::new();
        let emitter = Emitter::new(host);
        let (done, ended) = std_mpsc::sync_channel(1);
        let router = Router::new(protocol, queue, emitter.clone(), cancel.clone());
        let thread = std::thread::Builder::new()
            .name("mapper".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                runtime.block_on(router.run());
                // A name that is being looked up must not hold up the stop.
                runtime.shutdown_background();
                // The receiver is gone only when nobody waits for the end.
                let _ = done.send(());
            })
            .map_err(|error| CreateError::Start(format!("no thread: {error}")))?;
        Ok(Self {
            commands,
            cancel,
            emitter,
            thread: Mutex::new(Some((thread, ended))),
            protocol: std::marker::PhantomData,
        })
    }

    fn submit(&self, commands: Vec<Command>) -> Result<(), SubmitError> {
        if self.cancel.is_cancelled() {
            return Err(SubmitError::Stopped);
        }
        let received = Instant::now();
        let permits =
            self.commands
                .try_reserve_many(commands.len())
                .map_err(|error| match error {
                    mpsc::error::TrySendError::Full(()) => SubmitError::Busy,
                    mpsc::error::TrySendError::Closed(()) => SubmitError::Stopped,
                })?;
        for (permit, command) in permits.zip(commands) {
            permit.send(Queued { command, received });
        }
        Ok(())
    }

    fn stop(&self, budget: Duration) {
        self.cancel.cancel();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((thread, ended)) = thread
            && ended.recv_timeout(budget).is_ok()
        {
            // It has ended, or is about to return; a panic in it was reported already.
            let _ = thread.join();
        }
        self.emitter.close();
    }
}

impl<P: Protocol> Drop for ProtocolMapper<P> {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.emitter.close();
    }
}
