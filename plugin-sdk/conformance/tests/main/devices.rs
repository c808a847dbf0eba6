//! Our own mappers keep every rule with devices that answer or send.

use longshore_conformance::check;
use longshore_sim_bluetooth::bluetooth;
use longshore_sim_modbus::modbus;
use longshore_sim_opcua::opcua;
use longshore_sim_serial::Simulator as SerialSimulator;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    mappers::{assert_judged_but_for, library},
    subject,
};

/// Something that moves, so that a device sends it again and again.
const MOVING: &str = "
world:
  signals:
    moving: {sine: {mean: 50, amplitude: 40, period: 3}}
    setpoint: {setpoint: {initial: 20, min: 0, max: 100}}
";

/// What cannot be seen of a device that only talks: nothing is asked for, and
/// nothing is written.
const ONLY_SENT: &[&str] = &[
    "polls-at-its-interval",
    "zero-is-never-polled",
    "urgent-writes-go-first",
    "a-float-takes-any-number",
];

fn point(name: &str, writable: bool, config: Value) -> Value {
    json!({"name": name, "writable": writable, "type": "FLOAT", "config": config})
}

#[test]
fn modbus_conforms_with_a_device_that_answers() {
    let runtime = Runtime::new().unwrap();
    let plc = runtime.block_on(
        modbus()
            .unit(1)
            .registers(40_001, &[600, 21, 22, 23])
            .start(),
    );
    let register = |name: &str, address: &str| {
        point(name, true, json!({"address": address, "rawType": "int16"}))
    };
    let device = json!({
        "device": "default/boiler",
        "protocol": {"url": format!("tcp://{}", plc.addr()), "unit": 1, "timeoutMs": 500},
        "points": [register("setpoint", "hr:0"), register("level", "hr:2"), register("flow", "hr:3")],
    });
    let report = check(&subject(&library("modbus")).device(device));
    assert_judged_but_for(&report, &[]);
}

#[test]
fn opcua_conforms_with_a_server_that_answers_and_sends() {
    let runtime = Runtime::new().unwrap();
    let press = runtime.block_on(
        opcua()
            .yaml(&format!(
                "{MOVING}
namespaces: ['urn:example:press']
objects:
  - name: Press
    variables:
      - {{name: Temperature, signal: moving}}
      - {{name: Setpoint, signal: setpoint, writable: true}}
      - {{name: State, value: Running}}
"
            ))
            .start(),
    );
    let node = |name: &str| json!({"node": format!("nsu=urn:example:press;s=Press.{name}")});
    let device = json!({
        "device": "default/press",
        "protocol": {"url": press.url(), "timeout": "500ms", "publishingInterval": "50ms"},
        "points": [
            point("temperature", false, node("Temperature")),
            point("setpoint", true, node("Setpoint")),
            point("state", false, node("State")),
        ],
    });
    let report = check(&subject(&library("opcua")).device(device));
    assert_judged_but_for(&report, &[]);
}

fn serial(runtime: &Runtime, scenario: &str) -> (SerialSimulator, String) {
    let mut line = SerialSimulator::new("line.yaml", scenario).unwrap();
    let address = runtime
        .block_on(line.tcp(None, "127.0.0.1:0".parse().unwrap()))
        .unwrap();
    (line, format!("tcp://{address}"))
}

/// Nothing comes by itself from it.
#[test]
fn serial_conforms_with_a_device_that_answers() {
    let runtime = Runtime::new().unwrap();
    let (_line, url) = serial(
        &runtime,
        &format!(
            "{MOVING}
units:
  - unit: 1
    ends: \"\\n\"
    answers:
      - {{request: 'VOLT {{setpoint}}'}}
      - {{request: 'VOLT?', response: '{{setpoint:.3}}'}}
      - {{request: 'MEAS?', response: '{{moving:.3}}'}}
"
        ),
    );
    let asked = |request: &str| json!({"request": request, "response": "{value:float}"});
    let mut setpoint = asked("VOLT?\n");
    setpoint["set"] = "VOLT {value:.3}\n".into();
    let device = json!({
        "device": "default/supply",
        "protocol": {"url": url, "timeout": "500ms", "framing": {"line": {"delimiter": "\n"}}},
        "points": [point("measured", false, asked("MEAS?\n")), point("setpoint", true, setpoint)],
    });
    let report = check(&subject(&library("serial")).device(device));
    assert_judged_but_for(&report, &["pushed-values-come-again", "pushed-values-end"]);
}

