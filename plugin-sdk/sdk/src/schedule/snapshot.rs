//! Points that are read as one: a group of a device comes whole, with one
//! source time, or not at all.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use crate::{Planned, Protocol, Reason, Samples};

use super::machine::Machine;

/// Points of one device with the same group and interval.
pub(super) struct Snapshot {
    pub(super) name: Box<str>,
    pub(super) points: Vec<u32>,
}

/// The requests that read a set of points.
///
/// A group that one request covers stands in it among other points. One that
/// needs several has them for itself, one after the other: a run.
pub(super) struct Planning<P: Protocol> {
    pub(super) requests: Vec<Arc<Planned<P::Request>>>,
    pub(super) snapshots: Vec<Snapshot>,
    /// Where the requests of a snapshot stand that has them for itself.
    pub(super) runs: Vec<(usize, Range<usize>)>,
    /// The snapshot of each point that is in one, by the point.
    members: Vec<(u32, usize)>,
}

impl<P: Protocol> Planning<P> {
    /// Without groups.
    pub(super) fn plain(requests: Vec<Arc<Planned<P::Request>>>) -> Self {
        Self {
            requests,
            snapshots: Vec::new(),
            runs: Vec::new(),
            members: Vec::new(),
        }
    }

    /// The snapshot that a point belongs to.
    pub(super) fn snapshot_of(&self, point: u32) -> Option<usize> {
        let found = self.members.binary_search_by_key(&point, |(id, _)| *id);
        found.ok().map(|index| self.members[index].1)
    }

    /// The snapshot whose run the request belongs to.
    pub(super) fn run_of(&self, request: usize) -> Option<usize> {
        let mut runs = self.runs.iter();
        let found = runs.find(|(_, requests)| requests.contains(&request));
        found.map(|(snapshot, _)| *snapshot)
    }

    /// Where the run of a snapshot stands that has one.
    pub(super) fn run(&self, snapshot: usize) -> Option<Range<usize>> {
        let mut runs = self.runs.iter();
        let found = runs.find(|(of, _)| *of == snapshot);
        found.map(|(_, requests)| requests.clone())
    }
}

/// What there is of a snapshot while its requests are under way.
#[derive(Default)]
pub(super) struct Held {
    samples: Samples,
    /// Points whose request has ended.
    done: usize,
    /// The source time of the first request.
    time: Option<i64>,
    failed: Option<(Reason, String)>,
    /// It was read from its start once more.
    is_again: bool,
    is_told: bool,
}

impl Held {
    /// Whether some of its requests are behind it and some before.
    fn is_half(&self, of: &Snapshot) -> bool {
        self.done > 0 && self.done < of.points.len()
    }

    /// The first reason counts.
    fn spoil(&mut self, reason: Reason, message: &str) {
        self.failed
            .get_or_insert_with(|| (reason, message.to_owned()));
    }
}

/// The snapshots of one cycle.
#[derive(Default)]
pub(super) struct Snapshots(Vec<Held>);

impl Snapshots {
    pub(super) fn new(count: usize) -> Self {
        Self((0..count).map(|_| Held::default()).collect())
    }

    /// Takes the samples of a request out of `read`; what belongs to no
    /// snapshot goes to `free`. One bad value spoils its snapshot.
    pub(super) fn hold<P: Protocol>(
        &mut self,
        plan: &Planning<P>,
        planned: &[u32],
        read: &mut Samples,
        free: &mut Samples,
        counts: impl Fn(u32) -> bool,
    ) {
        for (index, held) in self.0.iter_mut().enumerate() {
            let is_member = |point: u32| plan.snapshot_of(point) == Some(index);
            let done = planned.iter().filter(|point| is_member(**point)).count();
            if done == 0 {
                continue;
            }
            held.done += done;
            if let Some((reason, message)) = read.first_bad(is_member) {
                held.spoil(reason, message);
            }
            held.samples.copy_where(read, is_member);
            held.time = held.time.or_else(|| held.samples.first_time());
        }
        free.append_where(read, |point| {
            plan.snapshot_of(point).is_none() && counts(point)
        });
    }

    /// The point's request has failed, and with it the whole snapshot.
    pub(super) fn fail(&mut self, snapshot: usize, reason: Reason, message: &str) {
        let held = &mut self.0[snapshot];
        held.done += 1;
        held.spoil(reason, message);
    }

    /// The snapshots that are half read: one, or those that share a request
    /// which was split.
    pub(super) fn half_read<P: Protocol>(&self, plan: &Planning<P>) -> impl Iterator<Item = usize> {
        let pairs = self.0.iter().zip(&plan.snapshots).enumerate();
        pairs.filter_map(|(index, (held, of))| held.is_half(of).then_some(index))
    }

    /// Whatever still comes, the snapshot is bad.
    pub(super) fn spoil(&mut self, snapshot: usize, reason: Reason, message: &str) {
        self.0[snapshot].spoil(reason, message);
    }

    /// Forgets what there is of a snapshot, for it to be read from its start;
    /// `false` when that was done before.
    pub(super) fn start_again(&mut self, snapshot: usize) -> bool {
        let held = &mut self.0[snapshot];
        if held.is_again {
            return false;
        }
        *held = Held {
            is_again: true,
            ..Held::default()
        };
        true
    }

