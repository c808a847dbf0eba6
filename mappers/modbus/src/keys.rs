//! The keys of modbus, said once: the reader takes them from here, `schema.json`
//! and docs/reference/protocol-modbus.md are made of it.

use longshore_sdk::{
    codec::RawType,
    keys::{Default, Form, Key, Table, key},
    schema::Document,
};

use crate::{
    bus::{CLOSES, DEFAULTS},
    config::{BAUD, MODES, PARITIES, PORT},
    discover::TIMEOUT_MS,
    method::FUNCTIONS,
    point::{DATA_TYPES, REGISTERS, STRING_ORDERS, TABLES, WRITE_FUNCTIONS},
};

const MILLIS: Form = Form::Integer(0, 60_000);

#[rustfmt::skip]
const BUS: &[Key] = &[
    key("url", Form::Text, "The bus. `tcp://host[:502]`, `rtu:///dev/…?baud=9600&parity=even&stop=1&data=8` (19200 baud, 8N1 without settings), `ascii:///dev/…`, or serial frames through a TCP gateway: `rtu+tcp://host:port`, `ascii+tcp://host:port`. Devices with the same url share one connection and one queue."),
    key("close", Form::AnyCase(&CLOSES), "When the connection is closed, for devices that have only one and others who want it: `never`, `afterCycle` (when nothing more is due) or `afterRequest`. A device that hangs up after each answer is noticed without it. The first device of the bus decides, as in the next two.").or(Default::Text("never")),
    key("anyTransactionId", Form::Boolean, "Modbus TCP: answers may bear another transaction id than the request, as those of some gateways do. Each request without an answer then costs the connection, because a late one could not be told from the next.").or(Default::Truth(false)),
    key("echo", Form::Boolean, "Serial frames: the adapter hears itself, so that each request comes back before its answer. Noticed without it when a read comes back.").or(Default::Truth(false)),
    key("pauseAfterConnectMs", MILLIS, "Milliseconds between connecting and the first request. The first device of the bus decides.").or(Default::Whole(0)),
];

#[rustfmt::skip]
const UNIT: &[Key] = &[
    key("unit", Form::Integer(0, 255), "The unit (slave) on the bus: 1 to 247 on serial lines, 0 to 255 over TCP.").or(Default::Whole(1)),
    key("addressBase", Form::Integer(0, 1), "1: the numbers after `hr:` and so on count from one.").or(Default::Whole(0)),
    key("slaveID", Form::Integer(0, 255), "KubeEdge's form of `unit`."),
];

#[rustfmt::skip]
const SETTINGS: &[Key] = &[
    key("timeoutMs", Form::Integer(1, 600_000), "Milliseconds until an answer must have come.").or(Default::Whole(DEFAULTS.timeout_ms as i64)),
    key("interRequestGapMs", MILLIS, "Milliseconds of silence before each request, beside that of the protocol.").or(Default::Whole(DEFAULTS.request_gap_ms as i64)),
    key("maxRegisters", Form::Integer(1, 125), "Registers in one request at most.").or(Default::Whole(DEFAULTS.max_registers as i64)),
    key("maxBits", Form::Integer(1, 2000), "Coils or discrete inputs in one request at most.").or(Default::Whole(DEFAULTS.max_bits as i64)),
    key("gapFill", Form::Integer(0, 124), "Registers read for nothing to save a request.").or(Default::Whole(DEFAULTS.gap_fill as i64)),
    key("oneRequestPerField", Form::Boolean, "For devices that mind requests across their fields.").or(Default::Truth(DEFAULTS.one_request_per_field)),
];

#[rustfmt::skip]
const TCP: &[Key] = &[
    key("ip", Form::Text, "KubeEdge's form of `url`: the host."),
    key("port", Form::Integer(1, 65_535), "KubeEdge's form of `url`: the TCP port.").or(Default::Whole(PORT as i64)),
];

