//! How a device stands, and what people are told of that.
//!
//! The states are what the engine decides by. A condition (status, reason,
//! message) is computed from its state when somebody asks, in
//! [`Stand::said`] and nowhere else; nothing reads it back. After a restart
//! all three begin anew: what a former life said of a device is no knowledge.

use std::{borrow::Cow, sync::Arc};

use longshore_types::{
    Fault, Timestamp,
    device::{Condition, ConditionStatus},
    report::DeviceState,
};

use super::Now;

/// A state that a condition is computed from.
pub(super) trait Stand: PartialEq {
    /// The condition's type.
    const KIND: &'static str;

    /// What people are told.
    fn said(&self) -> Said<'_>;
}

/// What a condition says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said<'a> {
    /// True, false or (for `None`) unknown.
    status: Option<bool>,
    /// One word in CamelCase.
    reason: &'static str,
    /// For people.
    message: Cow<'a, str>,
}

fn said<'a>(
    status: Option<bool>,
    reason: &'static str,
    message: impl Into<Cow<'a, str>>,
) -> Said<'a> {
    let message = message.into();
    Said {
        status,
        reason,
        message,
    }
}

/// A state, and since when its status is what it is.
#[derive(Debug)]
pub(super) struct Since<T> {
    state: T,
    /// Ms since the epoch; 0 before anything was said.
    since_ms: i64,
}

impl<T: Stand> Since<T> {
    /// Known from now on.
    pub(super) fn new(state: T, now: Now) -> Self {
        Self {
            state,
            since_ms: now.unix_ms,
        }
    }

    /// Nobody said anything yet.
    pub(super) fn unsaid(state: T) -> Self {
        Self { state, since_ms: 0 }
    }

    pub(super) fn get(&self) -> &T {
        &self.state
    }

    /// True when it is another one than before.
    pub(super) fn turn(&mut self, to: T, now: Now) -> bool {
        let news = self.state != to;
        self.change(now, |state| *state = to);
        news
    }

    /// Changes the state in place.
    pub(super) fn change(&mut self, now: Now, change: impl FnOnce(&mut T)) {
        let before = self.state.said().status;
        change(&mut self.state);
        if self.since_ms == 0 || self.state.said().status != before {
            self.since_ms = now.unix_ms;
        }
    }

    /// As the API has it.
    pub(super) fn condition(&self) -> Condition {
        let said = self.state.said();
        Condition {
            condition: T::KIND.to_owned(),
            status: match said.status {
                Some(true) => ConditionStatus::True,
                Some(false) => ConditionStatus::False,
                None => ConditionStatus::Unknown,
            },
            reason: said.reason.to_owned(),
            message: said.message.into_owned(),
            last_transition_time: Some(Timestamp::from_millis(self.since_ms)),
        }
    }
}

/// Whether a device answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// It does: a good reading came, or its mapper (or a client) says so.
    Up,
    /// It does not, says its mapper or a client.
    Down { why: Box<str> },
    /// Nobody can tell. `shown` is the device's state as people see it: it
    /// outlives a mapper that is back in a moment.
    Unknown { cause: Cause, shown: DeviceState },
}

/// Why nobody can tell whether a device answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Nothing came of it yet.
    NotReadYet,
    /// No mapper serves its protocol.
    NoMapper { protocol: Box<str> },
    /// Its mapper is down.
    MapperDown { why: Arc<str> },
    /// Its mapper does not ask it, for these faults.
    Config { faults: Box<str> },
    /// Its objects cannot be used.
    Unusable { reason: &'static str, why: Box<str> },
    /// Its mapper or a client says that it does not know.
    Said { why: Box<str> },
}

impl Reach {
    /// The state that people see.
    pub(super) fn state(&self) -> DeviceState {
        match self {
            Self::Up => DeviceState::Online,
            Self::Down { .. } => DeviceState::Offline,
            Self::Unknown { shown, .. } => *shown,
        }
    }

    /// Whether nobody can tell because the device's mapper is down.
    pub(super) fn is_mapper_down(&self) -> bool {
        let cause = match self {
            Self::Unknown { cause, .. } => Some(cause),
            Self::Up | Self::Down { .. } => None,
        };
        matches!(cause, Some(Cause::MapperDown { .. }))
    }
}

