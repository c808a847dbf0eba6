//! `sim-bluetooth` as a process: the ready line, its HTTP face, its errors, its end.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

struct Process {
    ready: Value,
    child: Child,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim-bluetooth"));
    command.args(arguments);
    command
}

impl Process {
    fn start() -> Self {
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/demo.yaml");
        let arguments = [demo.to_str().expect("a path"), "--control", "127.0.0.1:0"];
        let mut child = command(&arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out)
            .read_line(&mut line)
            .expect("the ready line");
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        Self { ready, child }
    }

    /// Where the bus's socket is.
    fn socket(&self) -> String {
        let address = self.ready["bus"].as_str().expect("a bus");
        address
            .strip_prefix("unix:path=")
            .expect("a path")
            .to_owned()
    }

    fn http(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let address: SocketAddr = self.ready["control"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("control");
        let mut stream = TcpStream::connect(address).expect("control");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
            .expect("request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status");
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// The bus is gone once nobody listens on its socket.
    fn wait_bus_gone(&self) {
        let (socket, start) = (self.socket(), Instant::now());
        while UnixStream::connect(&socket).is_ok() {
            assert!(
                start.elapsed() < PATIENCE,
                "the bus {socket} still runs after ten seconds"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn it_can_be_looked_at_and_steered() {
    let process = Process::start();
    let (status, state) = process.http("GET", "/state", "");
    assert_eq!((status, &state["signals"]["setpoint"]), (200, &json!(21.0)));
    assert_eq!(state["devices"][1]["name"], "Longshore room");
    assert_eq!(state["adapters"]["hci0"]["powered"], true);
    assert_eq!(process.http("PUT", "/signals/setpoint", "25").0, 204);
    assert_eq!(process.http("PUT", "/signals/setpoint", "99").0, 422);
    assert_eq!(process.http("PUT", "/signals/nothing", "1").0, 404);
    assert_eq!(
        process.http("PUT", "/signals/roomTemperature", "-40").0,
        204
    );
    assert_eq!(
        process.http("DELETE", "/signals/roomTemperature", "").0,
        204
    );
    let fault = r#"{"fault": {"attError": 14}, "device": "Longshore room", "requests": 1}"#;
    assert_eq!(process.http("POST", "/faults", fault).0, 204);
    assert_eq!(
        process.http("POST", "/faults", r#"{"fault": "tired"}"#).0,
        400
    );
    assert_eq!(
        process.http("GET", "/state", "").1["faults"][0]["fault"],
        json!({"attError": 14})
    );
    assert_eq!(process.http("DELETE", "/faults", "").0, 204);
    assert_eq!(
        process.http("POST", "/actions", r#"{"do": "powerOff"}"#).0,
        204
    );
    assert_eq!(
        process
            .http(
                "POST",
                "/actions",
                r#"{"do": "forget", "device": "nobody"}"#
            )
            .0,
        404
    );
    assert_eq!(
        process.http("GET", "/state", "").1["adapters"]["hci0"]["powered"],
        false
    );
}

#[test]
fn it_ends_with_its_bus_when_it_is_told_to() {
    let mut process = Process::start();
    UnixStream::connect(process.socket()).expect("the bus is there");
    let id = process.child.id().to_string();
    let told = Command::new("kill")
        .args(["-TERM", &id])
        .status()
        .expect("kill");
    assert!(told.success());
    assert!(process.child.wait().expect("it ends").success());
    process.wait_bus_gone();
}

#[test]
fn the_bus_ends_also_when_it_is_killed() {
    let mut process = Process::start();
    process.child.kill().expect("killed");
    process.child.wait().expect("it ends");
    process.wait_bus_gone();
}

#[test]
fn a_wrong_scenario_is_named_with_all_its_faults() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("room.yaml");
    let write = |text: &str| {
        std::fs::write(&file, text).expect("written");
        let output = command(&[file.to_str().expect("a path")])
            .output()
            .expect("it runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let error = write(
        "devices: [{address: '00:11', adapter: hci7, adverts: [{service: 18, data: [{signal: heat}, {bytes: xyz}, {}]}]}]",
    );
    for part in [
        "room.yaml",
        "`devices[0].address`: `00:11` is no address",
        "`devices[0].adapter`: no adapter is named `hci7`",
        "`devices[0].adverts[0].service`: `18` is no UUID",
        "`devices[0].adverts[0].data[0].signal`: no signal is named `heat`",
        "`devices[0].adverts[0].data[1].bytes`",
        "`devices[0].adverts[0].data[2]`: write one of bytes, text, signal, value",
    ] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    let error = write("devices: [{address: '00:11:22:33:44:55', colour: red}]");
    assert!(
        error.contains("devices[0]") && error.contains("colour"),
        "{error}"
    );
}
