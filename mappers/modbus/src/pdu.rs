//! The application protocol: requests, answers and exceptions.
//!
//! Sections are those of the "Modbus Application Protocol Specification V1.1b3".

use std::fmt;

/// Function codes that this mapper uses (section 5.1).
pub mod function {
    /// 6.1
    pub const READ_COILS: u8 = 0x01;
    /// 6.2
    pub const READ_DISCRETE_INPUTS: u8 = 0x02;
    /// 6.3
    pub const READ_HOLDING_REGISTERS: u8 = 0x03;
    /// 6.4
    pub const READ_INPUT_REGISTERS: u8 = 0x04;
    /// 6.5
    pub const WRITE_SINGLE_COIL: u8 = 0x05;
    /// 6.6
    pub const WRITE_SINGLE_REGISTER: u8 = 0x06;
    /// 6.11
    pub const WRITE_MULTIPLE_COILS: u8 = 0x0F;
    /// 6.12
    pub const WRITE_MULTIPLE_REGISTERS: u8 = 0x10;
    /// 6.16
    pub const MASK_WRITE_REGISTER: u8 = 0x16;
    /// 6.17
    pub const READ_WRITE_REGISTERS: u8 = 0x17;
    /// 6.19, with MEI type 14 (6.21)
    pub const ENCAPSULATED_INTERFACE: u8 = 0x2B;
}

/// Registers in one write request at most (section 6.12).
pub const MAX_WRITE_REGISTERS: u16 = 123;
/// Coils in one write request at most (section 6.11).
pub const MAX_WRITE_BITS: u16 = 1968;
/// Registers written by one request that also reads (section 6.17).
pub const MAX_READ_WRITE_REGISTERS: u16 = 121;
/// The MEI type of a device's identification (section 6.21).
pub const READ_DEVICE_IDENTIFICATION: u8 = 0x0E;
/// The largest PDU (section 4.1).
pub const MAX_PDU: usize = 253;
/// Set in the function code of an exception answer (section 7).
pub const EXCEPTION: u8 = 0x80;

/// A request PDU, and what its answer has to look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    bytes: Vec<u8>,
    answer: Expected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Function, byte count, so many bytes.
    Data(usize),
    /// The first so many bytes of the request.
    Echo(usize),
    /// Objects with a length each (section 6.21).
    Identification,
}

/// How long an answer is, as far as its beginning tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerLength {
    /// No answer to the request begins so.
    None,
    /// More of it must come first.
    Unknown,
    /// So many bytes.
    Known(usize),
}

impl Request {
    /// Functions 1 to 4: `count` coils, inputs or registers from `address` on.
    pub fn read(function: u8, address: u16, count: u16) -> Self {
        let is_bits = matches!(
            function,
            function::READ_COILS | function::READ_DISCRETE_INPUTS
        );
        let length = if is_bits {
            usize::from(count).div_ceil(8)
        } else {
            usize::from(count) * 2
        };
        Self {
            bytes: head(function, address, count),
            answer: Expected::Data(length),
        }
    }

    /// Function 5: on is FF00, off is 0000.
    pub fn write_coil(address: u16, on: bool) -> Self {
        let bytes = head(
            function::WRITE_SINGLE_COIL,
            address,
            if on { 0xFF00 } else { 0 },
        );
        Self {
            bytes,
            answer: Expected::Echo(5),
        }
    }

    /// Function 6.
    pub fn write_register(address: u16, value: u16) -> Self {
        Self {
            bytes: head(function::WRITE_SINGLE_REGISTER, address, value),
            answer: Expected::Echo(5),
        }
    }

    /// Function 15: `count` coils, eight to a byte, the first in the lowest bit.
    pub fn write_coils(address: u16, count: u16, packed: &[u8]) -> Self {
        let mut bytes = head(function::WRITE_MULTIPLE_COILS, address, count);
        bytes.push(packed.len() as u8);
        bytes.extend_from_slice(packed);
        Self {
            bytes,
            answer: Expected::Echo(5),
        }
    }

    /// Function 16: the registers as they go over the line.
    pub fn write_registers(address: u16, registers: &[u8]) -> Self {
        let mut bytes = head(
            function::WRITE_MULTIPLE_REGISTERS,
            address,
            (registers.len() / 2) as u16,
        );
        bytes.push(registers.len() as u8);
        bytes.extend_from_slice(registers);
        Self {
            bytes,
            answer: Expected::Echo(5),
        }
    }

