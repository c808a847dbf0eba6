//! The same questions to the embedded API and to a real server: the answers are the same.

use http::Request;
use kube::{Client, client::Body};
use longshore_harness::prelude::*;

const DEVICES: &str = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devices";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const EVENTS: &str = "/api/v1/namespaces/default/events";
const NODES: &str = "/api/v1/nodes";

/// A question: method, path, content type, body, and what of the answer must be the same
/// beside its code and its message.
type Question = (
    &'static str,
    String,
    &'static str,
    Json,
    &'static [&'static str],
);

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

fn post(path: &str, body: Json, same: &'static [&'static str]) -> Question {
    ("POST", path.to_owned(), JSON, body, same)
}

fn get(path: &str, same: &'static [&'static str]) -> Question {
    ("GET", path.to_owned(), JSON, Json::Null, same)
}

fn device(name: &str, spec: Json) -> Json {
    json!({"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device", "metadata": {"name": name}, "spec": spec})
}

fn secret(name: &str, kind: &str, data: Json) -> Json {
    json!({"metadata": {"name": name}, "type": kind, "data": data})
}

/// In this order: some need what those before them made.
fn questions() -> Vec<Question> {
    let big = "x".repeat(1_100_000);
    let node = |name: &str, spec: Json| json!({"metadata": {"name": name}, "spec": spec});
    let lease = |spec: Json| json!({"metadata": {"name": "l"}, "spec": spec});
    let mut labelled = device("a", json!({}));
    labelled["metadata"]["labels"] = json!({"x": 1});
    let mut marked = device("a", json!({}));
    marked["metadata"]["annotations"] = json!({"x": "a".repeat(300_000)});
    let mut wrong_label = device("a", json!({}));
    wrong_label["metadata"]["labels"] = json!({"x": "a b"});
    let mut wrong_key = device("a", json!({}));
    wrong_key["metadata"]["labels"] = json!({"a/b/c": "x"});
    let mut old = device("a", json!({}));
    old["metadata"]["resourceVersion"] = json!("5");
    let gadget = json!({"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Foo", "metadata": {"name": "a"}});
    let nulls =
        json!({"nodeName": null, "properties": [{"name": "p", "desired": null}], "methods": null});
    let mut all = vec![
        post(DEVICES, device("nulls", nulls), &["/spec"]),
        (
            "PATCH",
            format!("{DEVICES}/nulls"),
            MERGE,
            json!({"spec": {"nodeName": "n"}}),
            &["/spec"],
        ),
        (
            "PATCH",
            format!("{DEVICES}/ap?fieldManager=m"),
            APPLY,
            device("ap", json!({"nodeName": null})),
            &[],
        ),
        (
            "PATCH",
            format!("{DEVICES}/ap"),
            APPLY,
            device("ap", json!({})),
            &[],
        ),
        (
            "PATCH",
            format!("{DEVICES}/nulls?force=true"),
            MERGE,
            json!({}),
            &[],
        ),
        post(DEVICES, labelled, &[]),
        post(DEVICES, marked, &[]),
        post(DEVICES, wrong_label, &[]),
        post(DEVICES, wrong_key, &[]),
        post(DEVICES, old, &[]),
        post(DEVICES, gadget, &[]),
        post(DEVICES, device("A_b", json!({})), &[]),
        post(
            DEVICES,
            device("wrong", json!({"nodeName": 5})),
            &["/details/causes"],
        ),
        post(
            &format!("{DEVICES}?dryRun=Yes"),
            device("a", json!({})),
            &[],
        ),
        post(
            &format!("{DEVICES}?fieldValidation=Foo"),
            device("a", json!({})),
            &[],
        ),
        get(&format!("{DEVICES}?limit=abc"), &[]),
        get(&format!("{DEVICES}?resourceVersionMatch=Exact"), &[]),
        get(
            &format!("{DEVICES}?resourceVersion=1&resourceVersionMatch=Foo"),
            &[],
        ),
        get(
            &format!("{DEVICES}?resourceVersion=0&resourceVersionMatch=Exact"),
            &[],
        ),
        get(&format!("{DEVICES}?fieldSelector=abc"), &[]),
        get(&format!("{DEVICES}?fieldSelector=spec.nothing%3Da"), &[]),
        post(
            MAPS,
            json!({"metadata": {"name": "big"}, "data": {"k": big}}),
            &[],
        ),
        post(
            MAPS,
            json!({"metadata": {"name": "m"}, "data": {"a": 1}}),
            &[],
        ),
        post(
            MAPS,
            json!({"metadata": {"name": "m"}, "data": {"a b": "1"}}),
            &[],
        ),
        post(
            MAPS,
            json!({"metadata": {"name": "m"}, "data": {"a": null, "b": "1"}}),
            &["/data"],
        ),
        post(
            SECRETS,
            secret("big", "Opaque", json!({"k": "YWFh".repeat(400_000)})),
            &[],
        ),
        post(SECRETS, secret("s", "Opaque", json!({"a": "!!"})), &[]),
        post(SECRETS, secret("s", "kubernetes.io/tls", json!({})), &[]),
        post(
            SECRETS,
            secret("s", "kubernetes.io/basic-auth", json!({})),
            &[],
        ),
        post(
            SECRETS,
            secret("s", "kubernetes.io/ssh-auth", json!({})),
            &[],
        ),
        post(
            SECRETS,
            secret("s", "kubernetes.io/dockerconfigjson", json!({})),
            &[],
        ),
        post(
            SECRETS,
            secret("s", "kubernetes.io/service-account-token", json!({})),
            &[],
        ),
        post(LEASES, lease(json!({"leaseDurationSeconds": 0})), &[]),
        post(LEASES, lease(json!({"leaseTransitions": -1})), &[]),
        post(
            EVENTS,
            json!({"metadata": {"name": "e"}, "involvedObject": {"namespace": "other"}}),
            &[],
        ),
        post(NODES, node("plain", json!({})), &[]),
        post(NODES, node("on", json!({"unschedulable": true})), &[]),
        post(
            NODES,
            node("n", json!({"taints": [{"key": "a", "effect": "Nope"}]})),
            &[],
        ),
        post(
            NODES,
            node(
                "n",
                json!({"taints": [{"key": "a b", "effect": "NoSchedule"}]}),
            ),
            &[],
        ),
        get(&format!("{DEVICES}?resourceVersion=abc"), &[]),
    ];
    for selector in ["%3Dfalse", "!%3Dfalse", "%3Dtrue", "!%3Dtrue", "%3D"] {
        let path = format!("{NODES}?fieldSelector=spec.unschedulable{selector}");
        all.push(get(
            &path,
            &["/items/0/metadata/name", "/items/1/metadata/name"],
        ));
    }
    all
}

