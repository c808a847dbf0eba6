//! Changing an object by a patch: merge, JSON, strategic merge, server-side apply.
//!
//! All of it is pure: trees in, trees out.

mod apply;
mod fields;
mod json;
mod managed;
mod strategic;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use serde_json::{Map, Value};

pub(crate) use apply::{Conflicts, apply};
pub(crate) use json::json;
pub(crate) use managed::{Manager, track};
pub(crate) use strategic::strategic;

/// Why a patch could not be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PatchError {
    /// The patch is not one.
    #[error("{0}")]
    Malformed(String),
    /// The patch does not fit the object.
    #[error("{0}")]
    Unprocessable(String),
    /// The patch costs more than one request may.
    #[error("{0}")]
    TooLarge(String),
}

/// JSON merge patch (RFC 7386).
pub(crate) fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(map) = target else { return };
    let mut gone = Gone::default();
    for (name, value) in patch {
        if value.is_null() {
            gone.add(map, name);
        } else {
            merge(map.entry(name).or_insert(Value::Null), value);
        }
    }
    gone.take(map);
}

/// Fields that are to be removed from an object, all in one pass: each by itself
/// would move all that stand behind it.
#[derive(Default)]
struct Gone(HashSet<String>);

impl Gone {
    fn add(&mut self, map: &Map<String, Value>, name: String) {
        if map.contains_key(&name) {
            self.0.insert(name);
        }
    }

    fn take(self, map: &mut Map<String, Value>) {
        if !self.0.is_empty() {
            map.retain(|name, _| !self.0.contains(name));
        }
    }
}
