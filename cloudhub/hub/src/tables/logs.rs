//! What each node should hold, by revision.
//!
//! Written by the watches, with what the catalog makes of their events; read
//! by the session of the node.
//!
//! # Contract
//!
//! Whoever keeps the logs elsewhere (so that a restarted hub goes on with them)
//! keeps this:
//!
//! - Before everything is listed there are no changes at all; then comes one
//!   [`LogChange::All`]. It tells the whole content of every log, so that what
//!   went while the hub was down goes now, and what is as it was gets no new
//!   revision. After it come only single changes, in their order.
//! - A revision that was read means the same for ever: what a session reads is
//!   either safe by then, or lost together with the epoch. A node that resumes
//!   from a revision which a hub handed out before it was killed must not miss
//!   what another history put in its place.
//! - Reading waits for nothing but a lock that is held for moments: a session
//!   reads between two messages.
//! - After a change that changed something, whoever [subscribed](Logs::subscribe)
//!   hears of it, once or more.

use std::{collections::HashMap, sync::Mutex};

use longshore_link::{ChangeLog, Content, Epoch, LogConfig, ObjectKey, Reading, SnapshotPart};
use tokio::sync::watch;

use super::lock;

/// A change of what nodes should hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LogChange {
    /// A node should hold this object, or, without content, hold it no more.
    One {
        /// The node.
        node: String,
        /// The object.
        key: ObjectKey,
        /// What it is now.
        content: Option<Content>,
    },
    /// The nodes should hold exactly this, and nodes that are not named nothing.
    All(HashMap<String, Vec<(ObjectKey, Content)>>),
}

/// The logs of all nodes. They live as long as this does, hence the epoch.
#[derive(Debug)]
pub(crate) struct Logs {
    epoch: Epoch,
    nodes: Mutex<HashMap<String, Log>>,
}

#[derive(Debug)]
struct Log {
    changes: ChangeLog,
    signal: watch::Sender<()>,
}

impl Logs {
    /// No node holds anything.
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            nodes: Mutex::default(),
        }
    }

    /// Identity of the logs: revisions of another epoch mean nothing here.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Takes changes, all before anybody reads again.
    pub(crate) fn apply(&self, changes: Vec<LogChange>) {
        let mut nodes = lock(&self.nodes);
        for change in changes {
            match change {
                LogChange::One { node, key, content } => {
                    let log = self.of(&mut nodes, &node);
                    let changed = match content {
                        Some(content) => log.changes.put(key, content),
                        None => log.changes.delete(&key),
                    };
                    log.tell(changed);
                }
                LogChange::All(mut all) => {
                    for node in nodes.keys() {
                        all.entry(node.clone()).or_default();
                    }
                    for (node, objects) in all {
                        let log = self.of(&mut nodes, &node);
                        let changed = log.changes.replace(objects);
                        log.tell(changed);
                    }
                }
            }
        }
    }

    /// Hears when a node's log changes.
    pub(crate) fn subscribe(&self, node: &str) -> watch::Receiver<()> {
        self.of(&mut lock(&self.nodes), node).signal.subscribe()
    }

    /// The changes after a revision, up to about `max_bytes` (one at least).
    pub(crate) fn read_after(&self, node: &str, revision: u64, max_bytes: usize) -> Reading {
        let mut nodes = lock(&self.nodes);
        let log = self.of(&mut nodes, node);
        log.changes.read_after(revision, max_bytes)
    }

    /// Objects after `cursor` in the order of their keys, up to about `max_bytes`.
    pub(crate) fn read_snapshot(
        &self,
        node: &str,
        cursor: Option<&ObjectKey>,
        max_bytes: usize,
    ) -> SnapshotPart {
        let mut nodes = lock(&self.nodes);
        let log = self.of(&mut nodes, node);
        log.changes.read_snapshot(cursor, max_bytes)
    }

    fn of<'a>(&self, nodes: &'a mut HashMap<String, Log>, node: &str) -> &'a mut Log {
        // Looked up first: the name is copied once in the log's life.
        if !nodes.contains_key(node) {
            let log = Log {
                changes: ChangeLog::new(self.epoch, LogConfig::default()),
                signal: watch::Sender::new(()),
            };
            nodes.insert(node.to_owned(), log);
        }
        nodes
            .get_mut(node)
            .unwrap_or_else(|| unreachable!("the log was just put there"))
    }
}

impl Log {
    fn tell(&self, changed: bool) {
        if changed {
            self.signal.send_replace(());
        }
    }
}

#[cfg(test)]
impl Logs {
    /// What a node should hold, as `Kind/name@version`.
    pub(crate) fn held(&self, node: &str) -> Vec<String> {
        let part = self.read_snapshot(node, None, usize::MAX);
        let shown = part.changes.into_iter().map(|change| {
            let version = change.content.map(|content| content.resource_version);
            let key = change.key;
            format!("{}/{}@{}", key.kind, key.name, version.unwrap_or_default())
        });
        shown.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey {
            kind: "Device".to_owned(),
            namespace: "default".to_owned(),
            name: name.to_owned(),
        }
    }

    fn content(version: u32) -> Content {
        Content {
            uid: "u".to_owned(),
            resource_version: version.to_string(),
            json: bytes::Bytes::from_static(b"{}"),
        }
    }

    fn put(node: &str, name: &str, version: u32) -> LogChange {
        LogChange::One {
            node: node.to_owned(),
            key: key(name),
            content: Some(content(version)),
        }
    }

    #[test]
    fn the_whole_content_changes_only_what_is_another() {
        let logs = Logs::new(Epoch(1));
        logs.apply(vec![
            put("n1", "a", 1),
            put("n1", "b", 1),
            put("n2", "c", 1),
        ]);
        let mut of_n1 = logs.subscribe("n1");
        let all = |version| {
            let objects = vec![(key("a"), content(1)), (key("b"), content(version))];
            vec![LogChange::All(HashMap::from([("n1".to_owned(), objects)]))]
        };
        logs.apply(all(1));
        assert!(!of_n1.has_changed().unwrap(), "all is as it was");
        assert!(logs.held("n2").is_empty(), "n2 is not named");
        logs.apply(all(2));
        assert!(of_n1.has_changed().unwrap());
        of_n1.mark_unchanged();
        let Reading::Changes { to, changes } = logs.read_after("n1", 2, usize::MAX) else {
            panic!("the log reaches back");
        };
        assert_eq!((to, changes.len()), (3, 1), "only b");
        logs.apply(vec![put("n1", "b", 2)]);
        assert!(!of_n1.has_changed().unwrap(), "it is held already");
    }
}
