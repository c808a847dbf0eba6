//! Restarts, cuts and bad nodes, named after what users of other gateways report.

use std::{net::SocketAddr, sync::Arc};

use longshore_sdk::{
    SampleValue,
    testing::{TestMapper, TestSample},
};
use longshore_sim_relay::{Relay, Trouble};
use serde_json::{Value, json};

use super::rig::{NAMESPACE, Peer, mapper, node, plain, point};
use crate::Opcua;

/// Between the mapper and a server.
async fn relay(peer: &Peer) -> (Relay, String) {
    let port = peer.port().parse().expect("a port");
    let relay = Relay::to(SocketAddr::from(([127, 0, 0, 1], port))).await;
    let url = format!("opc.tcp://{}/peer", relay.addr());
    (relay, url)
}

/// Each change, with 0 as the sampling interval; a server under load that looks
/// at intervals may miss one.
fn counter() -> Value {
    json!({"name": "counter", "type": "INT", "intervalMs": 200, "config": {
        "node": format!("nsu={NAMESPACE};s=Machine.Counter"), "queueSize": 200, "samplingInterval": 0}})
}

fn number(sample: &TestSample) -> i64 {
    match &sample.value {
        Ok(SampleValue::Int(value)) => *value,
        Ok(SampleValue::Uint(value)) => *value as i64,
        other => panic!("no number: {other:?}"),
    }
}

/// The good values of the counter.
fn counts(mapper: &TestMapper<Opcua>) -> Vec<i64> {
    let good = |sample: &TestSample| sample.value.is_ok().then(|| number(sample));
    mapper.samples("counter").iter().filter_map(good).collect()
}

async fn wait_past(mapper: &TestMapper<Opcua>, least: i64) {
    mapper
        .wait_sample("counter", |value| match value {
            SampleValue::Uint(value) => *value as i64 >= least,
            SampleValue::Int(value) => *value >= least,
            _ => false,
        })
        .await;
}

/// A queue longer than one: each value is given, in order.
async fn check_queue(peer: &Peer) {
    let mapper = mapper();
    mapper
        .configure(json!({"protocol": plain(&peer.url), "points": [counter()]}))
        .await;
    mapper.wait_samples("counter", 15).await;
    let counts = counts(&mapper);
    let whole: Vec<_> = (counts[0]..).take(counts.len()).collect();
    assert_eq!(counts, whole);
    let times: Vec<_> = mapper
        .samples("counter")
        .iter()
        .map(|sample| sample.source_time_ns)
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    mapper.stop();
}

/// A cut line: the session is picked up again with what the server had queued.
async fn check_cut(peer: &Peer, trouble: Trouble) -> (Vec<i64>, Vec<i64>) {
    let (relay, url) = relay(peer).await;
    let mapper = mapper();
    mapper.configure(json!({"protocol": plain(&url), "points": [counter(), point("temperature", "DOUBLE", "Temperature")]})).await;
    mapper.wait_samples("counter", 5).await;
    mapper.wait_value("temperature", 21.5).await;
    relay.make(trouble);
    mapper.wait_offline("default/device").await;
    let before = *counts(&mapper).last().expect("some");
    relay.clear();
    mapper.wait_online("default/device").await;
    wait_past(&mapper, before + 30).await;
    // Also one that has not changed since is good again.
    mapper.wait_value("temperature", 21.5).await;
    let counts = counts(&mapper);
    let mut sorted = counts.clone();
    sorted.sort_unstable();
    sorted.dedup();
    mapper.stop();
    (counts, sorted)
}

/// Complaint 13: after a server's restart its nodes are found again, also when
/// they come late or the index of their namespace has moved.
async fn check_restart(start: impl Fn(&[&str]) -> Peer) {
    let peer = start(&[]);
    let mapper = mapper();
    let index = json!({"name": "polled", "sampling": "poll", "config": node("Setpoint")});
    let path = json!({"name": "byPath", "config": {"path": "/Objects/Machine/Setpoint", "namespace": NAMESPACE}});
    let points = json!([
        counter(),
        point("temperature", "DOUBLE", "Temperature"),
        index,
        path
    ]);
    mapper
        .configure(json!({"protocol": plain(&peer.url), "points": points}))
        .await;
    mapper.wait_samples("counter", 2).await;
    mapper.wait_value("polled", 20).await;
    mapper.wait_value("byPath", 20).await;
    let port = peer.kill();
    mapper.wait_offline("default/device").await;
    let _peer = start(&["--port", &port, "--namespaces-before", "3"]);
    mapper.wait_online("default/device").await;
    mapper.wait_samples("counter", 3).await;
    mapper.wait_value("temperature", 21.5).await;
    mapper.wait_value("polled", 20).await;
    mapper.wait_value("byPath", 20).await;
    mapper.write_ok("byPath", 25.0).await;
    mapper.wait_value("byPath", 25).await;
    mapper.wait_value("polled", 25).await;
    mapper.stop();
}

