//! The object store: one append-only log in SQLite, and watches over it.
//!
//! `log` holds each change under its revision, `live` points to the newest
//! revision of each object, `owners` mirrors `ownerReferences` so that garbage
//! collection is a query. Compaction drops what was superseded before the
//! history window; a reader of an older revision is told [`ReadError::Expired`].

mod database;
mod reader;
mod watch;
mod writer;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch as signal};

pub(crate) use database::DatabaseError;
pub(crate) use reader::{Dangling, Page, PageRequest};
pub(crate) use watch::{Event, EventKind, Watcher};

use reader::Readers;
use watch::Window;

/// Where an object lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// `group/plural`, the same for all versions of a resource.
    pub(crate) resource: Arc<str>,
    /// Empty for resources of the cluster.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// A stored object.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) revision: u64,
    pub(crate) name: String,
    pub(crate) namespace: String,
    /// The object as JSON, its `resourceVersion` inside.
    pub(crate) json: Bytes,
}

impl Record {
    /// The object as a tree. Stored JSON was written by us, so a failure means
    /// the file was changed by somebody else; the object then reads as empty.
    pub(crate) fn object(&self) -> Value {
        serde_json::from_slice(&self.json).unwrap_or_else(|_| Value::Object(Default::default()))
    }
}

/// What a writer believes about the object it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// There is none.
    Absent,
    /// Its newest revision is this.
    At(u64),
}

/// One change.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) key: Key,
    pub(crate) expect: Expect,
    /// The object; the writer stamps the revision into it.
    pub(crate) object: Value,
    /// Whether this removes the object. `object` is then its last state.
    pub(crate) delete: bool,
}

/// Why a write was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("the object exists already")]
    Exists,
    #[error("the object does not exist")]
    Missing,
    #[error("the object is at another revision")]
    Changed,
    #[error("the database refused a write")]
    Database(#[source] Arc<rusqlite::Error>),
    #[error("the store is closed")]
    Closed,
}

/// Why a read was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("revision {wanted} was compacted, {oldest} is the oldest")]
    Expired { wanted: u64, oldest: u64 },
    #[error("revision {wanted} is beyond the newest, {current}")]
    TooNew { wanted: u64, current: u64 },
    #[error("the database refused a read")]
    Database(#[source] rusqlite::Error),
    #[error("the store is closed")]
    Closed,
}

/// Tunables, see [`crate::Config`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) history: u64,
    pub(crate) window: usize,
    pub(crate) max_bytes: Option<u64>,
}

/// Writes that wait for the writer thread. A full queue makes writers wait.
const QUEUE: usize = 256;

struct Request {
    write: Write,
    reply: oneshot::Sender<Result<Record, WriteError>>,
}

/// State shared by the writer thread and all watchers.
struct Shared {
    windows: Mutex<HashMap<Arc<str>, Window>>,
    window_size: usize,
    /// Events before this revision were never in memory.
    opened_at: u64,
    current: signal::Sender<u64>,
    compacted: std::sync::atomic::AtomicU64,
    /// Counts changes that may concern garbage collection.
    ownership: signal::Sender<u64>,
}

/// The store. Clones share it.
#[derive(Clone)]
pub(crate) struct Store {
    requests: mpsc::Sender<Request>,
    readers: Arc<Readers>,
    shared: Arc<Shared>,
    thread: Arc<Mutex<Option<std::thread::JoinHandle<()>>>>,
}

