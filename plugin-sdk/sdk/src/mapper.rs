//! A mapper as an actor, in safe Rust: what `export_mapper!` exports.
//!
//! Most authors implement [`crate::Protocol`] and let `ProtocolMapper`
//! be the actor. Implement [`Mapper`] directly for devices that do not fit a
//! polled bus.

use std::{sync::Arc, time::Duration};

/// An instance of a mapper.
pub trait Mapper: Send + Sync + Sized + 'static {
    /// Makes an instance from the mapper's own configuration.
    fn create(host: Host, config: &serde_json::Value) -> Result<Self, CreateError>;
    /// Takes commands, all or none; never blocks. Each gets one [`Completion`].
    fn submit(&self, commands: Vec<Command>) -> Result<(), SubmitError>;
    /// Ends all work within `budget`; nothing is emitted afterwards.
    fn stop(&self, budget: Duration);
}

/// What the host asks for.
#[derive(Debug, Clone)]
pub struct Command {
    /// Comes back in the [`Completion`].
    pub token: u64,
    /// Time that it may take from now on.
    pub budget: Duration,
    /// The device's id, chosen by the host.
    pub device: u32,
    /// What to do.
    pub kind: CommandKind,
}

/// The kinds of [`Command`].
#[derive(Debug, Clone)]
pub enum CommandKind {
    /// Create or replace the device from this configuration (JSON).
    Configure(String),
    /// Forget the device and its points.
    Remove,
    /// Read the point now.
    Read {
        /// The point's id.
        point: u32,
    },
    /// Write the value to the point, ahead of all reads of its bus.
    Write {
        /// The point's id.
        point: u32,
        /// The raw value.
        value: SampleValue,
    },
    /// Call a method of the device: JSON `{"name", "config", "arguments"}`.
    /// The completion's message is the result as JSON.
    Call(String),
    /// Look for devices, as this JSON object says. The completion's message
    /// is a [`crate::Discovered`] as JSON.
    Discover(String),
    /// A command that this SDK does not know; answer [`Status::Unsupported`].
    Unknown(u32),
}

/// A value that crosses the contract.
#[derive(Debug, Clone, PartialEq)]
pub enum SampleValue {
    /// Truth.
    Bool(bool),
    /// Signed.
    Int(i64),
    /// Unsigned.
    Uint(u64),
    /// Floating point.
    Float(f64),
    /// Text.
    String(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
}

macro_rules! sample_value_from {
    ($($from:ty => $value:ident => $to:expr;)+) => {$(
        impl From<$from> for SampleValue {
            fn from($value: $from) -> Self {
                $to
            }
        }
    )+};
}

sample_value_from! {
    bool => value => Self::Bool(value);
    i32 => value => Self::Int(value.into());
    i64 => value => Self::Int(value);
    u32 => value => Self::Uint(value.into());
    u64 => value => Self::Uint(value);
    f32 => value => Self::Float(value.into());
    f64 => value => Self::Float(value);
    &str => value => Self::String(value.to_owned());
    String => value => Self::String(value);
    Vec<u8> => value => Self::Bytes(value);
}

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The command's token.
    pub token: u64,
    /// The outcome.
    pub status: Status,
    /// Why, for people; may be empty.
    pub message: String,
}

/// The outcome of a command; the codes are `longshore_abi::STATUS_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok,
    /// Unknown device or point, wrong type of value.
    InvalidArgument,
    /// The configuration is wrong.
    InvalidConfig,
    /// Unknown command.
    Unsupported,
    /// The deadline passed first.
    Timeout,
    /// The line broke.
    Line,
    /// The device said no.
    Refused,
    /// The instance is stopped.
    Stopped,
    /// A queue is full.
    Busy,
    /// A fault of the mapper itself.
    Internal,
    /// Nothing of it went out: the device is away.
    NotSent,
}

/// A device came or went.
#[derive(Debug, Clone)]
pub struct DeviceState {
    /// The device's id.
    pub device: u32,
    /// Whether it answers.
    pub online: bool,
    /// Why, for people.
    pub message: String,
}

/// What a mapper emits. Applied in this order: states, samples, completions.
#[derive(Debug, Default)]
pub struct Event {
    /// Samples.
    pub samples: crate::Samples,
    /// Ended commands.
    pub completions: Vec<Completion>,
    /// Devices that came or went.
    pub states: Vec<DeviceState>,
}

/// `create` failed; nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The mapper's configuration is wrong.
    #[error("invalid mapper configuration: {0}")]
    Config(String),
    /// Something else failed.
    #[error("failed to start the mapper: {0}")]
    Start(String),
}

/// None of the commands was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The queue is full; submit later.
    #[error("the mapper's command queue is full")]
    Busy,
    /// The instance is stopped.
    #[error("the mapper is stopped")]
    Stopped,
}

/// The severity of a line in the host's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// An operator must act.
    Error,
    /// Recovered.
    Warn,
    /// Answers the operator.
    Info,
    /// For the developer.
    Debug,
}

/// The host, as a mapper sees it. Cheap to clone; any thread may use it.
#[derive(Clone)]
pub struct Host(pub(crate) Arc<dyn HostFunctions>);

/// Implemented by the glue for a real host, and by tests for a recording one.
pub trait HostFunctions: Send + Sync {
    /// Takes the whole event or, when `false`, nothing of it because the queue is full.
    fn try_emit(&self, event: &Event) -> Result<bool, Stopped>;
    /// Waits for room; `false` when `timeout` passed first.
    fn wait_writable(&self, timeout: Duration) -> Result<bool, Stopped>;
    /// Writes a line to the host's log.
    fn log(&self, level: Level, message: &str);
}

/// The host takes nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host takes no more events")]
pub struct Stopped;

impl Host {
    /// A host for tests and tools.
    pub fn new(functions: Arc<dyn HostFunctions>) -> Self {
        Self(functions)
    }

    /// Emits, waiting while the host's queue is full: this is the back-pressure
    /// that keeps a flood inside of the mapper that makes it.
    pub fn emit(&self, event: &Event) -> Result<(), Stopped> {
        while !self.0.try_emit(event)? {
            self.0.wait_writable(Duration::from_millis(100))?;
        }
        Ok(())
    }

    /// Emits if there is room.
    pub fn try_emit(&self, event: &Event) -> Result<bool, Stopped> {
        self.0.try_emit(event)
    }

    /// Writes a line to the host's log.
    pub fn log(&self, level: Level, message: &str) {
        self.0.log(level, message);
    }
}
