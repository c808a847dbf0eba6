//! The command: its arguments, and what they start.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use longshore_sim_world::{
    ListenError, Tasks,
    run::{self, Simulation},
};
use serde_json::{Map, Value as Json, json};

use crate::builder::{StartError, modbus};
use crate::simulator::{Endpoint, Simulator};

/// Simulates Modbus devices: registers that follow a scenario, and faults on demand.
///
/// Prints one line of JSON with the bound addresses when it is ready, and runs
/// until it is interrupted.
#[derive(Debug, clap::Args)]
pub struct Program {
    /// The scenario file (YAML)
    #[arg(required_unless_present = "bench", conflicts_with = "bench")]
    scenario: Option<PathBuf>,
    /// Serve Modbus TCP here; port 0 takes a free one [default without any listener: 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS")]
    tcp: Vec<SocketAddr>,
    /// Serve RTU frames through TCP here
    #[arg(long, value_name = "ADDRESS")]
    rtu_tcp: Vec<SocketAddr>,
    /// Serve RTU on this serial port or pty
    #[arg(long, value_name = "PATH")]
    rtu: Vec<PathBuf>,
    /// Serve ASCII on this serial port or pty
    #[arg(long, value_name = "PATH")]
    ascii: Vec<PathBuf>,
    /// The speed of the serial ports
    #[arg(long, value_name = "N", default_value_t = 19_200)]
    baud: u32,
    /// Serve state and faults by HTTP here
    #[arg(long, value_name = "ADDRESS")]
    control: Option<SocketAddr>,
    /// Answer each request so many milliseconds after it came (never earlier, up to 1.1 ms later)
    #[arg(long, value_name = "N", default_value_t = 0)]
    delay_ms: u64,
    /// So many units with so many float32 each that change at each read, from address 0
    #[arg(long, value_name = "UNITS,FLOATS")]
    bench: Option<Bench>,
}

#[derive(Debug, Clone, Copy)]
struct Bench {
    units: u8,
    floats: u16,
}

/// Holding registers from 60000 on are for writing, so 30000 floats fit below.
const MOST_FLOATS: u16 = 30_000;

impl FromStr for Bench {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (units, floats) = text
            .split_once(',')
            .ok_or("expected UNITS,FLOATS like 100,1000")?;
        let units = units.trim().parse().ok().filter(|n| (1..=247).contains(n));
        let floats = floats
            .trim()
            .parse()
            .ok()
            .filter(|n| (1..=MOST_FLOATS).contains(n));
        Ok(Self {
            units: units.ok_or("there are 1 to 247 units")?,
            floats: floats.ok_or("there are 1 to 30000 floats in a unit")?,
        })
    }
}

impl run::Program for Program {
    type Simulation = Simulator;
    type Error = StartError;

    fn control(&self) -> Option<SocketAddr> {
        self.control
    }

    async fn start(self) -> Result<Simulator, StartError> {
        let mut builder = modbus().delay(Duration::from_millis(self.delay_ms));
        if let Some(file) = &self.scenario {
            builder = builder.scenario_file(file)?;
        }
        if let Some(bench) = self.bench {
            builder = builder.bench(bench.units, bench.floats);
        }
        for address in self.tcp {
            builder = builder.tcp(address);
        }
        for address in self.rtu_tcp {
            builder = builder.rtu_over_tcp_on(address);
        }
        for path in self.rtu {
            builder = builder.serial_at(path, self.baud);
        }
        for path in self.ascii {
            builder = builder.ascii_at(path, self.baud);
        }
        builder.try_start().await
    }

    fn hint(error: &StartError) -> Option<&'static str> {
        match error {
            StartError::Listen(error) => error.hint(),
            StartError::Serial { .. } => Some(
                "`socat -d -d pty,raw,echo=0,link=/tmp/line-a pty,raw,echo=0,link=/tmp/line-b` makes a pair of ports",
            ),
            _ => None,
        }
    }
}

impl Simulation for Simulator {
    fn ready(&self) -> Map<String, Json> {
        let endpoint = |endpoint: &Endpoint| match endpoint {
            Endpoint::Tcp(address) => ("tcp", address.to_string()),
            Endpoint::RtuTcp(address) => ("rtuTcp", address.to_string()),
            Endpoint::Rtu(path) => ("rtu", path.display().to_string()),
            Endpoint::Ascii(path) => ("ascii", path.display().to_string()),
        };
        let endpoints: Vec<_> = self.endpoints().iter().map(endpoint).collect();
        // The first of each kind under its own key, for scripts; all of them in `endpoints`.
        let mut line = Map::new();
        for (kind, address) in &endpoints {
            line.entry(*kind).or_insert_with(|| json!(address));
        }
        let all = endpoints
            .iter()
            .map(|(kind, address)| json!({*kind: address}));
        line.insert("endpoints".to_owned(), all.collect());
        line
    }

    async fn control(&mut self, address: SocketAddr) -> Result<SocketAddr, ListenError> {
        Simulator::control(self, address).await
    }

    fn tasks(&mut self) -> &mut Tasks {
        &mut self.tasks
    }
}
