//! Events and methods of a device, as people and programs meet them.

use longshore_harness::{binaries, prelude::*};

/// An event on the DeviceStatus.
fn event(status: &Json, name: &str) -> Json {
    let events = status["status"]["extensions"]["events"].as_array();
    let mut events = events.into_iter().flatten();
    let found = events.find(|event| event["name"] == name);
    found.cloned().unwrap_or_default()
}

async fn event_is(hub: &Hub, device: &str, name: &str, active: bool) -> Json {
    let what = format!("to have the event {name}, active: {active}");
    let status = hub
        .object_where("DeviceStatus", device, &what, |status| {
            event(status, name)["active"] == active
        })
        .await;
    event(&status, name)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_shows_on_the_device_status_survives_a_restart_and_clears() {
    let plc = modbus().unit(1).register(30_001, 900).start().await;
    let hub = hub().run().await;
    let mut edge = edge().hub(&hub).run().await;
    let boiler = device("boiler")
        .on(&plc)
        .read(
            "temperature",
            "FLOAT",
            json!({"address": "ir:0", "rawType": "int16", "scale": 0.1}),
        )
        .model_config(json!({"events": [{
            "name": "hot", "when": "temperature > 80", "clear": "temperature < 70",
            "severity": "major", "message": "the boiler has {temperature} °C",
        }]}));
    hub.apply(&boiler).await;
    let hot = event_is(&hub, "boiler", "hot", true).await;
    assert_eq!(hot["severity"], "major");
    assert_eq!(hot["message"], "the boiler has 90 °C");

    // Neither set nor cleared by what the device shows now: only its past tells.
    plc.set_input(1, 0, 750);
    edge.twin_is("boiler", "temperature", json!(75)).await;
    edge.kill_and_restart().await;
    edge.twin_is("boiler", "temperature", json!(75)).await;
    hub.reported_is("boiler", "temperature", "75").await;
    let still = event_is(&hub, "boiler", "hot", true).await;
    assert_eq!(still["since"], hot["since"], "it is the same one");
    let bus = subscribe(edge.bus_port(), "longshore/default/boiler/event/hot").await;
    bus.hear("the active event, retained", |_, body| {
        body["active"] == true && body["severity"] == "major"
    })
    .await;

    plc.set_input(1, 0, 600);
    let over = event_is(&hub, "boiler", "hot", false).await;
    assert_ne!(over["since"], hot["since"], "when it was over");
    bus.hear("the end of the event", |_, body| body["active"] == false)
        .await;
    let (_, metrics) = edge.get_text("/metrics").await.unwrap();
    assert!(metrics.contains("longshore_events_total 1"), "{metrics}");
}

/// The press of the demo at this address.
fn press(url: &str) -> String {
    let file = binaries::checkout().join("devices/demo/press.yaml");
    let text = std::fs::read_to_string(file).expect("the demo's press");
    let here = text.replace("opc.tcp://127.0.0.1:4840", url);
    assert_ne!(here, text, "the press has another address");
    here
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_is_called_over_mqtt_and_gives_its_result() {
    let scenario = binaries::checkout().join("simulators/opcua/scenarios/demo.yaml");
    let plc = simulator("opcua", &scenario).await;
    let hub = hub().run().await;
    let edge = edge()
        .hub(&hub)
        .mapper("opcua", &binaries::mapper("opcua"))
        .run()
        .await;
    let file = hub.folder().join("press.yaml");
    std::fs::write(&file, press(plc.url())).unwrap();
    kubectl(hub.kubeconfig(), &["apply", "-f", file.to_str().unwrap()]);
    let many = |twin: &Json| twin["value"].as_i64().is_some_and(|parts| parts >= 41_250);
    edge.twin_where("to be counted", "press", "parts", many)
        .await;

    let bus = subscribe(edge.bus_port(), "longshore/default/press/#").await;
    let call = "longshore/default/press/call/reset";
    bus.publish(call, json!({"id": 7})).await;
    let answer = bus
        .hear("the result of the call", |topic, body| {
            topic.ends_with("/result") && body["id"] == 7
        })
        .await;
    assert_eq!(answer["ok"], true, "{answer}");
    let few = |twin: &Json| twin["value"].as_i64().is_some_and(|parts| parts < 41_250);
    edge.twin_where("to begin anew", "press", "parts", few)
        .await;

    bus.publish(call, json!({"id": 8, "arguments": {"to": 3}}))
        .await;
    let answer = bus
        .hear("the refusal of an argument", |topic, body| {
            topic.ends_with("/result") && body["id"] == 8
        })
        .await;
    assert_eq!(answer["ok"], false, "{answer}");
    assert!(
        answer["error"].as_str().is_some_and(|e| e.contains("to")),
        "{answer}"
    );
    let (_, metrics) = edge.get_text("/metrics").await.unwrap();
    assert!(metrics.contains("longshore_calls_total 1"), "{metrics}");

    // The plate begins colder than it shall be; then it shall be cold.
    event_is(&hub, "press", "cold", true).await;
    hub.desire("press", "setpoint", "100").await;
    event_is(&hub, "press", "cold", false).await;
}
