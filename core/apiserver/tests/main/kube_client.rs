//! kube-rs in the same process, as the hub uses it.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Node, ObjectReference};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, ObjectMeta, Patch,
    PatchParams, PostParams,
};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::finalizer::{Event as FinalizerEvent, finalizer};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;

use crate::support::Server;

fn client(server: &Server) -> Client {
    Client::new(server.api.router(), "default")
}

fn map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.into()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

fn widgets(client: Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("test.longshore.io", "v1", "Widget");
    Api::default_namespaced_with(client, &ApiResource::from_gvk(&kind))
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(Duration::from_secs(20), future).await;
    result.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

#[tokio::test]
async fn the_verbs_of_an_api() {
    let server = Server::with_widgets().await;
    let client = client(&server);
    assert_eq!(
        client
            .apiserver_version()
            .await
            .expect("a version")
            .git_version,
        "v1.33.0+longshore"
    );
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let made = maps
        .create(&PostParams::default(), &map("a"))
        .await
        .expect("is made");
    assert!(made.uid().is_some());
    let patch = json!({"data": {"k": "v"}});
    maps.patch("a", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .expect("is patched");
    maps.patch_metadata(
        "a",
        &PatchParams::default(),
        &Patch::Merge(json!({"metadata": {"labels": {"x": "y"}}})),
    )
    .await
    .expect("metadata only");
    let list = maps
        .list_metadata(&ListParams::default().labels("x=y"))
        .await
        .expect("a list");
    assert_eq!(list.items.len(), 1);
    let stale = maps
        .replace("a", &PostParams::default(), &made)
        .await
        .expect_err("is stale");
    assert!(matches!(stale, kube::Error::Api(status) if status.code == 409));
    let missing = maps.get("b").await.expect_err("is missing");
    assert!(matches!(missing, kube::Error::Api(status) if status.reason == "NotFound"));
    let discovery = kube::Discovery::new(client)
        .run_aggregated()
        .await
        .expect("discovery");
    assert!(discovery.has_group("test.longshore.io"));
    assert!(
        maps.delete("a", &DeleteParams::default())
            .await
            .expect("is deleted")
            .is_right()
    );
}

#[tokio::test]
async fn apply_and_status() {
    let server = Server::with_widgets().await;
    let widgets = widgets(client(&server));
    let config = json!({"apiVersion": "test.longshore.io/v1", "kind": "Widget", "metadata": {"name": "w"},
        "spec": {"size": 4}});
    let one = PatchParams::apply("one");
    widgets
        .patch("w", &one, &Patch::Apply(&config))
        .await
        .expect("is made");
    let status = json!({"apiVersion": "test.longshore.io/v1", "kind": "Widget", "status": {"message": "well"}});
    let answer = widgets
        .patch_status("w", &one, &Patch::Apply(&status))
        .await
        .expect("is applied");
    assert_eq!(answer.data["status"]["message"], "well");
    let mut other = config.clone();
    other["spec"]["size"] = json!(5);
    let conflict = widgets
        .patch("w", &PatchParams::apply("two"), &Patch::Apply(&other))
        .await
        .expect_err("conflicts");
    assert!(matches!(conflict, kube::Error::Api(status) if status.code == 409));
    widgets
        .patch(
            "w",
            &PatchParams::apply("two").force(),
            &Patch::Apply(&other),
        )
        .await
        .expect("by force");

    let nodes: Api<Node> = Api::all(client(&server));
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "edge-1"}});
    nodes
        .patch("edge-1", &one, &Patch::Apply(&node))
        .await
        .expect("a node");
    let condition = |kind: &str| json!({"apiVersion": "v1", "kind": "Node", "status": {"conditions": [{"type": kind, "status": "True"}]}});
    nodes
        .patch_status("edge-1", &one, &Patch::Apply(condition("Ready")))
        .await
        .expect("applied");
    nodes
        .patch_status(
            "edge-1",
            &PatchParams::apply("two"),
            &Patch::Apply(condition("Disk")),
        )
        .await
        .expect("applied");
    nodes
        .patch_status(
            "edge-1",
            &PatchParams::default(),
            &Patch::Strategic(condition("Ready")),
        )
        .await
        .expect("merged");
    let conditions = nodes
        .get("edge-1")
        .await
        .expect("the node")
        .status
        .and_then(|status| status.conditions);
    assert_eq!(conditions.map(|list| list.len()), Some(2));
}

