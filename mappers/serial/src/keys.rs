//! The keys of serial, said once: the reader takes them from here, `schema.json`
//! and docs/reference/protocol-serial.md are made of it.

use std::time::Duration;

use longshore_sdk::{
    keys::{Default, Form, Table, key},
    schema::Document,
};

use crate::{
    bus::Settings,
    checksum::KINDS,
    framer::MAX_FRAME,
    options::{FLOWS, FORMATS, LONGEST, ORDERS, PARITIES, PLACES, SILENT_AFTER, TIMEOUT},
};

const TIME: Form = Form::Duration(Duration::ZERO, LONGEST);
const LINE_ONLY: &[&str] = &["line"];
pub(crate) const FOUR_DIGITS: &str = "expected four hexadecimal digits in quotes, like \"0403\"";

#[rustfmt::skip]
const USB: Table = Table {
    about: "A USB adapter by what it says of itself.",
    keys: &[&[
        key("vendor", Form::Label, "Four hexadecimal digits in quotes, as `lsusb` shows them.").required(FOUR_DIGITS),
        key("product", Form::Label, "Four hexadecimal digits in quotes.").required(FOUR_DIGITS),
        key("serial", Form::Label, "Its serial number; needed when several of the kind are plugged in."),
        key("interface", Form::Integer(0, 255), "Which interface, for adapters with several ports."),
    ]],
    examples: &[],
};

#[rustfmt::skip]
const RS485: Table = Table {
    about: "RS-485.",
    keys: &[&[
        key("turnaround", TIME, "Silence between the last byte that came and the next request, while the device lets go of the line. The adapter or the kernel switches the direction by itself."),
    ]],
    examples: &[],
};

#[rustfmt::skip]
const LINE: Table = Table {
    about: "Lines of text.",
    keys: &[&[
        key("delimiter", Form::Text, "What ends a line, 1 to 16 characters. With `\"\\n\"`, the default, a CR before it is left out."),
        key("start", Form::Text, "What a message begins with, such as `$` of NMEA 0183: what stands before it in a line is noise and dropped."),
    ]],
    examples: &[],
};

#[rustfmt::skip]
const FRAME: Table = Table {
    about: "Blocks of bytes. One of `end`, `length`, `fixed` or `idle` says where a block ends.",
    keys: &[&[
        key("start", Form::Text, "The bytes that a block begins with, as hexadecimal digits: `\"02\"`."),
        key("end", Form::Text, "The bytes that it ends with. Beside `length` or `fixed` they are checked."),
        key("length", Form::Object(&LENGTH), "The field that says how long the block is."),
        key("fixed", Form::Integer(1, MAX_FRAME as i64), "The length of all blocks, in bytes."),
        key("stuffing", Form::Either(&[Form::Words(&STUFFINGS), Form::Object(&STUFFING)]), "How the marks are kept out of what stands between them: `hdlc`, `shdlc` (Sensirion), `slip`, `dle` (DLE STX … DLE ETX), or `{escape: …}`. Messages are matched, cut and summed up without it, and requests are written without it."),
        key("idle", TIME, "The silence that ends a block, or gives up the beginning of one."),
    ]],
    examples: &[],
};

pub(crate) const STUFFINGS: &[&str] = &["hdlc", "shdlc", "slip", "dle"];

#[rustfmt::skip]
const STUFFING: Table = Table {
    about: "Byte stuffing: an escape byte, and one of `xor`, `map` and `double`.",
    keys: &[&[
        key("escape", Form::Label, "The byte before an escaped one, as two hexadecimal digits in quotes: `\"7D\"`.")
            .required("no escape byte"),
        key("xor", Form::Label, "The escaped byte is changed by exclusive or with this: `\"20\"`."),
        key("map", Form::Map, "Another byte stands for it: `{\"C0\": \"DC\", \"DB\": \"DD\"}`."),
        key("double", Form::Boolean, "Only the escape byte is escaped, by itself; the marks begin with it.").or(Default::Truth(false)),
        key("also", Form::Label, "With `xor`: bytes that are escaped in requests beside the escape byte and the first bytes of the marks: `\"11 13\"`."),
    ]],
    examples: &[],
};