/// Complaint 11: a bad node is bad alone, and the others come as often as before.
async fn check_bad_nodes(peer: &mut Peer) {
    let mapper = mapper();
    let mut points: Vec<Value> = (0..20)
        .map(|index| {
            point(
                &format!("unknown{index}"),
                "INT",
                &format!("Nowhere{index}"),
            )
        })
        .collect();
    points.push(json!({"name": "nowhere", "config": {"node": "nsu=urn:nowhere;i=1"}}));
    points.push(json!({"name": "polledUnknown", "sampling": "poll", "config": node("Nowhere")}));
    points.push(json!({"name": "polledCounter", "sampling": "poll", "config": node("Counter")}));
    points.extend([counter(), point("setpoint", "DOUBLE", "Setpoint")]);
    let device = json!({"protocol": plain(&peer.url), "points": points});
    let completion = mapper.try_configure(device).await;
    assert_eq!(
        completion.status,
        longshore_sdk::Status::Ok,
        "{completion:?}"
    );
    let (_, why) = mapper.wait_bad("unknown7").await;
    assert!(why.contains("BadNodeIdUnknown"), "{why}");
    let (_, why) = mapper.wait_bad("nowhere").await;
    assert!(
        why.contains("the server has no namespace `urn:nowhere`"),
        "{why}"
    );
    let (_, why) = mapper.wait_bad("polledUnknown").await;
    assert!(why.contains("BadNodeIdUnknown"), "{why}");
    // Twenty values in two seconds, with fifty bad ones beside them; the
    // waits end long before each bad one could cost a second.
    mapper.wait_samples("counter", 20).await;
    mapper.wait_samples("polledCounter", 20).await;
    mapper.wait_value("setpoint", 20).await;
    peer.say("status Setpoint BadSensorFailure");
    let (_, why) = mapper.wait_bad("setpoint").await;
    assert!(why.contains("BadSensorFailure"), "{why}");
    peer.say("status Setpoint Good");
    mapper.wait_value("setpoint", 20).await;
    peer.say("status Setpoint UncertainLastUsableValue");
    mapper.wait_value("setpoint", 20).await;
    mapper.stop();
}

/// Complaint 13: a node that is deleted and made anew is watched again.
async fn check_deleted_node(peer: &mut Peer) {
    let mapper = mapper();
    let polled = json!({"name": "polled", "sampling": "poll", "config": node("Setpoint")});
    let points = json!([counter(), polled]);
    mapper
        .configure(json!({"protocol": plain(&peer.url), "points": points}))
        .await;
    mapper.wait_value("polled", 20).await;
    mapper.wait_samples("counter", 3).await;
    peer.say("delete Setpoint");
    mapper.wait_bad("polled").await;
    peer.say("create Setpoint");
    mapper.wait_value("polled", 20).await;
    peer.say("delete Counter");
    mapper.wait_bad("counter").await;
    peer.say("create Counter");
    mapper.wait_samples("counter", 5).await;
    mapper.stop();
}

#[tokio::test]
async fn asyncua_gives_each_value_of_a_queue() {
    check_queue(&Peer::asyncua(&[])).await;
}

#[tokio::test]
async fn node_opcua_gives_each_value_of_a_queue() {
    check_queue(&Peer::node(&[])).await;
}

#[tokio::test]
async fn asyncua_comes_back_after_a_cut() {
    for trouble in [Trouble::Reset, Trouble::HalfOpen] {
        let (counts, _) = check_cut(&Peer::asyncua(&[]), trouble).await;
        assert!(counts.len() > 30);
    }
}

#[tokio::test]
async fn node_opcua_loses_nothing_by_a_cut() {
    for trouble in [Trouble::Reset, Trouble::HalfOpen] {
        let (counts, sorted) = check_cut(&Peer::node(&[]), trouble).await;
        let whole: Vec<_> = (sorted[0]..=sorted[sorted.len() - 1]).collect();
        assert_eq!(
            sorted, whole,
            "each value has come; as they came: {counts:?}"
        );
    }
}

