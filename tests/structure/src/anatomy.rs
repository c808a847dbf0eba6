//! Mappers are built alike: who knows one finds the way in all of them.

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

/// What `longshore_sdk::testing` has; a mapper's tests use it from there.
const OF_TESTING: &[&str] = &["HostFunctions for", "struct Kill", "struct Flood"];

fn missing(mapper: &str, has: impl Fn(&str) -> bool) -> Vec<String> {
    let missing = FILES.iter().filter(|file| !has(file));
    missing
        .map(|file| format!("{mapper}: has no {file}"))
        .collect()
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
    let folder = root().join("mappers");
    let mut mappers = Vec::new();
    for entry in folder.read_dir().expect("the folder of mappers") {
        let path = entry.expect("an entry").path();
        if path.join("Cargo.toml").is_file() {
            mappers.push(path);
        }
    }
    assert!(mappers.len() >= 4, "found only {mappers:?}");
    let faults = mappers.iter().flat_map(|mapper: &PathBuf| {
        let name = mapper.strip_prefix(root()).unwrap_or(mapper);
        missing(&name.to_string_lossy(), |file| mapper.join(file).is_file())
    });
    assert_none(&faults.collect::<Vec<_>>());
}

#[test]
fn mappers_tests_use_what_testing_has() {
    assert_none(&written_again(&sources()));
}

#[test]
fn a_mapper_of_another_build_is_seen() {
    let faults = missing("mappers/knx", |file| file != "src/keys.rs");
    assert_eq!(faults, ["mappers/knx: has no src/keys.rs"]);
    let rig = Source::new(
        "mappers/knx/src/tests/rig.rs",
        "impl HostFunctions for Recorder { }",
    );
    assert_eq!(written_again(&[rig]).len(), 1);
    let test = Source::new("plugin-sdk/sdk/src/testing.rs", "pub struct Kill(Child);");
    assert_eq!(written_again(&[test]), [""; 0]);
}
