//! What is not on the disk yet.
//!
//! Two things wait here for the store, and they are not alike:
//!
//! - An **ask** of a client is not part of the twin before the store has it. It
//!   waits beside the state, so that a store that refuses leaves nothing to be
//!   undone: the former value stands, was served all the time, and the client
//!   hears why.
//! - A **fact** has happened: a device confirmed, an event is over, a property
//!   is gone. It cannot be refused, only be stored later, so only its key waits.
//!   The row is made of what is so when its turn comes; what was superseded
//!   meanwhile is never written.
//!
//! One [`Batch`] is with the store at a time, and what comes meanwhile is the
//! next one: so rows reach the disk in the order in which things happened, and
//! many share a commit.
//!
//! ```text
//! ask ──► filling ──begin──► under way ──end(Ok)──► part of the twin, answered
//! fact ─► dirty ────begin──►     │     ──end(Ok)──► may be told
//!           ▲                    └─────end(Err)─┬─► asks: refused
//!           └───────────────────────────────────┴── facts
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use longshore_types::{DeviceName, Value};

use crate::{desired::DesiredValue, outputs::RowKind, rules::Rules};

/// Asks that may wait; who has more waits before the engine.
const MOST_ASKS: usize = 1_024;
/// Facts of one batch, so that an answer does not wait behind all of them.
const MOST_FACTS: usize = 1_024;
/// Pause before facts are tried again that the store refused.
const PAUSE_MS: u64 = 1_000;

/// Whose row it is. By names: ids may lead elsewhere once the store has answered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) device: DeviceName,
    pub(super) kind: RowKind,
    pub(super) name: Arc<str>,
}

impl Key {
    /// Of a row in the store. None where the device's name is none.
    pub(super) fn of_row(kind: RowKind, device: &str, name: &str) -> Option<Self> {
        let (namespace, device) = device.split_once('/')?;
        Some(Self {
            device: DeviceName::new(namespace, device).ok()?,
            kind,
            name: name.into(),
        })
    }
}

/// What somebody asked for, checked.
#[derive(Debug)]
pub(super) struct Ask {
    /// The client of the update with this number hears what became of it.
    pub(super) number: u64,
    pub(super) device: u32,
    pub(super) name: DeviceName,
    pub(super) changes: Vec<Change>,
}

/// What an ask does to one property.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) point: u32,
    pub(super) property: Arc<str>,
    /// Those that it was checked by.
    pub(super) rules: Arc<Rules>,
    /// What a client measured, and when (ns since the epoch).
    pub(super) actual: Option<(Value, i64)>,
    pub(super) expected: Option<Box<DesiredValue>>,
}

/// What the store does as one.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// In the order in which they came.
    pub(super) asks: Vec<Ask>,
    /// Their rows; of two of one property the later one.
    pub(super) asked: BTreeMap<Key, String>,
    pub(super) facts: Vec<Key>,
    /// Devices that are gone.
    pub(super) forgotten: Vec<String>,
    /// Devices whose twins are with it, by id.
    pub(super) twins: Vec<u32>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Saving {
    filling: Batch,
    under_way: Option<Batch>,
    dirty: BTreeSet<Key>,
    forgotten: BTreeSet<String>,
    /// The store refused, and why; facts wait until then.
    refused: Option<(u64, Arc<str>)>,
}

impl Saving {
    /// Whether another ask may come.
    pub(super) fn has_room(&self) -> bool {
        self.filling.asks.len() < MOST_ASKS
    }

    /// Somebody asks; `rows` are what is to be kept of it.
    pub(super) fn ask(&mut self, ask: Ask, rows: impl Iterator<Item = (Key, String)>) {
        self.filling.asks.push(ask);
        self.filling.asked.extend(rows);
    }

    /// Something is so from now on.
    pub(super) fn fact(&mut self, key: Key) {
        self.dirty.insert(key);
    }

    /// What is on the disk is so: nothing of it waits.
    pub(super) fn settle(&mut self, key: &Key) {
        self.dirty.remove(key);
    }

    /// A device is gone, and all of its rows with it.
    pub(super) fn forget(&mut self, device: String) {
        self.dirty.retain(|key| key.device.as_str() != device);
        self.forgotten.insert(device);
    }

    /// Whether what is so of this key is yet to be stored.
    pub(super) fn is_dirty(&self, key: &Key) -> bool {
        self.dirty.contains(key)
    }

    /// Rows that are not on the disk.
    pub(super) fn len(&self) -> usize {
        let under_way = self.under_way.as_ref();
        let under_way = under_way.map_or(0, |batch| batch.asked.len() + batch.facts.len());
        self.filling.asked.len() + self.dirty.len() + under_way
    }

    /// Why the store takes nothing, if that is so.
    pub(super) fn refusal(&self) -> Option<&Arc<str>> {
        self.refused.as_ref().map(|(_, why)| why)
    }

    /// Whether the store may have something now.
    pub(super) fn is_free(&self) -> bool {
        self.under_way.is_none()
    }

    /// Whether it may have facts now, or is left alone for a while.
    pub(super) fn takes_facts(&self, now_ms: u64) -> bool {
        (self.refused.as_ref()).is_none_or(|(again_at, _)| now_ms >= *again_at)
    }

    /// When facts that wait may be tried again; none when nothing waits.
    pub(super) fn due(&self) -> Option<u64> {
        let waits = !(self.dirty.is_empty() && self.forgotten.is_empty());
        let again = self.refused.as_ref().map_or(0, |(again_at, _)| *again_at);
        (waits && self.is_free()).then_some(again)
    }

    /// What the store is to do next, beside the twins of these devices. None
    /// when there is nothing, or when it is busy.
    pub(super) fn begin(&mut self, twins: Vec<u32>, facts: bool) -> Option<&Batch> {
        if !self.is_free() {
            return None;
        }
        let mut batch = std::mem::take(&mut self.filling);
        batch.twins = twins;
        if facts {
            // A row that somebody asked for supersedes the fact; should the
            // store refuse it, the fact is still there.
            let free = |key: &&Key| !batch.asked.contains_key(*key);
            let keys = self.dirty.iter().filter(free).take(MOST_FACTS);
            batch.facts = keys.cloned().collect();
            for key in &batch.facts {
                self.dirty.remove(key);
            }
        }
        // A device may have been made anew under a name that is to be
        // forgotten: its rows must not go before that.
        if facts || !batch.asked.is_empty() || !batch.twins.is_empty() {
            batch.forgotten = std::mem::take(&mut self.forgotten).into_iter().collect();
        }
        let nothing = batch.asks.is_empty()
            && batch.facts.is_empty()
            && batch.twins.is_empty()
            && batch.forgotten.is_empty();
        if nothing {
            return None;
        }
        self.under_way = Some(batch);
        self.under_way.as_ref()
    }

    /// The store has answered. Facts that it refused are to be tried again.
    pub(super) fn end(&mut self, result: &Result<(), Arc<str>>, now_ms: u64) -> Option<Batch> {
        let batch = self.under_way.take()?;
        match result {
            Ok(()) => self.refused = None,
            Err(why) => {
                self.refused = Some((now_ms + PAUSE_MS, why.clone()));
                self.dirty.extend(batch.facts.iter().cloned());
                self.forgotten.extend(batch.forgotten.iter().cloned());
            }
        }
        Some(batch)
    }
}

#[cfg(test)]
mod tests;
