//! Loopback pages for `curl` and Prometheus, and the client that reads them.
//!
//! As much of HTTP/1.1 as that takes: one answer for each connection, everything
//! bounded, no framework in the edge's binary.

mod client;
mod doors;
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod server;

pub use self::{
    client::{Answer, HttpError, get, get_json, put_json},
    doors::{Doors, Full, Knock, Limits, Ticket, Welcome},
    gate::{Busy, Gate, Visit},
    server::{ListenError, Request, Response, listen, serve},
};

/// Bytes of a head.
const HEAD: usize = 8 * 1024;
/// Lines of a head.
const FIELDS: usize = 64;

#[cfg(test)]
mod tests;
