//! The lists of complaints and of promises name tests that exist.

use std::fs;

use crate::house::{assert_none, root};

const COMPLAINTS: &str = "tests/e2e/COMPLAINTS.md";
const PROMISES: &str = "docs/reliability.md";

/// File and function of each row of the tables.
fn rows(list: &str) -> Vec<(&str, &str)> {
    list.lines()
        .filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'))
        .filter_map(|row| row.rsplit_once('|'))
        .filter_map(|(_, cell)| {
            let mut quoted = cell.split('`').skip(1).step_by(2);
            quoted.next().zip(quoted.next())
        })
        .collect()
}

fn faults(name: &str, list: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let rows = rows(list);
    let lines = list.lines().filter(|line| line.starts_with("| ")).count();
    let tables = list.lines().filter(|line| line.starts_with("|-")).count();
    let mut faults = Vec::new();
    if rows.len() + tables != lines {
        faults.push(format!(
            "{name}: {lines} lines, but {} rows name a file and a test",
            rows.len()
        ));
    }
    for (file, test) in rows {
        match read(file) {
            None => faults.push(format!("{name}: there is no file {file}")),
            Some(text) if !text.contains(&format!("fn {test}(")) => {
                faults.push(format!("{name}: {file} has no test {test}"));
            }
            Some(_) => {}
        }
    }
    faults
}

#[test]
fn the_rule_sees_a_test_that_is_gone() {
    let list = "| what | test |\n|---|---|\n| slow | `a.rs` `fast` |\n| lost | `b.rs` `kept` |\n| odd | none |\n";
    let read = |file: &str| (file == "a.rs").then(|| "fn quick() {}".to_owned());
    assert_eq!(
        faults(COMPLAINTS, list, read),
        [
            "tests/e2e/COMPLAINTS.md: 4 lines, but 2 rows name a file and a test",
            "tests/e2e/COMPLAINTS.md: a.rs has no test fast",
            "tests/e2e/COMPLAINTS.md: there is no file b.rs",
        ]
    );
}

#[test]
fn each_complaint_and_each_promise_has_its_test() {
    for name in [COMPLAINTS, PROMISES] {
        let list = fs::read_to_string(root().join(name)).expect("the list");
        assert_none(&faults(name, &list, |file| {
            fs::read_to_string(root().join(file)).ok()
        }));
    }
}
