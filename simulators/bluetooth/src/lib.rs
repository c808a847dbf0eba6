//! Stands in for BlueZ and Bluetooth LE devices: an `org.bluez` on a private
//! D-Bus, with adapters, advertisements and GATT that follow a simulated [`World`].
//!
//! It exists to find faults in mappers, so it shares no code with them. The
//! interfaces are those of BlueZ's documentation; the tests compare their shape
//! with python-dbusmock's. No kernel and no radio is needed: what a client sees
//! of Bluetooth is only what BlueZ says on the bus. What goes wrong is data
//! ([`Fault`]), and what was really asked for is counted ([`Counters`]).
//!
//! # Guarantees
//! - Advertisements reach the bus only while somebody has discovery on, devices
//!   are objects only once they were heard, and a client that leaves takes its
//!   discovery and notifications along: as with the real one.
//! - A slow or silent device never holds up another.
//! - The bus ends with the process, also when it is killed.
//!
//! ```no_run
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use longshore_sim_bluetooth::{Fault, FaultRule, bluetooth};
//!
//! let radio = bluetooth().yaml("devices: [{address: 'A4:C1:38:00:00:01', name: tag}]").start().await;
//! println!("a mapper would use bus: {}", radio.address());
//! radio.fault(FaultRule::from(Fault::Silent).on("tag"));
//! radio.stop().await;
//! # });
//! ```

mod bytes;
mod control;
mod daemon;
mod fault;
mod introspect;
mod model;
mod program;
mod scenario;
mod server;
mod simulator;

pub use daemon::{Daemon, DaemonError};
pub use fault::{Fault, FaultRule};
pub use longshore_sim_world::{Clock, World, WorldSpec};
pub use model::{Counters, Write};
pub use program::Program;
pub use scenario::{
    AdapterSpec, CharacteristicSpec, DeviceSpec, FieldSpec, NumberType, PacketSpec, Scenario,
    ServiceSpec,
};
pub use simulator::{Builder, DeviceState, Simulator, StartError, bluetooth};
