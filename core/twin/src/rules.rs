//! What a property's configuration says of its values: how a raw value becomes
//! a twin's, and the way back.

mod whole;

use std::sync::Arc;

use longshore_types::{
    Quality, Reason, Value, ValueRef,
    device::{AccessMode, PropertyType},
    effective::{Bound, EffectiveProperty},
    expression::Term,
    policy::{Calculation, OnViolation, PropertyPolicy, Sampling},
};

use self::whole::Whole;

/// Longest time between two reports of a value that does not change, where the
/// property says nothing: whoever looks sees that it is alive.
const DEFAULT_MAX_INTERVAL_MS: u32 = 60_000;
/// A value is stale after so many missed readings, but never sooner than
/// [`LEAST_STALE_MS`], where the property says nothing.
const STALE_CYCLES: u64 = 3;
const LEAST_STALE_MS: u64 = 5_000;

/// What equal properties share: rules of conversion and report. Interned, so
/// that 100,000 points of one model hold one of each.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rules {
    pub(crate) value_type: PropertyType,
    pub(crate) access: AccessMode,
    pub(crate) minimum: Option<Bound>,
    pub(crate) maximum: Option<Bound>,
    pub(crate) unit: String,
    pub(crate) policy: PropertyPolicy,
    pub(crate) report_to_cloud: bool,
    /// What is reported is kept for the hub's history.
    pub(crate) has_history: bool,
    /// A raw floating point number has 32 bits.
    pub(crate) single: bool,
    /// The raw value is whole by its configuration.
    pub(crate) raw_whole: Option<bool>,
    /// See [`Rules::stale_ms`].
    stale_ms: u32,
    /// Nobody has said when a value is stale, nor that it is polled.
    stale_by_default: bool,
    pub(crate) broken: Option<String>,
    pub(super) min_interval_ms: u32,
    pub(super) max_interval_ms: u32,
    /// The width of a signed raw type, whose top bit is its sign.
    signed: Option<u32>,
    /// It shares its raw value with others: a write has to know the rest of it.
    pub(crate) is_part: bool,
    /// It is reported together with others.
    pub(crate) is_grouped: bool,
    /// No transform, names, bits or range: the value goes through as it is.
    plain: bool,
}

impl Rules {
    /// Time without a reading after which a value is stale. Where devices send
    /// by themselves, silence means that nothing has changed: their state tells
    /// whether they are there.
    pub(crate) fn stale_ms(&self, pushes: bool) -> u32 {
        // What is never read is not missed.
        if self.policy.write.command || (pushes && self.stale_by_default) {
            u32::MAX
        } else {
            self.stale_ms
        }
    }

    pub(crate) fn new(property: &EffectiveProperty) -> Self {
        let policy = PropertyPolicy::clone(&property.policy);
        let raw_type = property
            .config
            .get("rawType")
            .and_then(|v| v.as_str())
            .unwrap_or_default();
        let cycle = u64::try_from(property.collect_cycle.as_millis()).unwrap_or(u64::MAX);
        let millis = |d: std::time::Duration| u32::try_from(d.as_millis()).unwrap_or(u32::MAX);
        let stale_ms = policy.stale_after.map_or_else(
            || {
                u32::try_from((cycle.saturating_mul(STALE_CYCLES)).max(LEAST_STALE_MS))
                    .unwrap_or(u32::MAX)
            },
            millis,
        );
        let min_interval_ms = millis(policy.min_interval);
        Self {
            value_type: property.value_type,
            access: property.access,
            minimum: property.minimum,
            maximum: property.maximum,
            unit: property.unit.clone(),
            report_to_cloud: property.report_to_cloud,
            has_history: policy.history && property.report_to_cloud,
            single: raw_type == "float32"
                || (raw_type != "float64" && property.value_type == PropertyType::Float),
            raw_whole: match raw_type {
                "" => None,
                t => Some(t.starts_with("int") || t.starts_with("uint")),
            },
            stale_ms,
            stale_by_default: policy.stale_after.is_none() && policy.sampling != Sampling::Poll,
            broken: property.broken.clone(),
            min_interval_ms,
            max_interval_ms: if policy.report_always {
                min_interval_ms
            } else {
                policy
                    .max_interval
                    .map_or(DEFAULT_MAX_INTERVAL_MS, millis)
                    .max(min_interval_ms)
            },
            signed: raw_type
                .strip_prefix("int")
                .and_then(|width| width.parse().ok()),
            is_part: policy.bits.is_part(),
            is_grouped: policy.group.is_some(),
            plain: policy.transform.is_identity()
                && policy.names.is_none()
                && policy.bits.is_none()
                && policy.calculation.is_none()
                && policy.bad_when.is_none()
                && property.minimum.is_none()
                && property.maximum.is_none(),
            policy,
        }
    }

