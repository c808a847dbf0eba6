//! Another vendor's client finds everything that a scenario describes.

use longshore_sim_opcua::{Service, Simulator, opcua};
use serde_json::{Value, json};

use crate::client::Client;

const TYPES: &str = r#"
namespaces: ["urn:test:first", "urn:test:second"]
types:
  Point: {structure: [{name: X, type: double}, {name: Y, type: double}]}
  Path: {structure: [{name: Name, type: string}, {name: Steps, type: int32, array: true}]}
  Mode: {enumeration: [Off, Manual, Auto]}
world:
  signals:
    speed: {setpoint: {initial: 10, min: 0, max: 100}}
    step: {steps: {values: [1], seconds: 1}}
server: {users: {operator: secret}}
objects:
  - name: All
    folder: true
    variables:
      - {name: Boolean, type: boolean, value: true, writable: true}
      - {name: SByte, type: sByte, value: -8, writable: true}
      - {name: Byte, type: byte, value: 200, writable: true}
      - {name: Int16, type: int16, value: -16000, writable: true}
      - {name: UInt16, type: uint16, value: 65535, writable: true}
      - {name: Int32, type: int32, value: -2000000000, writable: true}
      - {name: UInt32, type: uint32, value: 4000000000, writable: true}
      - {name: Int64, type: int64, value: -9223372036854775808, writable: true}
      - {name: UInt64, type: uint64, value: 18446744073709551615, writable: true}
      - {name: Float, type: float, value: 1.5, writable: true}
      - {name: Double, type: double, value: 0.1, writable: true}
      - {name: String, value: "Grüße", writable: true}
      - {name: DateTime, type: dateTime, value: "2024-05-06T07:08:09Z"}
      - {name: Guid, type: guid, value: 72962b91-fa75-4ae6-8d28-b404dc7daf63}
      - {name: ByteString, type: byteString, value: "0102ff"}
      - {name: NodeId, type: nodeId, value: "ns=1;s=x"}
      - {name: QualifiedName, type: qualifiedName, value: "2:x"}
      - {name: LocalizedText, type: localizedText, value: press}
      - {name: List, type: int32, value: [1, 2, 3], writable: true}
      - {name: Matrix, type: double, value: [[1, 2, 3], [4, 5, 6]]}
      - {name: Point, type: Point, value: {X: 1.5, Y: -2}}
      - {name: Path, type: Path, value: {Name: home, Steps: [4, 5]}}
      - {name: Mode, type: Mode, value: Auto}
      - {name: Speed, signal: speed, type: int32, id: "ns=3;i=7", range: [0, 200]}
      - {name: Step, signal: step, texts: [opening, closing]}
      - {name: Hidden, value: 1, readable: false}
      - {name: Bad, value: 1, status: BadSensorFailure}
      - {name: Uncertain, value: 1, status: UncertainLastUsableValue}
  - name: Machine
    namespace: 3
    methods:
      - name: Multiply
        inputs: [{name: a, type: double}, {name: b, type: double}]
        outputs: [{name: product, type: double, product: [a, b]}]
      - {name: Stop, set: {speed: 0}}
      - {name: Never, status: BadInvalidState}
"#;

async fn start() -> (Simulator, Client) {
    let simulator = opcua().yaml(TYPES).start().await;
    let client = Client::connect(&simulator.url()).await;
    (simulator, client)
}

#[tokio::test]
async fn every_type_is_read() {
    let (_simulator, mut client) = start().await;
    client.ok(json!(["types"])).await;
    let expected = json!({
        "Boolean": true, "SByte": -8, "Byte": 200, "Int16": -16000, "UInt16": 65535,
        "Int32": -2_000_000_000, "UInt32": 4_000_000_000u32, "Int64": i64::MIN,
        "UInt64": u64::MAX, "Float": 1.5, "Double": 0.1, "String": "Grüße",
        "DateTime": "2024-05-06 07:08:09+00:00", "Guid": "72962b91-fa75-4ae6-8d28-b404dc7daf63",
        "ByteString": "0102ff", "NodeId": "ns=1;s=x", "LocalizedText": "press",
        "QualifiedName": {"Name": "x", "NamespaceIndex": 2},
        "List": [1, 2, 3], "Matrix": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]],
        "Point": {"X": 1.5, "Y": -2.0}, "Path": {"Name": "home", "Steps": [4, 5]},
        "Mode": 2, "Step": "closing",
    });
    for (name, value) in expected.as_object().expect("an object") {
        let (is, status) = client.read(&format!("ns=2;s=All.{name}")).await;
        assert_eq!((&is, status.as_str()), (value, "Good"), "{name}");
    }
    assert_eq!(client.read("ns=3;i=7").await.0, json!(10));
}

#[tokio::test]
async fn statuses_come_with_the_values() {
    let (simulator, mut client) = start().await;
    let expected = [
        ("Hidden", Value::Null, "BadNotReadable"),
        ("Bad", Value::Null, "BadSensorFailure"),
        ("Uncertain", json!(1.0), "UncertainLastUsableValue"),
        ("None", Value::Null, "BadNodeIdUnknown"),
    ];
    for (name, value, status) in expected {
        let read = client.read(&format!("ns=2;s=All.{name}")).await;
        assert_eq!(read, (value, status.to_owned()), "{name}");
    }
    simulator.status("ns=2;s=All.Bad", "Good");
    assert_eq!(client.read("ns=2;s=All.Bad").await.1, "Good");
}

