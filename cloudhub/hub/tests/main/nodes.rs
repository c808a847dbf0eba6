//! Node and Lease are true to the session.

use std::sync::{Arc, Mutex};

use longshore_link::{EdgePosition, Epoch, NodeReport, Up};
use serde_json::Value;

use crate::{
    edge::{Edge, Store},
    harness::TestHub,
};

fn ready(node: Option<&Value>) -> &str {
    node.and_then(|n| n["status"]["conditions"][0]["status"].as_str())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_ready_while_its_edge_is_connected() {
    let hub = TestHub::start().await;
    let edge = hub.edge("edge-1");
    edge.report(&Up::Node(NodeReport {
        os: "linux".to_owned(),
        architecture: "arm64".to_owned(),
        version: "v0.1.0".to_owned(),
        labels: vec![
            ("site".to_owned(), "north".to_owned()),
            (
                "node-role.kubernetes.io/control-plane".to_owned(),
                String::new(),
            ),
        ],
        cpus: 2,
        ..NodeReport::default()
    }));
    let node = hub
        .wait("Node", "edge-1", "is ready and said what it is", |n| {
            ready(n) == "True"
                && n.is_some_and(|n| n["status"]["nodeInfo"]["architecture"] == "arm64")
        })
        .await
        .unwrap();
    let labels = &node["metadata"]["labels"];
    assert_eq!(labels["node-role.kubernetes.io/edge"], "");
    assert_eq!(labels["kubernetes.io/arch"], "arm64");
    assert_eq!(labels["site"], "north");
    assert!(labels["node-role.kubernetes.io/control-plane"].is_null());

    let lease = hub
        .wait("Lease", "edge-1", "is held", |l| l.is_some())
        .await
        .unwrap();
    hub.wait("Lease", "edge-1", "is renewed", |l| {
        l.is_some_and(|l| l["spec"]["renewTime"] != lease["spec"]["renewTime"])
    })
    .await;

    hub.delete("Node", "edge-1").await;
    hub.wait("Node", "edge-1", "came back", |n| ready(n) == "True")
        .await;

    let store = edge.store.clone();
    drop(edge);
    hub.wait("Node", "edge-1", "is not ready any more", |n| {
        ready(n) == "Unknown"
    })
    .await;
    let credentials = hub.credentials("edge-1");
    let _edge = crate::edge::Edge::connect_with(hub.link(), "edge-1", &credentials, store);
    hub.wait("Node", "edge-1", "is ready again", |n| ready(n) == "True")
        .await;
    hub.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_connection_of_a_node_replaces_the_first() {
    let hub = TestHub::start().await;
    let first = hub.edge("edge-1");
    first.wait("it is connected", |s| s.connections == 1).await;
    let second = hub.edge("edge-1");
    second.wait("it is connected", |s| s.connections == 1).await;
    let reason = first.wait_ended().await;
    assert!(
        reason.contains("a newer connection of the same node took over"),
        "{reason}"
    );
    assert!(second.store.lock().unwrap().ended.is_none());
    hub.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_somebody_else_is_left_alone() {
    let hub = TestHub::start().await;
    let kubelet = serde_json::json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "worker", "labels": {"kubernetes.io/hostname": "worker"}},
    });
    hub.create(kubelet).await;
    let edge = hub.edge("worker");
    edge.wait("it is connected", |s| s.connections == 1).await;
    hub.wait(
        "Lease",
        "worker",
        "is held: the hub looked at the node",
        |l| l.is_some(),
    )
    .await;
    let node = hub.get("Node", "worker").await.unwrap();
    assert!(node["metadata"]["labels"]["longshore.dev/edge"].is_null());
    assert!(node["status"]["conditions"].is_null(), "{node}");
    hub.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_edge_with_the_certificate_is_turned_away_and_the_node_says_so() {
    let hub = TestHub::start().await;
    let first = hub.edge("edge-1");
    first.wait("it is connected", |s| s.connections == 1).await;
    let store = Store {
        position: EdgePosition {
            edge_epoch: Epoch(78),
            ..EdgePosition::default()
        },
        ..Store::default()
    };
    let credentials = hub.credentials("edge-1");
    let store = Arc::new(Mutex::new(store));
    let second = Edge::connect_with(hub.link(), "edge-1", &credentials, store);
    let reason = second.wait_ended().await;
    assert!(
        reason.contains("another edge with this node's certificate is connected"),
        "{reason}"
    );
    let told = |node: Option<&Value>, kind: &str| {
        let conditions = node.and_then(|n| n["status"]["conditions"].as_array());
        let found = conditions.and_then(|list| list.iter().find(|c| c["type"] == kind));
        found.map_or(Value::Null, |condition| condition["status"].clone())
    };
    let node = hub
        .wait(
            "Node",
            "edge-1",
            "says that two have its certificate",
            |n| told(n, "CertificateShared") == "True",
        )
        .await;
    assert_eq!(told(node.as_ref(), "CertificateEnding"), "False");
    assert!(first.store.lock().unwrap().ended.is_none(), "it stays");
    hub.hub.stop().await;
}
