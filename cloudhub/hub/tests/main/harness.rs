//! A hub of its own for each test: own folder, free ports.

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use longshore_hub::{
    Config, Environment, RunningHub,
    identity::Authority,
    samples::{CountOnly, SampleConsumer},
};
use longshore_link::Up;
use longshore_process::http;
use longshore_types::{
    DeviceName, NodeName, Quality, Value as Twin,
    device::PropertyType,
    report::{DeviceReport, DeviceState, PropertyReport},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::edge::{Credentials, Edge};

/// Nothing is waited for longer. Ten thousand statuses take most of a minute on a
/// machine that does other things beside it.
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct TestHub {
    pub(crate) folder: TempDir,
    pub(crate) hub: RunningHub,
    pub(crate) client: Client,
}

/// The configuration of a test's hub.
pub(crate) fn config_text() -> &'static str {
    "stateDir: state\n\
     link: {listen: '127.0.0.1:0'}\n\
     metrics: {listen: '127.0.0.1:0'}\n\
     apiServer: {listen: '127.0.0.1:0', kubeconfig: kubeconfig}\n\
     deviceStatus: {intervalMs: 50}\n\
     nodes: {graceMs: 500, leaseIntervalMs: 100}\n"
}

impl TestHub {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    /// A hub that goes on with what another one left.
    pub(crate) async fn start_in(folder: TempDir) -> Self {
        Self::start_with(folder, Arc::new(CountOnly::default())).await
    }

    /// The same with somebody who takes samples.
    pub(crate) async fn start_with(folder: TempDir, samples: Arc<dyn SampleConsumer>) -> Self {
        Self::start_as(folder, samples, config_text()).await
    }

    /// A hub that writes a status once an hour, but for what somebody waits for.
    pub(crate) async fn start_slow() -> Self {
        let text = config_text().replace("intervalMs: 50", "intervalMs: 3600000");
        assert_ne!(text, config_text());
        let samples = Arc::new(CountOnly::default());
        Self::start_as(tempfile::tempdir().unwrap(), samples, &text).await
    }

    async fn start_as(folder: TempDir, samples: Arc<dyn SampleConsumer>, text: &str) -> Self {
        let config = Config::parse(text, folder.path(), Environment::default()).unwrap();
        let hub = RunningHub::start_with(&config, samples)
            .await
            .expect("the hub starts");
        let client = hub.client();
        Self {
            folder,
            hub,
            client,
        }
    }

    pub(crate) fn link(&self) -> SocketAddr {
        self.hub.addresses().link
    }

    pub(crate) fn credentials(&self, node: &str) -> Credentials {
        credentials(&self.folder.path().join("state"), node)
    }

    pub(crate) fn edge(&self, node: &str) -> Edge {
        Edge::connect(self.link(), node, &self.credentials(node))
    }

    pub(crate) async fn create(&self, object: Value) {
        create(&self.client, object).await;
    }

    pub(crate) async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let object = api(&self.client, kind).get_opt(name).await.unwrap();
        object.map(|object| serde_json::to_value(object).unwrap())
    }

    pub(crate) async fn patch(&self, kind: &str, name: &str, patch: Value) {
        api(&self.client, kind)
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    pub(crate) async fn delete(&self, kind: &str, name: &str) {
        api(&self.client, kind)
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    pub(crate) async fn wait(
        &self,
        kind: &str,
        name: &str,
        what: &str,
        holds: impl Fn(Option<&Value>) -> bool,
    ) -> Option<Value> {
        wait(&self.client, kind, name, what, holds).await
    }

    pub(crate) async fn metrics(&self) -> String {
        self.page("/metrics").await.1
    }

    /// Status and text of a page.
    pub(crate) async fn page(&self, path: &str) -> (u16, String) {
        let address = self.hub.addresses().metrics;
        let answer = http::get(address, path).await.unwrap();
        (answer.status, answer.text())
    }
}

pub(crate) fn credentials(state_dir: &Path, node: &str) -> Credentials {
    let authority = Authority::open(state_dir).unwrap();
    let issued = authority.issue_node(&NodeName::new(node).unwrap()).unwrap();
    Credentials {
        ca: authority.certificate_pem().to_owned(),
        holder: Some((issued.certificate_pem, issued.key_pem)),
    }
}

pub(crate) async fn create(client: &Client, object: Value) {
    let kind = object["kind"].as_str().unwrap().to_owned();
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    api(client, &kind)
        .create(&PostParams::default(), &object)
        .await
        .unwrap();
}

pub(crate) async fn wait(
    client: &Client,
    kind: &str,
    name: &str,
    what: &str,
    holds: impl Fn(Option<&Value>) -> bool,
) -> Option<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let object = api(client, kind).get_opt(name).await.unwrap();
        let value = object.map(|object| serde_json::to_value(object).unwrap());
        if holds(value.as_ref()) {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "{kind} {name}: {what}: still not so: {value:#?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn api(client: &Client, kind: &str) -> Api<DynamicObject> {
    let (group, version, plural) = match kind {
        "Device" => ("devices.kubeedge.io", "v1beta1", "devices"),
        "DeviceModel" => ("devices.kubeedge.io", "v1beta1", "devicemodels"),
        "DeviceStatus" => ("devices.kubeedge.io", "v1beta1", "devicestatuses"),
        "Node" => ("", "v1", "nodes"),
        "Lease" => ("coordination.k8s.io", "v1", "leases"),
        other => panic!("{other} is not in use here"),
    };
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    match kind {
        "Node" => Api::all_with(client.clone(), &resource),
        "Lease" => Api::namespaced_with(client.clone(), "kube-node-lease", &resource),
        _ => Api::namespaced_with(client.clone(), "default", &resource),
    }
}

pub(crate) fn model(name: &str) -> Value {
    json!({
        "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceModel",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"protocol": "modbus", "properties": [
            {"name": "temperature", "type": "FLOAT", "accessMode": "ReadWrite"}]},
    })
}

pub(crate) fn device(name: &str, model: &str, node: &str) -> Value {
    json!({
        "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"deviceModelRef": {"name": model}, "nodeName": node,
            "protocol": {"protocolName": "modbus", "configData": {"url": "tcp://127.0.0.1:5020"}},
            "properties": [{"name": "temperature", "desired": {"value": "20"},
                "visitors": {"protocolName": "modbus", "configData": {"address": "hr:1", "x": {"y": 1}}}}]},
    })
}

pub(crate) fn reading(device: &str, uid: &str, value: f64) -> Up {
    Up::Reported(DeviceReport {
        name: DeviceName::new("default", device).unwrap(),
        uid: uid.to_owned(),
        state: DeviceState::Online,
        last_online_ms: Some(1_732_000_000_123),
        properties: vec![PropertyReport {
            value: Some(Twin::Float(value)),
            value_type: Some(PropertyType::Float),
            quality: Quality::Good,
            source_time_ms: Some(1_732_000_000_000),
            ..PropertyReport::new("temperature")
        }],
        conditions: Vec::new(),
        warnings: Vec::new(),
        events: Vec::new(),
        fingerprint: 0,
    })
}

pub(crate) fn reported(status: Option<&Value>) -> &str {
    status
        .and_then(|s| s["status"]["twins"][0]["reported"]["value"].as_str())
        .unwrap_or_default()
}

pub(crate) fn condition<'a>(status: Option<&'a Value>, kind: &str) -> &'a str {
    let list = status.and_then(|s| s["status"]["extensions"]["conditions"].as_array());
    let found = list.and_then(|list| list.iter().find(|c| c["type"] == kind));
    found.and_then(|c| c["reason"].as_str()).unwrap_or_default()
}
