//! Whether a raw value to write is a whole number.

use longshore_types::device::PropertyType;

use super::Rules;

/// Whether a raw value to write is a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// It has to be: there is nothing between two steps.
    Always,
    /// A fraction is a fraction, and what has none is written as a whole number.
    IfItIs,
    Never,
}

impl Whole {
    /// The configuration decides, then the type of the model: that a FLOAT
    /// happened to be read as a whole number does not make it one.
    pub(super) fn of(rules: &Rules, last_raw_whole: Option<bool>) -> Self {
        if !rules.policy.bits.is_none() {
            return Self::Always;
        }
        match (rules.raw_whole, last_raw_whole, rules.value_type) {
            (Some(true), _, _) => Self::Always,
            (Some(false), _, _) => Self::Never,
            (None, Some(true), PropertyType::Float | PropertyType::Double) => Self::IfItIs,
            (None, Some(true), _) | (None, None, PropertyType::Int) => Self::Always,
            (None, _, _) => Self::Never,
        }
    }
}
