//! Where a point is: `hr:3#CDAB`, `di:10`, `hr:5.3:4`, `40001`, or the long form.

mod written;

use std::fmt;

use longshore_sdk::{
    PointConfig,
    codec::{Bits, ByteOrder, Codec, RawType, StringOrder},
    config::{Section, choice},
};

pub(crate) use self::written::whole;
use self::written::{Written, block, kubeedge, ours, within};
use crate::{
    bus::DEFAULTS,
    keys::NO_ADDRESS,
    pdu::{MAX_WRITE_BITS, MAX_WRITE_REGISTERS, function},
};

/// The four tables of the data model (Application Protocol V1.1b3, section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Bits, writable.
    Coils,
    /// Bits, read-only.
    DiscreteInputs,
    /// Registers, read-only.
    InputRegisters,
    /// Registers, writable.
    HoldingRegisters,
}

pub(crate) const TABLES: &[(&str, Table)] = &[
    ("co", Table::Coils),
    ("di", Table::DiscreteInputs),
    ("ir", Table::InputRegisters),
    ("hr", Table::HoldingRegisters),
    ("coil", Table::Coils),
    ("coils", Table::Coils),
    ("discrete", Table::DiscreteInputs),
    ("discreteInput", Table::DiscreteInputs),
    ("input", Table::InputRegisters),
    ("inputRegister", Table::InputRegisters),
    ("holding", Table::HoldingRegisters),
    ("holdingRegister", Table::HoldingRegisters),
];

/// KubeEdge's names of the tables.
pub(crate) const REGISTERS: &[(&str, Table)] = &[
    ("CoilRegister", Table::Coils),
    ("DiscreteInputRegister", Table::DiscreteInputs),
    ("InputRegister", Table::InputRegisters),
    ("HoldingRegister", Table::HoldingRegisters),
];

impl Table {
    /// By a name that addresses use: `hr`, `holding`, ….
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        choice(name, TABLES)
    }

    /// Whether it holds bits and not registers.
    pub fn is_bits(self) -> bool {
        matches!(self, Self::Coils | Self::DiscreteInputs)
    }

    /// Whether its content can be written.
    pub fn is_writable(self) -> bool {
        matches!(self, Self::Coils | Self::HoldingRegisters)
    }

    /// The function that reads it.
    pub fn read_function(self) -> u8 {
        match self {
            Self::Coils => function::READ_COILS,
            Self::DiscreteInputs => function::READ_DISCRETE_INPUTS,
            Self::InputRegisters => function::READ_INPUT_REGISTERS,
            Self::HoldingRegisters => function::READ_HOLDING_REGISTERS,
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Coils => "coil",
            Self::DiscreteInputs => "discrete input",
            Self::InputRegisters => "input register",
            Self::HoldingRegisters => "holding register",
        })
    }
}

/// A validated point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Its table.
    pub table: Table,
    /// Its first register or bit.
    pub address: u16,
    /// How many registers or bits.
    pub count: u16,
    /// How the content reads.
    pub coding: Coding,
    /// By which functions it is written.
    pub write_with: WriteWith,
    /// The registers that the device takes only together, first and count: they are
    /// read, those of the point are changed, and all are written back.
    pub write_block: Option<(u16, u16)>,
    /// What is written to it is an order, which must not be given twice.
    pub is_command: bool,
}

/// By which functions a point is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WriteWith {
    /// By size, and by what the device knows.
    #[default]
    Any,
    /// 5 and 6; bits of a register by reading it and writing it back.
    Single,
    /// 15 and 16; bits of a register by reading it and writing it back.
    Multiple,
    /// 22, for bits of a register.
    Mask,
}

/// How the content of a point reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// A bit of a bit table as a truth value.
    Bit,
    /// Bits of a bit table as a number, the first in the lowest place.
    Number,
    /// Registers.
    Registers {
        /// The coding of the bytes from `skip` on.
        codec: Codec,
        /// 1 for a single byte in the low half of its register.
        skip: u8,
    },
}

pub(crate) const STRING_ORDERS: &[(&str, StringOrder)] = &[
    ("high", StringOrder::High),
    ("low", StringOrder::Low),
    ("highOnly", StringOrder::HighOnly),
    ("lowOnly", StringOrder::LowOnly),
];
pub(crate) const WRITE_FUNCTIONS: &[(&str, WriteWith)] = &[
    ("single", WriteWith::Single),
    ("multiple", WriteWith::Multiple),
    ("mask", WriteWith::Mask),
];

