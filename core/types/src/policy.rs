//! The keys of `visitors.configData` that the twin engine owns.
//!
//! A visitor's free object serves two readers. The mapper takes what says
//! where and how (`address`, `rawType`, …); the twin engine takes what makes a
//! twin of the raw value and decides what is reported:
//!
//! [`crate::vocabulary`] has all keys and their meaning; the reference page is
//! made of it.
//!
//! A duration is a number of milliseconds or a text such as `500ms`, `5s`,
//! `1m30s`. In KubeEdge's Modbus vocabulary `offset` is the address of a
//! register: beside `register`, `table` or `limit` it is left to the mapper.

mod bits;
mod calculation;
mod parse;
mod transform;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub use crate::raw::RawRange;
pub use bits::{Bits, BitsError};
pub use calculation::Calculation;
pub(crate) use parse::{duration, kind};
pub use transform::{InverseError, Transform};

use crate::{device::FreeObject, expression::Expression, fault::Fault};

/// Time that a write may take if `write.timeoutMs` says nothing: three reads
/// of a slow serial line.
pub const DEFAULT_WRITE_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a write is tried again after a line error if `write.retries` says nothing.
pub const DEFAULT_WRITE_RETRIES: u32 = 3;
/// How long a command waits for a device that is away if `write.expires` says
/// nothing: somebody stands by for so long, and has gone home after hours.
pub const DEFAULT_COMMAND_EXPIRY: Duration = Duration::from_secs(120);
/// The shortest `write.repeat`: one more would only crowd the line.
pub const LEAST_WRITE_REPEAT: Duration = Duration::from_millis(100);

/// What the twin engine does with one property.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PropertyPolicy {
    /// `mask` and `shift`, before everything else.
    pub bits: Bits,
    /// `scale` and `offset`.
    pub transform: Transform,
    /// `expression` and `inverse`, in place of a transform and names.
    pub calculation: Option<Calculation>,
    /// Names of raw whole numbers.
    pub names: Option<Names>,
    /// Changes that are too small to be reported.
    pub deadband: Deadband,
    /// Shortest time between two reports.
    pub min_interval: Duration,
    /// Longest time between two reports, changed or not.
    pub max_interval: Option<Duration>,
    /// Time without a reading after which the value is uncertain.
    pub stale_after: Option<Duration>,
    /// Time between two reads, where the Device says nothing.
    pub collect_cycle: Option<Duration>,
    /// What to do with a reading outside of the range.
    pub on_violation: OnViolation,
    /// Raw values that say that there is none.
    pub bad_when: Option<Expression>,
    /// Each reading is reported.
    pub report_always: bool,
    /// What is reported is kept for the hub's history.
    pub history: bool,
    /// How its values come; the mapper's.
    pub sampling: Sampling,
    /// Properties of one group are read and reported together.
    pub group: Option<Arc<str>>,
    /// How writes are confirmed.
    pub write: WritePolicy,
}

/// How the values of a property come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sampling {
    /// As the protocol finds best.
    #[default]
    Auto,
    /// The mapper asks in each interval.
    Poll,
    /// The device sends by itself (`subscribe`, `notify`).
    Push,
}

/// Names of raw whole numbers, both ways.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    by_raw: BTreeMap<i64, Box<str>>,
}

/// Changes that are too small to be reported.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Deadband {
    /// In the twin's unit.
    pub abs: Option<f64>,
    /// In percent of the last reported value.
    pub percent: Option<f64>,
}

/// What to do with a reading outside of the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnViolation {
    /// Reported with quality bad and reason range.
    #[default]
    FlagBad,
    /// The bound is reported in its place, with quality uncertain.
    Clamp,
    /// Not reported; the last value stays.
    Reject,
}

/// How writes are confirmed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WritePolicy {
    /// What counts as confirmed.
    pub confirm: Confirm,
    /// How far the value that is read back may be off.
    pub tolerance: f64,
    /// Time for one try, reading back included.
    pub timeout: Duration,
    /// Further tries of a state that the device did not take over.
    pub retries: u32,
    /// Each new value is a command: written once at most, never again.
    pub command: bool,
    /// How long a command waits for its device.
    pub expires: Duration,
    /// What becomes of a confirmed value when the device comes back with another.
    pub on_return: OnReturn,
    /// A confirmed value is written again after so long, for a watchdog.
    pub repeat: Option<Duration>,
    /// Writes of a greater priority go first: 1, 0 or -1; the mapper's.
    pub priority: i32,
}

/// What counts as confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Confirm {
    /// The value has been read back.
    #[default]
    Readback,
    /// The device has accepted the write.
    None,
}

/// What becomes of a confirmed value when the device comes back with another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnReturn {
    /// What the device has stands.
    #[default]
    Keep,
    /// It is written again: the device forgets.
    Restore,
}

impl PropertyPolicy {
    /// Takes the twin engine's keys out of `config`: the policy, what is left
    /// for the mapper, and what is wrong (at key paths below `path`).
    ///
    /// A key with a wrong value counts as absent, besides being a fault.
    pub fn parse(config: &FreeObject, path: &str) -> (Self, FreeObject, Vec<Fault>) {
        parse::parse(config, path)
    }
}

impl Sampling {
    /// The mapper's word for it; none where nothing was said.
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Auto => None,
            Self::Poll => Some("poll"),
            Self::Push => Some("push"),
        }
    }
}

impl Names {
    /// The name of a raw number.
    pub fn name(&self, raw: i64) -> Option<&str> {
        self.by_raw.get(&raw).map(AsRef::as_ref)
    }

    /// The raw number with this name.
    pub fn raw(&self, name: &str) -> Option<i64> {
        self.by_raw
            .iter()
            .find(|(_, known)| known.as_ref() == name)
            .map(|(raw, _)| *raw)
    }

    /// All names, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &str)> {
        self.by_raw.iter().map(|(raw, name)| (*raw, name.as_ref()))
    }
}

impl Deadband {
    /// Whether going from `last` to `new` is too small a change to be reported.
    pub fn hides(&self, last: f64, new: f64) -> bool {
        let change = (new - last).abs();
        self.abs.is_some_and(|abs| change < abs)
            || self
                .percent
                .is_some_and(|percent| change < last.abs() * percent / 100.0)
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.abs.is_none() && self.percent.is_none()
    }
}

impl Default for WritePolicy {
    fn default() -> Self {
        Self {
            confirm: Confirm::Readback,
            tolerance: 0.0,
            timeout: DEFAULT_WRITE_TIMEOUT,
            retries: DEFAULT_WRITE_RETRIES,
            command: false,
            expires: DEFAULT_COMMAND_EXPIRY,
            on_return: OnReturn::Keep,
            repeat: None,
            priority: 0,
        }
    }
}
