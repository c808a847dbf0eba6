//! Requests that are made to cost, and objects that are too large.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::support::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// One key of a megabyte above very many small items.
fn long_key() -> String {
    let items = vec!["0"; 900_000].join(",");
    format!("{{\"{}\":[{items}]}}", "k".repeat(1_000_000))
}

/// A body, where it goes, and the codes with which it may be answered.
type Hostile = (
    &'static str,
    &'static str,
    &'static str,
    String,
    &'static [u16],
);

fn hostile() -> Vec<Hostile> {
    let twice = vec!["{\"x\":1,\"x\":2}"; 150_000].join(",");
    let unknown: Vec<String> = (0..200_000).map(|n| format!("\"u{n}\":1")).collect();
    let labels: Vec<String> = (0..100_000).map(|n| format!("\"l{n}\":\"A!\"")).collect();
    let alias = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n  k: &a \"{}\"\n{}",
        "x".repeat(1_000_000),
        (0..60).map(|n| format!("  k{n}: *a\n")).collect::<String>()
    );
    let doubling = (0..26).map(|_| json!({"op": "copy", "from": "/x/a", "path": "/x/a/-"}));
    let first = json!({"op": "add", "path": "/x", "value": {"a": ["x".repeat(10)]}});
    let bomb: Vec<Value> = std::iter::once(first).chain(doubling).collect();
    let shifts = vec![json!({"op": "add", "path": "/x/0", "value": 1}); 10_000];
    let fill = json!({"op": "add", "path": "/x", "value": vec![0; 500_000]});
    let shifts: Vec<Value> = std::iter::once(fill).chain(shifts).collect();
    let meta = "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"h\"";
    vec![
        ("POST", REVIEWS, "application/json", long_key(), &[422]),
        ("POST", MAPS, "application/json", long_key(), &[422]),
        (
            "POST",
            MAPS,
            "application/json",
            format!("{meta}}},\"{}\":[{twice}]}}", "k".repeat(500_000)),
            &[201],
        ),
        (
            "POST",
            MAPS,
            "application/json",
            format!("{meta},\"labels\":{{{}}}}}}}", labels.join(",")),
            &[422],
        ),
        (
            "PUT",
            "/api/v1/namespaces/default/configmaps/p",
            "application/json",
            format!("{{\"metadata\":{{\"name\":\"p\"}},{}}}", unknown.join(",")),
            &[200],
        ),
        ("POST", MAPS, "application/yaml", alias, &[413]),
        (
            "PATCH",
            "/api/v1/namespaces/default/configmaps/p",
            "application/json-patch+json",
            Value::from(bomb).to_string(),
            &[413],
        ),
        (
            "PATCH",
            "/api/v1/namespaces/default/configmaps/p",
            "application/json-patch+json",
            Value::from(shifts).to_string(),
            &[413],
        ),
        (
            "POST",
            MAPS,
            "application/json",
            "[".repeat(1_000_000),
            &[400],
        ),
    ]
}

#[tokio::test]
async fn hostile_bodies_are_refused() {
    let server = Server::start();
    server
        .post(MAPS, config_map("p", "k", "v"))
        .await
        .expect(201);
    for (method, path, media, body, codes) in hostile() {
        let size = body.len();
        let answer = server.send(method, path, media, body).await;
        let told = answer.body.to_string();
        let begin: String = told.chars().take(300).collect();
        assert!(
            codes.contains(&answer.code),
            "{method} {path} with {size} bytes: {} {begin}",
            answer.code
        );
        assert!(told.len() < 256 * 1024, "{} bytes of answer", told.len());
        let warned: usize = answer.warnings.iter().map(String::len).sum();
        assert!(warned < 8 * 1024, "{warned} bytes of warnings");
    }
}

