//! Our own mappers keep every rule.

use std::path::PathBuf;

use longshore_conformance::{Report, check};
use serde_json::json;

use crate::{c_library, checkout, subject};

/// Every mapper library of the workspace.
const LIBRARIES: &[&str] = &["bluetooth", "file", "minimal", "modbus", "opcua", "serial"];

/// `target/debug`, or whichever profile the tests were built with.
fn build_folder() -> PathBuf {
    let exe = std::env::current_exe().expect("a test knows its path");
    exe.ancestors()
        .nth(2)
        .expect("target/PROFILE/deps/TEST")
        .to_owned()
}

pub(crate) fn library(name: &str) -> PathBuf {
    let file = build_folder().join(format!("libmapper_{name}.so"));
    assert!(
        file.is_file(),
        "{} is missing\n\nhint: cargo build --workspace",
        file.display()
    );
    file
}

fn assert_conforms(report: &Report) {
    assert!(report.conforms(), "{report}");
}

/// What a rule could not look at is what the mapper does not claim to do.
pub(crate) fn assert_judged_but_for(report: &Report, left_out: &[&str]) {
    assert_conforms(report);
    let not_judged: Vec<_> = report.not_judged().map(|judged| judged.rule).collect();
    assert_eq!(not_judged, left_out, "{report}");
}

/// Without devices: what must hold whatever stands in a configuration.
#[test]
fn each_mapper_conforms_without_a_device() {
    std::thread::scope(|scope| {
        for name in LIBRARIES {
            scope.spawn(|| assert_conforms(&check(&subject(&library(name)))));
        }
    });
}

/// A library that nobody lists is judged by nobody.
#[test]
fn the_list_of_mappers_is_complete() {
    let metadata = std::process::Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(checkout())
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let targets = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|package| package["targets"].as_array().unwrap())
        .filter(|target| target["kind"][0] == "cdylib");
    let mut names: Vec<&str> = targets
        .filter_map(|target| target["name"].as_str()?.strip_prefix("mapper_"))
        .collect();
    names.sort_unstable();
    assert_eq!(names, LIBRARIES);
}

/// It needs no device: a counter lives in memory, where no write waits.
#[test]
fn the_c_example_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let file = c_library(
        folder.path(),
        "plugin-sdk/examples/minimal-c/counter.c",
        &[],
    );
    let report = check(&subject(&file));
    assert_judged_but_for(
        &report,
        &[
            "schema",
            "a-check-takes-nothing-over",
            "urgent-writes-go-first",
            "a-float-takes-any-number",
        ],
    );
}

/// A queue and a thread: what waits is carried out in its order, in time.
#[test]
fn the_c_example_with_a_queue_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let file = c_library(folder.path(), "plugin-sdk/examples/queued-c/slow.c", &[]);
    assert_judged_but_for(&check(&subject(&file)), &["a-check-takes-nothing-over"]);
}

/// Nor does it: every Linux has a load, which nobody can write.
#[test]
fn the_cpp_example_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("libmapper_minimal_cpp.so");
    let output = std::process::Command::new("c++")
        .args([
            "-std=c++17",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-fPIC",
            "-shared",
        ])
        .arg("-I")
        .arg(checkout().join("plugin-sdk/abi/include"))
        .arg(checkout().join("plugin-sdk/examples/minimal-cpp/loadavg.cpp"))
        .arg("-o")
        .arg(&file)
        .arg("-pthread")
        .output()
        .expect("a C++ compiler; install it with deploy/setup/packages test");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_judged_but_for(
        &check(&subject(&file)),
        &[
            "a-check-takes-nothing-over",
            "urgent-writes-go-first",
            "a-float-takes-any-number",
        ],
    );
}

#[test]
fn the_rust_example_conforms_with_files_to_read() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in [("temp", "21500\n"), ("limit", "90000\n")] {
        std::fs::write(folder.path().join(name), value).unwrap();
    }
    let point = |name: &str| json!({"name": name, "writable": true, "type": "FLOAT", "config": {"address": name}});
    let device = json!({
        "device": "default/zone", "protocol": {"folder": folder.path()},
        "points": [point("temp"), point("limit")],
    });
    let report = check(&subject(&library("file")).device(device));
    assert_judged_but_for(&report, &[]);
}
