//! What may stand in the configurations, for `schema.json`: the reference that
//! `longshore explain modbus` prints. The types are never read into; a test
//! holds them against what the reader knows.

#![allow(dead_code, reason = "only their shape is used")]

use longshore_sdk::schema::Document;
use schemars::{JsonSchema, schema_for};
use serde_json::{Value, json};

/// How a device is reached.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", extend("examples" = [{"url": "tcp://192.0.2.7", "unit": 1}, {"url": "rtu:///dev/serial/by-id/usb-FTDI_X-if00-port0?baud=9600&parity=even", "unit": 17}]))]
struct Device {
    /// The bus. `tcp://host[:502]`, `rtu:///dev/…?baud=9600&parity=even&stop=1&data=8`
    /// (19200 baud, 8N1 without settings), `ascii:///dev/…`, or serial frames
    /// through a TCP gateway: `rtu+tcp://host:port`, `ascii+tcp://host:port`.
    /// Devices with the same url share one connection and one queue.
    url: Option<String>,
    /// The unit (slave) on the bus: 1 to 247 on serial lines, 0 to 255 over TCP.
    #[schemars(extend("minimum" = 0, "maximum" = 255, "default" = 1))]
    unit: Option<Number>,
    #[serde(flatten)]
    settings: Settings,
    /// Milliseconds between connecting and the first request. The first device of
    /// the bus decides.
    #[schemars(extend("minimum" = 0, "maximum" = 60000, "default" = 0))]
    pause_after_connect_ms: Option<Number>,
    /// 1: the numbers after `hr:` and so on count from one.
    #[schemars(extend("minimum" = 0, "maximum" = 1, "default" = 0))]
    address_base: Option<Number>,
    /// KubeEdge's form of `url`: `TCP`, `RTU` or `ASCII`.
    communicate_mode: Option<String>,
    /// KubeEdge's form of `url`: the host.
    ip: Option<String>,
    /// KubeEdge's form of `url`: the TCP port.
    #[schemars(extend("minimum" = 1, "maximum" = 65535, "default" = 502))]
    port: Option<Number>,
    /// KubeEdge's form of `unit`.
    #[serde(rename = "slaveID")]
    #[schemars(extend("minimum" = 0, "maximum" = 255))]
    slave_id: Option<Number>,
    /// KubeEdge's form of `url`: the serial port.
    serial_port: Option<String>,
    /// KubeEdge's other name of `serialPort`.
    serial_name: Option<String>,
    /// KubeEdge's form of `url`: bits per second.
    #[schemars(extend("minimum" = 50, "maximum" = 10000000, "default" = 19200))]
    baud_rate: Option<Number>,
    /// KubeEdge's form of `url`: 7 or 8.
    #[schemars(extend("minimum" = 7, "maximum" = 8, "default" = 8))]
    data_bits: Option<Number>,
    /// KubeEdge's form of `url`: none, even or odd.
    parity: Option<String>,
    /// KubeEdge's form of `url`: 1 or 2.
    #[schemars(extend("minimum" = 1, "maximum" = 2, "default" = 1))]
    stop_bits: Option<Number>,
    /// Accepted and not needed: the adapter or the kernel switches the direction.
    rs485_enabled: Option<Value>,
    /// `ip` and `port`, as older manifests of KubeEdge have them.
    tcp: Option<serde_json::Map<String, Value>>,
    /// The keys of the serial port, as older manifests of KubeEdge have them.
    com: Option<serde_json::Map<String, Value>>,
}

/// How requests are made.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Settings {
    /// Milliseconds until an answer must have come.
    #[schemars(extend("minimum" = 1, "maximum" = 600000, "default" = 1000))]
    timeout_ms: Option<Number>,
    /// Milliseconds of silence before each request, beside that of the protocol.
    #[schemars(extend("minimum" = 0, "maximum" = 60000, "default" = 0))]
    inter_request_gap_ms: Option<Number>,
    /// Registers in one request at most.
    #[schemars(extend("minimum" = 1, "maximum" = 125, "default" = 125))]
    max_registers: Option<Number>,
    /// Coils or discrete inputs in one request at most.
    #[schemars(extend("minimum" = 1, "maximum" = 2000, "default" = 2000))]
    max_bits: Option<Number>,
    /// Registers read for nothing to save a request.
    #[schemars(extend("minimum" = 0, "maximum" = 124, "default" = 16))]
    gap_fill: Option<Number>,
    /// For devices that mind requests across their fields.
    #[schemars(extend("default" = false))]
    one_request_per_field: Option<Truth>,
}

