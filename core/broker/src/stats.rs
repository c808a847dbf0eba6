//! What the broker counts.

/// Numbers since start, and what there is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections now.
    pub connections: u64,
    /// Sessions now, those of clients that are away among them.
    pub sessions: u64,
    /// Subscriptions now.
    pub subscriptions: u64,
    /// Retained messages now.
    pub retained: u64,
    /// Bytes of memory that are counted against the bound.
    pub memory_bytes: u64,
    /// Bytes on the disk that are counted against the bound.
    pub disk_bytes: u64,
    /// Messages that clients published.
    pub received: u64,
    /// Messages sent to clients.
    pub sent: u64,
    /// Messages that a client did not get since there was no room for them.
    pub dropped: u64,
    /// Messages that were refused to who published them.
    pub refused: u64,
    /// Connections and logins that were refused.
    pub rejected: u64,
}
