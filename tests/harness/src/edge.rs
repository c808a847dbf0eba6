//! A real edgecore with a real mapper.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use longshore_process::http;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::{
    binaries,
    hub::Hub,
    kill,
    manifest::DeviceManifest,
    process::{self, Process},
    wait::eventually,
};

/// What an edge node is to be like.
#[derive(Debug)]
pub struct EdgeBuilder {
    node: String,
    bus: Json,
    hub: Option<Json>,
    isolation: &'static str,
    mappers: Vec<(String, PathBuf)>,
    manifests: Vec<(String, String)>,
    with_folder: bool,
    killable: bool,
    under: Vec<String>,
}

/// An edge node `edge-1`, alone, with the Modbus mapper and the embedded broker.
pub fn edge() -> EdgeBuilder {
    EdgeBuilder {
        node: "edge-1".to_owned(),
        bus: json!({"mode": "embedded", "listen": "127.0.0.1:0"}),
        hub: None,
        isolation: "process",
        mappers: vec![],
        manifests: vec![],
        with_folder: false,
        killable: false,
        under: vec![],
    }
}

impl EdgeBuilder {
    /// Another name.
    #[must_use]
    pub fn node(mut self, name: &str) -> Self {
        self.node = name.to_owned();
        self
    }

    /// A device from the node's own folder of manifests.
    #[must_use]
    pub fn device(self, device: &DeviceManifest) -> Self {
        self.manifest(device.name(), &device.yaml())
    }

    /// A file in the node's own folder of manifests.
    #[must_use]
    pub fn manifest(mut self, name: &str, yaml: &str) -> Self {
        self.with_folder = true;
        self.manifests
            .push((format!("{name}.yaml"), yaml.to_owned()));
        self
    }

    /// Another bus.
    #[must_use]
    pub fn bus(mut self, bus: Json) -> Self {
        self.bus = bus;
        self
    }

    /// Bound to a hub, which signs its certificate.
    #[must_use]
    pub fn hub(mut self, hub: &Hub) -> Self {
        self.hub = Some(hub.membership(&self.node));
        self
    }

    /// Bound to a hub in this way.
    #[must_use]
    pub fn hub_section(mut self, section: Json) -> Self {
        self.hub = Some(section);
        self
    }

    /// With [`Edge::kill_task`].
    #[must_use]
    pub fn killable(mut self) -> Self {
        self.killable = true;
        self
    }

    /// Started by this command, which must become it: `prlimit --nofile=64`.
    #[must_use]
    pub fn under(mut self, command: &[&str]) -> Self {
        self.under = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Mappers inside of the process.
    #[must_use]
    pub fn in_process(mut self) -> Self {
        self.isolation = "inProcess";
        self
    }

    /// This mapper library; without any it is that of Modbus.
    #[must_use]
    pub fn mapper(mut self, name: &str, file: &Path) -> Self {
        self.mappers.push((name.to_owned(), file.to_owned()));
        self
    }

    /// Starts it, and waits until it is ready.
    pub async fn run(mut self) -> Edge {
        if self.mappers.is_empty() {
            let modbus = binaries::mapper("modbus");
            self.mappers.push(("modbus".to_owned(), modbus));
        }
        let mappers: Vec<Json> = self
            .mappers
            .iter()
            .map(|(name, file)| json!({"name": name, "file": file, "isolation": self.isolation}))
            .collect();
        let folder = TempDir::new().expect("a temporary folder");
        let mut config = json!({
            "node": self.node,
            "stateDir": folder.path().join("state"),
            "mappers": mappers,
            "bus": self.bus,
            "metrics": {"listen": "127.0.0.1:0"},
        });
        if let Some(hub) = self.hub {
            config["hub"] = hub;
        }
        if self.with_folder {
            let manifests = folder.path().join("manifests");
            fs::create_dir(&manifests).expect("a folder of manifests");
            for (name, yaml) in &self.manifests {
                fs::write(manifests.join(name), yaml).expect("a manifest");
            }
            config["manifests"] = json!(manifests);
        }
        fs::write(folder.path().join("edgecore.yaml"), format!("{config:#}"))
            .expect("a configuration");
        if self.killable {
            kill::prepare(folder.path());
        }
        let process = start(folder.path(), &self.under);
        let mut edge = Edge {
            process,
            folder,
            under: self.under,
        };
        edge.ready().await;
        edge
    }
}

fn start(folder: &Path, under: &[String]) -> Process {
    let _ = fs::remove_file(folder.join("state/run.json"));
    // A file that grows beyond its limit is an error then and not the end, so
    // that a test can play a full disk.
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#])
        .args(under)
        .arg(binaries::binary("edgecore"));
    kill::allow(&mut command, folder);
    Process::start(
        "edgecore",
        command.arg("--config").arg(folder.join("edgecore.yaml")),
        folder,
    )
}

/// A running edge node.
pub struct Edge {
    process: Process,
    folder: TempDir,
    under: Vec<String>,
}

impl Edge {
    async fn ready(&mut self) {
        let process = std::cell::RefCell::new(&mut self.process);
        let run = self.folder.path().join("state/run.json");
        eventually("edgecore to be ready", || async {
            if let Some(status) = process.borrow_mut().ended() {
                panic!("edgecore ended with {status}");
            }
            run.is_file()
                .then_some(())
                .ok_or_else(|| "no run.json".to_owned())
        })
        .await;
    }

