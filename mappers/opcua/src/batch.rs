//! Requests of many operations, as large as the server takes them.
//!
//! A server may tell how much it takes, tell nothing, or refuse less than it tells;
//! some count all requests under way together. And one operation may spoil a request
//! for its neighbours. So what is refused as a whole is asked again in halves, down to
//! one. What was learnt stands as long as the connection.

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use crate::{subscription::REST, wire::WireError};

/// Single operations that are refused one after the other, with none that is taken:
/// then it is the server and not the operation.
const HOPELESS: usize = 16;

/// How many operations a server takes in one request.
#[derive(Debug)]
pub(crate) struct Bound(AtomicUsize);

impl Bound {
    pub(crate) fn new(most: usize) -> Self {
        Self(AtomicUsize::new(most.max(1)))
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn lower(&self, most: usize) {
        self.0.fetch_min(most.max(1), Ordering::Relaxed);
    }
}

/// Whether requests may be under way beside one another.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    in_turn: AtomicBool,
    turn: tokio::sync::Mutex<()>,
}

impl Turns {
    /// From now on one after the other.
    fn take_turns(&self) {
        self.in_turn.store(true, Ordering::Relaxed);
    }

    fn in_turn(&self) -> bool {
        self.in_turn.load(Ordering::Relaxed)
    }
}

/// Operations that spoilt their request; they are asked for alone.
#[derive(Debug)]
pub(crate) struct Apart<K>(Mutex<HashMap<K, Spoilt>>);

#[derive(Debug, Clone)]
struct Spoilt {
    error: WireError,
    /// Not asked for before; `None` where to ask costs nothing.
    until: Option<Instant>,
}

impl<K> Default for Apart<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Apart<K> {
    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<K, Spoilt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    pub(crate) fn has(&self, key: &K) -> bool {
        self.all().contains_key(key)
    }

    /// Why it is not asked for now.
    pub(crate) fn rests(&self, key: &K, now: Instant) -> Option<WireError> {
        let all = self.all();
        let spoilt = all.get(key)?;
        let rests = spoilt.until.is_some_and(|until| until > now);
        rests.then(|| spoilt.error.clone())
    }

    /// What came of it, alone.
    pub(crate) fn note<R>(&self, key: K, result: &Result<R, WireError>, now: Instant) {
        match result {
            Ok(_) => drop(self.all().remove(&key)),
            Err(error) => {
                let until = error.is_unreadable().then(|| now + REST);
                let error = error.clone();
                self.all().insert(key, Spoilt { error, until });
            }
        }
    }
}

/// Asks for all operations. One result for each, in their order: what was refused
/// alone has its error.
pub(crate) async fn ask_all<T: Clone, R, F: Future<Output = Result<Vec<R>, WireError>>>(
    bound: &Bound,
    turns: &Turns,
    items: &[T],
    ask: impl Fn(Vec<T>) -> F,
) -> Result<Vec<Result<R, WireError>>, WireError> {
    let chunks: Vec<_> = items.chunks(bound.get()).collect();
    let mut first = Vec::new();
    if !turns.in_turn() {
        let asked = chunks.iter().map(|chunk| ask(chunk.to_vec()));
        first = futures::future::join_all(asked).await;
    }
    let mut first = first.into_iter();
    let mut all = Vec::with_capacity(items.len());
    let mut tally = Tally {
        hopeless: HOPELESS.min(items.len()),
        ..Tally::default()
    };
    for chunk in chunks {
        let refused = match first.next() {
            Some(Ok(results)) => {
                tally.taken += results.len();
                all.extend(results.into_iter().map(Ok));
                continue;
            }
            Some(Err(error)) if !error.is_of_size() => return Err(error),
            Some(Err(error)) => {
                // Perhaps it was too much only together with what else was under way.
                turns.take_turns();
                error.is_unreadable().then_some(error)
            }
            None => None,
        };
        let mut halves = Halves {
            turns,
            ask: &ask,
            tally: &mut tally,
            all: &mut all,
        };
        if let Some(most) = halves.divide(chunk, refused).await? {
            bound.lower(most);
        }
    }
    Ok(all)
}

/// What came of operations so far.
#[derive(Default)]
struct Tally {
    taken: usize,
    refused_alone: usize,
    hopeless: usize,
}

struct Halves<'a, R, A> {
    turns: &'a Turns,
    ask: &'a A,
    tally: &'a mut Tally,
    all: &'a mut Vec<Result<R, WireError>>,
}

impl<R, A> Halves<'_, R, A> {
    /// Asks in halves, from the left; `refused` is why the whole was refused already.
    /// Gives how many the server takes, where that was what it was about.
    async fn divide<T: Clone, F>(
        &mut self,
        chunk: &[T],
        refused: Option<WireError>,
    ) -> Result<Option<usize>, WireError>
    where
        A: Fn(Vec<T>) -> F,
        F: Future<Output = Result<Vec<R>, WireError>>,
    {
        let mut waiting = vec![(chunk, refused)];
        let (mut largest, mut alone, mut was_halved) = (0, 0, false);
        while let Some((part, refused)) = waiting.pop() {
            let error = match refused {
                Some(error) => error,
                None => {
                    let turn = self.turns.turn.lock().await;
                    let answer = (self.ask)(part.to_vec()).await;
                    drop(turn);
                    match answer {
                        Ok(results) => {
                            largest = largest.max(part.len());
                            self.tally.taken += results.len();
                            self.all.extend(results.into_iter().map(Ok));
                            continue;
                        }
                        Err(error) if !error.is_of_size() => return Err(error),
                        Err(error) => error,
                    }
                }
            };
            if let [_] = part {
                alone += 1;
                // Where one cannot be read, the server has answered all the same.
                if !error.is_unreadable() {
                    self.tally.refused_alone += 1;
                    if self.tally.taken == 0 && self.tally.refused_alone >= self.tally.hopeless {
                        return Err(error);
                    }
                }
                self.all.push(Err(error));
                continue;
            }
            was_halved = true;
            let (left, right) = part.split_at(part.len() / 2);
            waiting.extend([(right, None), (left, None)]);
        }
        // Where one alone was refused, it was the one and not how many they were.
        Ok((was_halved && alone == 0).then_some(largest))
    }
}

#[cfg(test)]
mod tests;
