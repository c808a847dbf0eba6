//! What the hub must not forget: how far each node's records are taken, the
//! latest report of each device and node, and what each node was told.
//!
//! Everything else is in Kubernetes. The position of a node and what its
//! records said are one transaction; only then is a record acknowledged. So a
//! hub that is killed finds both or neither, and takes each record once.
//!
//! `longshore_sqlite` owns the connection and commits in groups: one `fsync` for
//! many edges. Only this module speaks SQL.

mod logs;
mod records;
mod schema;

use std::{collections::HashMap, path::Path, time::Duration};

use bytes::Bytes;
use longshore_link::{Epoch, Gap, ObjectKey, SchemaReport, UpRecord};
use longshore_process::{Explain, Stop};
use longshore_sqlite::{Database, Settings, WriteFault, Writer};
use longshore_types::DeviceName;

pub(crate) use logs::{Fingerprint, LogRow};

/// Why the store refused. All are retried by reconnecting edges.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database refused.
    #[error(transparent)]
    Database(#[from] longshore_sqlite::Error),
    /// Records do not follow what is held.
    #[error(transparent)]
    Gap(#[from] Gap),
    /// The records' epoch is not the one that the node greeted with last.
    #[error("records belong to an outbox that the node no longer has")]
    Superseded,
}

impl Explain for StoreError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Database(error) => error.hint(),
            Self::Gap(_) | Self::Superseded => None,
        }
    }
}

/// A report of a device, as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredReport {
    /// The node that sent it.
    pub(crate) node: String,
    /// An encoded [`longshore_link::Up`].
    pub(crate) payload: Bytes,
}

/// What is known of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct StoredNode {
    /// Its last report, encoded; empty before the first.
    pub(crate) report: Bytes,
}

/// A mapper's schema and the node that sent it first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredSchema {
    /// The node; empty where a hub of before did not note it.
    pub(crate) node: String,
    /// The schema.
    pub(crate) report: SchemaReport,
}

/// All that the store knows, read once at start.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// By device.
    pub(crate) reports: HashMap<DeviceName, StoredReport>,
    /// By name.
    pub(crate) nodes: HashMap<String, StoredNode>,
    /// Schemas of mappers, the oldest first.
    pub(crate) schemas: Vec<StoredSchema>,
    /// What the nodes were told.
    pub(crate) logs: KeptLogs,
}

/// The logs of all nodes.
#[derive(Debug, Default)]
pub(crate) struct KeptLogs {
    /// Identity of the logs, that of the file.
    pub(crate) epoch: Epoch,
    /// By node.
    pub(crate) nodes: HashMap<String, KeptLog>,
}

/// What a node was told, by revision.
#[derive(Debug, Default)]
pub(crate) struct KeptLog {
    /// The latest revision.
    pub(crate) head: u64,
    /// Deletions up to this revision are forgotten.
    pub(crate) floor: u64,
    /// The last change of each object; without a fingerprint, its deletion.
    pub(crate) entries: Vec<(ObjectKey, u64, Option<Fingerprint>)>,
}

/// A database that could not be written is tried again so often, also when
/// nobody has anything to write.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What to write for a record that is new.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    /// The latest report of a device.
    Report(DeviceName, Bytes),
    /// The latest report of the node.
    Node(Bytes),
    /// A mapper's schema, and the hashes of those that go for it.
    Schema(SchemaReport, Vec<u64>),
    /// Nothing: the record is of no use any more, or not understood.
    Nothing,
}

/// The store. Cheap to clone; the writer ends with the last one.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    writer: Writer<()>,
}

impl Store {
    /// Opens (or makes) the database and starts the writer.
    ///
    /// # Errors
    /// Each kind of unusable file has its own error.
    pub(crate) fn open(path: &Path) -> Result<(Self, Contents), StoreError> {
        let mut database = Database::open(path, &schema::SCHEMA, Settings::default())?;
        let contents = database.with(schema::read)?;
        let writer = database.start("hub-store", ())?;
        Ok((Self { writer }, contents))
    }

    /// A node says hello: where to go on with its records.
    ///
    /// # Errors
    /// The write failed.
    pub(crate) async fn open_node(
        &self,
        node: &str,
        epoch: Epoch,
        last_sequence: u64,
    ) -> Result<u64, StoreError> {
        let node = node.to_owned();
        let work = self
            .writer
            .run(move |job| records::open(job, &node, epoch, last_sequence));
        Ok(work.await?)
    }

