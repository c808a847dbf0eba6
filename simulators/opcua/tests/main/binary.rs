//! `sim-opcua` as a process: the ready line, its HTTP face, its errors.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, PATIENCE};

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/demo.yaml")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim-opcua"));
    command.args(arguments);
    command
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Process {
    ready: Value,
    child: Running,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Running(
            command(arguments)
                .stdout(Stdio::piped())
                .spawn()
                .expect("spawn"),
        );
        let mut line = String::new();
        let out = child.0.stdout.take().expect("stdout");
        BufReader::new(out)
            .read_line(&mut line)
            .expect("the ready line");
        let ready = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
        Self { ready, child }
    }

    fn address(&self, key: &str) -> SocketAddr {
        let text = self.ready[key]
            .as_str()
            .unwrap_or_else(|| panic!("no {key} in {}", self.ready));
        text.parse().expect("an address")
    }

    /// One HTTP request to the control address: status and body.
    fn http(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address("control")).expect("control");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .expect("request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .expect("a status");
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

#[tokio::test]
async fn the_demo_runs_and_can_be_steered() {
    let process = Process::start(&[demo().to_str().expect("path"), "--control", "127.0.0.1:0"]);
    let url = process.ready["url"].as_str().expect("a url");
    let mut client = Client::connect(url).await;
    let setpoint = "ns=2;s=Press.Setpoint";
    assert_eq!(client.read(setpoint).await.0, json!(180.0));
    client.ok(json!(["write", setpoint, "Double", 200.0])).await;
    let (status, state) = process.http("GET", "/state", "");
    assert_eq!(
        (status, &state["signals"]["setpoint"]),
        (200, &json!(200.0))
    );
    assert_eq!(state["values"][setpoint], json!(200.0));
    assert_eq!(state["writes"][0]["value"], json!(200.0));
    assert_eq!(state["totals"]["open"], json!(1));

    assert_eq!(process.http("PUT", "/signals/setpoint", "150").0, 204);
    assert_eq!(client.read(setpoint).await.0, json!(150.0));
    let temperature = "/nodes/ns=2;s=Press.Temperature";
    // A sensor that is stuck at 99.5 °C, until it is let go.
    assert_eq!(process.http("PUT", temperature, "99.5").0, 204);
    assert_eq!(client.read("ns=2;s=Press.Temperature").await.0, json!(99.5));
    assert_eq!(process.http("DELETE", "/signals/temperature", "").0, 204);
    assert_ne!(client.read("ns=2;s=Press.Temperature").await.0, json!(99.5));
    assert_eq!(process.http("PUT", "/signals/setpoint", "900").0, 422);
    assert_eq!(process.http("PUT", "/signals/nothing", "1").0, 404);
    assert_eq!(process.http("GET", "/nodes/ns=2;s=None", "").0, 404);

    let status = format!("{temperature}/status");
    assert_eq!(process.http("PUT", &status, "\"BadSensorFailure\"").0, 204);
    let read = client.read("ns=2;s=Press.Temperature").await;
    assert_eq!(read.1, "BadSensorFailure");
    assert_eq!(process.http("PUT", &status, "\"Tired\"").0, 400);

    let fault =
        r#"{"fault": {"exception": "BadTooManyOperations"}, "service": "write", "requests": 1}"#;
    assert_eq!(process.http("POST", "/faults", fault).0, 204);
    let write = json!(["write", setpoint, "Double", 100.0]);
    assert_eq!(client.error(write).await, "BadTooManyOperations");
    assert_eq!(
        process.http("POST", "/faults", r#"{"fault": "tired"}"#).0,
        400
    );
    assert_eq!(process.http("DELETE", "/faults", "").0, 204);

    assert_eq!(process.http("DELETE", "/sessions", "").0, 204);
    assert_eq!(
        client.error(json!(["read", setpoint])).await,
        "BadSessionIdInvalid"
    );
    assert_eq!(process.http("POST", "/restart", "{\"downMs\": 10}").0, 204);
    let mut client = Client::connect(url).await;
    assert_eq!(client.read(setpoint).await.0, json!(150.0));
}

#[tokio::test]
async fn it_ends_when_it_is_told_to() {
    let mut process = Process::start(&[demo().to_str().expect("path")]);
    let url = process.ready["url"].as_str().expect("a url");
    // A client that is connected does not hold it up.
    let _client = Client::connect(url).await;
    let id = process.child.0.id().to_string();
    let kill = Command::new("kill")
        .args(["-TERM", &id])
        .status()
        .expect("kill");
    assert!(kill.success());
    let start = Instant::now();
    let status = loop {
        if let Some(status) = process.child.0.try_wait().expect("wait") {
            break status;
        }
        assert!(start.elapsed() < PATIENCE, "it still runs after a while");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(status.success(), "{status}");
}

fn error_of(arguments: &[&str]) -> String {
    let output = command(arguments).output().expect("run");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_taken_port_is_named() {
    let other = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = other.local_addr().expect("address").to_string();
    let port = address.rsplit(':').next().expect("port");
    let error = error_of(&[demo().to_str().expect("path"), "--listen", &address]);
    assert!(
        error.contains(port) && error.contains("taken") && error.contains("hint:"),
        "{error}"
    );
}

#[test]
fn a_wrong_scenario_is_named_with_its_key() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("plant.yaml");
    std::fs::write(
        &file,
        "objects: [{name: O, variables: [{name: A, type: int17}]}]",
    )
    .expect("write");
    let error = error_of(&[file.to_str().expect("path")]);
    for part in ["plant.yaml", "objects[0].variables[0].type", "int17"] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    let error = error_of(&[folder.path().join("none.yaml").to_str().expect("path")]);
    assert!(error.contains("none.yaml"), "{error}");
}
