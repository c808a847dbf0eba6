//! The command: its arguments, and what they start.

use std::{fs, net::SocketAddr, path::PathBuf, str::FromStr};

use longshore_sim_world::{
    ListenError, Tasks,
    run::{self, Simulation},
};
use serde_json::{Map, Value as Json, json};

use crate::simulator::{Endpoint, Simulator, StartError};

/// Simulates devices on serial lines: what they say stands in a scenario.
///
/// Prints one line of JSON with the ports when it is ready, and runs until it
/// is interrupted. A scenario with several lines wants NAME= before a place.
#[derive(Debug, clap::Args)]
pub struct Program {
    /// The scenario file (YAML)
    scenario: PathBuf,
    /// Make a pty and link it here [default without any place: a link for each line in a temporary folder]
    #[arg(long, value_name = "[NAME=]PATH")]
    port_link: Vec<Place<PathBuf>>,
    /// Serve the line's bytes through TCP here; port 0 takes a free one
    #[arg(long, value_name = "[NAME=]ADDRESS")]
    tcp: Vec<Place<SocketAddr>>,
    /// Serve state and faults by HTTP here
    #[arg(long, value_name = "ADDRESS")]
    control: Option<SocketAddr>,
}

/// A place for a line.
#[derive(Debug, Clone)]
struct Place<T> {
    line: Option<String>,
    at: T,
}

impl<T: FromStr> FromStr for Place<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        let (line, at) = match text.split_once('=') {
            Some((line, at)) => (Some(line.to_owned()), at),
            None => (None, text),
        };
        Ok(Self {
            line,
            at: at.parse()?,
        })
    }
}

/// The devices, and the folder of their ports where nobody named a place.
#[derive(Debug)]
pub struct Served {
    // Dropped first: it takes its links out of the folder.
    simulator: Simulator,
    _folder: Option<Folder>,
}

impl run::Program for Program {
    type Simulation = Served;
    type Error = StartError;

    fn control(&self) -> Option<SocketAddr> {
        self.control
    }

    async fn start(self) -> Result<Served, StartError> {
        let mut simulator = Simulator::from_file(&self.scenario)?;
        for place in &self.port_link {
            simulator.port(place.line.as_deref(), &place.at)?;
        }
        for place in &self.tcp {
            simulator.tcp(place.line.as_deref(), place.at).await?;
        }
        let folder = match self.port_link.is_empty() && self.tcp.is_empty() {
            true => Some(own_links(&mut simulator)?),
            false => None,
        };
        Ok(Served {
            simulator,
            _folder: folder,
        })
    }

    fn hint(error: &StartError) -> Option<&'static str> {
        match error {
            StartError::Listen(error) => error.hint(),
            _ => None,
        }
    }
}

/// A folder of this process.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, StartError> {
        let path = std::env::temp_dir().join(format!("sim-serial-{}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(StartError::Port { path, source }),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Its links are gone; what somebody else has put there stays.
        let _ = fs::remove_dir(&self.0);
    }
}

/// A link for each line.
fn own_links(simulator: &mut Simulator) -> Result<Folder, StartError> {
    let folder = Folder::make()?;
    let lines: Vec<String> = simulator.lines().map(str::to_owned).collect();
    for line in lines {
        simulator.port(Some(&line), &folder.0.join(&line))?;
    }
    Ok(folder)
}

impl Simulation for Served {
    fn ready(&self) -> Map<String, Json> {
        let mut ready = Map::new();
        let mut lines = Map::new();
        for endpoint in self.simulator.endpoints() {
            let (line, kind, url) = match endpoint {
                Endpoint::Port { line, path } => (line, "port", path.display().to_string()),
                Endpoint::Tcp { line, address } => (line, "tcp", format!("tcp://{address}")),
            };
            // The first place under `url`, for scripts; those of each line in `lines`.
            ready.entry("url").or_insert_with(|| json!(url));
            ready.entry(kind).or_insert_with(|| json!(url));
            let of_line = lines.entry(line.clone()).or_insert_with(|| json!({}));
            if let Json::Object(of_line) = of_line {
                of_line.entry(kind).or_insert_with(|| json!(url));
            }
        }
        ready.insert("lines".to_owned(), Json::Object(lines));
        ready
    }

    async fn control(&mut self, address: SocketAddr) -> Result<SocketAddr, ListenError> {
        self.simulator.control(address).await
    }

    fn tasks(&mut self) -> &mut Tasks {
        &mut self.simulator.tasks
    }
}