    /// The property as the vocabulary crate knows it, to check texts with.
    /// What a text means as the desired value of this property, or why it must
    /// not be written.
    pub(crate) fn check(&self, name: &str, text: &str) -> Result<Value, Box<str>> {
        if let Some(why) = &self.broken {
            return Err(why.as_str().into());
        }
        let property = self.as_property(name);
        property
            .check_text(text)
            .map_err(|error| error.to_string().into())
    }

    pub(crate) fn as_property(&self, name: &str) -> EffectiveProperty {
        EffectiveProperty {
            name: name.to_owned(),
            index: 0,
            value_type: self.value_type,
            access: self.access,
            minimum: self.minimum,
            maximum: self.maximum,
            unit: self.unit.clone(),
            policy: Arc::new(self.policy.clone()),
            config: Arc::default(),
            collect_cycle: std::time::Duration::ZERO,
            report_cycle: std::time::Duration::ZERO,
            report_to_cloud: self.report_to_cloud,
            desired: longshore_types::effective::Desired::None,
            desired_metadata: std::collections::BTreeMap::new(),
            broken: self.broken.clone(),
            kind: None,
        }
    }

    /// A raw value as the twin has it, or why it cannot be.
    #[inline]
    pub(super) fn convert(&self, raw: ValueRef<'_>) -> Result<Value, Fault> {
        if self.plain {
            match (self.value_type, raw) {
                (PropertyType::Float | PropertyType::Double, ValueRef::Float(v))
                    if v.is_finite() =>
                {
                    return Ok(Value::Float(v));
                }
                (PropertyType::Int, ValueRef::Int(v)) => return Ok(Value::Int(v)),
                (PropertyType::Boolean, ValueRef::Bool(v)) => return Ok(Value::Bool(v)),
                _ => {}
            }
        }
        self.convert_slowly(raw)
    }

    fn convert_slowly(&self, raw: ValueRef<'_>) -> Result<Value, Fault> {
        if let Some(bad) = &self.policy.bad_when {
            let says_so = bad.holds(&|_| Some(Term::from(raw)));
            if says_so.map_err(|error| Fault::of_key("badWhen", &error))? {
                return Err(Fault {
                    reason: Reason::Sensor,
                    message: format!("raw value {raw} says that there is none (badWhen: {bad})"),
                });
            }
        }
        if let ValueRef::Float(number) = raw
            && !number.is_finite()
            && !self.asks_whether_finite()
        {
            // Whatever is made of it (a truth value, a text) would look sound.
            return Err(Fault::decode(raw, "a finite number"));
        }
        let raw = if self.policy.bits.is_none() {
            raw
        } else {
            self.policy
                .bits
                .extract(raw)
                .map_err(|error| Fault::of_key("mask", &error))?
        };
        if let Some(calculation) = &self.policy.calculation {
            return self.calculated(calculation, raw);
        }
        if let Some(names) = &self.policy.names {
            return self.named(raw, |number| names.name(number).map(str::to_owned));
        }
        match self.value_type {
            PropertyType::Int => match self.number(raw)? {
                // Whole numbers stay exact where nothing is to be calculated.
                Number::Exact(ValueRef::Uint(v)) => Ok(Value::Uint(v)),
                Number::Exact(v) => Ok(v.to_value()),
                Number::Float(v) => {
                    let whole = v.round();
                    if whole.abs() < 9.2e18 {
                        Ok(Value::Int(whole as i64))
                    } else {
                        Err(Fault::decode(raw, "INT"))
                    }
                }
            },
            PropertyType::Float | PropertyType::Double => match self.number(raw)? {
                Number::Exact(v) => v
                    .as_f64()
                    .map(Value::Float)
                    .ok_or_else(|| Fault::decode(raw, "a number")),
                Number::Float(v) => Ok(Value::Float(v)),
            },
            PropertyType::Boolean => match raw {
                ValueRef::Bool(v) => Ok(Value::Bool(v)),
                ValueRef::Int(v) => Ok(Value::Bool(v != 0)),
                ValueRef::Uint(v) => Ok(Value::Bool(v != 0)),
                ValueRef::Float(v) => Ok(Value::Bool(v != 0.0)),
                ValueRef::String(v) => Value::parse_as(PropertyType::Boolean, v)
                    .map_err(|_| Fault::decode(raw, "BOOLEAN")),
                ValueRef::Bytes(_) => Err(Fault::decode(raw, "BOOLEAN")),
            },
            PropertyType::String | PropertyType::Stream => match raw {
                ValueRef::String(v) => Ok(Value::String(v.into())),
                other if self.policy.transform.is_identity() => {
                    Ok(Value::String(other.to_string().into()))
                }
                other => match self.number(other)? {
                    Number::Exact(v) => Ok(Value::String(v.to_string().into())),
                    Number::Float(v) => Ok(Value::String(ValueRef::Float(v).to_string().into())),
                },
            },
            PropertyType::Bytes => match raw {
                ValueRef::Bytes(v) => Ok(Value::Bytes(v.into())),
                ValueRef::String(v) => Ok(Value::Bytes(v.as_bytes().into())),
                other => Err(Fault::decode(other, "BYTES")),
            },
        }
    }

