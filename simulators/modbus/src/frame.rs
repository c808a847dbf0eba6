//! The three framings: finding a request in a stream of bytes, and wrapping an answer.
//!
//! TCP after the Modbus Messaging on TCP/IP Implementation Guide V1.0b; RTU
//! and ASCII after Modbus over Serial Line V1.02, whose sections are cited.

use std::ops::Range;

/// How requests and answers are wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// With the MBAP header.
    Tcp,
    /// Binary with CRC-16, on a serial line or through TCP.
    Rtu,
    /// Hexadecimal digits between `:` and CR LF, with LRC.
    Ascii,
}

/// Where the request is in the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A whole frame.
    Frame(Frame),
    /// Nothing until more comes, or until the line falls silent.
    More,
    /// So many bytes belong to no frame. `bad` where they looked like one.
    Skip { bytes: usize, bad: bool },
    /// The stream cannot be followed any more.
    Lost,
}

/// A request's frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// All of its bytes.
    pub(crate) bytes: usize,
    pub(crate) unit: u8,
    /// The transaction identifier; 0 on serial lines.
    pub(crate) transaction: u16,
    /// Where the protocol data unit is: in the input, or, for ASCII, in the scratch space.
    pub(crate) pdu: Range<usize>,
}

/// MBAP header: transaction, protocol, length, unit.
const HEADER: usize = 7;
/// A protocol data unit is 253 bytes at most (Application Protocol, section 4.1).
const LONGEST_PDU: usize = 253;
/// An RTU frame is 256 bytes at most (section 2.5.1).
const LONGEST_RTU: usize = 256;
/// An ASCII frame is 513 characters at most (section 2.5.2).
const LONGEST_ASCII: usize = 513;

/// Looks for the first frame in the input. `silent`: nothing came for longer
/// than a pause within a frame may be. `lost`: the bytes before belonged to no
/// frame, so these need not begin one.
pub(crate) fn find(
    framing: Framing,
    input: &[u8],
    silent: bool,
    lost: bool,
    scratch: &mut Vec<u8>,
) -> Found {
    match framing {
        Framing::Tcp => find_tcp(input),
        Framing::Rtu => find_rtu(input, silent, lost),
        Framing::Ascii => find_ascii(input, silent, scratch),
    }
}

fn find_tcp(input: &[u8]) -> Found {
    let Some(header) = input.get(..HEADER) else {
        return Found::More;
    };
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    // The length counts the unit's byte and the protocol data unit.
    let length = usize::from(word(4));
    if word(2) != 0 || !(2..=LONGEST_PDU + 1).contains(&length) {
        return Found::Lost;
    }
    let bytes = HEADER - 1 + length;
    if input.len() < bytes {
        return Found::More;
    }
    Found::Frame(Frame {
        bytes,
        unit: header[6],
        transaction: word(0),
        pdu: HEADER..bytes,
    })
}

/// A frame on the line ends with a silence of 3.5 characters (section
/// 2.5.1.1). Neither a pty nor TCP keeps that timing, so the end is told by
/// the function's known length, and the silence only settles the rest: a
/// function whose length nobody knows, or a frame that was cut short.
fn find_rtu(input: &[u8], silent: bool, lost: bool) -> Found {
    if input.is_empty() {
        return Found::More;
    }
    match rtu_length(input) {
        Length::Known(bytes) if bytes <= input.len() => {
            if checks(&input[..bytes]) {
                rtu_frame(input, bytes)
            } else {
                Found::Skip {
                    bytes: 1,
                    bad: true,
                }
            }
        }
        Length::Known(_) | Length::Short if !silent => Found::More,
        Length::Unknown if !silent && !lost && input.len() <= LONGEST_RTU => Found::More,
        Length::Unknown if (4..=LONGEST_RTU).contains(&input.len()) && checks(input) => {
            rtu_frame(input, input.len())
        }
        _ => Found::Skip {
            bytes: 1,
            bad: true,
        },
    }
}

fn rtu_frame(input: &[u8], bytes: usize) -> Found {
    Found::Frame(Frame {
        bytes,
        unit: input[0],
        transaction: 0,
        pdu: 1..bytes - 2,
    })
}

enum Length {
    Known(usize),
    /// Too few bytes to tell.
    Short,
    Unknown,
}

/// The length of a request's frame: unit, function and data of the sections
/// 6.1 to 6.21 of the Application Protocol, and two bytes of CRC.
fn rtu_length(input: &[u8]) -> Length {
    let counted = |at: usize| match input.get(at) {
        Some(count) => Length::Known(at + 1 + usize::from(*count) + 2),
        None => Length::Short,
    };
    match input.get(1) {
        None => Length::Short,
        Some(0x01..=0x06) => Length::Known(8),
        Some(0x0F | 0x10) => counted(6),
        Some(0x16) => Length::Known(10),
        Some(0x17) => counted(10),
        Some(0x2B) => Length::Known(7),
        Some(_) => Length::Unknown,
    }
}

