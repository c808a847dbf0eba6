//! Answers requests from clients: each client's in their order, the clients in turns.
//! Updates wait for the disk, and many of them together: what follows an update
//! begins while that waits, and is answered after it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use longshore_link::transport::Turns as Answers;
use longshore_process::Group;
use longshore_types::{
    DeviceName, NodeName, Topic,
    topic::{DeviceEvent, NodeEvent},
};
use tokio::sync::Notify;

use super::{
    BusCounters, calls,
    kubeedge::{self, Refusal, Request},
    outgoing::Outgoing,
    turns::{CLIENT, Turns},
};
use crate::twin::{TwinHandle, UpdateError, Updating};

/// Requests of all clients that may be under way: as many updates share a commit of
/// the store.
const UNANSWERED: usize = 256;
/// Calls of methods that may run at a time on this node.
const CALLS: usize = 64;
/// A request that is larger is told that the edge is busy without its event id,
/// which would have to be looked for.
const LOOKED_AT: usize = 64 * 1024;

/// A request as it came.
#[derive(Debug)]
struct Raw {
    topic: Arc<str>,
    payload: Bytes,
}

/// Where requests wait.
#[derive(Debug, Default)]
struct Waiting {
    turns: Mutex<Turns<Raw>>,
    more: Notify,
}

impl Waiting {
    fn turns(&self) -> MutexGuard<'_, Turns<Raw>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a broker puts requests; never waits.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    waiting: Arc<Waiting>,
    counters: Arc<BusCounters>,
}

/// Where requests are taken from.
#[derive(Debug)]
pub(super) struct Requests(Arc<Waiting>);

pub(super) fn channel(counters: Arc<BusCounters>) -> (Incoming, Requests) {
    let waiting = Arc::new(Waiting::default());
    let requests = Requests(waiting.clone());
    (Incoming { waiting, counters }, requests)
}

impl Incoming {
    /// Takes a message of a broker outside, which does not say whose it is, if it is a
    /// request. What there is no room for has no answer: another node may have the
    /// device, and give one.
    pub(super) fn offer(&self, topic: &str, payload: &Bytes) {
        if kubeedge::is_request(topic) || calls::is_request(topic) {
            let _ = self.take("".into(), topic.into(), payload.clone());
        }
    }

    /// Takes a request of a client, or gives it back as one that there is no room for.
    pub(super) fn take(&self, client: Arc<str>, topic: Arc<str>, payload: Bytes) -> Option<Busy> {
        let size = topic.len() + payload.len();
        let raw = Raw { topic, payload };
        let put = self.waiting.turns().put(client.clone(), raw, size);
        let Err(raw) = put else {
            self.waiting.more.notify_one();
            return None;
        };
        BusCounters::add(&self.counters.requests_refused);
        tracing::warn!(
            client = &*client,
            topic = &*raw.topic,
            "MQTT request refused: more of this client wait than its queue holds"
        );
        Some(Busy(raw))
    }
}

/// A request that there is no room for.
#[derive(Debug)]
pub(super) struct Busy(Raw);

