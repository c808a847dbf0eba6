//! No part of a daemon dies unseen: whoever spawns hears of the end.
//!
//! `longshore_process::Tasks` names each task, and ends the process or says so
//! in `/readyz` when one ends unasked. What is spawned beside it needs somebody
//! who awaits its end, so each such place stands here with the one who does.

use crate::house::{Source, assert_none, read, root, sources, within};

/// What runs in the daemons.
const DAEMONS: &[&str] = &[
    "core/apiserver/src",
    "core/edge/src",
    "core/host/src",
    "core/link/src",
    "core/objects/src",
    "core/sqlite/src",
    "core/twin/src",
    "cloudhub/hub/src",
    "cli/src/up",
];

/// Calls that start something of whose end nobody need hear.
const SPAWNS: &[&str] = &[
    "tokio::spawn(",
    "task::spawn(",
    "spawn_blocking(",
    "TaskTracker",
    "thread::spawn(",
    "thread::Builder::new(",
];

/// Files that spawn by themselves, and who hears of the end.
const HEARD: &[(&str, &str)] = &[
    (
        "core/host/src/driver/renew.rs",
        "awaited by the task of its mapper; a panic counts as a file that cannot be read",
    ),
    (
        "core/host/src/mapper.rs",
        "its panic is told as the failure of the mapper",
    ),
    (
        "core/host/src/peer/process.rs",
        "forwards the lines of a child, and ends with it",
    ),
    (
        "core/host/src/peer/spawner.rs",
        "the thread of which children are born; a start that finds it gone fails and says so",
    ),
    (
        "core/host/src/peer/thread.rs",
        "the thread of a mapper; its end is the mapper's `Down`",
    ),
    (
        "core/sqlite/src/readers.rs",
        "awaited by whoever reads, who gets a panic as an error",
    ),
    (
        "core/sqlite/src/writer.rs",
        "each job hears when the writer is gone, and so does the store's health",
    ),
];

fn faults(sources: &[Source], heard: &[(&str, &str)]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources {
        let (path, code) = (&source.path, source.without_tests());
        let is_test = path.contains("/tests/") || path.ends_with("/tests.rs");
        if is_test || !DAEMONS.iter().any(|daemon| within(path, daemon)) {
            continue;
        }
        let is_heard = heard.iter().any(|(file, _)| file == path);
        let spawn = SPAWNS.iter().find(|spawn| code.contains(**spawn));
        match (spawn, is_heard) {
            (Some(spawn), false) => faults.push(format!(
                "{path}: {spawn}…) starts what may die unseen; give it a name in longshore_process::Tasks"
            )),
            (None, true) => faults.push(format!(
                "{path}: spawns nothing by itself any more; strike it from HEARD"
            )),
            _ => {}
        }
    }
    faults
}

/// Where a test's way to kill a task of a real program stands.
const KILL: &str = "core/process/src/tasks.rs";

/// Nothing of it is in a program that was built to be used.
fn faults_of_kill(manifest: &toml::Table, code: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !code.contains("#[cfg(debug_assertions)]\nmod kill;") {
        faults.push(format!(
            "{KILL}: `mod kill` must stand behind `cfg(debug_assertions)`"
        ));
    }
    let profiles = manifest.get("profile").and_then(toml::Value::as_table);
    for (name, profile) in profiles.into_iter().flatten() {
        let inherits = profile.get("inherits").and_then(toml::Value::as_str);
        let for_tests = name == "dev" || name == "test" || inherits == Some("dev");
        let asserts = profile.get("debug-assertions");
        if !for_tests && asserts.is_some_and(|asserts| asserts.as_bool() != Some(false)) {
            faults.push(format!(
                "Cargo.toml: [profile.{name}] has debug assertions, with which anybody who sets a variable can kill tasks"
            ));
        }
    }
    faults
}

#[test]
fn no_released_program_lets_its_tasks_be_killed() {
    let manifest = read(&root().join("Cargo.toml"));
    let manifest = manifest.parse().expect("cargo could read it");
    let sources = sources();
    let found = sources.iter().find(|source| source.path == KILL);
    let source = found.expect("the file is there");
    assert_none(&faults_of_kill(&manifest, &source.code));
}

#[test]
fn a_way_to_kill_in_a_released_program_is_seen() {
    let manifest =
        "[profile.dev]\ndebug-assertions = true\n[profile.tools]\ndebug-assertions = true";
    let manifest = manifest.parse().expect("TOML");
    let found = faults_of_kill(&manifest, "mod children;\nmod kill;\n");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("`mod kill` must stand"), "{found:?}");
    assert!(found[1].contains("[profile.tools]"), "{found:?}");
}

#[test]
fn whoever_spawns_hears_of_the_end() {
    assert_none(&faults(&sources(), HEARD));
}

#[test]
fn a_task_that_nobody_owns_is_seen() {
    let sources = [
        Source::new("core/edge/src/a.rs", "tokio::spawn(run());"),
        Source::new(
            "core/edge/src/b.rs",
            "tasks.spawn(\"b\", run()); // tokio::spawn()",
        ),
        Source::new("core/edge/src/c.rs", "std::thread::spawn(move || run())"),
        Source::new("core/edge/src/c/tests.rs", "tokio::spawn(run());"),
        Source::new(
            "core/host/src/g.rs",
            "drop(tokio::task::spawn_blocking(read))",
        ),
        Source::new("core/edge/tests/main/d.rs", "tokio::spawn(run());"),
        Source::new("simulators/world/src/e.rs", "tokio::spawn(run());"),
        Source::new(
            "cloudhub/hub/src/f.rs",
            "let ended = tokio::spawn(run()); ended.await",
        ),
    ];
    let heard = [
        ("cloudhub/hub/src/f.rs", "it waits itself"),
        ("core/edge/src/b.rs", "did so once"),
    ];
    let found = faults(&sources, &heard);
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found[0].starts_with("core/edge/src/a.rs: tokio::spawn(…)"));
    assert!(found[1].starts_with("core/edge/src/b.rs: spawns nothing"));
    assert!(found[2].starts_with("core/edge/src/c.rs: thread::spawn(…)"));
    assert!(found[3].starts_with("core/host/src/g.rs: spawn_blocking(…)"));
}
