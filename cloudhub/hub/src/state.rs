//! What the hub's tasks share.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use longshore_link::{Epoch, Reported, SchemaReport, Up};
use longshore_types::{DeviceName, Timestamp, schema_check::Document};
use tokio::sync::watch;

use crate::{
    config::Config,
    kinds::{self, Kind},
    metrics::Metrics,
    nodes::NodeTable,
    schemas::Schemas,
    status::StatusQueue,
    store::{Contents, Store, StoredReport},
    tables::{
        catalog::{Catalog, Touched},
        logs::Logs,
    },
};

/// What was listed completely since the hub started.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known {
    /// All that goes to edges: they may be served.
    pub(crate) catalog: bool,
    /// Which DeviceStatuses there are.
    pub(crate) statuses: bool,
    /// Which Nodes there are.
    pub(crate) nodes: bool,
}

impl Known {
    /// Statuses may be written: a device that is missing is gone, and one whose
    /// status is missing has none.
    pub(crate) fn all(&self) -> bool {
        self.catalog && self.statuses && self.nodes
    }
}

/// The hub's memory. Locks are held for moments, never over an await.
#[derive(Debug)]
pub(crate) struct Hub {
    catalog: Mutex<Catalog>,
    known: watch::Sender<Known>,
    pub(crate) logs: Logs,
    reports: Mutex<HashMap<DeviceName, StoredReport>>,
    pub(crate) nodes: NodeTable,
    pub(crate) status: StatusQueue,
    pub(crate) schemas: Schemas,
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
}

impl Hub {
    pub(crate) fn new(
        config: &Config,
        kinds: &'static [Kind],
        store: Store,
        contents: Contents,
        epoch: Epoch,
    ) -> Self {
        let now = Instant::now();
        let nodes = NodeTable::new(config.nodes(), contents.nodes, now);
        let status = StatusQueue::new(config.status());
        // Devices that went while the hub was down are noticed here.
        status.mark(contents.reports.keys().cloned());
        Self {
            catalog: Mutex::new(Catalog::new(kinds)),
            known: watch::Sender::default(),
            logs: Logs::new(epoch),
            reports: Mutex::new(contents.reports),
            nodes,
            status,
            schemas: Schemas::new(contents.schemas),
            store,
            metrics: Metrics::default(),
        }
    }

    pub(crate) fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the catalog and tells all that it concerns.
    pub(crate) fn catalog_changed(&self, change: impl FnOnce(&mut Catalog) -> Touched) {
        let (statuses, complete) = {
            let mut catalog = self.catalog();
            let Touched { statuses, logs } = change(&mut catalog);
            // Under the catalog's lock, so that the logs see changes in their order.
            self.logs.apply(logs);
            (statuses, catalog.is_complete())
        };
        if complete {
            self.learn(|known| &mut known.catalog);
        }
        self.status
            .mark(statuses.iter().filter_map(kinds::device_name));
    }

    /// What was listed completely so far.
    pub(crate) fn known(&self) -> watch::Receiver<Known> {
        self.known.subscribe()
    }

    fn learn(&self, what: impl FnOnce(&mut Known) -> &mut bool) {
        self.known.send_if_modified(|known| {
            let what = what(known);
            !std::mem::replace(what, true)
        });
    }

    /// The set of DeviceStatuses is this.
    pub(crate) fn statuses_exist(&self, names: HashSet<DeviceName>) {
        self.status.existing(names);
        self.learn(|known| &mut known.statuses);
    }

    /// Remembers what the store holds now.
    pub(crate) fn reported(&self, device: DeviceName, node: &str, payload: Bytes) {
        let report = StoredReport {
            node: node.to_owned(),
            payload,
        };
        lock(&self.reports).insert(device.clone(), report);
        self.status.mark([device]);
    }

    /// Keeps a mapper's schema: what was found in the devices may be another.
    pub(crate) fn schema_came(&self, schema: &SchemaReport) {
        if self.schemas.keep(schema) {
            let catalog = self.catalog();
            let devices = catalog.of_kind(kinds::DEVICE);
            self.status.mark(devices.filter_map(kinds::device_name));
        }
    }

    /// The schema that the mapper of a node has for a protocol.
    pub(crate) fn schema_of(&self, node: &str, protocol: &str) -> Option<Arc<Document>> {
        self.schemas
            .find(protocol, self.nodes.schema_of(node, protocol))
    }

    /// The last report of a device, if it is one of this very device by its node.
    pub(crate) fn report_of(&self, device: &DeviceName, uid: &str, node: &str) -> Option<Reported> {
        let stored = lock(&self.reports).get(device).cloned()?;
        match Up::decode(&stored.payload) {
            Ok(Up::Reported(reported)) if reported.uid == uid && stored.node == node => {
                Some(reported)
            }
            _ => None,
        }
    }

    /// Forgets a device. True if there was anything to forget.
    pub(crate) fn forget(&self, device: &DeviceName) -> bool {
        lock(&self.reports).remove(device).is_some()
    }

    /// The set of Node objects is this.
    pub(crate) fn nodes_exist(&self, names: HashSet<String>) {
        for node in self.nodes.set_existing(names) {
            self.mark_devices_of(&node);
        }
        self.learn(|known| &mut known.nodes);
    }

    /// A Node object came or went.
    pub(crate) fn node_exists(&self, node: &str, exists: bool) {
        if self.nodes.set_exists(node, exists) {
            self.mark_devices_of(node);
        }
    }

    /// Whether a node is there changed: its devices' status says so.
    pub(crate) fn mark_devices_of(&self, node: &str) {
        let catalog = self.catalog();
        let bound = catalog.bound_to(node);
        self.status.mark(bound.filter_map(kinds::device_name));
    }

    /// Why the hub is not ready yet.
    pub(crate) fn not_ready(&self) -> Option<&'static str> {
        (!self.known.borrow().catalog).then_some("what goes to edges is not listed yet")
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}
