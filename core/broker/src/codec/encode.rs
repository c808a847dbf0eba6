//! Packets to bytes.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Ack, AckKind, Content, QoS, Version, code, properties::id};

/// Payloads from here on are sent from where they lie; smaller ones are copied
/// beside their header, since a piece costs more than that.
const SHARED: usize = 2048;
/// Pieces in one write.
const PIECES: usize = 16;

/// What waits to be written to one connection: small packets in one piece, large
/// payloads shared with whoever else gets them.
#[derive(Debug, Default)]
pub struct Out {
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    waiting: usize,
}

impl Out {
    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// The pieces of the next write.
    pub fn pieces(&mut self) -> impl Iterator<Item = &[u8]> {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
        self.pieces.iter().take(PIECES).map(|piece| &piece[..])
    }

    /// So much was written.
    pub fn advance(&mut self, mut written: usize) {
        self.waiting = self.waiting.saturating_sub(written);
        while written > 0 {
            let Some(piece) = self.pieces.front_mut() else {
                return;
            };
            let part = written.min(piece.len());
            piece.advance(part);
            written -= part;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
        if self.pieces.is_empty() && self.tail.is_empty() {
            // An idle connection keeps no buffer.
            self.tail = BytesMut::new();
        }
    }

    /// All of it in one piece, for tests and small things.
    pub fn take(&mut self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.waiting);
        while !self.is_empty() {
            let before = all.len();
            for piece in self.pieces() {
                all.extend_from_slice(piece);
            }
            self.advance(all.len() - before);
        }
        all
    }

    fn header(&mut self, first: u8, length: usize) {
        self.tail.put_u8(first);
        put_variable(&mut self.tail, length);
        self.waiting += 1 + variable_size(length) + length;
    }

    /// 3.3; gives whether the payload is shared, so that whoever counts memory
    /// knows that it lives until it is written.
    #[allow(clippy::too_many_arguments)]
    pub fn publish(
        &mut self,
        version: Version,
        content: &Content,
        id: Option<u16>,
        qos: QoS,
        retain: bool,
        again: bool,
        expiry: Option<u32>,
        identifiers: &[u32],
    ) -> bool {
        let properties = properties_size(version, content, expiry, identifiers);
        let length = body_size(version, content, id.is_some(), properties);
        let flags = u8::from(again) << 3 | (qos as u8) << 1 | u8::from(retain);
        self.header(0x30 | flags, length);
        put_binary(&mut self.tail, content.topic.as_bytes());
        if let Some(id) = id {
            self.tail.put_u16(id);
        }
        if version == Version::V5 {
            put_variable(&mut self.tail, properties);
            if let Some(expiry) = expiry {
                self.tail.put_u8(id::MESSAGE_EXPIRY);
                self.tail.put_u32(expiry);
            }
            for identifier in identifiers {
                self.tail.put_u8(id::SUBSCRIPTION);
                put_variable(&mut self.tail, *identifier as usize);
            }
            self.tail.put_slice(&content.properties);
        }
        let shared = content.payload.len() >= SHARED;
        if shared {
            self.pieces.push_back(self.tail.split().freeze());
            self.pieces.push_back(content.payload.clone());
        } else {
            self.tail.put_slice(&content.payload);
        }
        shared
    }

    /// 3.4 to 3.7
    pub fn ack(&mut self, version: Version, ack: Ack) {
        let first = match ack.kind {
            AckKind::PubAck => 0x40,
            AckKind::PubRec => 0x50,
            AckKind::PubRel => 0x62,
            AckKind::PubComp => 0x70,
        };
        let coded = version == Version::V5 && ack.code != code::SUCCESS;
        self.header(first, if coded { 3 } else { 2 });
        self.tail.put_u16(ack.id);
        if coded {
            self.tail.put_u8(ack.code);
        }
    }

    /// 3.9 and 3.11: the answer to filters. `first` is the packet's first byte.
    pub(crate) fn filters(&mut self, version: Version, first: u8, id: u16, codes: &[u8]) {
        // 3: 3.11 has no payload.
        let codes = match (version, first) {
            (Version::V3, 0xb0) => &[],
            _ => codes,
        };
        let properties = usize::from(version == Version::V5);
        self.header(first, 2 + properties + codes.len());
        self.tail.put_u16(id);
        if version == Version::V5 {
            self.tail.put_u8(0);
        }
        for code in codes {
            // 3: 3.9.3 knows one failure.
            let code = match version {
                Version::V3 if *code >= 0x80 => 0x80,
                _ => *code,
            };
            self.tail.put_u8(code);
        }
    }

