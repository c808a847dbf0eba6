//! What the judge does to a device that somebody names.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use longshore_conformance::{Report, Subject, Verdict, check};
use serde_json::json;

use crate::c_library;

/// A device with a value, and the mapper that tells what reaches it.
struct Witness {
    folder: tempfile::TempDir,
    library: PathBuf,
}

impl Witness {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("value"), "10\n").unwrap();
        let library = c_library(
            folder.path(),
            "plugin-sdk/conformance/fixtures/witness.c",
            &[],
        );
        Self { folder, library }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Nobody said that it is simulated.
    fn subject(&self) -> Subject {
        let point = |name: &str, writable: bool| json!({"name": name, "writable": writable, "type": "INT", "config": {}});
        Subject::file(&self.library)
            .judged_in(env!("CARGO_BIN_EXE_longshore-conformance"))
            .environment("WITNESS", self.file("value"))
            .device(json!({
                "device": "default/press", "protocol": {},
                "points": [point("temperature", false), point("setpoint", true)],
            }))
    }

    /// A line for each write and call that reached it.
    fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.file("value.log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn value(&self) -> String {
        fs::read_to_string(self.file("value"))
            .unwrap()
            .trim()
            .to_owned()
    }
}

fn reason<'a>(report: &'a Report, rule: &str) -> &'a str {
    let mut rules = report.rules.iter();
    &rules.find(|judged| judged.rule == rule).unwrap().why
}

/// All rules, so that one which is written later is held to it too.
#[test]
fn nothing_reaches_a_device_that_nobody_allowed_to_be_written() {
    let witness = Witness::new();
    let report = check(&witness.subject());
    assert_eq!(witness.log(), Vec::<String>::new(), "{report}");
    assert_eq!(report.written.len(), 0);
    for rule in ["urgent-writes-go-first", "unknown-methods-are-refused"] {
        assert!(
            reason(&report, rule).starts_with("needs --allow-writes"),
            "{report}"
        );
    }
    // What could not be judged is no fault of the mapper's.
    let judged = |rule: &&longshore_conformance::Judged| rule.verdict == Verdict::Kept;
    assert!(report.rules.iter().filter(judged).count() > 20, "{report}");
}

/// Only the point that is writable, only the value that it has.
#[test]
fn where_it_is_allowed_only_the_value_that_was_read_is_written() {
    let witness = Witness::new();
    let report = check(&witness.subject().allow_writes());
    let log = witness.log();
    let (writes, calls): (Vec<_>, Vec<_>) = log.iter().partition(|line| line.starts_with("write"));
    assert!(!writes.is_empty());
    for line in &writes {
        let words: Vec<&str> = line.split(' ').collect();
        // 2 is the setpoint once more, with another priority.
        assert!(["1", "2"].contains(&words[2]), "{line}");
        assert!(line.ends_with("value 10"), "{line}");
    }
    assert_eq!(
        calls.len(),
        1,
        "the one method that nobody knows: {calls:?}"
    );
    assert_eq!(report.written.len(), 1);
    let wrote = &report.written[0];
    assert_eq!(
        (&*wrote.device, &*wrote.point, &*wrote.value, wrote.times),
        ("default/press", "setpoint", "10", writes.len())
    );
    assert_eq!((&wrote.found, &wrote.lost), (&None, &None));
    // Also while others write: one at a time.
    assert_eq!(
        reason(&report, "a-float-takes-any-number"),
        "no point of the device, of the type that the rule is about, can be written"
    );
    let told = format!(
        "\nwrote to default/press: setpoint, {} times 10, which was read from it; it has that value\n",
        writes.len()
    );
    assert!(report.to_string().contains(&told), "{report}");
    let subject = witness.subject();
    assert_eq!(
        subject.writable(),
        [("default/press".to_owned(), vec!["setpoint".to_owned()])]
    );
}

/// A mapper that writes something else than it was told.
#[test]
fn what_is_another_at_the_end_is_put_back() {
    let witness = Witness::new();
    let subject = witness.subject().allow_writes();
    let subject = subject.only(&["completions-in-time"]);
    let report = check(&subject.environment("WRONG", "3"));
    assert_eq!(witness.value(), "10", "{report}");
    assert_eq!(report.written[0].found.as_deref(), Some("11"));
    assert!(report.conforms(), "{report}");
}

#[test]
fn what_cannot_be_put_back_is_told_and_is_no_success() {
    let witness = Witness::new();
    let subject = witness.subject().allow_writes();
    let subject = subject.only(&["completions-in-time"]);
    let report = check(&subject.environment("WRONG", "1000"));
    assert!(!report.conforms());
    let text = report.to_string();
    assert!(text.contains("IT IS NOT PUT BACK: it has 11;"), "{text}");
}

/// A judge that is interrupted while a rule waits for a write that never ends.
#[test]
fn a_check_that_ends_early_puts_back_all_the_same() {
    let witness = Witness::new();
    let stop = Arc::new(AtomicBool::new(false));
    let subject = witness.subject().allow_writes();
    let subject = subject
        .only(&["urgent-writes-go-first"])
        .environment("WRONG", "14")
        .environment("HANG", "2")
        .until(stop.clone());
    let log = witness.file("value.log");
    let report = thread::scope(|scope| {
        scope.spawn(|| {
            wait_for_lines(&log, 14);
            stop.store(true, Ordering::Relaxed);
        });
        check(&subject)
    });
    assert_eq!(witness.value(), "10", "{report}");
    let found: Vec<_> = report.written.iter().map(|wrote| &wrote.found).collect();
    assert_eq!(found, [&Some("11".to_owned())], "{report}");
    assert_eq!(
        reason(&report, "urgent-writes-go-first"),
        "the judge was interrupted"
    );
}

fn wait_for_lines(file: &Path, count: usize) {
    for _ in 0..3_000 {
        let text = fs::read_to_string(file).unwrap_or_default();
        if text.lines().count() >= count {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
