#![allow(unsafe_code)] // This crate is the C contract: its types hold raw pointers.
//! The C contract between a mapper host and a mapper library.
//!
//! A mapper is an actor. The host hands it batches of [`Command`]s with
//! `submit` and gets batches of [`Sample`]s, [`Completion`]s and
//! [`DeviceState`]s back through `emit`. Everything is batched and borrowed:
//! a pointer is valid until the call that carries it returns, so no allocator
//! ever crosses the boundary and any language can stand on either side.
//!
//! # Why this shape
//!
//! - The [`Descriptor`] is plain bytes in an ELF section of its own
//!   (`.longshore_mapper`). The host reads it from the file, so architecture,
//!   version and protocol are checked before any of the library's code
//!   (constructors included) runs.
//! - Every struct that is passed by pointer starts with its `size`, and arrays
//!   carry a `stride`. Fields are only ever appended, so both sides can tell
//!   what the other one knows. A change that is not an append needs a new
//!   [`ABI_MAJOR`].
//! - Nothing unwinds across the boundary. A mapper catches its own panics and
//!   exceptions and answers [`STATUS_PANIC`].
//!
//! The same types, for C, stand in `include/longshore_mapper.h`; a test keeps
//! the two equal.

mod contract;
mod descriptor;

pub use contract::*;
pub use descriptor::*;
