//! Sets of fields, in the shape of `fieldsV1`.
//!
//! A path element is `f:name`, `k:{"key":"value"}` (an item of a keyed list) or
//! `v:value` (an item of a set). A set is a tree of them; a node says whether
//! the path that ends there is in the set.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::cause::Texts;
use crate::path::begin;
use crate::schema::{List, Schema};

/// Bytes of one element that are told.
const NAME: usize = 256;

/// A set of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) member: bool,
    pub(super) children: BTreeMap<String, Fields>,
}

impl Fields {
    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(Fields::is_empty)
    }

    pub(super) fn parse(json: &Value) -> Fields {
        let mut fields = Fields::default();
        let Some(map) = json.as_object() else {
            return fields;
        };
        for (name, inner) in map {
            if name == "." {
                fields.member = true;
            } else {
                let mut child = Fields::parse(inner);
                child.member |= inner.as_object().is_some_and(Map::is_empty);
                fields.children.insert(name.clone(), child);
            }
        }
        fields
    }

    pub(super) fn to_json(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".into(), Value::Object(Map::new()));
        }
        for (name, child) in &self.children {
            if !child.is_empty() {
                map.insert(name.clone(), child.to_json());
            }
        }
        Value::Object(map)
    }

    pub(super) fn union(&mut self, other: &Fields) {
        self.member |= other.member;
        for (name, child) in &other.children {
            self.children.entry(name.clone()).or_default().union(child);
        }
    }

    /// Removes exactly the paths of `other`.
    pub(super) fn subtract(&mut self, other: &Fields) {
        self.member &= !other.member;
        for (name, child) in &other.children {
            if let Some(own) = self.children.get_mut(name) {
                own.subtract(child);
                if own.is_empty() {
                    self.children.remove(name);
                }
            }
        }
    }

    /// Removes the paths of `other` and everything below them.
    pub(super) fn subtract_deep(&mut self, other: &Fields) {
        if other.member {
            *self = Fields::default();
            return;
        }
        for (name, child) in &other.children {
            if let Some(own) = self.children.get_mut(name) {
                own.subtract_deep(child);
                if own.is_empty() {
                    self.children.remove(name);
                }
            }
        }
    }

    pub(super) fn intersection(&self, other: &Fields) -> Fields {
        let children = self.children.iter().filter_map(|(name, child)| {
            let both = child.intersection(other.children.get(name)?);
            (!both.is_empty()).then(|| (name.clone(), both))
        });
        Fields {
            member: self.member && other.member,
            children: children.collect(),
        }
    }

    /// The paths as people read them: `.spec.taints[key="x"].value`; of very many
    /// the first ones.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut found = Texts::default();
        self.walk(&mut Vec::new(), &mut found);
        found.into_list()
    }

    fn walk<'a>(&'a self, path: &mut Vec<&'a str>, found: &mut Texts) {
        for (name, child) in &self.children {
            path.push(name);
            child.walk(path, found);
            path.pop();
        }
        if self.member {
            found.push(|| path.iter().map(|name| element(name)).collect());
        }
    }
}

fn element(name: &str) -> String {
    if let Some(field) = name.strip_prefix("f:") {
        return format!(".{}", begin(field, NAME));
    }
    if let Some(value) = name.strip_prefix("v:") {
        return format!("[={}]", begin(value, NAME));
    }
    let keys: Value = serde_json::from_str(name.trim_start_matches("k:")).unwrap_or_default();
    let pairs: Vec<String> = keys
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", begin(&value.to_string(), NAME)))
        .collect();
    format!("[{}]", pairs.join(","))
}

/// The path element of a list's item.
pub(super) fn item(value: &Value, schema: &Schema) -> String {
    match &schema.list {
        List::Map(keys) => {
            let mut sorted = keys.clone();
            sorted.sort();
            let default = |key: &str| schema.items.as_ref()?.field(key)?.default.clone();
            let pairs: Map<String, Value> = sorted
                .into_iter()
                .filter_map(|key| {
                    let found = value.get(&key).cloned().or_else(|| default(&key))?;
                    Some((key, found))
                })
                .collect();
            format!("k:{}", Value::Object(pairs))
        }
        _ => format!("v:{value}"),
    }
}

