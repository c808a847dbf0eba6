//! Namespaces and definitions that are being deleted: their contents go first.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::registry::Class;
use crate::rest::Api;
use crate::rest::delete::{Options, delete, rewrite};
use crate::rest::rules::CLEANUP;
use crate::rest::status::ApiError;
use longshore_objects::{Key, PageRequest, Record};

/// Everything of one resource.
pub(super) async fn all(api: &Api, storage: &str) -> Result<Vec<Record>, ApiError> {
    let request = PageRequest {
        resource: storage.into(),
        namespace: None,
        name: None,
        revision: None,
        after: None,
        limit: usize::MAX,
    };
    Ok(api.store.page(request).await?.records)
}

fn marked(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Deletes what it can; true when nothing is left.
async fn clear(api: &Arc<Api>, keys: Vec<Key>) -> Result<bool, ApiError> {
    let registry = api.registry();
    let mut left = false;
    for key in keys {
        let Some(resource) = registry.by_storage(&key.resource) else {
            continue;
        };
        match delete(api, &resource, key, &Options::default()).await {
            Ok(crate::rest::delete::Deleted::Gone(_)) => {}
            Ok(crate::rest::delete::Deleted::Held(_)) => left = true,
            Err(error) if error.code() == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(!left)
}

/// Empties namespaces that are being deleted and lets the empty ones go.
pub(super) async fn namespaces(api: &Arc<Api>) -> Result<(), ApiError> {
    for record in all(api, "/namespaces").await? {
        if !marked(&record.object()) {
            continue;
        }
        let contents = api.store.resources_in(record.name.clone()).await?;
        if clear(api, contents).await? {
            let key = Key {
                resource: "/namespaces".into(),
                namespace: String::new(),
                name: record.name,
            };
            rewrite(api, &key, |object| {
                if let Some(list) = object["spec"]["finalizers"].as_array_mut() {
                    list.retain(|name| *name != json!("kubernetes"));
                }
            })
            .await?;
        }
    }
    Ok(())
}

/// Removes the objects of definitions that are being deleted.
pub(super) async fn definitions(api: &Arc<Api>) -> Result<(), ApiError> {
    let registry = api.registry();
    let Some(definitions) = registry
        .all()
        .find(|resource| resource.class == Class::Definition)
    else {
        return Ok(());
    };
    for record in all(api, &definitions.storage).await? {
        let definition = record.object();
        if !marked(&definition) {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let storage = format!(
            "{}/{}",
            text(&definition["spec"]["group"]),
            text(&definition["spec"]["names"]["plural"])
        );
        let objects = all(api, &storage).await?;
        let keys = objects.into_iter().map(|object| Key {
            resource: storage.as_str().into(),
            namespace: object.namespace,
            name: object.name,
        });
        if clear(api, keys.collect()).await? {
            let key = Key {
                resource: definitions.storage.clone(),
                namespace: String::new(),
                name: record.name,
            };
            rewrite(api, &key, |object| {
                if let Some(list) = object["metadata"]["finalizers"].as_array_mut() {
                    list.retain(|name| name != CLEANUP);
                }
            })
            .await?;
        }
    }
    Ok(())
}
