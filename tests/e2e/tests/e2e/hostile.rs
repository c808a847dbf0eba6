//! Requests that are made to cost, and what is refused in whose words.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use kube::{
    Client, Error,
    api::{Api as KubeApi, DynamicObject, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use longshore_harness::{hub::client, kubectl::output, prelude::*};

/// One key of a megabyte above very many small items.
fn long_key() -> String {
    let items = vec!["0"; 900_000].join(",");
    format!("{{\"{}\":[{items}]}}", "k".repeat(1_000_000))
}

/// Four clients send nothing but bodies that cost, one after the other, and nobody
/// waits for them: no other request, and no stop.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_no_request() {
    let mut hub = hub().run().await;
    let body = hub.folder().join("long-key.json");
    std::fs::write(&body, long_key()).unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (kubeconfig, body) = (hub.kubeconfig().to_owned(), body.clone());
            let answered = Arc::clone(&answered);
            tokio::task::spawn_blocking(move || {
                let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
                let file = body.to_str().unwrap();
                loop {
                    let done = output(&kubeconfig, &["create", "--raw", reviews, "-f", file]);
                    let told = String::from_utf8_lossy(&done.stderr).into_owned();
                    if !told.contains("must be specified") {
                        return told;
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    eventually("some of them to be answered", || async {
        let count = answered.load(Ordering::Relaxed);
        (count >= 4)
            .then_some(())
            .ok_or_else(|| format!("{count} are"))
    })
    .await;
    let (code, ready) = hub.get_text("/readyz").await.unwrap();
    assert_eq!(code, 200, "{ready}");
    let ended = hub.process().terminate().await;
    assert!(ended.success(), "{ended}");
    for client in clients {
        client.await.unwrap();
    }
}

fn schemas() -> Vec<Json> {
    let a = |schema: Json| json!({"type": "object", "properties": {"a": schema}});
    vec![
        a(json!({"type": "string", "$ref": "#/definitions/x"})),
        a(json!({"type": "string", "default": 7})),
        a(json!({"type": "integer", "maximum": 3, "default": 7})),
        a(
            json!({"type": "object", "properties": {"b": {"type": "string"}}, "default": {"c": "d"}}),
        ),
        a(
            json!({"type": "object", "required": ["b"], "properties": {"b": {"type": "string"}}, "default": {}}),
        ),
        a(json!({"properties": {"b": {"type": "string"}}})),
        a(json!({"type": "array"})),
        a(json!({"type": "array", "items": {"minimum": 1}})),
        a(json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true})),
        a(
            json!({"type": "object", "properties": {"b": {"type": "string"}}, "additionalProperties": {"type": "string"}}),
        ),
        a(json!({"type": "object", "anyOf": [{"type": "object"}]})),
        a(json!({"type": "object", "allOf": [{"description": "x"}]})),
        a(json!({"type": "object", "not": {"nullable": true}})),
        a(
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}}}}),
        ),
        a(json!({"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}})),
        a(json!({"type": "array", "x-kubernetes-list-type": "bag", "items": {"type": "object"}})),
        a(json!({"type": "string", "x-kubernetes-map-type": "atomic"})),
        a(json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}})),
        a(json!({"type": "thing"})),
        a(json!({"type": "object", "x-kubernetes-embedded-resource": true})),
        a(
            json!({"x-kubernetes-int-or-string": true, "x-kubernetes-preserve-unknown-fields": true}),
        ),
        a(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": false})),
        json!({"type": "object", "anyOf": [{"properties": {"z": {"minimum": 1}}}], "properties": {"a": {"type": "string"}}}),
        json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
        json!({"type": "object", "properties": {"kind": {"type": "integer"}}}),
        json!({"type": "object", "additionalProperties": {"type": "string"}}),
        json!({"type": "array", "items": {"type": "string"}}),
        // And what is right.
        a(json!({"type": "integer", "maximum": 9, "default": 7})),
        a(
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}}}),
        ),
        a(
            json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
        ),
        a(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})),
        a(
            json!({"type": "object", "properties": {"b": {"type": "string"}}, "oneOf": [{"required": ["b"]}]}),
        ),
    ]
}

/// What the API server says to a definition; nothing is kept.
async fn judged(client: &Client, schema: &Json) -> String {
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let resource = ApiResource::from_gvk_with_plural(&kind, "customresourcedefinitions");
    let definitions: KubeApi<DynamicObject> = KubeApi::all_with(client.clone(), &resource);
    let object = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.words.io"},
        "spec": {"group": "words.io", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
    let object = serde_json::from_value(object).unwrap();
    let nothing_kept = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match definitions.create(&nothing_kept, &object).await {
        Ok(_) => "accepted".to_owned(),
        Err(Error::Api(status)) => status.message.clone(),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_judged_in_the_words_of_kubernetes() {
    let hub = hub().run().await;
    let (api, _control_plane) = real().await;
    let Api::Real(kubeconfig) = api else {
        unreachable!("it is a real one");
    };
    let (ours, theirs) = (hub.client().await, client(&kubeconfig).await.unwrap());
    let mut different = Vec::new();
    for schema in schemas() {
        let (here, there) = (judged(&ours, &schema).await, judged(&theirs, &schema).await);
        if here != there {
            different.push(format!("{schema}\n  ours:   {here}\n  theirs: {there}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
