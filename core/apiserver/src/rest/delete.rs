//! Delete: at once, or in two phases when something holds the object.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::read::{self, Pages, Selection};
use super::status::{ApiError, json_response};
use super::{Api, Call, Stored, body, convert, rules, table};
use crate::cause::Cause;
use crate::registry::{Class, Resource};
use crate::time;
use longshore_objects::{Draft, Expect, Key, Record, Write, WriteError};

/// Held by a foreground deletion until the dependents are gone.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";

/// Namespaces that the server needs.
const PROTECTED: &[&str] = &["default", "kube-system", "kube-public"];

const ATTEMPTS: usize = 24;

/// What becomes of the objects that the deleted one owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Policy {
    /// They are collected afterwards.
    #[default]
    Background,
    /// They are collected first.
    Foreground,
    /// They stay.
    Orphan,
}

/// How to delete.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    uid: Option<String>,
    revision: Option<String>,
    policy: Policy,
    dry_run: bool,
}

/// What became of a deletion.
pub(crate) enum Deleted {
    Gone(Value),
    /// Something holds the object; it is marked.
    Held(Value),
}

impl Options {
    /// Without conditions.
    pub(crate) fn with_policy(policy: Policy) -> Options {
        Options {
            policy,
            ..Options::default()
        }
    }

    async fn read(call: &Arc<Call>, bytes: Bytes) -> Result<Options, ApiError> {
        let call_ = Arc::clone(call);
        let parsed = call
            .api
            .pool
            .run(bytes.len(), move || Options::parse(&call_, &bytes));
        parsed.await?
    }