    /// Function 22: content AND `and`, OR (`or` AND NOT `and`).
    pub fn mask_write(address: u16, and: u16, or: u16) -> Self {
        let mut bytes = head(function::MASK_WRITE_REGISTER, address, and);
        bytes.extend_from_slice(&or.to_be_bytes());
        Self {
            bytes,
            answer: Expected::Echo(7),
        }
    }

    /// Function 23: writes `registers` from `to` on, then reads `count` from `from` on.
    pub fn read_write(from: u16, count: u16, to: u16, registers: &[u8]) -> Self {
        let mut bytes = head(function::READ_WRITE_REGISTERS, from, count);
        bytes.extend_from_slice(&to.to_be_bytes());
        bytes.extend_from_slice(&((registers.len() / 2) as u16).to_be_bytes());
        bytes.push(registers.len() as u8);
        bytes.extend_from_slice(registers);
        Self {
            bytes,
            answer: Expected::Data(usize::from(count) * 2),
        }
    }

    /// Function 43/14: the objects of a category (1 basic, 2 regular, 3
    /// extended) as a stream that begins with `object`.
    pub fn identify(category: u8, object: u8) -> Self {
        Self {
            bytes: vec![
                function::ENCAPSULATED_INTERFACE,
                READ_DEVICE_IDENTIFICATION,
                category,
                object,
            ],
            answer: Expected::Identification,
        }
    }

    /// The bytes of the PDU.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The function code.
    pub fn function(&self) -> u8 {
        self.bytes[0]
    }

    /// How many bytes the answer has that begins with `start`.
    pub fn answer_length(&self, start: &[u8]) -> AnswerLength {
        let Some(&function) = start.first() else {
            return AnswerLength::Unknown;
        };
        if function != self.function() {
            return if function == self.function() | EXCEPTION {
                AnswerLength::Known(2)
            } else {
                AnswerLength::None
            };
        }
        match self.answer {
            Expected::Data(length) => AnswerLength::Known(2 + length),
            Expected::Echo(length) => AnswerLength::Known(length),
            Expected::Identification => identification_length(start),
        }
    }

    /// Whether this PDU answers the request, as far as one can see.
    pub fn is_answered_by(&self, pdu: &[u8]) -> bool {
        let Some(&function) = pdu.first() else {
            return false;
        };
        // Some devices send the whole of functions 15 and 16 back.
        if matches!(self.answer, Expected::Echo(_)) && *pdu == self.bytes {
            return true;
        }
        if self.answer_length(pdu) != AnswerLength::Known(pdu.len()) {
            return false;
        }
        match self.answer {
            _ if function & EXCEPTION != 0 => true,
            Expected::Data(length) => usize::from(pdu[1]) == length,
            // A device may say what it has made of the value.
            Expected::Echo(_) if self.is_single_write() => true,
            Expected::Echo(length) => self.bytes[..length] == *pdu,
            Expected::Identification => pdu[1..3] == self.bytes[1..3],
        }
    }

    /// Whether this PDU is the answer that the specification has for the request:
    /// [`Self::is_answered_by`], and what is written comes back as it is.
    pub fn is_answered_exactly_by(&self, pdu: &[u8]) -> bool {
        let comes_back = match (self.answer, pdu.first()) {
            (Expected::Echo(length), Some(first)) if first & EXCEPTION == 0 => {
                self.bytes.get(..length) == Some(pdu)
            }
            _ => true,
        };
        comes_back && self.is_answered_by(pdu)
    }

    /// Whether it changes nothing in the device, so that it may be sent again.
    pub fn is_read(&self) -> bool {
        matches!(
            self.function(),
            function::READ_COILS
                | function::READ_DISCRETE_INPUTS
                | function::READ_INPUT_REGISTERS
                | function::READ_HOLDING_REGISTERS
                | function::ENCAPSULATED_INTERFACE
        )
    }

    /// Functions 5 and 6.
    fn is_single_write(&self) -> bool {
        matches!(
            self.function(),
            function::WRITE_SINGLE_COIL | function::WRITE_SINGLE_REGISTER
        )
    }

    /// Whether the answer may be the request itself, byte for byte.
    pub fn comes_back_whole(&self) -> bool {
        matches!(self.answer, Expected::Echo(length) if length == self.bytes.len())
    }

    /// The first address that it is about, if it is about addresses.
    pub fn address(&self) -> Option<u16> {
        if self.function() == function::ENCAPSULATED_INTERFACE {
            return None;
        }
        Some(self.word(1))
    }

