//! Samples for the hub, on a lane of their own.
//!
//! A record's sequence is its row's id, given when it is put: nothing replaces
//! it while it waits, so there is nothing to be numbered later, and each sample
//! costs one write and one deletion. The hub knows records by what went before
//! them, so it does not matter that dropped ones leave gaps.
//!
//! What was handed out is remembered: the hub notices by it
//! that this file was put back to an older state, and nothing that is on its
//! way is dropped.

use longshore_sqlite::{Connection, SqlError, params};

use super::records::{OutboxRecord, OutboxSize, fits};

/// Of so many records the oldest are dropped at once.
const DROPPED_AT_ONCE: i64 = 64;

pub(super) fn size(connection: &Connection) -> Result<OutboxSize, SqlError> {
    let sums = "SELECT count(*), coalesce(sum(length(payload)), 0) FROM telemetry";
    connection.query_row(sums, [], |row| {
        Ok(OutboxSize {
            records: row.get::<_, i64>(0)? as u64,
            bytes: row.get::<_, i64>(1)? as u64,
            dropped: 0,
        })
    })
}

/// Puts records in their order. Over the budget the oldest go.
pub(super) fn put(
    connection: &Connection,
    payloads: &[Vec<u8>],
    budget: u64,
    size: &mut OutboxSize,
) -> Result<(), SqlError> {
    let mut insert = connection.prepare_cached("INSERT INTO telemetry (payload) VALUES (?1)")?;
    for payload in payloads {
        insert.execute([payload])?;
        size.records += 1;
        size.bytes += payload.len() as u64;
    }
    while size.bytes > budget && drop_oldest(connection, size)? {}
    Ok(())
}

/// Drops the oldest that were not handed out; false when there are none.
fn drop_oldest(connection: &Connection, size: &mut OutboxSize) -> Result<bool, SqlError> {
    let handed_out = last_sequence(connection)?;
    let mut statement = connection.prepare_cached(
        "DELETE FROM telemetry WHERE id IN
           (SELECT id FROM telemetry WHERE id > ?1 ORDER BY id LIMIT ?2)
         RETURNING length(payload)",
    )?;
    let mut any = false;
    let dropped = params![handed_out as i64, DROPPED_AT_ONCE];
    for length in statement.query_map(dropped, |row| row.get::<_, i64>(0))? {
        size.forget(length?);
        size.dropped += 1;
        any = true;
    }
    Ok(any)
}

pub(super) fn take(
    connection: &Connection,
    after: u64,
    max_records: usize,
    max_bytes: usize,
) -> Result<Vec<OutboxRecord>, SqlError> {
    let mut records = Vec::new();
    let mut fits = fits(max_records, max_bytes);
    let mut waiting = connection
        .prepare_cached("SELECT id, payload FROM telemetry WHERE id > ?1 ORDER BY id LIMIT ?2")?;
    let mut rows = waiting.query(params![after as i64, max_records as i64])?;
    while let Some(row) = rows.next()? {
        let payload: Vec<u8> = row.get(1)?;
        if !fits(&payload, records.len()) {
            break;
        }
        records.push(OutboxRecord {
            sequence: row.get::<_, i64>(0)? as u64,
            payload: payload.into(),
        });
    }
    if let Some(last) = records.last() {
        connection
            .prepare_cached(
                "UPDATE meta SET value = ?1 WHERE key = 'telemetry' AND CAST(value AS INTEGER) < ?1",
            )?
            .execute([last.sequence as i64])?;
    }
    Ok(records)
}

/// The last one that was ever handed out.
pub(super) fn last_sequence(connection: &Connection) -> Result<u64, SqlError> {
    connection
        .prepare_cached("SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'telemetry'")?
        .query_row([], |row| Ok(row.get::<_, i64>(0)? as u64))
}

pub(super) fn acknowledge(
    connection: &Connection,
    through: u64,
    size: &mut OutboxSize,
) -> Result<(), SqlError> {
    let mut statement = connection
        .prepare_cached("DELETE FROM telemetry WHERE id <= ?1 RETURNING length(payload)")?;
    for length in statement.query_map([through as i64], |row| row.get::<_, i64>(0))? {
        size.forget(length?);
    }
    Ok(())
}
