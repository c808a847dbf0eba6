#![allow(unsafe_code)] // Is called by a mapper through the host's table of functions.
//! The functions of the host, as a mapper calls them, in safe terms.

use std::{
    ffi::c_void,
    mem::offset_of,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use longshore_abi as abi;

use super::Layout;
use crate::{
    batch::{Batch, BatchFault},
    gather::{Emitted, Gatherer},
    wire,
};

/// The host that a [`super::BareInstance`] talks to. It lives for ever, because
/// a mapper may call it too late.
pub trait BareHost: Send + Sync + 'static {
    /// `emit` is called. Another status than `STATUS_OK` is the answer, and
    /// nobody looks at the batch.
    fn admit(&self) -> i32;
    /// A batch that was let in, as far as it can be read, and what of it
    /// breaks the contract.
    fn take(&self, batch: Option<Batch>, malformed: Option<Malformed>);
    /// `wait_writable` is called; gives the answer.
    fn wait_writable(&self, patience: Duration) -> i32;
    /// `log` is called, with a text that need not be UTF-8.
    fn log(&self, message: &[u8]);
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

impl Malformed {
    /// Something that breaks the contract.
    pub fn new(kind: MalformedKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message }
    }
}

struct Context {
    host: &'static dyn BareHost,
    /// Held until the host has taken the batch, so that batches keep their order.
    gatherer: Mutex<Gatherer>,
}

#[repr(C)]
struct LongTable {
    api: abi::HostApi,
    unknown: [usize; 4],
}

/// A table for `host`; it lives for ever, as the host does.
pub(super) fn leaked(host: &'static dyn BareHost, layout: Layout) -> *const abi::HostApi {
    let size = if layout.table_extra {
        size_of::<LongTable>()
    } else {
        size_of::<abi::HostApi>()
    };
    let context = Box::leak(Box::new(Context {
        host,
        gatherer: Mutex::default(),
    }));
    let table = Box::leak(Box::new(LongTable {
        api: abi::HostApi {
            size: size as u32,
            abi_major: abi::ABI_MAJOR,
            abi_minor: layout.host_minor.unwrap_or(abi::ABI_MINOR),
            context: (&raw mut *context).cast(),
            emit: Some(emit),
            wait_writable: Some(wait_writable),
            log: Some(log),
        },
        unknown: [usize::MAX; 4],
    }));
    (&raw const *table).cast()
}

/// # Safety
/// `context` is null, or what [`leaked`] put into the table.
unsafe fn context(context: *mut c_void) -> Option<&'static Context> {
    // SAFETY: passed on from the caller; a mapper gives back what it was given.
    unsafe { context.cast::<Context>().as_ref() }
}

unsafe extern "C" fn emit(of: *mut c_void, batch: *const abi::EventBatch) -> i32 {
    // SAFETY: the mapper upholds the contract of `HostApi::emit`.
    let Some(context) = (unsafe { context(of) }) else {
        return abi::STATUS_INVALID_ARGUMENT;
    };
    let mut gatherer = context
        .gatherer
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    match context.host.admit() {
        // SAFETY: as above.
        abi::STATUS_OK => unsafe { take(context.host, &mut gatherer, batch) },
        status => status,
    }
}

/// # Safety
/// `batch` is as `HostApi::emit` has it.
unsafe fn take(host: &dyn BareHost, gatherer: &mut Gatherer, batch: *const abi::EventBatch) -> i32 {
    // SAFETY: passed on from the caller.
    let emitted = unsafe { Emitted::new(&batch) };
    let body = match gatherer.gather(emitted) {
        Ok(gathered) => {
            let mut body = Vec::with_capacity(gathered.len());
            gathered.append_to(&mut body, wire::HEADER);
            body
        }
        Err(status) => {
            let message =
                "a batch whose sizes, strides or pointers are wrong, or of more than 4 MiB";
            let malformed = Malformed::new(MalformedKind::Shape, message);
            host.take(None, Some(malformed));
            return status;
        }
    };
    match Batch::parse(Bytes::from(body)) {
        Ok(batch) => {
            let reserved = batch.reserved_set().map(|token| {
                let message = format!("the completion of {token} has a reserved field set");
                Malformed::new(MalformedKind::Reserved, message)
            });
            host.take(Some(batch), reserved);
        }
        Err(fault) => {
            let kind = match fault {
                BatchFault::Short | BatchFault::Long => MalformedKind::Shape,
                BatchFault::Text(_) => MalformedKind::Text,
                BatchFault::SampleKind(_) | BatchFault::Boolean(_) | BatchFault::Quality(_) => {
                    MalformedKind::Value
                }
            };
            host.take(None, Some(Malformed::new(kind, fault.to_string())));
        }
    }
    // Taken all the same: what is wrong is known, and the mapper goes on.
    abi::STATUS_OK
}

unsafe extern "C" fn wait_writable(of: *mut c_void, timeout_ns: i64) -> i32 {
    // SAFETY: as for `emit`.
    match unsafe { context(of) } {
        Some(context) => {
            let patience = Duration::from_nanos(timeout_ns.max(0).unsigned_abs());
            context.host.wait_writable(patience)
        }
        None => abi::STATUS_INVALID_ARGUMENT,
    }
}

unsafe extern "C" fn log(of: *mut c_void, _level: u32, message: abi::Bytes) {
    // SAFETY: as for `emit`.
    let Some(context) = (unsafe { context(of) }) else {
        return;
    };
    let bytes = if message.length == 0 || message.pointer.is_null() {
        &[][..]
    } else {
        // SAFETY: the mapper lends the message for this call.
        unsafe { std::slice::from_raw_parts(message.pointer, message.length) }
    };
    context.host.log(bytes);
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
