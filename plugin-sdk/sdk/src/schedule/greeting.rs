//! What a device gets after each connecting, before anything is read or watched.
//!
//! A unit is greeted when its connection is new, when it was configured, and when it
//! was offline. One that is offline and only watched is greeted by its probe, since the
//! watch alone would find a sensor that was not told to send.

use std::sync::Arc;

use crate::{Level, Protocol, RequestError};

use super::{
    emitter::Output,
    machine::{Flight, Job, Machine, Outcome},
    unit::{Device, Health, Now},
};

impl<P: Protocol> Machine<P> {
    /// All of the unit's devices are greeted (again).
    pub(super) fn greet(&mut self, index: usize) {
        let Some(unit) = &mut self.units[index] else {
            return;
        };
        unit.greetings.clear();
        for id in &unit.devices {
            let count = self
                .devices
                .get(id)
                .map_or(0, |device| device.connect.len());
            unit.greetings.extend((0..count).map(|at| (*id, at)));
        }
    }

    /// A device was configured: it is greeted, unless it was before and gets the same.
    pub(super) fn greet_device(
        &mut self,
        index: usize,
        device: &Device<P>,
        former: Option<&Device<P>>,
    ) {
        let same = |former: &Device<P>| {
            let pairs = |of: &Device<P>| -> Vec<_> {
                let pairs = of.connect.iter();
                let named =
                    pairs.map(|(slot, value)| (of.slots[*slot].name.clone(), value.clone()));
                named.collect()
            };
            former.unit == device.unit && pairs(former) == pairs(device)
        };
        let Some(unit) = &mut self.units[index] else {
            return;
        };
        let waits = unit.greetings.iter().any(|(of, _)| *of == device.id);
        unit.greetings.retain(|(of, _)| *of != device.id);
        if waits || !former.is_some_and(same) {
            let places = 0..device.connect.len();
            unit.greetings.extend(places.map(|at| (device.id, at)));
        }
    }

    /// The next write to a unit that is not offline.
    pub(super) fn next_greeting(&mut self) -> Option<Job<P>> {
        let waits = |index: &usize| {
            let unit = self.units[*index].as_ref();
            unit.is_some_and(|unit| !unit.greetings.is_empty() && !unit.is_offline())
        };
        let index = (0..self.units.len()).find(waits)?;
        self.greeting_of(index)
    }

    /// The next write to this unit.
    pub(super) fn greeting_of(&mut self, index: usize) -> Option<Job<P>> {
        let unit = self.units[index].as_mut()?;
        while let Some((id, at)) = unit.greetings.front().copied() {
            let device = self.devices.get(&id);
            let write = device.and_then(|device| Some((device, device.connect.get(at)?)));
            let Some((device, (slot, value))) = write else {
                unit.greetings.pop_front();
                continue;
            };
            self.flight = Flight::Greeting {
                unit: index,
                device: id,
                place: at,
            };
            return Some(Job::Write {
                unit: unit.address.clone(),
                device: Arc::clone(device),
                slot: *slot,
                value: value.clone(),
            });
        }
        None
    }

    /// The end of a greeting.
    pub(super) fn greeted(
        &mut self,
        (index, id, place): (usize, u32, usize),
        result: Result<Outcome, RequestError>,
        now: Now,
        out: &mut Output,
    ) {
        let Some(Some(unit)) = self.units.get_mut(index) else {
            return;
        };
        let is_first = unit.greetings.front() == Some(&(id, place));
        let refused = match result {
            Ok(_) => None,
            Err(
                error @ (RequestError::Refused(_)
                | RequestError::RefusedTogether(_)
                | RequestError::InvalidValue(_)),
            ) => Some(error),
            Err(error) => {
                if !self.useless_answer(index, &error, now, out) {
                    self.unqueue_watch(index);
                }
                return;
            }
        };
        if is_first {
            unit.greetings.pop_front();
        }
        if let Some(error) = &refused {
            let name = self.devices.get(&id).map_or("?", |device| &device.name);
            let message = format!("device `{name}`: connect[{place}] was not written: {error}");
            out.logs.push((Level::Warn, message));
        }
        if let Some(unit) = &mut self.units[index]
            && let Health::Offline(outage) = &mut unit.health
            && unit.greetings.is_empty()
        {
            outage.probing = unit.watch.queued;
        }
        // Where it only sends by itself, its first sample tells that it is there.
        let is_offline = (self.units[index].as_ref()).is_some_and(|unit| unit.is_offline());
        if !is_offline && !matches!(refused, Some(RequestError::InvalidValue(_))) {
            self.heard(index, now, out);
        }
    }
}
