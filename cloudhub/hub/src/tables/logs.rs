//! What each node should hold, by revision.
//!
//! Written by the watches, with what the catalog makes of their events; read
//! by the session of the node.
//!
//! The revisions outlive the hub: `hub.db` holds what was told under each of
//! them, by its fingerprint. So a restarted hub compares what is listed with
//! what was told, gives new revisions to what is another, and an edge goes on
//! from where it stood.
//!
//! # Contract
//!
//! - Before everything is listed there are no changes at all; then comes one
//!   [`LogChange::All`]. It tells the whole content of every log, so that what
//!   went while the hub was down goes now, and what is as it was gets no new
//!   revision. After it come only single changes, in their order.
//! - A revision that was read means the same for ever: what is read is on the
//!   disk. A change waits in `pending` until [`Logs::keep`] has written it.
//! - Nothing may be read before the logs are [settled](Logs::settled).
//! - Reading waits for nothing but a lock that is held for moments: a session
//!   reads between two messages.
//! - After a change that changed something, whoever [subscribed](Logs::subscribe)
//!   hears of it, once or more.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use longshore_link::{ChangeLog, Content, Epoch, LogConfig, ObjectKey, Reading, SnapshotPart};
use tokio::sync::{Notify, watch};

use super::lock;
use crate::store::{Fingerprint, KeptLog, KeptLogs, LogRow, Store};

/// Between attempts to write what the database refused.
const RETRY: Duration = Duration::from_secs(1);

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

/// The logs of all nodes.
#[derive(Debug)]
pub(crate) struct Logs {
    epoch: Epoch,
    state: Mutex<State>,
    /// Something is pending.
    wake: Notify,
    settled: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    nodes: HashMap<String, Log>,
    /// What the hub before left; taken when everything is listed.
    kept: HashMap<String, KeptLog>,
    /// The latest of what is not on the disk yet, by node and object.
    pending: Pending,
    listed: bool,
}

#[derive(Debug)]
struct Log {
    changes: ChangeLog,
    signal: watch::Sender<()>,
}

type Pending = BTreeMap<(String, ObjectKey), Option<Content>>;

/// Pending changes that are being written, and the rows that they come to.
struct Batch {
    changes: Pending,
    rows: Vec<LogRow>,
    /// With these, the logs are what was listed.
    settles: bool,
}

impl Logs {
    /// The logs as they were kept.
    pub(crate) fn new(kept: KeptLogs) -> Self {
        Self {
            epoch: kept.epoch,
            state: Mutex::new(State {
                kept: kept.nodes,
                ..State::default()
            }),
            wake: Notify::new(),
            settled: watch::Sender::new(false),
        }
    }

