//! The edge under test: `edgecore` with its mapper child, and a hub if asked for.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::{
    http,
    procfs::{self, Cpu, Memory},
    programs::Programs,
    report, wait,
};

/// How long anything may take to start.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(20);

/// A child that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; both then say so, and nothing is left to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The one mapper of a node.
pub struct Mapper {
    /// Its name, which is that of its protocol.
    pub protocol: &'static str,
    /// The library.
    pub file: PathBuf,
    /// Its own configuration.
    pub config: Json,
}

/// The folder of a node: configuration, manifests and state.
pub struct Home {
    folder: TempDir,
    bus: SocketAddr,
    metrics: SocketAddr,
}

/// A running node.
pub struct Node {
    process: Running,
    bus: SocketAddr,
    metrics: SocketAddr,
    folder: PathBuf,
    /// Just before the process was made.
    pub started: Instant,
}

impl Home {
    /// Writes configuration and manifests. The ports are fixed, so that clients
    /// can knock before the node is there.
    pub fn new(
        programs: &Programs,
        manifests: &[(String, String)],
        hub: Option<&Hub>,
        keep: bool,
    ) -> anyhow::Result<Self> {
        let membership = hub.map(|hub| hub.membership(programs)).transpose()?;
        let modbus = Mapper {
            protocol: "modbus",
            file: programs.mapper.clone(),
            config: json!({}),
        };
        Self::with_mapper(&modbus, manifests, membership, keep)
    }

    /// The same with any mapper, and with the hub's part of the configuration.
    pub fn with_mapper(
        mapper: &Mapper,
        manifests: &[(String, String)],
        hub: Option<Json>,
        keep: bool,
    ) -> anyhow::Result<Self> {
        let mut folder =
            TempDir::with_prefix("longshore-bench-").context("cannot make a folder")?;
        folder.disable_cleanup(keep);
        let (bus, metrics) = (free_port()?, free_port()?);
        let mut config = json!({
            "node": "edge-1",
            "stateDir": "state",
            "manifests": "manifests",
            "mappers": [{"name": mapper.protocol, "file": mapper.file, "config": mapper.config}],
            "bus": {"mode": "embedded", "listen": bus.to_string()},
            "metrics": {"listen": metrics.to_string()},
        });
        if let Some(hub) = hub {
            config["hub"] = hub;
        }
        let home = Self {
            folder,
            bus,
            metrics,
        };
        let path = home.folder.path();
        fs::create_dir(path.join("manifests"))?;
        for (name, text) in manifests {
            fs::write(path.join("manifests").join(name), text)?;
        }
        fs::write(path.join("edgecore.yaml"), format!("{config:#}"))?;
        if keep {
            report::progress(&format!("  node: {}", path.display()));
        }
        Ok(home)
    }

    /// Starts the node; on one core only if one is named.
    pub fn start(&self, programs: &Programs, core: Option<usize>) -> anyhow::Result<Node> {
        let folder = self.folder.path();
        let log = File::options()
            .create(true)
            .append(true)
            .open(folder.join("edgecore.log"))?;
        let mut command = match core {
            Some(core) => {
                let mut command = Command::new("taskset");
                command
                    .arg("-c")
                    .arg(core.to_string())
                    .arg(&programs.edgecore);
                command
            }
            None => Command::new(&programs.edgecore),
        };
        command
            .arg("--config")
            .arg(folder.join("edgecore.yaml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let started = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Node {
            process: Running(child),
            bus: self.bus,
            metrics: self.metrics,
            folder: folder.to_owned(),
            started,
        })
    }
}

impl Node {
    /// Address of the broker.
    pub fn bus(&self) -> SocketAddr {
        self.bus
    }

    /// `edgecore` and its children.
    pub fn processes(&self) -> (u32, Vec<u32>) {
        let pid = self.process.0.id();
        (pid, procfs::children(pid))
    }

    /// Waits until the broker takes connections and the mapper runs.
    pub fn ready(&mut self) -> anyhow::Result<()> {
        let result = wait::until("the node", PATIENCE, PAUSE, || {
            self.check()?;
            TcpStream::connect(self.bus).map_err(|error| format!("bus: {error}"))?;
            match self.processes().1.as_slice() {
                [] => Err("it has no mapper child".to_owned()),
                _ => Ok(()),
            }
        });
        result.with_context(|| self.log())
    }

    /// Fails if the process has ended.
    pub fn check(&mut self) -> Result<(), String> {
        match self.process.0.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("edgecore ended with {status}")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.join("edgecore.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!(
            "its log ends with:\n{}",
            lines[lines.len().saturating_sub(15)..].join("\n")
        )
    }

