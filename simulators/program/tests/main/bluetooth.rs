//! Bluetooth: the HTTP face, the errors, and the bus that ends with the process.

use std::os::unix::net::UnixStream;

use serde_json::json;

use crate::process::{Process, demo, error_of, wait};

fn start() -> Process {
    Process::start(
        "bluetooth",
        &[&demo("bluetooth"), "--control", "127.0.0.1:0"],
    )
}

/// Where the bus's socket is.
fn socket(process: &Process) -> &str {
    let address = process.ready["bus"].as_str().expect("a bus");
    address.strip_prefix("unix:path=").expect("a path")
}

/// The bus is gone once nobody listens on its socket.
fn wait_bus_gone(process: &Process) {
    wait("the bus to be gone", || {
        match UnixStream::connect(socket(process)) {
            Ok(_) => Err("it still runs".to_owned()),
            Err(_) => Ok(()),
        }
    });
}

#[test]
fn it_can_be_looked_at_and_steered() {
    let process = start();
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
    let mut process = start();
    UnixStream::connect(socket(&process)).expect("the bus is there");
    process.terminate();
    wait_bus_gone(&process);
}

#[test]
fn the_bus_ends_also_when_it_is_killed() {
    let mut process = start();
    process.child.0.kill().expect("killed");
    process.child.0.wait().expect("it ends");
    wait_bus_gone(&process);
}

#[test]
fn a_wrong_scenario_is_named_with_all_its_faults() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("room.yaml");
    let write = |text: &str| {
        std::fs::write(&file, text).expect("written");
        error_of("bluetooth", &[file.to_str().expect("a path")])
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
