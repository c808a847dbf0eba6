#![allow(unsafe_code)] // The glue stands on the C contract: it follows the raw pointers of the host.
//! A [`Mapper`] behind the C contract.
//!
//! Each entry of the table is a shim that checks what came over the boundary,
//! calls the safe trait behind `catch_unwind`, and turns the outcome into a
//! status. Nothing of this module is called by a mapper's author; it is public
//! because `export_mapper!` expands in the author's crate.

mod host;
mod view;

use std::{
    any::Any,
    ffi::c_void,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use longshore_abi as abi;

use self::host::HostLink;
use crate::mapper::{
    Command, CommandKind, CreateError, Host, Level, Mapper, SampleValue, SubmitError,
};

#[doc(hidden)]
pub use longshore_abi::{
    CAPABILITY_CALL as CALL, CAPABILITY_CHECK as CHECK, CAPABILITY_DISCOVER as DISCOVER,
    CAPABILITY_POLL as POLL, CAPABILITY_PUSH as PUSH, CAPABILITY_READ as READ,
    CAPABILITY_WRITE as WRITE, Descriptor, MapperApi,
};

/// The target triple of this build, for the descriptor.
#[doc(hidden)]
pub const TARGET: &str = env!("LONGSHORE_TARGET");

/// Time that `destroy` gives to an instance that nobody stopped.
const STOP_IN_DESTROY: Duration = Duration::from_secs(1);

/// Exports `mapper` as the C contract has it: the descriptor in its own
/// section of the file, and the entry function. Stands once in a `cdylib`.
///
/// ```
/// # use longshore_sdk::{Command, CreateError, Host, Mapper, SubmitError};
/// struct Silent;
///
/// impl Mapper for Silent {
///     fn create(_: Host, _: &serde_json::Value) -> Result<Self, CreateError> {
///         Ok(Self)
///     }
///     fn submit(&self, _: Vec<Command>) -> Result<(), SubmitError> {
///         Err(SubmitError::Busy)
///     }
///     fn stop(&self, _: std::time::Duration) {}
/// }
///
/// longshore_sdk::export_mapper!(Silent, name: "silent", protocol: "silent", capabilities: READ | WRITE | POLL);
/// ```
///
/// `schema: EXPR` at the end puts the mapper's schema (a constant `&str`, see
/// [`crate::schema`]) into a section of the file where the host, `longshore` and
/// the hub find it without running anything.
#[macro_export]
macro_rules! export_mapper {
    ($mapper:ty, name: $name:literal, protocol: $protocol:literal, capabilities: $($capability:ident)|+ $(, schema: $schema:expr)? $(,)?) => {
        $(
            const _: () = {
                const SCHEMA: &str = $schema;

                #[used]
                #[unsafe(link_section = ".longshore_schema")]
                static LONGSHORE_MAPPER_SCHEMA: [u8; SCHEMA.len()] = $crate::glue::bytes_of(SCHEMA);
            };
        )?
        const _: () = {
            // A field holds its text and a NUL.
            assert!($name.len() < 32, "the mapper's name is longer than 31 bytes");
            assert!($protocol.len() < 32, "the protocol's name is longer than 31 bytes");
            assert!(env!("CARGO_PKG_VERSION").len() < 32, "the mapper's version is longer than 31 bytes");

            #[used]
            #[unsafe(no_mangle)]
            #[unsafe(link_section = ".longshore_mapper")]
            static LONGSHORE_MAPPER_DESCRIPTOR: $crate::glue::Descriptor = $crate::glue::Descriptor::new(
                $name,
                env!("CARGO_PKG_VERSION"),
                $protocol,
                $crate::glue::TARGET,
                0 $(| $crate::glue::$capability)+,
            );

            #[unsafe(no_mangle)]
            extern "C" fn longshore_mapper_entry() -> *const $crate::glue::MapperApi {
                static API: $crate::glue::MapperApi = $crate::glue::Exported::<$mapper>::API;
                &API
            }
        };
    };
}

/// The bytes of a text, for a static that holds them itself.
#[doc(hidden)]
pub const fn bytes_of<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(text.as_bytes());
    bytes
}

/// The table of functions of the mapper `M`.
#[doc(hidden)]
pub struct Exported<M>(PhantomData<M>);

impl<M: Mapper> Exported<M> {
    /// See [`Exported`].
    pub const API: MapperApi = MapperApi {
        size: size_of::<MapperApi>() as u32,
        abi_major: abi::ABI_MAJOR,
        abi_minor: abi::ABI_MINOR,
        create: Some(create::<M>),
        submit: Some(submit::<M>),
        stop: Some(stop::<M>),
        destroy: Some(destroy::<M>),
    };
}

