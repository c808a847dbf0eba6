//! JSON patch (RFC 6902), bounded as in Kubernetes.
//!
//! A patch is a program of its sender: with a few copies it doubles an object twenty
//! times, with ten thousand removals from the head of a long list it moves terabytes.
//! So besides the number of operations their work has a bound: what is copied, and
//! what must move to make room or to close a gap.
//!
//! One liberty of the real server that clients rely on: a `test` for null passes
//! where nothing is.

use serde_json::{Map, Value};

use super::PatchError;
use crate::size;

/// Operations of one patch, as with the real server.
const OPERATIONS: usize = 10_000;

/// Bytes that all `copy` operations together may add, as with the real server.
const COPIED: usize = size::BODY;

/// Places that all operations together may move.
const MOVED: usize = 20_000_000;

/// What a patch may still cost.
struct Room {
    copied: usize,
    moved: usize,
}

impl Room {
    fn copies(&mut self, bytes: usize) -> Result<(), PatchError> {
        self.copied = self.copied.checked_sub(bytes).ok_or_else(|| {
            let text = format!(
                "Unable to complete, the accumulated size increase of copy is more than the limit {COPIED}"
            );
            PatchError::TooLarge(text)
        })?;
        Ok(())
    }

    fn moves(&mut self, places: usize) -> Result<(), PatchError> {
        self.moved = self.moved.checked_sub(places).ok_or_else(|| {
            let text = "the operations of the patch take more work than one request may cost";
            PatchError::TooLarge(text.to_owned())
        })?;
        Ok(())
    }
}

/// Applies a patch.
pub(crate) fn json(target: &mut Value, patch: Value) -> Result<(), PatchError> {
    let Value::Array(operations) = patch else {
        return Err(PatchError::Malformed(
            "json: cannot unmarshal object into Go value of type jsonpatch.Patch".into(),
        ));
    };
    if operations.len() > OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut room = Room {
        copied: COPIED,
        moved: MOVED,
    };
    for operation in operations {
        apply(target, operation, &mut room)?;
    }
    Ok(())
}

fn malformed(text: &str) -> PatchError {
    PatchError::Malformed(format!("error decoding patch: {text}"))
}

fn apply(target: &mut Value, mut operation: Value, room: &mut Room) -> Result<(), PatchError> {
    let Value::Object(fields) = &mut operation else {
        return Err(malformed("an operation is not an object"));
    };
    let value = fields.swap_remove("value");
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let verb = text("op").ok_or_else(|| malformed("missing field `op`"))?;
    let path = text("path").ok_or_else(|| malformed("missing field `path`"))?;
    let to = pointer(path)?;
    let from = || pointer(text("from").ok_or_else(|| malformed("missing field `from`"))?);
    let value = || value.ok_or_else(|| malformed("missing field `value`"));
    let nothing_there = || {
        let text = format!(
            "{verb} operation does not apply: doc is missing path: \"{path}\": missing value"
        );
        PatchError::Unprocessable(text)
    };
    let done = match verb {
        "test" => {
            let found = find(target, &to).unwrap_or(&Value::Null);
            if *found != value().unwrap_or(Value::Null) {
                let text = format!("testing value {path} failed: test failed");
                return Err(PatchError::Unprocessable(text));
            }
            Some(())
        }
        "add" => add(target, &to, value()?, room)?,
        "remove" => remove(target, &to, room)?.map(drop),
        "replace" => {
            let value = value()?;
            fits(&value, &to)?;
            find_mut(target, &to).map(|slot| *slot = value)
        }
        "copy" => {
            let source = find(target, &from()?).ok_or_else(nothing_there)?;
            room.copies(size::of(source))?;
            let copy = source.clone();
            add(target, &to, copy, room)?
        }
        "move" => {
            let from = from()?;
            if to.len() > from.len() && to.starts_with(&from) {
                let text = "move operation does not apply: a value cannot be moved into itself";
                return Err(PatchError::Unprocessable(text.to_owned()));
            }
            let value = remove(target, &from, room)?.ok_or_else(nothing_there)?;
            // To look how deep it is takes a step for each of its parts.
            room.moves(size::of(&value))?;
            add(target, &to, value, room)?
        }
        other => return Err(malformed(&format!("unknown operation {other:?}"))),
    };
    done.ok_or_else(nothing_there)
}

