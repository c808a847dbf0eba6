//! Answers requests from clients, in their order. Updates wait for the disk, and
//! many of them together: what follows an update begins while that waits, and is
//! answered after it.

use std::sync::Arc;

use bytes::Bytes;
use longshore_link::transport::Turns;
use longshore_process::Group;
use longshore_types::{
    DeviceName, NodeName, Topic,
    topic::{DeviceEvent, NodeEvent},
};
use tokio::sync::mpsc;

use super::{
    BusCounters, calls,
    kubeedge::{self, Refusal, Request},
    outgoing::Outgoing,
};
use crate::twin::{TwinHandle, UpdateError, Updating};

/// Requests that may wait; a broker's client that sends more is told by silence.
const QUEUE: usize = 256;
/// Requests that may be under way: as many updates share a commit of the store.
const UNANSWERED: usize = 256;
/// Calls of methods that may run at a time on this node.
const CALLS: usize = 64;

/// A request as it came.
#[derive(Debug)]
pub(super) struct Raw {
    topic: Arc<str>,
    payload: Bytes,
}

/// Where a broker puts requests; never waits.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    queue: mpsc::Sender<Raw>,
    counters: Arc<BusCounters>,
}

pub(super) fn channel(counters: Arc<BusCounters>) -> (Incoming, mpsc::Receiver<Raw>) {
    let (queue, receiver) = mpsc::channel(QUEUE);
    (Incoming { queue, counters }, receiver)
}

impl Incoming {
    /// Takes a message if it is a request.
    pub(super) fn offer(&self, topic: &str, payload: &Bytes) {
        if kubeedge::is_request(topic) || calls::is_request(topic) {
            let raw = Raw {
                topic: topic.into(),
                payload: payload.clone(),
            };
            if self.queue.try_send(raw).is_err() {
                BusCounters::add(&self.counters.requests_refused);
                tracing::warn!(
                    topic,
                    "MQTT request dropped: more wait than the queue holds"
                );
            }
        }
    }
}

/// Turns requests into answers.
pub(super) struct Responder {
    pub(super) node: NodeName,
    pub(super) twin: TwinHandle,
    pub(super) outgoing: Outgoing,
    pub(super) counters: Arc<BusCounters>,
    /// Other nodes may be at the same broker.
    pub(super) shared: bool,
}

/// A request that is under way.
enum Begun {
    Update {
        device: DeviceName,
        event_id: String,
        /// The properties that it names, and what becomes of it.
        begun: Result<(Vec<String>, Updating), String>,
    },
    /// Begins when what came before it is answered.
    Later(Request),
}

impl Responder {
    pub(super) async fn run(self, mut requests: mpsc::Receiver<Raw>) {
        let responder = Arc::new(self);
        // Calls take their time, so they run beside the rest.
        let mut running = Group::new("mqtt call", CALLS);
        let mut answers = Turns::default();
        let mut unanswered = 0;
        loop {
            let raw = tokio::select! {
                raw = requests.recv(), if unanswered < UNANSWERED => raw,
                () = answers.next() => {
                    unanswered -= 1;
                    continue;
                }
                () = running.reap() => continue,
            };
            let Some(raw) = raw else {
                return;
            };
            if let Some(call) = calls::parse(&raw.topic, &raw.payload) {
                responder.call(call, &mut running).await;
                continue;
            }
            let Some(request) = kubeedge::parse(&raw.topic, &raw.payload) else {
                continue;
            };
            let begun = responder.begin(request).await;
            unanswered += 1;
            answers.push(responder.clone().end(begun));
        }
    }

    async fn begin(&self, request: Request) -> Begun {
        match request {
            Request::Update {
                device,
                event_id,
                updates,
            } => {
                let begun = match updates {
                    Err(reason) => Err(reason),
                    Ok(updates) => {
                        let names = updates.iter().map(|update| update.property.clone());
                        let names = names.collect();
                        Ok((names, self.twin.begin_update(device.clone(), updates).await))
                    }
                };
                Begun::Update {
                    device,
                    event_id,
                    begun,
                }
            }
            other => Begun::Later(other),
        }
    }

    async fn end(self: Arc<Self>, begun: Begun) {
        let (device, (topic, payload, refused)) = match begun {
            Begun::Update {
                device,
                event_id,
                begun,
            } => {
                let answer = self.updated(&device, &event_id, begun).await;
                (Some(device), answer)
            }
            Begun::Later(request) => {
                let device = request.device().cloned();
                (device, self.answer(request).await)
            }
        };
        if refused && self.is_anothers(device).await {
            return;
        }
        BusCounters::add(if refused {
            &self.counters.requests_refused
        } else {
            &self.counters.requests
        });
        if let Some(topic) = topic {
            self.outgoing.answer(topic.to_string(), payload).await;
        }
    }

