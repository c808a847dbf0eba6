//! What may stand in the configurations, for `schema.json`: the reference that
//! `longshore explain serial` prints. The types are never read into; a test
//! holds them against what the reader knows.

#![allow(dead_code, reason = "only their shape is used")]

use std::collections::BTreeMap;

use longshore_sdk::{DeviceConfig, Protocol, schema::Document};
use schemars::{JsonSchema, schema_for};
use serde_json::{Map, Value, json};

use crate::{
    checksum::KINDS,
    options::{FLOWS, FORMATS, ORDERS, PARITIES, PLACES},
};

/// How a device is reached and how it talks: `protocol.configData` of a
/// Device, or `protocolConfigData` of its model as the default.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", extend("examples" = [
    {"url": "/dev/serial/by-id/usb-FTDI_FT232R_A50285BI-if00-port0", "baudRate": 9600},
    {"usb": {"vendor": "0403", "product": "6001", "serial": "A50285BI"}, "stream": true, "checksum": {"kind": "xor", "over": [1, -1]}}
]))]
struct Device {
    /// The port: a device file such as `/dev/ttyS0` or `/dev/serial/by-id/…`,
    /// or `tcp://host:port` of a serial server that passes bytes through.
    /// Devices on the same port share one connection and one queue.
    url: Option<String>,
    /// Another name of `url`.
    port: Option<String>,
    /// In place of `url`: the USB adapter, wherever it is plugged in. It is
    /// looked for at each connect, so it does not matter which ttyUSB it is.
    usb: Option<Usb>,
    /// Bits per second. All devices on a port need the same settings.
    #[schemars(extend("minimum" = 50, "maximum" = 12000000, "default" = 9600))]
    baud_rate: Option<Number>,
    /// 5 to 8.
    #[schemars(extend("minimum" = 5, "maximum" = 8, "default" = 8))]
    data_bits: Option<Number>,
    /// `none` (the default), `even` or `odd`.
    parity: Option<Parity>,
    /// 1 or 2.
    #[schemars(extend("minimum" = 1, "maximum" = 2, "default" = 1))]
    stop_bits: Option<Number>,
    /// `none` (the default), `software` (XON and XOFF) or `hardware` (RTS and CTS).
    flow_control: Option<Flow>,
    /// RS-485: what the change of direction needs.
    rs485: Option<Rs485>,
    /// Time between the opening of the port and the first request, for devices
    /// that start anew when the port is opened.
    pause_after_connect: Option<Duration>,
    /// What tells the device from others on the line; `{address}` in requests.
    /// A text: `01` is not `1`.
    address: Option<Text>,
    /// Values for fields in the templates of all properties, by their names.
    parameters: Option<BTreeMap<String, Value>>,
    /// Where messages begin and end: `line` (the default: lines that end with LF,
    /// a CR before it is left out), `{line: …}` or `{frame: …}`.
    framing: Option<Framing>,
    /// The checksum of the messages. A message with a wrong one is dropped.
    checksum: Option<Checksum>,
    /// Time until an answer must have come.
    #[schemars(extend("default" = "1s"))]
    timeout: Option<Duration>,
    /// Silence before each request.
    #[schemars(extend("default" = 0))]
    inter_request_gap: Option<Duration>,
    /// What the device says when it refuses: a pattern or a list of them, such
    /// as `ERR {message}`. The message stands in the error of the property.
    refused: Option<OneOrMore>,
    /// What is sent comes back before the answer, as on two-wire lines whose
    /// adapter hears itself; it is passed over.
    #[schemars(extend("default" = false))]
    echo: Option<Truth>,
    /// The device talks by itself: properties without `request` take their
    /// values from its messages as they come.
    #[schemars(extend("default" = false))]
    stream: Option<Truth>,
    /// Silence after which a device that talks by itself is lost.
    #[schemars(extend("default" = "10s"))]
    silent_after: Option<Duration>,
    /// Characters that a text must not hold when it is written, such as `;` of
    /// SCPI. Control characters and the marks of `framing` never may.
    reserved: Option<String>,
}

/// A USB adapter by what it says of itself.
#[derive(JsonSchema)]
struct Usb {
    /// Four hexadecimal digits in quotes, as `lsusb` shows them.
    vendor: Text,
    /// Four hexadecimal digits in quotes.
    product: Text,
    /// Its serial number; needed when several of the kind are plugged in.
    serial: Option<Text>,
    /// Which interface, for adapters with several ports.
    #[schemars(extend("minimum" = 0, "maximum" = 255))]
    interface: Option<Number>,
}

/// RS-485.
#[derive(JsonSchema)]
struct Rs485 {
    /// Silence between the last byte that came and the next request, while the
    /// device lets go of the line. The adapter or the kernel switches the
    /// direction by itself.
    turnaround: Option<Duration>,
}

