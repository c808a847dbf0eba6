//! Against the simulator: numbers and limits that the foreign servers do not have.

use std::time::{Duration, Instant};

use longshore_sdk::{SampleValue, testing::TestMapper};
use longshore_sim_opcua::{Fault, FaultRule, Service, Simulator, opcua};
use serde_json::{Value, json};

use super::rig::{mapper, plain};
use crate::Opcua;

const NAMESPACE: &str = "urn:test";

/// A server with `count` counters that move each `every_ms`.
async fn bench(count: u32, every_ms: u32, limits: Value) -> Simulator {
    let scenario = json!({
        "server": {"limits": limits},
        "namespaces": [NAMESPACE, "urn:other"],
        "objects": [{
            "name": "Bench",
            "fill": [{"name": "Value", "count": count, "type": "double", "everyMs": every_ms}],
            "variables": [
                {"name": "Steady", "value": 7.5, "range": [0, 100], "writable": true},
                {"name": "Bad", "value": 1, "status": "BadSensorFailure"},
            ],
        }]
    });
    opcua().yaml(&scenario.to_string()).start().await
}

fn config(name: &str) -> Value {
    json!({"node": format!("nsu={NAMESPACE};s=Bench.{name}")})
}

/// Points `v0` and so on, one for each counter.
fn points(count: u32, interval_ms: u32) -> Vec<Value> {
    (0..count)
        .map(|index| {
            json!({"name": format!("v{index}"), "type": "DOUBLE", "intervalMs": interval_ms,
                   "config": config(&format!("Value{index}"))})
        })
        .collect()
}

async fn start(sim: &Simulator, points: Vec<Value>) -> TestMapper<Opcua> {
    let mapper = mapper();
    let device = json!({"protocol": plain(&sim.url()), "points": points});
    mapper.configure(device).await;
    mapper
}

/// How often each of the first `count` points has come.
fn counts(mapper: &TestMapper<Opcua>, count: u32) -> Vec<u64> {
    let ids: Vec<_> = (0..count)
        .map(|index| mapper.point(&format!("v{index}")).1)
        .collect();
    let recorder = mapper.recorder();
    recorder.look(|record| ids.iter().map(|id| record.count(*id)).collect())
}

/// Complaint 12: ten thousand values, each 500 ms.
#[tokio::test]
async fn ten_thousand_values_come_each_500_ms() {
    const COUNT: u32 = 10_000;
    let sim = bench(COUNT, 100, json!({"maxMonitoredItemsPerCall": 1000})).await;
    let mapper = start(&sim, points(COUNT, 500)).await;
    mapper.wait_samples("v9999", 1).await;
    let (before, begin) = (counts(&mapper, COUNT), Instant::now());
    mapper.wait_samples("v0", 10).await;
    mapper.wait_samples("v9999", 1).await;
    let periods = begin.elapsed().as_millis() as u64 / 500;
    let after = counts(&mapper, COUNT);
    let came = before
        .iter()
        .zip(&after)
        .map(|(before, after)| after - before);
    let least = came.min().expect("some");
    // One batch may be on its way at either end.
    assert!(least + 2 >= periods.min(10), "{least} in {periods} periods");
    let items = sim.count(Service::CreateMonitoredItems);
    assert_eq!((items.operations, items.largest), (u64::from(COUNT), 1000));
    assert_eq!(sim.totals().subscriptions, 1);
    mapper.stop();
}

#[tokio::test]
async fn requests_are_as_small_as_the_server_wants_them() {
    let limits = json!({"maxNodesPerRead": 7, "maxMonitoredItemsPerCall": 9,
                        "maxNodesPerTranslateBrowsePaths": 5});
    let sim = bench(40, 100, limits).await;
    let mut all = points(20, 100);
    for index in 20..40 {
        let path = format!("/Objects/2:Bench/2:Value{index}");
        all.push(
            json!({"name": format!("v{index}"), "sampling": "poll", "config": {"path": path}}),
        );
    }
    let mapper = start(&sim, all).await;
    for index in 0..40 {
        mapper.wait_samples(&format!("v{index}"), 2).await;
    }
    assert_eq!(sim.count(Service::CreateMonitoredItems).largest, 9);
    assert_eq!(sim.count(Service::Read).largest, 7);
    assert_eq!(sim.count(Service::TranslateBrowsePaths).largest, 5);
    assert_eq!(sim.count(Service::Read).refused, 0);
    // A path is looked up once on a connection.
    assert_eq!(sim.count(Service::TranslateBrowsePaths).operations, 20);
    mapper.stop();
}

