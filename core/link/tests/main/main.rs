//! The link's sessions: both ends over a bad wire, and the bytes that they send.

mod agreement;
mod fixtures;
mod outage;
mod sessions;
mod step;
mod world;
