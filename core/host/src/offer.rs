#![allow(unsafe_code)] // Turns the `context` of the contract back into a sink.
//! The table of functions that the host offers to a mapper.

use std::{ffi::c_void, ptr, slice, time::Duration};

use longshore_abi as abi;

use crate::gather::Emitted;

/// Where a mapper's batches go: a socket in the child, a queue in-process.
pub(crate) trait Sink: Send + Sync + 'static {
    /// Takes the whole batch, or says with a status why not.
    fn emit(&self, batch: Emitted<'_>) -> i32;
    /// Waits until `emit` has room.
    fn wait_writable(&self, timeout: Duration) -> i32;
    /// Writes a line to the log.
    fn log(&self, level: u32, message: &str);
}

/// The host's table for `sink`.
///
/// Table and sink are leaked: a thread that a mapper left behind may call them
/// as long as the process lives. That is some hundred bytes for each start of
/// an instance.
pub(crate) fn host_api<S: Sink>(sink: &'static S) -> &'static abi::HostApi {
    Box::leak(Box::new(abi::HostApi {
        size: size_of::<abi::HostApi>() as u32,
        abi_major: abi::ABI_MAJOR,
        abi_minor: abi::ABI_MINOR,
        context: ptr::from_ref(sink).cast_mut().cast(),
        emit: Some(emit::<S>),
        wait_writable: Some(wait_writable::<S>),
        log: Some(log::<S>),
    }))
}

unsafe extern "C" fn emit<S: Sink>(context: *mut c_void, batch: *const abi::EventBatch) -> i32 {
    // SAFETY: the mapper passes the context that came with this function.
    let Some(sink) = (unsafe { context.cast::<S>().as_ref() }) else {
        return abi::STATUS_INVALID_ARGUMENT;
    };
    // SAFETY: the mapper upholds the contract of `emit`: the batch is borrowed
    // for this call.
    sink.emit(unsafe { Emitted::new(&batch) })
}

unsafe extern "C" fn wait_writable<S: Sink>(context: *mut c_void, timeout_ns: i64) -> i32 {
    // SAFETY: the mapper passes the context that came with this function.
    let Some(sink) = (unsafe { context.cast::<S>().as_ref() }) else {
        return abi::STATUS_INVALID_ARGUMENT;
    };
    sink.wait_writable(Duration::from_nanos(timeout_ns.max(0).unsigned_abs()))
}

unsafe extern "C" fn log<S: Sink>(context: *mut c_void, level: u32, message: abi::Bytes) {
    // SAFETY: the mapper passes the context that came with this function.
    let Some(sink) = (unsafe { context.cast::<S>().as_ref() }) else {
        return;
    };
    if message.pointer.is_null() {
        return;
    }
    let length = message.length.min(crate::wire::MAX_LOG_LINE);
    // SAFETY: the mapper upholds that the message is readable.
    let message = unsafe { slice::from_raw_parts(message.pointer, length) };
    sink.log(level, &String::from_utf8_lossy(message));
}
