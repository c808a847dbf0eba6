//! Commands as they come: configurations, removals, and what waits for its turn.

use std::{sync::Arc, time::Instant};

use crate::{DeviceState, Protocol, Reason, Status};

use super::{
    emitter::Output,
    machine::{
        BusCommand, BusCommandKind, EAGER, Flight, Link, Machine, Place, WAITING, Waiting, complete,
    },
    unit::{Device, Health, Now, Outage, Unit},
};

impl<P: Protocol> Machine<P> {
    pub(super) fn command(&mut self, command: BusCommand<P>, now: Now, out: &mut Output) {
        let BusCommand {
            token,
            deadline,
            device,
            kind,
        } = command;
        let (point, value) = match kind {
            BusCommandKind::Configure { device, message } => {
                self.configure(device, now, out);
                return complete(out, token, Status::Ok, message);
            }
            BusCommandKind::Remove => {
                let name = self.remove(device);
                for queue in [&mut self.writes, &mut self.reads] {
                    queue.retain(|waiting| {
                        if waiting.device == device {
                            let message = format!("device `{name}` was removed");
                            complete(out, waiting.token, Status::InvalidArgument, message);
                        }
                        waiting.device != device
                    });
                }
                return complete(out, token, Status::Ok, "");
            }
            BusCommandKind::Read { point } => (point, None),
            BusCommandKind::Write { point, value } => (point, Some(value)),
        };
        match self.find(device, point) {
            None => {
                let name = self.devices.get(&device).map_or("?", |device| &device.name);
                return complete(
                    out,
                    token,
                    Status::InvalidArgument,
                    format!("device `{name}` has no usable point {point}"),
                );
            }
            Some((of, slot)) if value.is_some() && !of.slots[slot].writable => {
                let message = format!(
                    "`{}` of device `{}` is read-only",
                    of.slots[slot].name, of.name
                );
                return complete(out, token, Status::InvalidArgument, message);
            }
            Some(_) => {}
        }
        if self.writes.len() + self.reads.len() >= WAITING {
            return complete(
                out,
                token,
                Status::Busy,
                format!("too many commands wait for {}", self.bus),
            );
        }
        // Somebody wants something of a bus that is down: look now, unless we just did.
        if let Link::Down { until } = &mut self.link
            && self
                .last_dial
                .is_none_or(|dial| dial + EAGER <= now.instant)
        {
            *until = now.instant;
        }
        let queue = if value.is_some() {
            &mut self.writes
        } else {
            &mut self.reads
        };
        queue.push_back(Waiting {
            token,
            deadline,
            device,
            point,
            value,
        });
    }

    fn configure(&mut self, device: Arc<Device<P>>, now: Now, out: &mut Output) {
        self.remove(device.id);
        self.epoch += 1;
        let index = self.unit_index(&device.unit).unwrap_or_else(|| {
            let unit = Some(Unit::new(device.unit.clone()));
            match self.units.iter().position(Option::is_none) {
                // A cycle of the unit that had this place may still be under way.
                Some(free) if !self.cycle_uses(free) => {
                    self.units[free] = unit;
                    free
                }
                _ => {
                    self.units.push(unit);
                    self.units.len() - 1
                }
            }
        });
        if let (Some(error), Some(unit)) = (&self.line_error, &mut self.units[index])
            && unit.devices.is_empty()
        {
            unit.health = Health::Offline(Outage::of_line(format!("no connection: {error}"), now));
        }
        for (point, fault) in &device.broken {
            out.event
                .samples
                .push_bad(*point, Reason::Config, fault, now.unix_ns);
        }
        for (slot, of) in device.slots.iter().enumerate() {
            self.points.insert(
                of.id,
                Place {
                    device: device.id,
                    slot: slot as u32,
                    born: self.epoch,
                },
            );
        }
        let Some(unit) = &mut self.units[index] else {
            return;
        };
        unit.devices.insert(device.id);
        unit.dirty = true;
        match &unit.health {
            Health::Unknown => {}
            Health::Online { .. } => {
                out.event.states.push(DeviceState {
                    device: device.id,
                    online: true,
                    message: String::new(),
                });
            }
            Health::Offline(outage) => {
                let message = outage.message.clone();
                for slot in &device.slots {
                    out.event
                        .samples
                        .push_bad(slot.id, outage.reason, &message, outage.since_ns);
                }
                out.event.states.push(DeviceState {
                    device: device.id,
                    online: false,
                    message,
                });
            }
        }
        unit.fresh.extend(
            device
                .slots
                .iter()
                .filter(|slot| slot.interval.is_some())
                .map(|slot| slot.id),
        );
        self.devices.insert(device.id, device);
        self.next_due = Some(now.instant);
    }