#[rustfmt::skip]
const LENGTH: Table = Table {
    about: "A field that says how long a block is.",
    keys: &[&[
        key("offset", Form::Integer(0, 255), "Its first byte, counted from 0 at the start of the block.")
            .required("no offset: say which byte of the frame holds its length"),
        key("size", Form::Integer(1, 4), "How many bytes it has: 1, 2 or 4.").or(Default::Whole(1)),
        key("order", Form::Words(&ORDERS), "`ABCD` (the default: highest byte first) or `DCBA`."),
        key("adds", Form::Integer(-4096, 4096), "What is to be added to it to get the length of the whole block.").or(Default::Whole(0)),
    ]],
    examples: &[],
};

#[rustfmt::skip]
const FRAMING: Table = Table {
    about: "One of the two.",
    keys: &[&[
        key("line", Form::Object(&LINE), "Lines of text."),
        key("frame", Form::Object(&FRAME), "Blocks of bytes. One of `end`, `length`, `fixed` or `idle` says where a block ends."),
    ]],
    examples: &[],
};

/// IEC 62056-21, "reaction time": 200 to 1500 ms.
pub(crate) const REACTION: Duration = Duration::from_millis(200);

#[rustfmt::skip]
const HANDSHAKE: Table = Table {
    about: "What is said between a request and its answer: the device's first line, what it is told, and the change of speed (IEC 62056-21).",
    keys: &[&[
        key("response", Form::Text, "What its first line looks like. The field `speed` says how fast it can talk: `/{:text:3}{speed:text:1}{}`.").required("nothing says what the first line looks like"),
        key("confirm", TEMPLATE, "What is sent then; fields of the first line are filled in: `\"\\x060{speed}0\\r\\n\"`. Without it nothing is."),
        key("speeds", Form::Map, "Words for `speed` with bits per second. Default: those of IEC 62056-21, `0` to `6` (300 to 19200) where it is confirmed, else `A` to `F` (600 to 19200), and no change for any other."),
        key("pause", TIME, "Silence before it is confirmed.").or(Default::Time(REACTION)),
    ]],
    examples: &[],
};

#[rustfmt::skip]
const CHECKSUM: Table = Table {
    about: "A checksum.",
    keys: &[&[
        key("kind", Form::Words(&KINDS), "`xor`, `sum8`, `sum16`, `lrc` (the two's complement of sum8), `sum16-negated` (that of sum16), `xor-inverted`, `sum8-inverted`, `sum16-inverted` (all bits turned), `crc8`, `crc8-maxim`, `crc16-modbus`, `crc16-arc`, `crc16-usb`, `crc16-ccitt` (IBM-3740), `crc16-xmodem`, `crc16-kermit`, `crc16-x25`, `crc16-dnp`, `crc32`, `crc32c`, `crc32-mpeg2`; the parameters are those of the CRC RevEng catalogue.")
            .required("no kind: write for example `xor` or `crc16-modbus`"),
        key("over", Form::List(&Form::Integer(i64::MIN, i64::MAX)), "`[from, to]`: the first byte that it covers, and where it ends: above 0 counted from the start of the message, else from the checksum back. `[1, -1]` leaves out the first byte and the one before the checksum.").or(Default::Json("[0, 0]")),
        key("format", Form::Words(&FORMATS), "`hex` (the default of lines), `binary-be` (of blocks) or `binary-le`."),
        key("at", Form::Words(&PLACES), "`end` (the default): the last bytes of the message, before the delimiter of a line and behind the end mark of a block, which it covers. `before-end`: before the end mark of a block."),
    ]],
    examples: &[],
};

const PARAMETERS: Form = Form::Map;

