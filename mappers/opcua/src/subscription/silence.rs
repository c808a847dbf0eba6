//! Which subscriptions are published, and which are ours at all.
//!
//! That a server answers says nothing of what it publishes: each subscription
//! has a clock of its own, which nothing but its own notifications and
//! keep-alives sets back (Part 4, section 5.13.1.2).

use std::time::{Duration, Instant};

use super::{State, Subscription, Subscriptions};

/// A subscription that is published no more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Silent {
    pub(crate) id: u32,
    /// For how long.
    pub(crate) time: Duration,
    /// It stands for one that was silent too: to make it anew does not help.
    pub(crate) again: bool,
}

impl Subscription {
    /// When it should have been heard of at the latest.
    fn limit(&self, margin: Duration) -> Instant {
        self.heard + self.keep_alive + margin.max(self.keep_alive)
    }
}

impl Subscriptions {
    /// Something was published.
    pub(crate) fn published(&mut self, id: u32, now: Instant) {
        if let Some(one) = self.all.iter_mut().find(|one| one.id == id) {
            one.heard = now;
            self.renewed.remove(&one.publishing_ms);
        }
    }

    /// Nobody took what came for so long.
    pub(crate) fn unattended(&mut self, time: Duration) {
        for one in &mut self.all {
            one.heard += time;
        }
    }

    /// When the first of them will have been silent for too long.
    pub(crate) fn silent_at(&self, margin: Duration) -> Option<Instant> {
        self.all.iter().map(|one| one.limit(margin)).min()
    }

    /// Those that are silent for too long.
    pub(crate) fn silent(&self, now: Instant, margin: Duration) -> Vec<Silent> {
        let silent = self.all.iter().filter(|one| one.limit(margin) <= now);
        silent
            .map(|one| Silent {
                id: one.id,
                time: now.saturating_duration_since(one.heard),
                again: self.renewed.contains(&one.publishing_ms),
            })
            .collect()
    }

    /// Makes a silent subscription anew. Gives its points, whose values nobody
    /// knows now.
    pub(crate) fn renew(&mut self, id: u32, now: Instant) -> Vec<u32> {
        let points = self.points_of(id);
        if let Some(one) = self.all.iter().find(|one| one.id == id) {
            self.renewed.insert(one.publishing_ms);
        }
        self.drop_subscription(id, now);
        points
    }

    /// The points that a subscription watches.
    pub(crate) fn points_of(&self, id: u32) -> Vec<u32> {
        let watches = |state: &State| matches!(state, State::Watched { subscription, .. } if *subscription == id);
        let items = self.items.iter().filter(|(_, item)| watches(&item.state));
        items.map(|(point, _)| *point).collect()
    }

    /// The server has handed a subscription of the former session over, and is
    /// to send its values.
    pub(crate) fn taken_over(&mut self, id: u32) {
        if let Some(one) = self.all.iter_mut().find(|one| one.id == id) {
            one.unproven = true;
        }
    }

    /// Values have come of a subscription: whether it is ours. It is not when
    /// it was taken over and the first of them are of nobody here.
    pub(crate) fn is_ours(&mut self, id: u32, handles: impl IntoIterator<Item = u32>) -> bool {
        let known = handles
            .into_iter()
            .any(|handle| self.handles.contains_key(&handle));
        match self.all.iter_mut().find(|one| one.id == id) {
            Some(one) if one.unproven => {
                one.unproven = !known;
                known
            }
            _ => true,
        }
    }

    /// Taken over, and none of their values has come in time.
    pub(crate) fn take_unproven(&mut self, now: Instant) -> Vec<u32> {
        if self.unheard_until.is_none_or(|until| until > now) {
            return Vec::new();
        }
        let unproven = self.all.iter_mut().filter(|one| one.unproven);
        let ids: Vec<_> = unproven
            .map(|one| {
                one.unproven = false;
                one.id
            })
            .collect();
        ids.into_iter()
            .filter(|id| !self.points_of(*id).is_empty())
            .collect()
    }
}
