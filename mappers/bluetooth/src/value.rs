//! A decoded value on its way into a sample, and the loads that all decoders share.

use longshore_sdk::{Reason, Samples};

/// What a decoder found.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Truth.
    Bool(bool),
    /// Signed.
    Int(i64),
    /// Unsigned.
    Uint(u64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes as they came.
    Bytes(Vec<u8>),
    /// The device says that it has no value, and why.
    Unknown(&'static str),
}

impl Value {
    /// Puts it into the batch.
    pub fn push(&self, point: u32, samples: &mut Samples, time_ns: i64) {
        match self {
            Self::Bool(value) => samples.push_bool(point, *value, time_ns),
            Self::Int(value) => samples.push_i64(point, *value, time_ns),
            Self::Uint(value) => samples.push_u64(point, *value, time_ns),
            Self::Float(value) => samples.push_f64(point, *value, time_ns),
            Self::Text(value) => samples.push_str(point, value, time_ns),
            Self::Bytes(value) => samples.push_bytes(point, value, time_ns),
            Self::Unknown(why) => samples.push_bad(point, Reason::Decode, why, time_ns),
        }
    }

    /// A raw number in steps of a power of ten; whole where the step is.
    pub(crate) fn scaled(raw: i64, signed: bool, decimals: i8) -> Self {
        match decimals {
            0 if signed => Self::Int(raw),
            0 => Self::Uint(raw as u64),
            // A division gives the nearest number: 2150 / 100 is 21.5, 2150 × 0.01 is not.
            1.. => Self::Float(raw as f64 / 10_f64.powi(i32::from(decimals))),
            _ => Self::Float(raw as f64 * 10_f64.powi(i32::from(-decimals))),
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Uint(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
            Self::Bytes(value) => f.write_str(&hex(value)),
            Self::Unknown(why) => f.write_str(why),
        }
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hexadecimal digits as bytes.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !matches!(c, ' ' | ':' | '-'))
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty()
        .then(|| pairs.iter().map(|[h, l]| (h << 4 | l) as u8).collect())
}

/// An unsigned number of up to eight bytes, the lowest byte first.
pub(crate) fn little(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// An unsigned number of up to eight bytes, the highest byte first.
pub(crate) fn big(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The same bits as a signed number of `size` bytes.
pub(crate) fn signed(number: u64, size: usize) -> i64 {
    let shift = 64 - 8 * size.clamp(1, 8) as u32;
    (number << shift) as i64 >> shift
}

/// Text as devices write it: up to the first NUL, without what is no UTF-8.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned()
}
