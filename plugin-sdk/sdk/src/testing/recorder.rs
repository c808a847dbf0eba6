//! The host of a mapper under test.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::{sync::watch, time::timeout};

use crate::{
    Completion, DeviceState, Event, Host, HostFunctions, Level, Reading, Reason, SampleValue,
    Stopped,
};

/// How long something may take to happen. A machine that is busy with other
/// tests is slow; a wait ends as soon as what it waits for is there.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// A wait looks again when something was emitted, and after this time.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Samples kept of each point.
const KEPT: usize = 10_000;

/// A sample as it was emitted.
#[derive(Debug, Clone, PartialEq)]
pub struct TestSample {
    /// The point's id.
    pub point: u32,
    /// The value, or why there is none.
    pub value: Result<SampleValue, (Option<Reason>, String)>,
    /// When the value was true at its source: nanoseconds since the Unix epoch.
    pub source_time_ns: i64,
    /// Samples with the same number came together.
    pub batch: u64,
}

impl TestSample {
    /// Why there is no value, when there is none.
    pub fn bad(&self) -> Option<(Option<Reason>, String)> {
        self.value.as_ref().err().cloned()
    }
}

/// All that has come from the mapper.
#[derive(Default)]
pub struct Record {
    points: BTreeMap<u32, History>,
    completions: BTreeMap<u64, Vec<Completion>>,
    /// What was said of devices, oldest first.
    pub states: Vec<DeviceState>,
    /// The lines for the log, oldest first.
    pub logs: Vec<(Level, String)>,
    /// Batches taken.
    pub batches: u64,
    /// Bytes of the longest batch, about; the contract allows 4 MiB.
    pub longest: usize,
}

#[derive(Default)]
struct History {
    /// How many came before those that are kept.
    dropped: u64,
    kept: VecDeque<TestSample>,
}

impl Record {
    /// How many samples of a point have come.
    pub fn count(&self, point: u32) -> u64 {
        self.points
            .get(&point)
            .map_or(0, |of| of.dropped + of.kept.len() as u64)
    }

    /// The samples of a point, but for the first `start` of all.
    pub fn samples_since(&self, point: u32, start: u64) -> impl Iterator<Item = &TestSample> {
        self.points.get(&point).into_iter().flat_map(move |of| {
            let skipped = usize::try_from(start.saturating_sub(of.dropped)).unwrap_or(usize::MAX);
            of.kept.iter().skip(skipped)
        })
    }

    /// The samples of all points, those of each oldest first.
    pub fn samples(&self) -> impl Iterator<Item = &TestSample> {
        self.points.values().flat_map(|of| &of.kept)
    }

    /// The latest sample of a point.
    pub fn latest(&self, point: u32) -> Option<&TestSample> {
        self.points.get(&point)?.kept.back()
    }

    /// How a command ended.
    ///
    /// # Panics
    /// It ended more than once.
    pub fn completion(&self, token: u64) -> Option<&Completion> {
        let ends = self.completions.get(&token)?;
        assert!(ends.len() == 1, "command {token} ended twice: {ends:?}");
        ends.first()
    }

    /// The latest state of a device.
    pub fn state(&self, device: u32) -> Option<&DeviceState> {
        self.states.iter().rfind(|state| state.device == device)
    }

    fn take(&mut self, event: &Event) {
        self.batches += 1;
        let messages = event.completions.iter().map(|of| of.message.len());
        let bytes = event.samples.bytes() + messages.sum::<usize>();
        self.longest = self.longest.max(bytes);
        self.states.extend(event.states.iter().cloned());
        for sample in event.samples.iter() {
            let value = match sample.reading {
                Reading::Bool(value) => Ok(SampleValue::Bool(value)),
                Reading::Int(value) => Ok(SampleValue::Int(value)),
                Reading::Uint(value) => Ok(SampleValue::Uint(value)),
                Reading::Float(value) => Ok(SampleValue::Float(value)),
                Reading::String(value) => Ok(SampleValue::String(value.to_owned())),
                Reading::Bytes(value) => Ok(SampleValue::Bytes(value.to_owned())),
                Reading::Bad { reason, message } => Err((reason, message.to_owned())),
            };
            let history = self.points.entry(sample.point).or_default();
            if history.kept.len() >= KEPT {
                history.kept.pop_front();
                history.dropped += 1;
            }
            history.kept.push_back(TestSample {
                point: sample.point,
                value,
                source_time_ns: sample.source_time_ns,
                batch: self.batches,
            });
        }
        for completion in &event.completions {
            let ends = self.completions.entry(completion.token).or_default();
            ends.push(completion.clone());
        }
    }
}

