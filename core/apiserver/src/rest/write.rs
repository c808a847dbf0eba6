//! Create, update and patch.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::body::{self, Decoded};
use super::edit::{self, Change, Edit, Next, Step, draft};
use super::status::ApiError;
use super::{Call, Stored, convert, rules, validity};
use crate::cause::Texts;
use crate::patch::{self, Manager};
use crate::time;
use longshore_objects::{Draft, Expect, Write, WriteError};

/// How often a write that met another one is tried again.
const ATTEMPTS: usize = 24;

/// Random letters behind a `generateName`.
const SUFFIX: usize = 5;

const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

impl Call {
    pub(super) fn manager(&self) -> Manager {
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

    pub(super) fn field_validation(&self) -> &str {
        self.params.get("fieldValidation").unwrap_or("Warn")
    }
}

pub(super) async fn create(call: &Arc<Call>, bytes: Bytes) -> Result<Response, ApiError> {
    let (pool, call_) = (&call.api.pool, Arc::clone(call));
    let decoded = pool.run(bytes.len(), move || {
        let Decoded { value, duplicates } = body::decode(&call_.headers, &bytes)?;
        let mut object = value;
        rules::check_type(&call_.resource, &mut object)?;
        rules::check_decodes(&call_.resource, &object)?;
        rules::drop_refused_nulls(&call_.resource, &mut object);
        let mode = call_.field_validation();
        let warnings = rules::unknown_fields(&call_.resource, &mut object, &duplicates, mode)?;
        Ok::<_, ApiError>((object, warnings, bytes.len()))
    });
    let (object, warnings, size) = decoded.await??;
    let stored = insert(call, object, None, size).await?;
    Ok(call.answer(StatusCode::CREATED, stored, &warnings).await)
}

/// Stores a new object. `applied` is the configuration when it comes from
/// server-side apply; `size` is about that of the object.
async fn insert(
    call: &Arc<Call>,
    mut object: Value,
    applied: Option<Value>,
    size: usize,
) -> Result<Stored, ApiError> {
    let dry_run = call.dry_run();
    let revision = object["metadata"]["resourceVersion"].as_str();
    if revision.is_some_and(|text| !text.is_empty() && text != "0") {
        let text = "resourceVersion should not be set on objects to be created";
        return Err(ApiError::new(500, "", text));
    }
    check_namespace(call, &mut object).await?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let prefix = text(&object["metadata"]["generateName"]);
    let generated = text(&object["metadata"]["name"]).is_empty() && !prefix.is_empty();
    let given = Arc::new((object, applied));
    for attempt in 0.. {
        let (given, call_) = (Arc::clone(&given), Arc::clone(call));
        let name = generated.then(|| format!("{prefix}{}", suffix()));
        let made = call.api.pool.run(size, move || {
            let (mut object, applied) = (given.0.clone(), given.1.as_ref());
            if let Some(name) = name {
                object["metadata"]["name"] = json!(name);
            }
            fresh(&call_, object, applied)
        });
        let (name, object, draft) = made.await??;
        if dry_run {
            if call.api.store.get(call.key(&name)).await?.is_some() {
                return Err(ApiError::already_exists(&call.resource, &name));
            }
            return Ok(Stored::Tree(object));
        }
        let write = Write {
            key: call.key(&name),
            expect: Expect::Absent,
            object: draft,
            delete: false,
        };
        match call.api.commit(&call.resource, write).await {
            Ok(record) => return Ok(Stored::Text(record.json)),
            Err(WriteError::Exists) if generated && attempt < ATTEMPTS => {}
            Err(error) => return Err(ApiError::write(&call.resource, &name, &error)),
        }
    }
    Err(ApiError::internal("no free name was found"))
}

/// A new object as it is to be stored, with its name, when it is valid.
fn fresh(
    call: &Call,
    mut object: Value,
    applied: Option<&Value>,
) -> Result<(String, Value, Draft), ApiError> {
    let resource = &call.resource;
    rules::prepare(resource, &mut object, &uid())?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let name = name.to_owned();
    let faults = validity::validate(resource, &object, None);
    if !faults.is_empty() {
        return Err(ApiError::invalid(resource, &name, &faults));
    }
    let who = call.manager();
    let object = match applied {
        Some(config) => {
            let mut object = patch::apply(&object, config, &resource.schema, &who, true)
                .map_err(|conflicts| ApiError::apply_conflict(&conflicts))?;
            // A null that was applied may stand in the place of a default again.
            rules::defaults(resource, &mut object)?;
            object
        }
        None => {
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.shift_remove("managedFields");
            }
            patch::track(None, &mut object, &resource.schema, &who);
            object
        }
    };
    let object = convert::ordered(object);
    let draft = draft(resource, &object)?;
    Ok((name, object, draft))
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

/// How the body of a change is read.
type Decode = fn(&Call, &[u8]) -> Result<Edit, ApiError>;

pub(super) async fn update(call: &Arc<Call>, bytes: Bytes) -> Result<Response, ApiError> {
    modify(call, bytes, edit::decode_put).await
}

pub(super) async fn patch(call: &Arc<Call>, bytes: Bytes) -> Result<Response, ApiError> {
    modify(call, bytes, edit::decode_patch).await
}

async fn decoded(call: &Arc<Call>, bytes: &Bytes, decode: Decode) -> Result<Edit, ApiError> {
    let (call_, bytes) = (Arc::clone(call), bytes.clone());
    let decoded = call
        .api
        .pool
        .run(bytes.len(), move || decode(&call_, &bytes));
    decoded.await?
}

/// Applies a change to the newest state; when another write came between, again. It is
/// read anew then, which is rare, so that it is used up and not copied otherwise.
async fn modify(call: &Arc<Call>, bytes: Bytes, decode: Decode) -> Result<Response, ApiError> {
    let name = call.name.as_deref().unwrap_or_default();
    let resource = &call.resource;
    let dry_run = call.dry_run();
    let mut turn = None;
    for _ in 0..ATTEMPTS {
        let edit = decoded(call, &bytes, decode).await?;
        let Some(record) = call.api.store.get(call.key(name)).await? else {
            return match edit.change {
                Change::Apply { config, .. } if call.subresource.is_none() => {
                    create_by_apply(call, config, edit.duplicates, edit.size).await
                }
                _ => Err(ApiError::not_found(resource, name)),
            };
        };
        let size = edit.size.saturating_add(record.json.len());
        let (call_, json) = (Arc::clone(call), record.json.clone());
        let step = call
            .api
            .pool
            .run(size, move || edit::step(&call_, edit, json));
        let Step { next, warnings } = step.await??;
        let changed = match next {
            Next::Same(json) => {
                let stored = Stored::Text(json);
                return Ok(call.answer(StatusCode::OK, stored, &warnings).await);
            }
            Next::Other(changed) if dry_run => {
                let stored = Stored::Tree(changed.object);
                return Ok(call.answer(StatusCode::OK, stored, &warnings).await);
            }
            Next::Other(changed) => changed,
        };
        let write = Write {
            key: call.key(&record.name),
            expect: Expect::At(record.revision),
            object: changed.draft,
            delete: changed.delete,
        };
        match call.api.commit(resource, write).await {
            Ok(record) => {
                // Who deletes it waits for what held it.
                if changed.marked {
                    call.api.wake.notify_one();
                }
                let stored = Stored::Text(record.json);
                return Ok(call.answer(StatusCode::OK, stored, &warnings).await);
            }
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
    call: &Arc<Call>,
    mut config: Value,
    duplicates: Texts,
    size: usize,
) -> Result<Response, ApiError> {
    let metadata = &config["metadata"];
    if metadata["resourceVersion"].is_string() || metadata["uid"].is_string() {
        let name = call.name.as_deref().unwrap_or_default();
        let text = "StorageError: invalid object";
        return Err(ApiError::conflict(&call.resource, name, text));
    }
    let call_ = Arc::clone(call);
    let checked = call.api.pool.run(size, move || {
        let mode = call_.field_validation();
        let warnings = rules::unknown_fields(&call_.resource, &mut config, &duplicates, mode)?;
        Ok::<_, ApiError>((config.clone(), config, warnings))
    });
    let (object, config, warnings) = checked.await??;
    let stored = insert(call, object, Some(config), size).await?;
    Ok(call.answer(StatusCode::CREATED, stored, &warnings).await)
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
