//! Records for the hub, of either lane, and how much of them waits.

/// What may happen to a record while it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordClass {
    /// Only the latest of its key counts: it replaces one that still waits.
    Latest(String),
    /// Each counts, up to the budget; then the oldest are dropped and counted.
    /// Goes on a lane of its own.
    Telemetry,
    /// Each counts, always.
    Confirmation,
}

/// A record for the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// What may happen to it while it waits.
    pub class: RecordClass,
    /// The encoded record; the store does not look into it.
    pub payload: Vec<u8>,
}

/// A record that is being handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRecord {
    /// Its number on its lane, never used twice within an [`StoreHandle::epoch`](super::StoreHandle::epoch);
    /// gapless from 1 on where it is live.
    pub sequence: u64,
    /// The encoded record.
    pub payload: Vec<u8>,
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
