//! What goes wrong is what the test asked for, and is over when it says so.

use std::time::{Duration, Instant};

use longshore_sim_opcua::{Fault, FaultRule, Service, Simulator, StatusCode, opcua};
use serde_json::json;

use crate::client::Client;
use crate::subscriptions::looked;

const PLANT: &str = r#"
namespaces: ["urn:test:a", "urn:test:b"]
server: {limits: {maxNodesPerRead: 1, maxSubscriptions: 1, maxMonitoredItems: 1}}
objects:
  - name: Plant
    variables:
      - {name: X, value: 1, writable: true}
      - {name: Y, namespace: 3, value: 2}
"#;

const X: &str = "ns=2;s=Plant.X";

async fn start() -> (Simulator, Client) {
    let simulator = opcua().yaml(PLANT).start().await;
    let client = Client::connect(&simulator.url()).await;
    (simulator, client)
}

fn status(name: &str) -> StatusCode {
    name.parse().expect("a status")
}

#[tokio::test]
async fn a_service_is_refused() {
    let (simulator, mut client) = start().await;
    let fault = Fault::Exception(status("BadOutOfMemory"));
    simulator.fault(FaultRule::from(fault).on(Service::Write).for_requests(1));
    let write = json!(["write", X, "Double", 5.0]);
    assert_eq!(client.error(write.clone()).await, "BadOutOfMemory");
    client.ok(write).await;
    assert_eq!(client.read(X).await.0, json!(5.0));
    assert_eq!(simulator.count(Service::Write).faults, 1);
    let fault = Fault::Exception(status("BadTooManySessions"));
    simulator.fault(FaultRule::from(fault).on(Service::CreateSession));
    let error = Client::start()
        .error(json!(["connect", simulator.url()]))
        .await;
    assert_eq!(error, "BadTooManySessions");
}

#[tokio::test]
async fn answers_are_late_or_never_come() {
    let (simulator, mut client) = start().await;
    simulator.fault(FaultRule::from(Fault::Slow(300)).on(Service::Read));
    let begin = Instant::now();
    client.read(X).await;
    assert!(begin.elapsed() >= Duration::from_millis(300));
    simulator.clear_faults();
    simulator.fault(Fault::Unresponsive);
    let error = client.error(json!(["read", X])).await;
    assert!(error.contains("Timeout"), "{error}");
    simulator.clear_faults();
    // This client gives its connection up after a silence; the server is there.
    let mut other = Client::connect(&simulator.url()).await;
    other.read(X).await;
}

#[tokio::test]
async fn lines_break_in_every_way() {
    for fault in [Fault::DropConnection, Fault::HalfFrame, Fault::WrongCrc] {
        let (simulator, mut client) = start().await;
        simulator.fault(FaultRule::from(fault).on(Service::Read));
        client.error(json!(["read", X])).await;
        simulator.clear_faults();
        // Another connection is served as ever.
        let mut other = Client::connect(&simulator.url()).await;
        assert_eq!(other.read(X).await.0, json!(1.0), "{fault:?}");
    }
}

#[tokio::test]
async fn a_node_goes_and_comes_back() {
    let (simulator, mut client) = start().await;
    client.subscribe(50, &[X], json!({})).await;
    client.until("the first value", |all| all.len() == 1).await;
    simulator.delete(X);
    let all = client.until("its end", |all| !all.is_empty()).await;
    assert_eq!(all, [json!([X, null, "BadNodeIdUnknown", false])]);
    assert_eq!(client.read(X).await.1, "BadNodeIdUnknown");
    simulator.create(X);
    assert_eq!(client.read(X).await, (json!(1.0), "Good".to_owned()));
    // Who watched the former node has to watch the new one.
    simulator.set(X, 3.0);
    let told = simulator.totals().notifications;
    looked(&simulator, 4).await;
    assert_eq!(simulator.totals().notifications, told);
}

#[tokio::test]
async fn a_restart_loses_sessions_and_may_move_namespaces() {
    let (simulator, mut client) = start().await;
    client.ok(json!(["write", X, "Double", 42.0])).await;
    assert_eq!(simulator.totals().sessions, 1);
    simulator
        .restart_with(
            Duration::from_millis(50),
            &["urn:test:b", "urn:test:new", "urn:test:a"],
        )
        .await;
    assert_eq!(simulator.totals().sessions, 0);
    client.error(json!(["read", X])).await;
    let mut client = Client::connect(&simulator.url()).await;
    let namespaces = client.ok(json!(["namespaces"])).await;
    assert_eq!(namespaces[4], json!("urn:test:a"));
    // On the wire it moved, and kept its value; here it is called as ever.
    assert_eq!(client.read("ns=4;s=Plant.X").await.0, json!(42.0));
    assert_eq!(client.read("ns=2;s=Plant.Y").await.0, json!(2.0));
    assert_eq!(client.read(X).await.1, "BadNodeIdUnknown");
    assert_eq!(simulator.value(X), json!(42.0));
    simulator.restart(Duration::ZERO).await;
    let mut client = Client::connect(&simulator.url()).await;
    assert_eq!(client.read("ns=4;s=Plant.X").await.0, json!(42.0));
}

#[tokio::test]
async fn sessions_are_forgotten_while_connections_stay() {
    let (simulator, mut client) = start().await;
    simulator.drop_sessions();
    let error = client.error(json!(["read", X])).await;
    assert_eq!(error, "BadSessionIdInvalid");
    assert_eq!(simulator.totals().open, 1);
    simulator.drop_connections();
    let closed = |sim: &Simulator| match sim.totals().open {
        0 => Ok(()),
        open => Err(format!("{open} are open")),
    };
    simulator.wait("no connection", closed).await;
}

#[tokio::test]
async fn limits_are_held() {
    let (simulator, mut client) = start().await;
    client.subscribe(100, &[X], json!({})).await;
    let more = json!(["subscribe", 100, [X], {}]);
    assert_eq!(client.error(more).await, "BadTooManySubscriptions");
    // As every server shows it: ServerCapabilities.OperationLimits.
    assert_eq!(client.read("i=11705").await.0, json!(1));
    assert_eq!(simulator.totals().subscriptions, 1);
}

#[test]
fn wrong_scenarios_are_named_with_their_keys() {
    let text = r#"
namespaces: ["urn:a"]
world: {signals: {ramp: {ramp: {from: 0, to: 1, seconds: 5}}}}
types: {Pair: {structure: [{name: A, type: int17}]}}
objects:
  - name: O
    variables:
      - {name: A, signal: none}
      - {name: B, type: byte, value: 300}
      - {name: C, id: "x=1", value: 1}
      - {name: D, value: 1, namespace: 7}
      - {name: E, value: 1, unit: {symbol: x, code: LONG}}
      - {name: B2, id: "s=O", value: 1}
      - {name: F, signal: ramp, writable: true}
"#;
    let error = match longshore_sim_opcua::Scenario::parse("plant.yaml", text) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it is wrong"),
    };
    for part in [
        "plant.yaml",
        "types.Pair.structure[0].type",
        "objects[0].variables[0].signal",
        "objects[0].variables[1].value",
        "objects[0].variables[2].id",
        "objects[0].variables[3].namespace",
        "objects[0].variables[4].unit.code",
        "objects[0].variables[5].id",
        "objects[0].variables[6].writable",
    ] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
}
