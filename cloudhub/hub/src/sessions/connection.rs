//! One edge's connection: drives its session against the catalog, the store
//! and whoever takes the samples.

use std::{
    collections::VecDeque,
    future::pending,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{
    SinkExt, StreamExt,
    future::BoxFuture,
    stream::{SplitSink, SplitStream},
};
use longshore_link::{
    CloseReason, DecodeError, Epoch, Frame, Hello, HubConfig, HubEffect, HubEvent, HubSession,
    Lane, Up, UpRecord,
};
use longshore_types::{NodeName, schema_check::Document};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{self, Message};
use tracing::{debug, info, warn};

use super::{
    Socket,
    outcome::{Done, End},
    tables::Tables,
    telemetry,
};
use crate::{store::Write, tables::nodes::Attached};

/// Messages that may wait for the line. The windows of the link keep far fewer
/// under way; a queue that is full means that the line is dead.
const QUEUE: usize = 256;

/// What may remain to be sent at the end gets so long.
const GOODBYE: Duration = Duration::from_secs(1);

type Operation = BoxFuture<'static, Result<Done, End>>;

/// What the session asked for that takes time, in order; one at a time.
#[derive(Default)]
struct Work {
    waiting: VecDeque<HubEffect>,
    running: Option<Operation>,
}

struct Connection<'a> {
    hub: &'a Arc<Tables>,
    node: &'a NodeName,
    session: HubSession,
    lines: mpsc::Sender<Bytes>,
    /// For the lanes each its own: telemetry that nobody takes holds nothing up.
    live: Work,
    telemetry: Work,
    attached: Option<Attached>,
    connected: bool,
}

/// Serves a connection to its end.
pub(super) async fn run(hub: &Arc<Tables>, node: &NodeName, socket: Socket, address: SocketAddr) {
    let (sink, stream) = socket.split();
    let (lines, queue) = mpsc::channel(QUEUE);
    let mut writer = tokio::spawn(write(sink, queue));
    let mut config = HubConfig::new(node.as_str(), hub.logs.epoch());
    config.schemas = hub.schemas.hashes();
    let mut connection = Connection {
        hub,
        node,
        session: HubSession::new(config, Instant::now()),
        lines,
        live: Work::default(),
        telemetry: Work::default(),
        attached: None,
        connected: false,
    };
    let end = tokio::select! {
        end = connection.run(stream) => end,
        ended = &mut writer => match ended {
            Ok(Err(error)) => End::Broken(Box::new(error)),
            _ => End::Closed,
        },
    };
    if let Some(attached) = &connection.attached {
        hub.nodes.detach(node.as_str(), attached.id, Instant::now());
    }
    let was_connected = connection.connected;
    drop(connection);
    let reason = longshore_process::chain(&end);
    match &end {
        _ if was_connected => info!(%node, %address, reason, "edge disconnected"),
        End::Session(_) => {
            hub.metrics.link_refused.increment();
            warn!(%node, %address, reason, "connection refused");
        }
        _ => debug!(%node, %address, reason, "connection ended before its session began"),
    }
    // The queue is closed now: the writer sends what is left, and ends.
    if !writer.is_finished() && tokio::time::timeout(GOODBYE, &mut writer).await.is_err() {
        writer.abort();
    }
}

async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut queue: mpsc::Receiver<Bytes>,
) -> Result<(), tungstenite::Error> {
    while let Some(line) = queue.recv().await {
        sink.feed(Message::Binary(line)).await?;
        while let Ok(line) = queue.try_recv() {
            sink.feed(Message::Binary(line)).await?;
        }
        sink.flush().await?;
    }
    sink.close().await
}

impl Connection<'_> {
    async fn run(&mut self, mut stream: SplitStream<Socket>) -> End {
        let mut log = self.hub.logs.subscribe(self.node.as_str());
        loop {
            self.begin();
            let wake_at = self.session.wake_at();
            let event = tokio::select! {
                message = stream.next() => match message {
                    Some(Ok(Message::Binary(bytes))) => match Frame::decode(bytes) {
                        Ok(frame) => HubEvent::Frame(frame),
                        Err(error) => return undecodable(error),
                    },
                    Some(Ok(Message::Close(_))) | None => return End::Closed,
                    // Pings of the WebSocket itself are answered by its library.
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return End::Broken(Box::new(error)),
                },
                done = self.live.finish() => match self.done(done) {
                    Ok(event) => event,
                    Err(end) => return end,
                },
                done = self.telemetry.finish() => match self.done(done) {
                    Ok(event) => event,
                    Err(end) => return end,
                },
                // The hub holds the sender as long as there is a receiver.
                Ok(()) = log.changed() => HubEvent::LogChanged,
                Some(reason) = ended(&mut self.attached) => HubEvent::End(reason),
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
                    HubEffect::Send(frame) => {
                        let sent = self.lines.try_send(frame.encode());
                        sent.map_err(|_| End::Congested)?;
                    }
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
                    HubEffect::OpenTelemetry { .. }
                    | HubEffect::Handle {
                        lane: Lane::Telemetry,
                        ..
                    } => self.telemetry.waiting.push_back(effect),
                    HubEffect::Open(_) | HubEffect::Handle { .. } => {
                        self.live.waiting.push_back(effect);
                    }
                }
            }
        }
        Ok(())
    }

    fn done(&mut self, done: Result<Done, End>) -> Result<HubEvent, End> {
        Ok(match done? {
            Done::Opened(taken, attached) => {
                self.attached = Some(attached);
                HubEvent::Opened { taken }
            }
            Done::TelemetryOpened(taken) => HubEvent::TelemetryOpened { taken },
            Done::Handled(lane, through) => HubEvent::Handled { lane, through },
        })
    }

    fn begin(&mut self) {
        for work in [&mut self.live, &mut self.telemetry] {
            if work.running.is_none()
                && let Some(effect) = work.waiting.pop_front()
            {
                work.running = operation(Arc::clone(self.hub), self.node.clone(), effect);
            }
        }
    }
}

