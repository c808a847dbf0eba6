//! Faults as data: what the server does wrong, at which service and how often.
//!
//! The words are those of the other simulators (`longshore_sim_world::Fault`);
//! where a Modbus device has units, a server has services.

use std::time::{Duration, Instant};

use longshore_sim_world::{Faults, Rule};
use serde::{Deserialize, Serialize};

use crate::service::Service;
use crate::status::StatusCode;

/// One way in which the server misbehaves.
///
/// As data: `unresponsive`, `{slow: 250}`, `{exception: BadTooManySessions}`,
/// `dropConnection`, `halfFrame`, `wrongCrc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// Hears the request and keeps silent. Subscriptions keep their values
    /// until they are heard again.
    Unresponsive,
    /// Answers rightly, but so many milliseconds later.
    Slow(u64),
    /// Refuses the whole service with this status, without carrying it out.
    Exception(StatusCode),
    /// Closes the connection in place of an answer; the session stays.
    DropConnection,
    /// Sends the first half of the answer and no more.
    HalfFrame,
    /// Answers with a message type that does not exist: the transport has no
    /// checksum of its own, so its header is spoilt.
    WrongCrc,
}

/// A [`Fault`] with its limits. Without limits it lasts until it is cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultRule {
    /// What happens.
    pub fault: Fault,
    /// The service it happens to, such as `read` or `createSession`; absent means each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
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
            service: None,
            requests: None,
            for_ms: None,
        }
    }
}

impl FaultRule {
    /// Limits the fault to one service.
    #[must_use]
    pub fn on(mut self, service: Service) -> Self {
        self.service = Some(service);
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
        self.for_ms = Some(u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
        self
    }
}

impl Rule for FaultRule {
    fn limits(&mut self) -> (&mut Option<u64>, &mut Option<u64>) {
        (&mut self.requests, &mut self.for_ms)
    }
}

/// The fault that hits this request, counted against its limits.
pub(crate) fn strike(faults: &Faults<FaultRule>, service: Service, now: Instant) -> Option<Fault> {
    let hit = faults.strike(now, |rule| rule.service.is_none_or(|of| of == service));
    hit.map(|rule| rule.fault)
}
