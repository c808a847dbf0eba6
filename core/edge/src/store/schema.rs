//! The file: opening it, its settings, and its tables.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode};

use super::error::StoreError;

/// Newest schema of this program; `PRAGMA user_version` of the file.
const SCHEMA: i64 = 1;
/// `PRAGMA application_id`: "LSH1", so that `file` and we know our own files.
const APPLICATION_ID: i64 = 0x4c53_4831;
/// Page cache. The file is read through once at start and written afterwards,
/// so a bigger one would only cost memory.
const CACHE_KIB: i64 = 256;
/// The log is folded into the file every so many pages (4 KiB each), which
/// bounds it on the disk.
const CHECKPOINT_PAGES: i64 = 256;

const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE objects (
    kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    source INTEGER NOT NULL, uid TEXT NOT NULL, resource_version TEXT NOT NULL, json TEXT NOT NULL,
    PRIMARY KEY (kind, namespace, name, source)
) WITHOUT ROWID;
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sequence INTEGER UNIQUE,
    class INTEGER NOT NULL,
    key TEXT,
    payload BLOB NOT NULL
);
CREATE UNIQUE INDEX outbox_waiting ON outbox (key) WHERE sequence IS NULL AND key IS NOT NULL;
CREATE TABLE twins (device TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE desired (
    device TEXT NOT NULL, property TEXT NOT NULL, json TEXT NOT NULL,
    PRIMARY KEY (device, property)
) WITHOUT ROWID;
";

/// Opens the file, makes it when it is absent, and brings it to [`SCHEMA`].
pub(super) fn open(folder: &Path, path: &Path) -> Result<Connection, StoreError> {
    super::private::folder(folder).map_err(|source| StoreError::Folder {
        path: folder.to_owned(),
        source: Arc::new(source),
    })?;
    let connection = Connection::open(path).map_err(|e| explain(path, e))?;
    super::private::file(path);
    prepare(&connection, path)?;
    Ok(connection)
}

fn prepare(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let explain = |e| explain(path, e);
    // A former edgecore that is just ending may hold the file for a moment.
    connection
        .busy_timeout(Duration::from_secs(2))
        .map_err(explain)?;
    // The only user of the file: no shared memory needed, and a second
    // edgecore with the same folder is found out.
    connection
        .pragma_update(None, "locking_mode", "EXCLUSIVE")
        .map_err(explain)?;
    let application: i64 = pragma(connection, "application_id").map_err(explain)?;
    let version: i64 = pragma(connection, "user_version").map_err(explain)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(explain)?;
    if application != APPLICATION_ID && (application != 0 || tables > 0) {
        return Err(StoreError::Foreign {
            path: path.to_owned(),
        });
    }
    if version > SCHEMA {
        return Err(StoreError::NewerSchema {
            path: path.to_owned(),
            found: version,
            known: SCHEMA,
        });
    }
    connection
        .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
        .map_err(explain)?;
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(explain)?;
    connection
        .pragma_update(None, "cache_size", -CACHE_KIB)
        .map_err(explain)?;
    connection
        .pragma_update(None, "temp_store", "MEMORY")
        .map_err(explain)?;
    connection
        .pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
        .map_err(explain)?;
    if tables == 0 {
        create(connection).map_err(explain)?;
    }
    let sound: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(explain)?;
    if sound != "ok" {
        let source = rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
            Some(sound),
        );
        return Err(StoreError::NotADatabase {
            path: path.to_owned(),
            source: Arc::new(source),
        });
    }
    // Takes the write lock now, so that a read-only file and a second process
    // are refused at start and not at the first change.
    connection
        .execute_batch("BEGIN IMMEDIATE; UPDATE meta SET value = value WHERE key = 'epoch'; COMMIT")
        .map_err(explain)
}

fn create(connection: &Connection) -> Result<(), rusqlite::Error> {
    let epoch = fastrand::u64(1..=i64::MAX as u64);
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {TABLES}
         INSERT INTO meta VALUES ('epoch', '{epoch}'), ('sequence', '0');
         PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA}; COMMIT"
    ))
}

fn pragma(connection: &Connection, name: &str) -> Result<i64, rusqlite::Error> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// Which of our errors it is.
pub(super) fn explain(path: &Path, error: rusqlite::Error) -> StoreError {
    let path: PathBuf = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreError::NotADatabase {
            path,
            source: Arc::new(error),
        },
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            StoreError::ReadOnly {
                path,
                source: Arc::new(error),
            }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse { path },
        Some(ErrorCode::DiskFull) => StoreError::Full { path },
        _ => StoreError::Sql {
            path,
            source: Arc::new(error),
        },
    }
}
