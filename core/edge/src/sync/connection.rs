//! One connection: frames, the store's answers and the clock into the session,
//! its effects out.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{SinkExt, StreamExt, future::BoxFuture, stream::SplitSink};
use longshore_link::{
    Change as LinkChange, EdgeEffect, EdgeEvent, EdgePosition, EdgeSession, Epoch, Frame, Lane,
    UpRecord,
};
use longshore_process::{Owned, Stop};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{self, Message};

use super::{LinkCounters, dial::Socket, error::LinkError};
use crate::store::{Apply, Change, HubPosition, ObjectKey, Source, StoreError, StoreHandle};

/// Messages that may wait for the line. The windows of the link keep far fewer
/// under way; a queue that is full means that the line is dead.
const QUEUE: usize = 256;

/// What may remain to be sent at the end gets so long.
const GOODBYE: Duration = Duration::from_secs(1);

type Writer = SplitSink<Socket, Message>;
type Operation = BoxFuture<'static, Result<Option<EdgeEvent>, StoreError>>;

struct Connection<'a> {
    session: &'a mut EdgeSession,
    store: &'a StoreHandle,
    counters: &'a Arc<LinkCounters>,
    lines: mpsc::Sender<Bytes>,
    /// What the session asked of the store, in order; one is under way at a time.
    waiting: VecDeque<EdgeEffect>,
    running: Option<Operation>,
}

/// Serves a connection to its end. `Ok` only when it was told to stop.
pub(super) async fn serve(
    session: &mut EdgeSession,
    socket: Socket,
    store: &StoreHandle,
    counters: &Arc<LinkCounters>,
    connected: impl Fn(Option<&[u64]>),
    stop: Stop,
) -> Result<(), LinkError> {
    let (sink, stream) = socket.split();
    let (lines, queue) = mpsc::channel(QUEUE);
    let mut writer = Owned::spawn("link writer", write(sink, queue));
    let mut connection = Connection {
        session,
        store,
        counters,
        lines,
        waiting: VecDeque::new(),
        running: None,
    };
    let outcome = tokio::select! {
        outcome = connection.run(stream, connected, stop) => outcome,
        ended = &mut writer => match ended {
            Ok(Err(error)) => Err(LinkError::Broken(Box::new(error))),
            _ => Err(LinkError::Closed),
        },
    };
    connection
        .session
        .step(EdgeEvent::TransportDown, Instant::now());
    drop(connection);
    // The queue is closed now: the writer sends what is left, and ends.
    if !writer.is_finished() {
        let _ = tokio::time::timeout(GOODBYE, writer).await;
    }
    outcome
}

async fn write(
    mut sink: Writer,
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
    async fn run(
        &mut self,
        mut stream: futures::stream::SplitStream<Socket>,
        connected: impl Fn(Option<&[u64]>),
        mut stop: Stop,
    ) -> Result<(), LinkError> {
        let mut outbox = self.store.outbox_changed();
        let position = position(self.store).await?;
        self.step(EdgeEvent::TransportUp(position), &connected)?;
        loop {
            self.begin();
            let wake_at = self.session.wake_at();
            let event = tokio::select! {
                message = stream.next() => match message {
                    Some(Ok(Message::Binary(bytes))) => {
                        self.counters.received_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                        EdgeEvent::Frame(Frame::decode(bytes)?)
                    }
                    Some(Ok(Message::Close(_))) | None => return Err(LinkError::Closed),
                    // Pings of the WebSocket itself are answered by its library.
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Err(LinkError::Broken(Box::new(error))),
                },
                done = finish(&mut self.running) => match done? {
                    Some(event) => event,
                    None => continue,
                },
                changed = outbox.changed() => {
                    changed.map_err(|_| StoreError::Closed)?;
                    EdgeEvent::OutboxChanged
                }
                () = sleep_until(wake_at) => EdgeEvent::Tick,
                () = stop.asked() => return Ok(()),
            };
            self.step(event, &connected)?;
        }
    }

    fn step(
        &mut self,
        event: EdgeEvent,
        connected: &impl Fn(Option<&[u64]>),
    ) -> Result<(), LinkError> {
        for effect in self.session.step(event, Instant::now()) {
            match effect {
                EdgeEffect::Send(frame) => {
                    let bytes = frame.encode();
                    self.counters
                        .sent_bytes
                        .fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    self.lines
                        .try_send(bytes)
                        .map_err(|_| LinkError::Congested)?;
                }
                EdgeEffect::Connected => {
                    self.counters.connections.fetch_add(1, Ordering::Relaxed);
                    connected(self.session.schemas_of_hub());
                }
                EdgeEffect::Close(reason) => return Err(LinkError::Session(reason)),
                EdgeEffect::Apply { .. } | EdgeEffect::Forget { .. } | EdgeEffect::Fetch { .. } => {
                    self.waiting.push_back(effect);
                }
            }
        }
        Ok(())
    }

    /// Asks the store for the next thing, when it is done with the one before.
    fn begin(&mut self) {
        if self.running.is_some() {
            return;
        }
        let Some(effect) = self.waiting.pop_front() else {
            return;
        };
        let (store, counters) = (self.store.clone(), Arc::clone(self.counters));
        self.running = Some(Box::pin(operation(store, counters, effect)));
    }
}

