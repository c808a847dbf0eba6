//! The twin engine: state, inputs and the time in; messages for the bus,
//! commands for the mappers and rows for the store out. No I/O, no clock.
//!
//! Points are a dense table and their ids are its indexes, so that a sample
//! finds its place without a search. A batch is taken in one pass; nothing is
//! allocated for a sample that carries a number.

mod calls;
mod device;
mod devices;
mod events;
mod mappers;
mod roster;
mod samples;
mod standing;
mod updates;
mod view;
mod writes;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use longshore_types::DeviceName;

use self::standing::{Manifest, Reach, Served, Since};
use super::{
    blob::SavedDevice,
    outputs::{DesiredRow, Interest, Message, Outputs, TwinBlob},
    point::Point,
    rules::Rules,
};

/// Pause between two reports of a device to the hub, for each 250 properties
/// or part of them: a report is the whole device.
const REPORT_MS: u64 = 1_000;
const PROPERTIES_PER_REPORT: u64 = 250;
/// The same without a link: then reports only replace each other on the disk.
const REPORT_OFFLINE_MS: u64 = 10_000;
/// Pause between two snapshots of a device. A reading is worth little after
/// that time, and flash wears out.
const SNAPSHOT_MS: u64 = 10_000;
/// While there is a link, a device is reported at least so often, for its
/// times of reading; nothing else of it need have changed.
const REPORT_AT_LEAST_MS: u64 = 10_000;
/// A mapper that is down no longer than this is restarting and its devices
/// stay as they are.
const OUTAGE_MS: u64 = 2_000;
/// An id of a removed point is not given out again for so long, since readings
/// of the former point may still be on their way.
const REUSE_MS: u64 = 60_000;
/// Configurations under way in one mapper.
const CONFIGURES_UNDER_WAY: usize = 64;
/// Writes and reads under way in one mapper.
const WRITES_UNDER_WAY: usize = 256;

/// The time, twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since start; never goes back.
    pub ms: u64,
    /// Wall clock, milliseconds since 1970.
    pub unix_ms: i64,
}

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

/// What was counted since start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Readings taken.
    pub samples: u64,
    /// Readings of points that are not (or no longer) there.
    pub strays: u64,
    /// Reported changes, heartbeats included.
    pub changes: u64,
    /// Batch messages for the bus.
    pub payloads: u64,
    /// Desired values that were confirmed.
    pub writes_confirmed: u64,
    /// Desired values that were refused or failed.
    pub writes_failed: u64,
    /// Commands for mappers.
    pub commands: u64,
    /// Events that became active or were over.
    pub events: u64,
    /// Methods called.
    pub calls: u64,
    /// Calls that failed.
    pub calls_failed: u64,
}

struct MapperSlot {
    info: MapperInfo,
    up: bool,
    /// Why it is down, for people.
    down_reason: Arc<str>,
    /// When its devices lose their state because it is down.
    outage_at: Option<u64>,
    /// It died, and nothing was heard of its devices since: being up alone
    /// means little for one that dies again and again.
    doubtful: bool,
    /// Another version of it takes over.
    hands_over: bool,
    /// Devices to configure.
    queue: VecDeque<u32>,
    configures: usize,
    writes: usize,
}

/// A command that awaits its completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct UnderWay {
    mapper: usize,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Configure(u32),
    Remove,
    /// A write or the read back of this point.
    Point(u32),
    /// The protocol's part of this call.
    Call(u64),
}

/// How far a device's configuration has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setup {
    /// No mapper, or nothing to configure.
    Idle,
    /// Waits in its mapper's queue, not before this time.
    Queued { not_before: u64 },
    /// Sent.
    Sent { token: u64 },
    /// The mapper has it.
    Done,
    /// The mapper refused it; until it changes.
    Refused,
}

struct Device {
    name: DeviceName,
    uid: String,
    fingerprint: u64,
    /// The `fingerprint` that the edge has made up its mind about: its mapper
    /// answered, or none will.
    judged: u64,
    topic: Arc<str>,
    mapper: Option<usize>,
    names: Vec<Arc<str>>,
    points: Vec<u32>,
    /// Events and methods, where there are any.
    behavior: Option<Box<events::Behavior>>,
    /// `COMMAND_CONFIGURE` of it, until the mapper has it: it would be the
    /// largest part of a device. When the mapper comes up again, it is made
    /// anew from the store's objects.
    config: Box<str>,
    /// Fingerprint of the last `config`.
    config_hash: u64,
    /// `config` is needed again.
    wants_config: bool,
    setup: Setup,
    report_state: bool,
    /// The mapper says whether the device answers; until then readings do.
    state_by_mapper: bool,
    last_online_ms: Option<i64>,
    reach: Since<Reach>,
    manifest: Since<Manifest>,
    served: Since<Served>,
    /// What the bus wanted when it was asked last.
    interest: u64,
    wants_batch: bool,
    wants_changes: bool,
    last_report: Option<u64>,
    report_due: Option<u64>,
    snapshot_due: Option<u64>,
}

/// A desired value from a former life.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct SavedDesired {
    text: String,
    local: bool,
    of_device: Option<String>,
    given_ms: i64,
    write: String,
    refused: bool,
    message: String,
    since_ms: i64,
}

