//! Requests that wait, a queue for each client, who take turns.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// Requests of one client that may wait, …
pub(super) const CLIENT: usize = 64;
/// … and their bytes.
const CLIENT_BYTES: usize = 1 << 20;
/// Requests of all that may wait; who has none waiting may still ask.
const ALL: usize = 1024;
/// … and their bytes.
const ALL_BYTES: usize = 8 << 20;
/// Requests of one client that are carried out at a time, in the order in which they
/// came.
const AT_ONCE: usize = 32;

#[derive(Debug)]
struct Client<T> {
    waiting: VecDeque<(T, usize)>,
    bytes: usize,
    running: usize,
}

impl<T> Default for Client<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            bytes: 0,
            running: 0,
        }
    }
}

/// The queues.
#[derive(Debug)]
pub(super) struct Turns<T> {
    clients: HashMap<Arc<str>, Client<T>>,
    /// Those that have something waiting, in the order of their turns.
    order: VecDeque<Arc<str>>,
    count: usize,
    bytes: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self {
            clients: HashMap::new(),
            order: VecDeque::new(),
            count: 0,
            bytes: 0,
        }
    }
}

impl<T> Turns<T> {
    /// Puts a request of `size` bytes into its client's queue; it comes back when
    /// there is no room.
    pub(super) fn put(&mut self, client: Arc<str>, request: T, size: usize) -> Result<(), T> {
        let known = self.clients.entry(Arc::clone(&client)).or_default();
        let own = known.waiting.len();
        let full = own >= CLIENT
            || (own > 0 && (self.count >= ALL || known.bytes + size > CLIENT_BYTES))
            || self.bytes + size > ALL_BYTES;
        if full {
            self.forget(&client);
            return Err(request);
        }
        known.waiting.push_back((request, size));
        known.bytes += size;
        self.count += 1;
        self.bytes += size;
        if own == 0 {
            self.order.push_back(client);
        }
        Ok(())
    }

    /// The next request, of whose turn it is. It runs until [`Turns::done`].
    pub(super) fn next(&mut self) -> Option<(Arc<str>, T)> {
        for _ in 0..self.order.len() {
            let client = self.order.pop_front()?;
            let Some(known) = self.clients.get_mut(&client) else {
                continue;
            };
            if known.running >= AT_ONCE {
                self.order.push_back(client);
                continue;
            }
            let Some((request, size)) = known.waiting.pop_front() else {
                continue;
            };
            known.running += 1;
            known.bytes -= size;
            self.count -= 1;
            self.bytes -= size;
            if !known.waiting.is_empty() {
                self.order.push_back(Arc::clone(&client));
            }
            return Some((client, request));
        }
        None
    }

    /// A request of this client is answered.
    pub(super) fn done(&mut self, client: &Arc<str>) {
        if let Some(known) = self.clients.get_mut(client) {
            known.running = known.running.saturating_sub(1);
        }
        self.forget(client);
    }

    /// Nothing is kept of a client that has nothing here.
    fn forget(&mut self, client: &Arc<str>) {
        let idle = |known: &Client<T>| known.waiting.is_empty() && known.running == 0;
        if self.clients.get(client).is_some_and(idle) {
            self.clients.remove(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_little_has_its_turn_beside_who_asks_much() {
        let mut turns = Turns::default();
        let (much, little): (Arc<str>, Arc<str>) = ("much".into(), "little".into());
        let taken = (0..1000).filter(|number| turns.put(much.clone(), *number, 10).is_ok());
        assert_eq!(taken.count(), CLIENT);
        assert!(turns.put(little.clone(), 7, 10).is_ok());
        let first: Vec<_> = std::iter::repeat_with(|| turns.next()).take(3).collect();
        assert_eq!(
            first,
            [
                Some((much.clone(), 0)),
                Some((little.clone(), 7)),
                Some((much.clone(), 1))
            ]
        );
        // One client does not take all that run at a time.
        let running = 2 + std::iter::from_fn(|| turns.next()).count();
        assert_eq!(running, AT_ONCE);
        turns.done(&much);
        assert_eq!(turns.next(), Some((much.clone(), AT_ONCE)));
        turns.done(&little);
        assert!(!turns.clients.contains_key(&little));
    }

    #[test]
    fn many_clients_do_not_keep_one_more_from_asking() {
        let mut turns = Turns::default();
        for number in 0..ALL {
            let client = Arc::from(format!("{}", number % 20));
            let _ = turns.put(client, number, 10);
        }
        assert_eq!(turns.count, ALL);
        assert_eq!(turns.put("0".into(), 1, 10), Err(1));
        assert_eq!(turns.put("new".into(), 1, 10), Ok(()));
        assert_eq!(turns.put("huge".into(), 1, ALL_BYTES), Err(1));
        assert!(!turns.clients.contains_key("huge"));
    }
}
