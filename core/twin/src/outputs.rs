//! What goes out of the engine, and the one thing that it asks while it works.

use std::sync::Arc;

use bytes::Bytes;
use longshore_types::{
    DeviceName, DeviceSamples,
    command::Command,
    report::{DeviceReport, PropertyReport},
};

/// Who listens on the bus. Asked while a batch is taken, so no call may block.
pub trait Interest: Send + Sync + 'static {
    /// A number that changes whenever another answer may have changed, so that
    /// the engine asks once per device and not per batch.
    fn version(&self) -> u64;

    /// Whether anybody listens to this exact topic. Nobody formats what nobody reads.
    fn wanted(&self, topic: &str) -> bool;

    /// Whether anybody listens to the device's KubeEdge topics of changes
    /// (`twin/update/document`, `twin/update/delta`, `twin/update/result`).
    fn wants_changes(&self, device: &DeviceName) -> bool;
}

/// No bus: nothing is wanted, everything is dropped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Interest for Nobody {
    fn version(&self) -> u64 {
        0
    }
    fn wanted(&self, _topic: &str) -> bool {
        false
    }
    fn wants_changes(&self, _device: &DeviceName) -> bool {
        false
    }
}

/// What the driver has to carry out, besides [`crate::Engine::messages`].
#[derive(Debug, Default)]
pub struct Outputs {
    /// Mapper (its index) and command, in order.
    pub commands: Vec<(usize, Command)>,
    /// Events for the bus to keep, in order.
    pub retained: Vec<Retained>,
    /// Samples for the hub, of each device in their order. Each of them counts.
    pub samples: Vec<DeviceSamples>,
    /// Calls that ended, by the number that [`crate::Engine::call`] gave.
    pub calls: Vec<(u64, Result<serde_json::Value, UpdateError>)>,
    /// Updates that are kept or refused, by the number that
    /// [`crate::Engine::update`] gave, in the order in which they came.
    pub updates: Vec<(u64, Result<DeviceReport, UpdateError>)>,
}

/// A message for the bus, in the order in which things happened.
#[derive(Debug, Clone)]
pub enum Message {
    /// The readings of one device, formatted. QoS 0.
    Batch {
        /// Where to.
        topic: Arc<str>,
        /// JSON.
        payload: Bytes,
    },
    /// For the KubeEdge topics of changes; only where [`Interest::wants_changes`].
    Changed(DeviceChange),
    /// For KubeEdge's `membership/updated`. The engine does not give it by
    /// itself: [`crate::Engine::member_to_tell`].
    Membership(MembershipChange),
}

/// An event for the bus to keep; an empty payload takes it back.
#[derive(Debug, Clone)]
pub struct Retained {
    /// Where to.
    pub topic: Arc<str>,
    /// JSON.
    pub payload: Bytes,
    /// The event, for [`crate::Engine::not_retained`]; none where nobody would
    /// say it again.
    pub event: Option<(u32, Box<str>)>,
}

/// Properties of one device that changed together.
#[derive(Debug, Clone)]
pub struct DeviceChange {
    /// The device.
    pub device: DeviceName,
    /// What changed, once per property.
    pub properties: Vec<PropertyChange>,
}

/// A property before and after.
#[derive(Debug, Clone)]
pub struct PropertyChange {
    /// Before. Only the value, its time and the desired value are kept of it.
    pub last: PropertyReport,
    /// Now.
    pub current: PropertyReport,
}

/// A device came to the node or left it.
#[derive(Debug, Clone)]
pub enum MembershipChange {
    /// The device is served from now on.
    Added(Box<DeviceReport>),
    /// The device is not served any more.
    Removed(DeviceName),
}

/// What the store does as one: all of it or nothing, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Save {
    /// Devices that are gone: every row of them is to be deleted.
    pub forgotten: Vec<String>,
    /// Rows, each at most once.
    pub rows: Vec<Row>,
    /// Twins.
    pub twins: Vec<TwinBlob>,
}

impl Save {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.forgotten.is_empty() && self.rows.is_empty() && self.twins.is_empty()
    }
}

/// A device's twins, packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwinBlob {
    /// `namespace/name`.
    pub device: String,
    /// Packed.
    pub data: Vec<u8>,
}

/// Something small of a device that is kept by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is.
    pub kind: RowKind,
    /// `namespace/name`.
    pub device: String,
    /// The property or event.
    pub name: String,
    /// JSON owned by the twin engine; `None` deletes the row.
    pub json: Option<String>,
}

/// What a [`Row`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKind {
    /// The desired value of a property, and how far it came.
    Desired,
    /// A value that a local client measured.
    Actual,
    /// An event that is active.
    Event,
}

/// A change that a local client asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalUpdate {
    /// The property.
    pub property: String,
    /// What it should be; kept over restarts until the Device's desired value changes.
    pub expected: Option<String>,
    /// What it is, from a client that measures by itself.
    pub actual: Option<String>,
}

/// A local update was refused and nothing of it was applied, or a call failed.
/// An update that the store did not keep is refused with 500.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct UpdateError {
    /// 400, 404, 409 or 500, as in KubeEdge. Calls also know 429, 502 (the device
    /// refused), 503 (nothing was sent) and 504 (nobody knows what became of it).
    pub code: u16,
    /// Why.
    pub reason: String,
}
