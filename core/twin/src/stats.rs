//! What the engine counts.

/// What the engine counted since start, and what it holds now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Devices served.
    pub devices: u64,
    /// Their properties.
    pub properties: u64,
    /// Desired values that are neither confirmed nor refused.
    pub unsettled: u64,
    /// Desired values and outcomes that are not on the disk yet.
    pub unsaved: u64,
    /// Readings taken.
    pub samples: u64,
    /// Readings of points that are not (or no longer) there.
    pub strays: u64,
    /// Reported changes, heartbeats included.
    pub changes: u64,
    /// Batch messages for the bus.
    pub payloads: u64,
    /// Desired values that were confirmed.
    pub writes_confirmed: u64,
    /// Desired values that were refused or failed.
    pub writes_failed: u64,
    /// Desired values that may have reached their device or not.
    pub writes_unknown: u64,
    /// Commands for mappers.
    pub commands: u64,
    /// Events that became active or were over.
    pub events: u64,
    /// Methods called.
    pub calls: u64,
    /// Calls that failed.
    pub calls_failed: u64,
    /// Samples kept for the hub's history.
    pub history: u64,
    /// Those of them that were not given out; the caller adds what it did not
    /// save yet.
    pub history_unsaved: u64,
    /// Samples that were too large; the caller adds what it could not save.
    pub history_dropped: u64,
    /// Points, devices and commands that a mapper named though it was never
    /// given them or had ended them: bugs of mappers. The log names them.
    pub never_given: u64,
    /// Ids of the engine's own that led nowhere: bugs of the engine. The log
    /// names them.
    pub dangling: u64,
}