/// Reads the visitor of a point. Faults are noted in the section.
pub(crate) fn parse(section: &Section<'_>, point: &PointConfig, base: i64) -> Option<Point> {
    let written = if section.has("register") {
        kubeedge(section)
    } else {
        ours(section, base)
    };
    let raw = raw_type(section, point, &written);
    let write_with = section.choice("writeFunction", WRITE_FUNCTIONS);
    let write_with = write_with.unwrap_or_default();
    let write_block = section
        .value("writeBlock")
        .map(|value| block(section, value, base));
    // The twin engine's; named here for those who run the mapper without it.
    section.pass_over(&["scale", "offset"]);
    if !section.is_sound() {
        return None;
    }
    let (Some(table), Some(address)) = (written.table, written.address) else {
        section.fault("address", NO_ADDRESS);
        return None;
    };
    let (count, coding) = coding(section, point, &written, table, raw?)?;
    if address + i64::from(count) > 65_536 || address < 0 {
        let last = address + i64::from(count) - 1;
        section.fault(
            "address",
            format!("{table}s {address}…{last} are outside of 0…65535"),
        );
        return None;
    }
    let limit = if table.is_bits() {
        DEFAULTS.max_bits
    } else {
        DEFAULTS.max_registers
    };
    if count > limit {
        section.fault(
            "address",
            format!("{count} {table}s do not fit one request, which has {limit} at most"),
        );
        return None;
    }
    let write_limit = if table.is_bits() {
        MAX_WRITE_BITS
    } else {
        MAX_WRITE_REGISTERS
    };
    if point.writable && count > write_limit {
        section.fault(
            "address",
            format!("{count} {table}s cannot be written at once, only {write_limit}"),
        );
        return None;
    }
    if write_with == WriteWith::Single && count > 1 {
        section.fault(
            "writeFunction",
            format!("single writes one {table}, but the point has {count}"),
        );
        return None;
    }
    let is_part = matches!(&coding, Coding::Registers { codec, .. } if codec.bit_range().is_some() || codec.size() == 1);
    if write_with == WriteWith::Mask && !(is_part && count == 1) {
        let message = "mask (function 22) writes bits of one register; write single or multiple";
        section.fault("writeFunction", message);
        return None;
    }
    let own = (table, address as u16, count);
    let write_block = match write_block {
        None => None,
        Some(block) => Some(within(section, block?, own)?),
    };
    if point.writable && !table.is_writable() {
        section.warn(
            "address",
            format!("{table}s cannot be written: writes to this property will be refused"),
        );
    }
    Some(Point {
        table,
        address: address as u16,
        count,
        coding,
        write_with,
        write_block,
        is_command: point.command,
    })
}

