//! The bounds of all of it together, and who gives way.
//!
//! Where there is no room for another message, the session that holds most gives
//! the oldest that it has not sent, those of QoS 0 first. Where that is not enough,
//! the message is refused to who publishes it.

use std::time::Instant;

use super::Core;
use crate::{
    codec::code,
    limits::{Bound, Limits},
    session::{ENTRY, Session},
    shelf,
    subscriptions::SessionId,
};

/// What one session gives before the next one is looked for.
const AT_ONCE: usize = 32;

impl Core {
    /// Bytes of memory that are used.
    pub(crate) fn memory(&self) -> usize {
        self.shelf.memory() + self.overhead + self.retained.memory()
    }

    /// Bytes on the disk that are used, or about to be.
    pub(crate) fn disk(&self) -> usize {
        self.shelf.disk() + self.entries_on_disk * ENTRY
    }

    /// Makes room in memory for so many bytes more; false when there is none.
    pub(super) fn make_room(&mut self, bytes: usize, own: bool, now: Instant) -> bool {
        let bound = Limits::shared(self.limits.memory, own);
        if bytes > bound {
            return false;
        }
        let mut parted = false;
        while self.memory() + bytes > bound {
            let weight = |session: &Session| {
                session.live
                    + if session.queue.is_empty() {
                        0
                    } else {
                        session.queue.len() * ENTRY
                    }
            };
            let most = self
                .sessions
                .iter()
                .filter(|(_, session)| !session.queue.is_empty())
                .max_by_key(|(_, session)| weight(session))
                .map(|(id, _)| id);
            match most {
                Some(id) => {
                    for _ in 0..AT_ONCE {
                        if !self.drop_least(id) || self.memory() + bytes <= bound {
                            break;
                        }
                    }
                }
                None => {
                    if parted || !self.part_with_largest(now) {
                        return false;
                    }
                    parted = true;
                }
            }
        }
        true
    }

    /// Ends the connection whose client has most on the way and takes its time.
    fn part_with_largest(&mut self, now: Instant) -> bool {
        let sessions = self.sessions.iter();
        let largest = sessions
            .filter(|(_, session)| session.live > 0)
            .max_by_key(|(_, session)| session.live);
        let Some((_, session)) = largest else {
            return false;
        };
        let Some(connection) = session.connection else {
            return false;
        };
        tracing::warn!(
            client = &*session.client,
            bytes = session.live,
            "MQTT client disconnected: it acknowledges nothing and the memory of bus.limits is used up"
        );
        self.close(connection, code::QUOTA, now);
        true
    }

    /// Makes room on the disk for so many bytes more; false when there is none.
    pub(super) fn make_room_on_disk(&mut self, bytes: usize, own: bool) -> bool {
        let bound = Limits::shared(self.limits.disk, own);
        if bytes > bound {
            return false;
        }
        while self.disk() + bytes > bound {
            let away = self
                .sessions
                .iter()
                .filter(|(_, session)| !session.queue.is_empty() && session.connection.is_none());
            let most = away
                .max_by_key(|(_, session)| session.bytes)
                .map(|(id, _)| id);
            let Some(id) = most else {
                return false;
            };
            for _ in 0..AT_ONCE {
                if !self.drop_least(id) || self.disk() + bytes <= bound {
                    break;
                }
            }
        }
        true
    }

    /// Whether a topic's retained message may be of this size.
    pub(super) fn may_retain(&mut self, topic: &str, size: usize, own: bool) -> bool {
        let former = self.retained.get(topic).map(|entry| entry.size);
        let Bound { messages, bytes } = self.limits.retained;
        // What is there may be replaced by what is no larger, also when all is full.
        let many = former.is_none() && self.retained.len() >= Limits::shared(messages, own);
        let former = former.unwrap_or(0);
        let large =
            size > former && self.retained.bytes() - former + size > Limits::shared(bytes, own);
        let fits = !many && !large;
        let needed = size + shelf::COST;
        fits && self.make_room_on_disk(needed, own)
            && self.memory() + crate::retained::COST + topic.len()
                <= Limits::shared(self.limits.memory, own)
    }

    /// Makes room in one session's queue; false when the message is too large for it.
    pub(super) fn make_room_in(&mut self, id: SessionId, size: usize, live: bool) -> bool {
        let Some(session) = self.sessions.get(id) else {
            return false;
        };
        let bound = match session.connection {
            Some(_) => self.limits.queue,
            None => self.limits.away,
        };
        let size = if live || session.connection.is_none() {
            size
        } else {
            0
        };
        if size > bound.bytes || bound.messages == 0 {
            self.note_lost(id);
            return false;
        }
        loop {
            let Some(session) = self.sessions.get(id) else {
                return false;
            };
            let bytes = match session.connection {
                Some(_) => session.live,
                None => session.bytes,
            };
            if session.queue.len() < bound.messages && bytes + size <= bound.bytes {
                return true;
            }
            if !self.drop_least(id) {
                self.note_lost(id);
                return false;
            }
        }
    }

    /// A session that has just been left keeps no more than one that is away.
    pub(super) fn keep_away_bound(&mut self, id: SessionId) {
        let Bound { messages, bytes } = self.limits.away;
        let over = |session: &Session| session.queue.len() > messages || session.bytes > bytes;
        while self.sessions.get(id).is_some_and(over) && self.drop_least(id) {}
        self.make_room_on_disk(0, true);
    }

    fn drop_least(&mut self, id: SessionId) -> bool {
        let entry = self.sessions.get_mut(id).and_then(Session::pop_least);
        let Some(entry) = entry else {
            return false;
        };
        self.drop_entry(id, &entry);
        self.note_lost(id);
        true
    }

    /// A session lost a message. It is told when it happens for the first time, and
    /// when as many again are lost.
    pub(super) fn note_lost(&mut self, id: SessionId) {
        self.stats.dropped += 1;
        if let Some(session) = self.sessions.get_mut(id) {
            session.lost += 1;
            if session.lost.is_power_of_two() {
                tracing::warn!(
                    client = &*session.client,
                    lost = session.lost,
                    away = session.connection.is_none(),
                    "MQTT client loses messages: more wait for it than bus.limits allows"
                );
            }
        }
    }
}
