//! What is wrong in a configuration is told all at once, each at its place.

use std::{collections::BTreeMap, time::Duration};

use longshore_sdk::{
    Delivery, DeviceConfig, Fault, Parsed, PlanPoint, Protocol, SampleValue, testing::unread,
};
use serde_json::{Value, json};

use crate::{Port, Serial, keys, known};

fn parse(protocol: Value, points: Value) -> Result<Parsed<Serial>, Vec<Fault>> {
    let device = json!({"device": "default/d", "protocol": protocol, "points": points});
    let device: DeviceConfig = serde_json::from_value(device).expect("a device");
    Serial::default().parse(&device)
}

fn faults(protocol: Value) -> Vec<String> {
    let faults = parse(protocol, json!([])).err().unwrap_or_default();
    faults.iter().map(ToString::to_string).collect()
}

/// The fault of one property of this configuration.
fn fault(protocol: Value, point: Value) -> String {
    let mut protocol = protocol;
    protocol["url"] = json!("/dev/x");
    let mut whole = json!({"id": 1, "name": "p", "intervalMs": 1000, "type": "FLOAT"});
    for (key, value) in point.as_object().expect("an object") {
        whole[key] = value.clone();
    }
    let parsed = parse(protocol, json!([whole]));
    let parsed = parsed.unwrap_or_else(|faults| panic!("{faults:?}"));
    match &parsed.points[0] {
        Ok(_) => "none".to_owned(),
        Err(fault) => fault.to_string(),
    }
}

#[test]
fn all_faults_of_a_device_come_at_once() {
    let protocol = json!({
        "baudRate": 9, "parity": "mark", "timeout": "soon", "rs485": {"turnaround": -1},
        "usb": {"vendor": 403, "product": "60"},
        "framing": {"frame": {"start": "2", "length": {"size": 3}}},
        "checksum": {"over": [1]}, "refused": ["ERR {", 7], "parameters": {"value": 1}
    });
    let paths: Vec<_> = parse(protocol, json!([]))
        .err()
        .expect("faults")
        .into_iter()
        .map(|fault| fault.path)
        .collect();
    for path in [
        "protocol.baudRate",
        "protocol.parity",
        "protocol.timeout",
        "protocol.rs485.turnaround",
        "protocol.usb.product",
        "protocol.framing.frame.start",
        "protocol.framing.frame.length.size",
        "protocol.checksum.kind",
        "protocol.checksum.over",
        "protocol.refused",
        "protocol.parameters",
    ] {
        assert!(
            paths.iter().any(|found| found == path),
            "{path} is not in {paths:?}"
        );
    }
}

#[test]
fn ports() {
    let port = |protocol: Value| match parse(protocol, json!([])) {
        Ok(parsed) => format!("{} ({})", parsed.bus, parsed.bus.settings),
        Err(faults) => faults[0].to_string(),
    };
    assert_eq!(port(json!({"url": "/dev/ttyS0"})), "/dev/ttyS0 (9600 8N1)");
    assert_eq!(
        port(
            json!({"port": "serial:///dev/ttyS0", "baudRate": "115200", "dataBits": 7, "parity": "e", "stopBits": 2, "flowControl": "hardware"})
        ),
        "/dev/ttyS0 (115200 7E2 RTS/CTS)"
    );
    assert_eq!(
        port(json!({"url": "tcp://[::1]:4001", "baudRate": 300})),
        "tcp://[::1]:4001 (9600 8N1)"
    );
    assert_eq!(
        port(json!({"usb": {"vendor": 403, "product": "6001", "serial": 12, "interface": 1}})),
        "usb 0403:6001 12 interface 1 (9600 8N1)"
    );
    assert_eq!(
        port(json!({"url": "COM3"})),
        "protocol.url: `COM3` is no port; write `/dev/…` or `tcp://host:port`"
    );
    assert_eq!(
        port(json!({"url": "tcp://host"})),
        "protocol.url: `tcp://host` is no address; write `tcp://host:port`"
    );
    assert_eq!(
        port(json!({"url": "/dev/x", "usb": {"vendor": "0403", "product": "6001"}})),
        "protocol.usb: `url` names a port already; keep one of the two"
    );
    assert!(port(json!({})).starts_with("protocol.url: no port: write for example"));
    let parsed = parse(json!({"url": "tcp://h:1"}), json!([])).unwrap_or_else(|f| panic!("{f:?}"));
    assert!(matches!(parsed.bus.port, Port::Tcp { .. }));
}