    fn calculated(&self, calculation: &Calculation, raw: ValueRef<'_>) -> Result<Value, Fault> {
        let result = calculation
            .apply(raw)
            .map_err(|error| Fault::of_key("expression", &error))?;
        let wrong = |wanted: &str| Fault {
            reason: Reason::Decode,
            message: format!("expression of raw value {raw} is not {wanted}"),
        };
        match (self.value_type, result) {
            (PropertyType::Int, Term::Double(v)) if v.round().abs() < 9.2e18 => {
                Ok(Value::Int(v.round() as i64))
            }
            (PropertyType::Int, Term::Int(v)) => Ok(Value::Int(v)),
            (PropertyType::Int, _) => Err(wrong("INT")),
            (PropertyType::Float | PropertyType::Double, result) => {
                let number = result.as_f64().ok_or_else(|| wrong("a finite number"))?;
                // A reading of 32 bits makes a result of 32 bits.
                let narrow = matches!(raw, ValueRef::Float(v) if f64::from(v as f32) == v);
                let number = if self.single && narrow {
                    self.rounded_to_single(number)
                } else {
                    without_dust(number)
                };
                // Rounding can make a number infinite, too.
                if number.is_finite() {
                    Ok(Value::Float(number))
                } else {
                    Err(wrong("a finite number"))
                }
            }
            (PropertyType::Boolean, Term::Bool(v)) => Ok(Value::Bool(v)),
            (PropertyType::Boolean, result) => result
                .as_f64()
                .filter(|number| number.is_finite())
                .map(|number| Value::Bool(number != 0.0))
                .ok_or_else(|| wrong("BOOLEAN")),
            (PropertyType::String, Term::Double(number)) if !number.is_finite() => {
                Err(wrong("a finite number"))
            }
            (PropertyType::String, result) => result
                .into_value()
                .map(|value| Value::String(value.to_string().into()))
                .ok_or_else(|| wrong("a value")),
            (other, _) => Err(wrong(other.as_str())),
        }
    }

    /// The user's own expression says what a value that is no number means.
    fn asks_whether_finite(&self) -> bool {
        let calculation = self.policy.calculation.as_ref();
        calculation.is_some_and(|calculation| calculation.expression.asks_whether_finite())
    }

    /// To 32 bits, unless the twin can hold more and has to: a DOUBLE made of a
    /// float32 may leave its range.
    fn rounded_to_single(&self, number: f64) -> f64 {
        let single = f64::from(number as f32);
        if self.value_type == PropertyType::Float || single.is_finite() {
            single
        } else {
            number
        }
    }

    fn named(
        &self,
        raw: ValueRef<'_>,
        name: impl Fn(i64) -> Option<String>,
    ) -> Result<Value, Fault> {
        let number = match raw {
            ValueRef::Int(v) => Some(v),
            ValueRef::Uint(v) => i64::try_from(v).ok(),
            ValueRef::Bool(v) => Some(i64::from(v)),
            ValueRef::Float(v) if v.fract() == 0.0 && v.abs() < 9e15 => Some(v as i64),
            _ => None,
        };
        let known = number.and_then(|n| name(n).map(|name| (n, name)));
        match (known, self.value_type) {
            (Some((number, _)), PropertyType::Int) => Ok(Value::Int(number)),
            (Some((_, name)), _) => Ok(Value::String(name.into())),
            (None, _) => Err(Fault {
                reason: Reason::Decode,
                message: format!("raw value {raw} has no name in `enum`"),
            }),
        }
    }