impl Store {
    /// Opens the file. A new one begins with `seeds`. Also gives what is stored
    /// of the resource `listed`, because there is no runtime yet to ask for it.
    pub(crate) fn open(
        path: &Path,
        limits: Limits,
        seeds: Vec<Write>,
        listed: &str,
    ) -> Result<(Store, Vec<Record>), DatabaseError> {
        let lock = database::lock(path)?;
        let mut connection = database::open(path, limits.max_bytes)?;
        if database::revisions(&connection)?.0 == 0 {
            writer::seed(&mut connection, seeds)?;
        }
        let (current, compacted) = database::revisions(&connection)?;
        let records = reader::all(&connection, listed)?;
        let shared = Arc::new(Shared {
            windows: Mutex::default(),
            window_size: limits.window.max(1),
            opened_at: current,
            current: signal::Sender::new(current),
            compacted: compacted.into(),
            ownership: signal::Sender::new(0),
        });
        let (requests, receiver) = mpsc::channel(QUEUE);
        let writer =
            writer::Writer::new(connection, shared.clone(), current, limits.history.max(1));
        let thread = std::thread::Builder::new()
            .name("api-writer".into())
            .spawn(move || {
                writer.run(receiver);
                drop(lock);
            })
            .map_err(DatabaseError::Thread)?;
        let store = Store {
            requests,
            readers: Arc::new(Readers::new(path)),
            shared,
            thread: Arc::new(Mutex::new(Some(thread))),
        };
        Ok((store, records))
    }

    /// Commits one change. When this returns `Ok` it is in the file.
    pub(crate) async fn write(&self, write: Write) -> Result<Record, WriteError> {
        let (reply, answer) = oneshot::channel();
        self.requests
            .send(Request { write, reply })
            .await
            .map_err(|_| WriteError::Closed)?;
        answer.await.map_err(|_| WriteError::Closed)?
    }

    /// The newest revision.
    pub(crate) fn current(&self) -> u64 {
        *self.shared.current.borrow()
    }

    pub(crate) async fn get(&self, key: Key) -> Result<Option<Record>, ReadError> {
        self.readers.run(move |db| reader::get(db, &key)).await
    }

    /// One page of a list, from one consistent state.
    pub(crate) async fn page(&self, request: PageRequest) -> Result<Page, ReadError> {
        self.readers.run(move |db| reader::page(db, &request)).await
    }

    /// Whether anything is stored in `namespace`.
    pub(crate) async fn resources_in(&self, namespace: String) -> Result<Vec<Key>, ReadError> {
        self.readers
            .run(move |db| reader::keys_in_namespace(db, &namespace))
            .await
    }

    /// Objects that name `uid` as an owner.
    pub(crate) async fn dependents(&self, uid: String) -> Result<Vec<Key>, ReadError> {
        self.readers
            .run(move |db| reader::dependents(db, &uid))
            .await
    }

    /// References to owners that do not exist.
    pub(crate) async fn dangling(&self) -> Result<Vec<Dangling>, ReadError> {
        self.readers.run(reader::dangling).await
    }

    /// Objects whose JSON holds `text`. Reads everything, so for start-up only.
    pub(crate) async fn mentioning(&self, text: String) -> Result<Vec<Key>, ReadError> {
        self.readers
            .run(move |db| reader::mentioning(db, &text))
            .await
    }

    /// Changes whenever an owner went or a dependent came.
    pub(crate) fn ownership(&self) -> signal::Receiver<u64> {
        self.shared.ownership.subscribe()
    }

    /// Watches `resource` from just after `revision`.
    pub(crate) fn watch(&self, resource: Arc<str>, revision: u64) -> Watcher {
        Watcher::new(self.clone(), resource, revision)
    }

    /// Waits for the writer to end. Every other clone that still sends keeps it
    /// alive, so the receiver is closed from inside by the sentinel of `close`.
    pub(crate) async fn close(&self) {
        let (reply, _answer) = oneshot::channel();
        let key = Key {
            resource: writer::CLOSE.into(),
            namespace: String::new(),
            name: String::new(),
        };
        let write = Write {
            key,
            expect: Expect::Absent,
            object: Value::Null,
            delete: false,
        };
        let _ = self.requests.send(Request { write, reply }).await;
        let thread = self.thread.lock().ok().and_then(|mut slot| slot.take());
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        self.readers.close();
    }
}
