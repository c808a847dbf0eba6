//! A simulator as a process of its own, for protocols whose simulator is no
//! part of the testbed.

use std::{path::Path, process::Command};

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::{binaries, process::Process, wait::eventually};

/// A running `longshore-sim`.
pub struct SimulatorProcess {
    _process: Process,
    _folder: TempDir,
    url: String,
}

/// Starts the simulator of a protocol with this scenario, on a free port.
pub async fn simulator(protocol: &str, scenario: &Path) -> SimulatorProcess {
    let name = format!("sim-{protocol}");
    let folder = TempDir::new().expect("a temporary folder");
    let mut command = Command::new(binaries::binary("longshore-sim"));
    command.arg(protocol).arg(scenario).args([
        "--listen",
        "127.0.0.1:0",
        "--control",
        "127.0.0.1:0",
    ]);
    let process = Process::start(&name, &mut command, folder.path());
    let url = eventually(&format!("{name} to say its URL"), || async {
        let log = process.log();
        let mut lines = log.lines().filter_map(|line| {
            let line: Json = serde_json::from_str(line).ok()?;
            line["url"].as_str().map(str::to_owned)
        });
        lines.next().ok_or_else(|| process.log_tail())
    })
    .await;
    SimulatorProcess {
        _process: process,
        _folder: folder,
        url,
    }
}

impl SimulatorProcess {
    /// Where it is served.
    pub fn url(&self) -> &str {
        &self.url
    }
}
