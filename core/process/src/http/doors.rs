//! Who is let in at a port, and who must go. Pure: no socket, no clock.
//!
//! A connection comes as a *stranger*. It becomes *known* when it shows a
//! certificate or a token that holds. Strangers have a part of the room only; the
//! rest is kept for those who are known. Since nobody can be known before the
//! handshake, a port that is full of strangers still lets the next one in: the one
//! that has waited longest goes for it. So silent connections, however many, keep
//! nobody out who has something to say.
//!
//! # Guarantees
//!
//! - Never more connections than [`Limits::connections`], strangers than
//!   [`Limits::strangers`], strangers of one address than [`Limits::address`],
//!   connections of one identity than [`Limits::identity`].
//! - Whoever waits without a request longer than its time is told to go
//!   ([`Doors::overdue`]); who has a request under way never is. How long a request
//!   may take is for whoever serves it.
//! - A stranger that is younger than [`Limits::young`] and at its handshake is never
//!   displaced, so that a crowd of honest clients gets through theirs one after the
//!   other. Who has shaken hands, showed nothing and asks for nothing makes room.
//!
//! An address of IPv6 stands for its network of 64 bits, which is what one
//! customer has.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};

/// What connections may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at one time.
    pub connections: usize,
    /// Of them, those that have not shown who they are.
    pub strangers: usize,
    /// Of the strangers, those from one address.
    pub address: usize,
    /// Connections that showed the same identity.
    pub identity: usize,
    /// A stranger goes when it waited so long: for its handshake, or for a request.
    pub stranger_wait: Duration,
    /// Whoever is known goes when it had no request for so long.
    pub known_wait: Duration,
    /// Before that age a stranger does not have to make room.
    pub young: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            strangers: 1024,
            address: 256,
            identity: 512,
            stranger_wait: Duration::from_secs(10),
            // As the API server of Kubernetes has it.
            known_wait: Duration::from_secs(90),
            young: Duration::from_millis(500),
        }
    }
}

/// One connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What becomes of somebody who knocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knock {
    /// It may come in.
    In(Ticket),
    /// It may come in, and the other one goes for it.
    Instead {
        /// Who comes.
        ticket: Ticket,
        /// Who goes; it has left already, as far as the doors are concerned.
        of: Ticket,
    },
    /// There is no room.
    Refused(Full),
}

/// Which limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// [`Limits::connections`]
    #[error("all connections are in use")]
    Connections,
    /// [`Limits::strangers`]
    #[error("too many connections wait for their handshake")]
    Strangers,
    /// [`Limits::address`]
    #[error("too many connections of this address wait for their handshake")]
    Address,
}

/// What follows when somebody shows who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Welcome {
    /// It may stay.
    Stays,
    /// It may stay, and an idle connection of the same identity goes for it.
    Instead(Ticket),
    /// All connections of this identity are busy: it must go.
    Goes,
}

#[derive(Debug)]
struct Guest {
    block: IpAddr,
    /// Who it is; none for a stranger.
    who: Option<Arc<str>>,
    /// Requests under way.
    busy: usize,
    /// Since when it waits, while none is.
    since: Instant,
    /// Its handshake is over.
    shook: bool,
}

/// The machine.
#[derive(Debug)]
pub struct Doors {
    limits: Limits,
    next: u64,
    guests: HashMap<Ticket, Guest>,
    strangers: usize,
    by_address: HashMap<IpAddr, usize>,
    by_identity: HashMap<Arc<str>, usize>,
    /// Strangers and known ones that wait, those that wait longest first.
    waiting: [BTreeSet<(Instant, Ticket)>; 2],
}

const STRANGERS: usize = 0;
const KNOWN: usize = 1;