    fn word(&self, at: usize) -> u16 {
        let byte = |at: usize| self.bytes.get(at).copied().unwrap_or(0);
        u16::from_be_bytes([byte(at), byte(at + 1)])
    }

    /// The read that shows whether this write was done.
    pub fn settled_by(&self) -> Option<Self> {
        let (function, count) = match self.function() {
            function::WRITE_SINGLE_COIL => (function::READ_COILS, 1),
            function::WRITE_MULTIPLE_COILS => (function::READ_COILS, self.word(3)),
            function::WRITE_SINGLE_REGISTER | function::MASK_WRITE_REGISTER => {
                (function::READ_HOLDING_REGISTERS, 1)
            }
            function::WRITE_MULTIPLE_REGISTERS => (function::READ_HOLDING_REGISTERS, self.word(3)),
            _ => return None,
        };
        Some(Self::read(function, self.word(1), count))
    }

    /// Whether the data of [`Self::settled_by`] is what this write makes of it.
    pub fn is_shown_by(&self, data: &[u8]) -> bool {
        match self.function() {
            function::WRITE_SINGLE_COIL => data.first().is_some_and(|bits| {
                let on = self.word(3) != 0;
                (bits & 1 == 1) == on
            }),
            function::MASK_WRITE_REGISTER => data.first_chunk().is_some_and(|bytes| {
                let (present, and, or) = (u16::from_be_bytes(*bytes), self.word(3), self.word(5));
                present & !and == or & !and
            }),
            function::WRITE_SINGLE_REGISTER => data == &self.bytes[3..5],
            function::WRITE_MULTIPLE_COILS | function::WRITE_MULTIPLE_REGISTERS => {
                self.bytes.get(6..) == Some(data)
            }
            _ => false,
        }
    }

    /// Takes the answer apart: the data of a read, the address and value of
    /// functions 5 and 6 as the device has them, nothing of other writes.
    ///
    /// # Errors
    /// The exception that the device answered.
    pub fn open<'a>(&self, pdu: &'a [u8]) -> Result<&'a [u8], Exception> {
        match (pdu, self.answer) {
            ([function, code, ..], _) if function & EXCEPTION != 0 => Err(Exception(*code)),
            (_, Expected::Data(length)) => Ok(&pdu[2..2 + length]),
            (_, Expected::Echo(length)) if self.is_single_write() => Ok(&pdu[1..length]),
            (_, Expected::Echo(_)) => Ok(&[]),
            (_, Expected::Identification) => Ok(&pdu[3..]),
        }
    }
}

/// Function, MEI type, category, conformity, more follows, next object, number
/// of objects; then for each its id, its length and so many bytes.
fn identification_length(start: &[u8]) -> AnswerLength {
    let Some(&count) = start.get(6) else {
        return AnswerLength::Unknown;
    };
    let mut end = 7;
    for _ in 0..count {
        match start.get(end + 1) {
            Some(length) => end += 2 + usize::from(*length),
            None => return AnswerLength::Unknown,
        }
        if end > MAX_PDU {
            return AnswerLength::None;
        }
    }
    AnswerLength::Known(end)
}

fn head(function: u8, address: u16, value: u16) -> Vec<u8> {
    let [address_high, address_low] = address.to_be_bytes();
    let [value_high, value_low] = value.to_be_bytes();
    vec![function, address_high, address_low, value_high, value_low]
}

/// The device understood and said no (section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exception(pub u8);

impl Exception {
    /// The device does not know the function.
    pub const ILLEGAL_FUNCTION: Self = Self(1);
    /// Some of the addresses are not there.
    pub const ILLEGAL_DATA_ADDRESS: Self = Self(2);
    /// The count or the value is not allowed.
    pub const ILLEGAL_DATA_VALUE: Self = Self(3);

    /// The device has taken the order and is at work on it.
    pub const ACKNOWLEDGE: Self = Self(5);
    /// The device is at work on something else; the request may come again.
    pub const BUSY: Self = Self(6);

    /// Whether a gateway says that it could not reach the unit.
    pub fn is_of_gateway(self) -> bool {
        matches!(self.0, 0x0A | 0x0B)
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0x01 => "illegal function",
            0x02 => "illegal data address",
            0x03 => "illegal data value",
            0x04 => "server device failure",
            0x05 => "acknowledge: still working on it",
            0x06 => "server device busy",
            0x08 => "memory parity error",
            0x0A => "gateway path unavailable",
            0x0B => "gateway target device failed to respond",
            _ => "not in the specification",
        };
        write!(f, "exception {} ({name})", self.0)
    }
}
