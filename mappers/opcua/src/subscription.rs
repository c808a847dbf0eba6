//! What the server watches for us. Pure: who is to be watched, what the server
//! has taken, what is tried again and when.
//!
//! A point is an [`Item`] from the moment that it is wanted. One that the
//! server refuses waits with growing pauses, alone: the others know nothing of
//! it. Each attempt has a handle of its own, so that an answer that comes late
//! belongs to nobody.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map::RandomState},
    hash::{BuildHasher, Hasher},
    time::{Duration, Instant},
};

use opcua::types::SubscriptionAcknowledgement;

use crate::point::Point;

/// Pause before a refused node is asked for again.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest such pause: a node that comes back is seen half a minute later.
const RETRY_LAST: Duration = Duration::from_secs(30);
/// Pause after a value that nobody can read: it comes at the cost of the others.
pub(crate) const REST: Duration = Duration::from_secs(600);

/// How a point is watched. Items with another key are made anew.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Watching {
    pub(crate) field: Point,
    pub(crate) publishing_ms: u32,
    pub(crate) sampling_ms: u32,
    pub(crate) queue_size: u32,
}

/// A point that is to be watched, in one attempt.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) point: u32,
    pub(crate) handle: u32,
    pub(crate) watching: Watching,
}

#[derive(Debug)]
struct Item {
    watching: Watching,
    state: State,
    /// The pause before the next attempt, should this one fail.
    pause: Duration,
    /// Who ordered it has heard that it was ordered. What comes before that is of
    /// nobody, and a value that stands still comes once.
    is_told: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Wanted; the next attempt is then.
    Waiting(Instant),
    /// Asked for; the answer makes it `Watched`, `Waiting` or `Polled`.
    Asked(u32),
    /// The server watches it until it says otherwise.
    Watched {
        handle: u32,
        subscription: u32,
        id: u32,
    },
    /// The server watches no more; it is read, next at this time.
    Polled(Instant),
}

/// One subscription at the server.
#[derive(Debug)]
struct Subscription {
    id: u32,
    publishing_ms: u32,
    keep_alive: Duration,
    /// When it was last published, if only to say that it is alive. Time in
    /// which nobody listened does not count.
    heard: Instant,
    /// Taken over from a former session, and none of our values has come since:
    /// perhaps it is somebody else's.
    unproven: bool,
    /// Of the last notification.
    sequence: u32,
    acknowledge: Vec<u32>,
}

/// All of one session's.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    all: Vec<Subscription>,
    /// By point.
    items: BTreeMap<u32, Item>,
    /// The points of handles.
    handles: HashMap<u32, u32>,
    timers: BTreeSet<(Instant, u32)>,
    next_handle: u32,
    /// Publishing intervals whose subscription was made anew because it was silent.
    renewed: HashSet<u32>,
    /// Points of a session that was picked up again and that nothing was heard of since.
    unheard: HashSet<u32>,
    unheard_until: Option<Instant>,
}

/// What is due.
#[derive(Debug, Default)]
pub(crate) struct Due {
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) polls: Vec<(u32, Point)>,
}

impl Default for Subscriptions {
    /// Handles begin anywhere: a notification that is meant for another session
    /// finds no point of this one.
    fn default() -> Self {
        Self {
            all: Vec::new(),
            items: BTreeMap::new(),
            handles: HashMap::new(),
            timers: BTreeSet::new(),
            next_handle: RandomState::new().build_hasher().finish() as u32,
            renewed: HashSet::new(),
            unheard: HashSet::new(),
            unheard_until: None,
        }
    }
}

