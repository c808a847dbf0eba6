//! The command: its arguments, and what they start.

use std::{net::SocketAddr, path::PathBuf};

use longshore_sim_world::{
    ListenError, Tasks,
    run::{self, Simulation},
};
use serde_json::{Map, Value as Json, json};

use crate::builder::{StartError, opcua};
use crate::simulator::Simulator;

/// Simulates an OPC UA server: nodes that follow a scenario, and faults on demand.
///
/// Prints one line of JSON with its URL when it is ready, and runs until it is
/// interrupted.
#[derive(Debug, clap::Args)]
pub struct Program {
    /// The scenario file (YAML)
    scenario: PathBuf,
    /// Serve OPC UA here; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
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
        let builder = opcua().scenario_file(self.scenario)?;
        builder.listen(self.listen).try_start().await
    }

    fn hint(error: &StartError) -> Option<&'static str> {
        match error {
            StartError::Listen(error) => error.hint(),
            _ => None,
        }
    }
}

impl Simulation for Simulator {
    fn ready(&self) -> Map<String, Json> {
        Map::from_iter([
            ("url".to_owned(), json!(self.url())),
            ("listen".to_owned(), json!(self.addr().to_string())),
        ])
    }

    async fn control(&mut self, address: SocketAddr) -> Result<SocketAddr, ListenError> {
        Simulator::control(self, address).await
    }

    fn tasks(&mut self) -> &mut Tasks {
        &mut self.tasks
    }
}
