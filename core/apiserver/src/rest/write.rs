//! Create, update and patch.

use axum::response::Response;
use http::{StatusCode, header};
use serde_json::{Map, Value, json};

use super::body::{self, Decoded};
use super::status::ApiError;
use super::{Call, convert, rules};
use crate::cause::Cause;
use crate::patch::{self, Manager};
use crate::registry::{Class, Resource};
use crate::time;
use longshore_objects::{Expect, Record, Write, WriteError};

/// How often a write that met another one is tried again.
const ATTEMPTS: usize = 24;

/// Random letters behind a `generateName`.
const SUFFIX: usize = 5;

const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A change of an object, as the client gave it.
enum Edit {
    Put(Value),
    Merge(Value),
    Json(Value),
    Strategic(Value),
    Apply { config: Value, force: bool },
}

impl Call {
    fn manager(&self) -> Manager {
        let agent = self
            .headers
            .get(header::USER_AGENT)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let agent = agent
            .split('/')
            .next()
            .filter(|name| !name.is_empty())
            .unwrap_or("unknown");
        Manager {
            name: self.params.get("fieldManager").unwrap_or(agent).to_owned(),
            api_version: self.resource.api_version(),
            subresource: self.subresource.clone(),
            now: time::now(),
        }
    }

    fn field_validation(&self) -> &str {
        self.params.get("fieldValidation").unwrap_or("Warn")
    }
}

pub(super) async fn create(call: &Call, bytes: &[u8]) -> Result<Response, ApiError> {
    let Decoded {
        value: mut object,
        duplicates,
    } = body::decode(&call.headers, bytes)?;
    rules::check_type(&call.resource, &mut object)?;
    let warnings = rules::unknown_fields(
        &call.resource,
        &mut object,
        &duplicates,
        call.field_validation(),
    )?;
    let object = insert(call, object, None).await?;
    Ok(call.respond(StatusCode::CREATED, object, &warnings))
}

