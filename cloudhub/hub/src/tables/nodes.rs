//! The nodes that the hub knows: who is connected, who was, who never.
//!
//! Written by the sessions (who is here, what the node says of itself) and the
//! watch of Nodes (which there are); read by the status writer and the metrics.
//! The node writer carries out what is due.
//!
//! Pure but for its lock: the time that decides is an argument, the clock on
//! the wall is only shown.

mod place;

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
    time::{Duration, Instant},
};

use longshore_link::{Epoch, NodeReport, RefuseReason, Up};
use longshore_process::clock::now_ms;
use tokio::sync::{Notify, oneshot};

pub(crate) use self::place::Heard;
use self::place::Place;
use super::lock;
use crate::{config::NodesConfig, store::StoredNode};

/// A connected node's status is written so often even if nothing changed, in
/// units of the lease's interval: enough for people, little for etcd.
const HEARTBEAT_LEASES: u32 = 30;

/// A session that is back within this time was never away: a line that breaks
/// for a moment writes nothing.
const AWAY_AFTER: Duration = Duration::from_secs(3);

/// A certificate that ends sooner is said to: time to make and bring another one.
const ENDS_SOON_MS: i64 = 30 * 86_400_000;

/// A write that failed is tried again after so long.
const RETRY: Duration = Duration::from_secs(2);

/// Whether a node is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Presence {
    /// Neither a Node nor an edge of this name was ever seen.
    Unknown,
    /// There is a Node, but its edge was never here.
    NeverConnected,
    /// It has a session, or had one a moment ago. A hub that just started
    /// counts each node that it knows as such until the grace period is over,
    /// so that its restart makes no node flap.
    Connected,
    /// Its session ended some seconds ago, and the grace period is not over.
    Away,
    /// Silent for longer than the grace period.
    Lost,
}

/// Something to write for a node.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) node: String,
    pub(crate) presence: Presence,
    pub(crate) report: NodeReport,
    pub(crate) identity: Identity,
    pub(crate) write_status: bool,
    pub(crate) renew_lease: bool,
}

/// What is known of a node's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Identity {
    /// When it ends (ms since 1970), once the node was here.
    pub(crate) ends_ms: Option<i64>,
    /// It ends soon.
    pub(crate) ends_soon: bool,
    /// A second edge has it, too.
    pub(crate) shared: bool,
}

/// What is due.
#[derive(Debug, Default)]
pub(crate) struct Due {
    pub(crate) tasks: Vec<Task>,
    /// Nodes whose presence changed.
    pub(crate) changed: Vec<String>,
    /// Nodes whose certificate ends soon, since now, and when.
    pub(crate) ending: Vec<(String, i64)>,
}

/// A session's hold of its node's place. Another session takes it by ending this one.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) id: u64,
    pub(crate) heard: Heard,
    pub(crate) ended: oneshot::Receiver<RefuseReason>,
}

#[derive(Debug)]
pub(crate) struct Nodes {
    config: NodesConfig,
    inner: Mutex<Inner>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    next_id: u64,
    nodes: HashMap<String, Entry>,
    existing: HashSet<String>,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    identity: Identity,
    report: NodeReport,
    last_seen: Instant,
    /// When its last session of this hub ended.
    left: Option<Instant>,
    presence: Presence,
    since_ms: i64,
    dirty: bool,
    next_lease: Instant,
    next_status: Instant,
    not_before: Instant,
}

impl Nodes {
    pub(crate) fn new(
        config: NodesConfig,
        known: HashMap<String, StoredNode>,
        now: Instant,
    ) -> Self {
        let nodes = known.into_iter().map(|(name, stored)| {
            let report = match Up::decode(&stored.report) {
                Ok(Up::Node(report)) => report,
                _ => NodeReport::default(),
            };
            let mut entry = Entry::new(now);
            entry.report = report;
            // Nothing is written for it before it is back or the grace is over.
            entry.dirty = false;
            (name, entry)
        });
        let inner = Inner {
            nodes: nodes.collect(),
            ..Inner::default()
        };
        Self {
            config,
            inner: Mutex::new(inner),
            wake: Notify::new(),
        }
    }

    /// A session of the edge with this epoch takes the node's place; the former one is
    /// told to end. None while another edge has it. `ends_ms` is the end of the
    /// certificate.
    pub(crate) fn attach(
        &self,
        node: &str,
        epoch: Epoch,
        ends_ms: Option<i64>,
        now: Instant,
    ) -> Option<Attached> {
        let mut inner = lock(&self.inner);
        inner.next_id += 1;
        let id = inner.next_id;
        let entry = inner
            .nodes
            .entry(node.to_owned())
            .or_insert_with(|| Entry::new(now));
        let taken = entry.place.take(id, epoch, now);
        if taken.is_some() {
            entry.identity.ends_ms = ends_ms;
            entry.left = None;
            entry.dirty = true;
            entry.next_lease = now;
        }
        drop(inner);
        self.wake.notify_one();
        let (heard, ended) = taken?;
        Some(Attached { id, heard, ended })
    }

