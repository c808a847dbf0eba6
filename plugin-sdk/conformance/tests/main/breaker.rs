//! A mapper that breaks one rule fails that rule, and no other.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
};

use longshore_conformance::{Report, Strength, check, rules};

use crate::{c_library, subject};

const SOURCE: &str = "core/host/fixtures/rule-breaker/rule_breaker.c";

/// What stands in the file is broken by the compiler.
const IN_THE_FILE: [(&str, &str); 6] = [
    ("descriptor", "-DBREAK_DESCRIPTOR"),
    ("descriptor-texts", "-DBREAK_TEXTS"),
    ("entry-and-table", "-DBREAK_TABLE"),
    ("versions-agree", "-DBREAK_VERSIONS"),
    ("schema", "-DBREAK_SCHEMA"),
    // What comes unasked might be the device's own doing otherwise.
    ("zero-is-never-polled", "-DPOLLS_ONLY"),
];

/// Mappers that are judged at the same time.
const AT_ONCE: usize = 10;

fn broken(report: &Report) -> Vec<&'static str> {
    report.broken().map(|judged| judged.rule).collect()
}

#[test]
fn a_good_mapper_keeps_every_rule() {
    let folder = tempfile::tempdir().unwrap();
    let report = check(&subject(&c_library(folder.path(), SOURCE, &[])));
    assert!(report.conforms(), "{report}");
    assert_eq!(report.not_judged().count(), 0, "{report}");
    assert_eq!(report.mapper.as_deref(), Some("rule-breaker 1.0.0"));
}

/// Each rule in turn is broken and all rules are judged: the one that was
/// broken fails by its name, and nothing else does.
#[test]
fn a_broken_rule_fails_by_its_name_and_alone() {
    let folder = tempfile::tempdir().unwrap();
    let good = c_library(folder.path(), SOURCE, &[]);
    let waiting = Mutex::new(rules().collect::<Vec<_>>());
    let faults = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(rule) = { waiting.lock().unwrap().pop() } {
                    let report = judge_breaking(rule.id, &good, folder.path());
                    // What a mapper only should keep costs it nothing.
                    let should = rule.strength == Strength::Should;
                    let failed: Vec<_> = report.broken().chain(report.missed()).collect();
                    let alone = failed.len() == 1 && failed[0].rule == rule.id;
                    if !alone || report.conforms() != should {
                        faults
                            .lock()
                            .unwrap()
                            .push(format!("told to break `{}`: {report}", rule.id));
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn judge_breaking(rule: &'static str, good: &Path, folder: &Path) -> Report {
    let in_the_file = IN_THE_FILE.iter().find(|(id, _)| *id == rule);
    let file: PathBuf = match in_the_file {
        Some((id, define)) => {
            let own = folder.join(id);
            std::fs::create_dir(&own).unwrap();
            c_library(&own, SOURCE, &[define])
        }
        None => good.to_owned(),
    };
    check(&subject(&file).environment("RULE_BREAKER", rule))
}

#[test]
fn the_report_is_readable_and_parseable() {
    let folder = tempfile::tempdir().unwrap();
    let file = c_library(folder.path(), SOURCE, &[]);
    let judged = subject(&file)
        .only(&["garbage-commands-are-survived", "schema"])
        .environment("RULE_BREAKER", "garbage-commands-are-survived");
    let report = check(&judged);
    let text = report.to_string();
    for part in [
        "schema                          41           kept\n",
        "garbage-commands-are-survived   10           BROKEN\n",
        "\nbroken: garbage-commands-are-survived\n",
        "  seen: the mapper ended its process: aborted (signal 6)",
        "  hint: catch at the boundary",
        "\n1 kept, 1 broken, 0 not judged\n",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["mapper"], "rule-breaker 1.0.0");
    assert_eq!(json["rules"][1]["rule"], "garbage-commands-are-survived");
    assert_eq!(json["rules"][1]["verdict"], "broken");
    assert_eq!(json["rules"][1]["contract"], serde_json::json!([10]));
}

#[test]
fn what_is_no_mapper_is_told_by_one_rule() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.so");
    std::fs::write(&file, "not a library").unwrap();
    let report = check(&subject(&file));
    assert_eq!(broken(&report), ["descriptor"], "{report}");
    assert!(
        report.to_string().contains("is not an ELF file"),
        "{report}"
    );
}

/// Without a helper program: the test itself is started again, for each rule.
#[test]
fn a_test_judges_by_starting_itself_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = c_library(folder.path(), SOURCE, &[]);
    let report = check(
        &longshore_conformance::Subject::file(&file)
            .only(&["unknown-commands-are-unsupported"])
            .environment("RULE_BREAKER", "unknown-commands-are-unsupported"),
    );
    assert_eq!(
        broken(&report),
        ["unknown-commands-are-unsupported"],
        "{report}"
    );
}
