//! Live records for the hub; telemetry has a [table](super::telemetry) of its own.
//!
//! A record waits without a sequence, and may be replaced. It gets its
//! sequence when it is first handed out; from then on it stays as it is until
//! the hub acknowledges it. So sequences have no gaps.

use longshore_sqlite::{Connection, SqlError, params};

use super::{
    records::{NewRecord, OutboxRecord, OutboxSize, RecordClass, fits},
    telemetry,
};

const LATEST: i64 = 0;
const CONFIRMATION: i64 = 2;

pub(super) fn size(connection: &Connection) -> Result<OutboxSize, SqlError> {
    connection.query_row(
        "SELECT count(*), coalesce(sum(length(payload)), 0) FROM
           (SELECT payload FROM outbox UNION ALL SELECT payload FROM telemetry)",
        [],
        |row| {
            Ok(OutboxSize {
                records: row.get::<_, i64>(0)? as u64,
                bytes: row.get::<_, i64>(1)? as u64,
                dropped: 0,
            })
        },
    )
}

pub(super) fn put(
    connection: &Connection,
    records: &[NewRecord],
    budget: u64,
    size: &mut OutboxSize,
) -> Result<(), SqlError> {
    let mut replace = connection.prepare_cached(
        "DELETE FROM outbox WHERE key = ?1 AND sequence IS NULL RETURNING length(payload)",
    )?;
    let mut insert = connection
        .prepare_cached("INSERT INTO outbox (class, key, payload) VALUES (?1, ?2, ?3)")?;
    for record in records {
        size.records += 1;
        size.bytes += record.payload.len() as u64;
        let (class, key) = match &record.class {
            RecordClass::Latest(key) => (LATEST, Some(key.as_str())),
            RecordClass::Confirmation => (CONFIRMATION, None),
            RecordClass::Telemetry => {
                telemetry::put(connection, &record.payload)?;
                continue;
            }
        };
        if let Some(key) = key {
            for length in replace.query_map([key], |row| row.get::<_, i64>(0))? {
                size.forget(length?);
            }
        }
        insert.execute(params![class, key, record.payload])?;
    }
    while size.bytes > budget && telemetry::drop_oldest(connection, size)? {}
    Ok(())
}

pub(super) fn take(
    connection: &Connection,
    after: u64,
    max_records: usize,
    max_bytes: usize,
) -> Result<Vec<OutboxRecord>, SqlError> {
    let mut records = Vec::new();
    let mut fits = fits(max_records, max_bytes);
    let mut numbered = connection.prepare_cached(
        "SELECT sequence, payload FROM outbox WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
    )?;
    let mut rows = numbered.query(params![after as i64, max_records as i64])?;
    while let Some(row) = rows.next()? {
        let payload: Vec<u8> = row.get(1)?;
        if !fits(&payload, records.len()) {
            return Ok(records);
        }
        records.push(OutboxRecord {
            sequence: row.get::<_, i64>(0)? as u64,
            payload,
        });
    }
    let room = max_records.saturating_sub(records.len());
    if room == 0 {
        return Ok(records);
    }
    let mut sequence = last_sequence(connection)?;
    let former = sequence;
    let mut waiting = connection.prepare_cached(
        "SELECT id, payload FROM outbox WHERE sequence IS NULL ORDER BY id LIMIT ?1",
    )?;
    let mut number = connection.prepare_cached("UPDATE outbox SET sequence = ?2 WHERE id = ?1")?;
    let mut rows = waiting.query([room as i64])?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        let payload: Vec<u8> = row.get(1)?;
        if !fits(&payload, records.len()) {
            break;
        }
        sequence += 1;
        ids.push(row.get::<_, i64>(0)?);
        records.push(OutboxRecord { sequence, payload });
    }
    for (id, sequence) in ids.into_iter().zip(former + 1..) {
        number.execute(params![id, sequence as i64])?;
    }
    if sequence != former {
        connection
            .prepare_cached("UPDATE meta SET value = ?1 WHERE key = 'sequence'")?
            .execute([sequence.to_string()])?;
    }
    Ok(records)
}

/// The last sequence that was ever handed out.
pub(super) fn last_sequence(connection: &Connection) -> Result<u64, SqlError> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE key = 'sequence'")?
        .query_row([], |row| Ok(row.get::<_, String>(0)?.parse().unwrap_or(0)))
}

pub(super) fn acknowledge(
    connection: &Connection,
    through: u64,
    size: &mut OutboxSize,
) -> Result<(), SqlError> {
    let mut statement = connection
        .prepare_cached("DELETE FROM outbox WHERE sequence <= ?1 RETURNING length(payload)")?;
    for length in statement.query_map([through as i64], |row| row.get::<_, i64>(0))? {
        size.forget(length?);
    }
    Ok(())
}
