//! Values, commands, events and the two tables of functions.

use core::ffi::c_void;

/// Incompatible versions differ in this number.
pub const ABI_MAJOR: u16 = 1;
/// Grows with each append to a struct, each new command or status.
pub const ABI_MINOR: u16 = 1;

/// The most that one [`EventBatch`] may carry, its texts included.
pub const MAX_BATCH_BYTES: usize = 4 << 20;

/// Done.
pub const STATUS_OK: i32 = 0;
/// `emit`: the queue is full; nothing of the batch was taken. Wait with
/// `wait_writable`, then emit the same batch again.
pub const STATUS_WOULD_BLOCK: i32 = 1;
/// An argument is malformed: unknown device or point, wrong type of value.
pub const STATUS_INVALID_ARGUMENT: i32 = 2;
/// The configuration is wrong; the message tells every fault with its key path.
pub const STATUS_INVALID_CONFIG: i32 = 3;
/// The mapper does not know this command.
pub const STATUS_UNSUPPORTED: i32 = 4;
/// The deadline passed first.
pub const STATUS_TIMEOUT: i32 = 5;
/// The line broke: no connection, or lost before the answer.
pub const STATUS_LINE: i32 = 6;
/// The device answered and said no; the message tells its code.
pub const STATUS_REFUSED: i32 = 7;
/// A panic or exception was caught at the boundary.
pub const STATUS_PANIC: i32 = 8;
/// The instance is stopped.
pub const STATUS_STOPPED: i32 = 9;
/// A queue inside the mapper is full; submit later.
pub const STATUS_BUSY: i32 = 10;
/// A fault of the mapper itself.
pub const STATUS_INTERNAL: i32 = 11;
/// Nothing of the command went out: the device is away, or its turn did not come. A
/// command that was sent and got no answer ends with [`STATUS_TIMEOUT`] or
/// [`STATUS_LINE`] instead: nobody knows what became of it.
pub const STATUS_NOT_SENT: i32 = 12;

/// [`Value`] types: no value.
pub const TYPE_NONE: u8 = 0;
/// `payload.boolean`, 0 or 1.
pub const TYPE_BOOL: u8 = 1;
/// `payload.int64`.
pub const TYPE_INT64: u8 = 2;
/// `payload.uint64`.
pub const TYPE_UINT64: u8 = 3;
/// `payload.float64`.
pub const TYPE_FLOAT64: u8 = 4;
/// `payload.bytes`, UTF-8.
pub const TYPE_STRING: u8 = 5;
/// `payload.bytes`.
pub const TYPE_BYTES: u8 = 6;

/// Read from the device, no doubt about it.
pub const QUALITY_GOOD: u8 = 0;
/// A value that should be used with care (for example substituted or old).
pub const QUALITY_UNCERTAIN: u8 = 1;
/// No usable value. The sample has [`TYPE_NONE`] and `payload.bytes` may hold a
/// message in UTF-8 that says why.
pub const QUALITY_BAD: u8 = 2;

/// `Sample::reason`: nothing to add.
pub const REASON_NONE: u16 = 0;
/// The line is down or broke.
pub const REASON_LINE: u16 = 1;
/// No answer in time.
pub const REASON_TIMEOUT: u16 = 2;
/// The device refused to read this point.
pub const REASON_REFUSED: u16 = 3;
/// The point's configuration is wrong.
pub const REASON_CONFIG: u16 = 4;
/// The answer could not be decoded.
pub const REASON_DECODE: u16 = 5;
/// The point can be written and not read. What is written to it is a command: the host
/// sends it once, and shows what was commanded last.
pub const REASON_WRITE_ONLY: u16 = 6;

/// Create or replace the device `device` from the JSON in `text`.
pub const COMMAND_CONFIGURE: u32 = 1;
/// Forget the device `device` and all of its points.
pub const COMMAND_REMOVE: u32 = 2;
/// Read `point` now, out of turn; its sample is emitted before the completion.
pub const COMMAND_READ: u32 = 3;
/// Write `value` to `point`. Ahead of all reads of the same bus.
pub const COMMAND_WRITE: u32 = 4;
/// Call a method of `device`; `text` is the JSON object `{"name", "config",
/// "arguments"}`, and the completion's message is the result as JSON. Since
/// minor version 1.
pub const COMMAND_CALL: u32 = 5;
/// Look for devices; `device` is 0, `text` a JSON object that the mapper's
/// schema describes under `discovery`, and the completion's message is JSON as
/// CONTRACT.md has it. Since minor version 1.
pub const COMMAND_DISCOVER: u32 = 6;