    /// A document from its HTTP port.
    pub fn get(&self, path: &str) -> Result<String, String> {
        http::get(self.metrics, path).map_err(|error| format!("{error:#}"))
    }

    /// Waits for the first reading that is good, and says how long after the start it was there.
    pub fn first_reading(&mut self) -> anyhow::Result<Duration> {
        let result = wait::until(
            "the first reading",
            PATIENCE,
            Duration::from_micros(500),
            || {
                self.check()?;
                let twins = self.get("/twins")?;
                let twins: Json =
                    serde_json::from_str(&twins).map_err(|error| error.to_string())?;
                if has_reading(&twins) {
                    Ok(self.started.elapsed())
                } else {
                    Err(twins.to_string())
                }
            },
        );
        result.with_context(|| self.log())
    }

    /// Memory of `edgecore` and of its children.
    pub fn memory(&self) -> (Memory, Memory) {
        let (edge, children) = self.processes();
        let children = children.into_iter().map(procfs::memory);
        (
            procfs::memory(edge),
            children.fold(Memory::default(), |sum, one| sum + one),
        )
    }

    /// Processor time of `edgecore` and of its children.
    pub fn cpu(&self) -> (Cpu, Cpu) {
        let (edge, children) = self.processes();
        (Cpu::now(&[edge]), Cpu::now(&children))
    }

    /// The sum of all its metrics whose name holds `part`.
    pub fn metric(&self, part: &str) -> f64 {
        let text = self.get("/metrics").unwrap_or_default();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter(|line| {
                line.split(['{', ' '])
                    .next()
                    .is_some_and(|name| name.contains(part))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

/// Whether any property anywhere has a value of good quality.
fn has_reading(twins: &Json) -> bool {
    match twins {
        Json::Object(map) if map.contains_key("quality") => {
            map["quality"] == "good" && map.get("value").is_some_and(|value| !value.is_null())
        }
        Json::Object(map) => map.values().any(has_reading),
        Json::Array(list) => list.iter().any(has_reading),
        _ => false,
    }
}

/// A port that was free a moment ago.
fn free_port() -> anyhow::Result<SocketAddr> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    Ok(listener.local_addr()?)
}

/// A hub for the node to be linked to; it ends with this value.
pub struct Hub {
    _process: Running,
    folder: TempDir,
    link: String,
}

impl Hub {
    /// Starts a hub with its embedded API server.
    pub fn start(cloudhub: &Path) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("longshore-bench-").context("cannot make a folder")?;
        let config = json!({
            "stateDir": folder.path().join("state"),
            "link": {"listen": "127.0.0.1:0", "names": ["127.0.0.1", "localhost"]},
            "apiServer": {"listen": "127.0.0.1:0", "kubeconfig": folder.path().join("kubeconfig")},
            "metrics": {"listen": "127.0.0.1:0"},
        });
        let file = folder.path().join("cloudhub.yaml");
        fs::write(&file, format!("{config:#}"))?;
        let log = File::create(folder.path().join("cloudhub.log"))?;
        let mut command = Command::new(cloudhub);
        command
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut process = Running(
            command
                .spawn()
                .with_context(|| format!("cannot start {command:?}"))?,
        );
        let run = folder.path().join("state/run.json");
        let link = wait::until("the hub", PATIENCE, PAUSE, || {
            if let Ok(Some(status)) = process.0.try_wait() {
                return Err(format!("cloudhub ended with {status}"));
            }
            let run = fs::read_to_string(&run).map_err(|error| format!("run.json: {error}"))?;
            let run: Json = serde_json::from_str(&run).map_err(|error| error.to_string())?;
            run["link"]
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| run.to_string())
        })?;
        Ok(Self {
            _process: process,
            folder,
            link,
        })
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    fn membership(&self, programs: &Programs) -> anyhow::Result<Json> {
        let Some(cloudhub) = &programs.cloudhub else {
            bail!("there is no cloudhub")
        };
        let out = self.folder.path().join("edge-1");
        let output = Command::new(cloudhub)
            .args(["issue-node", "edge-1", "--config"])
            .arg(self.folder.path().join("cloudhub.yaml"))
            .arg("--out")
            .arg(&out)
            .output()?;
        if !output.status.success() {
            bail!(
                "cloudhub issue-node: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(json!({
            "url": format!("wss://{}", self.link),
            "caFile": out.join("ca.crt"), "certFile": out.join("node.crt"), "keyFile": out.join("node.key"),
        }))
    }
}
