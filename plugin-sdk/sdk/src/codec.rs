//! Raw types, byte orders and the way between bytes of the wire and values.
//!
//! A [`Codec`] is compiled once from configuration; decoding then is a table
//! look-up and a load, without allocation.
//!
//! # Byte orders
//! The letters tell in which order the bytes arrive: `A` is the most
//! significant byte of the value. `CDAB` is a big-endian machine that sends
//! the low word first. The four usual orders of four letters also order 64-bit
//! values (`CDAB` is `GHEFCDAB`, low word first) and 16-bit values (`BADC` is
//! `BA`); any other order fits values of as many bytes as it has letters.

mod digits;
mod order;
mod text;

use std::fmt;

use crate::{Reason, SampleValue, Samples};

pub use order::{ByteOrder, CodecError, RawType};

/// Where a text has the first of two characters that share a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StringOrder {
    /// In the high byte.
    #[default]
    High,
    /// In the low byte.
    Low,
    /// One character in a register, in its high byte.
    HighOnly,
    /// One character in a register, in its low byte.
    LowOnly,
}

/// A run of bits inside an unsigned integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bits {
    /// The first bit; 0 is the least significant one.
    pub first: u8,
    /// How many.
    pub length: u8,
}

/// The way between the bytes of one point and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codec {
    kind: Kind,
    size: u16,
    table: [u8; 8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain(RawType),
    /// One bit as a truth value.
    Bit(u8),
    Bits(Bits),
    Text(StringOrder),
}

/// A value that a point cannot hold.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EncodeError {
    /// Too large, too small or not a number.
    #[error("{value} does not fit {kind} ({minimum}…{maximum})")]
    Range {
        /// The value.
        value: String,
        /// The type, and how many bits of it.
        kind: String,
        /// The smallest possible value.
        minimum: String,
        /// The largest possible value.
        maximum: String,
    },
    /// A fraction where a whole number is needed.
    #[error("{value} is not a whole number, as {kind} needs")]
    Fraction {
        /// The value.
        value: f64,
        /// The type.
        kind: String,
    },
    /// A value of another type.
    #[error("expected {expected} for {kind}, found {found}")]
    Type {
        /// What is needed.
        expected: &'static str,
        /// The type.
        kind: String,
        /// What came.
        found: &'static str,
    },
    /// A text or bytes longer than their place.
    #[error("{length} bytes do not fit the {size} bytes of the {kind}")]
    Length {
        /// Of the value.
        length: usize,
        /// Of the point.
        size: usize,
        /// The type.
        kind: String,
    },
}

impl Codec {
    /// A number.
    ///
    /// # Errors
    /// When the order does not fit the type, or the type has no size of its own.
    pub fn number(raw: RawType, order: &ByteOrder) -> Result<Self, CodecError> {
        let size = raw.size().ok_or(CodecError::NoBits(raw))?;
        Ok(Self {
            kind: Kind::Plain(raw),
            size: size as u16,
            table: order.table(raw, size)?,
        })
    }

    /// A number in whole registers: those of three bytes have four, the first of
    /// which counts for nothing.
    ///
    /// # Errors
    /// As [`Self::number`].
    pub fn in_registers(raw: RawType, order: &ByteOrder) -> Result<Self, CodecError> {
        match raw.size() {
            Some(3) => Ok(Self {
                kind: Kind::Plain(raw),
                size: 4,
                table: order.table(raw, 4)?,
            }),
            _ => Self::number(raw, order),
        }
    }

    /// Bits of an integer: one bit is a truth value unless `numeric`, more are an unsigned number.
    ///
    /// # Errors
    /// When the type does not have these bits.
    pub fn bits(
        raw: RawType,
        order: &ByteOrder,
        bits: Bits,
        numeric: bool,
    ) -> Result<Self, CodecError> {
        let size = match raw {
            RawType::Bool
            | RawType::String
            | RawType::Bytes
            | RawType::Bcd16
            | RawType::Bcd32
            | RawType::Bcd64
            | RawType::Sm16
            | RawType::Sm32
            | RawType::Float32
            | RawType::Float64 => {
                return Err(CodecError::NoBits(raw));
            }
            other => other.size().unwrap_or(2),
        };
        let (first, last) = (
            u32::from(bits.first),
            u32::from(bits.first) + u32::from(bits.length.max(1)) - 1,
        );
        if bits.length == 0 || last >= size as u32 * 8 {
            return Err(CodecError::Bits {
                first,
                last,
                raw,
                size: size as u32 * 8,
            });
        }
        let kind = if bits.length == 1 && !numeric {
            Kind::Bit(bits.first)
        } else {
            Kind::Bits(bits)
        };
        Ok(Self {
            kind,
            size: size as u16,
            table: order.table(raw, size)?,
        })
    }

