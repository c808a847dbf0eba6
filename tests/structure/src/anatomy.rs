//! Mappers are built alike, and so are simulators: who knows one finds the way in
//! all of them.

use std::path::PathBuf;

use crate::house::{Source, assert_none, root, sources, within};

/// What each mapper has, and what it is for.
const FILES: &[&str] = &[
    // The library: what it is for, why this shape, an example.
    "src/lib.rs",
    // What a connection and a unit on it are.
    "src/bus.rs",
    // The keys of its configuration, of which `schema.json` is made.
    "src/keys.rs",
    "schema.json",
    // From a device's configuration to bus, unit and points; all faults at once.
    "src/config.rs",
    // Where a property is and how it reads.
    "src/point.rs",
    // Points to reads.
    "src/plan.rs",
    // The connection.
    "src/driver.rs",
    // The parts by themselves, and the whole against its simulator and others.
    "src/tests.rs",
    // What the host loads.
    "plugin/Cargo.toml",
];

/// What the simulator of a protocol has.
const OF_SIMULATORS: &[&str] = &[
    // The library: what it stands in for, why this shape, an example.
    "src/lib.rs",
    // The command: its arguments, and what they start.
    "src/program.rs",
    // What stands in a scenario.
    "src/scenario.rs",
    // The routes that only this protocol has.
    "src/control.rs",
    // Faults are data there or in simulators/world; this is who carries them out.
    "src/server.rs",
    // What tests hold.
    "src/simulator.rs",
    "scenarios/demo.yaml",
    // Against a foreign client.
    "tests/main/foreign.rs",
];

/// What is no protocol.
const NO_PROTOCOL: &[&str] = &["program", "relay", "world"];

/// What the frame of the simulators has; none has it again.
const OF_FRAME: &[&str] = &[
    "axum::serve(",
    "tokio::spawn(",
    "SignalKind::",
    "read_to_string(",
];

/// What `longshore_sdk::testing` has; a mapper's tests use it from there.
const OF_TESTING: &[&str] = &["HostFunctions for", "struct Kill", "struct Flood"];

fn missing(files: &[&str], folder: &str, has: impl Fn(&str) -> bool) -> Vec<String> {
    let missing = files.iter().filter(|file| !has(file));
    missing
        .map(|file| format!("{folder}: has no {file}"))
        .collect()
}

/// Whatever lies in `room` and is no exception has these files.
fn built_otherwise(room: &str, exceptions: &[&str], files: &[&str]) -> Vec<String> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for entry in root().join(room).read_dir().expect("the room") {
        let path = entry.expect("an entry").path();
        let excepted = exceptions.iter().any(|exception| path.ends_with(exception));
        if path.join("Cargo.toml").is_file() && !excepted {
            folders.push(path);
        }
    }
    assert!(folders.len() >= 4, "found only {folders:?}");
    let faults = folders.iter().flat_map(|folder| {
        let name = folder.strip_prefix(root()).unwrap_or(folder);
        missing(files, &name.to_string_lossy(), |file| {
            folder.join(file).is_file()
        })
    });
    faults.collect()
}

fn frame_again(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources {
        let parts: Vec<&str> = source.path.splitn(4, '/').collect();
        let ["simulators", simulator, "src", file] = parts[..] else {
            continue;
        };
        if NO_PROTOCOL.contains(&simulator) || file.starts_with("tests/") {
            continue;
        }
        let pieces = OF_FRAME.iter();
        let again = pieces.filter(|piece| source.without_tests().contains(**piece));
        let path = &source.path;
        faults.extend(again.map(|piece| format!("{path}: `{piece}` is in simulators/world")));
    }
    faults
}

fn written_again(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources.iter().filter(|of| within(&of.path, "mappers")) {
        for piece in OF_TESTING
            .iter()
            .filter(|piece| source.code.contains(**piece))
        {
            let path = &source.path;
            faults.push(format!("{path}: `{piece}` is in longshore_sdk::testing"));
        }
    }
    faults
}

#[test]
fn mappers_have_one_anatomy() {
    assert_none(&built_otherwise("mappers", &[], FILES));
}

#[test]
fn simulators_have_one_anatomy() {
    assert_none(&built_otherwise("simulators", NO_PROTOCOL, OF_SIMULATORS));
}

#[test]
fn the_frame_of_the_simulators_is_there_once() {
    assert_none(&frame_again(&sources()));
    let own = Source::new("simulators/knx/src/server.rs", "tokio::spawn(serve());");
    assert_eq!(frame_again(&[own]).len(), 1);
}

#[test]
fn mappers_tests_use_what_testing_has() {
    assert_none(&written_again(&sources()));
}

#[test]
fn a_mapper_of_another_build_is_seen() {
    let faults = missing(FILES, "mappers/knx", |file| file != "src/keys.rs");
    assert_eq!(faults, ["mappers/knx: has no src/keys.rs"]);
    let rig = Source::new(
        "mappers/knx/src/tests/rig.rs",
        "impl HostFunctions for Recorder { }",
    );
    assert_eq!(written_again(&[rig]).len(), 1);
    let test = Source::new("plugin-sdk/sdk/src/testing.rs", "pub struct Kill(Child);");
    assert_eq!(written_again(&[test]), [""; 0]);
}
