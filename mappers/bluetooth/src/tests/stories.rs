//! Whole devices, simulated: listened to, connected, written.

use longshore_sdk::{CommandKind, Discovered, Reason, SampleValue, Status};
use longshore_sim_bluetooth::{Simulator, bluetooth};
use serde_json::{Value, json};

use super::rig::rig;

pub(super) const ROOM: &str = r#"
world:
  signals:
    temperature: {setpoint: {initial: 21.5}}
    setpoint: {setpoint: {initial: 20, min: 5, max: 30}}
    pulse: {setpoint: {initial: 72}}
    led: {setpoint: {initial: 0, min: 0, max: 1}}
devices:
  - address: "A4:C1:38:00:00:01"
    name: ATC_000001
    advertiseMs: 20
    rssi: -67
    adverts:
      - service: 181a
        data: [{bytes: "010000 38c1a4"}, {signal: temperature, type: int16, times: 100}, {value: 45.15, type: uint16, times: 100}, {value: 3000, type: uint16}, {value: 87}, {type: counter}, {value: 4}]
  - address: "C4:7C:8D:00:00:02"
    name: shelly
    advertiseMs: 20
    adverts:
      - service: fcd2
        data: [{bytes: "40 00"}, {type: counter}, {bytes: "01 5d 02"}, {signal: temperature, type: int16, times: 100}]
      - service: fcd2
        data: [{bytes: "40 00"}, {type: counter}, {bytes: "3a 01"}]
  - address: "D0:00:00:00:00:03"
    name: thermostat
    addressType: random
    advertiseMs: 20
    services:
      - uuid: 180f
        characteristics: [{uuid: 2a19, flags: [read, notify], value: [{value: 93}], notifyMs: 50}]
      - uuid: 181a
        characteristics:
          - {uuid: 2a6e, value: [{signal: temperature, type: int16, times: 100}]}
          - {uuid: 2a6f, value: [{value: 45.15, type: uint16, times: 100}]}
      - uuid: f0001110-0451-4000-b000-000000000000
        characteristics:
          - {uuid: f0001111-0451-4000-b000-000000000000, flags: [read, write], value: [{signal: setpoint, type: int16, times: 100}]}
          - {uuid: f0001112-0451-4000-b000-000000000000, flags: [read, write-without-response], value: [{signal: led}]}
          - {uuid: f0001113-0451-4000-b000-000000000000, flags: [read, write, write-without-response], value: [{text: "hello"}]}
  - address: "A0:9E:1A:00:00:04"
    name: Polar H10 00000004
    advertiseMs: 20
    services:
      - uuid: 180d
        characteristics:
          - {uuid: 2a37, flags: [notify], notifyMs: 50, value: [{bytes: "16"}, {signal: pulse}, {value: 840, type: uint16}]}
          - {uuid: 2a38, value: [{value: 1}]}
"#;

pub(super) async fn room() -> Simulator {
    bluetooth().yaml(ROOM).start().await
}

pub(super) fn thermometer(id: u32) -> Vec<(u32, &'static str, Value)> {
    vec![
        (
            id,
            "FLOAT",
            json!({"advertisement": "pvvx", "field": "temperature"}),
        ),
        (
            id + 1,
            "FLOAT",
            json!({"advertisement": "pvvx", "field": "humidity"}),
        ),
        (
            id + 2,
            "INT",
            json!({"advertisement": "any", "field": "rssi"}),
        ),
    ]
}

