//! A running simulator, as tests and programs hold it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use longshore_sim_world::{
    Clock, FaultRule, Faults, ListenError, Problem, ScenarioError, Tasks, World,
    run::{self, listen},
    scenario::{self, parse},
};
use tokio::sync::broadcast;

use crate::control;
use crate::device::{Count, Devices, Write};
use crate::scenario::{LineSpec, Scenario};
use crate::server::{self, Order, Port, Shared, order};

/// Why a simulator could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The scenario is wrong.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// No pty could be made or linked.
    #[error("failed to make the port {path}")]
    Port {
        /// The link.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The scenario has no such line.
    #[error("the scenario has no line `{0}`")]
    NoLine(String),
}

/// Devices of a scenario, before they have ports.
#[derive(Debug)]
pub struct Simulator {
    lines: Vec<Shared>,
    world: World,
    faults: Arc<Faults>,
    endpoints: Vec<Endpoint>,
    pub(crate) tasks: Tasks,
}

/// Where a line can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A pty at this link.
    Port {
        /// The line.
        line: String,
        /// The link.
        path: PathBuf,
    },
    /// Bytes through TCP.
    Tcp {
        /// The line.
        line: String,
        /// The address.
        address: SocketAddr,
    },
}

impl Simulator {
    /// The devices of a scenario; `file` only serves the error's text.
    ///
    /// # Errors
    /// All that is wrong with the scenario, each at its key path.
    pub fn new(file: &str, text: &str) -> Result<Self, StartError> {
        Ok(Self::from_scenario(
            file,
            parse(file, text)?,
            Clock::real(),
        )?)
    }

    /// The devices of a scenario file.
    ///
    /// # Errors
    /// As [`Simulator::new`], and when the file cannot be read.
    pub fn from_file(path: &Path) -> Result<Self, StartError> {
        let simulator = scenario::read(path, |file, text| {
            Self::from_scenario(file, parse(file, text)?, Clock::real())
        });
        Ok(simulator?)
    }

