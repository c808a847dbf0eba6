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
        self.snapshots.is_inside(&self.plan)
    }

    /// A request of a group brought nothing: the group is read from its start
    /// once more; `false` when it was before.
    pub(super) fn start_again(&mut self, snapshot: usize) -> bool {
        let again = self.snapshots.start_again(snapshot);
        if again {
            self.pieces.clear();
            self.next = self.plan.run(snapshot).start;
        }
        again
    }

    /// Leaves a group out.
    pub(super) fn give_up(&mut self, snapshot: usize, reason: Reason, message: &str) {
        self.snapshots
            .give_up(&self.plan, snapshot, reason, message);
        self.pieces.clear();
        self.next = self.plan.run(snapshot).end;
    }

    /// Puts a request back to be tried once more.
    pub(super) fn put_back(&mut self, mut piece: Piece<P>) {
        piece.again = true;
        self.later.push_back(piece);
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
