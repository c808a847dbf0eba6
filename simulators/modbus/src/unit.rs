//! The units behind the listeners and what they share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use longshore_sim_world::{Faults, World};

use crate::record::{Count, Counters, FUNCTIONS, LineCounters, Request, Write, slot};
use crate::table::{Kind, Table};

/// The latest requests that a unit remembers.
const REQUESTS_KEPT: usize = 256;

/// The latest writes that the simulator remembers.
const WRITES_KEPT: usize = 10_000;

/// One simulated device.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) id: u8,
    pub(crate) name: String,
    tables: [Table; 4],
    counts: [Count; FUNCTIONS.len() + 1],
    requests: VecDeque<Request>,
}

impl Unit {
    pub(crate) fn new(id: u8) -> Self {
        let mut counts = [Count::default(); FUNCTIONS.len() + 1];
        for (i, count) in counts.iter_mut().enumerate() {
            count.unit = id;
            count.function = FUNCTIONS.get(i).copied().unwrap_or(0);
        }
        Self {
            id,
            name: String::new(),
            tables: Default::default(),
            counts,
            requests: VecDeque::with_capacity(REQUESTS_KEPT),
        }
    }

    pub(crate) fn table(&mut self, kind: Kind) -> &mut Table {
        &mut self.tables[kind as usize]
    }

    pub(crate) fn count(&mut self, function: u8) -> &mut Count {
        &mut self.counts[slot(function)]
    }

    pub(crate) fn remember(&mut self, function: u8, address: u16, count: u16) {
        if self.requests.len() == REQUESTS_KEPT {
            self.requests.pop_front();
        }
        self.requests.push_back(Request {
            unit: self.id,
            function,
            address,
            count,
        });
    }

    pub(crate) fn sizes(&self) -> impl Iterator<Item = (Kind, usize)> + '_ {
        Kind::ALL
            .into_iter()
            .map(|kind| (kind, self.tables[kind as usize].len()))
    }
}

/// All units of a simulator with their world, their faults and the records.
#[derive(Debug)]
pub(crate) struct Devices {
    units: Vec<Mutex<Unit>>,
    /// Where a unit stands in `units`, by its address.
    places: [Option<u8>; 256],
    pub(crate) world: World,
    pub(crate) faults: Faults,
    writes: Mutex<VecDeque<Write>>,
    started: Instant,
    pub(crate) line: LineTotals,
}

#[derive(Debug, Default)]
pub(crate) struct LineTotals {
    pub(crate) connections: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) bad_frames: AtomicU64,
    pub(crate) dropped_bytes: AtomicU64,
    pub(crate) unknown_units: AtomicU64,
}

impl LineTotals {
    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    fn read(&self) -> LineCounters {
        LineCounters {
            connections: self.connections.load(Ordering::Relaxed),
            open: self.open.load(Ordering::Relaxed),
            bad_frames: self.bad_frames.load(Ordering::Relaxed),
            dropped_bytes: self.dropped_bytes.load(Ordering::Relaxed),
            unknown_units: self.unknown_units.load(Ordering::Relaxed),
        }
    }
}

impl Devices {
    pub(crate) fn new(units: Vec<Unit>, world: World) -> Self {
        let mut places = [None; 256];
        for (place, unit) in (0u8..=255).zip(&units) {
            places[usize::from(unit.id)] = Some(place);
        }
        Self {
            units: units.into_iter().map(Mutex::new).collect(),
            places,
            world,
            faults: Faults::default(),
            writes: Mutex::new(VecDeque::new()),
            started: Instant::now(),
            line: LineTotals::default(),
        }
    }

    /// The unit with an address, if there is one.
    pub(crate) fn unit(&self, id: u8) -> Option<MutexGuard<'_, Unit>> {
        let place = self.places[usize::from(id)]?;
        self.units.get(usize::from(place)).map(lock)
    }

    /// The only unit, if there is exactly one.
    pub(crate) fn only_unit(&self) -> Option<u8> {
        match self.units.as_slice() {
            [only] => Some(lock(only).id),
            _ => None,
        }
    }

    pub(crate) fn units(&self) -> impl Iterator<Item = MutexGuard<'_, Unit>> {
        self.units.iter().map(lock)
    }

    pub(crate) fn wrote(&self, unit: u8, function: u8, table: Kind, address: u16, values: &[u16]) {
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        if writes.len() == WRITES_KEPT {
            writes.pop_front();
        }
        let at = self.started.elapsed();
        writes.push_back(Write {
            unit,
            function,
            table,
            address,
            values: values.to_vec(),
            at,
        });
    }

    pub(crate) fn writes(&self) -> Vec<Write> {
        let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        writes.iter().cloned().collect()
    }

    pub(crate) fn counters(&self) -> Counters {
        let rows = self
            .units()
            .flat_map(|unit| unit.counts)
            .filter(|row| row.requests > 0);
        Counters {
            rows: rows.collect(),
        }
    }

    pub(crate) fn requests(&self, unit: u8) -> Vec<Request> {
        self.unit(unit)
            .map(|unit| unit.requests.iter().copied().collect())
            .unwrap_or_default()
    }

    pub(crate) fn line_counters(&self) -> LineCounters {
        self.line.read()
    }

    /// Forgets counts, requests and writes; values and faults stay.
    pub(crate) fn forget(&self) {
        for mut unit in self.units() {
            let unit = &mut *unit;
            unit.requests.clear();
            for count in &mut unit.counts {
                *count = Count {
                    unit: count.unit,
                    function: count.function,
                    ..Count::default()
                };
            }
        }
        self.writes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

fn lock(unit: &Mutex<Unit>) -> MutexGuard<'_, Unit> {
    // A panic in a former holder leaves values behind that are still in range.
    unit.lock().unwrap_or_else(PoisonError::into_inner)
}
