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

/// Each device at most once an interval, none twice at once, the one that has
/// waited longest first.
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
    again: bool,
    backoff: Backoff,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            due: None,
            last: None,
            running: false,
            again: false,
            backoff: Backoff::new(RETRY, LONGEST_RETRY),
        }
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
    pub(super) fn mark(&mut self, device: DeviceName, now: Instant) {
        let entry = self.entries.entry(device.clone()).or_default();
        if entry.running {
            entry.again = true;
        } else if entry.due.is_none() {
            let at = entry.last.map_or(now, |last| now.max(last + self.interval));
            entry.due = Some(at);
            self.due.insert((at, device));
        }
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
                    let entry = self.entries.entry(device.clone()).or_default();
                    entry.due = None;
                    entry.running = true;
                    Next::Ready(device)
                }
                None => Next::Idle,
            },
        }
    }

    /// It is written.
    pub(super) fn done(&mut self, device: DeviceName, now: Instant) {
        let again = self.finish(&device, |entry| {
            entry.backoff.reset();
            entry.last = Some(now);
        });
        if again {
            self.mark(device, now);
        }
    }

    /// The device is no more.
    pub(super) fn gone(&mut self, device: DeviceName, now: Instant) {
        let again = self.finish(&device, |_| {});
        self.entries.remove(&device);
        if again {
            self.mark(device, now);
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

    fn finish(&mut self, device: &DeviceName, change: impl FnOnce(&mut Entry)) -> bool {
        let Some(entry) = self.entries.get_mut(device) else {
            return false;
        };
        entry.running = false;
        change(entry);
        std::mem::take(&mut entry.again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DeviceName {
        DeviceName::new("default", text).unwrap()
    }

    #[test]
    fn a_device_is_written_once_an_interval() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut pace = Pace::new(second);
        pace.mark(name("a"), start);
        pace.mark(name("a"), start);
        assert_eq!(pace.next(start), Next::Ready(name("a")));
        assert_eq!(pace.next(start), Next::Idle);
        pace.mark(name("a"), start);
        assert_eq!(pace.next(start), Next::Idle, "it is being written");
        pace.done(name("a"), start);
        assert_eq!(pace.next(start), Next::At(start + second));
        assert_eq!(pace.next(start + second), Next::Ready(name("a")));
        pace.done(name("a"), start + second);
        assert_eq!(pace.next(start + 9 * second), Next::Idle);
    }

    #[test]
    fn a_write_that_fails_comes_again_later_and_later() {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::ZERO);
        pace.mark(name("a"), start);
        let mut now = start;
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(pace.next(now), Next::Ready(name("a")));
            pace.failed(name("a"), now);
            now += Duration::from_secs(pause);
            assert_eq!(pace.next(now - Duration::from_millis(1)), Next::At(now));
        }
    }

    #[test]
    fn who_waited_longest_is_first() {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::from_secs(1));
        pace.mark(name("z"), start);
        pace.mark(name("a"), start + Duration::from_millis(1));
        let now = start + Duration::from_millis(2);
        assert_eq!(pace.next(now), Next::Ready(name("z")));
        assert_eq!(pace.next(now), Next::Ready(name("a")));
    }
}
