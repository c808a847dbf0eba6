//! Watches, reads, writes and calls what OPC UA servers have.
//!
//! [`Opcua`] is the [`Protocol`](longshore_sdk::Protocol): what a device's
//! configuration means, how to log on to a server, how to have thousands of
//! nodes watched. When to dial, what goes first and what happens to a server
//! that does not answer is the SDK's.
//!
//! # Why this shape
//! The bytes, the secure channel and its cryptography are async-opcua's. The
//! session is our own ([`driver`]): that library's redials by itself and calls
//! back, while a bus has to say that it is down, to lose nothing when a call is
//! given up, and to leave the pauses to the schedule. What is to be watched is a
//! state machine without input and output; a request under way lives in the
//! connection and not in the call that waits for it.
//!
//! # Guarantees
//! - A node that the server refuses waits alone, with growing pauses; the
//!   others know nothing of it. One that comes back is found without a restart.
//! - A namespace that is named by its URI follows its index.
//! - After a cut the former session is picked up where the server still has
//!   it, and what was missed is asked for; else its subscriptions are taken
//!   over, or made anew.
//! - All values of a notification are given, in order, with the source's time.
//! - No server is trusted that nobody has accepted, unless the configuration
//!   says so.
//!
//! # Example
//! ```
//! use longshore_mapper_opcua::Opcua;
//! use longshore_sdk::{DeviceConfig, Protocol};
//! use serde_json::json;
//!
//! let opcua = Opcua::new(&json!({})).unwrap();
//! let device: DeviceConfig = serde_json::from_value(json!({
//!     "device": "default/press",
//!     "protocol": {"url": "opc.tcp://192.0.2.7", "security": {"policy": "none"}},
//!     "points": [{"id": 1, "name": "temperature", "intervalMs": 1000, "type": "DOUBLE",
//!                 "config": {"node": "nsu=urn:vendor:press;s=Temperature"}}]
//! })).unwrap();
//! let parsed = opcua.parse(&device).unwrap();
//! assert_eq!(parsed.bus.to_string(), "opc.tcp://192.0.2.7:4840");
//! assert!(parsed.points[0].is_ok());
//! ```

mod batch;
mod bounded;
mod bus;
mod channel;
mod codec;
mod config;
mod discover;
pub mod driver;
mod encode;
mod endpoint;
mod field;
#[doc(hidden)]
pub mod fuzzing;
mod issuer;
pub mod keys;
mod loader;
mod login;
mod method;
mod node;
mod pki;
mod plan;
mod point;
mod range;
mod room;
mod server;
mod session;
mod structure;
mod subscription;
#[cfg(test)]
mod tests;
mod transport;
mod wire;
mod write;

pub use bus::{Bounds, Bus, Mode, Password, Policy, Security, Trust, Unit, Url, User};
pub use config::Opcua;
pub use node::{Namespace, NodeName, Place};
pub use plan::Request;
pub use point::{Deadband, Field, Point, Step, Watch};

/// The mapper, ready to be exported.
pub type OpcuaMapper = longshore_sdk::ProtocolMapper<Opcua>;

/// The schema of the configuration, as `export_mapper!` puts it into the library.
pub const SCHEMA: &str = include_str!("../schema.json");
