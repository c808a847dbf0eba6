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