/// `protocol.configData`.
#[rustfmt::skip]
pub const DEVICE: Table = Table {
    about: "How a device is reached and how it talks: `protocol.configData` of a Device, or `protocolConfigData` of its model as the default.",
    keys: &[&[
        key("url", Form::Text, "The port: a device file such as `/dev/ttyS0` or `/dev/serial/by-id/…`, or `tcp://host:port` of a serial server that passes bytes through. Devices on the same port share one connection and one queue."),
        key("port", Form::Text, "Another name of `url`."),
        key("usb", Form::Object(&USB), "In place of `url`: the USB adapter, wherever it is plugged in. It is looked for at each connect, so it does not matter which ttyUSB it is."),
        key("baudRate", Form::Integer(50, 12_000_000), "Bits per second. All devices on a port need the same settings.").or(Default::Whole(Settings::DEFAULT.baud as i64)),
        key("dataBits", Form::Integer(5, 8), "5 to 8.").or(Default::Whole(Settings::DEFAULT.data_bits as i64)),
        key("parity", Form::Words(&PARITIES), "`none` (the default), `even` or `odd`."),
        key("stopBits", Form::Integer(1, 2), "1 or 2.").or(Default::Whole(Settings::DEFAULT.stop_bits as i64)),
        key("characters", Form::Any, "The three in short: `8N1`, `7E1` (meters with IEC 62056-21), `8E1` and so on."),
        key("flowControl", Form::Words(&FLOWS), "`none` (the default), `software` (XON and XOFF) or `hardware` (RTS and CTS)."),
        key("rs485", Form::Object(&RS485), "RS-485: what the change of direction needs."),
        key("pauseAfterConnect", TIME, "Time between the opening of the port and the first request, for devices that start anew when the port is opened."),
        key("address", Form::Label, "What tells the device from others on the line; `{address}` in requests. A text: `01` is not `1`."),
        key("parameters", PARAMETERS, "Values for fields in the templates of all properties, by their names."),
        key("framing", Form::Either(&[Form::Words(&LINE_ONLY), Form::Object(&FRAMING)]), "Where messages begin and end: `line` (the default: lines that end with LF, a CR before it is left out), `{line: …}` or `{frame: …}`."),
        key("checksum", Form::Object(&CHECKSUM), "The checksum of the messages, for example `{kind: xor, over: [1, -1]}` or `{kind: crc16-modbus, format: binary-le}`. A message with a wrong one is dropped."),
        key("timeout", TIME, "Time until an answer must have come.").or(Default::Time(TIMEOUT)),
        key("interRequestGap", TIME, "Silence before each request.").or(Default::Time(Duration::ZERO)),
        key("refused", Form::Either(&[Form::Text, Form::List(&Form::Text)]), "What the device says when it refuses: a pattern or a list of them, such as `ERR {message}`. The message stands in the error of the property; of a device that talks by itself all properties are bad with it, but for texts that are read from it."),
        key("echo", Form::Boolean, "What is sent comes back before the answer, as on two-wire lines whose adapter hears itself; it is passed over.").or(Default::Truth(false)),
        key("handshake", Form::Object(&HANDSHAKE), "What is said between each request and its answer: the device's first line, and the change of speed that it asks for."),
        key("stream", Form::Boolean, "The device talks by itself: properties without `request` take their values from its messages as they come.").or(Default::Truth(false)),
        key("silentAfter", TIME, "Silence after which a device that talks by itself is lost, and each of its properties bad that has not come for so long.").or(Default::Time(SILENT_AFTER)),
        key("reserved", Form::Text, "Characters that a text must not hold when it is written, such as `;` of SCPI. Control characters and the marks of `framing` never may."),
    ]],
    examples: &[
        r#"{"url": "/dev/serial/by-id/usb-FTDI_FT232R_A50285BI-if00-port0", "baudRate": 9600}"#,
        r#"{"usb": {"vendor": "0403", "product": "6001", "serial": "A50285BI"}, "stream": true, "checksum": {"kind": "xor", "over": [1, -1]}}"#,
    ],
};

#[rustfmt::skip]
const BYTES: Table = Table {
    about: "Bytes.",
    keys: &[&[key("hex", Form::Text, "Hexadecimal digits with fields between them.").required("no digits")]],
    examples: &[],
};

/// A text as it is sent, with its line end, or bytes.
const TEMPLATE: Form = Form::Either(&[Form::Text, Form::Object(&BYTES)]);

