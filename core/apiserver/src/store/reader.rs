//! Reads: a pool of connections and the queries they run.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::Semaphore;

use super::{Key, ReadError, Record, database};

/// Reads at one time. Each holds a thread and a page cache, so few.
const READERS: usize = 4;

impl From<rusqlite::Error> for ReadError {
    fn from(source: rusqlite::Error) -> ReadError {
        ReadError::Database(source)
    }
}

/// Connections that only read, opened when first needed.
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Readers {
        Readers {
            path: path.to_owned(),
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(READERS)),
        }
    }

    /// Runs `read` on a thread that may block.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let permit = self
            .permits
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| ReadError::Closed)?;
        let readers = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let idle = readers.idle.lock().map_err(|_| ReadError::Closed)?.pop();
            let connection = match idle {
                Some(connection) => connection,
                None => database::open_reader(&readers.path)?,
            };
            let result = read(&connection);
            if let Ok(mut idle) = readers.idle.lock() {
                idle.push(connection);
            }
            result
        });
        task.await.map_err(|_| ReadError::Closed)?
    }

    pub(super) fn close(&self) {
        self.permits.close();
        if let Ok(mut idle) = self.idle.lock() {
            idle.clear();
        }
    }
}

/// Which part of a list to read.
#[derive(Clone, Debug)]
pub(crate) struct PageRequest {
    pub(crate) resource: Arc<str>,
    /// `None` for all namespaces.
    pub(crate) namespace: Option<String>,
    /// Only this name.
    pub(crate) name: Option<String>,
    /// The state to read; `None` for the newest.
    pub(crate) revision: Option<u64>,
    /// Begin after this (namespace, name).
    pub(crate) after: Option<(String, String)>,
    pub(crate) limit: usize,
}

/// A part of a list.
#[derive(Debug)]
pub(crate) struct Page {
    /// The state that was read.
    pub(crate) revision: u64,
    pub(crate) records: Vec<Record>,
    /// How many follow.
    pub(crate) remaining: usize,
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        revision: row.get::<_, i64>(0)? as u64,
        namespace: row.get(1)?,
        name: row.get(2)?,
        json: Bytes::from(row.get::<_, Vec<u8>>(3)?),
    })
}

pub(super) fn get(db: &Connection, key: &Key) -> Result<Option<Record>, ReadError> {
    let mut query = db.prepare_cached(
        "SELECT log.revision, log.namespace, log.name, log.value FROM live JOIN log ON log.revision = live.revision
         WHERE live.resource = ?1 AND live.namespace = ?2 AND live.name = ?3",
    )?;
    Ok(query
        .query_row(params![&*key.resource, key.namespace, key.name], record)
        .optional()?)
}

/// Everything of one resource.
pub(super) fn all(db: &Connection, resource: &str) -> rusqlite::Result<Vec<Record>> {
    let mut query = db.prepare_cached(
        "SELECT log.revision, log.namespace, log.name, log.value FROM live JOIN log ON log.revision = live.revision
         WHERE live.resource = ?1",
    )?;
    query.query_map([resource], record)?.collect()
}

/// The newest state of each object, from `live`.
const NEWEST: &str =
    "SELECT revision FROM live WHERE resource = ?1 AND (?2 IS NULL OR namespace = ?2)
     AND (?3 IS NULL OR name = ?3) AND (namespace, name) > (?4, ?5)
     ORDER BY namespace, name";

/// The state of each object as of revision ?6, from the log.
const AS_OF: &str =
    "SELECT max(revision) FROM log WHERE resource = ?1 AND (?2 IS NULL OR namespace = ?2)
     AND (?3 IS NULL OR name = ?3) AND (namespace, name) > (?4, ?5) AND revision <= ?6
     GROUP BY namespace, name ORDER BY namespace, name";