/// What the server has no room for is read; the rest is watched.
#[tokio::test]
async fn items_beyond_the_servers_limit_are_read() {
    let sim = bench(10, 100, json!({"maxMonitoredItems": 4})).await;
    let mapper = start(&sim, points(10, 100)).await;
    for index in 0..10 {
        mapper.wait_samples(&format!("v{index}"), 5).await;
    }
    assert_eq!(sim.totals().monitored_items, 4);
    mapper.stop();
    let sim = bench(10, 100, json!({"maxSubscriptions": 1})).await;
    let mut all = points(5, 100);
    all.extend(points(10, 200).split_off(5));
    let mapper = start(&sim, all).await;
    for index in 0..10 {
        mapper.wait_samples(&format!("v{index}"), 5).await;
    }
    assert_eq!(sim.totals().subscriptions, 1);
    mapper.stop();
}

/// A namespace by its URI follows its index, and nobody starts anything anew.
#[tokio::test]
async fn an_index_that_moved_does_not_matter() {
    let sim = bench(2, 100, json!({})).await;
    let mut all = points(2, 100);
    all.push(json!({"name": "path", "sampling": "poll", "config": {
        "path": "/Objects/Bench/Steady", "namespace": NAMESPACE}}));
    let mapper = start(&sim, all).await;
    mapper.wait_samples("v0", 2).await;
    mapper.wait_value("path", 7.5).await;
    sim.restart_with(Duration::from_millis(300), &["urn:other", NAMESPACE])
        .await;
    mapper.wait_samples("v1", 2).await;
    mapper.wait_samples("path", 2).await;
    mapper.write_ok("path", 8.5).await;
    mapper.wait_value("path", 8.5).await;
    mapper.stop();
}

/// Lost connections, lost sessions, restarts: each is mended, and a session
/// that the server still has is picked up.
#[tokio::test]
async fn a_lost_connection_does_not_cost_the_session() {
    let sim = bench(3, 100, json!({})).await;
    let mut all = points(3, 200);
    all.push(json!({"name": "steady", "config": config("Steady")}));
    let mapper = start(&sim, all).await;
    mapper.wait_samples("v0", 3).await;
    mapper.wait_value("steady", 7.5).await;
    let created = sim.totals().sessions_created;
    for _ in 0..3 {
        sim.drop_connections();
        mapper.wait_samples("v0", 5).await;
    }
    assert_eq!(sim.totals().sessions_created, created);
    assert_eq!(sim.totals().monitored_items, 4);
    sim.drop_sessions();
    mapper.wait_samples("v0", 5).await;
    assert_eq!(sim.totals().sessions_created, created + 1);
    sim.restart(Duration::from_millis(200)).await;
    mapper.wait_samples("v0", 5).await;
    mapper.wait_value("steady", 7.5).await;
    mapper.stop();
}

/// A restart, at which the server counts its subscriptions from 1 on again.
#[tokio::test]
async fn sessions_do_not_steal_each_others_values_after_a_restart() {
    let sim = bench(4, 100, json!({})).await;
    let mapper = mapper();
    for (index, point) in points(4, 200).into_iter().enumerate() {
        let mut protocol = plain(&sim.url());
        protocol["sessionTimeout"] = json!(format!("{}s", 60 + index));
        let device =
            json!({"device": format!("default/d{index}"), "protocol": protocol, "points": [point]});
        mapper.configure(device).await;
    }
    for _ in 0..5 {
        for index in 0..4 {
            mapper.wait_samples(&format!("v{index}"), 5).await;
        }
        sim.restart(Duration::from_millis(200)).await;
    }
    for index in 0..4 {
        mapper.wait_samples(&format!("v{index}"), 20).await;
    }
    assert_eq!(sim.count(Service::TransferSubscriptions).requests, 0);
    assert_eq!(sim.totals().subscriptions, 4);
    mapper.stop();
}

/// It goes on answering reads: values must not stay good meanwhile, and they
/// come again when it publishes again.
#[tokio::test]
async fn a_server_that_answers_but_publishes_no_more_is_noticed() {
    let sim = bench(3, 100, json!({})).await;
    let mut all = points(3, 200);
    all.push(
        json!({"name": "read", "sampling": "poll", "intervalMs": 200,
                    "config": config("Steady")}),
    );
    let mapper = start(&sim, all).await;
    mapper.wait_samples("v0", 3).await;
    let created = sim.totals().sessions_created;
    sim.fault(FaultRule::from(Fault::Unresponsive).on(Service::Publish));
    for index in 0..3 {
        let (_, why) = mapper.wait_bad(&format!("v{index}")).await;
        assert!(
            why.starts_with("the server answers, but has published nothing for"),
            "{why}"
        );
    }
    mapper.wait_samples("read", 3).await;
    // A new subscription did not help: a new session is made.
    let renewed = |sim: &Simulator| match sim.totals().sessions_created {
        now if now > created => Ok(()),
        now => Err(format!("{now} sessions were made")),
    };
    sim.wait("a new session", renewed).await;
    let latest = mapper.latest("v0").expect("some");
    assert!(latest.value.is_err(), "{latest:?}");
    sim.clear_faults();
    for index in 0..3 {
        mapper.wait_samples(&format!("v{index}"), 5).await;
    }
    mapper.stop();
}