async fn operation(
    store: StoreHandle,
    counters: Arc<LinkCounters>,
    effect: EdgeEffect,
) -> Result<Option<EdgeEvent>, StoreError> {
    match effect {
        EdgeEffect::Apply {
            epoch,
            revision,
            snapshot,
            changes,
        } => {
            let position = Some(HubPosition {
                log: epoch.to_string(),
                revision,
            });
            let changes = changes.into_iter().map(store_change).collect();
            store
                .apply(Apply {
                    source: Source::Hub,
                    position,
                    replace: snapshot,
                    changes,
                })
                .await?;
            counters.revision.store(revision, Ordering::Relaxed);
            Ok(Some(EdgeEvent::Applied { revision }))
        }
        EdgeEffect::Forget { lane, through } => {
            store.acknowledge(lane, through).await?;
            if lane == Lane::Live {
                counters.taken.store(through, Ordering::Relaxed);
            }
            Ok(None)
        }
        EdgeEffect::Fetch {
            lane,
            after,
            max_records,
            max_bytes,
        } => {
            let records = store.take(lane, after, max_records, max_bytes).await?;
            let records = records.into_iter();
            let records = records
                .map(|r| UpRecord {
                    sequence: r.sequence,
                    payload: r.payload.into(),
                })
                .collect();
            Ok(Some(EdgeEvent::Fetched { lane, records }))
        }
        EdgeEffect::Send(_) | EdgeEffect::Connected | EdgeEffect::Close(_) => Ok(None),
    }
}

fn store_change(change: LinkChange) -> Change {
    let key = ObjectKey {
        kind: change.key.kind,
        namespace: change.key.namespace,
        name: change.key.name,
    };
    match change.content {
        Some(content) => Change::Put {
            key,
            uid: content.uid,
            resource_version: content.resource_version,
            json: String::from_utf8_lossy(&content.json).into_owned(),
        },
        None => Change::Delete(key),
    }
}

async fn position(store: &StoreHandle) -> Result<EdgePosition, StoreError> {
    let last_sequence = store.last_sequence(Lane::Live).await?;
    let last_telemetry = store.last_sequence(Lane::Telemetry).await?;
    let (hub_epoch, revision) = store
        .position()
        // A position that cannot be read is none: the hub sends a snapshot.
        .and_then(|position| Some((position.log.parse::<Epoch>().ok()?, position.revision)))
        .unwrap_or((Epoch::NONE, 0));
    Ok(EdgePosition {
        hub_epoch,
        revision,
        edge_epoch: Epoch(store.epoch()),
        last_sequence,
        last_telemetry,
    })
}

async fn finish(running: &mut Option<Operation>) -> Result<Option<EdgeEvent>, StoreError> {
    let Some(operation) = running else {
        return pending().await;
    };
    let outcome = operation.await;
    *running = None;
    outcome
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => pending().await,
    }
}
