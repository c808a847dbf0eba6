//! How long to wait before dialling again.

use std::time::Duration;

/// Short enough that a hub that restarts is met at once.
const FIRST: Duration = Duration::from_millis(200);

/// Long enough that thousands of edges do not keep a hub busy with handshakes.
const LONGEST: Duration = Duration::from_secs(30);

/// A connection that held for so long was a good one.
const GOOD: Duration = Duration::from_secs(10);

/// Doubles from 0.2 s to 30 s. The actual pause is between half and the whole
/// of it, so that edges which lost their hub together do not come back together.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// The next pause; `random` is in 0..1.
    pub fn next(&mut self, random: f64) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LONGEST);
        whole.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }

    /// Whether an attempt that lasted so long was a success. A shorter one was
    /// not, even if it got through: two nodes of one name would replace each
    /// other without pause.
    pub fn is_worth_reset(&self, lasted: Duration) -> bool {
        lasted >= GOOD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..10).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(
            pauses,
            [
                200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000
            ]
        );
        assert_eq!(backoff.next(0.0).as_millis(), 15_000);
    }
}
