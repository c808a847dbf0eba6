//! `metadata.managedFields`: who set which field.

use serde_json::{Map, Value, json};

use super::fields::{Fields, compare, field_schema};
use crate::schema::Schema;

/// Who changes an object, and through what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manager {
    pub(crate) name: String,
    pub(crate) api_version: String,
    /// `status` when the change came through that subresource.
    pub(crate) subresource: Option<String>,
    /// RFC 3339.
    pub(crate) now: String,
}

/// One entry of the list.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: String,
    pub(super) api_version: String,
    pub(super) time: Option<String>,
    pub(super) subresource: Option<String>,
    pub(super) fields: Fields,
}

impl Entry {
    pub(super) fn new(who: &Manager, operation: &str, fields: Fields) -> Entry {
        Entry {
            manager: who.name.clone(),
            operation: operation.into(),
            api_version: who.api_version.clone(),
            time: Some(who.now.clone()),
            subresource: who.subresource.clone(),
            fields,
        }
    }

    /// Whether this is the entry of `who` for `operation`.
    pub(super) fn is(&self, who: &Manager, operation: &str) -> bool {
        self.manager == who.name
            && self.operation == operation
            && self.subresource == who.subresource
    }

    fn parse(json: &Value) -> Option<Entry> {
        let text = |key: &str| json[key].as_str().map(str::to_owned);
        Some(Entry {
            manager: text("manager").unwrap_or_default(),
            operation: text("operation")?,
            api_version: text("apiVersion")?,
            time: text("time"),
            subresource: text("subresource").filter(|text| !text.is_empty()),
            fields: Fields::parse(&json["fieldsV1"]),
        })
    }

    fn to_json(&self) -> Value {
        let mut json = json!({
            "manager": self.manager, "operation": self.operation, "apiVersion": self.api_version,
            "time": self.time, "fieldsType": "FieldsV1", "fieldsV1": self.fields.to_json(),
        });
        if let Some(subresource) = &self.subresource {
            json["subresource"] = json!(subresource);
        }
        json
    }
}

pub(super) fn read(object: &Value) -> Vec<Entry> {
    let list = object["metadata"]["managedFields"].as_array();
    list.into_iter()
        .flatten()
        .filter_map(Entry::parse)
        .collect()
}

pub(super) fn write(object: &mut Value, entries: &[Entry]) {
    let list: Vec<Value> = entries
        .iter()
        .filter(|entry| !entry.fields.is_empty())
        .map(Entry::to_json)
        .collect();
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return;
    };
    if list.is_empty() {
        metadata.shift_remove("managedFields");
    } else {
        metadata.insert("managedFields".into(), Value::Array(list));
    }
}

/// Metadata that nobody can own.
const UNOWNABLE: &[&str] = &[
    "name",
    "namespace",
    "generateName",
    "uid",
    "creationTimestamp",
    "generation",
    "resourceVersion",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// The object without what nobody can own.
pub(super) fn ownable(object: &Value) -> Value {
    let fields = object.as_object().into_iter().flatten();
    let own = fields.filter_map(|(name, value)| {
        let value = match name.as_str() {
            "apiVersion" | "kind" => return None,
            "metadata" => ownable_metadata(value)?,
            _ => value.clone(),
        };
        Some((name.clone(), value))
    });
    Value::Object(own.collect())
}

fn ownable_metadata(metadata: &Value) -> Option<Value> {
    let fields = metadata.as_object()?.iter();
    let own = fields.filter(|(name, _)| !UNOWNABLE.contains(&name.as_str()));
    let own: Map<String, Value> = own
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    (!own.is_empty()).then_some(Value::Object(own))
}

/// What differs of what can be owned: (added or changed, removed). Copies nothing but
/// metadata, since this is done for each status.
fn difference(old: Option<&Value>, new: &Value, schema: &Schema) -> (Fields, Fields) {
    let (anything, nothing) = (Schema::anything(), Map::new());
    let before = old.and_then(Value::as_object).unwrap_or(&nothing);
    let after = new.as_object().unwrap_or(&nothing);
    let added = after.keys().filter(|name| !before.contains_key(*name));
    let (mut changed, mut removed) = (Fields::default(), Fields::default());
    for name in before.keys().chain(added) {
        let of = field_schema(schema, name, &anything);
        let (one, other) = (before.get(name), after.get(name));
        let (more, less) = match name.as_str() {
            "apiVersion" | "kind" => continue,
            "metadata" => {
                let one = one.and_then(ownable_metadata);
                let other = other.and_then(ownable_metadata);
                compare(one.as_ref(), other.as_ref(), of, &anything)
            }
            _ => compare(one, other, of, &anything),
        };
        if !more.is_empty() {
            changed.children.insert(format!("f:{name}"), more);
        }
        if !less.is_empty() {
            removed.children.insert(format!("f:{name}"), less);
        }
    }
    (changed, removed)
}

/// Managers that have updated an object, as with the real server.
const UPDATERS: usize = 10;
/// Who has the fields of those that are more, the oldest first.
const ANCIENT: &str = "ancient-changes";

/// Whoever updates under another name each time would fill the object with names.
fn cap(entries: &mut Vec<Entry>) {
    let (mut updated, applied): (Vec<_>, Vec<_>) = std::mem::take(entries)
        .into_iter()
        .partition(|entry| entry.operation == "Update");
    let mut more = updated.len().saturating_sub(UPDATERS);
    if more > 0 {
        updated.sort_by(|one, other| (&one.time, &one.manager).cmp(&(&other.time, &other.manager)));
    }
    let mut kept: Vec<Entry> = Vec::new();
    for entry in updated {
        let same = |old: &&mut Entry| old.api_version == entry.api_version;
        match kept.iter_mut().find(same).filter(|_| more > 0) {
            Some(oldest) => {
                oldest.manager = ANCIENT.to_owned();
                oldest.subresource = None;
                oldest.fields.union(&entry.fields);
                oldest.time = entry.time;
                more -= 1;
            }
            None => kept.push(entry),
        }
    }
    *entries = applied;
    entries.append(&mut kept);
}

/// Writes into `new` who owns what after a create or update by `who`.
pub(crate) fn track(old: Option<&Value>, new: &mut Value, schema: &Schema, who: &Manager) {
    let given = &new["metadata"]["managedFields"];
    let before = old.map(|old| &old["metadata"]["managedFields"]);
    let mut entries = match given.as_array().map(Vec::as_slice) {
        // the documented way to reset the list
        Some([only]) if only.as_object().is_some_and(Map::is_empty) => Vec::new(),
        Some(list) if !list.is_empty() && before != Some(given) && old.is_some() => read(new),
        _ => old.map(read).unwrap_or_default(),
    };
    let (changed, removed) = difference(old, new, schema);
    if !changed.is_empty() || !removed.is_empty() {
        for entry in &mut entries {
            if !entry.is(who, "Update") {
                entry.fields.subtract(&changed);
            }
            entry.fields.subtract_deep(&removed);
        }
    }
    if !changed.is_empty() {
        match entries.iter_mut().find(|entry| entry.is(who, "Update")) {
            Some(entry) => {
                entry.fields.union(&changed);
                entry.time = Some(who.now.clone());
                entry.api_version.clone_from(&who.api_version);
            }
            None => entries.push(Entry::new(who, "Update", changed)),
        }
        entries.retain(|entry| !entry.fields.is_empty());
        if entries.len() > UPDATERS {
            cap(&mut entries);
        }
    }
    write(new, &entries);
}
