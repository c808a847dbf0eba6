//! A mapper as the edge has it: start, submit, watch, stop.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};

use crate::{
    command::Command,
    driver::{Driver, Told},
    event::{MapperEvent, MapperState},
    inbox::{Queued, Shared},
    inspect::{Descriptor, InspectError, inspect},
    spec::{HostOptions, MapperSpec},
    stats::Stats,
};

/// Commands that may wait for a mapper, and their bytes: the configurations of
/// some ten thousand devices.
const MAX_COMMANDS: usize = 65_536;
const MAX_BYTES: usize = 64 << 20;

/// None of the commands was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The mapper is not up. Retry after the next [`MapperEvent::Up`].
    #[error("the mapper is not running")]
    Down,
    /// Too many commands wait for the mapper. Retryable.
    #[error("too many commands wait for the mapper")]
    Full,
}

/// A mapper and its supervision. Dropping it stops the mapper, without grace.
pub struct Mapper {
    name: Arc<str>,
    descriptor: Result<Descriptor, InspectError>,
    shared: Arc<Shared>,
    state: watch::Receiver<MapperState>,
    edition: watch::Receiver<Option<Arc<Descriptor>>>,
}

impl Mapper {
    /// Starts the mapper; what becomes of it is told by `events` and
    /// [`Mapper::state`]. Must be called on a tokio runtime with time and I/O.
    pub fn start(
        spec: MapperSpec,
        options: HostOptions,
        events: mpsc::Sender<MapperEvent>,
    ) -> Self {
        let now = Instant::now();
        let shared = Arc::new(Shared::default());
        let (state, shown) = watch::channel(MapperState::Declared);
        let (name, descriptor) = (spec.name.clone(), inspect(&spec.file));
        let known = descriptor.as_ref().ok().cloned().map(Arc::new);
        let (edition, shown_edition) = watch::channel(known);
        let told = Told {
            events,
            state,
            edition,
        };
        let driver = Driver::new(spec, options, told, shared.clone(), now);
        tokio::spawn(guarded(driver));
        Self {
            name,
            descriptor,
            shared,
            state: shown,
            edition: shown_edition,
        }
    }

    /// The mapper's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What the library says of itself that runs or ran last; `None` while
    /// there was none that could be used.
    pub fn edition(&self) -> Option<Arc<Descriptor>> {
        self.edition.borrow().clone()
    }

    /// From now on the mapper's library is to be found here. If it is another
    /// one, it takes over as if it had replaced the former file.
    pub fn set_file(&self, file: PathBuf) {
        self.shared.inbox().file = Some(file);
        self.shared.wake.notify_one();
    }

    /// What the library said of itself when the mapper was started.
    pub fn descriptor(&self) -> Result<&Descriptor, &InspectError> {
        self.descriptor.as_ref()
    }

    /// Set of `longshore_abi::CAPABILITY_*`; empty while nothing is known of
    /// the library.
    pub fn capabilities(&self) -> u64 {
        self.edition()
            .map_or(0, |descriptor| descriptor.capabilities)
    }

    /// Whether devices of this mapper may send values by themselves.
    pub fn pushes(&self) -> bool {
        self.capabilities() & longshore_abi::CAPABILITY_PUSH != 0
    }

    /// Takes commands, all or none. Never blocks.
    pub fn submit(&self, commands: Vec<Command>) -> Result<(), SubmitError> {
        let now = Instant::now();
        let weight: usize = commands.iter().map(|command| command.kind.weight()).sum();
        let mut inbox = self.shared.inbox();
        if !inbox.accepting {
            return Err(SubmitError::Down);
        }
        if inbox.queue.len() + commands.len() > MAX_COMMANDS || inbox.weight + weight > MAX_BYTES {
            return Err(SubmitError::Full);
        }
        inbox.weight += weight;
        inbox
            .queue
            .extend(commands.into_iter().map(|command| Queued {
                due: now + command.budget,
                command,
            }));
        drop(inbox);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Where the mapper is in its life.
    pub fn state(&self) -> watch::Receiver<MapperState> {
        self.state.clone()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.shared.counters.read()
    }

    /// Stops the mapper within `budget`, and a little later by force. What it
    /// emits meanwhile still comes as events; if the edge takes none of them, up
    /// to a megabyte.
    pub async fn stop(&self, budget: Duration) {
        self.request_stop(budget);
        let mut state = self.state.clone();
        // An error means that the task is gone, and with it the mapper.
        let _ = state
            .wait_for(|state| matches!(state, MapperState::Stopped | MapperState::Failed { .. }))
            .await;
    }

    fn request_stop(&self, budget: Duration) {
        self.shared.inbox().stop = Some(budget);
        self.shared.wake.notify_one();
    }
}

/// Runs the driver to its end. A bug of the host must not look like a mapper
/// that is well: a panic is told as the mapper's failure.
async fn guarded(driver: Driver) {
    let (mapper, shared) = (driver.spec.name.clone(), driver.shared.clone());
    let (state, events) = (driver.state.clone(), driver.events.clone());
    let Err(error) = tokio::spawn(driver.run()).await else {
        return;
    };
    if !error.is_panic() {
        return;
    }
    tracing::error!(%mapper, "the host failed on this mapper; this is a bug");
    let reason: Arc<str> = "the host failed on this mapper; see its log".into();
    shared.inbox().accepting = false;
    let failed = MapperState::Failed {
        reason: reason.clone(),
    };
    // Its end has taken the instance with it.
    if let MapperState::Running { generation, .. } = state.send_replace(failed) {
        let down = MapperEvent::Down {
            mapper,
            generation,
            reason,
            planned: false,
        };
        // An edge that is gone need not hear of it.
        let _ = events.send(down).await;
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        self.request_stop(Duration::ZERO);
    }
}
