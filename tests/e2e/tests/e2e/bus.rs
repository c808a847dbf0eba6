//! What a client on the MQTT bus sees.

use longshore_harness::prelude::*;

const BOILER: &str = "$hw/events/device/default/boiler";

async fn boiler(plc: &Simulator) -> Edge {
    let boiler = device("boiler")
        .on(plc)
        .read("temperature", "FLOAT", json!({"address": "ir:0", "rawType": "int16", "scale": 0.1}))
        .property(
            json!({"name": "setpoint", "type": "INT", "accessMode": "ReadWrite", "minimum": "20", "maximum": "90"}),
            json!({"address": "hr:0", "rawType": "int16", "scale": 0.1}),
            None,
        );
    let edge = edge().device(&boiler).run().await;
    edge.twin_is("boiler", "temperature", json!(21.5)).await;
    edge
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_come_as_kubeedges_document_and_as_our_batch() {
    let plc = modbus()
        .unit(1)
        .register(30_001, 215)
        .register(40_001, 600)
        .start()
        .await;
    let edge = boiler(&plc).await;
    let documents = subscribe(
        edge.bus_port(),
        "$hw/events/device/+/+/twin/update/document",
    )
    .await;
    let batches = subscribe(edge.bus_port(), "longshore/+/+/batch").await;

    plc.set_input(1, 0, 223);
    let document = documents
        .hear("the document of the change", |_, body| {
            body.pointer("/twin/temperature/current/actual/value")
                .is_some_and(|value| value == "22.3")
        })
        .await;
    assert_eq!(
        document.pointer("/twin/temperature/last/actual/value"),
        Some(&json!("21.5"))
    );
    let batch = batches
        .hear("the batch of the change", |_, body| {
            body["values"]["temperature"] == json!(22.3)
        })
        .await;
    assert!(
        batch["timestamp"]
            .as_i64()
            .is_some_and(|ms| ms > 1_700_000_000_000),
        "{batch}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_kubeedge_reads_and_writes_twins() {
    let plc = modbus()
        .unit(1)
        .register(30_001, 215)
        .register(40_001, 600)
        .start()
        .await;
    let edge = boiler(&plc).await;
    let client = subscribe(edge.bus_port(), "$hw/events/device/#").await;

    client
        .publish(&format!("{BOILER}/twin/get"), json!({"event_id": "one"}))
        .await;
    let answer = client
        .hear("the answer to get", |topic, body| {
            topic.ends_with("/get/result") && body["event_id"] == "one"
        })
        .await;
    assert_eq!(
        answer.pointer("/twin/temperature/actual/value"),
        Some(&json!("21.5"))
    );

    let update = |id: &str, property: &str, value: &str| json!({"event_id": id, "twin": {property: {"expected": {"value": value}}}});
    client
        .publish(
            &format!("{BOILER}/twin/update"),
            update("two", "setpoint", "70"),
        )
        .await;
    let answer = client
        .hear("the answer to update", |topic, body| {
            topic.ends_with("/update/result") && body["event_id"] == "two"
        })
        .await;
    assert_eq!(
        answer.pointer("/twin/setpoint/expected/value"),
        Some(&json!("70"))
    );
    plc.wait_holding(1, 0, 700).await;

    for (id, property, value) in [
        ("range", "setpoint", "120"),
        ("type", "setpoint", "warm"),
        ("access", "temperature", "1"),
    ] {
        client
            .publish(
                &format!("{BOILER}/twin/update"),
                update(id, property, value),
            )
            .await;
        let answer = client
            .hear(id, |topic, body| {
                topic.ends_with("/update/result") && body["event_id"] == id
            })
            .await;
        assert_eq!(answer["code"], 400, "{answer}");
    }
    assert_eq!(plc.holding(1, 0), 700);
}

/// More than the bus can have waiting: that a device came is said once, and
/// nothing that comes later says it again.
#[tokio::test(flavor = "multi_thread")]
async fn each_device_that_comes_or_goes_is_told() {
    const DEVICES: usize = 3_000;
    let edge = edge().manifest("empty", "").run().await;
    let members = subscribe(edge.bus_port(), "$hw/events/node/+/membership/updated").await;
    let named = |device: usize| format!("d{device}");
    let mut yaml = String::new();
    for name in (0..DEVICES).map(named) {
        // Nobody serves them, which is no matter here.
        let device = device(&name).speaking("smoke", json!({}));
        let device = device.read("a", "INT", json!({}));
        yaml.push_str(&device.yaml());
        yaml.push_str("\n---\n");
    }
    edge.put_manifest("all", &yaml);
    let told = |list: &'static str| {
        let heard = members.heard();
        let devices = heard.iter().flat_map(|(_, body)| {
            let devices = body[list].as_array().cloned().unwrap_or_default();
            devices.into_iter().map(|device| device["name"].to_string())
        });
        let mut names: Vec<String> = devices.collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "each once");
        all
    };
    let told = &told;
    let wait = |list: &'static str| {
        eventually(list, move || async move {
            let told = told(list);
            (told == DEVICES)
                .then_some(())
                .ok_or_else(|| told.to_string())
        })
    };
    wait("added_devices").await;
    edge.remove_manifest("all");
    wait("removed_devices").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_down_stops_nothing_else() {
    let plc = modbus().unit(1).register(30_001, 215).start().await;
    let boiler = device("boiler").on(&plc).read(
        "temperature",
        "FLOAT",
        json!({"address": "ir:0", "rawType": "int16", "scale": 0.1}),
    );
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let bus =
        json!({"mode": "external", "external": {"url": format!("mqtt://127.0.0.1:{nobody}")}});
    let edge = edge().bus(bus).device(&boiler).run().await;

    edge.twin_is("boiler", "temperature", json!(21.5)).await;
    let (_, why) = edge.get_text("/readyz").await.unwrap();
    assert!(
        why.contains(&format!("127.0.0.1:{nobody}")),
        "the broker is named: {why}"
    );
}
