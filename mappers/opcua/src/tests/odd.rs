//! Servers with limits that they do not tell, values that nobody can read, clocks of
//! their own, and types that are easily read wrong.

use std::time::{SystemTime, UNIX_EPOCH};

use longshore_sdk::{SampleValue, testing::TestMapper};
use serde_json::{Value, json};

use super::rig::{NAMESPACE, Peer, mapper, node, plain, point, values};
use crate::Opcua;

fn polled(name: &str, node_name: &str) -> Value {
    json!({"name": name, "type": "STRING", "sampling": "poll", "intervalMs": 200, "config": node(node_name)})
}

fn counter() -> Value {
    json!({"name": "counter", "type": "INT", "intervalMs": 200, "config": node("Counter")})
}

async fn start(protocol: Value, points: Vec<Value>) -> TestMapper<Opcua> {
    let mapper = mapper();
    mapper
        .configure(json!({"protocol": protocol, "points": points}))
        .await;
    mapper
}

#[tokio::test]
async fn a_limit_that_is_not_told_is_found() {
    let peer = Peer::asyncua(&["--most", "7"]);
    let mut points = Vec::new();
    for (name, _) in values() {
        let types = format!("Types.{name}");
        points.push(point(name, "STRING", &types));
        points.push(polled(&format!("polled{name}"), &types));
    }
    let mapper = start(plain(&peer.url), points).await;
    for (name, value) in values() {
        mapper.wait_value(name, value.clone()).await;
        mapper.wait_value(&format!("polled{name}"), value).await;
    }
    let found = mapper.discover(plain(&peer.url)).await.expect("found");
    let has = |name: &str| {
        found.devices[0]
            .properties
            .iter()
            .any(|one| one.name == name)
    };
    assert!(has("temperature") && has("counter"));
    mapper.stop();
}

#[tokio::test]
async fn the_one_that_spoils_a_request_is_named_and_the_others_come() {
    let peer = Peer::asyncua(&["--spoil", "Setpoint"]);
    let points = vec![
        point("temperature", "DOUBLE", "Temperature"),
        point("setpoint", "DOUBLE", "Setpoint"),
        counter(),
        polled("polledSetpoint", "Setpoint"),
        polled("polledTemperature", "Temperature"),
    ];
    let mapper = start(plain(&peer.url), points).await;
    mapper.wait_value("temperature", 21.5).await;
    mapper.wait_value("polledTemperature", 21.5).await;
    mapper.wait_samples("counter", 5).await;
    for name in ["setpoint", "polledSetpoint"] {
        let (_, why) = mapper.wait_bad(name).await;
        assert!(why.contains("BadInternalError"), "{name}: {why}");
        assert!(why.contains("Machine.Setpoint"), "{name}: {why}");
    }
    mapper.stop();
}

/// One value of five megabytes kept a whole server away, with each connection anew.
#[tokio::test]
async fn a_value_beyond_the_bounds_costs_itself_only() {
    for (bounds, size) in [
        (json!({"text": 1024}), 5000),
        (json!({"message": 65_536}), 400_000),
    ] {
        let mut peer = Peer::asyncua(&[]);
        let mut protocol = plain(&peer.url);
        protocol["bounds"] = bounds;
        let points = vec![
            point("text", "STRING", "Types.String"),
            polled("polledText", "Types.String"),
            polled("polledTemperature", "Temperature"),
            counter(),
        ];
        let mapper = start(protocol.clone(), points.clone()).await;
        mapper.wait_value("text", "text").await;
        mapper.wait_value("polledText", "text").await;
        peer.say(&format!("big String {size}"));
        for name in ["text", "polledText"] {
            let (_, why) = mapper.wait_bad(name).await;
            assert!(why.contains("the answer cannot be read"), "{name}: {why}");
            assert!(why.contains("hint: bounds"), "{name}: {why}");
        }
        mapper.wait_samples("counter", 10).await;
        mapper.wait_samples("polledTemperature", 5).await;
        mapper.stop();
        // Also when it is there from the beginning.
        let mapper = start(protocol, points).await;
        mapper.wait_samples("counter", 10).await;
        let (_, why) = mapper.wait_bad("text").await;
        assert!(why.contains("the answer cannot be read"), "{why}");
        mapper.stop();
    }
}