#[test]
fn durations() {
    for (text, expected) in [
        (json!(250), 250),
        (json!("250"), 250),
        (json!("1.5s"), 1500),
        (json!("1m30s"), 90_000),
    ] {
        let parsed = parse(json!({"url": "/dev/x", "timeout": text}), json!([]));
        let parsed = parsed.unwrap_or_else(|faults| panic!("{faults:?}"));
        assert_eq!(parsed.unit.link.timeout, Duration::from_millis(expected));
    }
    assert_eq!(
        faults(json!({"url": "/dev/x", "timeout": "2 weeks"})),
        [
            "protocol.timeout: \"2 weeks\" is no duration; write milliseconds or a text like `500ms`, `5s` or `1m30s`"
        ]
    );
    assert_eq!(
        faults(json!({"url": "/dev/x", "timeout": 0})),
        ["protocol.timeout: 0 leaves no time for an answer"]
    );
}

#[test]
fn faults_of_properties_say_what_to_do() {
    let block = json!({"framing": {"frame": {"start": "02", "end": "03"}}});
    let nothing = json!({});
    for (protocol, point, expected) in [
        (
            &nothing,
            json!({"config": {"response": "{value}"}}),
            "request: no request; for a device that talks by itself write `stream: true` in the device's protocol",
        ),
        (
            &nothing,
            json!({"config": {"request": "V{ch}?\n"}}),
            "request: `{ch}` has no value; give it under `parameters`",
        ),
        (
            &nothing,
            json!({"config": {"request": "{address}V?\n"}}),
            "request: `{address}` has no value; give the device an `address`",
        ),
        (
            &nothing,
            json!({"config": {"request": "V {value}\n"}}),
            "request: `{value}` is for `set`: a request that reads has no value",
        ),
        (
            &nothing,
            json!({"config": {"request": "V?{checksum}\n"}}),
            "request: `{checksum}` needs to know which: give the device a `checksum`",
        ),
        (
            &nothing,
            json!({"config": {"request": "V {x"}}),
            "request: column 3: this `{` is never closed; a brace that is meant is written `{{`",
        ),
        (
            &nothing,
            json!({"config": {"request": "V?\n", "response": "V"}}),
            "response: no `{value}` in it: nothing tells where the value is",
        ),
        (
            &nothing,
            json!({"config": {"request": "V?\n"}, "writable": true}),
            "set: the property may be written, and nothing says what to send",
        ),
        (
            &nothing,
            json!({"config": {"request": "V?\n", "setResponse": "OK"}}),
            "setResponse: there is no `set` that it answers",
        ),
        (
            &nothing,
            json!({"config": {"request": "V?\n", "rawType": "decimal"}}),
            "rawType: `decimal` is not a raw type; known are bool, int8, uint8, int16, uint16, int32, uint32, int64, uint64, float32, float64, int24, uint24, bcd16, bcd32, bcd64, sm16, sm32, string, bytes; for texts float, int, hex, bool, string, nmeaLatitude, nmeaLongitude, nmeaTime",
        ),
        (
            &nothing,
            json!({"config": {"request": "V?\n", "trueText": "ON"}}),
            "falseText: `trueText` needs a `falseText` beside it",
        ),
        (
            &block,
            json!({"config": {"request": {"hex": "02 5"}}}),
            "request: column 4: a byte has two hexadecimal digits",
        ),
        (
            &block,
            json!({"config": {"request": {"hex": "02"}, "response": {"hex": "0?"}}}),
            "response: expected hexadecimal digits, with `??` for any byte",
        ),
        (
            &block,
            json!({"config": {"request": {"hex": "02"}, "address": 3, "rawType": "uint16", "bit": 16}}),
            "bit: bits 16…16 are outside of uint16, which has 16 bits",
        ),
        (
            &block,
            json!({"config": {"request": {"hex": "02"}, "address": 3, "rawType": "string"}}),
            "length: a text needs to know how many bytes it has",
        ),
    ] {
        assert_eq!(
            fault(protocol.clone(), point.clone()),
            format!("points[0].config.{expected}"),
            "{point}"
        );
    }
}

