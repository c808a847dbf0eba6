//! What goes wrong on real lines, and what it may cost.

use std::{path::Path, time::Duration};

use longshore_sdk::{Connection, Protocol, Reason, RequestError, SampleValue, Samples};
use longshore_sim_serial::{Fault, FaultRule};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    rig::Rig,
    whole::{SUPPLY, over_pty, over_tcp, supply_points},
};
use crate::{Serial, driver::Line};

const TWO: &str = "
world: {signals: {a: {setpoint: {initial: 111}}, b: {setpoint: {initial: 222}}}}
units:
  - {unit: 1, answers: [{request: 'A?', response: '{a}'}]}
  - {unit: 2, answers: [{request: 'B?', response: '{b}'}]}
";

fn one(id: u32, request: &str) -> Vec<(u32, &'static str, Value)> {
    let config =
        json!({"request": format!("{request}\r\n"), "response": "{value:int}", "set": "X{value}"});
    vec![(id, "INT", config)]
}

fn addressed(protocol: &Value, address: &str, timeout: u32) -> Value {
    json!({"url": protocol["url"], "address": address, "timeout": timeout})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_device_costs_its_neighbour_nothing() {
    let (simulator, protocol) = over_tcp(TWO).await;
    let rig = Rig::new();
    rig.configure(1, &addressed(&protocol, "a", 150), 40, &one(1, "A?"));
    rig.configure(2, &addressed(&protocol, "b", 150), 40, &one(2, "B?"));
    rig.wait_online(1, true);
    rig.wait_online(2, true);
    simulator.fault(FaultRule::from(Fault::Unresponsive).on_unit(2));
    rig.wait_online(2, false);
    rig.wait_samples(1, 20);
    rig.look(|record| {
        assert!(
            record
                .bad
                .iter()
                .all(|(point, reason, _)| { (*point, *reason) == (2, Some(Reason::Timeout)) })
        );
        assert!(record.online[&1].0, "the other never went away");
        assert_eq!(record.outages, 1);
    });
    simulator.clear_faults();
    rig.wait_online(2, true);
    rig.wait_samples(2, 3);
    rig.stop();
}

/// Both answers look alike: only their time tells whose they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_answer_is_never_the_next_one_s() {
    let (simulator, protocol) = over_tcp(TWO).await;
    let rig = Rig::new();
    let both = [one(1, "A?"), one(2, "B?")].concat();
    rig.configure(1, &addressed(&protocol, "", 100), 40, &both);
    rig.wait_samples(1, 2);
    for _ in 0..4 {
        simulator.fault(FaultRule::from(Fault::Slow(Duration::from_millis(150))).for_requests(1));
        rig.wait_samples(1, 4);
        rig.wait_samples(2, 4);
    }
    rig.look(|record| {
        assert_eq!(record.history[&1].iter().collect::<Vec<_>>(), ["Int(111)"]);
        assert_eq!(record.history[&2].iter().collect::<Vec<_>>(), ["Int(222)"]);
    });
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_an_answer_and_noise_cost_one_request() {
    let (simulator, protocol) = over_tcp(TWO).await;
    let rig = Rig::new();
    rig.configure(1, &addressed(&protocol, "a", 150), 40, &one(1, "A?"));
    rig.wait_samples(1, 2);
    simulator.fault(FaultRule::from(Fault::HalfFrame).for_requests(1));
    rig.wait_samples(1, 3);
    simulator.noise(b"\x00\xffzz\r\n7");
    rig.wait_samples(1, 5);
    rig.look(|record| {
        assert_eq!(record.history[&1].iter().collect::<Vec<_>>(), ["Int(111)"]);
        assert_eq!(record.outages, 0);
    });
    rig.stop();
}

/// A USB adapter is pulled out and put back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_goes_and_comes_back() {
    let folder = TempDir::new().expect("a temporary folder");
    let (simulator, protocol) = over_pty(TWO, folder.path());
    let rig = Rig::new();
    rig.configure(1, &addressed(&protocol, "a", 200), 40, &one(1, "A?"));
    rig.wait_samples(1, 2);
    simulator.vanish(Duration::from_millis(2500));
    rig.wait_online(1, false);
    rig.wait_online(1, true);
    rig.wait_samples(1, 3);
    rig.look(|record| assert_eq!(record.history[&1].len(), 1, "{:?}", record.history));
    rig.stop();
}

/// Two devices on one port that do not agree on its settings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_settings_on_the_same_port_are_told() {
    let folder = TempDir::new().expect("a temporary folder");
    let (_simulator, protocol) = over_pty(TWO, folder.path());
    let rig = Rig::new();
    rig.configure(1, &addressed(&protocol, "a", 200), 40, &one(1, "A?"));
    rig.wait_online(1, true);
    let mut other = addressed(&protocol, "b", 200);
    other["baudRate"] = json!(19_200);
    rig.configure(2, &other, 40, &one(2, "B?"));
    rig.wait("the device with other settings to be told", |record| {
        let state = record.online.get(&2);
        state.is_some_and(|(_, message)| {
            message.contains("is open with 9600 8N1 for other devices, and this one has 19200 8N1")
        })
    });
    // The same port under another name.
    let other_name = folder.path().join("other");
    std::os::unix::fs::symlink(folder.path().join("port"), &other_name).expect("a link");
    let named = json!({"url": other_name, "address": "b", "timeout": 200});
    rig.configure(2, &named, 40, &one(2, "B?"));
    rig.wait("the other name to be told", |record| {
        let state = record.online.get(&2);
        state.is_some_and(|(_, message)| message.contains("name the port alike in all devices"))
    });
    rig.configure(2, &addressed(&protocol, "b", 200), 40, &one(2, "B?"));
    rig.wait_online(2, true);
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_that_is_not_there_is_named() {
    let rig = Rig::new();
    let protocol = json!({"usb": {"vendor": "dead", "product": "beef", "serial": "X"}});
    rig.configure(1, &protocol, 40, &one(1, "A?"));
    rig.wait("the message", |record| {
        let state = record.online.get(&1);
        state.is_some_and(|(online, message)| {
            !online && message.contains("usb dead:beef X is not plugged in")
        })
    });
    rig.stop();
}

