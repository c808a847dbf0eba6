//! Subscriptions as another vendor's client sees them.

use longshore_sim_opcua::{Service, Simulator, opcua};
use serde_json::{Value, json};

use crate::client::Client;

const LINE: &str = r#"
namespaces: ["urn:test:line", "urn:test:other"]
world:
  signals:
    speed: {setpoint: {initial: 0}}
objects:
  - name: Line
    variables:
      - {name: Speed, signal: speed, range: [0, 200]}
      - {name: Count, type: uint32, value: 0}
    fill: [{name: Fast, count: 50, everyMs: 20}]
"#;

const SPEED: &str = "ns=2;s=Line.Speed";
const COUNT: &str = "ns=2;s=Line.Count";

async fn start() -> (Simulator, Client) {
    let simulator = opcua().yaml(LINE).start().await;
    let client = Client::connect(&simulator.url()).await;
    (simulator, client)
}

/// Waits until the server has looked at its items so many times more: the first
/// of two may have begun before the change.
pub(crate) async fn looked(simulator: &Simulator, times: u64) {
    let before = simulator.totals().looks;
    let enough = |sim: &Simulator| match sim.totals().looks - before {
        looks if looks >= times => Ok(()),
        looks => Err(format!("it has looked {looks} times")),
    };
    simulator.wait("the server to look", enough).await;
}

fn values(notifications: &[Value], node: &str) -> Vec<Value> {
    let of_node = notifications.iter().filter(|n| n[0] == json!(node));
    of_node.map(|n| n[1].clone()).collect()
}

#[tokio::test]
async fn changes_are_told_and_nothing_else() {
    let (simulator, mut client) = start().await;
    client.subscribe(50, &[SPEED, COUNT], json!({})).await;
    client.until("first values", |all| all.len() == 2).await;
    simulator.set(COUNT, 7);
    let all = client.until("the change", |all| !all.is_empty()).await;
    assert_eq!(all, [json!([COUNT, 7, "Good", false])]);
    simulator.status(COUNT, "UncertainLastUsableValue");
    let all = client.until("the status", |all| !all.is_empty()).await;
    assert_eq!(all, [json!([COUNT, 7, "UncertainLastUsableValue", false])]);
}

#[tokio::test]
async fn a_queue_keeps_what_came_in_between() {
    let (simulator, mut client) = start().await;
    let more = json!({"queue": 4, "sampling": 10});
    client.subscribe(1000, &[COUNT], more).await;
    client.until("the first value", |all| all.len() == 1).await;
    for number in 1..=6 {
        simulator.set(COUNT, number);
        looked(&simulator, 2).await;
    }
    let all = client
        .until("all that are left", |all| all.len() == 4)
        .await;
    // The oldest two are lost, which the oldest that is left tells.
    assert_eq!(values(&all, COUNT), [3, 4, 5, 6].map(Value::from));
    let overflow: Vec<_> = all.iter().map(|n| n[3].clone()).collect();
    assert_eq!(overflow, [true, false, false, false].map(Value::from));
    assert_eq!(simulator.totals().overflows, 2);
}

#[tokio::test]
async fn deadbands_hold_small_changes_back() {
    let (simulator, mut client) = start().await;
    // 5 % of the range 0 to 200 is 10.
    let more = json!({"deadband": 5.0, "kind": "Percent"});
    client.subscribe(50, &[SPEED], more).await;
    client.until("the first value", |all| all.len() == 1).await;
    for speed in [4.0, 9.0, 10.0, 15.0] {
        simulator.set(SPEED, speed);
        looked(&simulator, 2).await;
    }
    let all = client
        .until("the large change", |all| !all.is_empty())
        .await;
    assert_eq!(values(&all, SPEED), [json!(15.0)]);
    let more = json!({"deadband": 5.0, "kind": "Percent"});
    let refused = client.error(json!(["subscribe", 50, [COUNT], more])).await;
    assert_eq!(refused, "BadMonitoredItemFilterUnsupported");
}

#[tokio::test]
async fn many_items_are_told_each_interval() {
    let (simulator, mut client) = start().await;
    let nodes: Vec<String> = (0..50).map(|n| format!("ns=2;s=Line.Fast{n}")).collect();
    let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
    client.subscribe(100, &nodes, json!({})).await;
    client.until("five rounds", |all| all.len() >= 250).await;
    assert_eq!(simulator.totals().monitored_items, 50);
    assert_eq!(simulator.count(Service::CreateMonitoredItems).largest, 50);
    // A value is told with the time at which it came to be.
    let read = client.ok(json!(["read", "ns=2;s=Line.Fast0"])).await;
    assert_eq!(read[2], json!(true));
}
