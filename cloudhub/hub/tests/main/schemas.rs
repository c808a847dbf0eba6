//! What is wrong with a device shows while its node is away.

use longshore_link::{MapperReport, NodeReport, SchemaReport, Up, fingerprint, schema_hash};
use longshore_types::{
    Timestamp,
    device::{Condition, ConditionStatus},
    report::DeviceReport,
};
use serde_json::{Value, json};

use crate::{
    edge::Edge,
    harness::{TestHub, condition, device, model, reading},
};

const SCHEMA: &str = r#"{"protocol": "modbus", "device": {},
    "property": {"type": "object", "properties": {"address": {"type": "string"}, "x": {}}, "required": ["address"]}}"#;

const AT: &str = "spec.properties[0].visitors.configData";

fn schema(text: &str) -> Up {
    Up::Schema(SchemaReport {
        protocol: "modbus".to_owned(),
        text: text.to_owned(),
    })
}

fn node(schema: u64) -> Up {
    Up::Node(NodeReport {
        mappers: vec![MapperReport {
            name: "modbus".to_owned(),
            protocol: "modbus".to_owned(),
            version: "1.0.0".to_owned(),
            state: "Running".to_owned(),
            message: String::new(),
            schema,
        }],
        ..NodeReport::default()
    })
}

fn without_address(name: &str, node: &str) -> Value {
    let mut device = device(name, "boiler", node);
    device["spec"]["properties"][0]["visitors"]["configData"] = json!({"adress": "hr:1"});
    device
}

fn message(status: Option<&Value>) -> String {
    let list = status.and_then(|s| s["status"]["extensions"]["conditions"].as_array());
    let found = list.and_then(|list| list.iter().find(|c| c["type"] == "ConfigValid"));
    found
        .and_then(|c| c["message"].as_str())
        .unwrap_or_default()
        .to_owned()
}

async fn wait_for(hub: &TestHub, device: &str, reason: &str) -> Value {
    let what = format!("has ConfigValid {reason}");
    hub.wait("DeviceStatus", device, &what, |s| {
        condition(s, "ConfigValid") == reason
    })
    .await
    .unwrap()
}

async fn mend(hub: &TestHub, name: &str) {
    let properties = device(name, "boiler", "edge-1")["spec"]["properties"].clone();
    let patch = json!({"spec": {"properties": properties}});
    hub.patch("Device", name, patch).await;
}

