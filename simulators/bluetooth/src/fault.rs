//! Faults as data: what a simulated device does wrong, how often and how long.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// One way in which a device misbehaves.
///
/// As data: `unresponsive`, `{slow: 250}`, `connectionAbort`, `{attError: 14}`,
/// `disconnect`, `silent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// Connecting, reading and writing never end, and it notifies nobody.
    Unresponsive,
    /// They end so many milliseconds later.
    Slow(u64),
    /// Connecting fails as it does when the radio loses the device.
    ConnectionAbort,
    /// Reading and writing are refused with this code of the attribute protocol.
    AttError(u8),
    /// The device hangs up in place of an answer.
    Disconnect,
    /// It sends no advertisements.
    Silent,
}

/// A [`Fault`] with its limits. Without limits it lasts until it is cleared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultRule {
    /// What happens.
    pub fault: Fault,
    /// The address or the name of the device it happens to; absent means every device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// How many requests it hits before it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// How many milliseconds it lasts from the moment it is put in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

impl From<Fault> for FaultRule {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            device: None,
            requests: None,
            for_ms: None,
        }
    }
}

impl FaultRule {
    /// Limits the fault to one device.
    #[must_use]
    pub fn on(mut self, device: &str) -> Self {
        self.device = Some(device.to_owned());
        self
    }

    /// Limits the fault to so many requests.
    #[must_use]
    pub fn for_requests(mut self, requests: u64) -> Self {
        self.requests = Some(requests);
        self
    }
}

/// What a fault may hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Advertise,
    Connect,
    Exchange,
}

/// The faults in force. The one put in last comes first.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<(FaultRule, Option<Instant>)>>);

impl Faults {
    pub(crate) fn add(&self, rule: FaultRule, now: Instant) {
        let until = rule.for_ms.map(|ms| now + Duration::from_millis(ms));
        let mut active = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        active.push((rule, until));
    }

    pub(crate) fn clear(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// The fault that hits this act of this device, counted against its limits.
    pub(crate) fn strike(&self, names: &[&str], act: Act, now: Instant) -> Option<Fault> {
        let mut active = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        active.retain(|(rule, until)| {
            until.is_none_or(|until| now < until) && rule.requests != Some(0)
        });
        let hits = |rule: &FaultRule| {
            let fits = match rule.fault {
                Fault::Silent => act == Act::Advertise,
                Fault::ConnectionAbort => act == Act::Connect,
                Fault::AttError(_) | Fault::Disconnect => act == Act::Exchange,
                Fault::Unresponsive | Fault::Slow(_) => act != Act::Advertise,
            };
            let named =
                |device: &String| names.iter().any(|name| name.eq_ignore_ascii_case(device));
            fits && rule.device.as_ref().is_none_or(named)
        };
        let (rule, _) = active.iter_mut().rev().find(|(rule, _)| hits(rule))?;
        if let Some(left) = &mut rule.requests {
            *left -= 1;
        }
        Some(rule.fault)
    }

    /// Whether the device keeps silent now; counts nothing.
    pub(crate) fn is_unresponsive(&self, names: &[&str], now: Instant) -> bool {
        let active = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        active.iter().any(|(rule, until)| {
            let named =
                |device: &String| names.iter().any(|name| name.eq_ignore_ascii_case(device));
            rule.fault == Fault::Unresponsive
                && until.is_none_or(|until| now < until)
                && rule.requests.is_none()
                && rule.device.as_ref().is_none_or(named)
        })
    }

    pub(crate) fn list(&self) -> Vec<FaultRule> {
        let active = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        active.iter().map(|(rule, _)| rule.clone()).collect()
    }
}