#[rustfmt::skip]
const SERIAL: &[Key] = &[
    key("serialPort", Form::Text, "KubeEdge's form of `url`: the serial port."),
    key("serialName", Form::Text, "KubeEdge's other name of `serialPort`."),
    key("baudRate", Form::Integer(50, 10_000_000), "KubeEdge's form of `url`: bits per second.").or(Default::Whole(BAUD as i64)),
    key("dataBits", Form::Integer(7, 8), "KubeEdge's form of `url`: 7 or 8.").or(Default::Whole(8)),
    key("parity", Form::AnyCase(&PARITIES), "KubeEdge's form of `url`: none, even or odd.").or(Default::Text("none")),
    key("stopBits", Form::Integer(1, 2), "KubeEdge's form of `url`: 1 or 2.").or(Default::Whole(1)),
];

const OLD_TCP: Table = Table {
    about: "",
    keys: &[TCP],
    examples: &[],
};

const OLD_SERIAL: Table = Table {
    about: "",
    keys: &[SERIAL],
    examples: &[],
};

#[rustfmt::skip]
const KUBEEDGE: &[Key] = &[
    key("communicateMode", Form::AnyCase(&MODES), "KubeEdge's form of `url`: `TCP`, `RTU` or `ASCII`."),
    key("rs485Enabled", Form::Any, "Accepted and not needed: the adapter or the kernel switches the direction."),
    key("tcp", Form::As(&OLD_TCP), "`ip` and `port`, as older manifests of KubeEdge have them."),
    key("com", Form::As(&OLD_SERIAL), "The keys of the serial port, as older manifests of KubeEdge have them."),
];

/// `protocol.configData`.
pub const DEVICE: Table = Table {
    about: "How a device is reached.",
    keys: &[BUS, UNIT, SETTINGS, KUBEEDGE, TCP, SERIAL],
    examples: &[
        r#"{"url": "tcp://192.0.2.7", "unit": 1}"#,
        r#"{"url": "rtu:///dev/serial/by-id/usb-FTDI_X-if00-port0?baud=9600&parity=even", "unit": 17}"#,
    ],
};

const BIT: Form = Form::Integer(0, 63);
/// Also of several bits or registers of a text.
const LENGTH: Form = Form::Integer(1, 2000);
/// A number of registers; what it may be depends on `addressBase`.
const OFFSET: Form = Form::Integer(i64::MIN, i64::MAX);

#[rustfmt::skip]
const PARTS: Table = Table {
    about: "The parts of an address.",
    keys: &[&[
        key("table", Form::AnyCase(&TABLES), "`holding`, `input`, `coils` or `discrete`, or short.").required(NO_ADDRESS),
        key("offset", OFFSET, "The first register or bit, counted from 0.").required(NO_ADDRESS),
        key("bit", BIT, "A bit, 0 is the lowest."),
        key("length", LENGTH, "How many registers or bits."),
        key("order", Form::Text, "As `byteOrder`."),
        key("string", Form::AnyCase(&STRING_ORDERS), "As `stringOrder`."),
    ]],
    examples: &[],
};

pub(crate) const NO_ADDRESS: &str = "no address: write for example `hr:3`, or table and offset";

