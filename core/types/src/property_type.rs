//! The types that properties may have.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Type of a property's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PropertyType {
    /// A whole number of up to 64 bits.
    Int,
    /// A number; 32 bits in KubeEdge's mappers.
    Float,
    /// A number of 64 bits.
    Double,
    /// Text.
    String,
    /// A truth value.
    Boolean,
    /// Raw bytes, base64 as text.
    Bytes,
    /// Pictures; not a twin value.
    Stream,
}

impl PropertyType {
    /// All types, in the order of the API.
    pub const ALL: [Self; 7] = [
        Self::Int,
        Self::Float,
        Self::Double,
        Self::String,
        Self::Boolean,
        Self::Bytes,
        Self::Stream,
    ];

    /// The API's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Int => "INT",
            Self::Float => "FLOAT",
            Self::Double => "DOUBLE",
            Self::String => "STRING",
            Self::Boolean => "BOOLEAN",
            Self::Bytes => "BYTES",
            Self::Stream => "STREAM",
        }
    }

    /// `int`, `float`, … as the twin's metadata says it.
    pub fn metadata_name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Float => "float",
            Self::Double => "double",
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::Bytes => "bytes",
            Self::Stream => "stream",
        }
    }

    /// Reads either spelling.
    pub fn from_word(word: &str) -> Option<Self> {
        let spells = |kind: &Self| kind.as_str().eq_ignore_ascii_case(word);
        Self::ALL.into_iter().find(spells)
    }

    /// Whether its values are numbers.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Float | Self::Double)
    }
}

impl fmt::Display for PropertyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