    /// Forgets a device; gives its name.
    fn remove(&mut self, id: u32) -> String {
        let Some(device) = self.devices.remove(&id) else {
            return id.to_string();
        };
        self.epoch += 1;
        let gone = |point: &u32| device.slots.iter().any(|slot| slot.id == *point);
        for slot in &device.slots {
            if self
                .points
                .get(&slot.id)
                .is_some_and(|place| place.device == id)
            {
                self.points.remove(&slot.id);
            }
        }
        if let Some(index) = self.unit_index(&device.unit)
            && let Some(unit) = &mut self.units[index]
        {
            unit.devices.remove(&id);
            unit.dirty = true;
            if !unit.fresh.is_empty() {
                unit.fresh.retain(|point| !gone(point));
            }
            for slot in &device.slots {
                unit.alone.remove(&slot.id);
                unit.cuts.remove(&slot.id);
            }
            if unit.devices.is_empty() {
                self.units[index] = None;
                self.cycles.retain(|cycle| cycle.unit != index);
            }
        }
        device.name.clone()
    }

    fn cycle_uses(&self, index: usize) -> bool {
        match &self.flight {
            Flight::Cycle { cycle, .. } => cycle.unit == index,
            Flight::Command { unit, .. } => *unit == index,
            Flight::None => false,
        }
    }

    /// Ends all that waits: the instance is being stopped.
    pub(super) fn stop(&mut self, out: &mut Output) {
        let flight = match std::mem::replace(&mut self.flight, Flight::None) {
            Flight::Command { command, .. } => Some(command),
            _ => None,
        };
        for waiting in flight
            .into_iter()
            .chain(self.writes.drain(..))
            .chain(self.reads.drain(..))
        {
            complete(out, waiting.token, Status::Stopped, "the mapper is stopped");
        }
        self.devices.clear();
        self.cycles.clear();
        self.units.clear();
        self.next_due = None;
    }

    /// Completes commands whose deadline has passed.
    pub(super) fn expire(&mut self, now: Instant, out: &mut Output) {
        if let Flight::Command { command, .. } = &mut self.flight
            && command.deadline <= now
        {
            complete(
                out,
                command.token.take(),
                Status::Timeout,
                "no answer before the command's deadline",
            );
        }
        if !self
            .writes
            .iter()
            .chain(&self.reads)
            .any(|waiting| waiting.deadline <= now)
        {
            return;
        }
        let (status, message) = match &self.line_error {
            Some(error) => (
                Status::Line,
                format!("no connection to {}: {error}", self.bus),
            ),
            None => (
                Status::Timeout,
                format!("no turn on {} before the command's deadline", self.bus),
            ),
        };
        for queue in [&mut self.writes, &mut self.reads] {
            queue.retain_mut(|waiting| {
                let over = waiting.deadline <= now;
                if over {
                    complete(out, waiting.token, status, message.clone());
                }
                !over
            });
        }
    }

    /// When the first command that waits has to end.
    pub(super) fn first_deadline(&self) -> Option<Instant> {
        let flight = match &self.flight {
            Flight::Command { command, .. } if command.token.is_some() => Some(command.deadline),
            _ => None,
        };
        self.writes
            .iter()
            .chain(&self.reads)
            .map(|waiting| waiting.deadline)
            .chain(flight)
            .min()
    }
}
