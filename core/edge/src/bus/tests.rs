//! The bus against real clients: mosquitto's, and a mosquitto broker.

use std::{
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use longshore_process::{Running, Tasks, report};
use longshore_twin::{DeviceChange, Interest as _, Message, PropertyChange};
use longshore_types::{
    DeviceName, NodeName, Quality, Topic, Value,
    device::PropertyType,
    report::{DesiredReport, DeviceReport, DeviceState, PropertyReport},
    topic::DeviceEvent,
};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::{Bus, kubeedge};
use crate::{
    config::{BusMode, EmbeddedOptions, ExternalOptions, KubeEdgeTopics, User},
    ports::BusPort,
    twin::{self, Request},
};

const INSTALL: &str = "apt-get install mosquitto mosquitto-clients";
const PATIENCE: Duration = Duration::from_secs(20);

mod external;

fn boiler() -> DeviceName {
    DeviceName::new("default", "boiler").unwrap()
}

fn property(value: f64, desired: Option<&str>) -> PropertyReport {
    PropertyReport {
        value_type: Some(PropertyType::Float),
        writable: true,
        value: Some(Value::Float(value)),
        quality: Quality::Good,
        source_time_ms: Some(1_598_251_320_123),
        last_read_ms: Some(1_598_251_320_123),
        desired: desired.map(|value| DesiredReport {
            value: value.to_owned(),
            time_ms: 1_598_251_320_000,
            version: 1,
            ..DesiredReport::default()
        }),
        version: 2,
        ..PropertyReport::new("temperature")
    }
}

fn device(value: f64, desired: Option<&str>) -> DeviceReport {
    DeviceReport {
        name: boiler(),
        uid: String::new(),
        fingerprint: 0,
        state: DeviceState::Online,
        last_online_ms: Some(1),
        conditions: vec![],
        warnings: vec![],
        events: vec![],
        properties: vec![property(value, desired)],
    }
}

fn change(last: f64, current: f64, desired: Option<&str>) -> DeviceChange {
    DeviceChange {
        device: boiler(),
        properties: vec![PropertyChange {
            last: property(last, None),
            current: property(current, desired),
        }],
    }
}

/// Answers like an engine with one device.
fn engine() -> twin::TwinHandle {
    let (handle, inbox) = twin::channel();
    tokio::spawn(answer(inbox, device(21.5, Some("30"))));
    handle
}

async fn answer(mut inbox: twin::TwinInbox, mut device: DeviceReport) {
    while let Some(request) = inbox.0.recv().await {
        match request {
            Request::Get {
                device: name,
                reply,
            } => drop(reply.send((name == device.name).then(|| device.clone()))),
            Request::List { reply } => drop(reply.send(vec![device.clone()])),
            Request::Update { updates, reply, .. } => {
                device.properties[0] = property(21.5, updates[0].expected.as_deref());
                drop(reply.send(Ok(device.clone())));
            }
            Request::SetState { state, reply, .. } => {
                device.state = state;
                drop(reply.send(Ok(())));
            }
            Request::Call {
                method,
                arguments,
                reply,
                ..
            } => drop(reply.send(match method.as_str() {
                "fill" => Ok(arguments),
                _ => Err(twin::UpdateError {
                    code: 404,
                    reason: "no such method".to_owned(),
                }),
            })),
            Request::Stats { reply } => drop(reply.send(twin::EngineStats::default())),
        }
    }
}

struct Broker {
    bus: Arc<Bus>,
    /// Cut off when the broker is dropped.
    tasks: Running,
    port: u16,
    _state: TempDir,
}

async fn embedded(users: &[(&str, &str)]) -> Broker {
    let state = TempDir::new().unwrap();
    embedded_in(users, state).await
}

async fn embedded_in(users: &[(&str, &str)], state: TempDir) -> Broker {
    let options = EmbeddedOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        state_dir: state.path().join("broker"),
        users: users
            .iter()
            .map(|(user, password)| User::new(*user, password))
            .collect(),
        limits: Default::default(),
    };
    let node = NodeName::new("edge-1").unwrap();
    let mut tasks = Tasks::new();
    let bus = Bus::build(
        BusMode::Embedded(options),
        KubeEdgeTopics::Auto,
        node,
        engine(),
        &mut tasks,
    )
    .await
    .unwrap()
    .unwrap();
    let tasks = tasks.spawn();
    let port = bus.address().unwrap().port();
    Broker {
        bus,
        tasks,
        port,
        _state: state,
    }
}

