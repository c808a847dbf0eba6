//! Garbage collection by owner references.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use crate::registry::Registry;
use crate::rest::Api;
use crate::rest::delete::{FOREGROUND, Options, Policy, delete, disown, rewrite};
use crate::rest::status::ApiError;
use longshore_objects::Key;

/// After a restart: finds the foreground deletions that were under way.
pub(super) async fn recover(api: &Arc<Api>) {
    match api.store.mentioning(format!("\"{FOREGROUND}\"")).await {
        Ok(keys) => {
            if let Ok(mut waiting) = api.foreground.lock() {
                waiting.extend(
                    keys.into_iter()
                        .map(|key| (key.resource.to_string(), key.namespace, key.name)),
                );
            }
        }
        Err(error) => tracing::warn!(error = %error, "foreground deletions could not be looked up"),
    }
}

/// Deletes the dependents of owners that wait for it, then lets the owners go.
pub(super) async fn foreground(api: &Arc<Api>) -> Result<(), ApiError> {
    let waiting: Vec<_> = api
        .foreground
        .lock()
        .map(|set| set.iter().cloned().collect())
        .unwrap_or_default();
    for entry in waiting {
        let (resource, namespace, name) = entry.clone();
        let key = Key {
            resource: resource.into(),
            namespace,
            name,
        };
        let record = api.store.get(key.clone()).await?;
        let object = record.map(|record| record.object());
        let uid = object
            .as_ref()
            .and_then(|object| object["metadata"]["uid"].as_str())
            .unwrap_or_default()
            .to_owned();
        let dependents = if object.is_some() {
            api.store.dependents(uid).await?
        } else {
            Vec::new()
        };
        let registry = api.registry();
        for dependent in &dependents {
            let Some(resource) = registry.by_storage(&dependent.resource) else {
                continue;
            };
            let options = Options::with_policy(Policy::Foreground);
            // dependents of dependents wait in the same way
            match Box::pin(delete(api, &resource, dependent.clone(), &options)).await {
                Err(error) if error.code() != 404 => return Err(error),
                _ => {}
            }
        }
        if dependents.is_empty() {
            rewrite(api, &key, |object| {
                if let Some(list) = object["metadata"]["finalizers"].as_array_mut() {
                    list.retain(|name| name != FOREGROUND);
                }
            })
            .await?;
            if let Ok(mut set) = api.foreground.lock() {
                set.remove(&entry);
            }
        }
    }
    Ok(())
}

/// Deletes objects whose owners are all gone; of the others the references that
/// lead nowhere are taken out.
pub(super) async fn dangling(api: &Arc<Api>) -> Result<(), ApiError> {
    let mut seen = HashSet::new();
    for found in api.store.dangling().await? {
        let Some(record) = api.store.get(found.dependent.clone()).await? else {
            continue;
        };
        let object = record.object();
        let registry = api.registry();
        let references = object["metadata"]["ownerReferences"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        // An owner of a kind that is not served here may live elsewhere.
        let gone = |reference: &&Value| {
            reference["uid"] == found.uid.as_str() && is_served(&registry, reference)
        };
        if !references.iter().any(|reference| gone(&reference)) {
            continue;
        }
        if references.len() > 1 {
            disown(api, &found.dependent, &found.uid).await?;
            continue;
        }
        if !seen.insert(found.dependent.clone()) {
            continue;
        }
        let Some(resource) = registry.by_storage(&found.dependent.resource) else {
            continue;
        };
        match delete(api, &resource, found.dependent, &Options::default()).await {
            Err(error) if error.code() != 404 => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn is_served(registry: &Registry, reference: &Value) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    registry
        .by_kind(&text(&reference["apiVersion"]), &text(&reference["kind"]))
        .is_some()
}
