//! Stands in for OPC UA devices: a server whose nodes follow a simulated
//! [`World`], and which fails when it is told to.
//!
//! It exists to find faults in mappers, so it shares no code with them: the
//! server is written from the specification (OPC 10000, parts 3 to 6 and 8),
//! which the code cites, and it is tested with foreign clients. What goes wrong
//! is data ([`Fault`], [`Simulator::status`], [`Simulator::delete`],
//! [`Simulator::restart_with`]), and what was really asked for is counted
//! ([`Simulator::counters`], [`Simulator::totals`]).
//!
//! Written here and not taken from a library, because that is what makes faults
//! exact: a server that loses its sessions but not its connections, that hears
//! everything and says nothing, or that takes 100 nodes in a read and not one
//! more. It has what field devices have without encryption: sessions, views,
//! attributes, methods, subscriptions. Security policies other than None are
//! for the foreign servers of the mapper's tests.
//!
//! # Guarantees
//! - A write is carried out wholly or not at all, and recorded if it was.
//! - A session outlives its connection until its timeout, and its subscriptions
//!   go on looking; what they have to say waits for the next publish request.
//! - Nothing is computed for a variable that nobody looks at.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use longshore_sim_opcua::{Fault, opcua};
//!
//! let press = opcua().yaml("
//! namespaces: [\"urn:example:press\"]
//! objects:
//!   - name: Press
//!     variables:
//!       - {name: Temperature, value: 21.5, range: [0, 200]}
//! ").start().await;
//! println!("a mapper would connect to {}", press.url());
//! press.set("ns=2;s=Press.Temperature", 22.0);
//! press.status("ns=2;s=Press.Temperature", "BadSensorFailure");
//! press.fault(Fault::Unresponsive);
//! press.clear_faults();
//! press.stop().await;
//! # });
//! ```

mod binary;
mod builder;
mod channel;
mod codes;
mod control;
mod core;
mod fault;
mod node_id;
mod plant;
mod program;
mod record;
mod scenario;
mod server;
mod service;
mod services;
mod simulator;
mod space;
mod standard;
mod status;
mod subscription;
mod time;
mod types;
mod value;

#[cfg(test)]
mod tests;

pub use builder::{Builder, StartError, opcua};
pub use fault::{Fault, FaultRule};
pub use longshore_sim_world::{Clock, World, WorldSpec};
pub use program::Program;
pub use record::{Called, Count, Totals, Write};
pub use scenario::{
    FieldSpec, FillSpec, InputSpec, Limits, MethodSpec, ObjectSpec, OutputSpec, Scenario,
    ServerSpec, TypeSpec, UnitSpec, VariableSpec,
};
pub use service::Service;
pub use simulator::{NodeError, RestartError, Simulator};
pub use status::{StatusCode, UnknownStatus};
