//! The real program, killed.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;

use crate::{
    edge::Edge,
    harness::{config_text, create, credentials, device, model, reading, reported, wait},
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
    assert_eq!(edge.store.lock().unwrap().objects.len(), 2);
    wait(&client, "DeviceStatus", "boiler", "moves on", |s| {
        reported(s) == "21"
    })
    .await;
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
