//! Why the store refused.

use std::{path::PathBuf, sync::Arc};

/// The store refused. Clone, because a group of callers shares one commit.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The folder of the file cannot be made or used.
    #[error("cannot use the state folder `{path}`")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The file is not a database, or it is damaged.
    #[error(
        "`{path}` is not a database, or a damaged one\n\nhint: move the file away; edgecore then starts with an empty store and the hub sends everything again"
    )]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The file is a database of some other program.
    #[error(
        "`{path}` is a database of another program\n\nhint: give edgecore a `stateDir` of its own"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer edgecore.
    #[error(
        "`{path}` has schema {found}, this edgecore knows up to {known}\n\nhint: install the newer edgecore again, or move the file away"
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Schema of the file.
        found: i64,
        /// Newest schema of this program.
        known: i64,
    },
    /// The file or folder is read-only.
    #[error(
        "`{path}` cannot be written\n\nhint: check owner and mode of the file and its folder, and that the disk is not mounted read-only"
    )]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// Another process has the file.
    #[error(
        "`{path}` is in use by another process\n\nhint: is another edgecore running with the same `stateDir`"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// No room. Retryable when there is room again; nothing was applied.
    #[error("the disk of `{path}` is full")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Something else. Retryable; nothing was applied.
    #[error("store operation failed on `{path}`")]
    Sql {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The store's queue is full; try again later.
    #[error("the store's queue is full")]
    Busy,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Sql { .. } | Self::Busy)
    }
}
