//! What is due when: reports and snapshots of devices, the search for stale
//! values, and events that time or the bus may change.
//!
//! What waits for a mapper is due by the mapper's state ([`links`](super::links)),
//! a desired value or a call by its own: those are looked at whenever something
//! happened, not at a time.

use std::collections::BTreeSet;

use super::Now;

/// Pause between two reports of a device to the hub, for each 250 properties
/// or part of them: a report is the whole device.
const REPORT_MS: u64 = 1_000;
const PROPERTIES_PER_REPORT: u64 = 250;
/// The same without a link: then reports only replace each other on the disk.
const REPORT_OFFLINE_MS: u64 = 10_000;
/// While there is a link, a device is reported at least so often, for its
/// times of reading; nothing else of it need have changed.
const REPORT_AT_LEAST_MS: u64 = 10_000;
/// So many reports of a device may go before their time, for what somebody waits
/// for; with each pause one more may.
const AHEAD: u8 = 5;
/// Pause between two snapshots of a device. Its readings come again by
/// themselves, and flash wears out: what must not be lost has a row of its own.
const SNAPSHOT_MS: u64 = 600_000;
/// How often the table is searched for stale values at most.
const STALE_SCAN_MS: u64 = 1_000;

/// See the module.
pub(super) struct Due {
    /// There is a hub to report to.
    reports_wanted: bool,
    linked: bool,
    reports: Timetable,
    snapshots: Timetable,
    /// When each device was reported last, by its id.
    reported: Vec<Option<u64>>,
    /// What each device has of [`AHEAD`], by its id.
    ahead: Vec<Ahead>,
    /// When the table is searched for stale values; none while nothing can be.
    stale_scan: Option<u64>,
    /// Devices with an event that time or the bus may change.
    events: BTreeSet<u32>,
}

/// Reports that a device may send before their time.
#[derive(Debug, Clone, Copy)]
struct Ahead {
    left: u8,
    since: u64,
}

impl Ahead {
    const WHOLE: Self = Self {
        left: AHEAD,
        since: 0,
    };

    /// Takes one; `pause` is what brings another.
    fn take(&mut self, pause: u64, now: u64) -> bool {
        let more = now.saturating_sub(self.since) / pause.max(1);
        if more >= u64::from(AHEAD - self.left) {
            *self = Self {
                left: AHEAD,
                since: now,
            };
        } else {
            self.left += more as u8;
            self.since += more * pause;
        }
        let taken = self.left > 0;
        self.left -= u8::from(taken);
        taken
    }
}

/// One time for each device, or none, and the devices in the order of it.
#[derive(Debug, Default)]
struct Timetable {
    /// By the device's id.
    at: Vec<Option<u64>>,
    /// Exactly what `at` has.
    order: BTreeSet<(u64, u32)>,
}

impl Timetable {
    fn at(&self, id: u32) -> Option<u64> {
        self.at.get(id as usize).copied().flatten()
    }

    fn set(&mut self, id: u32, at: u64) {
        let index = id as usize;
        if index >= self.at.len() {
            self.at.resize(index + 1, None);
        }
        if let Some(former) = self.at[index].replace(at) {
            self.order.remove(&(former, id));
        }
        self.order.insert((at, id));
    }

    fn clear(&mut self, id: u32) {
        if let Some(former) = self.at.get_mut(id as usize).and_then(Option::take) {
            self.order.remove(&(former, id));
        }
    }

    /// Takes the first that are due.
    fn take(&mut self, until: u64, most: usize) -> Vec<u32> {
        let due = self.order.range(..=(until, u32::MAX)).take(most);
        let ids: Vec<u32> = due.map(|(_, id)| *id).collect();
        for id in &ids {
            self.clear(*id);
        }
        ids
    }
}

impl Due {
    pub(super) fn new(reports_wanted: bool) -> Self {
        Self {
            reports_wanted,
            linked: false,
            reports: Timetable::default(),
            snapshots: Timetable::default(),
            reported: Vec::new(),
            ahead: Vec::new(),
            stale_scan: Some(0),
            events: BTreeSet::new(),
        }
    }

    /// Whether there is a link now: reports are rarer without.
    pub(super) fn set_linked(&mut self, linked: bool) {
        self.linked = linked;
    }

