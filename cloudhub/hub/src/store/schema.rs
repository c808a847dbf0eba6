//! The tables.

use longshore_link::SchemaReport;
use longshore_sqlite::{Connection, Schema, SqlError};
use longshore_types::DeviceName;

use super::{Contents, StoredNode, StoredReport, StoredSchema, logs};

pub(super) static SCHEMA: Schema = Schema {
    owner: "hub",
    without: "the hub starts with an empty one and edges send their state again",
    application: 0x4c53_4862, // "LSHb"
    migrations: &[FIRST, SCHEMAS, logs::TABLES, SCHEMAS_OF_NODES],
};

const FIRST: &str = "
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

/// Files of version 1 have it or not: it came before it was a version.
const SCHEMAS: &str = "
CREATE TABLE IF NOT EXISTS schemas (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash INTEGER NOT NULL UNIQUE,
    protocol TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
";

/// Whose room a schema takes. Those of before share the room of a node without a
/// name.
const SCHEMAS_OF_NODES: &str = "
ALTER TABLE schemas ADD COLUMN node TEXT NOT NULL DEFAULT '';
";

pub(super) fn read(connection: &Connection) -> Result<Contents, SqlError> {
    let mut contents = Contents {
        logs: logs::read(connection)?,
        ..Contents::default()
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
    let mut statement =
        connection.prepare("SELECT protocol, text, node FROM schemas ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let report = SchemaReport {
            protocol: row.get(0)?,
            text: row.get(1)?,
        };
        let node = row.get(2)?;
        contents.schemas.push(StoredSchema { node, report });
    }
    Ok(contents)
}
