//! The short text form of the built-in types, turned into JSON schemas.
//!
//! ```text
//! package io.k8s.api.core.v1
//! type Taint | keeps pods away from a node
//!   key! string | name of the taint
//!   values []string set | ...
//! ```
//!
//! A field is `name[!] type flags | description`. `!` means required. Types are
//! `string int32 int64 bool time microtime bytes quantity intstr any`, another
//! type's name, `[]T` and `{}T`. Flags: `set`, `map=key,…` (server-side apply),
//! `merge` or `merge=key` (strategic merge patch). On a type: `atomic`.

use serde_json::{Map, Value, json};

use super::{Components, REF};

/// Reads the text. Panics on a mistake in it: it is part of the program.
pub(crate) fn components(text: &str) -> Components {
    let mut short: Map<String, Value> = Map::new();
    let mut package = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("package ") {
            package = name.trim();
        } else if let Some(rest) = line.strip_prefix("type ") {
            let name = rest.split([' ', '|']).next().unwrap_or_default();
            short.insert(name.to_owned(), Value::String(format!("{package}.{name}")));
        }
    }
    let mut components = Components::new();
    let mut current: Option<(String, Value)> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("type ") {
            components.extend(current.take());
            let (head, description) = rest.split_once('|').unwrap_or((rest, ""));
            let mut words = head.split_whitespace();
            let name = words
                .next()
                .and_then(|name| short.get(name))
                .and_then(Value::as_str)
                .unwrap_or_default();
            let mut schema =
                json!({"type": "object", "description": description.trim(), "properties": {}});
            if words.next() == Some("atomic") {
                schema["x-kubernetes-map-type"] = json!("atomic");
            }
            current = Some((name.to_owned(), schema));
        } else if let Some((_, schema)) = current.as_mut()
            && line.starts_with("  ")
        {
            field(line, schema, &short);
        }
    }
    components.extend(current);
    components
}

fn field(line: &str, owner: &mut Value, short: &Map<String, Value>) {
    let (head, description) = line.split_once(" | ").unwrap_or((line, ""));
    let mut words = head.split_whitespace();
    let (Some(name), Some(kind)) = (words.next(), words.next()) else {
        return;
    };
    let mut schema = of_type(kind, short);
    for flag in words {
        let (flag, argument) = flag.split_once('=').unwrap_or((flag, ""));
        match flag {
            "set" => schema["x-kubernetes-list-type"] = json!("set"),
            "map" => {
                schema["x-kubernetes-list-type"] = json!("map");
                schema["x-kubernetes-list-map-keys"] = argument.split(',').collect();
            }
            "merge" => {
                schema["x-kubernetes-patch-strategy"] = json!("merge");
                if !argument.is_empty() {
                    schema["x-kubernetes-patch-merge-key"] = json!(argument);
                }
            }
            other => unreachable!("unknown flag `{other}` in the table of built-in types"),
        }
    }
    if schema["$ref"].is_string() {
        // A sibling of `$ref` is ignored by readers, so it is wrapped.
        schema = json!({"allOf": [schema]});
    }
    schema["description"] = json!(description.trim());
    let bare = name.trim_end_matches('!');
    if bare != name {
        let mut required = owner["required"].as_array().cloned().unwrap_or_default();
        required.push(json!(bare));
        owner["required"] = Value::Array(required);
    }
    owner["properties"][bare] = schema;
}

fn of_type(kind: &str, short: &Map<String, Value>) -> Value {
    if let Some(item) = kind.strip_prefix("[]") {
        return json!({"type": "array", "items": of_type(item, short)});
    }
    if let Some(item) = kind.strip_prefix("{}") {
        return json!({"type": "object", "additionalProperties": of_type(item, short)});
    }
    match kind {
        "string" => json!({"type": "string"}),
        "bytes" => json!({"type": "string", "format": "byte"}),
        "time" | "microtime" => json!({"type": "string", "format": "date-time", "nullable": true}),
        "int32" | "int64" => json!({"type": "integer", "format": kind}),
        "bool" => json!({"type": "boolean"}),
        "intstr" | "quantity" => json!({"x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}]}),
        "any" => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
        "json" => json!({"x-kubernetes-preserve-unknown-fields": true}),
        other => match short.get(other).and_then(Value::as_str) {
            Some(full) => json!({"$ref": format!("{REF}{full}")}),
            None => unreachable!("unknown type `{other}` in the table of built-in types"),
        },
    }
}
