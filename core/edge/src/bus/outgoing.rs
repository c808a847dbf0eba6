//! The way out: one bounded queue, in order.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use tokio::sync::mpsc;

use longshore_twin::Message;
use longshore_types::{
    NodeName, Topic,
    topic::{DeviceEvent, NodeEvent},
};

use super::{BusCounters, kubeedge};

/// Messages that may wait for the broker …
const QUEUE: usize = 2048;
/// … and the bytes of their payloads, as far as they are formatted.
const QUEUE_BYTES: usize = 8 << 20;
/// The queue has room for more when this many messages fit, and half of the
/// bytes: as many messages as one batch of readings becomes at most, each
/// reading being the only one of its device.
const ROOM: usize = QUEUE / 2;

/// Something to publish.
#[derive(Debug)]
pub(super) enum Publication {
    /// By the twin engine. A batch is formatted and of QoS 0; changes and
    /// membership become KubeEdge's messages here, of QoS 1.
    Told(Message),
    /// An answer, QoS 1.
    Answer { topic: String, payload: Vec<u8> },
    /// A formatted payload, QoS 1, retained.
    Retained { topic: Arc<str>, payload: Bytes },
}

/// A message as the broker takes it.
#[derive(Debug)]
pub(super) struct Packet {
    /// The topic.
    pub(super) topic: Arc<str>,
    /// The payload.
    pub(super) payload: Bytes,
    /// QoS 1, else 0.
    pub(super) at_least_once: bool,
    /// The broker keeps it for who comes later.
    pub(super) retain: bool,
}

/// Puts messages into the queue; never waits, except for answers.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    queue: mpsc::Sender<Publication>,
    bytes: Arc<AtomicUsize>,
    counters: Arc<BusCounters>,
}

/// Where a broker takes messages from.
#[derive(Debug)]
pub(super) struct Queue {
    messages: mpsc::Receiver<Publication>,
    bytes: Arc<AtomicUsize>,
}

pub(super) fn channel(counters: Arc<BusCounters>) -> (Outgoing, Queue) {
    let (queue, messages) = mpsc::channel(QUEUE);
    let bytes = Arc::new(AtomicUsize::new(0));
    (
        Outgoing {
            queue,
            bytes: bytes.clone(),
            counters,
        },
        Queue { messages, bytes },
    )
}

impl Queue {
    /// The next message; `None` when there will never be another.
    pub(super) async fn recv(&mut self) -> Option<Publication> {
        let message = self.messages.recv().await?;
        self.bytes.fetch_sub(message.size(), Ordering::Relaxed);
        Some(message)
    }
}

impl Outgoing {
    /// Whether there is room for what one batch of readings brings.
    pub(super) fn has_room(&self) -> bool {
        self.queue.capacity() >= ROOM && self.bytes.load(Ordering::Relaxed) < QUEUE_BYTES / 2
    }

    /// What there is no room for is dropped and counted.
    pub(super) fn send(&self, message: Message) {
        if !self.try_send(message) {
            BusCounters::add(&self.counters.dropped);
        }
    }

    /// False when there is no room: who sends it tries again.
    pub(super) fn try_send(&self, message: Message) -> bool {
        self.put(Publication::Told(message))
    }

    /// Waits for room: who asks may be made to wait, the twin engine may not.
    pub(super) async fn answer(&self, topic: String, payload: Vec<u8>) {
        let message = Publication::Answer { topic, payload };
        self.bytes.fetch_add(message.size(), Ordering::Relaxed);
        // The receiver ends only with the bus itself.
        let _ = self.queue.send(message).await;
    }

    /// False when there is no room: who sends it tries again.
    pub(super) fn retained(&self, topic: Arc<str>, payload: Bytes) -> bool {
        self.put(Publication::Retained { topic, payload })
    }

    fn put(&self, message: Publication) -> bool {
        let size = message.size();
        let waiting = self.bytes.fetch_add(size, Ordering::Relaxed);
        let taken = waiting <= QUEUE_BYTES && self.queue.try_send(message).is_ok();
        if !taken {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
        }
        taken
    }
}

impl Publication {
    /// Bytes of a payload that stands already.
    fn size(&self) -> usize {
        match self {
            Self::Told(Message::Batch { payload, .. }) | Self::Retained { payload, .. } => {
                payload.len()
            }
            Self::Answer { payload, .. } => payload.len(),
            Self::Told(Message::Changed(_) | Message::Membership(_)) => 0,
        }
    }

    /// The packets that it becomes, in order.
    pub(super) fn packets(self, node: &NodeName, now_ms: i64) -> impl Iterator<Item = Packet> {
        let mut packets = [None, None];
        let packet = |topic: Arc<str>, payload: Bytes| Packet {
            topic,
            payload,
            at_least_once: true,
            retain: false,
        };
        let at_least_once =
            |topic: Topic, payload: Vec<u8>| Some(packet(topic.to_string().into(), payload.into()));
        match self {
            Self::Told(Message::Batch { topic, payload }) => {
                packets[0] = Some(Packet {
                    topic,
                    payload,
                    at_least_once: false,
                    retain: false,
                });
            }
            Self::Retained { topic, payload } => {
                packets[0] = Some(Packet {
                    retain: true,
                    ..packet(topic, payload)
                });
            }
            Self::Told(Message::Changed(change)) => {
                packets[0] = at_least_once(
                    Topic::device(&change.device, DeviceEvent::TwinUpdateDocument),
                    kubeedge::document(&change, now_ms),
                );
                packets[1] = kubeedge::delta(&change, now_ms).and_then(|payload| {
                    at_least_once(
                        Topic::device(&change.device, DeviceEvent::TwinUpdateDelta),
                        payload,
                    )
                });
            }
            Self::Told(Message::Membership(change)) => {
                packets[0] = at_least_once(
                    Topic::node(node.clone(), NodeEvent::MembershipUpdated),
                    kubeedge::membership_updated(&change, now_ms),
                );
            }
            Self::Answer { topic, payload } => {
                packets[0] = Some(packet(topic.into(), payload.into()))
            }
        }
        packets.into_iter().flatten()
    }
}