    /// A device with so many properties has news: a report and a snapshot
    /// become due.
    pub(super) fn touch(&mut self, id: u32, properties: usize, now: Now) {
        self.stale_soon(now);
        if self.snapshots.at(id).is_none() {
            self.snapshots.set(id, now.ms + SNAPSHOT_MS);
        }
        if self.reports_wanted && self.reports.at(id).is_none() {
            let pause = self.pause(properties);
            let last = self.reported.get(id as usize).copied().flatten();
            let at = last.map_or(now.ms, |last| (last + pause).max(now.ms));
            self.reports.set(id, at);
        }
    }

    /// The same of news that somebody waits for, such as what came of a write:
    /// while there is a link, some of them do not wait for the pause.
    pub(super) fn touch_soon(&mut self, id: u32, properties: usize, now: Now) {
        self.touch(id, properties, now);
        let late = self.reports.at(id).is_some_and(|at| at > now.ms);
        if !late || !self.linked {
            return;
        }
        let (index, pause) = (id as usize, self.pause(properties));
        if index >= self.ahead.len() {
            self.ahead.resize(index + 1, Ahead::WHOLE);
        }
        if self.ahead[index].take(pause, now.ms) {
            self.reports.set(id, now.ms);
        }
    }

    fn pause(&self, properties: usize) -> u64 {
        if self.linked {
            REPORT_MS * (1 + properties as u64 / PROPERTIES_PER_REPORT)
        } else {
            REPORT_OFFLINE_MS
        }
    }

    /// A reading came, which is news only where the last report is old.
    pub(super) fn read(&mut self, id: u32, now: Now) {
        let last = self.reported.get(id as usize).copied().flatten();
        let old = last.is_some_and(|last| now.ms >= last + REPORT_AT_LEAST_MS);
        if old && self.reports_wanted && self.linked && self.reports.at(id).is_none() {
            self.reports.set(id, now.ms);
        }
    }

    /// The device is gone.
    pub(super) fn forget(&mut self, id: u32) {
        self.reports.clear(id);
        self.snapshots.clear(id);
        self.events.remove(&id);
        if let Some(last) = self.reported.get_mut(id as usize) {
            *last = None;
        }
        if let Some(ahead) = self.ahead.get_mut(id as usize) {
            *ahead = Ahead::WHOLE;
        }
    }

    /// Devices whose report is due; it counts as made.
    pub(super) fn take_reports(&mut self, now: Now, most: usize) -> Vec<u32> {
        let ids = self.reports.take(now.ms, most);
        for id in &ids {
            let index = *id as usize;
            if index >= self.reported.len() {
                self.reported.resize(index + 1, None);
            }
            self.reported[index] = Some(now.ms);
        }
        ids
    }

    /// Devices whose snapshot is due, or will be when `all`; it counts as made.
    pub(super) fn take_snapshots(&mut self, now: Now, most: usize, all: bool) -> Vec<u32> {
        let until = if all { u64::MAX } else { now.ms };
        self.snapshots.take(until, most)
    }

    pub(super) fn snapshot_again(&mut self, id: u32, now: Now) {
        self.snapshots.set(id, now.ms + SNAPSHOT_MS);
    }

    /// Whether it is time to search for stale values.
    pub(super) fn stale_scan(&self, now: Now) -> bool {
        self.stale_scan.is_some_and(|at| now.ms >= at)
    }

    /// No value is stale before so many milliseconds have passed, if ever.
    pub(super) fn stale_in(&mut self, ms: Option<u32>, now: Now) {
        self.stale_scan = ms.map(|ms| now.ms + u64::from(ms).max(STALE_SCAN_MS));
    }

    /// There are other points than when the table was searched, or other rules.
    pub(super) fn stale_soon(&mut self, now: Now) {
        let soon = now.ms + STALE_SCAN_MS;
        self.stale_scan = Some(self.stale_scan.map_or(soon, |at| at.min(soon)));
    }

    /// When the first report, snapshot or search is due. Reports wait for a link.
    pub(super) fn next(&self) -> Option<u64> {
        let first = |table: &Timetable| table.order.first().map(|(at, _)| *at);
        let reports = first(&self.reports).filter(|_| self.linked);
        let times = [reports, first(&self.snapshots), self.stale_scan];
        times.into_iter().flatten().min()
    }

    /// Whether the device's events are looked at with each tick.
    pub(super) fn set_events(&mut self, id: u32, open: bool) {
        if open {
            self.events.insert(id);
        } else {
            self.events.remove(&id);
        }
    }

    /// Devices whose events are to be looked at.
    pub(super) fn events(&self) -> Vec<u32> {
        self.events.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests;
