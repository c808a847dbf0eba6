//! What a schema says of a value beside its faults: which keys there are, and
//! which words.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Schemas that are followed within each other; more is a circle.
const MAX_DEPTH: usize = 32;
/// Schemas that are gone through for the keys of one value.
const MAX_STEPS: u32 = 10_000;

/// The schema that `reference` names in the document `root`.
pub(super) fn resolve<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    root.pointer(reference.strip_prefix('#')?)
}

/// The words of forms that are nothing but words.
pub(super) fn words<'a>(root: &'a Value, forms: &'a [Value]) -> Option<Vec<&'a Value>> {
    let mut words = Vec::new();
    for form in forms {
        let form = match form.get("$ref").and_then(Value::as_str) {
            Some(reference) => resolve(root, reference)?,
            None => form,
        };
        match (
            form.get("const"),
            form.get("enum").and_then(Value::as_array),
        ) {
            (Some(word), _) => words.push(word),
            (None, Some(more)) => words.extend(more),
            // `null` of a key that may be left out is no word for people.
            (None, None) if form.get("type") == Some(&Value::from("null")) => {}
            (None, None) => match form.get("oneOf").and_then(Value::as_array) {
                Some(forms) if forms.iter().all(|form| form.get("const").is_some()) => {
                    words.extend(forms.iter().filter_map(|form| form.get("const")));
                }
                _ => return None,
            },
        }
    }
    (!words.is_empty()).then_some(words)
}

/// The keys of which a schema speaks, in all of its parts and forms.
#[derive(Debug, Default)]
pub(super) struct Keys<'a> {
    pub(super) names: BTreeSet<&'a str>,
    /// It takes any other key too.
    pub(super) open: bool,
    /// It says that there are no others.
    pub(super) closed: bool,
    /// Schemas gone through so far.
    steps: u32,
}

impl<'a> Keys<'a> {
    pub(super) fn collect(
        &mut self,
        root: &'a Value,
        schema: &'a Map<String, Value>,
        depth: usize,
    ) {
        self.steps += 1;
        if self.open || depth > MAX_DEPTH || self.steps > MAX_STEPS {
            self.open = true;
            return;
        }
        if let Some(Value::Object(properties)) = schema.get("properties") {
            self.names.extend(properties.keys().map(String::as_str));
        }
        match schema.get("additionalProperties") {
            Some(Value::Bool(false)) => self.closed = true,
            Some(_) => self.open = true,
            None => {}
        }
        self.open |= schema.contains_key("patternProperties");
        let mut parts: Vec<&'a Value> = Vec::new();
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            parts.extend(resolve(root, reference));
        }
        for key in ["allOf", "anyOf", "oneOf"] {
            parts.extend(
                schema
                    .get(key)
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten(),
            );
        }
        for part in parts.into_iter().filter_map(Value::as_object) {
            self.collect(root, part, depth + 1);
        }
    }
}
