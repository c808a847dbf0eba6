//! One edge's connection: drives its session against the catalog, the store
//! and whoever takes the samples.

use std::{
    collections::VecDeque,
    future::pending,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use longshore_link::{
    CloseReason, Epoch, Frame, Hello, HubConfig, HubEffect, HubEvent, HubSession, Lane,
    RefuseReason, UpRecord,
    transport::{self, Turns, sleep_until},
};
use longshore_process::Stop;
use longshore_types::NodeName;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use super::{
    outcome::{Done, End},
    records::Taken,
    tables::Tables,
    telemetry,
};
use crate::{port::NodeIdentity, tables::nodes::Attached};

/// A node that comes back has read its devices anew within this time.
const YOUNG: Duration = Duration::from_secs(15);

type Line = transport::Line<TlsStream<TcpStream>>;

struct Connection<'a> {
    hub: &'a Arc<Tables>,
    node: &'a NodeName,
    /// When its certificate ends.
    ends_ms: Option<i64>,
    session: HubSession,
    line: Line,
    /// For the lanes each its own: telemetry that nobody takes holds nothing up.
    live: Turns<Result<Done, End>>,
    telemetry: Turns<Result<Done, End>>,
    attached: Option<Attached>,
    connected: bool,
    began: Instant,
}

/// Serves a connection to its end.
pub(super) async fn run(
    hub: &Arc<Tables>,
    identity: &NodeIdentity,
    line: Line,
    address: SocketAddr,
    stop: Stop,
) {
    let node = &identity.name;
    let mut config = HubConfig::new(node.as_str(), hub.logs.epoch());
    config.schemas = hub.schemas.hashes();
    let mut connection = Connection {
        hub,
        node,
        ends_ms: identity.ends_ms,
        session: HubSession::new(config, Instant::now()),
        line,
        live: Turns::default(),
        telemetry: Turns::default(),
        attached: None,
        connected: false,
        began: Instant::now(),
    };
    let end = connection.run(stop).await;
    if let Some(attached) = &connection.attached {
        hub.nodes.detach(node.as_str(), attached.id, Instant::now());
    }
    let reason = longshore_process::chain(&end);
    match &end {
        _ if connection.connected => info!(%node, %address, reason, "edge disconnected"),
        End::Session(_) => {
            hub.metrics.link_refused.increment();
            warn!(%node, %address, reason, "connection refused");
        }
        _ => debug!(%node, %address, reason, "connection ended before its session began"),
    }
    connection.line.close().await;
}

