//! Server-side apply.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::{Map, Value};

use super::Gone;
use super::fields::{Fields, Shape, claimed, compare, field_schema, item, shape};
use super::managed::{self, Manager, ownable, read, write};
use crate::schema::{List, Schema};

/// Fields that others own and that an apply would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflicts(
    /// (the owner as people read it, path)
    pub(crate) Vec<(String, String)>,
);

impl Conflicts {
    /// The message of the error.
    pub(crate) fn message(&self) -> String {
        if let [(owner, path)] = self.0.as_slice() {
            return format!("Apply failed with 1 conflict: conflict with {owner}: {path}");
        }
        let mut text = format!("Apply failed with {} conflicts:", self.0.len());
        let mut last = "";
        for (owner, path) in &self.0 {
            if owner != last {
                text.push_str(if last.is_empty() { " " } else { "\n" });
                text.push_str(&format!("conflicts with {owner}:"));
                last = owner;
            }
            text.push_str(&format!("\n- {path}"));
        }
        text
    }
}

/// Merges `config` into `live` as manager `who`. Fields that `who` applied
/// before, left out now and nobody else owns are removed.
pub(crate) fn apply(
    live: &Value,
    config: &Value,
    schema: &Schema,
    who: &Manager,
    force: bool,
) -> Result<Value, Conflicts> {
    let anything = Schema::anything();
    let mut entries = read(live);
    let mut config = config.clone();
    if let Some(metadata) = config.get_mut("metadata").and_then(Value::as_object_mut) {
        for name in [
            "managedFields",
            "creationTimestamp",
            "resourceVersion",
            "uid",
            "generation",
        ] {
            metadata.shift_remove(name);
        }
    }
    let wanted = ownable(&config);
    let mine = match wanted.as_object() {
        Some(map) if map.is_empty() => Fields::default(),
        _ => claimed(&wanted, schema, &anything),
    };
    let mut merged = live.clone();
    merge(&mut merged, &config, schema, &anything);

    let (changed, _) = compare(
        Some(&ownable(live)),
        Some(&ownable(&merged)),
        schema,
        &anything,
    );
    let contested = mine.intersection(&changed);
    let mut conflicts = Vec::new();
    for entry in entries.iter_mut().filter(|entry| !entry.is(who, "Apply")) {
        let lost = entry.fields.intersection(&contested);
        if lost.is_empty() {
            continue;
        }
        if force {
            entry.fields.subtract(&lost);
        } else {
            let owner = print(entry);
            let paths = lost.paths().into_iter();
            conflicts.extend(paths.map(|path| (owner.clone(), path)));
        }
    }
    if !conflicts.is_empty() {
        return Err(Conflicts(conflicts));
    }

    let mut others = mine.clone();
    let mut gone = Fields::default();
    for entry in &entries {
        if entry.is(who, "Apply") {
            gone = entry.fields.clone();
        } else {
            others.union(&entry.fields);
        }
    }
    gone.subtract(&others);
    remove(&mut merged, &gone, &others, schema, &anything);

    match entries.iter_mut().find(|entry| entry.is(who, "Apply")) {
        Some(entry) if entry.fields == mine && entry.api_version == who.api_version => {}
        Some(entry) => *entry = managed::Entry::new(who, "Apply", mine),
        None => entries.push(managed::Entry::new(who, "Apply", mine)),
    }
    write(&mut merged, &entries);
    Ok(merged)
}

fn print(entry: &managed::Entry) -> String {
    let mut text = format!("{:?}", entry.manager);
    if let Some(subresource) = &entry.subresource {
        text.push_str(&format!(" with subresource {subresource:?}"));
    }
    if entry.operation == "Update" {
        text.push_str(&format!(" using {}", entry.api_version));
        if let Some(time) = &entry.time {
            text.push_str(&format!(" at {time}"));
        }
    }
    text
}

fn merge(live: &mut Value, config: &Value, schema: &Schema, anything: &Schema) {
    match shape(config, schema) {
        Shape::Map(map) => {
            if !live.is_object() {
                *live = Value::Object(Map::new());
            }
            let Value::Object(target) = live else { return };
            for (name, value) in map {
                let slot = target.entry(name.clone()).or_insert(Value::Null);
                merge(slot, value, field_schema(schema, name, anything), anything);
            }
        }
        Shape::Items(items) => {
            if !live.is_array() {
                *live = Value::Array(Vec::new());
            }
            let Value::Array(target) = live else { return };
            let of = schema.items.as_deref().unwrap_or(anything);
            // The first one counts where an item is there more than once.
            let mut places: HashMap<String, usize> = HashMap::new();
            for (at, existing) in target.iter().enumerate() {
                places.entry(item(existing, schema)).or_insert(at);
            }
            for value in items {
                match places.entry(item(value, schema)) {
                    Entry::Occupied(place) if matches!(schema.list, List::Map(_)) => {
                        if let Some(existing) = target.get_mut(*place.get()) {
                            merge(existing, value, of, anything);
                        }
                    }
                    Entry::Occupied(_) => {}
                    Entry::Vacant(place) => {
                        place.insert(target.len());
                        target.push(value.clone());
                    }
                }
            }
        }
        Shape::Leaf => *live = config.clone(),
    }
}

/// Removes the paths of `gone`; containers that others own something in stay.
fn remove(value: &mut Value, gone: &Fields, others: &Fields, schema: &Schema, anything: &Schema) {
    let none = Fields::default();
    match value {
        Value::Object(map) => {
            let mut taken = Gone::default();
            for (name, inner) in &gone.children {
                let Some(field) = name.strip_prefix("f:") else {
                    continue;
                };
                let kept = others.children.get(name).unwrap_or(&none);
                let Some(slot) = map.get_mut(field) else {
                    continue;
                };
                let was_empty = is_empty(slot);
                remove(
                    slot,
                    inner,
                    kept,
                    field_schema(schema, field, anything),
                    anything,
                );
                let emptied = is_empty(slot) && !was_empty;
                if kept.is_empty() && (inner.member || emptied) {
                    taken.add(map, field.to_owned());
                }
            }
            taken.take(map);
        }
        Value::Array(items) => {
            let of = schema.items.as_deref().unwrap_or(anything);
            items.retain_mut(|existing| {
                let id = item(existing, schema);
                let Some(inner) = gone.children.get(&id) else {
                    return true;
                };
                let kept = others.children.get(&id).unwrap_or(&none);
                if inner.member && kept.is_empty() {
                    return false;
                }
                remove(existing, inner, kept, of, anything);
                true
            });
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}
