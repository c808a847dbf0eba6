//! The schema that the library carries, from types that say what each key means.

use longshore_sdk::{PointConfig, Protocol, config::Section, schema::Document};
use schemars::{JsonSchema, schema_for};
use serde_json::{Map, Value, json};

use crate::{Bluetooth, point};

/// How to reach the device.
#[derive(JsonSchema)]
#[schemars(example = json!({"address": "A4:C1:38:01:02:03"}))]
#[schemars(example = json!({"name": "Polar H10 12345678", "connectTimeout": "1m"}))]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
struct Device {
    /// The device's address, for example `A4:C1:38:01:02:03`. `discover` lists those that are heard.
    address: Option<String>,
    /// KubeEdge's word for `address`.
    mac_address: Option<String>,
    /// In place of the address: the name that it advertises, for example `LYWSD03MMC`. For
    /// devices whose address changes; of several with this name the nearest is taken.
    name: Option<String>,
    /// The adapter, for example `hci0`. Default: the mapper's, or else the first that is switched on.
    adapter: Option<String>,
    /// Whether to connect or only to listen. Default: connect if a property has a `characteristic`.
    mode: Option<Mode>,
    /// Pair before use. Default: only if there is a `passkey`.
    pair: Option<bool>,
    /// The six-digit number that the device shows or has printed on, for pairing.
    #[schemars(range(max = 999_999))]
    passkey: Option<u32>,
    /// The longest that one exchange may take: milliseconds or a text. Default `5s`.
    timeout: Option<Duration>,
    /// The longest that finding and connecting may take. Default `25s`.
    connect_timeout: Option<Duration>,
    /// A device that is listened to and not heard for so long is silent: its properties are
    /// bad, and `present` is false. Default `60s`.
    silent_after: Option<Duration>,
    /// Opens encrypted advertisements (BTHome, MiBeacon): 32 hexadecimal digits.
    key: Option<String>,
    /// Another word for `key`.
    bind_key: Option<String>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code)]
enum Mode {
    Connect,
    Advertisement,
}

/// Milliseconds, or a text such as `500ms`, `5s`, `1m30s`.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
enum Duration {
    Milliseconds(u64),
    Text(String),
}

/// Where a property's bytes come from, and what they mean.
#[derive(JsonSchema)]
#[schemars(example = json!({"advertisement": "bthome", "field": "temperature"}))]
#[schemars(example = json!({"service": "180f", "characteristic": "2a19", "notify": true}))]
#[schemars(example = json!({"characteristic": "fff1", "rawType": "int16", "at": 2, "byteOrder": "big"}))]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
struct Property {
    /// The characteristic, as a UUID: `2a19`, or all 32 digits. Standard ones are decoded by
    /// their specification and come in its unit.
    characteristic: Option<String>,
    /// KubeEdge's word for `characteristic`.
    #[serde(rename = "characteristicUUID")]
    characteristic_uuid: Option<String>,
    /// The characteristic's service, if several have such a one; with `advertisement: service`
    /// the service whose data it is.
    service: Option<String>,
    /// Another word for `service`.
    #[serde(rename = "serviceUUID")]
    service_uuid: Option<String>,
    /// The format of the advertisements that it is in. `any` has only `rssi`, `txPower` and
    /// `present`, which all have; `manufacturer` (with `company`) and `service` (with `service`)
    /// are bytes that `at` and `rawType` cut from.
    advertisement: Option<Advertisement>,
    /// The part of the advertisement or of the characteristic, for example `temperature` or
    /// `rssi`. Default: the property's name.
    field: Option<String>,
    /// Which of several parts of this name, from 1. Default 1.
    #[schemars(range(min = 1, max = 100))]
    index: Option<u32>,
    /// For `advertisement: manufacturer`: the company's number, for example `0x0499`.
    company: Option<Number>,
    /// For bytes of an own format: what they are. `uint8`, `int16`, `float32`, `bool`,
    /// `string`, `bytes` and others.
    raw_type: Option<String>,
    /// The first of the bytes, from 0. Default 0.
    #[schemars(range(max = 511))]
    at: Option<u32>,
    /// How many bytes a `string` or `bytes` has (default: all the rest), or how many bits from
    /// `bit` on.
    #[schemars(range(min = 1, max = 512))]
    length: Option<u32>,
    /// One bit of the number; 0 is the lowest.
    #[schemars(range(max = 63))]
    bit: Option<u32>,
    /// The order of the bytes: `little` (default), `big`, or letters such as `CDAB`.
    byte_order: Option<String>,
    /// Let the device send the value whenever it changes, in place of asking.
    notify: Option<bool>,
    /// The same, confirmed; which of the two happens is the device's choice.
    indicate: Option<bool>,
    /// `request`: the device confirms a write. `command`: it does not. Default: what the
    /// characteristic can, `request` first.
    write_type: Option<WriteType>,
    /// KubeEdge's way from bytes to a number: `startIndex`, `endIndex` (before `startIndex` for
    /// the lowest byte first), `shiftLeft`, `shiftRight`, `orderOfOperations`.
    data_converter: Option<Map<String, Value>>,
    /// Words and the bytes that they are written as, for example `{ON: [1], OFF: [0]}`.
    data_write: Option<std::collections::BTreeMap<String, Vec<u8>>>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(dead_code)]
