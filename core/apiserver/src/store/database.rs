//! The file: opening it, its tables, what it says about itself.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// Marks a file as ours: "LSAP".
const APPLICATION_ID: i64 = 0x4c53_4150;

const TABLES: &str = "
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
";

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    #[error("the file is not a database of this server")]
    Foreign(#[source] rusqlite::Error),
    #[error("the database could not be opened")]
    Sqlite(#[from] rusqlite::Error),
    #[error("another process uses the database")]
    InUse,
    #[error("the lock of the database could not be made")]
    Lock(#[source] std::io::Error),
    #[error("the database could not be made private")]
    Private(#[source] std::io::Error),
    #[error("the writer thread could not be started")]
    Thread(#[source] std::io::Error),
}

/// Makes sure that nobody else writes: two writers would number changes twice.
/// The lock lasts as long as the file that is given back.
pub(super) fn lock(path: &Path) -> Result<File, DatabaseError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = File::create(Path::new(&name)).map_err(DatabaseError::Lock)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DatabaseError::InUse),
        Err(TryLockError::Error(source)) => Err(DatabaseError::Lock(source)),
    }
}

/// Opens the writer's connection and makes the tables.
pub(super) fn open(path: &Path, max_bytes: Option<u64>) -> Result<Connection, DatabaseError> {
    private(path).map_err(DatabaseError::Private)?;
    let connection = Connection::open(path)?;
    prepare(&connection, max_bytes).map_err(|source| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            DatabaseError::Foreign(source)
        }
        _ => DatabaseError::Sqlite(source),
    })?;
    Ok(connection)
}

/// Secrets stand in it: makes the file for its owner alone, and takes what is
/// there already from others. SQLite gives new files beside it the same mode.
fn private(path: &Path) -> io::Result<()> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::set_permissions(Path::new(&name), Permissions::from_mode(0o600)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn prepare(connection: &Connection, max_bytes: Option<u64>) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    let id: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if id != APPLICATION_ID && (id != 0 || tables != 0) {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB);
        let text = "the file is a database of another application".to_owned();
        return Err(rusqlite::Error::SqliteFailure(code, Some(text)));
    }
    connection.pragma_update(None, "journal_mode", "wal")?;
    // FULL: an answered write survives a power cut. Group commit pays for it.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "cache_size", -2048)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.execute_batch(TABLES)?;
    if let Some(bytes) = max_bytes {
        let page: u64 = connection
            .query_row("PRAGMA page_size", [], |row| row.get::<_, i64>(0))
            .map(|n| n as u64)?;
        let pages = (bytes / page.max(1)).max(1) as i64;
        connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
    }
    Ok(())
}

/// Opens a connection that only reads.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.pragma_update(None, "cache_size", -1024)?;
    Ok(connection)
}

/// The newest revision and the newest one that was compacted.
pub(super) fn revisions(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    let current: i64 =
        connection.query_row("SELECT coalesce(max(revision), 0) FROM log", [], |row| {
            row.get(0)
        })?;
    Ok((current as u64, compacted(connection)?))
}

/// The newest revision that was compacted.
pub(super) fn compacted(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT coalesce(max(value), 0) FROM meta WHERE key = 'compacted'";
    connection
        .query_row(sql, [], |row| row.get::<_, i64>(0))
        .map(|n| n as u64)
}
