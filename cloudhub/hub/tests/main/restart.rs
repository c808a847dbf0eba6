//! The real program, killed.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use kube::{
    Client,
    api::{DeleteParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use longshore_apiserver::ApiServer;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    edge::{Edge, Store},
    harness::{
        TestHub, api, config_text, create, credentials, device, model, reading, reported, wait,
    },
};

/// `cloudhub` as a process. Dropping it kills it.
struct Program {
    child: Child,
    run: Value,
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    async fn start(folder: &Path) -> Self {
        let run_file = folder.join("state/run.json");
        let _ = std::fs::remove_file(&run_file);
        let mut child = Command::new(env!("CARGO_BIN_EXE_cloudhub"))
            .arg("--config")
            .arg(folder.join("hub.yaml"))
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Ok(text) = std::fs::read_to_string(&run_file) {
                let run = serde_json::from_str(&text).unwrap();
                return Self { child, run };
            }
            if let Some(status) = child.try_wait().unwrap() {
                panic!("cloudhub ended before it was ready: {status}");
            }
            assert!(Instant::now() < deadline, "cloudhub is not ready in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn link(&self) -> std::net::SocketAddr {
        self.run["link"].as_str().unwrap().parse().unwrap()
    }

    /// As kubectl would: over TLS, with the kubeconfig that was written.
    async fn client(&self) -> Client {
        let path = PathBuf::from(self.run["kubeconfig"].as_str().unwrap());
        let kubeconfig = Kubeconfig::read_from(path).unwrap();
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .unwrap();
        Client::try_from(config).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hub.yaml"), config_text()).unwrap();
    let issued = Command::new(env!("CARGO_BIN_EXE_cloudhub"))
        .args(["issue-node", "edge-1", "--config"])
        .arg(folder.path().join("hub.yaml"))
        .arg("--out")
        .arg(folder.path().join("edge"))
        .status()
        .unwrap();
    assert!(issued.success());
    let credentials = credentials_of(&folder.path().join("edge"));

    let mut program = Program::start(folder.path()).await;
    let client = program.client().await;
    create(&client, model("boiler")).await;
    create(&client, device("boiler", "boiler", "edge-1")).await;
    let edge = Edge::connect(program.link(), "edge-1", &credentials);
    edge.wait("device and model came", |s| s.objects.len() == 2)
        .await;
    let uid = {
        let store = edge.store.lock().unwrap();
        store.objects["Device default/boiler"]["metadata"]["uid"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    for value in 1..=20 {
        edge.report(&reading("boiler", &uid, f64::from(value)));
    }
    // Acknowledged, but most likely not yet in the DeviceStatus.
    edge.wait("all is acknowledged", |s| s.outbox.is_empty())
        .await;
    program.child.kill().unwrap();
    program.child.wait().unwrap();
    edge.wait_ended().await;
    let store = edge.store.clone();

    let program = Program::start(folder.path()).await;
    let client = program.client().await;
    wait(
        &client,
        "DeviceStatus",
        "boiler",
        "shows what was acknowledged",
        |s| reported(s) == "20",
    )
    .await;

    let edge = Edge::connect_with(program.link(), "edge-1", &credentials, store);
    edge.report(&reading("boiler", &uid, 21.0));
    edge.wait("the record that came in between is taken", |s| {
        s.outbox.is_empty()
    })
    .await;
    {
        let store = edge.store.lock().unwrap();
        assert_eq!(store.objects.len(), 2);
        assert_eq!(store.snapshots, 1, "it went on after the kill");
    }
    wait(&client, "DeviceStatus", "boiler", "moves on", |s| {
        reported(s) == "21"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_hub_goes_on_with_the_log_of_each_node() {
    let hub = TestHub::start().await;
    hub.create(model("boiler")).await;
    let devices = stream::iter(0..1000);
    let create = |n| hub.create(device(&format!("d{n}"), "boiler", "edge-1"));
    devices.for_each_concurrent(64, create).await;
    let edge = hub.edge("edge-1");
    edge.wait("all came", |s| s.objects.len() == 1001).await;
    let credentials = hub.credentials("edge-1");
    let seen = |store: &Mutex<Store>| {
        let store = store.lock().unwrap();
        (store.snapshots, store.changes)
    };
    let (snapshots, changes) = seen(&edge.store);

    // What is made behind the restart comes alone.
    let folder = stop(hub).await;
    edge.wait_ended().await;
    let hub = TestHub::start_in(folder).await;
    let edge = Edge::connect_with(hub.link(), "edge-1", &credentials, edge.store.clone());
    hub.create(device("last", "boiler", "edge-1")).await;
    edge.wait("the new one came", |s| {
        s.objects.contains_key("Device default/last")
    })
    .await;
    assert_eq!(seen(&edge.store), (snapshots, changes + 1));

    // What happens while the hub is down comes behind it, and nothing else.
    let folder = stop(hub).await;
    edge.wait_ended().await;
    let database = folder.path().join("state/kubernetes.db");
    let server = ApiServer::open(longshore_apiserver::Config::new(database)).unwrap();
    let devices = api(&Client::new(server.router(), "default"), "Device");
    let label = Patch::Merge(json!({"metadata": {"labels": {"painted": "red"}}}));
    let patched = devices.patch("d7", &PatchParams::default(), &label).await;
    patched.unwrap();
    let deleted = devices.delete("d8", &DeleteParams::default()).await;
    deleted.unwrap();
    server.shutdown().await;
    let hub = TestHub::start_in(folder).await;
    let edge = Edge::connect_with(hub.link(), "edge-1", &credentials, edge.store.clone());
    edge.wait("both came", |s| {
        s.objects["Device default/d7"]["metadata"]["labels"]["painted"] == "red"
            && !s.objects.contains_key("Device default/d8")
    })
    .await;
    assert_eq!(seen(&edge.store), (snapshots, changes + 3));
    hub.hub.stop().await;
}

async fn stop(hub: TestHub) -> TempDir {
    let TestHub {
        folder,
        hub,
        client,
    } = hub;
    drop(client);
    hub.stop().await;
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_it_cleanly_and_a_taken_port_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hub.yaml"), config_text()).unwrap();
    let mut program = Program::start(folder.path()).await;
    let edge = Edge::connect(
        program.link(),
        "edge-1",
        &credentials(&folder.path().join("state"), "edge-1"),
    );
    edge.wait("it is connected", |s| s.connections == 1).await;

    let other = tempfile::tempdir().unwrap();
    let taken = config_text().replace(
        "link: {listen: '127.0.0.1:0'}",
        &format!("link: {{listen: '{}'}}", program.link()),
    );
    std::fs::write(other.path().join("hub.yaml"), taken).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_cloudhub"))
        .arg("--config")
        .arg(other.path().join("hub.yaml"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    let said = format!("error: failed to listen on {}", program.link());
    assert!(
        text.contains(&said) && text.contains("set `link.listen`"),
        "{text}"
    );

    let killed = Command::new("kill")
        .arg(program.child.id().to_string())
        .status()
        .unwrap();
    assert!(killed.success());
    let reason = edge.wait_ended().await;
    assert!(reason.contains("unavailable"), "{reason}");
    let status = program.child.wait().unwrap();
    assert!(status.success(), "{status}");
    assert!(!folder.path().join("state/run.json").exists());
}

fn credentials_of(folder: &Path) -> crate::edge::Credentials {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    crate::edge::Credentials {
        ca: read("ca.crt"),
        holder: Some((read("node.crt"), read("node.key"))),
    }
}