    fn number<'a>(&self, raw: ValueRef<'a>) -> Result<Number<'a>, Fault> {
        let transform = &self.policy.transform;
        let number = match raw {
            ValueRef::Int(_) | ValueRef::Uint(_) if transform.is_identity() => {
                return Ok(Number::Exact(raw));
            }
            ValueRef::Int(v) => v as f64,
            ValueRef::Uint(v) => v as f64,
            ValueRef::Float(v) => v,
            ValueRef::Bool(v) => f64::from(u8::from(v)),
            ValueRef::String(v) => v
                .trim()
                .parse()
                .map_err(|_| Fault::decode(raw, "a number"))?,
            ValueRef::Bytes(_) => return Err(Fault::decode(raw, "a number")),
        };
        let narrow = number as f32;
        let mut result = if transform.is_identity() {
            number
        } else {
            transform.apply(number)
        };
        if self.single && matches!(raw, ValueRef::Float(_)) && f64::from(narrow) == number {
            result = self.rounded_to_single(result);
        } else if !transform.is_identity() && matches!(raw, ValueRef::Int(_) | ValueRef::Uint(_)) {
            result = as_decimal(result, transform.offset());
        }
        if result.is_finite() {
            Ok(Number::Float(result))
        } else {
            Err(Fault::decode(raw, "a finite number"))
        }
    }

    /// Applies the range: the value to keep and its quality, or `None` to ignore the reading.
    #[inline]
    pub(super) fn in_range(
        &self,
        value: Value,
        quality: Quality,
    ) -> Option<(Value, Quality, Reason)> {
        if self.plain {
            return Some((value, quality, Reason::None));
        }
        let below = self.minimum.filter(|bound| bound.is_above(value.borrow()));
        let above = self.maximum.filter(|bound| bound.is_below(value.borrow()));
        let Some(bound) = below.or(above) else {
            return Some((value, quality, Reason::None));
        };
        match self.policy.on_violation {
            OnViolation::Reject => None,
            OnViolation::FlagBad => Some((value, Quality::Bad, Reason::Range)),
            OnViolation::Clamp => {
                let bound = match (self.value_type, bound) {
                    (PropertyType::Int, Bound::Int(v)) => {
                        i64::try_from(v).map_or(Value::Uint(v as u64), Value::Int)
                    }
                    (PropertyType::Int, Bound::Float(v)) => Value::Int(v as i64),
                    (_, bound) => Value::Float(bound.as_f64()),
                };
                Some((bound, Quality::Uncertain, Reason::Range))
            }
        }
    }

    /// The raw value to write for a twin value, or why there is none.
    pub(crate) fn invert(
        &self,
        value: &Value,
        last_raw_whole: Option<bool>,
    ) -> Result<Value, String> {
        if let (Some(names), Value::String(name)) = (&self.policy.names, value) {
            return names
                .raw(name)
                .map(Value::Int)
                .ok_or_else(|| format!("`{name}` is no name in `enum`"));
        }
        let transform = &self.policy.transform;
        let bits = &self.policy.bits;
        let whole = Whole::of(self, last_raw_whole);
        if let Some(calculation) = &self.policy.calculation {
            return self.calculated_back(calculation, value, whole);
        }
        match value {
            Value::Bool(v) if !bits.is_none() => Ok(Value::Int(if *v { bits.least() } else { 0 })),
            Value::Bool(v) if last_raw_whole == Some(true) => Ok(Value::Int(i64::from(*v))),
            Value::Int(_) | Value::Uint(_) if transform.is_identity() && whole != Whole::Never => {
                Ok(value.clone())
            }
            Value::Int(_) | Value::Uint(_) | Value::Float(_) => {
                // Numbers have a floating point form.
                let number = value.borrow().as_f64().unwrap_or_default();
                let fraction = || {
                    transform
                        .invert(number)
                        .map(Value::Float)
                        .map_err(|error| error.to_string())
                };
                match (whole, transform.invert_whole(number)) {
                    (Whole::Never, _) => fraction(),
                    (Whole::IfItIs, Err(_)) => fraction(),
                    (_, Err(error)) => Err(error.to_string()),
                    (Whole::IfItIs, Ok(raw)) if raw.abs() >= 9.2e18 => fraction(),
                    (_, Ok(raw)) if raw.abs() >= 9.2e18 => {
                        Err(format!("{number} is too large for a whole number"))
                    }
                    (_, Ok(raw)) => Ok(Value::Int(raw as i64)),
                }
            }
            other => Ok(other.clone()),
        }
    }

    fn calculated_back(
        &self,
        calculation: &Calculation,
        value: &Value,
        whole: Whole,
    ) -> Result<Value, String> {
        let raw = calculation
            .invert(value.borrow())
            .ok_or("the property has an `expression` and no `inverse`")?
            .map_err(|error| format!("inverse: {error}"))?;
        let number = match raw.into_value() {
            Some(Value::Float(number)) => number,
            Some(Value::Int(number)) if whole == Whole::Never => number as f64,
            Some(other) => return Ok(other),
            None => return Err("`inverse` gives no value".to_owned()),
        };
        if !number.is_finite() {
            return Err(format!("`inverse` of {value} is {number}"));
        }
        let is_whole = (number - number.round()).abs() <= 1e-9 * number.abs().max(1.0);
        if whole == Whole::Never || (whole == Whole::IfItIs && !is_whole) {
            return Ok(Value::Float(without_dust(number)));
        }
        if number.round().abs() >= 9.2e18 {
            return Err(format!("{number} is too large for a whole number"));
        }
        let raw = Value::Int(number.round() as i64);
        // The nearest whole number may stand for another value.
        match self.calculated(calculation, raw.borrow()) {
            Ok(back) if self.matches(&back, value) => Ok(raw),
            Ok(back) => Err(format!(
                "{value} is between two steps, the nearest is {back}; write.tolerance allows it"
            )),
            Err(fault) => Err(fault.message),
        }
    }

    /// A raw value among the other bits of `former`, where it is a part of it.
    pub(crate) fn among(&self, raw: Value, former: i64) -> Result<Value, String> {
        if self.policy.bits.is_none() {
            return Ok(raw);
        }
        let part = match raw {
            Value::Int(part) => part,
            Value::Uint(part) => i64::try_from(part).map_err(|error| error.to_string())?,
            other => return Err(format!("{other} is not a whole number, as `mask` needs")),
        };
        let whole = self.policy.bits.insert(part, former, self.signed);
        whole.map_err(|error| error.to_string())
    }

    /// Whether a reading shows the desired value.
    pub(crate) fn matches(&self, reading: &Value, desired: &Value) -> bool {
        match (reading.borrow().as_f64(), desired.borrow().as_f64()) {
            (Some(a), Some(b)) => {
                // A device of 32 bits cannot hold more than 24 bits of mantissa.
                let slack = if matches!(desired, Value::Float(_)) {
                    b.abs() * 1.2e-7
                } else {
                    0.0
                };
                a == b || (a - b).abs() <= self.policy.write.tolerance.max(slack)
            }
            _ => reading == desired,
        }
    }
}

