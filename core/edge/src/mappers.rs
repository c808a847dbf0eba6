//! The mappers of this node: which there are, and how they are doing.

mod folder;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use longshore_host::{
    Command, Descriptor, HostOptions, Isolation, Mapper, MapperEvent, MapperSpec, MapperState,
    Refused, Stats, SubmitError,
};
use longshore_link::{MAX_SCHEMA_BYTES, MapperReport, SchemaReport, schema_hash};
use longshore_process::tasks;
use longshore_types::schema_check::Document;
use tokio::sync::{Notify, mpsc, watch};

use self::folder::{Folder, Look};
use crate::config::{Config, MapperConfig};

/// Batches that wait for the engine. A mapper that is faster is told so.
const EVENTS: usize = 64;
/// Pause between two looks at the folder of mappers.
const LOOK: Duration = Duration::from_secs(2);
/// Time for a mapper to stop whose library was taken away.
const REMOVAL_BUDGET: Duration = Duration::from_secs(1);

/// One mapper. It keeps its place and its name for the life of the process,
/// also while its library is gone.
pub struct Entry {
    name: String,
    run: RwLock<Run>,
}

/// What stands behind an entry now.
struct Run {
    mapper: Arc<Mapper>,
    /// Its library, where it was found in the folder.
    found: Option<PathBuf>,
    /// Why it was stopped, as its library was taken away.
    gone: Option<Arc<str>>,
}

/// All mappers of this node, in a fixed order.
pub struct Mappers {
    entries: RwLock<Vec<Arc<Entry>>>,
    /// Names and files of the configuration: the folder has no say in them.
    listed: Vec<MapperConfig>,
    folder: Option<Mutex<Folder>>,
    options: HostOptions,
    events: mpsc::Sender<MapperEvent>,
    /// A state is another one, or there is another mapper.
    changed: Notify,
    /// The same for others: counts such changes.
    changes: watch::Sender<u64>,
}

impl Mappers {
    /// Starts all mappers of the configuration. A library that cannot be used
    /// is an error in the log and in the mapper's state; the others run.
    /// Must be called inside a tokio runtime.
    pub fn start(config: &Config) -> (Self, mpsc::Receiver<MapperEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let mappers = Self {
            entries: RwLock::default(),
            listed: config.mappers().to_vec(),
            folder: config
                .mapper_dir()
                .map(|path| Mutex::new(Folder::new(path.to_owned()))),
            options: HostOptions {
                copies: Some(config.state_dir().join("mappers")),
                ..HostOptions::default()
            },
            events,
            changed: Notify::new(),
            changes: watch::Sender::new(0),
        };
        for spec in config.mappers() {
            mappers.add(spec.clone(), None);
        }
        for (name, file) in mappers.look().there {
            mappers.add_found(name, file);
        }
        (mappers, receiver)
    }

    /// Counts the changes of mappers and of their states, as [`Mappers::watch`]
    /// sees them.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The mappers that are there.
    pub fn iter(&self) -> impl Iterator<Item = Arc<Entry>> {
        self.all().into_iter().filter(|entry| !entry.is_gone())
    }

