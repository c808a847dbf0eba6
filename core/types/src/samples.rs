//! What a device's properties were, reading by reading: the telemetry of a node.

use std::sync::Arc;

use crate::{DeviceName, Quality, Reason, Value};

/// Readings of one device, in the order in which they were made.
///
/// Unlike a report of its twins, which only says what is so now, each of them
/// counts: history, sinks and rules are made of them.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceSamples {
    /// The device.
    pub device: DeviceName,
    /// Its uid, so that samples of a former device of the same name are told apart.
    pub uid: String,
    /// The readings.
    pub samples: Vec<PropertySample>,
}

/// One reading of one property.
#[derive(Debug, Clone, PartialEq)]
pub struct PropertySample {
    /// The property. Shared: one device gives thousands of samples of it.
    pub property: Arc<str>,
    /// What was read; none where there is no usable value.
    pub value: Option<Value>,
    /// How far it can be trusted.
    pub quality: Quality,
    /// Why not, if not.
    pub reason: Reason,
    /// When it was so: the source's time where there is one, else the time of
    /// reading; in milliseconds since 1970.
    pub time_ms: i64,
}
