//! Watches, read line by line.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::Request;
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{PATH, Server, config_map, widget};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

struct Watch {
    stream: axum::body::BodyDataStream,
    buffer: BytesMut,
}

impl Watch {
    async fn start(server: &Server, path: &str) -> Watch {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = server
            .api
            .router()
            .oneshot(request)
            .await
            .expect("an answer");
        assert_eq!(response.status(), 200);
        Watch {
            stream: response.into_body().into_data_stream(),
            buffer: BytesMut::new(),
        }
    }

    /// The next event; `None` when the stream has ended.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Bytes = self.buffer.split_to(end + 1).freeze();
                return Some(serde_json::from_slice(&line).expect("a line of JSON"));
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.stream.next());
            let chunk = chunk.await.expect("an event or the end within 20 s")?;
            self.buffer
                .extend_from_slice(&chunk.expect("no fault in process"));
        }
    }

    /// The next event as (type, name).
    async fn short(&mut self) -> (String, String) {
        let event = self.next().await.expect("an event");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&event["type"]),
            text(&event["object"]["metadata"]["name"]),
        )
    }
}

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test]
async fn a_watch_sees_each_change_once_and_in_order() {
    let server = Server::start();
    server
        .post(MAPS, config_map("a", "k", "1"))
        .await
        .expect(201);
    let list = server.get(MAPS).await.expect(200);
    let revision = list["metadata"]["resourceVersion"]
        .as_str()
        .expect("a revision")
        .to_owned();
    let mut fresh = Watch::start(&server, &format!("{MAPS}?watch=true")).await;
    let mut since = Watch::start(
        &server,
        &format!("{MAPS}?watch=1&resourceVersion={revision}"),
    )
    .await;
    server
        .patch("merge", &format!("{MAPS}/a"), json!({"data": {"k": "2"}}))
        .await
        .expect(200);
    server
        .post(
            "/api/v1/namespaces/kube-system/configmaps",
            config_map("else", "k", "v"),
        )
        .await
        .expect(201);
    server
        .delete(&format!("{MAPS}/a"), json!({}))
        .await
        .expect(200);
    assert_eq!(fresh.short().await, pair("ADDED", "a"));
    for watch in [&mut fresh, &mut since] {
        assert_eq!(watch.short().await, pair("MODIFIED", "a"));
        let gone = watch.next().await.expect("an event");
        assert_eq!(gone["type"], "DELETED");
        assert_ne!(
            gone["object"]["metadata"]["resourceVersion"],
            revision.as_str()
        );
    }
    // stopping the server ends the stream
    server.api.shutdown().await;
    assert_eq!(since.next().await, None);
}

#[tokio::test]
async fn a_selection_is_entered_and_left() {
    let server = Server::start();
    let mut watch = Watch::start(
        &server,
        &format!("{MAPS}?watch=true&labelSelector=on%3Dyes"),
    )
    .await;
    server
        .post(MAPS, config_map("a", "k", "1"))
        .await
        .expect(201);
    let label = |value: Value| json!({"metadata": {"labels": {"on": value}}});
    let path = format!("{MAPS}/a");
    server
        .patch("merge", &path, label(json!("yes")))
        .await
        .expect(200);
    server
        .patch("merge", &path, json!({"data": {"k": "2"}}))
        .await
        .expect(200);
    server
        .patch("merge", &path, label(Value::Null))
        .await
        .expect(200);
    server.delete(&path, json!({})).await.expect(200);
    server
        .post(MAPS, {
            let mut map = config_map("b", "k", "1");
            map["metadata"]["labels"] = json!({"on": "yes"});
            map
        })
        .await
        .expect(201);
    for wanted in [
        pair("ADDED", "a"),
        pair("MODIFIED", "a"),
        pair("DELETED", "a"),
        pair("ADDED", "b"),
    ] {
        assert_eq!(watch.short().await, wanted);
    }
}

