//! How much of the past is kept: so many revisions, so many bytes, so long.
//!
//! Pure: told of each change what it superseded, it says up to which revision the past
//! may go.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// What is kept of the past.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) revisions: u64,
    pub(crate) bytes: u64,
    pub(crate) age: Duration,
}

impl Bounds {
    /// A tenth more than what is kept, up to which the past may grow before it is cut,
    /// so that it is cut rarely.
    fn loose(self) -> Bounds {
        Bounds {
            revisions: self.revisions + (self.revisions / 10).max(1),
            bytes: self.bytes + self.bytes / 10,
            age: self.age + self.age / 10,
        }
    }
}

/// Changes that came one after the other.
#[derive(Debug)]
struct Mark {
    /// The last of them.
    revision: u64,
    /// Bytes that they superseded.
    bytes: u64,
    /// When the first of them came.
    at: Instant,
}

/// Changes in one mark: the past is not cut more finely.
const BYTES: u64 = 64 * 1024;
const TIME: Duration = Duration::from_secs(1);

/// What the past takes.
#[derive(Debug)]
pub(crate) struct History {
    bounds: Bounds,
    /// The oldest first.
    marks: VecDeque<Mark>,
    bytes: u64,
    compacted: u64,
}

impl History {
    pub(crate) fn new(bounds: Bounds, compacted: u64) -> History {
        History {
            bounds,
            marks: VecDeque::new(),
            bytes: 0,
            compacted,
        }
    }

    /// A change came and superseded so many bytes.
    pub(crate) fn note(&mut self, revision: u64, superseded: u64, now: Instant) {
        self.bytes += superseded;
        let few = (self.bounds.revisions / 100).max(1);
        let before = self.marks.iter().rev().nth(1);
        let begins = before.map_or(self.compacted, |mark| mark.revision);
        if let Some(last) = self.marks.back_mut()
            && last.bytes < BYTES
            && now.saturating_duration_since(last.at) < TIME
            && revision.saturating_sub(begins) <= few
        {
            last.revision = revision;
            last.bytes += superseded;
            return;
        }
        self.marks.push_back(Mark {
            revision,
            bytes: superseded,
            at: now,
        });
    }

    /// Up to which revision the past has to go, if it does.
    pub(crate) fn due(&self, current: u64, now: Instant) -> Option<u64> {
        if self.oldest_within(self.bounds.loose(), current, now) == self.compacted {
            return None;
        }
        let target = self.oldest_within(self.bounds, current, now);
        (target > self.compacted).then_some(target)
    }

    /// The revision up to which the past must go for the rest to be within bounds.
    fn oldest_within(&self, bounds: Bounds, current: u64, now: Instant) -> u64 {
        let mut bytes = self.bytes;
        let mut target = self.compacted;
        for mark in &self.marks {
            let many = current.saturating_sub(target) > bounds.revisions;
            let old = now.saturating_duration_since(mark.at) > bounds.age;
            if !many && !old && bytes <= bounds.bytes {
                break;
            }
            bytes -= mark.bytes;
            target = mark.revision;
        }
        target
    }

    /// The past up to `target` is gone.
    pub(crate) fn compacted(&mut self, target: u64) {
        self.compacted = self.compacted.max(target);
        while let Some(mark) = self.marks.front()
            && mark.revision <= target
        {
            self.bytes -= mark.bytes;
            self.marks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        revisions: 100,
        bytes: 1_000_000,
        age: Duration::from_secs(60),
    };

    /// Changes a second apart; gives what the past takes afterwards.
    fn run(changes: u64, superseded: u64, seconds: u64) -> (u64, u64) {
        let start = Instant::now();
        let mut history = History::new(BOUNDS, 0);
        let mut now = start;
        for revision in 1..=changes {
            now += Duration::from_secs(seconds);
            history.note(revision, superseded, now);
            if let Some(target) = history.due(revision, now) {
                assert!(target > history.compacted && target <= revision);
                history.compacted(target);
            }
        }
        (changes - history.compacted, history.bytes)
    }

    #[test]
    fn the_past_is_kept_within_each_bound() {
        let (revisions, bytes) = run(10_000, 10, 0);
        assert!((90..=111).contains(&revisions), "{revisions}");
        assert_eq!(bytes, revisions * 10);
        let (revisions, bytes) = run(1_000, 150_000, 0);
        assert!((800_000..=1_100_000).contains(&bytes), "{bytes}");
        assert_eq!(bytes, revisions * 150_000);
        let (revisions, _) = run(1_000, 10, 10);
        assert!((5..=8).contains(&revisions), "{revisions}");
    }

    #[test]
    fn nothing_goes_while_all_is_within_bounds() {
        assert_eq!(run(100, 10, 0), (100, 1_000));
    }

    #[test]
    fn there_are_few_marks_however_many_changes() {
        let now = Instant::now();
        let bounds = Bounds {
            revisions: 10_000,
            ..BOUNDS
        };
        let mut history = History::new(bounds, 0);
        for revision in 1..=10_000 {
            history.note(revision, 1, now);
        }
        assert!(history.marks.len() <= 101, "{}", history.marks.len());
    }
}