/// Where messages begin and end.
#[derive(JsonSchema)]
#[serde(untagged)]
enum Framing {
    /// `line`
    Word(FramingWord),
    /// One of the two.
    Parts(Box<Parts>),
}

/// One of the two.
#[derive(JsonSchema)]
struct Parts {
    /// Lines of text.
    line: Option<Line>,
    /// Blocks of bytes.
    frame: Option<Frame>,
}

/// Lines of text.
#[derive(JsonSchema)]
struct Line {
    /// What ends a line, 1 to 16 characters. With `"\n"`, the default, a CR
    /// before it is left out.
    delimiter: Option<String>,
    /// What a message begins with, such as `$` of NMEA 0183: what stands before
    /// it in a line is noise and dropped.
    start: Option<String>,
}

/// Blocks of bytes. One of `end`, `length`, `fixed` or `idle` says where a
/// block ends.
#[derive(JsonSchema)]
struct Frame {
    /// The bytes that a block begins with, as hexadecimal digits: `"02"`.
    start: Option<String>,
    /// The bytes that it ends with. Beside `length` or `fixed` they are checked.
    end: Option<String>,
    /// The field that says how long the block is.
    length: Option<Length>,
    /// The length of all blocks, in bytes.
    #[schemars(extend("minimum" = 1, "maximum" = 4096))]
    fixed: Option<Number>,
    /// The silence that ends a block, or gives up the beginning of one.
    idle: Option<Duration>,
}

/// A field that says how long a block is.
#[derive(JsonSchema)]
struct Length {
    /// Its first byte, counted from 0 at the start of the block.
    #[schemars(extend("minimum" = 0, "maximum" = 255))]
    offset: Number,
    /// How many bytes it has: 1, 2 or 4.
    #[schemars(extend("minimum" = 1, "maximum" = 4, "default" = 1))]
    size: Option<Number>,
    /// `ABCD` (the default: highest byte first) or `DCBA`.
    order: Option<Order>,
    /// What is to be added to it to get the length of the whole block.
    #[schemars(extend("minimum" = -4096, "maximum" = 4096, "default" = 0))]
    adds: Option<Number>,
}

/// A checksum.
#[derive(JsonSchema)]
#[schemars(extend("examples" = [{"kind": "xor", "over": [1, -1]}, {"kind": "crc16-modbus", "format": "binary-le"}]))]
struct Checksum {
    /// `xor`, `sum8`, `sum16`, `lrc` (the two's complement of sum8), `crc8`,
    /// `crc8-maxim`, `crc16-modbus`, `crc16-arc`, `crc16-usb`, `crc16-ccitt`
    /// (IBM-3740), `crc16-xmodem`, `crc16-kermit`, `crc16-x25`, `crc16-dnp`,
    /// `crc32`, `crc32c`, `crc32-mpeg2`; the parameters are those of the CRC
    /// RevEng catalogue.
    kind: Kind,
    /// `[from, to]`: the first byte that it covers, and where it ends: above 0
    /// counted from the start of the message, else from the checksum back.
    /// `[1, -1]` leaves out the first byte and the one before the checksum.
    #[schemars(extend("default" = [0, 0]))]
    over: Option<Vec<i64>>,
    /// `hex` (the default of lines), `binary-be` (of blocks) or `binary-le`.
    format: Option<Format>,
    /// `end` (the default): the last bytes of the message, before the delimiter
    /// of a line. `before-end`: before the end mark of a block.
    at: Option<At>,
}

