#![allow(unsafe_code)] // Calls through a mapper's table of functions, and is called through the host's.
//! A mapper library with nothing in between: no supervision, no process of its
//! own, no queue. For tools that judge mappers, such as the conformance kit;
//! everybody else wants [`crate::Mapper`].
//!
//! # Why this shape
//! The judge asks for what a good host never does: commands that nobody knows,
//! longer and shorter structs, a host that takes nothing. So an [`Order`] can
//! say all of that in safe terms, and a [`BareHost`] hears everything that
//! comes out, also what comes too late. Only what needs `unsafe` is here; the
//! judge keeps its own record.
//!
//! # Caveats
//! A mapper that crashes takes the process with it, and the host's table is
//! never freed: threads that a mapper left behind may call it for ever. Use it
//! in a process that ends soon.

mod order;
mod table;

use std::{
    ffi::c_void,
    path::{Path, PathBuf},
    ptr,
    time::Duration,
};

use longshore_abi as abi;

pub use self::{
    order::{Layout, Order, OrderValue},
    table::{BareHost, Malformed, MalformedKind},
};
use crate::{library::Library, wire};

/// A mapper's table of functions, from a file or linked in.
#[derive(Clone, Copy)]
pub struct Bare {
    api: &'static abi::MapperApi,
}

/// The library cannot be loaded, or its table cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("failed to load `{}`", path.display())]
pub struct BareError {
    path: PathBuf,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// `create` said no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRefused {
    /// `STATUS_*`.
    pub status: i32,
    /// What stands in the `ErrorText`; nothing if it is not UTF-8.
    pub message: Option<String>,
    /// The mapper kept to the room of the `ErrorText`: its length fits and not
    /// a byte behind it was changed.
    pub within_room: bool,
    /// An instance was made although the status says no.
    pub made_one: bool,
}

/// An instance. Lives and dies on one thread. Dropping it leaks it.
pub struct BareInstance {
    api: &'static abi::MapperApi,
    instance: *mut c_void,
    layout: Layout,
}

/// An `ErrorText` with bytes behind it that nobody may change.
#[repr(C)]
struct GuardedText {
    text: abi::ErrorText,
    behind: [u8; 64],
}

const UNTOUCHED: u8 = 0xA5;

impl Bare {
    /// Loads a library for the rest of the process's life; its constructors run.
    ///
    /// # Errors
    /// It cannot be loaded, has no entry function, or its table is of another
    /// version or lacks a function.
    pub fn load(path: &Path) -> Result<Self, BareError> {
        match Library::load(path) {
            Ok(library) => Ok(Self { api: library.api() }),
            Err(source) => Err(BareError {
                path: path.to_owned(),
                source: Box::new(source),
            }),
        }
    }

    /// A mapper that is linked into this program.
    pub fn linked(api: &'static abi::MapperApi) -> Self {
        Self { api }
    }

    /// The version of the contract that the table states: major and minor.
    pub fn version(&self) -> (u16, u16) {
        (self.api.abi_major, self.api.abi_minor)
    }

    /// Makes an instance that emits to `host`.
    ///
    /// # Errors
    /// The mapper made none, or said so.
    pub fn create(
        &self,
        config: &[u8],
        host: &'static dyn BareHost,
        layout: Layout,
    ) -> Result<BareInstance, CreateRefused> {
        let room = layout
            .error_room
            .map_or(size_of::<abi::ErrorText>(), |room| {
                room.clamp(8, size_of::<abi::ErrorText>())
            });
        let mut error = GuardedText {
            text: abi::ErrorText {
                size: room as u32,
                length: 0,
                text: [UNTOUCHED; 1016],
            },
            behind: [UNTOUCHED; 64],
        };
        let host = table::leaked(host, layout);
        let mut instance = ptr::null_mut();
        let status = match self.api.create {
            // SAFETY: all pointers are to locals, and the host's table lives for ever.
            Some(create) => unsafe {
                create(
                    host,
                    abi::Bytes::new(config),
                    &mut instance,
                    (&raw mut error).cast(),
                )
            },
            None => abi::STATUS_UNSUPPORTED,
        };
        if status == abi::STATUS_OK && !instance.is_null() {
            return Ok(BareInstance {
                api: self.api,
                instance,
                layout,
            });
        }
        Err(refusal(status, room, &error, !instance.is_null()))
    }
}

/// What the mapper wrote about a failed `create`.
fn refusal(status: i32, room: usize, error: &GuardedText, made_one: bool) -> CreateRefused {
    let text_at = std::mem::offset_of!(abi::ErrorText, text);
    let room = room.saturating_sub(text_at).min(error.text.text.len());
    let length = error.text.length as usize;
    let untouched = |bytes: &[u8]| bytes.iter().all(|byte| *byte == UNTOUCHED);
    let within_room =
        length <= room && untouched(&error.text.text[room..]) && untouched(&error.behind);
    let message = std::str::from_utf8(&error.text.text[..length.min(room)])
        .ok()
        .map(str::to_owned);
    CreateRefused {
        status,
        message,
        within_room,
        made_one,
    }
}

impl BareInstance {
    /// Hands orders over; answers what the mapper answered.
    pub fn submit(&self, orders: &[Order]) -> i32 {
        let packed = order::Packed::new(orders, self.layout);
        match self.api.submit {
            // SAFETY: the instance is alive until `destroy` takes `self`; the
            // batch and all that it points to live in `packed` and `orders`.
            Some(submit) => unsafe { submit(self.instance, packed.batch()) },
            None => abi::STATUS_UNSUPPORTED,
        }
    }

    /// Ends the instance's work.
    pub fn stop(&self, budget: Duration) -> i32 {
        match self.api.stop {
            // SAFETY: the instance is alive until `destroy` takes `self`.
            Some(stop) => unsafe { stop(self.instance, wire::nanoseconds(budget) as i64) },
            None => abi::STATUS_UNSUPPORTED,
        }
    }

    /// Frees the instance.
    pub fn destroy(self) {
        if let Some(destroy) = self.api.destroy {
            // SAFETY: `self` is consumed, so this is the last call.
            unsafe { destroy(self.instance) };
        }
    }
}
