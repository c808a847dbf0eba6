//! A disk that is memory, and never tears a batch.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::super::{Batch, Change, Restored, RestoredEntry, RestoredSession};
use crate::{
    codec::{Content, QoS},
    shelf::{MessageId, Row},
    subscriptions::Options,
};

#[derive(Debug, Clone)]
struct Kept {
    client: Arc<str>,
    user: Option<Arc<str>>,
    expiry: Duration,
    left: Option<Duration>,
    received: Vec<u16>,
}

#[derive(Debug, Clone)]
struct Queued {
    row: Option<Row>,
    id: Option<u16>,
    qos: QoS,
    retain: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    sessions: BTreeMap<u64, Kept>,
    filters: BTreeMap<(u64, Arc<str>), Options>,
    messages: BTreeMap<Row, (Content, QoS)>,
    queue: BTreeMap<(u64, u64), Queued>,
    retained: BTreeMap<Arc<str>, Row>,
}

impl Disk {
    pub(super) fn write(&mut self, batch: &Batch) {
        for change in batch {
            self.apply(change.clone());
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::EndSession(key) => {
                self.sessions.remove(&key);
                self.filters.retain(|(session, _), _| *session != key);
                self.queue.retain(|(session, _), _| *session != key);
            }
            Change::SaveSession {
                key,
                client,
                user,
                expiry,
                left,
                received,
            } => {
                let kept = Kept {
                    client,
                    user,
                    expiry,
                    left,
                    received,
                };
                self.sessions.insert(key, kept);
            }
            Change::SaveFilter {
                key,
                filter,
                options,
            } => {
                self.filters.insert((key, filter), options);
            }
            Change::DropFilter { key, filter } => {
                self.filters.remove(&(key, filter));
            }
            Change::SaveMessage {
                row, content, qos, ..
            } => {
                self.messages.insert(row, (content, qos));
            }
            Change::Queue {
                key,
                seq,
                row,
                id,
                qos,
                retain,
                ..
            } => {
                let queued = Queued {
                    row,
                    id,
                    qos,
                    retain,
                };
                self.queue.insert((key, seq), queued);
            }
            Change::Unqueue { key, seq } => {
                self.queue.remove(&(key, seq));
            }
            Change::Retain { topic, row, .. } => {
                self.retained.insert(topic, row);
            }
            Change::Unretain(topic) => {
                self.retained.remove(&topic);
            }
            Change::DropMessage(row) => {
                self.messages.remove(&row);
            }
        }
    }

    pub(super) fn load(&self, wanted: Vec<(MessageId, Row)>) -> Vec<(MessageId, Row, Content)> {
        let found = wanted.into_iter().filter_map(|(id, row)| {
            let (content, _) = self.messages.get(&row)?;
            Some((id, row, content.clone()))
        });
        found.collect()
    }

    /// Everything that is there is referred to by something.
    pub(super) fn has_orphans(&self) -> bool {
        let queued = |row: &Row| self.queue.values().any(|queued| queued.row == Some(*row));
        let retained = |row: &Row| self.retained.values().any(|kept| kept == row);
        self.messages
            .keys()
            .any(|row| !queued(row) && !retained(row))
            || self
                .queue
                .keys()
                .any(|(key, _)| !self.sessions.contains_key(key))
    }

    pub(super) fn restore(&self) -> Restored {
        let sessions = self.sessions.iter().map(|(key, kept)| RestoredSession {
            key: *key,
            client: Arc::clone(&kept.client),
            user: kept.user.clone(),
            expiry: kept.expiry,
            left: kept.left.unwrap_or(kept.expiry),
            received: kept.received.clone(),
            filters: self
                .filters
                .iter()
                .filter(|((session, _), _)| session == key)
                .map(|((_, filter), options)| (Arc::clone(filter), *options))
                .collect(),
            entries: self
                .queue
                .range((*key, 0)..(*key + 1, 0))
                .map(|((_, seq), queued)| RestoredEntry {
                    seq: *seq,
                    message: queued.row,
                    id: queued.id,
                    qos: queued.qos,
                    retain: queued.retain,
                    identifiers: Box::default(),
                })
                .collect(),
        });
        Restored {
            sessions: sessions.collect(),
            messages: self
                .messages
                .iter()
                .map(|(row, (content, qos))| (*row, content.size(), *qos, None))
                .collect(),
            retained: self
                .retained
                .iter()
                .map(|(topic, row)| (Arc::clone(topic), *row, false))
                .collect(),
            next_row: self.messages.keys().max().copied().unwrap_or(0),
            next_key: self.sessions.keys().max().copied().unwrap_or(0),
        }
    }
}
