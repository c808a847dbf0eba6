//! Dependencies between the rooms point one way.

use crate::house::{Member, assert_none, members, within};

/// What lies in the left folder may use what lies in the right ones. The
/// longest matching left folder counts; a package may always use what lies
/// below itself for its tests.
const MAY_USE: &[(&str, &[&str])] = &[
    ("core/types", &[]),
    ("core/process", &["core/types"]),
    ("core/sqlite", &[]),
    ("core/broker", &["core/process", "core/sqlite"]),
    ("core/objects", &["core/sqlite", "core/types"]),
    ("core/link", &["core/types"]),
    (
        "core/apiserver",
        &["core/objects", "core/sqlite", "core/process", "core/types"],
    ),
    ("core/twin", &["core/types"]),
    ("core/host", &["plugin-sdk/abi", "core/types"]),
    ("core/host/fixtures", &["plugin-sdk"]),
    ("core/cri", &["core/types"]),
    (
        "core/edge",
        &[
            "core/broker",
            "core/host",
            "core/cri",
            "core/apiserver",
            "core/link",
            "core/objects",
            "core/process",
            "core/sqlite",
            "core/twin",
            "core/types",
        ],
    ),
    ("plugin-sdk/abi", &[]),
    ("plugin-sdk/sdk", &["plugin-sdk/abi"]),
    (
        "plugin-sdk/conformance",
        &["plugin-sdk", "core/host", "core/types"],
    ),
    ("plugin-sdk/examples", &["plugin-sdk/sdk"]),
    ("mappers", &["plugin-sdk/sdk"]),
    ("cloudhub/scheduler", &[]),
    (
        "cloudhub/hub",
        &[
            "cloudhub/scheduler",
            "core/types",
            "core/process",
            "core/sqlite",
            "core/objects",
            "core/link",
            "core/apiserver",
        ],
    ),
    (
        "cli",
        &[
            "core/types",
            "core/process",
            "core/host",
            "plugin-sdk/conformance",
            "plugin-sdk/sdk",
        ],
    ),
    // Never a mapper nor the core: a simulator that shares the code under test
    // proves nothing.
    ("simulators", &["simulators"]),
    (
        "tests",
        &[
            "core",
            "plugin-sdk",
            "mappers",
            "cloudhub",
            "cli",
            "simulators",
            "tests",
        ],
    ),
];

/// What any package may use for its tests.
const FOR_TESTS: &[&str] = &["simulators", "tests/harness"];

fn faults(members: &[Member]) -> Vec<String> {
    let mut faults = Vec::new();
    for member in members {
        let room = MAY_USE
            .iter()
            .filter(|(room, _)| within(&member.folder, room))
            .max_by_key(|(room, _)| room.len());
        let Some((_, may_use)) = room else {
            faults.push(format!(
                "{}: no room; say in tests/structure/src/direction.rs what it may depend on",
                member.folder
            ));
            continue;
        };
        for dependency in &member.dependencies {
            let Some(used) = members.iter().find(|other| other.name == dependency.name) else {
                continue;
            };
            let listed = |folders: &[&str]| folders.iter().any(|room| within(&used.folder, room));
            let own_part = if dependency.dev {
                within(&used.folder, &member.folder) || listed(FOR_TESTS)
            } else {
                // The shell of a mapper is built around the mapper that it lies in.
                within(&member.folder, &used.folder)
            };
            if !listed(may_use) && !own_part {
                faults.push(format!(
                    "{}: may not depend on {}",
                    member.folder, used.folder
                ));
            }
        }
    }
    faults
}

#[test]
fn dependencies_point_one_way() {
    assert_none(&faults(&members()));
}

#[test]
fn a_wrong_direction_is_seen() {
    use crate::house::Dependency;
    let member = |folder: &str, uses: &[&str], dev| Member {
        name: folder.to_owned(),
        folder: folder.to_owned(),
        dependencies: uses
            .iter()
            .map(|name| Dependency {
                name: (*name).to_owned(),
                dev,
            })
            .collect(),
        ..Member::default()
    };
    let all = [
        member("core/types", &["serde"], false),
        member("core/edge", &["cloudhub/hub"], false),
        member("cloudhub/hub", &["core/edge"], false),
        member("simulators/world", &[], false),
        member(
            "simulators/modbus",
            &["mappers/modbus", "simulators/world"],
            false,
        ),
        member("mappers/modbus", &["simulators/modbus"], true),
        member(
            "mappers/modbus/plugin",
            &["mappers/modbus", "core/types"],
            false,
        ),
        member("attic/thing", &[], false),
    ];
    let expected = [
        "core/edge: may not depend on cloudhub/hub",
        "cloudhub/hub: may not depend on core/edge",
        "simulators/modbus: may not depend on mappers/modbus",
        "mappers/modbus/plugin: may not depend on core/types",
        "attic/thing: no room; say in tests/structure/src/direction.rs what it may depend on",
    ];
    assert_eq!(faults(&all), expected);
}
