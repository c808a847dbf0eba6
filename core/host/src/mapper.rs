//! A mapper as the edge has it: start, submit, watch, stop.

use std::{
    collections::VecDeque,
    ffi::OsString,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};

use crate::{
    batch::Batch,
    command::Command,
    driver::{Driver, Queued, Shared},
    inspect::{Descriptor, InspectError, inspect},
    renew::Renewal,
    stats::Stats,
    supervise::{Patience, Supervisor},
    watchdog::{Limits, Watchdog},
};

/// Commands that may wait for a mapper, and their bytes: the configurations of
/// some ten thousand devices.
const MAX_COMMANDS: usize = 65_536;
const MAX_BYTES: usize = 64 << 20;

/// What to run.
#[derive(Debug, Clone)]
pub struct MapperSpec {
    /// Its name in logs, metrics and events.
    pub name: Arc<str>,
    /// The library.
    pub file: PathBuf,
    /// Where it runs.
    pub isolation: Isolation,
    /// The mapper's own configuration, a JSON object.
    pub config: serde_json::Value,
}

/// Where a mapper runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// In a process of its own: a crash costs only this mapper, for a second.
    #[default]
    Process,
    /// In the edge's process: smallest, but a crash takes the edge down, and a
    /// hang ends only with the edge.
    InProcess,
}

/// How the host treats its mappers.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The program of the child process; nothing means this program.
    pub program: Option<PathBuf>,
    /// Its arguments before the mapper's name and file.
    pub arguments: Vec<OsString>,
    /// Time to load the library and make the instance.
    pub start_timeout: Duration,
    /// Time to take commands or answer a ping.
    pub answer_timeout: Duration,
    /// Time beyond its budget after which a command that has no completion
    /// counts as a hang.
    pub completion_grace: Duration,
    /// Time beyond its budget after which a mapper that stops is killed.
    pub stop_grace: Duration,
    /// Pause between two pings to a mapper that has nothing to do.
    pub ping_interval: Duration,
    /// Folder of private copies of the libraries that run, of this host alone.
    /// With it, a library whose file is replaced is taken over while it runs,
    /// and the former one comes back if the new one is no good. Without it, the
    /// file itself runs, and is looked at only when the mapper starts.
    pub copies: Option<PathBuf>,
    /// Pause between two looks at a file.
    pub look_interval: Duration,
    /// Time in which a new version that fails is replaced by the former one.
    pub trial: Duration,
    /// Time that a version gets to end its work for another one.
    pub replace_budget: Duration,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            program: None,
            arguments: vec!["mapper-host".into()],
            start_timeout: Duration::from_secs(10),
            // A mapper that hangs is to be back within about a second. Its
            // control thread does nothing but answer, also on a busy machine.
            answer_timeout: Duration::from_millis(900),
            completion_grace: Duration::from_secs(1),
            stop_grace: Duration::from_secs(1),
            ping_interval: Duration::from_millis(300),
            copies: None,
            look_interval: Duration::from_secs(2),
            trial: Duration::from_secs(10),
            // Whatever it takes is a gap in the readings.
            replace_budget: Duration::from_millis(500),
        }
    }
}

impl HostOptions {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            completion_grace: self.completion_grace,
            answer: self.answer_timeout,
            ping_every: self.ping_interval,
        }
    }

    fn patience(&self, isolation: Isolation) -> Patience {
        Patience {
            start: self.start_timeout,
            backoff_first: Duration::from_millis(100),
            backoff_most: Duration::from_secs(1),
            stable: Duration::from_secs(10),
            stop_grace: self.stop_grace,
            look_again: self.look_interval,
            killable: isolation == Isolation::Process,
            trial: self.trial,
            replace: self.replace_budget,
        }
    }
}

/// What comes from a mapper, in this order.
#[derive(Debug, Clone)]
pub enum MapperEvent {
    /// A new instance stands; it knows no devices.
    Up {
        /// The mapper's name.
        mapper: Arc<str>,
        /// Counts the instances.
        generation: u64,
    },
    /// It emitted something.
    Batch {
        /// The mapper's name.
        mapper: Arc<str>,
        /// Counts the instances.
        generation: u64,
        /// What it emitted.
        batch: Batch,
    },
    /// The instance is gone. Commands that have no completion get none.
    Down {
        /// The mapper's name.
        mapper: Arc<str>,
        /// Counts the instances.
        generation: u64,
        /// Why.
        reason: Arc<str>,
        /// Another edition takes over at once; this one did not fail.
        planned: bool,
    },
}

/// Where a mapper is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MapperState {
    /// Known, not started yet.
    Declared,
    /// Loads the library and makes the instance.
    Loading,
    /// At work.
    Running {
        /// Counts the instances.
        generation: u64,
        /// The file holds another version, which is not used.
        refused: Option<Refused>,
    },
    /// Failed and will be back within about a second.
    Restarting {
        /// Why it failed.
        reason: Arc<str>,
        /// Failures in a row.
        failures: u32,
    },
    /// Asked to stop.
    Stopping,
    /// Stopped, as it was asked to.
    Stopped,
    /// Given up: starting it again would fail again.
    Failed {
        /// Why.
        reason: Arc<str>,
    },
}

/// A version of a mapper that is not used, while another one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which; empty when the file does not even tell.
    pub version: Arc<str>,
    /// Why.
    pub reason: Arc<str>,
}

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
        let supervisor = Supervisor::new(options.patience(spec.isolation), now, fastrand::u64(..));
        let watchdog = Watchdog::new(options.limits(), now);
        let renewal = Renewal::new(&spec, &options, edition, now);
        let driver = Driver {
            supervisor,
            watchdog,
            renewal,
            spec,
            options,
            events,
            shared: shared.clone(),
            state,
            peer: None,
            generation: 0,
            suspected: None,
            outbox: VecDeque::new(),
            under_way: Vec::new(),
            asked: false,
            retry: None,
        };
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
