//! What of a status is another than what was written last. Pure.
//!
//! A merge patch names what changes and leaves the rest as it is, so only the parts
//! of a status that changed are sent. A part is a key of the status, or of its
//! extensions: lists are written whole, as a merge patch has it.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::{Map, Value};

use crate::tables::statuses::Prints;

const EXTENSIONS: &str = "extensions";

/// Keys whose values only say when a value was read.
const TIMES: [&str; 4] = ["timestamp", "sourceTime", "lastRead", "lastOnlineTime"];

/// The fingerprints of a status.
pub(super) fn prints(status: &Value) -> Prints {
    let mut prints = Prints::default();
    let mut still = DefaultHasher::new();
    for (key, part) in parts(status) {
        let mut whole = DefaultHasher::new();
        prints.bytes += key.len() + hash(part, false, &mut whole);
        if !TIMES.contains(&&*key) {
            key.hash(&mut still);
            hash(part, true, &mut still);
        }
        prints.parts.insert(key, whole.finish());
    }
    prints.still = still.finish();
    prints
}

/// The parts of `status` that are others now than `before`.
pub(super) fn changed(status: &Value, before: &Prints, now: &Prints) -> Value {
    let (mut out, mut extensions) = (Map::new(), Map::new());
    for (key, part) in parts(status) {
        if before.parts.get(&key) == now.parts.get(&key) {
            continue;
        }
        match key.strip_prefix("extensions.") {
            Some(key) => extensions.insert(key.to_owned(), part.clone()),
            None => out.insert(key, part.clone()),
        };
    }
    if !extensions.is_empty() {
        out.insert(EXTENSIONS.to_owned(), extensions.into());
    }
    out.into()
}

fn parts(status: &Value) -> BTreeMap<String, &Value> {
    let mut parts = BTreeMap::new();
    for (key, value) in status.as_object().into_iter().flatten() {
        match value.as_object() {
            Some(extensions) if key == EXTENSIONS => {
                let named = extensions.iter();
                parts.extend(named.map(|(key, value)| (format!("{EXTENSIONS}.{key}"), value)));
            }
            _ => {
                parts.insert(key.clone(), value);
            }
        }
    }
    parts
}

/// Hashes a value, without times of reading when `still`; gives about how many bytes
/// it has as JSON.
fn hash(value: &Value, still: bool, into: &mut impl Hasher) -> usize {
    match value {
        Value::Null => {
            0u8.hash(into);
            4
        }
        Value::Bool(flag) => {
            (1u8, flag).hash(into);
            5
        }
        Value::Number(number) => {
            let text = number.to_string();
            (2u8, &text).hash(into);
            text.len()
        }
        Value::String(text) => {
            (3u8, text).hash(into);
            text.len() + 2
        }
        Value::Array(items) => {
            (4u8, items.len()).hash(into);
            let bytes = items.iter().map(|item| hash(item, still, into) + 1);
            2 + bytes.sum::<usize>()
        }
        Value::Object(map) => {
            5u8.hash(into);
            let mut bytes = 2;
            for (key, value) in map {
                bytes += key.len() + 4;
                if !still || !TIMES.contains(&&**key) {
                    key.hash(into);
                    bytes += hash(value, still, into);
                }
            }
            6u8.hash(into);
            bytes
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(value: &str, time: u32, state: &str) -> Value {
        json!({
            "state": state,
            "lastOnlineTime": time.to_string(),
            "twins": [{"propertyName": "a", "reported": {"value": value, "metadata": {"timestamp": time.to_string()}}}],
            "extensions": {
                "properties": [{"name": "a", "quality": "good", "lastRead": time.to_string()}],
                "conditions": [],
                "events": null,
            },
        })
    }

    #[test]
    fn only_the_parts_that_changed_are_sent() {
        let before = prints(&status("1", 10, "online"));
        let next = status("1", 10, "offline");
        let now = prints(&next);
        assert_eq!(changed(&next, &before, &now), json!({"state": "offline"}));
        let next = status("1", 20, "online");
        let sent = changed(&next, &before, &prints(&next));
        let mut expected = next.clone();
        expected.as_object_mut().unwrap().remove("state");
        let extensions = expected["extensions"].as_object_mut().unwrap();
        extensions.remove("conditions");
        extensions.remove("events");
        assert_eq!(sent, expected);
        assert_eq!(changed(&next, &now, &now), json!({}));
    }

    #[test]
    fn times_alone_are_no_change_of_what_stands_still() {
        let still = |value, time, state| prints(&status(value, time, state)).still;
        let before = still("1", 10, "online");
        assert_eq!(before, still("1", 20, "online"));
        assert_ne!(before, still("2", 20, "online"));
        assert_ne!(before, still("1", 20, "offline"));
    }

    #[test]
    fn bytes_are_about_those_of_the_json() {
        let status = status("21.5", 1_732_000, "online");
        let bytes = status.to_string().len();
        assert!(prints(&status).bytes.abs_diff(bytes) * 4 < bytes);
    }
}
