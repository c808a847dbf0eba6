//! The one thread that writes.
//!
//! It takes whatever waits, commits it as one transaction (one fsync), then
//! tells the watchers and answers. A failure of the database fails the whole
//! transaction: everybody in it is told, and nothing is half there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;
use tokio::sync::mpsc;

use super::watch::{Event, EventKind};
use super::{Expect, Record, Request, Shared, Write, WriteError, database};

/// Changes committed together at most.
const BATCH: usize = 256;

/// The resource of the request that ends the thread; no real one has a space.
pub(super) const CLOSE: &str = "close store";

pub(super) struct Writer {
    connection: Connection,
    shared: Arc<Shared>,
    revision: u64,
    history: u64,
}

struct Done {
    event: Event,
    record: Record,
    /// Whether garbage collection may care.
    ownership: bool,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        shared: Arc<Shared>,
        revision: u64,
        history: u64,
    ) -> Writer {
        Writer {
            connection,
            shared,
            revision,
            history,
        }
    }

    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(first) = requests.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH {
                let Ok(next) = requests.try_recv() else { break };
                batch.push(next);
            }
            let close = batch
                .iter()
                .position(|request| &*request.write.key.resource == CLOSE);
            if let Some(at) = close {
                batch.truncate(at);
            }
            if !batch.is_empty() {
                self.commit(batch);
                self.compact();
            }
            if close.is_some() {
                requests.close();
                break;
            }
        }
        // Leaves one tidy file behind; if it fails the log is replayed at the next open.
        let _ = self
            .connection
            .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }

    fn commit(&mut self, batch: Vec<Request>) {
        let (writes, replies): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|request| (request.write, request.reply))
            .unzip();
        let before = self.revision;
        match self.transaction(writes) {
            Ok(outcomes) => {
                let mut ownership = false;
                let mut answers = Vec::with_capacity(outcomes.len());
                for outcome in outcomes {
                    answers.push(outcome.map(|done| {
                        ownership |= done.ownership;
                        self.shared.push(done.event);
                        done.record
                    }));
                }
                if self.revision != before {
                    self.shared.current.send_replace(self.revision);
                }
                if ownership {
                    self.shared.ownership.send_modify(|count| *count += 1);
                }
                for (answer, reply) in answers.into_iter().zip(replies) {
                    let _ = reply.send(answer);
                }
            }
            Err(source) => {
                self.revision = before;
                tracing::error!(error = %source, writes = replies.len(), "the API database refused a transaction");
                let source = Arc::new(source);
                for reply in replies {
                    let _ = reply.send(Err(WriteError::Database(source.clone())));
                }
            }
        }
    }

    fn transaction(
        &mut self,
        writes: Vec<Write>,
    ) -> rusqlite::Result<Vec<Result<Done, WriteError>>> {
        let mut revision = self.revision;
        let tx = self.connection.transaction()?;
        let mut outcomes = Vec::with_capacity(writes.len());
        for write in writes {
            let outcome = apply(&tx, write, revision + 1)?;
            revision += u64::from(outcome.is_ok());
            outcomes.push(outcome);
        }
        tx.commit()?;
        self.revision = revision;
        Ok(outcomes)
    }

    /// Drops superseded revisions, once enough of them have come together.
    fn compact(&mut self) {
        let compacted = self.shared.compacted.load(Ordering::Relaxed);
        let target = self.revision.saturating_sub(self.history);
        if target <= compacted || target - compacted < (self.history / 10).max(1) {
            return;
        }
        match compact(&mut self.connection, compacted, target) {
            Ok(()) => self.shared.compacted.store(target, Ordering::Relaxed),
            Err(source) => {
                tracing::warn!(error = %source, "compaction of the API database failed, it is tried again")
            }
        }
    }
}

/// Writes the first objects of a new database.
pub(super) fn seed(connection: &mut Connection, seeds: Vec<Write>) -> rusqlite::Result<()> {
    let tx = connection.transaction()?;
    for (index, write) in seeds.into_iter().enumerate() {
        // nothing is there yet, so no expectation can fail
        let _ = apply(&tx, write, index as u64 + 1)?;
    }
    tx.commit()
}

/// Writes one change under `revision`, or says why its expectation failed.
fn apply(
    tx: &Connection,
    write: Write,
    revision: u64,
) -> rusqlite::Result<Result<Done, WriteError>> {
    let Write {
        key,
        expect,
        mut object,
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
    object["metadata"]["resourceVersion"] = Value::String(revision.to_string());
    let json = Bytes::from(serde_json::to_vec(&object).unwrap_or_default());
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
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        tx.prepare_cached(
            "INSERT OR REPLACE INTO live (resource, namespace, name, revision, uid) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![&*key.resource, key.namespace, key.name, revision as i64, uid])?;
    }
    let owned = own(tx, &key, &object, delete)?;
    let previous = current
        .filter(|_| kind == EventKind::Modified)
        .map(|(_, value)| Bytes::from(value));
    let record = Record {
        revision,
        namespace: key.namespace,
        name: key.name,
        json: json.clone(),
    };
    let event = Event::new(kind, key.resource, record.clone(), Some(object), previous);
    Ok(Ok(Done {
        event,
        record,
        ownership: delete || owned,
    }))
}

/// Mirrors the owner references of an object; true when it has some.
fn own(tx: &Connection, key: &super::Key, object: &Value, delete: bool) -> rusqlite::Result<bool> {
    tx.prepare_cached("DELETE FROM owners WHERE resource = ?1 AND namespace = ?2 AND name = ?3")?
        .execute(params![&*key.resource, key.namespace, key.name])?;
    let references = object["metadata"]["ownerReferences"]
        .as_array()
        .filter(|_| !delete);
    let Some(references) = references else {
        return Ok(false);
    };
    for uid in references
        .iter()
        .filter_map(|reference| reference["uid"].as_str())
    {
        tx.prepare_cached(
            "INSERT OR IGNORE INTO owners (resource, namespace, name, uid) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![&*key.resource, key.namespace, key.name, uid])?;
    }
    Ok(!references.is_empty())
}

/// Forgets, up to `target`, every revision that a newer one of the same object
/// replaced, and the tombstones. Looks only at what is new since `compacted`.
fn compact(connection: &mut Connection, compacted: u64, target: u64) -> rusqlite::Result<()> {
    let tx = connection.transaction()?;
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
    tx.commit()?;
    debug_assert_eq!(database::compacted(connection).ok(), Some(target));
    Ok(())
}