enum Advertisement {
    Any,
    Bthome,
    Atc,
    Pvvx,
    Xiaomi,
    EddystoneTlm,
    EddystoneUid,
    Ibeacon,
    Manufacturer,
    Service,
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
enum Number {
    Number(u16),
    Text(String),
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code)]
enum WriteType {
    Request,
    Command,
}

/// What to look for.
#[derive(JsonSchema)]
#[allow(dead_code)]
struct Discovery {
    /// The adapter. Default: as for devices.
    adapter: Option<String>,
    /// How long to listen. Default 8.
    #[schemars(range(min = 1, max = 300))]
    seconds: Option<u32>,
    /// Addresses of devices to connect to, so that their characteristics are listed and read.
    connect: Option<Vec<String>>,
}

/// The mapper itself.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
struct Mapper {
    /// The D-Bus where bluetoothd is. Default: the system bus.
    bus: Option<String>,
    /// The adapter of devices that name none.
    adapter: Option<String>,
    /// How many connections there may be at once. Default 5.
    #[schemars(range(min = 1, max = 100))]
    max_connections: Option<u32>,
}

fn document() -> Document {
    Document {
        protocol: "bluetooth",
        description: "Bluetooth LE devices through BlueZ: characteristics of connected devices, and what sensors and beacons advertise.",
        device: schema_for!(Device).to_value(),
        property: schema_for!(Property).to_value(),
        method: None,
        discovery: Some(schema_for!(Discovery).to_value()),
        mapper: Some(schema_for!(Mapper).to_value()),
    }
}

#[test]
fn the_schema_is_that_of_the_types() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.json");
    if let Err(error) = document().check_file(file) {
        panic!("{error}");
    }
}

fn keys(schema: &Value) -> Vec<String> {
    let properties = schema["properties"].as_object().expect("an object");
    properties.keys().cloned().collect()
}

/// All keys, each null, which reads as absent: what is still unknown is read by nobody.
fn nulls(schema: &Value) -> Map<String, Value> {
    keys(schema)
        .into_iter()
        .map(|key| (key, Value::Null))
        .collect()
}

#[test]
fn each_key_of_the_schema_is_read() {
    let document = document();
    let mut device = nulls(&document.device);
    device.insert("name".to_owned(), json!("x"));
    let config = serde_json::from_value(json!({
        "device": "default/x",
        "protocol": device,
        "points": [{"id": 1, "name": "temperature", "intervalMs": 1, "config": {"advertisement": "bthome"}}],
    }))
    .expect("a configuration");
    let parsed = Bluetooth::new(&Value::Null)
        .unwrap()
        .parse(&config)
        .unwrap();
    assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
    let property = nulls(&document.property);
    let section = Section::new("", &property);
    point::parse(&section, &PointConfig::default());
    assert_eq!(section.finish().1, []);
}

/// The keys that the readers name in their sources.
#[test]
fn each_key_that_is_read_is_in_the_schema() {
    let document = document();
    let pattern = |source: &str, schemas: &[&Value]| {
        let known: Vec<String> = schemas.iter().flat_map(|schema| keys(schema)).collect();
        let getters = [
            ".text(\"",
            ".integer(\"",
            ".boolean(\"",
            ".value(\"",
            ".section(\"",
            "section, \"",
            "uuid(\"",
        ];
        for getter in getters {
            for rest in source.split(getter).skip(1) {
                let key = rest.split('"').next().unwrap_or_default();
                assert!(
                    known.iter().any(|known| known == key),
                    "`{key}` is read and not in the schema"
                );
            }
        }
    };
    let mapper = document.mapper.as_ref().expect("there");
    pattern(include_str!("../config.rs"), &[&document.device, mapper]);
    pattern(include_str!("../point.rs"), &[&document.property]);
    pattern(
        include_str!("../discover.rs"),
        &[document.discovery.as_ref().expect("there")],
    );
}
