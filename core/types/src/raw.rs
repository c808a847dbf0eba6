//! Which numbers a raw type can have, where it is known by its name.

use std::fmt;

/// The whole numbers of a raw type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRange {
    name: Box<str>,
    low: i64,
    high: i64,
    /// How many bits a signed type has, of which a manual may show the pattern.
    signed_bits: Option<u32>,
}

/// Names as mappers have them, aliases too; those without a range are not here.
const RANGES: &[(&str, i64, i64, Option<u32>)] = &[
    ("int8", -0x80, 0x7F, Some(8)),
    ("uint8", 0, 0xFF, None),
    ("byte", 0, 0xFF, None),
    ("int16", -0x8000, 0x7FFF, Some(16)),
    ("short", -0x8000, 0x7FFF, Some(16)),
    ("uint16", 0, 0xFFFF, None),
    ("word", 0, 0xFFFF, None),
    ("int24", -0x80_0000, 0x7F_FFFF, Some(24)),
    ("uint24", 0, 0xFF_FFFF, None),
    ("int32", -0x8000_0000, 0x7FFF_FFFF, Some(32)),
    ("uint32", 0, 0xFFFF_FFFF, None),
    ("dword", 0, 0xFFFF_FFFF, None),
    ("int64", i64::MIN, i64::MAX, None),
    ("uint64", 0, i64::MAX, None),
    ("bcd16", 0, 9_999, None),
    ("bcd32", 0, 99_999_999, None),
    ("sm16", -0x7FFF, 0x7FFF, None),
    ("sm32", -0x7FFF_FFFF, 0x7FFF_FFFF, None),
];

impl RawRange {
    /// Of a raw type's name.
    pub fn of(name: &str) -> Option<Self> {
        let known = RANGES
            .iter()
            .find(|(known, ..)| known.eq_ignore_ascii_case(name.trim()));
        known.map(|(name, low, high, signed_bits)| Self {
            name: (*name).into(),
            low: *low,
            high: *high,
            signed_bits: *signed_bits,
        })
    }

    /// Whether a value can be this number.
    pub fn holds(&self, number: i64) -> bool {
        (self.low..=self.high).contains(&number)
    }

    /// The number whose bits are those of this one: 0x8000 is -32768 of an int16.
    pub fn by_pattern(&self, number: i64) -> Option<i64> {
        let whole = 1_i64.checked_shl(self.signed_bits?)?;
        (self.high < number && number < whole).then(|| number - whole)
    }
}

impl fmt::Display for RawRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}…{})", self.name, self.low, self.high)
    }
}
