//! No part of a daemon dies unseen: whoever spawns hears of the end.
//!
//! `longshore_process::Tasks` names each task, and ends the process or says so
//! in `/readyz` when one ends unasked. What is spawned beside it needs somebody
//! who awaits its end, so each such place stands here with the one who does.

use crate::house::{Source, assert_none, sources, within};

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
    "thread::spawn(",
    "thread::Builder::new(",
];

/// Files that spawn by themselves, and who hears of the end.
const HEARD: &[(&str, &str)] = &[
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
        "core/sqlite/src/writer.rs",
        "each job hears when the writer is gone, and so does the store's health",
    ),
    (
        "cloudhub/hub/src/sessions/connection.rs",
        "awaited by the connection that it writes for",
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
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("core/edge/src/a.rs: tokio::spawn(…)"));
    assert!(found[1].starts_with("core/edge/src/b.rs: spawns nothing"));
    assert!(found[2].starts_with("core/edge/src/c.rs: thread::spawn(…)"));
}
