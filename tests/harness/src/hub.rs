//! A real cloudhub, with its embedded API server or on a cluster.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kube::{
    Client, Config,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::{
    binaries, control_plane::Api, edge::http_get, kill, manifest::DeviceManifest, process::Process,
    wait::eventually,
};

/// What a hub is to be like.
#[derive(Debug)]
pub struct HubBuilder {
    api: Api,
    killable: bool,
}

/// A hub with its embedded API server.
pub fn hub() -> HubBuilder {
    HubBuilder {
        api: Api::Embedded,
        killable: false,
    }
}

impl HubBuilder {
    /// On this API.
    #[must_use]
    pub fn on(mut self, api: &Api) -> Self {
        self.api = api.clone();
        self
    }

    /// With [`Hub::kill_task`].
    #[must_use]
    pub fn killable(mut self) -> Self {
        self.killable = true;
        self
    }

    /// Starts it, and waits until it is ready.
    pub async fn run(self) -> Hub {
        let folder = TempDir::new().expect("a temporary folder");
        let mut config = json!({
            "stateDir": folder.path().join("state"),
            "link": {"listen": "127.0.0.1:0", "names": ["127.0.0.1", "localhost"]},
            // A node that is gone is seen as such in the time of a test.
            "nodes": {"graceMs": 3000, "leaseIntervalMs": 1000},
            "metrics": {"listen": "127.0.0.1:0"},
        });
        let kubeconfig = match &self.api {
            Api::Embedded => {
                let kubeconfig = folder.path().join("kubeconfig");
                config["apiServer"] = json!({"listen": "127.0.0.1:0", "kubeconfig": kubeconfig});
                kubeconfig
            }
            Api::Real(kubeconfig) => {
                config["kubernetes"] = json!({"kubeconfig": kubeconfig});
                kubeconfig.clone()
            }
        };
        fs::write(folder.path().join("cloudhub.yaml"), format!("{config:#}"))
            .expect("a configuration");
        if self.killable {
            kill::prepare(folder.path());
        }
        let process = start(folder.path());
        let mut hub = Hub {
            process,
            folder,
            kubeconfig,
        };
        hub.ready().await;
        hub
    }
}

fn start(folder: &Path) -> Process {
    let _ = fs::remove_file(folder.join("state/run.json"));
    let mut command = Command::new(binaries::binary("cloudhub"));
    kill::allow(&mut command, folder);
    Process::start(
        "cloudhub",
        command.arg("--config").arg(folder.join("cloudhub.yaml")),
        folder,
    )
}

/// A running hub.
pub struct Hub {
    process: Process,
    folder: TempDir,
    kubeconfig: PathBuf,
}

/// A client for a kubeconfig.
pub async fn client(kubeconfig: &Path) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    // Tests run in one process; whoever comes first installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = Config::from_custom_kubeconfig(
        Kubeconfig::read_from(kubeconfig)?,
        &KubeConfigOptions::default(),
    )
    .await?;
    Ok(Client::try_from(config)?)
}

impl Hub {
    async fn ready(&mut self) {
        let process = std::cell::RefCell::new(&mut self.process);
        let run = self.folder.path().join("state/run.json");
        eventually("cloudhub to be ready", || async {
            if let Some(status) = process.borrow_mut().ended() {
                panic!("cloudhub ended with {status}");
            }
            run.is_file()
                .then_some(())
                .ok_or_else(|| "no run.json".to_owned())
        })
        .await;
    }

    /// The kubeconfig that kubectl takes.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client of its API.
    pub async fn client(&self) -> Client {
        client(&self.kubeconfig)
            .await
            .expect("a kubeconfig that works")
    }

