//! How long to wait before the next attempt.

use std::time::Duration;

/// Doubles from a first pause to a longest one. The actual pause is between half
/// and the whole of it, so that those who lost the same thing together do not
/// come back together.
///
/// Pure: the random fraction is an argument.
///
/// ```
/// use std::time::Duration;
/// use longshore_types::backoff::Backoff;
///
/// let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(1));
/// let pauses: Vec<_> = (0..4).map(|_| backoff.next(1.0).as_millis()).collect();
/// assert_eq!(pauses, [200, 400, 800, 1000]);
/// assert_eq!(backoff.next(0.0).as_millis(), 500);
/// backoff.reset();
/// assert_eq!(backoff.next(1.0).as_millis(), 200);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Begins with `first`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// The next pause; `random` is in 0..1.
    pub fn next(&mut self, random: f64) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.longest);
        whole.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }

    /// An attempt was a success: begin anew.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}
