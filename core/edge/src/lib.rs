//! The edge core: keeps devices and their twins in step, with or without a hub.
//!
//! Everything acts on what stands in the node's own [`store`]: the link fills
//! the store and drains its outbox, and calls none of the parts. That makes
//! offline the normal case. The [`twin`] engine is pure (state, input, now);
//! around it stand thin tasks.

pub mod bus;
pub mod clock;
pub mod config;
pub mod ports;
pub mod store;
pub mod twin;