/// `DeviceState::state`: not known yet.
pub const STATE_UNKNOWN: u32 = 0;
/// The device answers.
pub const STATE_ONLINE: u32 = 1;
/// The device does not answer, or its bus is down.
pub const STATE_OFFLINE: u32 = 2;

/// `HostApi::log` level.
pub const LOG_ERROR: u32 = 1;
/// Recovered by itself.
pub const LOG_WARN: u32 = 2;
/// Answers the operator.
pub const LOG_INFO: u32 = 3;
/// For the developer.
pub const LOG_DEBUG: u32 = 4;

/// Borrowed bytes. `pointer` may be null when `length` is 0.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Bytes {
    /// First byte.
    pub pointer: *const u8,
    /// Number of bytes.
    pub length: usize,
}

/// The payload of a value; the tag stands in the struct around it.
#[repr(C)]
#[derive(Clone, Copy)]
pub union Payload {
    /// [`TYPE_BOOL`]: 0 or 1.
    pub boolean: u8,
    /// [`TYPE_INT64`].
    pub int64: i64,
    /// [`TYPE_UINT64`].
    pub uint64: u64,
    /// [`TYPE_FLOAT64`].
    pub float64: f64,
    /// [`TYPE_STRING`], [`TYPE_BYTES`], and the message of a bad sample.
    pub bytes: Bytes,
}

/// A typed value.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Value {
    /// `TYPE_*`.
    pub kind: u8,
    /// Zero.
    pub reserved: [u8; 7],
    /// The value.
    pub payload: Payload,
}

/// One reading of one point. 32 bytes where pointers have 64 bits.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sample {
    /// The point's id, as given in the device's configuration.
    pub point: u32,
    /// `TYPE_*`.
    pub kind: u8,
    /// `QUALITY_*`.
    pub quality: u8,
    /// `REASON_*`.
    pub reason: u16,
    /// When the value was true at its source: nanoseconds since the Unix epoch.
    pub source_time_ns: i64,
    /// The value.
    pub payload: Payload,
}

/// What the host asks for.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Command {
    /// `COMMAND_*`.
    pub kind: u32,
    /// The device's id, chosen by the host, unique in this instance.
    pub device: u32,
    /// The point's id, for reads and writes.
    pub point: u32,
    /// Zero.
    pub reserved: u32,
    /// Comes back in the [`Completion`]. Each command gets exactly one.
    pub token: u64,
    /// Time that the command may take from `submit` on, in nanoseconds.
    pub budget_ns: i64,
    /// The value to write.
    pub value: Value,
    /// The configuration (JSON, UTF-8).
    pub text: Bytes,
}

/// Commands, oldest first.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CommandBatch {
    /// Size of this struct.
    pub size: u32,
    /// Bytes from one command to the next.
    pub stride: u32,
    /// Number of commands.
    pub count: usize,
    /// The first command.
    pub commands: *const Command,
}

/// How a command ended.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Completion {
    /// The command's token.
    pub token: u64,
    /// `STATUS_*`.
    pub status: i32,
    /// Zero.
    pub reserved: u32,
    /// Why, for people (UTF-8); empty when there is nothing to say.
    pub message: Bytes,
}

/// A device came or went.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct DeviceState {
    /// The device's id.
    pub device: u32,
    /// `STATE_*`.
    pub state: u32,
    /// Since when: nanoseconds since the Unix epoch.
    pub since_ns: i64,
    /// Why, for people (UTF-8).
    pub message: Bytes,
}

/// What a mapper emits. Applied in this order: states, samples, completions.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct EventBatch {
    /// Size of this struct.
    pub size: u32,
    /// Bytes from one sample to the next.
    pub sample_stride: u32,
    /// Bytes from one completion to the next.
    pub completion_stride: u32,
    /// Bytes from one state to the next.
    pub state_stride: u32,
    /// The samples.
    pub samples: *const Sample,
    /// Number of samples.
    pub sample_count: usize,
    /// The completions.
    pub completions: *const Completion,
    /// Number of completions.
    pub completion_count: usize,
    /// The device states.
    pub states: *const DeviceState,
    /// Number of device states.
    pub state_count: usize,
}

/// What the host offers. Valid from `create` until `destroy` returns; every
/// function may be called from any thread.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HostApi {
    /// Size of this struct.
    pub size: u32,
    /// The host's [`ABI_MAJOR`].
    pub abi_major: u16,
    /// The host's [`ABI_MINOR`].
    pub abi_minor: u16,
    /// Passed back in every call.
    pub context: *mut c_void,
    /// Takes the whole batch ([`STATUS_OK`]) or nothing of it
    /// ([`STATUS_WOULD_BLOCK`], [`STATUS_STOPPED`], and
    /// [`STATUS_INVALID_ARGUMENT`] for a malformed batch or one of more than
    /// [`MAX_BATCH_BYTES`]). Never blocks.
    pub emit: Option<unsafe extern "C" fn(context: *mut c_void, batch: *const EventBatch) -> i32>,
    /// Waits until `emit` has room again, at most `timeout_ns`.
    /// [`STATUS_OK`], [`STATUS_TIMEOUT`] or [`STATUS_STOPPED`].
    pub wait_writable: Option<unsafe extern "C" fn(context: *mut c_void, timeout_ns: i64) -> i32>,
    /// Writes a line to the host's log.
    pub log: Option<unsafe extern "C" fn(context: *mut c_void, level: u32, message: Bytes)>,
}