/// Rounded to 15 digits, which every double has: 217 × 0.1 is 21.7 and not
/// 21.700000000000003.
fn without_dust(number: f64) -> f64 {
    format!("{number:.14e}").parse().unwrap_or(number)
}

/// The same for a whole raw value that was scaled, without the way over a text
/// for what has at most six decimals, which is nearly everything. What has more
/// digits than a double holds for sure stays as it is.
fn as_decimal(number: f64, offset: f64) -> f64 {
    /// Below it 15 digits are at least six decimals.
    const LIMIT: f64 = 1e9;
    if number.fract() == 0.0 || number.abs() >= LIMIT {
        return number;
    }
    let millionths = number * 1e6;
    let whole = millionths.round();
    // A small difference of large numbers has the dust of these.
    let size = millionths.abs() + 2e6 * offset.abs();
    if (millionths - whole).abs() <= size * 5e-16 {
        whole / 1e6
    } else {
        without_dust(number)
    }
}

enum Number<'a> {
    /// Whole, untouched.
    Exact(ValueRef<'a>),
    Float(f64),
}

/// Why a reading has no usable value.
pub(super) struct Fault {
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Fault {
    fn of_key(key: &str, error: &dyn std::fmt::Display) -> Self {
        Self {
            reason: Reason::Decode,
            message: format!("{key}: {error}"),
        }
    }

    fn decode(raw: ValueRef<'_>, wanted: &str) -> Self {
        Self {
            reason: Reason::Decode,
            message: format!("raw value {raw} is not {wanted}"),
        }
    }
}
