//! One reading of a set of points: the planned requests that are still to do.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{Planned, Protocol, Reason};

use super::{snapshot::Snapshots, unit::Plan};

/// Why a cycle runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// These groups, by their intervals, were due.
    Due(Vec<(Duration, Instant)>),
    /// Points that were never read.
    Fresh,
    /// Does the unit answer again?
    Probe,
}

/// Requests as the protocol planned them.
pub(super) type Requests<P> = Vec<Arc<Planned<<P as Protocol>::Request>>>;

/// A request of a cycle.
pub(super) struct Piece<P: Protocol> {
    pub(super) planned: Arc<Planned<P::Request>>,
    /// The snapshot in whose run it stands.
    pub(super) run: Option<usize>,
    /// Where it stands in a split, when it is part of one.
    half: Option<Half>,
    /// It failed once and is tried again.
    pub(super) again: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    First(usize),
    Second(usize),
}

/// What a success tells about a request that was refused before.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Learned {
    Nothing,
    /// Both halves were fine: the device minds what lies before this point.
    CutBefore(u32),
}

pub(super) struct Cycle<P: Protocol> {
    pub(super) unit: usize,
    pub(super) purpose: Purpose,
    /// The earliest goes first.
    pub(super) deadline: Instant,
    /// The machine's count of configurations when this cycle was planned:
    /// what was configured later is not what this cycle reads.
    pub(super) epoch: u64,
    pub(super) plan: Plan<P>,
    /// The groups that are read as one.
    pub(super) snapshots: Snapshots,
    next: usize,
    /// Parts of refused requests.
    pieces: VecDeque<Piece<P>>,
    /// Failed once; tried again after all others.
    later: VecDeque<Piece<P>>,
    /// For each split whether its first half was fine.
    splits: Vec<bool>,
}

impl<P: Protocol> Cycle<P> {
    pub(super) fn new(
        unit: usize,
        purpose: Purpose,
        deadline: Instant,
        epoch: u64,
        plan: Plan<P>,
    ) -> Self {
        Self {
            unit,
            purpose,
            deadline,
            epoch,
            snapshots: Snapshots::new(plan.snapshots.len()),
            plan,
            next: 0,
            pieces: VecDeque::new(),
            later: VecDeque::new(),
            splits: Vec::new(),
        }
    }

    /// Takes the next request.
    pub(super) fn take(&mut self) -> Option<Piece<P>> {
        if let Some(piece) = self.pieces.pop_front() {
            return Some(piece);
        }
        let Some(planned) = self.plan.requests.get(self.next) else {
            return self.later.pop_front();
        };
        self.next += 1;
        Some(Piece {
            planned: Arc::clone(planned),
            run: self.plan.run_of(self.next - 1),
            half: None,
            again: false,
        })
    }

    pub(super) fn is_done(&self) -> bool {
        self.pieces.is_empty() && self.later.is_empty() && self.next >= self.plan.requests.len()
    }

    /// Whether a group is half read: the cycle goes on before all else.
    pub(super) fn is_inside(&self) -> bool {
        self.snapshots.half_read(&self.plan).next().is_some()
    }

    /// A request of a group that has them for itself brought nothing usable:
    /// the group is read from its start once more, and left out when that was
    /// done before.
    pub(super) fn run_failed(&mut self, snapshot: usize, reason: Reason, message: &str) {
        let Some(run) = self.plan.run(snapshot) else {
            return;
        };
        self.pieces.clear();
        if self.snapshots.start_again(snapshot) {
            self.next = run.start;
        } else {
            self.snapshots
                .give_up(&self.plan, snapshot, reason, message);
            self.next = run.end;
        }
    }

    /// The connection is another one from now on. What was read on the old one
    /// and what is still to come are not one reading.
    pub(super) fn reconnects(&mut self) {
        let half: Vec<_> = self.snapshots.half_read(&self.plan).collect();
        for snapshot in half {
            let message = "the connection was lost while it was read";
            if self.plan.run(snapshot).is_some() {
                self.run_failed(snapshot, Reason::Line, message);
            } else {
                self.snapshots.spoil(snapshot, Reason::Line, message);
            }
        }
    }

    /// Puts a request back to be tried once more: after all others, but for
    /// a part of a group, which stays beside the rest of it.
    pub(super) fn put_back(&mut self, mut piece: Piece<P>) {
        piece.again = true;
        if self.plan.tears(&piece.planned.points) {
            self.pieces.push_front(piece);
        } else {
            self.later.push_back(piece);
        }
    }

    /// Replaces a refused request by those of its two halves.
    pub(super) fn split(&mut self, piece: &Piece<P>, halves: [Requests<P>; 2]) {
        let split = halves.iter().all(|half| half.len() == 1).then(|| {
            self.splits.push(false);
            self.splits.len() - 1
        });
        let [first, second] = halves;
        let first = first
            .into_iter()
            .map(|planned| (planned, split.map(Half::First)));
        let second = second
            .into_iter()
            .map(|planned| (planned, split.map(Half::Second)));
        let pieces: Vec<_> = first.chain(second).collect();
        for (planned, half) in pieces.into_iter().rev() {
            self.pieces.push_front(Piece {
                planned,
                run: piece.run,
                half,
                again: false,
            });
        }
    }

    /// Takes note of a success.
    pub(super) fn succeeded(&mut self, piece: &Piece<P>) -> Learned {
        match piece.half {
            Some(Half::First(split)) => self.splits[split] = true,
            Some(Half::Second(split)) if self.splits[split] => {
                if let Some(point) = piece.planned.points.first() {
                    return Learned::CutBefore(*point);
                }
            }
            _ => {}
        }
        Learned::Nothing
    }
}
