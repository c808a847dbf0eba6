//! Commands as they come: configurations, removals, and what waits for its turn.

use std::{sync::Arc, time::Instant};

use crate::{DeviceState, Protocol, Reason, Status};

use super::{
    emitter::Output,
    machine::{
        Ask, BusCommand, BusCommandKind, EAGER, Flight, Link, Machine, Place, WAITING, Waiting,
        complete,
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
        let ask = match kind {
            BusCommandKind::Configure { device, message } => {
                self.configure(device, now, out);
                return complete(out, token, Status::Ok, message);
            }
            BusCommandKind::Remove => {
                let name = self.remove(device, None, now.instant);
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
            BusCommandKind::Read { point } => Ask::Read { point },
            BusCommandKind::Write { point, value } => Ask::Write { point, value },
            BusCommandKind::Call(call) => Ask::Call(Box::new(call)),
        };
        let (ask, priority) = match self.examined(device, ask) {
            Ok(examined) => examined,
            Err(message) => return complete(out, token, Status::InvalidArgument, message),
        };
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
        let waiting = Waiting {
            token,
            deadline,
            device,
            priority,
            ask,
        };
        if matches!(waiting.ask, Ask::Read { .. }) {
            return self.reads.push_back(waiting);
        }
        let place = self
            .writes
            .partition_point(|other| other.priority >= priority);
        self.writes.insert(place, waiting);
    }

    /// The command with its priority, or why its device cannot carry it out.
    fn examined(&self, device: u32, mut ask: Ask) -> Result<(Ask, i32), String> {
        let name = || self.devices.get(&device).map_or("?", |device| &device.name);
        match &mut ask {
            Ask::Call(call) => {
                let of = self
                    .devices
                    .get(&device)
                    .ok_or_else(|| format!("device {device} is not configured"))?;
                if call.method.config.is_empty()
                    && let Some(known) = of
                        .methods
                        .iter()
                        .find(|known| known.name == call.method.name)
                {
                    call.method = known.clone();
                }
                Ok((ask, 0))
            }
            Ask::Read { point } | Ask::Write { point, .. } => {
                let point = *point;
                let (of, slot) = self
                    .find(device, point)
                    .ok_or_else(|| format!("device `{}` has no usable point {point}", name()))?;
                let slot = &of.slots[slot];
                if matches!(ask, Ask::Write { .. }) && !slot.writable {
                    return Err(format!(
                        "`{}` of device `{}` is read-only",
                        slot.name, of.name
                    ));
                }
                Ok((ask, slot.priority))
            }
        }
    }

    fn configure(&mut self, device: Arc<Device<P>>, now: Now, out: &mut Output) {
        let former = self.devices.get(&device.id).cloned();
        self.remove(device.id, Some(&device.unit), now.instant);
        self.epoch += 1;
        let index = self.unit_index(&device.unit).unwrap_or_else(|| {
            let unit = Some(Unit::new(device.unit.clone(), now.instant));
            match self.units.iter().position(Option::is_none) {
                // A cycle of the unit that had this place may still be under way.
                Some(free) if !self.is_in_flight(free) => {
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
        } else if let Some(unit) = &mut self.units[index]
            && unit.devices.is_empty()
            && unit.is_offline()
        {
            // Its only device is another one now: that is tried at once.
            unit.health = Health::Unknown;
            (unit.silent, unit.useless) = (0, 0);
            // Their readings ended with the outage, without being finished.
            unit.groups.clear();
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
                    unit: index,
                    born: self.epoch,
                },
            );
        }
        let Some(unit) = &mut self.units[index] else {
            return;
        };
        unit.devices.insert(device.id);
        unit.dirty = true;
        let pushed = device.pushed();
        if pushed > 0 {
            self.pushed += pushed;
            unit.watch.points += pushed;
            unit.watch.change(now.instant);
        }
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
                .filter(|slot| slot.polled().is_some())
                .map(|slot| slot.id),
        );
        self.greet_device(index, &device, former.as_deref());
        self.devices.insert(device.id, device);
        self.next_due = Some(now.instant);
    }

    /// Forgets a device; gives its name. The unit `kept` stays, also without devices.
    fn remove(&mut self, id: u32, kept: Option<&P::Unit>, now: Instant) -> String {
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
            unit.greetings.retain(|(of, _)| *of != id);
            unit.dirty = true;
            if !unit.fresh.is_empty() {
                unit.fresh.retain(|point| !gone(point));
            }
            for slot in &device.slots {
                unit.alone.remove(&slot.id);
                unit.cuts.remove(&slot.id);
            }
            let pushed = device.pushed();
            if pushed > 0 {
                self.pushed -= pushed;
                self.next_due = Some(now);
                unit.watch.points -= pushed;
                unit.watch.change(now);
            }
            if unit.devices.is_empty() && kept != Some(&device.unit) {
                let is_watched = unit.watch.epoch.is_some();
                self.units[index] = None;
                self.cycles.retain(|cycle| cycle.unit != index);
                if is_watched || self.is_watching(index) {
                    self.unwatches.push(device.unit.clone());
                }
            }
        }
        device.name.clone()
    }

    fn is_in_flight(&self, index: usize) -> bool {
        match &self.flight {
            Flight::Cycle { cycle, .. } => cycle.unit == index,
            Flight::Command { unit, .. } => *unit == index,
            Flight::Greeting { unit, .. } => *unit == index,
            Flight::Watch { unit, .. } => *unit == Some(index),
            Flight::None => false,
        }
    }

    fn is_watching(&self, index: usize) -> bool {
        matches!(self.flight, Flight::Watch { unit: Some(unit), .. } if unit == index)
    }

    /// Ends all that waits: the instance is being stopped, or has failed here.
    pub(super) fn stop(&mut self, status: Status, message: &str, out: &mut Output) {
        let flight = match std::mem::replace(&mut self.flight, Flight::None) {
            Flight::Command { command, .. } => Some(command),
            _ => None,
        };
        for waiting in flight
            .into_iter()
            .chain(self.writes.drain(..))
            .chain(self.reads.drain(..))
        {
            complete(out, waiting.token, status, message);
        }
        self.devices.clear();
        self.cycles.clear();
        self.units.clear();
        self.points.clear();
        self.pushed = 0;
        self.watches.clear();
        self.unwatches.clear();
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
                    // What waits for its turn was never sent.
                    let status = match waiting.ask {
                        Ask::Read { .. } => status,
                        Ask::Write { .. } | Ask::Call(_) => Status::NotSent,
                    };
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