    /// Nothing of a snapshot will be usable.
    pub(super) fn give_up<P: Protocol>(
        &mut self,
        plan: &Planning<P>,
        snapshot: usize,
        reason: Reason,
        message: &str,
    ) {
        self.fail(snapshot, reason, message);
        self.0[snapshot].done = plan.snapshots[snapshot].points.len();
    }

    /// Gives out the snapshots that are whole, or `all` that there is at the
    /// end of the cycle.
    pub(super) fn give<P: Protocol>(
        &mut self,
        plan: &Planning<P>,
        all: bool,
        now_ns: i64,
        samples: &mut Samples,
        counts: impl Fn(u32) -> bool,
    ) {
        for (held, of) in self.0.iter_mut().zip(&plan.snapshots) {
            if held.is_told || (held.done < of.points.len() && !all) {
                continue;
            }
            held.is_told = true;
            held.done = of.points.len();
            if held.samples.len() < of.points.len() {
                held.spoil(Reason::Decode, "the mapper has not read all of it");
            }
            match &held.failed {
                Some((reason, message)) => {
                    let message = format!("group `{}`: {message}", of.name);
                    for point in of.points.iter().filter(|point| counts(**point)) {
                        samples.push_bad(*point, *reason, &message, now_ns);
                    }
                }
                None => {
                    if let Some(time) = held.time {
                        held.samples.set_times(time);
                    }
                    samples.append_where(&mut held.samples, &counts);
                }
            }
        }
    }
}

impl<P: Protocol> Machine<P> {
    /// The requests that read the points, groups as snapshots.
    pub(super) fn plan(&self, index: usize, points: &[u32]) -> Planning<P> {
        let snapshots = self.snapshots_of(index, points);
        if snapshots.is_empty() {
            return Planning::plain(self.requests(index, points));
        }
        let mut members: Vec<(u32, usize)> = snapshots
            .iter()
            .enumerate()
            .flat_map(|(index, of)| of.points.iter().map(move |point| (*point, index)))
            .collect();
        members.sort_unstable();
        let mut planning = Planning {
            requests: Vec::new(),
            snapshots,
            runs: Vec::new(),
            members,
        };
        // Groups that one request covers cost nothing. Taking one away that
        // needs more may tear another one apart, so this is done until all
        // that is left is whole.
        let mut is_apart = vec![false; planning.snapshots.len()];
        loop {
            let together: Vec<u32> = points
                .iter()
                .filter(|point| planning.snapshot_of(**point).is_none_or(|of| !is_apart[of]))
                .copied()
                .collect();
            planning.requests = self.requests(index, &together);
            let torn = planning.torn();
            if torn.is_empty() {
                break;
            }
            for snapshot in torn {
                is_apart[snapshot] = true;
            }
        }
        for snapshot in (0..is_apart.len()).filter(|snapshot| is_apart[*snapshot]) {
            let start = planning.requests.len();
            let own = self.requests(index, &planning.snapshots[snapshot].points);
            planning.requests.extend(own);
            let run = start..planning.requests.len();
            planning.runs.push((snapshot, run));
        }
        planning
    }

    /// The groups among the points, each of two points at least.
    fn snapshots_of(&self, index: usize, points: &[u32]) -> Vec<Snapshot> {
        if self.units[index]
            .as_ref()
            .is_none_or(|unit| !unit.is_grouped)
        {
            return Vec::new();
        }
        let mut groups: BTreeMap<(u32, &str, Option<Duration>), Vec<u32>> = BTreeMap::new();
        for id in points {
            let slot = self.points.get(id).and_then(|place| {
                let device = self.devices.get(&place.device)?;
                Some((device.id, device.slots.get(place.slot as usize)?))
            });
            if let Some((device, slot)) = slot
                && let Some(name) = &slot.group
            {
                let key = (device, &**name, slot.interval);
                groups.entry(key).or_default().push(*id);
            }
        }
        let whole = groups.into_iter().filter(|(_, points)| points.len() > 1);
        whole
            .map(|((_, name, _), points)| Snapshot {
                name: name.into(),
                points,
            })
            .collect()
    }
}

impl<P: Protocol> Planning<P> {
    /// The snapshots that stand in more than one request.
    fn torn(&self) -> Vec<usize> {
        let mut seen: Vec<Option<usize>> = vec![None; self.snapshots.len()];
        let mut torn = Vec::new();
        for (request, planned) in self.requests.iter().enumerate() {
            for snapshot in planned.points.iter().filter_map(|id| self.snapshot_of(*id)) {
                match seen[snapshot] {
                    Some(other) if other != request => torn.push(snapshot),
                    _ => seen[snapshot] = Some(request),
                }
            }
        }
        torn.dedup();
        torn
    }

    /// Whether these points are some of a snapshot, but not all of it.
    pub(super) fn tears(&self, points: &[u32]) -> bool {
        points.iter().any(|point| {
            self.snapshot_of(*point).is_some_and(|of| {
                let members = &self.snapshots[of].points;
                !members.iter().all(|member| points.contains(member))
            })
        })
    }
}