    /// Each mapper that was there since the start, in its place.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.entries().clone()
    }

    /// Index of a mapper.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.entries().iter().position(|entry| entry.name == name)
    }

    /// Mappers that cannot run at all, and why.
    pub fn failures(&self) -> Vec<(usize, String)> {
        let entries = self.all();
        let failed = entries.iter().enumerate().filter_map(|(i, entry)| {
            let mapper = entry.mapper();
            let error = mapper.descriptor().err()?;
            // The host may have a copy that can be used.
            (mapper.edition().is_none()).then(|| (i, error.to_string()))
        });
        failed.collect()
    }

    /// Hands commands to a mapper.
    pub(crate) fn submit(&self, mapper: usize, commands: Vec<Command>) -> Result<(), SubmitError> {
        let entry = self.entries().get(mapper).cloned();
        entry.ok_or(SubmitError::Down)?.mapper().submit(commands)
    }

    /// What the node says of its mappers.
    pub fn reports(&self) -> Vec<MapperReport> {
        self.iter().map(|entry| entry.report()).collect()
    }

    /// The schema of this hash, for the hub.
    pub(crate) fn schema(&self, hash: u64) -> Option<SchemaReport> {
        self.iter().find_map(|entry| {
            let descriptor = entry.descriptor()?;
            let text = schema_to_send(&descriptor)?;
            (schema_hash(text) == hash).then(|| SchemaReport {
                protocol: descriptor.protocol.to_ascii_lowercase(),
                text: text.to_owned(),
            })
        })
    }

    /// Publishes [`Mappers::reports`] whenever something of them changes, and
    /// looks at the folder of mappers, for ever.
    pub async fn watch(self: Arc<Self>, reports: watch::Sender<Vec<MapperReport>>) {
        let mut look = tokio::time::interval_at(tokio::time::Instant::now() + LOOK, LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Before the reports are made, so that no change falls between.
            let mut states: Vec<_> = self
                .all()
                .iter()
                .map(|entry| from_now_on(entry.mapper().state()))
                .collect();
            self.changes.send_modify(|count| *count += 1);
            reports.send_if_modified(|reports| {
                let now = self.reports();
                let changed = *reports != now;
                *reports = now;
                changed
            });
            tokio::select! {
                () = self.changed.notified() => {}
                () = a_change(&mut states) => {}
                _ = look.tick(), if self.folder.is_some() => self.follow_folder().await,
            }
        }
    }

    /// Stops all mappers, together.
    pub async fn stop(&self, budget: Duration) {
        let mappers: Vec<_> = self.all().iter().map(|entry| entry.mapper()).collect();
        futures::future::join_all(mappers.iter().map(|mapper| mapper.stop(budget))).await;
    }

    fn entries(&self) -> RwLockReadGuard<'_, Vec<Arc<Entry>>> {
        // Nothing that panics runs under the lock.
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the folder holds beside the mappers of the configuration.
    fn look(&self) -> Look {
        let Some(folder) = &self.folder else {
            return Look::default();
        };
        let mut folder: MutexGuard<'_, _> = folder.lock().unwrap_or_else(PoisonError::into_inner);
        let mut look = folder.look().unwrap_or_default();
        let listed = |name: &str, file: &Path| {
            self.listed
                .iter()
                .any(|other| other.name == name || other.file == file)
        };
        look.there.retain(|name, file| !listed(name, file));
        let nowhere = Path::new("");
        look.gone.retain(|name| !listed(name, nowhere));
        look
    }

    /// Brings the mappers in line with the folder.
    async fn follow_folder(self: &Arc<Self>) {
        // The disk may be slow, or a share whose server is gone.
        let mappers = self.clone();
        let Ok(look) = tasks::blocking("mapper folder", move || mappers.look()).await else {
            return;
        };
        for (name, file) in look.there {
            match self.all().into_iter().find(|entry| entry.name == name) {
                Some(entry) => self.follow(&entry, file),
                None => self.add_found(name, file),
            }
        }
        for name in look.gone {
            if let Some(entry) = self.all().into_iter().find(|entry| entry.name == name) {
                self.remove(&entry).await;
            }
        }
    }

    /// The library of a mapper of the folder stands here.
    fn follow(&self, entry: &Entry, file: PathBuf) {
        let mut run = entry.run_mut();
        if run.gone.take().is_some() {
            run.mapper = self.run(found(&entry.name, file.clone()));
        } else if run.found.as_ref() != Some(&file) {
            tracing::info!(mapper = entry.name, file = %file.display(), "another file holds the mapper's highest version");
            run.mapper.set_file(file.clone());
        }
        run.found = Some(file);
    }

    async fn remove(&self, entry: &Entry) {
        let mapper = {
            let mut run = entry.run_mut();
            let file = run.found.take().unwrap_or_default();
            tracing::warn!(mapper = entry.name, file = %file.display(), "the mapper's library was taken away; it stops");
            run.gone = Some(format!("its library `{}` was taken away", file.display()).into());
            run.mapper.clone()
        };
        mapper.stop(REMOVAL_BUDGET).await;
        self.changed.notify_one();
    }

    fn add_found(&self, name: String, file: PathBuf) {
        self.add(found(&name, file.clone()), Some(file));
    }

    fn add(&self, spec: MapperConfig, found: Option<PathBuf>) {
        let name = spec.name.clone();
        // Before it starts: nothing that it emits may find it unknown.
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let run = Run {
            mapper: self.run(spec),
            found,
            gone: None,
        };
        let entry = Entry {
            name,
            run: RwLock::new(run),
        };
        entries.push(Arc::new(entry));
        drop(entries);
        self.changed.notify_one();
    }

    /// Starts a mapper.
    fn run(&self, spec: MapperConfig) -> Arc<Mapper> {
        let (name, file) = (spec.name.clone(), spec.file.clone());
        let spec = MapperSpec {
            name: spec.name.into(),
            file: spec.file,
            isolation: spec.isolation,
            config: spec.config.into(),
        };
        let mapper = Mapper::start(spec, self.options.clone(), self.events.clone());
        match mapper.descriptor() {
            Ok(descriptor) => {
                tracing::info!(mapper = name, file = %file.display(), version = descriptor.version, protocol = descriptor.protocol, "mapper starts");
            }
            // Its devices then say why nobody serves them.
            Err(error) => tracing::error!(mapper = name, %error, "mapper cannot be used"),
        }
        Arc::new(mapper)
    }
}

/// A copy of a receiver has seen no more than its original, which nobody reads
/// here: without this, each state that a mapper ever had would count as new again,
/// and [`Mappers::watch`] would never rest.
fn from_now_on(mut state: watch::Receiver<MapperState>) -> watch::Receiver<MapperState> {
    state.mark_unchanged();
    state
}

