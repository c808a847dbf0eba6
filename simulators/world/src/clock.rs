//! The time of a simulated world.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Tells the world how much time has passed since it began.
///
/// Clones share the same time.
#[derive(Debug, Clone)]
pub struct Clock(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Real(Instant),
    /// Nanoseconds since the beginning; 584 years fit.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// A clock that runs with the machine's monotonic time.
    #[must_use]
    pub fn real() -> Self {
        Self(Kind::Real(Instant::now()))
    }

    /// A clock that stands still until [`Clock::advance`] moves it.
    #[must_use]
    pub fn manual() -> Self {
        Self(Kind::Manual(Arc::new(AtomicU64::new(0))))
    }

    /// Time since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Kind::Real(start) => start.elapsed(),
            Kind::Manual(nanoseconds) => Duration::from_nanos(nanoseconds.load(Ordering::Acquire)),
        }
    }

    /// Moves a manual clock on; a real clock is left alone, because it moves by itself.
    pub fn advance(&self, by: Duration) {
        if let Kind::Manual(nanoseconds) = &self.0 {
            let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
            nanoseconds.fetch_add(by, Ordering::AcqRel);
        }
    }

    /// Whether the clock is stepped by hand.
    #[must_use]
    pub fn is_manual(&self) -> bool {
        matches!(self.0, Kind::Manual(_))
    }
}
