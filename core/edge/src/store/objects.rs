//! Objects and the position in the hub's log.

use std::collections::{BTreeSet, HashSet};

pub use longshore_link::ObjectKey;
use longshore_sqlite::{Connection, OptionalExtension, Row, SqlError, params};

/// Who gave an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// The hub. Wins over the others on the same name.
    Hub,
    /// A manifest in the node's own folder.
    Manifest,
}

/// An object as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Which.
    pub key: ObjectKey,
    /// The API server's uid; empty for manifests.
    pub uid: String,
    /// The API server's resource version; empty for manifests.
    pub resource_version: String,
    /// Who gave it.
    pub source: Source,
    /// The whole object.
    pub json: String,
}

/// One step of an [`Apply`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Create or replace.
    Put {
        /// Which.
        key: ObjectKey,
        /// See [`Object::uid`].
        uid: String,
        /// See [`Object::resource_version`].
        resource_version: String,
        /// The whole object.
        json: String,
    },
    /// Delete; it may be absent.
    Delete(ObjectKey),
}

/// Where in the hub's log of this node the store stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubPosition {
    /// Which log: a new hub database is another log.
    pub log: String,
    /// The last change of that log which is applied.
    pub revision: u64,
}

/// Objects that are applied in one transaction.
#[derive(Debug, Clone)]
pub struct Apply {
    /// Who gives them.
    pub source: Source,
    /// The position that they lead to.
    pub position: Option<HubPosition>,
    /// A snapshot: whatever else there is of this source is deleted.
    pub replace: bool,
    /// In order.
    pub changes: Vec<Change>,
}

fn number(source: Source) -> i64 {
    match source {
        Source::Hub => 0,
        Source::Manifest => 1,
    }
}

/// Gives the kinds of which something changed.
pub(super) fn apply(connection: &Connection, apply: &Apply) -> Result<BTreeSet<String>, SqlError> {
    let source = number(apply.source);
    let mut kinds = BTreeSet::new();
    // What is as it was is not written: flash wears, and nobody need look at it.
    let mut put = connection.prepare_cached(
        "INSERT INTO objects VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT DO UPDATE SET uid = excluded.uid,
             resource_version = excluded.resource_version, json = excluded.json
         WHERE uid <> excluded.uid OR resource_version <> excluded.resource_version
             OR json <> excluded.json",
    )?;
    let mut delete = connection.prepare_cached(
        "DELETE FROM objects WHERE kind = ?1 AND namespace = ?2 AND name = ?3 AND source = ?4",
    )?;
    let mut others = HashSet::new();
    if apply.replace {
        let mut held = connection
            .prepare_cached("SELECT kind, namespace, name FROM objects WHERE source = ?1")?;
        let key = |row: &Row<'_>| {
            Ok(ObjectKey {
                kind: row.get(0)?,
                namespace: row.get(1)?,
                name: row.get(2)?,
            })
        };
        others = held
            .query_map([source], key)?
            .collect::<Result<HashSet<_>, _>>()?;
    }
    for change in &apply.changes {
        if let Change::Put { key, .. } = change {
            others.remove(key);
        }
    }
    for key in others {
        delete.execute(params![key.kind, key.namespace, key.name, source])?;
        kinds.insert(key.kind);
    }
    for change in &apply.changes {
        let (Change::Put { key, .. } | Change::Delete(key)) = change;
        let changed = match change {
            Change::Put {
                key,
                uid,
                resource_version,
                json,
            } => put.execute(params![
                key.kind,
                key.namespace,
                key.name,
                source,
                uid,
                resource_version,
                json
            ])?,
            Change::Delete(key) => {
                delete.execute(params![key.kind, key.namespace, key.name, source])?
            }
        };
        if changed > 0 && !kinds.contains(&key.kind) {
            kinds.insert(key.kind.clone());
        }
    }
    if let Some(position) = &apply.position {
        let mut meta = connection.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?;
        meta.execute(params!["hub.log", position.log])?;
        meta.execute(params!["hub.revision", position.revision.to_string()])?;
    }
    Ok(kinds)
}

pub(super) fn position(connection: &Connection) -> Result<Option<HubPosition>, SqlError> {
    let mut meta = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    let log: Option<String> = meta.query_row(["hub.log"], |row| row.get(0)).optional()?;
    let revision: Option<String> = meta
        .query_row(["hub.revision"], |row| row.get(0))
        .optional()?;
    Ok(log
        .zip(revision.and_then(|text| text.parse().ok()))
        .map(|(log, revision)| HubPosition { log, revision }))
}

/// The objects of some kinds, each name once, in the order of kinds and names.
pub(super) fn of_kinds(connection: &Connection, kinds: &[&str]) -> Result<Vec<Object>, SqlError> {
    let mut statement = connection.prepare_cached(
        "SELECT kind, namespace, name, source, uid, resource_version, json FROM objects
         WHERE kind = ?1 ORDER BY namespace, name, source",
    )?;
    let mut objects: Vec<Object> = Vec::new();
    for kind in kinds {
        for object in statement.query_map([kind], object)? {
            let object = object?;
            // The hub's row comes first; a manifest's of the same name is hidden.
            if objects.last().is_none_or(|last| last.key != object.key) {
                objects.push(object);
            }
        }
    }
    Ok(objects)
}

fn object(row: &Row<'_>) -> Result<Object, SqlError> {
    let source: i64 = row.get(3)?;
    Ok(Object {
        key: ObjectKey {
            kind: row.get(0)?,
            namespace: row.get(1)?,
            name: row.get(2)?,
        },
        source: if source == 0 {
            Source::Hub
        } else {
            Source::Manifest
        },
        uid: row.get(4)?,
        resource_version: row.get(5)?,
        json: row.get(6)?,
    })
}