/// Waits until a mapper has another state.
async fn a_change(states: &mut [watch::Receiver<MapperState>]) {
    if states.is_empty() {
        return std::future::pending().await;
    }
    let changes = states.iter_mut().map(|state| {
        Box::pin(async move {
            if state.changed().await.is_err() {
                // Supervised no more, which is told already.
                std::future::pending().await
            }
        })
    });
    futures::future::select_all(changes).await;
}

/// A mapper of the folder has the defaults of the configuration.
fn found(name: &str, file: PathBuf) -> MapperConfig {
    MapperConfig {
        name: name.to_owned(),
        file,
        isolation: Isolation::default(),
        config: serde_json::Map::new(),
    }
}

impl Entry {
    fn run(&self) -> RwLockReadGuard<'_, Run> {
        // Nothing that panics runs under the lock.
        self.run.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn run_mut(&self) -> std::sync::RwLockWriteGuard<'_, Run> {
        self.run.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn mapper(&self) -> Arc<Mapper> {
        self.run().mapper.clone()
    }

    /// Name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the library says of itself; `None` while there is none that could
    /// be used.
    pub fn descriptor(&self) -> Option<Arc<Descriptor>> {
        self.run().mapper.edition()
    }

    /// Whether its devices may send values by themselves.
    pub fn pushes(&self) -> bool {
        self.run().mapper.pushes()
    }

    /// The `protocolName` of the devices that it serves; the mapper's name
    /// while its library does not tell, so that the devices do.
    pub fn protocol(&self) -> String {
        let descriptor = self.descriptor();
        descriptor.map_or_else(|| self.name.clone(), |d| d.protocol.clone())
    }

    /// Its version.
    pub fn version(&self) -> String {
        self.descriptor()
            .map_or_else(String::new, |descriptor| descriptor.version.clone())
    }

    /// The schema of its configurations, if its library has one. Reads it anew.
    pub(crate) fn schema(&self) -> Option<Document> {
        let descriptor = self.descriptor()?;
        Document::parse(descriptor.schema.as_deref()?).ok()
    }

    /// Where it is in its life.
    pub fn state(&self) -> MapperState {
        let run = self.run();
        match &run.gone {
            Some(reason) => MapperState::Failed {
                reason: reason.clone(),
            },
            None => {
                let states = run.mapper.state();
                let state = states.borrow().clone();
                match state {
                    MapperState::Stopped | MapperState::Failed { .. } => state,
                    // Nobody is left to tell of another one.
                    _ if states.has_changed().is_err() => MapperState::Failed {
                        reason: "its supervision ended, which is a fault of edgecore".into(),
                    },
                    _ => state,
                }
            }
        }
    }

    /// What the host counted.
    pub fn stats(&self) -> Stats {
        self.run().mapper.stats()
    }

    fn is_gone(&self) -> bool {
        self.run().gone.is_some()
    }

    fn report(&self) -> MapperReport {
        let (state, message) = describe(&self.state());
        let descriptor = self.descriptor();
        let schema = descriptor.as_deref().and_then(schema_to_send);
        MapperReport {
            name: self.name().to_owned(),
            protocol: self.protocol(),
            version: self.version(),
            state: state.to_owned(),
            message,
            schema: schema.map_or(0, schema_hash),
        }
    }
}

/// The hub takes no larger ones.
fn schema_to_send(descriptor: &Descriptor) -> Option<&str> {
    let schema = descriptor.schema.as_deref();
    schema.filter(|schema| schema.len() <= MAX_SCHEMA_BYTES)
}

/// A mapper's state as one word, and why.
pub fn describe(state: &MapperState) -> (&'static str, String) {
    match state {
        MapperState::Declared => ("Declared", String::new()),
        MapperState::Loading => ("Loading", String::new()),
        MapperState::Running { refused: None, .. } => ("Running", String::new()),
        MapperState::Running {
            refused: Some(Refused { version, reason }),
            ..
        } if version.is_empty() => (
            "Running",
            format!("the file that is there now is not used: {reason}"),
        ),
        MapperState::Running {
            refused: Some(Refused { version, reason }),
            ..
        } => (
            "Running",
            format!("version {version} is not used: {reason}"),
        ),
        MapperState::Restarting { reason, .. } => ("Restarting", reason.to_string()),
        MapperState::Stopping => ("Stopping", String::new()),
        MapperState::Stopped => ("Stopped", String::new()),
        MapperState::Failed { reason } => ("Failed", reason.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn only_a_state_that_is_new_wakes_who_waits_for_one() {
        let (sender, receiver) = watch::channel(MapperState::Declared);
        sender.send_replace(MapperState::Loading);
        let mut states = [from_now_on(receiver.clone())];
        assert_eq!(a_change(&mut states).now_or_never(), None);
        sender.send_replace(MapperState::Stopped);
        assert_eq!(a_change(&mut states).now_or_never(), Some(()));
    }
}
