//! The links to the mappers: who is up, what is under way there, and since when
//! one is missed.
//!
//! A link is an enum, so that what only a running mapper can have (a queue of
//! configurations, commands that await their completion) goes with its state:
//! when a mapper dies, nothing is left that would have to be cleared.
//!
//! ```text
//! Starting ──up──► Serving(Proven) ◄──heard── Serving(Doubtful)
//!    └─down─► Down ◄──down──┘ └──────────down──────┘    ▲
//!              └───────────────────up───────────────────┘
//! ```
//!
//! Devices are configured one by one while others are read already, so
//! "configuring" is no state of the link but one of each device ([`Setup`](super::Setup)).

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use super::{Dangling, MapperInfo};

/// A mapper that is down no longer than this is restarting and its devices
/// stay as they are.
pub(super) const OUTAGE_MS: u64 = 2_000;
/// Configurations under way in one mapper.
pub(super) const CONFIGURES_UNDER_WAY: usize = 64;
/// Writes and reads under way in one mapper.
pub(super) const WRITES_UNDER_WAY: usize = 256;

/// All mappers; their indexes are those of the node's configuration.
pub(super) struct Links {
    links: Vec<Link>,
    last_token: u64,
    dangling: Arc<Dangling>,
}

/// One mapper.
struct Link {
    info: MapperInfo,
    state: State,
    /// Devices that wait for it, and whose configuration it did not look at.
    unchecked: BTreeSet<u32>,
}

/// How a mapper is.
enum State {
    /// Was not up since the edge started. Up → `Serving`, gone → `Down`.
    Starting(Absence),
    /// Runs. Gone → `Down`.
    Serving { trust: Trust, work: Work },
    /// Does not run. Up → `Serving`.
    Down {
        absence: Absence,
        /// Another version of it takes over, and its devices were there all the time.
        planned: bool,
    },
}

/// What being up means.
enum Trust {
    /// Its devices were heard of, or it never died.
    Proven,
    /// It died, and nothing was heard of its devices since: being up alone
    /// means little for one that dies again and again, so the absence goes on.
    Doubtful(Absence),
}

/// A mapper is missed.
struct Absence {
    /// For people.
    why: Arc<str>,
    /// When its devices lose their state for it; none once they have.
    outage_at: Option<u64>,
}

/// What a mapper that runs has to do.
#[derive(Default)]
struct Work {
    /// Devices to configure.
    queue: VecDeque<u32>,
    /// Commands that await their completion, by token.
    under_way: HashMap<u64, What>,
    /// How many of them configure, and how many write or read.
    configures: usize,
    writes: usize,
}

/// What a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// The configuration of this device.
    Configure(u32),
    /// A device is taken from its mapper.
    Remove,
    /// A write or the read back of this point.
    Point(u32),
    /// A step of this call.
    Step(u64),
    /// The protocol's part of this call.
    Call(u64),
}

/// How a mapper came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CameUp {
    /// Another version of it takes over.
    HandedOver,
    /// It was not there, for however short a time.
    Anew,
}

impl State {
    fn absence(&mut self) -> Option<&mut Absence> {
        match self {
            Self::Starting(absence)
            | Self::Down { absence, .. }
            | Self::Serving {
                trust: Trust::Doubtful(absence),
                ..
            } => Some(absence),
            Self::Serving {
                trust: Trust::Proven,
                ..
            } => None,
        }
    }

    fn work(&self) -> Option<&Work> {
        match self {
            Self::Serving { work, .. } => Some(work),
            Self::Starting(_) | Self::Down { .. } => None,
        }
    }

    fn work_mut(&mut self) -> Option<&mut Work> {
        match self {
            Self::Serving { work, .. } => Some(work),
            Self::Starting(_) | Self::Down { .. } => None,
        }
    }
}

impl Work {
    fn begin(&mut self, token: u64, what: What) {
        self.under_way.insert(token, what);
        if let Some(count) = self.bounded(what) {
            *count += 1;
        }
    }

    fn end(&mut self, token: u64) -> Option<What> {
        let what = self.under_way.remove(&token)?;
        if let Some(count) = self.bounded(what) {
            // As many began as are under way.
            *count = count.saturating_sub(1);
        }
        Some(what)
    }

    /// The count that this counts in. Removals and calls are bounded elsewhere.
    fn bounded(&mut self, what: What) -> Option<&mut usize> {
        match what {
            What::Configure(_) => Some(&mut self.configures),
            What::Point(_) | What::Step(_) => Some(&mut self.writes),
            What::Remove | What::Call(_) => None,
        }
    }
}

impl Link {
    fn starting(info: MapperInfo, now_ms: u64) -> Self {
        Self {
            info,
            state: State::Starting(Absence {
                why: "the mapper is starting".into(),
                outage_at: Some(now_ms + OUTAGE_MS),
            }),
            unchecked: BTreeSet::new(),
        }
    }