#[tokio::test]
async fn bookmarks_initial_events_and_the_deadline() {
    let server = Server::with_widgets().await;
    server.post(PATH, widget("a", 5)).await.expect(201);
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1";
    let mut watch = Watch::start(&server, &format!("{PATH}?{query}")).await;
    assert_eq!(watch.short().await, pair("ADDED", "a"));
    let bookmark = watch.next().await.expect("an event");
    assert_eq!(
        bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    assert_eq!(bookmark["object"]["kind"], "Widget");
    let last = watch.next().await.expect("a bookmark before the deadline");
    assert_eq!(last["type"], "BOOKMARK");
    assert_eq!(watch.next().await, None);
    server
        .get(&format!("{PATH}?watch=true&sendInitialEvents=true"))
        .await
        .expect(422);
}

#[tokio::test]
async fn a_watcher_out_of_the_window_reads_the_log_and_out_of_the_log_is_told() {
    let server = Server::with(|config| {
        config.storage.window = 2;
        config.storage.history = 20;
    });
    server
        .post(MAPS, config_map("a", "k", "0"))
        .await
        .expect(201);
    let revision = |list: &Value| {
        list["metadata"]["resourceVersion"]
            .as_str()
            .expect("a revision")
            .to_owned()
    };
    let start = revision(&server.get(MAPS).await.expect(200));
    for index in 1..=10 {
        server
            .patch(
                "merge",
                &format!("{MAPS}/a"),
                json!({"data": {"k": index.to_string()}}),
            )
            .await
            .expect(200);
    }
    let mut behind = Watch::start(
        &server,
        &format!("{MAPS}?watch=true&resourceVersion={start}"),
    )
    .await;
    for index in 1..=10 {
        let event = behind.next().await.expect("an event");
        assert_eq!(event["object"]["data"]["k"], index.to_string());
    }
    for index in 11..=60 {
        server
            .patch(
                "merge",
                &format!("{MAPS}/a"),
                json!({"data": {"k": index.to_string()}}),
            )
            .await
            .expect(200);
    }
    let mut expired = Watch::start(
        &server,
        &format!("{MAPS}?watch=true&resourceVersion={start}"),
    )
    .await;
    let error = expired.next().await.expect("an event");
    assert_eq!(
        (&error["type"], &error["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
    assert_eq!(error["object"]["reason"], "Expired");
    assert_eq!(expired.next().await, None);
    // the newest state survives every compaction
    assert_eq!(
        server.get(&format!("{MAPS}/a")).await.expect(200)["data"]["k"],
        "60"
    );
    // a revision of another life of the database is told in the stream as well
    let mut ahead = Watch::start(
        &server,
        &format!("{MAPS}?watch=true&resourceVersion=999999"),
    )
    .await;
    assert_eq!(ahead.next().await.expect("an event")["object"]["code"], 410);
}

#[tokio::test]
async fn watching_goes_on_after_a_restart() {
    let server = Server::start();
    server
        .post(MAPS, config_map("a", "k", "0"))
        .await
        .expect(201);
    let list = server.get(MAPS).await.expect(200);
    let revision = list["metadata"]["resourceVersion"]
        .as_str()
        .expect("a revision")
        .to_owned();
    server
        .post(MAPS, config_map("b", "k", "0"))
        .await
        .expect(201);
    let server = server.restart().await;
    let mut watch = Watch::start(
        &server,
        &format!("{MAPS}?watch=true&resourceVersion={revision}"),
    )
    .await;
    assert_eq!(watch.short().await, pair("ADDED", "b"));
    server
        .delete(&format!("{MAPS}/b"), json!({}))
        .await
        .expect(200);
    assert_eq!(watch.short().await, pair("DELETED", "b"));
}

#[tokio::test]
async fn a_watcher_that_does_not_read_holds_up_nobody() {
    let server = Server::with(|config| config.storage.window = 4);
    let _stuck: Vec<Watch> = {
        let mut list = Vec::new();
        for _ in 0..20 {
            list.push(Watch::start(&server, &format!("{MAPS}?watch=true")).await);
        }
        list
    };
    for index in 0..100 {
        server
            .post(MAPS, config_map(&format!("m{index}"), "k", "v"))
            .await
            .expect(201);
    }
    let list = server.get(MAPS).await.expect(200);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(100));
}

type Objects = BTreeMap<String, Value>;

async fn state(server: &Server) -> (Objects, String) {
    let list = server.get(MAPS).await.expect(200);
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let name = |item: &Value| {
        item["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let revision = list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (
        items.into_iter().map(|item| (name(&item), item)).collect(),
        revision,
    )
}

/// Does `changes` (object, value or deletion), lists after `middle` of them, and
/// follows from there by watch: what comes out must be the state at the end.
async fn follow(changes: Vec<(u8, Option<u8>)>, middle: usize) {
    let middle = middle % changes.len();
    let server = Server::with(|config| {
        config.storage.window = 3;
        config.storage.history = 40;
    });
    let (mut known, mut revision) = state(&server).await;
    for (index, (object, value)) in changes.iter().enumerate() {
        if index == middle {
            (known, revision) = state(&server).await;
        }
        let path = format!("{MAPS}/m{object}");
        match value {
            Some(value) => {
                let map = config_map(&format!("m{object}"), "k", &value.to_string());
                let answer = server
                    .patch("apply", &format!("{path}?fieldManager=t&force=true"), map)
                    .await;
                assert!(matches!(answer.code, 200 | 201), "{answer:?}");
            }
            None => {
                server.delete(&path, json!({})).await;
            }
        }
    }
    server
        .post(MAPS, config_map("end", "k", "v"))
        .await
        .expect(201);
    let mut watch = Watch::start(
        &server,
        &format!("{MAPS}?watch=true&resourceVersion={revision}"),
    )
    .await;
    loop {
        let event = watch.next().await.expect("an event");
        if event["type"] == "ERROR" {
            assert_eq!(event["object"]["code"], 410);
            assert!(changes.len() - middle > 30, "expired too early");
            return;
        }
        let name = event["object"]["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let had = known.contains_key(&name);
        match event["type"].as_str().unwrap_or_default() {
            "DELETED" => assert!(known.remove(&name).is_some(), "{name} was deleted twice"),
            "ADDED" => assert!(!had, "{name} was added twice"),
            other => assert!(had && other == "MODIFIED", "{other} of {name}"),
        }
        if event["type"] != "DELETED" {
            known.insert(name.clone(), event["object"].clone());
        }
        if name == "end" {
            break;
        }
    }
    assert_eq!(known, state(&server).await.0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_list_and_its_watch_give_the_state(
        changes in prop::collection::vec((0u8..4, prop::option::of(0u8..3)), 1..70),
        middle in 0usize..70,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(follow(changes, middle));
    }
}
