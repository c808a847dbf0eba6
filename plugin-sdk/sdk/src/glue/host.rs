//! The host's functions, as the SDK's [`Host`](crate::Host) calls them.

use std::{
    ptr,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use longshore_abi as abi;

use super::view;
use crate::mapper::{Event, HostFunctions, Level, Status, Stopped};

/// The longest that one call of `wait_writable` lasts, so that `close` never
/// waits longer than this for a thread that the mapper left behind.
const WAIT_SLICE: Duration = Duration::from_millis(50);

/// The host, until the instance is stopped.
///
/// Threads of the mapper may outlive the instance and still hold a `Host`;
/// the gate keeps them from calling a host that is gone.
pub(super) struct HostLink {
    api: abi::HostApi,
    /// Set before the gate is taken, so that newcomers do not hold it up.
    closing: AtomicBool,
    /// `true` once closed; read-locked during every call into the host.
    gate: RwLock<bool>,
}

// SAFETY: the contract lets every function of the host be called from any
// thread, with the context that came with it.
unsafe impl Send for HostLink {}
// SAFETY: as above.
unsafe impl Sync for HostLink {}

impl HostLink {
    /// # Safety
    /// `host` is null or a table as `MapperApi::create` has it.
    pub(super) unsafe fn new(host: *const abi::HostApi) -> Result<Self, String> {
        if host.is_null() {
            return Err("the host gave no functions".to_owned());
        }
        // SAFETY: the table starts with its size, and `prefix` reads no more.
        let api: abi::HostApi =
            unsafe { view::prefix(host.cast(), host.cast::<u32>().read() as usize) };
        if api.abi_major != abi::ABI_MAJOR {
            return Err(format!(
                "the host speaks version {} of the contract, this mapper version {}",
                api.abi_major,
                abi::ABI_MAJOR
            ));
        }
        if api.emit.is_none() || api.wait_writable.is_none() || api.log.is_none() {
            return Err("the host lacks a function that the contract demands".to_owned());
        }
        Ok(Self {
            api,
            closing: AtomicBool::new(false),
            gate: RwLock::new(false),
        })
    }

    /// No call into the host is under way when this returns, and none begins.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        *self.gate.write().unwrap_or_else(PoisonError::into_inner) = true;
    }

    pub(super) fn log_line(&self, level: Level, message: &str) {
        // After the stop there is no log to write to.
        let _ = self.call(|api| {
            if let Some(log) = api.log {
                // SAFETY: the gate is open, so the host is alive; `message` outlives the call.
                unsafe {
                    log(
                        api.context,
                        level_code(level),
                        abi::Bytes::new(message.as_bytes()),
                    )
                };
            }
        });
    }

    fn call<T>(&self, call: impl FnOnce(&abi::HostApi) -> T) -> Result<T, Stopped> {
        if self.closing.load(Ordering::Acquire) {
            return Err(Stopped);
        }
        let closed = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        if *closed {
            Err(Stopped)
        } else {
            Ok(call(&self.api))
        }
    }
}

impl HostFunctions for HostLink {
    fn try_emit(&self, event: &Event) -> Result<bool, Stopped> {
        let completions: Vec<_> = event.completions.iter().map(completion).collect();
        let now = if event.states.is_empty() {
            0
        } else {
            unix_now()
        };
        let states: Vec<_> = event
            .states
            .iter()
            .map(|state| device_state(state, now))
            .collect();
        let batch = abi::EventBatch {
            size: size_of::<abi::EventBatch>() as u32,
            sample_stride: size_of::<abi::Sample>() as u32,
            completion_stride: size_of::<abi::Completion>() as u32,
            state_stride: size_of::<abi::DeviceState>() as u32,
            samples: event.samples.samples.as_ptr(),
            sample_count: event.samples.len(),
            completions: completions.as_ptr(),
            completion_count: completions.len(),
            states: states.as_ptr(),
            state_count: states.len(),
        };
        let status = self.call(|api| match api.emit {
            // SAFETY: the gate is open, so the host is alive; all that the batch
            // points to is borrowed from `event` and the two vectors above.
            Some(emit) => unsafe { emit(api.context, &batch) },
            None => abi::STATUS_STOPPED,
        })?;
        match status {
            abi::STATUS_OK => Ok(true),
            abi::STATUS_WOULD_BLOCK => Ok(false),
            abi::STATUS_STOPPED => Err(Stopped),
            refused => {
                // Emitting it again would be refused again, for ever.
                self.log_line(
                    Level::Error,
                    &format!("the host refused a batch (status {refused}); it is lost"),
                );
                Ok(true)
            }
        }
    }

