//! The thread that owns the connection.

use std::{path::PathBuf, sync::Arc};

use longshore_link::{Epoch, SchemaReport, UpPosition, UpRecord, schema_hash};
use longshore_types::DeviceName;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::{mpsc, oneshot};

use super::{SCHEMAS, StoreError, Write};

/// So many jobs share one commit.
const GROUP: usize = 64;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

pub(super) enum Job {
    Open {
        node: String,
        epoch: Epoch,
        last_sequence: u64,
        reply: Reply<u64>,
    },
    Take {
        node: String,
        epoch: Epoch,
        after: u64,
        records: Vec<UpRecord>,
        writes: Vec<Write>,
        reply: Reply<(u64, usize)>,
    },
    Forget {
        device: DeviceName,
        reply: Reply<()>,
    },
    Flush {
        reply: Reply<()>,
    },
}

/// An answer that waits for the commit.
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

pub(super) struct Writer {
    connection: Connection,
    path: PathBuf,
}

impl Writer {
    pub(super) fn new(connection: Connection, path: PathBuf) -> Self {
        Self { connection, path }
    }

    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut group = vec![first];
            while group.len() < GROUP
                && let Ok(job) = queue.try_recv()
            {
                group.push(job);
            }
            self.commit(group);
        }
    }

    /// All jobs of a group or none: what one of them could not write, no other
    /// may have written half.
    fn commit(&mut self, group: Vec<Job>) {
        let mut answers: Vec<Answer> = Vec::with_capacity(group.len());
        let work = || -> rusqlite::Result<()> {
            let transaction = self.connection.transaction()?;
            for job in group {
                answers.push(perform(&transaction, job)?);
            }
            transaction.commit()
        };
        let outcome = work().map_err(|source| {
            tracing::error!(path = %self.path.display(), error = %source, "hub's database cannot be written");
            StoreError::Write {
                path: self.path.clone(),
                source: Arc::new(source),
            }
        });
        // Jobs that were not reached have dropped their reply: `Closed` for them.
        for answer in answers {
            answer(outcome.clone());
        }
    }
}

fn perform(connection: &Connection, job: Job) -> rusqlite::Result<Answer> {
    Ok(match job {
        Job::Open {
            node,
            epoch,
            last_sequence,
            reply,
        } => {
            let position = position(connection, &node)?.greet(epoch, last_sequence);
            connection
                .prepare_cached(
                    "INSERT INTO nodes (name, epoch, sequence) VALUES (?1, ?2, ?3)
                     ON CONFLICT (name) DO UPDATE SET epoch = ?2, sequence = ?3",
                )?
                .execute(params![
                    node,
                    position.epoch.0 as i64,
                    position.sequence as i64
                ])?;
            answer(reply, Ok(position.sequence))
        }
        Job::Take {
            node,
            epoch,
            after,
            records,
            writes,
            reply,
        } => {
            let outcome = take(connection, &node, epoch, after, &records, writes)?;
            answer(reply, outcome)
        }
        Job::Forget { device, reply } => {
            connection
                .prepare_cached("DELETE FROM reports WHERE device = ?1")?
                .execute([device.as_str()])?;
            answer(reply, Ok(()))
        }
        Job::Flush { reply } => answer(reply, Ok(())),
    })
}

fn take(
    connection: &Connection,
    node: &str,
    epoch: Epoch,
    after: u64,
    records: &[UpRecord],
    writes: Vec<Write>,
) -> rusqlite::Result<Result<(u64, usize), StoreError>> {
    let held = position(connection, node)?;
    if held.epoch != epoch {
        return Ok(Err(StoreError::Superseded));
    }
    let admitted = match held.admit(epoch, after, records) {
        Ok(admitted) => admitted,
        Err(gap) => return Ok(Err(gap.into())),
    };
    let mut report = connection.prepare_cached(
        "INSERT INTO reports (device, node, payload) VALUES (?1, ?2, ?3)
         ON CONFLICT (device) DO UPDATE SET node = ?2, payload = ?3",
    )?;
    let mut own = connection.prepare_cached("UPDATE nodes SET report = ?2 WHERE name = ?1")?;
    for write in writes.into_iter().skip(admitted.skip) {
        match write {
            Write::Report(device, payload) => {
                report.execute(params![device.as_str(), node, payload.as_ref()])?;
            }
            Write::Node(payload) => {
                own.execute(params![node, payload.as_ref()])?;
            }
            Write::Schema(schema) => keep_schema(connection, &schema)?,
            Write::Nothing => {}
        }
    }
    connection
        .prepare_cached("UPDATE nodes SET sequence = ?2 WHERE name = ?1")?
        .execute(params![node, admitted.position.sequence as i64])?;
    Ok(Ok((admitted.position.sequence, admitted.skip)))
}

/// The one that comes is the newest, known or not; the oldest goes.
fn keep_schema(connection: &Connection, schema: &SchemaReport) -> rusqlite::Result<()> {
    let hash = schema_hash(&schema.text) as i64;
    connection
        .prepare_cached("DELETE FROM schemas WHERE hash = ?1")?
        .execute([hash])?;
    connection
        .prepare_cached("INSERT INTO schemas (hash, protocol, text) VALUES (?1, ?2, ?3)")?
        .execute(params![hash, schema.protocol, schema.text])?;
    connection
        .prepare_cached(
            "DELETE FROM schemas WHERE id NOT IN
             (SELECT id FROM schemas ORDER BY id DESC LIMIT ?1)",
        )?
        .execute([SCHEMAS as i64])?;
    Ok(())
}

fn position(connection: &Connection, node: &str) -> rusqlite::Result<UpPosition> {
    let position = connection
        .prepare_cached("SELECT epoch, sequence FROM nodes WHERE name = ?1")?
        .query_row([node], |row| {
            Ok(UpPosition {
                epoch: Epoch(row.get::<_, i64>(0)? as u64),
                sequence: row.get::<_, i64>(1)? as u64,
            })
        })
        .optional()?;
    Ok(position.unwrap_or_default())
}

/// Sends the outcome once the commit is through, or its error instead.
fn answer<T: Send + 'static>(reply: Reply<T>, outcome: Result<T, StoreError>) -> Answer {
    Box::new(move |committed| {
        // Nobody waits any more: the connection ended meanwhile.
        let _ = reply.send(committed.and(outcome));
    })
}
