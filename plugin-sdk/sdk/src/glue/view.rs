//! Reading what lies behind the contract's pointers.

use std::{mem::MaybeUninit, slice};

use longshore_abi as abi;

use crate::{
    mapper::SampleValue,
    samples::{Reading, Reason, SampleView, Samples},
};

/// Reads a struct of which the other side knows only the first `size` bytes;
/// fields that it does not know are zero.
///
/// # Safety
/// `size` bytes are readable at `pointer`. `T` is a struct of the contract:
/// plain data for which all bytes zero is a value.
pub(super) unsafe fn prefix<T: Copy>(pointer: *const u8, size: usize) -> T {
    let mut value = MaybeUninit::<T>::zeroed();
    let length = size.min(size_of::<T>());
    // SAFETY: `length` bytes are readable (caller) and fit into `value`; the
    // rest of `value` is zero, which is valid for `T` (caller).
    unsafe {
        std::ptr::copy_nonoverlapping(pointer, value.as_mut_ptr().cast::<u8>(), length);
        value.assume_init()
    }
}

/// # Safety
/// `bytes` is borrowed memory as the contract has it, alive for `'a`.
pub(super) unsafe fn bytes<'a>(bytes: abi::Bytes) -> &'a [u8] {
    if bytes.pointer.is_null() || bytes.length == 0 {
        return &[];
    }
    // SAFETY: the caller upholds that `length` bytes are readable.
    unsafe { slice::from_raw_parts(bytes.pointer, bytes.length) }
}

/// The value of a write; nothing when it is no value or is malformed.
///
/// # Safety
/// The payload is what `kind` says, and its bytes are alive.
pub(super) unsafe fn value(value: &abi::Value) -> Option<SampleValue> {
    // SAFETY: passed on from the caller.
    SampleValue::from_reading(unsafe { reading(value.kind, &value.payload) }?)
}

/// # Safety
/// The payload is what `kind` says, and its bytes are alive for `'a`.
unsafe fn reading<'a>(kind: u8, payload: &abi::Payload) -> Option<Reading<'a>> {
    // SAFETY: the caller upholds that the field which `kind` names was written.
    Some(unsafe {
        match kind {
            abi::TYPE_BOOL => Reading::Bool(payload.boolean != 0),
            abi::TYPE_INT64 => Reading::Int(payload.int64),
            abi::TYPE_UINT64 => Reading::Uint(payload.uint64),
            abi::TYPE_FLOAT64 => Reading::Float(payload.float64),
            abi::TYPE_STRING => Reading::String(std::str::from_utf8(bytes(payload.bytes)).ok()?),
            abi::TYPE_BYTES => Reading::Bytes(bytes(payload.bytes)),
            _ => return None,
        }
    })
}

impl Samples {
    /// The samples, for tests and tools.
    pub fn iter(&self) -> impl Iterator<Item = SampleView<'_>> {
        self.samples.iter().map(|sample| {
            // SAFETY: only `Samples` writes its samples: the payload is what
            // `kind` says, and its text lies in the arena, borrowed with `self`.
            let reading = unsafe { reading(sample.kind, &sample.payload) }.unwrap_or_else(|| {
                // SAFETY: as above; a bad sample's payload is its message.
                let message = unsafe { bytes(sample.payload.bytes) };
                Reading::Bad {
                    reason: Reason::from_code(sample.reason),
                    message: std::str::from_utf8(message).unwrap_or_default(),
                }
            });
            SampleView {
                point: sample.point,
                source_time_ns: sample.source_time_ns,
                reading,
            }
        })
    }
}
