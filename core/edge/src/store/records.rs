//! Records for the hub, of either lane, and how much of them waits.

use bytes::Bytes;

/// A record that is being handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRecord {
    /// Its number on its lane, rising and never used twice within an
    /// [`StoreHandle::epoch`](super::StoreHandle::epoch).
    pub sequence: u64,
    /// The encoded record.
    pub payload: Bytes,
}

/// How much waits for the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxSize {
    /// Records, handed out or not.
    pub records: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Telemetry dropped since start because the budget was used up.
    pub dropped: u64,
}

impl OutboxSize {
    /// A record of so many bytes waits no more.
    pub(super) fn forget(&mut self, length: i64) {
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(length as u64);
    }
}

/// Whether a payload may follow so many others: the first always, so that
/// nothing is too large to go.
pub(super) fn fits(max_records: usize, max_bytes: usize) -> impl FnMut(&[u8], usize) -> bool {
    let mut bytes = 0;
    move |payload, count| {
        bytes += payload.len();
        count == 0 || (count < max_records && bytes <= max_bytes)
    }
}
