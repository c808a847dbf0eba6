//! Things that end: finalizers, owners, namespaces, definitions.

use serde_json::{Value, json};

use crate::support::{PATH, Server, config_map, widget};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn owned(name: &str, owner: &Value) -> Value {
    let mut map = config_map(name, "k", "v");
    map["metadata"]["ownerReferences"] = json!([{"apiVersion": owner["apiVersion"], "kind": owner["kind"],
        "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true}]);
    map
}

#[tokio::test]
async fn a_finalizer_holds_an_object() {
    let server = Server::start();
    let path = format!("{MAPS}/a");
    let mut map = config_map("a", "k", "v");
    map["metadata"]["finalizers"] = json!(["test.io/work"]);
    server.post(MAPS, map).await.expect(201);
    let held = server.delete(&path, json!({})).await.expect(200);
    assert!(held["metadata"]["deletionTimestamp"].is_string(), "{held}");
    server.delete(&path, json!({})).await.expect(200);
    let more = json!({"metadata": {"finalizers": ["test.io/work", "test.io/more"]}});
    server.patch("merge", &path, more).await.expect(422);
    server
        .patch("merge", &path, json!({"metadata": {"finalizers": null}}))
        .await
        .expect(200);
    server.get(&path).await.expect(404);
}

#[tokio::test]
async fn preconditions_of_a_deletion() {
    let server = Server::start();
    let made = server
        .post(MAPS, config_map("a", "k", "v"))
        .await
        .expect(201);
    let path = format!("{MAPS}/a");
    let wrong = server
        .delete(&path, json!({"preconditions": {"uid": "other"}}))
        .await;
    assert!(
        wrong
            .message()
            .contains("the UID in the precondition (other) does not match the UID in record"),
        "{wrong:?}"
    );
    wrong.expect(409);
    server
        .delete(&path, json!({"preconditions": {"resourceVersion": "1"}}))
        .await
        .expect(409);
    let status = server
        .delete(
            &path,
            json!({"preconditions": {"uid": made["metadata"]["uid"]}}),
        )
        .await
        .expect(200);
    assert_eq!(
        (&status["kind"], &status["status"]),
        (&json!("Status"), &json!("Success"))
    );
    server.delete(&path, json!({})).await.expect(404);
}

#[tokio::test]
async fn a_collection_goes_by_selector() {
    let server = Server::start();
    for (name, group) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let mut map = config_map(name, "k", "v");
        map["metadata"]["labels"] = json!({"group": group});
        server.post(MAPS, map).await.expect(201);
    }
    server
        .delete(&format!("{MAPS}?labelSelector=group%3Dx"), json!({}))
        .await
        .expect(200);
    let left = server.get(MAPS).await.expect(200);
    assert_eq!(left["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
}

#[tokio::test]
async fn dependents_follow_their_owner() {
    let server = Server::with_widgets().await;
    let owner = server.post(PATH, widget("owner", 5)).await.expect(201);
    server.post(MAPS, owned("child", &owner)).await.expect(201);
    let mut two = owned("two-owners", &owner);
    let other = server.post(PATH, widget("other", 5)).await.expect(201);
    let second = owned("x", &other)["metadata"]["ownerReferences"][0].clone();
    two["metadata"]["ownerReferences"]
        .as_array_mut()
        .expect("a list")
        .push(second);
    server.post(MAPS, two).await.expect(201);
    let mut stranger = owned("stranger", &owner);
    stranger["metadata"]["ownerReferences"][0]["kind"] = json!("Unheard");
    stranger["metadata"]["ownerReferences"][0]["uid"] = json!("elsewhere");
    server.post(MAPS, stranger).await.expect(201);

    server
        .delete(&format!("{PATH}/owner"), json!({}))
        .await
        .expect(200);
    server.wait_gone(&format!("{MAPS}/child")).await;
    let path = format!("{MAPS}/two-owners");
    let left = server
        .wait(&path, "one owner is left", |answer| {
            answer.body["metadata"]["ownerReferences"]
                .as_array()
                .is_some_and(|list| list.len() == 1)
        })
        .await;
    assert_eq!(left.body["metadata"]["ownerReferences"][0]["name"], "other");
    server.get(&format!("{MAPS}/stranger")).await.expect(200);
}

#[tokio::test]
async fn orphans_stay_and_foreground_waits() {
    let server = Server::with_widgets().await;
    let owner = server.post(PATH, widget("a", 5)).await.expect(201);
    server.post(MAPS, owned("orphan", &owner)).await.expect(201);
    server
        .delete(&format!("{PATH}/a"), json!({"propagationPolicy": "Orphan"}))
        .await
        .expect(200);
    server.get(&format!("{PATH}/a")).await.expect(404);
    let orphan = server.get(&format!("{MAPS}/orphan")).await.expect(200);
    assert!(
        orphan["metadata"]["ownerReferences"]
            .as_array()
            .is_none_or(Vec::is_empty),
        "{orphan}"
    );

    let owner = server.post(PATH, widget("b", 5)).await.expect(201);
    let mut child = owned("child", &owner);
    child["metadata"]["finalizers"] = json!(["test.io/work"]);
    server.post(MAPS, child).await.expect(201);
    let held = server
        .delete(
            &format!("{PATH}/b"),
            json!({"propagationPolicy": "Foreground"}),
        )
        .await
        .expect(200);
    assert_eq!(
        held["metadata"]["finalizers"],
        json!(["foregroundDeletion"])
    );
    let path = format!("{MAPS}/child");
    server
        .wait(&path, "the child is marked", |answer| {
            answer.body["metadata"]["deletionTimestamp"].is_string()
        })
        .await;
    server.get(&format!("{PATH}/b")).await.expect(200);
    // a restart in between forgets nothing
    let server = server.restart().await;
    server
        .patch("merge", &path, json!({"metadata": {"finalizers": null}}))
        .await
        .expect(200);
    server.wait_gone(&format!("{PATH}/b")).await;
}

#[tokio::test]
async fn a_namespace_takes_its_contents_along() {
    let server = Server::start();
    let space = json!({"metadata": {"name": "space"}});
    let made = server.post("/api/v1/namespaces", space).await.expect(201);
    assert_eq!(
        made["metadata"]["labels"]["kubernetes.io/metadata.name"],
        "space"
    );
    let maps = "/api/v1/namespaces/space/configmaps";
    let mut held = config_map("held", "k", "v");
    held["metadata"]["finalizers"] = json!(["test.io/work"]);
    server.post(maps, held).await.expect(201);
    server
        .post(maps, config_map("free", "k", "v"))
        .await
        .expect(201);
    let terminating = server
        .delete("/api/v1/namespaces/space", json!({}))
        .await
        .expect(200);
    assert_eq!(terminating["status"]["phase"], "Terminating");
    server.wait_gone(&format!("{maps}/free")).await;
    let refused = server.post(maps, config_map("late", "k", "v")).await;
    assert!(
        refused.message().contains("because it is being terminated"),
        "{refused:?}"
    );
    refused.expect(403);
    server
        .patch(
            "merge",
            &format!("{maps}/held"),
            json!({"metadata": {"finalizers": null}}),
        )
        .await
        .expect(200);
    server.wait_gone("/api/v1/namespaces/space").await;
    server
        .delete("/api/v1/namespaces/default", json!({}))
        .await
        .expect(403);
}

#[tokio::test]
async fn a_definition_takes_its_objects_along() {
    let server = Server::with_widgets().await;
    server.post(PATH, widget("a", 5)).await.expect(201);
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.test.longshore.io";
    let definition = server.get(path).await.expect(200);
    assert_eq!(definition["status"]["conditions"][1]["type"], "Established");
    server.delete(path, json!({})).await.expect(200);
    server.wait_gone(path).await;
    server.get(PATH).await.expect(404);
    server.define_widgets().await;
    let list = server.get(PATH).await.expect(200);
    assert_eq!(list["items"], json!([]));
}

#[tokio::test]
async fn a_bad_definition_is_refused_with_its_faults() {
    let server = Server::start();
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let definition = json!({"metadata": {"name": "wrong"}, "spec": {"group": "g.io", "scope": "Both",
        "names": {"plural": "things", "kind": "Thing"},
        "versions": [{"name": "v1", "served": true, "storage": false, "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"a": {"pattern": "("}}}}}]}});
    let refused = server.post(path, definition).await.expect(422);
    let fields: Vec<&Value> = refused["details"]["causes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|cause| &cause["field"])
        .collect();
    // Where all versions have one schema, the real server names it so.
    let schema = "spec.validation.openAPIV3Schema.properties[a]";
    assert_eq!(
        fields,
        [
            &json!("metadata.name"),
            &json!("spec.scope"),
            &json!("spec.versions"),
            &json!(format!("{schema}.pattern")),
            &json!(format!("{schema}.type"))
        ]
    );
}
