//! One property in the dense table: what a reading does to it.

use std::sync::Arc;

use longshore_types::{
    Quality, Reason, Value, ValueRef,
    device::{AccessMode, PropertyType},
    effective::{Bound, EffectiveProperty},
    policy::{OnViolation, PropertyPolicy},
};

use super::desired::DesiredValue;

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
    /// A raw floating point number has 32 bits.
    pub(crate) single: bool,
    /// The raw value is whole by its configuration.
    pub(crate) raw_whole: Option<bool>,
    pub(crate) stale_ms: u32,
    pub(crate) broken: Option<String>,
    min_interval_ms: u32,
    max_interval_ms: u32,
    /// No transform, names or range: the value goes through as it is.
    plain: bool,
}

/// A property.
#[derive(Debug)]
pub(crate) struct Point {
    /// Id of the device, [`FREE`] when the entry is unused.
    pub(crate) device: u32,
    pub(crate) quality: Quality,
    pub(crate) reason: Reason,
    /// Changed since it was last reported, held back by `minInterval`.
    held_back: bool,
    /// The last raw value was whole; `None` before the first.
    pub(crate) raw_whole: Option<bool>,
    /// Uptime of the last report.
    reported_at: u32,
    pub(crate) version: u32,
    /// The last usable value.
    pub(crate) value: Option<Value>,
    /// Bits of the last reported number.
    reported: u64,
    pub(crate) source_time_ns: i64,
    /// Source time of the last good reading; 0 for none.
    pub(crate) good_ns: i64,
    pub(crate) rules: Arc<Rules>,
    pub(crate) desired: Option<Box<DesiredValue>>,
    pub(crate) error: Option<Box<str>>,
    /// `"name":`, ready for a payload.
    pub(crate) fragment: Box<str>,
}

/// [`Point::device`] of an unused entry.
pub(crate) const FREE: u32 = u32::MAX;

/// A reading as the mapper gave it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) quality: Quality,
    pub(crate) reason: Reason,
    pub(crate) source_time_ns: i64,
    pub(crate) value: Option<ValueRef<'a>>,
    pub(crate) message: &'a str,
}