/// How apply looks at a value.
pub(super) enum Shape<'a> {
    /// One value.
    Leaf,
    Map(&'a Map<String, Value>),
    /// A list of which the items have their own owners.
    Items(&'a [Value]),
}

pub(super) fn shape<'a>(value: &'a Value, schema: &Schema) -> Shape<'a> {
    match value {
        Value::Object(map) if !schema.atomic => Shape::Map(map),
        Value::Array(items) if schema.list != List::Atomic => Shape::Items(items),
        _ => Shape::Leaf,
    }
}

/// The schema of a field; anything where the schema does not say.
pub(super) fn field_schema<'a>(schema: &'a Schema, name: &str, anything: &'a Schema) -> &'a Schema {
    schema.field(name).map_or(anything, |field| field)
}

/// The paths that a configuration given to apply lays claim to.
pub(super) fn claimed(value: &Value, schema: &Schema, anything: &Schema) -> Fields {
    let mut fields = Fields::default();
    match shape(value, schema) {
        Shape::Map(map) if !map.is_empty() => {
            for (name, value) in map {
                let inner = claimed(value, field_schema(schema, name, anything), anything);
                fields.children.insert(format!("f:{name}"), inner);
            }
        }
        Shape::Items(items) if !items.is_empty() => {
            let of = schema.items.as_deref().unwrap_or(anything);
            for value in items {
                let mut inner = if matches!(schema.list, List::Map(_)) {
                    claimed(value, of, anything)
                } else {
                    Fields::default()
                };
                inner.member = true;
                fields.children.insert(item(value, schema), inner);
            }
        }
        _ => fields.member = true,
    }
    fields
}

/// All paths of a value, containers included.
fn everything(value: &Value, schema: &Schema, anything: &Schema) -> Fields {
    let mut fields = Fields {
        member: true,
        ..Fields::default()
    };
    match shape(value, schema) {
        Shape::Map(map) => {
            for (name, value) in map {
                let inner = everything(value, field_schema(schema, name, anything), anything);
                fields.children.insert(format!("f:{name}"), inner);
            }
        }
        Shape::Items(items) => {
            let of = schema.items.as_deref().unwrap_or(anything);
            for value in items {
                let keyed = matches!(schema.list, List::Map(_));
                let inner = if keyed {
                    everything(value, of, anything)
                } else {
                    Fields {
                        member: true,
                        ..Fields::default()
                    }
                };
                fields.children.insert(item(value, schema), inner);
            }
        }
        Shape::Leaf => {}
    }
    fields
}

/// What differs: (added or changed, removed).
pub(super) fn compare(
    old: Option<&Value>,
    new: Option<&Value>,
    schema: &Schema,
    anything: &Schema,
) -> (Fields, Fields) {
    let (old, new) = match (old, new) {
        (None, None) => return Default::default(),
        (None, Some(new)) => return (everything(new, schema, anything), Fields::default()),
        (Some(old), None) => return (Fields::default(), everything(old, schema, anything)),
        (Some(old), Some(new)) => (old, new),
    };
    let (mut changed, mut removed) = (Fields::default(), Fields::default());
    if old == new {
        return (changed, removed);
    }
    let mut step = |name: String, old: Option<&Value>, new: Option<&Value>, of: &Schema| {
        let (more, less) = compare(old, new, of, anything);
        if !more.is_empty() {
            changed.children.insert(name.clone(), more);
        }
        if !less.is_empty() {
            removed.children.insert(name, less);
        }
    };
    match (shape(old, schema), shape(new, schema)) {
        (Shape::Map(before), Shape::Map(after)) => {
            for (name, value) in before {
                step(
                    format!("f:{name}"),
                    Some(value),
                    after.get(name),
                    field_schema(schema, name, anything),
                );
            }
            for (name, value) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
                step(
                    format!("f:{name}"),
                    None,
                    Some(value),
                    field_schema(schema, name, anything),
                );
            }
        }
        (Shape::Items(before), Shape::Items(after)) => {
            let of = schema.items.as_deref().unwrap_or(anything);
            let index = |items: &[Value]| -> BTreeMap<String, Value> {
                items
                    .iter()
                    .map(|value| (item(value, schema), value.clone()))
                    .collect()
            };
            let (before, after) = (index(before), index(after));
            for (name, value) in &before {
                step(name.clone(), Some(value), after.get(name), of);
            }
            for (name, value) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
                step(name.clone(), None, Some(value), of);
            }
        }
        _ => changed.member = true,
    }
    (changed, removed)
}
