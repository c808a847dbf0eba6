//! The mapper against a device that is not ours: Python with pyserial on a pair of ptys.

use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use longshore_sdk::{
    SampleValue, Status,
    testing::{Kill, Ports, ports},
};
use serde_json::json;

use super::rig::Rig;

/// The Python with the foreign peers.
pub(super) fn python() -> String {
    env::var("LONGSHORE_PYTHON").expect(
        "LONGSHORE_PYTHON is not set: `make test` sets it, or export LONGSHORE_PYTHON=$(deploy/setup/python)",
    )
}

/// A Python device at the other end of a pair of ports.
fn device(script: &str, arguments: &[&str]) -> (Ports, Kill) {
    let ports = ports();
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peers")
        .join(script);
    let child = Command::new(python())
        .arg(script)
        .arg(&ports.theirs)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn();
    let mut child = Kill(child.expect("Python runs"));
    let mut line = String::new();
    let out = child.0.stdout.take().expect("piped");
    BufReader::new(out).read_line(&mut line).expect("a line");
    assert_eq!(line.trim(), "ready", "pyserial opens the port");
    (ports, child)
}

#[test]
fn a_scale_in_python() {
    let (ports, _device) = device("scale.py", &[]);
    let rig = Rig::new();
    let protocol = json!({"url": ports.ours, "refused": ["ES", "S I", "Z I"]});
    let weight = json!({"request": "SI\r\n", "response": "S {} {value:float} g", "set": "M {value:.1}\r\n",
                        "setResponse": "M A"});
    let stable = json!({"request": "SI\r\n", "response": "S {value:word} {}", "set": "Z\r\n", "setResponse": "Z A",
                        "trueText": "S", "falseText": "D"});
    let serial = json!({"request": "I4\r\n", "response": "I4 A \"{value}\"", "set": "Q{value}\r\n", "setResponse": "Q A"});
    rig.configure(
        1,
        &protocol,
        50,
        &[
            (1, "FLOAT", weight),
            (2, "BOOLEAN", stable),
            (3, "STRING", serial),
        ],
    );
    rig.wait_value(1, &SampleValue::Float(100.25));
    rig.wait_value(2, &SampleValue::Bool(true));
    rig.wait_value(3, &SampleValue::String("B021002593".to_owned()));
    rig.write_ok(1, 1, SampleValue::Float(55.5));
    rig.wait_value(1, &SampleValue::Float(55.5));
    rig.write_ok(1, 2, SampleValue::Bool(true));
    rig.wait_value(1, &SampleValue::Float(0.0));
    let refused = rig.write(1, 3, SampleValue::Int(1));
    assert_eq!(refused.status, Status::Refused, "{}", refused.message);
    rig.stop();
}

/// Binary with a CRC of crccheck, answers in pieces with pauses between them.
#[test]
fn a_binary_device_in_python() {
    let (ports, _device) = device("binary.py", &["19200"]);
    let rig = Rig::new();
    let protocol = json!({
        "url": ports.ours, "baudRate": 19_200, "address": "0A",
        "framing": {"frame": {"start": "AA", "length": {"offset": 2, "size": 1, "adds": 5}, "idle": "200ms"}},
        "checksum": {"kind": "crc16-xmodem", "format": "binary-be", "over": [1, 0]}
    });
    let config = json!({
        "request": {"hex": "AA {address} 01 52 {checksum}"}, "response": {"hex": "AA 0A ?? D2"},
        "address": 4, "rawType": "float32",
        "set": {"hex": "AA {address} 05 57 {value} {checksum}"}, "setResponse": {"hex": "AA 0A ?? D7"}
    });
    rig.configure(1, &protocol, 50, &[(1, "FLOAT", config)]);
    rig.wait_value(1, &SampleValue::Float(21.5));
    rig.write_ok(1, 1, SampleValue::Float(-3.25));
    rig.wait_value(1, &SampleValue::Float(-3.25));
    rig.look(|record| assert!(record.bad.is_empty(), "{:?}", record.bad));
    rig.stop();
}

/// Sentences that pynmea2 has made.
#[test]
fn a_receiver_in_python() {
    let (ports, _device) = device("gps.py", &[]);
    let rig = Rig::new();
    let protocol = json!({
        "url": ports.ours, "stream": true,
        "framing": {"line": {"delimiter": "\r\n", "start": "$"}},
        "checksum": {"kind": "xor", "over": [1, -1]}
    });
    let latitude =
        json!({"match": "$G?RMC", "field": 3, "rawType": "nmeaLatitude", "set": "$X{value}\r\n"});
    let altitude = json!({"match": "$G?GGA", "field": 9, "set": "$X{value}\r\n"});
    rig.configure(
        1,
        &protocol,
        50,
        &[(1, "DOUBLE", latitude), (2, "FLOAT", altitude)],
    );
    rig.wait_value(1, &SampleValue::Float(-33.85));
    rig.wait_value(2, &SampleValue::Float(545.4));
    rig.stop();
}