    /// Identity of the logs: revisions of another epoch mean nothing here.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Takes changes. They are read once they are on the disk.
    pub(crate) fn apply(&self, changes: Vec<LogChange>) {
        if changes.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        for change in changes {
            match change {
                LogChange::One { node, key, content } => {
                    state.pending.insert((node, key), content);
                }
                LogChange::All(all) => self.list(&mut state, all),
            }
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Compares what there is with what was told.
    fn list(&self, state: &mut State, mut all: HashMap<String, Vec<(ObjectKey, Content)>>) {
        for (node, kept) in std::mem::take(&mut state.kept) {
            let wanted: HashMap<_, _> = all.get(&node).into_iter().flatten().map(pair).collect();
            let entries = kept.entries.into_iter().map(|(key, revision, told)| {
                let content = told.map(|told| match wanted.get(&key) {
                    Some(&content) if Fingerprint::of(content) == told => content.clone(),
                    // What was told is not known any more, and nobody reads it:
                    // the change that follows here is written first.
                    _ => Content {
                        uid: String::new(),
                        resource_version: String::new(),
                        json: Bytes::new(),
                    },
                });
                (key, revision, content)
            });
            let config = LogConfig::default();
            let changes = ChangeLog::restored(self.epoch, config, kept.head, kept.floor, entries);
            self.of(state, &node).changes = changes;
        }
        for node in state.nodes.keys() {
            all.entry(node.clone()).or_default();
        }
        for (node, objects) in all {
            let gone: Vec<_> = {
                let held = self.of(state, &node).changes.objects();
                let wanted: HashMap<_, _> = objects.iter().map(pair).collect();
                let gone = held.filter(|(key, _)| !wanted.contains_key(key));
                gone.map(|(key, _)| key.clone()).collect()
            };
            let gone = gone.into_iter().map(|key| (key, None));
            let wanted = objects
                .into_iter()
                .map(|(key, content)| (key, Some(content)));
            let all = gone.chain(wanted);
            state
                .pending
                .extend(all.map(|(key, content)| ((node.clone(), key), content)));
        }
        state.listed = true;
    }

    /// Writes what is pending, for ever. A disk that is full for a while holds
    /// up changes, and loses none.
    pub(crate) async fn keep(self: Arc<Self>, store: Store) {
        loop {
            let batch = self.begin();
            let written = match batch.rows.is_empty() {
                true => Ok(()),
                false => store.keep_log(batch.rows.clone()).await,
            };
            match written {
                Ok(()) => self.finish(batch),
                Err(error) => {
                    let error = longshore_process::chain(&error);
                    tracing::warn!(
                        error,
                        "changes for edges could not be written, trying again"
                    );
                    self.give_back(batch);
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
            self.wake.notified().await;
        }
    }

    /// Takes what is pending and gives it revisions.
    fn begin(&self) -> Batch {
        let mut state = lock(&self.state);
        let mut changes = std::mem::take(&mut state.pending);
        changes.retain(|(node, key), content| {
            let held = state.nodes.get(node).and_then(|log| log.changes.get(key));
            held != content.as_ref()
        });
        let mut rows = Vec::with_capacity(changes.len());
        let mut heads = HashMap::new();
        for ((node, key), content) in &changes {
            let log = state.nodes.get(node).map(|log| &log.changes);
            let (head, floor) = log.map_or((0, 0), |log| (log.head(), log.floor()));
            let revision = heads.entry(node).or_insert(head);
            *revision += 1;
            rows.push(LogRow {
                node: node.clone(),
                revision: *revision,
                key: key.clone(),
                fingerprint: content.as_ref().map(Fingerprint::of),
                floor,
            });
        }
        drop(heads);
        Batch {
            rows,
            settles: state.listed,
            changes,
        }
    }

    /// It is on the disk: it may be read.
    fn finish(&self, batch: Batch) {
        let mut state = lock(&self.state);
        for ((node, key), content) in batch.changes {
            let log = self.of(&mut state, &node);
            let changed = match content {
                Some(content) => log.changes.put(key, content),
                None => log.changes.delete(&key),
            };
            if changed {
                log.signal.send_replace(());
            }
        }
        if batch.settles {
            self.settled.send_replace(true);
        }
    }

    fn give_back(&self, batch: Batch) {
        let mut state = lock(&self.state);
        for (key, content) in batch.changes {
            // What came meanwhile is newer.
            state.pending.entry(key).or_insert(content);
        }
    }

    /// Waits until the logs are what was listed, and on the disk.
    pub(crate) async fn settled(&self) {
        // The sender is this struct's own.
        let _ = self.settled.subscribe().wait_for(|settled| *settled).await;
    }

    /// Hears when a node's log changes.
    pub(crate) fn subscribe(&self, node: &str) -> watch::Receiver<()> {
        self.of(&mut lock(&self.state), node).signal.subscribe()
    }

    /// The changes after a revision, up to about `max_bytes` (one at least).
    pub(crate) fn read_after(&self, node: &str, revision: u64, max_bytes: usize) -> Reading {
        let mut state = lock(&self.state);
        let log = self.of(&mut state, node);
        log.changes.read_after(revision, max_bytes)
    }

    /// Objects after `cursor` in the order of their keys, up to about `max_bytes`.
    pub(crate) fn read_snapshot(
        &self,
        node: &str,
        cursor: Option<&ObjectKey>,
        max_bytes: usize,
    ) -> SnapshotPart {
        let mut state = lock(&self.state);
        let log = self.of(&mut state, node);
        log.changes.read_snapshot(cursor, max_bytes)
    }

    fn of<'a>(&self, state: &'a mut State, node: &str) -> &'a mut Log {
        // Looked up first: the name is copied once in the log's life.
        if !state.nodes.contains_key(node) {
            let log = Log {
                changes: ChangeLog::new(self.epoch, LogConfig::default()),
                signal: watch::Sender::new(()),
            };
            state.nodes.insert(node.to_owned(), log);
        }
        state
            .nodes
            .get_mut(node)
            .unwrap_or_else(|| unreachable!("the log was just put there"))
    }
}

fn pair<K, V>((key, value): &(K, V)) -> (&K, &V) {
    (key, value)
}

#[cfg(test)]
impl Logs {
    /// Takes changes as if the disk took no time.
    pub(crate) fn apply_at_once(&self, changes: Vec<LogChange>) {
        self.apply(changes);
        let batch = self.begin();
        self.finish(batch);
    }

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
    use std::path::Path;

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
            json: Bytes::from_static(b"{}"),
        }
    }

    fn put(node: &str, name: &str, version: u32) -> LogChange {
        LogChange::One {
            node: node.to_owned(),
            key: key(name),
            content: Some(content(version)),
        }
    }

    fn all(node: &str, objects: &[(ObjectKey, Content)]) -> Vec<LogChange> {
        vec![LogChange::All(HashMap::from([(
            node.to_owned(),
            objects.to_vec(),
        )]))]
    }

    /// A hub's life as far as its logs go.
    struct Life {
        logs: Arc<Logs>,
        store: Store,
        keeper: tokio::task::JoinHandle<()>,
    }

