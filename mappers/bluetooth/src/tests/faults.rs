//! What goes wrong with radios, and what it may cost.

use longshore_sdk::{Connection, Protocol, Reason, RequestError, SampleValue, Samples, Status};
use longshore_sim_bluetooth::{Fault, FaultRule, Simulator, bluetooth};
use serde_json::{Value, json};

use super::{
    rig::{Rig, rig},
    stories::{room, thermometer, thermostat},
};
use crate::Bluetooth;

const THERMOSTAT: &str = "D0:00:00:00:00:03";

fn connected(protocol: Value) -> Value {
    let mut whole = json!({"address": THERMOSTAT});
    whole
        .as_object_mut()
        .unwrap()
        .extend(protocol.as_object().unwrap().clone());
    whole
}

async fn reading(protocol: Value) -> (Simulator, Rig) {
    let radio = room().await;
    let rig = rig(radio.address());
    rig.configure(1, &connected(protocol), 50, &thermostat(1));
    rig.wait_samples(1, 2);
    rig.wait_online(1, true);
    (radio, rig)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_sensor_is_lost_and_found() {
    let radio = room().await;
    let rig = rig(radio.address());
    rig.configure(
        1,
        &json!({"name": "ATC_000001", "silentAfter": "300ms"}),
        0,
        &thermometer(1),
    );
    rig.configure(
        2,
        &json!({"name": "shelly"}),
        0,
        &[(
            11,
            "FLOAT",
            json!({"advertisement": "bthome", "field": "temperature"}),
        )],
    );
    rig.wait_online(1, true);
    radio.fault(FaultRule::from(Fault::Silent).on("ATC_000001"));
    rig.wait_online(1, false);
    rig.look(|record| {
        assert!(
            record.online[&1].1.contains("no advertisement for 0.3 s"),
            "{:?}",
            record.online
        )
    });
    rig.wait_samples(11, 3);
    radio.clear_faults();
    rig.wait_online(1, true);
    rig.wait_samples(1, 2);
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_is_answered_with_no() {
    let radio = room().await;
    let rig = rig(radio.address());
    let part = |field: &str| json!({"advertisement": "any", "field": field});
    rig.configure(
        1,
        &json!({"name": "ATC_000001", "silentAfter": 300}),
        0,
        &[(1, "BOOLEAN", part("present")), (2, "INT", part("rssi"))],
    );
    rig.wait_value(1, &SampleValue::Bool(true));
    radio.fault(Fault::Silent);
    rig.wait_value(1, &SampleValue::Bool(false));
    rig.wait("the strength to be unknown", |record| {
        record
            .bad
            .iter()
            .any(|(id, reason, _)| *id == 2 && *reason == Some(Reason::Timeout))
    });
    radio.clear_faults();
    rig.wait_value(1, &SampleValue::Bool(true));
    rig.look(|record| {
        assert!(
            record.online[&1].0,
            "an absent tag is no fault of the device"
        )
    });
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_runs_away_is_connected_again() {
    let (radio, rig) = reading(json!({})).await;
    for _ in 0..3 {
        radio.disconnect("thermostat").await;
        rig.wait_samples(1, 2);
    }
    radio.fault(FaultRule::from(Fault::Disconnect).for_requests(1));
    rig.wait_samples(1, 3);
    rig.wait_samples(5, 2);
    assert!(radio.counters().connects >= 4);
    rig.stop();
}

/// What the link of a device that is connected says when it ends.
async fn end_of(radio: &Simulator, end: impl Future<Output = ()>) -> RequestError {
    let protocol = Bluetooth::new(&json!({"bus": radio.address()})).expect("a mapper");
    let device = json!({
        "device": "default/d", "protocol": {"address": THERMOSTAT},
        "points": [{"id": 1, "name": "p", "intervalMs": 0, "type": "INT",
                    "config": {"characteristic": "2a19", "notify": true}}]
    });
    let device = serde_json::from_value(device).expect("a device");
    let parsed = protocol.parse(&device).expect("a sound device");
    let mut link = protocol.connect(&parsed.bus).await.expect("a link");
    end.await;
    let mut samples = Samples::default();
    loop {
        if let Err(error) = link.receive(&mut samples).await {
            assert!(!link.usable());
            return error;
        }
    }
}

/// BlueZ takes the services back first; that is not what the user is to hear.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnect_is_not_called_a_change_of_services() {
    let radio = room().await;
    for _ in 0..5 {
        let error = end_of(&radio, radio.disconnect("thermostat")).await;
        let expected = RequestError::Line("the device has disconnected".to_owned());
        assert_eq!(error, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_services_is_told() {
    let radio = room().await;
    let error = end_of(&radio, radio.change_services("thermostat")).await;
    let expected = RequestError::Line("the device's services have changed".to_owned());
    assert_eq!(error, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_services_are_found_anew() {
    let (radio, rig) = reading(json!({})).await;
    radio.change_services("thermostat").await;
    rig.wait_samples(1, 3);
    rig.wait_samples(5, 2);
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_no_outage() {
    let (radio, rig) = reading(json!({})).await;
    // 0x0E: unlikely error.
    radio.fault(Fault::AttError(0x0E));
    rig.wait("the refusal", |record| {
        record.bad.iter().any(|(id, reason, message)| {
            *id == 1 && *reason == Some(Reason::Refused) && message.contains("0x0e")
        })
    });
    radio.clear_faults();
    rig.wait_samples(1, 3);
    rig.look(|record| assert_eq!(record.outages, 0));
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_does_not_answer_costs_the_others_nothing() {
    let (radio, rig) = reading(json!({"timeout": "200ms"})).await;
    rig.configure(2, &json!({"name": "ATC_000001"}), 0, &thermometer(11));
    rig.configure(
        3,
        &json!({"name": "Polar H10 00000004"}),
        50,
        &[(21, "INT", json!({"characteristic": "2a38"}))],
    );
    rig.wait_samples(21, 2);
    radio.fault(FaultRule::from(Fault::Unresponsive).on("thermostat"));
    rig.wait_online(1, false);
    rig.wait_samples(21, 10);
    rig.wait_samples(11, 10);
    rig.look(|record| {
        assert!(
            record.bad.iter().all(|(id, ..)| *id < 10),
            "{:?}",
            record.bad
        );
    });
    radio.clear_faults();
    rig.wait_online(1, true);
    rig.wait_samples(1, 2);
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_fails_is_tried_again() {
    let radio = room().await;
    radio.fault(FaultRule::from(Fault::ConnectionAbort).for_requests(2));
    let rig = rig(radio.address());
    rig.configure(1, &connected(json!({})), 50, &thermostat(1));
    rig.wait_samples(1, 2);
    rig.look(|record| {
        assert!(
            record.logs.is_empty()
                || record
                    .logs
                    .iter()
                    .any(|line| line.contains("le-connection-abort"))
        )
    });
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_connects_slowly_holds_up_no_other() {
    let radio = room().await;
    radio.fault(FaultRule::from(Fault::Slow(3_600_000)).on("thermostat"));
    let rig = rig(radio.address());
    rig.configure(
        1,
        &connected(json!({"connectTimeout": "500ms"})),
        50,
        &thermostat(1),
    );
    rig.configure(
        2,
        &json!({"name": "Polar H10 00000004"}),
        50,
        &[(21, "INT", json!({"characteristic": "2a38"}))],
    );
    rig.wait_samples(21, 3);
    rig.wait_online(1, false);
    rig.look(|record| {
        assert!(
            record.online[&1].1.contains("connecting took too long"),
            "{:?}",
            record.online
        )
    });
    rig.wait_samples(21, 3);
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_not_there_is_said_to_be_not_heard() {
    let radio = room().await;
    let rig = rig(radio.address());
    rig.configure(
        1,
        &json!({"name": "nobody", "connectTimeout": "300ms"}),
        50,
        &[(1, "INT", json!({"characteristic": "2a19"}))],
    );
    rig.wait_online(1, false);
    rig.look(|record| {
        assert!(
            record.online[&1]
                .1
                .contains("`nobody` was not heard for 0.3 s"),
            "{:?}",
            record.online
        )
    });
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_that_is_pulled_and_put_in_again_is_got_over() {
    let (radio, rig) = reading(json!({})).await;
    rig.configure(2, &json!({"name": "ATC_000001"}), 0, &thermometer(11));
    rig.wait_samples(11, 2);
    for pulled in [true, false] {
        if pulled {
            radio.plug("hci0", false).await;
        } else {
            radio.power("hci0", false).await;
        }
        rig.wait_online(1, false);
        rig.wait_online(2, false);
        rig.look(|record| {
            let text = if pulled {
                "there is no Bluetooth adapter"
            } else {
                "switched off"
            };
            let said = |id: u32| {
                record.online[&id].1.contains(text)
                    || record.online[&id].1.contains("was pulled or switched off")
            };
            assert!(said(1) && said(2), "{:?}", record.online);
        });
        if pulled {
            radio.plug("hci0", true).await;
        } else {
            radio.power("hci0", true).await;
        }
        rig.wait_online(1, true);
        rig.wait_samples(1, 2);
        rig.wait_samples(11, 2);
    }
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_bluetoothd_is_got_over() {
    let (radio, rig) = reading(json!({})).await;
    rig.configure(2, &json!({"name": "ATC_000001"}), 0, &thermometer(11));
    rig.wait_samples(11, 2);
    radio.end_bluetoothd().await;
    rig.wait_online(1, false);
    rig.wait_online(2, false);
    rig.look(|record| {
        assert!(
            record.online[&1].1.contains("bluetoothd"),
            "{:?}",
            record.online
        )
    });
    radio.begin_bluetoothd().await;
    rig.wait_online(1, true);
    rig.wait_samples(1, 2);
    rig.wait_samples(11, 2);
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_bus_the_reason_is_said() {
    let rig = rig("unix:path=/nowhere/bus");
    rig.configure(
        1,
        &json!({"name": "x"}),
        50,
        &[(1, "INT", json!({"characteristic": "2a19"}))],
    );
    rig.wait_online(1, false);
    rig.look(|record| {
        assert!(
            record.online[&1]
                .1
                .contains("D-Bus at unix:path=/nowhere/bus cannot be reached"),
            "{:?}",
            record.online
        )
    });
    rig.stop();
}

const LOCK: &str = "
devices:
  - address: '00:11:22:33:44:55'
    name: lock
    advertiseMs: 20
    passkey: 123456
    services:
      - uuid: fff0
        characteristics: [{uuid: fff1, secure: true, flags: [read, write], value: [{bytes: '2a'}]}]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_wants_to_be_paired_says_so() {
    let radio = bluetooth().yaml(LOCK).start().await;
    let rig = rig(radio.address());
    let point = [(
        1,
        "INT",
        json!({"characteristic": "fff1", "rawType": "uint8"}),
    )];
    rig.configure(1, &json!({"name": "lock"}), 50, &point);
    rig.wait("the hint", |record| {
        record.bad.iter().any(|(_, reason, message)| {
            *reason == Some(Reason::Refused) && message.contains("set `pair: true`")
        })
    });
    assert_eq!(
        radio.counters().pairings,
        0,
        "nothing is paired that nobody asked for"
    );
    // The wrong number is refused, the right one is not.
    rig.configure(1, &json!({"name": "lock", "passkey": 1}), 50, &point);
    rig.wait_online(1, false);
    rig.look(|record| {
        assert!(
            record.online[&1].1.contains("Authentication"),
            "{:?}",
            record.online
        )
    });
    rig.configure(1, &json!({"name": "lock", "passkey": 123_456}), 50, &point);
    rig.wait_value(1, &SampleValue::Uint(42));
    assert!(radio.device("lock").paired);
    rig.write_ok(1, 1, SampleValue::Uint(7));
    rig.wait_value(1, &SampleValue::Uint(7));
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_devices_are_connected_than_may_be() {
    let devices: String = (1..=4)
        .map(|n| format!("  - {{address: '00:00:00:00:00:0{n}', name: d{n}, advertiseMs: 20, services: [{{uuid: 180f, characteristics: [{{uuid: 2a19, value: [{{value: {n}}}]}}]}}]}}\n"))
        .collect();
    let radio = bluetooth()
        .yaml(&format!("devices:\n{devices}"))
        .start()
        .await;
    let rig = Rig::with(json!({"bus": radio.address(), "maxConnections": 2}));
    for n in 1..=4 {
        rig.configure(
            n,
            &json!({"name": format!("d{n}"), "connectTimeout": "500ms"}),
            50,
            &[(n, "INT", json!({"characteristic": "2a19"}))],
        );
    }
    rig.wait("two to work and two to wait", |record| {
        let online = record.online.values().filter(|(online, _)| *online).count();
        let waiting = record
            .online
            .values()
            .filter(|(_, why)| why.contains("all 2 connections are in use"))
            .count();
        (online, waiting) == (2, 2)
    });
    assert_eq!(radio.counters().most_connected, 2);
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_fits_no_packet_is_not_sent() {
    let radio = bluetooth()
        .yaml("devices: [{address: '00:00:00:00:00:01', name: d, advertiseMs: 20, mtu: 23, services: [{uuid: fff0, characteristics: [{uuid: fff1, flags: [write-without-response, write]}]}]}]")
        .start()
        .await;
    let rig = rig(radio.address());
    rig.configure(
        1,
        &json!({"name": "d"}),
        0,
        &[
            (
                1,
                "STRING",
                json!({"characteristic": "fff1", "writeType": "command"}),
            ),
            (2, "STRING", json!({"characteristic": "fff1"})),
        ],
    );
    let long = "x".repeat(21);
    let refused = rig.write(1, 1, SampleValue::String(long.clone()));
    assert_eq!(refused.status, Status::InvalidArgument);
    assert!(
        refused
            .message
            .contains("21 bytes do not fit the 20 of a packet"),
        "{}",
        refused.message
    );
    // A request goes in parts.
    rig.write_ok(1, 2, SampleValue::String(long));
    rig.stop();
}
