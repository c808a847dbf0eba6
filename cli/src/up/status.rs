//! What runs where, for people and for scripts.

use std::path::{Path, PathBuf};

use longshore_process::{http, printable};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::home::Home;

/// State of a demo that was ended in good order.
pub(super) const STOPPED: &str = "stopped";

/// What `longshore up` writes down: `.longshore/run/status.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Written {
    /// Of the supervisor.
    pub(crate) pid: u32,
    /// The supervisor's own binary.
    #[serde(default)]
    pub(crate) binary: PathBuf,
    /// `starting` until the first reading, then `running`; `stopped` after an end in good order.
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
    /// The process's name.
    #[serde(default)]
    pub(crate) process: String,
    pub(crate) address: String,
    pub(crate) control: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) binary: PathBuf,
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
        self.state != STOPPED && runs(self.pid, &self.binary)
    }

    /// The processes that still run, with or without their supervisor.
    pub(crate) fn left(&self) -> impl Iterator<Item = (&Process, u32)> {
        self.processes.iter().filter_map(|process| {
            let pid = process.pid?;
            runs(pid, &process.binary).then_some((process, pid))
        })
    }
}

/// Whether `pid` is a process that runs `binary`. The name alone would not do:
/// ids are used again, and a stranger must never be taken for our own. Source:
/// proc(5), `/proc/[pid]/exe`; an ended process that nobody waited for has none.
pub(crate) fn runs(pid: u32, binary: &Path) -> bool {
    let Ok(exe) = std::fs::read_link(format!("/proc/{pid}/exe")) else {
        return false;
    };
    let binary = std::fs::canonicalize(binary).unwrap_or_else(|_| binary.to_owned());
    // A binary that was built anew since is still ours.
    let exe = exe.to_string_lossy();
    Path::new(exe.strip_suffix(" (deleted)").unwrap_or(&exe)) == binary
}

/// Everything, asked of those who know it.
pub(crate) async fn collect(written: &Written) -> Json {
    let alive = written.is_alive();
    let left = written.left().count();
    let state = match (alive, left) {
        (true, _) => written.state.as_str(),
        (false, 0) => return serde_json::json!({"state": STOPPED}),
        (false, _) => "unsupervised",
    };
    let pid = |name: &str| {
        let mut left = written.left();
        left.find(|(process, _)| process.name == name)
            .map(|(_, pid)| pid)
    };
    let edge = match pid("edgecore") {
        Some(_) => get_json(&written.metrics.edge, "/status").await,
        None => None,
    };
    let edge = edge.unwrap_or(Json::Null);
    let hub_ready = pid("cloudhub").is_some() && is_ready(&written.metrics.hub).await;
    let word = |ok: bool| if ok { "up" } else { "down" };
    let part = |name: &str| edge.get(name).cloned().unwrap_or(Json::Null);
    serde_json::json!({
        "state": state,
        "pid": alive.then_some(written.pid),
        "left": left,
        "apiServer": {"url": written.api_server.url, "kubeconfig": written.api_server.kubeconfig, "state": word(hub_ready)},
        "bus": {"url": written.bus.url, "state": word(edge.pointer("/bus/ready").and_then(Json::as_bool).unwrap_or(false))},
        "link": {"url": written.link.url, "state": edge.pointer("/link/state").cloned().unwrap_or_else(|| "down".into())},
        "metrics": {"edge": format!("{}/metrics", written.metrics.edge), "hub": format!("{}/metrics", written.metrics.hub)},
        "simulators": written.simulators.iter().map(|simulator| serde_json::json!({
            "name": simulator.name, "address": simulator.address, "control": simulator.control, "state": word(pid(&simulator.process).is_some()),
        })).collect::<Vec<_>>(),
        "nodes": [{
            "name": written.node, "state": word(pid("edgecore").is_some()), "pid": pid("edgecore"),
            "devices": part("devices"), "ready": part("ready"),
        }],
        "mappers": mappers(&edge),
        "processes": written.processes,
    })
}

