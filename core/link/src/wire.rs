//! The protobuf messages, by hand: no `protoc` is needed to build, and the
//! schema stands here. Tags are for ever: never reuse one, only add.
//!
//! What is omitted reads as the default, so a new field never breaks an old peer.

use bytes::Bytes;

/// One WebSocket message.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Frame {
    #[prost(
        oneof = "frame::Body",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13"
    )]
    pub(crate) body: Option<frame::Body>,
}

pub(crate) mod frame {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(crate) enum Body {
        #[prost(message, tag = "1")]
        Hello(super::Hello),
        #[prost(message, tag = "2")]
        Welcome(super::Welcome),
        #[prost(message, tag = "3")]
        Refuse(super::Refuse),
        #[prost(message, tag = "4")]
        Objects(super::Objects),
        #[prost(uint64, tag = "5")]
        Stored(u64),
        #[prost(uint64, tag = "6")]
        PartReceived(u64),
        #[prost(message, tag = "7")]
        Records(super::Records),
        #[prost(uint64, tag = "8")]
        Taken(u64),
        #[prost(uint64, tag = "9")]
        Ping(u64),
        #[prost(uint64, tag = "10")]
        Pong(u64),
        #[prost(message, tag = "11")]
        TelemetryFrom(super::TelemetryFrom),
        #[prost(message, tag = "12")]
        Telemetry(super::Records),
        #[prost(uint64, tag = "13")]
        TelemetryTaken(u64),
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Hello {
    #[prost(uint32, tag = "1")]
    pub(crate) oldest_version: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) version: u32,
    #[prost(string, repeated, tag = "3")]
    pub(crate) capabilities: Vec<String>,
    #[prost(string, tag = "4")]
    pub(crate) node: String,
    #[prost(string, tag = "5")]
    pub(crate) agent: String,
    #[prost(fixed64, tag = "6")]
    pub(crate) hub_epoch: u64,
    #[prost(uint64, tag = "7")]
    pub(crate) revision: u64,
    #[prost(fixed64, tag = "8")]
    pub(crate) edge_epoch: u64,
    #[prost(uint64, tag = "9")]
    pub(crate) last_sequence: u64,
    #[prost(uint64, tag = "10")]
    pub(crate) last_telemetry: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Welcome {
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
    #[prost(string, repeated, tag = "2")]
    pub(crate) capabilities: Vec<String>,
    #[prost(fixed64, tag = "3")]
    pub(crate) hub_epoch: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) taken: u64,
    #[prost(uint32, tag = "5")]
    pub(crate) window_records: u32,
    #[prost(uint32, tag = "6")]
    pub(crate) window_bytes: u32,
    #[prost(uint32, tag = "7")]
    pub(crate) keepalive_ms: u32,
    #[prost(fixed64, repeated, tag = "8")]
    pub(crate) schemas: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Refuse {
    /// 1 version, 2 identity, 3 replaced, 4 unavailable, 5 protocol.
    #[prost(uint32, tag = "1")]
    pub(crate) reason: u32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Objects {
    /// Changes: the revision that they follow.
    #[prost(uint64, tag = "1")]
    pub(crate) from: u64,
    /// The revision that they lead to, or that the snapshot stands for.
    #[prost(uint64, tag = "2")]
    pub(crate) to: u64,
    #[prost(message, repeated, tag = "3")]
    pub(crate) changes: Vec<Change>,
    #[prost(bool, tag = "4")]
    pub(crate) snapshot: bool,
    #[prost(uint64, tag = "5")]
    pub(crate) part: u64,
    #[prost(bool, tag = "6")]
    pub(crate) last: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Change {
    #[prost(string, tag = "1")]
    pub(crate) kind: String,
    #[prost(string, tag = "2")]
    pub(crate) namespace: String,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(bool, tag = "4")]
    pub(crate) deleted: bool,
    #[prost(string, tag = "5")]
    pub(crate) uid: String,
    #[prost(string, tag = "6")]
    pub(crate) resource_version: String,
    #[prost(bytes = "bytes", tag = "7")]
    pub(crate) json: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Records {
    #[prost(uint64, tag = "1")]
    pub(crate) after: u64,
    #[prost(message, repeated, tag = "2")]
    pub(crate) records: Vec<Record>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TelemetryFrom {
    #[prost(uint64, tag = "1")]
    pub(crate) taken: u64,
    #[prost(uint32, tag = "2")]
    pub(crate) window_records: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) window_bytes: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Record {
    #[prost(uint64, tag = "1")]
    pub(crate) sequence: u64,
    /// An encoded [`Up`].
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) payload: Bytes,
}

/// Content of one record.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Up {
    #[prost(oneof = "up::Body", tags = "1, 2, 3, 4")]
    pub(crate) body: Option<up::Body>,
}

pub(crate) mod up {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(crate) enum Body {
        #[prost(message, tag = "1")]
        Reported(super::Reported),
        #[prost(message, tag = "2")]
        Node(super::NodeReport),
        #[prost(message, tag = "3")]
        Schema(super::Schema),
        #[prost(message, tag = "4")]
        Samples(super::Samples),
    }
}

/// Written small: a node may have a day of them to send over a thin line.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Samples {
    #[prost(string, tag = "1")]
    pub(crate) namespace: String,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(string, tag = "3")]
    pub(crate) uid: String,
    /// Names of the properties; the samples say which of them they are of.
    #[prost(string, repeated, tag = "4")]
    pub(crate) properties: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Sample {
    /// Index into the names.
    #[prost(uint32, tag = "1")]
    pub(crate) property: u32,
    #[prost(oneof = "property::Value", tags = "2, 3, 4, 5, 6, 7")]
    pub(crate) value: Option<property::Value>,
    /// As in [`Property`].
    #[prost(uint32, tag = "8")]
    pub(crate) quality: u32,
    /// As in [`Property`].
    #[prost(uint32, tag = "9")]
    pub(crate) reason: u32,
    /// Milliseconds after the sample before it; of the first one, after 1970.
    #[prost(sint64, tag = "10")]
    pub(crate) after_ms: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Schema {
    #[prost(string, tag = "1")]
    pub(crate) protocol: String,
    #[prost(string, tag = "2")]
    pub(crate) text: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Reported {
    #[prost(string, tag = "1")]
    pub(crate) namespace: String,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(string, tag = "3")]
    pub(crate) uid: String,
    #[prost(string, tag = "4")]
    pub(crate) state: String,
    #[prost(sint64, optional, tag = "5")]
    pub(crate) last_online_ms: Option<i64>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) properties: Vec<Property>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) conditions: Vec<Condition>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) warnings: Vec<Fault>,
    #[prost(message, repeated, tag = "9")]
    pub(crate) events: Vec<Event>,
    #[prost(fixed64, tag = "10")]
    pub(crate) fingerprint: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Event {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(bool, tag = "2")]
    pub(crate) active: bool,
    /// 0 info, 1 minor, 2 major, 3 critical.
    #[prost(uint32, tag = "3")]
    pub(crate) severity: u32,
    #[prost(string, tag = "4")]
    pub(crate) message: String,
    #[prost(sint64, tag = "5")]
    pub(crate) since_ms: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Fault {
    #[prost(string, tag = "1")]
    pub(crate) path: String,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(bool, tag = "3")]
    pub(crate) error: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Property {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(oneof = "property::Value", tags = "2, 3, 4, 5, 6, 7")]
    pub(crate) value: Option<property::Value>,
    #[prost(string, tag = "8")]
    pub(crate) text: String,
    #[prost(string, tag = "9")]
    pub(crate) data_type: String,
    /// 0 good, 1 uncertain, 2 bad.
    #[prost(uint32, tag = "10")]
    pub(crate) quality: u32,
    /// 0 none, 1 line, 2 timeout, 3 refused, 4 config, 5 decode, 6 stale, 7 range, 8 sensor.
    #[prost(uint32, tag = "11")]
    pub(crate) reason: u32,
    #[prost(sint64, optional, tag = "12")]
    pub(crate) source_time_ms: Option<i64>,
    #[prost(sint64, optional, tag = "13")]
    pub(crate) last_read_ms: Option<i64>,
    #[prost(string, optional, tag = "14")]
    pub(crate) last_error: Option<String>,
    #[prost(string, optional, tag = "15")]
    pub(crate) desired: Option<String>,
    #[prost(message, optional, tag = "16")]
    pub(crate) write: Option<Write>,
    #[prost(bool, tag = "17")]
    pub(crate) desired_local: bool,
}