    fn wait_writable(&self, timeout: Duration) -> Result<bool, Stopped> {
        let end = Instant::now() + timeout;
        loop {
            let left = end
                .saturating_duration_since(Instant::now())
                .min(WAIT_SLICE);
            let status = self.call(|api| match api.wait_writable {
                // SAFETY: the gate is open, so the host is alive.
                Some(wait) => unsafe { wait(api.context, left.as_nanos() as i64) },
                None => abi::STATUS_STOPPED,
            })?;
            match status {
                abi::STATUS_OK => return Ok(true),
                abi::STATUS_TIMEOUT if Instant::now() >= end => return Ok(false),
                abi::STATUS_TIMEOUT => {}
                _ => return Err(Stopped),
            }
        }
    }

    fn log(&self, level: Level, message: &str) {
        self.log_line(level, message);
    }
}

fn completion(completion: &crate::Completion) -> abi::Completion {
    abi::Completion {
        token: completion.token,
        status: status_code(completion.status),
        reserved: 0,
        message: abi::Bytes::new(completion.message.as_bytes()),
    }
}

fn device_state(state: &crate::DeviceState, since_ns: i64) -> abi::DeviceState {
    abi::DeviceState {
        device: state.device,
        state: if state.online {
            abi::STATE_ONLINE
        } else {
            abi::STATE_OFFLINE
        },
        since_ns,
        message: abi::Bytes::new(state.message.as_bytes()),
    }
}

fn unix_now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as i64)
}

fn status_code(status: Status) -> i32 {
    match status {
        Status::Ok => abi::STATUS_OK,
        Status::InvalidArgument => abi::STATUS_INVALID_ARGUMENT,
        Status::InvalidConfig => abi::STATUS_INVALID_CONFIG,
        Status::Unsupported => abi::STATUS_UNSUPPORTED,
        Status::Timeout => abi::STATUS_TIMEOUT,
        Status::Line => abi::STATUS_LINE,
        Status::Refused => abi::STATUS_REFUSED,
        Status::Stopped => abi::STATUS_STOPPED,
        Status::Busy => abi::STATUS_BUSY,
        Status::Internal => abi::STATUS_INTERNAL,
        Status::NotSent => abi::STATUS_NOT_SENT,
    }
}

fn level_code(level: Level) -> u32 {
    match level {
        Level::Error => abi::LOG_ERROR,
        Level::Warn => abi::LOG_WARN,
        Level::Info => abi::LOG_INFO,
        Level::Debug => abi::LOG_DEBUG,
    }
}

/// Writes as much of `message` as the host has room for.
///
/// # Safety
/// `error` is null or points to an `ErrorText` of which the host owns the
/// first `size` bytes.
pub(super) unsafe fn write_error(error: *mut abi::ErrorText, message: &str) {
    if error.is_null() {
        return;
    }
    let text_at = std::mem::offset_of!(abi::ErrorText, text);
    // SAFETY: the struct starts with its size.
    let size = (unsafe { error.cast::<u32>().read() } as usize).min(size_of::<abi::ErrorText>());
    if size < text_at {
        return;
    }
    let mut length = message.len().min(size - text_at);
    while !message.is_char_boundary(length) {
        length -= 1;
    }
    // SAFETY: `length` bytes from `text` on lie within the first `size` bytes,
    // which are the host's room for this message.
    unsafe {
        ptr::copy_nonoverlapping(message.as_ptr(), error.cast::<u8>().add(text_at), length);
        (&raw mut (*error).length).write(length as u32);
    }
}
