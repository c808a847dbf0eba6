//! Faults as data: what a simulated device does wrong, to whom and how often.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
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
    Slow(#[serde(with = "as_milliseconds")] Duration),
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
    /// How many milliseconds it lasts from the moment it is put in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

impl Rule for FaultRule {
    fn limits(&mut self) -> (&mut Option<u64>, &mut Option<u64>) {
        (&mut self.requests, &mut self.for_ms)
    }
}

impl From<Fault> for FaultRule {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            unit: None,
            requests: None,
            for_ms: None,
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
        self.for_ms = Some(milliseconds(lasts));
        self
    }
}

/// A fault with limits, whatever it may hit.
pub trait Rule: Clone {
    /// How many requests it still hits, and how many milliseconds it lasts.
    fn limits(&mut self) -> (&mut Option<u64>, &mut Option<u64>);
}

#[derive(Debug)]
struct Active<R> {
    rule: R,
    until: Option<Instant>,
}

impl<R: Rule> Active<R> {
    fn is_over(&mut self, now: Instant) -> bool {
        self.until.is_some_and(|until| now >= until) || *self.rule.limits().0 == Some(0)
    }
}

/// The faults in force. The one put in last comes first.
#[derive(Debug)]
pub struct Faults<R = FaultRule> {
    // Lets the usual case, no fault at all, pass without the lock.
    any: AtomicBool,
    active: Mutex<Vec<Active<R>>>,
}

impl<R> Default for Faults<R> {
    fn default() -> Self {
        Self {
            any: AtomicBool::new(false),
            active: Mutex::default(),
        }
    }
}

impl<R: Rule> Faults<R> {
    /// Puts a fault into force.
    pub fn add(&self, mut rule: R, now: Instant) {
        let lasts = rule.limits().1.map(Duration::from_millis);
        let until = lasts.and_then(|lasts| now.checked_add(lasts));
        self.active().push(Active { rule, until });
        self.any.store(true, Ordering::Release);
    }

    /// Ends all faults.
    pub fn clear(&self) {
        self.active().clear();
        self.any.store(false, Ordering::Release);
    }

    /// The fault that hits a request, counted against its limits.
    pub fn strike(&self, now: Instant, hits: impl Fn(&R) -> bool) -> Option<R> {
        let mut active = self.in_force(now)?;
        let hit = active.iter_mut().rev().find(|fault| hits(&fault.rule))?;
        if let Some(left) = hit.rule.limits().0 {
            *left -= 1;
        }
        Some(hit.rule.clone())
    }

    /// Whether such a fault is in force; counts nothing.
    pub fn any(&self, now: Instant, is_meant: impl Fn(&R) -> bool) -> bool {
        self.in_force(now)
            .is_some_and(|active| active.iter().any(|fault| is_meant(&fault.rule)))
    }

    /// The faults in force, with what is left of their limits.
    #[must_use]
    pub fn list(&self, now: Instant) -> Vec<R> {
        let Some(active) = self.in_force(now) else {
            return Vec::new();
        };
        let with_rest = |fault: &Active<R>| {
            let mut rule = fault.rule.clone();
            let rest = |until: Instant| milliseconds(until.saturating_duration_since(now));
            *rule.limits().1 = fault.until.map(rest);
            rule
        };
        active.iter().map(with_rest).collect()
    }

    fn active(&self) -> MutexGuard<'_, Vec<Active<R>>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that are not over; none if there are none at all.
    fn in_force(&self, now: Instant) -> Option<MutexGuard<'_, Vec<Active<R>>>> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut active = self.active();
        active.retain_mut(|fault| !fault.is_over(now));
        self.any.store(!active.is_empty(), Ordering::Release);
        Some(active)
    }
}

impl Faults {
    /// The fault that hits this request of this unit, counted against its limits.
    pub fn strike_unit(&self, unit: u8, now: Instant) -> Option<Fault> {
        let hit = self.strike(now, |rule| rule.unit.is_none_or(|of| of == unit));
        hit.map(|rule| rule.fault)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

mod as_milliseconds {
    use super::{Deserialize, Duration, milliseconds};

    pub(super) fn serialize<S: serde::Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(milliseconds(*d))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        d: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(d).map(Duration::from_millis)
    }
}
