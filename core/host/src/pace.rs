//! How many lines a mapper may log: both sides of the wire keep to it, the child
//! to spare the wire and the host because it trusts nobody.

use std::time::{Duration, Instant};

/// Lines for each second of what a mapper logs, and as many of what it prints;
/// the rest is counted.
pub(crate) const LINES_EACH_SECOND: u32 = 100;
const SECOND: Duration = Duration::from_secs(1);

/// So many lines for each second, and the number of those that were left out.
#[derive(Debug)]
pub(crate) struct Pace {
    second: Instant,
    count: u32,
    lost: u64,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            second: now,
            count: 0,
            lost: 0,
        }
    }

    /// Whether one more line may be written; it is counted either way.
    pub(crate) fn takes(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.second) >= SECOND {
            (self.second, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(1);
        let takes = self.count <= LINES_EACH_SECOND;
        self.lost += u64::from(!takes);
        takes
    }

    /// Lines were left out before they came here.
    pub(crate) fn missed(&mut self, lines: u64) {
        self.lost += lines;
    }

    /// Lines that were left out, once their second is over.
    pub(crate) fn lost(&mut self, now: Instant) -> u64 {
        if self.lost > 0 && now.saturating_duration_since(self.second) >= SECOND {
            self.last_lost()
        } else {
            0
        }
    }

    /// Lines that were left out and not told.
    pub(crate) fn last_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_room_for_a_hundred_lines() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        let taken = (0..1_000).filter(|_| pace.takes(begin)).count();
        assert_eq!((taken, pace.lost(begin)), (100, 0), "told once a second");
        let later = begin + SECOND;
        assert_eq!(pace.lost(later), 900);
        assert_eq!(pace.lost(later), 0);
        assert!(pace.takes(later));
    }
}
