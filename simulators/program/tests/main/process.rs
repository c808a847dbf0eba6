//! A simulator as a process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A process that ends with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn command(protocol: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore-sim"));
    command.arg(protocol).args(arguments);
    command
}

/// What it says instead of running.
pub(crate) fn error_of(protocol: &str, arguments: &[&str]) -> String {
    let output = command(protocol, arguments).output().expect("it runs");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A scenario of this repository.
pub(crate) fn demo(protocol: &str) -> String {
    format!(
        "{}/../{protocol}/scenarios/demo.yaml",
        env!("CARGO_MANIFEST_DIR")
    )
}

pub(crate) struct Process {
    pub(crate) ready: Value,
    pub(crate) child: Running,
}

impl Process {
    pub(crate) fn start(protocol: &str, arguments: &[&str]) -> Self {
        let child = command(protocol, arguments).stdout(Stdio::piped()).spawn();
        let mut child = Running(child.expect("it starts"));
        let mut line = String::new();
        let out = child.0.stdout.take().expect("piped");
        BufReader::new(out)
            .read_line(&mut line)
            .expect("the ready line");
        let ready = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
        Self { ready, child }
    }

    /// Ends it as a service manager does.
    pub(crate) fn terminate(&mut self) {
        let id = self.child.0.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.expect("kill").success());
        wait("it to end", || match self.child.0.try_wait() {
            Ok(Some(status)) if status.success() => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    /// One HTTP request to the control address: status and body.
    pub(crate) fn http(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let control = self.ready["control"].as_str().expect("a control address");
        let mut stream = TcpStream::connect(control).expect("control");
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
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
        (
            status.expect("a status"),
            serde_json::from_str(body).unwrap_or(Value::Null),
        )
    }
}

/// Waits until a condition holds, else says what is instead.
pub(crate) fn wait(what: &str, mut holds: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + PATIENCE;
    while let Err(status) = holds() {
        assert!(Instant::now() < end, "waited in vain for {what}: {status}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
