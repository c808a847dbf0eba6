//! The changes.

use bytes::Bytes;
use longshore_sqlite::{Connection, OptionalExtension, SqlError, params};

use crate::{Event, EventKind, Expect, Key, Record, Write, WriteError};

/// A change that was written.
pub(crate) struct Done {
    pub(crate) event: Event,
    /// Whether garbage collection may care.
    pub(crate) ownership: bool,
}

/// Writes the first objects of a new database.
pub(crate) fn seed(tx: &Connection, seeds: Vec<Write>) -> Result<(), SqlError> {
    for (index, write) in seeds.into_iter().enumerate() {
        // nothing is there yet, so no expectation can fail
        let _ = apply(tx, write, index as u64 + 1)?;
    }
    Ok(())
}

/// Writes one change under `revision`, or says why its expectation failed; then
/// nothing is written.
pub(crate) fn apply(
    tx: &Connection,
    write: Write,
    revision: u64,
) -> Result<Result<Done, WriteError>, SqlError> {
    let Write {
        key,
        expect,
        object,
        delete,
    } = write;
    let where_key = params![&*key.resource, key.namespace, key.name];
    let current: Option<(i64, Vec<u8>)> = tx
        .prepare_cached(
            "SELECT log.revision, log.value FROM live JOIN log ON log.revision = live.revision
             WHERE live.resource = ?1 AND live.namespace = ?2 AND live.name = ?3",
        )?
        .query_row(where_key, |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match (&current, expect) {
        (Some(_), Expect::Absent) => return Ok(Err(WriteError::Exists)),
        (None, Expect::At(_)) => return Ok(Err(WriteError::Missing)),
        (Some((at, _)), Expect::At(wanted)) if *at as u64 != wanted => {
            return Ok(Err(WriteError::Changed));
        }
        _ => {}
    }
    let json = object.stamped(revision);
    let kind = match (&current, delete) {
        (_, true) => EventKind::Deleted,
        (None, false) => EventKind::Added,
        (Some(_), false) => EventKind::Modified,
    };
    tx.prepare_cached(
        "INSERT INTO log (resource, namespace, name, revision, kind, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![&*key.resource, key.namespace, key.name, revision as i64, kind as i64, &*json])?;
    if delete {
        tx.prepare_cached("DELETE FROM live WHERE resource = ?1 AND namespace = ?2 AND name = ?3")?
            .execute(where_key)?;
    } else {
        tx.prepare_cached(
            "INSERT OR REPLACE INTO live (resource, namespace, name, revision, uid) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![&*key.resource, key.namespace, key.name, revision as i64, object.uid])?;
    }
    let owners: &[String] = if delete { &[] } else { &object.owners };
    own(tx, &key, owners)?;
    let owned = !owners.is_empty();
    let previous = current
        .filter(|_| kind == EventKind::Modified)
        .map(|(_, value)| Bytes::from(value));
    let record = Record {
        revision,
        namespace: key.namespace,
        name: key.name,
        json,
    };
    let event = Event::new(kind, key.resource, record, previous);
    Ok(Ok(Done {
        event,
        ownership: delete || owned,
    }))
}

/// Mirrors the owner references of an object.
fn own(tx: &Connection, key: &Key, owners: &[String]) -> Result<(), SqlError> {
    tx.prepare_cached("DELETE FROM owners WHERE resource = ?1 AND namespace = ?2 AND name = ?3")?
        .execute(params![&*key.resource, key.namespace, key.name])?;
    for uid in owners {
        tx.prepare_cached(
            "INSERT OR IGNORE INTO owners (resource, namespace, name, uid) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![&*key.resource, key.namespace, key.name, uid])?;
    }
    Ok(())
}

/// Forgets, up to `target`, every revision that a newer one of the same object
/// replaced, and the tombstones. Looks only at what is new since `compacted`.
pub(crate) fn compact(tx: &Connection, compacted: u64, target: u64) -> Result<(), SqlError> {
    let range = params![compacted as i64, target as i64];
    tx.execute(
        "DELETE FROM log WHERE revision IN (
            SELECT old.revision FROM log new JOIN log old
            ON old.resource = new.resource AND old.namespace = new.namespace AND old.name = new.name
            AND old.revision < new.revision
            WHERE new.revision > ?1 AND new.revision <= ?2)",
        range,
    )?;
    tx.execute(
        "DELETE FROM log WHERE revision > ?1 AND revision <= ?2 AND kind = 2",
        range,
    )?;
    tx.execute(
        "INSERT OR REPLACE INTO meta (key, value) VALUES ('compacted', ?1)",
        [target as i64],
    )?;
    Ok(())
}
