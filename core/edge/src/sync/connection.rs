//! One connection: frames, the store's answers and the clock into the session,
//! its effects out.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use longshore_link::{
    Change as LinkChange, EdgeEffect, EdgeEvent, EdgePosition, EdgeSession, Epoch, Frame, Lane,
    UpRecord,
    transport::{Turns, sleep_until},
};
use longshore_process::Stop;

use super::{LinkCounters, dial::Line, error::LinkError};
use crate::store::{Apply, Change, HubPosition, ObjectKey, Source, StoreError, StoreHandle};

struct Connection<'a> {
    session: &'a mut EdgeSession,
    store: &'a StoreHandle,
    counters: &'a Arc<LinkCounters>,
    line: Line,
    /// What the session asked of the store.
    work: Turns<Result<Option<EdgeEvent>, StoreError>>,
}

/// Serves a connection to its end. `Ok` only when it was told to stop.
pub(super) async fn serve(
    session: &mut EdgeSession,
    line: Line,
    store: &StoreHandle,
    counters: &Arc<LinkCounters>,
    connected: impl Fn(Option<&[u64]>),
    stop: Stop,
) -> Result<(), LinkError> {
    let mut connection = Connection {
        session,
        store,
        counters,
        line,
        work: Turns::default(),
    };
    let outcome = connection.run(connected, stop).await;
    connection
        .session
        .step(EdgeEvent::TransportDown, Instant::now());
    connection.line.close().await;
    outcome
}

impl Connection<'_> {
    async fn run(
        &mut self,
        connected: impl Fn(Option<&[u64]>),
        mut stop: Stop,
    ) -> Result<(), LinkError> {
        let mut outbox = self.store.outbox_changed();
        let position = position(self.store).await?;
        self.step(EdgeEvent::TransportUp(position), &connected)?;
        loop {
            let wake_at = self.session.wake_at();
            let event = tokio::select! {
                message = self.line.receive() => {
                    let bytes = message?;
                    self.counters.received_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    EdgeEvent::Frame(Frame::decode(bytes)?)
                }
                done = self.work.next() => match done? {
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
                    self.line.send(bytes)?;
                }
                EdgeEffect::Connected => {
                    self.counters.connections.fetch_add(1, Ordering::Relaxed);
                    connected(self.session.schemas_of_hub());
                }
                EdgeEffect::Close(reason) => return Err(LinkError::Session(reason)),
                EdgeEffect::Apply { .. } | EdgeEffect::Forget { .. } | EdgeEffect::Fetch { .. } => {
                    let (store, counters) = (self.store.clone(), Arc::clone(self.counters));
                    self.work.push(operation(store, counters, effect));
                }
            }
        }
        Ok(())
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
                    payload: r.payload,
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