    async fn updated(
        &self,
        device: &DeviceName,
        event_id: &str,
        begun: Result<(Vec<String>, Updating), String>,
    ) -> (Option<Topic>, Vec<u8>, bool) {
        let result = match begun {
            Err(reason) => Err(Refusal { code: 400, reason }),
            Ok((names, updating)) => match updating.ended().await {
                Ok(twin) => Ok((names, twin)),
                Err(UpdateError { code, reason }) => Err(Refusal { code, reason }),
            },
        };
        let now_ms = longshore_process::clock::now_ms();
        let topic = Some(Topic::device(device, DeviceEvent::TwinUpdateResult));
        match result {
            Ok((names, twin)) => {
                let payload = kubeedge::twin_result(event_id, &twin, Some(&names), now_ms);
                (topic, payload, false)
            }
            Err(refusal) => (topic, kubeedge::failure(event_id, &refusal, now_ms), true),
        }
    }

    /// Carries a call out beside the other requests, and answers it.
    async fn call(&self, call: calls::Call, running: &mut Group) {
        let (outgoing, counters) = (self.outgoing.clone(), self.counters.clone());
        let refused = match &call.request {
            Err(reason) => reason.clone(),
            Ok(_) if running.is_full() => {
                format!("{CALLS} calls run on this node already, call again later")
            }
            Ok(arguments) => {
                let (twin, shared) = (self.twin.clone(), self.shared);
                let arguments = arguments.clone();
                running.spawn(async move {
                    let result = twin
                        .call(call.device.clone(), call.method.clone(), arguments)
                        .await;
                    // Another node may have this device: then it answers.
                    let another = shared && twin.get(call.device.clone()).await.is_none();
                    if !another {
                        BusCounters::add(match result {
                            Ok(_) => &counters.requests,
                            Err(_) => &counters.requests_refused,
                        });
                        let result = result.map_err(|error| error.reason);
                        outgoing.answer(call.answer_to(), call.answer(result)).await;
                    }
                });
                return;
            }
        };
        if self.is_anothers(Some(call.device.clone())).await {
            return;
        }
        BusCounters::add(&counters.requests_refused);
        outgoing
            .answer(call.answer_to(), call.answer(Err(refused)))
            .await;
    }

    /// Whether some other node may have this device: then it answers.
    async fn is_anothers(&self, device: Option<DeviceName>) -> bool {
        match device {
            Some(device) if self.shared => self.twin.get(device).await.is_none(),
            _ => false,
        }
    }

    /// The topic and payload of the answer, and whether it is a refusal.
    async fn answer(&self, request: Request) -> (Option<Topic>, Vec<u8>, bool) {
        let now_ms = longshore_process::clock::now_ms();
        let finish = |topic: Topic, event_id: &str, result: Result<Vec<u8>, Refusal>| match result {
            Ok(payload) => (Some(topic), payload, false),
            Err(failure) => (
                Some(topic),
                kubeedge::failure(event_id, &failure, now_ms),
                true,
            ),
        };
        match request {
            Request::Get { device, event_id } => {
                let topic = Topic::device(&device, DeviceEvent::TwinGetResult);
                let result = match self.twin.get(device.clone()).await {
                    Some(twin) => Ok(kubeedge::twin_result(&event_id, &twin, None, now_ms)),
                    None => Err(self.unknown(device.as_str())),
                };
                finish(topic, &event_id, result)
            }
            // Begins at once, and is answered by [`Self::updated`].
            Request::Update { .. } => (None, Vec::new(), false),
            Request::State {
                device,
                event_id,
                state,
            } => {
                let topic = Topic::device(&device, DeviceEvent::StateUpdateResult);
                finish(
                    topic,
                    &event_id,
                    self.set_state(device, state, &event_id, now_ms).await,
                )
            }
            // A shared external broker carries the requests for other nodes as well.
            Request::Membership { node, .. } if node != self.node => (None, Vec::new(), false),
            Request::Membership { node, event_id } => {
                let devices = self.twin.list().await;
                let payload = kubeedge::membership(&event_id, &devices, now_ms);
                (
                    Some(Topic::node(node, NodeEvent::MembershipGetResult)),
                    payload,
                    false,
                )
            }
        }
    }

    async fn set_state(
        &self,
        device: DeviceName,
        state: Result<longshore_types::report::DeviceState, String>,
        event_id: &str,
        now_ms: i64,
    ) -> Result<Vec<u8>, Refusal> {
        let state = state.map_err(|reason| Refusal { code: 400, reason })?;
        self.twin
            .set_state(device.clone(), state)
            .await
            .map_err(|error| Refusal {
                code: error.code,
                reason: error.reason,
            })?;
        let name = device.as_str().to_owned();
        let twin = self
            .twin
            .get(device)
            .await
            .ok_or_else(|| self.unknown(&name))?;
        Ok(kubeedge::state_result(event_id, &twin, now_ms))
    }

    fn unknown(&self, device: &str) -> Refusal {
        Refusal {
            code: 404,
            reason: format!("device {device} is not on node {}", self.node),
        }
    }
}
