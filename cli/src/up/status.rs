//! What runs where, for people and for scripts.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::home::Home;

/// How long a process may take to answer on loopback.
const PATIENCE: Duration = Duration::from_secs(2);
/// Largest answer that is read.
const LIMIT: u64 = 64 * 1024 * 1024;

/// What `longshore up` writes down: `.longshore/run/status.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Written {
    /// Of the supervisor.
    pub(crate) pid: u32,
    /// Whether the demo is up; `starting` until the first reading.
    pub(crate) state: String,
    pub(crate) api_server: Api,
    pub(crate) bus: Address,
    pub(crate) link: Address,
    pub(crate) metrics: Metrics,
    pub(crate) simulators: Vec<Simulator>,
    pub(crate) node: String,
    pub(crate) processes: Vec<Process>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Api {
    pub(crate) url: String,
    pub(crate) kubeconfig: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) url: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Metrics {
    pub(crate) edge: String,
    pub(crate) hub: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Simulator {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) control: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) binary: String,
    pub(crate) pid: Option<u32>,
    pub(crate) restarts: u32,
    pub(crate) last_end: Option<String>,
    pub(crate) log: String,
}

impl Written {
    pub(crate) fn read(home: &Home) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(home.run("status.json")).ok()?).ok()
    }

    /// Replaces the file at once, so that a reader never sees half of it.
    pub(crate) fn write(&self, home: &Home) -> std::io::Result<()> {
        let file = home.run("status.json");
        let fresh = home.run("status.json.new");
        std::fs::write(&fresh, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(fresh, file)
    }

    /// Whether the supervisor that wrote this still runs.
    pub(crate) fn is_alive(&self) -> bool {
        runs(self.pid, "longshore")
    }
}

/// Whether `pid` is a process of this name that has not ended. Source: proc(5),
/// `/proc/[pid]/stat`: the name in brackets (at most 15 characters), then the
/// state, in which Z is an ended process that nobody has waited for.
pub(crate) fn runs(pid: u32, name: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let known = stat
        .split_once('(')
        .and_then(|(_, rest)| rest.rsplit_once(')'));
    known.is_some_and(|(comm, rest)| {
        comm == &name[..name.len().min(15)] && !rest.trim_start().starts_with('Z')
    })
}

/// Everything, asked of those who know it.
pub(crate) fn collect(written: &Written) -> Json {
    let alive = written.is_alive();
    let state = if alive {
        written.state.as_str()
    } else {
        "stopped"
    };
    let process = |name: &str| {
        written
            .processes
            .iter()
            .find(|process| process.name == name)
    };
    let up = |name: &str| alive && process(name).is_some_and(|process| process.pid.is_some());
    let edge = if alive {
        get_json(&written.metrics.edge, "/status")
    } else {
        None
    }
    .unwrap_or(Json::Null);
    let hub_ready =
        alive && get(&written.metrics.hub, "/readyz").is_some_and(|(code, _)| code == 200);
    let word = |ok: bool| if ok { "up" } else { "down" };
    let part = |name: &str| edge.get(name).cloned().unwrap_or(Json::Null);
    serde_json::json!({
        "state": state,
        "pid": alive.then_some(written.pid),
        "apiServer": {"url": written.api_server.url, "kubeconfig": written.api_server.kubeconfig, "state": word(hub_ready)},
        "bus": {"url": written.bus.url, "state": word(edge.pointer("/bus/ready").and_then(Json::as_bool).unwrap_or(false))},
        "link": {"url": written.link.url, "state": edge.pointer("/link/state").cloned().unwrap_or_else(|| "down".into())},
        "metrics": {"edge": format!("{}/metrics", written.metrics.edge), "hub": format!("{}/metrics", written.metrics.hub)},
        "simulators": written.simulators.iter().map(|simulator| serde_json::json!({
            "name": simulator.name, "address": simulator.address, "control": simulator.control, "state": word(up("simulator")),
        })).collect::<Vec<_>>(),
        "nodes": [{
            "name": written.node, "state": word(up("edgecore")), "pid": process("edgecore").and_then(|p| p.pid),
            "devices": part("devices"), "ready": part("ready"),
        }],
        "mappers": edge.get("mappers").cloned().unwrap_or_else(|| Json::Array(Vec::new())),
        "processes": written.processes,
    })
}

/// The same for people.
pub(crate) fn table(status: &Json) -> String {
    let text = |pointer: &str| {
        status
            .pointer(pointer)
            .and_then(Json::as_str)
            .unwrap_or("-")
            .to_owned()
    };
    let mut rows = vec![
        (
            "kubernetes api".to_owned(),
            text("/apiServer/state"),
            text("/apiServer/url"),
        ),
        ("mqtt bus".to_owned(), text("/bus/state"), text("/bus/url")),
        (
            "cloud-edge link".to_owned(),
            text("/link/state"),
            text("/link/url"),
        ),
    ];
    let list = |key: &str| {
        status
            .get(key)
            .and_then(Json::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let of = |json: &Json, key: &str| {
        json.get(key)
            .and_then(Json::as_str)
            .unwrap_or("-")
            .to_owned()
    };
    for simulator in list("simulators") {
        rows.push((
            format!("simulator {}", of(&simulator, "name")),
            of(&simulator, "state"),
            of(&simulator, "address"),
        ));
    }
    for node in list("nodes") {
        let devices = node.get("devices").and_then(Json::as_u64).unwrap_or(0);
        rows.push((
            format!("node {}", of(&node, "name")),
            of(&node, "state"),
            format!("{devices} devices"),
        ));
    }
    for mapper in list("mappers") {
        let restarts = mapper.get("restarts").and_then(Json::as_u64).unwrap_or(0);
        rows.push((
            format!("mapper {}", of(&mapper, "name")),
            of(&mapper, "state").to_lowercase(),
            format!("{restarts} restarts"),
        ));
    }
    let mut out = format!("longshore is {}\n\n", text("/state"));
    let width = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    for (what, state, detail) in rows {
        out.push_str(&format!("  {what:width$}  {state:9}  {detail}\n"));
    }
    out.push_str(&format!(
        "\n  kubeconfig: {}\n",
        text("/apiServer/kubeconfig")
    ));
    out
}

/// A GET on loopback: status code and body.
pub(crate) fn get(base: &str, path: &str) -> Option<(u16, Vec<u8>)> {
    let address = base.strip_prefix("http://")?;
    let mut stream = TcpStream::connect_timeout(&address.parse().ok()?, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream
        .write_all(
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        )
        .ok()?;
    let mut answer = Vec::new();
    stream.take(LIMIT).read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let code = head.split(' ').nth(1)?.parse().ok()?;
    Some((code, answer.split_off(end + 4)))
}

pub(crate) fn get_json(base: &str, path: &str) -> Option<Json> {
    serde_json::from_slice(&get(base, path)?.1).ok()
}
