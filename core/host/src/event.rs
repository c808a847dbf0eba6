//! What a mapper tells the edge.

use std::sync::Arc;

use crate::batch::Batch;

/// What comes from a mapper, in this order.
#[derive(Debug, Clone)]
pub enum MapperEvent {
    /// A new instance stands; it knows no devices.
    Up {
        /// The mapper's name.
        mapper: Arc<str>,
        /// Counts the instances.
        generation: u64,
    },
    /// It emitted something.
    Batch {
        /// The mapper's name.
        mapper: Arc<str>,
        /// Counts the instances.
        generation: u64,
        /// What it emitted.
        batch: Batch,
    },
    /// The instance is gone. Commands that have no completion get none.
    Down {
        /// The mapper's name.
        mapper: Arc<str>,
        /// Counts the instances.
        generation: u64,
        /// Why.
        reason: Arc<str>,
        /// Another edition takes over at once; this one did not fail.
        planned: bool,
    },
}

/// Where a mapper is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MapperState {
    /// Known, not started yet.
    Declared,
    /// Loads the library and makes the instance.
    Loading,
    /// At work.
    Running {
        /// Counts the instances.
        generation: u64,
        /// The file holds another version, which is not used.
        refused: Option<Refused>,
    },
    /// Failed and will be back within about a second.
    Restarting {
        /// Why it failed.
        reason: Arc<str>,
        /// Failures in a row.
        failures: u32,
    },
    /// Asked to stop.
    Stopping,
    /// Stopped, as it was asked to.
    Stopped,
    /// Given up: starting it again would fail again.
    Failed {
        /// Why.
        reason: Arc<str>,
    },
}

/// A version of a mapper that is not used, while another one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which; empty when the file does not even tell.
    pub version: Arc<str>,
    /// Why.
    pub reason: Arc<str>,
}
