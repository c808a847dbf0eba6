//! Typed values, their quality, and how they read as text.

use std::fmt;

use serde::{Deserialize, Serialize};

use base64::{
    Engine,
    alphabet::STANDARD,
    display::Base64Display,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::property_type::PropertyType;

/// Base64 (RFC 4648 section 4). Written with padding; people may leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A typed value, as a device gave it or should get it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A truth value.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer; readings that fit are [`Value::Int`] or this, as the device's type says.
    Uint(u64),
    /// A floating point number, possibly not finite.
    Float(f64),
    /// Text.
    String(Box<str>),
    /// Raw bytes; as text they are base64.
    Bytes(Box<[u8]>),
}

/// A [`Value`] that borrows its text or bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// See [`Value::Bool`].
    Bool(bool),
    /// See [`Value::Int`].
    Int(i64),
    /// See [`Value::Uint`].
    Uint(u64),
    /// See [`Value::Float`].
    Float(f64),
    /// See [`Value::String`].
    String(&'a str),
    /// See [`Value::Bytes`].
    Bytes(&'a [u8]),
}

/// So many characters of a wrong text show what is wrong with it; whoever sends
/// more gets no answer of the same size.
const QUOTED: usize = 80;

fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A text that is not a value of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a value of type {wanted}: {hint}")]
pub struct ParseValueError {
    /// The text, at most its first 80 characters.
    pub text: String,
    /// The type.
    pub wanted: PropertyType,
    hint: &'static str,
}

/// How far a reading can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// Read from the device, no doubt about it.
    Good,
    /// To be used with care: old, substituted or out of its range.
    #[default]
    Uncertain,
    /// There is no usable value.
    Bad,
}

/// Why a reading is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// Nothing to add.
    #[default]
    None,
    /// The line is down or broke.
    Line,
    /// No answer in time.
    Timeout,
    /// The device refused to read this point.
    Refused,
    /// The point's configuration is wrong.
    Config,
    /// The answer could not be decoded.
    Decode,
    /// No reading for longer than the property's `staleAfter`.
    Stale,
    /// Outside of the property's range.
    Range,
    /// The device says by a code of its own (`badWhen`) that it has no value.
    Sensor,
    /// The point can only be written. A mapper says so; no twin is bad for that.
    WriteOnly,
}

impl Value {
    /// Reads `text` as a value of type `wanted`.
    ///
    /// ```
    /// use longshore_types::{Value, device::PropertyType};
    /// assert_eq!(Value::parse_as(PropertyType::Int, "60"), Ok(Value::Int(60)));
    /// assert!(Value::parse_as(PropertyType::Int, "60.5").is_err());
    /// ```
    pub fn parse_as(wanted: PropertyType, text: &str) -> Result<Self, ParseValueError> {
        let refuse = |hint| ParseValueError {
            text: quoted(text),
            wanted,
            hint,
        };
        let trimmed = text.trim();
        match wanted {
            PropertyType::Int => match trimmed.parse::<i64>() {
                Ok(v) => Ok(Self::Int(v)),
                Err(_) => trimmed
                    .parse::<u64>()
                    .map(Self::Uint)
                    .map_err(|_| refuse("expected a whole number of at most 64 bits")),
            },
            PropertyType::Float | PropertyType::Double => match trimmed.parse::<f64>() {
                Ok(v) if v.is_finite() && !trimmed.is_empty() => Ok(Self::Float(v)),
                _ => Err(refuse("expected a number such as 21.5")),
            },
            PropertyType::Boolean => match trimmed {
                "true" | "True" | "TRUE" | "1" => Ok(Self::Bool(true)),
                "false" | "False" | "FALSE" | "0" => Ok(Self::Bool(false)),
                _ => Err(refuse("expected true or false")),
            },
            PropertyType::String => Ok(Self::String(text.into())),
            PropertyType::Bytes => BASE64
                .decode(trimmed)
                .map(|v| Self::Bytes(v.into()))
                .map_err(|_| refuse("expected base64")),
            PropertyType::Stream => Err(refuse("a stream cannot be set")),
        }
    }

    /// The same value, borrowed.
    pub fn borrow(&self) -> ValueRef<'_> {
        match self {
            Self::Bool(v) => ValueRef::Bool(*v),
            Self::Int(v) => ValueRef::Int(*v),
            Self::Uint(v) => ValueRef::Uint(*v),
            Self::Float(v) => ValueRef::Float(*v),
            Self::String(v) => ValueRef::String(v),
            Self::Bytes(v) => ValueRef::Bytes(v),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.borrow().fmt(f)
    }
}

/// The canonical text: the shortest decimal that stands for the number,
/// `true` or `false`, base64 for bytes. [`Value::parse_as`] reads it back.
impl fmt::Display for ValueRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Bool(v) => f.write_str(if v { "true" } else { "false" }),
            Self::Int(v) => write!(f, "{v}"),
            Self::Uint(v) => write!(f, "{v}"),
            Self::Float(v) => write_float(v, f),
            Self::String(v) => f.write_str(v),
            Self::Bytes(v) => Base64Display::new(v, &BASE64).fmt(f),
        }
    }
}

/// A number that came as 32 bits is written as short as its 32 bits allow,
/// 21.1 and not 21.100000381469727; one with up to 15 digits is written as it
/// is. Very large and very small numbers get an exponent.
fn write_float(v: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const EXACT_DIGITS: usize = 15;
    let plain = v == 0.0 || !v.is_finite() || (1e-5..1e16).contains(&v.abs());
    let text = if plain {
        v.to_string()
    } else {
        format!("{v:e}")
    };
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let single = v as f32;
    match (digits > EXACT_DIGITS && f64::from(single) == v, plain) {
        (true, true) => write!(f, "{single}"),
        (true, false) => write!(f, "{single:e}"),
        (false, _) => f.write_str(&text),
    }
}

impl ValueRef<'_> {
    /// The same value, owned.
    pub fn to_value(self) -> Value {
        match self {
            Self::Bool(v) => Value::Bool(v),
            Self::Int(v) => Value::Int(v),
            Self::Uint(v) => Value::Uint(v),
            Self::Float(v) => Value::Float(v),
            Self::String(v) => Value::String(v.into()),
            Self::Bytes(v) => Value::Bytes(v.into()),
        }
    }

    /// The number that it is, if it is one. Booleans are not numbers.
    pub fn as_f64(self) -> Option<f64> {
        match self {
            Self::Int(v) => Some(v as f64),
            Self::Uint(v) => Some(v as f64),
            Self::Float(v) => Some(v),
            Self::Bool(_) | Self::String(_) | Self::Bytes(_) => None,
        }
    }
}

impl Quality {
    /// `good`, `uncertain` or `bad`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Uncertain => "uncertain",
            Self::Bad => "bad",
        }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Reason {
    /// One word, as in the twin's metadata.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Line => "line",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Config => "config",
            Self::Decode => "decode",
            Self::Stale => "stale",
            Self::Range => "range",
            Self::Sensor => "sensor",
            Self::WriteOnly => "writeonly",
        }
    }
}
