//! The hub: brings devices from Kubernetes to their edges, and what the edges
//! report back into Kubernetes.
//!
//! Everything on the Kubernetes side goes through one `kube::Client`, be it of
//! a real cluster or of the embedded API server; nothing after the start knows
//! which. Everything on the edges' side goes through one port, HTTP over TLS with
//! certificates; an edge's link is a request there that becomes the line of
//! [`longshore_link`]'s session.
//!
//! ```text
//! kinds that go down ── watch ─► catalog ─► log of each node ─► session ─► edge
//! DeviceStatus ◄─ bounded rate ◄─ latest reports ◄─ hub.db ◄── session ◄── edge
//! Node, Lease ◄───────────────── table of nodes ◄───────────── session
//! ```
//!
//! What the hub knows stands in tables; workers watch, serve and write, and each
//! is handed the tables that it uses and no other. Tables know no worker, and
//! workers meet in the tables only.
//!
//! # Guarantees
//!
//! - A record is acknowledged when the hub's database holds it, not before, and
//!   taken once.
//! - A node gets and changes what is bound to it, nothing else; its name comes
//!   from its certificate.
//! - What the hub writes it can compute again: a DeviceStatus or Node that was
//!   deleted comes back, a hub that was killed goes on.
//! - A task that ends unasked ends the hub, or stands in `/readyz`.
//! - Nothing is sent to an edge before the hub has listed all that goes to edges.

mod cluster;
pub mod config;
pub mod identity;
mod kinds;
mod metrics;
mod nodes;
mod port;
mod run;
pub mod samples;
mod sessions;
mod status;
mod store;
mod tables;

pub use cluster::ClusterError;
pub use config::{Config, Environment};
pub use run::{Addresses, RunningHub, StartError};
pub use store::StoreError;
