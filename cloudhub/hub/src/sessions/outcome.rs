//! What the work of a session comes to.

use longshore_link::{CloseReason, Lane};
use tokio_tungstenite::tungstenite;

use crate::{samples::ConsumerError, store::StoreError, tables::nodes::Attached};

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the edge closed the connection")]
    Closed,
    #[error("the connection broke")]
    Broken(#[source] Box<tungstenite::Error>),
    #[error(transparent)]
    Session(CloseReason),
    #[error("the line does not take what is to be sent")]
    Congested,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Samples(#[from] ConsumerError),
}

/// What an operation came to.
pub(super) enum Done {
    Opened(u64, Attached),
    TelemetryOpened(u64),
    Handled(Lane, u64),
}
