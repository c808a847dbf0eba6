//! Watches of what the hub follows, one of each kind, shared by all nodes.

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

use super::api;
use crate::{kinds::Kind, state::Hub, status::version_of};

/// Follows a kind that goes to edges, for ever.
pub(crate) async fn objects(client: Client, kind: &'static Kind, hub: Arc<Hub>) {
    let objects = api::all(&client, &kind.resource());
    let stream = watcher(objects, watcher::Config::default());
    let mut buffer = HashMap::new();
    follow(kind.name, stream, &hub, |event| match event {
        Event::Init => buffer.clear(),
        Event::InitApply(object) => buffer.extend([kind.take(object)]),
        Event::InitDone => {
            let all = std::mem::take(&mut buffer);
            hub.catalog_changed(|catalog| catalog.replace(kind.name, all));
        }
        Event::Apply(object) => {
            let (key, object) = kind.take(object);
            hub.catalog_changed(|catalog| catalog.put(key, object));
        }
        Event::Delete(object) => {
            let key = kind.key(&object);
            hub.catalog_changed(|catalog| catalog.delete(&key));
        }
    })
    .await;
}

/// Follows which DeviceStatuses exist: one that goes comes back.
pub(crate) async fn statuses(client: Client, hub: Arc<Hub>) {
    let api = api::all_metadata(&client, &api::device_status());
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
    let api = api::all_metadata(&client, &api::node());
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

fn meta_name(object: &PartialObjectMeta<DynamicObject>) -> Option<DeviceName> {
    // The API server checks names by the same rules.
    DeviceName::new(&object.namespace()?, &object.name_any()).ok()
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use longshore_link::Epoch;
    use serde_json::json;

    use super::*;
    use crate::{
        cluster::{Embedded, crds},
        config::Config,
        kinds::made_up,
        store::{Contents, Store},
    };

    async fn define(client: &Client, kind: &Kind) {
        let name = format!("{}.{}", kind.plural, kind.group);
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": name},
            "spec": {
                "group": kind.group, "scope": "Namespaced",
                "names": {"kind": kind.name, "plural": kind.plural},
                "versions": [{"name": kind.version, "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": schema}}],
            },
        });
        let defined = crds::ensure_one(client, &name, definition, true).await;
        defined.unwrap();
    }

    async fn create(client: &Client, kind: &str, name: &str, spec: serde_json::Value) {
        let mut rows = made_up::TABLE.iter();
        let row = rows.find(|row| row.name == kind).unwrap();
        let object = DynamicObject::new(name, &row.resource()).data(json!({"spec": spec}));
        let api = api::within(client, "default", &row.resource());
        api.create(&api::post(), &object).await.unwrap();
    }

    /// A row in the table is all that a kind takes in the hub.
    #[tokio::test]
    async fn a_made_up_kind_reaches_the_log_of_its_node() {
        let folder = tempfile::tempdir().unwrap();
        let client = Embedded::open(folder.path()).unwrap().client;
        crds::ensure(&client, true).await.unwrap();
        for kind in &made_up::TABLE[crate::kinds::KINDS.len()..] {
            define(&client, kind).await;
        }
        let config = Config::parse("", folder.path(), Path::new("test")).unwrap();
        let (store, _) = Store::open(&folder.path().join("hub.db")).unwrap();
        let contents = Contents::default();
        let hub = Hub::new(&config, &made_up::TABLE, store, contents, Epoch(1));
        let hub = Arc::new(hub);
        for kind in made_up::TABLE.iter() {
            tokio::spawn(objects(client.clone(), kind, Arc::clone(&hub)));
        }
        let mut of_n1 = hub.logs.subscribe("n1");
        create(&client, "WidgetClass", "round", json!({"radius": 3})).await;
        create(&client, "WidgetClass", "flat", json!({})).await;
        let spec = json!({"on": "n1", "classes": ["round"]});
        create(&client, "Widget", "wheel", spec).await;
        let held = || {
            let held = hub.logs.held("n1").into_iter();
            let names = held.filter_map(|shown| Some(shown.split_once('@')?.0.to_owned()));
            names.collect::<Vec<_>>()
        };
        let reached = tokio::time::timeout(Duration::from_secs(30), async {
            while held() != ["Widget/wheel", "WidgetClass/round"] {
                of_n1.changed().await.unwrap();
            }
        });
        assert!(reached.await.is_ok(), "the node holds {:?}", held());
    }
}
