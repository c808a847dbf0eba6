//! The foreign client: asyncua in a process of its own, see `client.py`.

use std::env;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Long against anything that should happen, short against a hanging test run.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Ends with the test.
pub(crate) struct Client {
    _process: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Client {
    pub(crate) fn start() -> Self {
        let python = env::var("LONGSHORE_PYTHON").expect(
            "LONGSHORE_PYTHON is not set: `make test` sets it, or \
             export LONGSHORE_PYTHON=$(deploy/setup/python)",
        );
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/main/client.py");
        let mut process = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the Python of LONGSHORE_PYTHON starts");
        let to = process.stdin.take().expect("stdin");
        let from = BufReader::new(process.stdout.take().expect("stdout")).lines();
        Self {
            _process: process,
            to,
            from,
        }
    }

    pub(crate) async fn connect(url: &str) -> Self {
        let mut client = Self::start();
        client.ok(json!(["connect", url])).await;
        client
    }

    /// The answer to a command.
    pub(crate) async fn ask(&mut self, command: Value) -> Value {
        let answer = async {
            self.to
                .write_all(format!("{command}\n").as_bytes())
                .await
                .expect("a client that listens");
            self.from.next_line().await.expect("a client that answers")
        };
        let line = tokio::time::timeout(PATIENCE, answer)
            .await
            .unwrap_or_else(|_| panic!("no answer to {command}"))
            .expect("a client that has not ended");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    pub(crate) async fn ok(&mut self, command: Value) -> Value {
        let text = command.to_string();
        let mut answer = self.ask(command).await;
        assert!(answer.get("ok").is_some(), "{text}: {answer}");
        answer["ok"].take()
    }

    pub(crate) async fn error(&mut self, command: Value) -> String {
        let text = command.to_string();
        let answer = self.ask(command).await;
        let error = answer["error"].as_str();
        error
            .unwrap_or_else(|| panic!("{text}: {answer}"))
            .to_owned()
    }

    /// Value and status of a node.
    pub(crate) async fn read(&mut self, node: &str) -> (Value, String) {
        let mut read = self.ok(json!(["read", node])).await;
        let status = read[1].as_str().expect("a status").to_owned();
        (read[0].take(), status)
    }

    pub(crate) async fn subscribe(&mut self, interval: u32, nodes: &[&str], more: Value) {
        self.ok(json!(["subscribe", interval, nodes, more])).await;
    }

    /// Collects notifications until a condition holds of all of them.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        mut holds: impl FnMut(&[Value]) -> bool,
    ) -> Vec<Value> {
        let end = Instant::now() + PATIENCE;
        let mut all = Vec::new();
        while !holds(&all) {
            assert!(Instant::now() < end, "waited in vain for {what}: {all:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
            let taken = self.ok(json!(["taken"])).await;
            all.extend(taken.as_array().cloned().unwrap_or_default());
        }
        all
    }
}
