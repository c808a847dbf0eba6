//! The command line as a process.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn longshore(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_longshore"))
        .args(arguments)
        .env_remove("KUBECONFIG")
        .env("HOME", home.path())
        .env("LONGSHORE_HOME", home.path())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Each profile of `devices/` through the real edge core and mapper, against
/// a simulated device.
#[test]
fn the_profiles_pass_their_tests() {
    let own = Path::new(env!("CARGO_BIN_EXE_longshore")).parent().unwrap();
    let of_protocols = ["modbus", "opcua", "serial", "bluetooth"]
        .into_iter()
        .flat_map(|protocol| {
            [
                format!("sim-{protocol}"),
                format!("libmapper_{protocol}.so"),
            ]
        });
    for needed in of_protocols.chain(["edgecore".to_owned()]) {
        assert!(
            own.join(&needed).is_file(),
            "{needed} is missing; run `cargo build --workspace`"
        );
    }
    let devices = Path::new(env!("CARGO_MANIFEST_DIR")).join("../devices");
    let mut tests: Vec<PathBuf> = std::fs::read_dir(devices)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|folder| folder.is_dir())
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|file| file.to_string_lossy().ends_with(".test.yaml"))
        .collect();
    tests.sort();
    let mut arguments = vec!["test", "profile", "--timeout", "30"];
    arguments.extend(tests.iter().map(|test| test.to_str().unwrap()));
    let output = longshore(&arguments);
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    assert!(tests.len() >= 16, "{} profiles", tests.len());
    let passed = format!("{} profiles passed\n", tests.len());
    assert!(text(&output.stdout).ends_with(&passed));
}

#[test]
fn errors_say_what_to_do() {
    let none = longshore(&["get", "devices"]);
    assert_eq!(none.status.code(), Some(1));
    let told = text(&none.stderr);
    assert!(
        told.contains("\n\nhint: start the demo with `make up`"),
        "{told}"
    );

    let wrong = longshore(&["set", "device", "boiler", "setpoint"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("expected PROPERTY=VALUE"));
}

#[test]
fn a_kind_that_was_left_out_is_named() {
    for (given, meant) in [
        (
            vec!["describe", "boiler"],
            "longshore describe device boiler",
        ),
        (
            vec!["set", "boiler", "setpoint=75"],
            "longshore set device boiler setpoint=75",
        ),
    ] {
        let output = longshore(&given);
        assert_eq!(output.status.code(), Some(2));
        let told = text(&output.stderr);
        assert!(
            told.contains(&format!("hint: did you mean: {meant}\n")),
            "{told}"
        );
    }
}

/// A server that is not there: the error names it.
#[test]
fn a_server_that_does_not_answer_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let kubeconfig = folder.path().join("kubeconfig");
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": format!("https://{address}")}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "users": [{"name": "a", "user": {"token": "t"}}],
    });
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    let output = longshore(&[
        "get",
        "devices",
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
    ]);
    let told = text(&output.stderr);
    assert!(
        told.starts_with(&format!(
            "error: cannot reach the Kubernetes API at https://{address}"
        )),
        "{told}"
    );
}

#[test]
fn mapper_libraries_are_shown_and_judged() {
    let own = Path::new(env!("CARGO_BIN_EXE_longshore")).parent().unwrap();
    let library = own.join("libmapper_modbus.so");
    assert!(
        library.is_file(),
        "{} is missing; run `cargo build -p longshore-mapper-modbus-plugin`",
        library.display()
    );
    let library = library.to_str().unwrap();
    let shown = longshore(&["mapper", "show", library]);
    assert!(
        text(&shown.stdout).starts_with("name      modbus\n"),
        "{shown:?}"
    );
    let judged = longshore(&[
        "mapper",
        "check",
        library,
        "--rule",
        "schema",
        "--rule",
        "stopped-refuses-commands",
        "--output",
        "json",
    ]);
    assert!(judged.status.success(), "{judged:?}");
    let report: serde_json::Value = serde_json::from_slice(&judged.stdout).unwrap();
    assert_eq!(report["rules"][0]["rule"], "schema");
    assert_eq!(report["rules"][1]["verdict"], "kept", "{report}");

    let none = longshore(&["mapper", "check", "/no/such/file.so"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stdout).contains("does not exist"), "{none:?}");
    let unknown = longshore(&["mapper", "check", library, "--rule", "be-nice"]);
    assert!(text(&unknown.stderr).starts_with("error: there is no rule `be-nice`\n\nhint: "));
}

#[test]
fn a_mapper_is_written_once_and_under_a_good_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("oven");
    let path = path.to_str().unwrap();
    assert!(
        longshore(&["new", "mapper", "oven", "--path", path])
            .status
            .success()
    );
    let again = longshore(&["new", "mapper", "oven", "--path", path]);
    assert!(
        text(&again.stderr).contains("exists already\n\nhint: "),
        "{again:?}"
    );
    let bad = longshore(&["new", "mapper", "My Oven"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(
        text(&bad.stderr).contains("may have only a-z, 0-9 and -"),
        "{bad:?}"
    );
}
