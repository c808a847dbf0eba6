//! The log as its users see it.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use longshore_sqlite::{Database, Error, Health, Readers, Schema, Settings, Writer};
use tokio::sync::watch as signal;

use crate::{
    EventKind, Key, ReadError, Record, Write, WriteError,
    history::{self, History},
    newest::Newest,
    read::{self, Dangling, Page, PageRequest},
    window::{self, Windows},
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
", "
CREATE TABLE objects (
    id        INTEGER PRIMARY KEY,
    resource  TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    revision  INTEGER NOT NULL,
    gone      INTEGER NOT NULL,
    uid       TEXT NOT NULL,
    UNIQUE (resource, namespace, name)
);
CREATE INDEX objects_by_namespace ON objects (namespace);
CREATE INDEX objects_by_uid ON objects (uid);
CREATE TABLE changes (
    revision INTEGER PRIMARY KEY,
    object   INTEGER NOT NULL,
    previous INTEGER,
    kind     INTEGER NOT NULL,
    value    BLOB NOT NULL
);
INSERT INTO objects (resource, namespace, name, revision, gone, uid)
    SELECT newest.resource, newest.namespace, newest.name, newest.revision, log.kind = 2, coalesce(live.uid, '')
    FROM (SELECT resource, namespace, name, max(revision) AS revision FROM log
        GROUP BY resource, namespace, name) newest
    JOIN log ON log.revision = newest.revision
    LEFT JOIN live ON live.resource = newest.resource AND live.namespace = newest.namespace
        AND live.name = newest.name;
INSERT INTO changes (revision, object, previous, kind, value)
    SELECT log.revision, id, (SELECT max(old.revision) FROM log old WHERE old.resource = log.resource
        AND old.namespace = log.namespace AND old.name = log.name AND old.revision < log.revision), kind, value
    FROM log JOIN objects USING (resource, namespace, name) ORDER BY log.revision;
CREATE TABLE owned (
    object INTEGER NOT NULL,
    uid    TEXT NOT NULL,
    PRIMARY KEY (object, uid)
) WITHOUT ROWID;
INSERT OR IGNORE INTO owned SELECT id, owners.uid FROM owners JOIN objects USING (resource, namespace, name);
DROP TABLE owners;
DROP TABLE live;
DROP TABLE log;
ALTER TABLE owned RENAME TO owners;
CREATE INDEX owners_by_uid ON owners (uid);
", "
-- From here on states may be packed; a program that does not know it must not open the file.
"];

/// Bounds of a log.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Revisions kept for watchers and paged lists; older ones are expired.
    pub history: u64,
    /// Bytes of superseded states that are kept. The file's space is used again for
    /// what comes, so it grows to what is live and a little more than this.
    pub history_bytes: u64,
    /// Superseded states that are older are not kept.
    pub history_age: Duration,
    /// Events of each resource kept in memory.
    pub window: usize,
    /// Bytes of the events of each resource kept in memory; of all, four times as many.
    pub window_bytes: usize,
    /// The file may not grow beyond this; writes then fail as on a full disk.
    pub max_bytes: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            history: 10_000,
            history_bytes: 64 * 1024 * 1024,
            // As long as etcd keeps it under Kubernetes, at the least.
            history_age: Duration::from_secs(300),
            window: 512,
            window_bytes: 4 * 1024 * 1024,
            max_bytes: None,
        }
    }
}

/// Bytes of what was written last that stay in memory for who changes it again.
const NEWEST: usize = 4 * 1024 * 1024;

/// The log that stands before the file is folded into it and cut to this size, so that
/// a reader that took long leaves nothing behind.
const WAL: i64 = 16 * 1024 * 1024;

/// What goes with the file.
#[derive(Clone, Copy)]
pub(crate) struct State {
    pub(crate) revision: u64,
    pub(crate) compacted: u64,
}

/// State shared by all clones and all watchers.
pub(crate) struct Shared {
    pub(crate) windows: Windows,
    newest: Mutex<Newest>,
    history: Mutex<History>,
    /// The newest revision; all events up to it are in the windows.
    pub(crate) current: AtomicU64,
    /// Counts changes that may concern garbage collection.
    pub(crate) ownership: signal::Sender<u64>,
}

