#![allow(unsafe_code)] // Loads a library and calls through its table of functions.
//! A mapper library in this process.

use std::{ffi::c_void, path::Path, ptr, time::Duration};

use longshore_abi as abi;
use longshore_types::Value;

use crate::{
    command::{Command, CommandKind},
    wire,
};

/// A mapper library, loaded for the rest of the process's life.
///
/// It is never unloaded: a thread-local with a destructor or a thread that it
/// left behind would make that unsound, and glibc would quietly keep it anyway.
pub(crate) struct Library {
    api: &'static abi::MapperApi,
}

/// The library passed the inspection and yet cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("failed to load the library: {0}")]
    Load(#[source] libloading::Error),
    #[error("the library does not export the function `{}`", abi::ENTRY_SYMBOL)]
    NoEntry(#[source] libloading::Error),
    #[error(
        "the library's table of functions has version {found} of the contract, this host version {expected}"
    )]
    Version { expected: u16, found: u16 },
    #[error("the library's table lacks a function")]
    Incomplete,
}

/// `create` said no.
#[derive(Debug)]
pub(crate) struct CreateFailed {
    /// `STATUS_*`.
    pub(crate) status: i32,
    /// What the mapper said.
    pub(crate) message: String,
}

impl Library {
    /// Loads the library; its constructors run.
    pub(crate) fn load(path: &Path) -> Result<Self, LoadError> {
        use libloading::os::unix::{Library as Loaded, RTLD_LOCAL, RTLD_NOW};
        // SAFETY: the descriptor says that this is a mapper; that its
        // constructors do no harm is what isolation in a child is for.
        let library =
            unsafe { Loaded::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(LoadError::Load)?;
        // SAFETY: the contract fixes the type of this symbol.
        let entry = unsafe { library.get::<abi::EntryFn>(abi::ENTRY_SYMBOL.as_bytes()) }
            .map(|entry| *entry);
        // From here on its code may have left something behind: never unload.
        std::mem::forget(library);
        let entry = entry.map_err(LoadError::NoEntry)?;
        // SAFETY: the entry function has no conditions; the table that it
        // returns lives as long as the process.
        let Some(api) = (unsafe { entry().as_ref() }) else {
            return Err(LoadError::Incomplete);
        };
        if api.abi_major != abi::ABI_MAJOR {
            return Err(LoadError::Version {
                expected: abi::ABI_MAJOR,
                found: api.abi_major,
            });
        }
        // The size is looked at first: a shorter table has no such fields.
        let complete = api.size as usize >= size_of::<abi::MapperApi>()
            && api.create.is_some()
            && api.submit.is_some()
            && api.stop.is_some()
            && api.destroy.is_some();
        if complete {
            Ok(Self { api })
        } else {
            Err(LoadError::Incomplete)
        }
    }

    /// Its table of functions.
    pub(crate) fn api(&self) -> &'static abi::MapperApi {
        self.api
    }

    /// Makes an instance that calls `host`.
    pub(crate) fn create(
        &self,
        host: &'static abi::HostApi,
        config: &str,
    ) -> Result<Instance, CreateFailed> {
        let mut error = abi::ErrorText {
            size: size_of::<abi::ErrorText>() as u32,
            length: 0,
            text: [0; 1016],
        };
        let mut instance = ptr::null_mut();
        let status = match self.api.create {
            // SAFETY: all pointers are to locals, and `host` lives for ever.
            Some(create) => unsafe {
                create(
                    host,
                    abi::Bytes::new(config.as_bytes()),
                    &mut instance,
                    &mut error,
                )
            },
            None => abi::STATUS_UNSUPPORTED,
        };
        if status == abi::STATUS_OK && !instance.is_null() {
            return Ok(Instance {
                api: self.api,
                instance,
            });
        }
        let text = error
            .text
            .get(..error.length as usize)
            .unwrap_or(&error.text);
        let message = match String::from_utf8_lossy(text) {
            text if text.is_empty() => format!("the mapper gave no reason (status {status})"),
            text => text.into_owned(),
        };
        Err(CreateFailed { status, message })
    }
}

/// An instance of a mapper. Lives and dies on one thread.
pub(crate) struct Instance {
    api: &'static abi::MapperApi,
    instance: *mut c_void,
}

impl Instance {
    /// Hands commands over; answers what the mapper answered.
    pub(crate) fn submit(&self, commands: &[Command]) -> i32 {
        let commands: Vec<_> = commands.iter().map(to_abi).collect();
        let batch = abi::CommandBatch {
            size: size_of::<abi::CommandBatch>() as u32,
            stride: size_of::<abi::Command>() as u32,
            count: commands.len(),
            commands: commands.as_ptr(),
        };
        match self.api.submit {
            // SAFETY: the instance is alive until `destroy` takes `self`; the
            // batch borrows `commands`.
            Some(submit) => unsafe { submit(self.instance, &batch) },
            None => abi::STATUS_UNSUPPORTED,
        }
    }

    /// Ends the instance's work.
    pub(crate) fn stop(&self, budget: Duration) -> i32 {
        match self.api.stop {
            // SAFETY: the instance is alive until `destroy` takes `self`.
            Some(stop) => unsafe { stop(self.instance, wire::nanoseconds(budget) as i64) },
            None => abi::STATUS_UNSUPPORTED,
        }
    }

    /// Frees the instance. Without this call it is leaked, which is what a
    /// host wants of an instance that hangs.
    pub(crate) fn destroy(self) {
        if let Some(destroy) = self.api.destroy {
            // SAFETY: `self` is consumed, so this is the last call.
            unsafe { destroy(self.instance) };
        }
    }
}

/// Borrows the texts of `command`.
fn to_abi(command: &Command) -> abi::Command {
    let mut raw = abi::Command {
        kind: abi::COMMAND_REMOVE,
        device: command.device,
        point: 0,
        reserved: 0,
        token: command.token,
        budget_ns: wire::nanoseconds(command.budget) as i64,
        value: abi::Value::NONE,
        text: abi::Bytes::EMPTY,
    };
    match &command.kind {
        CommandKind::Remove => {}
        CommandKind::Configure(text) => {
            raw.kind = abi::COMMAND_CONFIGURE;
            raw.text = abi::Bytes::new(text.as_bytes());
        }
        CommandKind::Call(text) => {
            raw.kind = abi::COMMAND_CALL;
            raw.text = abi::Bytes::new(text.as_bytes());
        }
        CommandKind::Discover(text) => {
            raw.kind = abi::COMMAND_DISCOVER;
            raw.text = abi::Bytes::new(text.as_bytes());
        }
        CommandKind::Read { point } => {
            raw.kind = abi::COMMAND_READ;
            raw.point = *point;
        }
        CommandKind::Write { point, value } => {
            raw.kind = abi::COMMAND_WRITE;
            raw.point = *point;
            (raw.value.kind, raw.value.payload) = match value {
                Value::Bool(v) => (abi::TYPE_BOOL, abi::Payload::from_bool(*v)),
                Value::Int(v) => (abi::TYPE_INT64, abi::Payload::from_i64(*v)),
                Value::Uint(v) => (abi::TYPE_UINT64, abi::Payload::from_u64(*v)),
                Value::Float(v) => (abi::TYPE_FLOAT64, abi::Payload::from_f64(*v)),
                Value::String(v) => (
                    abi::TYPE_STRING,
                    abi::Payload::from_bytes(abi::Bytes::new(v.as_bytes())),
                ),
                Value::Bytes(v) => (
                    abi::TYPE_BYTES,
                    abi::Payload::from_bytes(abi::Bytes::new(v)),
                ),
            };
        }
    }
    raw
}
