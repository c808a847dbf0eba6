//! The cloud is away, and comes back.

use longshore_harness::prelude::*;

fn boiler(plc: &Simulator) -> DeviceManifest {
    device("boiler")
        .on(plc)
        .read(
            "temperature",
            "INT",
            json!({"address": "ir:0", "rawType": "int16"}),
        )
        .read_write("setpoint", "INT", json!({"address": "hr:0"}))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_edge_works_on_while_the_hub_is_away_and_tells_it_afterwards() {
    let plc = modbus()
        .unit(1)
        .register(30_001, 1)
        .register(40_001, 5)
        .start()
        .await;
    let mut hub = hub().run().await;
    let mut edge = edge().hub(&hub).run().await;
    hub.apply(&boiler(&plc)).await;
    hub.reported_is("boiler", "temperature", "1").await;

    hub.kill();
    plc.set_input(1, 0, 2);
    edge.twin_is("boiler", "temperature", json!(2)).await;
    // Restarted without a cloud, it still knows its devices.
    edge.kill_and_restart().await;
    plc.set_input(1, 0, 3);
    edge.twin_is("boiler", "temperature", json!(3)).await;

    hub.start_again().await;
    hub.reported_is("boiler", "temperature", "3").await;
    hub.desire("boiler", "setpoint", "8").await;
    plc.wait_holding(1, 0, 8).await;
}

/// What the DeviceStatus says of the device's configuration: status, reason, message.
fn config_valid(status: &Json) -> [String; 3] {
    let conditions = status["status"]["extensions"]["conditions"].as_array();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "ConfigValid");
    ["status", "reason", "message"].map(|key| {
        let text = found.and_then(|condition| condition[key].as_str());
        text.unwrap_or_default().to_owned()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_device_shows_while_its_node_is_away() {
    let plc = modbus().unit(1).register(40_001, 5).start().await;
    let hub = hub().run().await;
    let mut edge = edge().hub(&hub).run().await;
    eventually("the hub to have the mapper's schema", || async {
        let metrics = hub.metrics().await?;
        let has = metrics.contains("longshore_hub_schemas 1");
        has.then_some(()).ok_or(metrics)
    })
    .await;
    edge.kill();

    let wrong = device("boiler").on(&plc).read(
        "setpoint",
        "INT",
        json!({"adress": "hr:0", "rawType": "int17"}),
    );
    hub.apply(&wrong).await;
    let at = "spec.properties[0].visitors.configData";
    let named = hub
        .object_where("DeviceStatus", "boiler", "to name the key", |status| {
            config_valid(status)[1] == "SchemaViolation"
        })
        .await;
    let [status, _, message] = config_valid(&named);
    assert_eq!(status, "False");
    assert!(message.contains(&format!("{at}.rawType")), "{message}");
    let warnings = named["status"]["extensions"]["warnings"].to_string();
    assert!(warnings.contains(&format!("{at}.adress")), "{warnings}");
    assert!(warnings.contains("did you mean `address`?"), "{warnings}");

    let right = device("boiler")
        .on(&plc)
        .read("setpoint", "INT", json!({"address": "hr:0"}));
    let properties = right.device()["spec"]["properties"].clone();
    let mended = json!({"spec": {"properties": properties}});
    hub.patch("Device", "boiler", mended).await.unwrap();
    let clean = hub
        .object_where("DeviceStatus", "boiler", "to be clean", |status| {
            config_valid(status)[0] == "True"
        })
        .await;
    assert_eq!(clean["status"]["extensions"]["warnings"], Json::Null);

    edge.start_again().await;
    hub.reported_is("boiler", "setpoint", "5").await;
    hub.object_where("DeviceStatus", "boiler", "to be the edge's word", |s| {
        config_valid(s) == ["True", "Valid", ""]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_certificate_of_this_hub_is_refused() {
    let ours = hub().run().await;
    let foreign = hub().run().await;
    let mut section = foreign.membership("edge-1");
    let own = ours.membership("edge-1");
    section["url"] = own["url"].clone();
    // The edge trusts our hub, but its own certificate is from elsewhere.
    section["caFile"] = own["caFile"].clone();
    let edge = edge().hub_section(section).run().await;
    eventually("the refusal to be told", || async {
        let log = edge.log();
        if log.to_lowercase().contains("certificate") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
    assert!(ours.get("Node", "edge-1").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_model_reaches_the_edge_without_a_change_of_the_device() {
    let plc = modbus()
        .unit(1)
        .register(30_001, 50)
        .register(40_001, 5)
        .start()
        .await;
    let hub = hub().run().await;
    let edge = edge().hub(&hub).run().await;
    hub.apply(&boiler(&plc)).await;
    edge.twin_is("boiler", "temperature", json!(50)).await;
    let mut properties = boiler(&plc).model()["spec"]["properties"].clone();
    properties[0]["type"] = json!("STRING");
    hub.patch(
        "DeviceModel",
        "boiler-model",
        json!({"spec": {"properties": properties}}),
    )
    .await
    .unwrap();
    edge.twin_is("boiler", "temperature", json!("50")).await;
}

/// Texts that a client measured, together larger than what the hub takes of a device.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_is_too_large_says_so_and_the_node_goes_on() {
    let plc = modbus()
        .unit(1)
        .register(30_001, 1)
        .register(40_001, 5)
        .start()
        .await;
    // No mapper serves it, so that a client may say what it is.
    let mut texts =
        device("texts")
            .speaking("none", json!({}))
            .read_write("small", "STRING", json!({}));
    for number in 0..6 {
        texts = texts.read_write(&format!("large{number}"), "STRING", json!({}));
    }
    let hub = hub().run().await;
    let edge = edge().hub(&hub).run().await;
    hub.apply(&boiler(&plc)).await;
    hub.apply(&texts).await;
    hub.reported_is("boiler", "temperature", "1").await;
    edge.twin_where("to be there", "texts", "small", |_| true)
        .await;
    let mut client = Raw::connect(edge.bus_port(), "writer", false).await;
    let large = "x".repeat(900_000);
    let values = (0..6).map(|number| (format!("large{number}"), large.as_str()));
    for (name, value) in values.chain([("small".to_owned(), "kept")]) {
        let twin = json!({"twin": {name: {"actual": {"value": value}}}}).to_string();
        let update = "$hw/events/device/default/texts/twin/update";
        assert!(client.publish(update, twin.as_bytes(), false).await);
    }
    let reported = |status: &Json| {
        let all = status["status"]["extensions"]["conditions"].as_array();
        let found = all
            .into_iter()
            .flatten()
            .find(|of| of["type"] == "Reported");
        found.cloned().unwrap_or_default()
    };
    let status = hub
        .object_where("DeviceStatus", "texts", "to say so", |status| {
            reported(status)["status"] == "False"
        })
        .await;
    let condition = reported(&status);
    assert_eq!(condition["reason"], "TooLarge", "{condition}");
    let message = condition["message"].as_str().unwrap_or_default();
    assert!(message.contains("the hub takes"), "{message}");
    hub.reported_is("texts", "small", "kept").await;
    // The others know nothing of it.
    plc.set_input(1, 0, 2);
    hub.reported_is("boiler", "temperature", "2").await;
}
