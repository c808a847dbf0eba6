//! Watches of what the hub follows, one of each kind, shared by all nodes.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use kube::{
    Client, ResourceExt,
    api::DynamicObject,
    core::PartialObjectMeta,
    runtime::watcher::{self, Event, watcher},
};
use longshore_types::DeviceName;

use super::{
    api::{self, version_of},
    follow::follow,
};
use crate::{
    kinds::Kind,
    metrics::Metrics,
    tables::{
        catalog::{Catalog, Touched},
        listed::Listed,
        lock,
        logs::Logs,
        nodes::Nodes,
        statuses::Statuses,
    },
};

/// What follows from changes of objects that go to edges.
#[derive(Clone)]
pub(crate) struct Objects {
    pub(crate) client: Client,
    pub(crate) catalog: Arc<Mutex<Catalog>>,
    pub(crate) logs: Arc<Logs>,
    pub(crate) listed: Arc<Listed>,
    pub(crate) statuses: Arc<Statuses>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Objects {
    /// Follows a kind that goes to edges, for ever.
    pub(crate) async fn follow(self, kind: &'static Kind) {
        let objects = api::all(&self.client, &kind.resource());
        let stream = watcher(objects, watcher::Config::default());
        let mut buffer = HashMap::new();
        follow(kind.name, stream, &self.metrics, |event| match event {
            Event::Init => buffer.clear(),
            Event::InitApply(object) => buffer.extend([kind.take(object)]),
            Event::InitDone => {
                let all = std::mem::take(&mut buffer);
                self.change(|catalog| catalog.replace(kind.name, all));
            }
            Event::Apply(object) => {
                let (key, object) = kind.take(object);
                self.change(|catalog| catalog.put(key, object));
            }
            Event::Delete(object) => {
                let key = kind.key(&object);
                self.change(|catalog| catalog.delete(&key));
            }
        })
        .await;
    }

    /// Changes the catalog and tells all that it concerns.
    fn change(&self, change: impl FnOnce(&mut Catalog) -> Touched) {
        let (statuses, complete) = {
            let mut catalog = lock(&self.catalog);
            let Touched { statuses, logs } = change(&mut catalog);
            // Under the catalog's lock, so that the logs see changes in their order.
            self.logs.apply(logs);
            (statuses, catalog.is_complete())
        };
        if complete {
            self.listed.learn(|listed| &mut listed.catalog);
        }
        self.statuses.mark_objects(&statuses);
    }
}

/// Follows which DeviceStatuses exist: one that goes comes back.
pub(crate) async fn statuses(
    client: Client,
    listed: Arc<Listed>,
    statuses: Arc<Statuses>,
    metrics: Arc<Metrics>,
) {
    let api = api::all_metadata(&client, &api::device_status());
    let stream = watcher(api, watcher::Config::default());
    let mut buffer = HashSet::new();
    follow("DeviceStatus", stream, &metrics, |event| match event {
        Event::Init => buffer.clear(),
        Event::InitApply(object) => buffer.extend(meta_name(&object)),
        Event::InitDone => {
            statuses.existing(std::mem::take(&mut buffer));
            listed.learn(|listed| &mut listed.statuses);
        }
        Event::Apply(object) => {
            let version = version_of(object.metadata.resource_version.as_deref());
            statuses.appeared(meta_name(&object), version);
        }
        Event::Delete(object) => statuses.vanished(meta_name(&object)),
    })
    .await;
}

/// What follows from which Nodes exist.
pub(crate) struct NodeObjects {
    pub(crate) client: Client,
    pub(crate) catalog: Arc<Mutex<Catalog>>,
    pub(crate) listed: Arc<Listed>,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) statuses: Arc<Statuses>,
    pub(crate) metrics: Arc<Metrics>,
}

impl NodeObjects {
    /// Follows them, for ever.
    pub(crate) async fn follow(self) {
        let api = api::all_metadata(&self.client, &api::node());
        let stream = watcher(api, watcher::Config::default());
        let mut buffer = HashSet::new();
        follow("Node", stream, &self.metrics, |event| match event {
            Event::Init => buffer.clear(),
            Event::InitApply(object) => drop(buffer.insert(object.name_any())),
            Event::InitDone => {
                let news = self.nodes.set_existing(std::mem::take(&mut buffer));
                news.iter().for_each(|node| self.mark_devices_of(node));
                self.listed.learn(|listed| &mut listed.nodes);
            }
            Event::Apply(object) => self.exists(&object.name_any(), true),
            Event::Delete(object) => self.exists(&object.name_any(), false),
        })
        .await;
    }

    fn exists(&self, node: &str, exists: bool) {
        if self.nodes.set_exists(node, exists) {
            self.mark_devices_of(node);
        }
    }

    fn mark_devices_of(&self, node: &str) {
        let catalog = lock(&self.catalog);
        self.statuses.mark_objects(catalog.bound_to(node));
    }
}

fn meta_name(object: &PartialObjectMeta<DynamicObject>) -> Option<DeviceName> {
    // The API server checks names by the same rules.
    DeviceName::new(&object.namespace()?, &object.name_any()).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::{
        cluster::{Embedded, crds},
        kinds::made_up,
        store::Store,
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
        let (store, contents) = Store::open(&folder.path().join("hub.db")).unwrap();
        let objects = Objects {
            client: client.clone(),
            catalog: Arc::new(Mutex::new(Catalog::new(&made_up::TABLE))),
            logs: Arc::new(Logs::new(contents.logs)),
            listed: Arc::default(),
            statuses: Arc::new(Statuses::new(Duration::ZERO)),
            metrics: Arc::default(),
        };
        let mut watches = tokio::task::JoinSet::new();
        watches.spawn(Arc::clone(&objects.logs).keep(store));
        for kind in made_up::TABLE.iter() {
            watches.spawn(objects.clone().follow(kind));
        }
        let mut of_n1 = objects.logs.subscribe("n1");
        create(&client, "WidgetClass", "round", json!({"radius": 3})).await;
        create(&client, "WidgetClass", "flat", json!({})).await;
        let spec = json!({"on": "n1", "classes": ["round"]});
        create(&client, "Widget", "wheel", spec).await;
        let held = || {
            let held = objects.logs.held("n1").into_iter();
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