#[test]
fn unknown_keys_are_warnings() {
    let parsed = parse(
        json!({"url": "/dev/x", "baudrate": 9600}),
        json!([{"id": 1, "name": "p", "intervalMs": 0, "type": "FLOAT", "config": {"request": "V?\n", "respones": "{value}"}}]),
    );
    let parsed = parsed.unwrap_or_else(|faults| panic!("{faults:?}"));
    let warnings: Vec<_> = parsed.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "protocol.baudrate: unknown key, ignored; did you mean `baudRate`?",
            "points[0].config.respones: unknown key, ignored; did you mean `response`?"
        ]
    );
}

#[test]
fn equal_requests_are_one_exchange() {
    let point = |id: u32, config: Value| json!({"id": id, "name": format!("p{id}"), "intervalMs": 1000, "type": "FLOAT", "config": config});
    let parsed = parse(
        json!({"url": "/dev/x", "address": "07", "parameters": {"ch": 1}, "stream": true}),
        json!([
            point(
                1,
                json!({"request": "{address}M?\n", "response": "{value:float},{}"})
            ),
            point(2, json!({"request": "C{ch}?\n"})),
            point(
                3,
                json!({"request": "07M?\n", "response": "{},{value:float}"})
            ),
            point(4, json!({"request": "C{ch}?\n", "parameters": {"ch": 2}})),
            point(5, json!({"match": "$G?RMC", "field": 1})),
        ]),
    );
    let parsed = parsed.unwrap_or_else(|faults| panic!("{faults:?}"));
    let serial = Serial::default();
    let points: Vec<_> = parsed
        .points
        .iter()
        .map(|point| point.as_ref().expect("sound"))
        .collect();
    let plan = |alone: u32| {
        let all: Vec<_> = (1..)
            .zip(&points)
            .map(|(id, point)| PlanPoint {
                id,
                point: *point,
                alone: id == alone,
                cut: false,
            })
            .collect();
        let planned = serial.plan(&parsed.bus, &parsed.unit, &all);
        let texts = planned.into_iter().map(|planned| {
            let sent = String::from_utf8(planned.request.send).expect("text");
            format!("{:?} {:?}", sent, planned.points)
        });
        texts.collect::<Vec<_>>()
    };
    assert_eq!(
        plan(0),
        [
            "\"07M?\\n\" [1, 3]",
            "\"C1?\\n\" [2]",
            "\"C2?\\n\" [4]",
            "\"\" [5]"
        ]
    );
    assert_eq!(plan(1)[0], "\"C1?\\n\" [2]");
    assert_eq!(plan(1)[4], "\"07M?\\n\" [1]");
    assert_eq!(serial.delivery(&parsed.unit, points[0]), Delivery::Polled);
    assert_eq!(serial.delivery(&parsed.unit, points[4]), Delivery::Pushed);
}

/// `01` of this device is not `02` of its neighbour on the line, and what stands
/// for anything has no name.
#[test]
fn names_that_the_device_knows_are_filled_into_patterns() {
    let known = BTreeMap::from([
        ("address".to_owned(), SampleValue::String("01".to_owned())),
        ("ch".to_owned(), SampleValue::Int(10)),
    ]);
    for (pattern, good, bad) in [
        ("!{address}{value:float}", "!01+7.5", "!02+7.5"),
        ("!{address:text:2}{value:float}", "!01+7.5", "!02+7.5"),
        ("C{ch:02X}={value:int}", "C0A=5", "C0B=5"),
        ("C{ch} {value:int}", "C10   5", "C11   5"),
        ("{value:float} from {address}", "1.5 from 01", "1.5 from 1"),
    ] {
        let pattern = known::pattern(pattern, &known).unwrap();
        assert!(pattern.matches(good.as_bytes()).is_some(), "{good}");
        assert!(pattern.matches(bad.as_bytes()).is_none(), "{bad}");
    }
    let anything = known::pattern("!{:text:2}{value:float}", &known).unwrap();
    assert!(anything.matches(b"!02+7.5").is_some());
    assert_eq!(
        known::pattern("!{address:text:3}", &known)
            .unwrap_err()
            .to_string(),
        "column 2: `{address:text:3}` stands for `01`, the `address` of the device, which has 2 characters; write `{address}`, or `{:text:3}` for what may be anything"
    );
}

