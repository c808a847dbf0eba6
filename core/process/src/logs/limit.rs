//! How many lines of a kind are written: a burst, then a steady few, then a count.
//!
//! A kind is a place in the code, and there a subject: the device, mapper or node
//! that the line is about, so that one that talks without end silences no other.
//! Where subjects are many, what the place writes in all is bounded as well. So a
//! line that a peer can cause need not be thought of where it is written.
//!
//! Pure: a line and the time go in, a decision comes out.
//!
//! # Guarantees
//!
//! - Of one place, never more lines than its allowance, whatever it is about.
//! - What was left out is counted, and told with the next line of its kind that is
//!   written, or by [`Limiter::overdue`] once its kind has gone quiet.
//! - The table has a bound; what falls out of it hands its count to its place.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// How often something may be: so many at once, then one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    pub(super) burst: u32,
    pub(super) each: Duration,
}

/// What the lines of a place may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowances {
    /// Those about one subject, or about none.
    pub(super) subject: Allowance,
    /// All of them.
    pub(super) place: Allowance,
}

impl Allowances {
    /// What an operator reads. A handful tells what goes on; the second of 100 a
    /// place is for a fleet of which many fail at once, each for a reason of its own.
    pub(super) const USUAL: Self = Self {
        subject: Allowance {
            burst: 10,
            each: Duration::from_secs(1),
        },
        place: Allowance {
            burst: 100,
            each: Duration::from_millis(100),
        },
    };
    /// What somebody asked for who looks closely, and still no flood.
    pub(super) const CLOSE: Self = Self {
        subject: Allowance {
            burst: 1000,
            each: Duration::from_millis(10),
        },
        place: Allowance {
            burst: 5000,
            each: Duration::from_millis(1),
        },
    };
    /// Many kinds of lines come from one place, which bounds each subject itself.
    pub(super) const RELAYED: Self = Self {
        subject: Allowance {
            burst: 200,
            each: Duration::from_millis(8),
        },
        place: Allowance {
            burst: 5000,
            each: Duration::from_millis(1),
        },
    };
}

/// Subjects that are known at a time, over all places.
const SUBJECTS: usize = 1024;
/// Nothing of a kind for so long: it is over, and its count is told.
pub(super) const QUIET: Duration = Duration::from_secs(2);

/// Lines that were not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeftOut<P> {
    pub(super) place: P,
    pub(super) count: u64,
    /// The first of them.
    pub(super) like: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision<P> {
    /// The line is written, after what is told of lines before it.
    Write(Vec<LeftOut<P>>),
    LeaveOut,
}

/// Decides about lines.
#[derive(Debug)]
pub(super) struct Limiter<P> {
    /// As many as the code has places: that is their bound.
    places: HashMap<P, Kind>,
    subjects: HashMap<(P, u64), Kind>,
}

#[derive(Debug)]
struct Kind {
    tokens: u32,
    refilled: Instant,
    last: Instant,
    left_out: Option<(u64, String)>,
}

impl<P: Copy + Eq + Hash> Limiter<P> {
    pub(super) fn new() -> Self {
        Self {
            places: HashMap::new(),
            subjects: HashMap::new(),
        }
    }

    /// About a line of `place`; `subject` is a hash of what it is about. `like` is
    /// asked for when the line is the first that is left out.
    pub(super) fn decide(
        &mut self,
        place: P,
        subject: u64,
        allowances: Allowances,
        now: Instant,
        like: impl FnOnce() -> String,
    ) -> Decision<P> {
        let whole = self
            .places
            .entry(place)
            .or_insert_with(|| Kind::new(allowances.place, now));
        whole.refill(allowances.place, now);
        let key = (place, subject);
        let known = self.subjects.get_mut(&key);
        if let Some(own) = known {
            own.refill(allowances.subject, now);
            own.last = now;
            if own.tokens == 0 {
                own.leave_out(1, like);
                return Decision::LeaveOut;
            }
        }
        whole.last = now;
        if whole.tokens == 0 {
            whole.leave_out(1, like);
            return Decision::LeaveOut;
        }
        whole.tokens -= 1;
        let mut told = Vec::new();
        told.extend(whole.tell(place));
        // Only what has a token of its place becomes known, so that many names
        // cost no more here than in the log.
        if !self.subjects.contains_key(&key) && self.subjects.len() >= SUBJECTS {
            self.forget_one();
        }
        let own = self
            .subjects
            .entry(key)
            .or_insert_with(|| Kind::new(allowances.subject, now));
        own.tokens -= 1;
        told.extend(own.tell(place));
        Decision::Write(told)
    }

    /// Counts of kinds that have gone quiet.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<LeftOut<P>> {
        self.take(|kind| now.saturating_duration_since(kind.last) >= QUIET)
    }

    /// All counts, at the end of the process.
    pub(super) fn all(&mut self) -> Vec<LeftOut<P>> {
        self.take(|_| true)
    }

    /// Whether there is a count to be told.
    pub(super) fn owes(&self) -> bool {
        let mut kinds = self.places.values().chain(self.subjects.values());
        kinds.any(|kind| kind.left_out.is_some())
    }

    fn take(&mut self, due: impl Fn(&Kind) -> bool) -> Vec<LeftOut<P>> {
        let places = self.places.iter_mut().map(|(place, kind)| (*place, kind));
        let subjects = self.subjects.iter_mut();
        let subjects = subjects.map(|((place, _), kind)| (*place, kind));
        places
            .chain(subjects)
            .filter(|(_, kind)| due(kind))
            .filter_map(|(place, kind)| kind.tell(place))
            .collect()
    }

    /// Forgets the subject that was heard of last the longest ago.
    fn forget_one(&mut self) {
        let oldest = self.subjects.iter().min_by_key(|(_, kind)| kind.last);
        let Some(key) = oldest.map(|(key, _)| *key) else {
            return;
        };
        if let Some(gone) = self.subjects.remove(&key)
            && let Some((count, like)) = gone.left_out
            && let Some(place) = self.places.get_mut(&key.0)
        {
            place.leave_out(count, || like);
        }
    }
}

