//! The calls of methods that run, and where each is.

use std::{collections::BTreeMap, sync::Arc};

use longshore_types::{
    DeviceName, Value,
    method::{Arguments, Method},
};
use serde_json::Value as Json;

use super::Now;
use crate::outputs::UpdateError;

/// Calls of one device that may run at a time.
const CALLS_OF_A_DEVICE: usize = 4;

/// All that run, by number.
#[derive(Debug, Default)]
pub(super) struct Calls {
    running: BTreeMap<u64, Call>,
}

/// A call that runs.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) device: u32,
    pub(super) name: DeviceName,
    pub(super) method: Arc<Method>,
    pub(super) arguments: Arguments,
    /// The points to write, and what; checked before the first one.
    steps: Vec<Step>,
    confirm: Option<(u32, Value)>,
    phase: Phase,
    deadline: u64,
    result: Option<Json>,
    /// Why nobody knows whether the present step was done.
    pub(super) doubt: Option<String>,
    /// What its read back showed last, or why nothing was read.
    pub(super) seen: Option<Result<String, String>>,
}

/// A value to write.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) point: u32,
    pub(super) text: String,
    pub(super) value: Value,
    /// Its property shares a register with others.
    pub(super) is_part: bool,
}

/// Where a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// This step is to go out, once the device is ready and the time has come. →
    /// `Preparing` or `Writing`; `Calling` after the last one.
    Step { step: usize, not_before: u64 },
    /// The register that it is a part of is read. → `Writing`.
    Preparing {
        step: usize,
        mapper: usize,
        token: u64,
    },
    /// This mapper has it. Accepted → the next `Step`, or `Showing` where a reading
    /// has to show it, as well as when nobody knows.
    Writing {
        step: usize,
        mapper: usize,
        token: u64,
    },
    /// A reading has to show it. `read` is the one under way. → the next `Step`.
    Showing {
        step: usize,
        read: Option<(usize, u64)>,
        again_at: u64,
        until: u64,
    },
    /// The protocol's call is to be sent. → `Called`, or `Confirming` where there is none.
    Calling,
    /// This mapper has it. → `Confirming`.
    Called { mapper: usize, token: u64 },
    /// A reading after `since` must show the value. → done.
    Confirming { since: u64, until: u64 },
}

/// What a look at a call brings.
pub(super) enum Progress {
    /// It waits for something.
    Waits,
    /// It can be looked at again at once.
    Goes,
    /// It is over.
    Ends(Result<Json, UpdateError>),
}

impl Calls {
    /// Whether a device has as many as it may have.
    pub(super) fn is_full(&self, device: u32) -> bool {
        let of_device = |call: &&Call| call.device == device;
        self.running.values().filter(of_device).count() >= CALLS_OF_A_DEVICE
    }

    /// A call begins, or goes on after it was looked at.
    pub(super) fn put(&mut self, number: u64, call: Call) {
        self.running.insert(number, call);
    }

    /// Takes a call out to look at it. None when it is over.
    pub(super) fn take(&mut self, number: u64) -> Option<Call> {
        self.running.remove(&number)
    }

    /// When the first of them runs out of time.
    pub(super) fn next(&self) -> Option<u64> {
        let ends = self.running.values().map(|call| match call.phase {
            Phase::Confirming { until, .. } => call.deadline.min(until),
            Phase::Showing {
                read: None,
                again_at,
                until,
                ..
            } => call.deadline.min(again_at).min(until),
            Phase::Showing { until, .. } => call.deadline.min(until),
            // At once, or when something comes: a mapper, or a place in its queue.
            Phase::Step { not_before, .. } if not_before > 0 => call.deadline.min(not_before),
            _ => call.deadline,
        });
        ends.min()
    }

    /// Whether a call writes a part of a register of this device.
    pub(super) fn writes_part(&self, device: u32) -> bool {
        self.running.values().any(|call| {
            let (Phase::Preparing { step, .. } | Phase::Writing { step, .. }) = call.phase else {
                return false;
            };
            call.device == device && call.steps.get(step).is_some_and(|step| step.is_part)
        })
    }

    pub(super) fn numbers(&self) -> Vec<u64> {
        self.running.keys().copied().collect()
    }
}

/// The refusal of a call that would be one too many.
pub(super) fn too_many(name: &DeviceName) -> String {
    format!("{CALLS_OF_A_DEVICE} calls of device `{name}` run already, call again later")
}

impl Call {
    /// Its steps and what has to be read at the end are checked already.
    pub(super) fn new(
        (device, name): (u32, DeviceName),
        (method, arguments): (Arc<Method>, Arguments),
        (steps, confirm): (Vec<Step>, Option<(u32, Value)>),
        now: Now,
    ) -> Self {
        let deadline = now.ms.saturating_add(millis(method.timeout));
        Self {
            device,
            name,
            method,
            arguments,
            steps,
            confirm,
            phase: Phase::Step {
                step: 0,
                not_before: 0,
            },
            deadline,
            result: None,
            doubt: None,
            seen: None,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The point that has to show a value at the end.
    pub(super) fn confirm(&self) -> Option<&(u32, Value)> {
        self.confirm.as_ref()
    }

    /// Time that is left.
    pub(super) fn left(&self, now: Now) -> std::time::Duration {
        std::time::Duration::from_millis(self.deadline.saturating_sub(now.ms))
    }

    /// Goes on there.
    pub(super) fn turns(&mut self, phase: Phase) -> Progress {
        self.phase = phase;
        Progress::Waits
    }

    /// A step is done.
    pub(super) fn wrote(&mut self, step: usize) -> Progress {
        (self.doubt, self.seen) = (None, None);
        self.phase = Phase::Step {
            step: step + 1,
            not_before: 0,
        };
        Progress::Goes
    }

    /// All steps are done, or the mapper had no room for the call.
    pub(super) fn is_to_be_called(&mut self) {
        self.phase = Phase::Calling;
    }

    /// The mapper has the call.
    pub(super) fn is_called(&mut self, mapper: usize, token: u64) {
        self.phase = Phase::Called { mapper, token };
    }

    /// Everything is done, but for what has to be read.
    pub(super) fn answered(&mut self, result: Json, now: Now) -> Progress {
        let Some(confirm) = &self.method.confirm else {
            return Progress::Ends(Ok(result));
        };
        let until = now.ms.saturating_add(millis(confirm.timeout));
        self.result = Some(result);
        self.phase = Phase::Confirming {
            since: now.ms,
            until,
        };
        Progress::Waits
    }

    /// What had to be read was read.
    pub(super) fn confirmed(&mut self) -> Progress {
        Progress::Ends(Ok(self.result.take().unwrap_or_default()))
    }

    /// A step, for people.
    pub(super) fn place(&self, step: usize) -> String {
        let property = self.method.steps.get(step).map(|step| &*step.property);
        let (number, property) = (step + 1, property.unwrap_or_default());
        format!("step {number} (write `{property}`)")
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
