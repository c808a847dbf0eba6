//! What is known of a device at one moment.
//!
//! The twin engine makes a [`DeviceReport`]; the bus, the metrics page and the
//! link read it, and the hub writes the DeviceStatus from what the link brought.
//! What the API says in the same words (conditions, events) has its types.

use std::sync::Arc;

use crate::{
    device::{Condition, EventReport, PropertyType, WriteState},
    fault::Fault,
    name::DeviceName,
    value::{Quality, Reason, Value},
};

/// All that is known of one device. Always whole, so that only the latest counts.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceReport {
    /// Namespace and name.
    pub name: DeviceName,
    /// The Device object's uid, if the API server gave one. It tells a report of
    /// a former device of the same name apart.
    pub uid: String,
    /// Tells which objects the edge and its mapper have looked at; 0 where the
    /// edge does not tell. Another one than the hub's: what the report says of
    /// the configuration is not about the latest change.
    pub fingerprint: u64,
    /// Whether it answers.
    pub state: DeviceState,
    /// When it last gave a good reading (ms since the epoch).
    pub last_online_ms: Option<i64>,
    /// The properties, in the order of the Device.
    pub properties: Vec<PropertyReport>,
    /// What an operator should know: `Reachable`, `ConfigValid`, `Served`.
    pub conditions: Vec<Condition>,
    /// Faults of its configuration, and doubts about it, at their key paths.
    pub warnings: Vec<Fault>,
    /// Events that are active, and those that were.
    pub events: Vec<EventReport>,
}

/// One property of a device at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct PropertyReport {
    /// Its name.
    pub name: Arc<str>,
    /// The model's type; none where the edge does not tell.
    pub value_type: Option<PropertyType>,
    /// Whether it may be written. Not sent to the hub, which has the model.
    pub writable: bool,
    /// The last usable value, if there ever was one.
    pub value: Option<Value>,
    /// How far to trust it.
    pub quality: Quality,
    /// Why it is not good.
    pub reason: Reason,
    /// When the value was true at its source (ms since the epoch).
    pub source_time_ms: Option<i64>,
    /// The last good reading (ms since the epoch).
    pub last_read_ms: Option<i64>,
    /// The last error, gone after a good reading.
    pub last_error: Option<String>,
    /// What it should be.
    pub desired: Option<DesiredReport>,
    /// How many times the value changed since start, for the bus's
    /// `actual_version`. Not sent to the hub.
    pub version: u64,
}

/// What a property should be, and how far that has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DesiredReport {
    /// The text as given.
    pub value: String,
    /// When it was given (ms since the epoch). Not sent to the hub.
    pub time_ms: i64,
    /// A client of the node's bus gave it, not the Device.
    pub local: bool,
    /// How far the write has come.
    pub write: WriteState,
    /// Why it failed or is not done yet; empty otherwise.
    pub message: String,
    /// When `write` became what it is (ms since the epoch).
    pub since_ms: i64,
    /// How many times the desired value changed since start, for the bus's
    /// `expected_version`. Not sent to the hub.
    pub version: u64,
}

/// Whether a device answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceState {
    /// Not known yet.
    #[default]
    Unknown,
    /// It answers.
    Online,
    /// It does not answer.
    Offline,
}

impl DeviceState {
    /// `unknown`, `online` or `offline`, as in KubeEdge.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Online => "online",
            Self::Offline => "offline",
        }
    }

    /// Reads what [`DeviceState::as_str`] gives; other words say nothing.
    pub fn from_word(word: &str) -> Self {
        match word {
            "online" => Self::Online,
            "offline" => Self::Offline,
            _ => Self::Unknown,
        }
    }
}

impl PropertyReport {
    /// A property of which nothing is known but its name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            value_type: None,
            writable: false,
            value: None,
            quality: Quality::default(),
            reason: Reason::default(),
            source_time_ms: None,
            last_read_ms: None,
            last_error: None,
            desired: None,
            version: 0,
        }
    }

    /// The value as text, as it stands in the API; empty without one.
    pub fn text(&self) -> String {
        self.value
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default()
    }
}
