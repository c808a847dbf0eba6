//! Watches of the kinds that the hub follows, one of each, shared by all.
//!
//! Objects go to the edge as the API server has them, without the managed
//! fields; they are not squeezed through types that might drop what they do
//! not know.

use std::{collections::HashMap, collections::HashSet, sync::Arc};

use futures::{Stream, StreamExt};
use kube::{
    Client, ResourceExt,
    api::DynamicObject,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use longshore_types::DeviceName;
use tracing::{debug, warn};

use super::kinds;
use crate::{
    catalog::{DeviceEntry, ModelEntry, ModelKey},
    state::Hub,
    status::version_of,
};

/// Follows devices for ever.
pub(crate) async fn devices(client: Client, hub: Arc<Hub>) {
    let stream = watcher(
        kinds::all(&client, &kinds::device()),
        watcher::Config::default(),
    );
    let mut buffer = HashMap::new();
    follow("Device", stream, &hub, |event| match event {
        Event::Init => buffer.clear(),
        Event::InitApply(object) => buffer.extend(device(object)),
        Event::InitDone => {
            hub.catalog_changed(|catalog| catalog.replace_devices(std::mem::take(&mut buffer)));
        }
        Event::Apply(object) => {
            if let Some((name, entry)) = device(object) {
                hub.catalog_changed(|catalog| catalog.put_device(name, entry));
            }
        }
        Event::Delete(object) => {
            if let Some(name) = device_name(&object) {
                hub.catalog_changed(|catalog| catalog.delete_device(&name));
            }
        }
    })
    .await;
}

/// Follows models for ever.
pub(crate) async fn models(client: Client, hub: Arc<Hub>) {
    let stream = watcher(
        kinds::all(&client, &kinds::device_model()),
        watcher::Config::default(),
    );
    let mut buffer = HashMap::new();
    follow("DeviceModel", stream, &hub, |event| match event {
        Event::Init => buffer.clear(),
        Event::InitApply(object) => buffer.extend(model(object)),
        Event::InitDone => {
            hub.catalog_changed(|catalog| catalog.replace_models(std::mem::take(&mut buffer)));
        }
        Event::Apply(object) => {
            if let Some((key, entry)) = model(object) {
                hub.catalog_changed(|catalog| catalog.put_model(key, entry));
            }
        }
        Event::Delete(object) => {
            let key = model_key(&object);
            hub.catalog_changed(|catalog| catalog.delete_model(&key));
        }
    })
    .await;
}

/// Follows which DeviceStatuses exist: one that goes comes back.
pub(crate) async fn statuses(client: Client, hub: Arc<Hub>) {
    let api = kinds::all_metadata(&client, &kinds::device_status());
    let stream = watcher(api, watcher::Config::default());
    let mut buffer = HashSet::new();
    follow("DeviceStatus", stream, &hub, |event| match event {
        Event::Init => buffer.clear(),
        Event::InitApply(object) => buffer.extend(meta_name(&object)),
        Event::InitDone => hub.statuses_exist(std::mem::take(&mut buffer)),
        Event::Apply(object) => {
            let version = version_of(object.metadata.resource_version.as_deref());
            hub.status.appeared(meta_name(&object), version);
        }
        Event::Delete(object) => hub.status.vanished(meta_name(&object)),
    })
    .await;
}

/// Follows which Nodes exist.
pub(crate) async fn nodes(client: Client, hub: Arc<Hub>) {
    let api = kinds::all_metadata(&client, &kinds::node());
    let stream = watcher(api, watcher::Config::default());
    let mut buffer = HashSet::new();
    follow("Node", stream, &hub, |event| match event {
        Event::Init => buffer.clear(),
        Event::InitApply(object) => drop(buffer.insert(object.name_any())),
        Event::InitDone => hub.nodes_exist(std::mem::take(&mut buffer)),
        Event::Apply(object) => hub.node_exists(&object.name_any(), true),
        Event::Delete(object) => hub.node_exists(&object.name_any(), false),
    })
    .await;
}

async fn follow<K>(
    kind: &'static str,
    stream: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    hub: &Hub,
    mut take: impl FnMut(Event<K>),
) {
    let mut stream = Box::pin(stream.default_backoff());
    let mut healthy = true;
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                if !std::mem::replace(&mut healthy, true) {
                    debug!(kind, "watch works again");
                }
                take(event);
            }
            Err(error) => {
                hub.metrics.watch_errors.increment();
                // The library backs off and starts again.
                if std::mem::replace(&mut healthy, false) {
                    let error = crate::error_chain(&error);
                    warn!(kind, error, "watch failed, trying again");
                }
            }
        }
    }
}

fn device(mut object: DynamicObject) -> Option<(DeviceName, DeviceEntry)> {
    let name = device_name(&object)?;
    object.metadata.managed_fields = None;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let spec = &object.data["spec"];
    let entry = DeviceEntry {
        uid: object.metadata.uid.clone().unwrap_or_default(),
        resource_version: object.metadata.resource_version.clone().unwrap_or_default(),
        node: text(&spec["nodeName"]),
        model: text(&spec["deviceModelRef"]["name"]),
        json: json(&object),
    };
    Some((name, entry))
}

fn model(mut object: DynamicObject) -> Option<(ModelKey, ModelEntry)> {
    object.metadata.managed_fields = None;
    let entry = ModelEntry {
        uid: object.metadata.uid.clone().unwrap_or_default(),
        resource_version: object.metadata.resource_version.clone().unwrap_or_default(),
        json: json(&object),
    };
    Some((model_key(&object), entry))
}

fn json(object: &DynamicObject) -> bytes::Bytes {
    // What was parsed from JSON can be written as JSON.
    serde_json::to_vec(object).unwrap_or_default().into()
}

fn model_key(object: &DynamicObject) -> ModelKey {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn device_name(object: &DynamicObject) -> Option<DeviceName> {
    parse(object.namespace().as_deref(), &object.name_any())
}

fn meta_name(object: &PartialObjectMeta<DynamicObject>) -> Option<DeviceName> {
    parse(object.namespace().as_deref(), &object.name_any())
}

fn parse(namespace: Option<&str>, name: &str) -> Option<DeviceName> {
    // The API server checks names by the same rules.
    DeviceName::new(namespace.unwrap_or("default"), name).ok()
}