/// Where a property is and how it reads.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", extend("examples" = [{"address": "hr:3#CDAB", "rawType": "float32"}, {"address": "hr:5.3", "rawType": "bool"}]))]
struct Property {
    /// `table:number[.bit][:length][#order]` with the tables `hr` (holding
    /// registers), `ir` (input registers), `co` (coils), `di` (discrete inputs),
    /// counted from 0; a classic reference such as `40001`; or an object with the
    /// parts.
    address: Option<Address>,
    /// The type on the wire. Without it by the type of the property: INT is
    /// int16, FLOAT float32, DOUBLE float64, and by length (`hr:3:2` as INT is int32).
    raw_type: Option<RawType>,
    /// Order of the bytes: `A` is the most significant, and the letters stand as
    /// they arrive. `ABCD` (the default), `CDAB`, `BADC`, `DCBA`, or as many
    /// letters as the value has bytes.
    byte_order: Option<String>,
    /// Where the first of two characters stands in a register: `high` (the
    /// default) or `low`.
    string_order: Option<String>,
    /// `single` (functions 5 and 6) or `multiple` (15 and 16). Without it by size.
    write_function: Option<String>,
    /// The long form without `address`: a table.
    table: Option<String>,
    /// The long form without `address`, and KubeEdge's form: the first register.
    offset: Option<Number>,
    /// The long form and KubeEdge's form: a bit, 0 is the lowest.
    #[schemars(extend("minimum" = 0, "maximum" = 63))]
    bit: Option<Number>,
    /// The long form without `address`: how many registers or bits.
    #[schemars(extend("minimum" = 1, "maximum" = 2000))]
    length: Option<Number>,
    /// The long form without `address`: as `byteOrder`.
    order: Option<String>,
    /// The long form without `address`: as `stringOrder`.
    string: Option<String>,
    /// KubeEdge's tables: CoilRegister, DiscreteInputRegister, InputRegister, HoldingRegister.
    register: Option<String>,
    /// KubeEdge: how many registers or bits.
    #[schemars(extend("minimum" = 0, "maximum" = 2000))]
    limit: Option<Number>,
    /// KubeEdge: int (unsigned), float, double, boolean, string or bytes.
    data_type: Option<String>,
    /// KubeEdge: the bytes of each register are swapped.
    is_swap: Option<Truth>,
    /// KubeEdge: the registers of a value are swapped.
    is_register_swap: Option<Truth>,
}

/// A place as a text, a classic reference as a number, or its parts.
#[derive(JsonSchema)]
#[serde(untagged)]
enum Address {
    /// `hr:3#CDAB`
    Text(String),
    /// 40001
    Reference(u32),
    /// The parts.
    Parts(Parts),
}

/// The parts of an address.
#[derive(JsonSchema)]
struct Parts {
    /// `holding`, `input`, `coils` or `discrete`, or short.
    table: String,
    /// The first register or bit, counted from 0.
    offset: Number,
    /// A bit, 0 is the lowest.
    #[schemars(extend("minimum" = 0, "maximum" = 63))]
    bit: Option<Number>,
    /// How many registers or bits.
    #[schemars(extend("minimum" = 1, "maximum" = 2000))]
    length: Option<Number>,
    /// As `byteOrder`.
    order: Option<String>,
    /// As `stringOrder`.
    string: Option<String>,
}

/// Types on the wire.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RawType {
    Bool,
    Int8,
    Uint8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Uint64,
    Float32,
    Float64,
    String,
    Bytes,
}

/// What one exchange does that no property can.
#[derive(JsonSchema)]
#[schemars(extend("examples" = [{"function": "readWrite", "write": {"address": "hr:100", "rawType": "uint16"}, "read": {"address": "hr:101", "rawType": "int32"}}]))]
struct Method {
    /// `readWrite`: function 23, the argument is written and the result read in
    /// one exchange. `identify`: function 43/14, the device's identification.
    function: String,
    /// `readWrite`: where the argument goes, as a property has it.
    write: Option<serde_json::Map<String, Value>>,
    /// `readWrite`: where the result comes from, as a property has it.
    read: Option<serde_json::Map<String, Value>>,
}