/// The engine. See the module.
pub struct Engine {
    interest: Arc<dyn Interest>,
    reports: bool,
    linked: bool,
    mappers: Vec<MapperSlot>,
    devices: Vec<Option<Box<Device>>>,
    by_name: HashMap<DeviceName, u32>,
    points: Vec<Point>,
    /// Uptime of each point's last reading, apart from the points so that the
    /// search for stale ones stays in the cache.
    seen: Vec<u32>,
    stale_after: Vec<u32>,
    retired_points: VecDeque<(u32, u64)>,
    retired_devices: VecDeque<(u32, u64)>,
    /// Points whose desired value needs time or events.
    active: BTreeSet<u32>,
    under_way: HashMap<u64, UnderWay>,
    next_token: u64,
    interned: HashMap<String, Arc<Rules>>,
    /// Devices with a report or a snapshot due.
    dirty: BTreeSet<u32>,
    /// Devices whose mapper did not look at their configuration yet.
    unchecked: BTreeSet<u32>,
    /// Devices with an event that time or the bus may change.
    open_events: BTreeSet<u32>,
    bus_was_ready: bool,
    calls: BTreeMap<u64, calls::Call>,
    saved: HashMap<String, SavedDevice>,
    saved_desired: HashMap<String, HashMap<String, SavedDesired>>,
    next_stale_scan: u64,
    /// The store's objects have to be gone through again.
    wants_objects: bool,
    scratch: samples::Scratch,
    messages: Vec<Message>,
    out: Outputs,
    counters: Counters,
}

impl Engine {
    /// An engine without devices. `reports` says whether there is a hub at all.
    pub fn new(interest: Arc<dyn Interest>, mappers: Vec<MapperInfo>, reports: bool) -> Self {
        let slot = |info| MapperSlot {
            info,
            up: false,
            down_reason: "the mapper is starting".into(),
            outage_at: Some(OUTAGE_MS),
            doubtful: false,
            hands_over: false,
            queue: VecDeque::new(),
            configures: 0,
            writes: 0,
        };
        Self {
            interest,
            reports,
            linked: false,
            mappers: mappers.into_iter().map(slot).collect(),
            devices: Vec::new(),
            by_name: HashMap::new(),
            points: Vec::new(),
            seen: Vec::new(),
            stale_after: Vec::new(),
            retired_points: VecDeque::new(),
            retired_devices: VecDeque::new(),
            active: BTreeSet::new(),
            under_way: HashMap::new(),
            next_token: 1,
            interned: HashMap::new(),
            dirty: BTreeSet::new(),
            unchecked: BTreeSet::new(),
            open_events: BTreeSet::new(),
            bus_was_ready: false,
            calls: BTreeMap::new(),
            saved: HashMap::new(),
            saved_desired: HashMap::new(),
            next_stale_scan: 0,
            wants_objects: false,
            scratch: samples::Scratch::default(),
            messages: Vec::new(),
            out: Outputs::default(),
            counters: Counters::default(),
        }
    }

    /// Hands over what a former life left. Before the first device comes.
    pub fn restore(&mut self, twins: Vec<TwinBlob>, desired: Vec<DesiredRow>) {
        self.saved = twins
            .into_iter()
            .map(|blob| (blob.device, super::blob::unpack(&blob.data)))
            .collect();
        for row in desired {
            let saved = row
                .json
                .as_deref()
                .and_then(|json| serde_json::from_str(json).ok());
            if let Some(saved) = saved {
                self.saved_desired
                    .entry(row.device)
                    .or_default()
                    .insert(row.property, saved);
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
        std::mem::take(&mut self.out)
    }

    /// Whether there is a link now: reports are rarer without.
    pub fn set_linked(&mut self, linked: bool) {
        self.linked = linked;
    }

    /// What was counted since start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Devices, properties, and desired values that are not confirmed.
    pub fn sizes(&self) -> (usize, usize, usize) {
        (
            self.by_name.len(),
            self.points.len() - self.retired_points.len(),
            self.active.len(),
        )
    }

    /// Whether the store's objects have to be gone through, though they did
    /// not change. Asking takes the wish as heard.
    pub fn take_wants_objects(&mut self) -> bool {
        std::mem::take(&mut self.wants_objects)
    }

    /// Gives up room for points that did not come.
    pub fn shrink(&mut self) {
        self.points.shrink_to_fit();
        self.seen.shrink_to_fit();
        self.stale_after.shrink_to_fit();
    }

    fn device(&self, id: u32) -> Option<&Device> {
        self.devices.get(id as usize)?.as_deref()
    }

    fn device_mut(&mut self, id: u32) -> Option<&mut Device> {
        self.devices.get_mut(id as usize)?.as_deref_mut()
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    /// The device has news: a report and a snapshot become due.
    fn touch(&mut self, id: u32, now: Now) {
        let (reports, linked) = (self.reports, self.linked);
        let Some(device) = self.device_mut(id) else {
            return;
        };
        if device.snapshot_due.is_none() {
            device.snapshot_due = Some(now.ms + SNAPSHOT_MS);
        }
        if reports && device.report_due.is_none() {
            let pause = device.report_pause(linked);
            let due = device
                .last_report
                .map_or(now.ms, |last| (last + pause).max(now.ms));
            device.report_due = Some(due);
        }
        self.dirty.insert(id);
    }
}

impl Device {
    fn report_pause(&self, linked: bool) -> u64 {
        if linked {
            REPORT_MS * (1 + self.points.len() as u64 / PROPERTIES_PER_REPORT)
        } else {
            REPORT_OFFLINE_MS
        }
    }

    /// Index of a property within the device.
    fn position(&self, property: &str) -> Option<usize> {
        self.names.iter().position(|name| &**name == property)
    }
}

#[cfg(test)]
mod tests;