pub(super) fn page(db: &Connection, request: &PageRequest) -> Result<Page, ReadError> {
    // One transaction, so that revision and rows are of the same state.
    let tx = db.unchecked_transaction()?;
    let (current, compacted) = database::revisions(&tx)?;
    let wanted = request.revision.unwrap_or(current);
    if wanted > current {
        return Err(ReadError::TooNew { wanted, current });
    }
    if wanted < compacted {
        return Err(ReadError::Expired {
            wanted,
            oldest: compacted,
        });
    }
    let (namespace, name) = request.after.clone().unwrap_or_default();
    let newest = wanted == current;
    let mut revisions: Vec<i64> = Vec::new();
    {
        let mut query = tx.prepare_cached(if newest { NEWEST } else { AS_OF })?;
        let resource = &*request.resource;
        let mut rows = if newest {
            query.query(params![
                resource,
                request.namespace,
                request.name,
                namespace,
                name
            ])?
        } else {
            query.query(params![
                resource,
                request.namespace,
                request.name,
                namespace,
                name,
                wanted as i64
            ])?
        };
        while let Some(row) = rows.next()? {
            revisions.push(row.get(0)?);
        }
    }
    let mut records = Vec::with_capacity(revisions.len().min(request.limit));
    let mut used = 0;
    let mut fetch = tx.prepare_cached(
        "SELECT revision, namespace, name, value, kind FROM log WHERE revision = ?1",
    )?;
    for revision in &revisions {
        if records.len() == request.limit {
            break;
        }
        used += 1;
        // kind 2 is a tombstone: the object did not exist at that revision
        if let Some(found) = fetch
            .query_row([revision], |row| Ok((record(row)?, row.get::<_, i64>(4)?)))
            .optional()?
            && found.1 != 2
        {
            records.push(found.0);
        }
    }
    Ok(Page {
        revision: wanted,
        records,
        remaining: revisions.len() - used,
    })
}

/// Changes of one resource after `position`, oldest first, with the state before.
pub(super) fn changes(
    db: &Connection,
    resource: &str,
    position: u64,
    limit: usize,
) -> Result<Vec<(Record, i64, Option<Bytes>)>, ReadError> {
    let tx = db.unchecked_transaction()?;
    let (_, compacted) = database::revisions(&tx)?;
    if position < compacted {
        return Err(ReadError::Expired {
            wanted: position,
            oldest: compacted,
        });
    }
    let mut query = tx.prepare_cached(
        "SELECT revision, namespace, name, value, kind,
            (SELECT old.value FROM log old WHERE old.resource = log.resource AND old.namespace = log.namespace
             AND old.name = log.name AND old.revision < log.revision AND log.kind = 1
             ORDER BY old.revision DESC LIMIT 1)
         FROM log WHERE resource = ?1 AND revision > ?2 ORDER BY revision LIMIT ?3",
    )?;
    let rows = query.query_map(params![resource, position as i64, limit as i64], |row| {
        let before: Option<Vec<u8>> = row.get(5)?;
        Ok((record(row)?, row.get(4)?, before.map(Bytes::from)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn keys(query: &mut rusqlite::CachedStatement<'_>, argument: &str) -> Result<Vec<Key>, ReadError> {
    let rows = query.query_map([argument], |row| {
        Ok(Key {
            resource: row.get::<_, String>(0)?.into(),
            namespace: row.get(1)?,
            name: row.get(2)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn keys_in_namespace(db: &Connection, namespace: &str) -> Result<Vec<Key>, ReadError> {
    keys(
        &mut db
            .prepare_cached("SELECT resource, namespace, name FROM live WHERE namespace = ?1")?,
        namespace,
    )
}

pub(super) fn dependents(db: &Connection, uid: &str) -> Result<Vec<Key>, ReadError> {
    keys(
        &mut db.prepare_cached("SELECT resource, namespace, name FROM owners WHERE uid = ?1")?,
        uid,
    )
}

pub(super) fn mentioning(db: &Connection, text: &str) -> Result<Vec<Key>, ReadError> {
    let sql = "SELECT live.resource, live.namespace, live.name FROM live JOIN log ON log.revision = live.revision
         WHERE instr(log.value, CAST(?1 AS BLOB)) > 0";
    keys(&mut db.prepare_cached(sql)?, text)
}

/// An owner reference that leads nowhere.
#[derive(Debug)]
pub(crate) struct Dangling {
    pub(crate) dependent: Key,
    /// The uid that no object has.
    pub(crate) uid: String,
}

pub(super) fn dangling(db: &Connection) -> Result<Vec<Dangling>, ReadError> {
    let mut query = db.prepare_cached(
        "SELECT resource, namespace, name, uid FROM owners
         WHERE NOT EXISTS (SELECT 1 FROM live WHERE live.uid = owners.uid)",
    )?;
    let rows = query.query_map([], |row| {
        let dependent = Key {
            resource: row.get::<_, String>(0)?.into(),
            namespace: row.get(1)?,
            name: row.get(2)?,
        };
        Ok(Dangling {
            dependent,
            uid: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
