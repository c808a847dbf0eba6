//! Who is at the door: connections that have not said who they are, and logins
//! that failed. Without a clock and without sockets.
//!
//! Where more wait than there is room for, the oldest of the address that has most
//! gives way: who means well has said who it is by then. A login that fails costs
//! its sender time, and only so many of one address and user are looked at
//! meanwhile; the others hear that the broker is busy, after the same time.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use slab::Slab;

/// Logins of one address and user that have failed and not been told yet.
const FAILING: usize = 4;

/// A visitor, by its place.
pub(crate) type VisitorId = usize;

#[derive(Debug)]
struct Visitor {
    address: IpAddr,
    came: u64,
}

/// All who wait.
#[derive(Debug)]
pub(crate) struct Door {
    room: usize,
    pause: Duration,
    visitors: Slab<Visitor>,
    count: u64,
    failing: HashMap<(IpAddr, Arc<str>), Vec<Instant>>,
}

impl Door {
    pub(crate) fn new(room: usize, pause: Duration) -> Self {
        Self {
            room: room.max(1),
            pause,
            visitors: Slab::new(),
            count: 0,
            failing: HashMap::new(),
        }
    }

    /// A connection was accepted; who has to go for it.
    pub(crate) fn came(&mut self, address: IpAddr) -> (VisitorId, Option<VisitorId>) {
        let full = self.visitors.len() >= self.room;
        let gone = full.then(|| self.turn_away()).flatten();
        self.count += 1;
        let came = self.count;
        (self.visitors.insert(Visitor { address, came }), gone)
    }

    /// It has said who it is, or went.
    pub(crate) fn left(&mut self, visitor: VisitorId) {
        self.visitors.try_remove(visitor);
    }

    /// One has to go.
    pub(crate) fn turn_away(&mut self) -> Option<VisitorId> {
        let gone = self.least()?;
        self.visitors.try_remove(gone).map(|_| gone)
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.visitors.len()
    }

    fn least(&self) -> Option<VisitorId> {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for (_, visitor) in &self.visitors {
            *counts.entry(visitor.address).or_default() += 1;
        }
        let (address, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        let of = self.visitors.iter();
        of.filter(|(_, visitor)| visitor.address == address)
            .min_by_key(|(_, visitor)| visitor.came)
            .map(|(id, _)| id)
    }

    /// Whether a login is looked at now.
    pub(crate) fn may_try(&mut self, address: IpAddr, user: &Arc<str>, now: Instant) -> bool {
        self.failing.retain(|_, until| {
            until.retain(|until| *until > now);
            !until.is_empty()
        });
        self.failing
            .get(&(address, Arc::clone(user)))
            .is_none_or(|until| until.len() < FAILING)
    }

    /// A login failed: when it is told.
    pub(crate) fn failed(&mut self, address: IpAddr, user: &Arc<str>, now: Instant) -> Instant {
        let until = now + self.pause;
        // As many as wait at the door, and no more, are remembered.
        if self.failing.len() < self.room * 4 {
            let known = self.failing.entry((address, Arc::clone(user)));
            known.or_default().push(until);
        }
        until
    }

    pub(crate) fn pause(&self) -> Duration {
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_the_address_that_has_most_gives_way() {
        let mut door = Door::new(3, Duration::from_secs(1));
        let (many, few) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let (first, _) = door.came(few);
        let (second, _) = door.came(many);
        let (third, gone) = door.came(many);
        assert_eq!(gone, None);
        let (_, gone) = door.came(many);
        assert_eq!(gone, Some(second));
        let (_, gone) = door.came(few);
        assert_eq!(gone, Some(third));
        door.left(first);
        assert_eq!(door.waiting(), 2);
    }

    #[test]
    fn logins_that_fail_are_few_at_a_time_and_hold_up_nobody_else() {
        let mut door = Door::new(8, Duration::from_secs(1));
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let (ada, bob): (Arc<str>, Arc<str>) = ("ada".into(), "bob".into());
        let now = Instant::now();
        for _ in 0..FAILING {
            assert!(door.may_try(here, &ada, now));
            assert_eq!(door.failed(here, &ada, now), now + Duration::from_secs(1));
        }
        assert!(!door.may_try(here, &ada, now));
        assert!(door.may_try(here, &bob, now) && door.may_try(there, &ada, now));
        assert!(door.may_try(here, &ada, now + Duration::from_secs(1)));
    }
}