    fn addresses(&self) -> Json {
        let text =
            fs::read_to_string(self.folder.path().join("state/run.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn address(&self, key: &str) -> SocketAddr {
        let addresses = self.addresses();
        addresses[key]
            .as_str()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("no {key} in {addresses}"))
    }

    /// The port of the embedded broker.
    pub fn bus_port(&self) -> u16 {
        self.address("bus").port()
    }

    /// The port of its pages.
    pub fn metrics_port(&self) -> u16 {
        self.address("metrics").port()
    }

    /// Its folder, with `state/` and `manifests/`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Puts a manifest into its folder, at once and whole.
    pub fn put_manifest(&self, name: &str, yaml: &str) {
        let folder = self.folder.path().join("manifests");
        let fresh = self.folder.path().join("fresh");
        fs::write(&fresh, yaml).expect("a manifest");
        fs::rename(fresh, folder.join(format!("{name}.yaml"))).expect("a manifest");
    }

    /// Takes a manifest out of its folder.
    pub fn remove_manifest(&self, name: &str) {
        fs::remove_file(
            self.folder
                .path()
                .join("manifests")
                .join(format!("{name}.yaml")),
        )
        .expect("a manifest");
    }

    /// kill -9, then starts it again on the same state.
    pub async fn kill_and_restart(&mut self) {
        self.process.kill();
        self.start_again().await;
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it on its state.
    pub async fn start_again(&mut self) {
        self.process = start(self.folder.path(), &self.under);
        self.ready().await;
    }

    /// Starts it on its state, which is on a disk that is mounted read-only, and returns its
    /// log once it has given up.
    pub async fn starts_in_vain_on_a_read_only_disk(&mut self) -> String {
        const MOUNT: &str =
            r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@""#;
        // Root may mount in a namespace of its own; anybody else is made its root first.
        let own = if rustix::process::geteuid().is_root() {
            vec!["unshare", "--mount"]
        } else {
            vec!["unshare", "--user", "--map-root-user", "--mount"]
        };
        let state = self.folder.path().join("state").display().to_string();
        let under: Vec<String> = own
            .into_iter()
            .chain(["sh", "-c", MOUNT, &state])
            .map(str::to_owned)
            .collect();
        self.process = start(self.folder.path(), &under);
        let process = &mut self.process;
        eventually("the end", || {
            let ended = process.ended().map(drop).ok_or_else(|| process.log());
            async move { ended }
        })
        .await;
        self.log()
    }

    /// From now on its files cannot grow, as on a disk that is full, or can again.
    pub fn disk_is_full(&self, full: bool) {
        // Less than anything that the store writes; its log is cut short by it, too.
        let limit = if full { "4096" } else { "unlimited" };
        let status = Command::new("prlimit")
            .arg(format!("--pid={}", self.process.pid()))
            .arg(format!("--fsize={limit}:unlimited"))
            .status()
            .expect("prlimit(1) exists");
        assert!(status.success(), "the limit cannot be set");
    }

    /// Makes a task panic; the edge must be [`killable`](EdgeBuilder::killable).
    pub async fn kill_task(&self, task: &str) {
        kill::kill(self.folder(), task).await;
    }

    /// kill -9 of the mapper's process.
    pub async fn kill_mapper(&self) {
        let pid = self.mapper_pid().await;
        process::signal(pid, "KILL");
    }

    /// The process id of the Modbus mapper.
    pub async fn mapper_pid(&self) -> u32 {
        eventually("the mapper's process", || async {
            let status = self.get("/status").await?;
            let pid = status["mappers"][0]["pid"]
                .as_u64()
                .ok_or_else(|| status.to_string())?;
            u32::try_from(pid).map_err(|error| error.to_string())
        })
        .await
    }

    /// A JSON document from its HTTP port.
    pub async fn get(&self, path: &str) -> Result<Json, String> {
        let (code, body) = self.get_text(path).await?;
        serde_json::from_str(&body).map_err(|error| format!("{code}: {error}: {body}"))
    }

    /// A text from its HTTP port.
    pub async fn get_text(&self, path: &str) -> Result<(u16, String), String> {
        http_get(self.address("metrics"), path).await
    }

    /// No id of the twin engine led nowhere so far, and no mapper named what it
    /// was never given.
    pub async fn nothing_dangles(&self) {
        let (_, metrics) = self.get_text("/metrics").await.unwrap();
        for counter in [
            "longshore_dangling_ids_total",
            "longshore_never_given_total",
        ] {
            assert!(metrics.contains(&format!("{counter} 0\n")), "{metrics}");
        }
    }

    /// One twin as `/twins` shows it.
    pub async fn twin(&self, device: &str, property: &str) -> Result<Json, String> {
        let twins = self.get("/twins").await?;
        let id = format!("default/{device}");
        let list = |json: &Json| json.as_array().cloned().unwrap_or_default();
        let devices = list(twins.get("devices").unwrap_or(&twins));
        let found = devices
            .iter()
            .find(|d| d["device"] == id.as_str() || d["name"] == id.as_str());
        let properties = found
            .map(|d| list(&d["properties"]))
            .ok_or_else(|| format!("no {id} in {twins}"))?;
        let found = properties.into_iter().find(|p| p["name"] == property);
        found.ok_or_else(|| format!("no property {property}"))
    }

    /// Waits until a twin satisfies `good`.
    pub async fn twin_where(
        &self,
        what: &str,
        device: &str,
        property: &str,
        good: impl Fn(&Json) -> bool,
    ) -> Json {
        let what = format!("{device}.{property} {what}");
        eventually(&what, || async {
            let twin = self.twin(device, property).await?;
            if good(&twin) {
                Ok(twin)
            } else {
                Err(twin.to_string())
            }
        })
        .await
    }

    /// Waits until a twin has this value, of good quality.
    pub async fn twin_is(&self, device: &str, property: &str, value: Json) -> Json {
        self.twin_where(&format!("to be {value}"), device, property, |twin| {
            same(&twin["value"], &value) && twin["quality"] == "good"
        })
        .await
    }

    /// Waits until the write of a property has come this far.
    pub async fn write_is(&self, device: &str, property: &str, state: &str) -> Json {
        self.twin_where(
            &format!("to be written: {state}"),
            device,
            property,
            |twin| {
                twin.pointer("/write/state")
                    .or_else(|| twin.pointer("/desired/write"))
                    .is_some_and(|found| found == state)
            },
        )
        .await
    }
}

/// Whether two JSON values are the same, numbers by their value.
pub fn same(a: &Json, b: &Json) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() < 1e-9,
        _ => a == b,
    }
}

/// A GET on loopback: status code and body.
pub async fn http_get(address: SocketAddr, path: &str) -> Result<(u16, String), String> {
    let answer = http::get(address, path).await;
    let answer = answer.map_err(|error| longshore_process::chain(&error))?;
    Ok((answer.status, answer.text()))
}
