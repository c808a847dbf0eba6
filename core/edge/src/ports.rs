//! Where the parts of `edgecore` meet: what the twin engine's task asks of the bus,
//! and what the link tells about itself.
//!
//! Traits and plain data only, so that each side is tested with a fake of the
//! other.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use longshore_twin::{Interest, Message, Nobody};

/// The bus as the twin engine's task sees it. No call blocks or waits.
pub trait BusPort: Interest {
    /// Publishes, not retained. The bus drops and counts what it cannot take.
    fn send(&self, message: Message);

    /// Publishes what no later message stands for. False when the bus has no room,
    /// so that it is told again.
    fn try_send(&self, message: Message) -> bool;

    /// Publishes retained, with QoS 1; an empty payload takes back what is
    /// retained. False when the bus has no room, so that the engine tries again.
    fn retain(&self, topic: Arc<str>, payload: Bytes) -> bool;

    /// Whether the bus can take what one more batch of readings brings. When
    /// not, the engine's task lets it send before it takes the next batch.
    fn has_room(&self) -> bool {
        true
    }

    /// Whether clients can use the bus; the text says why not.
    fn ready(&self) -> Result<(), String>;
}

impl BusPort for Nobody {
    fn send(&self, _message: Message) {}
    fn try_send(&self, _message: Message) -> bool {
        true
    }
    fn retain(&self, _topic: Arc<str>, _payload: Bytes) -> bool {
        true
    }
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
