//! As much of an MQTT 3.1.1 client as the measurements need, and no more: what
//! the subscriber costs must not hide what the edge costs.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
};

const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const SUBACK: u8 = 0x90;

/// What is read at once.
const CHUNK: usize = 256 * 1024;

/// A connection that listens.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// The sending side of a connection.
pub struct Publisher {
    stream: TcpStream,
    packet: Vec<u8>,
}

/// A packet: its first byte and where its content lies in the buffer.
struct Packet {
    first: u8,
    start: usize,
    end: usize,
}

impl Connection {
    /// Connects, subscribes with QoS 0, and returns once that is granted.
    pub fn subscribe(at: SocketAddr, id: &str, filters: &[&str]) -> io::Result<Self> {
        let stream = TcpStream::connect(at)?;
        stream.set_nodelay(true)?;
        let mut connection = Self {
            stream,
            buffer: vec![0; 2 * CHUNK],
            start: 0,
            end: 0,
        };
        let mut packet = Vec::new();
        // CONNECT: protocol MQTT, level 4, clean session, no keep-alive (section 3.1).
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0];
        text(&mut body, id);
        frame(&mut packet, 0x10, &[&body]);
        connection.stream.write_all(&packet)?;
        connection.expect(CONNACK, 1)?;
        if !filters.is_empty() {
            // SUBSCRIBE: packet id 1, then filters with QoS 0 (section 3.8).
            let mut body = vec![0, 1];
            for filter in filters {
                text(&mut body, filter);
                body.push(0);
            }
            frame(&mut packet, 0x82, &[&body]);
            connection.stream.write_all(&packet)?;
            connection.expect(SUBACK, 2)?;
        }
        Ok(connection)
    }

    /// A way to publish on this connection from another thread.
    pub fn publisher(&self) -> io::Result<Publisher> {
        Ok(Publisher {
            stream: self.stream.try_clone()?,
            packet: Vec::new(),
        })
    }

    /// Hands each message over, topic and payload, until the connection ends.
    pub fn listen(&mut self, mut message: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        loop {
            let packet = self.next()?;
            if packet.first & 0xF0 != PUBLISH {
                continue;
            }
            let content = &self.buffer[packet.start..packet.end];
            let (topic, mut payload) = split_text(content)?;
            if packet.first & 0x06 != 0 {
                // The packet id of a QoS that was not asked for.
                payload = payload.get(2..).unwrap_or_default();
            }
            message(topic, payload);
        }
    }

    fn expect(&mut self, kind: u8, code_at: usize) -> io::Result<()> {
        loop {
            let packet = self.next()?;
            if packet.first & 0xF0 == kind & 0xF0 {
                let code = self.buffer[packet.start..packet.end].get(code_at).copied();
                return match code {
                    Some(0) => Ok(()),
                    other => Err(io::Error::other(format!(
                        "the broker refused with {other:?}"
                    ))),
                };
            }
        }
    }

    fn next(&mut self) -> io::Result<Packet> {
        loop {
            if let Some((packet, used)) = self.parse()? {
                self.start += used;
                return Ok(packet);
            }
            self.fill()?;
        }
    }

    fn parse(&self) -> io::Result<Option<(Packet, usize)>> {
        let bytes = &self.buffer[self.start..self.end];
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        let (mut length, mut head) = (0, 1);
        loop {
            let Some(&byte) = bytes.get(head) else {
                return Ok(None);
            };
            length |= usize::from(byte & 0x7F) << (7 * (head - 1));
            head += 1;
            if byte & 0x80 == 0 {
                break;
            }
            if head > 4 {
                return Err(io::Error::other("a length of more than four bytes"));
            }
        }
        if bytes.len() < head + length {
            return Ok(None);
        }
        let start = self.start + head;
        let packet = Packet {
            first,
            start,
            end: start + length,
        };
        Ok(Some((packet, head + length)))
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.buffer.len() - self.end < CHUNK {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.buffer.len() - self.end < CHUNK {
                self.buffer.resize(self.end + 2 * CHUNK, 0);
            }
        }
        match self.stream.read(&mut self.buffer[self.end..])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.end += count;
                Ok(())
            }
        }
    }
}

impl Publisher {
    /// Publishes with QoS 0.
    pub fn publish(&mut self, topic: &str, payload: &[u8]) -> io::Result<()> {
        let mut head = Vec::with_capacity(topic.len() + 2);
        text(&mut head, topic);
        frame(&mut self.packet, PUBLISH, &[&head, payload]);
        self.stream.write_all(&self.packet)
    }

    /// Ends the connection; who listens on it is told.
    pub fn close(&self) {
        // It may be closed already, by the other side.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn split_text(bytes: &[u8]) -> io::Result<(&[u8], &[u8])> {
    let short = || io::Error::other("a message that ends in its topic");
    let (length, rest) = bytes.split_first_chunk::<2>().ok_or_else(short)?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
        .ok_or_else(short)
}

fn frame(packet: &mut Vec<u8>, first: u8, parts: &[&[u8]]) {
    packet.clear();
    packet.push(first);
    let mut length: usize = parts.iter().map(|part| part.len()).sum();
    loop {
        let byte = (length & 0x7F) as u8;
        length >>= 7;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    for part in parts {
        packet.extend_from_slice(part);
    }
}
