//! Where the parts of `edgecore` meet: what the twin engine asks of the bus,
//! and what the link tells about itself.
//!
//! Traits and plain data only, so that each side is tested with a fake of the
//! other.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use longshore_types::{
    DeviceName,
    report::{DeviceReport, PropertyReport},
};

/// The bus as the twin engine sees it. No call blocks or waits.
pub trait BusPort: Send + Sync + 'static {
    /// A number that changes whenever an answer of the `wants_*` functions may
    /// have changed, so that the engine asks once per device and not per batch.
    fn interest(&self) -> u64;

    /// Whether anybody listens to this exact topic. Nobody formats what nobody reads.
    fn wanted(&self, topic: &str) -> bool;

    /// Whether anybody listens to the device's KubeEdge topics of changes
    /// (`twin/update/document`, `twin/update/delta`, `twin/update/result`).
    fn wants_changes(&self, device: &DeviceName) -> bool;

    /// Publishes with QoS 0, not retained. The bus drops and counts what it
    /// cannot take.
    fn publish(&self, topic: &Arc<str>, payload: Bytes);

    /// Publishes retained, with QoS 1; an empty payload takes back what is
    /// retained. False when the bus has no room, so that the engine tries again.
    fn retain(&self, _topic: Arc<str>, _payload: Bytes) -> bool {
        true
    }

    /// Whether the bus can take what one more batch of readings brings. When
    /// not, the engine lets it send before it takes the next batch.
    fn has_room(&self) -> bool {
        true
    }

    /// Changes of one device, called only while [`BusPort::wants_changes`].
    fn changed(&self, change: DeviceChange);

    /// A device was added, or removed. The bus publishes KubeEdge's
    /// `membership/updated` when somebody wants it.
    fn membership(&self, change: MembershipChange);

    /// Whether clients can use the bus; the text says why not.
    fn ready(&self) -> Result<(), String>;
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

/// No bus: nothing is wanted, everything is dropped.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoBus;

impl BusPort for NoBus {
    fn interest(&self) -> u64 {
        0
    }
    fn wanted(&self, _topic: &str) -> bool {
        false
    }
    fn wants_changes(&self, _device: &DeviceName) -> bool {
        false
    }
    fn publish(&self, _topic: &Arc<str>, _payload: Bytes) {}
    fn changed(&self, _change: DeviceChange) {}
    fn membership(&self, _change: MembershipChange) {}
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The state of the link to the hub, published by `sync` in a `watch` channel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LinkState {
    /// No hub is configured: the node works alone.
    #[default]
    NoHub,
    /// Dialling, or waiting to dial again.
    Connecting {
        /// Why the former attempt failed, empty on the first one.
        reason: String,
    },
    /// The session is live.
    Connected,
}

impl LinkState {
    /// Whether records are on their way to the hub now.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected)
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHub => f.write_str("no hub configured"),
            Self::Connecting { reason } if reason.is_empty() => f.write_str("connecting"),
            Self::Connecting { reason } => write!(f, "connecting: {reason}"),
            Self::Connected => f.write_str("connected"),
        }
    }
}
