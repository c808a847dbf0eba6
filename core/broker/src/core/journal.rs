//! What is to be written to the disk, and who waits for it.
//!
//! The journal holds which things changed, not what they were: a batch is made of
//! what is so when it is taken, so that what came and went in between costs
//! nothing. One batch is under way at a time.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Answer, Core};
use crate::{
    codec::{AckKind, Content, QoS, Version, code},
    session::ConnectionId,
    shelf::{MessageId, Row},
    subscriptions::{Options, SessionId},
};

/// Bytes that may wait for the disk before clients are read no further.
const BACKLOG: usize = 4 << 20;

/// An entry of a session; the key tells whether it still is the same session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) id: SessionId,
    pub(crate) key: u64,
    pub(crate) seq: u64,
}

/// One change of the file.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// A session with all that is its.
    EndSession(u64),
    SaveSession {
        key: u64,
        client: Arc<str>,
        user: Option<Arc<str>>,
        expiry: Duration,
        /// Until it ends, while its client is away.
        left: Option<Duration>,
        received: Vec<u16>,
    },
    SaveFilter {
        key: u64,
        filter: Arc<str>,
        options: Options,
    },
    DropFilter {
        key: u64,
        filter: Arc<str>,
    },
    SaveMessage {
        row: Row,
        content: Content,
        qos: QoS,
        left: Option<Duration>,
    },
    Queue {
        key: u64,
        seq: u64,
        row: Option<Row>,
        id: Option<u16>,
        qos: QoS,
        retain: bool,
        identifiers: Box<[u32]>,
    },
    Unqueue {
        key: u64,
        seq: u64,
    },
    Retain {
        topic: Arc<str>,
        row: Row,
        own: bool,
    },
    Unretain(Arc<str>),
    DropMessage(Row),
}

/// What is written in one transaction.
pub(crate) type Batch = Vec<Change>;

/// What changed.
#[derive(Debug, Default)]
struct Pending {
    ended: Vec<u64>,
    sessions: BTreeSet<SessionId>,
    filters: Vec<(u64, Arc<str>, Option<Options>)>,
    /// And whether whoever published it is told if it fails.
    entries: Vec<(Place, bool)>,
    retained: HashSet<Arc<str>>,
    unqueued: Vec<(u64, u64)>,
    gone: Vec<Row>,
    awaited: BTreeSet<ConnectionId>,
    bytes: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// The number of the batch that is taken next, from 1 on.
    number: u64,
    pending: Pending,
    writing: Option<Writing>,
}

/// A batch that is under way, to be done again if it fails.
#[derive(Debug)]
struct Writing {
    pending: Pending,
    messages: Vec<(MessageId, Row)>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.ended.is_empty()
            && self.sessions.is_empty()
            && self.filters.is_empty()
            && self.entries.is_empty()
            && self.retained.is_empty()
            && self.unqueued.is_empty()
            && self.gone.is_empty()
    }
}

impl Journal {
    /// The batch that what changes now is in.
    pub(super) fn next(&self) -> u64 {
        self.number + 1
    }

    /// The batch that all that changed until now is in; `None` when all of it is on
    /// the disk.
    pub(super) fn last(&self) -> Option<u64> {
        if !self.pending.is_empty() {
            return Some(self.next());
        }
        self.writing.is_some().then_some(self.number)
    }

    pub(super) fn has_room(&self) -> bool {
        let writing = self.writing.as_ref();
        self.pending.bytes + writing.map_or(0, |writing| writing.pending.bytes) < BACKLOG
    }

    pub(super) fn ended(&mut self, key: u64) {
        self.pending.ended.push(key);
    }

    pub(super) fn session(&mut self, id: SessionId) {
        self.pending.sessions.insert(id);
    }

    pub(super) fn filter(&mut self, key: u64, filter: Arc<str>, options: Option<Options>) {
        self.pending.filters.push((key, filter, options));
    }

    pub(super) fn entry(&mut self, place: Place, size: usize, offered: bool) {
        self.pending.entries.push((place, offered));
        self.pending.bytes += size;
    }

    pub(super) fn retained(&mut self, topic: Arc<str>, size: usize) {
        self.pending.retained.insert(topic);
        self.pending.bytes += size;
    }

