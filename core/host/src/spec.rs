//! What a mapper is made of, and how it is treated.

use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use crate::{supervise::Patience, watchdog::Limits};

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
    /// The same once nothing came of it and nothing was asked of it for as long:
    /// nobody misses a mapper that has no device.
    pub ping_quiet: Duration,
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
            ping_quiet: Duration::from_secs(5),
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
            ping_quiet: self.ping_quiet,
        }
    }

    pub(crate) fn patience(&self, isolation: Isolation) -> Patience {
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
