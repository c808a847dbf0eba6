//! The steps from which the world of a hub and an edge is put together.

use longshore_link::Lane;

/// What can happen.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Put(u8, u8),
    Delete(u8),
    /// The edge has something to say on this lane.
    Report(Lane),
    ToHub(usize),
    ToEdge,
    RepeatToHub(usize),
    RepeatToEdge,
    LoseToHub(usize),
    LoseToEdge,
    /// The edge sees the connection end; what is on its way to the hub still arrives.
    CutAtEdge,
    CutBoth,
    Connect,
    CrashEdge,
    WipeEdge,
    CrashHub,
    /// The hub's store, or whoever takes the telemetry, does its next thing.
    HubStore(Lane),
    EdgeStore,
    Wait(u16),
}