impl Since<Reach> {
    /// Nobody can tell for a while; people still see the state of before.
    pub(super) fn lose(&mut self, cause: Cause, now: Now) -> bool {
        let shown = self.state.state();
        self.turn(Reach::Unknown { cause, shown }, now)
    }

    /// Nobody can tell, and what was known counts no more.
    pub(super) fn forget(&mut self, cause: Cause, now: Now) -> bool {
        let shown = DeviceState::Unknown;
        self.turn(Reach::Unknown { cause, shown }, now)
    }
}

impl Stand for Reach {
    const KIND: &'static str = "Reachable";

    fn said(&self) -> Said<'_> {
        let cause = match self {
            Self::Up => return said(Some(true), "Answers", ""),
            Self::Down { why } => return said(Some(false), "NoAnswer", &**why),
            Self::Unknown { cause, .. } => cause,
        };
        match cause {
            Cause::NotReadYet => said(None, "NotReadYet", ""),
            Cause::NoMapper { protocol } => said(None, "MapperNotFound", no_mapper(protocol)),
            Cause::MapperDown { why } => said(None, "MapperDown", &**why),
            Cause::Config { faults } => said(None, "Config", &**faults),
            Cause::Unusable { reason, why } => said(None, reason, &**why),
            Cause::Said { why } => said(None, "Unknown", &**why),
        }
    }
}

/// Whether a mapper has the device.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// Its mapper was not asked yet.
    NotYet,
    /// Its mapper has it.
    Yes,
    /// No mapper serves its protocol.
    NoMapper { protocol: Box<str> },
    /// Its mapper is down, or is back and was not asked yet.
    MapperDown { why: Arc<str> },
    /// Its objects cannot be used.
    Unusable { reason: &'static str },
    /// The mapper refused it; the faults stand in [`Manifest`].
    Refused,
    /// The mapper did not take it; it is asked again.
    Failed { why: Box<str> },
}

impl Stand for Served {
    const KIND: &'static str = "Served";

    fn said(&self) -> Said<'_> {
        match self {
            Self::NotYet => said(None, "Unknown", ""),
            Self::Yes => said(Some(true), "Configured", ""),
            Self::NoMapper { protocol } => said(Some(false), "MapperNotFound", no_mapper(protocol)),
            Self::MapperDown { why } => said(Some(false), "MapperDown", &**why),
            Self::Unusable { reason } => said(Some(false), reason, ""),
            Self::Refused => said(
                Some(false),
                "ConfigRefused",
                "the mapper refused the configuration",
            ),
            Self::Failed { why } => said(Some(false), "ConfigFailed", &**why),
        }
    }
}

fn no_mapper(protocol: &str) -> String {
    format!("no mapper for protocol `{protocol}` runs on this node")
}

/// What is known of the objects that a device is made from.
#[derive(Debug, PartialEq)]
pub(super) enum Manifest {
    /// Nobody looked at them yet.
    Unread,
    /// Usable, as far as these faults leave it: those of the manifests, then
    /// those that the mapper found.
    Read { faults: Vec<Fault>, own: usize },
    /// Nothing of the device can be used.
    Unusable { reason: &'static str, why: Box<str> },
}

impl Manifest {
    pub(super) fn faults(&self) -> &[Fault] {
        match self {
            Self::Read { faults, .. } => faults,
            Self::Unread | Self::Unusable { .. } => &[],
        }
    }

    /// Those of the manifests, and those that the mapper found.
    pub(super) fn both(&self) -> (&[Fault], &[Fault]) {
        match self {
            Self::Read { faults, own } => faults.split_at((*own).min(faults.len())),
            Self::Unread | Self::Unusable { .. } => (&[], &[]),
        }
    }
}

impl Stand for Manifest {
    const KIND: &'static str = "ConfigValid";

    fn said(&self) -> Said<'_> {
        let faults = match self {
            Self::Unread => return said(None, "Unknown", ""),
            Self::Unusable { reason, why } => return said(Some(false), reason, &**why),
            Self::Read { faults, .. } => faults,
        };
        let errors: Vec<_> = faults
            .iter()
            .filter(|fault| fault.is_error())
            .map(ToString::to_string)
            .collect();
        if errors.is_empty() {
            said(Some(true), "Valid", "")
        } else {
            said(Some(false), "Faults", errors.join("; "))
        }
    }
}

#[cfg(test)]
mod tests;