    /// Takes records of a node, each with what is to be written for it. Gives
    /// the last sequence that is held, and how many of the records were known.
    ///
    /// # Errors
    /// Records do not follow, or the write failed.
    pub(crate) async fn take(
        &self,
        node: &str,
        epoch: Epoch,
        after: u64,
        records: Vec<UpRecord>,
        writes: Vec<Write>,
    ) -> Result<(u64, usize), StoreError> {
        let node = node.to_owned();
        let work = self
            .writer
            .run(move |job| records::take(job, &node, epoch, after, &records, writes));
        work.await?
    }

    /// Keeps changes in the logs of nodes, all or none.
    ///
    /// # Errors
    /// The write failed.
    pub(crate) async fn keep_log(&self, rows: Vec<LogRow>) -> Result<(), StoreError> {
        let work = self.writer.run(move |job| logs::keep(job, &rows));
        Ok(work.await?)
    }

    /// Forgets a device.
    ///
    /// # Errors
    /// The write failed.
    pub(crate) async fn forget(&self, device: DeviceName) -> Result<(), StoreError> {
        let work = self.writer.run(move |job| records::forget(job, &device));
        Ok(work.await?)
    }

    /// Keeps watch over the writer until the end is asked for; then waits until all
    /// that was asked before is on the disk, and closes it.
    ///
    /// # Errors
    /// The writer is gone.
    pub(crate) async fn attend(self, mut stop: Stop) -> Result<(), StoreError> {
        loop {
            tokio::select! {
                () = stop.asked() => break,
                () = self.writer.ended() => return Err(longshore_sqlite::Error::Closed.into()),
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            if self.fault().is_some() {
                // Whether there is room again shows when something is written; what
                // comes of it stands in the health.
                let _ = self.writer.flush().await;
            }
        }
        self.writer.close().await;
        Ok(())
    }

    /// Why nothing can be written now.
    pub(crate) fn fault(&self) -> Option<WriteFault> {
        self.writer.health().fault
    }
}

#[cfg(test)]
impl Store {
    /// Waits until all that was asked before is on the disk, and closes the file.
    pub(crate) async fn close(&self) {
        self.writer.close().await;
    }

    /// Lets SQLite refuse what the logs write, or lets it be.
    pub(crate) async fn refuse_logs(&self, refuse: bool) {
        let sql = match refuse {
            true => {
                "CREATE TRIGGER refuse BEFORE INSERT ON log_entries
                 BEGIN SELECT RAISE(ABORT, 'refused'); END"
            }
            false => "DROP TRIGGER refuse",
        };
        let done = self.writer.run(move |job| job.execute_batch(sql)).await;
        done.unwrap();
    }

    /// Takes the room away that the file could grow into, or gives it back.
    pub(crate) async fn fill(&self, full: bool) {
        let pages = if full { 1 } else { i32::MAX };
        let work = move |job: &mut longshore_sqlite::Job<'_, ()>| {
            // Below what the file has already, SQLite takes that.
            job.pragma_update(None, "max_page_count", pages)
        };
        self.writer.run(work).await.unwrap();
    }

    /// How many jobs failed.
    pub(crate) fn errors(&self) -> u64 {
        self.writer.health().errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sequence: u64) -> UpRecord {
        UpRecord {
            sequence,
            payload: Bytes::from_static(b"x"),
        }
    }

    fn writes(count: usize) -> Vec<Write> {
        let device = DeviceName::new("default", "boiler").unwrap();
        (0..count)
            .map(|n| Write::Report(device.clone(), Bytes::from(vec![n as u8])))
            .collect()
    }

