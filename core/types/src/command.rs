//! What the edge asks of a mapper, and how it ended.

use std::time::Duration;

use crate::value::Value;

/// What the edge asks of a mapper. Each command that was submitted gets one
/// completion, unless the mapper goes down first.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Comes back in the completion.
    pub token: u64,
    /// The device's id, chosen by the edge.
    pub device: u32,
    /// Time that it may take from `submit` on. A mapper that says nothing for
    /// a while longer than this counts as hung.
    pub budget: Duration,
    /// What to do.
    pub kind: CommandKind,
}

/// The kinds of [`Command`].
#[derive(Debug, Clone, PartialEq)]
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
    /// Write the raw value to the point.
    Write {
        /// The point's id.
        point: u32,
        /// The value.
        value: Value,
    },
    /// Call a method of the device: the JSON object `{"name", "config",
    /// "arguments"}`. The completion's message is the result as JSON.
    Call(String),
    /// Look for devices as this JSON object says; the mapper's schema describes
    /// it under `discovery`. The completion's message is JSON, of up to 4 MiB.
    Discover(String),
}

/// How a command ended, in the words of the contract with mappers.
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
    /// A panic inside of the mapper.
    Panic,
    /// The instance is stopped.
    Stopped,
    /// A queue inside of the mapper is full.
    Busy,
    /// Nothing of it went out: the device is away.
    NotSent,
    /// A fault of the mapper itself.
    Internal,
    /// A code that the host does not know.
    Unknown(i32),
}

impl CommandKind {
    /// Roughly the bytes that it holds, for the bound of the queue.
    pub fn weight(&self) -> usize {
        let text = match self {
            Self::Configure(text) | Self::Call(text) | Self::Discover(text) => text.len(),
            Self::Write {
                value: Value::String(text),
                ..
            } => text.len(),
            Self::Write {
                value: Value::Bytes(bytes),
                ..
            } => bytes.len(),
            _ => 0,
        };
        size_of::<Command>() + text
    }
}
