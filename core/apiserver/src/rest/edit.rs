//! A change of an object: as the client gave it, and what comes of it. No I/O.

use bytes::Bytes;
use serde_json::{Value, json};

use super::body::{self, Decoded};
use super::status::ApiError;
use super::{Call, convert, delete, rules, validity};
use crate::cause::{Cause, Faults, Texts};
use crate::patch;
use crate::registry::{Class, Resource};
use crate::size;
use longshore_objects::Draft;

/// Steps of a JSON patch that are done at once, whatever they do.
const FEW: usize = 16;

/// A change of an object, as the client gave it.
pub(super) struct Edit {
    pub(super) change: Change,
    /// Fields that were given more than once.
    pub(super) duplicates: Texts,
    /// About how many bytes of work it is, beside the object.
    pub(super) size: usize,
}

pub(super) enum Change {
    Put(Value),
    Merge(Value),
    Json(Value),
    Strategic(Value),
    Apply { config: Value, force: bool },
}

impl Edit {
    fn new(change: Change, duplicates: Texts, size: usize) -> Edit {
        Edit {
            change,
            duplicates,
            size,
        }
    }
}

/// Reads an object that is to take the place of another.
pub(super) fn decode_put(call: &Call, bytes: &[u8]) -> Result<Edit, ApiError> {
    let Decoded { value, duplicates } = body::decode(&call.headers, bytes)?;
    let mut object = value;
    rules::check_type(&call.resource, &mut object)?;
    rules::check_decodes(&call.resource, &object)?;
    check_name(call, &object)?;
    Ok(Edit::new(Change::Put(object), duplicates, bytes.len()))
}

/// Reads a patch.
pub(super) fn decode_patch(call: &Call, bytes: &[u8]) -> Result<Edit, ApiError> {
    let builtin = call.resource.class != Class::Custom;
    let (change, duplicates) = match body::content_type(&call.headers) {
        "application/merge-patch+json" => {
            let Decoded { value, duplicates } = patch_object(bytes)?;
            (Change::Merge(value), duplicates)
        }
        "application/json-patch+json" => {
            let Decoded { value, .. } = body::json(bytes)?;
            (Change::Json(value), Texts::default())
        }
        "application/strategic-merge-patch+json" if builtin => {
            let Decoded { value, duplicates } = patch_object(bytes)?;
            (Change::Strategic(value), duplicates)
        }
        "application/apply-patch+yaml" => {
            let Decoded { value, duplicates } = body::yaml(bytes)?;
            (apply_change(call, value)?, duplicates)
        }
        _ => {
            let mut accepted = vec![
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/apply-patch+yaml",
            ];
            if builtin {
                accepted.push("application/strategic-merge-patch+json");
            }
            return Err(ApiError::unsupported_media_type(&accepted));
        }
    };
    let mut size = bytes.len();
    if matches!(&change, Change::Json(Value::Array(steps)) if steps.len() > FEW) {
        // What each of many steps does to the object counts, and not the patch's size.
        size = usize::MAX;
    }
    Ok(Edit::new(change, duplicates, size))
}

/// A merge patch that is no object would replace the whole object by itself.
fn patch_object(bytes: &[u8]) -> Result<Decoded, ApiError> {
    let decoded = body::json(bytes)?;
    if decoded.value.is_object() {
        return Ok(decoded);
    }
    Err(ApiError::bad_request(
        "error decoding patch: a merge patch must be a JSON object",
    ))
}