/// `visitors.configData`.
#[rustfmt::skip]
pub const PROPERTY: Table = Table {
    about: "What is sent for a property and how its value is found: `visitors.configData`. The keys of the twin engine (`scale`, `enum`, `deadband` and others) stand beside these.",
    keys: &[&[
        key("request", TEMPLATE, "What is sent to read it. `{name}` is filled in from `address` and `parameters`, `{checksum}` is the device's. Properties with the same request share one exchange."),
        key("response", TEMPLATE, "What the answer looks like. For texts a pattern with the value in it: `S S {value:float} g`; kinds are float, int, hex, word and text, `{}` passes over what is there, a blank stands for one or more. For bytes `{hex: \"02 ?? D2\"}`: the first bytes, `??` is any."),
        key("set", TEMPLATE, "What is sent to write it, with `{value}` in it: `{value:.3}` three places after the point, `{value:05.1}` filled with zeros, `{value:d}` whole, `{value:04X}` hexadecimal."),
        key("setResponse", TEMPLATE, "What the device says when it has taken the value. Without it no answer is waited for."),
        key("match", Form::Text, "The beginning of the message that holds the value, in place of `response`; `?` is any character: `$G?RMC`."),
        key("field", Form::Integer(0, 1000), "Which of the fields between separators, counted from 0."),
        key("separator", Form::Text, "What separates fields.").or(Default::Text(",")),
        key("address", Form::Integer(0, MAX_FRAME as i64), "The first byte of the value in a block, counted from 0 at its start mark."),
        key("rawType", Form::Text, "How the value reads. From text: float, int, hex, bool, string, nmeaLatitude, nmeaLongitude (with the hemisphere in the next field), nmeaTime. From bytes: int8, uint8, int16, uint16, int32, uint32, int64, uint64, float32, float64, bool, string, bytes. Without it by the type of the property."),
        key("byteOrder", Form::Text, "Order of the bytes: `A` is the most significant, and the letters stand as they arrive. `ABCD` (the default), `CDAB`, `BADC` or `DCBA`."),
        key("length", Form::Integer(1, MAX_FRAME as i64), "How many bytes a text or bytes have, or how many bits from `bit` on."),
        key("bit", Form::Integer(0, 63), "A bit of the number at `address`, 0 is the lowest."),
        key("silentAfter", TIME, "Of a device that talks by itself: the silence of this property, while others come, after which it is bad. Default: the device's; 0 for what may stay away, such as a key press."),
        key("trueText", Form::Label, "The text of true, read and written. Without it 1, on, true, yes and A are read, 1 is written."),
        key("falseText", Form::Label, "The text of false."),
        key("parameters", PARAMETERS, "Values for fields of this property's templates, over those of the device."),
    ]],
    examples: &[
        r#"{"request": "MEAS:VOLT?\n", "response": "{value:float}"}"#,
        r#"{"request": "VOLT?\n", "response": "{value:float}", "set": "VOLT {value:.3}\n"}"#,
        r#"{"match": "$G?RMC", "field": 3, "rawType": "nmeaLatitude"}"#,
        r#"{"request": {"hex": "02 {address:02X} 52 {checksum} 03"}, "response": {"hex": "02 ?? D2"}, "address": 3, "rawType": "int16"}"#,
    ],
};

/// `call` of a method.
#[rustfmt::skip]
pub const METHOD: Table = Table {
    about: "A method: what is sent, and what the answer looks like.",
    keys: &[&[
        key("request", TEMPLATE, "What is sent; the arguments of the call fill in the fields of their names.").required("nothing says what to send"),
        key("response", TEMPLATE, "What the answer looks like; its named fields are the result. Without it no answer is waited for."),
        key("parameters", PARAMETERS, "Values for fields that the call leaves out."),
    ]],
    examples: &[r#"{"request": "T\r\n", "response": "T S {tare:float} {unit}"}"#],
};

/// A request to look for devices.
pub const DISCOVERY: Table = Table {
    about: "What `longshore discover serial` looks for: nothing is asked, because nothing is sent to any port.",
    keys: &[],
    examples: &[],
};

/// The mapper's own configuration.
#[rustfmt::skip]
pub const MAPPER: Table = Table {
    about: "The mapper's own configuration.",
    keys: &[&[
        key("sysfs", Form::Text, "Where the kernel shows its devices.").or(Default::Text("/sys")),
        key("dev", Form::Text, "Where the device files are.").or(Default::Text("/dev")),
    ]],
    examples: &[],
};

/// All of them, as `schema.json` has them.
pub const DOCUMENT: Document = Document {
    protocol: "serial",
    description: "Devices on serial ports, RS-485 lines and serial servers whose protocol stands in their profile.",
    device: &DEVICE,
    property: &PROPERTY,
    method: Some(&METHOD),
    discovery: Some(&DISCOVERY),
    mapper: Some(&MAPPER),
};
