//! From messages to values.

use longshore_sdk::{DeviceConfig, Protocol, Reading, Samples};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::Serial;

/// What a property of this configuration reads out of a message, as text.
fn read(protocol: Value, twin: &str, config: Value, message: &[u8]) -> String {
    let mut protocol = protocol;
    protocol["url"] = json!("/dev/x");
    protocol["stream"] = json!(true);
    let device: DeviceConfig = serde_json::from_value(json!({
        "device": "default/d", "protocol": protocol,
        "points": [{"id": 1, "name": "p", "intervalMs": 0, "type": twin, "config": config}],
    }))
    .expect("a device");
    let parsed = Serial::default().parse(&device);
    let parsed = parsed.unwrap_or_else(|faults| panic!("{faults:?}"));
    let point = parsed.points[0]
        .as_ref()
        .unwrap_or_else(|fault| panic!("{fault}"));
    if !point.answer().accepts(message) {
        return "not it".to_owned();
    }
    let mut samples = Samples::default();
    point.answer().sample(1, message, 0, &mut samples);
    let sample = samples.iter().next().expect("a sample");
    match sample.reading {
        Reading::Bad { message, .. } => message.to_owned(),
        reading => format!("{reading:?}"),
    }
}

fn block() -> Value {
    json!({"framing": {"frame": {"start": "02", "end": "03"}}})
}

/// u-blox M8 receiver description, section "RMC": time, status, latitude, N/S,
/// longitude, E/W, speed over ground in knots, course, date, …
const RMC: &[u8] = b"$GPRMC,083559.00,A,4717.11437,N,00833.91522,E,0.004,77.52,091202,,,A";

#[test]
fn nmea_fields() {
    let field = |field: u32, twin: &str, raw: &str| {
        let mut config = json!({"match": "$G?RMC", "field": field});
        if !raw.is_empty() {
            config["rawType"] = json!(raw);
        }
        read(json!({}), twin, config, RMC)
    };
    // 47 degrees and 17.11437 minutes.
    let latitude = field(3, "DOUBLE", "nmeaLatitude");
    let degrees = 47.0 + 17.11437 / 60.0;
    assert_eq!(latitude, format!("Float({degrees:?})"));
    let degrees = 8.0 + 33.91522 / 60.0;
    assert_eq!(
        field(5, "DOUBLE", "nmeaLongitude"),
        format!("Float({degrees:?})")
    );
    assert_eq!(field(7, "FLOAT", ""), "Float(0.004)");
    assert_eq!(field(2, "BOOLEAN", ""), "Bool(true)");
    assert_eq!(field(1, "STRING", "nmeaTime"), "String(\"08:35:59.00\")");
    assert_eq!(field(10, "FLOAT", ""), "the device left the field empty");
    assert_eq!(field(40, "FLOAT", ""), "the message has no field 40");
    assert_eq!(field(2, "FLOAT", ""), "`A` is not a number");
    let other = json!({"match": "$G?GGA", "field": 1});
    assert_eq!(read(json!({}), "STRING", other, RMC), "not it");
}

#[test]
fn hemispheres() {
    let config = |raw: &str| json!({"match": "$", "field": 1, "rawType": raw});
    let at = |raw: &str, text: &str| read(json!({}), "DOUBLE", config(raw), text.as_bytes());
    assert_eq!(at("nmeaLatitude", "$X,3351.0000,S"), "Float(-33.85)");
    assert_eq!(at("nmeaLongitude", "$X,07030.0000,W"), "Float(-70.5)");
    for wrong in [
        "$X,3351.0,E",
        "$X,3360.0,S",
        "$X,9100.0,N",
        "$X,3351.0",
        "$X,-351.0,S",
    ] {
        let text = at("nmeaLatitude", wrong);
        assert!(
            text.ends_with("is not degrees and minutes with a hemisphere"),
            "{wrong}: {text}"
        );
    }
}

