//! The latest message of each topic, for who comes later.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use crate::{shelf::MessageId, topic};

/// Bytes that a retained message costs beside the message.
pub(crate) const COST: usize = 96;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) message: MessageId,
    /// Of topic and message.
    pub(crate) size: usize,
    /// By the owner of the broker, which no client takes the room of.
    pub(crate) own: bool,
}

/// Retained messages by topic.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    topics: BTreeMap<Arc<str>, Entry>,
    bytes: usize,
    memory: usize,
}

impl Retained {
    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    /// Of all messages.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the topics cost here.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    pub(crate) fn get(&self, topic: &str) -> Option<Entry> {
        self.topics.get(topic).copied()
    }

    /// The former one comes back.
    pub(crate) fn insert(&mut self, topic: Arc<str>, entry: Entry) -> Option<Entry> {
        self.bytes += entry.size;
        let length = topic.len();
        let former = self.topics.insert(topic, entry);
        match former {
            Some(former) => self.bytes -= former.size,
            None => self.memory += length + COST,
        }
        former
    }

    pub(crate) fn remove(&mut self, topic: &str) -> Option<Entry> {
        let entry = self.topics.remove(topic)?;
        self.bytes -= entry.size;
        self.memory -= topic.len() + COST;
        Some(entry)
    }

    /// Those that a filter means.
    pub(crate) fn matching(&self, filter: &str) -> Vec<(Arc<str>, Entry)> {
        let prefix = topic::literal(filter);
        let from = (Bound::Included(prefix), Bound::Unbounded);
        self.topics
            .range::<str, _>(from)
            .take_while(|(topic, _)| topic.starts_with(prefix))
            .filter(|(topic, _)| topic::matches(filter, topic))
            .map(|(topic, entry)| (Arc::clone(topic), *entry))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_finds_its_topics_and_bytes_are_those_that_are_there() {
        let mut retained = Retained::default();
        for (message, topic) in ["a", "a/b", "a/c/d", "ab", "b", "$x/a"].iter().enumerate() {
            let entry = Entry {
                message,
                size: 10,
                own: false,
            };
            retained.insert((*topic).into(), entry);
        }
        let found = |filter: &str| -> Vec<String> {
            let found = retained.matching(filter).into_iter();
            found.map(|(topic, _)| topic.to_string()).collect()
        };
        assert_eq!(found("a/#"), ["a", "a/b", "a/c/d"]);
        assert_eq!(found("a/+"), ["a/b"]);
        assert_eq!(found("+"), ["a", "ab", "b"]);
        assert_eq!(found("$x/#"), ["$x/a"]);
        assert_eq!(found("#").len(), 5);
        assert_eq!(retained.bytes(), 60);
        retained.remove("a");
        let large = Entry {
            message: 9,
            size: 50,
            own: false,
        };
        assert!(retained.insert("b".into(), large).is_some());
        assert_eq!((retained.bytes(), retained.len()), (90, 5));
    }
}
