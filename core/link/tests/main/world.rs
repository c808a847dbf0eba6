//! A hub, an edge and the wire between them, small enough to break at any step.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Index, IndexMut};
use std::time::{Duration, Instant};

use bytes::Bytes;
use longshore_link::{
    ChangeLog, Content, EdgeConfig, EdgeEffect, EdgeEvent, EdgePosition, EdgeSession, Epoch, Frame,
    Hello, HubConfig, HubEffect, HubEvent, HubSession, Lane, LogConfig, ObjectKey, RefuseReason,
    UpPosition, UpRecord,
};

use crate::step::Step;

const NODE: &str = "edge-1";

struct Connection {
    id: u64,
    session: HubSession,
    to_hub: VecDeque<Bytes>,
    open: bool,
}

enum HubOperation {
    Open(u64, Hello),
    OpenTelemetry {
        connection: u64,
        epoch: Epoch,
        last_sequence: u64,
    },
    Handle {
        lane: Lane,
        connection: u64,
        epoch: Epoch,
        after: u64,
        records: Vec<UpRecord>,
    },
}

pub(crate) const LANES: [Lane; 2] = [Lane::Live, Lane::Telemetry];

/// One thing for each lane.
#[derive(Default)]
struct ByLane<T>([T; 2]);

impl<T> Index<Lane> for ByLane<T> {
    type Output = T;

    fn index(&self, lane: Lane) -> &T {
        &self.0[lane as usize]
    }
}

impl<T> IndexMut<Lane> for ByLane<T> {
    fn index_mut(&mut self, lane: Lane) -> &mut T {
        &mut self.0[lane as usize]
    }
}

/// The whole.
pub(crate) struct World {
    start: Instant,
    now: Instant,
    next_id: u64,
    // the hub: what survives a crash
    cluster: BTreeMap<ObjectKey, Content>,
    positions: ByLane<UpPosition>,
    taken: ByLane<Vec<(Epoch, u64, Bytes)>>,
    // and what does not
    log: ChangeLog,
    connections: Vec<Connection>,
    operations: ByLane<VecDeque<HubOperation>>,
    /// What the hub got to handle, in the order in which it came.
    pub(crate) arrived: Vec<(Lane, u64)>,
    // the edge: what survives
    objects: BTreeMap<ObjectKey, Content>,
    edge: EdgePosition,
    outbox: ByLane<BTreeMap<u64, Bytes>>,
    emitted: ByLane<Vec<(Epoch, u64, Bytes)>>,
    wiped: Vec<Epoch>,
    // and what does not
    session: EdgeSession,
    connection: Option<u64>,
    to_edge: VecDeque<Bytes>,
    edge_operations: VecDeque<EdgeEffect>,
}

impl World {
    pub(crate) fn new() -> Self {
        let start = Instant::now();
        Self {
            start,
            now: start,
            next_id: 100,
            cluster: BTreeMap::new(),
            positions: ByLane::default(),
            taken: ByLane::default(),
            log: ChangeLog::new(Epoch(1), LogConfig { deletions: 2 }),
            connections: Vec::new(),
            operations: ByLane::default(),
            arrived: Vec::new(),
            objects: BTreeMap::new(),
            edge: EdgePosition {
                edge_epoch: Epoch(50),
                ..EdgePosition::default()
            },
            outbox: ByLane::default(),
            emitted: ByLane::default(),
            wiped: Vec::new(),
            session: EdgeSession::new(EdgeConfig::new(NODE)),
            connection: None,
            to_edge: VecDeque::new(),
            edge_operations: VecDeque::new(),
        }
    }

    pub(crate) fn run(&mut self, step: &Step) {
        match step {
            Step::Put(key, value) => self.put(*key, *value),
            Step::Delete(key) => {
                let key = object_key(*key);
                self.cluster.remove(&key);
                if self.log.delete(&key) {
                    self.log_changed();
                }
            }
            Step::Report(lane) => self.report(*lane),
            Step::ToHub(which) => self.deliver_to_hub(*which, false),
            Step::RepeatToHub(which) => self.deliver_to_hub(*which, true),
            Step::LoseToHub(which) => {
                if let Some(connection) = pick(&mut self.connections, *which) {
                    connection.to_hub.pop_front();
                }
            }
            Step::ToEdge => self.deliver_to_edge(false),
            Step::RepeatToEdge => self.deliver_to_edge(true),
            Step::LoseToEdge => drop(self.to_edge.pop_front()),
            Step::CutAtEdge => self.cut_at_edge(),
            Step::CutBoth => self.cut_both(),
            Step::Connect => self.connect(),
            Step::CrashEdge => self.crash_edge(),
            Step::WipeEdge => {
                self.crash_edge();
                self.wiped.push(self.edge.edge_epoch);
                self.objects.clear();
                self.outbox = ByLane::default();
                self.edge = EdgePosition {
                    edge_epoch: Epoch(self.fresh_id()),
                    ..EdgePosition::default()
                };
            }
            Step::CrashHub => self.crash_hub(),
            Step::HubStore(lane) => self.hub_store(*lane),
            Step::EdgeStore => self.edge_store(),
            Step::Wait(milliseconds) => self.wait(Duration::from_millis((*milliseconds).into())),
        }
    }

