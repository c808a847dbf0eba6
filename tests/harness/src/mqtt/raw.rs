//! A client of MQTT 5.0 that does as it likes, packet by packet, and keeps nothing.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A connection. Each of its methods panics when the broker hangs up.
pub struct Raw {
    stream: TcpStream,
    next: u16,
}

impl Raw {
    /// Connects. The session of one that `stays` is kept when it goes.
    pub async fn connect(port: u16, client: &str, stays: bool) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        let mut raw = Self {
            stream: stream.expect("the broker listens"),
            next: 0,
        };
        // Protocol, version, flags (clean), keep-alive, session expiry, client.
        let mut body = b"\0\x04MQTT\x05".to_vec();
        body.push(if stays { 0 } else { 2 });
        body.extend([0, 0, 5, 0x11]);
        body.extend(if stays { u32::MAX } else { 0 }.to_be_bytes());
        text(&mut body, client);
        raw.send(0x10, &body).await;
        let answer = raw.answer(0x20).await;
        assert_eq!(answer.get(1), Some(&0), "not connected: {answer:?}");
        raw
    }

    /// Subscribes with QoS 1.
    pub async fn subscribe(&mut self, filter: &str) {
        let mut body = self.packet_id().to_be_bytes().to_vec();
        body.push(0);
        text(&mut body, filter);
        body.push(1);
        self.send(0x82, &body).await;
        self.answer(0x90).await;
    }

    /// Publishes with QoS 1 and waits for the answer: whether the broker has taken it.
    pub async fn publish(&mut self, topic: &str, payload: &[u8], retain: bool) -> bool {
        let mut body = Vec::with_capacity(topic.len() + payload.len() + 8);
        text(&mut body, topic);
        body.extend(self.packet_id().to_be_bytes());
        body.push(0);
        body.extend(payload);
        self.send(0x32 | u8::from(retain), &body).await;
        let answer = self.answer(0x40).await;
        answer.get(2).is_none_or(|code| *code < 0x80)
    }

    /// Publishes with QoS 0, and waits for nothing but its own socket.
    pub async fn shout(&mut self, topic: &str, payload: &[u8]) {
        let mut body = Vec::with_capacity(topic.len() + payload.len() + 8);
        text(&mut body, topic);
        body.push(0);
        body.extend(payload);
        self.send(0x30, &body).await;
    }

    fn packet_id(&mut self) -> u16 {
        self.next = self.next % 0x7fff + 1;
        self.next
    }

    async fn send(&mut self, first: u8, body: &[u8]) {
        let mut packet = Vec::with_capacity(body.len() + 5);
        packet.push(first);
        let mut length = body.len();
        while length > 0x7f {
            packet.push(length as u8 & 0x7f | 0x80);
            length >>= 7;
        }
        packet.push(length as u8);
        packet.extend(body);
        let sent = self.stream.write_all(&packet).await;
        sent.expect("the broker reads");
    }

    /// The next packet that begins like this.
    async fn answer(&mut self, first: u8) -> Vec<u8> {
        let read = async {
            loop {
                let kind = self.stream.read_u8().await?;
                let (mut length, mut shift) = (0, 0);
                loop {
                    let byte = self.stream.read_u8().await?;
                    length |= usize::from(byte & 0x7f) << shift;
                    shift += 7;
                    if byte & 0x80 == 0 {
                        break;
                    }
                }
                let mut body = vec![0; length];
                self.stream.read_exact(&mut body).await?;
                if kind == first {
                    return std::io::Result::Ok(body);
                }
            }
        };
        let read = tokio::time::timeout(crate::wait::PATIENCE, read).await;
        read.expect("the broker answers")
            .expect("the broker answers before it hangs up")
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("a short text");
    out.extend(length.to_be_bytes());
    out.extend(text.as_bytes());
}