#[tokio::test]
async fn asyncua_nodes_are_found_again_after_a_restart() {
    check_restart(Peer::asyncua).await;
}

#[tokio::test]
async fn node_opcua_nodes_are_found_again_after_a_restart() {
    check_restart(Peer::node).await;
}

#[tokio::test]
async fn asyncua_bad_nodes_slow_nobody() {
    let mut peer = Peer::asyncua(&[]);
    check_bad_nodes(&mut peer).await;
    check_deleted_node(&mut peer).await;
}

#[tokio::test]
async fn node_opcua_bad_nodes_slow_nobody() {
    let mut peer = Peer::node(&[]);
    check_bad_nodes(&mut peer).await;
    check_deleted_node(&mut peer).await;
}

/// Devices with a session each: a setting of the session is another for each.
async fn with_sessions_of_their_own(url: &str, node: Value, mapper: &TestMapper<Opcua>) {
    for index in 0..4 {
        let mut protocol = plain(url);
        protocol["sessionTimeout"] = json!(format!("{}s", 60 + index));
        let mut point = node.clone();
        point["name"] = json!(format!("value{index}"));
        let device =
            json!({"device": format!("default/d{index}"), "protocol": protocol, "points": [point]});
        mapper.configure(device).await;
    }
}

/// Ids of subscriptions begin again with a server's restart: what one session
/// remembers of its own belongs to another one by then.
#[tokio::test]
async fn asyncua_sessions_do_not_steal_each_others_values_after_a_restart() {
    let mut peer = Peer::asyncua(&[]);
    let mapper = mapper();
    with_sessions_of_their_own(&peer.url, counter(), &mapper).await;
    for _ in 0..3 {
        for index in 0..4 {
            mapper.wait_samples(&format!("value{index}"), 3).await;
        }
        let port = peer.kill();
        for index in 0..4 {
            mapper.wait_offline(&format!("default/d{index}")).await;
        }
        peer = Peer::asyncua(&["--port", &port]);
    }
    for index in 0..4 {
        mapper.wait_online(&format!("default/d{index}")).await;
    }
    // Longer than a stolen one would live on.
    for _ in 0..3 {
        for index in 0..4 {
            mapper.wait_samples(&format!("value{index}"), 10).await;
        }
    }
    mapper.stop();
}

/// A server that forgets all sessions while its nodes stay.
#[tokio::test]
async fn forgotten_sessions_are_made_anew() {
    let mut peer = Peer::asyncua(&[]);
    let mapper = mapper();
    mapper
        .configure(json!({"protocol": plain(&peer.url), "points": [counter()]}))
        .await;
    mapper.wait_samples("counter", 3).await;
    peer.say("sessions");
    mapper.wait_samples("counter", 30).await;
    mapper.stop();
}

#[tokio::test]
async fn a_server_without_subscriptions_is_read() {
    let peer = Peer::asyncua(&["--refuse-subscriptions"]);
    let mapper = mapper();
    mapper.configure(json!({"protocol": plain(&peer.url), "points": [counter(), point("temperature", "DOUBLE", "Temperature")]})).await;
    mapper.wait_value("temperature", 21.5).await;
    mapper.wait_samples("counter", 10).await;
    mapper.stop();
}

/// Devices of one server share a session; one that comes or goes does not
/// disturb the others.
#[tokio::test]
async fn a_new_device_does_not_disturb_its_neighbours() {
    let peer = Peer::asyncua(&[]);
    let mapper = Arc::new(mapper());
    let device = |name: &str, points: Value| json!({"device": name, "protocol": plain(&peer.url), "points": points});
    mapper
        .configure(device("default/a", json!([counter()])))
        .await;
    mapper.wait_samples("counter", 3).await;
    for round in 0..5 {
        let name = format!("default/b{round}");
        mapper
            .configure(device(
                &name,
                json!([point(&format!("t{round}"), "DOUBLE", "Temperature")]),
            ))
            .await;
        mapper.wait_value(&format!("t{round}"), 21.5).await;
        if round % 2 == 0 {
            mapper.remove(&name).await;
        }
    }
    mapper.wait_samples("counter", 10).await;
    let counts = counts(&mapper);
    let whole: Vec<_> = (counts[0]..).take(counts.len()).collect();
    assert_eq!(counts, whole);
    mapper.stop();
}
