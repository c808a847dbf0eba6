//! Tables, and objects cut down to their metadata.

use serde_json::{Map, Value, json};

use super::request::Params;
use crate::registry::{Cell, Column, Resource};
use crate::time;

/// The object's metadata and nothing else.
pub(super) fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// A table of `objects`; `metadata` is that of the list.
pub(super) fn build(
    resource: &Resource,
    objects: Vec<Value>,
    params: &Params,
    metadata: Value,
) -> Value {
    let rows: Vec<Value> = objects
        .into_iter()
        .map(|object| {
            let cells: Vec<Value> = resource
                .columns
                .iter()
                .map(|column| cell(column, &object))
                .collect();
            let object = match params.get("includeObject") {
                Some("None") => Value::Null,
                Some("Object") => object,
                _ => partial(&object),
            };
            json!({"cells": cells, "object": object})
        })
        .collect();
    let columns: Vec<Value> = resource
        .columns
        .iter()
        .map(|column| {
            json!({"name": column.name, "type": column.kind, "format": column.format,
                "description": column.description, "priority": column.priority})
        })
        .collect();
    let metadata = if metadata.is_null() {
        let first = rows
            .first()
            .map(|row| row["object"]["metadata"]["resourceVersion"].clone());
        first
            .filter(|version| !version.is_null())
            .map_or(json!({}), |version| json!({"resourceVersion": version}))
    } else {
        metadata
    };
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": columns,
        "rows": rows})
}

fn cell(column: &Column, object: &Value) -> Value {
    let value = match &column.cell {
        Cell::Code(code) => code(object),
        Cell::Path(path) => path
            .find(object)
            .first()
            .copied()
            .cloned()
            .unwrap_or(Value::Null),
    };
    match (column.kind.as_str(), value) {
        (_, Value::Null) => Value::Null,
        ("integer", Value::Number(number)) => number
            .as_i64()
            .or_else(|| number.as_f64().map(|float| float as i64))
            .map_or(Value::Null, Value::from),
        ("number", value @ Value::Number(_)) | ("boolean", value @ Value::Bool(_)) => value,
        ("date", Value::String(text)) => json!(time::age(&text)),
        ("string", value @ Value::String(_)) => value,
        ("string", Value::Number(number)) => Value::Number(number),
        ("string", other) => Value::String(other.to_string()),
        _ => Value::Null,
    }
}

/// The metadata of a list.
pub(super) fn list_metadata(
    revision: u64,
    next: Option<String>,
    remaining: Option<usize>,
) -> Value {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".into(), json!(revision.to_string()));
    if let Some(next) = next {
        metadata.insert("continue".into(), json!(next));
        if let Some(remaining) = remaining {
            metadata.insert("remainingItemCount".into(), json!(remaining));
        }
    }
    Value::Object(metadata)
}
