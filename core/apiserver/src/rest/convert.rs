//! Between the stored form of an object and the version that a client speaks.

use serde_json::{Map, Value};

use crate::registry::{Class, Resource};

/// (core/v1, events.k8s.io/v1) names of an Event's fields.
const EVENT_NAMES: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// Whether stored JSON can be given out as it is.
pub(crate) fn is_stored_form(resource: &Resource) -> bool {
    resource.class != Class::EventsEvent && resource.api_version() == resource.stored_as
}

/// From the store to the client.
pub(crate) fn present(resource: &Resource, mut object: Value) -> Value {
    if is_stored_form(resource) {
        return object;
    }
    if resource.class == Class::EventsEvent {
        rename(&mut object, |core, new| (core, new));
    }
    object["apiVersion"] = Value::String(resource.api_version());
    object
}

/// From the client to the store.
pub(crate) fn stored(resource: &Resource, mut object: Value) -> Value {
    if resource.class == Class::EventsEvent {
        rename(&mut object, |core, new| (new, core));
    }
    object["apiVersion"] = Value::String(resource.stored_as.clone());
    object
}

fn rename(
    object: &mut Value,
    order: fn(&'static str, &'static str) -> (&'static str, &'static str),
) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    for (core, new) in EVENT_NAMES {
        let (from, to) = order(core, new);
        if let Some(value) = map.shift_remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
}

/// The object with the fields in the order people expect.
pub(crate) fn ordered(object: Value) -> Value {
    let Value::Object(mut map) = object else {
        return object;
    };
    let mut sorted = Map::new();
    for name in ["apiVersion", "kind", "metadata"] {
        if let Some(value) = map.shift_remove(name) {
            sorted.insert(name.to_owned(), value);
        }
    }
    sorted.extend(map);
    Value::Object(sorted)
}
