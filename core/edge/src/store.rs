//! What the edge must not forget: objects from the hub, samples for the hub,
//! twins and desired values, in one SQLite file; and the live records for the
//! hub, which can all be made again and are in memory only ([`live`]).
//!
//! `longshore_sqlite` owns the connection: everything that wants to write queues
//! up for its thread and is committed in groups, one `fsync` for many; an answer
//! means that it is on the disk. Only this module speaks SQL.
//!
//! # Guarantees
//!
//! - A set of objects and the position in the hub's log that it leads to are
//!   one transaction: never one without the other.
//! - A live record gets its sequence when it is handed out, and keeps it until it
//!   is acknowledged or the process ends; no sequence is used twice, however that
//!   happens. It is never changed or coalesced from then on.
//! - Telemetry is numbered and handed out by itself, in the order in which it
//!   was put; what is dropped of it is the oldest, and counted.

mod handle;
mod live;
mod objects;
mod records;
mod schema;
mod telemetry;
mod twins;

pub use handle::StoreHandle;
pub use longshore_sqlite::{Answer, Error as StoreError, Health as StoreHealth};
pub use objects::{Apply, Change, HubPosition, Object, ObjectKey, Source};
pub use records::{OutboxRecord, OutboxSize};

#[cfg(test)]
mod tests;
