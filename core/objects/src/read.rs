//! The queries.

use std::sync::Arc;

use bytes::Bytes;
use longshore_sqlite::{CachedStatement, Connection, OptionalExtension, Row, SqlError, params};

use crate::{
    Key, ReadError, Record,
    packed::{self, unpack},
};

/// The newest revision and the newest one that was compacted.
pub(crate) fn revisions(db: &Connection) -> Result<(u64, u64), SqlError> {
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0));
    let current = number("SELECT coalesce(max(revision), 0) FROM changes")?;
    let compacted = number("SELECT coalesce(max(value), 0) FROM meta WHERE key = 'compacted'")?;
    Ok((current as u64, compacted as u64))
}

/// The kind of a change that says that the object is gone.
const TOMBSTONE: i64 = 2;

/// Which part of a list to read.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// Of which resource.
    pub resource: Arc<str>,
    /// `None` for all namespaces.
    pub namespace: Option<String>,
    /// Only this name.
    pub name: Option<String>,
    /// The state to read; `None` for the newest.
    pub revision: Option<u64>,
    /// Begin after this (namespace, name).
    pub after: Option<(String, String)>,
    /// So many at most.
    pub limit: usize,
}

/// A part of a list.
#[derive(Debug)]
pub struct Page {
    /// The state that was read.
    pub revision: u64,
    /// In the order of namespace and name.
    pub records: Vec<Record>,
    /// How many follow.
    pub remaining: usize,
}

fn record(row: &Row<'_>) -> Result<Record, SqlError> {
    Ok(Record {
        revision: row.get::<_, i64>(0)? as u64,
        namespace: row.get(1)?,
        name: row.get(2)?,
        json: unpack(row.get(3)?),
    })
}

pub(crate) fn get(db: &Connection, key: &Key) -> Result<Option<Record>, SqlError> {
    let mut query = db.prepare_cached(
        "SELECT revision, namespace, name, value FROM objects JOIN changes USING (revision)
         WHERE resource = ?1 AND namespace = ?2 AND name = ?3 AND NOT gone",
    )?;
    query
        .query_row(params![&*key.resource, key.namespace, key.name], record)
        .optional()
}

/// Everything of one resource.
pub(crate) fn all(db: &Connection, resource: &str) -> Result<Vec<Record>, SqlError> {
    let mut query = db.prepare_cached(
        "SELECT revision, namespace, name, value FROM objects JOIN changes USING (revision)
         WHERE resource = ?1 AND NOT gone",
    )?;
    query.query_map([resource], record)?.collect()
}

/// The objects of a resource in their order, those that are gone too: at an older
/// revision they may be there.
const OBJECTS: &str =
    "SELECT revision, namespace, name, gone FROM objects WHERE resource = ?1 AND (?2 IS NULL OR namespace = ?2)
     AND (?3 IS NULL OR name = ?3) AND (namespace, name) > (?4, ?5)
     ORDER BY namespace, name";

/// An object of a page.
struct Found {
    revision: u64,
    namespace: String,
    name: String,
}

pub(crate) fn page(
    db: &Connection,
    request: &PageRequest,
) -> Result<Result<Page, ReadError>, SqlError> {
    let (current, compacted) = revisions(db)?;
    let wanted = request.revision.unwrap_or(current);
    if wanted > current {
        return Ok(Err(ReadError::TooNew { wanted, current }));
    }
    if wanted < compacted {
        return Ok(Err(ReadError::Expired {
            wanted,
            oldest: compacted,
        }));
    }
    let objects = objects(db, request, (wanted != current).then_some(wanted))?;
    let all = objects.len();
    let mut records = Vec::with_capacity(all.min(request.limit));
    let mut fetch = db.prepare_cached("SELECT value FROM changes WHERE revision = ?1")?;
    for found in objects.into_iter().take(request.limit) {
        let json: Vec<u8> = fetch.query_row([found.revision as i64], |row| row.get(0))?;
        records.push(Record {
            revision: found.revision,
            namespace: found.namespace,
            name: found.name,
            json: unpack(json),
        });
    }
    Ok(Ok(Page {
        revision: wanted,
        remaining: all - records.len(),
        records,
    }))
}

/// The objects of a page, each at its newest revision, or at the one that it had at an
/// older state. Each revision knows the one before it.
fn objects(
    db: &Connection,
    request: &PageRequest,
    as_of: Option<u64>,
) -> Result<Vec<Found>, SqlError> {
    let (namespace, name) = request.after.clone().unwrap_or_default();
    let mut query = db.prepare_cached(OBJECTS)?;
    let mut former = db.prepare_cached("SELECT previous, kind FROM changes WHERE revision = ?1")?;
    let mut rows = query.query(params![
        &*request.resource,
        request.namespace,
        request.name,
        namespace,
        name
    ])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let mut at = Some(row.get::<_, i64>(0)? as u64);
        let mut gone: bool = row.get(3)?;
        if let Some(wanted) = as_of {
            while let Some(revision) = at.filter(|revision| *revision > wanted) {
                let before = |row: &Row<'_>| row.get::<_, Option<i64>>(0);
                let before = former.query_row([revision as i64], before).optional()?;
                at = before.flatten().map(|revision| revision as u64);
            }
            if let Some(revision) = at {
                let tombstone = |row: &Row<'_>| Ok(row.get::<_, i64>(1)? == TOMBSTONE);
                let kind = former.query_row([revision as i64], tombstone).optional()?;
                // What was compacted is not there any more: a tombstone, too.
                gone = kind.unwrap_or(true);
            }
        }
        if let Some(revision) = at.filter(|_| !gone) {
            found.push(Found {
                revision,
                namespace: row.get(1)?,
                name: row.get(2)?,
            });
        }
    }
    Ok(found)
}