impl Subscriptions {
    /// Wants exactly these points. Gives what the server is to forget, by subscription.
    pub(crate) fn replace(
        &mut self,
        wanted: impl Iterator<Item = (u32, Watching)>,
        now: Instant,
    ) -> HashMap<u32, Vec<u32>> {
        let wanted: HashMap<u32, Watching> = wanted.collect();
        let gone: Vec<u32> = self
            .items
            .iter()
            .filter(|(point, item)| wanted.get(point) != Some(&item.watching))
            .map(|(point, _)| *point)
            .collect();
        let mut forget: HashMap<u32, Vec<u32>> = HashMap::new();
        for point in gone {
            if let Some((subscription, id)) = self.remove(point) {
                forget.entry(subscription).or_default().push(id);
            }
        }
        let mut new: Vec<_> = wanted
            .into_iter()
            .filter(|(point, _)| !self.items.contains_key(point))
            .collect();
        // The order of the configuration, also at the server.
        new.sort_by_key(|(point, _)| *point);
        for (point, watching) in new {
            let item = Item {
                watching,
                state: State::Waiting(now),
                pause: RETRY_FIRST,
                is_told: false,
            };
            self.items.insert(point, item);
            self.timers.insert((now, point));
        }
        forget
    }

    /// Subscriptions that watch nothing any more; they are forgotten.
    pub(crate) fn take_empty(&mut self) -> Vec<u32> {
        let used: HashSet<u32> = self
            .items
            .values()
            .map(|item| item.watching.publishing_ms)
            .collect();
        let (keep, empty): (Vec<_>, Vec<_>) = std::mem::take(&mut self.all)
            .into_iter()
            .partition(|one| used.contains(&one.publishing_ms));
        self.all = keep;
        empty.into_iter().map(|one| one.id).collect()
    }

    /// What is due now: attempts of one publishing interval, and reads. Ask
    /// again until there is nothing.
    pub(crate) fn due(&mut self, now: Instant) -> Due {
        let mut due = Due::default();
        let mut later = Vec::new();
        while let Some((at, point)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            let Some(item) = self.items.get_mut(&point) else {
                continue;
            };
            match item.state {
                State::Waiting(_) => {
                    let interval = item.watching.publishing_ms;
                    let first = due
                        .attempts
                        .first()
                        .map(|first: &Attempt| first.watching.publishing_ms);
                    if first.is_some_and(|first| first != interval) {
                        later.push((at, point));
                        continue;
                    }
                    self.next_handle = self.next_handle.wrapping_add(1);
                    let handle = self.next_handle;
                    item.state = State::Asked(handle);
                    self.handles.insert(handle, point);
                    due.attempts.push(Attempt {
                        point,
                        handle,
                        watching: item.watching.clone(),
                    });
                }
                State::Polled(_) => {
                    let interval = u64::from(item.watching.publishing_ms);
                    let next = now + Duration::from_millis(interval);
                    item.state = State::Polled(next);
                    self.timers.insert((next, point));
                    due.polls.push((point, item.watching.field.clone()));
                }
                State::Asked(_) | State::Watched { .. } => {}
            }
        }
        self.timers.extend(later);
        due
    }

    /// The server watches the item; `false` when nobody wants it any more.
    pub(crate) fn watched(&mut self, handle: u32, subscription: u32, id: u32) -> bool {
        let Some(item) = self.asked(handle) else {
            return false;
        };
        item.state = State::Watched {
            handle,
            subscription,
            id,
        };
        true
    }

    /// The server does not watch the item: it waits, longer each time.
    pub(crate) fn refused(&mut self, handle: u32, now: Instant) -> bool {
        let Some(point) = self.handles.get(&handle).copied() else {
            return false;
        };
        self.retry(point, now);
        true
    }

    /// The server watches no more items: this one is read.
    pub(crate) fn poll_instead(&mut self, handle: u32, now: Instant) {
        let point = self.handles.remove(&handle);
        if let Some((point, item)) =
            point.and_then(|point| Some((point, self.items.get_mut(&point)?)))
        {
            item.state = State::Polled(now);
            self.timers.insert((now, point));
        }
    }

    /// A watched node is gone from the server: it is looked for again. Gives
    /// what the server is to forget.
    pub(crate) fn lost(&mut self, point: u32, now: Instant) -> Option<(u32, u32)> {
        let item = self.items.get(&point)?;
        let State::Watched {
            subscription, id, ..
        } = item.state
        else {
            return None;
        };
        self.retry(point, now);
        Some((subscription, id))
    }

