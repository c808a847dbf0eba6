//! The keys of bluetooth, said once: the reader takes them from here,
//! `schema.json` and docs/reference/protocol-bluetooth.md are made of it.

use std::time::Duration;

use longshore_sdk::{
    keys::{Choices, Default, Form, Key, Table, key},
    schema::Document,
};

use crate::{
    advert::FORMATS,
    config::{CONNECT, CONNECTIONS, MODES, SILENT, TIMEOUT},
    discover::SECONDS,
    point::{MAX_VALUE, WRITE_TYPES},
};

const TIME: Form = Form::Duration(Duration::from_millis(10), Duration::from_secs(86_400));
const LAST: i64 = MAX_VALUE as i64 - 1;
const BIT: Form = Form::Integer(0, 63);

/// The words of `advertisement`: the known formats, and two whose bytes a
/// property cuts out itself.
pub(crate) struct Advertisements;

impl Choices for Advertisements {
    fn words(&self) -> Vec<&'static str> {
        let formats = FORMATS.iter().map(|(word, _)| *word);
        formats.chain(["manufacturer", "service"]).collect()
    }
}

const ADAPTER: &[Key] = &[key(
    "adapter",
    Form::Text,
    "The adapter, for example `hci0`. Default: the mapper's, or else the first that is switched on.",
)];

/// `protocol.configData`.
#[rustfmt::skip]
pub const DEVICE: Table = Table {
    about: "How to reach the device.",
    keys: &[&[
        key("address", Form::Text, "The device's address, for example `A4:C1:38:01:02:03`. `discover` lists those that are heard."),
        key("macAddress", Form::Text, "KubeEdge's word for `address`."),
        key("name", Form::Text, "In place of the address: the name that it advertises, for example `LYWSD03MMC`. For devices whose address changes; of several with this name the nearest is taken."),
    ], ADAPTER, &[
        key("mode", Form::Words(&MODES), "Whether to connect or only to listen. Default: connect if a property has a `characteristic`."),
        key("pair", Form::Boolean, "Pair before use. Default: only if there is a `passkey`."),
        key("passkey", Form::Integer(0, 999_999), "The six-digit number that the device shows or has printed on, for pairing."),
        key("timeout", TIME, "The longest that one exchange may take: milliseconds or a text.").or(Default::Time(TIMEOUT)),
        key("connectTimeout", TIME, "The longest that finding and connecting may take.").or(Default::Time(CONNECT)),
        key("silentAfter", TIME, "A device that is listened to and not heard for so long is silent: its properties are bad, and `present` is false.").or(Default::Time(SILENT)),
        key("key", Form::Text, "Opens encrypted advertisements (BTHome, MiBeacon): 32 hexadecimal digits."),
        key("bindKey", Form::Text, "Another word for `key`."),
    ]],
    examples: &[
        r#"{"address": "A4:C1:38:01:02:03"}"#,
        r#"{"name": "Polar H10 12345678", "connectTimeout": "1m"}"#,
    ],
};

#[rustfmt::skip]
const CONVERTER: Table = Table {
    about: "KubeEdge's way from bytes to a number.",
    keys: &[&[
        key("startIndex", Form::Integer(0, LAST), "The first byte of the number.").or(Default::Whole(0)),
        key("endIndex", Form::Integer(0, LAST), "Its last byte; before `startIndex` for the lowest byte first.").or(Default::Whole(0)),
        key("shiftLeft", BIT, "Bits that the number is moved to the left.").or(Default::Whole(0)),
        key("shiftRight", BIT, "Bits that it is moved to the right after that.").or(Default::Whole(0)),
        key("orderOfOperations", Form::List(&Form::Map), "Arithmetic, each step with an `operationType` (Add, Subtract, Multiply, Divide) and an `operationValue`."),
    ]],
    examples: &[],
};

