//! The changes.

use bytes::Bytes;
use longshore_sqlite::{Connection, OptionalExtension, SqlError, params};

use crate::{
    Event, EventKind, Expect, Key, Record, Write, WriteError,
    packed::{self, pack, unpack},
};

/// A change that was written.
pub(crate) struct Done {
    pub(crate) event: Event,
    pub(crate) key: Key,
    /// Bytes of the state that it superseded.
    pub(crate) superseded: u64,
    /// Whether garbage collection may care.
    pub(crate) ownership: bool,
}

/// What is stored of an object.
struct Current {
    id: i64,
    revision: u64,
    gone: bool,
}

/// Writes the first objects of a new database.
pub(crate) fn seed(tx: &Connection, seeds: Vec<Write>) -> Result<(), SqlError> {
    for (index, write) in seeds.into_iter().enumerate() {
        // nothing is there yet, so no expectation can fail
        let _ = apply(tx, write, None, index as u64 + 1)?;
    }
    Ok(())
}

/// Writes one change under `revision`, or says why its expectation failed; then
/// nothing is written. `known` is the object before it, if that is in memory.
///
/// A change of an object writes two rows: the change, behind all others, and the
/// object's newest revision.
pub(crate) fn apply(
    tx: &Connection,
    write: Write,
    known: Option<&Record>,
    revision: u64,
) -> Result<Result<Done, WriteError>, SqlError> {
    let Write {
        key,
        expect,
        object,
        delete,
    } = write;
    let current = current(tx, &key)?;
    let living = current.as_ref().filter(|current| !current.gone);
    match (living, expect) {
        (Some(_), Expect::Absent) => return Ok(Err(WriteError::Exists)),
        (None, Expect::At(_)) => return Ok(Err(WriteError::Missing)),
        (Some(current), Expect::At(wanted)) if current.revision != wanted => {
            return Ok(Err(WriteError::Changed));
        }
        _ => {}
    }
    let kind = match (living, delete) {
        (_, true) => EventKind::Deleted,
        (None, false) => EventKind::Added,
        (Some(_), false) => EventKind::Modified,
    };
    let before = match living {
        Some(current) => before(tx, current.revision, known, kind)?,
        None => (0, None),
    };
    let id = match &current {
        None => {
            tx.prepare_cached(
                "INSERT INTO objects (resource, namespace, name, revision, gone, uid) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![&*key.resource, key.namespace, key.name, revision as i64, delete, object.uid])?;
            tx.last_insert_rowid()
        }
        Some(Current { id, gone, .. }) if *gone || delete => {
            tx.prepare_cached(
                "UPDATE objects SET revision = ?2, gone = ?3, uid = ?4 WHERE id = ?1",
            )?
            .execute(params![id, revision as i64, delete, object.uid])?;
            *id
        }
        Some(Current { id, .. }) => {
            tx.prepare_cached("UPDATE objects SET revision = ?2 WHERE id = ?1")?
                .execute(params![id, revision as i64])?;
            *id
        }
    };
    let json = object.stamped(revision);
    let previous = current.as_ref().map(|current| current.revision as i64);
    tx.prepare_cached(
        "INSERT INTO changes (revision, object, previous, kind, value) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        revision as i64,
        id,
        previous,
        kind as i64,
        &*pack(&json)
    ])?;
    let owners: &[String] = if delete { &[] } else { &object.owners };
    let owned = own(tx, id, owners)?;
    let record = Record {
        revision,
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        json,
    };
    Ok(Ok(Done {
        event: Event::new(kind, key.resource.clone(), record, before.1),
        key,
        superseded: before.0,
        ownership: delete || owned,
    }))
}

fn current(tx: &Connection, key: &Key) -> Result<Option<Current>, SqlError> {
    tx.prepare_cached(
        "SELECT id, revision, gone FROM objects WHERE resource = ?1 AND namespace = ?2 AND name = ?3",
    )?
    .query_row(params![&*key.resource, key.namespace, key.name], |row| {
        Ok(Current {
            id: row.get(0)?,
            revision: row.get::<_, i64>(1)? as u64,
            gone: row.get(2)?,
        })
    })
    .optional()
}

/// Size and text of the state before; the text only for a modification.
fn before(
    tx: &Connection,
    revision: u64,
    known: Option<&Record>,
    kind: EventKind,
) -> Result<(u64, Option<Bytes>), SqlError> {
    if let Some(known) = known.filter(|known| known.revision == revision) {
        let json = (kind == EventKind::Modified).then(|| known.json.clone());
        return Ok((known.json.len() as u64, json));
    }
    let what = match kind {
        EventKind::Modified => {
            "SELECT length(value), value, substr(value, 1, ?2) FROM changes WHERE revision = ?1"
        }
        _ => "SELECT length(value), NULL, substr(value, 1, ?2) FROM changes WHERE revision = ?1",
    };
    let read = tx
        .prepare_cached(what)?
        .query_row([revision as i64, packed::HEAD_BYTES], |row| {
            let (length, head) = (row.get::<_, i64>(0)? as u64, row.get::<_, Vec<u8>>(2)?);
            let text: Option<Vec<u8>> = row.get(1)?;
            Ok((packed::text_size(&head, length), text.map(unpack)))
        })
        .optional()?;
    Ok(read.unwrap_or_default())
}

/// Mirrors the owner references of an object; true when they changed.
fn own(tx: &Connection, id: i64, owners: &[String]) -> Result<bool, SqlError> {
    let mut known = tx.prepare_cached("SELECT uid FROM owners WHERE object = ?1 ORDER BY uid")?;
    let known = known.query_map([id], |row| row.get::<_, String>(0))?;
    let known = known.collect::<Result<Vec<_>, _>>()?;
    let mut wanted: Vec<&str> = owners.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    wanted.dedup();
    if wanted == known {
        return Ok(false);
    }
    tx.prepare_cached("DELETE FROM owners WHERE object = ?1")?
        .execute([id])?;
    for uid in wanted {
        tx.prepare_cached("INSERT INTO owners (object, uid) VALUES (?1, ?2)")?
            .execute(params![id, uid])?;
    }
    Ok(true)
}

/// Forgets, up to `target`, every revision that a newer one of the same object
/// replaced, and the tombstones. Looks only at what is new since `compacted`.
pub(crate) fn compact(tx: &Connection, compacted: u64, target: u64) -> Result<(), SqlError> {
    let range = params![compacted as i64, target as i64];
    for sql in [
        "DELETE FROM changes WHERE revision IN (
            SELECT previous FROM changes WHERE revision > ?1 AND revision <= ?2 AND previous IS NOT NULL)",
        "DELETE FROM objects WHERE gone AND revision <= ?2 AND id IN (
            SELECT object FROM changes WHERE revision > ?1 AND revision <= ?2 AND kind = 2)",
        "DELETE FROM changes WHERE revision > ?1 AND revision <= ?2 AND kind = 2",
    ] {
        tx.execute(sql, range)?;
    }
    tx.execute(
        "INSERT OR REPLACE INTO meta (key, value) VALUES ('compacted', ?1)",
        [target as i64],
    )?;
    Ok(())
}
