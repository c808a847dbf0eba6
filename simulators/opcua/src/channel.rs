//! One connection's frames: UA TCP and the secure channel with security policy
//! None (OPC 10000-6, 6.7 and 7.1). Bytes in, messages out, and the reverse;
//! no socket.
//!
//! Every chunk begins with three letters for its type, one for its place (`F`
//! final, `C` more follow, `A` given up) and its whole length as a UInt32.

use crate::binary::{Reader, Writer};
use crate::node_id::NodeId;
use crate::status::StatusCode;
use crate::time::Now;

const POLICY_NONE: &str = "http://opcfoundation.org/UA/SecurityPolicy#None";

/// Type, place and length.
const HEADER: usize = 8;

/// Of a MSG chunk: the header, channel, token, sequence number, request.
const MESSAGE_HEADER: usize = 24;

/// What is taken and sent in one chunk; a client may want less.
const CHUNK: usize = 65_536;

/// The longest request that is taken, over all of its chunks.
const LONGEST: usize = 64 * 1024 * 1024;

/// A client that asks for longer tokens gets this.
const LONGEST_TOKEN: u32 = 3_600_000;

/// What came in.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// To be sent as it is.
    Answer(Vec<u8>),
    /// A whole request.
    Request { request: u32, body: Vec<u8> },
    /// The client is done.
    Close,
}

/// The line cannot go on; the client is told with an ERR message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) StatusCode);

impl From<crate::binary::Malformed> for Broken {
    fn from(_: crate::binary::Malformed) -> Self {
        Self(StatusCode::BAD_DECODING_ERROR)
    }
}

#[derive(Debug)]
pub(crate) struct Channel {
    id: u32,
    token: u32,
    sequence: u32,
    /// The size of a chunk that the client takes.
    chunk: usize,
    open: bool,
    buffer: Vec<u8>,
    /// The chunks of a request that is not whole yet.
    parts: Vec<u8>,
}

impl Channel {
    pub(crate) fn new(id: u32) -> Self {
        Self {
            id,
            token: 0,
            sequence: 0,
            chunk: CHUNK,
            open: false,
            buffer: Vec::with_capacity(CHUNK),
            parts: Vec::new(),
        }
    }

