//! The dense table of points. A point's id is its index, so that a reading
//! finds its place without a search.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use longshore_types::Quality;

use crate::{
    engine::Now,
    point::{FREE, Point},
    rules::Rules,
};

/// An id of a removed point is not given out again for so long, since readings
/// of the former point may still be on their way.
pub(super) const REUSE_MS: u64 = 60_000;
/// So many different rules are kept before those that nobody uses are dropped.
const RULES: usize = 10_000;

/// The table. A point once made stays in it, in use or free, so that an id that
/// was given out is always an index.
#[derive(Default)]
pub(super) struct Points {
    rows: Vec<Point>,
    /// Uptime of each point's last reading, apart from the rows so that the
    /// search for stale ones stays in the cache.
    seen: Vec<u32>,
    /// After how long each is stale.
    stale_after: Vec<u32>,
    /// Free ones, and from when on they may be used again.
    free: VecDeque<(u32, u64)>,
    /// Rules that several points have.
    rules: HashMap<String, Arc<Rules>>,
}

impl Points {
    /// Points in use.
    pub(super) fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    #[inline]
    pub(super) fn get(&self, id: u32) -> Option<&Point> {
        self.rows.get(id as usize)
    }

    /// Of an id that the table gave out.
    #[inline]
    pub(super) fn row(&self, id: u32) -> &Point {
        &self.rows[id as usize]
    }

    /// Of an id that the table gave out.
    #[inline]
    pub(super) fn row_mut(&mut self, id: u32) -> &mut Point {
        &mut self.rows[id as usize]
    }

    /// A reading came.
    #[inline]
    pub(super) fn read(&mut self, id: u32, now_ms: u32) -> &mut Point {
        self.seen[id as usize] = now_ms;
        &mut self.rows[id as usize]
    }

    /// Whether a reading came after this time.
    pub(super) fn is_read_since(&self, id: u32, since_ms: u32) -> bool {
        self.seen[id as usize].wrapping_sub(since_ms) as i32 > 0
    }

    /// From now on the point is stale after the time that its rules say.
    pub(super) fn set_staleness(&mut self, id: u32, pushes: bool) {
        self.stale_after[id as usize] = self.rows[id as usize].rules.stale_ms(pushes);
    }

    /// Good ones that were not read for too long.
    pub(super) fn stale(&self, now_ms: u32) -> Vec<u32> {
        let times = self.seen.iter().zip(&self.stale_after).enumerate();
        times
            .filter(|(id, (seen, after))| {
                now_ms.wrapping_sub(**seen) > **after
                    && self.rows[*id].quality == Quality::Good
                    && !self.rows[*id].write_only
            })
            .map(|(id, _)| id as u32)
            .collect()
    }

    /// In how many milliseconds a point may be stale at the soonest, whatever is
    /// read until then; none where no point ever is. Those that were found by
    /// [`Points::stale`] have their whole time again: they are good at their next
    /// reading.
    pub(super) fn next_stale(&self, now_ms: u32) -> Option<u32> {
        let times = self.seen.iter().zip(&self.stale_after);
        let known = times.filter(|(_, after)| **after != u32::MAX);
        known
            .map(|(seen, after)| {
                let passed = now_ms.wrapping_sub(*seen);
                // One more: it is stale when more time has passed.
                after
                    .checked_sub(passed)
                    .unwrap_or(*after)
                    .saturating_add(1)
            })
            .min()
    }

    pub(super) fn add(
        &mut self,
        device: u32,
        fragment: Arc<str>,
        rules: Arc<Rules>,
        now: Now,
    ) -> u32 {
        // Set once it is known how its values come.
        let stale = u32::MAX;
        let point = Point::with_fragment(device, fragment, rules);
        let seen = now.ms as u32;
        if let Some((id, from)) = self.free.front().copied()
            && from <= now.ms
        {
            self.free.pop_front();
            self.rows[id as usize] = point;
            self.seen[id as usize] = seen;
            self.stale_after[id as usize] = stale;
            return id;
        }
        self.rows.push(point);
        self.seen.push(seen);
        self.stale_after.push(stale);
        (self.rows.len() - 1) as u32
    }

    pub(super) fn remove(&mut self, id: u32, now: Now) {
        let row = &mut self.rows[id as usize];
        let (rules, fragment) = (row.rules.clone(), row.fragment.clone());
        *row = Point::with_fragment(FREE, fragment, rules);
        self.stale_after[id as usize] = u32::MAX;
        self.free.push_back((id, now.ms + REUSE_MS));
    }

    pub(super) fn change_rules(&mut self, id: u32, rules: Arc<Rules>) {
        let row = &mut self.rows[id as usize];
        if row.rules == rules {
            return;
        }
        if row.rules.value_type == rules.value_type
            && rules.broken.is_none()
            && row.rules.broken.is_none()
        {
            row.rules = rules;
            return;
        }
        // Another type: what it was says nothing about what it will be.
        let name = row.fragment.clone();
        let desired = row.desired.take();
        let mut fresh = Point::with_fragment(row.device, name, rules);
        fresh.desired = desired;
        *row = fresh;
    }

    /// The same rules as somebody else's, if somebody has them.
    pub(super) fn intern(&mut self, rules: Rules) -> Arc<Rules> {
        // Debug text as key: rules hold floating point numbers, which have no hash.
        let key = format!("{rules:?}");
        if self.rules.len() > RULES {
            self.rules.retain(|_, rules| Arc::strong_count(rules) > 1);
        }
        self.rules
            .entry(key)
            .or_insert_with(|| Arc::new(rules))
            .clone()
    }

    /// Gives up room for points that did not come.
    pub(super) fn shrink(&mut self) {
        self.rows.shrink_to_fit();
        self.seen.shrink_to_fit();
        self.stale_after.shrink_to_fit();
    }
}