    /// The server watches a value that nobody can read: it is let go, and looked for
    /// again much later. Gives what the server is to forget.
    pub(crate) fn rest(&mut self, point: u32, now: Instant) -> Option<(u32, u32)> {
        self.items.get_mut(&point)?.pause = REST;
        self.lost(point, now)
    }

    /// A value has come: should it be lost again, the pauses begin anew.
    pub(crate) fn heard(&mut self, point: u32) {
        if let Some(item) = self.items.get_mut(&point) {
            item.pause = RETRY_FIRST;
        }
        if !self.unheard.is_empty() {
            self.unheard.remove(&point);
        }
    }

    fn asked(&mut self, handle: u32) -> Option<&mut Item> {
        let item = self.items.get_mut(self.handles.get(&handle)?)?;
        (item.state == State::Asked(handle)).then_some(item)
    }

    fn retry(&mut self, point: u32, now: Instant) {
        let Some(item) = self.items.get_mut(&point) else {
            return;
        };
        if let State::Asked(handle) | State::Watched { handle, .. } = item.state {
            self.handles.remove(&handle);
        }
        let at = now + item.pause;
        item.pause = (item.pause * 2).min(RETRY_LAST);
        item.state = State::Waiting(at);
        self.timers.insert((at, point));
    }

    fn remove(&mut self, point: u32) -> Option<(u32, u32)> {
        let item = self.items.remove(&point)?;
        self.unheard.remove(&point);
        match item.state {
            State::Waiting(at) | State::Polled(at) => {
                self.timers.remove(&(at, point));
                None
            }
            State::Asked(handle) => {
                self.handles.remove(&handle);
                None
            }
            State::Watched {
                handle,
                subscription,
                id,
            } => {
                self.handles.remove(&handle);
                Some((subscription, id))
            }
        }
    }

    /// The point of a notification, and what it reads.
    pub(crate) fn point_of(&self, handle: u32) -> Option<(u32, &Point)> {
        let point = *self.handles.get(&handle)?;
        Some((point, &self.items.get(&point)?.watching.field))
    }

    /// The next watched points behind `after`, and from the first on again.
    pub(crate) fn some_watched(&self, after: u32, most: usize) -> Vec<(u32, Point)> {
        let is_watched = |item: &Item| matches!(item.state, State::Watched { .. });
        let behind = self.items.range(after.saturating_add(1)..);
        let before = self.items.range(..=after);
        behind
            .chain(before)
            .filter(|(_, item)| is_watched(item))
            .take(most)
            .map(|(point, item)| (*point, item.watching.field.clone()))
            .collect()
    }

    /// Points that are watched since an order that failed: their first values may
    /// have come before anybody took them.
    pub(crate) fn untold(&self) -> Vec<(u32, Point)> {
        let is_early = |item: &Item| !item.is_told && matches!(item.state, State::Watched { .. });
        let early = self.items.iter().filter(|(_, item)| is_early(item));
        early
            .map(|(point, item)| (*point, item.watching.field.clone()))
            .collect()
    }

    /// The order for all points has succeeded.
    pub(crate) fn told(&mut self) {
        for item in self.items.values_mut() {
            item.is_told = true;
        }
    }

    /// Whether a point still is what it was when it was asked for.
    pub(crate) fn is_still(&self, point: u32, field: &Point) -> bool {
        let item = self.items.get(&point);
        item.is_some_and(|item| item.watching.field == *field)
    }

    /// The subscription of a publishing interval.
    pub(crate) fn subscription(&self, publishing_ms: u32) -> Option<u32> {
        let found = self
            .all
            .iter()
            .find(|one| one.publishing_ms == publishing_ms);
        found.map(|one| one.id)
    }

    /// The server has made a subscription.
    pub(crate) fn add_subscription(
        &mut self,
        id: u32,
        publishing_ms: u32,
        keep_alive: Duration,
        now: Instant,
    ) {
        self.all.push(Subscription {
            id,
            publishing_ms,
            keep_alive,
            heard: now,
            unproven: false,
            sequence: 0,
            acknowledge: Vec::new(),
        });
    }

