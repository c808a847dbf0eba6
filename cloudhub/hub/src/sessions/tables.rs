//! What sessions read and write.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use longshore_link::SchemaReport;
use longshore_types::{DeviceName, NodeName};

use crate::{
    kinds::{Properties, device_key},
    metrics::Metrics,
    samples::SampleConsumer,
    store::Store,
    tables::{
        catalog::Catalog, listed::Listed, lock, logs::Logs, nodes::Nodes, reports::Reports,
        schemas::Schemas, statuses::Statuses,
    },
};

/// The tables of the sessions, and the store that their records go to.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) catalog: Arc<Mutex<Catalog>>,
    pub(crate) listed: Arc<Listed>,
    pub(crate) logs: Arc<Logs>,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) reports: Arc<Reports>,
    pub(crate) schemas: Arc<Schemas>,
    pub(crate) samples: Arc<dyn SampleConsumer>,
    pub(crate) statuses: Arc<Statuses>,
    pub(crate) store: Store,
    pub(crate) metrics: Arc<Metrics>,
}

impl Tables {
    fn catalog(&self) -> MutexGuard<'_, Catalog> {
        lock(&self.catalog)
    }

    /// Whether a device is bound to a node, and is this very one.
    pub(super) fn is_of(&self, device: &DeviceName, uid: &str, node: &NodeName) -> bool {
        let catalog = self.catalog();
        let device = catalog.get(&device_key(device));
        device.is_some_and(|device| device.node == node.as_str() && device.content.uid == uid)
    }

    /// The properties that a node may report of a device: those of its model. None
    /// if the node has no say in it.
    pub(super) fn properties_of(
        &self,
        device: &DeviceName,
        uid: &str,
        node: &NodeName,
    ) -> Option<Properties> {
        let catalog = self.catalog();
        let device = catalog.get(&device_key(device))?;
        let own = device.node == node.as_str() && device.content.uid == uid;
        let model = device.needs.first().and_then(|model| catalog.get(model));
        let properties = model.map(|model| Properties::clone(&model.properties));
        own.then(|| properties.unwrap_or_default())
    }

    /// The store holds a report.
    pub(super) fn reported(&self, device: DeviceName, node: &str, payload: Bytes, news: u64) {
        if self.reports.keep(device.clone(), node, payload, news) {
            self.statuses.mark_soon(device);
        } else {
            self.statuses.mark([device]);
        }
    }

    /// The store holds a mapper's schema: what was found in the devices may be
    /// another now.
    pub(super) fn schema_came(&self, node: &str, schema: &SchemaReport) {
        if self.schemas.keep(node, schema) {
            self.statuses.mark_objects(self.catalog().bound_to(node));
        }
    }

    /// Whether a node is there changed: its devices' status says so.
    pub(super) fn mark_devices_of(&self, node: &str) {
        self.statuses.mark_objects(self.catalog().bound_to(node));
    }
}
