//! What the server decides about an object before it is stored: its metadata,
//! the rules of its class, and whether it is valid.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::status::ApiError;
use crate::cause::Texts;
use crate::registry::{self, Class, Resource};
use crate::schema::{self, Schema};
use crate::size;
use crate::time;

/// Holds a definition until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Metadata that only the server writes.
const SERVER_FIELDS: &[&str] = &[
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
    "resourceVersion",
    "namespace",
    "name",
    "generateName",
];

/// Checks type and version that a body says it is, and fills them in.
pub(super) fn check_type(resource: &Resource, object: &mut Value) -> Result<(), ApiError> {
    let Some(map) = object.as_object_mut() else {
        return Err(ApiError::bad_request(
            "the body of the request is not an object",
        ));
    };
    let wanted = resource.api_version();
    if resource.class == Class::Custom {
        named(resource, map)?;
    }
    match map.get("apiVersion").and_then(Value::as_str) {
        Some(given) if given != wanted => {
            return Err(ApiError::bad_request(format!(
                "the API version in the data ({given}) does not match the expected API version ({wanted})"
            )));
        }
        _ => map.insert("apiVersion".into(), json!(wanted)),
    };
    match map.get("kind").and_then(Value::as_str) {
        Some(given) if given != resource.kind => {
            if resource.class == Class::Custom {
                let name = map.get("metadata").map(|metadata| &metadata["name"]);
                let name = name.and_then(Value::as_str).unwrap_or_default();
                return Err(ApiError::wrong_kind(resource, name, given));
            }
            return Err(ApiError::bad_request(format!(
                "{given} in version {:?} cannot be handled as a {}: no kind {given:?} is registered for it",
                resource.version, resource.kind
            )));
        }
        _ => map.insert("kind".into(), json!(resource.kind)),
    };
    match map.get("metadata") {
        Some(Value::Object(_)) => {}
        None | Some(Value::Null) => {
            map.insert("metadata".into(), Value::Object(Map::new()));
        }
        Some(_) => {
            let kind = &resource.kind;
            return Err(ApiError::bad_request(format!(
                "{kind} in version {:?} cannot be handled as a {kind}: json: cannot unmarshal into Go \
                 struct field {kind}.metadata of type v1.ObjectMeta: it is not an object",
                resource.version
            )));
        }
    }
    Ok(())
}

/// A custom resource must say what it is: nothing else tells its kind.
fn named(resource: &Resource, map: &Map<String, Value>) -> Result<(), ApiError> {
    let says = |field: &str| {
        let text = map.get(field).and_then(Value::as_str);
        text.is_some_and(|text| !text.is_empty())
    };
    for (field, word) in [("kind", "Kind"), ("apiVersion", "apiVersion")] {
        if !says(field) {
            return Err(ApiError::bad_request(format!(
                "the object provided is unrecognized (must be of type {}): Object '{word}' is missing in it",
                resource.kind
            )));
        }
    }
    Ok(())
}

/// Refuses what could not be decoded as an object of the resource: see
/// [`schema::decode_fault`].
pub(super) fn check_decodes(resource: &Resource, object: &Value) -> Result<(), ApiError> {
    let kind = &resource.kind;
    let fault = match resource.class {
        Class::Custom => {
            let of_metadata = resource.schema.field("metadata");
            let fault =
                |schema: &Schema| schema::decode_fault(&object["metadata"], schema, "ObjectMeta");
            of_metadata.and_then(|schema| fault(schema))
        }
        _ => schema::decode_fault(object, &resource.schema, kind),
    };
    let Some(fault) = fault else { return Ok(()) };
    Err(ApiError::bad_request(format!(
        "{kind} in version {:?} cannot be handled as a {kind}: {fault}",
        resource.version
    )))
}

/// Null in a field of a custom resource that may not be null means that it is absent. Not
/// so in server-side apply, which checks what is applied as it is.
pub(super) fn drop_refused_nulls(resource: &Resource, object: &mut Value) {
    if resource.class != Class::Custom {
        return;
    }
    // Metadata are of a built-in type in any kind.
    if let Some(of_metadata) = resource.schema.field("metadata") {
        schema::drop_nulls(&mut object["metadata"], of_metadata);
    }
    schema::drop_refused_nulls(object, &resource.schema);
}

/// Removes unknown fields. By `fieldValidation` they are an error, warnings, or
/// nothing.
pub(super) fn unknown_fields(
    resource: &Resource,
    object: &mut Value,
    duplicates: &Texts,
    mode: &str,
) -> Result<Vec<String>, ApiError> {
    if resource.class != Class::Custom {
        schema::drop_nulls(object, &resource.schema);
    }
    let unknown = schema::prune(object, &resource.schema);
    let mut texts = Texts::default();
    texts.extend(duplicates, |path| format!("duplicate field {path:?}"));
    texts.extend(&unknown, |path| format!("unknown field {path:?}"));
    match mode {
        "Ignore" => Ok(Vec::new()),
        "Strict" if texts.is_empty() => Ok(Vec::new()),
        "Strict" => Err(ApiError::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {kind}: strict decoding error: {}",
            resource.version,
            texts.into_list().join(", "),
            kind = resource.kind,
        ))),
        // Others were refused before.
        _ => Ok(texts.into_list()),
    }
}

