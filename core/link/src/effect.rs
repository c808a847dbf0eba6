//! What a session asks of its driver.

use crate::frame::{Change, Frame, Hello, ObjectKey, UpRecord};
use crate::lane::Lane;
use crate::{CloseReason, Epoch};

/// What the driver of an edge's session must do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum EdgeEffect {
    /// Send this message.
    Send(Frame),
    /// Store these objects and the position that they lead to, in one
    /// transaction, then report [`EdgeEvent::Applied`](crate::EdgeEvent::Applied).
    Apply {
        /// The log that they come from.
        epoch: Epoch,
        /// The revision that they lead to.
        revision: u64,
        /// They are all that there is: what is not among them goes away.
        snapshot: bool,
        /// The objects.
        changes: Vec<Change>,
    },
    /// Forget the records up to this one: the hub holds them.
    Forget {
        /// Of this lane.
        lane: Lane,
        /// The last of them.
        through: u64,
    },
    /// Take the records after this one from the outbox, as many as fit, and
    /// report [`EdgeEvent::Fetched`](crate::EdgeEvent::Fetched). At least one, if there is one.
    Fetch {
        /// From what goes on this lane.
        lane: Lane,
        /// The record before the first one.
        after: u64,
        /// At most so many.
        max_records: usize,
        /// At most about so many bytes.
        max_bytes: usize,
    },
    /// The session is live.
    Connected,
    /// Close the connection and report [`EdgeEvent::TransportDown`](crate::EdgeEvent::TransportDown).
    Close(CloseReason),
}

/// What the driver of a hub's session must do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum HubEffect {
    /// Send this message.
    Send(Frame),
    /// The edge is who it should be. Look up how far its records are held
    /// ([`crate::UpPosition::greet`], and store the outcome), wait until the
    /// node's log is complete, end the node's former connection, then report
    /// [`HubEvent::Opened`](crate::HubEvent::Opened).
    Open(Hello),
    /// The session is live.
    Connected,
    /// Look up how far the edge's telemetry is held, as for [`Self::Open`], and
    /// report [`HubEvent::TelemetryOpened`](crate::HubEvent::TelemetryOpened). It may take its time, or never
    /// come to an end: the edge keeps its telemetry until then.
    OpenTelemetry {
        /// Identity of the outbox.
        epoch: Epoch,
        /// The last record of telemetry that was ever sent.
        last_sequence: u64,
    },
    /// Read the log after a revision and report [`HubEvent::Read`](crate::HubEvent::Read).
    ReadChanges {
        /// The revision that the edge has or will have.
        after: u64,
        /// About so many bytes.
        max_bytes: usize,
    },
    /// Read the objects after a key and report [`HubEvent::Snapshot`](crate::HubEvent::Snapshot).
    ReadSnapshot {
        /// The last object of the part before.
        cursor: Option<ObjectKey>,
        /// About so many bytes.
        max_bytes: usize,
    },
    /// Store these records ([`crate::UpPosition::admit`]), then report
    /// [`HubEvent::Handled`](crate::HubEvent::Handled). Batches of a lane must be stored in order; the
    /// lanes do not wait for each other.
    Handle {
        /// The lane that they came on.
        lane: Lane,
        /// The outbox that they come from.
        epoch: Epoch,
        /// The record before the first one.
        after: u64,
        /// The records.
        records: Vec<UpRecord>,
    },
    /// The edge's store holds this revision.
    Delivered {
        /// The revision.
        revision: u64,
    },
    /// Close the connection; the session is over.
    Close(CloseReason),
}