#[test]
fn texts() {
    let pattern = |pattern: &str| json!({"response": pattern});
    let say = |twin, config, message: &str| read(json!({}), twin, config, message.as_bytes());
    assert_eq!(
        say("FLOAT", pattern("{value:float}"), "+1.2E+01"),
        "Float(12.0)"
    );
    assert_eq!(
        say("FLOAT", pattern("S S {value} g"), "S S  1.50 g"),
        "Float(1.5)"
    );
    assert_eq!(say("INT", pattern("{value}"), "42"), "Int(42)");
    assert_eq!(
        say("INT", json!({"response": "{value:hex}"}), "1F"),
        "Uint(31)"
    );
    assert_eq!(say("STRING", json!({}), "Acme,1,2"), "String(\"Acme,1,2\")");
    assert_eq!(
        say("BOOLEAN", json!({"response": "{value}"}), "on"),
        "Bool(true)"
    );
    let stable = json!({"response": "S {value:word} {}", "trueText": "S", "falseText": "D"});
    assert_eq!(say("BOOLEAN", stable.clone(), "S D 1.0 g"), "Bool(false)");
    assert_eq!(
        say("BOOLEAN", stable, "S X 1.0 g"),
        "`X` is not a truth value"
    );
    // A message in Latin-1: 0xB0 is the degree sign.
    let degree = read(json!({}), "STRING", json!({}), b"21\xB0C");
    assert_eq!(degree, "String(\"21°C\")");
}

/// 02 | address 05 | D2 | int16 | float32 with its words swapped | flags | "AB" | 03
#[test]
fn bytes() {
    let message = [
        0x02,
        0x05,
        0xD2,
        0xFF,
        0x38,
        0x00,
        0x00,
        0x41,
        0xAC,
        0b0000_0100,
        b'A',
        b'B',
        0x03,
    ];
    let say = |twin: &str, config: Value| read(block(), twin, config, &message);
    let head = json!({"hex": "02 ?? D2"});
    assert_eq!(
        say(
            "INT",
            json!({"response": head, "address": 3, "rawType": "int16"})
        ),
        "Int(-200)"
    );
    assert_eq!(
        say("FLOAT", json!({"address": 5, "byteOrder": "CDAB"})),
        "Float(21.5)"
    );
    assert_eq!(
        say("BOOLEAN", json!({"address": 9, "bit": 2})),
        "Bool(true)"
    );
    assert_eq!(
        say("INT", json!({"address": 9, "bit": 1, "length": 2})),
        "Uint(2)"
    );
    assert_eq!(
        say("STRING", json!({"address": 10, "length": 2})),
        "String(\"AB\")"
    );
    assert_eq!(
        say("INT", json!({"address": 12, "rawType": "uint32"})),
        "the answer is too short"
    );
    let other = json!({"response": {"hex": "02 06"}, "address": 3});
    assert_eq!(say("INT", other), "not it");
}

/// Properties of each sort, as the profiles have them.
fn all_sorts() -> Vec<(&'static str, Value)> {
    let mut sorts = vec![
        ("FLOAT", json!({"response": "S {} {value:float} {}"})),
        ("STRING", json!({"response": "{},{value},{}"})),
        ("BOOLEAN", json!({"response": "{value:word} {}"})),
        ("FLOAT", json!({"address": 3, "byteOrder": "CDAB"})),
        (
            "INT",
            json!({"address": 1, "rawType": "uint64", "bit": 60, "length": 4}),
        ),
        ("STRING", json!({"address": 2, "length": 4})),
        ("BYTES", json!({"address": 2})),
    ];
    for raw in [
        "float",
        "int",
        "hex",
        "bool",
        "string",
        "nmeaLatitude",
        "nmeaLongitude",
        "nmeaTime",
    ] {
        sorts.push(("DOUBLE", json!({"field": 1, "rawType": raw})));
    }
    sorts
}

proptest! {
    /// Whatever comes, each property gets one sample, good or bad.
    #[test]
    fn each_message_gives_one_sample(
        message in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            "[-+0-9.,NSEWA:° ]{0,40}".prop_map(String::into_bytes),
        ],
    ) {
        let points: Vec<_> = all_sorts()
            .into_iter()
            .zip(1..)
            .map(|((twin, config), id)| json!({"id": id, "name": "p", "intervalMs": 0, "type": twin, "config": config}))
            .collect();
        let device = json!({"device": "default/d", "protocol": {"url": "/dev/x", "stream": true}, "points": points});
        let device: DeviceConfig = serde_json::from_value(device).expect("a device");
        let parsed = Serial::default().parse(&device).unwrap_or_else(|faults| panic!("{faults:?}"));
        for point in &parsed.points {
            let point = point.as_ref().unwrap_or_else(|fault| panic!("{fault}"));
            let mut samples = Samples::default();
            point.answer().sample(1, &message, 0, &mut samples);
            prop_assert_eq!(samples.len(), 1);
        }
    }
}