    /// A good wire from now on: everything must come to rest, in agreement.
    pub(crate) fn settle(&mut self) {
        self.cut_both();
        self.connect();
        for _ in 0..10_000 {
            if self.connection.is_none() {
                self.connect();
            }
            let busy = !self.to_edge.is_empty()
                || !self.edge_operations.is_empty()
                || self.operations.0.iter().any(|queue| !queue.is_empty())
                || self.connections.iter().any(|c| !c.to_hub.is_empty());
            if !busy {
                break;
            }
            self.deliver_to_hub(0, false);
            self.hub_store(Lane::Live);
            self.hub_store(Lane::Telemetry);
            self.deliver_to_edge(false);
            self.edge_store();
        }
        assert_eq!(
            self.objects, self.cluster,
            "the edge holds what the cluster says"
        );
        for lane in LANES {
            self.check_all_taken(lane);
        }
    }

    fn check_all_taken(&self, lane: Lane) {
        assert!(
            self.outbox[lane].is_empty(),
            "the outbox is empty, left: {:?}",
            self.outbox[lane].keys()
        );
        for (epoch, sequence, payload) in &self.emitted[lane] {
            let known = self.taken[lane]
                .iter()
                .filter(|(e, s, _)| e == epoch && s == sequence)
                .collect::<Vec<_>>();
            if self.wiped.contains(epoch) && known.is_empty() {
                continue;
            }
            assert_eq!(known.len(), 1, "record {epoch}/{sequence} was taken once");
            assert_eq!(&known[0].2, payload);
        }
    }

    /// How far a lane is held by the hub.
    pub(crate) fn held(&self, lane: Lane) -> u64 {
        self.positions[lane].sequence
    }

    /// A good wire for so many rounds, and a hub that does what there is to do
    /// on these lanes.
    pub(crate) fn rounds(&mut self, count: usize, hub: &[Lane]) {
        for _ in 0..count {
            self.edge_store();
            self.deliver_to_hub(0, false);
            for lane in hub {
                self.hub_store(*lane);
            }
            self.deliver_to_edge(false);
        }
    }

    /// What must hold at any time.
    pub(crate) fn check(&self) {
        for pair in LANES.iter().flat_map(|lane| self.taken[*lane].windows(2)) {
            if pair[0].0 == pair[1].0 {
                assert!(
                    pair[0].1 < pair[1].1,
                    "records of an epoch are taken in order, once"
                );
            }
        }
    }

    fn put(&mut self, key: u8, value: u8) {
        let key = object_key(key);
        let resource_version = self.fresh_id().to_string();
        let json = Bytes::from(vec![value; usize::from(value) + 1]);
        let content = Content {
            uid: format!("uid-{}", key.name),
            resource_version,
            json,
        };
        self.cluster.insert(key.clone(), content.clone());
        self.log.put(key, content);
        self.log_changed();
    }