/// On a two-wire line the adapter hears itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_echo_is_passed_over() {
    let scenario = "
world: {signals: {v: {setpoint: {initial: 5}}}}
units: [{unit: 1, answers: [{request: 'V?', response: \"V?\\r\\nV={v}\"}]}]
";
    let (_simulator, protocol) = over_tcp(scenario).await;
    let rig = Rig::new();
    let protocol = json!({"url": protocol["url"], "echo": true});
    let config = json!({"request": "V?\r\n", "set": "X{value}"});
    rig.configure(1, &protocol, 40, &[(1, "STRING", config)]);
    rig.wait_value(1, &SampleValue::String("V=5".to_owned()));
    rig.look(|record| assert_eq!(record.history[&1].len(), 1, "{:?}", record.history));
    rig.stop();
}

/// The line by itself: what it says of each fault, and what it counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_line_says() {
    let (simulator, protocol) = over_tcp(SUPPLY).await;
    let (mut line, parsed) = open(&protocol, &supply_points()[1..2]).await;
    let point = parsed.points[0].as_ref().expect("sound");
    let request = crate::Request {
        send: point.request().expect("a request").to_vec(),
        points: vec![(2, point.clone())],
    };
    let mut samples = Samples::default();
    line.read(&parsed.unit, &request, &mut samples)
        .await
        .expect("an answer");
    assert_eq!(samples.len(), 1);
    for (fault, expected) in [
        (
            Fault::Unresponsive,
            RequestError::Timeout("within 500 ms".to_owned()),
        ),
        (
            Fault::HalfFrame,
            RequestError::Garbled("only 3 bytes of it came".to_owned()),
        ),
        (
            Fault::Exception(1),
            RequestError::Refused("-222 data out of range".to_owned()),
        ),
    ] {
        simulator.fault(FaultRule::from(fault).for_requests(1));
        let error = line
            .read(&parsed.unit, &request, &mut samples)
            .await
            .unwrap_err();
        assert_eq!(error, expected, "{fault:?}");
        assert!(line.usable());
        line.read(&parsed.unit, &request, &mut samples)
            .await
            .expect("fine again");
    }
    let before = line.dropped_bytes();
    simulator.noise(b"no such thing\n");
    line.read(&parsed.unit, &request, &mut samples)
        .await
        .expect("an answer");
    line.read(&parsed.unit, &request, &mut samples)
        .await
        .expect("an answer");
    assert_eq!(line.dropped_bytes(), before + 13);
    simulator.stop().await;
    let error = line
        .read(&parsed.unit, &request, &mut samples)
        .await
        .unwrap_err();
    assert!(matches!(error, RequestError::Line(_)), "{error}");
    assert!(!line.usable());
}

/// RS-485: the line rests between an answer and the next request, whoever is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_rests_for_the_turnaround() {
    let (_simulator, protocol) = over_tcp(TWO).await;
    let mut protocol = addressed(&protocol, "a", 500);
    protocol["rs485"] = json!({"turnaround": "60ms"});
    let (mut line, parsed) = open(&protocol, &one(1, "A?")).await;
    let point = parsed.points[0].as_ref().expect("sound");
    let request = crate::Request {
        send: point.request().expect("a request").to_vec(),
        points: vec![(1, point.clone())],
    };
    let mut samples = Samples::default();
    let start = std::time::Instant::now();
    for _ in 0..4 {
        line.read(&parsed.unit, &request, &mut samples)
            .await
            .expect("an answer");
    }
    assert!(start.elapsed() >= 3 * Duration::from_millis(60));
    assert_eq!(samples.len(), 4);
}

async fn open(
    protocol: &Value,
    points: &[(u32, &str, Value)],
) -> (Line, longshore_sdk::Parsed<Serial>) {
    let points: Vec<_> = points
        .iter()
        .map(|(id, twin, config)| json!({"id": id, "name": "p", "intervalMs": 0, "type": twin, "config": config}))
        .collect();
    let device = json!({"device": "default/d", "protocol": protocol, "points": points});
    let device = serde_json::from_value(device).expect("a device");
    let serial = Serial::default();
    let parsed = serial
        .parse(&device)
        .unwrap_or_else(|faults| panic!("{faults:?}"));
    let line = serial.connect(&parsed.bus).await.expect("a line");
    (line, parsed)
}

/// A port that is no port.
#[tokio::test]
async fn a_port_that_is_missing() {
    let missing = Path::new("/dev/there-is-no-such-port");
    let serial = Serial::default();
    let device = json!({"device": "default/d", "protocol": {"url": missing}, "points": []});
    let device = serde_json::from_value(device).expect("a device");
    let parsed = serial
        .parse(&device)
        .unwrap_or_else(|faults| panic!("{faults:?}"));
    let error = serial.connect(&parsed.bus).await.err().expect("no line");
    let text = error.to_string();
    assert!(
        text.contains("no port /dev/there-is-no-such-port"),
        "{text}"
    );
    assert!(text.contains("is it plugged in?"), "{text}");
}
