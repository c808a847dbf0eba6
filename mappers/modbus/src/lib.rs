//! Reads and writes Modbus devices over TCP and serial lines.
//!
//! [`Modbus`] is the [`Protocol`](longshore_sdk::Protocol): what a device's
//! configuration means, which registers to read together, how bytes go over
//! the line. When to read, what goes first and what happens to a device that
//! does not answer is the SDK's.
//!
//! # Why this shape
//! The layers are those of the Modbus specifications: [`pdu`] is the
//! application protocol (V1.1b3), [`frame`] the three ways to put it on a line
//! (TCP's MBAP header; RTU and ASCII of "Modbus over Serial Line" V1.02),
//! [`driver`] the connection. One PDU codec serves all three framings. They
//! are our own and not tokio-modbus, because a client on a real line has to
//! skip a late answer and wait on for its own, to tell a wrong CRC from
//! silence, and to speak ASCII, and its client can do none of these. The tests
//! check the PDUs against that crate, and the whole against libmodbus and pymodbus.
//!
//! # Guarantees
//! - An answer satisfies only the request that it belongs to: transaction ids
//!   over TCP; unit, function, length and echo on serial lines.
//! - A refusal by the device (an exception) and a fault of the line are
//!   different errors. A wrong checksum costs one request, not the port.
//! - Exceptions of gateways that cannot reach a unit count as its silence.
//!
//! # Example
//! ```
//! use longshore_mapper_modbus::Modbus;
//! use longshore_sdk::{DeviceConfig, Protocol};
//! use serde_json::json;
//!
//! let modbus = Modbus::new(&json!({})).unwrap();
//! let device: DeviceConfig = serde_json::from_value(json!({
//!     "device": "default/boiler",
//!     "protocol": {"url": "tcp://192.0.2.7", "unit": 1},
//!     "points": [{"id": 1, "name": "temperature", "intervalMs": 1000, "type": "FLOAT",
//!                 "config": {"address": "ir:0", "rawType": "int16"}}]
//! })).unwrap();
//! let parsed = modbus.parse(&device).unwrap();
//! assert_eq!(parsed.bus.to_string(), "tcp://192.0.2.7:502");
//! assert!(parsed.points[0].is_ok());
//! ```

mod bus;
mod config;
mod discover;
pub mod driver;
pub mod frame;
mod io;
pub mod keys;
mod learned;
pub mod method;
mod pace;
pub mod pdu;
mod plan;
mod point;
#[cfg(test)]
mod tests;

pub use bus::{Bus, Close, Endpoint, Framing, Parity, Serial, Settings, Unit};
pub use config::Modbus;
pub use plan::Request;
pub use point::{Point, Table, WriteWith};

/// What may stand in the configurations, see [`longshore_sdk::schema`].
pub const SCHEMA: &str = include_str!("../schema.json");

/// The mapper, ready to be exported.
pub type ModbusMapper = longshore_sdk::ProtocolMapper<Modbus>;
