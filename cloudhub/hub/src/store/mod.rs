//! What the hub must not forget: how far each node's records are taken, and
//! the latest report of each device and node.
//!
//! Everything else is in Kubernetes. The position of a node and what its
//! records said are one transaction; only then is a record acknowledged. So a
//! hub that is killed finds both or neither, and takes each record once.
//!
//! One thread owns the connection and commits in groups: one `fsync` for many
//! edges. Only this module speaks SQL.

mod schema;
mod writer;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use longshore_link::{Epoch, Gap, SchemaReport, UpRecord};
use longshore_types::DeviceName;
use tokio::sync::{mpsc, oneshot};

use writer::{Job, Writer};

/// Jobs that may wait for the writer; sessions wait when it is full.
const QUEUE: usize = 256;

/// Why the store refused. All are retried by reconnecting edges.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened.
    #[error("cannot open the hub's database `{path}`")]
    Open {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The file is something else.
    #[error(
        "`{path}` is not the hub's database\n\nhint: move the file away; the hub starts with an empty one and edges send their state again"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer hub.
    #[error(
        "`{path}` has schema {found}, this hub knows up to {known}\n\nhint: install the newer hub again"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Schema of the file.
        found: i64,
        /// Newest schema of this program.
        known: i64,
    },
    /// Another hub has the file.
    #[error(
        "`{path}` is in use by another process\n\nhint: is another hub running with the same `stateDir`"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A write failed.
    #[error("cannot write the hub's database `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// Records do not follow what is held.
    #[error(transparent)]
    Gap(#[from] Gap),
    /// The records' epoch is not the one that the node greeted with last.
    #[error("records belong to an outbox that the node no longer has")]
    Superseded,
    /// The writer is gone.
    #[error("the hub's database is closed")]
    Closed,
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

/// All that the store knows, read once at start.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// By device.
    pub(crate) reports: HashMap<DeviceName, StoredReport>,
    /// By name.
    pub(crate) nodes: HashMap<String, StoredNode>,
    /// Schemas of mappers, the oldest first.
    pub(crate) schemas: Vec<SchemaReport>,
}

/// So many schemas are kept: some versions of each protocol.
pub(crate) const SCHEMAS: usize = 64;

/// What to write for a record that is new.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    /// The latest report of a device.
    Report(DeviceName, Bytes),
    /// The latest report of the node.
    Node(Bytes),
    /// A mapper's schema.
    Schema(SchemaReport),
    /// Nothing: the record is of no use any more, or not understood.
    Nothing,
}

/// The store. Cheap to clone; the writer ends with the last one.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    jobs: mpsc::Sender<Job>,
}

impl Store {
    /// Opens (or makes) the database and starts the writer.
    ///
    /// # Errors
    /// Each kind of unusable file has its own error.
    pub(crate) fn open(path: &Path) -> Result<(Self, Contents), StoreError> {
        let connection = schema::open(path)?;
        let contents = schema::read(&connection).map_err(|source| StoreError::Open {
            path: path.to_owned(),
            source: Arc::new(source),
        })?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let writer = Writer::new(connection, path.to_owned());
        // The thread ends with the last handle; there is nothing to join for,
        // each answer means that it is on the disk.
        std::thread::spawn(move || writer.run(queue));
        Ok((Self { jobs }, contents))
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
        self.ask(|reply| Job::Open {
            node,
            epoch,
            last_sequence,
            reply,
        })
        .await
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
        self.ask(|reply| Job::Take {
            node,
            epoch,
            after,
            records,
            writes,
            reply,
        })
        .await
    }

    /// Forgets a device.
    ///
    /// # Errors
    /// The write failed.
    pub(crate) async fn forget(&self, device: DeviceName) -> Result<(), StoreError> {
        self.ask(|reply| Job::Forget { device, reply }).await
    }

    /// Waits until all that was asked before is on the disk.
    ///
    /// # Errors
    /// The writer is gone.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        self.ask(|reply| Job::Flush { reply }).await
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.jobs
            .send(job(reply))
            .await
            .map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
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
        }
        let (store, contents) = reopen(&path).await;
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
    async fn the_latest_schemas_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        let schema = |number: usize| SchemaReport {
            protocol: "modbus".to_owned(),
            text: format!("{{\"n\": {number}}}"),
        };
        let count = SCHEMAS + 3;
        {
            let (store, _) = Store::open(&path).unwrap();
            store.open_node("n", Epoch(5), 100).await.unwrap();
            let records = (1..=count as u64).map(record).collect();
            // The first one comes again as the last but one.
            let mut numbers: Vec<_> = (0..count).collect();
            numbers[count - 2] = 0;
            let writes = numbers.into_iter().map(|n| Write::Schema(schema(n)));
            let taken = store.take("n", Epoch(5), 0, records, writes.collect());
            assert_eq!(taken.await.unwrap(), (count as u64, 0));
        }
        let (_, contents) = reopen(&path).await;
        let schemas = contents.schemas;
        assert_eq!(schemas.len(), SCHEMAS);
        assert_eq!(schemas[SCHEMAS - 1], schema(count - 1));
        assert_eq!(schemas[SCHEMAS - 2], schema(0));
    }

    /// The writer thread of the former handle lets go a moment later.
    async fn reopen(path: &Path) -> (Store, Contents) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        loop {
            match Store::open(path) {
                Ok(opened) => return opened,
                Err(StoreError::InUse { .. }) if std::time::Instant::now() < deadline => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn what_is_not_a_database_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        std::fs::write(
            &path,
            "this is a text, and long enough for a header\n".repeat(40),
        )
        .unwrap();
        let error = Store::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error:?}");
    }
}
