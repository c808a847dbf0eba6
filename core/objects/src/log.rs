//! The log as its users see it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use longshore_sqlite::{Database, Error, Health, Readers, Schema, Settings, Writer};
use tokio::sync::watch as signal;

use crate::{
    Key, ReadError, Record, Write, WriteError,
    read::{self, Dangling, Page, PageRequest},
    window::Windows,
    write,
};

/// Reads at one time. Each holds a thread and a page cache, so few.
const READERS: usize = 4;

/// How a file comes to hold a log. The first step finds the tables already in
/// files that were made before they had a version.
pub const MIGRATIONS: &[&str] = &["
CREATE TABLE IF NOT EXISTS log (
    revision  INTEGER PRIMARY KEY,
    resource  TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    kind      INTEGER NOT NULL,
    value     BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS log_by_key ON log (resource, namespace, name, revision);
CREATE INDEX IF NOT EXISTS log_by_resource ON log (resource, revision);
CREATE TABLE IF NOT EXISTS live (
    resource  TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    revision  INTEGER NOT NULL,
    uid       TEXT NOT NULL,
    PRIMARY KEY (resource, namespace, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS live_by_namespace ON live (namespace);
CREATE INDEX IF NOT EXISTS live_by_uid ON live (uid);
CREATE TABLE IF NOT EXISTS owners (
    resource  TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    uid       TEXT NOT NULL,
    PRIMARY KEY (resource, namespace, name, uid)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS owners_by_uid ON owners (uid);
CREATE TABLE IF NOT EXISTS meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
"];

/// Bounds of a log.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Revisions kept for watchers and paged lists; older ones are expired.
    pub history: u64,
    /// Events of each resource kept in memory.
    pub window: usize,
    /// The file may not grow beyond this; writes then fail as on a full disk.
    pub max_bytes: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            history: 10_000,
            window: 512,
            max_bytes: None,
        }
    }
}

/// What goes with the file.
#[derive(Clone, Copy)]
pub(crate) struct State {
    pub(crate) revision: u64,
    pub(crate) compacted: u64,
}

/// State shared by all clones and all watchers.
pub(crate) struct Shared {
    pub(crate) windows: Windows,
    /// The newest revision; all events up to it are in the windows.
    pub(crate) current: AtomicU64,
    pub(crate) compacted: AtomicU64,
    /// Counts changes that may concern garbage collection.
    pub(crate) ownership: signal::Sender<u64>,
}

/// The log. Clones share it.
#[derive(Clone)]
pub struct Log {
    writer: Writer<State>,
    pub(crate) readers: Readers,
    pub(crate) shared: Arc<Shared>,
    history: u64,
}

impl Log {
    /// Opens the file. A new one begins with `seeds`. Also gives what is stored of
    /// the resource `listed`, as there may be no runtime yet to ask for it.
    ///
    /// # Errors
    ///
    /// The file cannot be used; it is then left as it is.
    pub fn open(
        path: &Path,
        schema: &'static Schema,
        options: Options,
        seeds: Vec<Write>,
        listed: &str,
    ) -> Result<(Self, Vec<Record>), Error> {
        let settings = Settings {
            readers: true,
            // Secrets are objects too.
            secret: true,
            max_bytes: options.max_bytes,
            ..Settings::default()
        };
        let mut database = Database::open(path, schema, settings)?;
        let ((revision, compacted), records) = database.with(|connection| {
            if read::revisions(connection)?.0 == 0 {
                write::seed(connection, seeds)?;
            }
            Ok((read::revisions(connection)?, read::all(connection, listed)?))
        })?;
        let state = State {
            revision,
            compacted,
        };
        let log = Self {
            readers: database.readers(READERS),
            writer: database.start("objects", state)?,
            shared: Arc::new(Shared {
                windows: Windows::new(options.window.max(1), revision),
                current: revision.into(),
                compacted: compacted.into(),
                ownership: signal::Sender::new(0),
            }),
            history: options.history.max(1),
        };
        Ok((log, records))
    }

    /// Commits one change. When this returns `Ok` it is in the file.
    ///
    /// # Errors
    ///
    /// The expectation does not hold, or the file cannot be written.
    pub async fn write(&self, write: Write) -> Result<Record, WriteError> {
        let shared = Arc::clone(&self.shared);
        let work = self.writer.run(move |job| {
            let revision = job.state.revision + 1;
            let done = match write::apply(job, write, revision)? {
                Ok(done) => done,
                Err(refused) => return Ok(Err(refused)),
            };
            job.state.revision = revision;
            let record = done.event.record.clone();
            job.after_commit(move || shared.tell(done));
            Ok(Ok(record))
        });
        let record = work.await??;
        self.compact(record.revision);
        Ok(record)
    }

    /// Drops superseded revisions, once enough of them have come together.
    fn compact(&self, revision: u64) {
        let target = revision.saturating_sub(self.history);
        let enough = (self.history / 10).max(1);
        let due = move |compacted: u64| target.saturating_sub(compacted) >= enough;
        if !due(self.shared.compacted.load(Ordering::Relaxed)) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        // Where the queue is full, the next write asks again; nobody waits for it.
        drop(self.writer.try_run(move |job| {
            if due(job.state.compacted) {
                write::compact(job, job.state.compacted, target).inspect_err(|error| {
                    tracing::warn!(%error, "compaction of an object log failed, it is tried again");
                })?;
                job.state.compacted = target;
                job.after_commit(move || shared.compacted.store(target, Ordering::Relaxed));
            }
            Ok(())
        }));
    }

    /// The newest revision.
    pub fn current(&self) -> u64 {
        self.shared.current.load(Ordering::Acquire)
    }

    /// One object.
    ///
    /// # Errors
    ///
    /// The file cannot be read, as for all reads below.
    pub async fn get(&self, key: Key) -> Result<Option<Record>, ReadError> {
        Ok(self.readers.run(move |db| read::get(db, &key)).await?)
    }

    /// One page of a list, from one consistent state.
    ///
    /// # Errors
    ///
    /// Also when the wanted revision is not kept or not there yet.
    pub async fn page(&self, request: PageRequest) -> Result<Page, ReadError> {
        self.readers.run(move |db| read::page(db, &request)).await?
    }

    /// What is stored in `namespace`.
    ///
    /// # Errors
    ///
    /// See [`get`](Self::get).
    pub async fn resources_in(&self, namespace: String) -> Result<Vec<Key>, ReadError> {
        let read = self
            .readers
            .run(move |db| read::keys_in_namespace(db, &namespace));
        Ok(read.await?)
    }

    /// Objects that name `uid` as an owner.
    ///
    /// # Errors
    ///
    /// See [`get`](Self::get).
    pub async fn dependents(&self, uid: String) -> Result<Vec<Key>, ReadError> {
        Ok(self
            .readers
            .run(move |db| read::dependents(db, &uid))
            .await?)
    }

    /// References to owners that do not exist.
    ///
    /// # Errors
    ///
    /// See [`get`](Self::get).
    pub async fn dangling(&self) -> Result<Vec<Dangling>, ReadError> {
        Ok(self.readers.run(read::dangling).await?)
    }

    /// Objects whose JSON holds `text`. Reads everything, so for start-up only.
    ///
    /// # Errors
    ///
    /// See [`get`](Self::get).
    pub async fn mentioning(&self, text: String) -> Result<Vec<Key>, ReadError> {
        Ok(self
            .readers
            .run(move |db| read::mentioning(db, &text))
            .await?)
    }

    /// Changes whenever an owner went or a dependent came.
    pub fn ownership(&self) -> signal::Receiver<u64> {
        self.shared.ownership.subscribe()
    }

    /// Whether the file can be written.
    pub fn health(&self) -> Health {
        self.writer.health()
    }

    /// Does what waits, ends reads, and closes the file.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close();
    }

    #[cfg(test)]
    pub(crate) fn writer(&self) -> &Writer<State> {
        &self.writer
    }
}

impl Shared {
    /// A change is on the disk: watchers first, then everybody who asks.
    fn tell(&self, done: write::Done) {
        let revision = done.event.record.revision;
        self.windows.push(done.event, || {
            self.current.store(revision, Ordering::Release)
        });
        if done.ownership {
            self.ownership.send_modify(|count| *count += 1);
        }
    }
}
