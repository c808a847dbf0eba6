//! Records of nodes: how far they are taken, and what they said.

use longshore_link::{Epoch, SchemaReport, UpPosition, UpRecord, schema_hash};
use longshore_sqlite::{Connection, OptionalExtension, SqlError, params};
use longshore_types::DeviceName;

use super::{StoreError, Write};

/// Where to go on with the records of a node.
pub(super) fn open(
    connection: &Connection,
    node: &str,
    epoch: Epoch,
    last_sequence: u64,
) -> Result<u64, SqlError> {
    let position = position(connection, node)?.greet(epoch, last_sequence);
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
    Ok(position.sequence)
}

pub(super) fn forget(connection: &Connection, device: &DeviceName) -> Result<(), SqlError> {
    connection
        .prepare_cached("DELETE FROM reports WHERE device = ?1")?
        .execute([device.as_str()])?;
    Ok(())
}

/// Refuses before anything is written; the inner result is that.
pub(super) fn take(
    connection: &Connection,
    node: &str,
    epoch: Epoch,
    after: u64,
    records: &[UpRecord],
    writes: Vec<Write>,
) -> Result<Result<(u64, usize), StoreError>, SqlError> {
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
            Write::Schema(schema, gone) => keep_schema(connection, node, &schema, &gone)?,
            Write::Nothing => {}
        }
    }
    connection
        .prepare_cached("UPDATE nodes SET sequence = ?2 WHERE name = ?1")?
        .execute(params![node, admitted.position.sequence as i64])?;
    Ok(Ok((admitted.position.sequence, admitted.skip)))
}

/// One that is known stays the one of the node that sent it first.
fn keep_schema(
    connection: &Connection,
    node: &str,
    schema: &SchemaReport,
    gone: &[u64],
) -> Result<(), SqlError> {
    let mut forget = connection.prepare_cached("DELETE FROM schemas WHERE hash = ?1")?;
    for hash in gone {
        forget.execute([*hash as i64])?;
    }
    let hash = schema_hash(&schema.text) as i64;
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO schemas (hash, protocol, text, node) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![hash, schema.protocol, schema.text, node])?;
    Ok(())
}

fn position(connection: &Connection, node: &str) -> Result<UpPosition, SqlError> {
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
