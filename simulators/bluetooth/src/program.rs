//! The command: its arguments, and what they start.

use std::{net::SocketAddr, path::PathBuf};

use longshore_sim_world::{
    ListenError, Tasks,
    run::{self, Simulation},
};
use serde_json::{Map, Value as Json, json};

use crate::simulator::{Simulator, StartError, bluetooth};

/// Simulates BlueZ and Bluetooth LE devices on a private D-Bus: advertisements
/// and GATT that follow a scenario, and faults on demand.
///
/// Prints one line of JSON with the bus's address when it is ready, and runs
/// until it is interrupted.
#[derive(Debug, clap::Args)]
pub struct Program {
    /// The scenario file (YAML)
    scenario: PathBuf,
    /// Join this D-Bus in place of starting a private one
    #[arg(long, value_name = "ADDRESS")]
    bus: Option<String>,
    /// Put the socket of the private D-Bus here [default: in a temporary folder]
    #[arg(long, value_name = "PATH", conflicts_with = "bus")]
    socket: Option<PathBuf>,
    /// Serve state and faults by HTTP here
    #[arg(long, value_name = "ADDRESS")]
    control: Option<SocketAddr>,
}

impl run::Program for Program {
    type Simulation = Simulator;
    type Error = StartError;

    fn control(&self) -> Option<SocketAddr> {
        self.control
    }

    async fn start(self) -> Result<Simulator, StartError> {
        let mut builder = bluetooth().scenario_file(&self.scenario)?;
        if let Some(address) = &self.bus {
            builder = builder.bus(address);
        }
        if let Some(socket) = &self.socket {
            builder = builder.socket(socket);
        }
        builder.try_start().await
    }

    fn hint(error: &StartError) -> Option<&'static str> {
        match error {
            StartError::Daemon(_) => Some("apt-get install dbus"),
            _ => None,
        }
    }
}

impl Simulation for Simulator {
    fn ready(&self) -> Map<String, Json> {
        Map::from_iter([("bus".to_owned(), json!(self.address()))])
    }

    async fn control(&mut self, address: SocketAddr) -> Result<SocketAddr, ListenError> {
        Simulator::control(self, address).await
    }

    fn tasks(&mut self) -> &mut Tasks {
        &mut self.tasks
    }
}
