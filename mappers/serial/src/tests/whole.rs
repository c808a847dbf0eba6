//! The whole mapper against simulated devices: a supply, a scale, an RS-485 line.

use std::path::Path;

use longshore_sdk::{CommandKind, SampleValue, Status};
use longshore_sim_serial::Simulator;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::rig::Rig;

/// A supply with SCPI: whatever is set is measured.
pub(super) const SUPPLY: &str = "
world:
  signals:
    voltage: {setpoint: {initial: 5, min: 0, max: 30}}
    output: {setpoint: {initial: 0}}
    current: {product: [voltage, 0.1]}
units:
  - unit: 1
    ends: \"\\n\"
    refusal: 'ERR -222 data out of range'
    unknown: 'ERR -113 undefined header'
    answers:
      - {request: '*IDN?', response: 'Longshore,SIM,1,1.0'}
      - {request: 'VOLT {voltage};*OPC?', response: '1'}
      - {request: 'VOLT?', response: '{voltage:.3}'}
      - {request: 'OUTP ON', set: {output: 1}}
      - {request: 'OUTP OFF', set: {output: 0}}
      - {request: 'OUTP?', response: '{output:.0}'}
      - {request: 'MEAS?', response: '{voltage:.4},{current:.4}'}
";

pub(super) fn supply_points() -> Vec<(u32, &'static str, Value)> {
    vec![
        (
            1,
            "STRING",
            json!({"request": "*IDN?\n", "set": "*IDN?{value}\n"}),
        ),
        (
            2,
            "FLOAT",
            json!({"request": "VOLT?\n", "response": "{value:float}",
                   "set": "VOLT {value:.3};*OPC?\n", "setResponse": "1"}),
        ),
        (
            3,
            "BOOLEAN",
            json!({"request": "OUTP?\n", "set": "OUTP {value}\n", "trueText": "ON", "falseText": "OFF",
                   "rawType": "int"}),
        ),
        (
            4,
            "FLOAT",
            json!({"request": "MEAS?\n", "response": "{value:float},{}", "set": "MEAS {value}\n"}),
        ),
        (
            5,
            "FLOAT",
            json!({"request": "MEAS?\n", "response": "{},{value:float}", "set": "MEAS {value}\n"}),
        ),
        (
            6,
            "STRING",
            json!({"request": "SYST?\n", "set": "DISP \"{value}\"\n"}),
        ),
    ]
}

pub(super) async fn over_tcp(scenario: &str) -> (Simulator, Value) {
    let mut simulator = Simulator::new("test.yaml", scenario).expect("a scenario");
    let address = simulator
        .tcp(None, "127.0.0.1:0".parse().expect("an address"))
        .await;
    let url = format!("tcp://{}", address.expect("a listener"));
    (
        simulator,
        json!({"url": url, "refused": "ERR {message}", "reserved": ";", "timeout": 500}),
    )
}

pub(super) fn over_pty(scenario: &str, folder: &Path) -> (Simulator, Value) {
    let mut simulator = Simulator::new("test.yaml", scenario).expect("a scenario");
    let link = folder.join("port");
    simulator.port(None, &link).expect("a pty");
    (
        simulator,
        json!({"url": link, "refused": "ERR {message}", "reserved": ";", "timeout": 500}),
    )
}

