//! Stands in for Modbus devices: several units behind TCP, RTU and ASCII, with
//! registers that follow a simulated [`World`].
//!
//! It exists to find faults in mappers, so it shares no code with them: the
//! codec is written from the specifications, which the code cites (Modbus
//! Application Protocol V1.1b3, Messaging on TCP/IP Implementation Guide
//! V1.0b, Modbus over Serial Line V1.02), and it is tested against foreign
//! clients. What goes wrong is data ([`Fault`]), and what was really asked for
//! is counted ([`Simulator::reads`], [`Simulator::writes`]).
//!
//! # Guarantees
//! - A write is carried out wholly or not at all, and recorded if it was.
//! - A register that shows a setpoint sets it; any other signal refuses writes
//!   with exception 2, a value outside of a setpoint's limits gets exception 3.
//! - A slow answer never holds up another connection.
//! - Reading ranges that change ([`Builder::changing_floats`]) allocates nothing.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use longshore_sim_modbus::{Fault, modbus};
//!
//! let plc = modbus().unit(1).register(40_001, 215).start().await;
//! println!("a mapper would connect to {}", plc.addr());
//! assert_eq!(plc.holding(1, 0), 215);
//! plc.fault(Fault::Unresponsive);
//! plc.clear_faults();
//! assert_eq!(plc.reads().requests(), 0);
//! plc.stop().await;
//! # });
//! ```

mod builder;
mod control;
mod encoding;
mod frame;
mod line;
mod pdu;
mod program;
mod record;
mod scenario;
mod server;
mod simulator;
mod table;
mod unit;

#[cfg(test)]
mod tests;

pub use builder::{Builder, StartError, modbus};
pub use encoding::{Encoding, RawType, WordOrder};
pub use longshore_sim_world::{Clock, Fault, FaultRule, World, WorldSpec};
pub use program::Program;
pub use record::{Count, Counters, LineCounters, Request, Write};
pub use scenario::{Entry, FillSpec, Literal, Scenario, UnitSpec};
pub use simulator::{Endpoint, Simulator};
pub use table::{Change, Kind};