    #[tokio::test]
    async fn positions_and_reports_survive_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        let device = DeviceName::new("default", "boiler").unwrap();
        {
            let (store, contents) = Store::open(&path).unwrap();
            assert!(contents.reports.is_empty());
            assert_eq!(store.open_node("n", Epoch(5), 10).await.unwrap(), 0);
            let taken = store
                .take("n", Epoch(5), 0, vec![record(1), record(2)], writes(2))
                .await;
            assert_eq!(taken.unwrap(), (2, 0));
            let again = store
                .take("n", Epoch(5), 1, vec![record(2), record(3)], writes(2))
                .await;
            assert_eq!(again.unwrap(), (3, 1), "record 2 is known");
            let gap = store
                .take("n", Epoch(5), 7, vec![record(8)], writes(1))
                .await;
            assert!(matches!(gap, Err(StoreError::Gap(_))));
            let other = store
                .take("n", Epoch(6), 0, vec![record(1)], writes(1))
                .await;
            assert!(matches!(other, Err(StoreError::Superseded)));
            store.writer.close().await;
        }
        let (store, contents) = Store::open(&path).unwrap();
        assert_eq!(contents.reports[&device].payload.as_ref(), [1]);
        assert_eq!(store.open_node("n", Epoch(5), 10).await.unwrap(), 3);
        assert_eq!(
            store.open_node("n", Epoch(5), 2).await.unwrap(),
            0,
            "its outbox went back in time"
        );
        store.forget(device).await.unwrap();
    }

    #[tokio::test]
    async fn schemas_are_kept_with_their_node_and_go_for_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        let schema = |number: usize| SchemaReport {
            protocol: "modbus".to_owned(),
            text: format!("{{\"n\": {number}}}"),
        };
        {
            let (store, _) = Store::open(&path).unwrap();
            store.open_node("n", Epoch(5), 100).await.unwrap();
            let writes = vec![
                Write::Schema(schema(1), vec![]),
                Write::Schema(schema(2), vec![]),
                Write::Schema(schema(1), vec![]),
                Write::Schema(
                    schema(3),
                    vec![longshore_link::schema_hash(&schema(2).text)],
                ),
            ];
            let records = (1..=4).map(record).collect();
            let taken = store.take("n", Epoch(5), 0, records, writes);
            assert_eq!(taken.await.unwrap(), (4, 0));
            store.writer.close().await;
        }
        let (_, contents) = Store::open(&path).unwrap();
        let kept = [schema(1), schema(3)].map(|report| StoredSchema {
            node: "n".to_owned(),
            report,
        });
        assert_eq!(contents.schemas, kept);
    }

    #[tokio::test]
    async fn what_fails_fails_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&folder.path().join("hub.db")).unwrap();
        // Stands for any row that SQLite refuses.
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON reports WHEN NEW.node = 'bad'
            BEGIN SELECT RAISE(ABORT, 'refused'); END";
        store
            .writer
            .run(|job| job.execute_batch(refuse))
            .await
            .unwrap();
        for node in ["before", "bad", "behind"] {
            store.open_node(node, Epoch(5), 10).await.unwrap();
        }
        let take = |node| store.take(node, Epoch(5), 0, vec![record(1)], writes(1));
        let (before, bad, behind) = tokio::join!(take("before"), take("bad"), take("behind"));
        assert_eq!(before.unwrap(), (1, 0));
        assert!(
            matches!(
                bad,
                Err(StoreError::Database(longshore_sqlite::Error::Sql { .. }))
            ),
            "{bad:?}"
        );
        assert_eq!(
            behind.unwrap(),
            (1, 0),
            "it does not hear that all is closed"
        );
        assert_eq!(
            store.open_node("bad", Epoch(5), 10).await.unwrap(),
            0,
            "its record is not taken"
        );
    }

    /// The schema of the first release, as it was, without and with the table
    /// that came later.
    #[tokio::test]
    async fn a_database_of_the_first_release_is_read() {
        const OLD: &str = "
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
            INSERT INTO nodes VALUES ('n', 5, 3, x'01');
            INSERT INTO reports VALUES ('default/boiler', 'n', x'02');
            PRAGMA application_id = 1280526434; PRAGMA user_version = 1;";
        const LATER: &str = "
            CREATE TABLE IF NOT EXISTS schemas (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                hash INTEGER NOT NULL UNIQUE,
                protocol TEXT NOT NULL,
                text TEXT NOT NULL
            ) STRICT;
            INSERT INTO schemas (hash, protocol, text) VALUES (1, 'modbus', '{}');";
        for (later, schemas) in [("", 0), (LATER, 1)] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("hub.db");
            let old = longshore_sqlite::Connection::open(&path).unwrap();
            old.execute_batch(&format!("{OLD}{later}")).unwrap();
            drop(old);
            let (store, contents) = Store::open(&path).unwrap();
            let device = DeviceName::new("default", "boiler").unwrap();
            assert_eq!(contents.reports[&device].payload.as_ref(), [2]);
            assert_eq!(contents.nodes["n"].report.as_ref(), [1]);
            assert_eq!(contents.schemas.len(), schemas);
            assert!(contents.logs.nodes.is_empty() && contents.logs.epoch.0 > 0);
            assert_eq!(store.open_node("n", Epoch(5), 10).await.unwrap(), 3);
        }
    }
}
