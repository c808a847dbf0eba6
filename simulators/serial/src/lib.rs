//! Stands in for devices on serial lines: instruments that answer, receivers
//! that talk by themselves, several devices on one RS-485 line.
//!
//! What a device understands and says is data, a [`Scenario`]; the quantities
//! behind it are signals of a simulated [`World`]. It exists to find faults in
//! mappers, so it shares no code with them: its checksums are table-driven, its
//! requests are matched by what the scenario says literally, and it is tested
//! against foreign clients. A line is a pty behind a link that stays, or bytes
//! through TCP. What goes wrong is data ([`Fault`]); beside that, noise can
//! appear on a line ([`Simulator::noise`]) and the port can go and come back
//! ([`Simulator::vanish`]), as a USB adapter does.
//!
//! # Guarantees
//! - A request is carried out wholly or not at all: a value that a setpoint
//!   does not take is refused, and nothing is set.
//! - What a slow answer waits for holds up no other line.
//! - The link is gone when the simulator is.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use longshore_sim_serial::{Fault, Simulator};
//!
//! let mut supply = Simulator::new("supply.yaml", "
//! world: {signals: {voltage: {setpoint: {initial: 5, max: 30}}}}
//! units:
//!   - unit: 1
//!     answers:
//!       - {request: 'VOLT {voltage}'}
//!       - {request: 'VOLT?', response: '{voltage:.3}'}
//! ").unwrap();
//! let address = supply.tcp(None, "127.0.0.1:0".parse().unwrap()).await.unwrap();
//! println!("a mapper would connect to tcp://{address}");
//! supply.fault(Fault::Unresponsive);
//! supply.clear_faults();
//! assert_eq!(supply.count(1).requests, 0);
//! supply.stop().await;
//! # });
//! ```

mod checksum;
mod control;
mod device;
mod program;
mod scenario;
mod server;
mod simulator;
mod text;
mod unit;

pub use checksum::ChecksumKind;
pub use device::{Count, Write};
pub use longshore_sim_world::{Clock, Fault, FaultRule, World, WorldSpec};
pub use program::{Program, Served};
pub use scenario::{AnswerSpec, BinarySpec, LineSpec, Scenario, StreamSpec, UnitSpec};
pub use simulator::{Endpoint, Simulator, StartError};
