//! The newest state of what was written last, in memory: who changes an object again
//! needs no read of the file.

use std::collections::{HashMap, VecDeque};

use crate::{Key, Record};

/// So many entries more than needed before the order is made anew.
const SLACK: usize = 64;

/// A bounded number of bytes. Filled by the writer alone, in the order of its commits:
/// what is found here is never older than what was answered.
#[derive(Debug)]
pub(crate) struct Newest {
    records: HashMap<Key, Record>,
    /// Written last, last; with entries of what was written again since.
    order: VecDeque<(Key, u64)>,
    bytes: usize,
    limit: usize,
}

impl Newest {
    pub(crate) fn new(limit: usize) -> Newest {
        Newest {
            records: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            limit,
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Record> {
        self.records.get(key)
    }

    pub(crate) fn put(&mut self, key: Key, record: Record) {
        self.remove(&key);
        self.bytes += record.json.len();
        self.order.push_back((key.clone(), record.revision));
        self.records.insert(key, record);
        while self.bytes > self.limit
            && let Some((key, revision)) = self.order.pop_front()
        {
            if self.is(&key, revision) {
                self.remove(&key);
            }
        }
        if self.order.len() > 2 * self.records.len() + SLACK {
            let mut order = std::mem::take(&mut self.order);
            order.retain(|(key, revision)| self.is(key, *revision));
            self.order = order;
        }
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        if let Some(record) = self.records.remove(key) {
            self.bytes -= record.json.len();
        }
    }

    fn is(&self, key: &Key, revision: u64) -> bool {
        let record = self.records.get(key);
        record.is_some_and(|record| record.revision == revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key {
            resource: "pods".into(),
            namespace: String::new(),
            name: name.to_owned(),
        }
    }

    fn record(revision: u64, size: usize) -> Record {
        Record {
            revision,
            name: String::new(),
            namespace: String::new(),
            json: vec![b'x'; size].into(),
        }
    }

    #[test]
    fn what_was_written_last_stays() {
        let mut newest = Newest::new(100);
        newest.put(key("a"), record(1, 40));
        newest.put(key("b"), record(2, 40));
        newest.put(key("a"), record(3, 40));
        newest.put(key("c"), record(4, 40));
        let found = |name: &str| newest.get(&key(name)).map(|record| record.revision);
        assert_eq!(
            (found("a"), found("b"), found("c")),
            (Some(3), None, Some(4))
        );
        newest.put(key("d"), record(5, 1_000));
        assert_eq!((newest.bytes, newest.records.len()), (0, 0));
        newest.put(key("a"), record(6, 10));
        newest.remove(&key("a"));
        assert!(newest.get(&key("a")).is_none());
    }

    #[test]
    fn the_order_does_not_grow_with_the_writes() {
        let mut newest = Newest::new(1_000);
        newest.put(key("still"), record(1, 10));
        for revision in 2..10_000 {
            newest.put(key("busy"), record(revision, 10));
        }
        assert_eq!((newest.bytes, newest.records.len()), (20, 2));
        assert!(newest.order.len() < 100, "{}", newest.order.len());
    }
}
