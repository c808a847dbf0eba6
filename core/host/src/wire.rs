//! The frames between the host and its child.
//!
//! Both are the same program on the same machine, started together, so a batch
//! crosses as the raw structs of the contract and costs no serialisation. A
//! frame is `length of the body: u32`, `kind: u32`, body; numbers are native.
//! The child is not trusted: whatever it writes is checked here.

use std::time::Duration;

use bytes::Bytes;
use longshore_abi as abi;
use longshore_types::Value;

use crate::{
    batch::{Batch, BatchFault},
    command::{Command, CommandKind},
};

/// Length and kind.
pub(crate) const HEADER: usize = 8;
/// A batch at its largest, with its counts. Whoever announces more is faulty.
pub(crate) const MAX_FRAME: usize = abi::MAX_BATCH_BYTES + 64;
/// Lines of the log are cut here.
pub(crate) const MAX_LOG_LINE: usize = 4096;

const READY: u32 = 1;
const FAILED: u32 = 2;
const ANSWER: u32 = 3;
const PONG: u32 = 4;
const LOG: u32 = 5;
pub(crate) const BATCH: u32 = 6;
const STOPPED: u32 = 7;
const START: u32 = 16;
const COMMANDS: u32 = 17;
const PING: u32 = 18;
const STOP: u32 = 19;

/// From the host to the side where the library is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ToMapper {
    /// Make the instance from this configuration.
    Start(String),
    /// Answered by `Answer`.
    Commands(Vec<Command>),
    /// Answered by `Pong`.
    Ping,
    /// Answered by `Stopped`.
    Stop(Duration),
}

/// From the side where the library is.
#[derive(Debug)]
pub(crate) enum FromMapper {
    /// The instance stands.
    Ready,
    /// There is no instance; `permanent` when trying again cannot help.
    Failed { permanent: bool, message: String },
    /// What `submit` said.
    Answer(i32),
    /// Alive; what a child has counted so far.
    Pong { of_child: Option<Counts> },
    /// A line for the log.
    Log { level: u32, message: String },
    /// What the mapper emitted.
    Batch(Batch),
    /// What `stop` said; the instance is gone.
    Stopped(i32),
    /// The process or thread ended; `fault` when it was made to, for breaking the contract.
    Exited { reason: String, fault: bool },
}

/// What a child counts, since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Emits that found no room.
    pub(crate) blocked: u64,
    /// Lines of the log that were left out there.
    pub(crate) lost_lines: u64,
}

impl Counts {
    const LENGTH: usize = 16;

    fn encode(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..8].copy_from_slice(&self.blocked.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.lost_lines.to_ne_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (blocked, rest) = bytes.split_first_chunk()?;
        Some(Self {
            blocked: u64::from_ne_bytes(*blocked),
            lost_lines: u64::from_ne_bytes(rest.try_into().ok()?),
        })
    }
}

/// The other side wrote something that is no frame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireFault {
    #[error("a frame of kind {kind} is too long: {length} bytes")]
    TooLong { kind: u32, length: usize },
    #[error("unknown kind of frame {0}")]
    Kind(u32),
    #[error("a frame of kind {0} is malformed")]
    Malformed(u32),
    #[error("malformed batch: {0}")]
    Batch(BatchFault),
}

/// The length of the body and the kind, once the header is there. Both are judged
/// here, before the body is waited for: whoever announces a body that no frame of
/// its kind has would otherwise be waited for until the start's time is over.
pub(crate) fn header(bytes: &[u8]) -> Result<Option<(usize, u32)>, WireFault> {
    let Some((header, _)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let [a, b, c, d, kind @ ..] = *header;
    let length = u32::from_ne_bytes([a, b, c, d]) as usize;
    let kind = u32::from_ne_bytes(kind);
    if length > longest(kind)? {
        return Err(WireFault::TooLong { kind, length });
    }
    Ok(Some((length, kind)))
}

/// The longest body that a frame of this kind may have.
fn longest(kind: u32) -> Result<usize, WireFault> {
    match kind {
        READY | PING => Ok(0),
        ANSWER | STOPPED => Ok(size_of::<i32>()),
        STOP => Ok(size_of::<u64>()),
        PONG => Ok(Counts::LENGTH),
        FAILED | LOG | BATCH | START | COMMANDS => Ok(MAX_FRAME),
        other => Err(WireFault::Kind(other)),
    }
}

fn frame(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + body.len());
    frame.extend_from_slice(&(body.len() as u32).to_ne_bytes());
    frame.extend_from_slice(&kind.to_ne_bytes());
    frame.extend_from_slice(body);
    frame
}

