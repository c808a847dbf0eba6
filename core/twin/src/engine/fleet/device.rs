//! One device: what it is made from, how it stands, and its properties' places.

use std::sync::Arc;

use longshore_types::{DeviceName, Fault, Topic, report::DeviceState};

use crate::engine::{
    Now,
    events::Behavior,
    standing::{Cause, Manifest, Reach, Served, Since},
};

/// How far a device's configuration has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Setup {
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

/// A device.
pub(in crate::engine) struct Device {
    pub(in crate::engine) name: DeviceName,
    pub(in crate::engine) uid: String,
    pub(in crate::engine) fingerprint: u64,
    /// The `fingerprint` that the edge has made up its mind about: its mapper
    /// answered, or none will.
    pub(in crate::engine) judged: u64,
    pub(in crate::engine) topic: Arc<str>,
    pub(in crate::engine) mapper: Option<usize>,
    /// Its properties' names, and the points in the same order. The fleet keeps
    /// both in step with the table of points.
    pub(super) names: Vec<Arc<str>>,
    pub(super) points: Vec<u32>,
    /// Events and methods, where there are any.
    pub(in crate::engine) behavior: Option<Box<Behavior>>,
    /// `COMMAND_CONFIGURE` of it, until the mapper has it: it would be the
    /// largest part of a device. When the mapper comes up again, it is made
    /// anew from the store's objects.
    pub(in crate::engine) config: Box<str>,
    /// Fingerprint of the last `config`.
    pub(in crate::engine) config_hash: u64,
    /// `config` is needed again.
    pub(in crate::engine) wants_config: bool,
    /// Tells the values of the last snapshot from others; 0 for none.
    pub(in crate::engine) snapshot: u64,
    pub(in crate::engine) setup: Setup,
    pub(in crate::engine) report_state: bool,
    /// The mapper says whether the device answers; until then readings do.
    pub(in crate::engine) state_by_mapper: bool,
    pub(in crate::engine) last_online_ms: Option<i64>,
    pub(in crate::engine) reach: Since<Reach>,
    pub(in crate::engine) manifest: Since<Manifest>,
    pub(in crate::engine) served: Since<Served>,
    /// What the bus wanted when it was asked last.
    pub(in crate::engine) interest: u64,
    pub(in crate::engine) wants_batch: bool,
    pub(in crate::engine) wants_changes: bool,
}

impl Device {
    pub(super) fn new(name: DeviceName, uid: String, now: Now) -> Self {
        let topic = Topic::Batch(name.clone()).to_string().into();
        let reach = Reach::Unknown {
            cause: Cause::NotReadYet,
            shown: DeviceState::Unknown,
        };
        Self {
            name,
            uid,
            fingerprint: 0,
            judged: 0,
            topic,
            mapper: None,
            names: Vec::new(),
            points: Vec::new(),
            behavior: None,
            config: Box::default(),
            config_hash: 0,
            wants_config: false,
            snapshot: 0,
            setup: Setup::Idle,
            report_state: true,
            state_by_mapper: false,
            last_online_ms: None,
            reach: Since::new(reach, now),
            manifest: Since::unsaid(Manifest::Unread),
            served: Since::unsaid(Served::NotYet),
            interest: u64::MAX,
            wants_batch: false,
            wants_changes: false,
        }
    }

    /// The points of its properties, in their order.
    pub(in crate::engine) fn points(&self) -> &[u32] {
        &self.points
    }

    /// Its properties: name and point.
    pub(in crate::engine) fn properties(&self) -> impl Iterator<Item = (&Arc<str>, u32)> {
        self.names.iter().zip(self.points.iter().copied())
    }

    /// The point of a property.
    pub(in crate::engine) fn point(&self, property: &str) -> Option<u32> {
        let mut properties = self.properties();
        properties
            .find(|(name, _)| &***name == property)
            .map(|(_, point)| point)
    }

    /// The mapper was told of it, and did not forget it since.
    pub(in crate::engine) fn is_known_to_mapper(&self) -> bool {
        matches!(
            self.setup,
            Setup::Sent { .. } | Setup::Done | Setup::Refused
        )
    }

    /// Its mapper, or whoever stands in for it, has looked at its configuration.
    pub(in crate::engine) fn is_judged(&mut self) {
        self.judged = self.fingerprint;
    }

    /// Faults of the manifests. Those that the mapper found stay until it has
    /// looked again.
    pub(in crate::engine) fn set_faults(&mut self, own: &[Fault], now: Now) {
        let (_, of_mapper) = self.manifest.get().both();
        let of_mapper = of_mapper.to_vec();
        self.set_both(own.to_vec(), of_mapper, now);
    }

    /// Faults that the mapper found.
    pub(in crate::engine) fn set_mapper_faults(&mut self, of_mapper: Vec<Fault>, now: Now) {
        let (own, _) = self.manifest.get().both();
        let own = own.to_vec();
        self.set_both(own, of_mapper, now);
    }

    fn set_both(&mut self, mut faults: Vec<Fault>, of_mapper: Vec<Fault>, now: Now) {
        let own = faults.len();
        faults.extend(of_mapper);
        self.log_news(&faults);
        self.manifest.turn(Manifest::Read { faults, own }, now);
    }

    /// Says each fault once: a node that works alone has no other place for it.
    fn log_news(&self, faults: &[Fault]) {
        let former = self.manifest.get().faults();
        for fault in faults.iter().filter(|fault| !former.contains(fault)) {
            if fault.is_error() {
                tracing::warn!(device = %self.name, %fault, "fault in a device's configuration");
            } else {
                tracing::warn!(device = %self.name, doubt = %fault, "doubt about a device's configuration");
            }
        }
    }
}