    /// The `hub` section of an edge's configuration, with a fresh certificate.
    pub fn membership(&self, node: &str) -> Json {
        let folder = self.folder.path().join("nodes").join(node);
        let output = Command::new(binaries::binary("cloudhub"))
            .args(["issue-node", node, "--config"])
            .arg(self.folder.path().join("cloudhub.yaml"))
            .arg("--out")
            .arg(&folder)
            .output()
            .expect("cloudhub starts");
        assert!(
            output.status.success(),
            "issue-node: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let run =
            fs::read_to_string(self.folder.path().join("state/run.json")).expect("it is ready");
        let run: Json = serde_json::from_str(&run).expect("JSON");
        json!({
            "url": format!("wss://{}", run["link"].as_str().unwrap_or_else(|| panic!("no link in {run}"))),
            "caFile": folder.join("ca.crt"), "certFile": folder.join("node.crt"), "keyFile": folder.join("node.key"),
        })
    }

    /// Its counters, as Prometheus gets them.
    pub async fn metrics(&self) -> Result<String, String> {
        Ok(self.get_text("/metrics").await?.1)
    }

    /// A text from its HTTP port.
    pub async fn get_text(&self, path: &str) -> Result<(u16, String), String> {
        let run = fs::read_to_string(self.folder.path().join("state/run.json"));
        let run: Json = run
            .map_err(|error| error.to_string())
            .and_then(|run| serde_json::from_str(&run).map_err(|error| error.to_string()))?;
        let address = run["metrics"].as_str().and_then(|text| text.parse().ok());
        let address = address.ok_or_else(|| format!("no metrics in {run}"))?;
        http_get(address, path).await
    }

    /// All of its ports: the edges', the API server's, its pages'.
    pub fn ports(&self) -> Vec<u16> {
        let run = fs::read_to_string(self.folder.path().join("state/run.json"));
        let run: Json = serde_json::from_str(&run.expect("it is ready")).expect("JSON");
        let keys = ["link", "apiServer", "metrics"];
        let addresses = keys.iter().filter_map(|key| run[key].as_str());
        addresses
            .map(|address| address.rsplit(':').next().unwrap_or_default())
            .map(|port| port.parse().unwrap_or_else(|_| panic!("no port in {run}")))
            .collect()
    }

    /// Makes a task panic; the hub must be [`killable`](HubBuilder::killable).
    pub async fn kill_task(&self, task: &str) {
        kill::kill(self.folder(), task).await;
    }

    /// Its folder, with `state/`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it on its state, on the same ports.
    pub async fn start_again(&mut self) {
        self.pin_ports();
        self.process = start(self.folder.path());
        self.ready().await;
    }

    /// What was port 0 becomes the port that it got, as for a hub that people
    /// know the address of.
    fn pin_ports(&self) {
        let read = |path: PathBuf| -> Json {
            serde_json::from_str(&fs::read_to_string(path).unwrap_or_default()).unwrap_or_default()
        };
        let run = read(self.folder.path().join("state/run.json"));
        let file = self.folder.path().join("cloudhub.yaml");
        let mut config = read(file.clone());
        config["link"]["listen"] = run["link"].clone();
        if let Some(api) = config.get_mut("apiServer") {
            api["listen"] = run["apiServer"].clone();
        }
        fs::write(file, format!("{config:#}")).expect("a configuration");
    }

    /// Creates the device and its model.
    pub async fn apply(&self, device: &DeviceManifest) {
        for document in [device.model(), device.device()] {
            self.create(document).await;
        }
    }

    /// Creates one object.
    pub async fn create(&self, document: Json) {
        let api = self.api(document["kind"].as_str().expect("a kind")).await;
        let object: DynamicObject = serde_json::from_value(document).expect("an object");
        api.create(&PostParams::default(), &object)
            .await
            .unwrap_or_else(|error| panic!("create: {error}"));
    }

    /// A merge patch of one object.
    pub async fn patch(&self, kind: &str, name: &str, patch: Json) -> Result<Json, kube::Error> {
        let api = self.api(kind).await;
        let object = api
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(serde_json::to_value(object).expect("JSON"))
    }

    /// Deletes one object.
    pub async fn delete(&self, kind: &str, name: &str) {
        self.api(kind)
            .await
            .delete(name, &DeleteParams::default())
            .await
            .unwrap_or_else(|error| panic!("delete: {error}"));
    }

    /// One object, if it is there.
    pub async fn get(&self, kind: &str, name: &str) -> Option<Json> {
        let found = self
            .api(kind)
            .await
            .get_opt(name)
            .await
            .unwrap_or_else(|error| panic!("get: {error}"));
        found.map(|object| serde_json::to_value(object).expect("JSON"))
    }

    /// Sets what a property should be, leaving all others as they are.
    pub async fn desire(&self, device: &str, property: &str, value: &str) {
        let object = self
            .get("Device", device)
            .await
            .unwrap_or_else(|| panic!("no device {device}"));
        let mut properties = object["spec"]["properties"].clone();
        let list = properties.as_array_mut().expect("properties");
        let found = list
            .iter_mut()
            .find(|p| p["name"] == property)
            .unwrap_or_else(|| panic!("no property {property}"));
        found["desired"] = json!({"value": value});
        self.patch(
            "Device",
            device,
            json!({"spec": {"properties": properties}}),
        )
        .await
        .expect("the API takes it");
    }

    /// Waits until an object satisfies `good`.
    pub async fn object_where(
        &self,
        kind: &str,
        name: &str,
        what: &str,
        good: impl Fn(&Json) -> bool,
    ) -> Json {
        let api = self.api(kind).await;
        eventually(&format!("{kind} {name} {what}"), || async {
            let found = api.get_opt(name).await.map_err(|error| error.to_string())?;
            let found = serde_json::to_value(found.ok_or("it is not there")?)
                .map_err(|error| error.to_string())?;
            if good(&found) {
                Ok(found)
            } else {
                Err(found.to_string())
            }
        })
        .await
    }

    /// Waits until the DeviceStatus reports this text.
    pub async fn reported_is(&self, device: &str, property: &str, value: &str) -> Json {
        let what = format!("to report {property}={value}");
        self.object_where("DeviceStatus", device, &what, |object| {
            reported(object, property) == Some(value)
        })
        .await
    }

    /// Waits until the node's Ready condition is this.
    pub async fn node_ready_is(&self, node: &str, status: &str) {
        self.object_where("Node", node, &format!("to be Ready={status}"), |object| {
            let conditions = object
                .pointer("/status/conditions")
                .and_then(Json::as_array);
            conditions.is_some_and(|list| {
                list.iter()
                    .any(|c| c["type"] == "Ready" && c["status"] == status)
            })
        })
        .await;
    }

    async fn api(&self, kind: &str) -> kube::Api<DynamicObject> {
        let client = self.client().await;
        match kind {
            "Node" => kube::Api::all_with(client, &resource("", "v1", "Node", "nodes")),
            "Device" | "DeviceModel" => {
                let plural = format!("{}s", kind.to_lowercase());
                kube::Api::namespaced_with(
                    client,
                    "default",
                    &resource("devices.kubeedge.io", "v1beta1", kind, &plural),
                )
            }
            "DeviceStatus" => {
                let of = resource("devices.kubeedge.io", "v1beta1", kind, "devicestatuses");
                kube::Api::namespaced_with(client, "default", &of)
            }
            other => panic!("the testbed does not know {other}"),
        }
    }
}

/// What a DeviceStatus reports of a property.
pub fn reported<'a>(status: &'a Json, property: &str) -> Option<&'a str> {
    let twins = status.pointer("/status/twins")?.as_array()?;
    twins
        .iter()
        .find(|twin| twin["propertyName"] == property)?
        .pointer("/reported/value")?
        .as_str()
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    let api_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    ApiResource {
        group: group.into(),
        version: version.into(),
        api_version,
        kind: kind.into(),
        plural: plural.into(),
    }
}