/// `visitors.configData`.
#[rustfmt::skip]
pub const PROPERTY: Table = Table {
    about: "Where a property's bytes come from, and what they mean.",
    keys: &[&[
        key("characteristic", Form::Text, "The characteristic, as a UUID: `2a19`, or all 32 digits. Standard ones are decoded by their specification and come in its unit."),
        key("characteristicUUID", Form::Text, "KubeEdge's word for `characteristic`."),
        key("service", Form::Text, "The characteristic's service, if several have such a one; with `advertisement: service` the service whose data it is."),
        key("serviceUUID", Form::Text, "Another word for `service`."),
        key("advertisement", Form::Words(&Advertisements), "The format of the advertisements that it is in. `any` has only `rssi`, `txPower` and `present`, which all have; `manufacturer` (with `company`) and `service` (with `service`) are bytes that `at` and `rawType` cut from."),
        key("field", Form::Text, "The part of the advertisement or of the characteristic, for example `temperature` or `rssi`. Default: the property's name."),
        key("index", Form::Integer(1, 100), "Which of several parts of this name, from 1.").or(Default::Whole(1)),
        key("company", Form::Label, "For `advertisement: manufacturer`: the company's number, for example `0x0499`."),
        key("rawType", Form::Text, "For bytes of an own format: what they are. `uint8`, `int16`, `float32`, `bool`, `string`, `bytes` and others."),
        key("at", Form::Integer(0, LAST), "The first of the bytes, from 0.").or(Default::Whole(0)),
        key("length", Form::Integer(1, MAX_VALUE as i64), "How many bytes a `string` or `bytes` has (default: all the rest), or how many bits from `bit` on."),
        key("bit", BIT, "One bit of the number; 0 is the lowest."),
        key("byteOrder", Form::Text, "The order of the bytes: `little` (default), `big`, or letters such as `CDAB`."),
        key("notify", Form::Boolean, "Let the device send the value whenever it changes, in place of asking.").or(Default::Truth(false)),
        key("indicate", Form::Boolean, "The same, confirmed; which of the two happens is the device's choice.").or(Default::Truth(false)),
        key("writeType", Form::Words(&WRITE_TYPES), "`request`: the device confirms a write. `command`: it does not. Default: what the characteristic can, `request` first."),
        key("dataConverter", Form::Object(&CONVERTER), "KubeEdge's way from bytes to a number."),
        key("dataWrite", Form::Map, "Words and the bytes that they are written as, for example `{ON: [1], OFF: [0]}`."),
    ]],
    examples: &[
        r#"{"advertisement": "bthome", "field": "temperature"}"#,
        r#"{"service": "180f", "characteristic": "2a19", "notify": true}"#,
        r#"{"characteristic": "fff1", "rawType": "int16", "at": 2, "byteOrder": "big"}"#,
    ],
};

/// A request to look for devices.
#[rustfmt::skip]
pub const DISCOVERY: Table = Table {
    about: "What to look for.",
    keys: &[ADAPTER, &[
        key("seconds", Form::Integer(1, 300), "How long to listen.").or(Default::Whole(SECONDS)),
        key("connect", Form::Either(&[Form::Text, Form::List(&Form::Text)]), "Addresses of devices to connect to, so that their characteristics are listed and read."),
    ]],
    examples: &[],
};

/// The mapper's own configuration.
#[rustfmt::skip]
pub const MAPPER: Table = Table {
    about: "The mapper itself.",
    keys: &[&[
        key("bus", Form::Text, "The D-Bus where bluetoothd is. Default: the system bus."),
        key("adapter", Form::Text, "The adapter of devices that name none."),
        key("maxConnections", Form::Integer(1, 100), "How many connections there may be at once.").or(Default::Whole(CONNECTIONS)),
    ]],
    examples: &[],
};

/// All of them, as `schema.json` has them.
pub const DOCUMENT: Document = Document {
    protocol: "bluetooth",
    description: "Bluetooth LE devices through BlueZ: characteristics of connected devices, and what sensors and beacons advertise.",
    device: &DEVICE,
    property: &PROPERTY,
    method: None,
    discovery: Some(&DISCOVERY),
    mapper: Some(&MAPPER),
};
