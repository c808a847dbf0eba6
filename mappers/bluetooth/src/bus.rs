//! Buses and units: each device is a bus of its own, so that one that connects
//! slowly holds up no other.

use std::{fmt, time::Duration};

/// A device, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Bus {
    /// For example `hci0`; the first that is there if none is named.
    pub adapter: Option<String>,
    /// Which device.
    pub target: Target,
    /// Whether a connection is needed, or listening is enough.
    pub connect: bool,
    /// Whether it must be paired first.
    pub pair: bool,
    /// The number that it shows or has printed on, for pairing.
    pub passkey: Option<u32>,
    /// The longest that one exchange may take.
    pub timeout: Duration,
    /// The longest that finding and connecting may take.
    pub connect_timeout: Duration,
    /// Without an advertisement for so long the device is silent.
    pub silent_after: Duration,
    /// Opens its sealed advertisements.
    pub key: Option<[u8; 16]>,
}

/// Which device.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// By its address, as it is written: the highest byte first.
    Address([u8; 6]),
    /// By the name that it advertises.
    Name(String),
}

/// The one unit on such a bus.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unit(pub Target);

/// `A4:C1:38:…` as bytes.
pub(crate) fn address(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.trim().split([':', '-']);
    for byte in &mut bytes {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address([a, b, c, d, e, g]) => {
                write!(f, "{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{g:02X}")
            }
            Self::Name(name) => write!(f, "`{name}`"),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.adapter {
            Some(adapter) => write!(f, "{} on {adapter}", self.target),
            None => self.target.fmt(f),
        }
    }
}