#[tokio::test]
async fn a_reflector_follows() {
    let server = Server::start();
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server));
    maps.create(&PostParams::default(), &map("a"))
        .await
        .expect("is made");
    for config in [
        watcher::Config::default(),
        watcher::Config::default().streaming_lists(),
    ] {
        let (reader, writer) = reflector::store();
        let stream = reflector(writer, watcher(maps.clone(), config))
            .default_backoff()
            .touched_objects();
        let task = tokio::spawn(stream.try_for_each(|_| std::future::ready(Ok(()))));
        soon("the first list", reader.wait_until_ready())
            .await
            .expect("the reflector lives");
        assert!(reader.state().iter().any(|object| object.name_any() == "a"));
        maps.create(&PostParams::default(), &map("b"))
            .await
            .expect("is made");
        soon("the second object", async {
            while reader.state().len() < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        maps.delete("b", &DeleteParams::default())
            .await
            .expect("is deleted");
        task.abort();
    }
}

#[tokio::test]
async fn a_watcher_lists_again_when_its_revision_has_expired() {
    let server = Server::with(|config| {
        config.storage.history = 5;
        config.storage.window = 1;
    });
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server));
    maps.create(&PostParams::default(), &map("a"))
        .await
        .expect("is made");
    // a stream that is not polled falls behind
    let mut stream = watcher(maps.clone(), watcher::Config::default()).boxed();
    loop {
        let event = soon("the first list", stream.next())
            .await
            .expect("an event")
            .expect("no error");
        if matches!(event, watcher::Event::InitDone) {
            break;
        }
    }
    for index in 0..40 {
        let patch = json!({"data": {"k": index.to_string()}});
        maps.patch("a", &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .expect("is patched");
    }
    let (mut errors, mut lists) = (0, 0);
    while lists == 0 {
        match soon("a new list", stream.next()).await.expect("an event") {
            Ok(watcher::Event::InitApply(object)) => {
                assert_eq!(object.data.expect("data")["k"], "39");
                lists += 1;
            }
            Ok(_) => {}
            Err(_) => errors += 1,
        }
    }
    assert_eq!(errors, 1);
}

#[derive(Debug, thiserror::Error)]
#[error("no work fails here")]
struct NoError;

#[tokio::test]
async fn finalizers_of_kube_work() {
    let server = Server::start();
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server));
    let made = maps
        .create(&PostParams::default(), &map("a"))
        .await
        .expect("is made");
    let run = async |object: ConfigMap| {
        let result = finalizer(
            &maps,
            "test.io/clean",
            Arc::new(object),
            |event| async move {
                assert!(matches!(
                    event,
                    FinalizerEvent::Apply(_) | FinalizerEvent::Cleanup(_)
                ));
                Ok::<_, NoError>(kube::runtime::controller::Action::await_change())
            },
        );
        result.await.expect("the finalizer's patch is taken");
    };
    run(made).await;
    let object = maps.get("a").await.expect("is there");
    assert_eq!(object.finalizers(), ["test.io/clean"]);
    assert!(
        maps.delete("a", &DeleteParams::default())
            .await
            .expect("is marked")
            .is_left()
    );
    run(maps.get("a").await.expect("is held")).await;
    assert!(maps.get_opt("a").await.expect("an answer").is_none());
}

#[tokio::test]
async fn the_recorder_of_kube_counts_events() {
    let server = Server::start();
    let client = client(&server);
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let made = maps
        .create(&PostParams::default(), &map("a"))
        .await
        .expect("is made");
    let recorder = Recorder::new(
        client.clone(),
        Reporter {
            controller: "test".into(),
            instance: None,
        },
    );
    let reference: ObjectReference = made.object_ref(&());
    let event = Event {
        type_: EventType::Warning,
        reason: "Broken".into(),
        note: Some("it broke".into()),
        action: "Break".into(),
        secondary: None,
    };
    recorder
        .publish(&event, &reference)
        .await
        .expect("the first");
    recorder
        .publish(&event, &reference)
        .await
        .expect("the second");
    let events: Api<k8s_openapi::api::core::v1::Event> = Api::default_namespaced(client);
    let found = events
        .list(&ListParams::default().fields("involvedObject.name=a,reason=Broken"))
        .await
        .expect("a list");
    assert_eq!(found.items.len(), 1);
    assert_eq!(
        found.items[0]
            .series
            .as_ref()
            .and_then(|series| series.count),
        Some(2)
    );
}
