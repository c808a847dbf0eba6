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
                Some(field) => in_place_of_null(value, field, room),
                None => true,
            })
        }
        Value::Array(items) => {
            let of = schema.items.as_ref();
            of.is_none_or(|of| {
                let mut items = items.iter_mut();
                items.all(|item| in_place_of_null(item, of, room))
            })
        }
        _ => true,
    }
}

/// The default, where there is null and may be none; then what stands inside.
fn in_place_of_null(value: &mut Value, schema: &Schema, room: &mut usize) -> bool {
    if value.is_null()
        && !schema.nullable
        && let Some(default) = &schema.default
    {
        let Some(left) = room.checked_sub(size::of(default)) else {
            return false;
        };
        *room = left;
        *value = default.clone();
    }
    apply_defaults(value, schema, room)
}

/// In custom resources a null that the schema does not allow means that the field is
/// absent. One in the place of a default stays for [`apply_defaults`], one in a list for
/// the check, which refuses it.
pub(crate) fn drop_refused_nulls(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(map) => map.retain(|name, value| {
            let Some(field) = schema.field(name) else {
                return true;
            };
            if value.is_null() {
                return field.nullable || field.default.is_some();
            }
            drop_refused_nulls(value, field);
            true
        }),
        Value::Array(items) => {
            if let Some(of) = &schema.items {
                items
                    .iter_mut()
                    .for_each(|item| drop_refused_nulls(item, of));
            }
        }
        _ => {}
    }
}

fn is_of_texts(schema: &Schema) -> bool {
    let of = schema.additional.as_ref();
    of.is_some_and(|of| of.kind == Kind::String)
}

/// For built-in types null means absent, as in a decoder with typed fields.
pub(crate) fn drop_nulls(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(map) if !schema.preserve => {
            map.retain(|name, value| {
                // A text in a map has its key, so it is there, and is empty.
                if value.is_null() && !schema.properties.contains_key(name) && is_of_texts(schema) {
                    *value = Value::String(String::new());
                }
                !value.is_null()
            });
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
