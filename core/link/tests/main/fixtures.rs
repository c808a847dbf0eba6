//! The bytes on the wire. A change here breaks edges in the field.

use bytes::Bytes;
use longshore_link::{
    Change, Content, DecodeError, Epoch, Frame, Hello, MapperReport, NodeAddress, NodeReport,
    ObjectKey, Objects, Records, RefuseReason, SchemaReport, Up, UpRecord, Welcome,
};
use longshore_types::{
    DeviceName, DeviceSamples, Fault, PropertySample, Quality, Reason, Timestamp, Value,
    device::{Condition, ConditionStatus, EventReport, PropertyType, WriteState},
    event::Severity,
    report::{DesiredReport, DeviceReport, DeviceState, PropertyReport},
};
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn check(name: &str, bytes: &Bytes) {
    let path = format!(
        "{}/tests/main/fixtures/{name}.hex",
        env!("CARGO_MANIFEST_DIR")
    );
    let got = hex(bytes);
    if std::env::var_os("LONGSHORE_UPDATE").is_some() {
        std::fs::write(&path, format!("{got}\n")).expect("fixture is written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        got,
        expected.trim(),
        "the encoding of `{name}` changed; LONGSHORE_UPDATE=1 rewrites {path}"
    );
}

fn change(content: bool) -> Change {
    Change {
        key: ObjectKey {
            kind: "Device".into(),
            namespace: "default".into(),
            name: "boiler".into(),
        },
        content: content.then(|| Content {
            uid: "0b5f".into(),
            resource_version: "17".into(),
            json: Bytes::from_static(b"{\"kind\":\"Device\"}"),
        }),
    }
}

fn frames() -> Vec<(&'static str, Frame)> {
    let hello = Hello {
        oldest_version: 1,
        version: 1,
        capabilities: vec!["later".into()],
        node: "edge-1".into(),
        agent: "longshore/0.1.0".into(),
        hub_epoch: Epoch(0x1122_3344_5566_7788),
        revision: 300,
        edge_epoch: Epoch(7),
        last_sequence: 42,
        last_telemetry: 0,
    };
    let hello_telemetry = Hello {
        last_telemetry: 300,
        ..hello.clone()
    };
    let welcome = Welcome {
        version: 1,
        capabilities: Vec::new(),
        hub_epoch: Epoch(0x1122_3344_5566_7788),
        taken: 41,
        window_records: 1024,
        window_bytes: 1_048_576,
        keepalive_ms: 10_000,
        schemas: Vec::new(),
    };
    let with_schemas = Welcome {
        capabilities: vec!["schemas".into()],
        schemas: vec![0x1122_3344_5566_7788, 1],
        ..welcome.clone()
    };
    let records = vec![UpRecord {
        sequence: 42,
        payload: Bytes::from_static(b"\x0a\x00"),
    }];
    vec![
        ("hello", Frame::Hello(hello)),
        ("hello-telemetry", Frame::Hello(hello_telemetry)),
        ("welcome", Frame::Welcome(welcome)),
        ("welcome-schemas", Frame::Welcome(with_schemas)),
        (
            "refuse",
            Frame::Refuse {
                reason: RefuseReason::Identity,
                message: "no".into(),
            },
        ),
        (
            "changes",
            Frame::Objects(Objects::Changes {
                from: 300,
                to: 302,
                changes: vec![change(true), change(false)],
            }),
        ),
        (
            "snapshot",
            Frame::Objects(Objects::Snapshot {
                revision: 302,
                part: 1,
                last: true,
                changes: vec![change(true)],
            }),
        ),
        ("stored", Frame::Stored { revision: 302 }),
        ("part-received", Frame::PartReceived { part: 0 }),
        (
            "telemetry",
            Frame::Telemetry(Records {
                after: 41,
                records: records.clone(),
            }),
        ),
        (
            "telemetry-from",
            Frame::TelemetryFrom {
                taken: 41,
                window_records: 512,
                window_bytes: 131_072,
            },
        ),
        ("telemetry-taken", Frame::TelemetryTaken { sequence: 42 }),
        ("records", Frame::Records(Records { after: 41, records })),
        ("taken", Frame::Taken { sequence: 42 }),
        ("ping", Frame::Ping { nonce: 1 }),
        ("pong", Frame::Pong { nonce: 1 }),
    ]
}

fn reports() -> Vec<(&'static str, Up)> {
    let property = |name: &str, value: Value| PropertyReport {
        value: Some(value),
        value_type: Some(PropertyType::Float),
        quality: Quality::Good,
        source_time_ms: Some(1_732_000_000_123),
        last_read_ms: Some(1_732_000_000_124),
        ..PropertyReport::new(name)
    };
    let mut setpoint = property("setpoint", Value::Float(21.5));
    setpoint.desired = Some(DesiredReport {
        value: "22".into(),
        local: true,
        write: WriteState::Failed,
        message: "out of range".into(),
        since_ms: 1_732_000_000_000,
        ..DesiredReport::default()
    });
    let broken = PropertyReport {
        quality: Quality::Bad,
        reason: Reason::Timeout,
        last_error: Some("no answer within 1 s".into()),
        ..PropertyReport::new("pressure")
    };
    let properties = vec![
        setpoint,
        broken,
        property("b", Value::Bool(true)),
        property("i", Value::Int(-5)),
        property("u", Value::Uint(u64::MAX)),
        property("s", Value::String("on".into())),
        property("y", Value::Bytes(vec![0, 255].into())),
    ];
    let reported = DeviceReport {
        name: DeviceName::new("default", "boiler").expect("a name"),
        uid: "0b5f".into(),
        state: DeviceState::Online,
        last_online_ms: Some(1_732_000_000_200),
        properties,
        conditions: vec![Condition {
            condition: "Reachable".into(),
            status: ConditionStatus::True,
            reason: "Answers".into(),
            message: "the device answers".into(),
            last_transition_time: Some(Timestamp::from_millis(1_732_000_000_001)),
        }],
        warnings: vec![Fault::warning("spec.x", "unknown key")],
        events: Vec::new(),
        fingerprint: 0,
    };
    let with_events = DeviceReport {
        properties: Vec::new(),
        events: vec![EventReport {
            name: "hot".into(),
            active: true,
            severity: Severity::Critical,
            message: "the boiler has 95 °C".into(),
            since: Some(Timestamp::from_millis(1_732_000_000_002)),
        }],
        ..reported.clone()
    };
    let node = NodeReport {
        labels: vec![("site".into(), "north".into())],
        os: "linux".into(),
        architecture: "amd64".into(),
        version: "0.1.0".into(),
        kernel: "6.1".into(),
        os_image: "Debian".into(),
        machine_id: "m".into(),
        boot_id: "b".into(),
        cpus: 2,
        memory_bytes: 1 << 30,
        addresses: vec![NodeAddress {
            kind: "Hostname".into(),
            address: "edge-1".into(),
        }],
        mappers: vec![MapperReport {
            name: "modbus".into(),
            protocol: "modbus".into(),
            version: "0.1.0".into(),
            state: "Running".into(),
            message: String::new(),
            schema: 0,
        }],
    };
    let with_schema = NodeReport {
        labels: Vec::new(),
        mappers: vec![MapperReport {
            schema: 0x1122_3344_5566_7788,
            ..node.mappers[0].clone()
        }],
        ..node.clone()
    };
    let with_fingerprint = DeviceReport {
        events: Vec::new(),
        fingerprint: 0x1122_3344_5566_7788,
        ..with_events.clone()
    };
    let schema = SchemaReport {
        protocol: "modbus".into(),
        text: "{\"device\":{}}".into(),
    };
    vec![
        ("up-reported", Up::Reported(reported)),
        ("up-node", Up::Node(node)),
        ("up-events", Up::Reported(with_events)),
        ("up-node-schema", Up::Node(with_schema)),
        ("up-fingerprint", Up::Reported(with_fingerprint)),
        ("up-schema", Up::Schema(schema)),
        ("up-samples", Up::Samples(samples())),
    ]
}

/// Two properties, the second one out of order and without a value.
fn samples() -> DeviceSamples {
    let sample = |property: &str, value: Option<Value>, time_ms: i64| PropertySample {
        property: property.into(),
        quality: if value.is_some() {
            Quality::Good
        } else {
            Quality::Bad
        },
        reason: if value.is_some() {
            Reason::None
        } else {
            Reason::Timeout
        },
        value,
        time_ms,
    };
    DeviceSamples {
        device: DeviceName::new("default", "boiler").expect("a name"),
        uid: "0b5f".into(),
        samples: vec![
            sample("temperature", Some(Value::Float(21.5)), 1_732_000_000_123),
            sample("pressure", None, 1_732_000_000_100),
            sample("temperature", Some(Value::Float(21.75)), 1_732_000_001_123),
            sample("mode", Some(Value::String("eco".into())), 1_732_000_001_123),
        ],
    }
}

#[test]
fn the_encoding_stays() {
    for (name, frame) in frames() {
        let bytes = frame.encode();
        check(name, &bytes);
        assert_eq!(Frame::decode(bytes).expect("it can be read"), frame);
    }
    for (name, report) in reports() {
        let bytes = report.encode();
        check(name, &bytes);
        assert_eq!(Up::decode(&bytes).expect("it can be read"), report);
    }
}

#[test]
fn what_a_later_version_adds_is_ignored() {
    // Field 100, length-delimited, of two bytes: no frame and no report of today.
    let later = Bytes::from_static(&[0xa2, 0x06, 0x02, 0x01, 0x02]);
    assert_eq!(Frame::decode(later.clone()), Ok(Frame::Unknown));
    assert_eq!(Up::decode(&later), Ok(Up::Unknown));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let unordered = vec![
        UpRecord {
            sequence: 5,
            payload: Bytes::new(),
        },
        UpRecord {
            sequence: 5,
            payload: Bytes::new(),
        },
    ];
    let frame = Frame::Records(Records {
        after: 4,
        records: unordered,
    });
    assert!(matches!(
        Frame::decode(frame.encode()),
        Err(DecodeError::Invalid {
            field: "records.sequence",
            ..
        })
    ));
    let backwards = Frame::Objects(Objects::Changes {
        from: 5,
        to: 4,
        changes: Vec::new(),
    });
    assert!(matches!(
        Frame::decode(backwards.encode()),
        Err(DecodeError::Invalid { field: "to", .. })
    ));
    let mut nameless = change(true);
    nameless.key.name.clear();
    let frame = Frame::Objects(Objects::Changes {
        from: 4,
        to: 5,
        changes: vec![nameless],
    });
    assert_eq!(
        Frame::decode(frame.encode()),
        Err(DecodeError::Missing("changes.name"))
    );
}

fn any_sample() -> impl Strategy<Value = PropertySample> {
    let value = prop_oneof![
        Just(None),
        any::<bool>().prop_map(|v| Some(Value::Bool(v))),
        any::<i64>().prop_map(|v| Some(Value::Int(v))),
        any::<u64>().prop_map(|v| Some(Value::Uint(v))),
        (-1e300..1e300).prop_map(|v| Some(Value::Float(v))),
        "[a-z]{0,9}".prop_map(|v| Some(Value::String(v.into()))),
    ];
    let quality = prop_oneof![
        Just(Quality::Good),
        Just(Quality::Uncertain),
        Just(Quality::Bad)
    ];
    let reason = prop_oneof![Just(Reason::None), Just(Reason::Line), Just(Reason::Sensor)];
    ("[a-c]", value, quality, reason, any::<i64>()).prop_map(
        |(property, value, quality, reason, time_ms)| PropertySample {
            property: property.into(),
            value,
            quality,
            reason,
            time_ms,
        },
    )
}

proptest! {
    #[test]
    fn samples_arrive_as_they_were(samples in proptest::collection::vec(any_sample(), 0..40)) {
        let up = Up::Samples(DeviceSamples { samples, ..self::samples() });
        prop_assert_eq!(Up::decode(&up.encode()), Ok(up));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Frame::decode(bytes.clone().into());
        let _ = Up::decode(&bytes);
    }
}

#[test]
fn a_sample_of_a_property_that_is_not_named_is_refused() {
    // An Up with field 4, samples: of `a`/`b` (1, 2), no names, one sample (5) of property 3 (1).
    let bytes = [0x22, 10, 0x0a, 1, b'a', 0x12, 1, b'b', 0x2a, 2, 0x08, 3];
    assert_eq!(
        Up::decode(&bytes),
        Err(DecodeError::Invalid {
            field: "samples.property",
            value: "3".into()
        })
    );
}

#[test]
fn a_schema_that_is_too_large_or_of_no_protocol_is_refused() {
    let schema = |protocol: &str, length: usize| {
        let up = Up::Schema(SchemaReport {
            protocol: protocol.into(),
            text: "x".repeat(length),
        });
        Up::decode(&up.encode())
    };
    let largest = longshore_link::MAX_SCHEMA_BYTES;
    let Ok(Up::Schema(kept)) = schema("Modbus", largest) else {
        panic!("the largest one is taken");
    };
    assert_eq!(kept.protocol, "modbus");
    assert!(matches!(
        schema("modbus", largest + 1),
        Err(DecodeError::Invalid {
            field: "schema.text",
            ..
        })
    ));
    assert!(matches!(
        schema("", 1),
        Err(DecodeError::Missing("schema.protocol"))
    ));
}

#[test]
fn both_sides_compute_the_same_numbers_for_ever() {
    // SHA-256 of "abc" (FIPS 180-2, appendix B.1) begins with these bytes.
    assert_eq!(longshore_link::schema_hash("abc"), 0xba78_16bf_8f01_cfea);
    let one = longshore_link::fingerprint(b"ab", "c", None);
    assert_ne!(one, longshore_link::fingerprint(b"a", "bc", None));
    assert_ne!(one, longshore_link::fingerprint(b"ab", "c", Some(b"")));
}
