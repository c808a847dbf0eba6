//! What deny.toml keeps in one room stays there.
//!
//! cargo-deny reads the same list, but it is not on every machine; this holds
//! the fences wherever the tests run, and adds those inside of a crate.

use std::collections::BTreeMap;

use crate::code::has_word;
use crate::house::{Member, Source, assert_none, dependents, members, read, root, sources, within};

/// Crate, the package folder that may use it, and the only folder in there.
const INSIDE: &[(&str, &str, &str)] = &[
    ("longshore_sqlite", "core/edge", "core/edge/src/store"),
    ("longshore_sqlite", "cloudhub/hub", "cloudhub/hub/src/store"),
    // The session is a function of events and time.
    ("tokio", "core/link", "core/link/src/transport"),
];

/// Judges of our own code in tests; no program may hold them.
const ONLY_IN_TESTS: &[&str] = &["cel", "jsonschema"];

/// The `[bans] deny` entries of deny.toml: crate and the packages that may
/// depend on it.
fn fences(deny: &toml::Table) -> Vec<(String, Vec<String>)> {
    let string = |value: &toml::Value| value.as_str().expect("a string").to_owned();
    let bans = deny["bans"]["deny"].as_array().expect("a list of fences");
    let fence = |ban: &toml::Value| {
        let wrappers = ban["wrappers"].as_array().expect("a list of packages");
        (string(&ban["crate"]), wrappers.iter().map(string).collect())
    };
    bans.iter().map(fence).collect()
}

fn faults(
    fences: &[(String, Vec<String>)],
    dependents: &BTreeMap<String, Vec<String>>,
) -> Vec<String> {
    let mut faults = Vec::new();
    for (fenced, wrappers) in fences {
        let users = dependents
            .get(fenced)
            .map(Vec::as_slice)
            .unwrap_or_default();
        for user in users.iter().filter(|user| !wrappers.contains(user)) {
            faults.push(format!(
                "{user}: may not depend on {fenced}; deny.toml leaves it to {}",
                wrappers.join(", ")
            ));
        }
    }
    faults
}

fn faults_in_programs(members: &[Member]) -> Vec<String> {
    let mut faults = Vec::new();
    for member in members {
        let targets = member
            .manifest
            .get("target")
            .and_then(toml::Value::as_table);
        let targets = targets.into_iter().flatten();
        let targets = targets.filter_map(|(_, target)| target.as_table());
        for table in targets.chain([&member.manifest]) {
            for kind in ["dependencies", "build-dependencies"] {
                let names = table.get(kind).and_then(toml::Value::as_table);
                let names = names.into_iter().flatten().map(|(name, _)| name);
                for name in names.filter(|name| ONLY_IN_TESTS.contains(&name.as_str())) {
                    faults.push(format!(
                        "{}: {name} in [{kind}]; it is for [dev-dependencies] only",
                        member.folder
                    ));
                }
            }
        }
    }
    faults
}

fn faults_inside(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for (fenced, package, only) in INSIDE {
        let outside = |source: &&Source| {
            within(&source.path, package)
                && !within(&source.path, only)
                && source.path != format!("{only}.rs")
                && has_word(&source.code, fenced)
        };
        for source in sources.iter().filter(outside) {
            faults.push(format!(
                "{}: may not use {fenced}; only {only} does",
                source.path
            ));
        }
    }
    faults
}

#[test]
fn fenced_crates_stay_in_their_rooms() {
    let deny: toml::Table = read(&root().join("deny.toml"))
        .parse()
        .expect("deny.toml is TOML");
    assert_none(&faults(&fences(&deny), &dependents()));
    assert_none(&faults_inside(&sources()));
    assert_none(&faults_in_programs(&members()));
}

#[test]
fn a_broken_fence_is_seen() {
    let deny = r#"
        [bans]
        deny = [{ crate = "rusqlite", wrappers = ["store"] }]
    "#;
    let deny: toml::Table = deny.parse().expect("TOML");
    let users = vec!["store".to_owned(), "twin".to_owned()];
    let dependents = BTreeMap::from([("rusqlite".to_owned(), users)]);
    assert_eq!(
        faults(&fences(&deny), &dependents),
        ["twin: may not depend on rusqlite; deny.toml leaves it to store"]
    );

    let manifest = r#"
        [dev-dependencies]
        cel.workspace = true
        [target.'cfg(unix)'.dependencies]
        jsonschema.workspace = true
    "#;
    let member = Member {
        folder: "core/types".to_owned(),
        manifest: manifest.parse().expect("TOML"),
        ..Member::default()
    };
    assert_eq!(
        faults_in_programs(&[member]),
        ["core/types: jsonschema in [dependencies]; it is for [dev-dependencies] only"]
    );

    let sources = [
        Source::new("core/edge/src/store/rows.rs", "use longshore_sqlite::Row;"),
        Source::new("core/edge/src/twin.rs", "use longshore_sqlite::Row; // it"),
        Source::new("core/edge/src/main.rs", "// not longshore_sqlite"),
        Source::new("core/objects/src/lib.rs", "use longshore_sqlite::Row;"),
    ];
    assert_eq!(
        faults_inside(&sources),
        ["core/edge/src/twin.rs: may not use longshore_sqlite; only core/edge/src/store does"]
    );
}
