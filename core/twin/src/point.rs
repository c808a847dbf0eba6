//! One property in the dense table: what a reading does to it.

use std::sync::Arc;

use longshore_types::{Quality, Reason, Value, ValueRef, device::AccessMode};

use super::{blob::SavedValue, desired::DesiredValue, rules::Rules};

/// A property.
#[derive(Debug)]
pub(crate) struct Point {
    /// Id of the device, [`FREE`] when the entry is unused.
    pub(crate) device: u32,
    pub(crate) quality: Quality,
    pub(crate) reason: Reason,
    /// Changed since it was last reported, held back by `minInterval`.
    held_back: bool,
    /// Of a former life that was cut short: a newer value may have been reported.
    pub(crate) doubtful: bool,
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
    /// The last raw value, where the property is a part of it.
    pub(crate) raw: Option<Box<i64>>,
    /// It can be written and not read, as the device has shown or its mapper says.
    pub(crate) write_only: bool,
    /// `"name":`, ready for a payload; shared by points of one kind.
    pub(crate) fragment: Arc<str>,
}

/// [`Point::device`] of an unused entry.
pub(crate) const FREE: u32 = u32::MAX;

/// A reading as the mapper gave it.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// How far to trust it.
    pub quality: Quality,
    /// Why it is not good.
    pub reason: Reason,
    /// When it was true at its source (ns since the epoch).
    pub source_time_ns: i64,
    /// The raw value.
    pub value: Option<ValueRef<'a>>,
    /// What went wrong, for people.
    pub message: &'a str,
}

impl Point {
    #[cfg(test)]
    pub(crate) fn new(device: u32, name: &str, rules: Arc<Rules>) -> Self {
        Self::with_fragment(device, fragment(name), rules)
    }

    pub(crate) fn with_fragment(device: u32, fragment: Arc<str>, rules: Arc<Rules>) -> Self {
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
            doubtful: false,
            raw_whole: None,
            reported_at: 0,
            version: 0,
            value: None,
            reported: 0,
            source_time_ns: 0,
            good_ns: 0,
            error: rules.broken.as_deref().map(Into::into),
            raw: None,
            write_only: false,
            rules,
            desired: None,
            fragment,
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
        if self.rules.is_part {
            self.raw = whole(raw).map(Box::new);
        }
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

    /// Whether a reading says nothing of the value, since that is what was commanded
    /// last: true or false when it is news all the same. None where it counts.
    #[inline]
    pub(crate) fn passes_over(&mut self, reading: &Reading<'_>) -> Option<bool> {
        if reading.reason == Reason::WriteOnly && self.rules.access == AccessMode::ReadWrite {
            return Some(self.is_only_written());
        }
        if !self.takes_commands() || reading.reason == Reason::Config {
            return None;
        }
        if !self.rules.policy.write.command && reading.quality == Quality::Good {
            // It can be read after all.
            self.write_only = false;
            return None;
        }
        Some(false)
    }

    /// The mapper says so. What cannot be read is not bad for that.
    #[cold]
    fn is_only_written(&mut self) -> bool {
        self.write_only = true;
        if self.quality != Quality::Bad || self.reason == Reason::Config {
            return false;
        }
        (self.quality, self.reason) = (Quality::Uncertain, Reason::None);
        self.error = None;
        true
    }

    /// Its value is what was commanded last.
    pub(crate) fn takes_commands(&self) -> bool {
        self.write_only || self.rules.policy.write.command
    }

    /// What is written to it goes out once: by its configuration, or since nothing can
    /// be read back. Who wants a value repeated wants no command.
    pub(crate) fn writes_commands(&self) -> bool {
        let write = &self.rules.policy.write;
        let refused = self.quality == Quality::Bad && self.reason == Reason::Refused;
        write.command || (write.repeat.is_none() && (self.write_only || refused))
    }

    /// A command was carried out, or for `quality` uncertain nobody knows whether.
    pub(crate) fn commanded(
        &mut self,
        value: Value,
        (quality, why): (Quality, &str),
        time_ns: i64,
        now_ms: u32,
    ) {
        self.version = self.version.wrapping_add(u32::from(self.differs(&value)));
        self.reported = bits(Some(&value));
        self.value = Some(value);
        (self.quality, self.reason) = (quality, Reason::None);
        self.error = (!why.is_empty()).then(|| why.into());
        self.source_time_ns = time_ns;
        if quality == Quality::Good {
            self.good_ns = time_ns;
        }
        self.doubtful = false;
        self.held_back = false;
        self.reported_at = now_ms;
    }

    /// What the twin shows, as text.
    pub(crate) fn shown_text(&self) -> Option<Box<str>> {
        let value = self.value.as_ref().filter(|_| self.error.is_none())?;
        Some(value.to_string().into())
    }

    #[inline]
    fn report_decision(&mut self, value: Value, turned: bool, now_ms: u32) -> bool {
        let changed = self.differs(&value);
        self.value = Some(value);
        self.doubtful = false;
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

    /// Another property of its group is reported: so is this one, with what it
    /// has now.
    pub(crate) fn report_along(&mut self, now_ms: u32) {
        let now = bits(self.value.as_ref());
        self.version = self
            .version
            .wrapping_add(u32::from(self.held_back || now != self.reported));
        self.held_back = false;
        self.reported_at = now_ms;
        self.reported = now;
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
        let reason = match reason {
            // To be read, and it cannot.
            Reason::WriteOnly => Reason::Refused,
            reason => reason,
        };
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
        if self.quality != Quality::Good || self.takes_commands() {
            return false;
        }
        self.quality = Quality::Uncertain;
        self.reason = Reason::Stale;
        self.error = Some(why.into());
        self.reported_at = now_ms;
        true
    }

    /// A value from a former life: old until a reading comes.
    pub(crate) fn restore(&mut self, saved: SavedValue) {
        self.reported = bits(Some(&saved.value));
        self.value = Some(saved.value);
        self.source_time_ns = saved.source_time_ns;
        self.good_ns = saved.good_ns;
        self.doubtful = saved.doubtful;
        if self.rules.broken.is_none() && self.rules.policy.write.command {
            // Nothing is read of it: what was commanded last stands.
            (self.quality, self.doubtful) = (Quality::Good, false);
        } else if self.rules.broken.is_none() {
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

/// A property's name as a payload has it.
pub(crate) fn fragment(name: &str) -> Arc<str> {
    let mut fragment = Vec::with_capacity(name.len() + 3);
    super::format::string(&mut fragment, name);
    fragment.push(b':');
    // Made of a str and ASCII around it.
    String::from_utf8(fragment).unwrap_or_default().into()
}

/// The bits of a whole raw value.
fn whole(raw: ValueRef<'_>) -> Option<i64> {
    match raw {
        ValueRef::Int(v) => Some(v),
        ValueRef::Uint(v) => Some(v as i64),
        ValueRef::Float(v) if v.fract() == 0.0 && v.abs() < 9e15 => Some(v as i64),
        _ => None,
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