pub(crate) mod property {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(crate) enum Value {
        #[prost(bool, tag = "2")]
        Bool(bool),
        #[prost(sint64, tag = "3")]
        Int(i64),
        #[prost(uint64, tag = "4")]
        Uint(u64),
        #[prost(double, tag = "5")]
        Float(f64),
        #[prost(string, tag = "6")]
        String(String),
        #[prost(bytes = "vec", tag = "7")]
        Bytes(Vec<u8>),
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Write {
    /// 0 pending, 1 confirmed, 2 failed.
    #[prost(uint32, tag = "1")]
    pub(crate) phase: u32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(sint64, tag = "3")]
    pub(crate) time_ms: i64,
    /// Failed, and nobody knows whether the device has it. A peer that does not know
    /// the field takes it for failed.
    #[prost(bool, tag = "4")]
    pub(crate) unknown: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Condition {
    #[prost(string, tag = "1")]
    pub(crate) kind: String,
    /// 0 unknown, 1 true, 2 false.
    #[prost(uint32, tag = "2")]
    pub(crate) status: u32,
    #[prost(string, tag = "3")]
    pub(crate) reason: String,
    #[prost(string, tag = "4")]
    pub(crate) message: String,
    #[prost(sint64, tag = "5")]
    pub(crate) since_ms: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct NodeReport {
    #[prost(message, repeated, tag = "1")]
    pub(crate) labels: Vec<Pair>,
    #[prost(string, tag = "2")]
    pub(crate) os: String,
    #[prost(string, tag = "3")]
    pub(crate) architecture: String,
    #[prost(string, tag = "4")]
    pub(crate) version: String,
    #[prost(string, tag = "5")]
    pub(crate) kernel: String,
    #[prost(string, tag = "6")]
    pub(crate) os_image: String,
    #[prost(string, tag = "7")]
    pub(crate) machine_id: String,
    #[prost(string, tag = "8")]
    pub(crate) boot_id: String,
    #[prost(uint32, tag = "9")]
    pub(crate) cpus: u32,
    #[prost(uint64, tag = "10")]
    pub(crate) memory_bytes: u64,
    #[prost(message, repeated, tag = "11")]
    pub(crate) addresses: Vec<Pair>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) mappers: Vec<Mapper>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Pair {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Mapper {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) protocol: String,
    #[prost(string, tag = "3")]
    pub(crate) version: String,
    #[prost(string, tag = "4")]
    pub(crate) state: String,
    #[prost(string, tag = "5")]
    pub(crate) message: String,
    #[prost(fixed64, tag = "6")]
    pub(crate) schema: u64,
}
