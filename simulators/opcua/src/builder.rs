//! From a scenario to a running simulator.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use longshore_sim_world::{
    Clock, ListenError, Problem, ScenarioError, Tasks, World, WorldError,
    run::{listen, started},
    scenario::list,
};
use tokio::sync::mpsc;

use crate::core::Core;
use crate::scenario::Scenario;
use crate::server::{self, Shared};
use crate::simulator::Simulator;

/// Starts the description of a simulator: an OPC UA server with an empty
/// Objects folder on a free port of 127.0.0.1.
#[must_use]
pub fn opcua() -> Builder {
    Builder {
        scenario: Ok(Scenario::default()),
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        clock: Clock::real(),
    }
}

/// A simulator that is being described. Binds nothing until it is started.
#[derive(Debug)]
pub struct Builder {
    scenario: Result<Scenario, ScenarioError>,
    address: SocketAddr,
    clock: Clock,
}

/// A simulator that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The scenario is wrong.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The signals are wrong.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The nodes are wrong.
    #[error("the nodes do not work: {}", list(problems))]
    Nodes {
        /// All that is wrong.
        problems: Vec<Problem>,
    },
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

impl Builder {
    /// Takes everything from a scenario.
    #[must_use]
    pub fn scenario(mut self, scenario: &Scenario) -> Self {
        self.scenario = Ok(scenario.clone());
        self
    }

    /// Takes everything from a scenario's text; what is wrong there shows at the start.
    #[must_use]
    pub fn yaml(mut self, text: &str) -> Self {
        self.scenario = Scenario::parse("the scenario", text);
        self
    }

    /// Takes everything from a scenario file.
    ///
    /// # Errors
    /// The file cannot be read or is wrong.
    pub fn scenario_file(mut self, path: impl AsRef<Path>) -> Result<Self, StartError> {
        self.scenario = Ok(Scenario::read(path.as_ref())?);
        Ok(self)
    }

    /// Listens there; port 0 takes a free one.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Lets the world's time go by this clock.
    #[must_use]
    pub fn clock(mut self, clock: &Clock) -> Self {
        self.clock = clock.clone();
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it cannot start, with the reason.
    pub async fn start(self) -> Simulator {
        started(self.try_start().await)
    }

    /// Starts it.
    ///
    /// # Errors
    /// The scenario is wrong, or the port cannot be had.
    pub async fn try_start(self) -> Result<Simulator, StartError> {
        let scenario = self.scenario?;
        let path = scenario.server.path.clone();
        let world = World::new(&scenario.world, self.clock)?;
        let core =
            Core::new(scenario, &world).map_err(|problems| StartError::Nodes { problems })?;
        let shared = Arc::new(Shared::new(core));
        let (listener, address) = listen(self.address).await?;
        // A second restart waits until the first is over.
        let (away, commands) = mpsc::channel(1);
        let mut tasks = Tasks::default();
        let clock = server::clock(Arc::clone(&shared), tasks.stopping());
        tasks.spawn("clock", clock);
        let listener = server::listen(listener, Arc::clone(&shared), tasks.stopping(), commands);
        tasks.spawn("listener", listener);
        Ok(Simulator::new(shared, world, away, (address, path), tasks))
    }
}