    impl Life {
        fn begin(path: &Path) -> Self {
            let (store, contents) = Store::open(path).unwrap();
            let logs = Arc::new(Logs::new(contents.logs));
            let keeper = tokio::spawn(Arc::clone(&logs).keep(store.clone()));
            Self {
                logs,
                store,
                keeper,
            }
        }

        async fn listed(self, changes: Vec<LogChange>) -> Self {
            self.logs.apply(changes);
            let settled = tokio::time::timeout(Duration::from_secs(30), self.logs.settled());
            settled.await.expect("the logs are settled");
            self
        }

        async fn end(self) -> Epoch {
            self.keeper.abort();
            self.store.close().await;
            self.logs.epoch()
        }

        /// What an edge gets that holds all up to `revision`.
        fn resume(&self, revision: u64) -> (u64, Vec<(String, Option<String>)>) {
            match self.logs.read_after("n1", revision, usize::MAX) {
                Reading::Changes { to, changes } => {
                    let shown = changes.into_iter().map(|change| {
                        let version = change.content.map(|content| content.resource_version);
                        (change.key.name, version)
                    });
                    (to, shown.collect())
                }
                Reading::Compacted => panic!("the edge needs a snapshot"),
            }
        }
    }

    #[tokio::test]
    async fn a_restarted_hub_tells_only_what_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        let mut devices: Vec<_> = (0..1000)
            .map(|n| (key(&format!("d{n}")), content(1)))
            .collect();
        let life = Life::begin(&path).listed(all("n1", &devices)).await;
        let (held, told) = life.resume(0);
        assert_eq!((held, told.len()), (1000, 1000));
        let epoch = life.end().await;

        let life = Life::begin(&path).listed(all("n1", &devices)).await;
        assert_eq!(life.resume(held), (held, vec![]), "nothing is sent again");
        assert_eq!(life.end().await, epoch);

        // While the hub is down one is changed, one goes and one comes.
        devices[7].1 = content(2);
        devices.remove(500);
        devices.push((key("new"), content(1)));
        let life = Life::begin(&path).listed(all("n1", &devices)).await;
        let (to, mut told) = life.resume(held);
        told.sort();
        let version = |version: &str| Some(version.to_owned());
        let expected = [("d500", None), ("d7", version("2")), ("new", version("1"))];
        assert_eq!(
            told,
            expected.map(|(name, version)| (name.to_owned(), version))
        );
        assert_eq!(to, held + 3);
        assert_eq!(life.logs.held("n1").len(), 1000);
        life.end().await;

        // A node that nothing is bound to any more.
        let life = Life::begin(&path)
            .listed(vec![LogChange::All(HashMap::new())])
            .await;
        let (_, told) = life.resume(to);
        assert_eq!(
            told.iter().filter(|(_, version)| version.is_none()).count(),
            1000
        );
        life.end().await;
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_not_read_and_comes_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        let one = [(key("a"), content(1))];
        let life = Life::begin(&path).listed(all("n1", &one)).await;
        let mut signal = life.logs.subscribe("n1");
        life.store.refuse_logs(true).await;
        life.logs.apply(vec![put("n1", "a", 2), put("n1", "b", 1)]);
        // The refusal has come when another job has been answered behind it.
        let refused = async {
            while life.store.errors() == 0 {
                tokio::task::yield_now().await;
            }
        };
        let refused = tokio::time::timeout(Duration::from_secs(30), refused).await;
        refused.expect("the database refuses the change");
        assert_eq!(life.logs.held("n1"), ["Device/a@1"]);
        assert!(!signal.has_changed().unwrap());
        life.logs.apply(vec![put("n1", "a", 3)]);
        life.store.refuse_logs(false).await;
        let changed = tokio::time::timeout(Duration::from_secs(30), signal.changed());
        changed.await.expect("it is tried again").unwrap();
        assert_eq!(life.logs.held("n1"), ["Device/a@3", "Device/b@1"]);
        assert_eq!(life.resume(1).0, 3);
        life.end().await;
    }

    #[test]
    fn the_whole_content_changes_only_what_is_another() {
        let logs = Logs::new(KeptLogs::default());
        logs.apply_at_once(vec![
            put("n1", "a", 1),
            put("n1", "b", 1),
            put("n2", "c", 1),
        ]);
        let mut of_n1 = logs.subscribe("n1");
        let both = |version| {
            all(
                "n1",
                &[(key("a"), content(1)), (key("b"), content(version))],
            )
        };
        logs.apply_at_once(both(1));
        assert!(!of_n1.has_changed().unwrap(), "all is as it was");
        assert!(logs.held("n2").is_empty(), "n2 is not named");
        logs.apply_at_once(both(2));
        assert!(of_n1.has_changed().unwrap());
        of_n1.mark_unchanged();
        let Reading::Changes { to, changes } = logs.read_after("n1", 2, usize::MAX) else {
            panic!("the log reaches back");
        };
        assert_eq!((to, changes.len()), (3, 1), "only b");
        logs.apply_at_once(vec![put("n1", "b", 2)]);
        assert!(!of_n1.has_changed().unwrap(), "it is held already");
    }
}
