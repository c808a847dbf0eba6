//! The messages of the link, as the sessions see them.
//!
//! These are not the wire types: what stands here has been checked. One frame
//! is one binary WebSocket message.

use std::fmt;

use bytes::Bytes;

use crate::Epoch;

/// A message of the link.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Frame {
    /// Edge: first message of a connection.
    Hello(Hello),
    /// Hub: the answer to it.
    Welcome(Welcome),
    /// Hub: it will not talk to this edge, and closes.
    Refuse {
        /// Kind of refusal.
        reason: RefuseReason,
        /// For people.
        message: String,
    },
    /// Hub: objects for the edge.
    Objects(Objects),
    /// Edge: the store holds this revision.
    Stored {
        /// The revision.
        revision: u64,
    },
    /// Edge: it has this part of a snapshot in memory (it opens the window, no more).
    PartReceived {
        /// Number of the part.
        part: u64,
    },
    /// Edge: records of its outbox.
    Records(Records),
    /// Hub: all records up to this one are in its store.
    Taken {
        /// The last of them.
        sequence: u64,
    },
    /// Either: are you there?
    Ping {
        /// Comes back in the answer.
        nonce: u64,
    },
    /// Either: yes.
    Pong {
        /// As asked.
        nonce: u64,
    },
    /// Hub: whoever takes the telemetry is ready for it; before this, none goes.
    TelemetryFrom {
        /// The last record of this edge's telemetry that is held; the edge goes on after it.
        taken: u64,
        /// So many records may be under way.
        window_records: u32,
        /// So many bytes of records may be under way.
        window_bytes: u32,
    },
    /// Edge: records of its telemetry.
    Telemetry(Records),
    /// Hub: all telemetry up to this record is held.
    TelemetryTaken {
        /// The last of them.
        sequence: u64,
    },
    /// A kind that this version does not know; ignored.
    Unknown,
}

/// The edge's first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Oldest version of the protocol that it speaks.
    pub oldest_version: u32,
    /// Newest version that it speaks.
    pub version: u32,
    /// Optional parts that it speaks.
    pub capabilities: Vec<String>,
    /// Its node; the hub compares it with the certificate.
    pub node: String,
    /// Its software, for the log.
    pub agent: String,
    /// The log that its revision belongs to.
    pub hub_epoch: Epoch,
    /// The revision that its store holds.
    pub revision: u64,
    /// Identity of its outbox.
    pub edge_epoch: Epoch,
    /// The highest sequence that its outbox ever gave out.
    pub last_sequence: u64,
    /// The same of its telemetry.
    pub last_telemetry: u64,
}

/// The hub's answer to a hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The version that both speak from here on.
    pub version: u32,
    /// Optional parts that it speaks.
    pub capabilities: Vec<String>,
    /// Identity of its log.
    pub hub_epoch: Epoch,
    /// The last record of this edge that it holds; the edge goes on after it.
    pub taken: u64,
    /// So many records may be under way.
    pub window_records: u32,
    /// So many bytes of records may be under way.
    pub window_bytes: u32,
    /// The edge asks at least so often whether the hub is there.
    pub keepalive_ms: u32,
    /// Schemas that it holds, by [`crate::schema_hash`].
    pub schemas: Vec<u64>,
}

/// Why a hub refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefuseReason {
    /// No version that both speak.
    Version,
    /// The certificate is another node's.
    Identity,
    /// A newer connection of the node took over.
    Replaced,
    /// The hub is not ready or is going away; try again.
    Unavailable,
    /// The edge broke the protocol.
    Protocol,
}

/// Names an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Such as `Device`.
    pub kind: String,
    /// Empty for what has none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// An object that is or is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which object.
    pub key: ObjectKey,
    /// What it is now; none when it was deleted or is no longer for this node.
    pub content: Option<Content>,
}

/// An object as the API server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The object's uid.
    pub uid: String,
    /// The API server's resource version.
    pub resource_version: String,
    /// The whole object.
    pub json: Bytes,
}

/// Objects on their way down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objects {
    /// What changed after `from`; the store stands at `to` when it has them.
    Changes {
        /// The revision that they follow.
        from: u64,
        /// The revision that they lead to.
        to: u64,
        /// The changes.
        changes: Vec<Change>,
    },
    /// A part of all that the edge should hold. What is in no part goes away.
    Snapshot {
        /// The revision that the whole stands for.
        revision: u64,
        /// Number of the part, from 0.
        part: u64,
        /// No further part follows: apply the whole.
        last: bool,
        /// The objects; all have content.
        changes: Vec<Change>,
    },
}

/// Records on their way up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// The record before the first one. The hub must hold it: this is how a gap shows,
    /// since sequences themselves have gaps where records coalesced.
    pub after: u64,
    /// The records, rising.
    pub records: Vec<UpRecord>,
}

/// One record of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpRecord {
    /// Its number; never used twice within an epoch.
    pub sequence: u64,
    /// An encoded [`crate::Up`].
    pub payload: Bytes,
}

/// A message that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not protobuf, or cut off.
    #[error("not a message of the link")]
    Protobuf(#[from] prost::DecodeError),
    /// A field that must be there is not.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    /// A field whose value makes no sense.
    #[error("field `{field}` has the impossible value `{value}`")]
    Invalid {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// A name that Kubernetes would refuse.
    #[error("field `{field}` is not a name")]
    Name {
        /// The field.
        field: &'static str,
        /// Why.
        #[source]
        source: longshore_types::InvalidName,
    },
}

impl Frame {
    /// The name of its kind, for logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hello(_) => "Hello",
            Self::Welcome(_) => "Welcome",
            Self::Refuse { .. } => "Refuse",
            Self::Objects(_) => "Objects",
            Self::Stored { .. } => "Stored",
            Self::PartReceived { .. } => "PartReceived",
            Self::Records(_) => "Records",
            Self::Taken { .. } => "Taken",
            Self::Ping { .. } => "Ping",
            Self::Pong { .. } => "Pong",
            Self::TelemetryFrom { .. } => "TelemetryFrom",
            Self::Telemetry(_) => "Telemetry",
            Self::TelemetryTaken { .. } => "TelemetryTaken",
            Self::Unknown => "Unknown",
        }
    }
}

impl Change {
    /// About how many bytes it takes on the wire.
    pub fn size(&self) -> usize {
        let key = self.key.kind.len() + self.key.namespace.len() + self.key.name.len();
        let content = self
            .content
            .as_ref()
            .map_or(0, |c| c.uid.len() + c.resource_version.len() + c.json.len());
        key + content + 24
    }
}

impl UpRecord {
    /// About how many bytes it takes on the wire.
    pub fn size(&self) -> usize {
        self.payload.len() + 16
    }
}

impl RefuseReason {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Identity => "identity",
            Self::Replaced => "replaced",
            Self::Unavailable => "unavailable",
            Self::Protocol => "protocol",
        }
    }
}

impl fmt::Display for RefuseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}
