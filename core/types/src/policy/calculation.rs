//! `expression` and `inverse`: a twin that is calculated.

use crate::{
    device::PropertyType,
    expression::{Expression, ExpressionError, Term},
    value::ValueRef,
};

/// How a twin is calculated from a raw value, and back.
#[derive(Debug, Clone, PartialEq)]
pub struct Calculation {
    /// From raw to twin.
    pub expression: Expression,
    /// From twin to raw.
    pub inverse: Option<Expression>,
}

/// Where nothing is said of the range, the inverse is tried here.
const TRIED: (f64, f64) = (-1_000.0, 1_000.0);
/// Steps between the ends.
const STEPS: u32 = 40;
/// How far two numbers may be off that should be the same.
const EXACT: f64 = 1e-6;

impl Calculation {
    /// The twin's value.
    ///
    /// # Errors
    /// The expression cannot be evaluated for this value.
    pub fn apply(&self, raw: ValueRef<'_>) -> Result<Term, ExpressionError> {
        with(&self.expression, raw)
    }

    /// The raw value; none without an `inverse`.
    pub fn invert(&self, twin: ValueRef<'_>) -> Option<Result<Term, ExpressionError>> {
        Some(with(self.inverse.as_ref()?, twin))
    }

    /// Tries the inverse: a value that is written must be the one that is read
    /// back. Gives the first one that is not, in words.
    pub fn counter_example(
        &self,
        value_type: PropertyType,
        minimum: Option<f64>,
        maximum: Option<f64>,
    ) -> Option<String> {
        let inverse = self.inverse.as_ref()?;
        if value_type == PropertyType::Boolean {
            return [false, true]
                .into_iter()
                .find_map(|twin| self.differs(inverse, ValueRef::Bool(twin)));
        }
        if !value_type.is_number() {
            return None;
        }
        let (low, high) = match (minimum, maximum) {
            (Some(low), Some(high)) => (low, high),
            (Some(low), None) => (low, low + TRIED.1),
            (None, Some(high)) => (high + TRIED.0, high),
            (None, None) => TRIED,
        };
        (0..=STEPS).find_map(|step| {
            let twin = low + (high - low) * f64::from(step) / f64::from(STEPS);
            if value_type == PropertyType::Int {
                self.differs(inverse, ValueRef::Int(twin.round() as i64))
            } else {
                self.differs(inverse, ValueRef::Float(twin))
            }
        })
    }

    fn differs(&self, inverse: &Expression, twin: ValueRef<'_>) -> Option<String> {
        let raw = match with(inverse, twin) {
            Ok(raw) => raw,
            Err(error) => return Some(format!("`inverse` of {twin} fails: {error}")),
        };
        let Some(raw) = raw.into_value() else {
            return Some(format!("`inverse` of {twin} is no value"));
        };
        let back = match self.apply(raw.borrow()) {
            Ok(back) => back,
            Err(error) => {
                return Some(format!(
                    "{twin} is written as {raw}, of which `expression` fails: {error}"
                ));
            }
        };
        let same = match (back.as_f64(), twin.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= EXACT * b.abs().max(1.0),
            _ => back == Term::from(twin),
        };
        let shown = back
            .into_value()
            .map_or_else(|| "nothing".to_owned(), |value| value.to_string());
        (!same).then(|| format!("{twin} is written as {raw} and read back as {shown}"))
    }
}

/// A number is a double here, so that `x / 10` has a fraction.
fn with(expression: &Expression, x: ValueRef<'_>) -> Result<Term, ExpressionError> {
    let x = x.as_f64().map_or_else(|| Term::from(x), Term::Double);
    expression.evaluate(&|_| Some(x.clone()))
}