/// (code, message, what must be the same)
async fn ask(
    client: &Client,
    question: &Question,
    headers: &[(&str, &str)],
) -> (u16, String, Vec<Json>) {
    let (method, path, media, body, same) = question;
    let mut request = Request::builder()
        .method(*method)
        .uri(path)
        .header("content-type", *media);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = request.body(Body::from(text.into_bytes())).unwrap();
    let response = client.send(request).await.unwrap();
    let code = response.status().as_u16();
    let bytes = response.into_body().collect_bytes().await.unwrap();
    let body: Json = serde_json::from_slice(&bytes).unwrap_or_default();
    let message = body["message"].as_str().unwrap_or_default().to_owned();
    let same = same
        .iter()
        .map(|at| body.pointer(at).cloned().unwrap_or_default());
    (code, message, same.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_get_the_answers_of_kubernetes() {
    let embedded = hub().run().await;
    let (api, _control_plane) = real().await;
    // It brings the definitions of devices along.
    let beside = hub().on(&api).run().await;
    let (ours, theirs) = (embedded.client().await, beside.client().await);
    let mut different = Vec::new();
    for question in questions() {
        let (here, there) = (
            ask(&ours, &question, &[]).await,
            ask(&theirs, &question, &[]).await,
        );
        if here != there {
            let (method, path, _, body, _) = question;
            let body: String = body.to_string().chars().take(200).collect();
            different.push(format!(
                "{method} {path} {body}\n  ours:   {here:?}\n  theirs: {there:?}"
            ));
        }
    }
    let review = json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"});
    let who = post(REVIEWS, review, &["/status/userInfo"]);
    let list = get(MAPS, &[]);
    for headers in [
        &[
            ("impersonate-user", "bob"),
            ("impersonate-group", "dev"),
            ("impersonate-uid", "7"),
            ("impersonate-extra-a", "b"),
        ][..],
        &[("impersonate-user", "system:serviceaccount:default:robot")],
    ] {
        for question in [&who, &list] {
            let (here, there) = (
                ask(&ours, question, headers).await,
                ask(&theirs, question, headers).await,
            );
            if here != there {
                different.push(format!(
                    "{} {headers:?}\n  ours:   {here:?}\n  theirs: {there:?}",
                    question.1
                ));
            }
        }
    }
    for accept in [
        "text/html",
        "application/yaml",
        "*/*",
        "application/vnd.kubernetes.protobuf, application/json",
    ] {
        let question = get(&format!("{DEVICES}/nulls"), &[]);
        let headers = [("accept", accept)];
        let (here, there) = (
            ask(&ours, &question, &headers).await.0,
            ask(&theirs, &question, &headers).await.0,
        );
        if here != there {
            different.push(format!("Accept: {accept}: ours {here}, theirs {there}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