    pub(super) fn unqueue(&mut self, key: u64, seq: u64) {
        self.pending.unqueued.push((key, seq));
    }

    pub(super) fn gone(&mut self, row: Row) {
        self.pending.gone.push(row);
    }

    /// A connection waits for a batch: the one that is under way, or the next.
    pub(super) fn awaited(&mut self, connection: ConnectionId, batch: u64) {
        let pending = match &mut self.writing {
            Some(writing) if batch == self.number => &mut writing.pending,
            _ => &mut self.pending,
        };
        pending.awaited.insert(connection);
    }
}

impl Core {
    /// What is to be written; `None` when there is nothing, or a batch is under way.
    pub(crate) fn batch(&mut self, now: Instant) -> Option<Batch> {
        if self.journal.writing.is_some() {
            return None;
        }
        if self.journal.pending.is_empty() && self.journal.pending.awaited.is_empty() {
            return None;
        }
        let pending = std::mem::take(&mut self.journal.pending);
        self.journal.number += 1;
        let mut batch = Batch::new();
        let mut messages = Vec::new();
        batch.extend(pending.ended.iter().map(|key| Change::EndSession(*key)));
        for id in &pending.sessions {
            batch.extend(self.session_change(*id, now));
        }
        for (key, filter, options) in &pending.filters {
            let (key, filter) = (*key, Arc::clone(filter));
            batch.push(match options {
                Some(options) => Change::SaveFilter {
                    key,
                    filter,
                    options: *options,
                },
                None => Change::DropFilter { key, filter },
            });
        }
        for (place, _) in &pending.entries {
            self.entry_change(*place, &mut batch, &mut messages, now);
        }
        for topic in &pending.retained {
            match self.retained.get(topic) {
                Some(entry) => {
                    self.message_change(entry.message, &mut batch, &mut messages, now);
                    let row = self.shelf.get(entry.message).and_then(|kept| kept.row);
                    batch.extend(row.map(|row| Change::Retain {
                        topic: Arc::clone(topic),
                        row,
                        own: entry.own,
                    }));
                }
                None => batch.push(Change::Unretain(Arc::clone(topic))),
            }
        }
        let unqueued = pending.unqueued.iter();
        batch.extend(unqueued.map(|(key, seq)| Change::Unqueue {
            key: *key,
            seq: *seq,
        }));
        batch.extend(pending.gone.iter().map(|row| Change::DropMessage(*row)));
        self.journal.writing = Some(Writing { pending, messages });
        Some(batch)
    }

    fn session_change(&mut self, id: SessionId, now: Instant) -> Option<Change> {
        let session = self.sessions.get_mut(id)?;
        if !session.is_kept() && session.connection.is_none() {
            return None;
        }
        session.stored = true;
        session.received_stored = !session.received.is_empty();
        Some(Change::SaveSession {
            key: session.key,
            client: Arc::clone(&session.client),
            user: session.user.clone(),
            expiry: session.expiry,
            left: session.ends.map(|ends| ends.saturating_duration_since(now)),
            received: session.received.iter().copied().collect(),
        })
    }

    fn entry_change(
        &mut self,
        place: Place,
        batch: &mut Batch,
        messages: &mut Vec<(MessageId, Row)>,
        now: Instant,
    ) {
        let Some(session) = self.sessions.get_mut(place.id) else {
            return;
        };
        if session.key != place.key {
            return;
        }
        let Some((entry, id)) = session.entry(place.seq) else {
            return;
        };
        if !std::mem::take(&mut entry.dirty) {
            return;
        }
        if !std::mem::replace(&mut entry.stored, true) {
            self.entries_on_disk += 1;
        }
        let (message, qos, retain) = (entry.message, entry.qos, entry.retain);
        let identifiers = entry.identifiers.clone();
        if let Some(message) = message {
            self.message_change(message, batch, messages, now);
        }
        batch.push(Change::Queue {
            key: place.key,
            seq: place.seq,
            row: message.and_then(|message| self.shelf.get(message)?.row),
            id,
            qos,
            retain,
            identifiers,
        });
    }

