//! What the file holds.

use std::path::Path;

use longshore_process::private;
use longshore_sqlite::{Database, Schema, Settings};

use super::StoreError;

pub(super) static SCHEMA: Schema = Schema {
    owner: "edgecore",
    without: "edgecore then starts with an empty store and the hub sends everything again",
    application: 0x4c53_4831, // "LSH1"
    migrations: &[FIRST, SECOND, THIRD, FOURTH],
};

/// The file is read through once at start and written afterwards, so a bigger
/// page cache would only cost memory. Each job is a group of rows, so the queue
/// is plenty; callers wait (or keep their things dirty) when it is full.
const SETTINGS: Settings = Settings {
    cache_kib: 256,
    checkpoint_pages: 256,
    readers: false,
    secret: false,
    max_bytes: None,
    queue: 64,
};

pub(super) const FIRST: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE objects (
    kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    source INTEGER NOT NULL, uid TEXT NOT NULL, resource_version TEXT NOT NULL, json TEXT NOT NULL,
    PRIMARY KEY (kind, namespace, name, source)
) WITHOUT ROWID;
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sequence INTEGER UNIQUE,
    class INTEGER NOT NULL,
    key TEXT,
    payload BLOB NOT NULL
);
CREATE UNIQUE INDEX outbox_waiting ON outbox (key) WHERE sequence IS NULL AND key IS NOT NULL;
CREATE TABLE twins (device TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE desired (
    device TEXT NOT NULL, property TEXT NOT NULL, json TEXT NOT NULL,
    PRIMARY KEY (device, property)
) WITHOUT ROWID;
INSERT INTO meta VALUES
    ('epoch', CAST((random() & 9223372036854775807) | 1 AS TEXT)),
    ('sequence', '0');
";

/// Samples, which nothing replaces while they wait.
const SECOND: &str = "
CREATE TABLE telemetry (id INTEGER PRIMARY KEY AUTOINCREMENT, payload BLOB NOT NULL);
INSERT INTO meta VALUES ('telemetry', '0');
";

/// Small things that are kept by themselves, beside the desired values: what
/// clients measured, and the events that are active.
const THIRD: &str = "
CREATE TABLE actual (
    device TEXT NOT NULL, property TEXT NOT NULL, json TEXT NOT NULL,
    PRIMARY KEY (device, property)
) WITHOUT ROWID;
CREATE TABLE events (
    device TEXT NOT NULL, event TEXT NOT NULL, json TEXT NOT NULL,
    PRIMARY KEY (device, event)
) WITHOUT ROWID;
";

/// Reports wait in memory. What a former version left of them is made anew; their
/// last number stays, so that none is used twice.
const FOURTH: &str = "DROP TABLE outbox;";

/// Opens `edge.db` in the folder; makes both where they are absent.
pub(super) fn open(folder: &Path) -> Result<Database, StoreError> {
    private::folder(folder).map_err(|source| StoreError::Folder {
        path: folder.to_owned(),
        source: source.into(),
    })?;
    // Former versions left it so that others could read it.
    private::tree(&folder.join("bus"));
    Database::open(&folder.join("edge.db"), &SCHEMA, SETTINGS)
}
