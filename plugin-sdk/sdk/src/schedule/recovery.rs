//! When to try again what is away: pauses that grow with the time that it was away,
//! so that whoever is back is noticed after a small share of that time, and what is
//! gone for good costs next to nothing.
//!
//! Doubling pauses forget that: after a minute they are half a minute long.

use std::time::{Duration, Instant};

use crate::Protocol;

use super::{
    machine::Machine,
    unit::{Health, Unit},
};

/// Something that was away for so long is found within this part of it.
const PART: u32 = 20;
/// The part of a line's time that probes of silent units may take, where others
/// on it are well: one in so many.
const LINE: u32 = 4;

/// The pause before a next probe of a unit that was silent for `away`.
///
/// `floor` is that of a unit which comes and goes. `cost` is how long the last
/// probe took, where others on the line waited for it, and `silent` how many
/// units are probed there: their probes together leave most of the line to those
/// who answer.
pub(super) fn probe_pause(
    away: Duration,
    floor: Duration,
    longest: Duration,
    cost: Duration,
    silent: u32,
) -> Duration {
    let share = cost.saturating_mul(LINE - 1).saturating_mul(silent);
    (away / PART).max(floor).max(share).min(longest)
}

/// The pause before a next attempt to connect, after `attempts` that failed and
/// the last of which took `cost`: at first soon, then as a probe's. An attempt that
/// takes long (the peer is gone, and nobody refuses) may be work of something that
/// others need, such as an adapter: half of the time is left to them. Not at first: a
/// server that is soon back keeps what was not heard meanwhile for some seconds only.
pub(super) fn dial_pause(
    away: Duration,
    attempts: u32,
    (first, soon, longest): (Duration, Duration, Duration),
    cost: Duration,
) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(attempts).unwrap_or(u32::MAX));
    doubled
        .min((away / PART).max(soon))
        .max(cost.min(away / LINE))
        .min(longest)
}

impl<P: Protocol> Machine<P> {
    /// Plus or minus a fifth, so that many buses do not dial in step.
    pub(super) fn jittered(&mut self, pause: Duration) -> Duration {
        pause.mul_f64(0.8 + 0.4 * self.random.f64())
    }

    /// How long others on the line waited for the exchange that has just ended, and
    /// how many units are silent there. Where nobody answers, nobody waits.
    pub(super) fn cost_of_probes(&self, now: Instant) -> (Duration, u32) {
        let units = || self.units.iter().flatten();
        let is_online = |unit: &Unit<P>| matches!(unit.health, Health::Online { .. });
        if !units().any(is_online) {
            return (Duration::ZERO, 1);
        }
        let is_silent =
            |unit: &&Unit<P>| matches!(&unit.health, Health::Offline(outage) if !outage.by_line);
        let silent = u32::try_from(units().filter(is_silent).count()).unwrap_or(u32::MAX);
        (now.saturating_duration_since(self.exchanged), silent.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_pause_is_a_small_part_of_the_time_away() {
        let probe = |away| probe_pause(away, SECOND, MINUTE, Duration::ZERO, 1);
        assert_eq!(probe(Duration::ZERO), SECOND);
        assert_eq!(probe(MINUTE), SECOND * 3);
        assert_eq!(probe(MINUTE * 60 * 24), MINUTE);
        let dial = |away, attempts| {
            let steps = (SECOND / 10, SECOND, SECOND * 30);
            dial_pause(away, attempts, steps, Duration::ZERO)
        };
        assert_eq!(dial(Duration::ZERO, 0), SECOND / 10);
        assert_eq!(dial(SECOND, 3), SECOND * 8 / 10);
        assert_eq!(dial(SECOND, 9), SECOND);
        assert_eq!(dial(MINUTE, 99), SECOND * 3);
        assert_eq!(dial(MINUTE * 60, 999), SECOND * 30);
    }

    #[test]
    fn probes_leave_the_line_to_those_who_answer() {
        let probe = |silent| probe_pause(MINUTE, SECOND, MINUTE, SECOND, silent);
        assert_eq!(probe(1), SECOND * 3);
        // Five of a second each, in 15 seconds: a quarter, or a little more.
        assert_eq!(probe(5), SECOND * 15);
        assert_eq!(probe(200), MINUTE);
        let steps = (SECOND / 10, SECOND, SECOND * 30);
        assert_eq!(dial_pause(MINUTE, 9, steps, SECOND * 10), SECOND * 10);
        // An attempt that hung does not make the next one late.
        let soon = SECOND / 10;
        assert_eq!(dial_pause(Duration::ZERO, 0, steps, SECOND * 10), soon);
    }
}