/// What the server does not watch is not read again before it has answered.
#[tokio::test]
async fn a_slow_server_is_not_flooded_with_reads() {
    let sim = bench(10, 100, json!({"maxMonitoredItems": 4})).await;
    let mapper = start(&sim, points(10, 100)).await;
    for index in 0..10 {
        mapper.wait_samples(&format!("v{index}"), 2).await;
    }
    sim.fault(FaultRule::from(Fault::Slow(1000)).on(Service::Read));
    let before = sim.count(Service::Read).requests;
    let begin = Instant::now();
    mapper.wait_samples("v9", 3).await;
    // One after the other for the six, and some for what else is asked.
    let reads = sim.count(Service::Read).requests - before;
    let most = (begin.elapsed().as_secs() + 1) * 3;
    assert!(reads <= most, "{reads} reads, {most} at most");
    mapper.stop();
}

#[tokio::test]
async fn a_silent_server_is_offline_and_comes_back() {
    let sim = bench(3, 100, json!({})).await;
    let mapper = start(&sim, points(3, 200)).await;
    mapper.wait_samples("v0", 3).await;
    sim.fault(Fault::Unresponsive);
    mapper.wait_offline("default/device").await;
    sim.clear_faults();
    mapper.wait_samples("v0", 5).await;
    mapper.wait_online("default/device").await;
    sim.fault(Fault::HalfFrame);
    mapper.wait_offline("default/device").await;
    sim.clear_faults();
    mapper.wait_samples("v2", 5).await;
    mapper.stop();
}

/// The server tells no change within the deadband, and bad statuses at once.
#[tokio::test]
async fn the_servers_deadband_and_status_are_honoured() {
    let sim = bench(1, 100, json!({})).await;
    let with = |name: &str, deadband: Value| {
        let mut config = config("Steady");
        config["serverDeadband"] = deadband;
        json!({"name": name, "type": "DOUBLE", "config": config})
    };
    let points = vec![
        with("absolute", json!({"abs": 2})),
        with("percent", json!({"percent": 10})),
        json!({"name": "all", "type": "DOUBLE", "config": config("Steady")}),
        json!({"name": "bad", "config": config("Bad")}),
    ];
    let mapper = start(&sim, points).await;
    for name in ["absolute", "percent", "all"] {
        mapper.wait_value(name, 7.5).await;
    }
    let (_, why) = mapper.wait_bad("bad").await;
    assert!(why.starts_with("BadSensorFailure"), "{why}");
    for value in [8.0, 9.0, 10.0, 14.0, 20.0] {
        sim.set("ns=2;s=Bench.Steady", value);
        mapper.wait_value("all", value).await;
    }
    mapper.wait_value("absolute", 20.0).await;
    mapper.wait_value("percent", 20.0).await;
    let values = |name: &str| -> Vec<f64> {
        let all = mapper.samples(name);
        let float = |value: &SampleValue| match value {
            SampleValue::Float(value) => Some(*value),
            _ => None,
        };
        all.iter()
            .filter_map(|sample| float(sample.value.as_ref().ok()?))
            .collect()
    };
    assert_eq!(values("absolute"), [7.5, 10.0, 14.0, 20.0]);
    assert_eq!(values("percent"), [7.5, 20.0]);
    sim.status("ns=2;s=Bench.Steady", "BadOutOfService");
    mapper.wait_bad("absolute").await;
    mapper.stop();
}

/// A session is not left behind: the server has room for the next one.
#[tokio::test]
async fn a_device_that_is_removed_closes_its_session() {
    let sim = bench(3, 100, json!({"maxSessions": 1})).await;
    let mapper = start(&sim, points(3, 200)).await;
    mapper.wait_samples("v0", 2).await;
    mapper.remove("default/device").await;
    let gone = |sim: &Simulator| match sim.totals().sessions {
        0 => Ok(()),
        count => Err(format!("{count} sessions")),
    };
    sim.wait("the session to be closed", gone).await;
    let device = json!({"protocol": plain(&sim.url()), "points": points(3, 200)});
    mapper.configure(device).await;
    mapper.wait_samples("v0", 2).await;
    mapper.stop();
}