impl Busy {
    /// Where that is said, and how.
    pub(super) fn answer(&self) -> Option<(String, Vec<u8>)> {
        let Self(raw) = self;
        let reason =
            format!("the edge is busy: {CLIENT} requests of this client wait, ask again later");
        let payload = match raw.payload.len() <= LOOKED_AT {
            true => &raw.payload[..],
            false => &[],
        };
        if let Some(call) = calls::parse(&raw.topic, payload) {
            return Some((call.answer_to(), call.answer(Err(calls::refused(reason)))));
        }
        let (topic, event_id) = kubeedge::answer_to(kubeedge::parse(&raw.topic, payload)?);
        let refusal = Refusal { code: 429, reason };
        let now_ms = longshore_process::clock::now_ms();
        let payload = kubeedge::failure(&event_id, &refusal, now_ms);
        Some((topic.to_string(), payload))
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
    pub(super) async fn run(self, requests: Requests) {
        let (responder, waiting) = (Arc::new(self), requests.0);
        // Calls take their time, so they run beside the rest.
        let mut running = Group::new("mqtt call", CALLS);
        let mut answers = Answers::default();
        let mut unanswered = 0;
        loop {
            let free = unanswered < UNANSWERED;
            let next = free.then(|| waiting.turns().next()).flatten();
            let Some((client, raw)) = next else {
                tokio::select! {
                    () = answers.next() => unanswered -= 1,
                    () = waiting.more.notified() => {}
                    () = running.reap() => {}
                }
                continue;
            };
            if let Some(call) = calls::parse(&raw.topic, &raw.payload) {
                responder.call(call, &mut running).await;
                waiting.turns().done(&client);
            } else if let Some(request) = kubeedge::parse(&raw.topic, &raw.payload) {
                let begun = responder.begin(request).await;
                unanswered += 1;
                let (responder, waiting) = (responder.clone(), waiting.clone());
                answers.push(async move {
                    responder.end(begun).await;
                    waiting.turns().done(&client);
                });
            } else {
                waiting.turns().done(&client);
            }
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
            .answer(call.answer_to(), call.answer(Err(calls::refused(refused))))
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

#[cfg(test)]
mod tests {
    use std::{sync::atomic::Ordering::Relaxed, time::Duration};

    use super::*;
    use crate::{
        bus::outgoing,
        twin::{self, Request as Asked},
    };

    const GET: &str = "$hw/events/device/default/boiler/twin/get";

    fn payload(id: &str) -> Bytes {
        format!(r#"{{"event_id":"{id}"}}"#).into()
    }

    /// One client floods while another asks once: each request has an answer, that
    /// of the other comes among the first, and afterwards all is as before.
    #[tokio::test]
    async fn a_flood_of_one_client_is_answered_as_busy_and_delays_no_other() {
        let counters = Arc::new(BusCounters::default());
        let (out, mut queue) = outgoing::channel(counters.clone());
        let (incoming, requests) = channel(counters.clone());
        let (handle, mut inbox) = twin::channel();
        let node = NodeName::new("edge-1").unwrap();
        let responder = Responder {
            node: node.clone(),
            twin: handle,
            outgoing: out,
            counters: counters.clone(),
            shared: false,
        };
        let mut busy = 0;
        for number in 0..1000 {
            let id = format!("flood-{number}");
            let Some(refused) = incoming.take("flood".into(), GET.into(), payload(&id)) else {
                continue;
            };
            let (topic, payload) = refused.answer().unwrap();
            assert_eq!(topic, format!("{GET}/result"));
            let body: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(body["event_id"], id);
            assert_eq!(body["code"], 429);
            busy += 1;
        }
        assert_eq!(busy, 1000 - CLIENT);
        let taken = incoming.take("other".into(), GET.into(), payload("other"));
        assert!(taken.is_none());
        let answering = async {
            while let Some(request) = inbox.0.recv().await {
                if let Asked::Get { reply, .. } = request {
                    drop(reply.send(None));
                }
            }
        };
        let listening = async {
            let mut answers = Vec::new();
            while answers.len() <= CLIENT {
                let Some(message) = queue.recv().await else {
                    break;
                };
                for packet in message.packets(&node, 0) {
                    let body: serde_json::Value = serde_json::from_slice(&packet.payload).unwrap();
                    answers.push((body["event_id"].clone(), body["code"].clone()));
                }
            }
            // The flood is over: the same client is served as any other.
            let taken = incoming.take("flood".into(), GET.into(), payload("after"));
            assert!(taken.is_none());
            let message = queue.recv().await.unwrap();
            let packet = message.packets(&node, 0).next().unwrap();
            assert!(packet.payload.windows(5).any(|text| text == b"after"));
            answers
        };
        let work = async {
            tokio::select! {
                answers = listening => answers,
                () = answering => unreachable!("the engine ends last"),
                () = responder.run(requests) => unreachable!("requests never end"),
            }
        };
        let answers = tokio::time::timeout(Duration::from_secs(60), work)
            .await
            .unwrap();
        assert!(
            answers.iter().all(|(_, code)| *code == 404),
            "there is no device"
        );
        let place = answers.iter().position(|(id, _)| id == "other").unwrap();
        assert!(place < CLIENT, "it waited for all of the flood");
        assert_eq!(counters.dropped.load(Relaxed), 0);
    }
}