    /// A session ends. It leaves the place if it still has it.
    pub(crate) fn detach(&self, node: &str, id: u64, now: Instant) {
        let mut inner = lock(&self.inner);
        if let Some(entry) = inner.nodes.get_mut(node)
            && entry.place.leave(id)
        {
            entry.last_seen = now;
            entry.left = Some(now);
        }
    }

    /// A node said what it is. True if its mappers have other schemas now.
    pub(crate) fn set_report(&self, node: &str, report: NodeReport) -> bool {
        let mut inner = lock(&self.inner);
        let Some(entry) = inner.nodes.get_mut(node) else {
            return false;
        };
        if entry.report == report {
            return false;
        }
        let schemas = |report: &NodeReport| -> Vec<(String, u64)> {
            let mappers = report.mappers.iter();
            mappers.map(|m| (m.protocol.clone(), m.schema)).collect()
        };
        let others = schemas(&entry.report) != schemas(&report);
        entry.report = report;
        entry.dirty = true;
        drop(inner);
        self.wake.notify_one();
        others
    }

    /// Hash of the schema that the node's mapper of a protocol has; none if the
    /// node never spoke of such a mapper.
    pub(crate) fn schema_of(&self, node: &str, protocol: &str) -> Option<u64> {
        let inner = lock(&self.inner);
        let mut mappers = inner.nodes.get(node)?.report.mappers.iter();
        let of_protocol = mappers.find(|m| m.protocol.eq_ignore_ascii_case(protocol));
        of_protocol.map(|mapper| mapper.schema)
    }

    /// Whether a node is there, and since when.
    pub(crate) fn presence(&self, node: &str) -> (Presence, i64) {
        let inner = lock(&self.inner);
        match inner.nodes.get(node) {
            Some(entry) => (entry.presence, entry.since_ms),
            None if inner.existing.contains(node) => (Presence::NeverConnected, 0),
            None => (Presence::Unknown, 0),
        }
    }

    /// These are all Node objects. Gives the names of which that is news.
    pub(crate) fn set_existing(&self, names: HashSet<String>) -> Vec<String> {
        let mut inner = lock(&self.inner);
        let news: Vec<String> = names
            .symmetric_difference(&inner.existing)
            .cloned()
            .collect();
        inner.existing = names;
        for node in &news {
            inner.existence_changed(node);
        }
        drop(inner);
        self.wake.notify_one();
        news
    }

    /// A Node object is there or not. True if that is news.
    pub(crate) fn set_exists(&self, node: &str, exists: bool) -> bool {
        let mut inner = lock(&self.inner);
        let news = if exists {
            inner.existing.insert(node.to_owned())
        } else {
            inner.existing.remove(node)
        };
        if news {
            inner.existence_changed(node);
            drop(inner);
            self.wake.notify_one();
        }
        news
    }

    /// Number of nodes with a session.
    pub(crate) fn connected_count(&self) -> usize {
        let inner = lock(&self.inner);
        inner
            .nodes
            .values()
            .filter(|entry| entry.place.is_taken())
            .count()
    }

    /// Number of nodes whose certificate ends soon.
    pub(crate) fn ending_count(&self) -> usize {
        let inner = lock(&self.inner);
        let ending = inner.nodes.values();
        ending.filter(|entry| entry.identity.ends_soon).count()
    }

    /// Waits until something changed.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// What must be written now.
    pub(crate) fn due(&self, at: Instant) -> Due {
        let mut due = Due::default();
        let mut inner = lock(&self.inner);
        let wall_ms = now_ms();
        for (node, entry) in &mut inner.nodes {
            let connected = entry.place.is_taken();
            if connected {
                entry.last_seen = at;
            }
            let presence = entry.presence_at(at, self.config.grace);
            if presence != entry.presence {
                entry.presence = presence;
                entry.since_ms = wall_ms;
                entry.dirty = true;
                due.changed.push(node.clone());
            }
            let ends_ms = entry.identity.ends_ms;
            let identity = Identity {
                ends_ms,
                ends_soon: ends_ms.is_some_and(|ends| ends - wall_ms < ENDS_SOON_MS),
                shared: entry.place.has_rival(at),
            };
            if identity != entry.identity {
                if identity.ends_soon && !entry.identity.ends_soon {
                    due.ending.extend(ends_ms.map(|ends| (node.clone(), ends)));
                }
                entry.identity = identity;
                entry.dirty = true;
            }
            let write_status = entry.dirty || (connected && at >= entry.next_status);
            let renew_lease = connected && at >= entry.next_lease;
            if (write_status || renew_lease) && at >= entry.not_before {
                entry.dirty = false;
                due.tasks.push(Task {
                    node: node.clone(),
                    presence,
                    report: entry.report.clone(),
                    identity,
                    write_status,
                    renew_lease,
                });
            }
        }
        due
    }

