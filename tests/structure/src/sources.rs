//! Where `unsafe` may stand, how long a file may be, and no test that is
//! switched off.

use crate::code::has_word;
use crate::house::{Source, assert_none, sources, within};

/// The rooms of `unsafe`: the C contract, the SDK's glue to it, and the host
/// that loads libraries.
const UNSAFE_ROOMS: &[&str] = &[
    "plugin-sdk/abi",
    "plugin-sdk/sdk/src/glue",
    "plugin-sdk/sdk/src/glue.rs",
    "core/host",
];

/// Longer than this, a file holds more than one meaning.
const LONGEST_FILE: usize = 600;

/// Files that are longer, each with the reason why it is not split.
const LONG_FILES: &[(&str, &str)] = &[];

/// What a finished tree does not contain, and what to do about it.
const LEFT_OVERS: &[(&str, &str)] = &[
    (
        "#[ignore",
        "a test that never runs proves nothing; make it run or delete it",
    ),
    (
        "todo!(",
        "write it, or return an error that says what is missing",
    ),
    (
        "unimplemented!(",
        "write it, or return an error that says what is missing",
    ),
];

fn faults(sources: &[Source], long_files: &[(&str, &str)]) -> Vec<String> {
    let mut faults = Vec::new();
    for Source { path, lines, code } in sources {
        if has_word(code, "unsafe") && !UNSAFE_ROOMS.iter().any(|room| within(path, room)) {
            faults.push(format!(
                "{path}: unsafe outside of {}",
                UNSAFE_ROOMS.join(", ")
            ));
        }
        let excused = long_files.iter().any(|(file, _)| file == path);
        match (*lines > LONGEST_FILE, excused) {
            (true, false) => faults.push(format!(
                "{path}: {lines} lines; split it by meaning (at most {LONGEST_FILE})"
            )),
            (false, true) => faults.push(format!(
                "{path}: {lines} lines, short enough; strike it from LONG_FILES"
            )),
            _ => {}
        }
        for (left_over, advice) in LEFT_OVERS {
            if code.contains(left_over) {
                faults.push(format!("{path}: contains {left_over}: {advice}"));
            }
        }
    }
    faults
}

#[test]
fn sources_keep_the_rules() {
    assert_none(&faults(&sources(), LONG_FILES));
}

#[test]
fn broken_rules_are_seen() {
    let sources = [
        Source::new("core/host/src/load.rs", "unsafe { load() }"),
        Source::new("core/types/src/value.rs", "unsafe { transmute(x) }"),
        Source::new(
            "core/link/src/lib.rs",
            "// unsafe, todo!()\nlet s = \"unsafe\";",
        ),
        Source::new(
            "cli/src/lib.rs",
            "#[test]\n#[ignore = \"slow\"]\nfn f() { todo!() }",
        ),
        Source::new("core/edge/src/long.rs", &"\n".repeat(601)),
        Source::new("core/edge/src/table.rs", &"\n".repeat(601)),
        Source::new("core/edge/src/short.rs", ""),
    ];
    let long = [
        ("core/edge/src/table.rs", "one row for each register"),
        ("core/edge/src/short.rs", "was long once"),
    ];
    let faults = faults(&sources, &long);
    let beginnings = [
        "core/types/src/value.rs: unsafe outside",
        "cli/src/lib.rs: contains #[ignore",
        "cli/src/lib.rs: contains todo!(",
        "core/edge/src/long.rs: 601 lines; split",
        "core/edge/src/short.rs: 0 lines, short enough",
    ];
    assert_eq!(faults.len(), beginnings.len(), "{faults:?}");
    for (fault, beginning) in faults.iter().zip(beginnings) {
        assert!(fault.starts_with(beginning), "{fault}");
    }
}
