//! Objects and the position in the hub's log.

use rusqlite::{Connection, OptionalExtension, params};

use super::handle::{Apply, Change, HubPosition, Object, ObjectKey, Source};

fn number(source: Source) -> i64 {
    match source {
        Source::Hub => 0,
        Source::Manifest => 1,
    }
}

pub(super) fn apply(connection: &Connection, apply: &Apply) -> Result<(), rusqlite::Error> {
    let source = number(apply.source);
    if apply.replace {
        connection.execute("DELETE FROM objects WHERE source = ?1", [source])?;
    }
    let mut put = connection
        .prepare_cached("INSERT OR REPLACE INTO objects VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    let mut delete = connection.prepare_cached(
        "DELETE FROM objects WHERE kind = ?1 AND namespace = ?2 AND name = ?3 AND source = ?4",
    )?;
    for change in &apply.changes {
        match change {
            Change::Put {
                key,
                uid,
                resource_version,
                json,
            } => {
                put.execute(params![
                    key.kind,
                    key.namespace,
                    key.name,
                    source,
                    uid,
                    resource_version,
                    json
                ])?;
            }
            Change::Delete(key) => {
                delete.execute(params![key.kind, key.namespace, key.name, source])?;
            }
        }
    }
    if let Some(position) = &apply.position {
        let mut meta = connection.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?;
        meta.execute(params!["hub.log", position.log])?;
        meta.execute(params!["hub.revision", position.revision.to_string()])?;
    }
    Ok(())
}

pub(super) fn position(connection: &Connection) -> Result<Option<HubPosition>, rusqlite::Error> {
    let mut meta = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    let log: Option<String> = meta.query_row(["hub.log"], |row| row.get(0)).optional()?;
    let revision: Option<String> = meta
        .query_row(["hub.revision"], |row| row.get(0))
        .optional()?;
    Ok(log
        .zip(revision.and_then(|text| text.parse().ok()))
        .map(|(log, revision)| HubPosition { log, revision }))
}

pub(super) fn all(connection: &Connection) -> Result<Vec<Object>, rusqlite::Error> {
    let mut statement = connection.prepare_cached(
        "SELECT kind, namespace, name, source, uid, resource_version, json FROM objects
         ORDER BY kind, namespace, name, source",
    )?;
    let rows = statement.query_map([], |row| {
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
    })?;
    let mut objects: Vec<Object> = Vec::new();
    for object in rows {
        let object = object?;
        // The hub's row comes first; a manifest's of the same name is hidden.
        if objects.last().is_none_or(|last| last.key != object.key) {
            objects.push(object);
        }
    }
    Ok(objects)
}