/// On one thread for everything that waits, so that work which is done there would be
/// seen: a small request then waits for all large ones before it.
#[tokio::test]
async fn large_work_holds_up_nobody() {
    let server = Arc::new(Server::start());
    let done = Arc::new(AtomicUsize::new(0));
    let requests: Vec<_> = (0..8)
        .map(|_| {
            let (server, done) = (server.clone(), done.clone());
            tokio::spawn(async move {
                let answer = server.send("POST", REVIEWS, "application/json", long_key());
                answer.await.expect(422);
                done.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    tokio::task::yield_now().await;
    server.get("/healthz").await.expect(200);
    let before = done.load(Ordering::Relaxed);
    assert!(before < 8, "the small request came last");
    for request in requests {
        request.await.expect("is answered");
    }
}

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

/// A lease with one field: a text that no rule of its kind bounds.
fn lease(field: &str, value: &str) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"},
        "spec": {field: value}})
}

#[tokio::test]
async fn an_object_is_not_larger_than_an_object_may_be() {
    let server = Server::start();
    let text = |length: usize| "x".repeat(length);
    let refused = |answer: Answer| {
        let status = answer.expect(413);
        assert_eq!(status["reason"], "RequestEntityTooLarge");
        assert_eq!(
            status["message"],
            "Request entity too large: limit is 1572864"
        );
    };
    let large = text(1_600_000);
    refused(server.post(LEASES, lease("holderIdentity", &large)).await);
    let yaml = format!(
        "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {{name: a}}\nspec: {{holderIdentity: &a {}, strategy: *a}}\n",
        text(900_000)
    );
    refused(server.send("POST", LEASES, "application/yaml", yaml).await);
    let field = |number: u8, inner: &[u8]| {
        let mut bytes = vec![number << 3 | 2];
        let mut length = inner.len();
        while length >= 0x80 {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        [bytes.as_slice(), inner].concat()
    };
    let spec = field(1, large.as_bytes());
    let object = [field(1, &field(1, b"a")), field(2, &spec)].concat();
    let kind = [field(1, b"coordination.k8s.io/v1"), field(2, b"Lease")].concat();
    let protobuf = [b"k8s\0".to_vec(), field(1, &kind), field(2, &object)].concat();
    let media = "application/vnd.kubernetes.protobuf";
    refused(server.send("POST", LEASES, media, protobuf).await);

    server
        .post(LEASES, lease("holderIdentity", &text(1_000_000)))
        .await
        .expect(201);
    let one = format!("{LEASES}/a");
    let more = json!({"spec": {"strategy": text(700_000)}});
    refused(server.patch("merge", &one, more.clone()).await);
    refused(server.patch("strategic", &one, more).await);
    let copy = json!([{"op": "copy", "from": "/spec/holderIdentity", "path": "/spec/strategy"}]);
    refused(server.patch("json", &one, copy).await);
    let config = lease("strategy", &text(700_000));
    let apply = format!("{one}?fieldManager=t&force=true");
    refused(server.patch("apply", &apply, config).await);
    refused(server.put(&one, lease("holderIdentity", &large)).await);
    let kept = server.get(&one).await.expect(200);
    let kept = kept["spec"]["holderIdentity"].as_str().map(str::len);
    assert_eq!(kept, Some(1_000_000), "it is as it was");
}

#[tokio::test]
async fn a_patch_makes_no_object_into_something_else() {
    let server = Server::with_widgets().await;
    server.post(PATH, widget("a", 5)).await.expect(201);
    let one = format!("{PATH}/a");
    for whole in [json!(7), json!([1]), json!("x"), json!(null)] {
        let step = json!([{"op": "replace", "path": "", "value": whole}]);
        server.patch("json", &one, step).await.expect(422);
        server.patch("merge", &one, whole).await.expect(400);
    }
    for metadata in [json!(7), json!([1])] {
        let patch = json!({ "metadata": metadata });
        server.patch("merge", &one, patch).await.expect(400);
    }
    let spec = server.patch("merge", &one, json!({"spec": 7})).await;
    spec.expect(422);
    let kept = server.get(&one).await.expect(200);
    assert_eq!(kept["spec"]["size"], 5);
}

/// What a definition may not say, and the words for it. They are those of the real
/// server: tests/e2e holds the two against each other.
#[tokio::test]
async fn definitions_that_kubernetes_refuses_are_refused() {
    let server = Server::start();
    for (schema, words) in [
        (
            json!({"$ref": "#/definitions/x"}),
            "properties[a].$ref: Forbidden: $ref is not supported",
        ),
        (
            json!({"type": "string", "default": 7}),
            "properties[a].default: Invalid value: \"integer\": ",
        ),
        (
            json!({"type": "object", "properties": {"b": {"type": "string"}}, "default": {"c": 1}}),
            "properties[a].default: Invalid value: {\"c\":1}: must not have unknown fields",
        ),
        (
            json!({"properties": {}}),
            "properties[a].type: Required value: must not be empty for specified object fields",
        ),
        (
            json!({"type": "array"}),
            "properties[a].items: Required value: must be specified",
        ),
        (
            json!({"type": "array", "items": {}}),
            "properties[a].items.type: Required value: must not be empty for specified array items",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true}),
            "properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ),
        (
            json!({"type": "object", "properties": {"b": {"type": "string"}}, "additionalProperties": {"type": "string"}}),
            "properties[a].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ),
        (
            json!({"type": "object", "anyOf": [{"type": "object"}]}),
            "properties[a].anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object", "properties": {"k": {"type": "string"}}},
            "x-kubernetes-list-map-keys": ["k"]}),
            "items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ),
        (
            json!({"type": "string", "pattern": "("}),
            "properties[a].pattern: Invalid value: \"(\": must be a valid regular expression",
        ),
        (
            json!({"type": "thing"}),
            "properties[a].type: Unsupported value: \"thing\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
        ),
        (
            json!({"type": "string", "patternProperties": {"x": {"type": "string"}}}),
            "properties[a].patternProperties: Forbidden: patternProperties is not supported",
        ),
    ] {
        let definition = json!({"metadata": {"name": "things.g.io"}, "spec": {"group": "g.io", "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"}, "versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"a": schema}}}}]}});
        let answer = server.post(DEFINITIONS, definition).await;
        let message = answer.message().to_owned();
        answer.expect(422);
        assert!(message.contains(words), "{schema}: {message}");
    }
}