    fn parse(call: &Call, bytes: &[u8]) -> Result<Options, ApiError> {
        let given = if bytes.trim_ascii().is_empty() {
            Value::Null
        } else {
            body::decode(&call.headers, bytes)?.value
        };
        let text = |value: &Value| {
            value
                .as_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let policy = text(&given["propagationPolicy"]);
        let policy = policy.as_deref().or(call.params.get("propagationPolicy"));
        let policy = match policy {
            Some("Foreground") => Policy::Foreground,
            Some("Orphan") => Policy::Orphan,
            None if given["orphanDependents"] == true => Policy::Orphan,
            None | Some("Background") => Policy::Background,
            Some(other) => {
                let known = ["Foreground", "Background", "Orphan", "nil"].map(|text| json!(text));
                let cause = Cause::unsupported("propagationPolicy", &json!(other), &known);
                return Err(ApiError::invalid_options("DeleteOptions", &[cause]));
            }
        };
        let preconditions = &given["preconditions"];
        let in_body = given["dryRun"]
            .as_array()
            .is_some_and(|list| list.iter().any(|item| item == "All"));
        Ok(Options {
            uid: text(&preconditions["uid"]),
            revision: text(&preconditions["resourceVersion"]),
            policy,
            dry_run: call.dry_run() || in_body,
        })
    }

    fn check(&self, resource: &Resource, record: &Record, object: &Value) -> Result<(), ApiError> {
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        let revision = record.revision.to_string();
        let conflict = |what: &str, wanted: &str, found: &str, why: &str| {
            let text = format!(
                "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). {why}"
            );
            Err(ApiError::conflict(resource, &record.name, &text))
        };
        let (anew, changed) = (
            "The object might have been deleted and then recreated",
            "The object might have been modified",
        );
        match (&self.uid, &self.revision) {
            (Some(wanted), _) if wanted != uid => conflict("UID", wanted, uid, anew),
            (_, Some(wanted)) if *wanted != revision => {
                conflict("ResourceVersion", wanted, &revision, changed)
            }
            _ => Ok(()),
        }
    }
}

pub(super) async fn one(call: &Arc<Call>, bytes: Bytes) -> Result<Response, ApiError> {
    let options = Options::read(call, bytes).await?;
    let name = call.name.as_deref().unwrap_or_default();
    let deleted = delete(&call.api, &call.resource, call.key(name), &options).await?;
    let object = match deleted {
        Deleted::Held(object) => {
            let object = Stored::Tree(convert::present(&call.resource, object));
            return Ok(call.answer(StatusCode::OK, object, &[]).await);
        }
        Deleted::Gone(object) => object,
    };
    let details = json!({"name": name, "group": call.resource.group, "kind": call.resource.plural,
        "uid": object["metadata"]["uid"]});
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": details});
    Ok(json_response(StatusCode::OK, &status))
}

pub(super) async fn many(call: &Arc<Call>, bytes: Bytes) -> Result<Response, ApiError> {
    let options = Options::read(call, bytes).await?;
    let selection = Selection::parse(&call.resource, &call.params)?;
    let listing = read::collect(call, &selection, Pages::AsAsked).await?;
    let mut items = Vec::with_capacity(listing.records.len());
    for record in listing.records {
        match delete(&call.api, &call.resource, call.key(&record.name), &options).await {
            Ok(Deleted::Gone(object) | Deleted::Held(object)) => {
                items.push(convert::present(&call.resource, object))
            }
            Err(error) if error.code() == 404 => {}
            Err(error) => return Err(error),
        }
    }
    let resource = &call.resource;
    let body = json!({"kind": resource.list_kind, "apiVersion": resource.api_version(),
        "metadata": table::list_metadata(call.api.store.current(), None, None), "items": items});
    Ok(json_response(StatusCode::OK, &body))
}

/// Deletes an object, or marks it when finalizers hold it.
pub(crate) async fn delete(
    api: &Arc<Api>,
    resource: &Resource,
    key: Key,
    options: &Options,
) -> Result<Deleted, ApiError> {
    if resource.class == Class::Namespace && PROTECTED.contains(&key.name.as_str()) {
        return Err(ApiError::forbidden(
            resource,
            &key.name,
            "this namespace may not be deleted",
        ));
    }
    for _ in 0..ATTEMPTS {
        let record = api.store.get(key.clone()).await?;
        let record = record.ok_or_else(|| ApiError::not_found(resource, &key.name))?;
        let mut object = record.object();
        options.check(resource, &record, &object)?;
        let dependents = match options.policy {
            Policy::Background => Vec::new(),
            _ => {
                api.store
                    .dependents(
                        object["metadata"]["uid"]
                            .as_str()
                            .unwrap_or_default()
                            .to_owned(),
                    )
                    .await?
            }
        };
        if options.policy == Policy::Orphan && !options.dry_run {
            for dependent in &dependents {
                disown(
                    api,
                    dependent,
                    object["metadata"]["uid"].as_str().unwrap_or_default(),
                )
                .await?;
            }
        }
        let marked = object["metadata"]["deletionTimestamp"].is_string();
        let waits = options.policy == Policy::Foreground && !dependents.is_empty();
        if waits {
            rules::add_finalizer(&mut object, FOREGROUND);
        }
        let held = holders(resource, &object);
        if options.dry_run || (held && marked && !waits) {
            return Ok(if held {
                Deleted::Held(object)
            } else {
                Deleted::Gone(object)
            });
        }
        if held {
            mark(resource, &mut object);
        }
        let write = Write {
            key: key.clone(),
            expect: Expect::At(record.revision),
            object: Draft::new(&object),
            delete: !held,
        };
        match api.commit(resource, write).await {
            Ok(record) if !held => return Ok(Deleted::Gone(record.object())),
            Ok(record) => {
                if waits && let Ok(mut waiting) = api.foreground.lock() {
                    waiting.insert((key.resource.to_string(), key.namespace, key.name));
                }
                api.wake.notify_one();
                return Ok(Deleted::Held(record.object()));
            }
            Err(WriteError::Changed) => {}
            Err(error) => return Err(ApiError::write(resource, &key.name, &error)),
        }
    }
    Err(ApiError::modified(resource, &key.name))
}

/// Whether something keeps the object from being removed.
pub(super) fn holders(resource: &Resource, object: &Value) -> bool {
    let some = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    some(&object["metadata"]["finalizers"])
        || (resource.class == Class::Namespace && some(&object["spec"]["finalizers"]))
}

fn mark(resource: &Resource, object: &mut Value) {
    if object["metadata"]["deletionTimestamp"].is_null() {
        object["metadata"]["deletionTimestamp"] = json!(time::now());
        object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        if resource.generations() {
            let generation = object["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            object["metadata"]["generation"] = json!(generation);
        }
    }
    if resource.class == Class::Namespace {
        object["status"]["phase"] = json!("Terminating");
    }
}

/// Takes the references to `uid` out of a dependent.
pub(crate) async fn disown(api: &Arc<Api>, dependent: &Key, uid: &str) -> Result<(), ApiError> {
    rewrite(api, dependent, |object| {
        if let Some(list) = object["metadata"]["ownerReferences"].as_array_mut() {
            list.retain(|reference| reference["uid"] != uid);
        }
    })
    .await
}

/// Changes a stored object by `edit`; one that is marked and no longer held is
/// removed. Nothing happens when it does not exist or `edit` changes nothing.
pub(crate) async fn rewrite(
    api: &Arc<Api>,
    key: &Key,
    edit: impl Fn(&mut Value),
) -> Result<(), ApiError> {
    let Some(resource) = api.registry().by_storage(&key.resource) else {
        return Ok(());
    };
    for _ in 0..ATTEMPTS {
        let Some(record) = api.store.get(key.clone()).await? else {
            return Ok(());
        };
        let before = record.object();
        let mut object = before.clone();
        edit(&mut object);
        if object == before {
            return Ok(());
        }
        let delete =
            object["metadata"]["deletionTimestamp"].is_string() && !holders(&resource, &object);
        let write = Write {
            key: key.clone(),
            expect: Expect::At(record.revision),
            object: Draft::new(&object),
            delete,
        };
        match api.commit(&resource, write).await {
            Ok(_) => return Ok(()),
            Err(WriteError::Changed) => {}
            Err(error) => return Err(ApiError::write(&resource, &key.name, &error)),
        }
    }
    Err(ApiError::modified(&resource, &key.name))
}
