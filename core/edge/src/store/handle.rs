//! The store, for everybody else: requests to the writer thread, and signals.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::{mpsc, oneshot, watch};

use super::{
    error::StoreError,
    schema,
    writer::{Job, Writer},
};

/// Jobs that may wait for the writer. Each is a group of rows, so this is
/// plenty; callers wait (or keep their things dirty) when it is full.
const QUEUE: usize = 64;

/// Who gave an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// The hub. Wins over the others on the same name.
    Hub,
    /// A manifest in the node's own folder.
    Manifest,
}

/// Kind, namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// `Device`, `DeviceModel` …
    pub kind: String,
    /// Namespace; empty for objects without one.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// An object as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Which.
    pub key: ObjectKey,
    /// The API server's uid; empty for manifests.
    pub uid: String,
    /// The API server's resource version; empty for manifests.
    pub resource_version: String,
    /// Who gave it.
    pub source: Source,
    /// The whole object.
    pub json: String,
}

/// One step of an [`Apply`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Create or replace.
    Put {
        /// Which.
        key: ObjectKey,
        /// See [`Object::uid`].
        uid: String,
        /// See [`Object::resource_version`].
        resource_version: String,
        /// The whole object.
        json: String,
    },
    /// Delete; it may be absent.
    Delete(ObjectKey),
}

/// Where in the hub's log of this node the store stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubPosition {
    /// Which log: a new hub database is another log.
    pub log: String,
    /// The last change of that log which is applied.
    pub revision: u64,
}

/// Objects that are applied in one transaction.
#[derive(Debug, Clone)]
pub struct Apply {
    /// Who gives them.
    pub source: Source,
    /// The position that they lead to.
    pub position: Option<HubPosition>,
    /// A snapshot: whatever else there is of this source is deleted.
    pub replace: bool,
    /// In order.
    pub changes: Vec<Change>,
}

/// What may happen to a record while it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordClass {
    /// Only the latest of its key counts: it replaces one that still waits.
    Latest(String),
    /// Each counts, up to the budget; then the oldest are dropped and counted.
    Telemetry,
    /// Each counts, always.
    Confirmation,
}

/// A record for the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// What may happen to it while it waits.
    pub class: RecordClass,
    /// The encoded record; the store does not look into it.
    pub payload: Vec<u8>,
}

/// A record that is being handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRecord {
    /// Its number: gapless from 1 on, never used twice within an [`StoreHandle::epoch`].
    pub sequence: u64,
    /// The encoded record.
    pub payload: Vec<u8>,
}

/// How much waits for the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxSize {
    /// Records, handed out or not.
    pub records: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Telemetry dropped since start because the budget was used up.
    pub dropped: u64,
}

/// A device's twins, packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwinBlob {
    /// `namespace/name`.
    pub device: String,
    /// Packed; empty deletes the row.
    pub data: Vec<u8>,
}

/// A local desired value, or the outcome of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredRow {
    /// `namespace/name`.
    pub device: String,
    /// The property.
    pub property: String,
    /// JSON owned by the twin engine; `None` deletes the row.
    pub json: Option<String>,
}

/// Whether the store can write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreHealth {
    /// Why it cannot; `None` while all is well.
    pub fault: Option<String>,
    /// Failed operations since start.
    pub errors: u64,
}

/// Signals of the writer thread.
pub(super) struct Signals {
    pub objects: watch::Sender<u64>,
    pub outbox: watch::Sender<u64>,
    pub position: watch::Sender<Option<HubPosition>>,
    pub size: watch::Sender<OutboxSize>,
    pub health: watch::Sender<StoreHealth>,
}

/// The store. Cheap to clone; the writer ends when the last one is dropped.
#[derive(Clone)]
pub struct StoreHandle {
    jobs: mpsc::Sender<Job>,
    signals: Arc<Signals>,
    epoch: u64,
    path: Arc<PathBuf>,
}

/// What waits for the writer's answer.
pub type Answer<T> = oneshot::Receiver<Result<T, StoreError>>;

impl StoreHandle {
    /// Opens (or makes) `edge.db` in `folder` and starts the writer thread.
    ///
    /// # Errors
    ///
    /// Each kind of unusable file has its own [`StoreError`] that says what to do.
    pub fn open(folder: &Path, outbox_budget: u64) -> Result<Self, StoreError> {
        let path = folder.join("edge.db");
        Self::with_connection(schema::open(folder, &path)?, &path, outbox_budget)
    }

