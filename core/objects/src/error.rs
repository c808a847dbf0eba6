//! Why the log refused.

use longshore_sqlite::Error;

/// Why a write was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// [`Expect::Absent`] does not hold.
    #[error("the object exists already")]
    Exists,
    /// There is nothing to change.
    #[error("the object does not exist")]
    Missing,
    /// [`Expect::At`] does not hold.
    #[error("the object is at another revision")]
    Changed,
    /// The file cannot be written.
    #[error("the database refused a write")]
    Database(#[source] Error),
    /// The log was closed.
    #[error("the store is closed")]
    Closed,
}

impl From<Error> for WriteError {
    fn from(error: Error) -> Self {
        match error {
            Error::Closed => Self::Closed,
            other => Self::Database(other),
        }
    }
}

/// Why a read was not done.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What was asked for is not kept any more.
    #[error("revision {wanted} was compacted, {oldest} is the oldest")]
    Expired {
        /// The revision that was asked for.
        wanted: u64,
        /// The oldest that is kept.
        oldest: u64,
    },
    /// What was asked for has not happened.
    #[error("revision {wanted} is beyond the newest, {current}")]
    TooNew {
        /// The revision that was asked for.
        wanted: u64,
        /// The newest.
        current: u64,
    },
    /// The file cannot be read.
    #[error("the database refused a read")]
    Database(#[source] Error),
    /// The log was closed.
    #[error("the store is closed")]
    Closed,
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        match error {
            Error::Closed => Self::Closed,
            other => Self::Database(other),
        }
    }
}
