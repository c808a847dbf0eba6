//! Keeps the edge and the hub in agreement across a link that is usually bad.
//!
//! The session never opens a socket and never reads a clock. Feed an
//! [`EdgeSession`] or a [`HubSession`] with events, carry out the effects that it
//! returns. That is why the property tests can run both ends over a wire that
//! loses, repeats and cuts, with crashes at any step, in milliseconds. What both
//! drivers need of sockets is in [`transport`], and nowhere else.
//!
//! # Expected flow
//!
//! ```text
//! edge                                     hub
//!   Hello (epochs, revision, sequence) ───►   certificate and name agree?
//!   ◄─────────────── Welcome (windows, last sequence that it holds)
//!   ◄─────────────── Objects …                since the edge's revision, or a snapshot
//!   Stored ───────────────────────────────►   once the store has them
//!   Records … ────────────────────────────►   numbered, from the outbox
//!   ◄─────────────── Taken                    once the hub's store has them
//!   ◄─────────────── TelemetryFrom            once somebody is there to take it
//!   Telemetry … ──────────────────────────►   numbered by itself, when nothing live waits
//!   ◄─────────────── TelemetryTaken           once whoever takes it has it
//! ```
//!
//! # Guarantees
//!
//! - A record that the edge forgets is in the hub's store.
//! - A record is handled once: the hub knows it by (edge epoch, sequence).
//! - Records are handled in order; a gap ends the connection, it is never skipped.
//! - The edge's objects equal the hub's as soon as the link holds long enough.
//!   What the edge stores is always a state that the hub meant: batches and
//!   snapshots are applied whole.
//! - Telemetry never holds up what is live: see [`Lane`].
//! - Nothing grows without bound: each direction and each lane has a window.
//!
//! # Assumptions
//!
//! The transport keeps order and content while it lasts, and says when it ends (a
//! WebSocket over TLS does). Stores commit before they confirm.
//!
//! # Example
//!
//! ```
//! use longshore_link::{Frame, Up, UpRecord, Welcome};
//! let bytes = Frame::Ping { nonce: 7 }.encode();
//! assert_eq!(Frame::decode(bytes).unwrap(), Frame::Ping { nonce: 7 });
//! ```

mod convert;
mod edge;
mod effect;
mod flow;
mod frame;
mod hub;
mod lane;
mod log;
mod position;
pub mod transport;
mod up;
mod wire;

pub use edge::{EdgeConfig, EdgeEvent, EdgePosition, EdgeSession, EdgeState};
pub use effect::{EdgeEffect, HubEffect};
pub use frame::{
    Change, Content, DecodeError, Frame, Hello, ObjectKey, Objects, Records, RefuseReason,
    UpRecord, Welcome,
};
pub use hub::{HubConfig, HubEvent, HubSession, HubState, Reading, SnapshotPart};
pub use lane::Lane;
pub use log::{ChangeLog, LogConfig};
pub use position::{Admitted, Gap, UpPosition};
pub use up::{
    MAX_SCHEMA_BYTES, MapperReport, NodeAddress, NodeReport, SCHEMAS, SchemaReport, Up,
    fingerprint, schema_hash,
};

use std::{fmt, num::ParseIntError, str::FromStr};

/// The protocol's version that this crate speaks. Raised only when an old peer
/// could misread a new one; new fields and kinds do not need it.
pub const PROTOCOL_VERSION: u32 = 1;

/// The oldest version that this crate still speaks.
pub const OLDEST_PROTOCOL_VERSION: u32 = 1;

/// Path of the WebSocket on the hub's link port.
pub const LINK_PATH: &str = "/v1/link";

/// WebSocket subprotocol, so that a wrong server is noticed at the handshake.
pub const SUBPROTOCOL: &str = "longshore.link.v1";

/// No frame is larger. A Kubernetes object is at most 1.5 MiB, a batch stays
/// well below; what is larger is a broken or hostile peer.
pub const MAX_FRAME_BYTES: usize = 4 * 1024 * 1024;

/// The largest object, as JSON, that goes to an edge: a message with it alone has room
/// for its names and its frame. A larger one would break each connection of the node,
/// so a [`ChangeLog`] is given none.
pub const MAX_OBJECT_BYTES: usize = MAX_FRAME_BYTES - 64 * 1024;

/// The most that a report of one device may have: ten thousand values, or less of long
/// texts. The hub takes none that is larger, and an edge sends none.
pub const MAX_REPORT_BYTES: usize = 1024 * 1024;

/// Identity of one life of a database: it changes when the database is made
/// anew, so that numbers of the old one are never mistaken for the new one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Epoch(pub u64);

impl Epoch {
    /// No database yet: agrees with no epoch of the other side.
    pub const NONE: Self = Self(0);
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = ParseIntError;

    /// Reads what `Display` wrote.
    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// Why a session ended a connection. Each is followed by a new attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The other side did not say hello in time.
    #[error("no greeting within the deadline")]
    GreetingTimeout,
    /// Nothing was heard for too long.
    #[error("nothing heard from the other side within the deadline")]
    Silent,
    /// The hub turned the edge away.
    #[error("hub refused the connection ({reason}): {message}")]
    Refused {
        /// Kind of refusal.
        reason: RefuseReason,
        /// What the hub had to say.
        message: String,
    },
    /// A frame that has no place in this state.
    #[error("unexpected message `{0}`")]
    Unexpected(&'static str),
    /// A batch that does not follow what the store holds.
    #[error("objects begin after revision {got}, the store holds revision {have}")]
    RevisionGap {
        /// What the store holds.
        have: u64,
        /// Where the batch begins.
        got: u64,
    },
    /// Records that do not follow what the hub holds.
    #[error(transparent)]
    RecordGap(#[from] Gap),
    /// The other side sent more than its window.
    #[error("the other side exceeded its window")]
    WindowExceeded,
    /// A snapshot's part that is out of turn.
    #[error("part {got} of a snapshot came where part {expected} was due")]
    SnapshotOrder {
        /// The part that was due.
        expected: u64,
        /// The part that came.
        got: u64,
    },
    /// Another connection of the same node took over.
    #[error("a newer connection of the same node took over")]
    Replaced,
    /// A frame that cannot be decoded.
    #[error("message cannot be decoded")]
    Undecodable(#[source] DecodeError),
}
