//! What the hub knows while it runs. Tables know each other only where one
//! stands on another; no table knows a worker.

pub(crate) mod catalog;
pub(crate) mod logs;
