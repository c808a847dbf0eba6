//! Making an object fit its schema: unknown fields out, defaults in.

use serde_json::{Map, Value};

use super::{Kind, Schema};
use crate::cause::Texts;
use crate::path::Path;
use crate::size;

/// Removes the fields that the schema does not have and gives their paths, in
/// the order of the object.
pub(crate) fn prune(value: &mut Value, schema: &Schema) -> Texts {
    let mut unknown = Texts::default();
    walk(value, schema, &Path::ROOT, &mut unknown);
    unknown
}

fn walk(value: &mut Value, schema: &Schema, path: &Path<'_>, unknown: &mut Texts) {
    match value {
        Value::Object(map) => object(map, schema, path, unknown),
        Value::Array(items) => {
            let Some(of) = &schema.items else { return };
            for (index, item) in items.iter_mut().enumerate() {
                walk(item, of, &path.index(index), unknown);
            }
        }
        _ => {}
    }
}

fn object(map: &mut Map<String, Value>, schema: &Schema, path: &Path<'_>, unknown: &mut Texts) {
    if !matches!(schema.kind, Kind::Object | Kind::Any) {
        return; // the wrong type is told by validation
    }
    let preserve = schema.preserve || (schema.kind == Kind::Any && schema.properties.is_empty());
    // In one pass: to take fields out one by one would move all behind each.
    map.retain(|name, value| match schema.field(name) {
        Some(field) => {
            walk(value, field, &path.field(name), unknown);
            true
        }
        None if preserve => true,
        None if schema.embedded && matches!(&**name, "apiVersion" | "kind" | "metadata") => true,
        None => {
            unknown.push(|| path.field(name).to_string());
            false
        }
    });
}

/// Fills in what the schema has a default for. False when the defaults come to more
/// than `room` bytes: a large default in each of very many small items.
#[must_use]
pub(crate) fn apply_defaults(value: &mut Value, schema: &Schema, room: &mut usize) -> bool {
    match value {
        Value::Object(map) => {
            for (name, field) in &schema.properties {
                if let Some(default) = &field.default
                    && map
                        .get(name)
                        .is_none_or(|value| value.is_null() && !field.nullable)
                {
                    let Some(left) = room.checked_sub(name.len() + size::of(default)) else {
                        return false;
                    };
                    *room = left;
                    map.insert(name.clone(), default.clone());
                }
            }
            let mut fields = map.iter_mut();
            fields.all(|(name, value)| match schema.field(name) {
                Some(field) => apply_defaults(value, field, room),
                None => true,
            })
        }
        Value::Array(items) => {
            let of = schema.items.as_ref();
            of.is_none_or(|of| items.iter_mut().all(|item| apply_defaults(item, of, room)))
        }
        _ => true,
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
