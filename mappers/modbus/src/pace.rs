//! How long to wait for a unit that has fallen silent.
//!
//! On a bus that carries one request at a time, waiting for a dead unit is time
//! that its neighbours lose. A unit that used to answer within milliseconds and
//! has missed two requests in a row is given a few times its own pace and no
//! longer the whole timeout; every [`PATIENT`]th time it gets the whole timeout
//! again, in case it has become slow and not dead. Pure.

use std::time::Duration;

use crate::bus::Unit;

/// Missed requests in a row from which on the patience is short.
const MISSED: u8 = 2;
/// How often the whole timeout is waited for all the same.
const PATIENT: u8 = 8;
/// So many times the slowest answer of late is still an answer in time.
const MARGIN: u32 = 4;
/// Below this a busy machine would look like a dead unit.
const LEAST: Duration = Duration::from_millis(30);

/// What is known of the units of one line.
#[derive(Debug)]
pub(crate) struct Pace {
    units: Box<[OfUnit; 256]>,
    /// The slowest answer of late of any unit, for those that never answered.
    line: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
struct OfUnit {
    slowest: Duration,
    missed: u8,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self {
            units: Box::new([OfUnit::default(); 256]),
            line: Duration::ZERO,
        }
    }

    /// How long to wait for the next answer of a unit.
    pub(crate) fn timeout(&self, unit: &Unit) -> Duration {
        let whole = Duration::from_millis(u64::from(unit.settings.timeout_ms));
        let of = self.units[usize::from(unit.id)];
        let pace = if of.slowest.is_zero() {
            self.line
        } else {
            of.slowest
        };
        if of.missed < MISSED || of.missed.is_multiple_of(PATIENT) || pace.is_zero() {
            return whole;
        }
        (pace * MARGIN).max(LEAST).min(whole)
    }

    /// The unit has answered after so long.
    pub(crate) fn answered(&mut self, unit: u8, after: Duration) {
        let of = &mut self.units[usize::from(unit)];
        of.missed = 0;
        of.slowest = slower(of.slowest, after);
        self.line = slower(self.line, after);
    }

    /// The unit has not answered.
    pub(crate) fn missed(&mut self, unit: u8) {
        let of = &mut self.units[usize::from(unit)];
        // Never back to a number below `MISSED`.
        of.missed = of.missed.checked_add(1).unwrap_or(PATIENT);
    }
}

/// Takes on a slower answer at once and forgets it over some dozens.
fn slower(known: Duration, now: Duration) -> Duration {
    now.max(known - known / 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Settings;

    const WHOLE: Duration = Duration::from_millis(1000);

    fn unit(id: u8) -> Unit {
        Unit {
            id,
            settings: Settings::default(),
        }
    }

    #[test]
    fn a_unit_that_is_quick_and_falls_silent_costs_little() {
        let mut pace = Pace::new();
        assert_eq!(pace.timeout(&unit(1)), WHOLE, "nothing is known yet");
        pace.answered(1, Duration::from_millis(20));
        pace.missed(1);
        assert_eq!(pace.timeout(&unit(1)), WHOLE, "once may be chance");
        let waits: Vec<_> = (0..14)
            .map(|_| {
                pace.missed(1);
                pace.timeout(&unit(1)).as_millis()
            })
            .collect();
        assert_eq!(
            waits,
            [80, 80, 80, 80, 80, 80, 1000, 80, 80, 80, 80, 80, 80, 80]
        );
        pace.answered(1, Duration::from_millis(900));
        assert_eq!(pace.timeout(&unit(1)), WHOLE, "it is back");
    }

    #[test]
    fn a_unit_that_never_answered_is_judged_by_its_neighbours() {
        let mut pace = Pace::new();
        pace.answered(1, Duration::from_millis(2));
        for _ in 0..3 {
            pace.missed(2);
        }
        assert_eq!(pace.timeout(&unit(2)), LEAST);
        // A slow neighbour makes for more patience, and is forgotten again.
        pace.answered(1, Duration::from_millis(100));
        assert_eq!(pace.timeout(&unit(2)).as_millis(), 400);
        for _ in 0..200 {
            pace.answered(1, Duration::from_millis(2));
        }
        assert_eq!(pace.timeout(&unit(2)), LEAST);
    }

    #[test]
    fn the_patience_never_exceeds_the_timeout_nor_overflows() {
        let mut pace = Pace::new();
        pace.answered(1, Duration::from_millis(700));
        for _ in 0..1000 {
            pace.missed(1);
            assert!(pace.timeout(&unit(1)) <= WHOLE);
        }
    }
}
