//! The three ways to put a PDU on a line, as pure encoders and decoders.
//!
//! A decoder is asked for the answer to one request. It skips what does not
//! belong to it: noise, late answers of other requests, frames with a wrong
//! checksum; and says whether it did.

use crate::{
    bus::Framing,
    pdu::{AnswerLength, EXCEPTION, MAX_PDU, Request},
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

/// Header of Modbus TCP with the unit.
const HEAD: usize = 7;
/// More bytes than this that are no frame are not Modbus TCP.
const MOST_SURPLUS: usize = 16;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// What was asked, and how its answer is known.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// How frames look.
    pub framing: Framing,
    /// Who was asked.
    pub unit: u8,
    /// TCP: the transaction that the answer bears; `None` for any.
    pub transaction: Option<u16>,
    /// What was asked.
    pub request: &'a Request,
}

/// What came and was not the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    /// Bytes that belonged to no answer.
    pub dropped: u64,
    /// TCP: the transaction of what could be the answer but for that.
    pub transaction: Option<u16>,
    /// TCP: the unit that the answer bears, where it is another one.
    pub unit: Option<u8>,
}

/// Looks for the answer to what was asked; drops from `buffer` what cannot be part
/// of it and notes that in `heard`.
pub fn decode(asked: &Asked<'_>, buffer: &mut Vec<u8>, heard: &mut Heard) -> Found {
    let (unit, request) = (asked.unit, asked.request);
    match asked.framing {
        Framing::Mbap => decode_mbap(asked, buffer, heard),
        Framing::Rtu => decode_rtu(unit, request, buffer, &mut heard.dropped),
        Framing::Ascii => decode_ascii(unit, request, buffer, &mut heard.dropped),
    }
}

/// Drops what stands before a request is sent and belongs to none: whole frames
/// of late answers, and the few bytes that some devices put behind their answers.
/// The start of a late answer stays.
pub fn drop_surplus(buffer: &mut Vec<u8>, dropped: &mut u64) {
    while !buffer.is_empty() {
        let end = match head_of(buffer) {
            Head::Frame(length) if buffer.len() < 6 + length => return,
            Head::Frame(length) => 6 + length,
            Head::Short | Head::Wrong => buffer.len(),
        };
        drop_front(buffer, end, dropped);
    }
}

/// Drops what is no message, but for the last bytes, which may begin one.
pub fn drop_strange(buffer: &mut Vec<u8>, dropped: &mut u64) {
    let count = buffer.len().saturating_sub(HEAD);
    drop_front(buffer, count, dropped);
}

/// How a buffer of Modbus TCP begins.
enum Head {
    /// Fewer bytes than a header has.
    Short,
    /// So many bytes follow the length.
    Frame(usize),
    /// No header.
    Wrong,
}

fn head_of(buffer: &[u8]) -> Head {
    let &[_, _, p0, p1, l0, l1, ..] = buffer else {
        return Head::Short;
    };
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    if (p0, p1) == (0, 0) && (2..=MAX_PDU + 1).contains(&length) {
        Head::Frame(length)
    } else {
        Head::Wrong
    }
}

/// Where in the buffer the answer begins, if bytes before it belong to nothing.
fn behind_surplus(asked: &Asked<'_>, buffer: &[u8]) -> Option<usize> {
    let transaction = asked.transaction.map(u16::to_be_bytes);
    let function = asked.request.function();
    (1..buffer.len().saturating_sub(7)).find(|start| {
        let frame = &buffer[*start..];
        matches!(head_of(frame), Head::Frame(_))
            && transaction.is_none_or(|transaction| frame.starts_with(&transaction))
            && frame[6] == asked.unit
            && frame[7] & !EXCEPTION == function
    })
}

fn drop_front(buffer: &mut Vec<u8>, count: usize, dropped: &mut u64) {
    buffer.drain(..count);
    *dropped += count as u64;
}

fn decode_mbap(asked: &Asked<'_>, buffer: &mut Vec<u8>, heard: &mut Heard) -> Found {
    loop {
        let length = match head_of(buffer) {
            Head::Short => return Found::Incomplete,
            Head::Frame(length) if buffer.len() < 6 + length => return Found::Incomplete,
            Head::Frame(length) => length,
            Head::Wrong => match behind_surplus(asked, buffer) {
                Some(start) => {
                    drop_front(buffer, start, &mut heard.dropped);
                    continue;
                }
                None if buffer.len() < MOST_SURPLUS => return Found::Incomplete,
                None => return Found::NotModbus,
            },
        };
        let fits = asked.request.is_answered_by(&buffer[7..6 + length]);
        let theirs = u16::from_be_bytes([buffer[0], buffer[1]]);
        let is_ours = asked.transaction.is_none_or(|ours| ours == theirs);
        if is_ours && fits {
            heard.unit = Some(buffer[6]).filter(|unit| *unit != asked.unit);
            return Found::Answer {
                start: 7,
                length: length - 1,
            };
        }
        // A late answer to a request that was given up, or a gateway that counts by itself.
        drop_front(buffer, 6 + length, &mut heard.dropped);
        if is_ours {
            return Found::Spoiled;
        }
        if fits {
            heard.transaction = Some(theirs);
        }
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