impl ToMapper {
    /// The frame for a child.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Start(config) => frame(START, config.as_bytes()),
            Self::Commands(commands) => frame(COMMANDS, &encode_commands(commands)),
            Self::Ping => frame(PING, &[]),
            Self::Stop(budget) => frame(STOP, &nanoseconds(*budget).to_ne_bytes()),
        }
    }

    pub(crate) fn decode(kind: u32, body: &[u8]) -> Result<Self, WireFault> {
        let message = match kind {
            START => std::str::from_utf8(body)
                .ok()
                .map(|config| Self::Start(config.to_owned())),
            COMMANDS => decode_commands(body).map(Self::Commands),
            PING => Some(Self::Ping),
            STOP => body
                .try_into()
                .ok()
                .map(|budget| Self::Stop(Duration::from_nanos(u64::from_ne_bytes(budget)))),
            other => return Err(WireFault::Kind(other)),
        };
        message.ok_or(WireFault::Malformed(kind))
    }
}

impl FromMapper {
    /// The frame for the host. Batches have their own way, see `Outgoing`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready => frame(READY, &[]),
            Self::Failed { permanent, message } => frame(
                FAILED,
                &[&[u8::from(*permanent)], message.as_bytes()].concat(),
            ),
            Self::Answer(status) => frame(ANSWER, &status.to_ne_bytes()),
            Self::Pong { of_child } => frame(PONG, &of_child.unwrap_or_default().encode()),
            Self::Log { level, message } => {
                frame(LOG, &[&level.to_ne_bytes(), message.as_bytes()].concat())
            }
            Self::Stopped(status) => frame(STOPPED, &status.to_ne_bytes()),
            // Neither crosses as a frame.
            Self::Batch(_) | Self::Exited { .. } => Vec::new(),
        }
    }

    pub(crate) fn decode(kind: u32, body: Bytes) -> Result<Self, WireFault> {
        let number = || body.as_ref().try_into().ok().map(i32::from_ne_bytes);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let message = match kind {
            BATCH => {
                return Batch::parse(body)
                    .map(Self::Batch)
                    .map_err(WireFault::Batch);
            }
            READY => Some(Self::Ready),
            FAILED => body.split_first().map(|(permanent, message)| Self::Failed {
                permanent: *permanent != 0,
                message: text(message),
            }),
            ANSWER => number().map(Self::Answer),
            PONG => Counts::decode(&body).map(|counts| Self::Pong {
                of_child: Some(counts),
            }),
            LOG => body.split_first_chunk().map(|(level, message)| Self::Log {
                level: u32::from_ne_bytes(*level),
                message: text(message),
            }),
            STOPPED => number().map(Self::Stopped),
            other => return Err(WireFault::Kind(other)),
        };
        message.ok_or(WireFault::Malformed(kind))
    }
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    // The contract's budgets are signed: 292 years are enough.
    duration.as_nanos().min(i64::MAX as u128) as u64
}

fn encode_commands<'a>(commands: &'a [Command]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut put = |bytes: &[u8]| body.extend_from_slice(bytes);
    for command in commands {
        let of_text = |kind, text: &'a str| (kind, 0, abi::TYPE_NONE, 0, text.as_bytes());
        let (kind, point, value_kind, bits, text): (u32, u32, u8, u64, &[u8]) = match &command.kind
        {
            CommandKind::Configure(text) => of_text(abi::COMMAND_CONFIGURE, text),
            CommandKind::Call(text) => of_text(abi::COMMAND_CALL, text),
            CommandKind::Discover(text) => of_text(abi::COMMAND_DISCOVER, text),
            CommandKind::Remove => (abi::COMMAND_REMOVE, 0, abi::TYPE_NONE, 0, &[]),
            CommandKind::Read { point } => (abi::COMMAND_READ, *point, abi::TYPE_NONE, 0, &[]),
            CommandKind::Write { point, value } => {
                let (value_kind, bits, text): (u8, u64, &[u8]) = match value {
                    Value::Bool(v) => (abi::TYPE_BOOL, u64::from(*v), &[]),
                    Value::Int(v) => (abi::TYPE_INT64, *v as u64, &[]),
                    Value::Uint(v) => (abi::TYPE_UINT64, *v, &[]),
                    Value::Float(v) => (abi::TYPE_FLOAT64, v.to_bits(), &[]),
                    Value::String(v) => (abi::TYPE_STRING, 0, v.as_bytes()),
                    Value::Bytes(v) => (abi::TYPE_BYTES, 0, v),
                };
                (abi::COMMAND_WRITE, *point, value_kind, bits, text)
            }
        };
        put(&kind.to_ne_bytes());
        put(&command.device.to_ne_bytes());
        put(&point.to_ne_bytes());
        put(&u32::from(value_kind).to_ne_bytes());
        put(&command.token.to_ne_bytes());
        put(&nanoseconds(command.budget).to_ne_bytes());
        put(&bits.to_ne_bytes());
        put(&(text.len() as u64).to_ne_bytes());
        put(text);
    }
    body
}

