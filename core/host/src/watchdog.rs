//! Which answers of a mapper are overdue.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

/// How long answers may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// A completion beyond its command's budget.
    pub(crate) completion_grace: Duration,
    /// The answer to a frame: `submit` and ping never wait for a device.
    pub(crate) answer: Duration,
    /// Between two pings.
    pub(crate) ping_every: Duration,
    /// The same once the mapper was quiet for as long.
    pub(crate) ping_quiet: Duration,
}

/// Knows what was asked and not answered.
///
/// While the edge itself does not take the mapper's batches, no answer can get
/// through: that time is taken out of all deadlines.
#[derive(Debug)]
pub(crate) struct Watchdog {
    limits: Limits,
    commands: HashMap<u64, Instant>,
    /// With entries of commands that are done; they are skipped.
    deadlines: BinaryHeap<Reverse<(Instant, u64)>>,
    answer_due: Option<Instant>,
    next_ping: Instant,
    /// When something came of it, or was asked of it.
    active: Instant,
    /// Since when the edge does not take batches.
    held_since: Option<Instant>,
    /// All the time that it did not, so far. The clock of the deadlines is this much slow.
    held: Duration,
}

impl Watchdog {
    pub(crate) fn new(limits: Limits, now: Instant) -> Self {
        let next_ping = now + limits.ping_every;
        Self {
            limits,
            commands: HashMap::new(),
            deadlines: BinaryHeap::new(),
            answer_due: None,
            next_ping,
            active: now,
            held_since: None,
            held: Duration::ZERO,
        }
    }

    /// The mapper has something to do: if it hangs now, somebody misses it.
    pub(crate) fn is_active(&mut self, now: Instant) {
        let clock = self.clock(now);
        self.active = clock;
        // It may have been left in peace until now.
        self.next_ping = self.next_ping.min(clock + self.limits.ping_every);
    }

    /// A command went to the mapper.
    pub(crate) fn sent(&mut self, token: u64, budget: Duration, now: Instant) {
        self.is_active(now);
        let deadline = self.clock(now) + budget + self.limits.completion_grace;
        self.commands.insert(token, deadline);
        self.deadlines.push(Reverse((deadline, token)));
    }

    /// A command is done, or was not taken after all.
    pub(crate) fn done(&mut self, token: u64) {
        self.commands.remove(&token);
        if self.commands.is_empty() {
            self.deadlines.clear();
        }
    }

    /// A frame went out that has to be answered.
    pub(crate) fn asked(&mut self, now: Instant) {
        self.answer_due = Some(self.clock(now) + self.limits.answer);
    }

    /// It was answered; so no ping is needed for a while.
    pub(crate) fn answered(&mut self, now: Instant) {
        self.answer_due = None;
        let clock = self.clock(now);
        // Each ping wakes two processes, which a node with nothing to do on a small
        // battery pays for.
        let quiet = clock.saturating_duration_since(self.active) >= self.limits.ping_quiet;
        self.next_ping = clock
            + match quiet {
                true => self.limits.ping_quiet,
                false => self.limits.ping_every,
            };
    }

    pub(crate) fn ping_due(&self, now: Instant) -> bool {
        self.answer_due.is_none() && self.next_ping <= self.clock(now)
    }

    /// The edge takes no batches for the time being, or takes them again.
    pub(crate) fn hold(&mut self, held: bool, now: Instant) {
        match (held, self.held_since) {
            (true, None) => self.held_since = Some(now),
            (false, Some(since)) => {
                self.held += now.duration_since(since);
                self.held_since = None;
            }
            _ => {}
        }
    }

    /// What is overdue, if something is.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<Arc<str>> {
        let clock = self.clock(now);
        if self.answer_due.is_some_and(|due| due <= clock) {
            return Some(
                format!(
                    "hangs: no answer within {} s",
                    self.limits.answer.as_secs_f32()
                )
                .into(),
            );
        }
        let (deadline, token) = self.next_command()?;
        (deadline <= clock).then(|| {
            format!(
                "hangs: command {token} is overdue by {} s",
                self.limits.completion_grace.as_secs_f32()
            )
            .into()
        })
    }

    /// When to look again; nothing while the edge holds.
    pub(crate) fn deadline(&mut self) -> Option<Instant> {
        if self.held_since.is_some() {
            return None;
        }
        let next = self.answer_due.unwrap_or(self.next_ping);
        let next = self
            .next_command()
            .map_or(next, |(deadline, _)| deadline.min(next));
        Some(next + self.held)
    }

    fn next_command(&mut self) -> Option<(Instant, u64)> {
        while let Some(Reverse((deadline, token))) = self.deadlines.peek().copied() {
            if self.commands.get(&token) == Some(&deadline) {
                return Some((deadline, token));
            }
            self.deadlines.pop();
        }
        None
    }

    fn clock(&self, now: Instant) -> Instant {
        self.held_since.unwrap_or(now) - self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMITS: Limits = Limits {
        completion_grace: SECOND,
        answer: Duration::from_secs(2),
        ping_every: Duration::from_secs(5),
        ping_quiet: Duration::from_secs(60),
    };

    #[test]
    fn a_command_is_overdue_after_its_budget_and_the_grace() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new(LIMITS, now);
        watchdog.sent(1, SECOND * 3, now);
        watchdog.sent(2, SECOND, now);
        assert_eq!(watchdog.deadline(), Some(now + SECOND * 2));
        assert_eq!(watchdog.overdue(now + SECOND), None);
        assert_eq!(
            watchdog.overdue(now + SECOND * 2).as_deref(),
            Some("hangs: command 2 is overdue by 1 s")
        );
        watchdog.done(2);
        assert_eq!(watchdog.overdue(now + SECOND * 2), None);
        assert_eq!(watchdog.deadline(), Some(now + SECOND * 4));
        watchdog.done(1);
        assert_eq!(watchdog.deadline(), Some(now + SECOND * 5));
    }

    #[test]
    fn a_mapper_with_nothing_to_do_is_asked_less() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new(LIMITS, now);
        watchdog.answered(now + SECOND * 59);
        assert_eq!(watchdog.deadline(), Some(now + SECOND * 64));
        watchdog.answered(now + SECOND * 64);
        assert_eq!(watchdog.deadline(), Some(now + SECOND * 124));
        // Something came of it: from now on it is missed if it hangs.
        watchdog.is_active(now + SECOND * 70);
        assert_eq!(watchdog.deadline(), Some(now + SECOND * 75));
        watchdog.answered(now + SECOND * 75);
        assert_eq!(watchdog.deadline(), Some(now + SECOND * 80));
    }

    #[test]
    fn time_in_which_the_edge_holds_does_not_count() {
        let now = Instant::now();
        let mut watchdog = Watchdog::new(LIMITS, now);
        watchdog.asked(now);
        watchdog.hold(true, now + SECOND);
        assert_eq!(
            (watchdog.deadline(), watchdog.overdue(now + SECOND * 100)),
            (None, None)
        );
        watchdog.hold(false, now + SECOND * 100);
        assert_eq!(watchdog.overdue(now + SECOND * 100), None);
        assert_eq!(watchdog.deadline(), Some(now + SECOND * 101));
        assert!(watchdog.overdue(now + SECOND * 101).is_some());
        watchdog.answered(now + SECOND * 101);
        assert!(!watchdog.ping_due(now + SECOND * 105));
        assert!(watchdog.ping_due(now + SECOND * 106));
    }
}