fn apply_change(call: &Call, mut config: Value) -> Result<Change, ApiError> {
    let resource = &call.resource;
    for field in ["apiVersion", "kind"] {
        if config[field].as_str().is_none_or(str::is_empty) {
            return Err(ApiError::bad_request(format!(
                "invalid object type: {field} is missing in the applied object"
            )));
        }
    }
    rules::check_type(resource, &mut config)?;
    check_name(call, &config)?;
    if config["metadata"]["managedFields"]
        .as_array()
        .is_some_and(|list| !list.is_empty())
    {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    config["metadata"]["name"] = json!(call.name);
    // only what this endpoint can change is claimed
    if let Some(map) = config.as_object_mut() {
        match call.subresource.as_deref() {
            Some(part) => {
                map.retain(|field, _| {
                    matches!(field.as_str(), "apiVersion" | "kind" | "metadata") || field == part
                });
            }
            None if resource.status => {
                map.shift_remove("status");
            }
            None => {}
        }
    }
    if call.subresource.is_some()
        && resource.class != Class::Node
        && let Some(metadata) = config["metadata"].as_object_mut()
    {
        metadata.retain(|field, _| {
            matches!(
                field.as_str(),
                "name" | "namespace" | "uid" | "resourceVersion"
            )
        });
    }
    Ok(Change::Apply {
        config,
        force: call.params.flag("force"),
    })
}

fn check_name(call: &Call, object: &Value) -> Result<(), ApiError> {
    let (name, given) = (
        call.name.as_deref().unwrap_or_default(),
        object["metadata"]["name"].as_str(),
    );
    if let Some(given) = given.filter(|given| !given.is_empty() && *given != name) {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({name})"
        )));
    }
    let namespace = object["metadata"]["namespace"]
        .as_str()
        .filter(|namespace| !namespace.is_empty());
    if namespace.is_some() && call.namespace.is_some() && namespace != call.namespace.as_deref() {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// The text that is to be stored, when it is not larger than an object may be.
pub(super) fn draft(resource: &Resource, object: &Value) -> Result<Draft, ApiError> {
    let draft = if convert::is_stored_form(resource) {
        Draft::new(object)
    } else {
        Draft::new(&convert::stored(resource, object.clone()))
    };
    if draft.size() > size::OBJECT {
        return Err(ApiError::too_large(size::OBJECT));
    }
    if !size::is_within(object, size::DEPTH) {
        let text = format!("the object is deeper than {}", size::DEPTH);
        return Err(ApiError::bad_request(text));
    }
    Ok(draft)
}

pub(super) struct Step {
    pub(super) next: Next,
    pub(super) warnings: Vec<String>,
}

pub(super) enum Next {
    /// Nothing is to be written.
    Same(Bytes),
    Other(Changed),
}

pub(super) struct Changed {
    pub(super) object: Value,
    pub(super) draft: Draft,
    /// It is marked for deletion.
    pub(super) marked: bool,
    /// It goes with this: its last finalizer went.
    pub(super) delete: bool,
}

/// The object after the edit, complete and valid.
pub(super) fn step(call: &Call, edit: Edit, json: Bytes) -> Result<Step, ApiError> {
    let resource = &call.resource;
    let name = call.name.as_deref().unwrap_or_default();
    let who = call.manager();
    let (duplicates, mode) = (&edit.duplicates, call.field_validation());
    let applied = matches!(edit.change, Change::Apply { .. });
    let put = matches!(edit.change, Change::Put(_));
    let stored = serde_json::from_slice(&json);
    let current = &convert::present(resource, stored.unwrap_or_else(|_| json!({})));
    let (mut proposed, warnings) = match edit.change {
        Change::Apply { mut config, force } => {
            let warnings = rules::unknown_fields(resource, &mut config, duplicates, mode)?;
            check_identity(resource, name, current, &config)?;
            let merged = patch::apply(current, &config, &resource.schema, &who, force)
                .map_err(|conflicts| ApiError::apply_conflict(&conflicts))?;
            (merged, warnings)
        }
        other => {
            let mut proposed = edited(resource, name, other, current)?;
            rules::check_type(resource, &mut proposed)?;
            check_name(call, &proposed)?;
            rules::drop_refused_nulls(resource, &mut proposed);
            let warnings = rules::unknown_fields(resource, &mut proposed, duplicates, mode)?;
            if put && resource.class == Class::Custom {
                require_revision(resource, name, &proposed)?;
            }
            check_identity(resource, name, current, &proposed)?;
            (proposed, warnings)
        }
    };
    let part = call.subresource.as_deref();
    rules::settle(resource, current, &mut proposed, part)?;
    let faults = validity::validate(resource, &proposed, Some(current));
    if !faults.is_empty() {
        return Err(ApiError::invalid(resource, name, &faults));
    }
    if !applied {
        patch::track(Some(current), &mut proposed, &resource.schema, &who);
    }
    // Equal but for the order of fields.
    if proposed == *current {
        let next = Next::Same(json);
        return Ok(Step { next, warnings });
    }
    let object = convert::ordered(proposed);
    let draft = draft(resource, &object)?;
    let marked = object["metadata"]["deletionTimestamp"].is_string();
    let next = Next::Other(Changed {
        delete: marked && !delete::holders(resource, &object),
        marked,
        object,
        draft,
    });
    Ok(Step { next, warnings })
}

fn edited(
    resource: &Resource,
    name: &str,
    change: Change,
    current: &Value,
) -> Result<Value, ApiError> {
    let rejected = |error| ApiError::patch(resource, name, &error);
    let object = match change {
        Change::Put(value) => return Ok(value),
        Change::Merge(value) => patch::merge(current, value),
        Change::Json(value) => {
            let mut object = current.clone();
            patch::json(&mut object, value).map_err(rejected)?;
            object
        }
        Change::Strategic(value) => {
            let mut object = current.clone();
            patch::strategic(&mut object, value, Some(&resource.schema)).map_err(rejected)?;
            object
        }
        Change::Apply { .. } => current.clone(),
    };
    if object.is_object() {
        return Ok(object);
    }
    // In these words the real server refuses what cannot be decoded after a patch.
    let mut faults = Faults::new();
    let kind = &resource.kind;
    let detail =
        format!("json: cannot unmarshal into Go value of type {kind}: it is not an object");
    faults.push(|| Cause::invalid("patch", &object, &detail));
    Err(ApiError::invalid(resource, name, &faults))
}

fn require_revision(resource: &Resource, name: &str, object: &Value) -> Result<(), ApiError> {
    if object["metadata"]["resourceVersion"]
        .as_str()
        .is_none_or(|text| text.is_empty() || text == "0")
    {
        let (field, detail) = (
            "metadata.resourceVersion",
            "must be specified for an update",
        );
        let mut faults = Faults::new();
        faults.push(|| Cause::invalid(field, &json!("0x0"), detail));
        return Err(ApiError::invalid(resource, name, &faults));
    }
    Ok(())
}

/// A revision or uid that the client names must be the current one.
fn check_identity(
    resource: &Resource,
    name: &str,
    current: &Value,
    given: &Value,
) -> Result<(), ApiError> {
    let given = &given["metadata"];
    let current = &current["metadata"];
    let named = |field: &str| {
        given[field]
            .as_str()
            .filter(|text| !text.is_empty() && *text != "0")
    };
    if let Some(uid) = named("uid").filter(|uid| current["uid"] != *uid) {
        let found = current["uid"].as_str().unwrap_or_default();
        let text =
            format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
        return Err(ApiError::conflict(resource, name, &text));
    }
    match named("resourceVersion") {
        Some(revision) if current["resourceVersion"] != revision => {
            Err(ApiError::modified(resource, name))
        }
        _ => Ok(()),
    }
}