    fn up(&mut self) -> CameUp {
        let nothing = State::Serving {
            trust: Trust::Proven,
            work: Work::default(),
        };
        let (trust, planned) = match std::mem::replace(&mut self.state, nothing) {
            State::Starting(_) => (Trust::Proven, false),
            State::Serving { trust, .. } => (trust, false),
            State::Down { absence, planned } => (Trust::Doubtful(absence), planned),
        };
        self.state = State::Serving {
            trust,
            work: Work::default(),
        };
        match planned {
            true => CameUp::HandedOver,
            false => CameUp::Anew,
        }
    }

    fn down(&mut self, why: Arc<str>, planned: bool, now_ms: u64) {
        // One that was not missed until now is missed from now on.
        let former = self.state.absence().and_then(|absence| absence.outage_at);
        let outage_at = former.or(Some(now_ms + OUTAGE_MS));
        self.state = State::Down {
            absence: Absence { why, outage_at },
            planned,
        };
    }
}

impl Links {
    pub(super) fn new(mappers: Vec<MapperInfo>, dangling: Arc<Dangling>) -> Self {
        let starting = |info| Link::starting(info, 0);
        Self {
            links: mappers.into_iter().map(starting).collect(),
            last_token: 0,
            dangling,
        }
    }

    /// Told where there is none: mappers are made known before anything of
    /// them comes.
    #[track_caller]
    fn link(&self, mapper: usize) -> Option<&Link> {
        let link = self.links.get(mapper);
        if link.is_none() {
            self.dangling.ours("mapper", mapper as u64);
        }
        link
    }

    #[track_caller]
    fn link_mut(&mut self, mapper: usize) -> Option<&mut Link> {
        let link = self.links.get_mut(mapper);
        if link.is_none() {
            self.dangling.ours("mapper", mapper as u64);
        }
        link
    }

    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether this is what is known of the mapper.
    pub(super) fn knows(&self, mapper: usize, info: &MapperInfo) -> bool {
        // Asked of mappers that are new as well.
        (self.links.get(mapper)).is_some_and(|link| link.info == *info)
    }

    /// There is a mapper more, or one turned out to be another.
    pub(super) fn know(&mut self, mapper: usize, info: MapperInfo, now_ms: u64) {
        match self.links.get_mut(mapper) {
            Some(link) => link.info = info,
            None => self.links.push(Link::starting(info, now_ms)),
        }
    }

    pub(super) fn name(&self, mapper: usize) -> &str {
        self.link(mapper).map_or("", |link| &link.info.name)
    }

    /// Who serves a protocol. A mapper's name is one as well, behind those that
    /// say so themselves.
    pub(super) fn of_protocol(&self, protocol: &str) -> Option<usize> {
        let by = |key: fn(&MapperInfo) -> &String| {
            let mut links = self.links.iter();
            links.position(|link| key(&link.info) == protocol)
        };
        by(|info| &info.protocol).or_else(|| by(|info| &info.name))
    }

    /// Whether devices of this protocol may send values by themselves.
    pub(super) fn pushes(&self, protocol: &str) -> bool {
        let mut infos = self.links.iter().map(|link| &link.info);
        infos.any(|info| info.pushes && info.protocol.eq_ignore_ascii_case(protocol))
    }

    /// It runs (again), and knows nothing.
    pub(super) fn up(&mut self, mapper: usize) -> CameUp {
        self.link_mut(mapper).map_or(CameUp::Anew, Link::up)
    }

    /// It is gone, and with it what was under way.
    pub(super) fn down(&mut self, mapper: usize, why: Arc<str>, planned: bool, now_ms: u64) {
        if let Some(link) = self.link_mut(mapper) {
            link.down(why, planned, now_ms);
        }
    }

    /// One that is not up says why; `lasting` when it is not expected back
    /// soon. The reason is given where it is another one than before.
    pub(super) fn excuse(
        &mut self,
        mapper: usize,
        why: &str,
        lasting: bool,
        now_ms: u64,
    ) -> Option<Arc<str>> {
        let (State::Starting(absence) | State::Down { absence, .. }) =
            &mut self.link_mut(mapper)?.state
        else {
            return None;
        };
        if lasting && absence.outage_at.is_some() {
            absence.outage_at = Some(now_ms);
        }
        if why.is_empty() || *absence.why == *why {
            return None;
        }
        absence.why = why.into();
        Some(absence.why.clone())
    }

    /// Something was heard of one of its devices.
    pub(super) fn heard(&mut self, mapper: usize) {
        // What was on its way when the mapper went says nothing about the mapper.
        if let Some(link) = self.link_mut(mapper)
            && let State::Serving {
                trust: trust @ Trust::Doubtful(_),
                ..
            } = &mut link.state
        {
            *trust = Trust::Proven;
        }
    }

    /// Why the devices of a mapper lose their state now, once for each absence
    /// that is too long. None while it is not due.
    pub(super) fn outage(&mut self, mapper: usize, now_ms: u64) -> Option<String> {
        let link = self.link_mut(mapper)?;
        let absence = link.state.absence()?;
        if absence.outage_at.is_none_or(|at| now_ms < at) {
            return None;
        }
        absence.outage_at = None;
        let why = format!("mapper {}: {}", link.info.name, absence.why);
        if let State::Down { planned, .. } = &mut link.state {
            *planned = false;
        }
        Some(why)
    }