    /// A text of `size` bytes.
    pub fn text(size: u16, order: StringOrder) -> Self {
        Self {
            kind: Kind::Text(order),
            size,
            table: [0; 8],
        }
    }

    /// `size` bytes as they are.
    pub fn bytes(size: u16) -> Self {
        Self {
            kind: Kind::Plain(RawType::Bytes),
            size,
            table: [0; 8],
        }
    }

    /// How many bytes of the wire it covers.
    pub fn size(&self) -> usize {
        usize::from(self.size)
    }

    /// The bits that it covers of its integer, when it is not the whole of it.
    pub fn bit_range(&self) -> Option<Bits> {
        match self.kind {
            Kind::Bit(first) => Some(Bits { first, length: 1 }),
            Kind::Bits(bits) => Some(bits),
            Kind::Plain(_) | Kind::Text(_) => None,
        }
    }

    fn name(&self) -> String {
        match self.kind {
            Kind::Plain(raw) => raw.to_string(),
            Kind::Bit(_) => "one bit".to_owned(),
            Kind::Bits(bits) => format!("{} bits", bits.length),
            Kind::Text(_) => "string".to_owned(),
        }
    }

    #[inline]
    fn load(&self, wire: &[u8]) -> u64 {
        let mut value = 0;
        for &position in &self.table[..self.size()] {
            value = value << 8 | u64::from(wire[usize::from(position)]);
        }
        value
    }

    /// The two loads of the hot path, without a loop.
    #[inline]
    fn load2(&self, wire: &[u8]) -> u16 {
        let [a, b, ..] = self.table;
        u16::from_be_bytes([wire[usize::from(a)], wire[usize::from(b)]])
    }

    #[inline]
    fn load4(&self, wire: &[u8]) -> u32 {
        let [a, b, c, d, ..] = self.table.map(usize::from);
        u32::from_be_bytes([wire[a], wire[b], wire[c], wire[d]])
    }

    /// Decodes the point's bytes into one sample. Bytes that are too few give a bad sample.
    #[inline]
    pub fn decode(&self, point: u32, wire: &[u8], time_ns: i64, samples: &mut Samples) {
        let Some(wire) = wire.get(..self.size()) else {
            samples.push_bad(point, Reason::Decode, "the answer is too short", time_ns);
            return;
        };
        match self.kind {
            Kind::Plain(RawType::Float32) => {
                samples.push_f64(point, f64::from(f32::from_bits(self.load4(wire))), time_ns);
            }
            Kind::Plain(RawType::Int16) => {
                samples.push_i64(point, i64::from(self.load2(wire) as i16), time_ns)
            }
            Kind::Plain(RawType::Uint16) => {
                samples.push_u64(point, u64::from(self.load2(wire)), time_ns)
            }
            Kind::Plain(RawType::Int32) => {
                samples.push_i64(point, i64::from(self.load4(wire) as i32), time_ns)
            }
            Kind::Plain(RawType::Uint32) => {
                samples.push_u64(point, u64::from(self.load4(wire)), time_ns)
            }
            Kind::Plain(RawType::Float64) => {
                samples.push_f64(point, f64::from_bits(self.load(wire)), time_ns)
            }
            Kind::Plain(RawType::Int64) => samples.push_i64(point, self.load(wire) as i64, time_ns),
            Kind::Plain(RawType::Uint64) => samples.push_u64(point, self.load(wire), time_ns),
            Kind::Plain(RawType::Int8) => {
                samples.push_i64(point, i64::from(self.load(wire) as i8), time_ns)
            }
            Kind::Plain(RawType::Uint8) => samples.push_u64(point, self.load(wire), time_ns),
            Kind::Plain(RawType::Int24) => {
                // The sign is moved to the top and back.
                let number = (self.load(wire) as i32) << 8 >> 8;
                samples.push_i64(point, i64::from(number), time_ns);
            }
            Kind::Plain(RawType::Uint24) => {
                samples.push_u64(point, self.load(wire) & 0x00FF_FFFF, time_ns)
            }
            Kind::Plain(RawType::Bcd16 | RawType::Bcd32 | RawType::Bcd64) => {
                match digits::from_bcd(self.load(wire), self.size()) {
                    Ok(number) => samples.push_u64(point, number, time_ns),
                    Err(message) => samples.push_bad(point, Reason::Decode, &message, time_ns),
                }
            }
            Kind::Plain(RawType::Sm16 | RawType::Sm32) => {
                let number = digits::from_sign_and_magnitude(self.load(wire), self.size());
                samples.push_i64(point, number, time_ns);
            }
            Kind::Plain(RawType::Bool) => samples.push_bool(point, self.load2(wire) != 0, time_ns),
            Kind::Plain(RawType::String) | Kind::Text(_) => {
                self.decode_text(point, wire, time_ns, samples)
            }
            Kind::Plain(RawType::Bytes) => samples.push_bytes(point, wire, time_ns),
            Kind::Bit(bit) => samples.push_bool(point, self.load(wire) >> bit & 1 == 1, time_ns),
            Kind::Bits(bits) => samples.push_u64(
                point,
                self.load(wire) >> bits.first & mask(bits.length),
                time_ns,
            ),
        }
    }

