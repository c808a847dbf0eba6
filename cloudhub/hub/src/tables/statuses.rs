//! The devices whose status must be looked at, and what was written.
//!
//! Marked by whoever changes what a status is made of (watches, sessions, node
//! writer); the watch of DeviceStatus tells which there are. Read by the status
//! writer alone.

mod pace;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use longshore_link::ObjectKey;
use longshore_types::DeviceName;
use tokio::sync::Notify;

use super::lock;
use crate::kinds::device_name;
use pace::{Need, Next, Pace};

/// The devices whose status must be looked at.
#[derive(Debug)]
pub(crate) struct Statuses {
    inner: Mutex<Inner>,
    wake: Notify,
}

#[derive(Debug)]
struct Inner {
    pace: Pace,
    existing: HashSet<DeviceName>,
    /// What was written last, to leave out what would change nothing.
    written: HashMap<DeviceName, Written>,
}

/// A status by the fingerprints of its parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Prints {
    /// Of each part, by its key.
    pub(crate) parts: BTreeMap<String, u64>,
    /// Of what is left when the times of reading are left out.
    pub(crate) still: u64,
    /// Bytes of the whole.
    pub(crate) bytes: usize,
}

/// A write of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// What was written.
    pub(crate) content: Prints,
    /// Of the device that it is of.
    pub(crate) uid: String,
    /// The resource version that it became. A later one is somebody else's.
    pub(crate) version: u64,
    /// When.
    pub(crate) at: Instant,
}

/// What came of looking at a device's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was another one and is written.
    Written(Written),
    /// It is as it was written last, and has so many bytes.
    Unchanged(usize),
    /// The device is gone, and its status too.
    Gone,
    /// It could not be written and is tried again.
    Failed,
}

/// A device in the hands of the status writer. One that is dropped without an
/// outcome has failed, so that a panic does not hold its device for ever.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// The device.
    pub(crate) device: DeviceName,
    outcome: Outcome,
    statuses: Arc<Statuses>,
}

impl Attempt {
    /// This came of it.
    pub(crate) fn finish(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Outcome::Failed);
        self.statuses.done(self.device.clone(), outcome);
    }
}

/// What the status writer does next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Look at this device.
    Look(Attempt),
    /// Nothing before then, if ever, or before something is marked.
    Wait(Option<Instant>),
}

impl Statuses {
    /// Each device is written at most once an interval.
    pub(crate) fn new(interval: Duration) -> Self {
        let inner = Inner {
            pace: Pace::new(interval),
            existing: HashSet::new(),
            written: HashMap::new(),
        };
        Self {
            inner: Mutex::new(inner),
            wake: Notify::new(),
        }
    }

    /// These devices' status may have to change.
    pub(crate) fn mark(&self, devices: impl IntoIterator<Item = DeviceName>) {
        self.mark_as(Need::Turn, devices);
    }

    /// Somebody waits for what is new of this device.
    pub(crate) fn mark_soon(&self, device: DeviceName) {
        self.mark_as(Need::Soon, [device]);
    }

    fn mark_as(&self, need: Need, devices: impl IntoIterator<Item = DeviceName>) {
        let now = Instant::now();
        let mut inner = lock(&self.inner);
        for device in devices {
            inner.pace.mark(device, need, now);
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// Number of devices that wait.
    pub(crate) fn pending(&self) -> usize {
        lock(&self.inner).pace.pending()
    }

    /// These are all DeviceStatuses that there are.
    pub(crate) fn existing(&self, names: HashSet<DeviceName>) {
        let mut inner = lock(&self.inner);
        let vanished: Vec<_> = inner.existing.difference(&names).cloned().collect();
        let news: Vec<_> = names.difference(&inner.existing).cloned().collect();
        for device in &vanished {
            inner.written.remove(device);
        }
        inner.existing = names;
        drop(inner);
        self.mark(vanished.into_iter().chain(news));
    }

    /// There is a DeviceStatus, of this resource version. If it is later than
    /// our last write, somebody else wrote: ours is written again.
    pub(crate) fn appeared(&self, device: Option<DeviceName>, version: u64) {
        let Some(device) = device else { return };
        let mut inner = lock(&self.inner);
        inner.existing.insert(device.clone());
        let foreign = inner
            .written
            .get(&device)
            .is_some_and(|written| version > written.version);
        if foreign {
            inner.written.remove(&device);
            drop(inner);
            self.mark([device]);
        }
    }

    /// A DeviceStatus is gone.
    pub(crate) fn vanished(&self, device: Option<DeviceName>) {
        if let Some(device) = device {
            let mut inner = lock(&self.inner);
            inner.existing.remove(&device);
            inner.written.remove(&device);
            drop(inner);
            self.mark([device]);
        }
    }

    /// Objects changed: the status of those that are devices may have to change.
    pub(crate) fn mark_objects<'a>(&self, keys: impl IntoIterator<Item = &'a ObjectKey>) {
        self.mark(keys.into_iter().filter_map(device_name));
    }

    /// Waits until something was marked since the last time.
    pub(crate) async fn marked(&self) {
        self.wake.notified().await;
    }

    /// Takes the device that is due, if one is.
    pub(crate) fn next(self: &Arc<Self>) -> Step {
        match lock(&self.inner).pace.next(Instant::now()) {
            Next::Ready(device) => Step::Look(Attempt {
                device,
                outcome: Outcome::Failed,
                statuses: Arc::clone(self),
            }),
            Next::At(at) => Step::Wait(Some(at)),
            Next::Idle => Step::Wait(None),
        }
    }

    /// Whether a device has a DeviceStatus.
    pub(crate) fn exists(&self, device: &DeviceName) -> bool {
        lock(&self.inner).existing.contains(device)
    }

    /// What was written last, unless somebody else wrote since.
    pub(crate) fn written(&self, device: &DeviceName) -> Option<Written> {
        lock(&self.inner).written.get(device).cloned()
    }

    fn done(&self, device: DeviceName, outcome: Outcome) {
        let now = Instant::now();
        let mut inner = lock(&self.inner);
        match outcome {
            Outcome::Written(written) => {
                let bytes = written.content.bytes;
                inner.written.insert(device.clone(), written);
                inner.existing.insert(device.clone());
                inner.pace.done(device, bytes, now);
            }
            Outcome::Unchanged(bytes) => inner.pace.done(device, bytes, now),
            Outcome::Gone => {
                inner.written.remove(&device);
                inner.existing.remove(&device);
                inner.pace.gone(device, now);
            }
            Outcome::Failed => {
                inner.written.remove(&device);
                inner.pace.failed(device, now);
            }
        }
        drop(inner);
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_without_an_outcome_is_tried_again() {
        let statuses = Arc::new(Statuses::new(Duration::ZERO));
        statuses.mark([DeviceName::new("default", "a").unwrap()]);
        let Step::Look(attempt) = statuses.next() else {
            panic!("it is due");
        };
        let before = Instant::now();
        drop(attempt);
        assert!(matches!(statuses.next(), Step::Wait(Some(at)) if at > before));
        assert_eq!(statuses.pending(), 1);
    }
}