    /// A task is through.
    pub(crate) fn done(&self, task: &Task, succeeded: bool, at: Instant) {
        let mut inner = lock(&self.inner);
        let Some(entry) = inner.nodes.get_mut(&task.node) else {
            return;
        };
        if !succeeded {
            entry.dirty |= task.write_status;
            entry.not_before = at + RETRY;
            return;
        }
        if task.write_status {
            entry.next_status = at + self.config.lease_interval * HEARTBEAT_LEASES;
        }
        if task.renew_lease {
            entry.next_lease = at + self.config.lease_interval;
        }
    }
}

impl Inner {
    fn existence_changed(&mut self, node: &str) {
        if let Some(entry) = self.nodes.get_mut(node)
            && !self.existing.contains(node)
        {
            // Somebody deleted it: it comes back if its edge is here.
            entry.dirty |= entry.place.is_taken();
        }
    }
}

impl Entry {
    fn presence_at(&self, at: Instant, grace: Duration) -> Presence {
        if at.duration_since(self.last_seen) >= grace {
            return Presence::Lost;
        }
        match self.left {
            Some(left) if at.duration_since(left) >= AWAY_AFTER => Presence::Away,
            _ => Presence::Connected,
        }
    }

    fn new(at: Instant) -> Self {
        Self {
            place: Place::default(),
            identity: Identity::default(),
            report: NodeReport::default(),
            last_seen: at,
            left: None,
            presence: Presence::Connected,
            since_ms: now_ms(),
            dirty: true,
            next_lease: at,
            next_status: at,
            not_before: at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(known: &[&str], at: Instant) -> Nodes {
        let config = NodesConfig {
            grace: Duration::from_secs(40),
            lease_interval: Duration::from_secs(10),
        };
        let known = known
            .iter()
            .map(|name| ((*name).to_owned(), StoredNode::default()))
            .collect();
        Nodes::new(config, known, at)
    }

    #[test]
    fn a_restarted_hub_waits_before_it_calls_a_node_lost() {
        let start = Instant::now();
        let table = table(&["n"], start);
        assert!(table.due(start + Duration::from_secs(39)).tasks.is_empty());
        assert_eq!(table.presence("n").0, Presence::Connected);
        let due = table.due(start + Duration::from_secs(40));
        assert_eq!((due.tasks.len(), due.changed.len()), (1, 1));
        assert_eq!(table.presence("n").0, Presence::Lost);
        table.done(&due.tasks[0], true, start + Duration::from_secs(40));
        assert!(table.due(start + Duration::from_secs(400)).tasks.is_empty());
    }

    #[test]
    fn a_lease_is_renewed_while_there_is_a_session() {
        let start = Instant::now();
        let table = table(&[], start);
        assert_eq!(table.presence("n").0, Presence::Unknown);
        let session = table.attach("n", Epoch(1), None, start).unwrap();
        let due = table.due(start);
        assert!(due.tasks[0].renew_lease && due.tasks[0].write_status);
        table.done(&due.tasks[0], true, start);
        assert!(table.due(start + Duration::from_secs(9)).tasks.is_empty());
        let due = table.due(start + Duration::from_secs(10));
        assert!(due.tasks[0].renew_lease && !due.tasks[0].write_status);
        table.detach("n", session.id, start + Duration::from_secs(11));
        assert!(table.due(start + Duration::from_secs(13)).tasks.is_empty());
        let due = table.due(start + Duration::from_secs(14));
        assert_eq!(due.changed, ["n"]);
        assert_eq!(due.tasks[0].presence, Presence::Away);
        table.done(&due.tasks[0], true, start + Duration::from_secs(14));
        assert!(table.due(start + Duration::from_secs(30)).tasks.is_empty());
        let due = table.due(start + Duration::from_secs(51));
        assert_eq!(due.tasks[0].presence, Presence::Lost);
    }

    #[test]
    fn a_second_session_ends_the_first() {
        let start = Instant::now();
        let table = table(&[], start);
        let mut first = table.attach("n", Epoch(1), None, start).unwrap();
        let second = table.attach("n", Epoch(1), None, start).unwrap();
        assert_eq!(first.ended.try_recv(), Ok(RefuseReason::Replaced));
        table.detach("n", first.id, start);
        assert_eq!(
            table.connected_count(),
            1,
            "the first has no place to leave"
        );
        table.detach("n", second.id, start);
        assert_eq!(table.connected_count(), 0);
    }

    #[test]
    fn a_certificate_that_ends_soon_and_one_that_two_have_are_told_once() {
        let start = Instant::now();
        let table = table(&[], start);
        let ends = now_ms() + ENDS_SOON_MS - 1000;
        let held = table.attach("n", Epoch(1), Some(ends), start).unwrap();
        let due = table.due(start);
        assert_eq!(due.ending, [("n".to_owned(), ends)]);
        assert!(due.tasks[0].identity.ends_soon && table.ending_count() == 1);
        table.done(&due.tasks[0], true, start);
        held.heard.note(start + Duration::from_secs(5));
        let later = start + Duration::from_secs(6);
        assert!(table.attach("n", Epoch(2), None, later).is_none());
        let due = table.due(later);
        assert!(due.ending.is_empty());
        let identity = due.tasks[0].identity;
        assert!(identity.shared && identity.ends_ms == Some(ends));
    }
}
