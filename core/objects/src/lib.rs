//! A revisioned log of objects with watch by kind, over one SQLite file.
//!
//! # Why this shape
//!
//! One append-only log numbers every change of every object; that number is the
//! object's `resourceVersion`. `changes` holds each change under its revision, with the
//! revision before it of the same object; `objects` has the newest revision of each,
//! `owners` mirrors `ownerReferences` so that garbage collection is a query. A change of
//! an object thus writes two rows, one of them behind all others, and no index: that is
//! what a status costs the disk. Compaction drops what was superseded, by number, bytes
//! and age; a reader of an older revision is told [`ReadError::Expired`]. The file's
//! space is used again and not given back.
//!
//! A [`Watcher`] pulls: it holds nothing but its position, so a slow one costs no
//! memory and holds up nobody. It is woken by changes of its kind alone.
//!
//! # Guarantees
//!
//! - A write that was answered is in the file; one that failed left nothing
//!   behind, in the file or in a watch, and cost no other write anything.
//! - Revisions only grow, across restarts too. A watcher sees each change of its
//!   selector once, in order, or is told that its revision has expired.
//!
//! # Example
//!
//! ```
//! use longshore_objects::{Expect, Key, Log, Options, MIGRATIONS, Selector, Write};
//! use longshore_sqlite::Schema;
//!
//! static SCHEMA: Schema = Schema {
//!     owner: "example",
//!     without: "it starts with no objects",
//!     application: 0x6578_616d,
//!     migrations: MIGRATIONS,
//! };
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let file = folder.path().join("objects.db");
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let (log, _) = Log::open(&file, &SCHEMA, Options::default(), Vec::new(), "").unwrap();
//! let mut boilers = log.watch(Selector::kind("boilers"), log.current());
//! let key = Key { resource: "boilers".into(), namespace: "default".into(), name: "b1".into() };
//! let object = serde_json::json!({"metadata": {"name": "b1"}});
//! let written = log.write(Write { key, expect: Expect::Absent, object: object.into(), delete: false }).await.unwrap();
//! assert_eq!(boilers.next().await.unwrap()[0].record.revision, written.revision);
//! log.close().await;
//! # });
//! ```

mod error;
mod history;
mod log;
mod newest;
mod object;
mod packed;
mod read;
mod watch;
mod window;
mod write;

pub use error::{ReadError, WriteError};
pub use log::{Log, MIGRATIONS, Options};
pub use object::{Draft, Event, EventKind, Expect, Key, Record, Write};
pub use read::{Dangling, Page, PageRequest};
pub use watch::{Selector, Watcher};

#[cfg(test)]
mod tests;
