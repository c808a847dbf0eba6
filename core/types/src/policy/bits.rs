//! A part of a whole number: `mask` and `shift`, both ways.

use crate::value::{Value, ValueRef};

/// Which bits of a whole raw value count, and where they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bits {
    mask: Option<u64>,
    shift: i32,
}

/// A raw value that has no such bits, or a value that does not fit into them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BitsError {
    /// The raw value is no whole number.
    #[error("`mask` and `shift` need a whole number, got {value}")]
    NotWhole {
        /// The raw value.
        value: String,
    },
    /// Bits would be lost.
    #[error("{value} shifted by {shift} is out of 64 bits")]
    Lost {
        /// The value.
        value: String,
        /// The shift.
        shift: i32,
    },
    /// The value needs other bits than those of the mask.
    #[error("{value} does not fit into the bits of mask {mask:#06x}")]
    DoesNotFit {
        /// The value.
        value: i64,
        /// The mask.
        mask: u64,
    },
}

impl Bits {
    /// `mask` is not 0, `shift` is within -63 to 63.
    pub fn new(mask: Option<u64>, shift: i32) -> Self {
        Self { mask, shift }
    }

    /// Whether it changes nothing.
    pub fn is_none(&self) -> bool {
        self.mask.is_none() && self.shift == 0
    }

    /// Whether only some bits of the raw value are the property's, so that a
    /// write has to know the others.
    pub fn is_part(&self) -> bool {
        self.mask.is_some()
    }

    /// The number that has only the lowest of the bits: what "true" is.
    pub fn least(&self) -> i64 {
        let lowest = self.mask.map_or(1, |mask| mask & mask.wrapping_neg());
        match self.extract(ValueRef::Uint(lowest)) {
            Ok(ValueRef::Int(v)) => v,
            _ => 1,
        }
    }

    /// The bits that count, as a number.
    ///
    /// # Errors
    /// The raw value is not a whole number, or a shift to the left loses bits.
    pub fn extract(&self, raw: ValueRef<'_>) -> Result<ValueRef<'static>, BitsError> {
        let raw = match raw {
            ValueRef::Int(v) => i128::from(v),
            ValueRef::Uint(v) => i128::from(v),
            ValueRef::Float(v) if v.fract() == 0.0 && v.abs() < 9e15 => v as i128,
            other => {
                return Err(BitsError::NotWhole {
                    value: other.to_string(),
                });
            }
        };
        // A negative number has the bits of its two's complement.
        let masked = match self.mask {
            Some(mask) => i128::from(raw as u64 & mask),
            None => raw,
        };
        let moved = if self.shift >= 0 {
            masked >> self.shift
        } else {
            masked << -self.shift
        };
        match (i64::try_from(moved), u64::try_from(moved)) {
            (Ok(v), _) => Ok(ValueRef::Int(v)),
            (_, Ok(v)) => Ok(ValueRef::Uint(v)),
            _ => Err(BitsError::Lost {
                value: raw.to_string(),
                shift: self.shift,
            }),
        }
    }

    /// The raw value that has `value` in its bits and `former` in the others.
    /// `signed` is the width of a signed raw type, whose top bit is its sign.
    ///
    /// # Errors
    /// The value does not fit.
    pub fn insert(&self, value: i64, former: i64, signed: Option<u32>) -> Result<Value, BitsError> {
        let wide = i128::from(value);
        let moved = if self.shift >= 0 {
            wide << self.shift
        } else if wide & ((1 << -self.shift) - 1) == 0 {
            wide >> -self.shift
        } else {
            return Err(BitsError::Lost {
                value: value.to_string(),
                shift: self.shift,
            });
        };
        let Some(mask) = self.mask else {
            return i64::try_from(moved)
                .map(Value::Int)
                .map_err(|_| BitsError::Lost {
                    value: value.to_string(),
                    shift: self.shift,
                });
        };
        let part = u64::try_from(moved).ok().filter(|part| part & !mask == 0);
        let part = part.ok_or(BitsError::DoesNotFit { value, mask })?;
        let whole = (former as u64 & !mask) | part;
        Ok(match signed {
            Some(width @ 1..64) => Value::Int(((whole << (64 - width)) as i64) >> (64 - width)),
            _ => i64::try_from(whole).map_or_else(
                // A signed number of 64 bits, or a former negative one.
                |_| {
                    if signed.is_some() || former < 0 {
                        Value::Int(whole as i64)
                    } else {
                        Value::Uint(whole)
                    }
                },
                Value::Int,
            ),
        })
    }
}
