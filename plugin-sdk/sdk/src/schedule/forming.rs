//! What is due, as cycles of planned requests.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{PlanPoint, Planned, Protocol};

use super::{
    cycle::{Cycle, Purpose},
    machine::{Machine, earlier},
    snapshot::Planning,
    unit::{Health, Now},
};

impl<P: Protocol> Machine<P> {
    /// Turns what is due into cycles.
    pub(super) fn form_cycles(&mut self, now: Now) {
        let mut soonest: Option<Instant> = None;
        for index in 0..self.units.len() {
            let Some(unit) = &mut self.units[index] else {
                continue;
            };
            unit.forgets(now.instant);
            if unit.dirty {
                unit.regroup(&self.devices, self.base, now.instant);
            }
            match &mut unit.health {
                Health::Offline(outage) if outage.by_line || outage.probing => continue,
                Health::Offline(outage) if outage.probe_at > now.instant => {
                    soonest = earlier(soonest, Some(outage.probe_at));
                    continue;
                }
                Health::Offline(outage) if !unit.groups.is_empty() => {
                    outage.probing = true;
                    self.form_probe(index, now);
                    continue;
                }
                Health::Offline(outage) => {
                    // Nothing is polled there. What it sends is asked for
                    // anew, or is awaited, or the next command will tell.
                    outage.probing = unit.watch.stale;
                    if unit.watch.stale {
                        self.queue_watch(index);
                    }
                    continue;
                }
                Health::Unknown | Health::Online { .. } => {}
            }
            let told_at = unit.watch.at;
            if unit.watch.stale && told_at <= now.instant {
                self.queue_watch(index);
            } else if unit.watch.stale {
                soonest = earlier(soonest, Some(told_at));
            }
            let Some(unit) = &mut self.units[index] else {
                continue;
            };
            if !unit.fresh.is_empty() {
                let fresh = std::mem::take(&mut unit.fresh);
                let plan = Arc::new(self.plan(index, &fresh));
                self.cycles.push(Cycle::new(
                    index,
                    Purpose::Fresh,
                    now.instant,
                    self.epoch,
                    plan,
                ));
            }
            soonest = earlier(soonest, self.form_due(index, now));
        }
        self.next_due = soonest;
    }

    /// One cycle for all groups of the unit that are due; gives when the next one is.
    fn form_due(&mut self, index: usize, now: Now) -> Option<Instant> {
        let unit = self.units[index].as_mut()?;
        let mut key: Vec<u16> = Vec::new();
        let mut due: Vec<(Duration, Instant)> = Vec::new();
        let mut soonest = None;
        let mut deadline: Option<Instant> = None;
        for (position, group) in unit
            .groups
            .iter_mut()
            .enumerate()
            .filter(|(_, group)| !group.reading)
        {
            if group.due <= now.instant {
                group.reading = true;
                key.push(position as u16);
                due.push((group.interval, group.due));
                deadline = earlier(deadline, Some(group.due + group.interval));
            } else {
                soonest = earlier(soonest, Some(group.due));
            }
        }
        if let Some(deadline) = deadline {
            let plan = unit.plan(&key);
            let plan = plan.unwrap_or_else(|| {
                let points = self.units[index]
                    .iter()
                    .flat_map(|unit| &unit.groups)
                    .enumerate();
                let points: Vec<u32> = points
                    .filter(|(position, _)| key.contains(&(*position as u16)))
                    .flat_map(|(_, group)| group.points.iter().copied())
                    .collect();
                let plan = Arc::new(self.plan(index, &points));
                if let Some(unit) = &mut self.units[index] {
                    unit.keep_plan(&key, Arc::clone(&plan));
                }
                plan
            });
            self.cycles.push(Cycle::new(
                index,
                Purpose::Due(due),
                deadline,
                self.epoch,
                plan,
            ));
        }
        soonest
    }

    /// One point is enough to know whether the unit answers.
    fn form_probe(&mut self, index: usize, now: Now) {
        let Some(unit) = &self.units[index] else {
            return;
        };
        let point = unit
            .groups
            .iter()
            .find_map(|group| group.points.first().copied());
        let points: Vec<u32> = point.into_iter().collect();
        let plan = Arc::new(Planning::plain(self.requests(index, &points)));
        self.cycles.push(Cycle::new(
            index,
            Purpose::Probe,
            now.instant,
            self.epoch,
            plan,
        ));
    }

    /// The requests that read the points, as the protocol plans them.
    pub(super) fn requests(&self, index: usize, points: &[u32]) -> Vec<Arc<Planned<P::Request>>> {
        let Some(unit) = &self.units[index] else {
            return Vec::new();
        };
        let points: Vec<_> = points
            .iter()
            .filter_map(|id| {
                let place = self.points.get(id)?;
                let slot = self
                    .devices
                    .get(&place.device)?
                    .slots
                    .get(place.slot as usize)?;
                Some(PlanPoint {
                    id: *id,
                    point: &slot.point,
                    alone: unit.alone.contains(id),
                    cut: unit.cuts.contains(id),
                })
            })
            .collect();
        if points.is_empty() {
            return Vec::new();
        }
        self.protocol
            .plan(&self.bus, &unit.address, &points)
            .into_iter()
            .map(Arc::new)
            .collect()
    }
}