/// What the configuration says of the type of the content.
enum Raw {
    Explicit(RawType),
    /// KubeEdge's `dataType` or the type of the twin, which say what the value
    /// is for and not how many registers it has.
    Loose(Loose),
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Loose {
    /// KubeEdge reads integers as unsigned.
    Unsigned,
    Signed,
    Float,
    Double,
    Bool,
    String,
    Bytes,
}

pub(crate) const DATA_TYPES: &[(&str, Loose)] = &[
    ("int", Loose::Unsigned),
    ("float", Loose::Float),
    ("double", Loose::Double),
    ("boolean", Loose::Bool),
    ("bool", Loose::Bool),
    ("string", Loose::String),
    ("bytes", Loose::Bytes),
];

fn raw_type(section: &Section<'_>, point: &PointConfig, written: &Written) -> Option<Raw> {
    let raw = section.parse("rawType");
    if raw.is_some() || section.has("rawType") {
        return raw.map(Raw::Explicit);
    }
    if let Some(loose) = section.choice("dataType", DATA_TYPES) {
        return Some(Raw::Loose(loose));
    }
    let is_kubeedge = section.has("register");
    Some(Raw::Loose(match point.twin_type.as_str() {
        "FLOAT" => Loose::Float,
        "DOUBLE" => Loose::Double,
        "BOOLEAN" => Loose::Bool,
        "STRING" => Loose::String,
        "BYTES" => Loose::Bytes,
        _ if is_kubeedge || written.bit.is_some() => Loose::Unsigned,
        _ => Loose::Signed,
    }))
}

fn coding(
    section: &Section<'_>,
    point: &PointConfig,
    written: &Written,
    table: Table,
    raw: Raw,
) -> Option<(u16, Coding)> {
    let length = written.length.map(|length| length as u16);
    if table.is_bits() {
        return bit_coding(section, point, written, length, &raw);
    }
    let order = written.order.clone().unwrap_or_default();
    let noted = |error: &dyn fmt::Display| section.fault("address", error.to_string());
    if let Some(bit) = written.bit {
        let raw = match raw {
            Raw::Explicit(RawType::Bool) | Raw::Loose(_) => {
                let last = bit + i64::from(length.unwrap_or(1)) - 1;
                if last < 16 {
                    RawType::Uint16
                } else {
                    RawType::Uint32
                }
            }
            Raw::Explicit(raw) => raw,
        };
        let is_numeric = matches!(point.twin_type.as_str(), "INT" | "FLOAT" | "DOUBLE");
        let bits = Bits {
            first: bit as u8,
            length: length.unwrap_or(1).min(255) as u8,
        };
        let codec = Codec::bits(raw, &order, bits, is_numeric)
            .map_err(|error| noted(&error))
            .ok()?;
        return Some((
            registers(codec.size()),
            Coding::Registers {
                codec,
                skip: u8::from(codec.size() == 1),
            },
        ));
    }
    let raw = match raw {
        Raw::Explicit(raw) => raw,
        Raw::Loose(loose) => by_length(section, loose, length)?,
    };
    register_coding(section, written, raw, &order, length)
}

/// Whole registers.
fn register_coding(
    section: &Section<'_>,
    written: &Written,
    raw: RawType,
    order: &ByteOrder,
    length: Option<u16>,
) -> Option<(u16, Coding)> {
    let noted = |error: &dyn fmt::Display| section.fault("address", error.to_string());
    match raw {
        RawType::String | RawType::Bytes => {
            let Some(length) = length.or((raw == RawType::Bytes).then_some(1)) else {
                section.fault(
                    "address",
                    "a text needs its length in registers, for example `hr:20:8`",
                );
                return None;
            };
            let codec = match raw {
                RawType::String => Codec::text(length * 2, written.string.unwrap_or_default()),
                _ => Codec::bytes(length * 2),
            };
            Some((length, Coding::Registers { codec, skip: 0 }))
        }
        RawType::Int8 | RawType::Uint8 => {
            // A byte is in the low half of its register unless the bytes are swapped.
            let is_high = matches!(order.to_string().as_str(), "BA" | "BADC" | "DCBA");
            let codec = Codec::number(raw, &ByteOrder::default())
                .map_err(|error| noted(&error))
                .ok()?;
            Some((
                1,
                Coding::Registers {
                    codec,
                    skip: u8::from(!is_high),
                },
            ))
        }
        number => {
            let codec = Codec::in_registers(number, order)
                .map_err(|error| noted(&error))
                .ok()?;
            let count = registers(codec.size());
            match length {
                Some(length) if length != count => {
                    section.fault(
                        "address",
                        format!("{number} has {count} registers, not {length}"),
                    );
                    None
                }
                _ => Some((count, Coding::Registers { codec, skip: 0 })),
            }
        }
    }
}

fn bit_coding(
    section: &Section<'_>,
    point: &PointConfig,
    written: &Written,
    length: Option<u16>,
    raw: &Raw,
) -> Option<(u16, Coding)> {
    if written.bit.is_some() {
        section.fault(
            "address",
            "coils and discrete inputs are bits themselves: a bit number belongs to registers",
        );
        return None;
    }
    let count = length.unwrap_or(1);
    let is_numeric = match raw {
        Raw::Explicit(RawType::Bool) | Raw::Loose(Loose::Bool) => false,
        Raw::Explicit(RawType::Uint8 | RawType::Uint16 | RawType::Uint32 | RawType::Uint64) => true,
        Raw::Explicit(raw) => {
            section.fault(
                "rawType",
                format!("{raw} does not lie in bits; use bool, or an unsigned integer for several"),
            );
            return None;
        }
        Raw::Loose(_) => matches!(point.twin_type.as_str(), "INT" | "FLOAT" | "DOUBLE"),
    };
    match (count, is_numeric) {
        (1, false) => Some((1, Coding::Bit)),
        (1..=64, _) => Some((count, Coding::Number)),
        _ => {
            section.fault("address", format!("{count} bits do not fit a number of 64"));
            None
        }
    }
}

/// The type of so many registers.
fn by_length(section: &Section<'_>, loose: Loose, length: Option<u16>) -> Option<RawType> {
    let raw = match (loose, length) {
        (Loose::String, _) => RawType::String,
        (Loose::Bytes, _) => RawType::Bytes,
        (Loose::Bool, None | Some(1)) => RawType::Bool,
        (Loose::Signed, None | Some(1)) => RawType::Int16,
        (Loose::Signed, Some(2)) => RawType::Int32,
        (Loose::Signed, Some(4)) => RawType::Int64,
        (Loose::Unsigned, None | Some(1)) | (Loose::Float | Loose::Double, Some(1)) => {
            RawType::Uint16
        }
        (Loose::Unsigned, Some(2)) => RawType::Uint32,
        (Loose::Unsigned, Some(4)) => RawType::Uint64,
        (Loose::Float, None) | (Loose::Float | Loose::Double, Some(2)) => RawType::Float32,
        (Loose::Double, None) | (Loose::Float | Loose::Double, Some(4)) => RawType::Float64,
        (_, Some(length)) => {
            section.fault(
                "address",
                format!("no number has {length} registers; write 1, 2 or 4, or a rawType"),
            );
            return None;
        }
    };
    Some(raw)
}

fn registers(bytes: usize) -> u16 {
    bytes.div_ceil(2) as u16
}
