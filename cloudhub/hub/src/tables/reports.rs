//! The latest report of each device, as the store holds it.
//!
//! Written by the sessions, once a report is on the disk; read by the status
//! writer, which forgets those of devices that are gone. What all of them take is
//! bounded: by report, by node, and in total. A device of which no report is taken
//! any more shows the last one, and why ([`Reports::refused`]).

use std::{
    collections::{HashMap, hash_map},
    sync::Mutex,
};

use bytes::Bytes;
use longshore_link::{MAX_REPORT_BYTES as BYTES, Up};
use longshore_types::{DeviceName, report::DeviceReport};

use super::lock;
use crate::store::StoredReport;

/// All reports of one node.
const BYTES_OF_A_NODE: usize = 64 * 1024 * 1024;
/// Those of all nodes.
const BYTES_OF_ALL: usize = 1024 * 1024 * 1024;

/// The reports by device.
#[derive(Debug, Default)]
pub(crate) struct Reports(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    reports: HashMap<DeviceName, Kept>,
    bytes: HashMap<String, usize>,
    total: usize,
    refused: HashMap<DeviceName, Refused>,
}

#[derive(Debug)]
struct Kept {
    stored: StoredReport,
    /// Fingerprint of what somebody may wait for in it.
    news: u64,
}

/// Why a report is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It has so many bytes.
    TooLarge(usize),
    /// The reports of its node together have no room for it.
    NodeFull,
    /// Those of all nodes together have none.
    Full,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge(bytes) => {
                write!(f, "it has {bytes} bytes, and the hub takes {BYTES} at most")
            }
            Self::NodeFull => write!(
                f,
                "the reports of its node have {BYTES_OF_A_NODE} bytes, the most that a node may have"
            ),
            Self::Full => write!(
                f,
                "the reports of all nodes have {BYTES_OF_ALL} bytes, the most that the hub holds"
            ),
        }
    }
}

impl Reports {
    /// What the store held at the start.
    pub(crate) fn new(stored: HashMap<DeviceName, StoredReport>) -> Self {
        let mut inner = Inner::default();
        for (device, stored) in stored {
            inner.put(device, Kept { stored, news: 0 });
        }
        Self(Mutex::new(inner))
    }

    /// Whether there is room for a report of so many bytes in place of the device's
    /// last one.
    pub(crate) fn admit(
        &self,
        device: &DeviceName,
        node: &str,
        bytes: usize,
    ) -> Result<(), Refused> {
        let inner = lock(&self.0);
        let former = inner.reports.get(device);
        let former_bytes = former.map_or(0, |kept| kept.stored.payload.len());
        let of_node = inner.bytes.get(node).copied().unwrap_or(0);
        let of_node = match former.is_some_and(|kept| kept.stored.node == node) {
            true => of_node - former_bytes,
            false => of_node,
        };
        if bytes > BYTES {
            Err(Refused::TooLarge(bytes))
        } else if of_node + bytes > BYTES_OF_A_NODE {
            Err(Refused::NodeFull)
        } else if inner.total - former_bytes + bytes > BYTES_OF_ALL {
            Err(Refused::Full)
        } else {
            Ok(())
        }
    }

    /// A report of the device is not taken. True if that is news.
    pub(crate) fn refuse(&self, device: &DeviceName, why: Refused) -> bool {
        let former = lock(&self.0).refused.insert(device.clone(), why.clone());
        former != Some(why)
    }

    /// Why the device's reports are not taken, if they are not.
    pub(crate) fn refused(&self, device: &DeviceName) -> Option<Refused> {
        lock(&self.0).refused.get(device).cloned()
    }

    /// The store holds a new one, with a fingerprint of what somebody may wait for in
    /// it. True if that is another one than before.
    pub(crate) fn keep(&self, device: DeviceName, node: &str, payload: Bytes, news: u64) -> bool {
        let node = node.to_owned();
        let stored = StoredReport { node, payload };
        let mut inner = lock(&self.0);
        inner.refused.remove(&device);
        let former = inner.put(device, Kept { stored, news });
        former.is_none_or(|former| former.news != news)
    }

    /// The last report of a device, if it is one of this very device by its node.
    pub(crate) fn find(&self, device: &DeviceName, uid: &str, node: &str) -> Option<DeviceReport> {
        let stored = lock(&self.0).reports.get(device)?.stored.clone();
        match Up::decode(&stored.payload) {
            Ok(Up::Reported(reported)) if reported.uid == uid && stored.node == node => {
                Some(reported)
            }
            _ => None,
        }
    }

    /// Forgets a device. True if there was anything to forget.
    pub(crate) fn forget(&self, device: &DeviceName) -> bool {
        let mut inner = lock(&self.0);
        inner.refused.remove(device);
        inner.take(device).is_some()
    }

    /// Bytes of all reports.
    pub(crate) fn bytes(&self) -> usize {
        lock(&self.0).total
    }
}

impl Inner {
    fn put(&mut self, device: DeviceName, kept: Kept) -> Option<Kept> {
        let former = self.take(&device);
        let bytes = kept.stored.payload.len();
        self.total += bytes;
        *self.bytes.entry(kept.stored.node.clone()).or_default() += bytes;
        self.reports.insert(device, kept);
        former
    }

    fn take(&mut self, device: &DeviceName) -> Option<Kept> {
        let former = self.reports.remove(device)?;
        let bytes = former.stored.payload.len();
        self.total -= bytes;
        if let hash_map::Entry::Occupied(mut of_node) = self.bytes.entry(former.stored.node.clone())
        {
            *of_node.get_mut() -= bytes;
            if *of_node.get() == 0 {
                of_node.remove();
            }
        }
        Some(former)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(number: usize) -> DeviceName {
        DeviceName::new("default", &format!("d{number}")).unwrap()
    }

    #[test]
    fn what_all_reports_take_is_bounded_by_report_and_by_node() {
        let reports = Reports::default();
        let large = Bytes::from(vec![0; BYTES]);
        assert_eq!(
            reports.admit(&device(0), "a", BYTES + 1),
            Err(Refused::TooLarge(BYTES + 1))
        );
        let mut count = 0;
        while reports.admit(&device(count), "a", BYTES).is_ok() {
            reports.keep(device(count), "a", large.clone(), 1);
            count += 1;
        }
        assert_eq!(count * BYTES, BYTES_OF_A_NODE);
        assert_eq!(
            reports.admit(&device(count), "a", BYTES),
            Err(Refused::NodeFull)
        );
        assert_eq!(
            reports.admit(&device(0), "a", BYTES),
            Ok(()),
            "in its place"
        );
        assert_eq!(reports.admit(&device(count), "b", BYTES), Ok(()));
        // A device that moves takes its bytes along, one that goes gives them back.
        reports.keep(device(0), "b", Bytes::from_static(b"x"), 1);
        assert_eq!(reports.admit(&device(count), "a", BYTES), Ok(()));
        for number in 0..count {
            assert!(reports.forget(&device(number)));
        }
        assert_eq!(reports.bytes(), 0);
        assert!(lock(&reports.0).bytes.is_empty());
    }

    #[test]
    fn a_refusal_stands_until_a_report_is_taken() {
        let reports = Reports::default();
        assert!(reports.refuse(&device(1), Refused::Full));
        assert!(!reports.refuse(&device(1), Refused::Full), "known");
        assert_eq!(reports.refused(&device(1)), Some(Refused::Full));
        assert!(reports.keep(device(1), "a", Bytes::new(), 7));
        assert!(!reports.keep(device(1), "a", Bytes::new(), 7), "no news");
        assert_eq!(reports.refused(&device(1)), None);
    }
}
