//! The host of the judge: everything that a mapper emits, and what it was answered.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use longshore_abi as abi;
use longshore_host::{
    Batch,
    bare::{Bare, BareHost, BareInstance, CreateRefused, Layout, Malformed, MalformedKind, Order},
};

/// More batches than this are not kept.
const KEPT_BATCHES: usize = 200_000;
/// More faults than this are not kept.
const KEPT_FAULTS: usize = 1_000;

/// What the host answers to `emit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Gate {
    /// Takes everything.
    #[default]
    Open,
    /// Takes nothing for now: `STATUS_WOULD_BLOCK`.
    Full,
    /// Takes nothing any more: `STATUS_STOPPED`.
    Closed,
}

/// Where in its life the instance was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Phase {
    /// Before `create`, or in it.
    #[default]
    Creating,
    /// Between `create` and the return of `stop`.
    Running,
    /// `stop` has returned.
    Stopped,
    /// `destroy` has returned.
    Destroyed,
}

/// A batch that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// When it came.
    pub(crate) at: Instant,
    /// The same in nanoseconds since the Unix epoch.
    pub(crate) unix_ns: i64,
    /// What it held.
    pub(crate) batch: Batch,
}

#[derive(Default)]
pub(crate) struct Recorder {
    inside: Mutex<Inside>,
    /// Signalled when something was emitted or the gate moved.
    changed: Condvar,
}

#[derive(Default)]
struct Inside {
    gate: Gate,
    phase: Phase,
    records: Vec<Record>,
    malformed: Vec<Malformed>,
    emits: BTreeMap<Phase, usize>,
    calls: BTreeMap<Phase, usize>,
    refused: usize,
}

/// A mapper's instance and its record, which knows in which phase of the
/// instance's life it was called.
pub(crate) struct Instance {
    bare: BareInstance,
    recorder: &'static Recorder,
}

impl Instance {
    pub(crate) fn create(
        mapper: &Bare,
        config: &[u8],
        recorder: &'static Recorder,
        layout: Layout,
    ) -> Result<Self, CreateRefused> {
        let made = mapper.create(config, recorder, layout);
        recorder.enter(match made {
            Ok(_) => Phase::Running,
            Err(_) => Phase::Destroyed,
        });
        Ok(Self {
            bare: made?,
            recorder,
        })
    }

    pub(crate) fn submit(&self, orders: &[Order]) -> i32 {
        self.bare.submit(orders)
    }

    pub(crate) fn stop(&self, budget: Duration) -> i32 {
        let status = self.bare.stop(budget);
        self.recorder.enter(Phase::Stopped);
        status
    }

    pub(crate) fn destroy(self) {
        self.bare.destroy();
        self.recorder.enter(Phase::Destroyed);
    }
}

impl Recorder {
    /// A recorder. It is never freed, because a mapper may call it too late.
    pub(crate) fn new() -> &'static Self {
        Box::leak(Box::default())
    }

    /// Sets what `emit` answers from now on.
    pub(crate) fn set_gate(&self, gate: Gate) {
        self.lock().gate = gate;
        self.changed.notify_all();
    }

    /// Looks at the batches that were taken, until `look` finds something or
    /// the time is over. `look` gets all batches each time.
    pub(crate) fn wait<T>(
        &self,
        patience: Duration,
        mut look: impl FnMut(&[Record]) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + patience;
        let mut inside = self.lock();
        loop {
            if let Some(found) = look(&inside.records) {
                return Some(found);
            }
            inside = self.wait_until(end, inside)?;
        }
    }

    /// The batches that were taken so far.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.lock().records.clone()
    }

    /// Forgets the batches that were taken, and gives their memory back.
    pub(crate) fn forget(&self) {
        self.lock().records = Vec::new();
    }

    /// What was emitted and breaks the contract.
    pub(crate) fn malformed(&self) -> Vec<Malformed> {
        self.lock().malformed.clone()
    }

    /// Calls of `emit` in a phase, taken or not.
    pub(crate) fn emits(&self, phase: Phase) -> usize {
        self.lock().emits.get(&phase).copied().unwrap_or(0)
    }

    /// Calls of any function in a phase.
    pub(crate) fn calls(&self, phase: Phase) -> usize {
        self.lock().calls.get(&phase).copied().unwrap_or(0)
    }

    /// Calls of `emit` that the gate sent back.
    pub(crate) fn refused(&self) -> usize {
        self.lock().refused
    }

    fn enter(&self, phase: Phase) {
        self.lock().phase = phase;
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next change; nothing once `end` has passed.
    fn wait_until<'a>(
        &self,
        end: Instant,
        inside: MutexGuard<'a, Inside>,
    ) -> Option<MutexGuard<'a, Inside>> {
        let left = end.checked_duration_since(Instant::now())?;
        let waited = self.changed.wait_timeout(inside, left);
        Some(waited.unwrap_or_else(PoisonError::into_inner).0)
    }
}

impl Inside {
    fn called(&mut self) {
        *self.calls.entry(self.phase).or_default() += 1;
    }

    fn complain(&mut self, fault: Malformed) {
        if self.malformed.len() < KEPT_FAULTS {
            self.malformed.push(fault);
        }
    }
}

impl BareHost for Recorder {
    fn admit(&self) -> i32 {
        let mut inside = self.lock();
        inside.called();
        let phase = inside.phase;
        *inside.emits.entry(phase).or_default() += 1;
        let status = match inside.gate {
            Gate::Open => return abi::STATUS_OK,
            Gate::Full => abi::STATUS_WOULD_BLOCK,
            Gate::Closed => abi::STATUS_STOPPED,
        };
        inside.refused += 1;
        status
    }

    fn take(&self, batch: Option<Batch>, malformed: Option<Malformed>) {
        let at = Instant::now();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let unix_ns = since_epoch.map_or(0, |since| since.as_nanos() as i64);
        let mut inside = self.lock();
        if let Some(fault) = malformed {
            inside.complain(fault);
        }
        if let Some(batch) = batch
            && inside.records.len() < KEPT_BATCHES
        {
            inside.records.push(Record { at, unix_ns, batch });
        }
        drop(inside);
        self.changed.notify_all();
    }

    fn wait_writable(&self, patience: Duration) -> i32 {
        let end = Instant::now() + patience;
        let mut inside = self.lock();
        inside.called();
        loop {
            match inside.gate {
                Gate::Open => return abi::STATUS_OK,
                Gate::Closed => return abi::STATUS_STOPPED,
                Gate::Full => {}
            }
            inside = match self.wait_until(end, inside) {
                Some(inside) => inside,
                None => return abi::STATUS_TIMEOUT,
            };
        }
    }

    fn log(&self, message: &[u8]) {
        let mut inside = self.lock();
        inside.called();
        if std::str::from_utf8(message).is_err() {
            let fault = "a line of the log is not UTF-8";
            inside.complain(Malformed::new(MalformedKind::Text, fault));
        }
    }
}
