//! What the broker knows of one client, connected or not.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    codec::{QoS, Will},
    shelf::MessageId,
    subscriptions::Options,
};

/// Bytes that a session costs beside what it holds, roughly.
pub(crate) const COST: usize = 768;
/// … and a message that waits in it, …
pub(crate) const ENTRY: usize = 64;
/// … and a subscription, here and in the tree.
pub(crate) const SUBSCRIPTION: usize = 320;

/// A connection, by its place in the core.
pub(crate) type ConnectionId = usize;

/// A message that waits for a client, or is on its way to it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Numbers the entries of a session, in their order.
    pub(crate) seq: u64,
    /// None when only its release is left (QoS 2).
    pub(crate) message: Option<MessageId>,
    /// Of topic, properties and payload.
    pub(crate) size: usize,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) identifiers: Box<[u32]>,
    /// The bytes are in memory for it.
    pub(crate) live: bool,
    /// There is a row of it, or is about to be.
    pub(crate) stored: bool,
    /// The row is not as the entry is.
    pub(crate) dirty: bool,
}

/// A message of QoS 1 or 2 that was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) id: u16,
    pub(crate) entry: Entry,
    /// To be sent again, as the client came back.
    pub(crate) again: bool,
}

impl Sent {
    /// The client has it (PUBREC), and is told that it counts (PUBREL).
    pub(crate) fn is_released(&self) -> bool {
        self.entry.message.is_none()
    }
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Arc<str>,
    /// Whose it is: nobody else gets it by its name.
    pub(crate) user: Option<Arc<str>>,
    /// Its number on the disk, never given twice.
    pub(crate) key: u64,
    pub(crate) connection: Option<ConnectionId>,
    /// For how long it outlives its connection.
    pub(crate) expiry: Duration,
    /// When it is forgotten, while the client is away.
    pub(crate) ends: Option<Instant>,
    pub(crate) will: Option<(Instant, Will)>,
    pub(crate) queue: VecDeque<Entry>,
    pub(crate) sent: VecDeque<Sent>,
    /// QoS 2: what came and is not released.
    pub(crate) received: BTreeSet<u16>,
    /// The disk knows some of them.
    pub(crate) received_stored: bool,
    pub(crate) filters: HashMap<Arc<str>, Options>,
    /// Of all entries.
    pub(crate) bytes: usize,
    /// Of those whose bytes are in memory for this session.
    pub(crate) live: usize,
    /// Entries of QoS 0 in `queue`.
    pub(crate) zeros: usize,
    pub(crate) next_seq: u64,
    pub(crate) next_id: u16,
    /// It has a row on the disk, or is about to.
    pub(crate) stored: bool,
    /// Messages that it lost since it was told last.
    pub(crate) lost: u64,
}

impl Session {
    pub(crate) fn new(client: Arc<str>, user: Option<Arc<str>>, key: u64) -> Self {
        Self {
            client,
            user,
            key,
            connection: None,
            expiry: Duration::ZERO,
            ends: None,
            will: None,
            queue: VecDeque::new(),
            sent: VecDeque::new(),
            received: BTreeSet::new(),
            received_stored: false,
            filters: HashMap::new(),
            bytes: 0,
            live: 0,
            zeros: 0,
            next_seq: 1,
            next_id: 1,
            stored: false,
            lost: 0,
        }
    }

    /// Whether it outlives its connection.
    pub(crate) fn is_kept(&self) -> bool {
        !self.expiry.is_zero()
    }

    /// What it costs without its messages.
    pub(crate) fn cost(client: &str) -> usize {
        COST + client.len() * 2
    }

    /// A message for it; its number.
    pub(crate) fn push(&mut self, mut entry: Entry) -> u64 {
        entry.seq = self.next_seq;
        self.next_seq += 1;
        self.bytes += entry.size;
        self.live += if entry.live { entry.size } else { 0 };
        self.zeros += usize::from(entry.qos == QoS::AtMostOnce);
        self.queue.push_back(entry);
        self.next_seq - 1
    }

