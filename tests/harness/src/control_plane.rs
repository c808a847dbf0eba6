//! A real Kubernetes API: etcd and kube-apiserver, or a cluster that the user names.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{process::Process, wait::eventually};

const HOW: &str = "hint: run `make control-plane` and set KUBEBUILDER_ASSETS to the folder it prints, \
                   or name a test cluster in LONGSHORE_TEST_KUBECONFIG";
const TOKEN: &str = "longshore-tests";

/// The Kubernetes API that a story runs against.
#[derive(Debug, Clone)]
pub enum Api {
    /// The hub's own.
    Embedded,
    /// A real one, by its kubeconfig.
    Real(PathBuf),
}

/// The hub's embedded API server.
pub fn embedded() -> Api {
    Api::Embedded
}

/// A real control plane; it ends with the guard.
pub async fn real() -> (Api, ControlPlane) {
    let control_plane = ControlPlane::start().await;
    (Api::Real(control_plane.kubeconfig.clone()), control_plane)
}

/// A running control plane.
pub struct ControlPlane {
    kubeconfig: PathBuf,
    // In the order of their end: the API server before its store.
    _processes: Vec<Process>,
    _folder: Option<TempDir>,
}

impl ControlPlane {
    async fn start() -> Self {
        if let Some(named) = std::env::var_os("LONGSHORE_TEST_KUBECONFIG") {
            return Self {
                kubeconfig: named.into(),
                _processes: vec![],
                _folder: None,
            };
        }
        let assets = assets();
        let folder = TempDir::new().expect("a temporary folder");
        let top = folder.path();
        write_secrets(top);
        let etcd = Process::start("etcd", etcd(&assets).current_dir(top), top);
        // Somebody may take the port between the choice and the start; then another is tried.
        for _ in 0..5 {
            let port = free_port();
            let mut server = Process::start(
                "kube-apiserver",
                api_server(&assets, port).current_dir(top),
                top,
            );
            if ready(&mut server, top, port).await {
                let kubeconfig = write_kubeconfig(top, port);
                return Self {
                    kubeconfig,
                    _processes: vec![server, etcd],
                    _folder: Some(folder),
                };
            }
        }
        panic!("kube-apiserver found no free port");
    }
}

fn assets() -> PathBuf {
    let named = std::env::var_os("KUBEBUILDER_ASSETS")
        .map(PathBuf::from)
        .or_else(default_assets);
    let complete = |folder: &PathBuf| {
        ["etcd", "kube-apiserver"]
            .iter()
            .all(|name| folder.join(name).is_file())
    };
    named
        .filter(complete)
        .unwrap_or_else(|| panic!("no etcd and kube-apiserver\n\n{HOW}"))
}

/// Where `tests/kubernetes/build` puts them.
fn default_assets() -> Option<PathBuf> {
    let output = Command::new(crate::binaries::checkout().join("tests/kubernetes/build"))
        .arg("--where")
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

fn write_secrets(folder: &Path) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let write = |name: &str, text: &str| {
        fs::write(folder.join(name), text).expect("the test's folder is writable")
    };
    write("sa.key", &key.serialize_pem());
    write("sa.pub", &key.public_key_pem());
    write(
        "tokens.csv",
        &format!("{TOKEN},admin,admin,system:masters\n"),
    );
}

fn etcd(assets: &Path) -> Command {
    let mut command = Command::new(assets.join("etcd"));
    command.args([
        "--data-dir",
        "etcd",
        "--unsafe-no-fsync",
        "--log-level",
        "warn",
    ]);
    command.args([
        "--listen-client-urls",
        "unix://client.sock",
        "--advertise-client-urls",
        "unix://client.sock",
    ]);
    command.args(["--listen-peer-urls", "unix://peer.sock"]);
    command
}

fn api_server(assets: &Path, port: u16) -> Command {
    let mut command = Command::new(assets.join("kube-apiserver"));
    command.args([
        "--etcd-servers",
        "unix://client.sock",
        "--cert-dir",
        "certs",
        "--bind-address",
        "127.0.0.1",
    ]);
    command.args([
        "--secure-port",
        &port.to_string(),
        "--advertise-address",
        "127.0.0.1",
    ]);
    command.args([
        "--endpoint-reconciler-type",
        "none",
        "--service-cluster-ip-range",
        "10.0.0.0/24",
    ]);
    command.args([
        "--authorization-mode",
        "Node,RBAC",
        "--token-auth-file",
        "tokens.csv",
        "--allow-privileged=true",
    ]);
    command.args(["--service-account-issuer", "https://kubernetes.default.svc"]);
    command.args([
        "--service-account-key-file",
        "sa.pub",
        "--service-account-signing-key-file",
        "sa.key",
    ]);
    command
}

/// Whether it became ready; `false` when its port was taken.
async fn ready(server: &mut Process, folder: &Path, port: u16) -> bool {
    let kubeconfig = write_kubeconfig(folder, port);
    let server = std::cell::RefCell::new(server);
    eventually("kube-apiserver to be ready", || async {
        let ended = ended_because_taken(&mut server.borrow_mut());
        if let Some(taken) = ended {
            assert!(taken, "kube-apiserver: {}", server.borrow().log_tail());
            return Ok(false);
        }
        if !folder.join("certs/apiserver.crt").is_file() {
            return Err("no certificate yet".to_owned());
        }
        let client = crate::hub::client(&kubeconfig)
            .await
            .map_err(|error| error.to_string())?;
        let request = http_request("/readyz");
        client
            .request_text(request)
            .await
            .map(|_| true)
            .map_err(|error| error.to_string())
    })
    .await
}

/// `None` while it runs; else whether it ended for want of its port.
fn ended_because_taken(server: &mut Process) -> Option<bool> {
    server
        .ended()
        .map(|_| server.log().contains("address already in use"))
}

fn http_request(path: &str) -> http::Request<Vec<u8>> {
    http::Request::get(path)
        .body(Vec::new())
        .expect("a valid path")
}

fn write_kubeconfig(folder: &Path, port: u16) -> PathBuf {
    let path = folder.join("kubeconfig");
    let certificate = folder.join("certs/apiserver.crt");
    let text = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "tests",
        "clusters": [{"name": "tests", "cluster": {"server": format!("https://127.0.0.1:{port}"), "certificate-authority": certificate}}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "admin"}}],
    });
    fs::write(&path, format!("{text:#}")).expect("the test's folder is writable");
    path
}
