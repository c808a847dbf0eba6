//! Makes the physical side of a simulated device: quantities that change over
//! time, react to what is written, and fail when told to.
//!
//! A simulator of a protocol (Modbus, OPC UA, …) binds its registers or nodes
//! to the [`World`]'s signals and asks for their values when it is read. The
//! world has no task and no timer of its own: it catches up with its [`Clock`]
//! when somebody looks. So a thousand simulated devices that nobody reads cost
//! nothing, and a test that steps the clock by hand sees the same values each
//! time.
//!
//! Beside the world stands what every simulator has around its protocol: the
//! life of its process and of its tasks ([`run`]), its HTTP face ([`control`]),
//! and the reading of its scenario files ([`scenario`]). What is left to a
//! simulator is its protocol.
//!
//! # Guarantees
//! - The same scenario, the same steps of a manual clock and the same writes
//!   give the same values, noise included (it is seeded).
//! - A scenario is checked as a whole: every fault is reported with its key path.
//! - No task dies unseen: one that panics ends the process with its name, or
//!   fails the test that stops the simulator.
//!
//! ```
//! use std::time::Duration;
//! use longshore_sim_world::{Clock, World, scenario};
//!
//! let spec = scenario::parse("room.yaml", "
//! signals:
//!   setpoint: {setpoint: {initial: 20, min: 5, max: 30}}
//!   temperature: {lag: {of: setpoint, seconds: 10}}
//! ").unwrap();
//! let clock = Clock::manual();
//! let world = World::new(&spec, clock.clone()).unwrap();
//! world.set("setpoint", 30.0).unwrap();
//! clock.advance(Duration::from_secs(100));
//! assert!((world.value("temperature").unwrap() - 30.0).abs() < 0.01);
//! ```

pub mod control;
pub mod run;
pub mod scenario;

mod clock;
mod fault;
mod signal;
mod world;

#[cfg(test)]
mod tests;

pub use clock::Clock;
pub use fault::{Fault, FaultRule, Faults, Rule};
pub use run::{ListenError, TaskFailed, Tasks};
pub use scenario::{Problem, ScenarioError};
pub use signal::{
    Counter, Hysteresis, Lag, Noise, Ramp, Select, Setpoint, SignalSpec, Source, Steps, Wave,
    WorldSpec,
};
pub use world::{SetError, SignalId, SignalState, Values, World, WorldError};
