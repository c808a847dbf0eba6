//! The same check against both foreign stacks.

use longshore_sdk::Status;
use serde_json::{Value, json};

use super::rig::{NAMESPACE, Peer, mapper, node, plain, point, sample, values, written};

/// What is there comes, watched and read; what is written comes back.
async fn check_values(peer: &Peer, has_ranges: bool) {
    let mapper = mapper();
    let types = |name: &str| format!("Types.{name}");
    let mut points: Vec<Value> = values()
        .iter()
        .map(|(name, _)| point(name, "STRING", &types(name)))
        .collect();
    points.extend(values().iter().map(|(name, _)| {
        let polled = format!("polled{name}");
        json!({"name": polled, "type": "STRING", "sampling": "poll", "config": node(&types(name))})
    }));
    points.extend([
        point("temperature", "DOUBLE", "Temperature"),
        point("mode", "INT", "Mode"),
        point("pose", "STRING", "Pose"),
        json!({"name": "third", "config": {
            "node": format!("nsu={NAMESPACE};s=Machine.Types.Int32Array"), "element": 2}}),
        json!({"name": "range", "config": {
            "node": format!("nsu={NAMESPACE};s=Machine.Types.Int32Array"), "indexRange": "0:1"}}),
        json!({"name": "label", "config": {
            "node": format!("nsu={NAMESPACE};s=Machine.Pose"), "element": "Label"}}),
        json!({"name": "byPath", "config": {
            "path": "/Objects/Machine/Temperature", "namespace": NAMESPACE}}),
        json!({"name": "displayName", "config": {
            "node": format!("nsu={NAMESPACE};s=Machine.Temperature"), "attribute": "DisplayName"}}),
    ]);
    let protocol = plain(&peer.url);
    mapper
        .configure(json!({"protocol": protocol, "points": points}))
        .await;
    for (name, value) in values() {
        mapper.wait_value(name, value.clone()).await;
        mapper.wait_value(&format!("polled{name}"), value).await;
    }
    mapper.wait_value("temperature", 21.5).await;
    mapper.wait_value("byPath", 21.5).await;
    mapper.wait_value("mode", 2).await;
    mapper.wait_value("third", 3).await;
    if has_ranges {
        mapper.wait_value("range", "[1,2]").await;
    }
    mapper.wait_value("displayName", "Temperature").await;
    let pose = mapper.wait_sample("pose", |_| true).await;
    let longshore_sdk::SampleValue::String(pose) = pose.value.expect("good") else {
        panic!("a structure is JSON text");
    };
    let pose: Value = serde_json::from_str(&pose).expect("JSON");
    assert_eq!(
        pose,
        json!({"X": 1.0, "Y": 2.5, "Label": "home", "Path": [7, 8]})
    );
    mapper.wait_value("label", "home").await;
    for (name, value) in written() {
        mapper.write_ok(name, sample(&value)).await;
    }
    for (name, value) in written() {
        mapper.wait_value(name, value.clone()).await;
        mapper.wait_value(&format!("polled{name}"), value).await;
    }
    mapper.write_ok("mode", 1).await;
    mapper.wait_value("mode", 1).await;
    // What does not fit is not sent; what may not be written is refused.
    let completion = mapper.write("Byte", 256).await;
    assert_eq!(completion.status, Status::InvalidArgument, "{completion:?}");
    assert!(
        completion.message.contains("256 does not fit uint8"),
        "{completion:?}"
    );
    let completion = mapper.write("temperature", 1.0).await;
    assert_eq!(completion.status, Status::Refused, "{completion:?}");
    assert!(
        completion.message.contains("BadNotWritable")
            || completion.message.contains("BadUserAccessDenied"),
        "{completion:?}"
    );
    mapper.stop();
}

