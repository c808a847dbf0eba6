//! What people read.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{Fault, near::nearest};

/// The path of a key below `at`.
pub(super) fn at(at: &str, key: &str) -> String {
    if at.is_empty() {
        key.to_owned()
    } else {
        format!("{at}.{key}")
    }
}

/// A value in a message, cut.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => format!("`{text}`"),
        Value::Object(_) => "a mapping".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        other => other.to_string(),
    };
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

pub(super) fn wrong_kind(kinds: &[&str], value: &Value) -> String {
    fn word(kind: &str) -> Option<&str> {
        Some(match kind {
            "null" => return None,
            "boolean" => "true or false",
            "object" => "a mapping",
            "array" => "a list",
            "string" => "a text",
            "number" => "a number",
            "integer" => "a whole number",
            other => other,
        })
    }
    let words: Vec<_> = kinds.iter().copied().filter_map(word).collect();
    let words = if words.is_empty() {
        "nothing".to_owned()
    } else {
        words.join(" or ")
    };
    format!("expected {words}, found {}", shown(value))
}

/// What a text has to be that stands for a number.
pub(super) fn format_of(schema: &serde_json::Map<String, Value>) -> &'static str {
    match schema.get("format").and_then(Value::as_str) {
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some("boolean") => "true or false",
        _ => "a time: milliseconds, or a text such as `500ms` or `1m30s`",
    }
}

pub(super) fn wrong_word(allowed: &[&Value], value: &Value) -> String {
    let words: Vec<_> = allowed
        .iter()
        .filter(|word| !word.is_null())
        .map(|word| shown(word))
        .collect();
    let hint = value.as_str().and_then(|found| {
        let texts = allowed.iter().filter_map(|word| word.as_str());
        nearest(found, texts)
    });
    let hint = hint.map_or_else(String::new, |word| format!("; did you mean `{word}`?"));
    match words.as_slice() {
        [one] => format!("must be {one}, found {}{hint}", shown(value)),
        _ => format!("{} is none of {}{hint}", shown(value), words.join(", ")),
    }
}

pub(super) fn unknown_key(key: &str, known: &BTreeSet<&str>) -> String {
    match nearest(key, known.iter().copied()) {
        Some(word) => format!("unknown key; did you mean `{word}`?"),
        None => "unknown key".to_owned(),
    }
}

/// A fault below `at`, told at `at`.
pub(super) fn relative(fault: &Fault, at: &str) -> String {
    match fault.path.strip_prefix(at).unwrap_or(&fault.path) {
        "" => fault.message.clone(),
        rest => format!("{} {}", rest.trim_start_matches('.'), fault.message),
    }
}

pub(super) fn none_fits(messages: impl Iterator<Item = String>) -> String {
    let mut different: Vec<String> = Vec::new();
    for message in messages {
        if !different.contains(&message) {
            different.push(message);
        }
    }
    match different.as_slice() {
        [] => "fits none of the possible forms".to_owned(),
        [one] => one.clone(),
        _ => format!(
            "fits none of the possible forms: {}",
            different.join("; or ")
        ),
    }
}