    /// When the first mapper that is missed takes the state of its devices.
    pub(super) fn next_outage(&self) -> Option<u64> {
        let absences = self.links.iter().filter_map(|link| match &link.state {
            State::Starting(absence)
            | State::Down { absence, .. }
            | State::Serving {
                trust: Trust::Doubtful(absence),
                ..
            } => absence.outage_at,
            State::Serving {
                trust: Trust::Proven,
                ..
            } => None,
        });
        absences.min()
    }

    pub(super) fn is_up(&self, mapper: usize) -> bool {
        self.work(mapper).is_some()
    }

    /// Whether it was up and is not any more.
    pub(super) fn is_down(&self, mapper: usize) -> bool {
        (self.link(mapper)).is_some_and(|link| matches!(link.state, State::Down { .. }))
    }

    /// Why a mapper is not up; none when it is.
    pub(super) fn absent(&self, mapper: usize) -> Option<Arc<str>> {
        match &self.link(mapper)?.state {
            State::Starting(absence) | State::Down { absence, .. } => Some(absence.why.clone()),
            State::Serving { .. } => None,
        }
    }

    fn work(&self, mapper: usize) -> Option<&Work> {
        self.link(mapper)?.state.work()
    }

    fn work_mut(&mut self, mapper: usize) -> Option<&mut Work> {
        self.link_mut(mapper)?.state.work_mut()
    }

    /// A device waits for its turn to be configured. False when the mapper is
    /// not up: it gets all of its devices once it is.
    pub(super) fn queue(&mut self, mapper: usize, device: u32) -> bool {
        let work = self.work_mut(mapper);
        let up = work.is_some();
        if let Some(work) = work {
            work.queue.push_back(device);
        }
        up
    }

    /// How many devices wait.
    pub(super) fn queued(&self, mapper: usize) -> usize {
        self.work(mapper).map_or(0, |work| work.queue.len())
    }

    /// Whether a device may be configured now.
    pub(super) fn may_configure(&self, mapper: usize) -> bool {
        (self.work(mapper)).is_some_and(|work| work.configures < CONFIGURES_UNDER_WAY)
    }

    /// The devices that wait.
    pub(super) fn queue_of(&self, mapper: usize) -> impl Iterator<Item = u32> {
        let queues = self.work(mapper).into_iter();
        queues.flat_map(|work| work.queue.iter().copied())
    }

    /// The device that may be configured next.
    pub(super) fn next_to_configure(&mut self, mapper: usize) -> Option<u32> {
        let work = self.work_mut(mapper)?;
        if work.configures >= CONFIGURES_UNDER_WAY {
            return None;
        }
        work.queue.pop_front()
    }

    /// Whether a write or a read may be sent.
    pub(super) fn takes_writes(&self, mapper: usize) -> bool {
        (self.work(mapper)).is_some_and(|work| work.writes < WRITES_UNDER_WAY)
    }

    /// A token that was never used.
    pub(super) fn token(&mut self) -> u64 {
        self.last_token += 1;
        self.last_token
    }

    /// A command is sent. False when nobody is there to take it.
    #[track_caller]
    pub(super) fn sent(&mut self, mapper: usize, token: u64, what: What) -> bool {
        let Some(work) = self.work_mut(mapper) else {
            // Who sends has looked whether it is up.
            self.dangling
                .ours("command for a mapper that is down", token);
            return false;
        };
        work.begin(token, what);
        true
    }

    /// A command ended. None when it is not under way there.
    pub(super) fn ended(&mut self, mapper: usize, token: u64) -> Option<What> {
        self.work_mut(mapper)?.end(token)
    }

    /// Whether a command is under way.
    pub(super) fn awaits(&self, mapper: usize, token: u64) -> bool {
        (self.work(mapper)).is_some_and(|work| work.under_way.contains_key(&token))
    }

    /// The mapper in which a command is under way.
    pub(super) fn holder(&self, token: u64) -> Option<usize> {
        (0..self.links.len()).find(|mapper| self.awaits(*mapper, token))
    }

    /// The device waits for a mapper that is not there to look at it.
    pub(super) fn leave_unchecked(&mut self, mapper: usize, device: u32) {
        if let Some(link) = self.link_mut(mapper) {
            link.unchecked.insert(device);
        }
    }

    /// Somebody looked at the device's configuration, or it is another mapper's.
    pub(super) fn checked(&mut self, mapper: usize, device: u32) {
        if let Some(link) = self.link_mut(mapper) {
            link.unchecked.remove(&device);
        }
    }

    pub(super) fn has_unchecked(&self, mapper: usize) -> bool {
        (self.link(mapper)).is_some_and(|link| !link.unchecked.is_empty())
    }

    pub(super) fn take_unchecked(&mut self, mapper: usize) -> BTreeSet<u32> {
        let link = self.link_mut(mapper);
        link.map(|link| std::mem::take(&mut link.unchecked))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
