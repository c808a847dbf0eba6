//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};

/// Measures the edge: size, memory, start, throughput, write latency.
#[derive(Debug, Parser)]
#[command(name = "longshore-bench", version)]
pub struct Args {
    /// Measure only these
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    pub only: Vec<Part>,
    /// Write all that was measured as JSON, too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Seconds that each load is watched, once it flows
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(2..))]
    pub seconds: u64,
    /// Points each second, each a load of its own
    #[arg(long, value_delimiter = ',', value_name = "N", default_values_t = [1_000, 10_000, 100_000, 300_000])]
    pub loads: Vec<u32>,
    /// Writes whose latency is measured
    #[arg(long, value_name = "N", default_value_t = 400)]
    pub writes: u32,
    /// Cold starts
    #[arg(long, value_name = "N", default_value_t = 15)]
    pub starts: u32,
    /// Folder of edgecore and the simulators, and of the mappers there or in ../lib/mappers [default: beside this program, else target/release]
    #[arg(long, value_name = "FOLDER")]
    pub programs: Option<PathBuf>,
    /// Keep the folders of the nodes, with their logs, and say where they are
    #[arg(long)]
    pub keep: bool,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Files on the disk
    Size,
    /// Memory of a node with one device
    Idle,
    /// Wake-ups of a node with nothing to do
    Wakeups,
    /// From the start of the process to the first reading
    Start,
    /// The same with 100,000 points: the first request, and all of them read
    Fleet,
    /// Throughput up to the subscriber
    Load,
    /// The same with a subscriber of KubeEdge's documents
    Documents,
    /// Latency of writes under load
    Writes,
    /// A desired value from the API server to the device and back
    Confirm,
    /// Updates that are on the disk when they are answered, and what the flash pays
    Durable,
    /// What a linked node writes to its disk by itself
    Flash,
    /// What a status costs the hub's API server
    Status,
    /// The most that one core sustains
    Limit,
    /// What a silent unit costs the others on its bus
    Silent,
    /// Memory of one mapper child with one device, for each protocol
    Children,
    /// 10,000 OPC UA nodes that change, subscribed to and polled
    Opcua,
}

impl Args {
    /// Whether a part is to be measured.
    pub fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// How long a load is watched.
    pub fn window(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}
