//! Changing an object by a patch: merge, JSON, strategic merge, server-side apply.
//!
//! All of it is pure: trees in, trees out.

mod apply;
mod fields;
mod managed;
mod strategic;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

pub(crate) use apply::{Conflicts, apply};
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
    for (name, value) in patch {
        if value.is_null() {
            map.shift_remove(&name);
        } else {
            merge(map.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// JSON patch (RFC 6902), with the two liberties of the real server that
/// clients rely on: a `test` for null passes where nothing is, and `add` at
/// `/metadata/labels/x` needs `labels` as in the RFC.
pub(crate) fn json(target: &mut Value, patch: Value) -> Result<(), PatchError> {
    let malformed = |text: String| PatchError::Malformed(text);
    let Value::Array(operations) = patch else {
        return Err(malformed(
            "json: cannot unmarshal object into Go value of type jsonpatch.Patch".into(),
        ));
    };
    for operation in operations {
        if operation["op"] == "test"
            && operation["value"].is_null()
            && operation["path"]
                .as_str()
                .is_some_and(|path| target.pointer(path).is_none())
        {
            continue;
        }
        let verb = operation["op"].as_str().unwrap_or_default().to_owned();
        let path = operation["path"].as_str().unwrap_or_default().to_owned();
        let step: json_patch::PatchOperation = serde_json::from_value(operation)
            .map_err(|fault| malformed(format!("error decoding patch: {fault}")))?;
        json_patch::patch(target, &[step]).map_err(|fault| {
            PatchError::Unprocessable(match fault.kind {
                json_patch::PatchErrorKind::TestFailed => format!("testing value {path} failed: test failed"),
                _ => format!("{verb} operation does not apply: doc is missing path: \"{path}\": missing value"),
            })
        })?;
    }
    Ok(())
}