/// What is sent for a property and how its value is found: `visitors.configData`.
/// The keys of the twin engine (`scale`, `enum`, `deadband` and others) stand
/// beside these.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", extend("examples" = [
    {"request": "MEAS:VOLT?\n", "response": "{value:float}"},
    {"request": "VOLT?\n", "response": "{value:float}", "set": "VOLT {value:.3}\n"},
    {"match": "$G?RMC", "field": 3, "rawType": "nmeaLatitude"},
    {"request": {"hex": "02 {address:02X} 52 {checksum} 03"}, "response": {"hex": "02 ?? D2"}, "address": 3, "rawType": "int16"}
]))]
struct Property {
    /// What is sent to read it. `{name}` is filled in from `address` and
    /// `parameters`, `{checksum}` is the device's. Properties with the same
    /// request share one exchange.
    request: Option<Template>,
    /// What the answer looks like. For texts a pattern with the value in it:
    /// `S S {value:float} g`; kinds are float, int, hex, word and text, `{}`
    /// passes over what is there, a blank stands for one or more. For bytes
    /// `{hex: "02 ?? D2"}`: the first bytes, `??` is any.
    response: Option<Template>,
    /// What is sent to write it, with `{value}` in it: `{value:.3}` three places
    /// after the point, `{value:05.1}` filled with zeros, `{value:d}` whole,
    /// `{value:04X}` hexadecimal.
    set: Option<Template>,
    /// What the device says when it has taken the value. Without it no answer
    /// is waited for.
    set_response: Option<Template>,
    /// The beginning of the message that holds the value, in place of
    /// `response`; `?` is any character: `$G?RMC`.
    #[serde(rename = "match")]
    begins: Option<String>,
    /// Which of the fields between separators, counted from 0.
    #[schemars(extend("minimum" = 0, "maximum" = 1000))]
    field: Option<Number>,
    /// What separates fields.
    #[schemars(extend("default" = ","))]
    separator: Option<String>,
    /// The first byte of the value in a block, counted from 0 at its start mark.
    #[schemars(extend("minimum" = 0, "maximum" = 4096))]
    address: Option<Number>,
    /// How the value reads. From text: float, int, hex, bool, string,
    /// nmeaLatitude, nmeaLongitude (with the hemisphere in the next field),
    /// nmeaTime. From bytes: int8, uint8, int16, uint16, int32, uint32, int64,
    /// uint64, float32, float64, bool, string, bytes. Without it by the type of
    /// the property.
    raw_type: Option<String>,
    /// Order of the bytes: `A` is the most significant, and the letters stand as
    /// they arrive. `ABCD` (the default), `CDAB`, `BADC` or `DCBA`.
    byte_order: Option<String>,
    /// How many bytes a text or bytes have, or how many bits from `bit` on.
    #[schemars(extend("minimum" = 1, "maximum" = 4096))]
    length: Option<Number>,
    /// A bit of the number at `address`, 0 is the lowest.
    #[schemars(extend("minimum" = 0, "maximum" = 63))]
    bit: Option<Number>,
    /// The text of true, read and written. Without it 1, on, true, yes and A
    /// are read, 1 is written.
    true_text: Option<Text>,
    /// The text of false.
    false_text: Option<Text>,
    /// Values for fields of this property's templates, over those of the device.
    parameters: Option<BTreeMap<String, Value>>,
}

/// A method: what is sent, and what the answer looks like.
#[derive(JsonSchema)]
#[schemars(extend("examples" = [{"request": "T\r\n", "response": "T S {tare:float} {unit}"}]))]
struct Method {
    /// What is sent; the arguments of the call fill in the fields of their names.
    request: Template,
    /// What the answer looks like; its named fields are the result. Without it
    /// no answer is waited for.
    response: Option<Template>,
    /// Values for fields that the call leaves out.
    parameters: Option<BTreeMap<String, Value>>,
}

/// What `longshore discover serial` looks for: nothing is asked, because
/// nothing is sent to any port.
#[derive(JsonSchema)]
struct Discovery {}

/// The mapper's own configuration.
#[derive(JsonSchema)]
struct Mapper {
    /// Where the kernel shows its devices.
    #[schemars(extend("default" = "/sys"))]
    sysfs: Option<String>,
    /// Where the device files are.
    #[schemars(extend("default" = "/dev"))]
    dev: Option<String>,
}

/// A text, or bytes as hexadecimal digits.
#[derive(JsonSchema)]
#[serde(untagged)]
enum Template {
    /// As it is sent, with its line end.
    Text(String),
    /// Bytes.
    Bytes(Bytes),
}

/// Bytes.
#[derive(JsonSchema)]
struct Bytes {
    /// Hexadecimal digits with fields between them.
    hex: String,
}

/// One pattern or several.
#[derive(JsonSchema)]
#[serde(untagged)]
enum OneOrMore {
    /// One.
    One(String),
    /// Several.
    More(Vec<String>),
}

/// A parity.
#[derive(JsonSchema)]
#[schemars(extend("enum" = words(PARITIES)))]
struct Parity(String);

/// A flow control.
#[derive(JsonSchema)]
#[schemars(extend("enum" = words(FLOWS)))]
struct Flow(String);

/// The order of the bytes of a length.
#[derive(JsonSchema)]
#[schemars(extend("enum" = words(ORDERS)))]
struct Order(String);

/// A kind of checksum.
#[derive(JsonSchema)]
#[schemars(extend("enum" = words(KINDS)))]
struct Kind(String);

/// How a checksum is written.
#[derive(JsonSchema)]
#[schemars(extend("enum" = words(FORMATS)))]
struct Format(String);

/// Where a checksum stands.
#[derive(JsonSchema)]
#[schemars(extend("enum" = words(PLACES)))]
struct At(String);

/// A framing without settings.
#[derive(JsonSchema)]
#[schemars(extend("enum" = ["line"]))]
struct FramingWord(String);

