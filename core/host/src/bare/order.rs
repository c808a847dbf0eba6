#![allow(unsafe_code)] // Lays out arrays of the contract's structs by hand.
//! What a judge asks of a mapper, and how the structs are laid out for it.

use std::{ptr, time::Duration};

use longshore_abi as abi;

use crate::wire;

/// How the structs of this host differ from those of the present contract.
#[derive(Debug, Clone, Copy, Default)]
pub struct Layout {
    /// Unknown bytes after each command, as a newer host would append them;
    /// rounded up to a multiple of 8.
    pub command_extra: usize,
    /// Only the first 32 bytes of each command: no value, no text.
    pub short_commands: bool,
    /// Unknown bytes after the batch and the host's table.
    pub table_extra: bool,
    /// The minor version that the host states, if not the present one.
    pub host_minor: Option<u16>,
    /// Size of the `ErrorText`, if not the whole one.
    pub error_room: Option<usize>,
}

/// A command, also one that makes no sense.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// `COMMAND_*` or anything else.
    pub kind: u32,
    /// The device's id.
    pub device: u32,
    /// The point's id.
    pub point: u32,
    /// Comes back in the completion.
    pub token: u64,
    /// Time that it may take.
    pub budget: Duration,
    /// The value to write.
    pub value: OrderValue,
    /// The text, which need not be UTF-8.
    pub text: Vec<u8>,
}

/// The value of an [`Order`].
#[derive(Debug, Clone, PartialEq, Default)]
pub enum OrderValue {
    /// None.
    #[default]
    None,
    /// Truth.
    Bool(bool),
    /// Signed.
    Int(i64),
    /// Unsigned.
    Uint(u64),
    /// Floating point.
    Float(f64),
    /// A text, which need not be UTF-8.
    Text(Vec<u8>),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A type that does not exist, with a number in its payload.
    Unknown(u8),
}

impl Order {
    fn to_abi(&self) -> abi::Command {
        let (kind, payload) = match &self.value {
            OrderValue::None => (abi::TYPE_NONE, abi::Payload::ZERO),
            OrderValue::Bool(v) => (abi::TYPE_BOOL, abi::Payload::from_bool(*v)),
            OrderValue::Int(v) => (abi::TYPE_INT64, abi::Payload::from_i64(*v)),
            OrderValue::Uint(v) => (abi::TYPE_UINT64, abi::Payload::from_u64(*v)),
            OrderValue::Float(v) => (abi::TYPE_FLOAT64, abi::Payload::from_f64(*v)),
            OrderValue::Text(v) => (
                abi::TYPE_STRING,
                abi::Payload::from_bytes(abi::Bytes::new(v)),
            ),
            OrderValue::Bytes(v) => (
                abi::TYPE_BYTES,
                abi::Payload::from_bytes(abi::Bytes::new(v)),
            ),
            OrderValue::Unknown(kind) => (*kind, abi::Payload::from_u64(1)),
        };
        abi::Command {
            kind: self.kind,
            device: self.device,
            point: self.point,
            reserved: 0,
            token: self.token,
            budget_ns: wire::nanoseconds(self.budget) as i64,
            value: abi::Value {
                kind,
                reserved: [0; 7],
                payload,
            },
            text: if self.text.is_empty() {
                abi::Bytes::EMPTY
            } else {
                abi::Bytes::new(&self.text)
            },
        }
    }
}

/// Bytes that a mapper of this contract must not look at.
const UNKNOWN: u64 = 0xA5A5_A5A5_A5A5_A5A5;
/// Bytes of a command up to its budget.
const SHORT: usize = std::mem::offset_of!(abi::Command, value);

#[repr(C)]
struct LongBatch {
    batch: abi::CommandBatch,
    unknown: [u64; 4],
}

/// The orders as the contract's array; borrows their texts.
pub(super) struct Packed {
    batch: LongBatch,
    /// Whole words, so that every command is aligned.
    _commands: Vec<u64>,
}

impl Packed {
    pub(super) fn new(orders: &[Order], layout: Layout) -> Self {
        let (copied, stride) = if layout.short_commands {
            (SHORT, SHORT)
        } else {
            let size = size_of::<abi::Command>();
            (size, size + layout.command_extra.next_multiple_of(8))
        };
        let mut commands = vec![UNKNOWN; orders.len() * stride / 8];
        for (order, slot) in orders.iter().zip(commands.chunks_exact_mut(stride / 8)) {
            let command = order.to_abi();
            // SAFETY: the slot has `stride` bytes, which are at least `copied`,
            // and so has the command, whose bytes are all initialised.
            unsafe {
                ptr::copy_nonoverlapping(
                    (&raw const command).cast::<u8>(),
                    slot.as_mut_ptr().cast::<u8>(),
                    copied,
                );
            }
        }
        let size = if layout.table_extra {
            size_of::<LongBatch>()
        } else {
            size_of::<abi::CommandBatch>()
        };
        Self {
            batch: LongBatch {
                batch: abi::CommandBatch {
                    size: size as u32,
                    stride: stride as u32,
                    count: orders.len(),
                    commands: commands.as_ptr().cast(),
                },
                unknown: [UNKNOWN; 4],
            },
            _commands: commands,
        }
    }

    pub(super) fn batch(&self) -> *const abi::CommandBatch {
        debug_assert_eq!(self.batch.unknown[0], UNKNOWN);
        (&raw const self.batch).cast()
    }
}