/// `mosquitto_sub` that ends after `count` messages.
fn subscribe(port: u16, topic: &str, count: usize, more: &[&str]) -> Child {
    Command::new("mosquitto_sub")
        .args([
            "-p",
            &port.to_string(),
            "-t",
            topic,
            "-C",
            &count.to_string(),
            "-W",
            "20",
            "-F",
            "%t %p",
        ])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("mosquitto_sub does not start ({error}); install it: {INSTALL}")
        })
}

fn publish(port: u16, topic: &str, payload: &str, more: &[&str]) -> std::process::Output {
    Command::new("mosquitto_pub")
        .args([
            "-p",
            &port.to_string(),
            "-t",
            topic,
            "-m",
            payload,
            "-q",
            "1",
        ])
        .args(more)
        .output()
        .unwrap_or_else(|error| {
            panic!("mosquitto_pub does not start ({error}); install it: {INSTALL}")
        })
}

async fn lines(child: Child) -> Vec<(String, Json)> {
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap())
        .await
        .unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let (topic, payload) = line.split_once(' ').unwrap();
            (
                topic.to_owned(),
                serde_json::from_str(payload).unwrap_or(Json::String(payload.to_owned())),
            )
        })
        .collect()
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_reaches_a_subscriber_of_kubeedges_topics_and_only_when_there_is_one() {
    let broker = embedded(&[]).await;
    assert!(!broker.bus.wants_changes(&boiler()));
    let version = broker.bus.version();
    let subscriber = subscribe(broker.port, "$hw/events/device/+/+/twin/update/+", 2, &[]);
    until("interest in documents", || {
        broker.bus.wants_changes(&boiler())
    })
    .await;
    assert_ne!(broker.bus.version(), version);
    assert!(!broker.bus.wanted("longshore/default/boiler/batch"));

    broker
        .bus
        .send(Message::Changed(change(20.0, 21.5, Some("30"))));
    let got = lines(subscriber).await;
    assert_eq!(
        got[0].0,
        "$hw/events/device/default/boiler/twin/update/document"
    );
    assert_eq!(
        got[0].1["twin"]["temperature"]["last"]["actual"]["value"],
        "20"
    );
    let current = &got[0].1["twin"]["temperature"]["current"];
    assert_eq!(
        *current,
        json!({
            "expected": {"value": "30", "metadata": {"timestamp": 1_598_251_320_000_i64}},
            "actual": {"value": "21.5", "metadata": {"timestamp": 1_598_251_320_123_i64}},
            "optional": false, "metadata": {"type": "float"},
            "expected_version": {"cloud": 1, "edge": 0}, "actual_version": {"cloud": 0, "edge": 2},
        })
    );
    assert_eq!(
        got[1].0,
        "$hw/events/device/default/boiler/twin/update/delta"
    );
    assert_eq!(got[1].1["delta"], json!({"temperature": "30"}));
    until("the subscriber to be forgotten", || {
        !broker.bus.wants_changes(&boiler())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_reaches_its_subscriber() {
    let broker = embedded(&[]).await;
    let topic: Arc<str> = "longshore/default/boiler/batch".into();
    let subscriber = subscribe(broker.port, "longshore/+/+/batch", 1, &[]);
    until("interest in batches", || broker.bus.wanted(&topic)).await;
    let payload = br#"{"timestamp":1,"values":{"temperature":21.5}}"#;
    broker.bus.send(Message::Batch {
        topic,
        payload: bytes::Bytes::from_static(payload),
    });
    assert_eq!(lines(subscriber).await[0].1["values"]["temperature"], 21.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_answered_on_its_result_topic_or_where_the_caller_listens() {
    let broker = embedded(&[]).await;
    let subscriber = subscribe(broker.port, "longshore/default/boiler/#", 6, &["-q", "1"]);
    until("interest in results", || {
        broker
            .bus
            .wanted("longshore/default/boiler/call/fill/result")
    })
    .await;
    let topic = "longshore/default/boiler/call";
    for (method, payload) in [
        ("fill", r#"{"id":"1","arguments":{"to":4}}"#),
        ("fly", r#"{"id":2}"#),
        (
            "fill",
            r#"{"id":"3","responseTopic":"longshore/default/boiler/mine"}"#,
        ),
    ] {
        publish(broker.port, &format!("{topic}/{method}"), payload, &[]);
    }
    let got = lines(subscriber).await;
    for (answer, expected) in [
        (
            "longshore/default/boiler/call/fill/result",
            json!({"id": "1", "ok": true, "outcome": "done", "result": {"to": 4}}),
        ),
        (
            "longshore/default/boiler/call/fly/result",
            json!({"id": 2, "ok": false, "outcome": "refused", "error": "no such method"}),
        ),
        (
            "longshore/default/boiler/mine",
            json!({"id": "3", "ok": true, "outcome": "done", "result": null}),
        ),
    ] {
        assert!(
            got.contains(&(answer.to_owned(), expected)),
            "no answer on {answer} in {got:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_there_for_who_comes_later_until_it_is_taken_back() {
    let broker = embedded(&[]).await;
    let topic: Arc<str> = "longshore/default/boiler/event/hot".into();
    let payload = bytes::Bytes::from_static(br#"{"active":true}"#);
    assert!(broker.bus.retain(topic.clone(), payload));
    let early = lines(subscribe(broker.port, "longshore/+/+/event/+", 1, &[])).await;
    assert_eq!(early, [(topic.to_string(), json!({"active": true}))]);
    assert!(broker.bus.retain(topic.clone(), bytes::Bytes::new()));
    let next: Arc<str> = "longshore/default/boiler/event/next".into();
    assert!(
        broker
            .bus
            .retain(next.clone(), bytes::Bytes::from_static(b"{}"))
    );
    let published = || broker.bus.counters().published.load(Relaxed);
    until("all three to be published", || published() == 3).await;
    let late = lines(subscribe(broker.port, "longshore/+/+/event/+", 1, &[])).await;
    assert_eq!(late, [(next.to_string(), json!({}))]);
    let refused = publish(broker.port, &topic, "{}", &["-V", "5"]);
    assert!(
        !refused.status.success() || !refused.stderr.is_empty(),
        "only the edge tells events"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_as_kubeedge_answers() {
    let broker = embedded(&[]).await;
    let subscriber = subscribe(broker.port, "$hw/events/#", 12, &[]);
    until("interest in results", || {
        broker.bus.wants_changes(&boiler())
    })
    .await;
    let device = "$hw/events/device/default/boiler";
    for (topic, payload) in [
        (format!("{device}/twin/get"), r#"{"event_id":"1"}"#),
        (
            format!("{device}/twin/update"),
            r#"{"event_id":"2","twin":{"temperature":{"expected":{"value":"35"}}}}"#,
        ),
        (
            format!("{device}/twin/update"),
            r#"{"event_id":"3","twin":{"#,
        ),
        (
            "$hw/events/device/default/none/twin/get".to_owned(),
            r#"{"event_id":"4"}"#,
        ),
        (
            "$hw/events/node/edge-1/membership/get".to_owned(),
            r#"{"event_id":"5"}"#,
        ),
        (
            format!("{device}/state/update"),
            r#"{"event_id":"6","state":"sleepy"}"#,
        ),
    ] {
        publish(broker.port, &topic, payload, &[]);
    }
    let got = lines(subscriber).await;
    let result = |id: &str| {
        let found = got
            .iter()
            .find(|(topic, body)| topic.ends_with("/result") && body["event_id"] == id);
        found.unwrap_or_else(|| panic!("no answer to {id} in {got:?}"))
    };
    assert_eq!(result("1").0, format!("{device}/twin/get/result"));
    assert_eq!(
        result("1").1["twin"]["temperature"]["actual"]["value"],
        "21.5"
    );
    assert_eq!(
        result("2").1["twin"]["temperature"]["expected"]["value"],
        "35"
    );
    // A payload that is not JSON has no event id that one could repeat.
    let broken = got
        .iter()
        .find(|(_, body)| body["code"] == 400 && body["event_id"] == "")
        .unwrap();
    assert!(
        broken.1["reason"]
            .as_str()
            .unwrap()
            .starts_with("invalid JSON"),
        "{broken:?}"
    );
    assert_eq!(result("4").1["code"], 404);
    assert_eq!(result("5").1["devices"][0]["id"], "default/boiler");
    assert_eq!(result("6").1["code"], 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_the_edge_speaks_on_its_topics() {
    let broker = embedded(&[]).await;
    let subscriber = subscribe(broker.port, "#", 1, &["-t", "$hw/#", "-t", "longshore/#"]);
    until("interest", || broker.bus.wanted("x")).await;
    publish(
        broker.port,
        "longshore/default/boiler/batch",
        "forged",
        &["-V", "5"],
    );
    publish(
        broker.port,
        "$hw/events/device/default/boiler/twin/update/document",
        "forged",
        &["-V", "5"],
    );
    publish(broker.port, "free", "honest", &[]);
    assert_eq!(
        lines(subscriber).await,
        [("free".to_owned(), json!("honest"))]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_asked_for_their_password() {
    let broker = embedded(&[("ada", "secret")]).await;
    assert!(!publish(broker.port, "a", "x", &[]).status.success());
    assert!(
        !publish(broker.port, "a", "x", &["-u", "ada", "-P", "wrong"])
            .status
            .success()
    );
    assert!(
        publish(broker.port, "a", "x", &["-u", "ada", "-P", "secret"])
            .status
            .success()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn retained_messages_and_sessions_outlive_the_broker() {
    let Broker {
        bus,
        tasks,
        port,
        _state: state,
    } = embedded(&[]).await;
    let session = ["-c", "-i", "keeper", "-q", "1"];
    let keeper = subscribe(port, "kept", 1, &session);
    until("the session", || bus.wanted("kept")).await;
    publish(port, "kept", "one", &[]);
    lines(keeper).await;
    publish(port, "kept", "while away", &[]);
    publish(port, "retained/a", "still here", &["-r"]);
    drop(bus);
    assert!(tasks.drain(PATIENCE).await.is_empty());

    let broker = embedded_in(&[], state).await;
    assert_eq!(
        lines(subscribe(broker.port, "kept", 1, &session)).await[0].1,
        "while away"
    );
    assert_eq!(
        lines(subscribe(broker.port, "retained/#", 1, &[])).await[0].1,
        "still here"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_messages_of_qos_1_in_one_burst_all_arrive() {
    let broker = embedded(&[]).await;
    let subscriber = subscribe(broker.port, "burst", 10_000, &["-q", "1"]);
    until("the subscriber", || broker.bus.wanted("burst")).await;
    let mut publisher = Command::new("mosquitto_pub")
        .args([
            "-p",
            &broker.port.to_string(),
            "-t",
            "burst",
            "-q",
            "1",
            "-l",
        ])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = publisher.stdin.take().unwrap();
    let writing = std::thread::spawn(move || {
        for i in 0..10_000 {
            std::io::Write::write_all(&mut input, format!("{i}\n").as_bytes()).unwrap();
        }
    });
    let got = lines(subscriber).await;
    assert_eq!(got.len(), 10_000);
    assert!(
        got.iter()
            .enumerate()
            .all(|(i, (_, payload))| *payload == json!(i)),
        "in order"
    );
    writing.join().unwrap();
    assert!(publisher.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = EmbeddedOptions {
        listen: taken.local_addr().unwrap(),
        state_dir: "/nonexistent".into(),
        users: vec![],
        limits: Default::default(),
    };
    let node = NodeName::new("edge-1").unwrap();
    let error = Bus::build(
        BusMode::Embedded(options),
        KubeEdgeTopics::Auto,
        node,
        engine(),
        &mut Tasks::new(),
    )
    .await
    .err()
    .unwrap();
    let text = report(&error);
    let address = taken.local_addr().unwrap();
    assert!(text.starts_with(&format!(
        "failed to listen for MQTT on {address}\ncaused by: "
    )));
    assert!(text.ends_with("hint: set bus.listen to another one, port 0 takes a free one"));
}

#[test]
fn what_clients_send_is_understood_or_refused_with_its_place() {
    let update = |payload: &str| match kubeedge::parse(
        "$hw/events/device/a/b/twin/update",
        payload.as_bytes(),
    ) {
        Some(kubeedge::Request::Update { updates, .. }) => updates,
        other => panic!("{other:?}"),
    };
    let ok = update(r#"{"twin":{"a":{"actual":{"value":"x y=1"}},"b":{"expected":{"value":5}}}}"#)
        .unwrap();
    assert_eq!(ok[0].actual.as_deref(), Some("x y=1"));
    assert_eq!(ok[1].expected.as_deref(), Some("5"));
    for (payload, reason) in [
        ("", "`twin` is missing or empty"),
        ("[1]", "invalid JSON"),
        (r#"{"twin":{}}"#, "`twin` is missing or empty"),
        (r#"{"twin":{"a":null}}"#, "twin.a: a twin cannot be deleted"),
        (
            r#"{"twin":{"a":{"metadata":{"type":"deleted"}}}}"#,
            "twin.a: a twin cannot be deleted",
        ),
        (r#"{"twin":{"a":{}}}"#, "twin.a: neither"),
        (
            r#"{"twin":{"a":{"expected":{"value":[1]}}}}"#,
            "twin.a.expected.value: expected a string",
        ),
    ] {
        let error = update(payload).unwrap_err();
        assert!(error.starts_with(reason), "{payload}: {error}");
    }
    assert_eq!(
        kubeedge::parse("$hw/events/device/a/b/twin/update/result", b"{}"),
        None
    );
    assert_eq!(kubeedge::parse("$hw/events/device/a/twin/get", b"{}"), None);
}