/// Stores a new object. `applied` is the configuration when it comes from
/// server-side apply.
async fn insert(
    call: &Call,
    mut object: Value,
    applied: Option<&Value>,
) -> Result<Value, ApiError> {
    let resource = &call.resource;
    let dry_run = call.dry_run()?;
    check_namespace(call, &mut object).await?;
    let prefix = object["metadata"]["generateName"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let generated = object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .is_empty()
        && !prefix.is_empty();
    rules::prepare(resource, &mut object, &uid());
    for attempt in 0.. {
        let mut object = object.clone();
        if generated {
            object["metadata"]["name"] = json!(format!("{prefix}{}", suffix()));
        }
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let faults = rules::validate(resource, &object, None);
        if !faults.is_empty() {
            return Err(ApiError::invalid(resource, &name, &faults));
        }
        let who = call.manager();
        let mut object = match applied {
            Some(config) => patch::apply(&object, config, &resource.schema, &who, true)
                .map_err(|conflicts| ApiError::apply_conflict(&conflicts))?,
            None => {
                if let Some(metadata) = object["metadata"].as_object_mut() {
                    metadata.shift_remove("managedFields");
                }
                patch::track(None, &mut object, &resource.schema, &who);
                object
            }
        };
        object = convert::ordered(object);
        if dry_run {
            if call.api.store.get(call.key(&name)).await?.is_some() {
                return Err(ApiError::already_exists(resource, &name));
            }
            return Ok(object);
        }
        let write = Write {
            key: call.key(&name),
            expect: Expect::Absent,
            object: convert::stored(resource, object),
            delete: false,
        };
        match call.api.commit(resource, write).await {
            Ok(record) => return Ok(convert::present(resource, record.object())),
            Err(WriteError::Exists) if generated && attempt < ATTEMPTS => {}
            Err(error) => return Err(ApiError::write(resource, &name, &error)),
        }
    }
    Err(ApiError::internal("no free name was found"))
}

/// The namespace of a new object must be the one of the URL, exist and live.
async fn check_namespace(call: &Call, object: &mut Value) -> Result<(), ApiError> {
    let Some(namespace) = &call.namespace else {
        return Ok(());
    };
    match object["metadata"]["namespace"].as_str() {
        Some(given) if !given.is_empty() && given != namespace => {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        _ => object["metadata"]["namespace"] = json!(namespace),
    }
    let registry = call.api.registry();
    let Some(namespaces) = registry.find("", "v1", "namespaces") else {
        return Ok(());
    };
    let key = longshore_objects::Key {
        resource: namespaces.storage.clone(),
        namespace: String::new(),
        name: namespace.clone(),
    };
    let found = call
        .api
        .store
        .get(key)
        .await?
        .ok_or_else(|| ApiError::not_found(&namespaces, namespace))?;
    if found.object()["metadata"]["deletionTimestamp"].is_string() {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let text = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        return Err(ApiError::forbidden(&call.resource, name, &text));
    }
    Ok(())
}

pub(super) async fn update(call: &Call, bytes: &[u8]) -> Result<Response, ApiError> {
    let Decoded {
        value: mut object,
        duplicates,
    } = body::decode(&call.headers, bytes)?;
    rules::check_type(&call.resource, &mut object)?;
    check_name(call, &object)?;
    modify(call, Edit::Put(object), &duplicates).await
}

pub(super) async fn patch(call: &Call, bytes: &[u8]) -> Result<Response, ApiError> {
    let builtin = call.resource.class != Class::Custom;
    let (edit, duplicates) = match body::content_type(&call.headers) {
        "application/merge-patch+json" => {
            let Decoded { value, duplicates } = patch_object(bytes)?;
            (Edit::Merge(value), duplicates)
        }
        "application/json-patch+json" => (Edit::Json(body::json(bytes)?.value), Vec::new()),
        "application/strategic-merge-patch+json" if builtin => {
            let Decoded { value, duplicates } = patch_object(bytes)?;
            (Edit::Strategic(value), duplicates)
        }
        "application/apply-patch+yaml" => {
            let Decoded { value, duplicates } = body::yaml(bytes)?;
            (apply_edit(call, value)?, duplicates)
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
    modify(call, edit, &duplicates).await
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

fn apply_edit(call: &Call, mut config: Value) -> Result<Edit, ApiError> {
    let resource = &call.resource;
    if call.params.get("fieldManager").is_none() {
        return Err(ApiError::new(
            422,
            "Invalid",
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ));
    }
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
    Ok(Edit::Apply {
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

/// Applies `edit` to the newest state; when another write came between, again.
async fn modify(call: &Call, edit: Edit, duplicates: &[String]) -> Result<Response, ApiError> {
    let name = call.name.as_deref().unwrap_or_default();
    let resource = &call.resource;
    let dry_run = call.dry_run()?;
    let mut turn = None;
    for _ in 0..ATTEMPTS {
        let Some(record) = call.api.store.get(call.key(name)).await? else {
            match &edit {
                Edit::Apply { config, .. } if call.subresource.is_none() => {
                    return create_by_apply(call, config.clone(), duplicates).await;
                }
                _ => return Err(ApiError::not_found(resource, name)),
            }
        };
        let current = convert::present(resource, record.object());
        let Step {
            object,
            warnings,
            unchanged,
        } = step(call, &edit, &current, duplicates)?;
        if unchanged || dry_run {
            return Ok(call.respond(StatusCode::OK, object, &warnings));
        }
        match store(call, &record, object).await {
            Ok(object) => return Ok(call.respond(StatusCode::OK, object, &warnings)),
            Err(WriteError::Changed) if turn.is_none() => {
                turn = Some(call.api.turn(&call.key(name)).await);
            }
            Err(WriteError::Changed) => {}
            Err(error) => return Err(ApiError::write(resource, name, &error)),
        }
    }
    drop(turn);
    Err(ApiError::modified(resource, name))
}

async fn create_by_apply(
    call: &Call,
    mut config: Value,
    duplicates: &[String],
) -> Result<Response, ApiError> {
    if config["metadata"]["resourceVersion"].is_string() || config["metadata"]["uid"].is_string() {
        return Err(ApiError::conflict(
            &call.resource,
            call.name.as_deref().unwrap_or_default(),
            "StorageError: invalid object",
        ));
    }
    let warnings = rules::unknown_fields(
        &call.resource,
        &mut config,
        duplicates,
        call.field_validation(),
    )?;
    let object = insert(call, config.clone(), Some(&config)).await?;
    Ok(call.respond(StatusCode::CREATED, object, &warnings))
}

/// Writes the new state; an object whose last finalizer went is removed.
async fn store(call: &Call, record: &Record, object: Value) -> Result<Value, WriteError> {
    let metadata = &object["metadata"];
    let held = metadata["finalizers"]
        .as_array()
        .is_some_and(|list| !list.is_empty())
        || (call.resource.class == Class::Namespace
            && object["spec"]["finalizers"]
                .as_array()
                .is_some_and(|list| !list.is_empty()));
    let delete = metadata["deletionTimestamp"].is_string() && !held;
    let write = Write {
        key: call.key(&record.name),
        expect: Expect::At(record.revision),
        object: convert::stored(&call.resource, object),
        delete,
    };
    let record = call.api.commit(&call.resource, write).await?;
    call.api.wake.notify_one();
    Ok(convert::present(&call.resource, record.object()))
}

struct Step {
    object: Value,
    warnings: Vec<String>,
    /// Nothing is to be written.
    unchanged: bool,
}

/// The object after the edit, complete and valid.
fn step(
    call: &Call,
    edit: &Edit,
    current: &Value,
    duplicates: &[String],
) -> Result<Step, ApiError> {
    let resource = &call.resource;
    let name = call.name.as_deref().unwrap_or_default();
    let who = call.manager();
    let (mut proposed, warnings) = match edit {
        Edit::Apply { config, force } => {
            let mut config = config.clone();
            let warnings =
                rules::unknown_fields(resource, &mut config, duplicates, call.field_validation())?;
            check_identity(resource, name, current, &config)?;
            let merged = patch::apply(current, &config, &resource.schema, &who, *force)
                .map_err(|conflicts| ApiError::apply_conflict(&conflicts))?;
            (merged, warnings)
        }
        other => {
            let mut proposed = edited(resource, name, other, current)?;
            rules::check_type(resource, &mut proposed)?;
            check_name(call, &proposed)?;
            let warnings = rules::unknown_fields(
                resource,
                &mut proposed,
                duplicates,
                call.field_validation(),
            )?;
            if matches!(edit, Edit::Put(_)) && resource.class == Class::Custom {
                require_revision(resource, name, &proposed)?;
            }
            check_identity(resource, name, current, &proposed)?;
            (proposed, warnings)
        }
    };
    rules::settle(
        resource,
        current,
        &mut proposed,
        call.subresource.as_deref(),
    );
    let faults = rules::validate(resource, &proposed, Some(current));
    if !faults.is_empty() {
        return Err(ApiError::invalid(resource, name, &faults));
    }
    if !matches!(edit, Edit::Apply { .. }) {
        patch::track(Some(current), &mut proposed, &resource.schema, &who);
    }
    let unchanged = same(&proposed, current);
    let object = if unchanged {
        current.clone()
    } else {
        convert::ordered(proposed)
    };
    Ok(Step {
        object,
        warnings,
        unchanged,
    })
}

/// Equal but for the order of fields.
fn same(one: &Value, other: &Value) -> bool {
    one == other
}

fn edited(
    resource: &Resource,
    name: &str,
    edit: &Edit,
    current: &Value,
) -> Result<Value, ApiError> {
    let mut object = current.clone();
    match edit {
        Edit::Put(value) => object = value.clone(),
        Edit::Merge(value) => patch::merge(&mut object, value.clone()),
        Edit::Json(value) => {
            patch::json(&mut object, value.clone())
                .map_err(|error| ApiError::patch(resource, name, &error))?;
        }
        Edit::Strategic(value) => {
            patch::strategic(&mut object, value.clone(), Some(&resource.schema))
                .map_err(|error| ApiError::patch(resource, name, &error))?;
        }
        Edit::Apply { .. } => {}
    }
    if !object.is_object() {
        object = Value::Object(Map::new());
    }
    Ok(object)
}

fn require_revision(resource: &Resource, name: &str, object: &Value) -> Result<(), ApiError> {
    if object["metadata"]["resourceVersion"]
        .as_str()
        .is_none_or(|text| text.is_empty() || text == "0")
    {
        let cause = Cause::invalid(
            "metadata.resourceVersion",
            &json!("0x0"),
            "must be specified for an update",
        );
        return Err(ApiError::invalid(resource, name, &[cause]));
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

/// A random uid (version 4).
pub(crate) fn uid() -> String {
    let n = fastrand::u128(..);
    let n = (n & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{n:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

fn suffix() -> String {
    (0..SUFFIX)
        .map(|_| char::from(LETTERS[fastrand::usize(..LETTERS.len())]))
        .collect()
}