/// What is there, short enough to be read in the message of a test.
impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let latest: Vec<_> = self
            .points
            .values()
            .filter_map(|of| of.kept.back())
            .take(50)
            .collect();
        let last = |count: usize, of: usize| of.saturating_sub(count);
        f.debug_struct("Record")
            .field("latest", &latest)
            .field("states", &&self.states[last(20, self.states.len())..])
            .field("logs", &&self.logs[last(20, self.logs.len())..])
            .field("batches", &self.batches)
            .finish_non_exhaustive()
    }
}

/// A host that records. Clones share one record.
#[derive(Clone)]
pub struct Recorder(Arc<Shared>);

struct Shared {
    record: Mutex<Record>,
    changed: watch::Sender<()>,
    /// Whether it takes nothing at the moment.
    full: Mutex<bool>,
    room: Condvar,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder {
    /// An empty record.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            record: Mutex::default(),
            changed: watch::Sender::new(()),
            full: Mutex::new(false),
            room: Condvar::new(),
        }))
    }

    /// The host as the mapper sees it.
    pub fn host(&self) -> Host {
        Host::new(Arc::clone(&self.0) as Arc<dyn HostFunctions>)
    }

    /// Whether the host's queue is full: it then takes nothing.
    pub fn set_full(&self, full: bool) {
        *lock(&self.0.full) = full;
        self.0.room.notify_all();
    }

    /// Looks at what is there.
    pub fn look<T>(&self, at: impl FnOnce(&Record) -> T) -> T {
        at(&lock(&self.0.record))
    }

    /// Waits until `wanted` gives something, which may also look at what is
    /// not in the record.
    ///
    /// # Panics
    /// It gives nothing for a minute. The message tells what is there.
    pub async fn wait<T>(&self, what: &str, mut wanted: impl FnMut(&Record) -> Option<T>) -> T {
        let mut changes = self.0.changed.subscribe();
        let waiting = async {
            loop {
                changes.mark_unchanged();
                if let Some(found) = self.look(&mut wanted) {
                    return found;
                }
                // Tests also look at what is theirs, such as a simulator.
                let _ = timeout(LOOK_AGAIN, changes.changed()).await;
            }
        };
        match timeout(PATIENCE, waiting).await {
            Ok(found) => found,
            Err(_) => self.look(|record| panic!("waited in vain for {what}; there is {record:#?}")),
        }
    }
}

impl HostFunctions for Shared {
    fn try_emit(&self, event: &Event) -> Result<bool, Stopped> {
        if *lock(&self.full) {
            return Ok(false);
        }
        lock(&self.record).take(event);
        self.changed.send_replace(());
        Ok(true)
    }

    fn wait_writable(&self, limit: Duration) -> Result<bool, Stopped> {
        let full = lock(&self.full);
        let waited = self.room.wait_timeout_while(full, limit, |full| *full);
        let (_full, end) = waited.unwrap_or_else(PoisonError::into_inner);
        Ok(!end.timed_out())
    }

    fn log(&self, level: Level, message: &str) {
        lock(&self.record).logs.push((level, message.to_owned()));
        self.changed.send_replace(());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a value is what a test wrote as JSON.
pub(super) fn is_json(value: &SampleValue, json: &Value) -> bool {
    match (value, json) {
        (SampleValue::Bool(value), Value::Bool(json)) => value == json,
        (SampleValue::Int(value), Value::Number(json)) => {
            json.as_i64() == Some(*value) || json.as_f64() == Some(*value as f64)
        }
        (SampleValue::Uint(value), Value::Number(json)) => {
            json.as_u64() == Some(*value) || json.as_f64() == Some(*value as f64)
        }
        (SampleValue::Float(value), Value::Number(json)) => json.as_f64() == Some(*value),
        (SampleValue::String(value), Value::String(json)) => value == json,
        (SampleValue::Bytes(value), Value::Array(json)) => {
            value.len() == json.len()
                && value
                    .iter()
                    .zip(json)
                    .all(|(byte, json)| json.as_u64() == Some(u64::from(*byte)))
        }
        _ => false,
    }
}
