//! The desired values of all points: which of them wait for something, what a
//! former life left of them, and who counts where two speak.
//!
//! A value itself stands at its point, with its state ([`crate::desired`]), so
//! that a reading finds it without a search.

use std::collections::{BTreeSet, HashMap};

use longshore_types::{
    device::WriteState,
    effective::{Desired, EffectiveProperty},
    policy::OnReturn,
};

use super::Now;
use crate::desired::{DesiredValue, Kept, State, given_at, of_device};

/// See the module.
#[derive(Default)]
pub(super) struct Desires {
    /// Points whose desired value needs time or events.
    unsettled: BTreeSet<u32>,
    /// By device and property.
    saved: HashMap<String, HashMap<String, SavedDesired>>,
}

/// A desired value from a former life.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct SavedDesired {
    text: String,
    local: bool,
    of_device: Option<String>,
    given_ms: i64,
    /// `pending`, `confirmed` or `failed`. A version that knows no more words
    /// leaves alone what failed and was refused: so does it with what is unknown.
    write: String,
    refused: bool,
    message: String,
    since_ms: i64,
    /// `state` or `command`; a former version did not know the difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// It may be on the wire. Written before the mapper gets a command.
    #[serde(default)]
    handed: bool,
    /// Nobody can tell whether the device has it.
    #[serde(default)]
    unknown: bool,
}

impl SavedDesired {
    /// Whether its outcome was known.
    pub(super) fn ended(&self) -> bool {
        self.unknown || self.refused || self.write == "confirmed"
    }

    fn kept(&self) -> Kept {
        let command = self.kind.as_deref().map(|kind| kind == "command");
        Kept {
            write: match self.write.as_str() {
                _ if self.unknown => WriteState::Unknown,
                "confirmed" => WriteState::Confirmed,
                "failed" => WriteState::Failed,
                _ => WriteState::Pending,
            },
            command,
            handed: self.handed,
            refused: self.refused,
            message: self.message.clone(),
            since_ms: self.since_ms,
        }
    }
}

impl Desires {
    /// Hands over what a former life left of a property. False when it cannot be
    /// read.
    pub(super) fn restore(&mut self, device: String, property: String, json: &str) -> bool {
        let Ok(saved) = serde_json::from_str(json) else {
            return false;
        };
        let of_device = self.saved.entry(device).or_default();
        of_device.insert(property, saved);
        true
    }

    /// What a former life left of a device, by property.
    pub(super) fn take_saved(&mut self, device: &str) -> HashMap<String, SavedDesired> {
        self.saved.remove(device).unwrap_or_default()
    }

    /// The devices of which something is left and that are not `known`: they did
    /// not come.
    pub(super) fn take_orphans(&mut self, known: impl Fn(&str) -> bool) -> Vec<String> {
        let gone = self.saved.extract_if(|device, _| !known(device));
        gone.map(|(device, _)| device).collect()
    }

    /// The desired value of a point is another one, or came further.
    pub(super) fn note(&mut self, point: u32, value: Option<&DesiredValue>) {
        if value.is_some_and(|value| !value.is_settled()) {
            self.unsettled.insert(point);
        } else {
            self.unsettled.remove(&point);
        }
    }

    /// Nobody has this point any more.
    pub(super) fn forget(&mut self, point: u32) {
        self.unsettled.remove(&point);
    }

    /// The points whose value waits for something.
    pub(super) fn unsettled(&self) -> Vec<u32> {
        self.unsettled.iter().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.unsettled.len()
    }
}

/// A desired value as the store keeps it.
pub(super) fn json(value: &DesiredValue) -> String {
    let shown = match value.shown() {
        WriteState::Unknown => WriteState::Failed,
        shown => shown,
    };
    let under_way = matches!(value.state, State::Announcing | State::Writing { .. });
    let in_doubt = matches!(
        value.state,
        State::Confirming { .. } | State::Settling { .. }
    );
    let saved = SavedDesired {
        text: value.text.to_string(),
        local: value.local,
        of_device: value.of_device.as_deref().map(str::to_owned),
        given_ms: value.given_ms,
        write: shown.as_str().to_owned(),
        refused: matches!(value.state, State::Refused | State::Unknown),
        message: value.message.to_string(),
        since_ms: value.since_ms,
        kind: Some(if value.command { "command" } else { "state" }.to_owned()),
        handed: value.handed || under_way || in_doubt,
        unknown: value.state == State::Unknown,
    };
    // A struct of texts and numbers always has a JSON form.
    serde_json::to_string(&saved).unwrap_or_default()
}

/// Decides what a property should be: what stands already (`existing`), what a
/// former life left (`saved`), or what the Device says now. The last word
/// counts, be it the Device's or a local client's.
pub(super) fn choose(
    existing: Option<Box<DesiredValue>>,
    property: &EffectiveProperty,
    saved: Option<SavedDesired>,
    now: Now,
) -> Option<Box<DesiredValue>> {
    let (text, target): (Option<Box<str>>, _) = match &property.desired {
        Desired::None => (None, Err(Box::default())),
        Desired::Value(value) => (Some(value.to_string().into()), Ok(value.clone())),
        Desired::Refused { text, message } => {
            (Some(text.as_str().into()), Err(message.as_str().into()))
        }
    };
    let given = text
        .as_deref()
        .map(|text| of_device(text, &property.desired_metadata));
    let check = |text: &str| match &property.broken {
        Some(message) => Err(message.as_str().into()),
        None => property
            .check_text(text)
            .map_err(|error| error.to_string().into()),
    };
    let version = existing.as_ref().map_or(0, |desired| desired.version);
    if let Some(existing) = &existing
        && existing.of_device == given
        && (existing.local || text.is_some())
    {
        let target = if existing.local {
            check(&existing.text)
        } else {
            target
        };
        if target == existing.target {
            return Some(existing.clone());
        }
        // The model changed: the same text means something else now.
        let mut again = DesiredValue::new(
            &existing.text,
            target,
            existing.local,
            existing.given_ms,
            version,
        );
        again.of_device = given;
        return Some(Box::new(again));
    }
    if let (None, Some(saved)) = (&existing, saved)
        && saved.of_device.as_deref() == given.as_deref()
        && (saved.local || text.is_some())
    {
        let target = if saved.local {
            check(&saved.text)
        } else {
            target
        };
        let mut resumed =
            DesiredValue::new(&saved.text, target, saved.local, saved.given_ms, version);
        let write = property.policy.write;
        let restore = write.on_return == OnReturn::Restore;
        resumed.resume(&saved.kept(), write.command, restore);
        resumed.of_device = given;
        return Some(Box::new(resumed));
    }
    // Withdrawn by the Device: a local one that came later still stands.
    if text.is_none()
        && let Some(mut local) = existing.filter(|existing| existing.local)
    {
        local.of_device = None;
        return Some(local);
    }
    let given_ms = given_at(&property.desired_metadata, now.unix_ms);
    let mut fresh = DesiredValue::new(text.as_deref()?, target, false, given_ms, version + 1);
    fresh.command = property.policy.write.command;
    fresh.since_ms = now.unix_ms;
    fresh.of_device = given;
    Some(Box::new(fresh))
}

#[cfg(test)]
mod tests;
