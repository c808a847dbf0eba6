//! Making an object fit its schema: unknown fields out, defaults in.

use serde_json::{Map, Value};

use super::{Kind, Schema};

/// Removes the fields that the schema does not have and gives their paths, in
/// the order of the object.
pub(crate) fn prune(value: &mut Value, schema: &Schema) -> Vec<String> {
    let mut unknown = Vec::new();
    walk(value, schema, String::new(), &mut unknown);
    unknown
}

fn walk(value: &mut Value, schema: &Schema, path: String, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => object(map, schema, &path, unknown),
        Value::Array(items) => {
            let Some(of) = &schema.items else { return };
            for (index, item) in items.iter_mut().enumerate() {
                walk(item, of, format!("{path}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

fn object(map: &mut Map<String, Value>, schema: &Schema, path: &str, unknown: &mut Vec<String>) {
    if !matches!(schema.kind, Kind::Object | Kind::Any) {
        return; // the wrong type is told by validation
    }
    let preserve = schema.preserve || (schema.kind == Kind::Any && schema.properties.is_empty());
    let names: Vec<String> = map.keys().cloned().collect();
    for name in names {
        let inner = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        match schema.field(&name) {
            Some(field) => {
                if let Some(value) = map.get_mut(&name) {
                    walk(value, field, inner, unknown);
                }
            }
            None if preserve
                || (schema.embedded
                    && matches!(name.as_str(), "apiVersion" | "kind" | "metadata")) => {}
            None => {
                map.shift_remove(&name);
                unknown.push(inner);
            }
        }
    }
}

/// Fills in what the schema has a default for.
pub(crate) fn apply_defaults(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(map) => {
            for (name, field) in &schema.properties {
                if let Some(default) = &field.default
                    && map
                        .get(name)
                        .is_none_or(|value| value.is_null() && !field.nullable)
                {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in map.iter_mut() {
                if let Some(field) = schema.field(name) {
                    apply_defaults(value, field);
                }
            }
        }
        Value::Array(items) => {
            if let Some(of) = &schema.items {
                items.iter_mut().for_each(|item| apply_defaults(item, of));
            }
        }
        _ => {}
    }
}

/// For built-in types null means absent, as in a decoder with typed fields.
pub(crate) fn drop_nulls(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(map) if !schema.preserve => {
            map.retain(|_, value| !value.is_null());
            for (name, value) in map.iter_mut() {
                if let Some(field) = schema.field(name) {
                    drop_nulls(value, field);
                }
            }
        }
        Value::Array(items) => {
            if let Some(of) = &schema.items {
                items.iter_mut().for_each(|item| drop_nulls(item, of));
            }
        }
        _ => {}
    }
}
