//! A client made by hand, so that the tests share no codec with the broker.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A connection.
pub(super) struct Client {
    stream: TcpStream,
    version: u8,
    last_length: u8,
    pub(super) session_present: bool,
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text);
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (mut out, mut length) = (vec![first], body.len());
    loop {
        let more = u8::from(length >= 128) << 7;
        out.push((length & 127) as u8 | more);
        length >>= 7;
        if length == 0 {
            break;
        }
    }
    out.extend(body);
    out
}

/// Where the packet id of a message of QoS 1 or 2 is, which a broker may choose.
fn id_at(message: &[u8]) -> usize {
    let last = message[1..].iter().position(|byte| byte & 128 == 0);
    let header = 2 + last.unwrap();
    let topic = u16::from_be_bytes([message[header], message[header + 1]]);
    header + 2 + usize::from(topic)
}

pub(super) fn without_id(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[0] & 0xf0 == 0x30 && packet[0] & 0x06 != 0 {
        let at = id_at(&packet);
        packet[at..at + 2].fill(0);
    }
    packet
}

impl Client {
    /// Sends a CONNECT and waits for nothing.
    pub(super) fn say_hello(
        address: SocketAddr,
        name: &str,
        version: u8,
        login: Option<(&str, &str)>,
    ) -> Self {
        Self::hello(address, name, version, true, login, &[])
    }

    fn hello(
        address: SocketAddr,
        name: &str,
        version: u8,
        clean: bool,
        login: Option<(&str, &str)>,
        properties: &[u8],
    ) -> Self {
        let mut body = Vec::new();
        text(&mut body, b"MQTT");
        body.push(version);
        body.push(u8::from(clean) << 1 | if login.is_some() { 0xc0 } else { 0 });
        body.extend([0, 60]);
        if version == 5 {
            body.push(properties.len() as u8);
            body.extend(properties);
        }
        text(&mut body, name.as_bytes());
        if let Some((user, password)) = login {
            text(&mut body, user.as_bytes());
            text(&mut body, password.as_bytes());
        }
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
        let mut client = Self {
            stream,
            version,
            last_length: 0,
            session_present: false,
        };
        client.send(&packet(0x10, &body));
        client
    }

    /// Connects and is accepted.
    pub(super) fn connect(address: SocketAddr, name: &str, version: u8, clean: bool) -> Self {
        // A session that outlives the connection by an hour.
        let kept = [0x11, 0, 0, 0x0e, 0x10];
        let properties = if clean { &[][..] } else { &kept };
        let mut client = Self::hello(address, name, version, clean, None, properties);
        let answer = client.packet();
        assert_eq!((answer[0], answer[3]), (0x20, 0), "{answer:?}");
        client.session_present = answer[2] == 1;
        client
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next packet, whole.
    pub(super) fn packet(&mut self) -> Vec<u8> {
        let mut packet = vec![0; 2];
        self.stream.read_exact(&mut packet).unwrap();
        let (mut length, mut shift) = (usize::from(packet[1] & 127), 7);
        while packet[packet.len() - 1] & 128 != 0 {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            packet.push(byte[0]);
            length |= usize::from(byte[0] & 127) << shift;
            shift += 7;
        }
        self.last_length = (length & 127) as u8;
        let header = packet.len();
        packet.resize(header + length, 0);
        self.stream.read_exact(&mut packet[header..]).unwrap();
        packet
    }

    /// Remaining length of the last packet, if it is a short one.
    pub(super) fn length(&self) -> u8 {
        self.last_length
    }

    /// What came until the broker has answered two pings, or closed: each packet. An
    /// answer may overtake messages, but not those that were there at the one before.
    pub(super) fn all(&mut self) -> Vec<Vec<u8>> {
        let (mut all, mut pongs) = (Vec::new(), 0);
        let mut ping = self.stream.write_all(&[0xc0, 0]);
        while pongs < 2 {
            let mut peek = [0];
            if ping.is_err() || !matches!(self.stream.peek(&mut peek), Ok(1)) {
                all.push(b"closed".to_vec());
                return all;
            }
            let packet = self.packet();
            if packet[0] != 0xd0 {
                all.push(packet);
                continue;
            }
            pongs += 1;
            if pongs < 2 {
                ping = self.stream.write_all(&[0xc0, 0]);
            }
        }
        all
    }

    pub(super) fn subscribe(&mut self, filter: &str, options: u8) {
        let mut body = vec![0, 1];
        if self.version == 5 {
            body.push(0);
        }
        text(&mut body, filter.as_bytes());
        body.push(options);
        self.send(&packet(0x82, &body));
        let answer = self.packet();
        assert_eq!(answer[0], 0x90, "{answer:?}");
        assert!(answer[answer.len() - 1] < 3, "{answer:?}");
    }

    fn message(&mut self, first: u8, topic: &str, payload: &[u8], id: Option<u16>) {
        let mut body = Vec::new();
        text(&mut body, topic.as_bytes());
        body.extend(id.into_iter().flat_map(u16::to_be_bytes));
        if self.version == 5 {
            body.push(0);
        }
        body.extend(payload);
        self.send(&packet(first, &body));
    }

    pub(super) fn publish(&mut self, topic: &str, payload: &[u8], qos: u8, id: u16) {
        self.message(0x30 | qos << 1, topic, payload, (qos > 0).then_some(id));
    }

    /// QoS 1, and acknowledged.
    pub(super) fn retain(&mut self, topic: &str, payload: &[u8]) {
        self.message(0x33, topic, payload, Some(77));
        assert_eq!(self.packet()[0], 0x40);
    }

    /// Acknowledges a message of QoS 1.
    pub(super) fn acknowledge(&mut self, message: &[u8]) {
        let id = &message[id_at(message)..][..2];
        self.send(&[0x40, 2, id[0], id[1]]);
    }

    /// The broker has said nothing yet, and keeps the connection or has dropped it.
    pub(super) fn nothing_came(self) {
        self.stream.set_nonblocking(true).unwrap();
        let mut byte = [0];
        let read = (&self.stream).read(&mut byte);
        assert!(!matches!(read, Ok(1)), "it was answered");
        // Kept until here.
        let _ = self.stream.set_read_timeout(Some(Duration::from_millis(1)));
    }
}