/// The mappers as the edge tells them, states in lower case like all others here.
fn mappers(edge: &Json) -> Json {
    let mut mappers = edge.get("mappers").cloned().unwrap_or_default();
    for mapper in mappers.as_array_mut().into_iter().flatten() {
        if let Some(state) = mapper["state"].as_str().map(str::to_lowercase) {
            mapper["state"] = state.into();
        }
    }
    match mappers {
        Json::Array(_) => mappers,
        _ => Json::Array(Vec::new()),
    }
}

/// The same for people.
pub(crate) fn table(status: &Json) -> String {
    if status["state"] == STOPPED {
        return "stopped; the state is kept (make up)\n".to_owned();
    }
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
            of(&mapper, "state"),
            match mapper.get("message").and_then(Json::as_str) {
                None | Some("") => format!("{restarts} restarts"),
                Some(message) => format!("{restarts} restarts; {message}"),
            },
        ));
    }
    let mut out = match text("/state").as_str() {
        "unsupervised" => {
            let left = match status["left"].as_u64() {
                Some(1) => "1 process still runs".to_owned(),
                left => format!("{} processes still run", left.unwrap_or_default()),
            };
            format!("the supervisor is gone; {left} (make up ends them and starts anew)\n\n")
        }
        state => format!("longshore is {state}\n\n"),
    };
    let width = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
    for (what, state, detail) in rows {
        let [what, state, detail] = [what, state, detail].map(|cell| printable::line(&cell));
        out.push_str(&format!("  {what:width$}  {state:9}  {detail}\n"));
    }
    out.push_str(&format!(
        "\n  kubeconfig: {}\n",
        text("/apiServer/kubeconfig")
    ));
    out
}

/// Whether a daemon says that it is ready.
pub(super) async fn is_ready(base: &str) -> bool {
    let Some(address) = address(base) else {
        return false;
    };
    let page = http::get(address, "/readyz").await;
    page.is_ok_and(|page| page.status == 200)
}

/// A page with JSON; none while nobody answers.
pub(super) async fn get_json(base: &str, path: &str) -> Option<Json> {
    http::get_json(address(base)?, path).await.ok()?
}

fn address(base: &str) -> Option<std::net::SocketAddr> {
    base.strip_prefix("http://")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(state: &str, pid: u32, process: Option<u32>) -> Written {
        let own = std::env::current_exe().unwrap();
        serde_json::from_value(serde_json::json!({
            "pid": pid, "binary": own, "state": state, "node": "edge-1",
            "apiServer": {"url": "https://a", "kubeconfig": "k"}, "bus": {"url": "mqtt://b"}, "link": {"url": "wss://l"},
            "metrics": {"edge": "http://nowhere", "hub": "http://nowhere"}, "simulators": [],
            "processes": [{"name": "edgecore", "binary": own, "pid": process, "restarts": 0, "lastEnd": null, "log": "l"}],
        }))
        .unwrap()
    }

    #[test]
    fn a_stranger_with_an_id_of_ours_is_a_stranger() {
        let own = std::process::id();
        assert!(runs(own, &std::env::current_exe().unwrap()));
        // The same file name elsewhere is another program.
        let name = std::env::current_exe()
            .unwrap()
            .file_name()
            .unwrap()
            .to_owned();
        assert!(!runs(own, &Path::new("/elsewhere").join(name)));
        assert!(!runs(0, Path::new("/bin/true")));
    }

    #[tokio::test]
    async fn what_runs_without_its_supervisor_is_told() {
        let own = std::process::id();
        assert_eq!(
            collect(&written("running", 0, None)).await,
            serde_json::json!({"state": "stopped"})
        );
        assert_eq!(
            collect(&written(STOPPED, own, None)).await,
            serde_json::json!({"state": "stopped"}),
            "the id may be somebody else's by now"
        );
        let left = collect(&written("running", 0, Some(own))).await;
        assert_eq!(left["state"], "unsupervised");
        assert!(table(&left).starts_with("the supervisor is gone; 1 process still runs"));
        assert_eq!(
            collect(&written("running", own, Some(own))).await["state"],
            "running"
        );
    }

    #[test]
    fn mappers_have_states_in_lower_case() {
        let edge = serde_json::json!({"mappers": [{"name": "modbus", "state": "Running"}]});
        assert_eq!(mappers(&edge)[0]["state"], "running");
        assert_eq!(mappers(&Json::Null), serde_json::json!([]));
    }
}
