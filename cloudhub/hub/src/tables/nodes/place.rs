//! Whose a node's place is: one edge's at a time.
//!
//! An edge that comes back takes the place of its own former session, which may not
//! know yet that it has ended. Two edges with one certificate, a copied disk for
//! example, would take it from each other for ever, and each value and command would
//! go to the one that came last. So while the holder is heard of, another edge does
//! not get its place, and people are told.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use longshore_link::{Epoch, RefuseReason};
use tokio::sync::oneshot;

/// An edge says something every 10 s at least: one that was heard within this time is
/// there.
const ALIVE: Duration = Duration::from_secs(12);
/// So often within this time an edge takes the place of a session that was there, and
/// then it is taken for two. One on a line that breaks does it now and then.
const TAKEN: usize = 3;
const WITHIN: Duration = Duration::from_secs(60);
/// People are told of a second edge until it was not heard of for so long.
const TOLD_FOR: Duration = Duration::from_secs(600);

/// When a session was heard of last. Its clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    began: Instant,
    after_ms: Arc<AtomicU64>,
}

impl Heard {
    fn new(now: Instant) -> Self {
        Self {
            began: now,
            after_ms: Arc::default(),
        }
    }

    /// It was heard of now.
    pub(crate) fn note(&self, now: Instant) {
        let passed = now.saturating_duration_since(self.began).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        self.after_ms.store(passed, Ordering::Relaxed);
    }

    fn at(&self) -> Instant {
        self.began + Duration::from_millis(self.after_ms.load(Ordering::Relaxed))
    }
}

#[derive(Debug)]
struct Holder {
    id: u64,
    epoch: Epoch,
    heard: Heard,
    end: oneshot::Sender<RefuseReason>,
}

/// The place of a node.
#[derive(Debug, Default)]
pub(super) struct Place {
    holder: Option<Holder>,
    /// When it was taken from a session that was there.
    taken: VecDeque<Instant>,
    /// When a second edge was heard of last.
    rival: Option<Instant>,
}

impl Place {
    /// A session of the edge with this epoch wants it. None while another edge is
    /// there.
    pub(super) fn take(
        &mut self,
        id: u64,
        epoch: Epoch,
        now: Instant,
    ) -> Option<(Heard, oneshot::Receiver<RefuseReason>)> {
        if let Some(holder) = &self.holder
            && now.saturating_duration_since(holder.heard.at()) < ALIVE
        {
            while self.taken.front().is_some_and(|at| *at + WITHIN < now) {
                self.taken.pop_front();
            }
            if holder.epoch != epoch || self.taken.len() >= TAKEN {
                self.rival = Some(now);
                return None;
            }
            self.taken.push_back(now);
        }
        let (end, ended) = oneshot::channel();
        let heard = Heard::new(now);
        let holder = Holder {
            id,
            epoch,
            heard: heard.clone(),
            end,
        };
        if let Some(former) = self.holder.replace(holder) {
            // It may have ended by itself.
            let _ = former.end.send(RefuseReason::Replaced);
        }
        Some((heard, ended))
    }

    /// A session ends. True if it had the place.
    pub(super) fn leave(&mut self, id: u64) -> bool {
        self.holder.take_if(|holder| holder.id == id).is_some()
    }

    /// Whether an edge has it.
    pub(super) fn is_taken(&self) -> bool {
        self.holder.is_some()
    }

    /// Whether a second edge was heard of lately.
    pub(super) fn has_rival(&self, now: Instant) -> bool {
        self.rival.is_some_and(|at| now < at + TOLD_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Epoch = Epoch(1);
    const OTHER: Epoch = Epoch(2);

    #[test]
    fn another_edge_does_not_take_the_place_of_one_that_is_there() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut place = Place::default();
        let (heard, mut ended) = place.take(1, ONE, at(0)).unwrap();
        heard.note(at(10));
        assert!(place.take(2, OTHER, at(15)).is_none());
        assert!(ended.try_recv().is_err(), "the first one stays");
        assert!(place.has_rival(at(15)) && place.has_rival(at(600)));
        assert!(!place.has_rival(at(616)), "it was not heard of again");
        // One that is not heard any more has lost it: an edge with a new disk.
        assert!(place.take(3, OTHER, at(23)).is_some());
        assert_eq!(ended.try_recv(), Ok(RefuseReason::Replaced));
        assert!(!place.leave(1), "it is another's");
        assert!(place.leave(3) && !place.is_taken());
        assert!(place.take(4, ONE, at(24)).is_some());
    }

    #[test]
    fn an_edge_takes_the_place_of_its_own_session_but_two_copies_do_not_take_turns() {
        let start = Instant::now();
        let mut place = Place::default();
        let mut taken = 0;
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            if let Some((heard, _)) = place.take(second, ONE, now) {
                taken += 1;
                heard.note(now);
            } else {
                // The holder goes on.
                let holder = place.holder.as_ref().unwrap();
                holder.heard.note(now);
            }
        }
        assert_eq!(taken, 1 + TAKEN);
        assert!(place.has_rival(start + Duration::from_secs(60)));
    }
}
