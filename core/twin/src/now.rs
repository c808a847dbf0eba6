//! The time, as an input.

/// The time, twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since start; never goes back.
    pub ms: u64,
    /// Wall clock, milliseconds since 1970.
    pub unix_ms: i64,
}
