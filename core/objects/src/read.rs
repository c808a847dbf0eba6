//! The queries.

use std::sync::Arc;

use bytes::Bytes;
use longshore_sqlite::{CachedStatement, Connection, OptionalExtension, Row, SqlError, params};

use crate::{Key, ReadError, Record};

/// The newest revision and the newest one that was compacted.
pub(crate) fn revisions(db: &Connection) -> Result<(u64, u64), SqlError> {
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0));
    let current = number("SELECT coalesce(max(revision), 0) FROM log")?;
    let compacted = number("SELECT coalesce(max(value), 0) FROM meta WHERE key = 'compacted'")?;
    Ok((current as u64, compacted as u64))
}

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
        json: Bytes::from(row.get::<_, Vec<u8>>(3)?),
    })
}

pub(crate) fn get(db: &Connection, key: &Key) -> Result<Option<Record>, SqlError> {
    let mut query = db.prepare_cached(
        "SELECT log.revision, log.namespace, log.name, log.value FROM live JOIN log ON log.revision = live.revision
         WHERE live.resource = ?1 AND live.namespace = ?2 AND live.name = ?3",
    )?;
    query
        .query_row(params![&*key.resource, key.namespace, key.name], record)
        .optional()
}

/// Everything of one resource.
pub(crate) fn all(db: &Connection, resource: &str) -> Result<Vec<Record>, SqlError> {
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
    let (namespace, name) = request.after.clone().unwrap_or_default();
    let newest = wanted == current;
    let mut revisions: Vec<i64> = Vec::new();
    {
        let mut query = db.prepare_cached(if newest { NEWEST } else { AS_OF })?;
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
    let mut fetch = db.prepare_cached(
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
    Ok(Ok(Page {
        revision: wanted,
        records,
        remaining: revisions.len() - used,
    }))
}

/// A change, its kind as a number, and the object before it.
type Change = (Record, i64, Option<Bytes>);

/// Changes of one resource after `position`, oldest first, with the state before.
pub(crate) fn changes(
    db: &Connection,
    resource: &str,
    position: u64,
    limit: usize,
) -> Result<Result<Vec<Change>, ReadError>, SqlError> {
    let (_, compacted) = revisions(db)?;
    if position < compacted {
        return Ok(Err(ReadError::Expired {
            wanted: position,
            oldest: compacted,
        }));
    }
    let mut query = db.prepare_cached(
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
    rows.collect::<Result<_, _>>().map(Ok)
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
        &mut db
            .prepare_cached("SELECT resource, namespace, name FROM live WHERE namespace = ?1")?,
        namespace,
    )
}

pub(crate) fn dependents(db: &Connection, uid: &str) -> Result<Vec<Key>, SqlError> {
    keys(
        &mut db.prepare_cached("SELECT resource, namespace, name FROM owners WHERE uid = ?1")?,
        uid,
    )
}

pub(crate) fn mentioning(db: &Connection, text: &str) -> Result<Vec<Key>, SqlError> {
    let sql = "SELECT live.resource, live.namespace, live.name FROM live JOIN log ON log.revision = live.revision
         WHERE instr(log.value, CAST(?1 AS BLOB)) > 0";
    keys(&mut db.prepare_cached(sql)?, text)
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
    rows.collect()
}