/// A receiver with which nobody can talk; once a second is slow for the judge.
#[test]
fn serial_conforms_with_a_receiver_that_talks_once_a_second() {
    let runtime = Runtime::new().unwrap();
    let (_line, url) = serial(
        &runtime,
        "
units:
  - unit: 1
    stream:
      - {everyMs: 1000, nmea: true, say: ['GPRMC,083559.00,A,3351.0,S,07030.0,W,0.504,77.52,091224,,,A']}
",
    );
    let field = |field: u32| json!({"match": "$G?RMC", "field": field, "rawType": "float"});
    let device = json!({
        "device": "default/gps",
        "protocol": {
            "url": url, "stream": true, "silentAfter": "5s",
            "framing": {"line": {"delimiter": "\r\n", "start": "$"}},
            "checksum": {"kind": "xor", "over": [1, -1]},
        },
        "points": [point("speed", false, field(7)), point("course", false, field(8))],
    });
    let report = check(&subject(&library("serial")).device(device));
    assert_judged_but_for(&report, ONLY_SENT);
}

/// Several controllers of one kind, because BlueZ connects each to one program's
/// wishes: whoever lets it go does so for all.
#[test]
fn bluetooth_conforms_with_devices_that_answer_and_send() {
    let runtime = Runtime::new().unwrap();
    let addresses: Vec<String> = (0..8).map(|i| format!("D0:5A:20:00:00:0{i}")).collect();
    let mut scenario = format!("{MOVING}\ndevices:\n");
    for address in &addresses {
        scenario += &format!(
            "
  - address: '{address}'
    addressType: random
    name: room
    advertiseMs: 50
    services:
      - uuid: 181a
        characteristics:
          - {{uuid: 2a6e, flags: [read, notify], notifyMs: 100, value: [{{signal: moving, type: int16, times: 100}}]}}
      - uuid: 4c6f6e67-7368-6f72-6500-000000000001
        characteristics:
          - {{uuid: 4c6f6e67-7368-6f72-6500-000000000002, flags: [read, write], value: [{{signal: setpoint, type: int16, times: 100}}]}}
"
        );
    }
    let radio = runtime.block_on(bluetooth().yaml(&scenario).start());
    let mut judged = subject(&library("bluetooth"))
        .environment("DBUS_SYSTEM_BUS_ADDRESS", radio.address())
        .exclusive();
    for address in &addresses {
        let setpoint = json!({
            "service": "4c6f6e67-7368-6f72-6500-000000000001",
            "characteristic": "4c6f6e67-7368-6f72-6500-000000000002", "rawType": "int16",
        });
        judged = judged.device(json!({
            "device": "default/room",
            "protocol": {"address": address},
            "points": [
                point("temperature", false, json!({"service": "181a", "characteristic": "2a6e", "notify": true})),
                point("setpoint", true, setpoint),
            ],
        }));
    }
    assert_judged_but_for(&check(&judged), &[]);
}

/// A sensor that is never connected: it says what it has, to whoever listens.
#[test]
fn bluetooth_conforms_with_a_sensor_that_only_advertises() {
    let runtime = Runtime::new().unwrap();
    let radio = runtime.block_on(
        bluetooth()
            .yaml(
                "
devices:
  - address: '3C:2E:F5:71:D5:2A'
    name: SBHT
    advertiseMs: 200
    adverts:
      - {service: fcd2, data: [{bytes: '40 00'}, {type: counter}, {bytes: '01 5d 2e 2d 45 d700'}]}
",
            )
            .start(),
    );
    let field = |field: &str| json!({"advertisement": "bthome", "field": field});
    let device = json!({
        "device": "default/sensor",
        "protocol": {"address": "3C:2E:F5:71:D5:2A"},
        "points": [point("temperature", false, field("temperature")), point("humidity", false, field("humidity"))],
    });
    let judged = subject(&library("bluetooth"))
        .environment("DBUS_SYSTEM_BUS_ADDRESS", radio.address())
        .device(device);
    let report = check(&judged);
    assert_judged_but_for(&report, ONLY_SENT);
}
