#![allow(unsafe_code)] // Is called by a mapper through the host's table of functions.
//! Everything that a mapper emits, and what the host answered.

use std::{
    collections::BTreeMap,
    ffi::c_void,
    mem::offset_of,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use longshore_abi as abi;

use super::Layout;
use crate::{
    batch::{Batch, BatchFault},
    gather::{Emitted, Gatherer},
    wire,
};

/// More batches than this are counted, not kept.
const KEPT_BATCHES: usize = 200_000;
/// More lines and faults than this are not kept.
const KEPT_LINES: usize = 1_000;

/// What the host answers to `emit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gate {
    /// Takes everything.
    #[default]
    Open,
    /// Takes nothing for now: `STATUS_WOULD_BLOCK`.
    Full,
    /// Takes nothing any more: `STATUS_STOPPED`.
    Closed,
}

/// Where in its life the instance was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Phase {
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
pub struct Record {
    /// When it came.
    pub at: Instant,
    /// The same in nanoseconds since the Unix epoch.
    pub unix_ns: i64,
    /// What it held.
    pub batch: Batch,
}

/// What is wrong with something that was emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MalformedKind {
    /// A text is not UTF-8.
    Text,
    /// Sizes, strides, counts or pointers.
    Shape,
    /// A type, quality or boolean that does not exist.
    Value,
    /// A field that must be zero is not.
    Reserved,
}

/// Something that breaks the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// What kind.
    pub kind: MalformedKind,
    /// Where and how.
    pub message: String,
}

/// A line for the host's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `LOG_*`.
    pub level: u32,
    /// The text.
    pub text: String,
}

/// The host that a [`super::BareInstance`] talks to.
#[derive(Default)]
pub struct Recorder {
    inside: Mutex<Inside>,
    /// Signalled when something was emitted or the gate moved.
    changed: Condvar,
}

#[derive(Default)]
struct Inside {
    gatherer: Gatherer,
    gate: Gate,
    phase: Phase,
    records: Vec<Record>,
    dropped: usize,
    malformed: Vec<Malformed>,
    lines: Vec<Line>,
    emits: BTreeMap<Phase, usize>,
    calls: BTreeMap<Phase, usize>,
    refused: usize,
}