impl Work {
    async fn finish(&mut self) -> Result<Done, End> {
        let Some(operation) = &mut self.running else {
            return pending().await;
        };
        let outcome = operation.await;
        self.running = None;
        outcome
    }
}

fn operation(hub: Arc<Tables>, node: NodeName, effect: HubEffect) -> Option<Operation> {
    Some(match effect {
        HubEffect::Open(hello) => Box::pin(open(hub, node, hello)),
        HubEffect::OpenTelemetry {
            epoch,
            last_sequence,
        } => Box::pin(telemetry::open(hub, node, epoch, last_sequence)),
        HubEffect::Handle {
            lane,
            epoch,
            after,
            records,
        } => match lane {
            Lane::Live => Box::pin(handle(hub, node, epoch, after, records)),
            Lane::Telemetry => Box::pin(telemetry::take(hub, node, epoch, after, records)),
        },
        _ => return None,
    })
}

/// Waits until the node's log is whole, takes the node's place, and looks up
/// where its records go on.
async fn open(hub: Arc<Tables>, node: NodeName, hello: Hello) -> Result<Done, End> {
    hub.listed.wait(|listed| listed.catalog).await;
    hub.logs.settled().await;
    let attached = hub.nodes.attach(node.as_str(), Instant::now());
    let taken = hub
        .store
        .open_node(node.as_str(), hello.edge_epoch, hello.last_sequence)
        .await;
    if taken.is_err() {
        hub.nodes.detach(node.as_str(), attached.id, Instant::now());
    }
    Ok(Done::Opened(taken?, attached))
}

/// Stores records and remembers them. A node has a say in what is bound to it,
/// and in itself; all else is dropped and counted, but taken, or it would
/// block what comes after it.
async fn handle(
    hub: Arc<Tables>,
    node: NodeName,
    epoch: Epoch,
    after: u64,
    records: Vec<UpRecord>,
) -> Result<Done, End> {
    let writes: Vec<Write> = records
        .iter()
        .map(|record| write_of(&hub, &node, record))
        .collect();
    let count = records.len();
    let (through, repeated) = hub
        .store
        .take(node.as_str(), epoch, after, records, writes.clone())
        .await?;
    hub.metrics.records.add((count - repeated) as u64);
    hub.metrics.records_repeated.add(repeated as u64);
    for write in writes.into_iter().skip(repeated) {
        match write {
            Write::Report(device, payload) => hub.reported(device, node.as_str(), payload),
            Write::Node(payload) => {
                if let Ok(Up::Node(report)) = Up::decode(&payload)
                    && hub.nodes.set_report(node.as_str(), report)
                {
                    hub.mark_devices_of(node.as_str());
                }
            }
            Write::Schema(schema) => hub.schema_came(&schema),
            Write::Nothing => {}
        }
    }
    Ok(Done::Handled(Lane::Live, through))
}

fn write_of(hub: &Tables, node: &NodeName, record: &UpRecord) -> Write {
    match Up::decode(&record.payload) {
        Ok(Up::Reported(reported)) => {
            if hub.is_of(&reported.name, &reported.uid, node) {
                return Write::Report(reported.name, record.payload.clone());
            }
            hub.metrics.records_dropped.increment();
            debug!(%node, device = %reported.name, "report of a device that is not this node's");
            Write::Nothing
        }
        Ok(Up::Node(_)) => Write::Node(record.payload.clone()),
        Ok(Up::Schema(schema)) => match Document::parse(&schema.text) {
            Ok(_) => Write::Schema(schema),
            Err(error) => {
                hub.metrics.records_unknown.increment();
                let error = longshore_process::chain(&error);
                warn!(%node, protocol = schema.protocol, error, "a mapper's schema cannot be used");
                Write::Nothing
            }
        },
        Ok(_) => {
            hub.metrics.records_unknown.increment();
            Write::Nothing
        }
        Err(error) => {
            hub.metrics.records_unknown.increment();
            let error = longshore_process::chain(&error);
            warn!(%node, sequence = record.sequence, error, "record cannot be understood");
            Write::Nothing
        }
    }
}

fn undecodable(error: DecodeError) -> End {
    End::Session(CloseReason::Undecodable(error))
}

async fn ended(attached: &mut Option<Attached>) -> Option<longshore_link::RefuseReason> {
    match attached {
        Some(attached) => (&mut attached.ended).await.ok(),
        None => pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => pending().await,
    }
}
