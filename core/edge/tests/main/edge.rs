//! An `edgecore` of its own for each test.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Once,
    time::{Duration, Instant},
};

use longshore_process::{http, run_file};
use longshore_sim_modbus::Simulator;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// Longest wait for anything, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `edgecore`; it is killed with the test.
pub(crate) struct Edge {
    process: Child,
    folder: TempDir,
}

/// The program, with nothing inherited that it could log to.
pub(crate) fn edgecore() -> Command {
    Command::new(env!("CARGO_BIN_EXE_edgecore"))
}

/// Waits until `check` succeeds; its error is what is told when it never does.
pub(crate) async fn eventually<T, F: Future<Output = Result<T, String>>>(
    what: &str,
    check: impl Fn() -> F,
) -> T {
    let began = Instant::now();
    loop {
        match check().await {
            Ok(value) => return value,
            Err(status) => assert!(began.elapsed() < PATIENCE, "waited for {what}: {status}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A model and a device `boiler` on the simulator.
pub(crate) fn boiler(plc: &Simulator, setpoint: Option<&str>) -> String {
    let mut property = json!({"name": "setpoint", "collectCycle": 100});
    if let Some(value) = setpoint {
        property["desired"] = json!({"value": value});
    }
    let visitor = |address: &str| json!({"protocolName": "modbus", "configData": {"address": address, "rawType": "int16", "scale": 0.1}});
    let model = json!({
        "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceModel", "metadata": {"name": "boiler"},
        "spec": {"protocol": "modbus", "properties": [
            {"name": "temperature", "type": "FLOAT", "accessMode": "ReadOnly", "visitors": visitor("ir:0")},
            {"name": "setpoint", "type": "FLOAT", "accessMode": "ReadWrite", "minimum": "20", "maximum": "90", "visitors": visitor("hr:0")},
        ]},
    });
    let device = json!({
        "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device", "metadata": {"name": "boiler"},
        "spec": {
            "deviceModelRef": {"name": "boiler"}, "nodeName": "edge-1",
            "protocol": {"protocolName": "modbus", "configData": {"url": format!("tcp://{}", plc.addr()), "unit": 1}},
            "properties": [{"name": "temperature", "collectCycle": 100}, property],
        },
    });
    format!("{model}\n---\n{device}\n")
}

/// The mapper's library, built if it is not there.
pub(crate) fn library() -> PathBuf {
    static BUILD: Once = Once::new();
    let folder = Path::new(env!("CARGO_BIN_EXE_edgecore")).parent().unwrap();
    let file = folder.join("libmapper_modbus.so");
    BUILD.call_once(|| {
        // `cargo test --workspace` has built it already.
        if file.exists() {
            return;
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "-p", "longshore-mapper-modbus-plugin"]);
        if folder.ends_with("release") {
            command.arg("--release");
        }
        assert!(
            command.status().unwrap().success(),
            "the Modbus mapper does not build"
        );
    });
    file
}

impl Edge {
    /// With one mapper, no bus, and a manifest.
    pub(crate) async fn start(manifest: &str) -> Self {
        Self::start_with(manifest, |_| {}).await
    }

    /// The same with a changed configuration.
    pub(crate) async fn start_with(manifest: &str, change: impl Fn(&mut Json)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = json!({
            "node": "edge-1", "stateDir": "state", "manifests": "manifests", "bus": {"mode": "off"},
            "mappers": [{"name": "modbus", "file": library()}], "metrics": {"listen": "127.0.0.1:0"},
        });
        change(&mut config);
        fs::create_dir(folder.path().join("manifests")).unwrap();
        fs::write(folder.path().join("edgecore.yaml"), config.to_string()).unwrap();
        let edge = Self {
            process: spawn(folder.path()),
            folder,
        };
        edge.put_manifest(manifest);
        edge.wait_ready().await;
        edge
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces the manifest, whole.
    pub(crate) fn put_manifest(&self, text: &str) {
        let fresh = self.folder.path().join("fresh");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, self.folder.path().join("manifests/boiler.yaml")).unwrap();
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it on its state.
    pub(crate) async fn start_again(&mut self) {
        let _ = fs::remove_file(self.folder.path().join("state/run.json"));
        self.process = spawn(self.folder.path());
        self.wait_ready().await;
    }

    /// Asks it to end, and waits.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        signal(self.process.id(), "TERM");
        let began = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn wait_ready(&self) {
        let run = self.folder.path().join("state/run.json");
        eventually("edgecore to be ready", || async {
            run.is_file().then_some(()).ok_or_else(|| self.log())
        })
        .await;
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// GET: status and body.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let run = run_file::read(&self.folder.path().join("state")).unwrap();
        let address = run["metrics"].as_str().unwrap().parse().unwrap();
        let answer = http::get(address, path).await.unwrap();
        (answer.status, answer.text())
    }

    /// No id of the twin engine led nowhere so far, and no mapper named what it
    /// was never given.
    pub(crate) async fn nothing_dangles(&self) {
        let (_, metrics) = self.get("/metrics").await;
        for counter in [
            "longshore_dangling_ids_total",
            "longshore_never_given_total",
        ] {
            assert!(metrics.contains(&format!("{counter} 0\n")), "{metrics}");
        }
    }

    /// Waits until a property of the boiler satisfies `good`.
    pub(crate) async fn twin(
        &self,
        property: &str,
        what: &str,
        good: impl Fn(&Json) -> bool,
    ) -> Json {
        eventually(&format!("{property} {what}"), || async {
            let (_, body) = self.get("/twins?device=default/boiler").await;
            let device: Json =
                serde_json::from_str(&body).map_err(|_| format!("{body}\n{}", self.log()))?;
            let properties = device["properties"].as_array().cloned().unwrap_or_default();
            let twin = properties.into_iter().find(|twin| twin["name"] == property);
            twin.filter(|twin| good(twin))
                .ok_or_else(|| format!("{body}\n{}", self.log()))
        })
        .await
    }

    /// The mapper's process.
    pub(crate) async fn mapper_pid(&self) -> u32 {
        eventually("the mapper's process", || async {
            let (_, body) = self.get("/status").await;
            let status: Json = serde_json::from_str(&body).map_err(|error| error.to_string())?;
            status["mappers"][0]["pid"]
                .as_u64()
                .and_then(|pid| u32::try_from(pid).ok())
                .ok_or(body)
        })
        .await
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(folder: &Path) -> Child {
    let log = fs::File::options()
        .append(true)
        .create(true)
        .open(folder.join("log"))
        .unwrap();
    let mut command = edgecore();
    command
        .arg("--config")
        .arg(folder.join("edgecore.yaml"))
        .stdout(Stdio::null())
        .stderr(log);
    command.spawn().unwrap()
}

/// kill -9 of a process.
pub(crate) fn kill(pid: u32) {
    signal(pid, "KILL");
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status()
        .unwrap();
    assert!(status.success(), "process {pid} is gone already");
}
