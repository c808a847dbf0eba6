//! A running simulator, as tests and programs hold it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use longshore_sim_world::{
    Clock, FaultRule, Faults, Problem, ScenarioError, World, WorldError, parse,
};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use crate::control;
use crate::device::{Count, Devices, Write};
use crate::scenario::{LineSpec, Scenario};
use crate::server::{self, Order, Port, Shared};

/// Why a simulator could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The scenario is wrong.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The file cannot be read.
    #[error("failed to read scenario `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
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
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
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
    stop: watch::Sender<bool>,
    endpoints: Vec<Endpoint>,
    tasks: Vec<JoinHandle<()>>,
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
        Self::from_scenario(file, parse(file, text)?, Clock::real())
    }

    /// The devices of a scenario file.
    ///
    /// # Errors
    /// As [`Simulator::new`], and when the file cannot be read.
    pub fn from_file(path: &Path) -> Result<Self, StartError> {
        let text = std::fs::read_to_string(path).map_err(|source| StartError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::new(&path.display().to_string(), &text)
    }

    /// The devices of a scenario with a clock of one's own.
    ///
    /// # Errors
    /// As [`Simulator::new`].
    pub fn from_scenario(file: &str, scenario: Scenario, clock: Clock) -> Result<Self, StartError> {
        let wrong = |problems: Vec<Problem>| ScenarioError::Content {
            file: file.to_owned(),
            problems,
        };
        let world = World::new(&scenario.world, clock);
        let world = world.map_err(|WorldError { problems }| {
            let inside = problems.into_iter().map(|problem| Problem {
                path: format!("world.{}", problem.path),
                ..problem
            });
            wrong(inside.collect())
        })?;
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
        let stop = watch::Sender::new(false);
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
                stop: stop.clone(),
            });
        }
        if !problems.is_empty() {
            return Err(wrong(problems).into());
        }
        for rule in scenario.faults {
            faults.add(rule, Instant::now());
        }
        Ok(Self {
            lines: shared,
            world,
            faults,
            stop,
            endpoints: Vec::new(),
            tasks: Vec::new(),
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
        self.tasks
            .push(tokio::spawn(server::serve_port(port, shared)));
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
        self.tasks
            .push(tokio::spawn(server::serve_listener(listener, shared)));
        Ok(bound)
    }

    /// Serves state and faults by HTTP; gives the address that was bound.
    ///
    /// # Errors
    /// The address cannot be used.
    pub async fn control(&mut self, address: SocketAddr) -> Result<SocketAddr, StartError> {
        let (listener, bound) = listen(address).await?;
        let state = control::Controlled {
            lines: self.lines.clone(),
            world: self.world.clone(),
            faults: self.faults.clone(),
        };
        let stop = self.stop.subscribe();
        self.tasks
            .push(tokio::spawn(control::serve(listener, state, stop)));
        Ok(bound)
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
        self.order(&Order::Noise(bytes.to_vec()));
    }

    /// Takes all ports away, and brings them back after a while.
    pub fn vanish(&self, away: Duration) {
        self.order(&Order::Vanish(away));
    }

    fn order(&self, order: &Order) {
        for line in &self.lines {
            // A line that nobody serves has nobody to hear it.
            let _ = line.orders.send(order.clone());
        }
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
    /// When it does not hold after ten seconds.
    pub async fn wait(&self, what: &str, mut holds: impl FnMut(&Self) -> Result<(), String>) {
        let end = Instant::now() + Duration::from_secs(10);
        while let Err(status) = holds(self) {
            assert!(Instant::now() < end, "waited in vain for {what}: {status}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends the simulator; when this returns, ports and links are gone.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        for task in std::mem::take(&mut self.tasks) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the simulator failed");
            }
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let wrong = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(wrong)?;
    let bound = listener.local_addr().map_err(wrong)?;
    Ok((listener, bound))
}
