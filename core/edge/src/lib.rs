//! The edge core: keeps devices and their twins in step, with or without a hub.
//!
//! Everything acts on what stands in the node's own [`store`]: the link fills
//! the store and drains its outbox, and calls none of the parts. That makes
//! offline the normal case. The [`twin`] engine is pure (state, input, now);
//! around it stand thin tasks.
//!
//! # Guarantees
//!
//! - The edge serves its devices from its own disk, with no hub, no bus and no
//!   clock that is right.
//! - What was acknowledged is on the disk: objects, desired values, records.
//! - A fault of one mapper, device or property costs only itself, and says so
//!   where people look: the device's conditions, `/readyz`, the log.

pub mod app;
pub mod bus;
pub mod config;
pub mod manifests;
pub mod mappers;
pub mod metrics;
pub mod ports;
pub mod store;
pub mod sync;
pub mod twin;