/// The schema is taken, and the edge goes.
async fn a_node_that_left(hub: &TestHub) {
    let edge = hub.edge("edge-1");
    edge.report(&schema(SCHEMA));
    edge.report(&node(schema_hash(SCHEMA)));
    edge.wait("all is taken", |s| s.outbox.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_shows_while_the_node_is_away_and_after_a_restart_of_the_hub() {
    let hub = TestHub::start().await;
    hub.create(model("boiler")).await;
    a_node_that_left(&hub).await;
    hub.create(without_address("boiler", "edge-1")).await;
    let status = wait_for(&hub, "boiler", "SchemaViolation").await;
    assert_eq!(message(Some(&status)), format!("{AT}.address: is missing"));
    let warnings = status["status"]["extensions"]["warnings"].to_string();
    assert!(warnings.contains(&format!("{AT}.adress")), "{warnings}");
    mend(&hub, "boiler").await;
    let status = wait_for(&hub, "boiler", "Valid").await;
    assert_eq!(status["status"]["extensions"]["warnings"], Value::Null);

    // The schema is in the hub's own store.
    let TestHub {
        folder,
        hub: running,
        client,
    } = hub;
    drop(client);
    running.stop().await;
    let hub = TestHub::start_in(folder).await;
    hub.create(without_address("later", "edge-1")).await;
    wait_for(&hub, "later", "SchemaViolation").await;
    // A node that was never here is judged by nobody: what one node says of its
    // mappers must not decide about the devices of another.
    hub.create(without_address("elsewhere", "edge-9")).await;
    let status = hub
        .wait(
            "DeviceStatus",
            "elsewhere",
            "says that its node is not there",
            |s| !condition(s, "NodeConnected").is_empty(),
        )
        .await;
    assert_eq!(condition(status.as_ref(), "ConfigValid"), "");
    hub.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_word_of_the_edge_counts_once_it_saw_the_device_as_it_is() {
    let hub = TestHub::start().await;
    hub.create(model("boiler")).await;
    a_node_that_left(&hub).await;
    hub.create(without_address("boiler", "edge-1")).await;
    wait_for(&hub, "boiler", "SchemaViolation").await;

    let edge = hub.edge("edge-1");
    let of_edge = |object: &[u8], model: &[u8], reason: &str| {
        let parsed: Value = serde_json::from_slice(object).unwrap();
        let uid = parsed["metadata"]["uid"].as_str().unwrap();
        let Up::Reported(mut reported) = reading("boiler", uid, 21.5) else {
            unreachable!("a reading is a report")
        };
        reported.fingerprint = fingerprint(object, uid, Some(model));
        reported.conditions = vec![Condition {
            condition: "ConfigValid".to_owned(),
            status: ConditionStatus::False,
            reason: reason.to_owned(),
            message: "the edge says so".to_owned(),
            last_transition_time: Some(Timestamp::from_millis(1)),
        }];
        reported
    };
    edge.wait("device and model came", |s| s.objects.len() == 2)
        .await;
    let objects = edge.store.lock().unwrap().raw.clone();
    let (object, model) = (
        &objects["Device default/boiler"],
        &objects["DeviceModel default/boiler"],
    );
    edge.report(&Up::Reported(of_edge(object, model, "OfTheEdge")));
    let status = wait_for(&hub, "boiler", "OfTheEdge").await;
    let conditions = &status["status"]["extensions"]["conditions"];
    let both = conditions.as_array().unwrap().iter();
    assert_eq!(both.filter(|c| c["type"] == "ConfigValid").count(), 1);

    // It changes, and the edge did not say anything yet.
    mend(&hub, "boiler").await;
    let status = wait_for(&hub, "boiler", "Valid").await;
    assert_eq!(crate::harness::reported(Some(&status)), "21.5");
    // So does the model alone.
    let late = DeviceReport {
        fingerprint: 0,
        ..of_edge(object, model, "OfAnOldEdge")
    };
    edge.report(&Up::Reported(late));
    wait_for(&hub, "boiler", "OfAnOldEdge").await;
    edge.report(&Up::Reported(of_edge(object, model, "Outdated")));
    wait_for(&hub, "boiler", "Valid").await;
    let broken = json!({"spec": {"protocolConfigData": {"events": 7}}});
    hub.patch("DeviceModel", "boiler", broken).await;
    let status = wait_for(&hub, "boiler", "Faults").await;
    assert!(message(Some(&status)).contains("events"), "{status}");
    hub.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_is_told_which_schemas_the_hub_holds() {
    let hub = TestHub::start().await;
    a_node_that_left(&hub).await;
    let other = r#"{"device": {}, "property": {"maxProperties": 0}}"#;
    let edge = hub.edge("edge-2");
    edge.wait("it is connected", |s| s.connections == 1).await;
    assert_eq!(
        edge.store.lock().unwrap().schemas_of_hub,
        Some(vec![schema_hash(SCHEMA)])
    );
    edge.report(&schema("{"));
    edge.report(&schema(other));
    edge.report(&node(schema_hash(other)));
    edge.wait("all is taken", |s| s.outbox.is_empty()).await;
    let text = hub.metrics().await;
    assert!(text.contains("longshore_hub_schemas 2"), "{text}");
    assert!(
        text.contains("longshore_hub_records_unknown_total 1"),
        "{text}"
    );

    // Each node is judged by the version that it has.
    hub.create(model("boiler")).await;
    hub.create(device("one", "boiler", "edge-1")).await;
    hub.create(device("two", "boiler", "edge-2")).await;
    wait_for(&hub, "one", "Valid").await;
    wait_for(&hub, "two", "SchemaViolation").await;
    drop::<Edge>(edge);
    hub.hub.stop().await;
}