pub(super) fn thermostat(id: u32) -> Vec<(u32, &'static str, Value)> {
    let own = |end: &str| format!("f000{end}-0451-4000-b000-000000000000");
    vec![
        (id, "FLOAT", json!({"characteristic": "2a6e"})),
        (
            id + 1,
            "FLOAT",
            json!({"service": "181a", "characteristic": "2a6f"}),
        ),
        (
            id + 2,
            "FLOAT",
            json!({"characteristic": own("1111"), "rawType": "int16"}),
        ),
        (
            id + 3,
            "BOOLEAN",
            json!({"characteristic": own("1112"), "rawType": "bool"}),
        ),
        (
            id + 4,
            "INT",
            json!({"characteristic": "2a19", "notify": true}),
        ),
        (id + 5, "STRING", json!({"characteristic": own("1113")})),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sensor_is_listened_to_and_never_connected() {
    let radio = room().await;
    let rig = rig(radio.address());
    rig.configure(
        1,
        &json!({"address": "A4:C1:38:00:00:01"}),
        0,
        &thermometer(1),
    );
    rig.wait_value(1, &SampleValue::Float(21.5));
    rig.wait_value(2, &SampleValue::Float(45.15));
    rig.wait_value(3, &SampleValue::Int(-67));
    rig.wait_online(1, true);
    radio.world().set("temperature", 22.25).unwrap();
    rig.wait_value(1, &SampleValue::Float(22.25));
    assert_eq!(radio.counters().connects, 0);
    assert!(radio.is_scanning("hci0"));
    // By its name as well; and when nobody listens, the radio is let alone.
    rig.configure(
        2,
        &json!({"name": "ATC_000001"}),
        0,
        &[(
            11,
            "FLOAT",
            json!({"advertisement": "atc", "field": "temperature"}),
        )],
    );
    rig.wait_value(11, &SampleValue::Float(22.25));
    rig.command(1, CommandKind::Remove);
    rig.command(2, CommandKind::Remove);
    radio
        .wait("discovery to end", |radio| {
            if radio.is_scanning("hci0") {
                Err("it is on".to_owned())
            } else {
                Ok(())
            }
        })
        .await;
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bthome_s_packets_bring_what_they_have() {
    let radio = room().await;
    let rig = rig(radio.address());
    let part = |field: &str| json!({"advertisement": "bthome", "field": field});
    rig.configure(
        1,
        &json!({"name": "shelly"}),
        0,
        &[
            (1, "INT", part("battery")),
            (2, "FLOAT", part("temperature")),
            (3, "STRING", part("button")),
        ],
    );
    rig.wait_value(1, &SampleValue::Uint(93));
    rig.wait_value(2, &SampleValue::Float(21.5));
    // The button is in every second packet only.
    rig.wait_value(3, &SampleValue::String("press".to_owned()));
    rig.look(|record| assert_eq!(record.bad, []));
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connected_device_is_read_written_and_watched() {
    let radio = room().await;
    let rig = rig(radio.address());
    rig.configure(
        1,
        &json!({"address": "D0:00:00:00:00:03"}),
        50,
        &thermostat(1),
    );
    rig.wait_value(1, &SampleValue::Float(21.5));
    rig.wait_value(2, &SampleValue::Float(45.15));
    rig.wait_value(3, &SampleValue::Int(2000));
    rig.wait_value(5, &SampleValue::Uint(93));
    rig.wait_value(6, &SampleValue::String("hello".to_owned()));
    rig.wait_online(1, true);
    assert_eq!(
        radio.device("thermostat").notifying,
        ["00002a19-0000-1000-8000-00805f9b34fb"]
    );
    // With an answer, without one, and a text.
    rig.write_ok(1, 3, SampleValue::Int(2350));
    rig.wait_value(3, &SampleValue::Int(2350));
    rig.write_ok(1, 4, SampleValue::Bool(true));
    rig.wait_value(4, &SampleValue::Bool(true));
    rig.write_ok(1, 6, SampleValue::String("good bye".to_owned()));
    rig.wait_value(6, &SampleValue::String("good bye".to_owned()));
    let kinds: Vec<_> = radio
        .writes()
        .into_iter()
        .map(|write| (write.kind, write.bytes))
        .collect();
    assert_eq!(kinds[0], ("request".to_owned(), "2e09".to_owned()));
    assert_eq!(kinds[1], ("command".to_owned(), "01".to_owned()));
    assert_eq!(kinds[2].0, "request");
    // The device takes 5 to 30 °C; the mapper knows that 70000 fits no int16.
    let refused = rig.write(1, 3, SampleValue::Int(9000));
    assert_eq!(refused.status, Status::Refused);
    assert!(refused.message.contains("0xff"), "{}", refused.message);
    let wrong = rig.write(1, 3, SampleValue::Int(70_000));
    assert_eq!(wrong.status, Status::InvalidArgument, "{}", wrong.message);
    assert_eq!(radio.counters().connects, 1);
    // Removed, it is let go.
    rig.command(1, CommandKind::Remove);
    radio
        .wait("the device to be let go", |radio| {
            if radio.device("thermostat").connected {
                Err("connected".to_owned())
            } else {
                Ok(())
            }
        })
        .await;
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heart_rate_comes_by_itself() {
    let radio = room().await;
    let rig = rig(radio.address());
    let part = |field: &str| json!({"characteristic": "2a37", "field": field});
    rig.configure(
        1,
        &json!({"name": "Polar H10 00000004"}),
        1000,
        &[
            (1, "INT", part("heartRate")),
            (2, "FLOAT", part("rrInterval")),
            (3, "BOOLEAN", part("contact")),
            (4, "INT", json!({"characteristic": "2a38"})),
        ],
    );
    rig.wait_value(1, &SampleValue::Uint(72));
    rig.wait_value(2, &SampleValue::Float(840.0 / 1024.0));
    rig.wait_value(3, &SampleValue::Bool(true));
    rig.wait_value(4, &SampleValue::Uint(1));
    radio.world().set("pulse", 140.0).unwrap();
    rig.wait_value(1, &SampleValue::Uint(140));
    // It cannot be read; the latest that came is the answer.
    let read = rig.command(1, CommandKind::Read { point: 1 });
    assert_eq!(read.status, Status::Ok, "{}", read.message);
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_device_does_not_have_is_said_with_what_it_has() {
    let radio = room().await;
    let rig = rig(radio.address());
    rig.configure(
        1,
        &json!({"name": "thermostat"}),
        50,
        &[
            (1, "FLOAT", json!({"characteristic": "2a6e"})),
            (2, "INT", json!({"characteristic": "2a6d"})),
            (3, "INT", json!({"characteristic": "2a6f", "notify": true})),
        ],
    );
    rig.wait_value(1, &SampleValue::Float(21.5));
    rig.wait("the two that do not work", |record| {
        let bad = |id: u32, text: &str| {
            record.bad.iter().any(|(of, reason, message)| {
                *of == id && *reason == Some(Reason::Refused) && message.contains(text)
            })
        };
        bad(2, "it has 180f/2a19, 181a/2a6e, 181a/2a6f") && bad(3, "cannot notify")
    });
    rig.wait_online(1, true);
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_are_looked_for() {
    let radio = room().await;
    let rig = rig(radio.address());
    let request = json!({"seconds": 1, "connect": ["D0:00:00:00:00:03", "00:00:00:00:00:09"]});
    let completion = rig.command(0, CommandKind::Discover(request.to_string()));
    assert_eq!(completion.status, Status::Ok, "{}", completion.message);
    let found: Discovered = serde_json::from_str(&completion.message).expect("what was found");
    let names: Vec<_> = found
        .devices
        .iter()
        .map(|device| &device.name[..])
        .collect();
    assert_eq!(
        names,
        [
            "polar-h10-00000004",
            "atc-000001",
            "shelly-000002",
            "thermostat-000003"
        ]
    );
    let property = |device: usize, name: &str| {
        let found = found.devices[device]
            .properties
            .iter()
            .find(|property| property.name == name);
        found
            .unwrap_or_else(|| panic!("no {name}: {:?}", found))
            .clone()
    };
    assert_eq!(property(1, "temperature").value.as_deref(), Some("21.5"));
    assert_eq!(property(1, "temperature").unit, "Cel");
    assert_eq!(property(1, "temperature").config["advertisement"], "pvvx");
    assert_eq!(property(3, "humidity").value.as_deref(), Some("45.15"));
    assert!(property(3, "cf000111104514000b000000000000000").writable);
    assert_eq!(found.devices[1].protocol["address"], "A4:C1:38:00:00:01");
    assert!(
        found
            .notes
            .iter()
            .any(|note| note.contains("00:00:00:00:00:09 was not heard")),
        "{:?}",
        found.notes
    );
    let wrong = rig.command(0, CommandKind::Discover(json!({"seconds": 0}).to_string()));
    assert_eq!(wrong.status, Status::InvalidArgument, "{}", wrong.message);
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_devices_may_share_one_connection() {
    let radio = room().await;
    let rig = rig(radio.address());
    let protocol = json!({"name": "thermostat"});
    let points = |id| vec![(id, "FLOAT", json!({"characteristic": "2a6e"}))];
    rig.configure(1, &protocol, 50, &points(1));
    rig.wait_samples(1, 2);
    for round in 0..10 {
        if round % 3 == 2 {
            rig.command(2, CommandKind::Remove);
        } else {
            rig.configure(2, &protocol, 50, &points(11));
        }
        rig.wait_samples(1, 2);
    }
    rig.look(|record| assert_eq!(record.outages, 0, "{record:#?}"));
    assert_eq!(radio.counters().connects, 1);
    rig.stop();
}
