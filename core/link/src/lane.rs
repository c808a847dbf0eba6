//! The two ways up.

/// Records go up on two lanes, each numbered, confirmed and bounded by itself.
///
/// Whoever takes the telemetry may be slow, or stand still because its disk is
/// full; what is so now must not wait behind it. On one lane it would: records
/// are confirmed in order, and a window that is full of what nobody takes is
/// closed for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// What is so now, and what was done: few, wanted at once.
    Live,
    /// What was so: many, each counts. Goes when there is nothing live to send.
    Telemetry,
}
