//! What was really read and written: the simulator's evidence for tests.

use std::time::Duration;

use serde::Serialize;

use crate::table::Kind;

/// The functions that are counted by themselves; the rest is counted as function 0.
pub(crate) const FUNCTIONS: [u8; 11] = [1, 2, 3, 4, 5, 6, 15, 16, 22, 23, 43];

/// The place of a function in a unit's array of counters.
pub(crate) fn slot(function: u8) -> usize {
    FUNCTIONS
        .iter()
        .position(|f| *f == function)
        .unwrap_or(FUNCTIONS.len())
}

/// What one unit did for one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Count {
    /// The unit.
    pub unit: u8,
    /// The function's code; 0 gathers those that the simulator does not know.
    pub function: u8,
    /// Requests that came, answered or not.
    pub requests: u64,
    /// Registers or bits that were read or written by those that succeeded.
    pub items: u64,
    /// Requests that were refused with an exception.
    pub exceptions: u64,
    /// Requests that a fault kept from a right answer.
    pub faults: u64,
}

/// Counts of requests by unit and function, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Counters {
    /// One row for each unit and function that was asked for.
    pub rows: Vec<Count>,
}

impl Counters {
    /// The rows of one unit.
    #[must_use]
    pub fn unit(&self, unit: u8) -> Self {
        self.filter(|row| row.unit == unit)
    }

    /// The rows of one function.
    #[must_use]
    pub fn function(&self, function: u8) -> Self {
        self.filter(|row| row.function == function)
    }

    pub(crate) fn filter(&self, keep: impl Fn(&Count) -> bool) -> Self {
        Self {
            rows: self.rows.iter().copied().filter(keep).collect(),
        }
    }

    /// Requests in all rows.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.rows.iter().map(|row| row.requests).sum()
    }

    /// Registers and bits in all rows.
    #[must_use]
    pub fn registers(&self) -> u64 {
        self.rows.iter().map(|row| row.items).sum()
    }

    /// Exceptions in all rows.
    #[must_use]
    pub fn exceptions(&self) -> u64 {
        self.rows.iter().map(|row| row.exceptions).sum()
    }
}

/// One request as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// The unit.
    pub unit: u8,
    /// The function's code.
    pub function: u8,
    /// The first address.
    pub address: u16,
    /// How many registers or bits.
    pub count: u16,
}

/// One write that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    /// The unit.
    pub unit: u8,
    /// The function's code.
    pub function: u8,
    /// Coils or holding registers.
    pub table: Kind,
    /// The first address.
    pub address: u16,
    /// The values; bits are 0 and 1.
    pub values: Vec<u16>,
    /// When, since the simulator's start.
    #[serde(rename = "atMs", serialize_with = "milliseconds")]
    pub at: Duration,
}

fn milliseconds<S: serde::Serializer>(at: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(at.as_millis()).unwrap_or(u64::MAX))
}

/// What happened on the lines, whatever the unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LineCounters {
    /// Connections that were ever made.
    pub connections: u64,
    /// Connections that are open now.
    pub open: u64,
    /// Frames whose checksum or header was wrong, or that never ended.
    pub bad_frames: u64,
    /// Bytes that were passed over while looking for the next frame.
    pub dropped_bytes: u64,
    /// Requests to units that do not exist.
    pub unknown_units: u64,
}
