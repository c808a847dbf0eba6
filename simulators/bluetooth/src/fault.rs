//! Faults as data: what a simulated device does wrong, how often and how long.

use std::{ops::Deref, time::Instant};

use longshore_sim_world::Rule;
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

impl Rule for FaultRule {
    fn limits(&mut self) -> (&mut Option<u64>, &mut Option<u64>) {
        (&mut self.requests, &mut self.for_ms)
    }
}

impl FaultRule {
    fn is_of(&self, names: &[&str]) -> bool {
        let named = |device: &String| names.iter().any(|name| name.eq_ignore_ascii_case(device));
        self.device.as_ref().is_none_or(named)
    }

    fn hits(&self, names: &[&str], act: Act) -> bool {
        let fits = match self.fault {
            Fault::Silent => act == Act::Advertise,
            Fault::ConnectionAbort => act == Act::Connect,
            Fault::AttError(_) | Fault::Disconnect => act == Act::Exchange,
            Fault::Unresponsive | Fault::Slow(_) => act != Act::Advertise,
        };
        fits && self.is_of(names)
    }
}

/// The faults in force.
#[derive(Debug, Default)]
pub(crate) struct Faults(longshore_sim_world::Faults<FaultRule>);

impl Deref for Faults {
    type Target = longshore_sim_world::Faults<FaultRule>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Faults {
    /// The fault that hits this act of this device, counted against its limits.
    pub(crate) fn strike(&self, names: &[&str], act: Act, now: Instant) -> Option<Fault> {
        let hit = self.0.strike(now, |rule| rule.hits(names, act));
        hit.map(|rule| rule.fault)
    }

    /// Whether the device keeps silent now; counts nothing.
    pub(crate) fn is_unresponsive(&self, names: &[&str], now: Instant) -> bool {
        self.0.any(now, |rule| {
            rule.fault == Fault::Unresponsive && rule.requests.is_none() && rule.is_of(names)
        })
    }
}