fn checks(frame: &[u8]) -> bool {
    let (data, check) = frame.split_at(frame.len() - 2);
    // The CRC goes low byte first (section 2.5.1.2).
    crc(data).to_le_bytes() == check
}

fn find_ascii(input: &[u8], silent: bool, scratch: &mut Vec<u8>) -> Found {
    // A frame begins with a colon, wherever it comes (section 2.5.2.1).
    let Some(colon) = input.iter().position(|b| *b == b':') else {
        return match input.len() {
            0 => Found::More,
            bytes => Found::Skip { bytes, bad: false },
        };
    };
    if colon > 0 {
        return Found::Skip {
            bytes: colon,
            bad: false,
        };
    }
    let rest = &input[1..];
    // A colon within a frame begins another one.
    if let Some(next) = rest.iter().position(|b| *b == b':' || *b == b'\n') {
        if rest[next] == b':' {
            return Found::Skip {
                bytes: next + 1,
                bad: true,
            };
        }
        let bytes = next + 2;
        return match decode_ascii(&rest[..next], scratch) {
            Some(()) => Found::Frame(Frame {
                bytes,
                unit: scratch[0],
                transaction: 0,
                pdu: 1..scratch.len() - 1,
            }),
            None => Found::Skip { bytes, bad: true },
        };
    }
    if silent || input.len() > LONGEST_ASCII {
        return Found::Skip {
            bytes: input.len(),
            bad: true,
        };
    }
    Found::More
}

/// Hexadecimal digits, then CR; the last byte is the LRC.
fn decode_ascii(text: &[u8], scratch: &mut Vec<u8>) -> Option<()> {
    let digits = text.strip_suffix(b"\r")?;
    scratch.clear();
    if digits.len() % 2 != 0 {
        return None;
    }
    for pair in digits.chunks_exact(2) {
        let high = (pair[0] as char).to_digit(16)?;
        let low = (pair[1] as char).to_digit(16)?;
        scratch.push((high << 4 | low) as u8);
    }
    // Unit, function, LRC; with the right LRC all bytes sum up to 0.
    let sum = scratch
        .iter()
        .fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    (scratch.len() >= 3 && sum == 0).then_some(())
}

/// Begins an answer; the protocol data unit is to be appended.
pub(crate) fn begin(framing: Framing, unit: u8, transaction: u16, out: &mut Vec<u8>) {
    if framing == Framing::Tcp {
        let [high, low] = transaction.to_be_bytes();
        out.extend([high, low, 0, 0, 0, 0]);
    }
    out.push(unit);
}

/// Ends the answer that began at `start`.
pub(crate) fn end(framing: Framing, start: usize, out: &mut Vec<u8>) {
    match framing {
        Framing::Tcp => {
            // At most 254: a unit and 253 bytes of protocol data unit.
            let length = (out.len() - start - (HEADER - 1)) as u16;
            out[start + 4..start + 6].copy_from_slice(&length.to_be_bytes());
        }
        Framing::Rtu => {
            let check = crc(&out[start..]);
            out.extend(check.to_le_bytes());
        }
        Framing::Ascii => {
            let check = lrc(&out[start..]);
            out.push(check);
            to_ascii(start, out);
        }
    }
}

fn to_ascii(start: usize, out: &mut Vec<u8>) {
    let count = out.len() - start;
    out.resize(start + 1 + 2 * count, 0);
    // From the end, so that no byte is overwritten before it is read.
    for i in (0..count).rev() {
        let byte = out[start + i];
        out[start + 1 + 2 * i] = digit(byte >> 4);
        out[start + 2 + 2 * i] = digit(byte & 0x0F);
    }
    out[start] = b':';
    out.extend(b"\r\n");
}

fn digit(nibble: u8) -> u8 {
    b"0123456789ABCDEF"[usize::from(nibble & 0x0F)]
}

/// Spoils the check of a finished answer; TCP has none, so its protocol identifier.
pub(crate) fn spoil(framing: Framing, start: usize, out: &mut [u8]) {
    let at = match framing {
        Framing::Tcp => start + 2,
        Framing::Rtu => out.len() - 1,
        // The last digit of the LRC, before CR and LF.
        Framing::Ascii => out.len() - 3,
    };
    out[at] = match (framing, out[at]) {
        (Framing::Ascii, b'0') => b'1',
        (Framing::Ascii, _) => b'0',
        (_, byte) => byte ^ 0x55,
    };
}

/// The longitudinal redundancy check: the two's complement of the sum (section 2.5.2.2).
pub(crate) fn lrc(data: &[u8]) -> u8 {
    data.iter()
        .fold(0u8, |sum, byte| sum.wrapping_add(*byte))
        .wrapping_neg()
}

/// CRC-16 with the polynomial 0xA001 (reflected), begun with 0xFFFF (section 2.5.1.2).
pub(crate) fn crc(data: &[u8]) -> u16 {
    data.iter().fold(0xFFFF, |crc, byte| {
        crc >> 8 ^ CRC_TABLE[usize::from(crc as u8 ^ byte)]
    })
}

const CRC_TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u16;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xA001
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};
