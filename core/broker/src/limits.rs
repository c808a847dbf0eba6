//! What all clients together may use.

use std::time::Duration;

/// The bounds of a broker. Each is on what a client can cause; together they say
/// how much memory and disk the broker can come to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Clients that are connected.
    pub connections: usize,
    /// Connections that have not said who they are.
    pub handshakes: usize,
    /// How long they may take for it.
    pub handshake: Duration,
    /// The largest packet of a client.
    pub packet: usize,
    /// Sessions, those of clients that are away among them.
    pub sessions: usize,
    /// A session that nobody came back for is forgotten after this.
    pub session_expiry: Duration,
    /// Subscriptions of one client, …
    pub client_subscriptions: usize,
    /// … and of all.
    pub subscriptions: usize,
    /// Messages of QoS 1 and 2 that are on the way to one client, or from it.
    pub inflight: u16,
    /// Messages that wait in memory for one client that is connected.
    pub queue: Bound,
    /// Messages that wait on the disk for one client that is away.
    pub away: Bound,
    /// Retained messages.
    pub retained: Bound,
    /// Bytes of memory for all of it: messages, sessions and subscriptions.
    pub memory: usize,
    /// Bytes on the disk for all of it.
    pub disk: usize,
    /// How long a login that failed waits for its answer.
    pub failed_login: Duration,
}

/// A number and the bytes of as many messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// So many.
    pub messages: usize,
    /// Topics, properties and payloads.
    pub bytes: usize,
}

/// Parts of memory, disk and retained messages that only the owner of the broker
/// uses: one in so many.
pub(crate) const RESERVE: usize = 8;

const MIB: usize = 1 << 20;

impl Default for Limits {
    /// For a machine with 256 MB of memory that has other things to do.
    fn default() -> Self {
        Self {
            connections: 256,
            handshakes: 64,
            handshake: Duration::from_secs(10),
            // Room for a file, not for filling the memory.
            packet: MIB,
            sessions: 1000,
            session_expiry: Duration::from_secs(7 * 24 * 3600),
            client_subscriptions: 10_000,
            subscriptions: 20_000,
            inflight: 64,
            queue: Bound {
                messages: 20_000,
                bytes: 4 * MIB,
            },
            away: Bound {
                messages: 20_000,
                bytes: 16 * MIB,
            },
            retained: Bound {
                messages: 10_000,
                bytes: 32 * MIB,
            },
            memory: 32 * MIB,
            disk: 64 * MIB,
            failed_login: Duration::from_secs(1),
        }
    }
}

impl Limits {
    /// What of a bound those may use who do not own the broker.
    pub(crate) fn shared(bound: usize, own: bool) -> usize {
        if own { bound } else { bound - bound / RESERVE }
    }
}
