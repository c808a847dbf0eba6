//! What an edge reports: the records of the outbox.
//!
//! Latest-only records have a [`Up::key`]: while they wait, a newer one
//! replaces the older one. Samples have none, each counts; they go on the
//! [`crate::Lane::Telemetry`].

use longshore_types::{DeviceName, DeviceSamples, report::DeviceReport};
use sha2::{Digest, Sha256};

/// One report of an edge.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Up {
    /// The twins of one device.
    Reported(DeviceReport),
    /// The node itself.
    Node(NodeReport),
    /// What may stand in the configurations of a protocol.
    Schema(SchemaReport),
    /// Readings of one device.
    Samples(DeviceSamples),
    /// A kind that this version does not know; it is acknowledged and counted.
    Unknown,
}

/// The schema that a mapper's library carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaReport {
    /// The protocol, in lower case.
    pub protocol: String,
    /// A JSON object, as the library has it; at most [`MAX_SCHEMA_BYTES`].
    pub text: String,
}

/// No schema is larger.
pub const MAX_SCHEMA_BYTES: usize = 1024 * 1024;

/// Capability of a hub that keeps schemas: edges send those that it does not list.
pub const SCHEMAS: &str = "schemas";

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeReport {
    /// Labels that the node asks for.
    pub labels: Vec<(String, String)>,
    /// Such as `linux`.
    pub os: String,
    /// Such as `amd64`, in the words of Kubernetes.
    pub architecture: String,
    /// Of `edgecore`.
    pub version: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Name of the system, as in os-release.
    pub os_image: String,
    /// `/etc/machine-id`, if there is one.
    pub machine_id: String,
    /// This boot's id.
    pub boot_id: String,
    /// Number of processors.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Where it can be reached, if at all.
    pub addresses: Vec<NodeAddress>,
    /// Its mappers.
    pub mappers: Vec<MapperReport>,
}

/// One address of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeAddress {
    /// `InternalIP` or `Hostname`.
    pub kind: String,
    /// The address.
    pub address: String,
}

/// One mapper of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapperReport {
    /// Its name in the node's configuration.
    pub name: String,
    /// The protocol that it speaks.
    pub protocol: String,
    /// Its version.
    pub version: String,
    /// Such as `Running`.
    pub state: String,
    /// Why, if it does not run.
    pub message: String,
    /// [`schema_hash`] of the schema that its library carries; 0 for none.
    pub schema: u64,
}

/// Tells one text of a schema from another; never 0. Both sides compute it, so
/// that a text is sent once. A node must not be able to make a text that passes
/// for another node's, hence SHA-256.
pub fn schema_hash(text: &str) -> u64 {
    first_of(Sha256::digest(text))
}

/// Tells which Device and DeviceModel a device was made from, by their JSON as
/// the link carries it; never 0.
pub fn fingerprint(device: &[u8], uid: &str, model: Option<&[u8]>) -> u64 {
    let mut hash = Sha256::new();
    for part in [Some(device), Some(uid.as_bytes()), model] {
        let length = part.map_or(u64::MAX, |part| part.len() as u64);
        hash.update(length.to_le_bytes());
        hash.update(part.unwrap_or_default());
    }
    first_of(hash.finalize())
}

/// The first 64 bits of a digest, as the wire has them; 0 stands for none.
fn first_of(digest: impl Into<[u8; 32]>) -> u64 {
    let digest: [u8; 32] = digest.into();
    let first = digest.first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(first).max(1)
}

impl Up {
    /// Key under which only the latest counts; none for records that all count.
    pub fn key(&self) -> Option<String> {
        match self {
            Self::Reported(reported) => Some(Self::twin_key(&reported.name)),
            Self::Node(_) => Some(Self::NODE_KEY.to_owned()),
            Self::Schema(schema) => Some(format!("schema/{}", schema.protocol)),
            Self::Samples(_) | Self::Unknown => None,
        }
    }

    /// Key of the node's own report.
    pub const NODE_KEY: &'static str = "node";

    /// Key of a device's report: `twin/namespace/name`.
    pub fn twin_key(device: &DeviceName) -> String {
        format!("twin/{device}")
    }
}
