//! Faults as data: what a simulated device does wrong, to whom and how often.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// One way in which a device misbehaves.
///
/// As data: `unresponsive`, `{slow: 250}`, `wrongCrc`, `{exception: 6}`,
/// `dropConnection`, `halfFrame`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// Hears the request and keeps silent.
    Unresponsive,
    /// Answers rightly, but so much later (as data: milliseconds).
    Slow(#[serde(with = "milliseconds")] Duration),
    /// Answers with a checksum that does not fit. Where the framing has no
    /// checksum, the header is spoilt instead.
    WrongCrc,
    /// Refuses with the protocol's error code, without carrying out the request.
    Exception(u8),
    /// Closes the connection in place of an answer. A serial line cannot be
    /// closed by a device: there it keeps silent.
    DropConnection,
    /// Sends the first half of the answer and no more.
    HalfFrame,
}

/// A [`Fault`] with its limits. Without limits it lasts until it is cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultRule {
    /// What happens.
    pub fault: Fault,
    /// The unit it happens to; absent means every unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<u8>,
    /// How many requests it hits before it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// How long it lasts from the moment it is put in (as data: `forMs`).
    #[serde(
        default,
        rename = "forMs",
        with = "optional_milliseconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub lasts: Option<Duration>,
}

impl From<Fault> for FaultRule {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            unit: None,
            requests: None,
            lasts: None,
        }
    }
}

impl FaultRule {
    /// Limits the fault to one unit.
    #[must_use]
    pub fn on_unit(mut self, unit: u8) -> Self {
        self.unit = Some(unit);
        self
    }

    /// Limits the fault to so many requests.
    #[must_use]
    pub fn for_requests(mut self, requests: u64) -> Self {
        self.requests = Some(requests);
        self
    }

    /// Limits the fault to so much time.
    #[must_use]
    pub fn for_time(mut self, lasts: Duration) -> Self {
        self.lasts = Some(lasts);
        self
    }
}

#[derive(Debug)]
struct Active {
    rule: FaultRule,
    until: Option<Instant>,
}

/// The faults in force. The one put in last comes first.
#[derive(Debug, Default)]
pub struct Faults {
    // Lets the usual case, no fault at all, pass without the lock.
    any: AtomicBool,
    active: Mutex<Vec<Active>>,
}

impl Faults {
    /// Puts a fault into force.
    pub fn add(&self, rule: FaultRule, now: Instant) {
        let until = rule.lasts.and_then(|lasts| now.checked_add(lasts));
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active.push(Active { rule, until });
        self.any.store(true, Ordering::Release);
    }

    /// Ends all faults.
    pub fn clear(&self) {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active.clear();
        self.any.store(false, Ordering::Release);
    }

    /// The fault that hits this request of this unit, counted against its limits.
    pub fn strike(&self, unit: u8, now: Instant) -> Option<Fault> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active.retain(|a| a.until.is_none_or(|until| now < until) && a.rule.requests != Some(0));
        self.any.store(!active.is_empty(), Ordering::Release);
        let hit = active
            .iter_mut()
            .rev()
            .find(|a| a.rule.unit.is_none_or(|of| of == unit))?;
        if let Some(left) = &mut hit.rule.requests {
            *left -= 1;
        }
        Some(hit.rule.fault)
    }

    /// The faults in force, with what is left of their limits.
    #[must_use]
    pub fn list(&self, now: Instant) -> Vec<FaultRule> {
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active
            .iter()
            .filter(|a| a.until.is_none_or(|until| now < until) && a.rule.requests != Some(0))
            .map(|a| FaultRule {
                lasts: a.until.map(|until| until.saturating_duration_since(now)),
                ..a.rule
            })
            .collect()
    }
}

mod milliseconds {
    use super::{Deserialize, Duration};

    pub(super) fn serialize<S: serde::Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        d: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(d).map(Duration::from_millis)
    }
}

mod optional_milliseconds {
    use super::{Deserialize, Duration};

    // The signature is serde's: `with` modules get a reference to the field.
    #[allow(clippy::ref_option)]
    pub(super) fn serialize<S: serde::Serializer>(
        d: &Option<Duration>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        match d {
            Some(d) => super::milliseconds::serialize(d, s),
            None => s.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        d: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(d)?.map(Duration::from_millis))
    }
}