/// What the host's opaque `instance` points to.
struct Instance<M> {
    mapper: M,
    host: Arc<HostLink>,
    stopping: AtomicBool,
}

unsafe extern "C" fn create<M: Mapper>(
    host: *const abi::HostApi,
    config: abi::Bytes,
    instance: *mut *mut c_void,
    error: *mut abi::ErrorText,
) -> i32 {
    // SAFETY: the host upholds the contract of `create`: `host` is a table that
    // outlives the instance, `config` is borrowed for this call.
    let outcome = guarded(|| unsafe { try_create::<M>(host, config) });
    match outcome {
        Ok(Ok(made)) if !instance.is_null() => {
            // SAFETY: `instance` is the host's out-parameter, checked not to be null.
            unsafe { instance.write(Box::into_raw(Box::new(made)).cast()) };
            abi::STATUS_OK
        }
        Ok(Ok(_)) => abi::STATUS_INVALID_ARGUMENT,
        Ok(Err((status, message))) => {
            // SAFETY: `error` is null or the host's `ErrorText`.
            unsafe { host::write_error(error, &message) };
            status
        }
        Err(panic) => {
            // SAFETY: as above.
            unsafe { host::write_error(error, &format!("panicked while starting: {panic}")) };
            abi::STATUS_PANIC
        }
    }
}

/// # Safety
/// `host` and `config` are as `MapperApi::create` has them.
unsafe fn try_create<M: Mapper>(
    host: *const abi::HostApi,
    config: abi::Bytes,
) -> Result<Instance<M>, (i32, String)> {
    // SAFETY: passed on from the caller.
    let link = unsafe { HostLink::new(host) }
        .map_err(|message| (abi::STATUS_INVALID_ARGUMENT, message))?;
    // SAFETY: passed on from the caller.
    let config = match unsafe { view::bytes(config) } {
        [] => Ok(serde_json::Value::Object(serde_json::Map::new())),
        text => serde_json::from_slice(text),
    };
    let config = config.map_err(|error| {
        (
            abi::STATUS_INVALID_CONFIG,
            format!("the configuration is not JSON: {error}"),
        )
    })?;
    let link = Arc::new(link);
    let mapper = M::create(Host::new(link.clone()), &config).map_err(|error| {
        let status = match error {
            CreateError::Config(_) => abi::STATUS_INVALID_CONFIG,
            CreateError::Start(_) => abi::STATUS_INTERNAL,
        };
        (status, error.to_string())
    })?;
    Ok(Instance {
        mapper,
        host: link,
        stopping: AtomicBool::new(false),
    })
}

unsafe extern "C" fn submit<M: Mapper>(
    instance: *mut c_void,
    batch: *const abi::CommandBatch,
) -> i32 {
    // SAFETY: `instance` came from `create` and was not destroyed; the host upholds it.
    let Some(instance) = (unsafe { instance.cast::<Instance<M>>().as_ref() }) else {
        return abi::STATUS_INVALID_ARGUMENT;
    };
    if instance.stopping.load(Ordering::Acquire) {
        return abi::STATUS_STOPPED;
    }
    // SAFETY: `batch` is borrowed for this call; the host upholds it.
    let Some(commands) = (unsafe { read_commands(batch) }) else {
        return abi::STATUS_INVALID_ARGUMENT;
    };
    match guarded(|| instance.mapper.submit(commands)) {
        Ok(Ok(())) => abi::STATUS_OK,
        Ok(Err(SubmitError::Busy)) => abi::STATUS_BUSY,
        Ok(Err(SubmitError::Stopped)) => abi::STATUS_STOPPED,
        Err(panic) => {
            instance.host.log_line(
                Level::Error,
                &format!("panicked while taking commands: {panic}"),
            );
            abi::STATUS_PANIC
        }
    }
}

unsafe extern "C" fn stop<M: Mapper>(instance: *mut c_void, budget_ns: i64) -> i32 {
    // SAFETY: `instance` came from `create` and was not destroyed; the host upholds it.
    let Some(instance) = (unsafe { instance.cast::<Instance<M>>().as_ref() }) else {
        return abi::STATUS_INVALID_ARGUMENT;
    };
    stop_once(
        instance,
        Duration::from_nanos(budget_ns.max(0).unsigned_abs()),
    )
}