/// Room for a message about a failed call; the caller owns it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ErrorText {
    /// Size of this struct.
    pub size: u32,
    /// Bytes used of `text`.
    pub length: u32,
    /// UTF-8.
    pub text: [u8; 1016],
}

/// What a mapper library offers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MapperApi {
    /// Size of this struct.
    pub size: u32,
    /// The library's [`ABI_MAJOR`].
    pub abi_major: u16,
    /// The library's [`ABI_MINOR`].
    pub abi_minor: u16,
    /// Makes an instance from the mapper's own configuration (JSON object).
    /// Several instances may live side by side.
    pub create: Option<
        unsafe extern "C" fn(
            host: *const HostApi,
            config: Bytes,
            instance: *mut *mut c_void,
            error: *mut ErrorText,
        ) -> i32,
    >,
    /// Takes commands. Never waits for a device and never does I/O: it copies
    /// what it needs. [`STATUS_OK`] means that each command will get its
    /// completion; every other status means that none was taken.
    pub submit:
        Option<unsafe extern "C" fn(instance: *mut c_void, batch: *const CommandBatch) -> i32>,
    /// Ends all work within `budget_ns`; nothing is emitted afterwards.
    pub stop: Option<unsafe extern "C" fn(instance: *mut c_void, budget_ns: i64) -> i32>,
    /// Frees the instance. Stops it first if need be.
    pub destroy: Option<unsafe extern "C" fn(instance: *mut c_void)>,
}

/// The exported function; the table lives as long as the process.
pub type EntryFn = unsafe extern "C" fn() -> *const MapperApi;

// SAFETY: the table is immutable and holds only function pointers and numbers.
unsafe impl Sync for MapperApi {}

// SAFETY: both are plain data; following the pointer is `unsafe` anyway, and
// whoever does it upholds that the memory is still borrowed.
unsafe impl Send for Bytes {}
// SAFETY: as above.
unsafe impl Sync for Bytes {}

impl Bytes {
    /// No bytes.
    pub const EMPTY: Self = Self {
        pointer: core::ptr::null(),
        length: 0,
    };

    /// Borrows `bytes`; the caller keeps them alive as long as the contract says.
    pub const fn new(bytes: &[u8]) -> Self {
        Self {
            pointer: bytes.as_ptr(),
            length: bytes.len(),
        }
    }
}

// Every constructor initialises the whole union, so that a batch may be copied
// as plain bytes.
impl Payload {
    /// All bytes zero.
    pub const ZERO: Self = Self {
        bytes: Bytes::EMPTY,
    };

    /// The payload of [`TYPE_BOOL`].
    #[inline]
    pub const fn from_bool(value: bool) -> Self {
        let mut payload = Self::ZERO;
        payload.boolean = value as u8;
        payload
    }

    /// The payload of [`TYPE_INT64`].
    #[inline]
    pub const fn from_i64(value: i64) -> Self {
        let mut payload = Self::ZERO;
        payload.int64 = value;
        payload
    }

    /// The payload of [`TYPE_UINT64`].
    #[inline]
    pub const fn from_u64(value: u64) -> Self {
        let mut payload = Self::ZERO;
        payload.uint64 = value;
        payload
    }

    /// The payload of [`TYPE_FLOAT64`].
    #[inline]
    pub const fn from_f64(value: f64) -> Self {
        let mut payload = Self::ZERO;
        payload.float64 = value;
        payload
    }

    /// The payload of [`TYPE_STRING`] and [`TYPE_BYTES`], and the message of a bad sample.
    #[inline]
    pub const fn from_bytes(bytes: Bytes) -> Self {
        Self { bytes }
    }
}

impl Value {
    /// No value.
    pub const NONE: Self = Self {
        kind: TYPE_NONE,
        reserved: [0; 7],
        payload: Payload::ZERO,
    };
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<Value>() == 24);
    assert!(size_of::<Sample>() == 32);
    assert!(size_of::<Command>() == 32 + 24 + 16);
    assert!(size_of::<Completion>() == 32);
    assert!(size_of::<DeviceState>() == 32);
};
