//! Raw types and byte orders, by their names.

use std::{fmt, str::FromStr};

/// How a value lies in the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RawType {
    /// One bit, or a number that is not zero.
    Bool,
    /// One byte, signed.
    Int8,
    /// One byte.
    Uint8,
    /// Two bytes, signed.
    Int16,
    /// Two bytes.
    Uint16,
    /// Four bytes, signed.
    Int32,
    /// Four bytes.
    Uint32,
    /// Eight bytes, signed.
    Int64,
    /// Eight bytes.
    Uint64,
    /// IEEE 754 single.
    Float32,
    /// IEEE 754 double.
    Float64,
    /// Three bytes, signed.
    Int24,
    /// Three bytes.
    Uint24,
    /// Two bytes of two decimal digits each.
    Bcd16,
    /// Four bytes of two decimal digits each.
    Bcd32,
    /// Eight bytes of two decimal digits each.
    Bcd64,
    /// Two bytes, the highest bit is the sign and the others the magnitude.
    Sm16,
    /// Four bytes, the highest bit is the sign and the others the magnitude.
    Sm32,
    /// Text, ended by NUL or by its length.
    String,
    /// Bytes as they are.
    Bytes,
}

const NAMES: &[(&str, RawType)] = &[
    ("bool", RawType::Bool),
    ("int8", RawType::Int8),
    ("uint8", RawType::Uint8),
    ("int16", RawType::Int16),
    ("uint16", RawType::Uint16),
    ("int32", RawType::Int32),
    ("uint32", RawType::Uint32),
    ("int64", RawType::Int64),
    ("uint64", RawType::Uint64),
    ("float32", RawType::Float32),
    ("float64", RawType::Float64),
    ("int24", RawType::Int24),
    ("uint24", RawType::Uint24),
    ("bcd16", RawType::Bcd16),
    ("bcd32", RawType::Bcd32),
    ("bcd64", RawType::Bcd64),
    ("sm16", RawType::Sm16),
    ("sm32", RawType::Sm32),
    ("string", RawType::String),
    ("bytes", RawType::Bytes),
    ("boolean", RawType::Bool),
    ("byte", RawType::Uint8),
    ("short", RawType::Int16),
    ("word", RawType::Uint16),
    ("dword", RawType::Uint32),
    ("float", RawType::Float32),
    ("double", RawType::Float64),
];

/// How many of [`NAMES`] are the proper ones; the rest are aliases.
const PROPER_NAMES: usize = 20;

impl RawType {
    /// Its words in configurations, aliases last.
    pub const NAMES: &'static [(&'static str, Self)] = NAMES;

    /// Its size in bytes; `None` where the configuration tells the length.
    pub fn size(self) -> Option<usize> {
        match self {
            Self::Int8 | Self::Uint8 => Some(1),
            Self::Bool | Self::Int16 | Self::Uint16 | Self::Bcd16 | Self::Sm16 => Some(2),
            Self::Int24 | Self::Uint24 => Some(3),
            Self::Int32 | Self::Uint32 | Self::Float32 | Self::Bcd32 | Self::Sm32 => Some(4),
            Self::Int64 | Self::Uint64 | Self::Float64 | Self::Bcd64 => Some(8),
            Self::String | Self::Bytes => None,
        }
    }
}

impl fmt::Display for RawType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES
            .iter()
            .find(|(_, raw)| raw == self)
            .map_or("?", |(name, _)| name);
        f.write_str(name)
    }
}

