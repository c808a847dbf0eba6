//! What the edge must not forget: objects from the hub, records for the hub,
//! twins and desired values, in one SQLite file.
//!
//! `longshore_sqlite` owns the connection: everything that wants to write queues
//! up for its thread and is committed in groups, one `fsync` for many; an answer
//! means that it is on the disk. Only this module speaks SQL.
//!
//! # Guarantees
//!
//! - A set of objects and the position in the hub's log that it leads to are
//!   one transaction: never one without the other.
//! - An outbox record gets its sequence when it is handed out, gapless, never
//!   used twice, and keeps it over restarts until it is acknowledged.
//! - A record that was handed out is never changed, dropped or coalesced.
//! - Telemetry is numbered and handed out by itself, in the order in which it
//!   was put; what is dropped of it is the oldest, and counted.

mod handle;
mod objects;
mod outbox;
mod records;
mod schema;
mod telemetry;
mod twins;

pub use handle::StoreHandle;
pub use longshore_sqlite::{Answer, Error as StoreError, Health as StoreHealth};
pub use objects::{Apply, Change, HubPosition, Object, ObjectKey, Source};
pub use records::{NewRecord, OutboxRecord, OutboxSize, RecordClass};

#[cfg(test)]
mod tests;
