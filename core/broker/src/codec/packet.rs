//! What the packets say.

use std::{fmt, sync::Arc};

use bytes::Bytes;

/// The protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1, level 4.
    V3,
    /// MQTT 5.0.
    V5,
}

/// How a message is delivered (4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QoS {
    /// 0
    AtMostOnce,
    /// 1
    AtLeastOnce,
    /// 2
    ExactlyOnce,
}

impl QoS {
    /// Of the two bits of the wire.
    pub fn new(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// What a message is, apart from how it is delivered. Clones share the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Where it was published.
    pub topic: Arc<str>,
    /// The properties that go to each subscriber as they came (3.3.2.3): payload
    /// format, content type, response topic, correlation data, user properties.
    pub properties: Bytes,
    /// What was published.
    pub payload: Bytes,
}

impl Content {
    /// A message without properties.
    pub fn new(topic: impl Into<Arc<str>>, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            properties: Bytes::new(),
            payload: payload.into(),
        }
    }

    /// Bytes of all of it.
    pub fn size(&self) -> usize {
        self.topic.len() + self.properties.len() + self.payload.len()
    }
}

/// A client says who it is (3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// Of all packets of this connection.
    pub version: Version,
    /// Forget what was.
    pub clean: bool,
    /// Seconds; 0 for none.
    pub keep_alive: u16,
    /// Its id; empty when the broker is to choose one.
    pub client: String,
    /// Its user.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Password>,
    /// What to publish when it is lost.
    pub will: Option<Will>,
    /// Seconds for which its session outlives the connection. A 3.1.1 client's is
    /// 0 when it is clean, else without end.
    pub expiry: u32,
    /// Messages of QoS 1 and 2 that it takes at a time.
    pub receive_maximum: u16,
    /// The largest packet that it takes.
    pub maximum_packet: u32,
    /// It wants to authenticate by a method, of which there is none.
    pub has_method: bool,
}

/// Something that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub Vec<u8>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// What is published when a client is lost (3.1.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// The message.
    pub content: Content,
    /// Its QoS.
    pub qos: QoS,
    /// Whether it is kept.
    pub retain: bool,
    /// Seconds until it is published.
    pub delay: u32,
    /// Seconds after which it is worth nothing.
    pub expiry: Option<u32>,
}

/// A message (3.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// It may have come before.
    pub again: bool,
    /// How.
    pub qos: QoS,
    /// Whether it is kept.
    pub retain: bool,
    /// For QoS 1 and 2.
    pub id: Option<u16>,
    /// The topic is empty when the alias stands for it.
    pub content: Content,
    /// A number for the topic.
    pub alias: Option<u16>,
    /// Seconds after which it is worth nothing.
    pub expiry: Option<u32>,
}

/// The four kinds of acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckKind {
    /// Of QoS 1.
    PubAck,
    /// QoS 2: received.
    PubRec,
    /// QoS 2: released.
    PubRel,
    /// QoS 2: complete.
    PubComp,
}

/// An acknowledgement (3.4 to 3.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Which.
    pub kind: AckKind,
    /// Of what.
    pub id: u16,
    /// How it went.
    pub code: u8,
}

/// What becomes of retained messages at a subscription (3.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// They are sent.
    Always,
    /// They are sent if there was no such subscription.
    IfNew,
    /// They are not sent.
    Never,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The filter.
    pub filter: String,
    /// The most that is wanted.
    pub qos: QoS,
    /// Not what this client publishes itself.
    pub no_local: bool,
    /// Messages keep the retain flag of their publisher.
    pub as_published: bool,
    /// What of the retained ones.
    pub retention: Retention,
}

/// A client wants messages (3.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Of the answer.
    pub id: u16,
    /// A number that comes with each message.
    pub identifier: Option<u32>,
    /// Which.
    pub filters: Vec<Filter>,
}

/// A client wants no more (3.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Of the answer.
    pub id: u16,
    /// Of what.
    pub filters: Vec<String>,
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Who it is.
    Connect(Box<Connect>),
    /// A message.
    Publish(Publish),
    /// It has got one.
    Ack(Ack),
    /// It wants some.
    Subscribe(Subscribe),
    /// It wants some no more.
    Unsubscribe(Unsubscribe),
    /// It is there.
    Ping,
    /// It goes.
    Disconnect {
        /// How.
        code: u8,
        /// Another time for its session.
        expiry: Option<u32>,
    },
    /// More of an authentication, of which there is none here.
    Auth,
}
