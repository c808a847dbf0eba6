//! UUIDs of services and characteristics, short or long.

use std::{fmt, str::FromStr};

/// Short UUIDs stand for this one with their bits at the top (Core 5.4, volume 3,
/// part B, section 2.5.1).
const BASE: u128 = 0x0000_0000_0000_1000_8000_0080_5F9B_34FB;

/// A UUID of the Bluetooth attribute protocol.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(u128);

/// A text that is no UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no UUID; write for example `2a19`, or all 32 digits")]
pub struct UuidError(String);

impl Uuid {
    /// An assigned number of 16 bits.
    pub const fn short(number: u16) -> Self {
        Self(BASE | (number as u128) << 96)
    }

    /// The assigned number, when it is one.
    pub fn number(self) -> Option<u16> {
        let rest = self.0 & !(0xFFFF << 96);
        (rest == BASE).then_some((self.0 >> 96) as u16)
    }
}

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Self, UuidError> {
        let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
        let digits = digits.strip_prefix("0x").unwrap_or(&digits);
        let number = u128::from_str_radix(digits, 16)
            .ok()
            .filter(|_| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match (number, digits.len()) {
            (Some(number), 4 | 8) => Ok(Self(BASE | number << 96)),
            (Some(number), 32) => Ok(Self(number)),
            _ => Err(UuidError(text.to_owned())),
        }
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(number) = self.number() {
            return write!(f, "{number:04x}");
        }
        let text = format!("{:032x}", self.0);
        let parts = [
            &text[..8],
            &text[8..12],
            &text[12..16],
            &text[16..20],
            &text[20..],
        ];
        f.write_str(&parts.join("-"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
