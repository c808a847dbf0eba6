//! The way out: one bounded queue, in order.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use longshore_types::{NodeName, Topic, topic::{DeviceEvent, NodeEvent}};

use super::{BusCounters, kubeedge};
use crate::ports::{DeviceChange, MembershipChange};

/// Messages that may wait for the broker. A batch holds up to some ten
/// kilobytes, so this bounds the memory to a few megabytes.
const QUEUE: usize = 256;

/// Something to publish.
#[derive(Debug)]
pub(super) enum Message {
    /// A formatted payload, QoS 0.
    Batch { topic: Arc<str>, payload: Bytes },
    /// To be formatted as KubeEdge's document and delta, QoS 1.
    Change(DeviceChange),
    /// To be formatted as KubeEdge's `membership/updated`, QoS 1.
    Membership(MembershipChange),
    /// An answer, QoS 1.
    Answer { topic: Topic, payload: Vec<u8> },
}

/// A message as the broker takes it.
#[derive(Debug)]
pub(super) struct Packet {
    /// The topic.
    pub(super) topic: String,
    /// The payload.
    pub(super) payload: Bytes,
    /// QoS 1, else 0.
    pub(super) at_least_once: bool,
}

/// Puts messages into the queue; never waits, except for answers.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    queue: mpsc::Sender<Message>,
    counters: Arc<BusCounters>,
}

pub(super) fn channel(counters: Arc<BusCounters>) -> (Outgoing, mpsc::Receiver<Message>) {
    let (queue, receiver) = mpsc::channel(QUEUE);
    (Outgoing { queue, counters }, receiver)
}

impl Outgoing {
    pub(super) fn batch(&self, topic: Arc<str>, payload: Bytes) {
        self.try_send(Message::Batch { topic, payload });
    }

    pub(super) fn change(&self, change: DeviceChange) {
        self.try_send(Message::Change(change));
    }

    pub(super) fn membership(&self, change: MembershipChange) {
        self.try_send(Message::Membership(change));
    }

    /// Waits for room: who asks may be made to wait, the twin engine may not.
    pub(super) async fn answer(&self, topic: Topic, payload: Vec<u8>) {
        // The receiver ends only with the bus itself.
        let _ = self.queue.send(Message::Answer { topic, payload }).await;
    }

    fn try_send(&self, message: Message) {
        if self.queue.try_send(message).is_err() {
            BusCounters::add(&self.counters.dropped);
        }
    }
}

impl Message {
    /// The packets that it becomes, in order.
    pub(super) fn packets(self, node: &NodeName, now_ms: i64) -> impl Iterator<Item = Packet> {
        let mut packets = [None, None];
        let at_least_once = |topic: Topic, payload: Vec<u8>| Some(Packet { topic: topic.to_string(), payload: payload.into(), at_least_once: true });
        match self {
            Self::Batch { topic, payload } => {
                packets[0] = Some(Packet { topic: topic.as_ref().to_owned(), payload, at_least_once: false });
            }
            Self::Change(change) => {
                packets[0] = at_least_once(Topic::device(&change.device, DeviceEvent::TwinUpdateDocument), kubeedge::document(&change, now_ms));
                packets[1] = kubeedge::delta(&change, now_ms)
                    .and_then(|payload| at_least_once(Topic::device(&change.device, DeviceEvent::TwinUpdateDelta), payload));
            }
            Self::Membership(change) => {
                packets[0] = at_least_once(
                    Topic::node(node.clone(), NodeEvent::MembershipUpdated),
                    kubeedge::membership_updated(&change, now_ms),
                );
            }
            Self::Answer { topic, payload } => packets[0] = at_least_once(topic, payload),
        }
        packets.into_iter().flatten()
    }
}