/// The words that the reader knows.
fn words<T>(choices: &[(&'static str, T)]) -> Vec<&'static str> {
    choices.iter().map(|(word, _)| *word).collect()
}

/// Milliseconds, or a text such as `500ms`, `5s` or `1m30s`.
#[derive(JsonSchema)]
#[serde(untagged)]
enum Duration {
    /// Milliseconds.
    Milliseconds(u64),
    /// With a unit.
    Text(String),
}

/// A number, also written as a text.
#[derive(JsonSchema)]
#[serde(untagged)]
enum Number {
    /// As a number.
    Number(i64),
    /// As a text.
    Text(String),
}

/// A text, also written as a number.
#[derive(JsonSchema)]
#[serde(untagged)]
enum Text {
    /// As a text.
    Text(String),
    /// As a number.
    Number(i64),
}

/// A truth value, also written as a text.
#[derive(JsonSchema)]
#[serde(untagged)]
enum Truth {
    /// As a truth value.
    Truth(bool),
    /// As a text.
    Text(String),
}

fn document() -> Document {
    Document {
        protocol: "serial",
        description: "Devices on serial ports, RS-485 lines and serial servers whose protocol stands in their profile.",
        device: schema_for!(Device).to_value(),
        property: schema_for!(Property).to_value(),
        method: Some(schema_for!(Method).to_value()),
        discovery: Some(schema_for!(Discovery).to_value()),
        mapper: Some(schema_for!(Mapper).to_value()),
    }
}

#[test]
fn the_schema_is_what_the_types_say() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.json");
    document().check_file(file).unwrap();
    assert_eq!(crate::SCHEMA, document().to_json());
}

/// The keys of an object of the schema.
fn keys(schema: &Value) -> Vec<String> {
    let properties = schema["properties"].as_object().expect("an object");
    properties.keys().cloned().collect()
}

/// An object with all keys of the schema, but for some, over a base.
fn all(schema: &Value, base: Value, without: &[&str]) -> Map<String, Value> {
    let mut map = base.as_object().expect("an object").clone();
    for key in keys(schema) {
        if !without.contains(&key.as_str()) {
            map.entry(key).or_insert(Value::Null);
        }
    }
    map
}

/// A key of the schema that the reader does not know would be "unknown key".
#[test]
fn the_reader_knows_each_key_of_the_schema() {
    let whole = document();
    let definition = |name: &str| &whole.device["$defs"][name];
    let protocol = |mut base: Value, framing: Value| {
        base["framing"] = framing;
        base["rs485"] = all(definition("Rs485"), json!({}), &[]).into();
        base["checksum"] = all(definition("Checksum"), json!({"kind": "xor"}), &[]).into();
        all(&whole.device, base, &[])
    };
    let line = all(definition("Line"), json!({}), &[]);
    let length = all(definition("Length"), json!({"offset": 1}), &[]);
    let frame = all(definition("Frame"), json!({"length": length}), &[]);
    let usb = all(
        definition("Usb"),
        json!({"vendor": "0403", "product": "6001"}),
        &[],
    );
    let text = json!({"request": "A\n", "response": "{value}"});
    let binary = json!({"request": {"hex": "01"}, "address": 1, "rawType": "uint8"});
    let in_bytes = ["length", "bit", "byteOrder"];
    for (protocol, property) in [
        (
            protocol(json!({"usb": usb}), json!({"line": line})),
            all(&whole.property, text, &in_bytes),
        ),
        (
            protocol(json!({"url": "/dev/x"}), json!({"frame": frame})),
            all(&whole.property, binary, &[]),
        ),
    ] {
        let device: DeviceConfig = serde_json::from_value(json!({
            "device": "default/all", "protocol": protocol,
            "points": [{"id": 1, "name": "a", "intervalMs": 0, "type": "INT", "config": property}],
            "methods": [{"name": "m", "config": all(whole.method.as_ref().unwrap(), json!({"request": "A"}), &[])}],
        }))
        .unwrap();
        let parsed = crate::Serial::default().parse(&device);
        let parsed = parsed.unwrap_or_else(|faults| panic!("{faults:?}"));
        assert_eq!(parsed.warnings, []);
        assert!(parsed.points[0].is_ok(), "{:?}", parsed.points[0]);
    }
}

/// A mistyped word is found where only the schema is at hand.
#[test]
fn the_schema_has_the_words() {
    let schema: Value = serde_json::from_str(crate::SCHEMA).expect("JSON");
    let words = |name: &str| schema["device"]["$defs"][name]["enum"].clone();
    assert_eq!(words("FramingWord"), json!(["line"]));
    assert_eq!(
        words("Parity"),
        json!(["none", "even", "odd", "n", "e", "o"])
    );
    assert_eq!(words("Format"), json!(["binary-le", "binary-be", "hex"]));
    let kinds = words("Kind");
    assert_eq!(kinds.as_array().map(Vec::len), Some(KINDS.len()));
    assert!(
        kinds
            .as_array()
            .is_some_and(|kinds| kinds.contains(&json!("crc16-modbus")))
    );
}
