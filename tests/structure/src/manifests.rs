//! Versions, features and lints are decided in the root manifest only.

use crate::house::{Member, assert_none, members, read, root, within};

/// Those that may set their own lints, because they hold `unsafe` or, like the
/// shell of a mapper, expand a macro that does.
const OWN_LINTS: &[&str] = &[
    "plugin-sdk/abi",
    "plugin-sdk/sdk",
    "plugin-sdk/examples",
    "core/host",
];

const DEPENDENCY_TABLES: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

fn may_set_lints(folder: &str) -> bool {
    let shell_of_a_mapper = within(folder, "mappers") && folder.ends_with("/plugin");
    shell_of_a_mapper || OWN_LINTS.iter().any(|room| within(folder, room))
}

fn faults(members: &[Member]) -> Vec<String> {
    let mut faults = Vec::new();
    for member in members {
        let mut tables = vec![&member.manifest];
        let targets = member
            .manifest
            .get("target")
            .and_then(toml::Value::as_table);
        tables.extend(
            targets
                .into_iter()
                .flatten()
                .filter_map(|(_, target)| target.as_table()),
        );
        for table in tables {
            for kind in DEPENDENCY_TABLES {
                let entries = table.get(*kind).and_then(toml::Value::as_table);
                for (name, how) in entries.into_iter().flatten() {
                    if !only_inherits(how) {
                        faults.push(format!(
                            "{}: {name} in [{kind}] must say `workspace = true` and nothing else; \
                             versions and features stand in the root Cargo.toml",
                            member.folder
                        ));
                    }
                }
            }
        }
        let inherits_lints = member.manifest.get("lints").is_some_and(only_inherits);
        if !inherits_lints && !may_set_lints(&member.folder) {
            faults.push(format!(
                "{}: must inherit [lints] from the workspace",
                member.folder
            ));
        }
    }
    faults
}

/// Own lints are the workspace's, but for the level of `unsafe_code`.
fn faults_of_own_lints(members: &[Member], workspace: &toml::Table) -> Vec<String> {
    let mut faults = Vec::new();
    for member in members {
        let own = member.manifest.get("lints");
        if own.is_some_and(only_inherits) {
            continue;
        }
        for (tool, lints) in workspace {
            for (lint, level) in lints.as_table().into_iter().flatten() {
                let own_level = own
                    .and_then(|own| own.get(tool))
                    .and_then(|own| own.get(lint));
                if lint != "unsafe_code" && own_level != Some(level) {
                    faults.push(format!(
                        "{}: [lints.{tool}] must set `{lint}` as the workspace does",
                        member.folder
                    ));
                }
            }
        }
    }
    faults
}

fn only_inherits(how: &toml::Value) -> bool {
    let Some(table) = how.as_table() else {
        return false;
    };
    table.get("workspace").and_then(toml::Value::as_bool) == Some(true)
        && table
            .keys()
            .all(|key| key == "workspace" || key == "optional")
}

#[test]
fn members_inherit_versions_features_and_lints() {
    let root: toml::Table = read(&root().join("Cargo.toml"))
        .parse()
        .expect("cargo could read it");
    let workspace = root["workspace"]["lints"]
        .as_table()
        .expect("a table of lints");
    let members = members();
    assert_none(&faults(&members));
    assert_none(&faults_of_own_lints(&members, workspace));
}

/// `tests/run` selects the end-to-end tests by this name among all packages:
/// selecting the package instead would choose other features of the
/// dependencies and compile most of them once more.
#[test]
fn the_end_to_end_test_binary_has_a_name_of_its_own() {
    for member in members() {
        for test in &member.tests {
            let expected = member.folder == "tests/e2e";
            assert_eq!(
                test == "e2e",
                expected,
                "{}: its test binary is called `{test}`; `e2e` is for tests/e2e and only that",
                member.folder
            );
        }
    }
}

/// Who reads one of them must not be sent away, or made to wait, by another.
#[test]
fn the_rust_version_is_said_the_same_everywhere() {
    let manifest: toml::Table = read(&root().join("Cargo.toml")).parse().expect("TOML");
    let version = manifest["workspace"]["package"]["rust-version"]
        .as_str()
        .expect("a version");
    for (file, words) in [
        ("CONTRIBUTING.md", format!("Rust {version} or newer")),
        (
            "cli/src/new/template/Cargo.toml.in",
            format!("rust-version = \"{version}\""),
        ),
    ] {
        let text = read(&root().join(file));
        assert!(text.contains(&words), "{file}: should say `{words}`");
    }
}

#[test]
fn a_feature_of_its_own_is_seen() {
    let manifest = r#"
        [dependencies]
        good.workspace = true
        versioned = "1"
        [target.'cfg(unix)'.dev-dependencies]
        featured = { workspace = true, features = ["more"] }
    "#;
    let member = Member {
        folder: "core/types".to_owned(),
        manifest: manifest.parse().expect("TOML"),
        ..Member::default()
    };
    let faults = faults(&[member]);
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(
        faults[0].starts_with("core/types: versioned in [dependencies]"),
        "{faults:?}"
    );
    assert!(
        faults[1].starts_with("core/types: featured in [dev-dependencies]"),
        "{faults:?}"
    );
    assert!(
        faults[2].ends_with("must inherit [lints] from the workspace"),
        "{faults:?}"
    );
}

#[test]
fn a_lint_that_was_forgotten_is_seen() {
    let workspace = r#"
        rust.unsafe_code = "forbid"
        rust.missing_docs = "warn"
        clippy.all = { level = "warn", priority = -1 }
    "#;
    let manifest = r#"
        [lints]
        rust.unsafe_code = "deny"
        clippy.all = { level = "warn", priority = -1 }
    "#;
    let member = Member {
        folder: "core/host".to_owned(),
        manifest: manifest.parse().expect("TOML"),
        ..Member::default()
    };
    assert_eq!(
        faults_of_own_lints(&[member], &workspace.parse().expect("TOML")),
        ["core/host: [lints.rust] must set `missing_docs` as the workspace does"]
    );
}
