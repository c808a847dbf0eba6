//! `metadata.managedFields`: who set which field.

use serde_json::{Map, Value, json};

use super::fields::{Fields, compare};
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

/// The object without what nobody can own.
pub(super) fn ownable(object: &Value) -> Value {
    let mut copy = object.clone();
    let Some(map) = copy.as_object_mut() else {
        return copy;
    };
    map.shift_remove("apiVersion");
    map.shift_remove("kind");
    if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
        for name in [
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
        ] {
            metadata.shift_remove(name);
        }
        if metadata.is_empty() {
            map.shift_remove("metadata");
        }
    }
    copy
}

/// Writes into `new` who owns what after a create or update by `who`.
pub(crate) fn track(old: Option<&Value>, new: &mut Value, schema: &Schema, who: &Manager) {
    let anything = Schema::anything();
    let given = &new["metadata"]["managedFields"];
    let before = old.map(|old| &old["metadata"]["managedFields"]);
    let mut entries = match given.as_array().map(Vec::as_slice) {
        // the documented way to reset the list
        Some([only]) if only.as_object().is_some_and(Map::is_empty) => Vec::new(),
        Some(list) if !list.is_empty() && before != Some(given) && old.is_some() => read(new),
        _ => old.map(read).unwrap_or_default(),
    };
    let old = old.map(ownable);
    let fresh = ownable(new);
    let empty = Value::Object(Map::new());
    let (changed, removed) = compare(
        Some(old.as_ref().unwrap_or(&empty)),
        Some(&fresh),
        schema,
        &anything,
    );
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
    }
    write(new, &entries);
}
