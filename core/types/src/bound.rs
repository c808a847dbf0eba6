//! The ends of a range of values.

use std::{cmp::Ordering, fmt};

use crate::value::ValueRef;

/// One end of a range; whole numbers stay exact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// A whole number.
    Int(i128),
    /// Any number.
    Float(f64),
}

impl Bound {
    /// Whether `value` is a number below this bound.
    pub fn is_above(self, value: ValueRef<'_>) -> bool {
        self.compare(value) == Some(Ordering::Greater)
    }

    /// Whether `value` is a number above this bound.
    pub fn is_below(self, value: ValueRef<'_>) -> bool {
        self.compare(value) == Some(Ordering::Less)
    }

    /// As a floating point number.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(bound) => bound as f64,
            Self::Float(bound) => bound,
        }
    }

    fn compare(self, value: ValueRef<'_>) -> Option<Ordering> {
        match (self, value) {
            (Self::Int(bound), ValueRef::Int(v)) => Some(bound.cmp(&i128::from(v))),
            (Self::Int(bound), ValueRef::Uint(v)) => Some(bound.cmp(&i128::from(v))),
            (bound, value) => bound.as_f64().partial_cmp(&value.as_f64()?),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(bound) => write!(f, "{bound}"),
            Self::Float(bound) => ValueRef::Float(*bound).fmt(f),
        }
    }
}
