//! Configurations: all faults at once, KubeEdge's vocabulary, and what buses are equal.

use std::time::Duration;

use longshore_sdk::{Delivery, DeviceConfig, Parsed, PlanPoint, Protocol, testing::unread};
use serde_json::{Value, json};

use crate::{Mode, Opcua, Password, Policy, Trust, Unit, User, keys};

fn parse(protocol: Value, points: Value) -> Result<Parsed<Opcua>, Vec<String>> {
    let device: DeviceConfig = serde_json::from_value(json!({
        "device": "default/press", "protocol": protocol, "points": points
    }))
    .expect("a device");
    let parsed = Opcua::new(&Value::Null).expect("sound").parse(&device);
    parsed.map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

fn faults(protocol: Value) -> Vec<String> {
    parse(protocol, json!([])).err().expect("faults")
}

#[test]
fn all_faults_of_a_device_come_at_once() {
    assert_eq!(
        faults(json!({
            "url": "http://plc", "security": {"policy": "Basic256", "mode": "seal"},
            "user": {"password": "a", "passwordFile": "b"}, "trust": {"thumbprint": "12"},
            "timeout": "soon", "sessionTimeout": "1s"
        })),
        [
            "protocol.url: `http://plc` does not begin with opc.tcp://, the only transport that is spoken",
            "protocol.security.policy: `Basic256` is none of auto, none, Basic256Sha256, Aes128Sha256RsaOaep, Aes256Sha256RsaPss, Aes128_Sha256_RsaOaep, Aes256_Sha256_RsaPss",
            "protocol.security.mode: `seal` is none of sign, signAndEncrypt, auto, none",
            "protocol.user.name: no name of the user",
            "protocol.user.password: write password or passwordFile, not both",
            "protocol.trust.thumbprint: `12` is not a SHA-1 thumbprint of 40 hexadecimal digits",
            "protocol.timeout: \"soon\" is no duration; write milliseconds or a text like `500ms`, `5s` or `1m30s`",
            "protocol.sessionTimeout: 1000 ms is outside of 5000…86400000 ms",
        ]
    );
    assert_eq!(
        faults(json!({})),
        ["protocol.url: no address of the server: write url: opc.tcp://HOST:4840"]
    );
    assert_eq!(
        faults(json!({"url": "opc.tcp://plc", "security": {"policy": "none", "mode": "sign"}})),
        [
            "protocol.security.mode: there is nothing to sign or encrypt with policy none: leave the mode out, or name a policy"
        ]
    );
}

#[test]
fn a_wrong_point_costs_itself_only() {
    let parsed = parse(
        json!({"url": "opc.tcp://plc"}),
        json!([
            {"id": 1, "name": "a", "intervalMs": 0, "config": {"node": "ns=2"}},
            {"id": 2, "name": "b", "intervalMs": 0, "config": {"node": "i=85", "qeueSize": 3}},
            {"id": 3, "name": "c", "intervalMs": 0, "config": {}},
            {"id": 4, "name": "d", "intervalMs": 0, "config": {
                "node": "i=1", "indexRange": "3:1", "queueSize": 0, "serverDeadband": {"abs": 1, "percent": 2}}},
        ]),
    )
    .expect("the device is sound");
    let messages: Vec<_> = parsed
        .points
        .iter()
        .map(|point| {
            point
                .as_ref()
                .err()
                .map(ToString::to_string)
                .unwrap_or_default()
        })
        .collect();
    assert_eq!(
        messages,
        [
            "points[0].config.node: no identifier behind the namespace; write ns=2;s=NAME",
            "",
            "points[2].config.node: no node: write for example `ns=2;s=Machine.Temperature`",
            "points[3].config.indexRange: `3:1` is not a range; write 2, 0:3, or 0:1,2:3 for a matrix; \
             points[3].config.queueSize: 0 is outside of 1…10000; \
             points[3].config.serverDeadband.abs: write abs or percent, not both",
        ]
    );
    let warnings: Vec<_> = parsed.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["points[1].config.qeueSize: unknown key, ignored; did you mean `queueSize`?"]
    );
}

#[test]
fn manifests_written_for_kubeedge_load_unchanged() {
    let parsed = parse(
        json!({"url": "opc.tcp://127.0.0.1:4840", "userName": "operator", "password": "x",
               "securityMode": "None", "timeouts": {"read": 5}}),
        json!([{"id": 1, "name": "force", "intervalMs": 500, "config": {"nodeID": "ns=2;i=104", "browseName": "force"}}]),
    )
    .expect("sound");
    assert_eq!(parsed.bus.security.policy, Some(Policy::None));
    let User::Name { name, password, .. } = &parsed.bus.user else {
        panic!("a user");
    };
    assert!(name == "operator" && *password == Password::Text("x".to_owned()));
    assert_eq!(
        parsed.points[0].as_ref().expect("sound").place.to_string(),
        "ns=2;i=104"
    );
    let parsed = parse(
        json!({"url": "opc.tcp://h", "securityPolicy": "Basic256Sha256", "securityMode": "SignAndEncrypt",
               "certificate": "/c.pem", "privateKey": "/k.pem"}),
        json!([]),
    )
    .expect("sound");
    assert_eq!(parsed.bus.security.mode, Some(Mode::SignAndEncrypt));
    assert!(matches!(parsed.bus.user, User::Certificate { .. }));
    assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
}