    fn decode_text(&self, point: u32, wire: &[u8], time_ns: i64, samples: &mut Samples) {
        let other: Vec<u8>;
        let bytes = match self.kind {
            Kind::Text(order) => {
                other = text::in_order(wire, order);
                &other[..]
            }
            _ => wire,
        };
        let end = bytes
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(bytes.len());
        match std::str::from_utf8(&bytes[..end]) {
            Ok(text) => samples.push_str(point, text, time_ns),
            // Old devices speak Latin-1, whose bytes are the first 256 characters.
            Err(_) => {
                let text: String = bytes[..end].iter().map(|byte| char::from(*byte)).collect();
                samples.push_str(point, &text, time_ns);
            }
        }
    }

    /// Encodes a value into the point's bytes. For bits, `wire` holds the
    /// present content, of which only these bits change.
    ///
    /// # Errors
    /// When the value does not fit; `wire` is as before then.
    pub fn encode(&self, value: &SampleValue, wire: &mut [u8]) -> Result<(), EncodeError> {
        debug_assert!(
            wire.len() >= self.size(),
            "the buffer is as large as the point"
        );
        match self.kind {
            Kind::Plain(RawType::Bytes) | Kind::Plain(RawType::String) | Kind::Text(_) => {
                return self.encode_bytes(value, wire);
            }
            _ => {}
        }
        let bits = match self.kind {
            Kind::Plain(RawType::Bool) => u64::from(self.truth(value)?),
            Kind::Plain(RawType::Float32) => {
                let number = self.float(value)?;
                if number.is_finite() && number.abs() > f64::from(f32::MAX) {
                    return Err(self.range(number, f32::MIN, f32::MAX));
                }
                u64::from((number as f32).to_bits())
            }
            Kind::Plain(RawType::Float64) => self.float(value)?.to_bits(),
            Kind::Bit(bit) => {
                let old = self.load(wire);
                old & !(1 << bit) | u64::from(self.truth(value)?) << bit
            }
            Kind::Bits(bits) => {
                let new = self.integer(value, 0, i128::from(mask(bits.length)))? as u64;
                self.load(wire) & !(mask(bits.length) << bits.first) | new << bits.first
            }
            Kind::Plain(RawType::Bcd16 | RawType::Bcd32 | RawType::Bcd64) => {
                let most = 10_i128.pow(2 * self.size() as u32) - 1;
                digits::to_bcd(self.integer(value, 0, most)? as u64)
            }
            Kind::Plain(RawType::Sm16 | RawType::Sm32) => {
                let most = (1_i128 << (self.size() * 8 - 1)) - 1;
                let number = self.integer(value, -most, most)?;
                digits::to_sign_and_magnitude(number as i64, self.size())
            }
            Kind::Plain(raw) => {
                let size = raw.size().unwrap_or(self.size()) as u32 * 8;
                let signed = matches!(
                    raw,
                    RawType::Int8
                        | RawType::Int16
                        | RawType::Int24
                        | RawType::Int32
                        | RawType::Int64
                );
                let (minimum, maximum) = match signed {
                    true => (-(1_i128 << (size - 1)), (1_i128 << (size - 1)) - 1),
                    false => (0, (1_i128 << size) - 1),
                };
                self.integer(value, minimum, maximum)? as u64
            }
            Kind::Text(_) => 0,
        };
        let size = self.size();
        for (index, position) in self.table[..size].iter().enumerate() {
            wire[usize::from(*position)] = (bits >> (8 * (size - 1 - index))) as u8;
        }
        Ok(())
    }