#[tokio::test]
async fn times_are_the_servers_whatever_its_clock_says() {
    for ahead in [3600_i64, -7200] {
        let peer = Peer::asyncua(&["--clock", &ahead.to_string()]);
        let points = vec![counter(), point("fixed", "STRING", "Types.DateTime")];
        let mapper = start(plain(&peer.url), points).await;
        mapper.wait_samples("counter", 3).await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("later");
        let latest = mapper.latest("counter").expect("some");
        let ahead_of_us = latest.source_time_ns / 1_000_000_000 - now.as_secs() as i64;
        assert!(
            (ahead_of_us - ahead).abs() < 60,
            "{ahead_of_us} s, {ahead} s"
        );
        mapper.wait_value("fixed", "2024-05-06T07:08:09Z").await;
        mapper.stop();
    }
}

#[tokio::test]
async fn option_sets_are_as_wide_as_what_they_are_made_of() {
    let peer = Peer::asyncua(&[]);
    let mut pressure = point("pressure", "DOUBLE", "Gauge");
    pressure["config"]["element"] = json!("Pressure");
    let points = vec![
        point("gauge", "STRING", "Gauge"),
        pressure,
        point("long", "STRING", "Long"),
        point("options", "INT", "Options"),
        point("status", "STRING", "Status"),
        json!({"name": "server", "type": "STRING", "config": {"node": "i=2256", "element": "BuildInfo.ProductUri"}}),
    ];
    let mapper = start(plain(&peer.url), points).await;
    mapper.wait_value("pressure", 99.5).await;
    mapper
        .wait_value(
            "gauge",
            format!(r#"{{"Flags":{},"Pressure":99.5}}"#, (1_u64 << 40) + 5).as_str(),
        )
        .await;
    let (_, why) = mapper.wait_bad("long").await;
    assert!(why.contains("1 bytes are left over"), "{why}");
    let (_, why) = mapper.wait_bad("options").await;
    assert!(why.contains("null"), "{why}");
    // Wider than an Int32: by its type and not by a value that it does not have.
    mapper.write_ok("options", 1_i64 << 40).await;
    mapper
        .wait_sample(
            "options",
            |value| matches!(value, SampleValue::Uint(bits) if *bits == 1 << 40),
        )
        .await;
    mapper.write_ok("status", "BadSensorFailure").await;
    mapper.wait_value("status", "BadSensorFailure").await;
    mapper.wait_sample("server", |_| true).await;
    mapper.stop();
}

/// asyncua looks at no index range, neither when it is read nor when it is written.
#[tokio::test]
async fn one_element_is_read_and_written_also_where_ranges_are_ignored() {
    for peer in [Peer::asyncua(&[]), Peer::node(&[])] {
        let part = |name: &str, node_name: &str, range: &str| {
            json!({"name": name, "type": "INT", "config": {
                "node": format!("nsu={NAMESPACE};s=Machine.Types.{node_name}"), "indexRange": range}})
        };
        let points = vec![
            part("third", "Int32Array", "2"),
            part("cell", "Matrix", "1,2"),
            point("list", "STRING", "Types.Int32Array"),
            point("matrix", "STRING", "Types.Matrix"),
        ];
        let mapper = start(plain(&peer.url), points).await;
        mapper.wait_value("third", 3).await;
        mapper.wait_value("cell", 6).await;
        mapper.write_ok("third", 9).await;
        mapper.wait_value("third", 9).await;
        mapper.wait_value("list", "[1,2,9]").await;
        mapper.write_ok("cell", 7).await;
        mapper.wait_value("cell", 7).await;
        mapper.wait_value("matrix", "[[1,2,3],[4,5,7]]").await;
        mapper.stop();
    }
}

#[tokio::test]
async fn an_odd_attribute_and_a_folder_cost_themselves_only() {
    for peer in [Peer::asyncua(&[]), Peer::node(&[])] {
        let points = vec![
            json!({"name": "events", "type": "INT", "intervalMs": 200, "config": {"node": "i=2253", "attribute": "EventNotifier"}}),
            json!({"name": "folder", "type": "STRING", "config": {"node": "i=85"}}),
            point("temperature", "DOUBLE", "Temperature"),
            counter(),
        ];
        let mapper = start(plain(&peer.url), points).await;
        mapper.wait_value("temperature", 21.5).await;
        mapper.wait_samples("counter", 5).await;
        mapper.wait_sample("events", |_| true).await;
        let (_, why) = mapper.wait_bad("folder").await;
        assert!(
            why.contains("BadAttributeIdInvalid") && why.contains("folder"),
            "{why}"
        );
        mapper.stop();
    }
}