/// A configuration of types or orders that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// No such raw type.
    #[error("`{0}` is not a raw type; known are {names}", names = proper_names())]
    UnknownType(String),
    /// Not an order of bytes.
    #[error(
        "`{0}` is not a byte order; write ABCD, CDAB, BADC, DCBA or all bytes of the value as letters"
    )]
    UnknownOrder(String),
    /// An order for another size.
    #[error("byte order `{order}` does not fit {raw}, which has {size} bytes")]
    OrderSize {
        /// The order.
        order: String,
        /// The type.
        raw: RawType,
        /// Its size in bytes.
        size: usize,
    },
    /// Bits that the type does not have.
    #[error("bits {first}…{last} are outside of {raw}, which has {size} bits")]
    Bits {
        /// The first bit.
        first: u32,
        /// The last bit.
        last: u32,
        /// The type.
        raw: RawType,
        /// Its size in bits.
        size: u32,
    },
    /// A type without bits.
    #[error("{0} has no bits to take out; use an unsigned integer")]
    NoBits(RawType),
}

fn proper_names() -> String {
    NAMES[..PROPER_NAMES]
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(", ")
}

impl FromStr for RawType {
    type Err = CodecError;

    fn from_str(text: &str) -> Result<Self, CodecError> {
        NAMES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text.trim()))
            .map(|(_, raw)| *raw)
            .ok_or_else(|| CodecError::UnknownType(text.to_owned()))
    }
}

/// The order in which the bytes of a value arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByteOrder {
    letters: String,
}

impl Default for ByteOrder {
    fn default() -> Self {
        Self {
            letters: "ABCD".to_owned(),
        }
    }
}

impl fmt::Display for ByteOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.letters)
    }
}

impl FromStr for ByteOrder {
    type Err = CodecError;

    fn from_str(text: &str) -> Result<Self, CodecError> {
        let letters = match text.trim().to_ascii_uppercase().as_str() {
            "BIG" | "BIGENDIAN" => "ABCD".to_owned(),
            "LITTLE" | "LITTLEENDIAN" => "DCBA".to_owned(),
            other => other.to_owned(),
        };
        let mut sorted: Vec<u8> = letters.bytes().collect();
        sorted.sort_unstable();
        let complete = [&b"AB"[..], b"ABCD", b"ABCDEFGH"].contains(&&sorted[..]);
        if complete {
            Ok(Self { letters })
        } else {
            Err(CodecError::UnknownOrder(text.to_owned()))
        }
    }
}

impl ByteOrder {
    /// The order of the flags of older vocabularies.
    pub fn from_swaps(bytes: bool, words: bool) -> Self {
        let letters = match (bytes, words) {
            (false, false) => "ABCD",
            (false, true) => "CDAB",
            (true, false) => "BADC",
            (true, true) => "DCBA",
        };
        Self {
            letters: letters.to_owned(),
        }
    }

    /// For each byte of the big-endian value, where it lies on the wire.
    pub(super) fn table(&self, raw: RawType, size: usize) -> Result<[u8; 8], CodecError> {
        if size == 3 {
            return match self.letters.as_str() {
                "ABCD" => Ok([0, 1, 2, 0, 0, 0, 0, 0]),
                "DCBA" => Ok([2, 1, 0, 0, 0, 0, 0, 0]),
                letters => Err(CodecError::OrderSize {
                    order: letters.to_owned(),
                    raw,
                    size,
                }),
            };
        }
        let (bytes, words) = match self.letters.as_str() {
            "AB" | "ABCD" => (false, false),
            "CDAB" => (false, true),
            "BA" | "BADC" => (true, false),
            "DCBA" => (true, true),
            letters if letters.len() == size => {
                let mut table = [0; 8];
                for (wire, letter) in letters.bytes().enumerate() {
                    table[usize::from(letter - b'A')] = wire as u8;
                }
                return Ok(table);
            }
            letters => {
                return Err(CodecError::OrderSize {
                    order: letters.to_owned(),
                    raw,
                    size,
                });
            }
        };
        let mut table = [0; 8];
        if size > 1 {
            for (value, wire) in table.iter_mut().enumerate().take(size) {
                let word = if words {
                    size / 2 - 1 - value / 2
                } else {
                    value / 2
                };
                let byte = if bytes { 1 - value % 2 } else { value % 2 };
                *wire = (word * 2 + byte) as u8;
            }
        }
        Ok(table)
    }
}