    fn encode_bytes(&self, value: &SampleValue, wire: &mut [u8]) -> Result<(), EncodeError> {
        let text = self.kind != Kind::Plain(RawType::Bytes);
        let bytes = match value {
            SampleValue::String(text) => text.as_bytes(),
            SampleValue::Bytes(bytes) if !text => bytes,
            other => return Err(self.wrong(if text { "a text" } else { "bytes" }, other)),
        };
        let size = self.size();
        let order = match self.kind {
            Kind::Text(order) => order,
            _ => StringOrder::High,
        };
        let room = text::room(size, order);
        if bytes.len() > room {
            return Err(EncodeError::Length {
                length: bytes.len(),
                size: room,
                kind: self.name(),
            });
        }
        text::put(bytes, order, &mut wire[..size]);
        Ok(())
    }

    fn truth(&self, value: &SampleValue) -> Result<bool, EncodeError> {
        match value {
            SampleValue::Bool(truth) => Ok(*truth),
            other => Ok(self.integer(other, 0, 1)? == 1),
        }
    }

    fn float(&self, value: &SampleValue) -> Result<f64, EncodeError> {
        match value {
            SampleValue::Float(number) => Ok(*number),
            SampleValue::Int(number) => Ok(*number as f64),
            SampleValue::Uint(number) => Ok(*number as f64),
            other => Err(self.wrong("a number", other)),
        }
    }

    fn integer(
        &self,
        value: &SampleValue,
        minimum: i128,
        maximum: i128,
    ) -> Result<i128, EncodeError> {
        let number = match value {
            SampleValue::Bool(truth) => i128::from(*truth),
            SampleValue::Int(number) => i128::from(*number),
            SampleValue::Uint(number) => i128::from(*number),
            SampleValue::Float(number) => {
                // An inverse scale such as 21.5 / 0.1 misses the whole number by a hair.
                let rounded = number.round();
                if !number.is_finite() || rounded.abs() > 1e20 {
                    return Err(self.range(*number, minimum, maximum));
                }
                if (number - rounded).abs() > 1e-6 * rounded.abs().max(1.0) {
                    return Err(EncodeError::Fraction {
                        value: *number,
                        kind: self.name(),
                    });
                }
                rounded as i128
            }
            other => return Err(self.wrong("a whole number", other)),
        };
        if number < minimum || number > maximum {
            return Err(self.range(number, minimum, maximum));
        }
        Ok(number)
    }

    fn range(
        &self,
        value: impl fmt::Display,
        minimum: impl fmt::Display,
        maximum: impl fmt::Display,
    ) -> EncodeError {
        EncodeError::Range {
            value: value.to_string(),
            kind: self.name(),
            minimum: minimum.to_string(),
            maximum: maximum.to_string(),
        }
    }

    fn wrong(&self, expected: &'static str, value: &SampleValue) -> EncodeError {
        let found = match value {
            SampleValue::Bool(_) => "a truth value",
            SampleValue::Int(_) | SampleValue::Uint(_) | SampleValue::Float(_) => "a number",
            SampleValue::String(_) => "a text",
            SampleValue::Bytes(_) => "bytes",
        };
        EncodeError::Type {
            expected,
            kind: self.name(),
            found,
        }
    }
}

/// The lowest `length` bits.
fn mask(length: u8) -> u64 {
    u64::MAX >> (64 - u32::from(length.clamp(1, 64)))
}