    /// 3.2
    pub(crate) fn connack(&mut self, version: Version, answer: &ConnAck) {
        let flags = u8::from(answer.present);
        let mut properties = BytesMut::new();
        if version == Version::V5 {
            answer.properties(&mut properties);
            self.header(0x20, 2 + variable_size(properties.len()) + properties.len());
            self.tail.put_slice(&[flags, answer.code]);
            put_variable(&mut self.tail, properties.len());
            self.tail.put_slice(&properties);
        } else {
            self.header(0x20, 2);
            self.tail.put_slice(&[flags, return_code(answer.code)]);
        }
    }

    /// 3.13
    pub(crate) fn pong(&mut self) {
        self.header(0xd0, 0);
    }

    /// 3.14; a 3.1.1 client is told nothing.
    pub(crate) fn disconnect(&mut self, version: Version, code: u8) {
        if version == Version::V5 {
            self.header(0xe0, 1);
            self.tail.put_u8(code);
        }
    }
}

/// The answer to a CONNECT.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ConnAck {
    pub(crate) code: u8,
    /// The session was there.
    pub(crate) present: bool,
    /// The id that was chosen for it.
    pub(crate) client: Option<std::sync::Arc<str>>,
    /// Where it is another than what was asked for.
    pub(crate) expiry: Option<u32>,
    pub(crate) keep_alive: Option<u16>,
    pub(crate) receive_maximum: u16,
    pub(crate) maximum_packet: u32,
    pub(crate) aliases: u16,
}

impl ConnAck {
    /// A refusal.
    pub(crate) fn refused(code: u8) -> Self {
        Self {
            code,
            ..Self::default()
        }
    }

    /// 3.2.2.3
    fn properties(&self, out: &mut BytesMut) {
        if self.code != code::SUCCESS {
            return;
        }
        out.put_u8(id::RECEIVE_MAXIMUM);
        out.put_u16(self.receive_maximum);
        out.put_u8(id::MAXIMUM_PACKET);
        out.put_u32(self.maximum_packet);
        out.put_u8(id::ALIAS_MAXIMUM);
        out.put_u16(self.aliases);
        if let Some(expiry) = self.expiry {
            out.put_u8(id::SESSION_EXPIRY);
            out.put_u32(expiry);
        }
        if let Some(keep_alive) = self.keep_alive {
            out.put_u8(id::SERVER_KEEP_ALIVE);
            out.put_u16(keep_alive);
        }
        if let Some(client) = &self.client {
            out.put_u8(id::ASSIGNED_CLIENT);
            put_binary(out, client.as_bytes());
        }
    }
}

/// The return code of 3.1.1 (3: 3.2.2.3) that comes nearest.
fn return_code(code: u8) -> u8 {
    match code {
        code::SUCCESS => 0,
        code::VERSION => 1,
        code::CLIENT_ID => 2,
        code::CREDENTIALS => 4,
        code::NOT_AUTHORIZED | code::AUTH_METHOD => 5,
        _ => 3,
    }
}

/// Bytes of the PUBLISH that a content becomes.
pub fn publish_size(
    version: Version,
    content: &Content,
    with_id: bool,
    expiry: Option<u32>,
    identifiers: &[u32],
) -> usize {
    let properties = properties_size(version, content, expiry, identifiers);
    let body = body_size(version, content, with_id, properties);
    1 + variable_size(body) + body
}

fn properties_size(
    version: Version,
    content: &Content,
    expiry: Option<u32>,
    identifiers: &[u32],
) -> usize {
    if version == Version::V3 {
        return 0;
    }
    let identifiers: usize = identifiers
        .iter()
        .map(|identifier| 1 + variable_size(*identifier as usize))
        .sum();
    content.properties.len() + identifiers + expiry.map_or(0, |_| 5)
}

fn body_size(version: Version, content: &Content, with_id: bool, properties: usize) -> usize {
    let length = match version {
        Version::V3 => 0,
        Version::V5 => variable_size(properties),
    };
    2 + content.topic.len()
        + if with_id { 2 } else { 0 }
        + length
        + properties
        + content.payload.len()
}

fn put_binary(out: &mut BytesMut, bytes: &[u8]) {
    // What is longer came from no packet; nothing of the broker's own is.
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.put_u16(length);
    out.put_slice(&bytes[..usize::from(length)]);
}

fn put_variable(out: &mut BytesMut, mut value: usize) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        out.put_u8(if value > 0 { byte | 0x80 } else { byte });
        if value == 0 {
            return;
        }
    }
}

fn variable_size(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}