/// Makes a new object of what a client gave.
pub(super) fn prepare(resource: &Resource, object: &mut Value, uid: &str) -> Result<(), ApiError> {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for name in [
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "resourceVersion",
            "generation",
        ] {
            metadata.shift_remove(name);
        }
        if !resource.namespaced {
            metadata.shift_remove("namespace");
        }
        metadata.insert("uid".into(), json!(uid));
        metadata.insert("creationTimestamp".into(), json!(time::now()));
        if resource.generations() {
            metadata.insert("generation".into(), json!(1));
        }
    }
    if resource.class == Class::Custom && resource.status {
        object.as_object_mut().map(|map| map.shift_remove("status"));
    }
    defaults(resource, object)?;
    match resource.class {
        Class::Node | Class::Lease if object["spec"].is_null() => object["spec"] = json!({}),
        Class::Namespace => {
            object["spec"] = json!({"finalizers": ["kubernetes"]});
            object["status"] = json!({"phase": "Active"});
        }
        Class::Definition => {
            object.as_object_mut().map(|map| map.shift_remove("status"));
            registry::establish_crd(object);
            add_finalizer(object, CLEANUP);
        }
        _ => {}
    }
    always(resource, object);
    Ok(())
}

/// Fills in the defaults, which may not make more than an object of it.
pub(super) fn defaults(resource: &Resource, object: &mut Value) -> Result<(), ApiError> {
    let mut room = size::OBJECT;
    if schema::apply_defaults(object, &resource.schema, &mut room) {
        return Ok(());
    }
    Err(ApiError::too_large(size::OBJECT))
}

/// Adds a finalizer if it is not there.
pub(crate) fn add_finalizer(object: &mut Value, name: &str) {
    let mut list = object["metadata"]["finalizers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if !list.iter().any(|item| item == name) {
        list.push(json!(name));
        object["metadata"]["finalizers"] = Value::Array(list);
    }
}

/// Rules for new and changed objects alike.
fn always(resource: &Resource, object: &mut Value) {
    match resource.class {
        Class::Namespace => {
            let name = object["metadata"]["name"].clone();
            if !object["metadata"]["labels"].is_object() {
                object["metadata"]["labels"] = json!({});
            }
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
        }
        Class::Secret => {
            let plain = object
                .as_object_mut()
                .and_then(|map| map.shift_remove("stringData"));
            if let Some(Value::Object(plain)) = plain {
                if !object["data"].is_object() {
                    object["data"] = json!({});
                }
                for (name, value) in plain {
                    let text = value.as_str().unwrap_or_default();
                    object["data"][name] = json!(STANDARD.encode(text));
                }
            }
            if object["type"].as_str().is_none_or(str::is_empty) {
                object["type"] = json!("Opaque");
            }
        }
        _ => {}
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for name in ["labels", "annotations", "finalizers", "ownerReferences"] {
            let empty = metadata.get(name).is_some_and(|value| match value {
                Value::Null => true,
                Value::Array(items) => items.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => false,
            });
            if empty {
                metadata.shift_remove(name);
            }
        }
    }
}

/// Lets only those changes through that may be made here: through the main
/// resource all but status, through a subresource only its part.
pub(super) fn settle(
    resource: &Resource,
    current: &Value,
    proposed: &mut Value,
    subresource: Option<&str>,
) -> Result<(), ApiError> {
    let keep = |object: &mut Value, field: &str| match current.get(field) {
        Some(value) => object[field] = value.clone(),
        None => {
            object.as_object_mut().map(|map| map.shift_remove(field));
        }
    };
    match subresource {
        Some("status") => {
            let status = proposed.get_mut("status").map(Value::take);
            let mut metadata = proposed["metadata"].take();
            let managed = metadata["managedFields"].take();
            // What is replaced is not copied first: a status is the most of its object.
            let fields = current.as_object().into_iter().flatten();
            let copied = fields.map(|(name, value)| match name.as_str() {
                "status" if status.is_some() => (name.clone(), Value::Null),
                _ => (name.clone(), value.clone()),
            });
            let mut next = Value::Object(copied.collect());
            if let Some(status) = status {
                next["status"] = status;
            }
            if resource.class == Class::Node {
                next["metadata"] = metadata;
            }
            next["metadata"]["managedFields"] = managed;
            *proposed = next;
        }
        Some("finalize") => {
            let spec = proposed["spec"].clone();
            *proposed = current.clone();
            proposed["spec"] = spec;
        }
        _ => {
            if resource.status || resource.class == Class::Namespace {
                keep(proposed, "status");
            }
            if resource.class == Class::Namespace {
                keep(proposed, "spec");
            }
        }
    }
    let before = &current["metadata"];
    if let Some(metadata) = proposed["metadata"].as_object_mut() {
        for name in SERVER_FIELDS {
            match before.get(*name) {
                Some(value) => metadata.insert((*name).to_owned(), value.clone()),
                None => metadata.shift_remove(*name),
            };
        }
        if metadata.get("managedFields").is_some_and(Value::is_null) {
            metadata.shift_remove("managedFields");
        }
    }
    defaults(resource, proposed)?;
    if resource.class == Class::Definition && subresource.is_none() {
        registry::establish_crd(proposed);
    }
    always(resource, proposed);
    if resource.generations() && desired_differs(current, proposed) {
        let generation = before["generation"].as_i64().unwrap_or(0) + 1;
        proposed["metadata"]["generation"] = json!(generation);
    }
    Ok(())
}

/// Whether anything but metadata and status differs.
fn desired_differs(old: &Value, new: &Value) -> bool {
    let desired = |object: &Value| {
        let fields = object.as_object().into_iter().flatten();
        fields
            .map(|(name, _)| name.clone())
            .filter(|name| !matches!(&**name, "metadata" | "status" | "apiVersion" | "kind"))
            .collect::<BTreeSet<String>>()
    };
    let names = desired(old);
    names != desired(new) || names.iter().any(|name| old[name] != new[name])
}
