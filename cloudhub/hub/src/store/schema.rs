//! The tables.

use std::{collections::HashMap, path::Path, sync::Arc};

use longshore_link::SchemaReport;
use longshore_types::DeviceName;
use rusqlite::{Connection, ErrorCode};

use super::{Contents, StoreError, StoredNode, StoredReport};

/// `LSHb`: tells the hub's database from any other.
const APPLICATION: i64 = 0x4c53_4862;
const SCHEMA: i64 = 1;

const TABLES: &str = "
CREATE TABLE nodes (
    name TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    report BLOB NOT NULL DEFAULT x''
) STRICT, WITHOUT ROWID;
CREATE TABLE reports (
    device TEXT PRIMARY KEY,
    node TEXT NOT NULL,
    payload BLOB NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Came later. A hub of before does not look at it, so it needs no other number.
const LATER_TABLES: &str = "
CREATE TABLE IF NOT EXISTS schemas (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash INTEGER NOT NULL UNIQUE,
    protocol TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
";

pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let failed = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreError::Foreign {
            path: path.to_owned(),
        },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse {
            path: path.to_owned(),
        },
        _ => StoreError::Open {
            path: path.to_owned(),
            source: Arc::new(source),
        },
    };
    let connection = Connection::open(path).map_err(failed)?;
    let set_up = || -> rusqlite::Result<(i64, i64)> {
        // One hub per file: two would take each other's records.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        let application = connection.pragma_query_value(None, "application_id", |r| r.get(0))?;
        let schema = connection.pragma_query_value(None, "user_version", |r| r.get(0))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What is acknowledged must survive a power cut.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")?;
        Ok((application, schema))
    };
    match set_up().map_err(failed)? {
        (0, 0) => {
            let tables: i64 = connection
                .query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))
                .map_err(failed)?;
            if tables > 0 {
                return Err(StoreError::Foreign {
                    path: path.to_owned(),
                });
            }
            let create = format!(
                "BEGIN; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA}; COMMIT"
            );
            connection.execute_batch(&create).map_err(failed)?;
        }
        (APPLICATION, SCHEMA) => {}
        (APPLICATION, found) => {
            return Err(StoreError::Newer {
                path: path.to_owned(),
                found,
                known: SCHEMA,
            });
        }
        _ => {
            return Err(StoreError::Foreign {
                path: path.to_owned(),
            });
        }
    }
    connection.execute_batch(LATER_TABLES).map_err(failed)?;
    Ok(connection)
}

pub(super) fn read(connection: &Connection) -> rusqlite::Result<Contents> {
    let mut contents = Contents {
        reports: HashMap::new(),
        nodes: HashMap::new(),
        schemas: Vec::new(),
    };
    let mut statement = connection.prepare("SELECT device, node, payload FROM reports")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let device: String = row.get(0)?;
        // Only valid names are ever written.
        if let Ok(device) = device.parse::<DeviceName>() {
            let payload: Vec<u8> = row.get(2)?;
            contents.reports.insert(
                device,
                StoredReport {
                    node: row.get(1)?,
                    payload: payload.into(),
                },
            );
        }
    }
    let mut statement = connection.prepare("SELECT name, report FROM nodes")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let report: Vec<u8> = row.get(1)?;
        contents.nodes.insert(
            row.get(0)?,
            StoredNode {
                report: report.into(),
            },
        );
    }
    let mut statement = connection.prepare("SELECT protocol, text FROM schemas ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        contents.schemas.push(SchemaReport {
            protocol: row.get(0)?,
            text: row.get(1)?,
        });
    }
    Ok(contents)
}
