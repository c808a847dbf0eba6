//! The twin engine: what devices are, what they should be, and who hears of it.
//!
//! The engine itself is pure and knows neither sockets nor clocks; [`run`]
//! is the task around it. Everybody else talks to it through a [`TwinHandle`].
//!
//! # Guarantees
//!
//! - A batch of readings is taken in one pass, and one message per device goes
//!   out, only if somebody listens.
//! - A desired value is checked before it is written, and confirmed by reading
//!   it back; what became of it is kept over restarts.
//! - Devices, models and mappers may come and go in any order; what is not
//!   touched by a change is not disturbed by it.

mod blob;
mod desired;
mod driver;
mod engine;
mod events;
mod format;
mod handle;
mod point;
mod reconcile;
mod rules;
mod saver;

#[cfg(test)]
pub(crate) use handle::Request;

pub use driver::{Parts, run};
pub use handle::{EngineStats, LocalUpdate, TwinHandle, TwinInbox, UpdateError, channel};
