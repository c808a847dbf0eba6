//! Byte by byte, without a socket.

mod bytes;
mod framing;
mod random;
mod scenario;
mod values;

use std::sync::Arc;
use std::time::Instant;

use crate::builder::Builder;
use crate::frame::{Framing, crc, lrc};
use crate::line::{Line, Step};
use crate::unit::Devices;

/// A line to the devices of a builder, fed by hand.
struct Wire {
    devices: Arc<Devices>,
    line: Line,
}

impl Wire {
    fn new(framing: Framing, mut builder: Builder) -> Self {
        let devices = Arc::new(builder.devices().expect("devices"));
        let line = Line::new(framing, Arc::clone(&devices), framing == Framing::Tcp);
        Self { devices, line }
    }

    /// What comes back for these bytes, and how each request ended.
    fn feed(&mut self, bytes: &[u8], silent: bool) -> (Vec<u8>, Vec<Step>) {
        self.line.space().extend_from_slice(bytes);
        let (mut out, mut steps) = (Vec::new(), Vec::new());
        while let Some(step) = self.line.next(silent, Instant::now(), &mut out) {
            steps.push(step);
        }
        (out, steps)
    }

    fn send(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.feed(bytes, false).0
    }

    /// Sends a protocol data unit to a unit through Modbus TCP and unwraps the answer.
    fn ask(&mut self, unit: u8, pdu: &[u8]) -> Vec<u8> {
        let mut request = vec![0x12, 0x34, 0, 0, 0, pdu.len() as u8 + 1, unit];
        request.extend_from_slice(pdu);
        let answer = self.send(&request);
        // Transaction and unit come back, and the length counts what follows it.
        assert_eq!(answer[..4], [0x12, 0x34, 0, 0]);
        assert_eq!(
            usize::from(u16::from_be_bytes([answer[4], answer[5]])),
            answer.len() - 6
        );
        assert_eq!(answer[6], unit);
        answer[7..].to_vec()
    }
}

fn rtu(frame: &[u8]) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    bytes.extend(crc(frame).to_le_bytes());
    bytes
}

fn ascii(frame: &[u8]) -> Vec<u8> {
    let mut text = String::from(":");
    for byte in frame.iter().chain([&lrc(frame)]) {
        text.push_str(&format!("{byte:02X}"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}