    /// Takes over a connection that [`schema::open`] gave.
    pub(super) fn with_connection(
        connection: rusqlite::Connection,
        path: &Path,
        outbox_budget: u64,
    ) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let mut writer = Writer::new(connection, path.clone(), outbox_budget)?;
        let signals = Arc::new(Signals {
            objects: watch::Sender::new(0),
            outbox: watch::Sender::new(0),
            position: watch::Sender::new(writer.position()?),
            size: watch::Sender::new(writer.size()),
            health: watch::Sender::new(StoreHealth::default()),
        });
        let epoch = writer.epoch();
        let (jobs, queue) = mpsc::channel(QUEUE);
        let for_thread = Arc::clone(&signals);
        std::thread::Builder::new()
            .name("store".to_owned())
            .stack_size(512 * 1024)
            .spawn(move || writer.run(queue, &for_thread))
            .map_err(|source| StoreError::Folder {
                path: path.clone(),
                source: Arc::new(source),
            })?;
        Ok(Self {
            jobs,
            signals,
            epoch,
            path: Arc::new(path),
        })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of this database, random at its creation and never 0. The hub
    /// tells a node that lost its disk from one that repeats itself by it.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Where in the hub's log the objects stand; `None` before the first snapshot.
    pub fn position(&self) -> Option<HubPosition> {
        self.signals.position.borrow().clone()
    }

    /// Counts up whenever objects changed.
    pub fn objects_changed(&self) -> watch::Receiver<u64> {
        self.signals.objects.subscribe()
    }

    /// Counts up whenever records were put.
    pub fn outbox_changed(&self) -> watch::Receiver<u64> {
        self.signals.outbox.subscribe()
    }

    /// How much waits for the hub.
    pub fn outbox_size(&self) -> OutboxSize {
        *self.signals.size.borrow()
    }

    /// Whether the store can write.
    pub fn health(&self) -> StoreHealth {
        self.signals.health.borrow().clone()
    }

    /// Applies objects and position in one transaction. When it returns, they
    /// are on the disk.
    pub async fn apply(&self, apply: Apply) -> Result<(), StoreError> {
        self.ask(|reply| Job::Apply { apply, reply }).await
    }

    /// All objects, each name once: the hub's before a manifest's.
    pub async fn objects(&self) -> Result<Vec<Object>, StoreError> {
        self.ask(|reply| Job::Objects { reply }).await
    }

    /// Puts records, all or none.
    pub async fn put(&self, records: Vec<NewRecord>) -> Result<(), StoreError> {
        self.ask(|reply| Job::Put { records, reply }).await
    }

    /// Puts records without waiting for room in the queue; the answer comes later.
    pub fn try_put(&self, records: Vec<NewRecord>) -> Result<Answer<()>, StoreError> {
        self.try_ask(|reply| Job::Put { records, reply })
    }

    /// Hands out records with a sequence above `after`, oldest first, at most
    /// `max_records` and (after the first one) `max_bytes`. Those that have no
    /// sequence get it now, and have it for good when this returns.
    pub async fn take(
        &self,
        after: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<OutboxRecord>, StoreError> {
        self.ask(|reply| Job::Take {
            after,
            max_records,
            max_bytes,
            reply,
        })
        .await
    }

    /// Forgets all records up to and with `through`: the hub has them.
    pub async fn acknowledge(&self, through: u64) -> Result<(), StoreError> {
        self.ask(|reply| Job::Acknowledge { through, reply }).await
    }

    /// The last sequence that was ever handed out; 0 before the first. The hub
    /// notices by it when this database was put back to an older state.
    pub async fn last_sequence(&self) -> Result<u64, StoreError> {
        self.ask(|reply| Job::LastSequence { reply }).await
    }

    /// All saved twins.
    pub async fn twins(&self) -> Result<Vec<TwinBlob>, StoreError> {
        self.ask(|reply| Job::Twins { reply }).await
    }

    /// Saves twins without waiting; the answer comes later.
    pub fn try_save_twins(&self, twins: Vec<TwinBlob>) -> Result<Answer<()>, StoreError> {
        self.try_ask(|reply| Job::SaveTwins { twins, reply })
    }

    /// All local desired values and write results.
    pub async fn desired(&self) -> Result<Vec<DesiredRow>, StoreError> {
        self.ask(|reply| Job::Desired { reply }).await
    }

    /// Saves desired values without waiting; the answer comes later.
    pub fn try_save_desired(&self, rows: Vec<DesiredRow>) -> Result<Answer<()>, StoreError> {
        self.try_ask(|reply| Job::SaveDesired { rows, reply })
    }

    /// Waits until all that was asked before is on the disk.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.ask(|reply| Job::Flush { reply }).await
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.jobs
            .send(job(reply))
            .await
            .map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    fn try_ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<Answer<T>, StoreError> {
        let (reply, answer) = oneshot::channel();
        match self.jobs.try_send(job(reply)) {
            Ok(()) => Ok(answer),
            Err(mpsc::error::TrySendError::Full(_)) => Err(StoreError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(StoreError::Closed),
        }
    }
}

impl fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreHandle")
            .field("path", &self.path)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}