/// The tokens of a pointer (RFC 6901).
fn pointer(text: &str) -> Result<Vec<String>, PatchError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let rest = text
        .strip_prefix('/')
        .ok_or_else(|| malformed("a path must begin with a slash"))?;
    let tokens: Vec<String> = rest
        .split('/')
        .take(size::DEPTH + 1)
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
        .collect();
    if tokens.len() > size::DEPTH {
        return Err(malformed("a path has too many steps"));
    }
    Ok(tokens)
}

fn position(token: &str, length: usize) -> Option<usize> {
    let plain = token == "0" || !token.starts_with(['0', '+']);
    let at: usize = token.parse().ok().filter(|_| plain)?;
    (at <= length).then_some(at)
}

fn child<'a>(value: &'a Value, token: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(token),
        Value::Array(items) => items.get(position(token, items.len())?),
        _ => None,
    }
}

fn find<'a>(target: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(target, |at, token| child(at, token))
}

fn find_mut<'a>(target: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(target, |at, token| match at {
        Value::Object(map) => map.get_mut(token),
        Value::Array(items) => {
            let at = position(token, items.len())?;
            items.get_mut(at)
        }
        _ => None,
    })
}

/// What comes to stand at a path may not make the object deeper than it may be.
fn fits(value: &Value, path: &[String]) -> Result<(), PatchError> {
    if size::is_within(value, size::DEPTH - path.len()) {
        return Ok(());
    }
    Err(PatchError::TooLarge(format!(
        "the object would be deeper than {}",
        size::DEPTH
    )))
}

/// Adds a value; none when there is no place for it.
fn add(
    target: &mut Value,
    path: &[String],
    value: Value,
    room: &mut Room,
) -> Result<Option<()>, PatchError> {
    fits(&value, path)?;
    let Some((last, above)) = path.split_last() else {
        *target = value;
        return Ok(Some(()));
    };
    match find_mut(target, above) {
        Some(Value::Object(map)) => {
            map.insert(last.clone(), value);
            Ok(Some(()))
        }
        Some(Value::Array(items)) => {
            let end = items.len();
            let Some(at) = (if last == "-" {
                Some(end)
            } else {
                position(last, end)
            }) else {
                return Ok(None);
            };
            room.moves(end - at)?;
            items.insert(at, value);
            Ok(Some(()))
        }
        _ => Ok(None),
    }
}

