//! Foreign servers under test, and what each has.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::OnceLock,
};

use longshore_sdk::testing::TestMapper;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Opcua;

/// The namespace of both servers.
pub(super) const NAMESPACE: &str = "urn:longshore:peer";

/// A running server; ends with the test.
pub(super) struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    pub(super) url: String,
    pub(super) certificate: PathBuf,
    pub(super) authority: PathBuf,
}

impl Peer {
    fn start(mut command: Command, arguments: &[&str]) -> Self {
        command.args(arguments);
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("{command:?} said `{line}` in place of a line of JSON"));
        let text = |key: &str| ready[key].as_str().unwrap_or_default().to_owned();
        Self {
            child,
            input,
            output,
            url: text("url"),
            certificate: text("certificate").into(),
            authority: text("authority").into(),
        }
    }

    /// # Panics
    /// asyncua is missing.
    pub(super) fn asyncua(arguments: &[&str]) -> Self {
        let python = env::var("LONGSHORE_PYTHON").expect(
            "LONGSHORE_PYTHON is not set: `make test` sets it, or \
             export LONGSHORE_PYTHON=$(deploy/setup/python)",
        );
        let mut command = Command::new(python);
        command.arg(peers().join("asyncua_server.py"));
        // Making a key takes a second.
        let keys = ["--pki", cache("asyncua").to_str().expect("text")].map(str::to_owned);
        command.args(keys);
        Self::start(command, arguments)
    }

    /// # Panics
    /// node-opcua is missing.
    pub(super) fn node(arguments: &[&str]) -> Self {
        let node = env::var("LONGSHORE_NODE").ok().map(PathBuf::from);
        let node = node.unwrap_or_else(|| {
            let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/setup/node");
            let found = Command::new(&setup)
                .output()
                .expect("deploy/setup/node runs");
            assert!(
                found.status.success(),
                "no node-opcua: {}",
                String::from_utf8_lossy(&found.stderr)
            );
            String::from_utf8_lossy(&found.stdout).trim().into()
        });
        let mut command = Command::new(node);
        command.arg(peers().join("node_server/server.js"));
        let keys = ["--pki", cache("node").to_str().expect("text")].map(str::to_owned);
        command.args(keys);
        Self::start(command, arguments)
    }

    /// A command, and that it was carried out.
    pub(super) fn say(&mut self, command: &str) {
        let input = self.input.as_mut().expect("open");
        writeln!(input, "{command}").expect("the server listens");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("an answer");
        assert_eq!(line.trim(), "ok", "to `{command}`");
    }

    /// Ends the server at once, as a crash does; gives its port.
    pub(super) fn kill(mut self) -> String {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
        self.port()
    }

    pub(super) fn port(&self) -> String {
        let rest = self.url.rsplit(':').next().unwrap_or_default();
        rest.split('/').next().unwrap_or_default().to_owned()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers")
}

/// Keys that are made once for all runs.
fn cache(name: &str) -> PathBuf {
    let folder = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(env::temp_dir)
        .join("longshore/opcua-peers")
        .join(name);
    fs::create_dir_all(&folder).expect("a folder in the cache");
    folder
}

/// Our certificates, made once for all tests of a run.
pub(super) fn pki() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER
        .get_or_init(|| TempDir::new().expect("a temporary folder"))
        .path()
}

pub(super) fn mapper() -> TestMapper<Opcua> {
    TestMapper::start(json!({"pki": pki()}))
}

/// `protocol.configData` without protection.
pub(super) fn plain(url: &str) -> Value {
    json!({"url": url, "security": {"policy": "none"}, "timeout": "2s"})
}

/// A node of the machine.
pub(super) fn node(name: &str) -> Value {
    json!({"node": format!("nsu={NAMESPACE};s=Machine.{name}")})
}

/// A point of a machine's node.
pub(super) fn point(name: &str, twin: &str, node_name: &str) -> Value {
    json!({"name": name, "type": twin, "config": node(node_name)})
}

/// The scalar and array nodes, and their values as the mapper gives them.
pub(super) fn values() -> Vec<(&'static str, Value)> {
    vec![
        ("Boolean", json!(true)),
        ("SByte", json!(-8)),
        ("Byte", json!(8)),
        ("Int16", json!(-16)),
        ("UInt16", json!(16)),
        ("Int32", json!(-32)),
        ("UInt32", json!(32)),
        ("Int64", json!(-64)),
        ("UInt64", json!(9_223_372_036_854_775_808_u64)),
        ("Float", json!(1.5)),
        ("Double", json!(2.25)),
        ("String", json!("text")),
        ("DateTime", json!("2024-05-06T07:08:09Z")),
        ("Guid", json!("00112233-4455-6677-8899-aabbccddeeff")),
        ("ByteString", json!([1, 2, 255])),
        ("QualifiedName", json!("1:name")),
        ("LocalizedText", json!("press")),
        ("Int32Array", json!("[1,2,3]")),
        ("DoubleArray", json!("[1.5,2.5]")),
        ("StringArray", json!("[\"a\",\"b\"]")),
        ("Matrix", json!("[[1,2,3],[4,5,6]]")),
    ]
}

/// What to write to them.
pub(super) fn written() -> Vec<(&'static str, Value)> {
    vec![
        ("Boolean", json!(false)),
        ("SByte", json!(-7)),
        ("Byte", json!(255)),
        ("Int16", json!(-300)),
        ("UInt16", json!(65_535)),
        ("Int32", json!(-70_000)),
        ("UInt32", json!(4_000_000_000_u32)),
        ("Int64", json!(-5_000_000_000_i64)),
        ("UInt64", json!(6_000_000_000_u64)),
        ("Float", json!(-0.5)),
        ("Double", json!(1e-3)),
        ("String", json!("other")),
        ("DateTime", json!("2025-01-02T03:04:05.500Z")),
        ("Guid", json!("11111111-2222-3333-4444-555555555555")),
        ("LocalizedText", json!("lathe")),
        ("Int32Array", json!("[9,8]")),
        ("DoubleArray", json!("[0.25]")),
        ("StringArray", json!("[\"z\"]")),
        ("Matrix", json!("[[6,5,4],[3,2,1]]")),
    ]
}

/// JSON as the host would send it.
pub(super) fn sample(value: &Value) -> longshore_sdk::SampleValue {
    use longshore_sdk::SampleValue;
    match value {
        Value::Bool(value) => SampleValue::Bool(*value),
        Value::String(value) => SampleValue::String(value.clone()),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), ..) => SampleValue::Int(value),
            (_, Some(value), _) => SampleValue::Uint(value),
            (_, _, value) => SampleValue::Float(value.expect("a number")),
        },
        other => panic!("{other} is not sent"),
    }
}
