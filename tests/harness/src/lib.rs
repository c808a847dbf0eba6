//! A testbed for stories: real processes, real sockets, one line each.
//!
//! ```no_run
//! # async fn story() {
//! use longshore_harness::prelude::*;
//!
//! let plc = modbus().unit(1).register(40_001, 215).start().await;
//! let boiler = device("boiler").on(&plc).read_write("temperature", "FLOAT", json!({"address": "hr:0", "scale": 0.1}));
//! let edge = edge().device(&boiler).run().await;
//! edge.twin_is("boiler", "temperature", json!(21.5)).await;
//! # }
//! ```
//!
//! Everything is owned by the test: ports are free ones, folders temporary,
//! processes end with the value that stands for them. Nothing sleeps for luck:
//! each wait is for a condition, and says what it saw when it was in vain.

pub mod binaries;
pub mod clock;
pub mod control_plane;
pub mod edge;
pub mod hub;
pub mod kill;
pub mod kubectl;
pub mod manifest;
pub mod mqtt;
pub mod process;
pub mod simulator;
pub mod soak;
pub mod wait;

pub use longshore_sim_modbus::FaultRule;

/// What a story needs.
pub mod prelude {
    pub use longshore_sim_modbus::{Encoding, Fault, Kind, RawType, Simulator, modbus};
    pub use serde_json::{Value as Json, json};

    pub use crate::{
        control_plane::{Api, embedded, real},
        edge::{Edge, edge},
        hub::{Hub, hub},
        kubectl::kubectl,
        manifest::{DeviceManifest, device},
        mqtt::{Raw, subscribe, subscribe_as},
        simulator::simulator,
        soak::rounds,
        wait::{PATIENCE, counted, eventually},
    };
}