    /// The server has dropped a subscription: its items are made anew.
    pub(crate) fn drop_subscription(&mut self, gone: u32, now: Instant) {
        self.all.retain(|one| one.id != gone);
        for (point, item) in &mut self.items {
            let State::Watched {
                handle,
                subscription,
                ..
            } = item.state
            else {
                continue;
            };
            if subscription == gone {
                self.handles.remove(&handle);
                item.state = State::Waiting(now);
                self.timers.insert((now, *point));
                self.unheard.remove(point);
            }
        }
    }

    /// The ids of all subscriptions.
    pub(crate) fn server_ids(&self) -> Vec<u32> {
        self.all.iter().map(|one| one.id).collect()
    }

    /// Subscriptions with the sequence number of their last notification.
    pub(crate) fn sequences(&self) -> Vec<(u32, u32)> {
        self.all.iter().map(|one| (one.id, one.sequence)).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The longest time in which each subscription says that it is alive.
    pub(crate) fn keep_alive(&self) -> Duration {
        let longest = self.all.iter().map(|one| one.keep_alive).max();
        longest.unwrap_or_default()
    }

    /// Whether the server still has this one.
    pub(crate) fn has(&self, id: u32) -> bool {
        self.all.iter().any(|one| one.id == id)
    }

    /// Notes the sequence number of a notification; gives those that were
    /// missed before it, which the server may still have.
    pub(crate) fn sequence(&mut self, id: u32, sequence: u32, has_data: bool) -> Vec<u32> {
        let Some(one) = self.all.iter_mut().find(|one| one.id == id) else {
            return Vec::new();
        };
        // A keep-alive names the number of the next notification (Part 4, section 5.13.1.2).
        let missed = match (one.sequence, sequence) {
            (0, _) => Vec::new(),
            (last, now) if now > last && now - last <= 100 => (last + 1..now).collect(),
            _ => Vec::new(),
        };
        if has_data {
            one.sequence = sequence;
            one.acknowledge.push(sequence);
        } else if sequence > 0 && one.sequence != 0 {
            one.sequence = one.sequence.max(sequence - 1);
        }
        missed
    }

    /// Notes that a notification that was missed has come after all.
    pub(crate) fn republished(&mut self, id: u32, sequence: u32) {
        if let Some(one) = self.all.iter_mut().find(|one| one.id == id) {
            one.sequence = one.sequence.max(sequence);
            one.acknowledge.push(sequence);
        }
    }

    /// What the server need not keep any more.
    pub(crate) fn take_acknowledgements(&mut self) -> Vec<SubscriptionAcknowledgement> {
        let mut all = Vec::new();
        for one in &mut self.all {
            all.extend(one.acknowledge.drain(..).map(|sequence_number| {
                SubscriptionAcknowledgement {
                    subscription_id: one.id,
                    sequence_number,
                }
            }));
        }
        all
    }

    /// The session was picked up again: what was asked for gets no answer, and
    /// whoever is silent until `until` is read once.
    pub(crate) fn resumed(&mut self, now: Instant, until: Instant) {
        for (point, item) in &mut self.items {
            match item.state {
                State::Asked(handle) => {
                    self.handles.remove(&handle);
                    item.state = State::Waiting(now);
                    self.timers.insert((now, *point));
                }
                State::Watched { .. } => {
                    self.unheard.insert(*point);
                }
                State::Waiting(_) | State::Polled(_) => {}
            }
        }
        self.unheard_until = (!self.unheard.is_empty()).then_some(until);
        for one in &mut self.all {
            one.heard = now;
        }
    }

    /// Whoever was silent for so long that it must be read, once.
    pub(crate) fn take_unheard(&mut self, now: Instant) -> Vec<(u32, Point)> {
        if self.unheard_until.is_none_or(|until| until > now) {
            return Vec::new();
        }
        self.unheard_until = None;
        let silent = std::mem::take(&mut self.unheard);
        let field = |point: u32| Some((point, self.items.get(&point)?.watching.field.clone()));
        silent.into_iter().filter_map(field).collect()
    }

    /// When something is due next.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _)| *at);
        timer.into_iter().chain(self.unheard_until).min()
    }
}

mod silence;

#[cfg(test)]
mod tests;