/// A change, its kind as a number, and the object before it.
type Change = (Record, i64, Option<Bytes>);

/// Changes of one resource after `position`, oldest first, with the state before: so
/// many, and about so many bytes.
pub(crate) fn changes(
    db: &Connection,
    resource: &str,
    position: u64,
    limit: usize,
    bytes: usize,
) -> Result<Result<Vec<Change>, ReadError>, SqlError> {
    let (_, compacted) = revisions(db)?;
    if position < compacted {
        return Ok(Err(ReadError::Expired {
            wanted: position,
            oldest: compacted,
        }));
    }
    let mut query = db.prepare_cached(
        "SELECT new.revision, namespace, name, new.value, new.kind, old.value
         FROM changes new JOIN objects ON objects.id = new.object
         LEFT JOIN changes old ON old.revision = new.previous AND new.kind = 1
         WHERE new.revision > ?2 AND resource = ?1 ORDER BY new.revision LIMIT ?3",
    )?;
    let mut rows = query.query(params![resource, position as i64, limit as i64])?;
    let (mut changes, mut size) = (Vec::new(), 0);
    while size < bytes
        && let Some(row) = rows.next()?
    {
        let before: Option<Vec<u8>> = row.get(5)?;
        let change = (record(row)?, row.get(4)?, before.map(unpack));
        size += change.0.json.len() + change.2.as_ref().map_or(0, Bytes::len);
        changes.push(change);
    }
    Ok(Ok(changes))
}

/// What superseded how many bytes after `compacted`, in order.
pub(crate) fn superseded(db: &Connection, compacted: u64) -> Result<Vec<(u64, u64)>, SqlError> {
    let mut query = db.prepare_cached(
        "SELECT new.revision, coalesce(length(old.value), 0), coalesce(substr(old.value, 1, ?2), x'')
         FROM changes new LEFT JOIN changes old ON old.revision = new.previous
         WHERE new.revision > ?1 ORDER BY new.revision",
    )?;
    let rows = query.query_map([compacted as i64, packed::HEAD_BYTES], |row| {
        let (length, head) = (row.get::<_, i64>(1)? as u64, row.get::<_, Vec<u8>>(2)?);
        let bytes = packed::text_size(&head, length);
        Ok((row.get::<_, i64>(0)? as u64, bytes))
    })?;
    rows.collect()
}

fn keys(query: &mut CachedStatement<'_>, argument: &str) -> Result<Vec<Key>, SqlError> {
    let rows = query.query_map([argument], |row| {
        Ok(Key {
            resource: row.get::<_, String>(0)?.into(),
            namespace: row.get(1)?,
            name: row.get(2)?,
        })
    })?;
    rows.collect()
}

pub(crate) fn keys_in_namespace(db: &Connection, namespace: &str) -> Result<Vec<Key>, SqlError> {
    keys(
        &mut db.prepare_cached(
            "SELECT resource, namespace, name FROM objects WHERE namespace = ?1 AND NOT gone",
        )?,
        namespace,
    )
}

pub(crate) fn dependents(db: &Connection, uid: &str) -> Result<Vec<Key>, SqlError> {
    keys(
        &mut db.prepare_cached("SELECT resource, namespace, name FROM owners JOIN objects ON id = object WHERE owners.uid = ?1")?,
        uid,
    )
}

pub(crate) fn mentioning(db: &Connection, text: &str) -> Result<Vec<Key>, SqlError> {
    let mut query = db.prepare_cached(
        "SELECT resource, namespace, name, value FROM objects JOIN changes USING (revision)
         WHERE NOT gone",
    )?;
    let mut rows = query.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let json = unpack(row.get(3)?);
        if String::from_utf8_lossy(&json).contains(text) {
            found.push(Key {
                resource: row.get::<_, String>(0)?.into(),
                namespace: row.get(1)?,
                name: row.get(2)?,
            });
        }
    }
    Ok(found)
}

/// An owner reference that leads nowhere.
#[derive(Debug)]
pub struct Dangling {
    /// Who refers.
    pub dependent: Key,
    /// The uid that no object has.
    pub uid: String,
}

pub(crate) fn dangling(db: &Connection) -> Result<Vec<Dangling>, SqlError> {
    let mut query = db.prepare_cached(
        "SELECT resource, namespace, name, owners.uid FROM owners JOIN objects ON id = object
         WHERE NOT EXISTS (SELECT 1 FROM objects owner WHERE owner.uid = owners.uid AND NOT owner.gone)",
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
    rows.collect()
}
