//! The task around the twin engine ([`longshore_twin`]): mappers, store, local
//! clients and time go in, and what comes out is carried out. Everybody else
//! talks to it through a [`TwinHandle`].

mod driver;
mod handle;
mod saver;

#[cfg(test)]
pub(crate) use handle::Request;

pub use driver::{Parts, run};
pub use handle::{TwinHandle, TwinInbox, Updating, channel};
pub use longshore_twin::{EngineStats, LocalUpdate, UpdateError};
