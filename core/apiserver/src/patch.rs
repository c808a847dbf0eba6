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

/// What comes of a JSON merge patch (RFC 7386). Of the object only that is copied which
/// stays: what a status replaces is most of it.
pub(crate) fn merge(target: &Value, patch: Value) -> Value {
    let Value::Object(mut patch) = patch else {
        return patch;
    };
    let of_target = target.as_object().map_or(0, Map::len);
    let mut merged = Map::with_capacity(of_target.max(patch.len()));
    for (name, value) in target.as_object().into_iter().flatten() {
        let changed = match patch.get_mut(name) {
            None => value.clone(),
            Some(Value::Null) => continue,
            Some(change) => merge(value, change.take()),
        };
        merged.insert(name.clone(), changed);
    }
    for (name, value) in patch {
        if !value.is_null() && !merged.contains_key(&name) {
            merged.insert(name, merge(&Value::Null, value));
        }
    }
    Value::Object(merged)
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
