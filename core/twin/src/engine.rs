//! The twin engine: state, inputs and the time in; messages for the bus,
//! commands for the mappers and rows for the store out. No I/O, no clock.
//!
//! # How it is cut
//!
//! What belongs together is a part of its own, with private fields and its own
//! tests, and knows nothing of the others:
//!
//! | part | what it keeps |
//! |---|---|
//! | [`Fleet`] | devices and their points, ids and names; how each device stands ([`standing`]) |
//! | [`Links`] | the mappers: starting, serving or down, and what is under way there |
//! | [`Desires`] | desired values: who waits for something, who counts where two speak |
//! | [`Saving`] | what is not on the disk yet: asked for, or so and to be stored |
//! | [`Calls`] | the calls of methods that run, and where each is |
//! | [`Due`] | reports, snapshots, stale values and events: what is due when |
//! | [`Members`] | who came and who went, until the bus has taken it |
//! | [`History`] | samples for the hub, until there are enough of them for a record |
//!
//! The other modules are [`Engine`]'s own: each takes one kind of event to the
//! parts, and what follows from it to the outputs. An id that leads nowhere
//! where it should not is told ([`dangling`]).
//!
//! Points are a dense table and their ids are its indexes, so that a sample
//! finds its place without a search. A batch is taken in one pass; nothing is
//! allocated for a sample that carries a number.

mod calls;
mod configuration;
mod dangling;
mod desires;
mod devices;
mod due;
mod events;
mod fleet;
mod history;
mod keeping;
mod links;
mod mappers;
mod members;
mod methods;
mod next;
mod roster;
mod samples;
mod saving;
mod standing;
mod steps;
mod updates;
mod view;
mod writes;

use std::{collections::HashMap, sync::Arc};

use self::{
    calls::Calls, dangling::Dangling, desires::Desires, due::Due, fleet::Fleet, history::History,
    links::Links, members::Members, saving::Saving,
};
use super::{
    blob::{self, SavedDevice, SavedRow},
    now::Now,
    outputs::{Interest, Message, Outputs, Row, RowKind, TwinBlob},
    stats::EngineStats,
};

/// What the engine is told of a mapper once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapperInfo {
    /// Its name in the node's configuration.
    pub name: String,
    /// The `protocolName` of the devices that it serves, lower case.
    pub protocol: String,
    /// Its devices may send values by themselves.
    pub pushes: bool,
}

/// The engine. See the module.
pub struct Engine {
    interest: Arc<dyn Interest>,
    fleet: Fleet,
    links: Links,
    desires: Desires,
    saving: Saving,
    calls: Calls,
    due: Due,
    history: History,
    members: Members,
    dangling: Arc<Dangling>,
    /// Values from a former life, by device, until it comes.
    saved: HashMap<String, SavedDevice>,
    bus_was_ready: bool,
    /// The store's objects have to be gone through again.
    wants_objects: bool,
    scratch: samples::Scratch,
    messages: Vec<Message>,
    out: Outputs,
    counters: EngineStats,
}

impl Engine {
    /// An engine without devices. `reports` says whether there is a hub at all.
    pub fn new(interest: Arc<dyn Interest>, mappers: Vec<MapperInfo>, reports: bool) -> Self {
        let dangling = Arc::new(Dangling::default());
        Self {
            interest,
            fleet: Fleet::new(dangling.clone()),
            links: Links::new(mappers, dangling.clone()),
            desires: Desires::default(),
            saving: Saving::default(),
            calls: Calls::default(),
            due: Due::new(reports),
            history: History::new(reports),
            members: Members::default(),
            dangling,
            saved: HashMap::new(),
            bus_was_ready: false,
            wants_objects: false,
            scratch: samples::Scratch::default(),
            messages: Vec::new(),
            out: Outputs::default(),
            counters: EngineStats::default(),
        }
    }

