//! `sim-modbus` as a process: the ready line, its HTTP face, its errors.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, PATIENCE, Running};

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/demo.yaml")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim-modbus"));
    command.args(arguments);
    command
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
    let mut client = Client::connect(process.address("tcp")).await;
    // The setpoint, 60.0 °C, then a write of 70.0.
    assert_eq!(client.ask(1, &[3, 0, 0, 0, 1]).await, [3, 2, 0x02, 0x58]);
    client.ask(1, &[6, 0, 0, 0x02, 0xBC]).await;
    let (status, state) = process.http("GET", "/state", "");
    assert_eq!((status, &state["signals"]["setpoint"]), (200, &json!(70.0)));
    assert_eq!(state["writes"][0]["values"], json!([700]));
    assert_eq!(state["units"][1]["name"], json!("meter"));
    assert_eq!(state["line"]["open"], json!(1));

    assert_eq!(process.http("PUT", "/signals/setpoint", "50").0, 204);
    assert_eq!(client.ask(1, &[3, 0, 0, 0, 1]).await, [3, 2, 0x01, 0xF4]);
    // A sensor that is stuck at 99.9 °C, until it is let go.
    assert_eq!(process.http("PUT", "/signals/temperature", "99.9").0, 204);
    assert_eq!(client.ask(1, &[4, 0, 0, 0, 1]).await, [4, 2, 0x03, 0xE7]);
    assert_eq!(process.http("DELETE", "/signals/temperature", "").0, 204);
    assert_ne!(client.ask(1, &[4, 0, 0, 0, 1]).await, [4, 2, 0x03, 0xE7]);
    assert_eq!(process.http("PUT", "/signals/setpoint", "200").0, 422);
    assert_eq!(process.http("PUT", "/signals/nothing", "1").0, 404);

    let fault = r#"{"fault": {"exception": 6}, "unit": 1, "requests": 1}"#;
    assert_eq!(process.http("POST", "/faults", fault).0, 204);
    assert_eq!(client.ask(1, &[3, 0, 0, 0, 1]).await, [0x83, 6]);
    assert_eq!(
        process.http("POST", "/faults", r#"{"fault": "tired"}"#).0,
        400
    );
    assert_eq!(process.http("DELETE", "/faults", "").0, 204);
    let (_, signals) = process.http("GET", "/signals", "");
    assert!(signals.as_array().is_some_and(|all| all.len() > 20));
}

#[tokio::test]
async fn it_ends_when_it_is_told_to() {
    let mut process = Process::start(&["--bench", "2,100"]);
    let mut client = Client::connect(process.address("tcp")).await;
    let first = client.ask(2, &[4, 0, 0, 0, 124]).await;
    assert_ne!(first, client.ask(2, &[4, 0, 0, 0, 124]).await);
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
        assert!(
            start.elapsed() < PATIENCE,
            "it still runs after ten seconds"
        );
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
    let error = error_of(&[demo().to_str().expect("path"), "--tcp", &address]);
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
        "units: [{unit: 1, input: [{address: 0, type: int17}]}]",
    )
    .expect("write");
    let error = error_of(&[file.to_str().expect("path")]);
    for part in ["plant.yaml", "units[0].input[0].type", "int17"] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    let error = error_of(&[folder.path().join("none.yaml").to_str().expect("path")]);
    assert!(error.contains("none.yaml"), "{error}");
}