fn remove(
    target: &mut Value,
    path: &[String],
    room: &mut Room,
) -> Result<Option<Value>, PatchError> {
    let Some((last, above)) = path.split_last() else {
        return Ok(Some(std::mem::replace(target, Value::Object(Map::new()))));
    };
    match find_mut(target, above) {
        Some(Value::Object(map)) => {
            if !map.contains_key(last) {
                return Ok(None);
            }
            room.moves(map.len())?;
            Ok(map.shift_remove(last))
        }
        Some(Value::Array(items)) => {
            let at = position(last, items.len()).filter(|at| *at < items.len());
            let Some(at) = at else { return Ok(None) };
            room.moves(items.len() - at)?;
            Ok(Some(items.remove(at)))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(mut target: Value, patch: Value) -> Result<Value, PatchError> {
        super::json(&mut target, patch).map(|()| target)
    }

    #[test]
    fn each_operation_does_what_the_rfc_says() {
        // RFC 6902, appendix A
        let cases = [
            (
                json!({"foo": "bar"}),
                json!({"op": "add", "path": "/baz", "value": "qux"}),
                json!({"foo": "bar", "baz": "qux"}),
            ),
            (
                json!({"foo": [1, 3]}),
                json!({"op": "add", "path": "/foo/1", "value": 2}),
                json!({"foo": [1, 2, 3]}),
            ),
            (
                json!({"foo": [1]}),
                json!({"op": "add", "path": "/foo/-", "value": [2]}),
                json!({"foo": [1, [2]]}),
            ),
            (
                json!({"baz": 1, "foo": 2}),
                json!({"op": "remove", "path": "/baz"}),
                json!({"foo": 2}),
            ),
            (
                json!({"foo": [1, 2, 3]}),
                json!({"op": "remove", "path": "/foo/1"}),
                json!({"foo": [1, 3]}),
            ),
            (
                json!({"baz": 1}),
                json!({"op": "replace", "path": "/baz", "value": 2}),
                json!({"baz": 2}),
            ),
            (
                json!({"a": {"b": 1}, "c": {}}),
                json!({"op": "move", "from": "/a/b", "path": "/c/d"}),
                json!({"a": {}, "c": {"d": 1}}),
            ),
            (
                json!({"foo": [1, 2, 3, 4]}),
                json!({"op": "move", "from": "/foo/1", "path": "/foo/3"}),
                json!({"foo": [1, 3, 4, 2]}),
            ),
            (
                json!({"a": [1]}),
                json!({"op": "copy", "from": "/a", "path": "/b"}),
                json!({"a": [1], "b": [1]}),
            ),
            (
                json!({"/": 9, "~1": 10}),
                json!({"op": "test", "path": "/~01", "value": 10}),
                json!({"/": 9, "~1": 10}),
            ),
            (
                json!({"/": 9}),
                json!({"op": "replace", "path": "/~1", "value": 8}),
                json!({"/": 8}),
            ),
            (
                json!({"a": 1}),
                json!({"op": "test", "path": "/none", "value": null}),
                json!({"a": 1}),
            ),
            (
                json!({"a": 1}),
                json!({"op": "replace", "path": "", "value": {"b": 1}}),
                json!({"b": 1}),
            ),
        ];
        for (target, operation, wanted) in cases {
            let got = patched(target, json!([operation]));
            assert_eq!(got, Ok(wanted), "{operation}");
        }
    }

    #[test]
    fn what_does_not_apply_is_refused() {
        for operation in [
            json!({"op": "add", "path": "/a/b", "value": 1}),
            json!({"op": "add", "path": "/list/3", "value": 1}),
            json!({"op": "add", "path": "/list/01", "value": 1}),
            json!({"op": "remove", "path": "/none"}),
            json!({"op": "replace", "path": "/none", "value": 1}),
            json!({"op": "test", "path": "/list", "value": [2]}),
            json!({"op": "move", "from": "/list", "path": "/list/0"}),
        ] {
            let got = patched(json!({"list": [1, 2]}), json!([operation]));
            let refused = matches!(got, Err(PatchError::Unprocessable(_)));
            assert!(refused, "{operation}: {got:?}");
        }
        for operation in [
            json!({"op": "add", "path": "/a"}),
            json!({"op": "jump", "path": "/a"}),
            json!({"path": "/a"}),
            json!(7),
        ] {
            let got = patched(json!({}), json!([operation]));
            let refused = matches!(got, Err(PatchError::Malformed(_)));
            assert!(refused, "{operation}: {got:?}");
        }
    }

    /// What a few operations can do to an object, and the bound that each runs into.
    #[test]
    fn a_patch_costs_no_more_than_a_request_may() {
        let doubling = std::iter::repeat_n(json!({"op": "copy", "from": "/a", "path": "/a/-"}), 26);
        let removals = std::iter::repeat_n(json!({"op": "remove", "path": "/a/0"}), OPERATIONS);
        let inserts =
            std::iter::repeat_n(json!({"op": "add", "path": "/a/0", "value": 1}), OPERATIONS);
        let fields = (0..OPERATIONS).map(|n| json!({"op": "remove", "path": format!("/m/{n}")}));
        let moves = std::iter::repeat_n(
            json!({"op": "move", "from": "/a", "path": "/a"}),
            OPERATIONS,
        );
        let deeper = (0..300).map(|_| json!({"op": "move", "from": "/d", "path": "/e/d"}));
        let deeper = deeper.flat_map(|step| {
            let back = json!({"op": "move", "from": "/e", "path": "/d"});
            [step, back, json!({"op": "add", "path": "/e", "value": {}})]
        });
        let map: Map<String, Value> = (0..20_000).map(|n| (n.to_string(), json!(1))).collect();
        let large = json!({"a": vec![1; 100_000], "m": map, "d": {}, "e": {}});
        let patches: [(&str, Vec<Value>, Value); 7] = [
            (
                "doubling",
                doubling.collect(),
                json!({"a": ["x".repeat(10)]}),
            ),
            ("removals", removals.collect(), large.clone()),
            ("inserts", inserts.collect(), large.clone()),
            ("fields", fields.collect(), large.clone()),
            ("moves", moves.collect(), large.clone()),
            ("deeper", deeper.collect(), large.clone()),
            (
                "operations",
                vec![json!({"op": "test", "path": "/a", "value": 1}); OPERATIONS + 1],
                large,
            ),
        ];
        for (what, patch, target) in patches {
            let got = patched(target, Value::Array(patch));
            assert!(matches!(got, Err(PatchError::TooLarge(_))), "{what}");
        }
    }
}
