//! The same check against foreign stacks: libmodbus and pymodbus.

use longshore_sdk::testing::{Kill, ports};
use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::json;
use tempfile::TempDir;

use super::rig::check_device;

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers")
}

/// Starts a server and reads the port from its `ready PORT`.
fn serve(mut command: Command) -> (Kill, u16) {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child =
        Kill(child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}")));
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("a line");
    let port = line
        .trim()
        .strip_prefix("ready ")
        .unwrap_or_else(|| panic!("{command:?} said `{line}`"));
    (child, port.parse().expect("a port"))
}

pub(super) fn pymodbus(arguments: &[&str]) -> (Kill, u16) {
    let python = env::var("LONGSHORE_PYTHON").expect(
        "LONGSHORE_PYTHON is not set: `make test` sets it, or \
         python3 -m venv VENV && VENV/bin/pip install 'pymodbus[serial]==3.16.1' && export LONGSHORE_PYTHON=VENV/bin/python",
    );
    let mut command = Command::new(python);
    command
        .arg(peers().join("pymodbus_server.py"))
        .args(arguments);
    serve(command)
}

/// The C program, compiled here.
pub(super) fn libmodbus(arguments: &[&str]) -> (Kill, u16, TempDir) {
    let folder = TempDir::new().expect("a temporary folder");
    let flags = Command::new("pkg-config")
        .args(["--cflags", "--libs", "libmodbus"])
        .output();
    let flags = flags.expect("pkg-config is missing; install it: apt-get install pkg-config");
    assert!(
        flags.status.success(),
        "libmodbus is missing; install it: apt-get install libmodbus-dev"
    );
    let flags = String::from_utf8(flags.stdout).expect("flags are text");
    let program = folder.path().join("server");
    let compiled = Command::new("cc")
        .arg("-o")
        .arg(&program)
        .arg(peers().join("libmodbus_server.c"))
        .args(flags.split_whitespace())
        .status()
        .expect("cc is missing; install it: apt-get install gcc");
    assert!(compiled.success(), "the libmodbus server does not compile");
    let mut command = Command::new(program);
    command.args(arguments);
    let (child, port) = serve(command);
    (child, port, folder)
}

#[test]
fn pymodbus_over_tcp() {
    let (_server, port) = pymodbus(&["tcp"]);
    check_device(&json!({"url": format!("tcp://127.0.0.1:{port}")}));
}

#[test]
fn pymodbus_over_rtu() {
    let ports = ports();
    let (_server, _) = pymodbus(&["rtu", &ports.theirs.display().to_string()]);
    check_device(&json!({"url": format!("rtu://{}?baud=19200", ports.ours.display()), "unit": 2}));
}

#[test]
fn pymodbus_over_ascii() {
    let ports = ports();
    let (_server, _) = pymodbus(&["ascii", &ports.theirs.display().to_string()]);
    check_device(&json!({"url": format!("ascii://{}?baud=19200", ports.ours.display())}));
}

#[test]
fn libmodbus_over_tcp() {
    let (_server, port, _folder) = libmodbus(&["tcp"]);
    check_device(&json!({"url": format!("tcp://127.0.0.1:{port}")}));
}

#[test]
fn libmodbus_over_rtu() {
    let ports = ports();
    let (_server, _, _folder) = libmodbus(&["rtu", &ports.theirs.display().to_string()]);
    check_device(&json!({"url": format!("rtu://{}?baud=19200", ports.ours.display())}));
}
