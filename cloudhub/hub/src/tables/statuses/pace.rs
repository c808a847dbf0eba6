//! When a device's status may be written. Pure.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use longshore_types::{DeviceName, backoff::Backoff};

/// A write that failed is tried again after this, then after twice as long.
const RETRY: Duration = Duration::from_secs(1);
/// But never later than this.
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// A status is written whole, so one of many values is written less often: so many
/// bytes are as good as one small status.
const BYTES_EACH: usize = 16 * 1024;
/// So many writes of a device may go before their time, for what somebody waits
/// for; with each interval one more may.
const AHEAD: u32 = 5;

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Write this one; `done`, `gone` or `failed` must follow.
    Ready(DeviceName),
    /// Nothing before then.
    At(Instant),
    /// Nothing before something is marked.
    Idle,
}

/// Why a device's status must be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// Something may be another: its turn will do.
    Turn,
    /// Somebody waits for it, such as for what came of a write.
    Soon,
}

/// Each device at most once an interval, none twice at once, the one that has
/// waited longest first. What somebody waits for may go before its time, some
/// times; a device that always has such news is written once an interval, too.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    due: BTreeSet<(Instant, DeviceName)>,
    entries: HashMap<DeviceName, Entry>,
}

#[derive(Debug)]
struct Entry {
    due: Option<Instant>,
    last: Option<Instant>,
    running: bool,
    again: Option<Need>,
    /// Between two writes, by the size of the last.
    interval: Duration,
    ahead: u32,
    /// When the last one was added to `ahead`.
    ahead_since: Option<Instant>,
    backoff: Backoff,
}

impl Entry {
    fn new(interval: Duration) -> Self {
        Self {
            due: None,
            last: None,
            running: false,
            again: None,
            interval,
            ahead: AHEAD,
            ahead_since: None,
            backoff: Backoff::new(RETRY, LONGEST_RETRY),
        }
    }

    /// Takes one of the writes that may go before their time.
    fn take_ahead(&mut self, now: Instant) -> bool {
        let since = *self.ahead_since.get_or_insert(now);
        let passed = now.saturating_duration_since(since).as_millis();
        let more = passed / self.interval.as_millis().max(1);
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        if more >= AHEAD - self.ahead {
            (self.ahead, self.ahead_since) = (AHEAD, Some(now));
        } else {
            self.ahead += more;
            self.ahead_since = Some(since + self.interval * more);
        }
        let taken = self.ahead > 0;
        self.ahead -= u32::from(taken);
        taken
    }
}

