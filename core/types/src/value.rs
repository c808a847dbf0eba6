//! Typed values, their quality, and how they read as text.

use std::fmt;

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

/// How far a reading can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
}

impl Value {
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
        }
    }
}
