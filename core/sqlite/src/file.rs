//! The file: opening it, its settings, its version.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, TransactionBehavior, hooks::Wal};

use crate::{Error, Schema};

/// A former process that is just ending may hold the file for a moment.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks whether it still does.
const LOOK: Duration = Duration::from_millis(20);
/// Rights of the group and of others.
const FOREIGN: u32 = 0o077;

/// How a file is used.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Page cache of the writer. What is only written needs little.
    pub cache_kib: u32,
    /// The log is folded into the file after so many pages (4 KiB each) once nobody
    /// waits, and after four times as many at the latest, which bounds it on the disk.
    pub checkpoint_pages: u32,
    /// Other connections of this process read while the writer writes. Without,
    /// there is no shared memory, and SQLite itself keeps other processes out.
    pub readers: bool,
    /// It holds secrets: better no file than one that others can read.
    pub secret: bool,
    /// It may not grow beyond this; writes then fail as on a full disk.
    pub max_bytes: Option<u64>,
    /// Jobs that may wait for the writer, which are also the most that it
    /// commits together. Callers wait when it is full.
    pub queue: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache_kib: 2048,
            checkpoint_pages: 1000,
            readers: false,
            secret: false,
            max_bytes: None,
            queue: 256,
        }
    }
}

/// An open file that nobody else writes to, of the newest version.
#[derive(Debug)]
pub struct Database {
    pub(crate) connection: Connection,
    pub(crate) path: Arc<Path>,
    pub(crate) schema: &'static Schema,
    pub(crate) settings: Settings,
    /// Pages of the log, as of the last commit.
    pub(crate) log: Arc<AtomicU32>,
    /// How long the first job of a group waits for others.
    pub(crate) commit_interval: Duration,
    /// Held as long as the connection; released by the system with the process.
    pub(crate) _lock: Option<File>,
}

impl Database {
    /// Opens the file, makes it when it is absent, for its owner alone, and
    /// brings it to the newest version.
    ///
    /// # Errors
    ///
    /// Each kind of unusable file has its own error; the file is then as before.
    pub fn open(path: &Path, schema: &'static Schema, settings: Settings) -> Result<Self, Error> {
        let lock = settings.readers.then(|| lock(path, schema)).transpose()?;
        if path
            .metadata()
            .is_ok_and(|file| file.is_file() && file.len() == 0)
        {
            // What a power cut leaves of a file whose folder reached the disk
            // before its content, or a disk that was full.
            let without = schema.without;
            tracing::warn!(path = %path.display(), "the database has no content: what was in it, if anything, is lost; {without}");
        }
        make_private(path, settings.secret)?;
        let explain = |error| Error::explain(path, schema, error);
        let mut connection = Connection::open(path).map_err(explain)?;
        connection.busy_timeout(PATIENCE).map_err(explain)?;
        check(&connection, path, schema, settings)?;
        let log = Arc::default();
        prepare(&mut connection, schema, settings, &log).map_err(explain)?;
        // The files beside it may be older than the rule that they are private.
        make_private(path, settings.secret)?;
        Ok(Self {
            connection,
            path: path.into(),
            schema,
            settings,
            log,
            commit_interval: Duration::ZERO,
            _lock: lock,
        })
    }

    /// How long the first job of a group waits for others, so that they share a
    /// commit: nothing that was answered is at risk, but each answer comes so
    /// much later. Zero commits at once whatever waits.
    #[must_use]
    pub fn commit_every(mut self, interval: Duration) -> Self {
        self.commit_interval = interval;
        self
    }

    /// Reads, or writes in one transaction, before the writer starts.
    ///
    /// # Errors
    ///
    /// What SQLite said; nothing is written then.
    pub fn with<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, Error> {
        let run = || {
            let transaction = self.connection.transaction()?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|error| Error::explain(&self.path, self.schema, error))
    }
}

/// Refuses what is not ours, before anything is changed.
fn check(
    connection: &Connection,
    path: &Path,
    schema: &'static Schema,
    settings: Settings,
) -> Result<(), Error> {
    let read = || {
        if !settings.readers {
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        }
        let application: i32 = pragma(connection, "application_id")?;
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((application, tables, version(connection)?))
    };
    let (application, tables, found) =
        read().map_err(|error| Error::explain(path, schema, error))?;
    if application != schema.application && (application != 0 || tables > 0) {
        return Err(Error::Foreign {
            path: path.to_owned(),
            owner: schema.owner,
        });
    }
    if found > schema.version() {
        return Err(Error::Newer {
            path: path.to_owned(),
            owner: schema.owner,
            found,
            known: schema.version(),
        });
    }
    Ok(())
}

fn prepare(
    connection: &mut Connection,
    schema: &Schema,
    settings: Settings,
    log: &Arc<AtomicU32>,
) -> Result<(), rusqlite::Error> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // What is answered survives a power cut; committing in groups pays for it.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -i64::from(settings.cache_kib))?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Left to itself, SQLite folds the log within a commit, and all who wait for that
    // commit wait for the fold. The writer does it when it has answered.
    let log = Arc::clone(log);
    connection.wal_hook(Some(move |_: &mut Wal, pages| {
        log.store(u32::try_from(pages).unwrap_or_default(), Ordering::Relaxed);
        Ok(())
    }))?;
    let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        return Err(rusqlite::Error::SqliteFailure(code, Some(sound)));
    }
    // Also where there is nothing to migrate the lock is taken and a page
    // written, so that a read-only file and a second process are refused at
    // start and not at the first change.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = usize::try_from(version(&transaction)?).unwrap_or_default();
    for step in schema.migrations.iter().skip(found) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", schema.application)?;
    transaction.pragma_update(None, "user_version", schema.version())?;
    transaction.commit()?;
    if let Some(bytes) = settings.max_bytes {
        let page: i64 = pragma(connection, "page_size")?;
        let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page.max(1);
        connection.pragma_update(None, "max_page_count", pages.max(1))?;
    }
    Ok(())
}

fn version(connection: &Connection) -> Result<i64, rusqlite::Error> {
    pragma(connection, "user_version")
}

fn pragma<T: rusqlite::types::FromSql>(
    connection: &Connection,
    name: &str,
) -> Result<T, rusqlite::Error> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// Keeps other processes out where SQLite cannot, as readers share the file. Waits
/// as SQLite does: a former process may just be ending, and a child that this one
/// starts in another thread has a copy of the lock until it runs its own program.
fn lock(path: &Path, schema: &Schema) -> Result<File, Error> {
    let name = beside(path, ".lock");
    let failed = |source| Error::Lock {
        path: name.clone(),
        source: Arc::new(source),
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(failed)?;
    let end = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(LOOK),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::InUse {
                    path: path.to_owned(),
                    owner: schema.owner,
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// SQLite gives the files beside it the mode of this one, so it is made here;
/// what is there already is taken from others.
fn make_private(path: &Path, must: bool) -> Result<(), Error> {
    // If that fails, SQLite says why.
    let _ = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path);
    for path in ["", "-wal", "-shm"].map(|suffix| beside(path, suffix)) {
        match tighten(&path) {
            Err(source) if must => {
                let source = Arc::new(source);
                return Err(Error::Private { path, source });
            }
            // Somebody else's file, or a disk that knows no owners.
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "others can read this and it cannot be changed");
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

fn tighten(path: &Path) -> io::Result<()> {
    let Ok(metadata) = path.metadata() else {
        return Ok(());
    };
    let mode = metadata.permissions().mode();
    if mode & FOREIGN == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode & 0o7777 & !FOREIGN))
}
