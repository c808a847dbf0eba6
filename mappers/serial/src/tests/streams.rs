//! Devices that talk by themselves.

use std::time::{Duration, Instant};

use longshore_sdk::{Reason, SampleValue};
use longshore_sim_serial::{Fault, FaultRule, Simulator};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    rig::Rig,
    whole::{over_pty, over_tcp},
};

const RECEIVER: &str = "
world:
  signals:
    latitude: {setpoint: {initial: 47.5}}
    longitude: {setpoint: {initial: -8.25}}
    satellites: {setpoint: {initial: 9}}
units:
  - unit: 1
    stream:
      - everyMs: 40
        nmea: true
        say:
          - 'GPRMC,{time},A,{latitude@lat},{longitude@lon},0.5,77.5,{date},,,A'
          - 'GPGGA,{time},{latitude@lat},{longitude@lon},1,{satellites:.0},0.9,440.0,M,48.0,M,,'
          - 'GPGSV,1,1,01,23,38,230,44'
";

fn receiver(protocol: &Value, silent_after: &str) -> Value {
    json!({
        "url": protocol["url"], "stream": true, "silentAfter": silent_after,
        "framing": {"line": {"delimiter": "\r\n", "start": "$"}},
        "checksum": {"kind": "xor", "over": [1, -1]}
    })
}

fn points() -> Vec<(u32, &'static str, Value)> {
    let set = "$PUBX{value}\r\n";
    vec![
        (
            1,
            "DOUBLE",
            json!({"match": "$G?RMC", "field": 3, "rawType": "nmeaLatitude", "set": set}),
        ),
        (
            2,
            "DOUBLE",
            json!({"match": "$G?RMC", "field": 5, "rawType": "nmeaLongitude", "set": set}),
        ),
        (3, "INT", json!({"match": "$G?GGA", "field": 7, "set": set})),
    ]
}

fn wait_position(rig: &Rig) {
    rig.wait_value(1, &SampleValue::Float(47.5));
    rig.wait_value(2, &SampleValue::Float(-8.25));
    rig.wait_value(3, &SampleValue::Int(9));
    rig.wait_online(1, true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_is_heard() {
    let folder = TempDir::new().expect("a temporary folder");
    let (simulator, protocol) = over_pty(RECEIVER, folder.path());
    let rig = Rig::new();
    rig.configure(1, &receiver(&protocol, "5s"), 40, &points());
    wait_position(&rig);
    simulator.world().set("latitude", 48.0).expect("a setpoint");
    rig.wait_value(1, &SampleValue::Float(48.0));
    rig.look(|record| assert!(record.bad.is_empty(), "{:?}", record.bad));
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_and_spoiled_sentences_never_become_values() {
    let (simulator, protocol) = over_tcp(RECEIVER).await;
    let rig = Rig::new();
    rig.configure(1, &receiver(&protocol, "5s"), 40, &points());
    wait_position(&rig);
    for fault in [Fault::WrongCrc, Fault::HalfFrame] {
        simulator.fault(FaultRule::from(fault).for_requests(4));
        simulator.noise(b"\xff\x00$GPRMC,\r\n$G");
        rig.wait_samples(1, 3);
    }
    rig.look(|record| {
        assert_eq!(
            record.history[&1].iter().collect::<Vec<_>>(),
            ["Float(47.5)"]
        );
        assert_eq!(record.history[&3].iter().collect::<Vec<_>>(), ["Int(9)"]);
        assert!(record.bad.is_empty(), "{:?}", record.bad);
    });
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_falls_silent_is_lost_and_comes_back() {
    let (simulator, protocol) = over_tcp(RECEIVER).await;
    let rig = Rig::new();
    rig.configure(1, &receiver(&protocol, "300ms"), 40, &points());
    wait_position(&rig);
    simulator.fault(Fault::Unresponsive);
    rig.wait_online(1, false);
    rig.look(|record| {
        assert!(
            record
                .bad
                .iter()
                .any(|(_, reason, _)| *reason == Some(Reason::Timeout))
        );
        let (_, message) = &record.online[&1];
        assert!(message.contains("has said nothing for 0.3 s"), "{message}");
    });
    simulator.clear_faults();
    rig.wait_online(1, true);
    rig.wait_samples(1, 3);
    rig.stop();
}

/// 25 sentences a second, and a value wanted five times a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fast_receiver_is_passed_on_as_often_as_wanted() {
    let (_simulator, protocol): (Simulator, Value) = over_tcp(RECEIVER).await;
    let rig = Rig::new();
    rig.configure(1, &receiver(&protocol, "5s"), 200, &points());
    wait_position(&rig);
    let start = Instant::now();
    rig.wait_samples(1, 5);
    let taken = start.elapsed();
    // Five values are four intervals and a bit; the first may come at once.
    assert!(taken >= Duration::from_millis(650), "{taken:?}");
    rig.stop();
}

/// A request and its answer between sentences: nothing of either is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_talks_and_answers() {
    let scenario = "
world: {signals: {level: {setpoint: {initial: 3}}, beat: {setpoint: {initial: 7}}}}
units:
  - unit: 1
    answers: [{request: 'LEVEL?', response: 'LEVEL {level}'}]
    stream: [{everyMs: 15, say: ['BEAT {beat}']}]
";
    let (_simulator, protocol) = over_tcp(scenario).await;
    let rig = Rig::new();
    let protocol = json!({"url": protocol["url"], "stream": true, "timeout": 500});
    let level =
        json!({"request": "LEVEL?\r\n", "response": "LEVEL {value:int}", "set": "X{value}"});
    let beat = json!({"response": "BEAT {value:int}", "set": "X{value}"});
    rig.configure(1, &protocol, 20, &[(1, "INT", level), (2, "INT", beat)]);
    rig.wait_value(1, &SampleValue::Int(3));
    rig.wait_value(2, &SampleValue::Int(7));
    rig.wait_samples(1, 20);
    rig.wait_samples(2, 10);
    rig.look(|record| {
        assert!(record.bad.is_empty(), "{:?}", record.bad);
        assert_eq!(record.outages, 0);
    });
    rig.stop();
}

/// The wrong checksum is in the profile, or the line is noisy: it is not silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_whose_checksums_are_all_wrong_is_not_said_to_be_silent() {
    let (simulator, protocol) = over_tcp(RECEIVER).await;
    let rig = Rig::new();
    rig.configure(1, &receiver(&protocol, "300ms"), 40, &points());
    wait_position(&rig);
    simulator.fault(Fault::WrongCrc);
    rig.wait("the checksums to be told", |record| {
        let state = record.online.get(&1);
        state.is_some_and(|(online, message)| {
            !online && message.contains("messages came within 0.3 s and their checksum was wrong")
        })
    });
    simulator.clear_faults();
    wait_position(&rig);
    rig.stop();
}
