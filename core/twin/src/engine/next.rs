//! When the engine has to look at the time again.
//!
//! Nothing here is polled: whatever waits for a time says for which. So a node
//! with nothing to do sleeps, and a battery lasts. What waits for something else
//! (a mapper, a reading, the disk) is looked at when that comes.

use super::{Engine, Now, fleet::Setup};

/// Pause before what somebody had no room for is offered again.
const AGAIN_MS: u64 = 50;

impl Engine {
    /// When [`Engine::tick`] has something to do again, as uptime, if nothing
    /// happens before. To be asked after a tick; what happens afterwards may make
    /// it sooner.
    pub fn next_due(&self, now: Now) -> Option<u64> {
        let again = now.ms + AGAIN_MS;
        let times = [
            self.due.next(),
            self.history.next(),
            self.links.next_outage(),
            self.next_configuration(again),
            self.next_of_desires(again, now),
            self.calls.next(),
            self.next_of_events(again),
            (!self.members.is_empty()).then_some(again),
            self.saves_at(),
        ];
        // What could have been done in the tick and was not waits for a moment.
        times
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.max(now.ms + 1))
    }

    /// Configurations that wait for their time; those that wait for others to end
    /// go with these.
    fn next_configuration(&self, again: u64) -> Option<u64> {
        let waits = |mapper: &usize| self.links.may_configure(*mapper);
        let queued = (0..self.links.len()).filter(waits);
        queued
            .flat_map(|mapper| self.links.queue_of(mapper))
            .filter_map(|id| match self.fleet.device_if_there(id)?.setup {
                Setup::Queued { not_before } => Some(not_before.max(again)),
                _ => None,
            })
            .min()
    }

    fn next_of_desires(&self, again: u64, now: Now) -> Option<u64> {
        let points = self.desires.unsettled().into_iter();
        points
            .filter_map(|id| {
                let point = self.fleet.point(id);
                let desired = point.desired.as_deref()?;
                self.fleet.device_if_there(point.device)?;
                let context = self.context(point.device, id, now);
                desired.due(&context).map(|at| at.max(again))
            })
            .min()
    }

    fn next_of_events(&self, again: u64) -> Option<u64> {
        let ids = self.due.events().into_iter();
        ids.filter_map(|id| {
            let behavior = self.fleet.device_if_there(id)?.behavior.as_ref()?;
            behavior
                .events
                .iter()
                .filter_map(|event| event.due(again))
                .min()
        })
        .min()
    }
}
