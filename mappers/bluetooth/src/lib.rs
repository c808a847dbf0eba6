//! Reads and writes Bluetooth LE devices, through BlueZ.
//!
//! [`Bluetooth`] is the [`Protocol`](longshore_sdk::Protocol): what a device's
//! configuration means, how its bytes become values, how BlueZ is asked for
//! them. When to read, what goes first and what happens to a device that does
//! not answer is the SDK's.
//!
//! # Why this shape
//! [`advert`], [`gatt`] and [`point`] are bytes and their meaning, without any
//! input or output; [`bluez`] is BlueZ's tree of objects and the one connection
//! to D-Bus that all devices share; [`driver`] is the way to one device. Each
//! device is a bus of its own: making a connection takes seconds, and must not
//! hold up another. BlueZ is asked over D-Bus, and not the kernel, because it
//! owns the adapter: pairing, caches and other programs stay as they are.
//!
//! # Guarantees
//! - Nothing of a device is changed but what a property is written to: no
//!   pairing without `pair`, no connection when listening is enough.
//! - An adapter that is pulled, bluetoothd that restarts and a device that goes
//!   away are three different messages, and all of them are got over.
//! - A value keeps the time at which it was heard.
//!
//! # Example
//! ```
//! use longshore_mapper_bluetooth::Bluetooth;
//! use longshore_sdk::{DeviceConfig, Protocol};
//! use serde_json::json;
//!
//! let bluetooth = Bluetooth::new(&json!({})).unwrap();
//! let device: DeviceConfig = serde_json::from_value(json!({
//!     "device": "default/belt",
//!     "protocol": {"name": "Polar H10 12345678"},
//!     "points": [{"id": 1, "name": "heartRate", "intervalMs": 0, "type": "INT",
//!                 "config": {"service": "180d", "characteristic": "2a37"}}]
//! })).unwrap();
//! let parsed = bluetooth.parse(&device).unwrap();
//! assert!(parsed.points[0].as_ref().unwrap().pushed, "it is only sent");
//! ```

pub mod advert;
pub mod bluez;
mod bus;
mod config;
mod discover;
pub mod driver;
pub mod gatt;
pub mod keys;
mod kubeedge;
mod plan;
pub mod point;
#[cfg(test)]
mod tests;
mod uuid;
mod value;

pub use bus::{Bus, Target, Unit};
pub use config::Bluetooth;
pub use uuid::{Uuid, UuidError};
pub use value::Value;

/// The mapper, ready to be exported.
pub type BluetoothMapper = longshore_sdk::ProtocolMapper<Bluetooth>;

/// What may stand in its configurations, as JSON Schema.
pub const SCHEMA: &str = include_str!("../schema.json");