fn check_supply(simulator: &Simulator, protocol: &Value) {
    let rig = Rig::new();
    rig.configure(1, protocol, 50, &supply_points());
    rig.wait_value(1, &SampleValue::String("Longshore,SIM,1,1.0".to_owned()));
    rig.wait_value(2, &SampleValue::Float(5.0));
    rig.wait_value(3, &SampleValue::Int(0));
    rig.write_ok(1, 2, SampleValue::Float(12.5));
    rig.write_ok(1, 3, SampleValue::Bool(true));
    rig.wait_value(2, &SampleValue::Float(12.5));
    rig.wait_value(3, &SampleValue::Int(1));
    rig.wait_value(4, &SampleValue::Float(12.5));
    rig.wait_value(5, &SampleValue::Float(1.25));
    // What the device refuses, and what must not be sent at all.
    let refused = rig.write(1, 2, SampleValue::Float(99.0));
    assert_eq!(refused.status, Status::Refused, "{}", refused.message);
    assert!(
        refused.message.contains("-222 data out of range"),
        "{}",
        refused.message
    );
    let unsafe_text = rig.write(1, 6, SampleValue::String("x\";OUTP OFF;\"".to_owned()));
    assert_eq!(
        unsafe_text.status,
        Status::InvalidArgument,
        "{}",
        unsafe_text.message
    );
    rig.wait("the refused property", |record| {
        let mut bad = record.bad.iter();
        bad.any(|(point, _, message)| *point == 6 && message.contains("-113 undefined header"))
    });
    rig.stop();
    let writes = simulator.writes();
    let set: Vec<_> = writes
        .iter()
        .map(|write| (write.signal.as_str(), write.value))
        .collect();
    assert_eq!(set, [("voltage", 12.5), ("output", 1.0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supply_over_tcp() {
    let (simulator, protocol) = over_tcp(SUPPLY).await;
    check_supply(&simulator, &protocol);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supply_on_a_port() {
    let folder = TempDir::new().expect("a temporary folder");
    let (simulator, protocol) = over_pty(SUPPLY, folder.path());
    check_supply(&simulator, &protocol);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn properties_of_one_answer_cost_one_exchange() {
    let (simulator, protocol) = over_tcp(SUPPLY).await;
    let rig = Rig::new();
    let points: Vec<_> = supply_points().drain(3..5).collect();
    rig.configure(1, &protocol, 0, &points);
    let both = |record: &longshore_sdk::testing::Tally| {
        record.values.contains_key(&4) && record.values.contains_key(&5)
    };
    rig.command(1, CommandKind::Read { point: 4 });
    rig.configure(1, &protocol, 50, &points);
    rig.wait("both values", both);
    simulator.reset_counters();
    rig.wait_samples(4, 5);
    rig.wait_samples(5, 1);
    rig.stop();
    let samples = rig.look(|record| record.counts[&4] + record.counts[&5]);
    assert!(samples >= 10);
    let asked = simulator.count(1).requests;
    let came = rig.look(|record| record.counts[&4].max(record.counts[&5]));
    assert!(asked <= came + 1, "{asked} requests for {came} pairs");
}

/// Two devices on an RS-485 line, in bytes with a CRC, and a third that is not there.
const LINE: &str = "
world:
  signals:
    cold: {setpoint: {initial: -20, min: -40, max: 10}}
    warm: {setpoint: {initial: 21.5, min: 0, max: 60}}
units:
  - unit: 1
    binary: &frame {start: '02', end: '03', checksum: crc16-modbus, coversStart: true}
    answers:
      - {request: '01 52', response: '01 D2 {cold:int16:10}'}
      - {request: '01 57 {cold:int16:10}', response: '01 D7'}
  - unit: 2
    binary: *frame
    answers:
      - {request: '02 52', response: '02 D2 {warm:int16:10}'}
      - {request: '02 57 {warm:int16:10}', response: '02 D7'}
";

/// 02 | address | command | data | CRC-16/MODBUS, low byte first | 03
fn binary(protocol: &Value, address: &str) -> Value {
    let mut protocol = protocol.clone();
    protocol["address"] = json!(address);
    protocol["framing"] =
        json!({"frame": {"start": "02", "end": "03", "length": null, "idle": "30ms"}});
    protocol["checksum"] =
        json!({"kind": "crc16-modbus", "format": "binary-le", "at": "before-end"});
    protocol["rs485"] = json!({"turnaround": 2});
    protocol["timeout"] = json!(200);
    protocol
}

fn temperature(id: u32) -> Vec<(u32, &'static str, Value)> {
    let config = json!({
        "request": {"hex": "02 {address} 52 {checksum} 03"},
        "response": {"hex": "02 ?? D2"}, "address": 3, "rawType": "int16",
        "set": {"hex": "02 {address} 57 {value} {checksum} 03"}, "setResponse": {"hex": "02 ?? D7"}
    });
    vec![(id, "INT", config)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_devices_on_one_line() {
    let folder = TempDir::new().expect("a temporary folder");
    let (simulator, protocol) = over_pty(LINE, folder.path());
    let rig = Rig::new();
    for (device, address) in [(1, "01"), (2, "02"), (3, "04")] {
        rig.configure(
            device,
            &binary(&protocol, address),
            50,
            &temperature(device),
        );
    }
    rig.wait_value(1, &SampleValue::Int(-200));
    rig.wait_value(2, &SampleValue::Int(215));
    rig.wait_online(3, false);
    rig.write_ok(1, 1, SampleValue::Int(-150));
    rig.write_ok(2, 2, SampleValue::Int(300));
    rig.wait_value(1, &SampleValue::Int(-150));
    rig.wait_value(2, &SampleValue::Int(300));
    // The one that is not there costs the others nothing for long.
    rig.wait_samples(1, 10);
    rig.look(|record| {
        assert!(record.online[&1].0 && record.online[&2].0);
        assert!(
            record.bad.iter().all(|(point, ..)| *point == 3),
            "{:?}",
            record.bad
        );
    });
    rig.stop();
    assert_eq!(simulator.writes().len(), 2);
}

/// A scale after the level 0 and 1 commands of MT-SICS.
pub(super) const SCALE: &str = "
world:
  signals:
    gross: {setpoint: {initial: 120.5}}
    tare: {setpoint: {initial: 0}}
    moving: {setpoint: {initial: 0}}
    less: {product: [tare, -1]}
    net: {sum: [gross, less]}
units:
  - unit: 1
    unknown: ES
    answers:
      - {request: SI, when: moving, response: 'S D {net:10.2} g'}
      - {request: SI, response: 'S S {net:10.2} g'}
      - {request: T, set: {tare: gross}, response: 'T S {gross:10.2} g'}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scale_and_its_method() {
    let (simulator, mut protocol) = over_tcp(SCALE).await;
    protocol["refused"] = json!(["ES", "S I", "S +", "S -"]);
    let rig = Rig::new();
    let weight =
        json!({"request": "SI\r\n", "response": "S {} {value:float} g", "set": "X{value}"});
    let stable = json!({"request": "SI\r\n", "response": "S {value:word} {}", "set": "X{value}",
                        "trueText": "S", "falseText": "D"});
    rig.configure(
        1,
        &protocol,
        50,
        &[(1, "FLOAT", weight), (2, "BOOLEAN", stable)],
    );
    rig.wait_value(1, &SampleValue::Float(120.5));
    rig.wait_value(2, &SampleValue::Bool(true));
    simulator.world().set("moving", 1.0).expect("a setpoint");
    rig.wait_value(2, &SampleValue::Bool(false));
    let call = |name: &str, request: &str| {
        let call = json!({"name": name, "arguments": {},
            "config": {"request": request, "response": "T S {tare:float} {unit}"}});
        rig.command(1, CommandKind::Call(call.to_string()))
    };
    let done = call("tare", "T\r\n");
    assert_eq!(done.status, Status::Ok, "{}", done.message);
    let result: Value = serde_json::from_str(&done.message).expect("JSON");
    assert_eq!(result, json!({"tare": 120.5, "unit": "g"}));
    rig.wait_value(1, &SampleValue::Float(0.0));
    let refused = call("nonsense", "Q\r\n");
    assert_eq!(refused.status, Status::Refused, "{}", refused.message);
    rig.stop();
}
