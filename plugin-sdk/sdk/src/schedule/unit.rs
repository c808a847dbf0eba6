//! One unit of a bus: its points in groups of equal interval, its health.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{Delivery, MethodConfig, Protocol, Reason, SampleValue};

use super::{snapshot::Planning, watching::Watch};

/// A point in time, for deadlines and for samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    /// Nanoseconds since the Unix epoch.
    pub(super) unix_ns: i64,
}

/// A configured device.
pub(super) struct Device<P: Protocol> {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) unit: P::Unit,
    pub(super) slots: Vec<Slot<P>>,
    pub(super) methods: Vec<MethodConfig>,
    /// What it gets after each connecting: slot and value.
    pub(super) connect: Vec<(usize, SampleValue)>,
    /// Points whose configuration is wrong, and what is wrong with it.
    pub(super) broken: Vec<(u32, String)>,
}

/// A usable point of a device.
pub(super) struct Slot<P: Protocol> {
    pub(super) id: u32,
    pub(super) name: Box<str>,
    pub(super) writable: bool,
    /// Among writes that wait.
    pub(super) priority: i32,
    /// Read as one with the others of the device that have the same.
    pub(super) group: Option<Box<str>>,
    /// `None`: read on command only, or pushed at each change.
    pub(super) interval: Option<Duration>,
    pub(super) delivery: Delivery,
    pub(super) point: P::Point,
}

impl<P: Protocol> Slot<P> {
    /// The interval of a point that is polled.
    pub(super) fn polled(&self) -> Option<Duration> {
        self.interval.filter(|_| !self.is_pushed())
    }

    pub(super) fn is_pushed(&self) -> bool {
        self.delivery == Delivery::Pushed
    }
}

impl<P: Protocol> Device<P> {
    /// How many of its points are pushed.
    pub(super) fn pushed(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_pushed()).count()
    }
}

/// The requests that read a set of points.
pub(super) type Plan<P> = Arc<Planning<P>>;

/// Points of one unit with one interval.
pub(super) struct Group {
    pub(super) interval: Duration,
    pub(super) points: Vec<u32>,
    /// When it is to be read next; meaningless while it is being read.
    pub(super) due: Instant,
    pub(super) reading: bool,
}

/// What is known of a unit.
///
/// `Unknown` → `Online` at the first answer; `Unknown` or `Online` → `Offline`
/// when it was silent too often or the line went down; `Offline` → `Online` at
/// the answer to a probe, or → `Unknown` when the line that it lost comes back.
pub(super) enum Health {
    /// Nothing heard yet.
    Unknown,
    /// It answers.
    Online {
        /// For the length of the next quarantine.
        since: Instant,
    },
    /// It does not.
    Offline(Outage),
}

/// Why and since when a unit is offline.
#[derive(Clone)]
pub(super) struct Outage {
    /// The line is down: the end of the outage is the line's business.
    pub(super) by_line: bool,
    pub(super) reason: Reason,
    pub(super) message: String,
    pub(super) since_ns: i64,
    pub(super) since: Instant,
    /// When it is tried next.
    pub(super) probe_at: Instant,
    /// A probe is under way.
    pub(super) probing: bool,
    /// When it was last tried, so that commands do not try it all the time.
    pub(super) tried: Instant,
}

impl Outage {
    /// An outage that lasts as long as the line is down.
    pub(super) fn of_line(message: String, now: Now) -> Self {
        Self {
            by_line: true,
            reason: Reason::Line,
            message,
            since_ns: now.unix_ns,
            since: now.instant,
            probe_at: now.instant,
            probing: false,
            tried: now.instant,
        }
    }
}

/// After how long the whole of what was refused is tried again, at first and at last.
const FORGET_FIRST: Duration = Duration::from_secs(60);
const FORGET_LAST: Duration = Duration::from_secs(3600);

/// Plans kept for each unit; a unit with more sets of due groups than this
/// plans some of them anew.
const PLANS: usize = 64;

pub(super) struct Unit<P: Protocol> {
    pub(super) address: P::Unit,
    pub(super) devices: BTreeSet<u32>,
    /// Sorted by interval.
    pub(super) groups: Vec<Group>,
    /// Points that were never read in their present configuration.
    pub(super) fresh: Vec<u32>,
    /// Some points are read as snapshots.
    pub(super) is_grouped: bool,
    /// The groups do not know the latest configuration yet.
    pub(super) dirty: bool,
    pub(super) health: Health,
    /// Its points that come by themselves.
    pub(super) watch: Watch,
    /// What its devices are still to get on this connection: device and place in its list.
    pub(super) greetings: VecDeque<(u32, usize)>,
    /// Exchanges in a row that brought no answer at all.
    pub(super) silent: u8,
    /// Exchanges in a row that brought no usable answer.
    pub(super) useless: u8,
    /// The pause before the next probe; kept for a unit that keeps failing.
    pub(super) pause: Duration,
    /// What the device refused, see [`crate::PlanPoint`].
    pub(super) alone: HashSet<u32>,
    pub(super) cuts: HashSet<u32>,
    /// When that is forgotten, so that the whole is tried again, and after how long
    /// it is the next time.
    forget_at: Option<Instant>,
    forget_after: Duration,
    plans: HashMap<Box<[u16]>, Plan<P>>,
}

