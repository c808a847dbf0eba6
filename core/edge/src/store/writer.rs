//! The thread that owns the connection.
//!
//! It takes whatever waits in the queue as one group: one transaction, one
//! savepoint per job (a job that fails takes nothing with it), one commit, then
//! the answers. When the commit itself fails, every job of the group fails and
//! nothing of it is applied.

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension};
use tokio::sync::{mpsc, oneshot};

use super::{
    error::StoreError,
    handle::{
        Apply, DesiredRow, HubPosition, NewRecord, Object, OutboxRecord, OutboxSize, Signals,
        StoreHealth, TwinBlob,
    },
    objects, outbox, schema, twins,
};

/// Jobs of one group.
const GROUP: usize = 64;

/// Where the answer of a job goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer does.
pub(super) enum Job {
    Apply {
        apply: Apply,
        reply: Reply<()>,
    },
    Objects {
        reply: Reply<Vec<Object>>,
    },
    Put {
        records: Vec<NewRecord>,
        reply: Reply<()>,
    },
    Take {
        after: u64,
        max_records: usize,
        max_bytes: usize,
        reply: Reply<Vec<OutboxRecord>>,
    },
    Acknowledge {
        through: u64,
        reply: Reply<()>,
    },
    LastSequence {
        reply: Reply<u64>,
    },
    Twins {
        reply: Reply<Vec<TwinBlob>>,
    },
    SaveTwins {
        twins: Vec<TwinBlob>,
        reply: Reply<()>,
    },
    Desired {
        reply: Reply<Vec<DesiredRow>>,
    },
    SaveDesired {
        rows: Vec<DesiredRow>,
        reply: Reply<()>,
    },
    Flush {
        reply: Reply<()>,
    },
}

/// Which signals a group has to give after its commit.
#[derive(Debug, Clone, Copy, Default)]
struct Touched {
    objects: bool,
    outbox: bool,
    position: bool,
}

