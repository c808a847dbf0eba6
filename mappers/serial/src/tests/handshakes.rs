//! Meters that say who they are first and change their speed (IEC 62056-21).

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use longshore_sdk::{DeviceConfig, Protocol, SampleValue};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};
use tokio_serial::{SerialPort, SerialStream};

use super::rig::Rig;
use crate::Serial;

/// A meter behind a pty: it tells its speed, waits for the confirmation, and
/// sends its data at the speed that it told.
struct Meter {
    /// What was said, and the speed of the port then.
    heard: Arc<Mutex<Vec<(String, u32)>>>,
    _port: SerialStream,
}

const DATA: &[u8] = b"0.0.0(00012345)\r\n1.8.0(00123.456*kWh)\r\n2.8.0(00001.500*kWh)\r\n!\r\n\x03";

fn meter(link: &Path, greeting: &'static [u8], confirmed: bool) -> Meter {
    let (mut inner, port) = SerialStream::pair().expect("a pty");
    std::os::unix::fs::symlink(port.name().expect("a name"), link).expect("a link");
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&heard);
    tokio::spawn(async move {
        let mut line = Vec::new();
        while let Ok(byte) = inner.read_u8().await {
            line.push(byte);
            if byte != b'\n' {
                continue;
            }
            let text = String::from_utf8_lossy(&line).into_owned();
            line.clear();
            // The inner end of a pty tells the speed that the outer one is set to.
            let tell = |what: String, port: &SerialStream| {
                let speed = port.baud_rate().unwrap_or(0);
                told.lock().expect("the list").push((what, speed));
            };
            let is_request = text.starts_with("/?");
            tell(text, &inner);
            if is_request && inner.write_all(greeting).await.is_err() {
                return;
            }
            if is_request == confirmed {
                continue;
            }
            // The other side changes its speed meanwhile.
            for _ in 0..400 {
                if inner.baud_rate().is_ok_and(|baud| baud == 9600) {
                    break;
                }
                sleep(Duration::from_millis(5)).await;
            }
            tell("data".to_owned(), &inner);
            let check = DATA.iter().fold(0, |sum, byte| sum ^ byte);
            let block = [b"\x02", DATA, &[check]].concat();
            if inner.write_all(&block).await.is_err() {
                return;
            }
        }
    });
    Meter { heard, _port: port }
}

fn protocol(link: &Path, handshake: Value) -> Value {
    json!({
        "url": link, "baudRate": 300, "characters": "7E1", "timeout": "5s",
        "framing": {"frame": {"start": "02", "end": "03"}},
        "checksum": {"kind": "xor", "over": [1, 0]},
        "handshake": handshake,
    })
}

fn points() -> Vec<(u32, &'static str, Value)> {
    let of =
        |response: &str| json!({"request": "/?!\r\n", "response": response, "set": "X{value}"});
    vec![
        (1, "DOUBLE", of("{}1.8.0({value:float}*kWh){}")),
        (2, "DOUBLE", of("{}2.8.0({value:float}*kWh){}")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_is_confirmed_and_followed_in_its_speed() {
    let folder = TempDir::new().expect("a temporary folder");
    let link = folder.path().join("port");
    let meter = meter(&link, b"/ISK5MT174-0001\r\n", true);
    let rig = Rig::new();
    let handshake = json!({"response": "/{:text:3}{speed:text:1}{}", "confirm": "\u{6}0{speed}0\r\n", "pause": 20});
    rig.configure(1, &protocol(&link, handshake), 40, &points());
    rig.wait_value(1, &SampleValue::Float(123.456));
    rig.wait_value(2, &SampleValue::Float(1.5));
    rig.wait_samples(1, 2);
    rig.stop();
    let heard = meter.heard.lock().expect("the list").clone();
    let expected = [("/?!\r\n", 300), ("\u{6}050\r\n", 300), ("data", 9600)];
    for (said, expected) in heard.iter().zip(expected.iter().cycle()) {
        assert_eq!((&said.0[..], said.1), *expected, "{heard:?}");
    }
    assert!(heard.len() >= 6, "{heard:?}");
}

/// Mode B: no confirmation, the meter changes by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_that_changes_by_itself() {
    let folder = TempDir::new().expect("a temporary folder");
    let link = folder.path().join("port");
    let meter = meter(&link, b"/ISKEMT174-0001\r\n", false);
    let rig = Rig::new();
    let handshake = json!({"response": "/{:text:3}{speed:text:1}{}"});
    rig.configure(1, &protocol(&link, handshake), 40, &points());
    rig.wait_value(1, &SampleValue::Float(123.456));
    rig.stop();
    let heard = meter.heard.lock().expect("the list").clone();
    assert_eq!(heard[1], ("data".to_owned(), 9600), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_greeting_that_is_none_is_shown() {
    let folder = TempDir::new().expect("a temporary folder");
    let link = folder.path().join("port");
    let _meter = meter(&link, b"HELLO\r\n", true);
    let rig = Rig::new();
    let handshake =
        json!({"response": "/{:text:3}{speed:text:1}{}", "confirm": "\u{6}0{speed}0\r\n"});
    rig.configure(1, &protocol(&link, handshake), 40, &points());
    rig.wait("the greeting to be shown", |record| {
        record.bad.iter().any(|(_, _, message)| {
            message
                .contains("`HELLO` came first and does not look like `/{:text:3}{speed:text:1}{}`")
        })
    });
    rig.stop();
}

fn settings(protocol: Value) -> Result<String, String> {
    let device = json!({"device": "default/a", "protocol": protocol, "points": []});
    let device: DeviceConfig = serde_json::from_value(device).expect("a device");
    let parsed = Serial::new(&json!({})).expect("a mapper").parse(&device);
    parsed
        .map(|parsed| parsed.bus.settings.to_string())
        .map_err(|faults| faults[0].to_string())
}

/// `7E1` without quotes is the number 70 for a reader of YAML.
#[test]
fn characters_in_short() {
    let of = |short: Value| settings(json!({"url": "/dev/ttyS0", "characters": short}));
    assert_eq!(of(json!("7E1")).as_deref(), Ok("9600 7E1"));
    assert_eq!(of(json!(7E1)).as_deref(), Ok("9600 7E1"));
    assert_eq!(of(json!(8E2)).as_deref(), Ok("9600 8E2"));
    assert_eq!(of(json!("7o2")).as_deref(), Ok("9600 7O2"));
    for wrong in [
        json!("9N1"),
        json!("8X1"),
        json!("8N"),
        json!(71),
        json!(8),
        json!(-70),
        json!(true),
    ] {
        let fault = of(wrong).expect_err("a fault");
        assert!(
            fault.contains("expected data bits, parity and stop bits"),
            "{fault}"
        );
    }
    let twice = settings(json!({"url": "/dev/ttyS0", "characters": "8N1", "parity": "odd"}));
    assert!(twice.expect_err("a fault").contains("keep one of the two"));
}
