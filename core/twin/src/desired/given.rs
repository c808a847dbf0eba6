//! Who gave a desired value and when, and what a former life left of it.

use std::collections::BTreeMap;

use longshore_types::device::WriteState;

use super::{DesiredValue, State};

/// Times in milliseconds are beyond this (the year 2001); others are none.
const LEAST_TIMESTAMP: i64 = 1_000_000_000_000;

/// A Device's desired text with its metadata, as one key to compare: its revision.
pub(crate) fn of_device(text: &str, metadata: &BTreeMap<String, String>) -> Box<str> {
    let pairs = metadata
        .iter()
        .map(|(key, value)| format!("\n{key}={value}"));
    std::iter::once(text.to_owned())
        .chain(pairs)
        .collect::<String>()
        .into()
}

/// When a Device's desired value was given: what its metadata says (`timestamp`, in
/// milliseconds), or now. So a command that lay in the hub for a day is as old as it is.
pub(crate) fn given_at(metadata: &BTreeMap<String, String>, now_unix_ms: i64) -> i64 {
    let said = metadata.get("timestamp");
    let said = said.and_then(|text| text.trim().parse::<i64>().ok());
    said.filter(|at| *at > LEAST_TIMESTAMP)
        .map_or(now_unix_ms, |at| at.min(now_unix_ms))
}

/// How far a former life brought a value, as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// What people saw.
    pub(crate) write: WriteState,
    /// It went out as a command; none in a row of a version that did not know any.
    pub(crate) command: Option<bool>,
    /// It may have been on the wire.
    pub(crate) handed: bool,
    pub(crate) refused: bool,
    pub(crate) message: String,
    pub(crate) since_ms: i64,
}

impl DesiredValue {
    /// Picks up where a former edgecore left it. `command` is what its property says
    /// now, `restore` as well.
    pub(crate) fn resume(&mut self, kept: &Kept, command: bool, restore: bool) {
        if self.target.is_err() {
            return;
        }
        self.command = command || kept.command == Some(true);
        self.handed = kept.handed;
        let in_doubt = State::Settling {
            read: None,
            again_at: 0,
        };
        let mut unknown = None;
        self.state = match kept.write {
            WriteState::Confirmed if restore && !self.command => State::Checking,
            WriteState::Confirmed => State::Confirmed,
            WriteState::Failed if kept.refused => State::Refused,
            WriteState::Unknown => State::Unknown,
            // Former versions kept the steps of methods like this.
            WriteState::Failed | WriteState::Pending
                if kept.command.is_none() && (self.local || self.command) =>
            {
                unknown = Some(
                    "it was under way when this node was upgraded, and is not sent again; set it again if it is still wanted",
                );
                State::Unknown
            }
            WriteState::Failed | WriteState::Pending if self.command && kept.handed => {
                unknown =
                    Some("it may have been carried out or not: the node was restarted meanwhile");
                State::Unknown
            }
            WriteState::Failed | WriteState::Pending if self.command => {
                State::Pending { not_before: 0 }
            }
            // In doubt where it was handed out, or a former version did not say.
            WriteState::Failed | WriteState::Pending => match kept.handed || kept.command.is_none()
            {
                true => in_doubt,
                false => State::Pending { not_before: 0 },
            },
        };
        if let Some(why) = unknown {
            self.message = why.into();
        } else if self.shown() == kept.write {
            self.message = kept.message.as_str().into();
            self.since_ms = kept.since_ms;
        }
    }

    /// A confirmed value is written again from now on, or no more.
    pub(crate) fn repeats(&mut self, wanted: bool) {
        let confirmed = matches!(self.state, State::Confirmed | State::Repeating { .. });
        self.repeat_at = match wanted && confirmed && !self.command {
            true => Some(self.repeat_at.unwrap_or(0)),
            false => None,
        };
    }
}