    /// Where bytes that were read go.
    pub(crate) fn space(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// The next thing that is whole in the bytes that came.
    pub(crate) fn next(&mut self, now: Now) -> Result<Option<Incoming>, Broken> {
        loop {
            let Some(header) = self.buffer.first_chunk::<HEADER>() else {
                return Ok(None);
            };
            let size = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
            if !(HEADER..=CHUNK).contains(&size) {
                return Err(Broken(StatusCode::BAD_TCP_MESSAGE_TOO_LARGE));
            }
            if self.buffer.len() < size {
                return Ok(None);
            }
            let chunk: Vec<u8> = self.buffer.drain(..size).collect();
            let mut kind = [0; 4];
            kind.copy_from_slice(&chunk[..4]);
            if let Some(incoming) = self.take(&kind, &chunk[HEADER..], now)? {
                return Ok(Some(incoming));
            }
        }
    }

    fn take(&mut self, kind: &[u8; 4], body: &[u8], now: Now) -> Result<Option<Incoming>, Broken> {
        let mut r = Reader::new(body);
        match kind {
            b"HELF" => self.hello(&mut r).map(Some),
            b"OPNF" => self.open(&mut r, now).map(Some),
            b"CLOF" => Ok(Some(Incoming::Close)),
            b"MSGF" | b"MSGC" | b"MSGA" => self.message(kind[3], &mut r),
            _ => Err(Broken(StatusCode::BAD_TCP_MESSAGE_TYPE_INVALID)),
        }
    }

    /// HEL (7.1.2.3) is answered by ACK (7.1.2.4).
    fn hello(&mut self, r: &mut Reader<'_>) -> Result<Incoming, Broken> {
        r.u32()?; // the version; there is only 0
        let receive = r.u32()? as usize;
        r.u32()?;
        let _most: u32 = r.u32()?;
        r.u32()?;
        r.string()?;
        // Below 8192 is not allowed.
        self.chunk = receive.clamp(8192, CHUNK);
        let mut w = Writer::default();
        w.bytes.extend_from_slice(b"ACKF");
        w.u32(28);
        w.u32(0);
        w.u32(CHUNK as u32);
        w.u32(self.chunk as u32);
        w.u32(0);
        w.u32(0);
        Ok(Incoming::Answer(w.bytes))
    }

    /// OPN: issues or renews a token (OPC 10000-4, 5.6.2).
    fn open(&mut self, r: &mut Reader<'_>, now: Now) -> Result<Incoming, Broken> {
        r.u32()?;
        let policy = r.string()?;
        r.bytes()?;
        r.bytes()?;
        if policy != POLICY_NONE {
            return Err(Broken(StatusCode::BAD_SECURITY_POLICY_REJECTED));
        }
        r.u32()?;
        let request = r.u32()?;
        r.node_id()?;
        r.node_id()?;
        r.i64()?;
        let handle = r.u32()?;
        r.u32()?;
        r.string()?;
        r.u32()?;
        r.extension()?;
        r.u32()?;
        r.i32()?;
        r.i32()?;
        r.bytes()?;
        let lifetime = match r.u32()? {
            0 => LONGEST_TOKEN,
            asked => asked.min(LONGEST_TOKEN),
        };
        self.open = true;
        self.token += 1;
        let mut w = Writer::default();
        w.bytes.extend_from_slice(b"OPNF");
        w.u32(0);
        w.u32(self.id);
        w.string(POLICY_NONE);
        w.nothing();
        w.nothing();
        w.u32(self.next_sequence());
        w.u32(request);
        w.node_id(&NodeId::standard(449));
        w.i64(now.ticks);
        w.u32(handle);
        w.u32(0);
        w.u8(0);
        w.length(0);
        w.no_structure();
        w.u32(0);
        w.u32(self.id);
        w.u32(self.token);
        w.i64(now.ticks);
        w.u32(lifetime);
        w.nothing();
        let size = w.bytes.len() as u32;
        w.bytes[4..8].copy_from_slice(&size.to_le_bytes());
        Ok(Incoming::Answer(w.bytes))
    }

    fn message(&mut self, place: u8, r: &mut Reader<'_>) -> Result<Option<Incoming>, Broken> {
        if !self.open || r.u32()? != self.id {
            return Err(Broken(StatusCode::BAD_TCP_SECURE_CHANNEL_UNKNOWN));
        }
        let token = r.u32()?;
        if token == 0 || token > self.token {
            return Err(Broken(StatusCode::BAD_TCP_SECURE_CHANNEL_UNKNOWN));
        }
        r.u32()?;
        let request = r.u32()?;
        if place == b'A' {
            self.parts.clear();
            return Ok(None);
        }
        if self.parts.len() + r.rest().len() > LONGEST {
            return Err(Broken(StatusCode::BAD_TCP_MESSAGE_TOO_LARGE));
        }
        self.parts.extend_from_slice(r.rest());
        if place == b'C' {
            return Ok(None);
        }
        let body = std::mem::take(&mut self.parts);
        Ok(Some(Incoming::Request { request, body }))
    }

    fn next_sequence(&mut self) -> u32 {
        // Wraps well before the highest number (6.7.2.4).
        self.sequence = if self.sequence >= u32::MAX - 2048 {
            1
        } else {
            self.sequence + 1
        };
        self.sequence
    }

    /// A response in as many chunks as it needs.
    pub(crate) fn send(&mut self, request: u32, body: &[u8], out: &mut Vec<u8>) {
        let room = self.chunk - MESSAGE_HEADER;
        let mut parts = body.chunks(room).peekable();
        while let Some(part) = parts.next() {
            out.extend_from_slice(if parts.peek().is_some() {
                b"MSGC"
            } else {
                b"MSGF"
            });
            let size = (MESSAGE_HEADER + part.len()) as u32;
            let sequence = self.next_sequence();
            for number in [size, self.id, self.token, sequence, request] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(part);
        }
    }
}

/// ERR (7.1.2.5): the last message before a connection is closed.
pub(crate) fn error(broken: Broken) -> Vec<u8> {
    let mut w = Writer::default();
    w.bytes.extend_from_slice(b"ERRF");
    w.u32(0);
    w.status(broken.0);
    w.string(&broken.0.to_string());
    let size = w.bytes.len() as u32;
    w.bytes[4..8].copy_from_slice(&size.to_le_bytes());
    w.bytes
}