impl<P: Protocol> Unit<P> {
    pub(super) fn new(address: P::Unit, now: Instant) -> Self {
        Self {
            address,
            devices: BTreeSet::new(),
            groups: Vec::new(),
            fresh: Vec::new(),
            is_grouped: false,
            dirty: true,
            health: Health::Unknown,
            watch: Watch::new(now),
            greetings: VecDeque::new(),
            silent: 0,
            useless: 0,
            pause: Duration::ZERO,
            alone: HashSet::new(),
            cuts: HashSet::new(),
            forget_at: None,
            forget_after: FORGET_FIRST,
            plans: HashMap::new(),
        }
    }

    /// Sorts the points into groups anew; groups that stay keep their phase.
    pub(super) fn regroup(
        &mut self,
        devices: &HashMap<u32, Arc<Device<P>>>,
        base: Instant,
        now: Instant,
    ) {
        self.dirty = false;
        self.plans.clear();
        self.is_grouped = false;
        let mut old: Vec<Group> = std::mem::take(&mut self.groups);
        let mut points: HashMap<Duration, Vec<u32>> = HashMap::new();
        for device in self.devices.iter().filter_map(|id| devices.get(id)) {
            for slot in &device.slots {
                if let Some(interval) = slot.polled() {
                    self.is_grouped |= slot.group.is_some();
                    points.entry(interval).or_default().push(slot.id);
                }
            }
        }
        for (interval, points) in points {
            let kept = old
                .iter()
                .position(|group| group.interval == interval)
                .map(|index| old.swap_remove(index));
            let (due, reading) = match kept {
                Some(group) => (group.due, group.reading),
                // Its points are fresh and read at once, outside of the group.
                None => (aligned(base, interval, now + interval / 2), false),
            };
            self.groups.push(Group {
                interval,
                points,
                due,
                reading,
            });
        }
        self.groups.sort_by_key(|group| group.interval);
    }

    /// Reads everything at once, as after a configuration, and goes on from there.
    pub(super) fn start_over(&mut self, base: Instant, now: Instant) {
        self.fresh.clear();
        for group in &mut self.groups {
            self.fresh.extend(&group.points);
            group.due = aligned(base, group.interval, now + group.interval / 2);
            group.reading = false;
        }
    }

    /// The kept plan of a set of groups.
    pub(super) fn plan(&self, groups: &[u16]) -> Option<Plan<P>> {
        self.plans.get(groups).cloned()
    }

    pub(super) fn keep_plan(&mut self, groups: &[u16], plan: Plan<P>) {
        if self.plans.len() >= PLANS {
            self.plans.clear();
        }
        self.plans.insert(groups.into(), plan);
    }

    /// Plans anew from now on: the device has shown what it minds.
    pub(super) fn forget_plans(&mut self) {
        self.plans.clear();
    }

    /// The device minds something: whether that is the first of it for now.
    pub(super) fn learns(&mut self, now: Instant) -> bool {
        let is_first = self.forget_at.is_none();
        if is_first {
            self.forget_at = Some(now + self.forget_after);
            self.forget_after = (self.forget_after * 2).min(FORGET_LAST);
        }
        is_first
    }

    /// What a device refused it may have refused for a while: at times the whole is
    /// tried again. That costs a few requests, and no value.
    pub(super) fn forgets(&mut self, now: Instant) {
        if self.forget_at.is_some_and(|at| at <= now) {
            self.forget_at = None;
            self.alone.clear();
            self.cuts.clear();
            self.forget_plans();
        }
    }

    pub(super) fn is_offline(&self) -> bool {
        matches!(self.health, Health::Offline(_))
    }
}

/// The first point in time from `from` on in the raster of the interval.
/// Rasters of all units share one origin, so that intervals which divide each
/// other meet.
pub(super) fn aligned(base: Instant, interval: Duration, from: Instant) -> Instant {
    let interval = interval.max(Duration::from_millis(1));
    let passed = from.saturating_duration_since(base).as_nanos();
    let periods = passed.div_ceil(interval.as_nanos());
    base + nanoseconds(periods * interval.as_nanos())
}

/// When a group that was due at `due` and is read at `now` is due next, and
/// how many of its periods are skipped because reading took too long.
pub(super) fn following(due: Instant, interval: Duration, now: Instant) -> (Instant, u64) {
    let interval = interval.max(Duration::from_millis(1));
    let periods = now.saturating_duration_since(due).as_nanos() / interval.as_nanos();
    let next = due + nanoseconds(periods.max(1) * interval.as_nanos());
    (
        next,
        u64::try_from(periods.saturating_sub(1)).unwrap_or(u64::MAX),
    )
}

fn nanoseconds(count: u128) -> Duration {
    Duration::from_nanos(u64::try_from(count).unwrap_or(u64::MAX / 4))
}
