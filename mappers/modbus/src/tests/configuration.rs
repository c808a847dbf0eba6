//! What configurations mean, and what is said of those that mean nothing.

use longshore_sdk::{DeviceConfig, Parsed, Protocol, codec::RawType, testing::unread};
use serde_json::{Value, json};

use crate::{
    Modbus,
    bus::{Endpoint, Framing, Parity},
    keys,
    point::{Coding, Point, Table},
};

fn parse(protocol: Value, points: Value) -> Result<Parsed<Modbus>, Vec<String>> {
    let device: DeviceConfig = serde_json::from_value(
        json!({"device": "default/d", "protocol": protocol, "points": points}),
    )
    .unwrap();
    Modbus::default()
        .parse(&device)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

fn point_of(config: Value, twin: &str, writable: bool) -> Result<Point, String> {
    let point = json!([{"id": 1, "name": "p", "writable": writable, "intervalMs": 1000, "type": twin, "config": config}]);
    let parsed = parse(json!({"url": "tcp://h"}), point).unwrap();
    parsed
        .points
        .into_iter()
        .next()
        .unwrap()
        .map_err(|fault| fault.to_string())
}

fn place(address: Value) -> (Table, u16, u16) {
    let point = point_of(json!({"address": address}), "INT", false).unwrap();
    (point.table, point.address, point.count)
}

fn size_of(config: Value, twin: &str) -> (u16, usize) {
    let point = point_of(config, twin, false).unwrap();
    match point.coding {
        Coding::Registers { codec, .. } => (point.count, codec.size()),
        Coding::Bit | Coding::Number => (point.count, 0),
    }
}

#[test]
fn buses_by_url() {
    let bus =
        |url: &str| parse(json!({"url": url}), json!([])).map(|parsed| parsed.bus.to_string());
    assert_eq!(bus("tcp://plc.example").unwrap(), "tcp://plc.example:502");
    assert_eq!(bus("tcp://10.0.0.7:5020/").unwrap(), "tcp://10.0.0.7:5020");
    assert_eq!(bus("tcp://[fe80::1]:5020").unwrap(), "tcp://[fe80::1]:5020");
    assert_eq!(
        bus("rtu+tcp://10.0.0.7:4001").unwrap(),
        "rtu+tcp://10.0.0.7:4001"
    );
    assert_eq!(bus("ascii:///dev/ttyS0").unwrap(), "ascii:///dev/ttyS0");
    let parsed = parse(
        json!({"url": "rtu:///dev/ttyUSB0?baud=9600&parity=even&stop=2"}),
        json!([]),
    )
    .unwrap();
    let Endpoint::Serial(serial) = parsed.bus.endpoint else {
        panic!("serial")
    };
    assert_eq!(
        (
            serial.path.as_str(),
            serial.baud,
            serial.parity,
            serial.stop_bits
        ),
        ("/dev/ttyUSB0", 9600, Parity::Even, 2)
    );

    assert_eq!(
        bus("plc:502").unwrap_err(),
        ["protocol.url: `plc:502` has no scheme; write tcp://, rtu+tcp://, rtu:// or ascii://"]
    );
    assert_eq!(
        bus("tcp://h:x").unwrap_err(),
        ["protocol.url: `x` is not a port"]
    );
    assert!(
        bus("rtu:///dev/ttyS0?parity=odd&speed=1").unwrap_err()[0]
            .contains("`speed=1` is not a setting")
    );
}

#[test]
fn all_faults_of_a_device_come_at_once() {
    let faults = parse(
        json!({"url": "udp://h", "unit": 300, "timeoutMs": "soon", "maxRegisters": 126}),
        json!([]),
    )
    .err()
    .unwrap();
    assert_eq!(faults.len(), 4, "{faults:?}");
    assert!(faults.iter().all(|fault| fault.starts_with("protocol.")));
    assert_eq!(
        parse(json!({"url": "rtu:///dev/ttyS0", "unit": 0}), json!([]))
            .err()
            .unwrap(),
        ["protocol.unit: 0 is outside of 1…247"]
    );
    assert!(parse(json!({}), json!([])).err().unwrap()[0].contains("no address of the device"));
}

#[test]
fn kubeedge_s_vocabulary() {
    // As the temperature example of KubeEdge has it: texts for numbers, unknown keys and all.
    let protocol =
        json!({"communicateMode": "TCP", "port": "5502", "slaveID": 3, "ip": "10.244.1.3"});
    let visitor = json!({"dataType": "float", "register": "HoldingRegister", "offset": 4, "limit": 1, "scale": 0.1,
        "isSwap": false, "isRegisterSwap": false, "max": 100.0, "min": 1.0});
    let points = json!([{"id": 1, "name": "temperature", "intervalMs": 10000, "type": "FLOAT", "config": visitor},
        {"id": 2, "name": "switch", "intervalMs": 10000, "type": "INT", "writable": true,
         "config": {"dataType": "int", "register": "CoilRegister", "offset": 0, "limit": 1, "scale": 1}}]);
    let parsed = parse(protocol, points).unwrap();
    assert_eq!(parsed.bus.to_string(), "tcp://10.244.1.3:5502");
    assert_eq!(parsed.unit.id, 3);
    let temperature = parsed.points[0].as_ref().unwrap();
    assert_eq!(
        (temperature.table, temperature.address, temperature.count),
        (Table::HoldingRegisters, 4, 1)
    );
    assert_eq!(
        parsed.points[1].as_ref().unwrap().coding,
        Coding::Number,
        "the twin is an INT"
    );
    let warnings: Vec<_> = parsed
        .warnings
        .iter()
        .map(|warning| warning.path.as_str())
        .collect();
    assert_eq!(warnings, ["points[0].config.max", "points[0].config.min"]);

    let serial = json!({"communicateMode": "RTU", "serialName": "/dev/ttyS1", "baudRate": 9600, "dataBits": 8,
        "stopBits": 1, "parity": "Even", "slaveID": 1});
    let parsed = parse(serial, json!([])).unwrap();
    assert_eq!(
        (parsed.bus.to_string().as_str(), parsed.bus.framing),
        ("rtu:///dev/ttyS1", Framing::Rtu)
    );
    let older = json!({"com": {"serialPort": "/dev/ttyS0", "baudRate": 9600, "dataBits": 8, "parity": "even", "stopBits": 1}, "slaveID": 1});
    assert_eq!(
        parse(older, json!([])).unwrap().bus.to_string(),
        "rtu:///dev/ttyS0"
    );
    assert_eq!(
        parse(json!({"tcp": {"ip": "1.2.3.4", "port": 1502}}), json!([]))
            .unwrap()
            .bus
            .to_string(),
        "tcp://1.2.3.4:1502"
    );

    let swapped =
        json!({"register": "InputRegister", "offset": 1, "limit": 2, "isRegisterSwap": true});
    assert_eq!(size_of(swapped, "FLOAT"), (2, 4));
}

#[test]
fn addresses() {
    assert_eq!(place(json!("hr:3")), (Table::HoldingRegisters, 3, 1));
    assert_eq!(place(json!("hr:3#CDAB")), (Table::HoldingRegisters, 3, 1));
    assert_eq!(place(json!("co:0")), (Table::Coils, 0, 1));
    assert_eq!(place(json!("di:10")), (Table::DiscreteInputs, 10, 1));
    assert_eq!(place(json!("hr:5.3")), (Table::HoldingRegisters, 5, 1));
    assert_eq!(place(json!("hr:5.3:4")), (Table::HoldingRegisters, 5, 1));
    assert_eq!(place(json!("hr:5.30:2")), (Table::HoldingRegisters, 5, 2));
    assert_eq!(place(json!("hr:5:2")), (Table::HoldingRegisters, 5, 2));
    assert_eq!(place(json!("40001")), (Table::HoldingRegisters, 0, 1));
    assert_eq!(place(json!(40_010)), (Table::HoldingRegisters, 9, 1));
    assert_eq!(place(json!("465536")), (Table::HoldingRegisters, 65_535, 1));
    assert_eq!(place(json!("300001")), (Table::InputRegisters, 0, 1));
    assert_eq!(place(json!("00007")), (Table::Coils, 6, 1));
    assert_eq!(
        place(json!({"table": "holding", "offset": 3, "bit": 4, "length": 8})),
        (Table::HoldingRegisters, 3, 1)
    );
    let parsed = parse(
        json!({"url": "tcp://h", "addressBase": 1}),
        json!([{"id": 1, "name": "p", "intervalMs": 1, "type": "INT", "config": {"address": "hr:1"}}]),
    );
    assert_eq!(parsed.unwrap().points[0].as_ref().unwrap().address, 0);
}

#[test]
fn types_by_default() {
    assert_eq!(size_of(json!({"address": "ir:0"}), "FLOAT"), (2, 4));
    assert_eq!(size_of(json!({"address": "ir:0"}), "DOUBLE"), (4, 8));
    assert_eq!(size_of(json!({"address": "ir:0"}), "INT"), (1, 2));
    assert_eq!(size_of(json!({"address": "ir:0:2"}), "INT"), (2, 4));
    assert_eq!(size_of(json!({"address": "ir:0:8"}), "STRING"), (8, 16));
    assert_eq!(
        size_of(json!({"address": "ir:0", "rawType": "uint64"}), "INT"),
        (4, 8)
    );
    assert_eq!(
        size_of(
            json!({"address": "ir:0", "rawType": RawType::Uint8.to_string()}),
            "INT"
        ),
        (1, 1)
    );
}

#[test]
fn faults_stand_at_their_place() {
    let fault = |config: Value, twin: &str| point_of(config, twin, true).unwrap_err();
    for (config, twin, expected) in [
        (
            json!({"address": "hr:65536"}),
            "INT",
            "points[0].config.address: 65536 is outside of 0…65535",
        ),
        (
            json!({"address": "hr:65535"}),
            "FLOAT",
            "points[0].config.address: holding registers 65535…65536 are outside of 0…65535",
        ),
        (
            json!({"address": "xr:1"}),
            "INT",
            "points[0].config.address: `xr` is not a table; write hr, ir, co or di",
        ),
        (
            json!({"address": "hr:5.30:4"}),
            "INT",
            "points[0].config.address: bits 30…33 are outside of uint32, which has 32 bits",
        ),
        (
            json!({"address": "co:1.3"}),
            "INT",
            "points[0].config.address: coils and discrete inputs are bits themselves: a bit number belongs to registers",
        ),
        (
            json!({"address": "hr:1", "rawType": "float16"}),
            "INT",
            "points[0].config.rawType: `float16` is not a raw type; known are bool, int8, uint8, int16, uint16, int32, uint32, int64, uint64, float32, float64, int24, uint24, bcd16, bcd32, bcd64, sm16, sm32, string, bytes",
        ),
        (
            json!({"address": "hr:1#ABBA"}),
            "INT",
            "points[0].config.address: `ABBA` is not a byte order; write ABCD, CDAB, BADC, DCBA or all bytes of the value as letters",
        ),
        (
            json!({"address": "hr:1"}),
            "STRING",
            "points[0].config.address: a text needs its length in registers, for example `hr:20:8`",
        ),
        (
            json!({"address": "hr:1:124"}),
            "BYTES",
            "points[0].config.address: 124 holding registers cannot be written at once, only 123",
        ),
        (
            json!({"address": "hr:1", "writeFunction": "single"}),
            "FLOAT",
            "points[0].config.writeFunction: single writes one holding register, but the point has 2",
        ),
        (
            json!({"address": "hr:1:3", "rawType": "int32"}),
            "INT",
            "points[0].config.address: int32 has 2 registers, not 3",
        ),
        (
            json!({"address": 7}),
            "INT",
            "points[0].config.address: `7` is neither a reference such as 40001 nor has it a table such as hr:3",
        ),
        (
            json!({}),
            "INT",
            "points[0].config.address: no address: write for example `hr:3`, or table and offset",
        ),
    ] {
        assert_eq!(fault(config, twin), expected);
    }
}

#[test]
fn a_wrong_point_does_not_fail_its_device() {
    let points = json!([
        {"id": 1, "name": "good", "intervalMs": 1000, "type": "INT", "config": {"address": "hr:1"}},
        {"id": 2, "name": "bad", "intervalMs": 1000, "type": "INT", "config": {"address": "hr:x", "rawtype": "int16"}}
    ]);
    let parsed = parse(json!({"url": "tcp://h"}), points).unwrap();
    assert!(parsed.points[0].is_ok());
    assert!(parsed.points[1].is_err());
    assert_eq!(
        parsed.warnings[0].to_string(),
        "points[1].config.rawtype: unknown key, ignored; did you mean `rawType`?"
    );
}

#[test]
fn the_keys_are_those_of_the_reader_and_of_the_schema() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.json");
    keys::DOCUMENT.check_file(file).unwrap();
    let names = ["serialPort", "serialName"];
    let lines = names.map(|name| json!({"communicateMode": "RTU", name: "/dev/x"}));
    let places = [
        json!({"address": "hr:0"}),
        json!({"address": {"table": "hr", "offset": 0}}),
        json!({"table": "hr", "offset": 0}),
        json!({"register": "HoldingRegister"}),
    ];
    let points =
        places.map(|place| json!({"id": 1, "name": "a", "intervalMs": 0, "config": place}));
    let part = json!({"address": "hr:1", "rawType": "int16"});
    let method = json!({"function": "readWrite", "read": part, "write": part});
    let devices = lines.map(|line| {
        json!({
            "device": "default/all", "protocol": line, "points": points,
            "methods": [{"name": "m", "config": method}],
        })
    });
    assert_eq!(
        unread(&Modbus::default(), &keys::DOCUMENT, &devices),
        [""; 0]
    );
}
