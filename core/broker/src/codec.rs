//! MQTT 3.1.1 and 5.0 on the wire.
//!
//! The numbers in comments are sections of the OASIS standards: "5: 3.3.2" is
//! MQTT 5.0, "3: 3.3.2" is MQTT 3.1.1; where none is named it is 5.0.
//!
//! Decoding borrows from the bytes that were read and copies a message once, into
//! room of exactly its size, so that what waits never keeps a read buffer alive.
//! Properties that the broker only hands on stay as they came. Nothing here panics:
//! whatever comes is a packet, a part of one, or a [`WireError`].

mod decode;
mod encode;
mod packet;
mod properties;
mod reader;

pub(crate) use self::encode::ConnAck;
pub use self::{
    decode::{decode, frame},
    encode::{Out, publish_size},
    packet::{
        Ack, AckKind, Connect, Content, Filter, Packet, Password, Publish, QoS, Retention,
        Subscribe, Unsubscribe, Version, Will,
    },
};

/// Reason codes (2.4), as far as the broker says or understands them.
pub mod code {
    /// All is well; also a normal disconnection and a granted QoS 0.
    pub const SUCCESS: u8 = 0x00;
    /// Disconnect, but publish the will.
    pub const WITH_WILL: u8 = 0x04;
    /// Nobody has subscribed to it.
    pub const NO_SUBSCRIBERS: u8 = 0x10;
    /// There was no such subscription.
    pub const NO_SUBSCRIPTION: u8 = 0x11;
    /// None of the others.
    pub const UNSPECIFIED: u8 = 0x80;
    /// Not MQTT.
    pub const MALFORMED: u8 = 0x81;
    /// MQTT, but not allowed.
    pub const PROTOCOL: u8 = 0x82;
    /// A version that is not served.
    pub const VERSION: u8 = 0x84;
    /// This client id cannot be had.
    pub const CLIENT_ID: u8 = 0x85;
    /// Wrong user or password.
    pub const CREDENTIALS: u8 = 0x86;
    /// Not for this client.
    pub const NOT_AUTHORIZED: u8 = 0x87;
    /// Not now.
    pub const UNAVAILABLE: u8 = 0x88;
    /// Too much at once.
    pub const BUSY: u8 = 0x89;
    /// The server goes down.
    pub const SHUTTING_DOWN: u8 = 0x8b;
    /// An authentication method that is not served.
    pub const AUTH_METHOD: u8 = 0x8c;
    /// Nothing was heard for too long.
    pub const KEEP_ALIVE: u8 = 0x8d;
    /// Another connection has the session now.
    pub const TAKEN_OVER: u8 = 0x8e;
    /// A filter that cannot be.
    pub const TOPIC_FILTER: u8 = 0x8f;
    /// A topic that cannot be.
    pub const TOPIC_NAME: u8 = 0x90;
    /// A packet id that means nothing.
    pub const NO_PACKET_ID: u8 = 0x92;
    /// More at once than was agreed.
    pub const RECEIVE_MAXIMUM: u8 = 0x93;
    /// An alias that was never given.
    pub const TOPIC_ALIAS: u8 = 0x94;
    /// Larger than was agreed.
    pub const TOO_LARGE: u8 = 0x95;
    /// A bound of the broker is reached.
    pub const QUOTA: u8 = 0x97;
}

/// What was read is not what the standard allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct WireError {
    /// The reason code that says so.
    pub code: u8,
    /// What is wrong.
    pub what: &'static str,
}

impl WireError {
    pub(crate) const fn malformed(what: &'static str) -> Self {
        Self {
            code: code::MALFORMED,
            what,
        }
    }

    pub(crate) const fn protocol(what: &'static str) -> Self {
        Self {
            code: code::PROTOCOL,
            what,
        }
    }
}

#[cfg(test)]
mod tests;
