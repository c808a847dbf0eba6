//! What may be written in a device's configuration, and what is said when it is wrong.

use std::time::Duration;

use longshore_sdk::{DeviceConfig, Fault, Parsed, Protocol, SampleValue, Samples, testing::unread};
use serde_json::{Value, json};

use super::rig::hex;
use crate::{Bluetooth, Target, keys, point::Source};

fn parse(protocol: Value, points: &[Value]) -> Result<Parsed<Bluetooth>, Vec<Fault>> {
    let points: Vec<_> = points
        .iter()
        .enumerate()
        .map(|(id, config)| {
            let mut point = json!({"id": id, "name": format!("p{id}"), "intervalMs": 1000, "type": "FLOAT", "config": config});
            for key in ["type", "name", "sampling"] {
                if let Some(value) = config.get(format!("_{key}")) {
                    point[key] = value.clone();
                    point["config"].as_object_mut().unwrap().remove(&format!("_{key}"));
                }
            }
            point
        })
        .collect();
    let device = json!({"device": "default/tag", "protocol": protocol, "points": points});
    let device: DeviceConfig = serde_json::from_value(device).expect("a configuration");
    Bluetooth::new(&json!({})).expect("a mapper").parse(&device)
}

fn texts(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn all_faults_of_a_device_come_at_once() {
    let faults = parse(
        json!({"address": "A4:C1:38", "timeout": "soon", "mode": "listen", "key": "12", "passkey": 1_000_000}),
        &[],
    );
    assert_eq!(
        texts(&faults.err().expect("faults")),
        [
            "protocol.address: `A4:C1:38` is no address; write for example `A4:C1:38:01:02:03`",
            "protocol.mode: `listen` is none of connect, advertisement",
            "protocol.passkey: 1000000 is outside of 0…999999",
            "protocol.timeout: \"soon\" is no duration; write milliseconds or a text like `500ms`, `5s` or `1m30s`",
            "protocol.key: expected 32 hexadecimal digits",
        ]
    );
    let faults = parse(json!({}), &[]).err().expect("faults");
    assert_eq!(
        texts(&faults),
        ["protocol.address: no device: write its `address`, or the `name` that it advertises"]
    );
}

#[test]
fn a_wrong_point_says_what_is_wrong_and_the_others_work() {
    let parsed = parse(
        json!({"address": "A4:C1:38:01:02:03"}),
        &[
            json!({"advertisement": "bthome", "field": "temprature"}),
            json!({"advertisement": "bthom", "field": "temperature"}),
            json!({"characteristic": "2z19"}),
            json!({"characteristic": "f000aa01-0451-4000-b000-000000000000"}),
            json!({"characteristic": "2a37", "field": "pulse"}),
            json!({"advertisement": "manufacturer", "rawType": "int16"}),
            json!({}),
            json!({"characteristic": "2a19", "colour": "red"}),
        ],
    )
    .expect("the device is fine");
    let faults: Vec<_> = parsed
        .points
        .iter()
        .filter_map(|point| point.as_ref().err())
        .cloned()
        .collect();
    assert_eq!(
        texts(&faults),
        [
            "points[0].config.field: the format has no field `temprature`; did you mean `temperature`?",
            "points[1].config.advertisement: `bthom` is none of any, bthome, atc, pvvx, xiaomi, eddystone-tlm, eddystone-uid, ibeacon, manufacturer, service",
            "points[2].config.characteristic: `2z19` is no UUID; write for example `2a19`, or all 32 digits",
            "points[3].config.rawType: f000aa01-0451-4000-b000-000000000000 is not a standard one that is known here: write its `rawType`",
            "points[4].config.field: 2a37 has the fields heartRate, contact, energyExpended, rrInterval",
            "points[5].config.company: `advertisement: manufacturer` needs `company`",
            "points[6].config.characteristic: no place: write for example `characteristic: 2a19` or `advertisement: bthome`",
        ]
    );
    assert!(parsed.points[7].is_ok());
    assert_eq!(
        texts(&parsed.warnings),
        ["points[7].config.colour: unknown key, ignored"]
    );
}

#[test]
fn a_connection_is_made_only_if_a_property_needs_it() {
    let listening = parse(
        json!({"name": "ATC_010203"}),
        &[json!({"advertisement": "atc", "field": "temperature"})],
    )
    .unwrap();
    assert!(!listening.bus.connect);
    assert_eq!(listening.bus.target, Target::Name("ATC_010203".to_owned()));
    assert_eq!(listening.bus.to_string(), "`ATC_010203`");
    let connected = parse(
        json!({"address": "a4-c1-38-01-02-03", "adapter": "hci1", "timeout": "1m30s", "silentAfter": 5000}),
        &[json!({"advertisement": "any", "field": "rssi"}), json!({"characteristic": "2A19"})],
    )
    .unwrap();
    assert!(connected.bus.connect);
    assert_eq!(connected.bus.to_string(), "A4:C1:38:01:02:03 on hci1");
    assert_eq!(connected.bus.timeout, Duration::from_secs(90));
    assert_eq!(connected.bus.silent_after, Duration::from_secs(5));
    let forbidden = parse(
        json!({"name": "x", "mode": "advertisement"}),
        &[json!({"characteristic": "2a19"})],
    )
    .unwrap();
    assert!(
        forbidden.points[0]
            .as_ref()
            .err()
            .unwrap()
            .message
            .contains("without a connection")
    );
}

#[test]
fn what_only_notifies_is_watched_and_the_rest_is_polled() {
    let parsed = parse(
        json!({"name": "x"}),
        &[
            json!({"characteristic": "2a37"}),
            json!({"characteristic": "2a19"}),
            json!({"characteristic": "2a19", "notify": true}),
            json!({"characteristic": "2a19", "_sampling": "push"}),
            json!({"characteristic": "2a19", "indicate": true, "_sampling": "poll"}),
            json!({"advertisement": "ibeacon", "field": "major"}),
        ],
    )
    .unwrap();
    let pushed: Vec<_> = parsed
        .points
        .iter()
        .map(|point| point.as_ref().unwrap().pushed)
        .collect();
    assert_eq!(pushed, [true, false, true, true, false, true]);
}

#[test]
fn own_formats_are_cut_from_the_bytes() {
    let parsed = parse(
        json!({"name": "x"}),
        &[
            json!({"characteristic": "fff1", "rawType": "int16", "at": 1}),
            json!({"characteristic": "fff1", "rawType": "int16", "byteOrder": "big", "at": 1}),
            json!({"characteristic": "fff1", "bit": 3, "_type": "BOOLEAN"}),
            json!({"characteristic": "fff1", "rawType": "string", "at": 3}),
            json!({"characteristic": "fff1", "rawType": "bool", "_type": "BOOLEAN"}),
            json!({"advertisement": "manufacturer", "company": "0x0499", "rawType": "uint16", "at": 5}),
        ],
    )
    .unwrap();
    let bytes = hex("08 0102 6869 0000");
    let mut samples = Samples::default();
    for (id, point) in parsed.points.iter().enumerate() {
        point
            .as_ref()
            .unwrap()
            .decode(id as u32, &bytes, &mut samples, 1);
    }
    let texts: Vec<_> = samples
        .iter()
        .map(|sample| format!("{:?}", sample.reading))
        .collect();
    assert_eq!(
        texts,
        [
            "Int(513)",
            "Int(258)",
            "Bool(true)",
            "String(\"hi\")",
            "Bool(true)",
            "Uint(0)"
        ]
    );
    let point = parsed.points[0].as_ref().unwrap();
    assert!(point.is_part());
    assert_eq!(
        point.encode(&SampleValue::Int(-2), bytes.clone()),
        Ok(hex("08 feff 6869 0000"))
    );
    let bit = parsed.points[2].as_ref().unwrap();
    assert_eq!(
        bit.encode(&SampleValue::Bool(false), vec![0x0F]),
        Ok(vec![0x07])
    );
}

#[test]
fn kubeedge_s_vocabulary_is_understood() {
    // A TI SensorTag as in KubeEdge's sample: bytes 2 to 1 backwards are the
    // raw value, shifted by 2, in steps of 1/32 °C.
    let parsed = parse(
        json!({"macAddress": "BC:6A:29:AE:CC:96"}),
        &[json!({
            "characteristicUUID": "f000aa0104514000b000000000000000",
            "dataConverter": {"startIndex": 2, "endIndex": 1, "shiftRight": 2,
                "orderOfOperations": [{"operationType": "Multiply", "operationValue": 0.03125}]},
            "dataWrite": {"ON": [1], "OFF": [0]},
        })],
    )
    .unwrap();
    assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
    let point = parsed.points[0].as_ref().unwrap();
    assert!(matches!(point.source, Source::Characteristic(_)));
    let mut samples = Samples::default();
    // 0x0AC0 >> 2 = 688, × 1/32 = 21.5
    point.decode(1, &hex("00 c0 0a"), &mut samples, 1);
    assert_eq!(
        format!("{:?}", samples.iter().next().unwrap().reading),
        "Float(21.5)"
    );
    assert_eq!(
        point.encode(&SampleValue::String("on".to_owned()), Vec::new()),
        Ok(vec![1])
    );
    assert_eq!(
        point.encode(&SampleValue::String("dim".to_owned()), Vec::new()),
        Err("`dim` is none of ON, OFF".to_owned())
    );
}

#[test]
fn a_wrong_mapper_configuration_is_refused() {
    let faults = Bluetooth::new(&json!({"bus": "somewhere", "maxConnections": 0}))
        .err()
        .expect("faults");
    let texts = texts(&faults);
    assert_eq!(texts[0], "maxConnections: 0 is outside of 1…100");
    assert!(
        texts[1].starts_with("bus: `somewhere` is no D-Bus address"),
        "{texts:?}"
    );
}

#[test]
fn the_keys_are_those_of_the_reader_and_of_the_schema() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.json");
    keys::DOCUMENT.check_file(file).unwrap();
    let points = [
        json!({"advertisement": "bthome"}),
        json!({"characteristic": "fff1", "dataConverter": {}}),
    ];
    let points = points
        .map(|config| json!({"id": 1, "name": "temperature", "intervalMs": 1, "config": config}));
    let devices = [json!({"device": "default/x", "protocol": {"name": "x"}, "points": points})];
    let bluetooth = Bluetooth::new(&Value::Null).unwrap();
    assert_eq!(unread(&bluetooth, &keys::DOCUMENT, &devices), [""; 0]);
}
