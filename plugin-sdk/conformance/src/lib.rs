//! Judges mapper libraries: every rule of the mapper contract
//! (`plugin-sdk/CONTRACT.md`) that can be seen from outside, by name.
//!
//! # Why this shape
//! A mapper that breaks a rule may crash, hang or corrupt memory, so each rule
//! is judged in a process of its own: what happens there is a verdict, and not
//! the end of the judge. That process is the judging program itself, started
//! again with a request in its environment ([`run_if_asked`]), so that it works
//! for linked mappers too.
//!
//! A rule looks at one thing and bears with everything else. So a mapper that
//! breaks one rule fails one rule, and its report is a list of what to mend.
//!
//! # Guarantees
//! - Nothing of the library runs in the calling process.
//! - Verdicts do not depend on chance: random input comes from a fixed seed,
//!   what shall come is awaited with patience, and where a time is the matter,
//!   what the machine kept the mapper waiting for a processor does not count.
//! - A rule that could not be judged says so, and does not count as kept.
//! - Nothing is written to a device unless [`Subject::allow_writes`] or
//!   [`Subject::simulated`] allows it.
//!
//! # Example
//! In the tests of a mapper's crate, which `cargo test` runs after it has built
//! the library:
//! ```no_run
//! longshore_conformance::assert_conforms("target/debug/libmapper_thermo.so");
//! ```
//! With a device that answers, so that no rule is left out:
//! ```no_run
//! use longshore_conformance::{Subject, check};
//!
//! let device = serde_json::json!({
//!     "device": "default/oven", "protocol": {"url": "tcp://127.0.0.1:7000"},
//!     "points": [{"id": 1, "name": "temperature", "writable": false, "intervalMs": 100,
//!                 "type": "FLOAT", "config": {"name": "temp"}}]
//! });
//! let report = check(&Subject::file("target/debug/libmapper_thermo.so").device(device));
//! assert!(report.conforms(), "{report}");
//! ```

mod child;
mod clock;
mod devices;
mod garbage;
mod process;
mod recorder;
mod report;
mod rules;
mod session;
mod subject;
mod writes;

pub use child::run_if_asked;
pub use report::{Judged, Report, Verdict, Wrote};
pub use rules::{RuleFacts, Strength, rules};
pub use subject::Subject;

use std::path::Path;

/// Judges a mapper by all rules.
///
/// # Expected flow
/// In a program, [`run_if_asked`] stands first in `main`. In a test nothing of
/// the kind is needed, as long as this is called from the test's own thread.
pub fn check(subject: &Subject) -> Report {
    run_if_asked_about(subject);
    process::judge(subject)
}

/// Fails the test unless the library keeps every rule that could be judged.
///
/// # Panics
/// It does not; the message is the report.
pub fn assert_conforms(file: impl AsRef<Path>) {
    let report = check(&Subject::file(file.as_ref()));
    assert!(report.conforms(), "{report}");
}

fn run_if_asked_about(subject: &Subject) {
    child::run_if_asked_about(Some(subject));
}