    pub(crate) fn report(&mut self, lane: Lane) {
        let last = match lane {
            Lane::Live => &mut self.edge.last_sequence,
            Lane::Telemetry => &mut self.edge.last_telemetry,
        };
        *last += 1;
        let (sequence, epoch) = (*last, self.edge.edge_epoch);
        let payload = Bytes::from(vec![sequence as u8; 20]);
        self.outbox[lane].insert(sequence, payload.clone());
        self.emitted[lane].push((epoch, sequence, payload));
        self.edge_event(EdgeEvent::OutboxChanged);
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn connect(&mut self) {
        self.cut_at_edge();
        let id = self.fresh_id();
        let config = HubConfig {
            window_records: 3,
            window_bytes: 64,
            telemetry_records: 3,
            telemetry_bytes: 64,
            window_down_bytes: 300,
            batch_bytes: 150,
            ..HubConfig::new(NODE, self.log.epoch())
        };
        let session = HubSession::new(config, self.now);
        self.connections.insert(
            0,
            Connection {
                id,
                session,
                to_hub: VecDeque::new(),
                open: true,
            },
        );
        self.connections.truncate(4);
        self.connection = Some(id);
        self.edge_event(EdgeEvent::TransportUp(self.edge));
    }

    fn cut_at_edge(&mut self) {
        self.connection = None;
        self.to_edge.clear();
        self.edge_operations.clear();
        self.edge_event(EdgeEvent::TransportDown);
    }

    fn cut_both(&mut self) {
        self.cut_at_edge();
        self.connections.clear();
    }

    fn crash_edge(&mut self) {
        self.cut_at_edge();
        self.session = EdgeSession::new(EdgeConfig::new(NODE));
    }

    fn crash_hub(&mut self) {
        self.connections.clear();
        self.operations = ByLane::default();
        let epoch = Epoch(self.fresh_id());
        self.log = ChangeLog::new(epoch, LogConfig { deletions: 2 });
        self.log.replace(self.cluster.clone());
        self.cut_at_edge();
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now += time;
        assert!(self.now >= self.start);
        if self.session.wake_at().is_some_and(|at| at <= self.now) {
            self.edge_event(EdgeEvent::Tick);
        }
        for id in self.connections.iter().map(|c| c.id).collect::<Vec<_>>() {
            self.hub_event(id, HubEvent::Tick);
        }
    }

    fn log_changed(&mut self) {
        for id in self.connections.iter().map(|c| c.id).collect::<Vec<_>>() {
            self.hub_event(id, HubEvent::LogChanged);
        }
    }

    fn deliver_to_hub(&mut self, which: usize, keep: bool) {
        let Some(connection) = pick(&mut self.connections, which) else {
            return;
        };
        let id = connection.id;
        let Some(bytes) = connection.to_hub.front().cloned() else {
            return;
        };
        if !keep {
            connection.to_hub.pop_front();
        }
        let frame = Frame::decode(bytes).expect("the edge sends what can be read");
        self.hub_event(id, HubEvent::Frame(frame));
    }

    fn deliver_to_edge(&mut self, keep: bool) {
        let Some(bytes) = self.to_edge.front().cloned() else {
            return;
        };
        if !keep {
            self.to_edge.pop_front();
        }
        let frame = Frame::decode(bytes).expect("the hub sends what can be read");
        self.edge_event(EdgeEvent::Frame(frame));
    }

    fn hub_event(&mut self, id: u64, event: HubEvent) {
        let Some(index) = self.connections.iter().position(|c| c.id == id && c.open) else {
            return;
        };
        for effect in self.connections[index].session.step(event, self.now) {
            self.hub_effect(id, effect);
        }
    }

    fn hub_effect(&mut self, id: u64, effect: HubEffect) {
        match effect {
            HubEffect::Send(frame) => {
                if self.connection == Some(id) {
                    self.to_edge.push_back(frame.encode());
                }
            }
            HubEffect::Open(hello) => {
                self.operations[Lane::Live].push_back(HubOperation::Open(id, hello));
            }
            HubEffect::OpenTelemetry {
                epoch,
                last_sequence,
            } => self.operations[Lane::Telemetry].push_back(HubOperation::OpenTelemetry {
                connection: id,
                epoch,
                last_sequence,
            }),
            HubEffect::ReadChanges { after, max_bytes } => {
                let reading = self.log.read_after(after, max_bytes);
                self.hub_event(id, HubEvent::Read(reading));
            }
            HubEffect::ReadSnapshot { cursor, max_bytes } => {
                let part = self.log.read_snapshot(cursor.as_ref(), max_bytes);
                self.hub_event(id, HubEvent::Snapshot(part));
            }
            HubEffect::Handle {
                lane,
                epoch,
                after,
                records,
            } => {
                let arrived = records.iter().map(|record| (lane, record.sequence));
                self.arrived.extend(arrived);
                self.operations[lane].push_back(HubOperation::Handle {
                    lane,
                    connection: id,
                    epoch,
                    after,
                    records,
                });
            }
            HubEffect::Close(_) => {
                if let Some(connection) = self.connections.iter_mut().find(|c| c.id == id) {
                    connection.open = false;
                }
                if self.connection == Some(id) && self.to_edge.is_empty() {
                    self.cut_at_edge();
                }
            }
            HubEffect::Connected | HubEffect::Delivered { .. } => {}
        }
    }

    /// The hub's store, or whoever takes the telemetry, does the next thing
    /// that it was asked for.
    fn hub_store(&mut self, lane: Lane) {
        let held = &mut self.positions[lane];
        match self.operations[lane].pop_front() {
            None => {}
            Some(HubOperation::OpenTelemetry {
                connection,
                epoch,
                last_sequence,
            }) => {
                *held = held.greet(epoch, last_sequence);
                let taken = held.sequence;
                self.hub_event(connection, HubEvent::TelemetryOpened { taken });
            }
            Some(HubOperation::Open(id, hello)) => {
                *held = held.greet(hello.edge_epoch, hello.last_sequence);
                let taken = held.sequence;
                for other in self
                    .connections
                    .iter()
                    .map(|c| c.id)
                    .filter(|c| *c < id)
                    .collect::<Vec<_>>()
                {
                    self.hub_event(other, HubEvent::End(RefuseReason::Replaced));
                }
                self.hub_event(id, HubEvent::Opened { taken });
            }
            Some(HubOperation::Handle {
                lane,
                connection,
                epoch,
                after,
                records,
            }) => {
                // A session of a former epoch may have left this behind.
                if epoch != held.epoch {
                    return;
                }
                match held.admit(epoch, after, &records) {
                    Ok(admitted) => {
                        let new = records.into_iter().skip(admitted.skip);
                        self.taken[lane].extend(new.map(|r| (epoch, r.sequence, r.payload)));
                        *held = admitted.position;
                        self.hub_event(
                            connection,
                            HubEvent::Handled {
                                lane,
                                through: admitted.position.sequence,
                            },
                        );
                    }
                    Err(_) => self
                        .connections
                        .iter_mut()
                        .filter(|c| c.id == connection)
                        .for_each(|c| c.open = false),
                }
            }
        }
    }

    fn edge_event(&mut self, event: EdgeEvent) {
        for effect in self.session.step(event, self.now) {
            match effect {
                EdgeEffect::Send(frame) => {
                    if let Some(id) = self.connection
                        && let Some(connection) = self.connections.iter_mut().find(|c| c.id == id)
                    {
                        connection.to_hub.push_back(frame.encode());
                    }
                }
                EdgeEffect::Close(_) => return self.cut_at_edge(),
                EdgeEffect::Connected => {}
                other => self.edge_operations.push_back(other),
            }
        }
    }

    /// The edge's store does the next thing that it was asked for.
    fn edge_store(&mut self) {
        match self.edge_operations.pop_front() {
            Some(EdgeEffect::Apply {
                epoch,
                revision,
                snapshot,
                changes,
            }) => {
                if snapshot {
                    self.objects.clear();
                }
                for change in changes {
                    match change.content {
                        Some(content) => drop(self.objects.insert(change.key, content)),
                        None => drop(self.objects.remove(&change.key)),
                    }
                }
                self.edge.hub_epoch = epoch;
                self.edge.revision = revision;
                self.edge_event(EdgeEvent::Applied { revision });
            }
            Some(EdgeEffect::Forget { lane, through }) => {
                let epoch = self.edge.edge_epoch;
                let outbox = &mut self.outbox[lane];
                let forgotten: Vec<_> = outbox.range(..=through).map(|(s, _)| *s).collect();
                for sequence in forgotten {
                    outbox.remove(&sequence);
                    let held = self.taken[lane]
                        .iter()
                        .any(|(e, s, _)| *e == epoch && *s == sequence);
                    assert!(
                        held,
                        "the edge forgot record {sequence}, which the hub does not hold"
                    );
                }
            }
            Some(EdgeEffect::Fetch {
                lane,
                after,
                max_records,
                max_bytes,
            }) => {
                let mut bytes = 0;
                let mut records = Vec::new();
                for (sequence, payload) in self.outbox[lane].range(after + 1..).take(max_records) {
                    bytes += payload.len();
                    if !records.is_empty() && bytes > max_bytes {
                        break;
                    }
                    records.push(UpRecord {
                        sequence: *sequence,
                        payload: payload.clone(),
                    });
                }
                self.edge_event(EdgeEvent::Fetched { lane, records });
            }
            _ => {}
        }
    }
}

fn pick(connections: &mut [Connection], which: usize) -> Option<&mut Connection> {
    let count = connections.len();
    if count == 0 {
        None
    } else {
        connections.get_mut(which % count)
    }
}

fn object_key(number: u8) -> ObjectKey {
    ObjectKey {
        kind: "Device".into(),
        namespace: "default".into(),
        name: format!("device-{number}"),
    }
}