impl Pace {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            due: BTreeSet::new(),
            entries: HashMap::new(),
        }
    }

    /// A device may need a write.
    pub(super) fn mark(&mut self, device: DeviceName, need: Need, now: Instant) {
        let entry = self.entry(&device);
        if entry.running {
            entry.again = entry.again.max(Some(need));
            return;
        }
        let turn = entry
            .last
            .map_or(now, |last| now.max(last + entry.interval));
        let former = entry.due;
        let mut at = former.unwrap_or(turn);
        // A write that failed has its pause: nobody is helped by more of them.
        let failing = former.is_some_and(|former| former > turn);
        if need == Need::Soon && at > now && !failing && entry.take_ahead(now) {
            at = now;
        }
        if former != Some(at) {
            entry.due = Some(at);
            if let Some(former) = former {
                self.due.remove(&(former, device.clone()));
            }
            self.due.insert((at, device));
        }
    }

    fn entry(&mut self, device: &DeviceName) -> &mut Entry {
        let interval = self.interval;
        let entry = self.entries.entry(device.clone());
        entry.or_insert_with(|| Entry::new(interval))
    }

    /// Number of devices that wait for their write.
    pub(super) fn pending(&self) -> usize {
        self.due.len()
    }

    pub(super) fn next(&mut self, now: Instant) -> Next {
        match self.due.first() {
            None => Next::Idle,
            Some((at, _)) if *at > now => Next::At(*at),
            Some(_) => match self.due.pop_first() {
                Some((_, device)) => {
                    let entry = self.entry(&device);
                    entry.due = None;
                    entry.running = true;
                    Next::Ready(device)
                }
                None => Next::Idle,
            },
        }
    }

    /// It is written, or is as it was; it has so many bytes.
    pub(super) fn done(&mut self, device: DeviceName, bytes: usize, now: Instant) {
        let turns = bytes.div_ceil(BYTES_EACH).clamp(1, 1 << 16) as u32;
        let interval = self.interval * turns;
        let again = self.finish(&device, |entry| {
            entry.backoff.reset();
            entry.last = Some(now);
            entry.interval = interval;
        });
        if let Some(need) = again {
            self.mark(device, need, now);
        }
    }

    /// The device is no more.
    pub(super) fn gone(&mut self, device: DeviceName, now: Instant) {
        let again = self.finish(&device, |_| {});
        self.entries.remove(&device);
        if let Some(need) = again {
            self.mark(device, need, now);
        }
    }

    /// It could not be written.
    pub(super) fn failed(&mut self, device: DeviceName, now: Instant) {
        self.finish(&device, |_| {});
        if let Some(entry) = self.entries.get_mut(&device) {
            // All of it, always: so few are written at once that they need not be
            // scattered.
            let at = now + entry.backoff.next(1.0);
            entry.due = Some(at);
            self.due.insert((at, device));
        }
    }

    fn finish(&mut self, device: &DeviceName, change: impl FnOnce(&mut Entry)) -> Option<Need> {
        let entry = self.entries.get_mut(device)?;
        entry.running = false;
        change(entry);
        entry.again.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DeviceName {
        DeviceName::new("default", text).unwrap()
    }

    fn mark(pace: &mut Pace, text: &str, now: Instant) {
        pace.mark(name(text), Need::Turn, now);
    }

    #[test]
    fn a_device_is_written_once_an_interval() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut pace = Pace::new(second);
        mark(&mut pace, "a", start);
        mark(&mut pace, "a", start);
        assert_eq!(pace.next(start), Next::Ready(name("a")));
        assert_eq!(pace.next(start), Next::Idle);
        mark(&mut pace, "a", start);
        assert_eq!(pace.next(start), Next::Idle, "it is being written");
        pace.done(name("a"), 500, start);
        assert_eq!(pace.next(start), Next::At(start + second));
        assert_eq!(pace.next(start + second), Next::Ready(name("a")));
        pace.done(name("a"), 500, start + second);
        assert_eq!(pace.next(start + 9 * second), Next::Idle);
    }

    #[test]
    fn what_somebody_waits_for_goes_before_its_time() {
        let ms = Duration::from_millis;
        let start = Instant::now();
        let mut pace = Pace::new(ms(1000));
        // Its values change all the time.
        mark(&mut pace, "a", start);
        assert_eq!(pace.next(start), Next::Ready(name("a")));
        pace.done(name("a"), 500, start);
        mark(&mut pace, "a", start + ms(5));
        assert_eq!(pace.next(start + ms(12)), Next::At(start + ms(1000)));
        // A write is confirmed.
        pace.mark(name("a"), Need::Soon, start + ms(12));
        assert_eq!(pace.next(start + ms(12)), Next::Ready(name("a")));
        // Another one while that is written.
        mark(&mut pace, "a", start + ms(13));
        pace.mark(name("a"), Need::Soon, start + ms(14));
        mark(&mut pace, "a", start + ms(15));
        pace.done(name("a"), 500, start + ms(16));
        assert_eq!(pace.next(start + ms(16)), Next::Ready(name("a")));
        pace.done(name("a"), 500, start + ms(20));
        assert_eq!(pace.next(start + ms(20)), Next::Idle);
        // One that always has such news is written once an interval more, and no more.
        let mut written = 0;
        for passed in 20..100_000 {
            let now = start + ms(passed);
            pace.mark(name("a"), Need::Soon, now);
            if pace.next(now) == Next::Ready(name("a")) {
                pace.done(name("a"), 500, now);
                written += 1;
            }
        }
        assert!((100..=2 * 100 + AHEAD).contains(&written), "{written}");
    }

    #[test]
    fn a_large_status_is_written_less_often() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut pace = Pace::new(second);
        mark(&mut pace, "a", start);
        assert_eq!(pace.next(start), Next::Ready(name("a")));
        pace.done(name("a"), 10 * BYTES_EACH, start);
        mark(&mut pace, "a", start);
        assert_eq!(pace.next(start), Next::At(start + 10 * second));
        // What came of a write is told at once nevertheless.
        pace.mark(name("a"), Need::Soon, start + second);
        assert_eq!(pace.next(start + second), Next::Ready(name("a")));
    }

    #[test]
    fn a_write_that_fails_comes_again_later_and_later() {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::ZERO);
        mark(&mut pace, "a", start);
        let mut now = start;
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(pace.next(now), Next::Ready(name("a")));
            pace.failed(name("a"), now);
            pace.mark(name("a"), Need::Soon, now);
            now += Duration::from_secs(pause);
            assert_eq!(pace.next(now - Duration::from_millis(1)), Next::At(now));
        }
    }

    #[test]
    fn who_waited_longest_is_first() {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::from_secs(1));
        mark(&mut pace, "z", start);
        mark(&mut pace, "a", start + Duration::from_millis(1));
        let now = start + Duration::from_millis(2);
        assert_eq!(pace.next(now), Next::Ready(name("z")));
        assert_eq!(pace.next(now), Next::Ready(name("a")));
    }
}