/// An answer that waits for the commit: told how the commit went.
type Pending = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// See the module.
pub(super) struct Writer {
    connection: Connection,
    path: PathBuf,
    budget: u64,
    size: OutboxSize,
    health: StoreHealth,
    /// A job of the present group found the disk full.
    full: bool,
    /// What made SQLite roll back the present group as a whole.
    lost: Option<StoreError>,
    epoch: u64,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        path: PathBuf,
        budget: u64,
    ) -> Result<Self, StoreError> {
        let explain = |e| schema::explain(&path, e);
        let epoch: String = connection
            .query_row("SELECT value FROM meta WHERE key = 'epoch'", [], |row| {
                row.get(0)
            })
            .map_err(explain)?;
        let size = outbox::size(&connection).map_err(explain)?;
        Ok(Self {
            connection,
            path,
            budget,
            size,
            health: StoreHealth::default(),
            full: false,
            lost: None,
            epoch: epoch.parse().unwrap_or(1),
        })
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn size(&self) -> OutboxSize {
        self.size
    }

    pub(super) fn position(&mut self) -> Result<Option<HubPosition>, StoreError> {
        objects::position(&self.connection).map_err(|e| schema::explain(&self.path, e))
    }

    /// Works until the last handle is gone.
    pub(super) fn run(&mut self, mut queue: mpsc::Receiver<Job>, signals: &Signals) {
        let mut group = Vec::with_capacity(GROUP);
        while let Some(first) = queue.blocking_recv() {
            group.push(first);
            while group.len() < GROUP {
                match queue.try_recv() {
                    Ok(job) => group.push(job),
                    Err(_) => break,
                }
            }
            self.group(group.drain(..), signals);
        }
        if let Err(error) = self
            .connection
            .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        {
            tracing::debug!(%error, "last checkpoint of the store failed");
        }
    }

    fn group(&mut self, jobs: impl Iterator<Item = Job>, signals: &Signals) {
        let begun = self
            .connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(|e| schema::explain(&self.path, e));
        let former = self.size;
        let mut touched = Touched::default();
        let mut pending = Vec::new();
        for job in jobs {
            self.job(job, begun.as_ref().err(), &mut touched, &mut pending);
        }
        let end = begun
            .and_then(|()| self.lost.take().map_or(Ok(()), Err))
            .and_then(|()| {
                self.connection.execute_batch("COMMIT").map_err(|e| {
                    let error = schema::explain(&self.path, e);
                    self.roll_back();
                    error
                })
            });
        match &end {
            Ok(()) => self.signal(touched, signals),
            Err(_) => {
                self.size = OutboxSize {
                    dropped: self.size.dropped,
                    ..former
                }
            }
        }
        self.note(&end, signals);
        for answer in pending {
            answer(end.clone());
        }
    }

    fn job(
        &mut self,
        job: Job,
        refused: Option<&StoreError>,
        touched: &mut Touched,
        pending: &mut Vec<Pending>,
    ) {
        match job {
            Job::Apply { apply, reply } => {
                let (objects, position) = (
                    !apply.changes.is_empty() || apply.replace,
                    apply.position.is_some(),
                );
                let done = self.attempt(refused, pending, reply, |w| {
                    objects::apply(&w.connection, &apply)
                });
                touched.objects |= done && objects;
                touched.position |= done && position;
            }
            Job::Objects { reply } => {
                self.attempt(refused, pending, reply, |w| objects::all(&w.connection));
            }
            Job::Put { records, reply } => {
                let done = self.attempt(refused, pending, reply, |w| {
                    let mut size = w.size;
                    outbox::put(&w.connection, &records, w.budget, &mut size)?;
                    w.size = size;
                    Ok(())
                });
                touched.outbox |= done;
            }
            Job::Take {
                after,
                max_records,
                max_bytes,
                reply,
            } => {
                self.attempt(refused, pending, reply, |w| {
                    outbox::take(&w.connection, after, max_records, max_bytes)
                });
            }
            Job::Acknowledge { through, reply } => {
                self.attempt(refused, pending, reply, |w| {
                    let mut size = w.size;
                    outbox::acknowledge(&w.connection, through, &mut size)?;
                    w.size = size;
                    Ok(())
                });
            }
            Job::LastSequence { reply } => {
                self.attempt(refused, pending, reply, |w| {
                    outbox::last_sequence(&w.connection)
                });
            }
            Job::Twins { reply } => {
                self.attempt(refused, pending, reply, |w| twins::all(&w.connection));
            }
            Job::SaveTwins { twins, reply } => {
                self.attempt(refused, pending, reply, |w| {
                    twins::save(&w.connection, &twins)
                });
            }
            Job::Desired { reply } => {
                self.attempt(refused, pending, reply, |w| twins::desired(&w.connection));
            }
            Job::SaveDesired { rows, reply } => {
                self.attempt(refused, pending, reply, |w| {
                    twins::save_desired(&w.connection, &rows)
                });
            }
            Job::Flush { reply } => {
                self.attempt(refused, pending, reply, |_| Ok(()));
            }
        }
    }

    /// Runs one job in its savepoint. Its answer is given after the commit.
    fn attempt<T: Send + 'static>(
        &mut self,
        refused: Option<&StoreError>,
        pending: &mut Vec<Pending>,
        reply: Reply<T>,
        work: impl FnOnce(&mut Self) -> Result<T, rusqlite::Error>,
    ) -> bool {
        let result = match refused.or(self.lost.as_ref()) {
            Some(error) => Err(error.clone()),
            None => self.in_savepoint(work),
        };
        match result {
            Ok(value) => {
                pending.push(Box::new(move |end| drop(reply.send(end.map(|()| value)))));
                true
            }
            Err(error) => {
                self.health.errors += 1;
                if matches!(error, StoreError::Full { .. }) {
                    self.health.fault = Some(error.to_string());
                    self.full = true;
                }
                // The caller may have given up; then nobody wants the answer.
                pending.push(Box::new(move |_| drop(reply.send(Err(error)))));
                false
            }
        }
    }

    fn in_savepoint<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, rusqlite::Error>,
    ) -> Result<T, StoreError> {
        let result = self
            .connection
            .execute_batch("SAVEPOINT job")
            .and_then(|()| work(self));
        let result =
            result.and_then(|value| self.connection.execute_batch("RELEASE job").map(|()| value));
        result.map_err(|error| {
            let explained = schema::explain(&self.path, error);
            let undone = self
                .connection
                .execute_batch("ROLLBACK TO job; RELEASE job");
            // A full disk and the like may roll back the whole transaction.
            // Then the group is lost; the next job must not run outside of one.
            if undone.is_err() || self.connection.is_autocommit() {
                self.roll_back();
                self.lost = Some(explained.clone());
            }
            explained
        })
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, path = %self.path.display(), "store could not roll back");
        }
    }

    fn signal(&mut self, touched: Touched, signals: &Signals) {
        if touched.position
            && let Ok(position) = objects::position(&self.connection)
        {
            signals.position.send_replace(position);
        }
        if touched.objects {
            signals.objects.send_modify(|n| *n += 1);
        }
        if touched.outbox {
            signals.outbox.send_modify(|n| *n += 1);
        }
        if *signals.size.borrow() != self.size {
            signals.size.send_replace(self.size);
        }
    }

    fn note(&mut self, end: &Result<(), StoreError>, signals: &Signals) {
        match end {
            Err(error) => {
                self.health.errors += 1;
                if self.health.fault.is_none() {
                    tracing::error!(%error, "store cannot write; twins go on, nothing is acknowledged");
                }
                self.health.fault = Some(error.to_string());
            }
            Ok(()) if self.health.fault.is_some() && !self.full && self.probe() => {
                tracing::info!(path = %self.path.display(), "store can write again");
                self.health.fault = None;
            }
            Ok(()) => {}
        }
        self.full = false;
        if *signals.health.borrow() != self.health {
            signals.health.send_replace(self.health.clone());
        }
    }

    /// Whether a row can be written. An empty commit proves nothing.
    fn probe(&self) -> bool {
        self.connection
            .query_row(
                "INSERT OR REPLACE INTO meta VALUES ('probe', randomblob(64)) RETURNING 1",
                [],
                |_| Ok(()),
            )
            .optional()
            .is_ok()
    }
}
