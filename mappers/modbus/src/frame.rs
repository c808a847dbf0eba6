//! The three ways to put a PDU on a line, as pure encoders and decoders.
//!
//! A decoder is asked for the answer to one request. It skips what does not
//! belong to it: noise, late answers of other requests, frames with a wrong
//! checksum; and says whether it did.

use crate::{
    bus::Framing,
    pdu::{AnswerLength, MAX_PDU, Request},
};

/// The longest frame: ASCII with `:`, unit, PDU and LRC as two digits each, CR LF.
pub const MAX_FRAME: usize = 1 + 2 * (1 + MAX_PDU + 1) + 2;

/// What stands in the bytes that have come so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The answer's PDU stands here in the buffer.
    Answer {
        /// First byte.
        start: usize,
        /// Number of bytes.
        length: usize,
    },
    /// More has to come.
    Incomplete,
    /// A frame came with a wrong checksum, or one that is no answer to this
    /// request though it says so; another may follow.
    Spoiled,
    /// Not Modbus: the connection cannot be used any more.
    NotModbus,
}

/// Writes the frame of a request. `transaction` is used by TCP only.
pub fn encode(framing: Framing, unit: u8, transaction: u16, request: &Request, out: &mut Vec<u8>) {
    out.clear();
    let pdu = request.bytes();
    match framing {
        Framing::Mbap => {
            // Messaging on TCP/IP V1.0b, section 3.1.3: transaction,
            // protocol 0, length of what follows, unit.
            out.extend_from_slice(&transaction.to_be_bytes());
            out.extend_from_slice(&[0, 0]);
            out.extend_from_slice(&(pdu.len() as u16 + 1).to_be_bytes());
            out.push(unit);
            out.extend_from_slice(pdu);
        }
        Framing::Rtu => {
            out.push(unit);
            out.extend_from_slice(pdu);
            // Serial Line V1.02, section 2.5.1.2: low byte first.
            out.extend_from_slice(&crc(out).to_le_bytes());
        }
        Framing::Ascii => {
            out.push(b':');
            let sum = lrc([unit].iter().chain(pdu));
            for byte in [unit].iter().chain(pdu).chain(&[sum]) {
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            out.extend_from_slice(b"\r\n");
        }
    }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Looks for the answer to `request`; drops from `buffer` what cannot be part
/// of it and counts the bytes in `dropped`.
pub fn decode(
    framing: Framing,
    unit: u8,
    transaction: u16,
    request: &Request,
    buffer: &mut Vec<u8>,
    dropped: &mut u64,
) -> Found {
    match framing {
        Framing::Mbap => decode_mbap(transaction, request, buffer, dropped),
        Framing::Rtu => decode_rtu(unit, request, buffer, dropped),
        Framing::Ascii => decode_ascii(unit, request, buffer, dropped),
    }
}

fn drop_front(buffer: &mut Vec<u8>, count: usize, dropped: &mut u64) {
    buffer.drain(..count);
    *dropped += count as u64;
}

fn decode_mbap(
    transaction: u16,
    request: &Request,
    buffer: &mut Vec<u8>,
    dropped: &mut u64,
) -> Found {
    loop {
        let &[t0, t1, p0, p1, l0, l1, ..] = &buffer[..] else {
            return Found::Incomplete;
        };
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if (p0, p1) != (0, 0) || !(2..=MAX_PDU + 1).contains(&length) {
            return Found::NotModbus;
        }
        if buffer.len() < 6 + length {
            return Found::Incomplete;
        }
        let pdu = &buffer[7..6 + length];
        if u16::from_be_bytes([t0, t1]) == transaction {
            if request.is_answered_by(pdu) {
                return Found::Answer {
                    start: 7,
                    length: length - 1,
                };
            }
            drop_front(buffer, 6 + length, dropped);
            return Found::Spoiled;
        }
        // A late answer to a request that was given up.
        drop_front(buffer, 6 + length, dropped);
    }
}

fn decode_rtu(unit: u8, request: &Request, buffer: &mut Vec<u8>, dropped: &mut u64) -> Found {
    let mut spoiled = false;
    let mut incomplete = None;
    for start in 0..buffer.len() {
        let rest = &buffer[start..];
        if rest[0] != unit {
            continue;
        }
        let length = match request.answer_length(&rest[1..]) {
            AnswerLength::Known(length) => length,
            AnswerLength::None => continue,
            AnswerLength::Unknown => usize::MAX - 3,
        };
        if rest.len() < length + 3 {
            // Noise may look like the start of a frame: look on behind it.
            incomplete = incomplete.or(Some(start));
            continue;
        }
        let (frame, sum) = rest[..length + 3].split_at(length + 1);
        if sum == crc(frame).to_le_bytes() && request.is_answered_by(&frame[1..]) {
            *dropped += start as u64;
            return Found::Answer {
                start: start + 1,
                length,
            };
        }
        spoiled = true;
    }
    let rubbish = incomplete.unwrap_or(buffer.len());
    drop_front(buffer, rubbish, dropped);
    if spoiled {
        Found::Spoiled
    } else {
        Found::Incomplete
    }
}

fn decode_ascii(unit: u8, request: &Request, buffer: &mut Vec<u8>, dropped: &mut u64) -> Found {
    let mut wrong = false;
    loop {
        // A colon starts a frame, wherever it comes (Serial Line V1.02, section 2.5.2.1).
        let start = buffer
            .iter()
            .position(|byte| *byte == b':')
            .unwrap_or(buffer.len());
        drop_front(buffer, start, dropped);
        let end = buffer
            .iter()
            .skip(1)
            .position(|byte| matches!(byte, b'\n' | b':'))
            .map(|end| end + 1);
        let Some(end) = end else {
            if buffer.len() > MAX_FRAME {
                let all = buffer.len();
                drop_front(buffer, all, dropped);
            }
            return if wrong {
                Found::Spoiled
            } else {
                Found::Incomplete
            };
        };
        match unhex(&buffer[1..end]) {
            Some(frame) if lrc(frame.iter()) == 0 && frame.len() >= 3 => {
                let pdu = &frame[1..frame.len() - 1];
                if frame[0] == unit && request.is_answered_by(pdu) {
                    let length = pdu.len();
                    buffer.clear();
                    buffer.extend_from_slice(pdu);
                    return Found::Answer { start: 0, length };
                }
            }
            _ => wrong = true,
        }
        let frame = if buffer[end] == b':' { end } else { end + 1 };
        drop_front(buffer, frame, dropped);
    }
}

/// The bytes of hexadecimal digits up to the carriage return.
fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"\r")?;
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    if text.len() % 2 != 0 {
        return None;
    }
    text.chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

/// Serial Line V1.02, section 6.2.2: polynomial A001 (reflected 8005), start FFFF.
pub fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |sum, byte| {
        sum >> 8 ^ CRC_TABLE[usize::from((sum ^ u16::from(*byte)) & 0xFF)]
    })
}

const CRC_TABLE: [u16; 256] = crc_table();

const fn crc_table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u16;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                value >> 1 ^ 0xA001
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

/// Serial Line V1.02, section 6.2.1: two's complement of the sum; a frame with its LRC sums to 0.
pub fn lrc<'a>(bytes: impl Iterator<Item = &'a u8>) -> u8 {
    bytes
        .fold(0_u8, |sum, byte| sum.wrapping_add(*byte))
        .wrapping_neg()
}
