//! What the hub knows while it runs.
//!
//! Each table says who writes and who reads it. Tables know each other only
//! where one stands on another; no table knows a worker, and a worker is handed
//! the tables that it uses and no other. Locks are held for moments, never over
//! an await.

pub(crate) mod catalog;
pub(crate) mod listed;
pub(crate) mod logs;
pub(crate) mod nodes;
pub(crate) mod reports;
pub(crate) mod schemas;
pub(crate) mod statuses;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. A table that somebody panicked over is used as it was left: each
/// change of a table is whole before the next begins.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