    /// The next one to send leaves the queue.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        self.take(0)
    }

    /// The one that goes when there is no room: the oldest of QoS 0, else the
    /// oldest that was not sent.
    pub(crate) fn pop_least(&mut self) -> Option<Entry> {
        let zero = (self.zeros > 0)
            .then(|| {
                self.queue
                    .iter()
                    .position(|entry| entry.qos == QoS::AtMostOnce)
            })
            .flatten();
        self.take(zero.unwrap_or(0))
    }

    /// All of QoS 0, for which nobody waits.
    pub(crate) fn take_zeros(&mut self) -> Vec<Entry> {
        if self.zeros == 0 {
            return Vec::new();
        }
        let all = std::mem::take(&mut self.queue).into_iter();
        let (zeros, rest): (Vec<_>, Vec<_>) = all.partition(|entry| entry.qos == QoS::AtMostOnce);
        self.queue = rest.into();
        self.zeros = 0;
        zeros.iter().for_each(|entry| self.uncount(entry));
        zeros
    }

    /// Takes an entry out of the queue by its number.
    pub(crate) fn remove(&mut self, seq: u64) -> Option<Entry> {
        let index = self
            .queue
            .binary_search_by_key(&seq, |entry| entry.seq)
            .ok()?;
        self.take(index)
    }

    fn take(&mut self, index: usize) -> Option<Entry> {
        let entry = self.queue.remove(index)?;
        self.zeros -= usize::from(entry.qos == QoS::AtMostOnce);
        self.uncount(&entry);
        if self.queue.is_empty() {
            // A burst leaves no room behind.
            self.queue.shrink_to(16);
        }
        Some(entry)
    }

    fn uncount(&mut self, entry: &Entry) {
        self.bytes -= entry.size;
        self.live -= if entry.live { entry.size } else { 0 };
    }

    /// An entry is on its way, as this packet.
    pub(crate) fn send(&mut self, id: u16, entry: Entry) {
        self.bytes += entry.size;
        self.live += if entry.live { entry.size } else { 0 };
        self.sent.push_back(Sent {
            id,
            entry,
            again: false,
        });
    }

    /// It arrived.
    pub(crate) fn arrived(&mut self, id: u16) -> Option<Entry> {
        let index = self.sent.iter().position(|sent| sent.id == id)?;
        let sent = self.sent.remove(index)?;
        self.uncount(&sent.entry);
        Some(sent.entry)
    }

    /// The client has it, and only its release is left (4.3.3); what is to be let
    /// go, and whether its bytes were in memory for it. `None` if there is no such.
    pub(crate) fn received(&mut self, id: u16) -> Option<Option<(MessageId, bool)>> {
        let index = self.sent.iter().position(|sent| sent.id == id)?;
        let entry = &mut self.sent[index].entry;
        let size = std::mem::take(&mut entry.size);
        let live = std::mem::take(&mut entry.live);
        let message = entry.message.take();
        self.sent[index].again = false;
        self.bytes -= size;
        self.live -= if live { size } else { 0 };
        Some(message.map(|message| (message, live)))
    }

    /// An id that no message on its way has.
    pub(crate) fn packet_id(&mut self) -> u16 {
        loop {
            let id = self.next_id;
            self.next_id = id.checked_add(1).unwrap_or(1);
            if id != 0 && !self.sent.iter().any(|sent| sent.id == id) {
                return id;
            }
        }
    }

    /// An entry by its number, wherever it is.
    pub(crate) fn entry(&mut self, seq: u64) -> Option<(&mut Entry, Option<u16>)> {
        if let Ok(index) = self.queue.binary_search_by_key(&seq, |entry| entry.seq) {
            return Some((&mut self.queue[index], None));
        }
        let sent = self.sent.iter_mut().find(|sent| sent.entry.seq == seq)?;
        Some((&mut sent.entry, Some(sent.id)))
    }

    /// Messages and bytes on their way.
    pub(crate) fn on_their_way(&self) -> (usize, usize) {
        let sent = self.sent.iter().filter(|sent| !sent.again);
        sent.fold((0, 0), |(count, bytes), sent| {
            (count + 1, bytes + sent.entry.size)
        })
    }
}