fn decode_commands(mut body: &[u8]) -> Option<Vec<Command>> {
    fn take<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
        let (taken, left) = body.split_first_chunk()?;
        *body = left;
        Some(*taken)
    }
    let mut commands = Vec::new();
    while !body.is_empty() {
        let kind = u32::from_ne_bytes(take(&mut body)?);
        let device = u32::from_ne_bytes(take(&mut body)?);
        let point = u32::from_ne_bytes(take(&mut body)?);
        let value_kind = u32::from_ne_bytes(take(&mut body)?) as u8;
        let token = u64::from_ne_bytes(take(&mut body)?);
        let budget = Duration::from_nanos(u64::from_ne_bytes(take(&mut body)?));
        let bits = u64::from_ne_bytes(take(&mut body)?);
        let length = u64::from_ne_bytes(take(&mut body)?);
        let (text, left) = body.split_at_checked(usize::try_from(length).ok()?)?;
        body = left;
        let owned = || std::str::from_utf8(text).ok().map(str::to_owned);
        let kind = match kind {
            abi::COMMAND_CONFIGURE => CommandKind::Configure(owned()?),
            abi::COMMAND_CALL => CommandKind::Call(owned()?),
            abi::COMMAND_DISCOVER => CommandKind::Discover(owned()?),
            abi::COMMAND_REMOVE => CommandKind::Remove,
            abi::COMMAND_READ => CommandKind::Read { point },
            abi::COMMAND_WRITE => CommandKind::Write {
                point,
                value: decode_value(value_kind, bits, text)?,
            },
            _ => return None,
        };
        commands.push(Command {
            token,
            device,
            budget,
            kind,
        });
    }
    Some(commands)
}

fn decode_value(kind: u8, bits: u64, text: &[u8]) -> Option<Value> {
    Some(match kind {
        abi::TYPE_BOOL => Value::Bool(bits != 0),
        abi::TYPE_INT64 => Value::Int(bits as i64),
        abi::TYPE_UINT64 => Value::Uint(bits),
        abi::TYPE_FLOAT64 => Value::Float(f64::from_bits(bits)),
        abi::TYPE_STRING => Value::String(std::str::from_utf8(text).ok()?.into()),
        abi::TYPE_BYTES => Value::Bytes(text.into()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_survive_the_wire() {
        let write = |value| CommandKind::Write { point: 3, value };
        let kinds = [
            CommandKind::Configure("{\"device\": \"default/böiler\"}".to_owned()),
            CommandKind::Remove,
            CommandKind::Call("{\"name\": \"start\"}".to_owned()),
            CommandKind::Discover("{}".to_owned()),
            CommandKind::Read { point: 9 },
            write(Value::Bool(true)),
            write(Value::Int(-5)),
            write(Value::Uint(u64::MAX)),
            write(Value::Float(21.5)),
            write(Value::String("warm".into())),
            write(Value::Bytes([0, 255].into())),
        ];
        let commands = kinds.into_iter().zip(7..).map(|(kind, token)| Command {
            token,
            device: 1,
            budget: Duration::from_millis(token),
            kind,
        });
        let message = ToMapper::Commands(commands.collect());
        let frame = message.encode();
        let (length, kind) = header(&frame).expect("a header").expect("complete");
        assert_eq!(length + HEADER, frame.len());
        assert_eq!(
            ToMapper::decode(kind, &frame[HEADER..]).expect("decodes"),
            message
        );
        for cut in HEADER..frame.len() {
            // Never a panic, and never all of the commands.
            if let Ok(part) = ToMapper::decode(kind, &frame[HEADER..cut]) {
                assert_ne!(part, message);
            }
        }
    }

    #[test]
    fn refuses_what_is_no_frame() {
        assert!(header(&[0; 7]).expect("incomplete").is_none());
        let announced = |kind: u32, length: usize| header(&frame(kind, &vec![0; length])[..HEADER]);
        for (kind, longest) in [(READY, 0), (ANSWER, 4), (PONG, 16), (BATCH, MAX_FRAME)] {
            assert_eq!(
                announced(kind, longest).expect("a frame"),
                Some((longest, kind))
            );
            assert!(matches!(
                announced(kind, longest + 1),
                Err(WireFault::TooLong { .. })
            ));
        }
        // Not even its body is waited for.
        assert!(matches!(announced(99, 2000), Err(WireFault::Kind(99))));
        assert!(matches!(
            FromMapper::decode(99, Bytes::new()),
            Err(WireFault::Kind(99))
        ));
        assert!(matches!(
            FromMapper::decode(ANSWER, Bytes::from_static(&[1])),
            Err(WireFault::Malformed(ANSWER))
        ));
    }
}
