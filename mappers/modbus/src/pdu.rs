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
}

/// Registers in one write request at most (section 6.12).
pub const MAX_WRITE_REGISTERS: u16 = 123;
/// Coils in one write request at most (section 6.11).
pub const MAX_WRITE_BITS: u16 = 1968;
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

    /// The bytes of the PDU.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The function code.
    pub fn function(&self) -> u8 {
        self.bytes[0]
    }

    /// How many bytes the answer has that begins with this function code;
    /// `None`: no answer to this request begins so.
    pub fn answer_length(&self, function: u8) -> Option<usize> {
        if function == self.function() {
            Some(match self.answer {
                Expected::Data(length) => 2 + length,
                Expected::Echo(length) => length,
            })
        } else {
            (function == self.function() | EXCEPTION).then_some(2)
        }
    }

    /// Whether this PDU answers the request, as far as one can see.
    pub fn is_answered_by(&self, pdu: &[u8]) -> bool {
        let Some(&function) = pdu.first() else {
            return false;
        };
        if self.answer_length(function) != Some(pdu.len()) {
            return false;
        }
        match self.answer {
            _ if function & EXCEPTION != 0 => true,
            Expected::Data(length) => usize::from(pdu[1]) == length,
            Expected::Echo(length) => self.bytes[..length] == *pdu,
        }
    }

    /// Takes the answer apart: the data of a read, nothing of a write.
    ///
    /// # Errors
    /// The exception that the device answered.
    pub fn open<'a>(&self, pdu: &'a [u8]) -> Result<&'a [u8], Exception> {
        match (pdu, self.answer) {
            ([function, code, ..], _) if function & EXCEPTION != 0 => Err(Exception(*code)),
            (_, Expected::Data(length)) => Ok(&pdu[2..2 + length]),
            (_, Expected::Echo(_)) => Ok(&[]),
        }
    }
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