/// `visitors.configData`.
#[rustfmt::skip]
pub const PROPERTY: Table = Table {
    about: "Where a property is and how it reads.",
    keys: &[&[
        key("address", Form::Either(&[Form::Label, Form::Object(&PARTS)]), "`table:number[.bit][:length][#order]` with the tables `hr` (holding registers), `ir` (input registers), `co` (coils), `di` (discrete inputs), counted from 0 and decimal or hexadecimal (`hr:0x3100`); a classic reference such as `40001`; or an object with the parts."),
        key("rawType", Form::Words(&RawType::NAMES), "The type on the wire. Without it by the type of the property: INT is int16, FLOAT float32, DOUBLE float64, and by length (`hr:3:2` as INT is int32)."),
        key("byteOrder", Form::Text, "Order of the bytes: `A` is the most significant, and the letters stand as they arrive. `ABCD` (the default), `CDAB`, `BADC`, `DCBA`, or as many letters as the value has bytes."),
        key("stringOrder", Form::AnyCase(&STRING_ORDERS), "Where the first of two characters stands in a register: `high` (the default) or `low`; `highOnly` or `lowOnly` where a register has one character. Reading sees the latter by itself; writing needs it."),
        key("writeFunction", Form::AnyCase(&WRITE_FUNCTIONS), "`single` (functions 5 and 6), `multiple` (15 and 16), or `mask` (22, bits of a register); it forbids the others. Without it by size, and by what the device does not refuse."),
        key("writeBlock", Form::Text, "Registers that the device takes only together, as `hr:0x9003:12`: they are read, those of the property changed, and all written in one request."),
        key("table", Form::AnyCase(&TABLES), "The long form without `address`: a table."),
        key("offset", OFFSET, "The long form without `address`, and KubeEdge's form: the first register."),
        key("bit", BIT, "The long form and KubeEdge's form: a bit, 0 is the lowest."),
        key("length", LENGTH, "The long form without `address`: how many registers or bits."),
        key("order", Form::Text, "The long form without `address`: as `byteOrder`."),
        key("string", Form::AnyCase(&STRING_ORDERS), "The long form without `address`: as `stringOrder`."),
        key("register", Form::AnyCase(&REGISTERS), "KubeEdge's tables: CoilRegister, DiscreteInputRegister, InputRegister, HoldingRegister."),
        key("limit", Form::Integer(0, 2000), "KubeEdge: how many registers or bits."),
        key("dataType", Form::AnyCase(&DATA_TYPES), "KubeEdge: int (unsigned), float, double, boolean, string or bytes."),
        key("isSwap", Form::Boolean, "KubeEdge: the bytes of each register are swapped."),
        key("isRegisterSwap", Form::Boolean, "KubeEdge: the registers of a value are swapped."),
    ]],
    examples: &[
        r#"{"address": "hr:3#CDAB", "rawType": "float32"}"#,
        r#"{"address": "hr:5.3", "rawType": "bool"}"#,
    ],
};

/// `call` of a method.
#[rustfmt::skip]
pub const METHOD: Table = Table {
    about: "What one exchange does that no property can.",
    keys: &[&[
        key("function", Form::AnyCase(&FUNCTIONS), "`readWrite`: function 23, the argument is written and the result read in one exchange. `write`: the arguments are written one behind the other, in one request. `identify`: function 43/14, the device's identification.")
            .required("missing; write readWrite, write or identify"),
        key("write", Form::As(&PROPERTY), "`readWrite` and `write`: where the argument goes, as a property has it; further arguments of `write` follow it."),
        key("read", Form::As(&PROPERTY), "`readWrite`: where the result comes from, as a property has it."),
    ]],
    examples: &[
        r#"{"function": "readWrite", "write": {"address": "hr:100", "rawType": "uint16"}, "read": {"address": "hr:101", "rawType": "int32"}}"#,
    ],
};

/// A request to look for devices.
#[rustfmt::skip]
pub const DISCOVERY: Table = Table {
    about: "What `longshore discover modbus` looks for: the keys of the bus, and these.",
    keys: &[
        &[
            key("units", Form::Any, "Which units to ask: a number, a list, or ranges such as `1,3,10-20`.").or(Default::Text("1-32")),
            key("registers", Form::Any, "Registers to try, each that can be read becomes a property: `hr:0-9`, several after commas."),
            key("timeoutMs", Form::Integer(1, 600_000), "Milliseconds until a unit counts as silent.").or(Default::Whole(TIMEOUT_MS as i64)),
        ],
        BUS, SETTINGS, KUBEEDGE, TCP, SERIAL,
    ],
    examples: &[r#"{"url": "tcp://192.0.2.7", "units": "1-32", "registers": "hr:0-9"}"#],
};

/// The mapper's own configuration: defaults of its devices.
pub const MAPPER: Table = Table {
    about: "How requests are made.",
    keys: &[SETTINGS],
    examples: &[],
};

/// All of them, as `schema.json` has them.
pub const DOCUMENT: Document = Document {
    protocol: "modbus",
    description: "Modbus TCP, RTU on a serial line, RTU and ASCII over TCP, ASCII.",
    device: &DEVICE,
    property: &PROPERTY,
    method: Some(&METHOD),
    discovery: Some(&DISCOVERY),
    mapper: Some(&MAPPER),
};