/// What `longshore discover modbus` looks for: the keys of the bus, and these.
#[derive(JsonSchema)]
#[schemars(extend("examples" = [{"url": "tcp://192.0.2.7", "units": "1-32", "registers": "hr:0-9"}]))]
struct Discovery {
    /// The bus, as in a device. KubeEdge's keys of the bus work as well.
    url: Option<String>,
    /// Which units to ask: a number, a list, or ranges such as `1,3,10-20`.
    #[schemars(extend("default" = "1-32"))]
    units: Option<Value>,
    /// Registers to try, each that can be read becomes a property: `hr:0-9`,
    /// several after commas.
    registers: Option<Value>,
    /// Milliseconds until a unit counts as silent.
    #[serde(rename = "timeoutMs")]
    #[schemars(extend("minimum" = 1, "maximum" = 600000, "default" = 200))]
    timeout_ms: Option<Number>,
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
        protocol: "modbus",
        description: "Modbus TCP, RTU on a serial line, RTU and ASCII over TCP, ASCII.",
        device: schema_for!(Device).to_value(),
        property: schema_for!(Property).to_value(),
        method: Some(schema_for!(Method).to_value()),
        discovery: Some(schema_for!(Discovery).to_value()),
        mapper: Some(schema_for!(Settings).to_value()),
    }
}

#[test]
fn the_schema_is_what_the_types_say() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.json");
    document().check_file(file).unwrap();
    assert_eq!(crate::SCHEMA, document().to_json());
}

/// A key of the schema that the reader does not know would be "unknown key".
#[test]
fn the_reader_knows_each_key_of_the_schema() {
    use longshore_sdk::{DeviceConfig, Protocol};
    let keys = |part: &Value| -> Vec<String> {
        let properties = part["properties"].as_object().expect("an object");
        properties.keys().cloned().collect()
    };
    let whole = document();
    let given = |keys: &[String], base: Value| {
        let mut map = base.as_object().unwrap().clone();
        for key in keys {
            map.entry(key.clone()).or_insert(json!({"never": "right"}));
        }
        map
    };
    let device: DeviceConfig = serde_json::from_value(json!({
        "device": "default/all",
        "protocol": given(&keys(&whole.device), json!({"communicateMode": "RTU", "serialPort": "/dev/x"}))
            .into_iter().filter(|(key, _)| key != "url").collect::<serde_json::Map<_, _>>(),
        "points": [],
    }))
    .unwrap();
    let faults = crate::Modbus::default()
        .parse(&device)
        .err()
        .unwrap_or_default();
    assert!(!faults.is_empty(), "objects in place of numbers are faults");
    let ours: Vec<Value> = [
        json!({"address": "hr:0"}),
        json!({"table": "hr", "offset": 0}),
        json!({"register": "HoldingRegister"}),
    ]
    .into();
    // Each form has its keys; a key is known when one of the forms asks for it.
    let mut unknown: Vec<String> = keys(&whole.property);
    for base in ours {
        let device: DeviceConfig = serde_json::from_value(json!({
            "device": "default/all", "protocol": {"url": "tcp://192.0.2.7"},
            "points": [{"id": 1, "name": "a", "intervalMs": 0, "config": given(&keys(&whole.property), base.clone())
                .into_iter().filter(|(key, _)| base.get(key).is_some() || !["address", "table", "register"].contains(&key.as_str()))
                .collect::<serde_json::Map<_, _>>()}],
        })).unwrap();
        let parsed = crate::Modbus::default()
            .parse(&device)
            .unwrap_or_else(|faults| panic!("{faults:?}"));
        unknown.retain(|key| {
            base.get(key).is_none()
                && parsed.warnings.iter().any(|warning| {
                    warning.path.ends_with(&format!(".{key}"))
                        && warning.message.starts_with("unknown key")
                })
        });
    }
    assert_eq!(unknown, Vec::<String>::new());
}