impl Doors {
    /// Nobody is in.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            next: 0,
            guests: HashMap::new(),
            strangers: 0,
            by_address: HashMap::new(),
            by_identity: HashMap::new(),
            waiting: [BTreeSet::new(), BTreeSet::new()],
        }
    }

    /// How many are in, and how many of them are strangers.
    pub fn count(&self) -> (usize, usize) {
        (self.guests.len(), self.strangers)
    }

    /// When the next one should be accepted: later than `now` while nobody could
    /// make room for it. Until then the kernel's queue holds it.
    pub fn ready(&self, now: Instant) -> Instant {
        if self.strangers < self.limits.strangers && self.guests.len() < self.limits.connections {
            return now;
        }
        if self.oldest(STRANGERS, now, |_| true).is_some() {
            return now;
        }
        let oldest = self.waiting[STRANGERS].first();
        let by_age = oldest.map(|(since, _)| *since + self.limits.young);
        if self.guests.len() >= self.limits.connections && !self.waiting[KNOWN].is_empty() {
            return now;
        }
        // Where nobody waits, whoever leaves wakes the driver.
        by_age.unwrap_or(now + self.limits.stranger_wait).max(now)
    }

    /// Somebody connects.
    pub fn knock(&mut self, address: IpAddr, now: Instant) -> Knock {
        let block = block(address);
        let of_address = self.by_address.get(&block).copied().unwrap_or_default();
        let goes = if of_address >= self.limits.address {
            match self.oldest(STRANGERS, now, |guest| guest.block == block) {
                None => return Knock::Refused(Full::Address),
                some => some,
            }
        } else if self.strangers >= self.limits.strangers {
            match self.oldest(STRANGERS, now, |_| true) {
                None => return Knock::Refused(Full::Strangers),
                some => some,
            }
        } else if self.guests.len() >= self.limits.connections {
            let stranger = self.oldest(STRANGERS, now, |_| true);
            match stranger.or_else(|| self.oldest(KNOWN, now, |_| true)) {
                None => return Knock::Refused(Full::Connections),
                some => some,
            }
        } else {
            None
        };
        if let Some(of) = goes {
            self.left(of);
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        let guest = Guest {
            block,
            who: None,
            busy: 0,
            since: now,
            shook: false,
        };
        self.guests.insert(ticket, guest);
        self.strangers += 1;
        *self.by_address.entry(block).or_default() += 1;
        self.waiting[STRANGERS].insert((now, ticket));
        goes.map_or(Knock::In(ticket), |of| Knock::Instead { ticket, of })
    }

    /// Who has waited longest of those that may be displaced.
    fn oldest(&self, of: usize, now: Instant, is: impl Fn(&Guest) -> bool) -> Option<Ticket> {
        let may_go =
            |guest: &Guest| of == KNOWN || guest.shook || now >= guest.since + self.limits.young;
        let mut waiting = self.waiting[of].iter().map(|(_, ticket)| *ticket);
        waiting.find(|ticket| {
            let guest = self.guests.get(ticket);
            guest.is_some_and(|guest| may_go(guest) && is(guest))
        })
    }

    /// A stranger's handshake is over, and it has shown nothing.
    pub fn shook(&mut self, ticket: Ticket) {
        if let Some(guest) = self.guests.get_mut(&ticket) {
            guest.shook = true;
        }
    }

    /// A stranger has shown who it is.
    pub fn known(&mut self, ticket: Ticket, who: &str, now: Instant) -> Welcome {
        let Some(guest) = self.guests.get(&ticket).filter(|guest| guest.who.is_none()) else {
            // It was displaced meanwhile and will hear of it, or is known already.
            return Welcome::Stays;
        };
        let (busy, since, block) = (guest.busy, guest.since, guest.block);
        let of_identity = self.by_identity.get(who).copied().unwrap_or_default();
        let mut welcome = Welcome::Stays;
        if of_identity >= self.limits.identity {
            let same = |guest: &Guest| guest.who.as_deref() == Some(who);
            let Some(goes) = self.oldest(KNOWN, now, same) else {
                return Welcome::Goes;
            };
            self.left(goes);
            welcome = Welcome::Instead(goes);
        }
        self.strangers -= 1;
        less(&mut self.by_address, &block);
        let who: Arc<str> = who.into();
        *self.by_identity.entry(Arc::clone(&who)).or_default() += 1;
        if busy == 0 {
            self.waiting[STRANGERS].remove(&(since, ticket));
            self.waiting[KNOWN].insert((now, ticket));
        }
        if let Some(guest) = self.guests.get_mut(&ticket) {
            guest.who = Some(who);
            guest.since = now;
        }
        welcome
    }

    /// A request begins.
    pub fn begins(&mut self, ticket: Ticket) {
        let Some(guest) = self.guests.get_mut(&ticket) else {
            return;
        };
        guest.busy += 1;
        if guest.busy == 1 {
            self.waiting[usize::from(guest.who.is_some())].remove(&(guest.since, ticket));
        }
    }

    /// A request has ended.
    pub fn ends(&mut self, ticket: Ticket, now: Instant) {
        let guest = self.guests.get_mut(&ticket);
        let Some(guest) = guest.filter(|guest| guest.busy > 0) else {
            return;
        };
        guest.busy -= 1;
        if guest.busy == 0 {
            guest.since = now;
            self.waiting[usize::from(guest.who.is_some())].insert((now, ticket));
        }
    }

    /// A connection has ended. Doing it twice does nothing.
    pub fn left(&mut self, ticket: Ticket) {
        let Some(guest) = self.guests.remove(&ticket) else {
            return;
        };
        self.waiting[usize::from(guest.who.is_some())].remove(&(guest.since, ticket));
        match guest.who {
            Some(who) => less(&mut self.by_identity, &who),
            None => {
                self.strangers -= 1;
                less(&mut self.by_address, &guest.block);
            }
        }
    }

    /// Those whose time is over; they have left, as far as the doors are concerned.
    pub fn overdue(&mut self, now: Instant) -> Vec<Ticket> {
        let mut over = Vec::new();
        for (waiting, time) in self.waiting.iter().zip(self.times()) {
            let late = waiting.iter().take_while(|(since, _)| *since + time <= now);
            over.extend(late.map(|(_, ticket)| *ticket));
        }
        over.iter().for_each(|ticket| self.left(*ticket));
        over
    }

    /// When the next one will be overdue, if nothing happens.
    pub fn next_overdue(&self) -> Option<Instant> {
        let firsts = self.waiting.iter().zip(self.times());
        firsts
            .filter_map(|(waiting, time)| Some(waiting.first()?.0 + time))
            .min()
    }

    fn times(&self) -> [Duration; 2] {
        [self.limits.stranger_wait, self.limits.known_wait]
    }
}

fn less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests;
