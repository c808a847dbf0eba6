//! How large an object may be, and how deep.

use serde_json::Value;

/// The largest body, as with the real server.
pub(crate) const BODY: usize = 3 * 1024 * 1024;

/// The largest object as it is stored: what etcd takes, so that what fits here fits
/// a cluster, and what the link and the edges are made for.
pub(crate) const OBJECT: usize = 3 * 1024 * 1024 / 2;

/// The deepest object. What is stored is read again by a reader with a limit of 128.
pub(crate) const DEPTH: usize = 100;

/// About the bytes that a value takes as JSON; never less than one for each of its
/// parts.
pub(crate) fn of(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 4,
        Value::Number(_) => 2,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(|item| 1 + of(item)).sum::<usize>(),
        Value::Object(map) => {
            let fields = map.iter().map(|(name, value)| name.len() + 4 + of(value));
            2 + fields.sum::<usize>()
        }
    }
}

/// Whether nothing stands deeper than so many containers.
pub(crate) fn is_within(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(|item| is_within(item, depth - 1)),
        Value::Object(map) => depth > 0 && map.values().all(|value| is_within(value, depth - 1)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn size_and_depth() {
        for value in [json!([1, null, "ab"]), json!({"a": {"b": []}})] {
            let text = value.to_string().len();
            assert!(of(&value).abs_diff(text) <= 4, "{value}");
        }
        assert!(is_within(&json!({"a": [1]}), 2));
        assert!(!is_within(&json!({"a": [1]}), 1));
    }
}
