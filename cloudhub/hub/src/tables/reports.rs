//! The latest report of each device, as the store holds it.
//!
//! Written by the sessions, once a report is on the disk; read by the status
//! writer, which forgets those of devices that are gone.

use std::{collections::HashMap, sync::Mutex};

use bytes::Bytes;
use longshore_link::Up;
use longshore_types::{DeviceName, report::DeviceReport};

use super::lock;
use crate::store::StoredReport;

/// The reports by device.
#[derive(Debug, Default)]
pub(crate) struct Reports(Mutex<HashMap<DeviceName, StoredReport>>);

impl Reports {
    /// What the store held at the start.
    pub(crate) fn new(stored: HashMap<DeviceName, StoredReport>) -> Self {
        Self(Mutex::new(stored))
    }

    /// The store holds a new one.
    pub(crate) fn keep(&self, device: DeviceName, node: &str, payload: Bytes) {
        let node = node.to_owned();
        lock(&self.0).insert(device, StoredReport { node, payload });
    }

    /// The last report of a device, if it is one of this very device by its node.
    pub(crate) fn find(&self, device: &DeviceName, uid: &str, node: &str) -> Option<DeviceReport> {
        let stored = lock(&self.0).get(device).cloned()?;
        match Up::decode(&stored.payload) {
            Ok(Up::Reported(reported)) if reported.uid == uid && stored.node == node => {
                Some(reported)
            }
            _ => None,
        }
    }

    /// Forgets a device. True if there was anything to forget.
    pub(crate) fn forget(&self, device: &DeviceName) -> bool {
        lock(&self.0).remove(device).is_some()
    }
}