    /// Hands over what a former life left. Before the first device comes. What
    /// cannot be read is told, and goes from the store as soon as it is known
    /// what counts in its place. Where that life was not `ended` but cut short, it
    /// may have reported newer values than its twins have: the hub does not hear
    /// of those before they are read again.
    pub fn restore(&mut self, twins: Vec<TwinBlob>, rows: Vec<Row>, ended: bool) {
        for TwinBlob { device, data } in twins {
            let mut saved = blob::unpack(&data).unwrap_or_else(|| {
                tracing::error!(%device, "the device's last values in the store cannot be read and are dropped; they are read from the device again");
                SavedDevice::default()
            });
            for value in &mut saved.values {
                value.doubtful = !ended;
            }
            self.saved.insert(device, saved);
        }
        for row in rows {
            self.restore_row(row);
        }
    }

    fn restore_row(&mut self, row: Row) {
        let Row {
            kind,
            device,
            name,
            json,
        } = row;
        let json = json.unwrap_or_default();
        let (what, saved) = match kind {
            RowKind::Desired => {
                if self.desires.restore(device.clone(), name.clone(), &json) {
                    return;
                }
                ("desired value", None)
            }
            RowKind::Actual => {
                let saved = blob::unpack_one(&name, &json);
                let saved = saved.map(|(uid, value)| (uid, SavedRow::Actual(value)));
                ("value that a client gave", saved)
            }
            RowKind::Event => {
                let saved = blob::unpack_event(&json);
                let saved = saved.map(|(uid, event)| (uid, SavedRow::Event(event)));
                ("active event", saved)
            }
        };
        match saved {
            Some(saved) => self.saved.entry(device).or_default().rows.push(saved),
            None => {
                tracing::error!(%device, property = name, "the {what} in the store cannot be read and is dropped; give it anew if it was given here");
                if let Some(key) = saving::Key::of_row(kind, &device, &name) {
                    self.saving.fact(key);
                }
            }
        }
    }

    /// What goes to the bus, in order. To be taken after each batch, so that
    /// little waits here.
    pub fn messages(&mut self) -> impl Iterator<Item = Message> {
        self.messages.drain(..)
    }

    /// What is to be carried out since the last call.
    pub fn take_outputs(&mut self) -> Outputs {
        let mut out = std::mem::take(&mut self.out);
        out.samples = self.history.take();
        out
    }

    /// Gives out all samples with the next outputs, however young they are.
    pub fn close_history(&mut self) {
        self.history.close_all();
    }

    /// Whether there is a link now: reports and records of samples are rarer
    /// without.
    pub fn set_linked(&mut self, linked: bool) {
        self.due.set_linked(linked);
        self.history.set_linked(linked);
    }

    /// What was counted since start, and what is held now.
    pub fn stats(&self) -> EngineStats {
        let (devices, properties) = self.fleet.sizes();
        EngineStats {
            devices: devices as u64,
            properties: properties as u64,
            unsettled: self.desires.len() as u64,
            unsaved: self.saving.len() as u64,
            history_unsaved: self.history.len() as u64,
            never_given: self.dangling.count_of_mappers(),
            dangling: self.dangling.count(),
            ..self.counters.clone()
        }
    }

    /// Whether the store's objects have to be gone through, though they did
    /// not change. Asking takes the wish as heard.
    pub fn take_wants_objects(&mut self) -> bool {
        std::mem::take(&mut self.wants_objects)
    }

    /// The objects were gone through, for now.
    pub(crate) fn no_more_devices(&mut self) {
        self.fleet.forget_kinds();
    }

    /// Gives up room for points that did not come.
    pub fn shrink(&mut self) {
        self.fleet.shrink();
    }

    /// Time passes: whatever is due is done.
    pub fn tick(&mut self, now: Now) {
        self.scan_stale(now);
        self.tick_outages(now);
        self.tick_events(now);
        self.history.tick(now.ms);
        self.pump(now);
    }

    /// Commands whose turn has come.
    pub fn pump(&mut self, now: Now) {
        self.pump_configurations(now);
        self.tick_desired(now);
        self.pump_calls(now);
    }

    /// The device has news: a report and a snapshot become due.
    #[track_caller]
    fn touch(&mut self, id: u32, now: Now) {
        if let Some(device) = self.fleet.device(id) {
            self.due.touch(id, device.points().len(), now);
        }
    }

    /// The same of news that somebody waits for.
    #[track_caller]
    fn touch_soon(&mut self, id: u32, now: Now) {
        if let Some(device) = self.fleet.device(id) {
            self.due.touch_soon(id, device.points().len(), now);
        }
    }
}

#[cfg(test)]
mod tests;