fn stop_once<M: Mapper>(instance: &Instance<M>, budget: Duration) -> i32 {
    if instance.stopping.swap(true, Ordering::AcqRel) {
        return abi::STATUS_OK;
    }
    let outcome = guarded(|| instance.mapper.stop(budget));
    if let Err(panic) = &outcome {
        instance
            .host
            .log_line(Level::Error, &format!("panicked while stopping: {panic}"));
    }
    // Whatever the mapper's threads still do: the host hears nothing of it.
    instance.host.close();
    if outcome.is_ok() {
        abi::STATUS_OK
    } else {
        abi::STATUS_PANIC
    }
}

unsafe extern "C" fn destroy<M: Mapper>(instance: *mut c_void) {
    if instance.is_null() {
        return;
    }
    // SAFETY: `instance` came from `Box::into_raw` in `create`, and the host
    // destroys it once, after its last other call.
    let instance = unsafe { Box::from_raw(instance.cast::<Instance<M>>()) };
    stop_once(&instance, STOP_IN_DESTROY);
    // A panic of the author's `Drop` has nobody to go to: the link is closed.
    let _ = guarded(|| drop(instance));
}

/// Runs the author's code; a panic becomes its message.
fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    // Unwind safety: after a panic the host throws the instance away.
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| panic_message(payload.as_ref()))
}

pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

/// All commands of the batch, or nothing if one is malformed.
///
/// # Safety
/// `batch` is as `MapperApi::submit` has it.
unsafe fn read_commands(batch: *const abi::CommandBatch) -> Option<Vec<Command>> {
    if batch.is_null() {
        return None;
    }
    // SAFETY: every struct that is passed by pointer starts with its size, and
    // `prefix` reads no more than that.
    let batch: abi::CommandBatch =
        unsafe { view::prefix(batch.cast(), batch.cast::<u32>().read() as usize) };
    if batch.count > 0 && (batch.commands.is_null() || batch.stride == 0) {
        return None;
    }
    (0..batch.count)
        .map(|i| {
            let stride = batch.stride as usize;
            // SAFETY: the host's array has `count` commands, `stride` bytes apart.
            let command: abi::Command = unsafe {
                view::prefix(batch.commands.cast::<u8>().wrapping_add(i * stride), stride)
            };
            // SAFETY: the command's bytes are borrowed for the call.
            unsafe { read_command(&command) }
        })
        .collect()
}

/// # Safety
/// The pointers in `command` are valid for this call.
unsafe fn read_command(command: &abi::Command) -> Option<Command> {
    let kind = match command.kind {
        abi::COMMAND_CONFIGURE => {
            // SAFETY: passed on from the caller.
            let text = unsafe { view::bytes(command.text) };
            CommandKind::Configure(String::from_utf8(text.to_vec()).ok()?)
        }
        abi::COMMAND_CALL => {
            // SAFETY: passed on from the caller.
            let text = unsafe { view::bytes(command.text) };
            CommandKind::Call(String::from_utf8(text.to_vec()).ok()?)
        }
        abi::COMMAND_DISCOVER => {
            // SAFETY: passed on from the caller.
            let text = unsafe { view::bytes(command.text) };
            CommandKind::Discover(String::from_utf8(text.to_vec()).ok()?)
        }
        abi::COMMAND_REMOVE => CommandKind::Remove,
        abi::COMMAND_READ => CommandKind::Read {
            point: command.point,
        },
        abi::COMMAND_WRITE => {
            // SAFETY: passed on from the caller.
            let value = unsafe { view::value(&command.value) }?;
            CommandKind::Write {
                point: command.point,
                value,
            }
        }
        other => CommandKind::Unknown(other),
    };
    let budget = Duration::from_nanos(command.budget_ns.max(0).unsigned_abs());
    Some(Command {
        token: command.token,
        budget,
        device: command.device,
        kind,
    })
}

impl SampleValue {
    pub(crate) fn from_reading(reading: crate::samples::Reading<'_>) -> Option<Self> {
        use crate::samples::Reading;
        Some(match reading {
            Reading::Bool(v) => Self::Bool(v),
            Reading::Int(v) => Self::Int(v),
            Reading::Uint(v) => Self::Uint(v),
            Reading::Float(v) => Self::Float(v),
            Reading::String(v) => Self::String(v.to_owned()),
            Reading::Bytes(v) => Self::Bytes(v.to_vec()),
            Reading::Bad { .. } => return None,
        })
    }
}

#[cfg(test)]
mod tests;