#[test]
fn a_fraction_that_the_type_drops_is_warned_of() {
    for (twin_type, response, warns) in [
        ("INT", "{value:float}", true),
        ("BOOLEAN", ">{value:float}", true),
        ("INT", "{value:int}", false),
        ("FLOAT", "{value:float}", false),
    ] {
        let parsed = parse(
            json!({"url": "/dev/x"}),
            json!([{"id": 1, "name": "p", "intervalMs": 0, "type": twin_type,
                "config": {"request": "V?\n", "response": response}}]),
        );
        let parsed = parsed.unwrap_or_else(|faults| panic!("{faults:?}"));
        assert!(parsed.points[0].is_ok());
        assert_eq!(!parsed.warnings.is_empty(), warns, "{twin_type} {response}");
    }
}

#[test]
fn what_is_set_holds_the_value() {
    let parsed = parse(
        json!({"url": "/dev/x"}),
        json!([{"id": 1, "name": "p", "intervalMs": 0, "type": "FLOAT", "writable": true,
            "config": {"request": "V?\n", "set": "VOLT 5\n"}}]),
    );
    let parsed = parsed.unwrap_or_else(|faults| panic!("{faults:?}"));
    let fault = parsed.points[0].as_ref().expect_err("a fault");
    assert!(fault.to_string().contains("no `{value}` in it"), "{fault}");
}

/// YAML 1.1 reads a bare `y` as true, and the field `{y}` would have no value.
#[test]
fn a_name_that_yaml_took_for_a_truth_value_is_to_be_quoted() {
    let protocol = json!({"url": "/dev/x", "parameters": {"true": 1}});
    let parsed = parse(protocol, json!([])).unwrap_or_else(|faults| panic!("{faults:?}"));
    let warnings: Vec<_> = parsed.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "protocol.parameters: a parameter is named `true`: some readers of YAML take `y`, `n`, `yes`, `no`, `on`, `off` and `~` for that word; if one of these is meant, quote it"
        ]
    );
    let list = json!({"url": "/dev/x", "parameters": [{"name": "y"}]});
    let faults: Vec<_> = parse(list, json!([]))
        .err()
        .expect("a fault")
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        faults,
        ["protocol.parameters: expected names with their values, like `{channel: 2}`"]
    );
}

#[test]
fn the_keys_are_those_of_the_reader_and_of_the_schema() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.json");
    keys::DOCUMENT.check_file(file).unwrap();
    let device = |mut protocol: Value, framing: Value, property: Value| {
        protocol["framing"] = framing;
        protocol["rs485"] = json!({});
        protocol["checksum"] = json!({"kind": "xor"});
        protocol["handshake"] = json!({"response": "/{speed}"});
        json!({
            "device": "default/all", "protocol": protocol,
            "points": [{"id": 1, "name": "a", "intervalMs": 0, "type": "INT", "config": property}],
            "methods": [{"name": "m", "config": {"request": "A"}}],
        })
    };
    let usb = json!({"usb": {"vendor": "0403", "product": "6001"}});
    let text = json!({"request": "A\n", "response": "{value}"});
    let bytes = json!({"request": {"hex": "01"}, "address": 1, "rawType": "uint8"});
    let devices = [
        device(usb, json!({"line": {}}), text),
        device(
            json!({"url": "/dev/x"}),
            json!({"frame": {"length": {"offset": 1}}}),
            bytes.clone(),
        ),
        device(
            json!({"url": "/dev/x"}),
            json!({"frame": {"start": "7E", "end": "7E", "stuffing": {"escape": "7D", "xor": "20"}}}),
            bytes,
        ),
    ];
    assert_eq!(
        unread(&Serial::default(), &keys::DOCUMENT, &devices),
        [""; 0]
    );
}
