//! The main story, one body for the embedded API and a real control plane; and
//! kubectl as users type it.

use longshore_harness::{hub::reported, prelude::*};

fn boiler(plc: &Simulator) -> DeviceManifest {
    device("boiler")
        .on(plc)
        .read("temperature", "FLOAT", json!({"address": "ir:0", "rawType": "int16", "scale": 0.1}))
        .property(
            json!({"name": "setpoint", "type": "INT", "accessMode": "ReadWrite", "minimum": "20", "maximum": "90"}),
            json!({"address": "hr:0", "rawType": "int16", "scale": 0.1}),
            None,
        )
}

async fn plc() -> Simulator {
    modbus()
        .unit(1)
        .register(30_001, 215)
        .register(40_001, 600)
        .start()
        .await
}

async fn main_story(api: Api) {
    let plc = plc().await;
    let hub = hub().on(&api).run().await;
    let mut edge = edge().hub(&hub).run().await;
    hub.node_ready_is("edge-1", "True").await;

    hub.apply(&boiler(&plc)).await;
    hub.reported_is("boiler", "temperature", "21.5").await;
    plc.set_input(1, 0, 230);
    let status = hub.reported_is("boiler", "temperature", "23").await;
    assert_eq!(
        status["metadata"]["ownerReferences"][0]["kind"], "Device",
        "it goes with its device"
    );

    hub.desire("boiler", "setpoint", "75").await;
    plc.wait_holding(1, 0, 750).await;
    hub.object_where("DeviceStatus", "boiler", "to confirm the write", |object| {
        reported(object, "setpoint") == Some("75")
            && write_state(object, "setpoint") == Some("confirmed")
    })
    .await;

    hub.desire("boiler", "setpoint", "120").await;
    let status = hub
        .object_where(
            "DeviceStatus",
            "boiler",
            "to refuse what is out of range",
            |object| write_state(object, "setpoint") == Some("failed"),
        )
        .await;
    assert!(
        status.to_string().contains("90"),
        "the limit is named: {status}"
    );
    assert_eq!(plc.holding(1, 0), 750, "the register stays");

    edge.kill();
    hub.node_ready_is("edge-1", "Unknown").await;
    hub.desire("boiler", "setpoint", "66").await;
    plc.set_input(1, 0, 240);
    edge.start_again().await;
    hub.node_ready_is("edge-1", "True").await;
    plc.wait_holding(1, 0, 660).await;
    hub.reported_is("boiler", "temperature", "24").await;

    hub.delete("Device", "boiler").await;
    eventually("the twin to be gone from the edge", || async {
        match edge.twin("boiler", "temperature").await {
            Err(_) => Ok(()),
            Ok(twin) => Err(twin.to_string()),
        }
    })
    .await;
}

fn write_state<'a>(status: &'a Json, property: &str) -> Option<&'a str> {
    let properties = status
        .pointer("/status/extensions/properties")?
        .as_array()?;
    properties
        .iter()
        .find(|p| p["name"] == property)?
        .pointer("/write/state")?
        .as_str()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_story_on_the_embedded_api() {
    main_story(embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_story_on_a_real_control_plane() {
    let (api, _control_plane) = real().await;
    main_story(api).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_sees_and_steers_the_device() {
    let plc = plc().await;
    let hub = hub().run().await;
    let _edge = edge().hub(&hub).run().await;
    let file = hub.folder().join("boiler.yaml");
    std::fs::write(&file, boiler(&plc).yaml()).unwrap();
    let kube = |arguments: &[&str]| kubectl(hub.kubeconfig(), arguments);

    kube(&["apply", "-f", file.to_str().unwrap()]);
    hub.reported_is("boiler", "temperature", "21.5").await;
    let devices = kube(&["get", "devices,devicemodels,devicestatuses", "-A"]);
    for expected in ["boiler", "boiler-model", "edge-1", "modbus", "online"] {
        assert!(
            devices.contains(expected),
            "{expected} is missing in:\n{devices}"
        );
    }
    hub.node_ready_is("edge-1", "True").await;
    let nodes = kube(&["get", "nodes"]);
    assert!(
        nodes.contains("edge-1") && nodes.contains("Ready"),
        "{nodes}"
    );
    assert!(
        kube(&["describe", "node", "edge-1"]).contains("kube-node-lease")
            || kube(&["get", "lease", "-n", "kube-node-lease"]).contains("edge-1")
    );
    assert!(kube(&["explain", "device.spec.properties"]).contains("reportToCloud"));

    let patch = r#"[{"op":"add","path":"/spec/properties/1/desired","value":{"value":"70"}}]"#;
    kube(&["patch", "device", "boiler", "--type", "json", "-p", patch]);
    plc.wait_holding(1, 0, 700).await;
    kube(&[
        "wait",
        "device/boiler",
        "--for=jsonpath={.spec.nodeName}=edge-1",
        "--timeout=10s",
    ]);

    let output = longshore_harness::kubectl::output(
        hub.kubeconfig(),
        &[
            "patch",
            "device",
            "boiler",
            "--type",
            "json",
            "-p",
            r#"[{"op":"replace","path":"/spec/properties/0/reportCycle","value":"often"}]"#,
        ],
    );
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("spec.properties[0].reportCycle"), "{text}");
    kube(&["delete", "device", "boiler"]);
}
