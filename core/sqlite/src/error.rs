//! Why a database refused.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::ErrorCode;

use crate::Schema;

/// A database refused. Clone, because a group of callers shares one commit.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The folder of the file cannot be made or used.
    #[error("cannot use the state folder `{path}`")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Arc<io::Error>,
    },
    /// The file that keeps other processes out cannot be made.
    #[error("cannot make `{path}`")]
    Lock {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Arc<io::Error>,
    },
    /// Others can read the file, and that cannot be changed.
    #[error("`{path}` cannot be made private")]
    Private {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Arc<io::Error>,
    },
    /// The file is not a database, or it is damaged.
    #[error("`{path}` is not a database, or a damaged one")]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// What becomes of the program without the file.
        without: &'static str,
        /// Cause.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The file is a database of some other program.
    #[error("`{path}` is a database of another program")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose file it should be.
        owner: &'static str,
    },
    /// The file was written by a newer version of the program.
    #[error("`{path}` has schema {found}, this {owner} knows up to {known}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Whose file it is.
        owner: &'static str,
        /// Schema of the file.
        found: i64,
        /// Newest schema of this program.
        known: i64,
    },
    /// The file or folder is read-only.
    #[error("`{path}` cannot be written")]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// Another process has the file.
    #[error("`{path}` is in use by another process")]
    InUse {
        /// The file.
        path: PathBuf,
        /// Whose file it is.
        owner: &'static str,
    },
    /// The operating system gave no thread.
    #[error("the writer of `{path}` cannot be started")]
    Thread {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Arc<io::Error>,
    },
    /// No room. Retryable when there is room again; nothing was applied.
    #[error("the disk of `{path}` is full")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Something else. Retryable; nothing was applied.
    #[error("operation failed on `{path}`")]
    Sql {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The queue of the writer is full; try again later.
    #[error("the queue of the database is full")]
    Busy,
    /// The database is closed.
    #[error("the database is closed")]
    Closed,
    /// A read panicked, which is a fault of ours; it costs itself.
    #[error("a read of `{path}` panicked")]
    Panicked {
        /// The file.
        path: PathBuf,
    },
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Sql { .. } | Self::Busy)
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotADatabase { without, .. } => format!("move the file away; {without}"),
            Self::Foreign { owner, .. } => format!("give {owner} a `stateDir` of its own"),
            Self::Newer { owner, .. } => {
                format!("install the newer {owner} again, or move the file away")
            }
            Self::Folder { .. } => "check owner and mode of the folder and of those above it, and \
                 that the disk is not mounted read-only"
                .to_owned(),
            Self::ReadOnly { .. } => "check owner and mode of the file and its folder, and that \
                 the disk is not mounted read-only"
                .to_owned(),
            Self::InUse { owner, .. } => {
                format!("is another {owner} running with the same `stateDir`")
            }
            Self::Full { .. } => "make room on the disk, then what waits is written".to_owned(),
            Self::Sql { source, .. }
                if source.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) =>
            {
                "the disk failed; see what the system says of it (dmesg)".to_owned()
            }
            _ => return None,
        })
    }

    /// Which of our errors it is.
    pub(crate) fn explain(path: &Path, schema: &Schema, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let owner = schema.owner;
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::NotADatabase {
                path,
                without: schema.without,
                source: Arc::new(error),
            },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::ReadOnly {
                    path,
                    source: Arc::new(error),
                }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::InUse { path, owner }
            }
            Some(ErrorCode::DiskFull) => Self::Full { path },
            // On a disk that is mounted read-only SQLite finds that it cannot make the
            // file beside the database, and calls that a failure of the disk.
            Some(ErrorCode::SystemIoFailure) if !may_write(&path) => Self::ReadOnly {
                path,
                source: Arc::new(error),
            },
            _ => Self::Sql {
                path,
                source: Arc::new(error),
            },
        }
    }
}

/// Whether the system lets this process write there, as far as it says without a try:
/// opening the file and closing it again would give up the locks that SQLite has on it.
fn may_write(path: &Path) -> bool {
    let allowed = |path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    path.parent().is_none_or(allowed) && (!path.exists() || allowed(path))
}