impl Rules {
    pub(crate) fn new(property: &EffectiveProperty) -> Self {
        let policy = property.policy.clone();
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
            single: raw_type == "float32"
                || (raw_type != "float64" && property.value_type == PropertyType::Float),
            raw_whole: match raw_type {
                "" => None,
                t => Some(t.starts_with("int") || t.starts_with("uint")),
            },
            stale_ms,
            broken: property.broken.clone(),
            min_interval_ms,
            max_interval_ms: policy
                .max_interval
                .map_or(DEFAULT_MAX_INTERVAL_MS, millis)
                .max(min_interval_ms),
            plain: policy.transform.is_identity()
                && policy.names.is_none()
                && property.minimum.is_none()
                && property.maximum.is_none(),
            policy,
        }
    }

    /// The property as the vocabulary crate knows it, to check texts with.
    pub(crate) fn as_property(&self, name: &str) -> EffectiveProperty {
        EffectiveProperty {
            name: name.to_owned(),
            index: 0,
            value_type: self.value_type,
            access: self.access,
            minimum: self.minimum,
            maximum: self.maximum,
            unit: self.unit.clone(),
            policy: self.policy.clone(),
            config: serde_json::Map::new(),
            collect_cycle: std::time::Duration::ZERO,
            report_cycle: std::time::Duration::ZERO,
            report_to_cloud: self.report_to_cloud,
            desired: longshore_types::effective::Desired::None,
            desired_metadata: std::collections::BTreeMap::new(),
            broken: self.broken.clone(),
        }
    }

    /// A raw value as the twin has it, or why it cannot be.
    #[inline]
    fn convert(&self, raw: ValueRef<'_>) -> Result<Value, Fault> {
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
            result = f64::from(result as f32);
        }
        if result.is_finite() {
            Ok(Number::Float(result))
        } else {
            Err(Fault::decode(raw, "a finite number"))
        }
    }

    /// Applies the range: the value to keep and its quality, or `None` to ignore the reading.
    #[inline]
    fn in_range(&self, value: Value, quality: Quality) -> Option<(Value, Quality, Reason)> {
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
        let whole = self.raw_whole.or(last_raw_whole);
        match value {
            Value::Bool(v) if last_raw_whole == Some(true) => Ok(Value::Int(i64::from(*v))),
            Value::Int(_) | Value::Uint(_) if transform.is_identity() && whole != Some(false) => {
                Ok(value.clone())
            }
            Value::Int(_) | Value::Uint(_) | Value::Float(_) => {
                // Numbers have a floating point form.
                let number = value.borrow().as_f64().unwrap_or_default();
                if whole.unwrap_or(self.value_type == PropertyType::Int) {
                    let raw = transform
                        .invert_whole(number)
                        .map_err(|error| error.to_string())?;
                    if raw.abs() >= 9.2e18 {
                        return Err(format!("{number} is too large for a whole number"));
                    }
                    Ok(Value::Int(raw as i64))
                } else {
                    transform
                        .invert(number)
                        .map(Value::Float)
                        .map_err(|error| error.to_string())
                }
            }
            other => Ok(other.clone()),
        }
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

enum Number<'a> {
    /// Whole, untouched.
    Exact(ValueRef<'a>),
    Float(f64),
}

/// Why a reading has no usable value.
struct Fault {
    reason: Reason,
    message: String,
}

impl Fault {
    fn decode(raw: ValueRef<'_>, wanted: &str) -> Self {
        Self {
            reason: Reason::Decode,
            message: format!("raw value {raw} is not {wanted}"),
        }
    }
}

impl Point {
    pub(crate) fn new(device: u32, name: &str, rules: Arc<Rules>) -> Self {
        let mut fragment = Vec::with_capacity(name.len() + 3);
        super::format::string(&mut fragment, name);
        fragment.push(b':');
        let broken = rules.broken.is_some();
        Self {
            device,
            quality: if broken {
                Quality::Bad
            } else {
                Quality::Uncertain
            },
            reason: if broken { Reason::Config } else { Reason::None },
            held_back: false,
            raw_whole: None,
            reported_at: 0,
            version: 0,
            value: None,
            reported: 0,
            source_time_ns: 0,
            good_ns: 0,
            error: rules.broken.as_deref().map(Into::into),
            rules,
            desired: None,
            // Made of a str and ASCII around it.
            fragment: String::from_utf8(fragment).unwrap_or_default().into(),
        }
    }

    /// Takes a reading in. True when it is to be reported.
    #[inline]
    pub(crate) fn apply(&mut self, reading: &Reading<'_>, now_ms: u32) -> bool {
        let (Some(raw), true) = (reading.value, reading.quality != Quality::Bad) else {
            return self.worsen(
                reading.reason,
                reading.message,
                reading.source_time_ns,
                now_ms,
            );
        };
        self.raw_whole = Some(matches!(raw, ValueRef::Int(_) | ValueRef::Uint(_)));
        let value = match self.rules.convert(raw) {
            Ok(value) => value,
            Err(fault) => {
                return self.worsen(fault.reason, &fault.message, reading.source_time_ns, now_ms);
            }
        };
        let Some((value, quality, reason)) = self.rules.in_range(value, reading.quality) else {
            return false;
        };
        let reason = if reason == Reason::None {
            reading.reason
        } else {
            reason
        };
        let turned = quality != self.quality || reason != self.reason || self.value.is_none();
        if quality == Quality::Good {
            self.good_ns = reading.source_time_ns;
            self.error = None;
        } else if turned && reason == Reason::Range {
            self.error = Some(format!("{} is out of range", raw).into());
        }
        self.source_time_ns = reading.source_time_ns;
        self.quality = quality;
        self.reason = reason;
        self.report_decision(value, turned, now_ms)
    }

    #[inline]
    fn report_decision(&mut self, value: Value, turned: bool, now_ms: u32) -> bool {
        let changed = self.differs(&value);
        self.value = Some(value);
        let since = now_ms.wrapping_sub(self.reported_at);
        let rules = &*self.rules;
        if !(turned || changed || self.held_back) && since < rules.max_interval_ms {
            return false;
        }
        if !turned && since < rules.min_interval_ms {
            self.held_back |= changed;
            return false;
        }
        self.version = self
            .version
            .wrapping_add(u32::from(changed || self.held_back));
        self.held_back = false;
        self.reported_at = now_ms;
        self.reported = bits(self.value.as_ref());
        true
    }

    /// Whether a value differs from the last reported one by more than the deadband.
    #[inline]
    fn differs(&self, new: &Value) -> bool {
        match new {
            Value::Float(v) => {
                let last = f64::from_bits(self.reported);
                *v != last && !self.hidden(last, *v)
            }
            Value::Int(_) | Value::Uint(_) | Value::Bool(_) => {
                let now = bits(Some(new));
                let hidden = || {
                    matches!(new, Value::Int(_))
                        && self.hidden(self.reported as i64 as f64, now as i64 as f64)
                };
                now != self.reported && !hidden()
            }
            other => self.value.as_ref() != Some(other),
        }
    }

    #[inline]
    fn hidden(&self, last: f64, new: f64) -> bool {
        let deadband = &self.rules.policy.deadband;
        !deadband.is_none() && deadband.hides(last, new)
    }

    /// The reading is bad. True when that is news.
    pub(crate) fn worsen(
        &mut self,
        reason: Reason,
        message: &str,
        source_time_ns: i64,
        now_ms: u32,
    ) -> bool {
        let news = self.quality != Quality::Bad
            || self.reason != reason
            || self.error.as_deref() != Some(message);
        self.quality = Quality::Bad;
        self.reason = reason;
        if source_time_ns != 0 {
            self.source_time_ns = source_time_ns;
        }
        if news {
            self.error = (!message.is_empty()).then(|| message.into());
            self.reported_at = now_ms;
        }
        news
    }

    /// No reading for too long. True when that is news.
    pub(crate) fn go_stale(&mut self, why: &str, now_ms: u32) -> bool {
        if self.quality != Quality::Good {
            return false;
        }
        self.quality = Quality::Uncertain;
        self.reason = Reason::Stale;
        self.error = Some(why.into());
        self.reported_at = now_ms;
        true
    }

    /// A value from a former life: old until a reading comes.
    pub(crate) fn restore(&mut self, value: Value, source_time_ns: i64, good_ns: i64) {
        self.reported = bits(Some(&value));
        self.value = Some(value);
        self.source_time_ns = source_time_ns;
        self.good_ns = good_ns;
        if self.rules.broken.is_none() {
            self.quality = Quality::Uncertain;
            self.reason = Reason::Stale;
        }
    }

    /// Whether a device has it.
    pub(crate) fn is_active(&self) -> bool {
        self.device != FREE
    }

    /// Whether the value is the desired one.
    pub(crate) fn shows_desired(&self) -> bool {
        let target = self
            .desired
            .as_ref()
            .and_then(|desired| desired.target.as_ref().ok());
        self.quality != Quality::Bad
            && target
                .zip(self.value.as_ref())
                .is_some_and(|(target, value)| self.rules.matches(value, target))
    }
}

#[inline]
fn bits(value: Option<&Value>) -> u64 {
    match value {
        Some(Value::Float(v)) => v.to_bits(),
        Some(Value::Int(v)) => *v as u64,
        Some(Value::Uint(v)) => *v,
        Some(Value::Bool(v)) => u64::from(*v),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
