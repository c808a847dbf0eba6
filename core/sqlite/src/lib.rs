//! A SQLite file with one writer: opened, locked, migrated, committed in groups.
//!
//! Three programs keep a file, and what a file must not do is the same for all
//! of them: lose what was answered, mix up two writers, start half-migrated, or
//! let one bad statement cost the others. So it is said once, here, and no other
//! crate speaks to rusqlite.
//!
//! # Guarantees
//!
//! - An answer of [`Writer::run`] means that it is on the disk.
//! - A job that fails fails alone: it has a savepoint of its own, also in the
//!   memory that goes with the file (the writer's state).
//! - A file of another program, of a newer version, or in use by another process
//!   is refused with an error of its own, and left as it is.
//! - A file of a former version is brought to the newest one, or not changed.
//!
//! # Example
//!
//! ```
//! use longshore_sqlite::{Database, Schema, Settings};
//!
//! static SCHEMA: Schema = Schema {
//!     owner: "counter",
//!     without: "it counts from the beginning",
//!     application: 0x636f_756e,
//!     migrations: &["CREATE TABLE counts (n INTEGER NOT NULL) STRICT"],
//! };
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("counter.db");
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # runtime.block_on(async {
//! let database = Database::open(&path, &SCHEMA, Settings::default())?;
//! let writer = database.start("counter", 0_i64)?;
//! let sum = writer
//!     .run(|job| {
//!         job.execute("INSERT INTO counts VALUES (2)", [])?;
//!         *job.state += 2;
//!         Ok(*job.state)
//!     })
//!     .await?;
//! assert_eq!(sum, 2);
//! writer.close().await;
//! # Ok::<(), longshore_sqlite::Error>(())
//! # }).unwrap();
//! ```

mod error;
mod file;
mod readers;
mod schema;
mod writer;

pub use error::Error;
pub use file::{Database, Settings};
pub use readers::Readers;
pub use schema::Schema;
pub use writer::{Answer, Health, Job, WriteFault, Writer};

// What a store needs to speak SQL, so that it needs no other crate for it.
pub use rusqlite::{
    CachedStatement, Connection, Error as SqlError, OptionalExtension, Row, ToSql, params,
};

#[cfg(test)]
mod tests;