    fn message_change(
        &mut self,
        message: MessageId,
        batch: &mut Batch,
        messages: &mut Vec<(MessageId, Row)>,
        now: Instant,
    ) {
        let Some(row) = self.shelf.writing(message) else {
            return;
        };
        messages.push((message, row));
        let Some(kept) = self.shelf.get(message) else {
            return;
        };
        let Some(content) = self.shelf.content(message) else {
            return;
        };
        batch.push(Change::SaveMessage {
            row,
            content: content.clone(),
            qos: kept.qos,
            left: kept
                .expires
                .map(|expires| expires.saturating_duration_since(now)),
        });
    }

    /// The batch is on the disk, or could not be written.
    pub(crate) fn batch_done(&mut self, done: bool, now: Instant) {
        let Some(Writing { pending, messages }) = self.journal.writing.take() else {
            return;
        };
        let number = self.journal.number;
        self.failing = !done;
        for (message, row) in messages {
            self.shelf.written(message, row, done);
        }
        let awaited = pending.awaited.clone();
        if !done {
            self.again(pending);
        }
        for connection in awaited {
            match done {
                true => self.keep_promise(connection, number),
                false => self.take_back(connection, number, now),
            }
            self.effects.wake.push(connection);
        }
        // Those that were read no further.
        let all = self.connections.iter();
        self.effects
            .wake
            .extend(all.map(|(connection, _)| connection));
    }

    /// The disk takes what is written again.
    pub(crate) fn storage_is_well(&mut self) {
        self.failing = false;
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.failing
    }

    /// What was not written is to be written, but for messages of QoS 1, whose
    /// publishers are told that they failed.
    fn again(&mut self, pending: Pending) {
        for (place, offered) in pending.entries {
            let session = self.sessions.get_mut(place.id);
            let Some(session) = session.filter(|session| session.key == place.key) else {
                continue;
            };
            if offered {
                if let Some(entry) = session.remove(place.seq) {
                    self.drop_entry(place.id, &entry);
                }
            } else if let Some((entry, _)) = session.entry(place.seq) {
                entry.dirty = true;
                let size = entry.size;
                self.journal.entry(place, size, false);
            }
        }
        let now = &mut self.journal.pending;
        now.sessions.extend(pending.sessions);
        now.retained.extend(pending.retained);
        now.ended.extend(pending.ended);
        now.unqueued.extend(pending.unqueued);
        now.gone.extend(pending.gone);
        // Their order counts, and these came first.
        let later = std::mem::replace(&mut now.filters, pending.filters);
        now.filters.extend(later);
    }

    fn keep_promise(&mut self, connection: ConnectionId, number: u64) {
        let Some(known) = self.connections.get_mut(connection) else {
            return;
        };
        for waiting in &mut known.answers {
            if waiting.batch == Some(number) {
                waiting.batch = None;
                known.unanswered -= 1;
            }
        }
    }

    /// Answers that cannot be given become refusals, or the end of the connection.
    fn take_back(&mut self, connection: ConnectionId, number: u64, now: Instant) {
        let Some(known) = self.connections.get_mut(connection) else {
            return;
        };
        let (version, session) = (known.version, known.session);
        let mut close = None;
        for waiting in &mut known.answers {
            if waiting.batch != Some(number) {
                continue;
            }
            waiting.batch = None;
            known.unanswered -= 1;
            match &mut waiting.answer {
                // One of QoS 2 is neither refused nor forgotten: others may have it
                // already, so that it must count once when it is sent again.
                Answer::Ack(ack) if ack.kind == AckKind::PubAck && version == Version::V5 => {
                    ack.code = code::QUOTA;
                    self.stats.refused += 1;
                }
                Answer::ConnAck(_) => close = Some(code::UNAVAILABLE),
                _ => close = close.or(Some(code::QUOTA)),
            }
        }
        match close {
            None => {}
            Some(code::UNAVAILABLE) => {
                if let Some(known) = self.connections.get_mut(connection) {
                    known.answers.clear();
                }
                self.detach(connection, false, now);
                if let Some(session) = session {
                    self.end(session, now);
                }
                self.reject(connection, code::UNAVAILABLE);
            }
            Some(reason) => {
                if let Some(known) = self.connections.get_mut(connection) {
                    // Nothing of what follows was promised either.
                    known.answers.clear();
                }
                self.close(connection, reason, now);
            }
        }
    }
}