impl Connection<'_> {
    async fn run(&mut self, mut stop: Stop) -> End {
        let mut log = self.hub.logs.subscribe(self.node.as_str());
        loop {
            let wake_at = self.session.wake_at();
            let event = tokio::select! {
                message = self.line.receive() => match message.map(Frame::decode) {
                    Ok(Ok(frame)) => {
                        if let Some(attached) = &self.attached {
                            attached.heard.note(Instant::now());
                        }
                        HubEvent::Frame(frame)
                    }
                    Ok(Err(error)) => return End::Session(CloseReason::Undecodable(error)),
                    Err(error) => return error.into(),
                },
                done = self.live.next() => match self.done(done) {
                    Ok(event) => event,
                    Err(end) => return end,
                },
                done = self.telemetry.next() => match self.done(done) {
                    Ok(event) => event,
                    Err(end) => return end,
                },
                // The hub holds the sender as long as there is a receiver.
                Ok(()) = log.changed() => HubEvent::LogChanged,
                Some(reason) = ended(&mut self.attached) => HubEvent::End(reason),
                () = stop.asked() => HubEvent::End(RefuseReason::Unavailable),
                () = sleep_until(wake_at) => HubEvent::Tick,
            };
            if let Err(end) = self.step(event) {
                return end;
            }
        }
    }

    /// Carries out what takes no time, at once; reading the log is such.
    fn step(&mut self, event: HubEvent) -> Result<(), End> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in self.session.step(event, Instant::now()) {
                match effect {
                    HubEffect::Send(frame) => self.line.send(frame.encode())?,
                    HubEffect::ReadChanges { after, max_bytes } => {
                        let logs = &self.hub.logs;
                        let reading = logs.read_after(self.node.as_str(), after, max_bytes);
                        events.push_back(HubEvent::Read(reading));
                    }
                    HubEffect::ReadSnapshot { cursor, max_bytes } => {
                        let logs = &self.hub.logs;
                        let node = self.node.as_str();
                        let part = logs.read_snapshot(node, cursor.as_ref(), max_bytes);
                        events.push_back(HubEvent::Snapshot(part));
                    }
                    HubEffect::Connected => {
                        self.connected = true;
                        self.hub.metrics.sessions.increment();
                        self.hub.mark_devices_of(self.node.as_str());
                        info!(node = %self.node, "edge connected");
                    }
                    HubEffect::Delivered { revision } => {
                        self.hub.metrics.delivered.increment();
                        debug!(node = %self.node, revision, "edge holds revision");
                    }
                    HubEffect::Close(reason) => return Err(End::Session(reason)),
                    HubEffect::Open(hello) => {
                        let (hub, node) = self.place();
                        self.live.push(open(hub, node, self.ends_ms, hello));
                    }
                    HubEffect::OpenTelemetry {
                        epoch,
                        last_sequence,
                    } => {
                        let (hub, node) = self.place();
                        let opening = telemetry::open(hub, node, epoch, last_sequence);
                        self.telemetry.push(opening);
                    }
                    HubEffect::Handle {
                        lane,
                        epoch,
                        after,
                        records,
                    } => {
                        let (hub, node) = self.place();
                        match lane {
                            Lane::Live => {
                                let young = self.began.elapsed() < YOUNG;
                                self.live
                                    .push(handle(hub, node, epoch, after, records, young));
                            }
                            Lane::Telemetry => {
                                let taking = telemetry::take(hub, node, epoch, after, records);
                                self.telemetry.push(taking);
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Where work is done, and for whom.
    fn place(&self) -> (Arc<Tables>, NodeName) {
        (Arc::clone(self.hub), self.node.clone())
    }

    fn done(&mut self, done: Result<Done, End>) -> Result<HubEvent, End> {
        Ok(match done? {
            Done::Opened(taken, attached) => {
                self.attached = Some(attached);
                HubEvent::Opened { taken }
            }
            Done::Occupied => HubEvent::End(RefuseReason::Identity),
            Done::TelemetryOpened(taken) => HubEvent::TelemetryOpened { taken },
            Done::Handled(lane, through) => HubEvent::Handled { lane, through },
        })
    }
}

/// Waits until the node's log is whole, takes the node's place, and looks up
/// where its records go on.
async fn open(
    hub: Arc<Tables>,
    node: NodeName,
    ends_ms: Option<i64>,
    hello: Hello,
) -> Result<Done, End> {
    hub.listed.wait(|listed| listed.catalog).await;
    hub.logs.settled().await;
    let (name, epoch) = (node.as_str(), hello.edge_epoch);
    let Some(attached) = hub.nodes.attach(name, epoch, ends_ms, Instant::now()) else {
        return Ok(Done::Occupied);
    };
    let taken = hub
        .store
        .open_node(node.as_str(), hello.edge_epoch, hello.last_sequence)
        .await;
    if taken.is_err() {
        hub.nodes.detach(node.as_str(), attached.id, Instant::now());
    }
    Ok(Done::Opened(taken?, attached))
}

/// Stores records and remembers what they said.
async fn handle(
    hub: Arc<Tables>,
    node: NodeName,
    epoch: Epoch,
    after: u64,
    records: Vec<UpRecord>,
    young: bool,
) -> Result<Done, End> {
    let taken = records.iter();
    let taken: Vec<_> = taken
        .map(|record| Taken::of(&hub, &node, record, young))
        .collect();
    let writes = taken.iter().map(Taken::write).collect();
    let count = records.len();
    let (through, repeated) = hub
        .store
        .take(node.as_str(), epoch, after, records, writes)
        .await?;
    hub.metrics.records.add((count - repeated) as u64);
    hub.metrics.records_repeated.add(repeated as u64);
    for taken in taken.into_iter().skip(repeated) {
        taken.stored(&hub, &node);
    }
    Ok(Done::Handled(Lane::Live, through))
}

async fn ended(attached: &mut Option<Attached>) -> Option<RefuseReason> {
    match attached {
        Some(attached) => (&mut attached.ended).await.ok(),
        None => pending().await,
    }
}