/// The log. Clones share it.
#[derive(Clone)]
pub struct Log {
    writer: Writer<State>,
    pub(crate) readers: Readers,
    pub(crate) shared: Arc<Shared>,
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
        let ((revision, compacted), records, superseded) = database.with(|connection| {
            connection.pragma_update(None, "journal_size_limit", WAL)?;
            if read::revisions(connection)?.0 == 0 {
                write::seed(connection, seeds)?;
            }
            let revisions = read::revisions(connection)?;
            let superseded = read::superseded(connection, revisions.1)?;
            Ok((revisions, read::all(connection, listed)?, superseded))
        })?;
        let kept = history::Bounds {
            revisions: options.history.max(1),
            bytes: options.history_bytes,
            age: options.history_age,
        };
        let mut history = History::new(kept, compacted);
        // What former lives left counts as of now.
        let now = Instant::now();
        for (revision, bytes) in superseded {
            history.note(revision, bytes, now);
        }
        let held = window::Bounds {
            events: options.window.max(1),
            bytes: options.window_bytes,
            all: options.window_bytes.saturating_mul(4),
            age: options.history_age,
        };
        let state = State {
            revision,
            compacted,
        };
        let log = Self {
            readers: database.readers(READERS),
            writer: database.start("objects", state)?,
            shared: Arc::new(Shared {
                windows: Windows::new(held, revision),
                newest: Mutex::new(Newest::new(NEWEST)),
                history: Mutex::new(history),
                current: revision.into(),
                ownership: signal::Sender::new(0),
            }),
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
        let known = shared.newest().get(&write.key).cloned();
        let work = self.writer.run(move |job| {
            let revision = job.state.revision + 1;
            let done = match write::apply(job, write, known.as_ref(), revision)? {
                Ok(done) => done,
                Err(refused) => return Ok(Err(refused)),
            };
            job.state.revision = revision;
            let record = done.event.record.clone();
            job.after_commit(move || shared.tell(done));
            Ok(Ok(record))
        });
        let record = work.await??;
        self.compact();
        Ok(record)
    }

    /// Drops what is older than it may be, also where nothing is written.
    pub fn tidy(&self) {
        self.shared.windows.tidy(Instant::now());
        self.compact();
    }

    /// Drops superseded revisions, once enough of them have come together.
    fn compact(&self) {
        let shared = Arc::clone(&self.shared);
        let due = move || shared.history().due(shared.current(), Instant::now());
        if due().is_none() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        // Where the queue is full, the next write asks again; nobody waits for it.
        drop(self.writer.try_run(move |job| {
            if let Some(target) = due() {
                write::compact(job, job.state.compacted, target).inspect_err(|error| {
                    tracing::warn!(%error, "compaction of an object log failed, it is tried again");
                })?;
                job.state.compacted = target;
                job.after_commit(move || shared.history().compacted(target));
            }
            Ok(())
        }));
    }

    /// The newest revision.
    pub fn current(&self) -> u64 {
        self.shared.current()
    }

    /// One object.
    ///
    /// # Errors
    ///
    /// The file cannot be read, as for all reads below.
    pub async fn get(&self, key: Key) -> Result<Option<Record>, ReadError> {
        if let Some(record) = self.shared.newest().get(&key) {
            return Ok(Some(record.clone()));
        }
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
    fn current(&self) -> u64 {
        self.current.load(Ordering::Acquire)
    }

    // Nothing that panics runs under these locks.
    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change is on the disk: watchers first, then everybody who asks.
    fn tell(&self, done: write::Done) {
        let record = &done.event.record;
        let revision = record.revision;
        self.history()
            .note(revision, done.superseded, Instant::now());
        if done.event.kind == EventKind::Deleted {
            self.newest().remove(&done.key);
        } else {
            self.newest().put(done.key, record.clone());
        }
        self.windows.push(done.event, || {
            self.current.store(revision, Ordering::Release)
        });
        if done.ownership {
            self.ownership.send_modify(|count| *count += 1);
        }
    }
}
