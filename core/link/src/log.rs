//! What one node should hold, by revision.
//!
//! Not a list of events: for each object only its latest change is kept, so
//! that the log is never longer than the objects plus a bounded number of
//! deletions, and resuming after a week costs no more than after a minute.

use std::collections::{BTreeMap, HashMap};

use crate::{Change, Content, Epoch, ObjectKey, Reading, SnapshotPart};

/// Bounds of a log.
#[derive(Debug, Clone, Copy)]
pub struct LogConfig {
    /// So many deletions are remembered. An edge that was away for more gets a snapshot.
    pub deletions: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        // A deletion costs about 200 bytes; a node with more of them than this
        // while it was away is served as well by a snapshot.
        Self { deletions: 1024 }
    }
}

#[derive(Debug)]
struct Entry {
    revision: u64,
    content: Option<Content>,
}

/// The objects of one node with the revision of each one's last change.
#[derive(Debug)]
pub struct ChangeLog {
    epoch: Epoch,
    config: LogConfig,
    head: u64,
    /// Resuming is possible from here on: no deletion after it was forgotten.
    floor: u64,
    entries: BTreeMap<ObjectKey, Entry>,
    by_revision: BTreeMap<u64, ObjectKey>,
    deletions: BTreeMap<u64, ObjectKey>,
}

impl ChangeLog {
    /// An empty log. The epoch must be new whenever the revisions begin anew.
    pub fn new(epoch: Epoch, config: LogConfig) -> Self {
        Self {
            epoch,
            config,
            head: 0,
            floor: 0,
            entries: BTreeMap::new(),
            by_revision: BTreeMap::new(),
            deletions: BTreeMap::new(),
        }
    }

    /// A log as it was kept: where it stood, and the last change of each object.
    /// What is given as content must be what was told under that revision.
    pub fn restored(
        epoch: Epoch,
        config: LogConfig,
        head: u64,
        floor: u64,
        entries: impl IntoIterator<Item = (ObjectKey, u64, Option<Content>)>,
    ) -> Self {
        let mut log = Self::new(epoch, config);
        (log.head, log.floor) = (head, floor);
        for (key, revision, content) in entries {
            log.insert(key, revision, content);
        }
        log.forget_deletions();
        log
    }

    /// Identity of the log.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The latest revision.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Number of objects, deletions not counted.
    pub fn len(&self) -> usize {
        self.entries.len() - self.deletions.len()
    }

    /// Whether the node should hold nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Resuming is possible from here on.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// What the node should hold.
    pub fn objects(&self) -> impl Iterator<Item = (&ObjectKey, &Content)> {
        let entries = self.entries.iter();
        entries.filter_map(|(key, entry)| Some((key, entry.content.as_ref()?)))
    }

    /// An object that the node should hold.
    pub fn get(&self, key: &ObjectKey) -> Option<&Content> {
        self.entries.get(key)?.content.as_ref()
    }

    /// Sets an object. True if that changed anything.
    pub fn put(&mut self, key: ObjectKey, content: Content) -> bool {
        if self.get(&key) == Some(&content) {
            return false;
        }
        self.record(key, Some(content));
        true
    }

    /// Takes an object away. True if it was there.
    pub fn delete(&mut self, key: &ObjectKey) -> bool {
        if self.get(key).is_none() {
            return false;
        }
        self.record(key.clone(), None);
        self.forget_deletions();
        true
    }

    fn forget_deletions(&mut self) {
        while self.deletions.len() > self.config.deletions {
            let Some((revision, key)) = self.deletions.pop_first() else {
                break;
            };
            self.entries.remove(&key);
            self.by_revision.remove(&revision);
            self.floor = revision;
        }
    }

    /// Makes the log hold exactly these objects. True if that changed anything.
    pub fn replace(&mut self, objects: impl IntoIterator<Item = (ObjectKey, Content)>) -> bool {
        let wanted: HashMap<_, _> = objects.into_iter().collect();
        let gone: Vec<_> = self
            .entries
            .iter()
            .filter(|(key, entry)| entry.content.is_some() && !wanted.contains_key(key))
            .map(|(key, _)| key.clone())
            .collect();
        let before = self.head;
        for key in gone {
            self.delete(&key);
        }
        for (key, content) in wanted {
            self.put(key, content);
        }
        self.head != before
    }

    /// The changes after a revision, up to about `max_bytes` (one at least).
    pub fn read_after(&self, revision: u64, max_bytes: usize) -> Reading {
        if revision > self.head || revision < self.floor {
            return Reading::Compacted;
        }
        let (mut changes, mut bytes, mut to) = (Vec::new(), 0, revision);
        for (revision, key) in self.by_revision.range(revision + 1..) {
            let change = Change {
                key: key.clone(),
                content: self.entries[key].content.clone(),
            };
            bytes += change.size();
            if !changes.is_empty() && bytes > max_bytes {
                return Reading::Changes { to, changes };
            }
            to = *revision;
            changes.push(change);
        }
        Reading::Changes {
            to: self.head.max(to),
            changes,
        }
    }

    /// Objects after `cursor` in the order of their keys, up to about `max_bytes`.
    pub fn read_snapshot(&self, cursor: Option<&ObjectKey>, max_bytes: usize) -> SnapshotPart {
        use std::ops::Bound::{Excluded, Unbounded};
        let (mut changes, mut bytes) = (Vec::<Change>::new(), 0);
        let lower = cursor.map_or(Unbounded, Excluded);
        for (key, entry) in self.entries.range::<ObjectKey, _>((lower, Unbounded)) {
            let Some(content) = &entry.content else {
                continue;
            };
            let change = Change {
                key: key.clone(),
                content: Some(content.clone()),
            };
            bytes += change.size();
            if !changes.is_empty() && bytes > max_bytes {
                return SnapshotPart {
                    head: self.head,
                    changes,
                    last: false,
                };
            }
            changes.push(change);
        }
        SnapshotPart {
            head: self.head,
            changes,
            last: true,
        }
    }

    fn record(&mut self, key: ObjectKey, content: Option<Content>) {
        self.head += 1;
        self.insert(key, self.head, content);
    }

    fn insert(&mut self, key: ObjectKey, revision: u64, content: Option<Content>) {
        let deleted = content.is_none();
        let entry = Entry { revision, content };
        if let Some(old) = self.entries.insert(key.clone(), entry) {
            self.by_revision.remove(&old.revision);
            self.deletions.remove(&old.revision);
        }
        self.by_revision.insert(revision, key.clone());
        if deleted {
            self.deletions.insert(revision, key);
        }
    }
}