    /// The devices of a scenario with a clock of one's own.
    ///
    /// # Errors
    /// As [`Simulator::new`].
    pub fn from_scenario(
        file: &str,
        scenario: Scenario,
        clock: Clock,
    ) -> Result<Self, ScenarioError> {
        let world = match World::new(&scenario.world, clock) {
            Ok(world) => world,
            Err(error) => {
                return Err(ScenarioError::Content {
                    file: file.to_owned(),
                    problems: error.in_scenario(),
                });
            }
        };
        let mut problems = Vec::new();
        let mut lines = scenario.lines;
        if !scenario.units.is_empty() {
            lines.insert(
                0,
                LineSpec {
                    name: "line".to_owned(),
                    units: scenario.units,
                },
            );
        }
        if lines.is_empty() {
            problems.push(Problem::new("units", "there are none"));
        }
        let faults = Arc::new(Faults::default());
        let tasks = Tasks::default();
        let mut shared = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            let path = match line.name.as_str() {
                "line" => "units".to_owned(),
                _ => format!("lines[{index}].units"),
            };
            let devices = Devices::new(
                &line.name,
                &line.units,
                &world,
                &faults,
                &path,
                &mut problems,
            );
            shared.push(Shared {
                devices: Arc::new(devices),
                orders: broadcast::Sender::new(16),
                stop: tasks.stopping(),
            });
        }
        scenario::check(file, problems)?;
        for rule in scenario.faults {
            faults.add(rule, Instant::now());
        }
        Ok(Self {
            lines: shared,
            world,
            faults,
            endpoints: Vec::new(),
            tasks,
        })
    }

    /// The names of the lines, in the order of the scenario.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|line| line.devices.name.as_str())
    }

    fn line(&self, name: Option<&str>) -> Result<&Shared, StartError> {
        let found = match name {
            None => self.lines.first(),
            Some(name) => self.lines.iter().find(|line| line.devices.name == name),
        };
        found.ok_or_else(|| StartError::NoLine(name.unwrap_or_default().to_owned()))
    }

    /// Serves a line, the first one if none is named, on a pty at a link.
    ///
    /// # Errors
    /// There is no such line, or no pty can be made.
    pub fn port(&mut self, line: Option<&str>, link: &Path) -> Result<(), StartError> {
        let shared = self.line(line)?.clone();
        let port = Port::open(link).map_err(|source| StartError::Port {
            path: link.to_owned(),
            source,
        })?;
        self.endpoints.push(Endpoint::Port {
            line: shared.devices.name.clone(),
            path: link.to_owned(),
        });
        let title = format!("port {}", link.display());
        self.tasks.spawn(title, server::serve_port(port, shared));
        Ok(())
    }

    /// Serves a line, the first one if none is named, through TCP; gives the
    /// address that was bound.
    ///
    /// # Errors
    /// There is no such line, or the address cannot be used.
    pub async fn tcp(
        &mut self,
        line: Option<&str>,
        address: SocketAddr,
    ) -> Result<SocketAddr, StartError> {
        let shared = self.line(line)?.clone();
        let (listener, bound) = listen(address).await?;
        self.endpoints.push(Endpoint::Tcp {
            line: shared.devices.name.clone(),
            address: bound,
        });
        let task = server::serve_listener(listener, shared);
        self.tasks.spawn(format!("listener {bound}"), task);
        Ok(bound)
    }

    /// Serves state and faults by HTTP; gives the address that was bound.
    ///
    /// # Errors
    /// The address cannot be used.
    pub async fn control(&mut self, address: SocketAddr) -> Result<SocketAddr, ListenError> {
        let state = control::Controlled {
            lines: self.lines.clone(),
            world: self.world.clone(),
            faults: self.faults.clone(),
        };
        self.tasks.serve(address, control::router(state)).await
    }

    /// All places where the lines can be reached.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The world behind the devices.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Puts a fault into force: a `Fault` for every device, or a [`FaultRule`] with its limits.
    pub fn fault(&self, fault: impl Into<FaultRule>) {
        self.faults.add(fault.into(), Instant::now());
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.faults.clear();
    }

    /// Puts bytes on all lines that no device has sent.
    pub fn noise(&self, bytes: &[u8]) {
        order(&self.lines, &Order::Noise(bytes.to_vec()));
    }

    /// Takes all ports away, and brings them back after a while.
    pub fn vanish(&self, away: Duration) {
        order(&self.lines, &Order::Vanish(away));
    }

    /// What a device has done.
    #[must_use]
    pub fn count(&self, unit: u8) -> Count {
        let mut sum = Count::default();
        for line in &self.lines {
            let count = line.devices.count(unit);
            sum.requests += count.requests;
            sum.faults += count.faults;
            sum.sent += count.sent;
        }
        sum
    }

    /// The latest requests on all lines, understood or not, each line's oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.lines
            .iter()
            .flat_map(|line| line.devices.requests())
            .collect()
    }

    /// The latest setpoints that were set, each line's oldest first.
    #[must_use]
    pub fn writes(&self) -> Vec<Write> {
        self.lines
            .iter()
            .flat_map(|line| line.devices.writes())
            .collect()
    }

    /// Forgets counts, requests and writes; values and faults stay.
    pub fn reset_counters(&self) {
        for line in &self.lines {
            line.devices.forget();
        }
    }

    /// Waits until a condition holds; while it does not, it says what is instead.
    ///
    /// # Panics
    /// When it does not hold after a minute.
    pub async fn wait(&self, what: &str, mut holds: impl FnMut(&Self) -> Result<(), String>) {
        run::wait(what, || holds(self)).await;
    }

    /// Ends the simulator; when this returns, ports and links are gone.
    ///
    /// # Panics
    /// When a task of it has panicked: a fake that fails, fails its test.
    pub async fn stop(mut self) {
        if let Err(failed) = self.tasks.stop().await {
            panic!("{failed}");
        }
    }
}
