//! An MQTT broker (3.1.1 and 5.0) for the inside of a program, bounded as a whole.
//!
//! A broker on an edge node is used by programs of other people. What they do must
//! cost themselves: what waits, what is kept and what is being read has a bound in
//! bytes and number, for a client and for all, with room left for whoever owns the
//! broker ([`Limits`]). That could not be put around a broker that stores each
//! session's messages for itself, so this one keeps each message once.
//!
//! # Shape
//!
//! The core (`core.rs` and what is below it) is pure: what comes goes in with the
//! time, and what is to be written to sockets and disk is asked for. Messages wait
//! in the core alone, and a connection takes out what its socket has room for, so a
//! bound is one comparison. The driver around it has the sockets, the clock and the
//! one SQLite file.
//!
//! # Guarantees
//!
//! - Memory and disk that are counted never exceed [`Limits::memory`] and
//!   [`Limits::disk`], whatever clients do.
//! - A message of QoS 1 or 2 is acknowledged when it stands in the queue of every
//!   session that gets it, and for sessions of clients that are away, and where it is
//!   retained, on the disk. The same holds for subscriptions and sessions that are
//!   kept.
//! - Where that cannot be, the answer is a refusal (0x97 and its like); a client of
//!   3.1.1, which knows none, gets no answer and loses its connection.
//! - A message of QoS 2 is given to each client once, also across connections that
//!   break and stops of the broker.
//! - Messages of one publisher reach a subscriber in their order.
//!
//! # Caveats
//!
//! - What waits for a client that is connected is in memory, and goes to the disk
//!   when it leaves or the broker stops. A kill costs it, and what was sent to it may
//!   come again. Messages of the owner for clients that are away, and retained ones
//!   that nobody waits for, are written within a second.
//! - Of a session that is full the oldest messages go, those of QoS 0 first; its
//!   client is named in the log, and they are counted.
//! - A will that waits for its delay is forgotten when the broker stops.

mod access;
pub mod codec;
mod core;
mod door;
mod driver;
mod limits;
mod retained;
mod session;
mod shelf;
mod stats;
mod store;
mod subscriptions;
pub mod topic;

pub use self::{
    access::{Access, Who},
    core::{Heard, Own},
    driver::{Broker, Keeper, OpenError, Options, Owner, Server},
    limits::{Bound, Limits},
    stats::Stats,
};
