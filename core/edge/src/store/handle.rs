//! The store, for everybody else: requests to the writer thread, and signals.

use std::{
    collections::BTreeSet,
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use longshore_link::Lane;
use longshore_sqlite::{Answer, Job, SqlError, Writer};
use longshore_twin::{Row, Save, TwinBlob};
use tokio::sync::watch;

use crate::config::StoreConfig;

use super::{
    StoreError, StoreHealth,
    objects::{self, Apply, HubPosition, Object},
    outbox,
    records::{NewRecord, OutboxRecord, OutboxSize},
    schema, telemetry, twins,
};

/// Signals of what was committed.
struct Signals {
    /// For each reader the kinds that it reads.
    kinds: Mutex<Vec<(&'static [&'static str], watch::Sender<u64>)>>,
    outbox: watch::Sender<u64>,
    position: watch::Sender<Option<HubPosition>>,
    size: watch::Sender<OutboxSize>,
}

impl Signals {
    fn objects(&self, changed: &BTreeSet<String>) {
        let mut readers = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|(kinds, sender)| {
            if kinds.iter().any(|kind| changed.contains(*kind)) {
                sender.send_modify(|count| *count += 1);
            }
            !sender.is_closed()
        });
    }
}

/// The store. Cheap to clone; the writer ends when the last one is dropped.
#[derive(Clone)]
pub struct StoreHandle {
    writer: Writer<OutboxSize>,
    signals: Arc<Signals>,
    epoch: u64,
    budget: u64,
}

type Rows<T> = Result<T, SqlError>;

impl StoreHandle {
    /// Opens (or makes) `edge.db` in `folder` and starts the writer thread.
    ///
    /// # Errors
    ///
    /// Each kind of unusable file has its own [`StoreError`].
    pub fn open(folder: &Path, config: StoreConfig) -> Result<Self, StoreError> {
        let mut database = schema::open(folder)?.commit_every(config.commit_interval);
        let (epoch, position, size) = database.with(|connection| {
            let epoch = "SELECT value FROM meta WHERE key = 'epoch'";
            let epoch: String = connection.query_row(epoch, [], |row| row.get(0))?;
            let position = objects::position(connection)?;
            Ok((epoch, position, outbox::size(connection)?))
        })?;
        Ok(Self {
            writer: database.start("store", size)?,
            signals: Arc::new(Signals {
                kinds: Mutex::default(),
                outbox: watch::Sender::new(0),
                position: watch::Sender::new(position),
                size: watch::Sender::new(size),
            }),
            epoch: epoch.parse().unwrap_or(1),
            budget: config.outbox_budget,
        })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        self.writer.path()
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

    /// Counts up whenever objects of these kinds changed.
    pub fn changed(&self, kinds: &'static [&'static str]) -> watch::Receiver<u64> {
        let (sender, receiver) = watch::channel(0);
        let mut readers = self
            .signals
            .kinds
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        readers.push((kinds, sender));
        receiver
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
        self.writer.health()
    }

    /// Applies objects and position in one transaction. When it returns, they
    /// are on the disk.
    pub async fn apply(&self, apply: Apply) -> Result<(), StoreError> {
        let signals = Arc::clone(&self.signals);
        let work = move |job: &mut Job<'_, OutboxSize>| {
            let kinds = objects::apply(job, &apply)?;
            job.after_commit(move || {
                if let Some(position) = apply.position {
                    signals.position.send_replace(Some(position));
                }
                signals.objects(&kinds);
            });
            Ok(())
        };
        self.writer.run(work).await
    }

    /// The objects of these kinds, as one state, each name once: the hub's
    /// before a manifest's.
    pub async fn objects(&self, kinds: &'static [&'static str]) -> Result<Vec<Object>, StoreError> {
        self.writer.run(|job| objects::of_kinds(job, kinds)).await
    }

    /// Puts records, all or none.
    pub async fn put(&self, records: Vec<NewRecord>) -> Result<(), StoreError> {
        self.writer.run(self.putting(records)).await
    }

    /// Puts records without waiting for room in the queue; the answer comes later.
    pub fn try_put(&self, records: Vec<NewRecord>) -> Result<Answer<()>, StoreError> {
        self.writer.try_run(self.putting(records))
    }

    fn putting(
        &self,
        records: Vec<NewRecord>,
    ) -> impl FnOnce(&mut Job<'_, OutboxSize>) -> Rows<()> + Send + 'static {
        let (signals, budget) = (Arc::clone(&self.signals), self.budget);
        move |job| {
            let mut size = *job.state;
            outbox::put(job, &records, budget, &mut size)?;
            *job.state = size;
            job.after_commit(move || {
                signals.size.send_replace(size);
                signals.outbox.send_modify(|count| *count += 1);
            });
            Ok(())
        }
    }

    /// Hands out records of a lane with a sequence above `after`, oldest first,
    /// at most `max_records` and (after the first one) `max_bytes`. Those that
    /// have no sequence get it now, and have it for good when this returns.
    pub async fn take(
        &self,
        lane: Lane,
        after: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<OutboxRecord>, StoreError> {
        let work = move |job: &mut Job<'_, _>| match lane {
            Lane::Live => outbox::take(job, after, max_records, max_bytes),
            Lane::Telemetry => telemetry::take(job, after, max_records, max_bytes),
        };
        self.writer.run(work).await
    }

    /// Forgets all records of a lane up to and with `through`: the hub has them.
    pub async fn acknowledge(&self, lane: Lane, through: u64) -> Result<(), StoreError> {
        let signals = Arc::clone(&self.signals);
        let work = move |job: &mut Job<'_, OutboxSize>| {
            let mut size = *job.state;
            match lane {
                Lane::Live => outbox::acknowledge(job, through, &mut size)?,
                Lane::Telemetry => telemetry::acknowledge(job, through, &mut size)?,
            }
            *job.state = size;
            job.after_commit(move || {
                signals.size.send_replace(size);
            });
            Ok(())
        };
        self.writer.run(work).await
    }

    /// The last sequence of a lane that was ever handed out; 0 before the first.
    /// The hub notices by it when this database was put back to an older state.
    pub async fn last_sequence(&self, lane: Lane) -> Result<u64, StoreError> {
        let work = move |job: &mut Job<'_, _>| match lane {
            Lane::Live => outbox::last_sequence(job),
            Lane::Telemetry => telemetry::last_sequence(job),
        };
        self.writer.run(work).await
    }

    /// All saved twins.
    pub async fn twins(&self) -> Result<Vec<TwinBlob>, StoreError> {
        self.writer.run(|job| twins::all(job)).await
    }

    /// All rows that are kept of devices.
    pub async fn rows(&self) -> Result<Vec<Row>, StoreError> {
        self.writer.run(|job| twins::rows(job)).await
    }

    /// Does all of it or nothing, without waiting for room in the queue; once the
    /// answer comes, it is on the disk.
    pub fn try_save(&self, save: Arc<Save>) -> Result<Answer<()>, StoreError> {
        self.writer.try_run(move |job| twins::save(job, &save))
    }

    /// Waits until all that was asked before is on the disk.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.writer.flush().await
    }

    #[cfg(test)]
    pub(super) fn writer(&self) -> &Writer<OutboxSize> {
        &self.writer
    }

    /// Does what waits and closes the file; another edgecore may have it then.
    pub async fn close(&self) {
        self.writer.close().await;
    }
}

impl fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreHandle")
            .field("path", &self.path())
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
