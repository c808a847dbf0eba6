//! Node ids, as text and as numbers.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What tells one node of a namespace from the others.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Identifier {
    /// `i=85`
    Number(u32),
    /// `s=Press.Temperature`
    Text(Arc<str>),
    /// `g=00112233-4455-6677-8899-aabbccddeeff`, in the order of the wire.
    Guid([u8; 16]),
    /// `b=…`; in text as hexadecimal digits.
    Opaque(Arc<[u8]>),
}

/// The id of a node: the index of its namespace and its identifier there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId {
    /// The index into the server's NamespaceArray.
    pub namespace: u16,
    /// The identifier.
    pub identifier: Identifier,
}

/// A text that is no node id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no node id: expected something like `ns=2;s=Press.Temperature` or `i=85`")]
pub(crate) struct BadNodeId(pub String);

impl NodeId {
    pub(crate) const fn number(namespace: u16, number: u32) -> Self {
        Self {
            namespace,
            identifier: Identifier::Number(number),
        }
    }

    /// A node of OPC UA itself.
    pub(crate) const fn standard(number: u32) -> Self {
        Self::number(0, number)
    }

    pub(crate) fn text(namespace: u16, text: &str) -> Self {
        Self {
            namespace,
            identifier: Identifier::Text(text.into()),
        }
    }

    /// The number of a node of OPC UA itself.
    pub(crate) fn as_standard(&self) -> Option<u32> {
        match self.identifier {
            Identifier::Number(number) if self.namespace == 0 => Some(number),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.as_standard() == Some(0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace != 0 {
            write!(f, "ns={};", self.namespace)?;
        }
        fmt::Display::fmt(&self.identifier, f)
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "i={number}"),
            Self::Text(text) => write!(f, "s={text}"),
            Self::Guid(guid) => write!(f, "g={}", guid_text(guid)),
            Self::Opaque(bytes) => {
                f.write_str("b=")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

impl FromStr for Identifier {
    type Err = BadNodeId;

    fn from_str(text: &str) -> Result<Self, BadNodeId> {
        let bad = || BadNodeId(text.to_owned());
        let (kind, rest) = text.split_once('=').ok_or_else(bad)?;
        match kind {
            "i" => Ok(Self::Number(rest.parse().map_err(|_| bad())?)),
            "s" if !rest.is_empty() => Ok(Self::Text(rest.into())),
            "g" => parse_guid(rest).map(Self::Guid).ok_or_else(bad),
            "b" => parse_hex(rest)
                .map(|b| Self::Opaque(b.into()))
                .ok_or_else(bad),
            _ => Err(bad()),
        }
    }
}

impl FromStr for NodeId {
    type Err = BadNodeId;

    fn from_str(text: &str) -> Result<Self, BadNodeId> {
        let (namespace, rest) = match text.strip_prefix("ns=").and_then(|t| t.split_once(';')) {
            Some((index, rest)) => (index.parse().map_err(|_| BadNodeId(text.to_owned()))?, rest),
            None => (0, text),
        };
        Ok(Self {
            namespace,
            identifier: rest.parse().map_err(|_| BadNodeId(text.to_owned()))?,
        })
    }
}

/// The usual text; the first three groups are numbers, low byte first (OPC 10000-6, 5.2.2.6).
pub(crate) fn guid_text(guid: &[u8; 16]) -> String {
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::with_capacity(36);
    for (place, from) in order.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{:02x}", guid[from]));
    }
    text
}

pub(crate) fn parse_guid(text: &str) -> Option<[u8; 16]> {
    let bytes = parse_hex(&text.replace('-', ""))?;
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut guid = [0; 16];
    (bytes.len() == 16).then(|| {
        for (place, from) in order.into_iter().enumerate() {
            guid[place] = bytes[from];
        }
        guid
    })
}

pub(crate) fn parse_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}
