//! The simulators as their users meet them: the ready line, the HTTP face,
//! errors with their hints, the end.

mod bluetooth;
mod process;
mod serial;

use std::{net::TcpListener, os::unix::fs::symlink, process::Command};

use crate::process::{Process, command, demo, error_of};

#[test]
fn each_says_where_it_is_and_ends_when_it_is_told_to() {
    let keys = [
        ("modbus", "tcp"),
        ("opcua", "url"),
        ("serial", "url"),
        ("bluetooth", "bus"),
    ];
    for (protocol, key) in keys {
        let mut process = Process::start(protocol, &[&demo(protocol), "--control", "127.0.0.1:0"]);
        assert!(process.ready[key].is_string(), "{}", process.ready);
        let (status, state) = process.http("GET", "/state", "");
        assert_eq!(status, 200);
        assert!(state["signals"].is_object() && state["faults"].is_array());
        let (_, signals) = process.http("GET", "/signals", "");
        assert!(signals.as_array().is_some_and(|all| !all.is_empty()));
        let (status, refused) = process.http("POST", "/faults", r#"{"fault": "tired"}"#);
        assert_eq!(status, 400);
        assert!(refused["error"].is_string(), "{refused}");
        assert_eq!(process.http("DELETE", "/counters", "").0, 204);
        process.terminate();
    }
}

#[test]
fn the_bench_scenario_needs_no_file() {
    let mut process = Process::start("modbus", &["--bench", "2,100"]);
    assert!(process.ready["tcp"].is_string());
    process.terminate();
}

/// As whoever knows the simulators by their former names calls them.
#[test]
fn a_link_of_its_own_name_is_a_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let link = folder.path().join("sim-opcua");
    symlink(env!("CARGO_BIN_EXE_longshore-sim"), &link).expect("a link");
    let output = Command::new(link).arg("--help").output().expect("it runs");
    let help = String::from_utf8_lossy(&output.stdout);
    assert!(help.contains("Usage: longshore-sim opcua"), "{help}");
}

#[test]
fn a_taken_port_is_named_with_what_helps() {
    let other = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = other.local_addr().expect("address").to_string();
    let port = address.rsplit(':').next().expect("port");
    let places = [
        ("modbus", "--tcp"),
        ("opcua", "--listen"),
        ("serial", "--tcp"),
        ("bluetooth", "--control"),
    ];
    for (protocol, flag) in places {
        let place = match protocol {
            "serial" => format!("gps={address}"),
            _ => address.clone(),
        };
        let error = error_of(protocol, &[&demo(protocol), flag, &place]);
        assert!(
            error.contains(port) && error.contains("taken") && error.contains("\n\nhint: "),
            "{protocol}: {error}"
        );
    }
}

#[test]
fn a_wrong_scenario_is_named_with_its_key() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("plant.yaml");
    let path = file.to_str().expect("a path");
    let wrong = [
        (
            "modbus",
            "units: [{unit: 1, input: [{address: 0, type: int17}]}]",
            "units[0].input[0].type",
        ),
        (
            "opcua",
            "objects: [{name: O, variables: [{name: A, type: int17}]}]",
            "objects[0].variables[0].type",
        ),
    ];
    for (protocol, text, key) in wrong {
        std::fs::write(&file, text).expect("write");
        let error = error_of(protocol, &[path]);
        for part in ["plant.yaml", key, "int17"] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
    }
    for protocol in ["modbus", "opcua", "serial", "bluetooth"] {
        let error = error_of(protocol, &["/nowhere/none.yaml"]);
        assert!(error.contains("none.yaml"), "{protocol}: {error}");
    }
}

#[test]
fn a_scenario_and_the_bench_exclude_each_other() {
    let output = command("modbus", &[&demo("modbus"), "--bench", "1,1"]).output();
    assert_eq!(output.expect("it runs").status.code(), Some(2));
}