impl Recorder {
    /// A recorder. It is never freed, because a mapper may call it too late.
    pub fn new() -> &'static Self {
        Box::leak(Box::default())
    }

    /// Sets what `emit` answers from now on.
    pub fn set_gate(&self, gate: Gate) {
        self.lock().gate = gate;
        self.changed.notify_all();
    }

    /// Looks at the batches that were taken, until `look` finds something or
    /// the time is over. `look` gets all batches each time.
    pub fn wait<T>(
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
            let left = end.checked_duration_since(Instant::now())?;
            inside = self
                .changed
                .wait_timeout(inside, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// The batches that were taken so far.
    pub fn records(&self) -> Vec<Record> {
        self.lock().records.clone()
    }

    /// Forgets the batches that were taken, and gives their memory back.
    pub fn forget(&self) {
        self.lock().records = Vec::new();
    }

    /// What was emitted and breaks the contract.
    pub fn malformed(&self) -> Vec<Malformed> {
        self.lock().malformed.clone()
    }

    /// Lines of the log.
    pub fn lines(&self) -> Vec<Line> {
        self.lock().lines.clone()
    }

    /// Calls of `emit` in a phase, taken or not.
    pub fn emits(&self, phase: Phase) -> usize {
        self.lock().emits.get(&phase).copied().unwrap_or(0)
    }

    /// Calls of any function in a phase.
    pub fn calls(&self, phase: Phase) -> usize {
        self.lock().calls.get(&phase).copied().unwrap_or(0)
    }

    /// Calls of `emit` that the gate sent back.
    pub fn refused(&self) -> usize {
        self.lock().refused
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.lock().phase = phase;
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Safety
    /// `batch` is as `HostApi::emit` has it.
    unsafe fn take(&self, batch: *const abi::EventBatch) -> i32 {
        let at = Instant::now();
        let unix_ns = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos() as i64);
        let mut inside = self.lock();
        let phase = inside.phase;
        *inside.emits.entry(phase).or_default() += 1;
        *inside.calls.entry(phase).or_default() += 1;
        let status = match inside.gate {
            Gate::Full => abi::STATUS_WOULD_BLOCK,
            Gate::Closed => abi::STATUS_STOPPED,
            // SAFETY: passed on from the caller.
            Gate::Open => unsafe { inside.keep(batch, at, unix_ns) },
        };
        if matches!(status, abi::STATUS_WOULD_BLOCK | abi::STATUS_STOPPED) {
            inside.refused += 1;
        }
        drop(inside);
        self.changed.notify_all();
        status
    }
}

impl Inside {
    /// # Safety
    /// `batch` is as `HostApi::emit` has it.
    unsafe fn keep(&mut self, batch: *const abi::EventBatch, at: Instant, unix_ns: i64) -> i32 {
        // SAFETY: passed on from the caller.
        let emitted = unsafe { Emitted::new(&batch) };
        let body = match self.gatherer.gather(emitted) {
            Ok(gathered) => {
                let mut body = Vec::with_capacity(gathered.len());
                gathered.append_to(&mut body, wire::HEADER);
                body
            }
            Err(status) => {
                self.complain(
                    MalformedKind::Shape,
                    "a batch whose sizes, strides or pointers are wrong, or of more than 4 MiB",
                );
                return status;
            }
        };
        match Batch::parse(Bytes::from(body)) {
            Ok(batch) => {
                if let Some(token) = batch.reserved_set() {
                    let message = format!("the completion of {token} has a reserved field set");
                    self.complain(MalformedKind::Reserved, message);
                }
                if self.records.len() < KEPT_BATCHES {
                    self.records.push(Record { at, unix_ns, batch });
                } else {
                    self.dropped += 1;
                }
            }
            Err(fault) => {
                let kind = match fault {
                    BatchFault::Short | BatchFault::Long => MalformedKind::Shape,
                    BatchFault::Text(_) => MalformedKind::Text,
                    BatchFault::SampleKind(_) | BatchFault::Boolean(_) | BatchFault::Quality(_) => {
                        MalformedKind::Value
                    }
                };
                self.complain(kind, fault.to_string());
            }
        }
        // Taken all the same: what is wrong is known, and the mapper goes on.
        abi::STATUS_OK
    }

    fn complain(&mut self, kind: MalformedKind, message: impl Into<String>) {
        if self.malformed.len() < KEPT_LINES {
            self.malformed.push(Malformed {
                kind,
                message: message.into(),
            });
        }
    }
}

impl Batch {
    /// The token of a completion whose reserved field is not zero.
    fn reserved_set(&self) -> Option<u64> {
        let at = offset_of!(abi::Completion, reserved);
        self.completion_chunks()
            .iter()
            .zip(self.completions())
            .find(|(bytes, _)| bytes[at..at + 4] != [0; 4])
            .map(|(_, completion)| completion.token)
    }
}

#[repr(C)]
struct LongTable {
    api: abi::HostApi,
    unknown: [usize; 4],
}

/// A table for `recorder`; it lives for ever, as the recorder does.
pub(super) fn host_table(recorder: &'static Recorder, layout: Layout) -> *const abi::HostApi {
    let size = if layout.table_extra {
        size_of::<LongTable>()
    } else {
        size_of::<abi::HostApi>()
    };
    let table = Box::leak(Box::new(LongTable {
        api: abi::HostApi {
            size: size as u32,
            abi_major: abi::ABI_MAJOR,
            abi_minor: layout.host_minor.unwrap_or(abi::ABI_MINOR),
            context: std::ptr::from_ref(recorder).cast_mut().cast(),
            emit: Some(emit),
            wait_writable: Some(wait_writable),
            log: Some(log),
        },
        unknown: [usize::MAX; 4],
    }));
    (&raw const *table).cast()
}

/// # Safety
/// `context` is the leaked recorder of `host_table`.
unsafe fn recorder(context: *mut c_void) -> Option<&'static Recorder> {
    // SAFETY: passed on from the caller; a mapper gives back what it was given.
    unsafe { context.cast::<Recorder>().as_ref() }
}

unsafe extern "C" fn emit(context: *mut c_void, batch: *const abi::EventBatch) -> i32 {
    // SAFETY: the mapper upholds the contract of `HostApi::emit`.
    unsafe {
        match recorder(context) {
            Some(recorder) => recorder.take(batch),
            None => abi::STATUS_INVALID_ARGUMENT,
        }
    }
}

unsafe extern "C" fn wait_writable(context: *mut c_void, timeout_ns: i64) -> i32 {
    // SAFETY: as for `emit`.
    let Some(recorder) = (unsafe { recorder(context) }) else {
        return abi::STATUS_INVALID_ARGUMENT;
    };
    let end = Instant::now() + Duration::from_nanos(timeout_ns.max(0).unsigned_abs());
    let mut inside = recorder.lock();
    let phase = inside.phase;
    *inside.calls.entry(phase).or_default() += 1;
    loop {
        match inside.gate {
            Gate::Open => return abi::STATUS_OK,
            Gate::Closed => return abi::STATUS_STOPPED,
            Gate::Full => {}
        }
        let Some(left) = end.checked_duration_since(Instant::now()) else {
            return abi::STATUS_TIMEOUT;
        };
        inside = recorder
            .changed
            .wait_timeout(inside, left)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
}

unsafe extern "C" fn log(context: *mut c_void, level: u32, message: abi::Bytes) {
    // SAFETY: as for `emit`.
    let Some(recorder) = (unsafe { recorder(context) }) else {
        return;
    };
    let bytes = if message.length == 0 || message.pointer.is_null() {
        &[][..]
    } else {
        // SAFETY: the mapper lends the message for this call.
        unsafe { std::slice::from_raw_parts(message.pointer, message.length) }
    };
    let mut inside = recorder.lock();
    let phase = inside.phase;
    *inside.calls.entry(phase).or_default() += 1;
    match std::str::from_utf8(bytes) {
        Ok(text) if inside.lines.len() < KEPT_LINES => inside.lines.push(Line {
            level,
            text: text.to_owned(),
        }),
        Ok(_) => {}
        Err(_) => inside.complain(MalformedKind::Text, "a line of the log is not UTF-8"),
    }
}
