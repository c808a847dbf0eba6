//! A mapper that is linked into the program that judges it.

use std::time::Duration;

use longshore_abi::MapperApi;
use longshore_conformance::{Subject, check};
use longshore_sdk::{
    Command, CommandKind, Completion, CreateError, Event, Host, Mapper, Status, SubmitError,
    glue::Exported,
};

static POLITE: MapperApi = Exported::<Silent<true>>::API;
static RUDE: MapperApi = Exported::<Silent<false>>::API;

/// Answers each command and brings no value. A rude one knows every command.
struct Silent<const POLITE: bool>(Host);

impl<const POLITE: bool> Mapper for Silent<POLITE> {
    fn create(host: Host, _: &serde_json::Value) -> Result<Self, CreateError> {
        Ok(Self(host))
    }

    fn submit(&self, commands: Vec<Command>) -> Result<(), SubmitError> {
        let mut event = Event::default();
        for command in commands {
            let status = match command.kind {
                CommandKind::Configure(_) | CommandKind::Remove => Status::Ok,
                CommandKind::Read { .. } | CommandKind::Write { .. } => Status::InvalidArgument,
                CommandKind::Unknown(_) if !POLITE => Status::Ok,
                _ => Status::Unsupported,
            };
            event.completions.push(Completion {
                token: command.token,
                status,
                message: String::new(),
            });
        }
        self.0.emit(&event).map_err(|_| SubmitError::Stopped)
    }

    fn stop(&self, _: Duration) {}
}

/// What needs a value or a file cannot be judged, and says so.
#[test]
fn a_linked_mapper_is_judged_without_a_file() {
    let report = check(&Subject::linked(&POLITE));
    assert!(report.conforms(), "{report}");
    assert_eq!(report.mapper, None);
    assert_eq!(report.subject, "linked mapper");
    let not_judged: Vec<_> = report.not_judged().map(|judged| judged.rule).collect();
    for rule in ["descriptor", "entry-and-table", "schema"] {
        assert!(not_judged.contains(&rule), "{report}");
    }
    for rule in [
        "threads-end",
        "one-completion-each",
        "stop-keeps-its-budget",
    ] {
        assert!(!not_judged.contains(&rule), "{report}");
    }
}

#[test]
fn a_linked_mapper_fails_by_the_name_of_the_rule() {
    let rules = ["unknown-commands-are-unsupported", "create-emits-nothing"];
    let report = check(&Subject::linked(&RUDE).only(&rules));
    let broken: Vec<_> = report.broken().map(|judged| judged.rule).collect();
    assert_eq!(broken, ["unknown-commands-are-unsupported"], "{report}");
    assert_eq!(report.not_judged().count(), 0, "{report}");
}