#[tokio::test]
async fn writes_are_checked_and_recorded() {
    let (simulator, mut client) = start().await;
    let list = "ns=2;s=All.List";
    client.ok(json!(["write", list, "Int32", [9, 8]])).await;
    assert_eq!(simulator.value(list), json!([9, 8]));
    client.ok(json!(["write", "ns=3;i=7", "Int32", 55])).await;
    assert_eq!(simulator.world().value("speed"), Some(55.0));
    let refused = [
        (list, "Int64", json!([1]), "BadTypeMismatch"),
        (list, "Int32", json!(1), "BadTypeMismatch"),
        ("ns=3;i=7", "Int32", json!(150), "BadOutOfRange"),
        ("ns=3;i=7", "Int32", json!(250), "BadOutOfRange"),
        ("ns=2;s=All.Mode", "Int32", json!(0), "BadNotWritable"),
        ("ns=2;s=None", "Int32", json!(0), "BadNodeIdUnknown"),
    ];
    for (node, kind, value, status) in refused {
        let error = client.error(json!(["write", node, kind, value])).await;
        assert_eq!(error, status, "{node} {kind} {value}");
    }
    let writes = simulator.writes();
    let seen: Vec<_> = writes.iter().map(|w| (w.node.as_str(), &w.value)).collect();
    assert_eq!(seen, [(list, &json!([9, 8])), ("ns=3;i=7", &json!(55))]);
}

#[tokio::test]
async fn methods_are_called() {
    let (simulator, mut client) = start().await;
    let (object, method) = ("ns=3;s=Machine", |name: &str| {
        format!("ns=3;s=Machine.{name}")
    });
    let multiply = method("Multiply");
    let arguments = json!([["Double", 3.0], ["Double", 4.0]]);
    let product = client
        .ok(json!(["call", object, multiply, arguments]))
        .await;
    assert_eq!(product, json!(12.0));
    client.ok(json!(["call", object, method("Stop"), []])).await;
    assert_eq!(simulator.world().value("speed"), Some(0.0));
    let refused = [
        ("Never", json!([]), "BadInvalidState"),
        ("Multiply", json!([["Double", 1.0]]), "BadArgumentsMissing"),
        (
            "Multiply",
            json!([["Double", 1.0], ["Int32", 1]]),
            "BadInvalidArgument",
        ),
    ];
    for (name, arguments, status) in refused {
        let error = client
            .error(json!(["call", object, method(name), arguments]))
            .await;
        assert_eq!(error, status, "{name}");
    }
    assert_eq!(simulator.calls().len(), 2);
}

#[tokio::test]
async fn nodes_are_found_by_browsing_and_by_path() {
    let (simulator, mut client) = start().await;
    let found = client.ok(json!(["browse", "i=85"])).await;
    assert_eq!(
        found,
        json!([
            ["i=2253", "0:Server", "Object"],
            ["ns=2;s=All", "2:All", "Object"],
            ["ns=3;s=Machine", "3:Machine", "Object"],
        ])
    );
    let path = json!(["path", ["0:Objects", "2:All", "2:Speed", "0:EURange"]]);
    let node = client.ok(path).await;
    let range = client.read(node.as_str().expect("a node")).await.0;
    assert_eq!(range, json!({"Low": 0.0, "High": 200.0}));
    let error = client.error(json!(["path", ["0:Objects", "2:None"]])).await;
    assert_eq!(error, "BadNoMatch");
    assert_eq!(simulator.count(Service::Browse).requests, 1);
    // The structure's definition, as clients need it to decode values.
    let fields = client
        .ok(json!(["attribute", "ns=2;s=Point", "DataTypeDefinition"]))
        .await;
    assert_eq!(fields["Fields"][1]["Name"], json!("Y"));
}

#[tokio::test]
async fn long_lists_come_in_parts() {
    let text = "
objects:
  - name: Many
    fill: [{name: V, count: 2500}]
";
    let simulator = opcua().yaml(text).start().await;
    let mut client = Client::connect(&simulator.url()).await;
    let found = client.ok(json!(["browse", "ns=1;s=Many"])).await;
    assert_eq!(found.as_array().map(Vec::len), Some(2500));
    assert_eq!(simulator.count(Service::BrowseNext).requests, 2);
}

#[tokio::test]
async fn only_known_users_come_in() {
    let text = "
server: {anonymous: false, users: {operator: secret}}
objects: [{name: All, variables: [{name: X, value: 1}]}]
";
    let simulator = opcua().yaml(text).start().await;
    let url = simulator.url();
    let mut client = Client::start();
    let endpoints = client.ok(json!(["endpoints", url])).await;
    assert_eq!(endpoints, json!([[url, ["username"]]]));
    let error = client.error(json!(["connect", url])).await;
    assert!(error.contains("BadIdentityToken"), "{error}");
    let wrong = json!(["connect", url, "operator", "guess"]);
    assert_eq!(client.error(wrong).await, "BadUserAccessDenied");
    client
        .ok(json!(["connect", url, "operator", "secret"]))
        .await;
    assert_eq!(client.read("ns=1;s=All.X").await.0, json!(1.0));
}
