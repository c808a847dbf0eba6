//! Twins, and what is kept of their devices in rows of their own.

use longshore_sqlite::{Connection, Row as SqlRow, SqlError, params};
use longshore_twin::{Row, RowKind, Save, TwinBlob};

/// The kinds of rows, and the statements of each.
const TABLES: [Table; 3] = [
    Table {
        kind: RowKind::Desired,
        all: "SELECT device, property, json FROM desired",
        put: "INSERT OR REPLACE INTO desired VALUES (?1, ?2, ?3)",
        delete: "DELETE FROM desired WHERE device = ?1 AND property = ?2",
        forget: "DELETE FROM desired WHERE device = ?1",
    },
    Table {
        kind: RowKind::Actual,
        all: "SELECT device, property, json FROM actual",
        put: "INSERT OR REPLACE INTO actual VALUES (?1, ?2, ?3)",
        delete: "DELETE FROM actual WHERE device = ?1 AND property = ?2",
        forget: "DELETE FROM actual WHERE device = ?1",
    },
    Table {
        kind: RowKind::Event,
        all: "SELECT device, event, json FROM events",
        put: "INSERT OR REPLACE INTO events VALUES (?1, ?2, ?3)",
        delete: "DELETE FROM events WHERE device = ?1 AND event = ?2",
        forget: "DELETE FROM events WHERE device = ?1",
    },
];

struct Table {
    kind: RowKind,
    all: &'static str,
    put: &'static str,
    delete: &'static str,
    forget: &'static str,
}

pub(super) fn all(connection: &Connection) -> Result<Vec<TwinBlob>, SqlError> {
    let mut statement = connection.prepare_cached("SELECT device, data FROM twins")?;
    let rows = statement.query_map([], |row| {
        Ok(TwinBlob {
            device: text(row, 0)?,
            data: bytes(row, 1)?.to_vec(),
        })
    })?;
    rows.collect()
}

pub(super) fn rows(connection: &Connection) -> Result<Vec<Row>, SqlError> {
    let mut all = Vec::new();
    for table in &TABLES {
        let mut statement = connection.prepare_cached(table.all)?;
        let rows = statement.query_map([], |row| {
            Ok(Row {
                kind: table.kind,
                device: text(row, 0)?,
                name: text(row, 1)?,
                json: Some(text(row, 2)?),
            })
        })?;
        for row in rows {
            all.push(row?);
        }
    }
    Ok(all)
}

pub(super) fn save(connection: &Connection, save: &Save) -> Result<(), SqlError> {
    for device in &save.forgotten {
        connection
            .prepare_cached("DELETE FROM twins WHERE device = ?1")?
            .execute([device])?;
        for table in &TABLES {
            connection.prepare_cached(table.forget)?.execute([device])?;
        }
    }
    for table in &TABLES {
        let mut put = connection.prepare_cached(table.put)?;
        let mut delete = connection.prepare_cached(table.delete)?;
        for row in save.rows.iter().filter(|row| row.kind == table.kind) {
            match &row.json {
                Some(json) => put.execute(params![row.device, row.name, json])?,
                None => delete.execute([&row.device, &row.name])?,
            };
        }
    }
    let mut put = connection.prepare_cached("INSERT OR REPLACE INTO twins VALUES (?1, ?2)")?;
    for twin in &save.twins {
        put.execute(params![twin.device, twin.data])?;
    }
    Ok(())
}

/// What stands there, of whatever type: a damaged row must not hide the others,
/// and who reads it says what is wrong with it.
fn bytes<'a>(row: &'a SqlRow<'_>, column: usize) -> Result<&'a [u8], SqlError> {
    Ok(row
        .get_ref(column)?
        .as_bytes_or_null()
        .ok()
        .flatten()
        .unwrap_or_default())
}

fn text(row: &SqlRow<'_>, column: usize) -> Result<String, SqlError> {
    Ok(String::from_utf8_lossy(bytes(row, column)?).into_owned())
}

#[cfg(test)]
mod tests;
