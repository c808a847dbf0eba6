//! The other end of a connection, with the bytes between them: a client that keeps
//! to the standard.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Instant,
};

use super::{
    super::{Core, Pulled},
    disk::Disk,
};
use crate::codec::{
    Ack, AckKind, Connect, Content, Filter, Out, Packet, Publish, QoS, Retention, Subscribe,
    Version, Will,
};

/// What a broker sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    ConnAck { present: bool, code: u8 },
    Publish(Message),
    Ack(Ack),
    SubAck(Vec<u8>),
    UnsubAck(Vec<u8>),
    Pong,
    Disconnect(u8),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: String,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) again: bool,
    pub(super) id: Option<u16>,
    /// As they came.
    pub(super) properties: Vec<u8>,
}

pub(super) fn read(bytes: &[u8], version: Version) -> Vec<Told> {
    let (mut told, mut rest) = (Vec::new(), bytes);
    while let Some((header, total)) = crate::codec::frame(rest, usize::MAX).unwrap() {
        assert!(rest.len() >= total, "half a packet was written");
        told.push(one(rest[0], &rest[header..total], version));
        rest = &rest[total..];
    }
    assert!(rest.is_empty());
    told
}

fn one(first: u8, body: &[u8], version: Version) -> Told {
    let two = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    let code = |at: usize| body.get(at).copied().unwrap_or_default();
    let ack = |kind| {
        Told::Ack(Ack {
            kind,
            id: two(0),
            code: code(2),
        })
    };
    let codes = usize::from(version == Version::V5) + 2;
    match first >> 4 {
        2 => Told::ConnAck {
            present: body[0] == 1,
            code: body[1],
        },
        3 => {
            let topic = usize::from(two(0));
            let mut at = 2 + topic;
            let qos = QoS::new(first >> 1 & 3).unwrap();
            let id = (qos > QoS::AtMostOnce).then(|| {
                at += 2;
                two(at - 2)
            });
            let mut properties = Vec::new();
            if version == Version::V5 {
                assert!(body[at] < 128, "the tests have few properties");
                let length = usize::from(body[at]);
                properties = body[at + 1..=at + length].to_vec();
                at += 1 + length;
            }
            Told::Publish(Message {
                topic: String::from_utf8(body[2..2 + topic].to_vec()).unwrap(),
                payload: String::from_utf8_lossy(&body[at..]).into_owned(),
                qos,
                retain: first & 1 != 0,
                again: first & 8 != 0,
                id,
                properties,
            })
        }
        4 => ack(AckKind::PubAck),
        5 => ack(AckKind::PubRec),
        6 => ack(AckKind::PubRel),
        7 => ack(AckKind::PubComp),
        9 => Told::SubAck(body[codes..].to_vec()),
        11 => Told::UnsubAck(body.get(codes..).unwrap_or_default().to_vec()),
        13 => Told::Pong,
        14 => Told::Disconnect(code(0)),
        other => panic!("packet {other} from a broker"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Sent,
    Released,
}

/// A client with what it must not forget.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: String,
    pub(super) version: Version,
    pub(super) clean: bool,
    pub(super) will: Option<Will>,
    pub(super) connection: Option<usize>,
    /// It was accepted, and has sent again what was not answered.
    pub(super) ready: bool,
    pub(super) inbox: VecDeque<Told>,
    unanswered: VecDeque<(u16, Publish, Phase)>,
    received: BTreeSet<u16>,
    next_id: u16,
    /// Payloads that it got, those of QoS 2 once.
    pub(super) got: Vec<String>,
    /// Payloads that the broker took.
    pub(super) promised: Vec<String>,
}

impl Client {
    pub(super) fn new(name: &str, version: Version, clean: bool) -> Self {
        Self {
            name: name.to_owned(),
            version,
            clean,
            will: None,
            connection: None,
            ready: false,
            inbox: VecDeque::new(),
            unanswered: VecDeque::new(),
            received: BTreeSet::new(),
            next_id: 1,
            got: Vec::new(),
            promised: Vec::new(),
        }
    }

    pub(super) fn connect(&mut self, core: &mut Core, now: Instant) {
        let connect = Connect {
            version: self.version,
            clean: self.clean,
            keep_alive: 60,
            client: self.name.clone(),
            user: None,
            password: None,
            will: self.will.clone(),
            expiry: if self.clean { 0 } else { 3600 },
            receive_maximum: 4,
            maximum_packet: u32::MAX,
            has_method: false,
        };
        self.inbox.clear();
        self.ready = false;
        self.connection = Some(core.connect(connect, now));
    }

    /// The line breaks: what was not read is lost.
    pub(super) fn cut(&mut self, core: &mut Core, now: Instant) {
        if let Some(connection) = self.connection.take() {
            core.lost(connection, now);
        }
        self.inbox.clear();
    }

    pub(super) fn send(&mut self, core: &mut Core, packet: Packet, now: Instant) {
        if let Some(connection) = self.connection {
            core.packet(connection, packet, now);
        }
    }

    pub(super) fn subscribe(&mut self, core: &mut Core, filter: &str, qos: QoS, now: Instant) {
        let filter = Filter {
            filter: filter.to_owned(),
            qos,
            no_local: false,
            as_published: false,
            retention: Retention::Always,
        };
        let subscribe = Subscribe {
            id: 1,
            identifier: None,
            filters: vec![filter],
        };
        self.send(core, Packet::Subscribe(subscribe), now);
    }

    pub(super) fn publish(
        &mut self,
        core: &mut Core,
        topic: &str,
        payload: &str,
        qos: QoS,
        retain: bool,
        now: Instant,
    ) {
        let id = (qos > QoS::AtMostOnce).then(|| {
            self.next_id += 1;
            self.next_id
        });
        let publish = Publish {
            again: false,
            qos,
            retain,
            id,
            content: Content::new(topic, payload.as_bytes().to_vec()),
            alias: None,
            expiry: None,
        };
        if let Some(id) = id {
            self.unanswered
                .push_back((id, publish.clone(), Phase::Sent));
        }
        self.send(core, Packet::Publish(publish), now);
    }

    /// Takes what the broker has for it into the inbox.
    pub(super) fn pull(&mut self, core: &mut Core, disk: &Disk, now: Instant) {
        let Some(connection) = self.connection else {
            return;
        };
        loop {
            let mut out = Out::default();
            let pulled = core.pull(connection, &mut out, now);
            self.inbox.extend(read(&out.take(), self.version));
            match pulled {
                Pulled::All | Pulled::Later => return,
                Pulled::More => {}
                Pulled::Load(wanted) => core.loaded(disk.load(wanted)),
                Pulled::Close => {
                    core.lost(connection, now);
                    self.connection = None;
                    return;
                }
            }
        }
    }

    /// Reads some of what came, and answers it.
    pub(super) fn work(&mut self, core: &mut Core, disk: &Disk, most: usize, now: Instant) {
        self.pull(core, disk, now);
        for _ in 0..most {
            let Some(told) = self.inbox.pop_front() else {
                return;
            };
            self.understand(core, told, now);
        }
    }

    fn understand(&mut self, core: &mut Core, told: Told, now: Instant) {
        match told {
            Told::ConnAck { present, code: 0 } => self.resume(core, present, now),
            Told::Publish(message) => self.receive(core, message, now),
            Told::Ack(ack) => self.answered(core, ack, now),
            _ => {}
        }
    }

    /// 4.4: what was not answered is sent again, in its order.
    fn resume(&mut self, core: &mut Core, present: bool, now: Instant) {
        self.ready = true;
        if !present {
            self.received.clear();
        }
        for (id, publish, phase) in self.unanswered.clone() {
            let packet = match phase {
                Phase::Sent => Packet::Publish(Publish {
                    again: true,
                    ..publish
                }),
                Phase::Released => Packet::Ack(Ack {
                    kind: AckKind::PubRel,
                    id,
                    code: 0,
                }),
            };
            self.send(core, packet, now);
        }
    }

    fn receive(&mut self, core: &mut Core, message: Message, now: Instant) {
        let ack = |kind| message.id.map(|id| Ack { kind, id, code: 0 });
        let new = match (message.qos, message.id) {
            (QoS::ExactlyOnce, Some(id)) => self.received.insert(id),
            _ => true,
        };
        if new {
            self.got.push(message.payload.clone());
        }
        let ack = match message.qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => ack(AckKind::PubAck),
            QoS::ExactlyOnce => ack(AckKind::PubRec),
        };
        if let Some(ack) = ack {
            self.send(core, Packet::Ack(ack), now);
        }
    }

    fn answered(&mut self, core: &mut Core, ack: Ack, now: Instant) {
        let known = self.unanswered.iter().position(|(id, ..)| *id == ack.id);
        match (ack.kind, known) {
            (AckKind::PubRel, _) => {
                self.received.remove(&ack.id);
                let ack = Ack {
                    kind: AckKind::PubComp,
                    id: ack.id,
                    code: 0,
                };
                self.send(core, Packet::Ack(ack), now);
            }
            (AckKind::PubAck | AckKind::PubRec, Some(index)) if ack.code >= 0x80 => {
                self.unanswered.remove(index);
            }
            (AckKind::PubAck, Some(index)) => self.promise(index),
            (AckKind::PubRec, Some(index)) => {
                if self.unanswered[index].2 == Phase::Sent {
                    let payload = &self.unanswered[index].1.content.payload;
                    self.promised
                        .push(String::from_utf8_lossy(payload).into_owned());
                    self.unanswered[index].2 = Phase::Released;
                }
                let ack = Ack {
                    kind: AckKind::PubRel,
                    id: ack.id,
                    code: 0,
                };
                self.send(core, Packet::Ack(ack), now);
            }
            (AckKind::PubComp, Some(index)) => {
                self.unanswered.remove(index);
            }
            _ => {}
        }
    }

    fn promise(&mut self, index: usize) {
        if let Some((_, publish, _)) = self.unanswered.remove(index) {
            let payload = String::from_utf8_lossy(&publish.content.payload).into_owned();
            self.promised.push(payload);
        }
    }

    /// Nothing is left to do, or it has to come again first.
    pub(super) fn is_done(&self) -> bool {
        self.inbox.is_empty() && (self.unanswered.is_empty() || self.connection.is_none())
    }
}
