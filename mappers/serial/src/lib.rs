//! Reads and writes devices on serial ports whose protocol stands in their profile.
//!
//! Instruments, scales, receivers and controllers on serial lines each have a
//! little protocol of their own. [`Serial`] speaks all of those that can be
//! said in a few words: what to send ([`template`]), what an answer looks like
//! ([`pattern`], [`answer`]), where messages begin and end ([`framer`]), and
//! their [`checksum`]. When to ask, what goes first and what happens to a
//! device that does not answer is the SDK's.
//!
//! # Why this shape
//! Everything between the bytes and the values is pure and compiled once from
//! the configuration, so a mistake in a profile is told at its key and column,
//! and any stream of bytes can be tried in a test. [`driver`] is the only part
//! that touches a port. A pattern knows no alternatives and never goes back,
//! unlike regular expressions: it takes one pass, whatever a broken device
//! sends, and it looks like the lines in the device's manual.
//!
//! # Guarantees
//! - However the bytes are cut on their way, the same messages come out; after
//!   rubbish the next message is found, and what was dropped is counted.
//! - Equal requests of a device become one exchange.
//! - A text that is written cannot end its request and begin another one.
//! - A late answer is not taken for the answer to the next request.
//! - A port has one set of settings: a device with others is told whose they are.
//!
//! # Example
//! ```
//! use longshore_mapper_serial::Serial;
//! use longshore_sdk::{DeviceConfig, Protocol};
//! use serde_json::json;
//!
//! let serial = Serial::new(&json!({})).unwrap();
//! let device: DeviceConfig = serde_json::from_value(json!({
//!     "device": "default/supply",
//!     "protocol": {"url": "/dev/ttyUSB0", "baudRate": 9600},
//!     "points": [{"id": 1, "name": "voltage", "intervalMs": 1000, "type": "FLOAT",
//!                 "config": {"request": "MEAS:VOLT?\n", "response": "{value:float}"}}]
//! })).unwrap();
//! let parsed = serial.parse(&device).unwrap();
//! assert_eq!(parsed.bus.to_string(), "/dev/ttyUSB0");
//! assert_eq!(parsed.points[0].as_ref().unwrap().request(), Some(&b"MEAS:VOLT?\n"[..]));
//! ```

pub mod answer;
mod bus;
pub mod checksum;
mod config;
pub mod driver;
pub mod framer;
pub mod handshake;
mod io;
pub mod keys;
mod known;
mod options;
pub mod pattern;
mod plan;
mod point;
pub mod ports;
mod stream;
pub mod stuffing;
pub mod template;
#[cfg(test)]
mod tests;

pub use bus::{Bus, Flow, Link, Parity, Port, Settings, Unit};
pub use config::Serial;
pub use plan::Request;
pub use point::Point;

/// The mapper, ready to be exported.
pub type SerialMapper = longshore_sdk::ProtocolMapper<Serial>;

/// What may stand in the configurations, as JSON Schemas.
pub const SCHEMA: &str = include_str!("../schema.json");