impl Kind {
    fn new(allowance: Allowance, now: Instant) -> Self {
        Self {
            tokens: allowance.burst,
            refilled: now,
            last: now,
            left_out: None,
        }
    }

    fn refill(&mut self, allowance: Allowance, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled);
        let more = u32::try_from(passed.as_nanos() / allowance.each.as_nanos().max(1));
        let more = more.unwrap_or(u32::MAX);
        if more >= allowance.burst - self.tokens.min(allowance.burst) {
            (self.tokens, self.refilled) = (allowance.burst, now);
        } else {
            self.tokens += more;
            // What is left of the time counts for the next one.
            self.refilled += allowance.each * more;
        }
    }

    fn leave_out(&mut self, count: u64, like: impl FnOnce() -> String) {
        match &mut self.left_out {
            Some((so_far, _)) => *so_far += count,
            None => self.left_out = Some((count, like())),
        }
    }

    fn tell<P>(&mut self, place: P) -> Option<LeftOut<P>> {
        let (count, like) = self.left_out.take()?;
        Some(LeftOut { place, count, like })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Log {
        limiter: Limiter<&'static str>,
        start: Instant,
    }

    impl Log {
        fn new() -> Self {
            Self {
                limiter: Limiter::new(),
                start: Instant::now(),
            }
        }

        /// What is told before the line, if it is written.
        fn line(&mut self, place: &'static str, subject: u64, ms: u64) -> Option<Vec<u64>> {
            let now = self.start + Duration::from_millis(ms);
            let like = || format!("line of {subject}");
            match self
                .limiter
                .decide(place, subject, Allowances::USUAL, now, like)
            {
                Decision::Write(told) => Some(told.iter().map(|told| told.count).collect()),
                Decision::LeaveOut => None,
            }
        }

        fn written(&mut self, place: &'static str, subject: u64, ms: u64, lines: usize) -> usize {
            let lines = (0..lines).filter_map(|_| self.line(place, subject, ms));
            lines.count()
        }
    }

    #[test]
    fn a_flood_is_a_burst_then_a_line_a_second_with_the_count() {
        let mut log = Log::new();
        assert_eq!(log.written("login", 0, 0, 10_000), 10);
        assert_eq!(log.line("login", 0, 999), None);
        assert_eq!(log.line("login", 0, 1000), Some(vec![9991]));
        assert_eq!(log.line("login", 0, 1001), None);
        // What a second left over is not lost to the next one.
        assert_eq!(log.line("login", 0, 2000), Some(vec![1]));
    }

    #[test]
    fn one_that_talks_silences_no_other() {
        let mut log = Log::new();
        log.written("mapper", 1, 0, 10_000);
        assert_eq!(log.written("mapper", 2, 0, 3), 3, "of another subject");
        assert_eq!(log.written("store", 1, 0, 3), 3, "of another place");
    }

    #[test]
    fn a_place_is_bounded_however_many_names_it_is_given() {
        let mut log = Log::new();
        let (mut written, mut told) = (0, 0);
        for subject in 0..100_000 {
            if let Some(counts) = log.line("name", subject, subject / 100) {
                written += 1;
                told += counts.iter().sum::<u64>();
            }
        }
        // 100 at once, and ten for each second.
        assert_eq!(written, 100 + 9);
        assert_eq!(log.limiter.subjects.len(), 109);
        told += log.line("name", 7, 60_000).unwrap().iter().sum::<u64>();
        assert_eq!(told, 100_000 - 109);
    }

    #[test]
    fn what_went_quiet_is_told_once() {
        let mut log = Log::new();
        log.written("login", 3, 0, 15);
        assert!(log.limiter.owes());
        let at = |ms| log.start + Duration::from_millis(ms);
        let (soon, later) = (at(1999), at(2000));
        assert_eq!(log.limiter.overdue(soon), []);
        let told = LeftOut {
            place: "login",
            count: 5,
            like: "line of 3".to_owned(),
        };
        assert_eq!(log.limiter.overdue(later), [told]);
        assert_eq!(log.limiter.overdue(later), []);
        assert!(!log.limiter.owes());
    }

    #[test]
    fn no_count_is_lost_where_the_table_is_full() {
        let mut log = Log::new();
        let mut lines = 0u64;
        let mut written = 0;
        let mut told = 0;
        // Each subject floods once, and more of them than the table holds.
        for subject in 0..2 * SUBJECTS as u64 {
            for _ in 0..20 {
                lines += 1;
                if let Some(counts) = log.line("name", subject, subject * 2000) {
                    written += 1;
                    told += counts.iter().sum::<u64>();
                }
            }
        }
        assert!(log.limiter.subjects.len() <= SUBJECTS);
        let rest = log.limiter.all();
        told += rest.iter().map(|rest| rest.count).sum::<u64>();
        assert_eq!(written + told, lines);
    }
}
