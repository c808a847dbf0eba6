//! How far the log of each node came, and what stands under each revision.
//!
//! Not the objects themselves: they are listed from Kubernetes at each start. A
//! fingerprint of what was told is enough to see what is as it was.

use longshore_link::{Content, Epoch, ObjectKey};
use longshore_sqlite::{Connection, Row, SqlError, params};
use sha2::{Digest, Sha256};

use super::{KeptLog, KeptLogs};

pub(super) const TABLES: &str = "
CREATE TABLE log_heads (
    node TEXT PRIMARY KEY,
    head INTEGER NOT NULL,
    floor INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE log_entries (
    node TEXT NOT NULL,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    fingerprint BLOB,
    PRIMARY KEY (node, kind, namespace, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE log_epoch (epoch INTEGER NOT NULL) STRICT;
INSERT INTO log_epoch VALUES ((random() & 9223372036854775807) | 1);
";

/// What was told of an object. It decides what an edge does not get again, so
/// nobody may be able to make two objects that share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// That of a content.
    pub(crate) fn of(content: &Content) -> Self {
        let mut hash = Sha256::new();
        for part in [content.uid.as_bytes(), content.resource_version.as_bytes()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(&content.json);
        Self(hash.finalize().into())
    }
}

/// One change in the log of a node.
#[derive(Debug, Clone)]
pub(crate) struct LogRow {
    /// The node.
    pub(crate) node: String,
    /// The revision that it gets.
    pub(crate) revision: u64,
    /// Which object.
    pub(crate) key: ObjectKey,
    /// What it is now; none when the node should hold it no more.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Deletions up to this revision are forgotten.
    pub(crate) floor: u64,
}

pub(super) fn keep(connection: &Connection, rows: &[LogRow]) -> Result<(), SqlError> {
    let mut entry = connection.prepare_cached(
        "INSERT OR REPLACE INTO log_entries (node, kind, namespace, name, revision, fingerprint)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let mut head = connection.prepare_cached(
        "INSERT INTO log_heads (node, head, floor) VALUES (?1, ?2, ?3)
         ON CONFLICT (node) DO UPDATE SET head = max(head, ?2), floor = max(floor, ?3)",
    )?;
    let mut forget = connection.prepare_cached(
        "DELETE FROM log_entries WHERE node = ?1 AND fingerprint IS NULL AND revision <= ?2",
    )?;
    for row in rows {
        let (key, fingerprint) = (&row.key, row.fingerprint.as_ref().map(|print| &print.0[..]));
        entry.execute(params![
            row.node,
            key.kind,
            key.namespace,
            key.name,
            row.revision as i64,
            fingerprint
        ])?;
        head.execute(params![row.node, row.revision as i64, row.floor as i64])?;
        if row.fingerprint.is_none() {
            forget.execute(params![row.node, row.floor as i64])?;
        }
    }
    Ok(())
}

pub(super) fn read(connection: &Connection) -> Result<KeptLogs, SqlError> {
    let epoch = connection.query_row("SELECT epoch FROM log_epoch", [], |row| {
        row.get::<_, i64>(0)
    })?;
    let mut logs = KeptLogs {
        epoch: Epoch(epoch as u64),
        ..KeptLogs::default()
    };
    let mut heads = connection.prepare("SELECT node, head, floor FROM log_heads")?;
    let mut rows = heads.query([])?;
    while let Some(row) = rows.next()? {
        let log = KeptLog {
            head: number(row, 1)?,
            floor: number(row, 2)?,
            entries: Vec::new(),
        };
        logs.nodes.insert(row.get(0)?, log);
    }
    let mut entries = connection
        .prepare("SELECT node, kind, namespace, name, revision, fingerprint FROM log_entries")?;
    let mut rows = entries.query([])?;
    while let Some(row) = rows.next()? {
        let key = ObjectKey {
            kind: row.get(1)?,
            namespace: row.get(2)?,
            name: row.get(3)?,
        };
        let fingerprint = row.get::<_, Option<[u8; 32]>>(5)?.map(Fingerprint);
        // Each entry was written together with its head.
        if let Some(log) = logs.nodes.get_mut(&row.get::<_, String>(0)?) {
            log.entries.push((key, number(row, 4)?, fingerprint));
        }
    }
    Ok(logs)
}

fn number(row: &Row<'_>, column: usize) -> Result<u64, SqlError> {
    Ok(row.get::<_, i64>(column)? as u64)
}