#[test]
fn devices_of_one_session_differ_in_their_points_only() {
    let bus = |protocol| parse(protocol, json!([])).expect("sound").bus;
    let first = bus(json!({"url": "opc.tcp://plc", "timeout": 4000, "namespace": "urn:a"}));
    let second = bus(json!({"url": "opc.tcp://plc:4840", "publishingInterval": "1s"}));
    assert_eq!(first, second);
    assert_eq!(first.timeout, Duration::from_secs(4));
    assert_eq!(first.trust, Trust::Folder);
    let other = bus(json!({"url": "opc.tcp://plc", "user": {"name": "x", "password": "y"}}));
    assert_ne!(first, other);
    assert_eq!(other.to_string(), "opc.tcp://plc:4840 as x");
    assert_eq!(format!("{:?}", other.user), "user `x`");
    assert_eq!(
        bus(json!({"url": "opc.tcp://[::1]:4841/a/b"}))
            .url
            .to_string(),
        "opc.tcp://[::1]:4841/a/b"
    );
}

#[test]
fn points_are_watched_unless_they_are_to_be_read() {
    let parsed = parse(
        json!({"url": "opc.tcp://plc"}),
        json!([
            {"id": 1, "name": "a", "intervalMs": 0, "config": {"node": "i=1"}},
            {"id": 2, "name": "b", "intervalMs": 0, "sampling": "poll", "config": {"node": "i=1"}},
            {"id": 3, "name": "c", "intervalMs": 0, "group": "g", "config": {"node": "i=1"}},
            {"id": 4, "name": "d", "intervalMs": 0, "group": "g", "sampling": "push", "config": {"node": "i=1"}},
        ]),
    )
    .expect("sound");
    let opcua = Opcua::new(&Value::Null).expect("sound");
    let delivery = |index: usize| {
        let point = parsed.points[index].as_ref().expect("sound");
        opcua.delivery(&Unit, point)
    };
    let all: Vec<_> = (0..4).map(delivery).collect();
    use Delivery::{Polled, Pushed};
    assert_eq!(all, [Pushed, Polled, Polled, Pushed]);
}

#[test]
fn each_point_is_planned_exactly_once() {
    let count = 2500;
    let config = |id: u32| json!({"id": id, "name": "p", "intervalMs": 0, "config": {"node": format!("i={id}")}});
    let points: Vec<_> = (0..count).map(config).collect();
    let parsed = parse(json!({"url": "opc.tcp://plc"}), points.into()).expect("sound");
    let points: Vec<_> = parsed
        .points
        .iter()
        .map(|point| point.as_ref().expect("sound"))
        .collect();
    let opcua = Opcua::new(&Value::Null).expect("sound");
    let wanted: Vec<_> = (0..count)
        .zip(&points)
        .map(|(id, point)| PlanPoint {
            id,
            point: *point,
            alone: id % 700 == 5,
            cut: id % 900 == 6,
        })
        .collect();
    let plans = opcua.plan(&parsed.bus, &Unit, &wanted);
    let mut seen: Vec<u32> = plans.iter().flat_map(|plan| plan.points.clone()).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..count).collect::<Vec<_>>());
    for plan in &plans {
        let alone = plan.points.iter().any(|id| id % 700 == 5);
        assert!(plan.points.len() <= 1000 && (!alone || plan.points.len() == 1));
        let inner: Vec<u32> = plan.request.0.iter().map(|(id, _)| *id).collect();
        assert_eq!(inner, plan.points);
    }
}

#[test]
fn the_keys_are_those_of_the_reader_and_of_the_schema() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.json");
    keys::DOCUMENT.check_file(file).unwrap();
    let device = |mut protocol: Value| {
        protocol["url"] = json!("opc.tcp://192.0.2.7");
        let property = json!({"node": "i=2258", "serverDeadband": {"abs": 1}});
        let method = json!({"object": "i=1", "method": "i=2"});
        json!({
            "device": "default/all", "protocol": protocol,
            "points": [{"id": 1, "name": "a", "intervalMs": 0, "config": property}],
            "methods": [{"name": "m", "config": method}],
        })
    };
    let devices = [
        device(json!({"security": {}, "user": {"name": "a"}})),
        device(json!({
            "certificate": {"file": "a", "key": "b"},
            "trust": {"thumbprint": "0123456789012345678901234567890123456789"},
        })),
    ];
    let opcua = Opcua::new(&Value::Null).unwrap();
    assert_eq!(unread(&opcua, &keys::DOCUMENT, &devices), [""; 0]);
}
