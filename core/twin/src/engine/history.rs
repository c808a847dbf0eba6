//! What was reported of properties with `report.history`, on its way to the
//! hub: collected for a moment, so that a record carries many samples.
//!
//! While there is a link, a sample waits for one second at most. Without one
//! nobody could read it sooner, and ten seconds make fewer and larger records
//! for the flash. A power cut costs what waits here and no more. What grows too
//! large goes at once: nothing is dropped for want of room.

use std::collections::BTreeMap;

use longshore_types::{DeviceName, DeviceSamples, PropertySample, Value};

/// How long a device's first sample waits for others while there is a link.
const LINKED_MS: u64 = 1_000;
/// The same without a link.
const OFFLINE_MS: u64 = 10_000;
/// A record that is larger goes at once; it fits into one frame of the link.
const RECORD_BYTES: usize = 24 * 1024;
/// All of them go at once when they are larger together.
const TOTAL_BYTES: usize = 1024 * 1024;
/// What a sample has beside a text or bytes, on the wire.
const SAMPLE_BYTES: usize = 24;
/// A text or bytes that are larger cannot be a sample: its record would not fit
/// into a frame of the link, and would block what comes after it for good.
pub(super) const MOST_VALUE_BYTES: usize = 1024 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct History {
    /// There is a hub to send them to.
    wanted: bool,
    linked: bool,
    waiting: BTreeMap<u32, Waiting>,
    bytes: usize,
    /// When the first of what waits came; none when nothing waits.
    oldest_ms: Option<u64>,
    ready: Vec<DeviceSamples>,
}

/// Samples of one device.
#[derive(Debug)]
struct Waiting {
    since_ms: u64,
    bytes: usize,
    batch: DeviceSamples,
}

impl History {
    pub(super) fn new(wanted: bool) -> Self {
        Self {
            wanted,
            ..Self::default()
        }
    }

    /// Whether anybody would get what is added.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether there is a link now: records are rarer without.
    pub(super) fn set_linked(&mut self, linked: bool) {
        self.linked = linked;
    }

    /// Takes samples of a device, in their order.
    pub(super) fn add(
        &mut self,
        id: u32,
        (device, uid): (&DeviceName, &str),
        samples: impl Iterator<Item = PropertySample>,
        now_ms: u64,
    ) {
        // The same slot, another object of the device's name.
        if self.waiting.get(&id).is_some_and(|w| w.batch.uid != uid) {
            self.close(id);
        }
        for sample in samples {
            let waiting = self.waiting.entry(id).or_insert_with(|| Waiting {
                since_ms: now_ms,
                bytes: 0,
                batch: DeviceSamples {
                    device: device.clone(),
                    uid: uid.to_owned(),
                    samples: Vec::new(),
                },
            });
            self.oldest_ms.get_or_insert(now_ms);
            let bytes = SAMPLE_BYTES + size(sample.value.as_ref());
            waiting.bytes += bytes;
            self.bytes += bytes;
            waiting.batch.samples.push(sample);
            if waiting.bytes >= RECORD_BYTES {
                self.close(id);
            } else if self.bytes >= TOTAL_BYTES {
                self.close_all();
            }
        }
    }

    /// What has waited long enough is ready.
    pub(super) fn tick(&mut self, now_ms: u64) {
        let wait = if self.linked { LINKED_MS } else { OFFLINE_MS };
        let is_due = |since_ms: u64| now_ms >= since_ms + wait;
        if !self.oldest_ms.is_some_and(is_due) {
            return;
        }
        let due = self.waiting.iter().filter(|(_, w)| is_due(w.since_ms));
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.close(id);
        }
        self.oldest_ms = self.waiting.values().map(|w| w.since_ms).min();
    }

    /// When the first of what waits has waited long enough; at once where
    /// something is ready.
    pub(super) fn next(&self) -> Option<u64> {
        if !self.ready.is_empty() {
            return Some(0);
        }
        let wait = if self.linked { LINKED_MS } else { OFFLINE_MS };
        self.oldest_ms.map(|since| since + wait)
    }

    /// What waits of a device is ready; nothing more may come.
    pub(super) fn close(&mut self, id: u32) {
        if let Some(waiting) = self.waiting.remove(&id) {
            self.bytes -= waiting.bytes;
            self.ready.push(waiting.batch);
        }
    }

    /// Everything that waits is ready.
    pub(super) fn close_all(&mut self) {
        let all = std::mem::take(&mut self.waiting).into_values();
        self.ready.extend(all.map(|waiting| waiting.batch));
        self.bytes = 0;
        self.oldest_ms = None;
    }

    /// Gives what is ready; of each device in the order of its samples.
    pub(super) fn take(&mut self) -> Vec<DeviceSamples> {
        std::mem::take(&mut self.ready)
    }

    /// Samples that were not given yet.
    pub(super) fn len(&self) -> usize {
        let waiting = self.waiting.values().map(|waiting| &waiting.batch);
        waiting
            .chain(&self.ready)
            .map(|batch| batch.samples.len())
            .sum()
    }
}

/// Bytes of a value that may have any length.
pub(super) fn size(value: Option<&Value>) -> usize {
    match value {
        Some(Value::String(text)) => text.len(),
        Some(Value::Bytes(bytes)) => bytes.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
