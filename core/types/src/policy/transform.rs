//! `twin = raw × scale + offset`, both ways, without the dust of binary fractions.

/// `twin = raw × scale + offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transform {
    scale: f64,
    offset: f64,
    /// Set where 1/scale is whole: 217 / 10 is 21.7, 217 × 0.1 is
    /// 21.700000000000003.
    divisor: Option<f64>,
}

/// A twin value that has no raw value.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum InverseError {
    /// The raw value must be whole; there is no such one near enough.
    #[error("{value} is between two steps of {step}")]
    BetweenSteps {
        /// The twin value.
        value: f64,
        /// Distance of two twin values that the device can hold.
        step: f64,
    },
    /// The raw value is not a number.
    #[error("{value} cannot be transformed back")]
    NotFinite {
        /// The twin value.
        value: f64,
    },
}

impl Default for Transform {
    fn default() -> Self {
        Self::new(1.0, 0.0)
    }
}

impl Transform {
    /// With a scale that is finite and not 0, and a finite offset.
    pub fn new(scale: f64, offset: f64) -> Self {
        let inverse = 1.0 / scale;
        let whole = inverse.round();
        let divisor = (whole.abs() > 1.0
            && whole.abs() < 1e15
            && (inverse - whole).abs() < whole.abs() * 1e-12)
            .then_some(whole);
        Self {
            scale,
            offset,
            divisor,
        }
    }

    /// The factor.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// What is added.
    pub fn offset(&self) -> f64 {
        self.offset
    }

    /// Whether it changes nothing, so that whole numbers can stay whole.
    pub fn is_identity(&self) -> bool {
        self.scale == 1.0 && self.offset == 0.0
    }

    /// From raw to twin.
    #[inline]
    pub fn apply(&self, raw: f64) -> f64 {
        match self.divisor {
            Some(divisor) => raw / divisor + self.offset,
            None => raw * self.scale + self.offset,
        }
    }

    /// From twin to raw, as a number that may have a fraction.
    pub fn invert(&self, twin: f64) -> Result<f64, InverseError> {
        let shifted = twin - self.offset;
        let raw = match self.divisor {
            Some(divisor) => shifted * divisor,
            None => shifted / self.scale,
        };
        if raw.is_finite() {
            Ok(raw)
        } else {
            Err(InverseError::NotFinite { value: twin })
        }
    }

    /// From twin to raw for a device that holds whole numbers: refuses a value
    /// between two steps, which the device would silently round.
    pub fn invert_whole(&self, twin: f64) -> Result<f64, InverseError> {
        let raw = self.invert(twin)?;
        let whole = raw.round();
        // The relative part covers the dust of a subtraction and a division.
        if (raw - whole).abs() > 1e-9 * whole.abs().max(1.0) {
            return Err(InverseError::BetweenSteps {
                value: twin,
                step: self.scale.abs(),
            });
        }
        Ok(whole)
    }
}
