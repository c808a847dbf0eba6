//! How a number or a text lies in registers.
//!
//! The Modbus Application Protocol V1.1b3 only says that a 16-bit item goes
//! most significant byte first (section 4.2). Everything wider is the device
//! makers' custom, which the [`WordOrder`] names as they do.

use serde::Deserialize;

/// What stands in one or more registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RawType {
    /// 0 or 1; the only type in coils and discrete inputs.
    Bool,
    /// Signed, one register.
    Int16,
    /// Unsigned, one register.
    #[default]
    Uint16,
    /// Signed, two registers.
    Int32,
    /// Unsigned, two registers.
    Uint32,
    /// Signed, four registers.
    Int64,
    /// Unsigned, four registers.
    Uint64,
    /// IEEE 754 single, two registers.
    Float32,
    /// IEEE 754 double, four registers.
    Float64,
    /// Two characters in each register, padded with zeros.
    String,
}

/// The order of bytes in more than one register, by the letters of a 32-bit
/// number whose most significant byte is A. Wider numbers follow the same rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum WordOrder {
    /// Most significant first.
    #[default]
    #[serde(rename = "ABCD")]
    Abcd,
    /// Words swapped.
    #[serde(rename = "CDAB")]
    Cdab,
    /// Bytes swapped within each word.
    #[serde(rename = "BADC")]
    Badc,
    /// Least significant first.
    #[serde(rename = "DCBA")]
    Dcba,
}

/// A type with its order, and the linear map between a quantity and its raw number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Encoding {
    /// What stands there.
    pub raw: RawType,
    /// The order of its bytes.
    pub order: WordOrder,
    /// raw number = quantity × `times`.
    pub times: f64,
}

impl Encoding {
    /// A type, most significant byte first, unscaled.
    #[must_use]
    pub const fn new(raw: RawType) -> Self {
        Self {
            raw,
            order: WordOrder::Abcd,
            times: 1.0,
        }
    }

    /// The same in another order.
    #[must_use]
    pub const fn order(mut self, order: WordOrder) -> Self {
        self.order = order;
        self
    }

    /// The same with the raw number so many times the quantity.
    #[must_use]
    pub const fn times(mut self, times: f64) -> Self {
        self.times = times;
        self
    }

    /// How many registers (or bits) a number of this type takes.
    #[must_use]
    pub const fn words(self) -> usize {
        match self.raw {
            RawType::Bool | RawType::Int16 | RawType::Uint16 | RawType::String => 1,
            RawType::Int32 | RawType::Uint32 | RawType::Float32 => 2,
            RawType::Int64 | RawType::Uint64 | RawType::Float64 => 4,
        }
    }

    /// Writes a quantity; integers are rounded and held within their type.
    pub(crate) fn write(self, quantity: f64, words: &mut [u16]) {
        let number = quantity * self.times;
        let round = number.round();
        // `as` from float to integer saturates, and makes 0 of NaN.
        let bits = match self.raw {
            RawType::Bool => u64::from(number != 0.0),
            RawType::Int16 => u64::from((round as i16).cast_unsigned()),
            RawType::Uint16 => u64::from(round as u16),
            RawType::Int32 => u64::from((round as i32).cast_unsigned()),
            RawType::Uint32 => u64::from(round as u32),
            RawType::Int64 => (round as i64).cast_unsigned(),
            RawType::Uint64 => round as u64,
            RawType::Float32 => u64::from((number as f32).to_bits()),
            RawType::Float64 => number.to_bits(),
            RawType::String => return,
        };
        self.write_bits(bits, words);
    }

    /// Writes a whole number exactly; floats take the nearest they have.
    pub(crate) fn write_integer(self, number: i128, words: &mut [u16]) {
        match self.raw {
            RawType::Int64 | RawType::Uint64 if self.times == 1.0 => {
                let (low, high) = match self.raw {
                    RawType::Int64 => (i128::from(i64::MIN), i128::from(i64::MAX)),
                    _ => (0, i128::from(u64::MAX)),
                };
                self.write_bits(number.clamp(low, high) as u64, words);
            }
            _ => self.write(number as f64, words),
        }
    }

    fn write_bits(self, bits: u64, words: &mut [u16]) {
        let count = self.words();
        for (i, word) in words.iter_mut().take(count).enumerate() {
            let place = match self.order {
                WordOrder::Abcd | WordOrder::Badc => count - 1 - i,
                WordOrder::Cdab | WordOrder::Dcba => i,
            };
            let value = (bits >> (16 * place)) as u16;
            *word = match self.order {
                WordOrder::Abcd | WordOrder::Cdab => value,
                WordOrder::Badc | WordOrder::Dcba => value.swap_bytes(),
            };
        }
        if self.raw == RawType::Bool
            && let Some(word) = words.first_mut()
        {
            *word = u16::from(bits != 0);
        }
    }

    /// Reads a quantity; a text has none.
    pub(crate) fn read(self, words: &[u16]) -> Option<f64> {
        let count = self.words();
        let mut bits = 0u64;
        for (i, word) in words.get(..count)?.iter().enumerate() {
            let place = match self.order {
                WordOrder::Abcd | WordOrder::Badc => count - 1 - i,
                WordOrder::Cdab | WordOrder::Dcba => i,
            };
            let value = match self.order {
                WordOrder::Abcd | WordOrder::Cdab => *word,
                WordOrder::Badc | WordOrder::Dcba => word.swap_bytes(),
            };
            bits |= u64::from(value) << (16 * place);
        }
        let number = match self.raw {
            RawType::Bool => f64::from(u8::from(bits != 0)),
            RawType::Int16 => f64::from((bits as u16).cast_signed()),
            RawType::Uint16 => f64::from(bits as u16),
            RawType::Int32 => f64::from((bits as u32).cast_signed()),
            RawType::Uint32 => f64::from(bits as u32),
            RawType::Int64 => bits.cast_signed() as f64,
            RawType::Uint64 => bits as f64,
            RawType::Float32 => f64::from(f32::from_bits(bits as u32)),
            RawType::Float64 => f64::from_bits(bits),
            RawType::String => return None,
        };
        Some(number / self.times)
    }
}

/// Writes a text, two characters in each register, padded with zeros.
pub(crate) fn write_text(text: &str, order: WordOrder, words: &mut [u16]) {
    let mut bytes = text.bytes();
    for word in words {
        let pair = [bytes.next().unwrap_or(0), bytes.next().unwrap_or(0)];
        *word = match order {
            WordOrder::Abcd | WordOrder::Cdab => u16::from_be_bytes(pair),
            WordOrder::Badc | WordOrder::Dcba => u16::from_le_bytes(pair),
        };
    }
}
