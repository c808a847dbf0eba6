//! The mappers of this node: which there are, and how they are doing.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use longshore_host::{
    Command, HostOptions, Isolation, Mapper, MapperEvent, MapperSpec, MapperState, Stats,
    SubmitError,
};
use longshore_link::MapperReport;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::config::{self, Config};

/// Batches that wait for the engine. A mapper that is faster is told so.
const EVENTS: usize = 64;

/// One mapper.
pub struct Entry {
    mapper: Mapper,
    protocol: String,
    version: String,
    failure: Option<String>,
}

/// All mappers of this node, in a fixed order.
pub struct Mappers {
    entries: Vec<Entry>,
}

impl Mappers {
    /// Starts all mappers of the configuration. A library that cannot be used
    /// is an error in the log and in the mapper's state; the others run.
    /// Must be called inside a tokio runtime.
    pub fn start(config: &Config) -> (Self, mpsc::Receiver<MapperEvent>) {
        let (sender, receiver) = mpsc::channel(EVENTS);
        let mut specs = config.mappers().to_vec();
        if let Some(folder) = config.mapper_dir() {
            specs.extend(scan(folder, &specs));
        }
        let entries = specs
            .into_iter()
            .map(|spec| Entry::start(spec, sender.clone()))
            .collect();
        (Self { entries }, receiver)
    }

    /// The mappers.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Index of a mapper.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.name() == name)
    }

    /// Mappers that cannot run at all, and why.
    pub fn failures(&self) -> Vec<(usize, String)> {
        let failed = self.entries.iter().enumerate();
        failed
            .filter_map(|(i, entry)| entry.failure.clone().map(|failure| (i, failure)))
            .collect()
    }

    /// Hands commands to a mapper.
    pub(crate) fn submit(&self, mapper: usize, commands: Vec<Command>) -> Result<(), SubmitError> {
        self.entries
            .get(mapper)
            .ok_or(SubmitError::Down)?
            .mapper
            .submit(commands)
    }

    /// What the node says of its mappers.
    pub fn reports(&self) -> Vec<MapperReport> {
        self.entries.iter().map(Entry::report).collect()
    }

    /// Publishes [`Mappers::reports`] whenever a mapper's state changes, for ever.
    pub async fn watch(self: Arc<Self>, reports: watch::Sender<Vec<MapperReport>>) {
        let mut changes = JoinSet::new();
        let wait = |mut state: watch::Receiver<MapperState>| async move {
            state.changed().await.map(|()| state)
        };
        for entry in &self.entries {
            changes.spawn(wait(entry.mapper.state()));
        }
        while let Some(changed) = changes.join_next().await {
            if let Ok(Ok(state)) = changed {
                reports.send_if_modified(|reports| {
                    let now = self.reports();
                    let changed = *reports != now;
                    *reports = now;
                    changed
                });
                changes.spawn(wait(state));
            }
        }
    }

    /// Stops all mappers, together.
    pub async fn stop(&self, budget: Duration) {
        futures::future::join_all(self.entries.iter().map(|entry| entry.mapper.stop(budget))).await;
    }
}

impl Entry {
    fn start(spec: config::MapperConfig, events: mpsc::Sender<MapperEvent>) -> Self {
        let isolation = match spec.isolation {
            config::Isolation::Process => Isolation::Process,
            config::Isolation::InProcess => Isolation::InProcess,
        };
        let (name, file) = (spec.name.clone(), spec.file.clone());
        let spec = MapperSpec {
            name: spec.name.into(),
            file: spec.file,
            isolation,
            config: spec.config.into(),
        };
        let mapper = Mapper::start(spec, HostOptions::default(), events);
        let (protocol, version, failure) = match mapper.descriptor() {
            Ok(descriptor) => {
                tracing::info!(mapper = name, file = %file.display(), version = descriptor.version, protocol = descriptor.protocol, "mapper starts");
                (
                    descriptor.protocol.clone(),
                    descriptor.version.clone(),
                    None,
                )
            }
            Err(error) => {
                tracing::error!(mapper = name, %error, "mapper cannot be used");
                // Its devices then say why nobody serves them.
                (name.clone(), String::new(), Some(error.to_string()))
            }
        };
        Self {
            mapper,
            protocol,
            version,
            failure,
        }
    }

    /// Name in the configuration.
    pub fn name(&self) -> &str {
        self.mapper.name()
    }

    /// The `protocolName` of the devices that it serves.
    pub fn protocol(&self) -> &str {
        &self.protocol
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where it is in its life.
    pub fn state(&self) -> MapperState {
        self.mapper.state().borrow().clone()
    }

    /// What the host counted.
    pub fn stats(&self) -> Stats {
        self.mapper.stats()
    }

    fn report(&self) -> MapperReport {
        let (state, message) = describe(&self.state());
        MapperReport {
            name: self.name().to_owned(),
            protocol: self.protocol.clone(),
            version: self.version.clone(),
            state: state.to_owned(),
            message,
        }
    }
}

/// A mapper's state as one word, and why.
pub fn describe(state: &MapperState) -> (&'static str, String) {
    match state {
        MapperState::Declared => ("Declared", String::new()),
        MapperState::Loading => ("Loading", String::new()),
        MapperState::Running { .. } => ("Running", String::new()),
        MapperState::Restarting { reason, .. } => ("Restarting", reason.to_string()),
        MapperState::Stopping => ("Stopping", String::new()),
        MapperState::Stopped => ("Stopped", String::new()),
        MapperState::Failed { reason } => ("Failed", reason.to_string()),
    }
}

/// Every `lib*.so` of a folder that is not listed by itself. The name is the
/// file's without `lib`, `mapper_` and the suffix.
fn scan(folder: &Path, listed: &[config::MapperConfig]) -> Vec<config::MapperConfig> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::error!(folder = %folder.display(), %error, "mapper folder cannot be read");
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    let mapper = |file: PathBuf| {
        let stem = file
            .file_name()?
            .to_str()?
            .strip_prefix("lib")?
            .strip_suffix(".so")?;
        let name = stem
            .strip_prefix("mapper_")
            .unwrap_or(stem)
            .replace('_', "-")
            .to_ascii_lowercase();
        let known = listed
            .iter()
            .any(|other| other.name == name || other.file == file);
        let config = serde_json::Map::new();
        (!known).then_some(config::MapperConfig {
            name,
            file,
            isolation: config::Isolation::default(),
            config,
        })
    };
    files.into_iter().filter_map(mapper).collect()
}
