//! What the work of a session comes to.

use longshore_link::{CloseReason, Lane, transport::LineError};

use crate::{samples::ConsumerError, store::StoreError, tables::nodes::Attached};

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error(transparent)]
    Line(#[from] LineError),
    #[error(transparent)]
    Session(CloseReason),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Samples(#[from] ConsumerError),
}

/// What an operation came to.
pub(super) enum Done {
    Opened(u64, Attached),
    /// Another edge has the node's place.
    Occupied,
    TelemetryOpened(u64),
    Handled(Lane, u64),
}