async fn check_methods(peer: &Peer) {
    let mapper = mapper();
    let method = |name: &str| {
        json!({"name": name, "config": {
            "object": format!("nsu={NAMESPACE};s=Machine"),
            "method": format!("nsu={NAMESPACE};s=Machine.{name}")}})
    };
    mapper
        .configure(json!({
            "protocol": plain(&peer.url),
            "points": [point("counter", "INT", "Counter")],
            "methods": [method("multiply"), method("reset"), method("refuse")],
        }))
        .await;
    mapper.wait_sample("counter", |_| true).await;
    let call = async |name, arguments| mapper.call("default/device", name, arguments).await;
    let product = call("multiply", json!({"x": 6, "y": 7.5})).await;
    assert_eq!(product.status, Status::Ok, "{product:?}");
    assert_eq!(product.message, r#"{"product":45.0}"#);
    let product = call("multiply", json!([2, "3"])).await;
    assert_eq!(product.message, r#"{"product":6.0}"#, "{product:?}");
    let reset = call("reset", Value::Null).await;
    assert_eq!(reset.status, Status::Ok, "{reset:?}");
    let refused = call("refuse", json!({})).await;
    assert_eq!(refused.status, Status::Refused, "{refused:?}");
    assert!(refused.message.contains("BadInvalidState"), "{refused:?}");
    let wrong = call("multiply", json!({"x": "much", "z": 1})).await;
    assert_eq!(wrong.status, Status::InvalidArgument, "{wrong:?}");
    for part in [
        "arguments.x",
        "arguments.y: missing",
        "arguments.z: unknown",
    ] {
        assert!(wrong.message.contains(part), "{part} in {wrong:?}");
    }
    mapper.stop();
}

/// Complaint 14: globs choose nodes, in place of thousands of copied rows.
async fn check_discovery(peer: &Peer) {
    let mapper = mapper();
    let mut request = plain(&peer.url);
    request["match"] = json!("/Objects/Machine/**");
    let found = mapper.discover(request.clone()).await.expect("found");
    assert!(
        found
            .notes
            .iter()
            .any(|note| note.contains("the server offers no security (policy none)")),
        "{:?}",
        found.notes
    );
    let device = &found.devices[0];
    assert_eq!(device.protocol["url"], peer.url);
    let property = |name: &str| {
        let found = device
            .properties
            .iter()
            .find(|property| property.name == name);
        found.unwrap_or_else(|| panic!("no {name} in {:#?}", device.properties))
    };
    let temperature = property("temperature");
    assert_eq!(temperature.twin_type, "DOUBLE");
    assert_eq!(temperature.unit, "Cel");
    assert_eq!(temperature.value.as_deref(), Some("21.5"));
    assert!(!temperature.writable);
    assert_eq!(
        temperature.config["node"],
        format!("nsu={NAMESPACE};s=Machine.Temperature")
    );
    assert!(property("setpoint").writable);
    assert_eq!(property("int32").twin_type, "INT");
    assert_eq!(property("mode").twin_type, "INT");
    assert_eq!(property("int32Array").twin_type, "STRING");
    request["match"] = json!(["/Objects/Machine/Temp*"]);
    let few = mapper.discover(request).await.expect("found");
    let names: Vec<_> = few.devices[0]
        .properties
        .iter()
        .map(|property| &property.name)
        .collect();
    assert_eq!(names, ["temperature"]);
    // What was found can be watched as it stands.
    let points: Vec<_> = device
        .properties
        .iter()
        .map(|property| json!({"name": property.name, "type": property.twin_type, "config": property.config}))
        .collect();
    mapper
        .configure(json!({"protocol": device.protocol, "points": points}))
        .await;
    mapper.wait_value("temperature", 21.5).await;
    mapper.stop();
}

#[tokio::test]
async fn asyncua_values() {
    // It gives the whole array, whatever the index range.
    check_values(&Peer::asyncua(&[]), false).await;
}

#[tokio::test]
async fn asyncua_methods_and_discovery() {
    let peer = Peer::asyncua(&[]);
    check_methods(&peer).await;
    check_discovery(&peer).await;
}

#[tokio::test]
async fn node_opcua_values() {
    check_values(&Peer::node(&[]), true).await;
}

#[tokio::test]
async fn node_opcua_methods_and_discovery() {
    let peer = Peer::node(&[]);
    check_methods(&peer).await;
    check_discovery(&peer).await;
}
