//! The store, for everybody else: requests to the writer thread, and signals.

use std::{
    collections::BTreeSet,
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use longshore_link::Lane;
use longshore_sqlite::{Answer, Job, Writer};
use longshore_twin::{Row, Save, TwinBlob};
use tokio::sync::watch;

use crate::config::StoreConfig;

use super::{
    StoreError, StoreHealth,
    live::{self, Live},
    objects::{self, Apply, HubPosition, Object},
    records::{OutboxRecord, OutboxSize},
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
    live: Arc<Live>,
    signals: Arc<Signals>,
    epoch: u64,
    ended: bool,
    budget: u64,
}

impl StoreHandle {
    /// Opens (or makes) `edge.db` in `folder` and starts the writer thread.
    ///
    /// # Errors
    ///
    /// Each kind of unusable file has its own [`StoreError`].
    pub fn open(folder: &Path, config: StoreConfig) -> Result<Self, StoreError> {
        let mut database = schema::open(folder)?.commit_every(config.commit_interval);
        let (epoch, position, size, last, ended) = database.with(|connection| {
            let epoch = "SELECT value FROM meta WHERE key = 'epoch'";
            let epoch: String = connection.query_row(epoch, [], |row| row.get(0))?;
            let position = objects::position(connection)?;
            let last = live::begin(connection)?;
            let ended = connection.execute("DELETE FROM meta WHERE key = 'ended'", [])?;
            Ok((
                epoch,
                position,
                telemetry::size(connection)?,
                last,
                ended > 0,
            ))
        })?;
        Ok(Self {
            writer: database.start("store", size)?,
            live: Arc::new(Live::after(last)),
            signals: Arc::new(Signals {
                kinds: Mutex::default(),
                outbox: watch::Sender::new(0),
                position: watch::Sender::new(position),
                size: watch::Sender::new(size),
            }),
            epoch: epoch.parse().unwrap_or(1),
            ended,
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

    /// Whether the process that had this database last ended in good order, with
    /// all of its twins saved: it said so by [`StoreHandle::note_end`].
    pub fn ended_well(&self) -> bool {
        self.ended
    }

    /// All twins are saved, and nothing is reported any more.
    ///
    /// # Errors
    /// It cannot be written; the next start then takes this for a crash.
    pub async fn note_end(&self) -> Result<(), StoreError> {
        let note = "INSERT OR REPLACE INTO meta VALUES ('ended', '1')";
        self.writer.run(|job| job.execute(note, [])).await.map(drop)
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

    /// Counts up whenever there are new records.
    pub fn outbox_changed(&self) -> watch::Receiver<u64> {
        self.signals.outbox.subscribe()
    }

    /// How much waits for the hub.
    pub fn outbox_size(&self) -> OutboxSize {
        let mut size = *self.signals.size.borrow();
        let (records, bytes) = self.live.size();
        size.records += records as u64;
        size.bytes += bytes as u64;
        size
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

    /// A live record for the hub: of those with its key that still wait, only
    /// the latest counts. Not kept over the process.
    pub fn report(&self, key: String, payload: Bytes) {
        self.live.put(key, payload);
        self.signals.outbox.send_modify(|count| *count += 1);
    }

    /// Whether more live records may wait.
    pub fn has_room_for_reports(&self) -> bool {
        self.live.has_room()
    }

    /// Keeps records of samples, all or none, without waiting for room in the
    /// queue; the answer comes later. Each counts, up to the budget: then the
    /// oldest are dropped and counted.
    pub fn try_put_samples(&self, payloads: Vec<Vec<u8>>) -> Result<Answer<()>, StoreError> {
        let (signals, budget) = (Arc::clone(&self.signals), self.budget);
        self.writer.try_run(move |job: &mut Job<'_, OutboxSize>| {
            let mut size = *job.state;
            telemetry::put(job, &payloads, budget, &mut size)?;
            let first = size.dropped > 0 && job.state.dropped == 0;
            *job.state = size;
            job.after_commit(move || {
                if first {
                    tracing::warn!(
                        budget_mib = budget >> 20,
                        "more samples wait for the hub than outbox.maxMiB allows: the oldest are dropped, longshore_outbox_dropped_total counts them"
                    );
                }
                signals.size.send_replace(size);
                signals.outbox.send_modify(|count| *count += 1);
            });
            Ok(())
        })
    }

    /// Hands out records of a lane with a sequence above `after`, oldest first,
    /// at most `max_records` and (after the first one) `max_bytes`.
    pub async fn take(
        &self,
        lane: Lane,
        after: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<OutboxRecord>, StoreError> {
        match lane {
            Lane::Live => Ok(self.live.take(after, max_records, max_bytes)),
            Lane::Telemetry => {
                let work =
                    move |job: &mut Job<'_, _>| telemetry::take(job, after, max_records, max_bytes);
                self.writer.run(work).await
            }
        }
    }

    /// Forgets all records of a lane up to and with `through`: the hub has them.
    pub async fn acknowledge(&self, lane: Lane, through: u64) -> Result<(), StoreError> {
        if lane == Lane::Live {
            self.live.acknowledge(through);
            return Ok(());
        }
        let signals = Arc::clone(&self.signals);
        let work = move |job: &mut Job<'_, OutboxSize>| {
            let mut size = *job.state;
            telemetry::acknowledge(job, through, &mut size)?;
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
        match lane {
            Lane::Live => Ok(self.live.last()),
            Lane::Telemetry => self.writer.run(|job| telemetry::last_sequence(job)).await,
        }
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
