//! What kubectl, Helm and the libraries of clients ask, in the forms that they ask it in.
//! The right answers are those of a real server, beside which the end-to-end tests put
//! the same questions.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::support::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const NODES: &str = "/api/v1/nodes";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// A widget with these fields of its spec.
fn with(name: &str, spec: Value) -> Value {
    let mut object = widget(name, 5);
    for (field, value) in spec.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    object
}

/// The names of the items of a list, or of the objects of a watch.
fn names(body: &Value) -> Vec<&str> {
    let items = body["items"].as_array().into_iter().flatten();
    items
        .filter_map(|item| item["metadata"]["name"].as_str())
        .collect()
}

#[tokio::test]
async fn null_in_a_custom_resource_means_absent() {
    let server = Server::with_widgets().await;
    let nulls = json!({"code": null, "color": null, "parts": null, "free": null, "port": null});
    let mut object = with("a", nulls.clone());
    object["metadata"]["labels"] = Value::Null;
    object["metadata"]["annotations"] = json!({"kept": "x", "empty": null});
    let made = server.post(PATH, object).await.expect(201);
    assert_eq!(made["spec"], json!({"size": 5, "color": "red"}));
    assert_eq!(
        made["metadata"]["annotations"],
        json!({"kept": "x", "empty": ""})
    );
    assert_eq!(made["metadata"]["labels"], Value::Null);

    let one = format!("{PATH}/a");
    let mut next = with("a", nulls.clone());
    next["spec"]["parts"] = json!([{"name": "p", "count": null}]);
    next["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
    let put = server.put(&one, next).await.expect(200);
    let spec = json!({"size": 5, "color": "red", "parts": [{"name": "p"}]});
    assert_eq!(put["spec"], spec);
    let step = json!([{"op": "add", "path": "/spec/code", "value": null}]);
    let patched = server.patch("json", &one, step).await.expect(200);
    assert_eq!(patched["spec"], spec);
    // What is applied is checked as it is; a default takes the place of null all the same.
    let path = format!("{PATH}/b?fieldManager=t");
    let applied = with("b", json!({"color": null}));
    let applied = server.patch("apply", &path, applied).await.expect(201);
    assert_eq!(applied["spec"], json!({"size": 5, "color": "red"}));
    let answer = server.patch("apply", &path, with("b", nulls)).await;
    let fault = "spec.code in body must be of type string: \"null\"";
    assert!(answer.message().contains(fault), "{answer:?}");
    answer.expect(422);

    // What must be there is missed, and an item of a list is no field.
    let answer = server.post(PATH, with("c", json!({"size": null}))).await;
    assert!(
        answer.message().contains("spec.size: Required value"),
        "{answer:?}"
    );
    answer.expect(422);
    let answer = server.post(PATH, with("c", json!({"tags": [null]}))).await;
    assert!(answer.message().contains("spec.tags[0]"), "{answer:?}");
    answer.expect(422);
    // Free data may hold null.
    let free = with("d", json!({"free": {"x": null}}));
    let made = server.post(PATH, free).await.expect(201);
    assert_eq!(made["spec"]["free"], json!({"x": null}));
}

#[tokio::test]
async fn a_field_that_is_absent_is_selected_by_its_default() {
    let server = Server::start();
    for (name, spec) in [
        ("plain", json!({})),
        ("off", json!({"unschedulable": false})),
        ("on", json!({"unschedulable": true})),
    ] {
        let node = json!({"metadata": {"name": name}, "spec": spec});
        server.post(NODES, node).await.expect(201);
    }
    for (selector, wanted) in [
        ("spec.unschedulable%3Dfalse", vec!["off", "plain"]),
        ("spec.unschedulable!%3Dtrue", vec!["off", "plain"]),
        ("spec.unschedulable%3Dtrue", vec!["on"]),
        ("spec.unschedulable!%3Dfalse", vec!["on"]),
    ] {
        let path = format!("{NODES}?fieldSelector={selector}");
        let list = server.get(&path).await.expect(200);
        assert_eq!(names(&list), wanted, "{selector}");
    }
    let events = "/api/v1/namespaces/default/events";
    for (name, reporter) in [
        ("old", json!({"source": {"component": "kubelet"}})),
        ("new", json!({"reportingComponent": "kubelet"})),
        ("none", json!({})),
    ] {
        let mut event = json!({"metadata": {"name": name}, "involvedObject": {"kind": "Node", "name": "plain"}});
        for (field, value) in reporter.as_object().into_iter().flatten() {
            event[field] = value.clone();
        }
        server.post(events, event).await.expect(201);
    }
    for (selector, wanted) in [
        ("source%3Dkubelet", vec!["new", "old"]),
        ("source%3D", vec!["none"]),
        ("type%3D", vec!["new", "none", "old"]),
        (
            "involvedObject.namespace%3D,involvedObject.name%3Dplain",
            vec!["new", "none", "old"],
        ),
    ] {
        let path = format!("{events}?fieldSelector={selector}");
        let list = server.get(&path).await.expect(200);
        assert_eq!(names(&list), wanted, "{selector}");
    }
    // What controllers ask about a node's pods, of which there are none.
    let pods = "/api/v1/pods?fieldSelector=spec.nodeName%3Dplain,status.phase!%3DSucceeded,spec.hostNetwork%3Dfalse,spec.restartPolicy%3DAlways";
    assert!(names(&server.get(pods).await.expect(200)).is_empty());
    let answer = server
        .get(&format!("{NODES}?fieldSelector=spec.nothing%3Dx"))
        .await;
    assert_eq!(answer.message(), "field label not supported: spec.nothing");
    answer.expect(400);
}

#[tokio::test]
async fn a_watch_overlooks_limit() {
    let server = Server::start();
    for name in ["a", "b", "c"] {
        server
            .post(MAPS, config_map(name, "k", "v"))
            .await
            .expect(201);
    }
    for query in [
        "limit=1",
        "limit=1&continue=abc",
        "limit=2&resourceVersion=0",
    ] {
        let path = format!("{MAPS}?watch=1&timeoutSeconds=1&{query}");
        let answer = server.get(&path).await;
        let text = answer.expect(200);
        let lines = text.as_str().unwrap_or_default().lines();
        let seen: Vec<Value> = lines
            .map(|line| serde_json::from_str(line).expect("an event"))
            .collect();
        let seen: Vec<_> = seen
            .iter()
            .map(|event| (&event["type"], &event["object"]["metadata"]["name"]))
            .collect();
        let added = json!("ADDED");
        assert_eq!(
            seen,
            [
                (&added, &json!("a")),
                (&added, &json!("b")),
                (&added, &json!("c"))
            ],
            "{query}"
        );
    }
}

/// Asks with these headers: (status code, content type, body).
async fn ask(server: &Server, path: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
    use http_body_util::BodyExt;
    use tower::ServiceExt;
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).expect("a request");
    let response = server
        .api
        .router()
        .oneshot(request)
        .await
        .expect("an answer");
    let code = response.status().as_u16();
    let kind = response.headers().get("content-type");
    let kind = kind
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let body = response.into_body().collect().await.expect("a body");
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    (code, kind, text)
}

#[tokio::test]
async fn the_older_openapi_document_comes_as_it_is_asked_for() {
    let server = Server::with_widgets().await;
    let path = "/openapi/v2";
    let protobuf = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    let older = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    for (accept, kind) in [
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("application/json, */*", "application/json"),
        (older, protobuf),
        (protobuf, protobuf),
    ] {
        let (code, given, _) = ask(&server, path, &[("accept", accept)]).await;
        assert_eq!((code, given.as_str()), (200, kind), "{accept}");
    }
    let (code, _, _) = ask(&server, path, &[("accept", "text/html")]).await;
    assert_eq!(code, 406);
    let (_, _, text) = ask(&server, path, &[]).await;
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["swagger"], "2.0");
    let name = "io.longshore.test.v1.Widget";
    let widget = &document["definitions"][name];
    assert_eq!(
        widget["properties"]["spec"]["properties"]["size"]["type"],
        "integer"
    );
    let meta = "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    assert_eq!(widget["properties"]["metadata"]["$ref"], meta);
    let one = "/apis/test.longshore.io/v1/namespaces/{namespace}/widgets/{name}";
    let patch = &document["paths"][one]["patch"];
    let parameters = patch["parameters"].as_array().expect("a list");
    assert!(
        parameters
            .iter()
            .any(|parameter| parameter["name"] == "fieldValidation"
                && parameter["in"] == "query"
                && parameter["type"] == "string"),
        "{patch}"
    );
    // Every reference leads somewhere.
    let mut at = 0;
    while let Some(found) = text[at..].find("\"$ref\":\"") {
        let begin = at + found + "\"$ref\":\"".len();
        let end = begin + text[begin..].find('"').expect("it ends");
        let target = text[begin..end].strip_prefix("#/definitions/");
        let target = target.expect("of this version");
        assert!(document["definitions"][target].is_object(), "{target}");
        at = end;
    }
    assert!(at > 0);
}

#[tokio::test]
async fn yaml_comes_where_it_is_asked_for() {
    let server = Server::with_widgets().await;
    let keys = json!({"a": "yes", "b": "0123", "c": "null", "d": "a\nb\n", "e": "", "f": "a: b", "g": "# no", "h": "1e3", "i": "0x1F", "j": "on", "k": "~", "l": "2024-01-01", "m": "1_000", "n": "é", "o": " x ", "p": "- a", "q": "true", "r": ".inf", "s": "1:30", "t": "a\tb"});
    let map = json!({"metadata": {"name": "m"}, "data": keys});
    server.post(MAPS, map).await.expect(201);
    server.post(PATH, widget("w", 5)).await.expect(201);
    for path in [
        format!("{MAPS}/m"),
        MAPS.to_owned(),
        format!("{PATH}/w"),
        format!("{PATH}/none"),
        "/apis".to_owned(),
        "/api/v1".to_owned(),
    ] {
        let (code, _, json) = ask(&server, &path, &[]).await;
        let (same, kind, yaml) = ask(&server, &path, &[("accept", "application/yaml")]).await;
        assert_eq!((same, kind.as_str()), (code, "application/yaml"), "{path}");
        let read: Value = serde_saphyr::from_str(&yaml).expect("YAML");
        let json: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(read, json, "{path}:\n{yaml}");
    }
    let (code, kind, _) = ask(&server, "/version", &[("accept", "application/yaml")]).await;
    assert_eq!((code, kind.as_str()), (200, "application/json"));
    let watch = format!("{MAPS}?watch=1&timeoutSeconds=1");
    let (code, _, _) = ask(&server, &watch, &[("accept", "application/yaml")]).await;
    assert_eq!(code, 406, "a stream is no YAML");
    for accept in [
        "text/html",
        "application/cbor",
        "application/vnd.kubernetes.protobuf",
    ] {
        let (code, _, text) = ask(&server, MAPS, &[("accept", accept)]).await;
        assert_eq!(code, 406, "{accept}: {text}");
        assert!(text.contains("only the following media types are accepted: application/json"));
    }
    let fallback = "application/vnd.kubernetes.protobuf,application/json";
    let (code, kind, _) = ask(&server, MAPS, &[("accept", fallback)]).await;
    assert_eq!((code, kind.as_str()), (200, "application/json"));
    let answer = server
        .send("POST", PATH, "application/yaml", "apiVersion: test.longshore.io/v1\nkind: Widget\nmetadata: {name: w2}\nspec: {size: 7}\n")
        .await;
    assert_eq!(answer.expect(201)["spec"]["size"], 7);
}

#[tokio::test]
async fn who_acts_for_another_has_the_other_s_rights() {
    let server = Server::start();
    let who = |headers: &[(&str, &str)]| {
        let mut request = Request::post(WHO).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::from("{}")).expect("a request")
    };
    let answer = server
        .raw(who(&[
            ("impersonate-user", "bob"),
            ("impersonate-group", "dev"),
            ("impersonate-group", "ops"),
            ("impersonate-uid", "7"),
            ("impersonate-extra-acme.com%2Fproject", "pump"),
        ]))
        .await
        .expect(201);
    assert_eq!(
        answer["status"]["userInfo"],
        json!({"username": "bob", "groups": ["dev", "ops", "system:authenticated"], "uid": "7",
            "extra": {"acme.com/project": ["pump"]}})
    );
    let answer = server
        .raw(who(&[(
            "impersonate-user",
            "system:serviceaccount:default:robot",
        )]))
        .await
        .expect(201);
    assert_eq!(
        answer["status"]["userInfo"]["groups"],
        json!([
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated"
        ])
    );
    // With few rights, whatever the rights of who asks are.
    let as_bob = |path: &str| {
        let request = Request::get(path).header("impersonate-user", "bob");
        request.body(Body::empty()).expect("a request")
    };
    let answer = server.raw(as_bob(MAPS)).await;
    assert_eq!(
        answer.message(),
        "configmaps is forbidden: User \"bob\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\""
    );
    answer.expect(403);
    server.raw(as_bob("/version")).await.expect(200);
    // Who has none to act for others is told so, and a group alone is nobody.
    let mut request = as_bob("/version");
    let alice = longshore_apiserver::User::new("alice", ["system:authenticated".to_owned()]);
    request.extensions_mut().insert(alice);
    let answer = server.raw(request).await;
    assert_eq!(
        answer.message(),
        "users \"bob\" is forbidden: User \"alice\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope"
    );
    answer.expect(403);
    let answer = server.raw(who(&[("impersonate-group", "dev")])).await;
    assert!(
        answer.message().contains("without impersonating a user"),
        "{answer:?}"
    );
    answer.expect(400);
}

#[tokio::test]
async fn what_a_kind_does_not_allow_is_refused_in_the_words_of_kubernetes() {
    let server = Server::start();
    let big = "x".repeat(1_100_000);
    let event = |about: &str| json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Device", "name": "a", "namespace": about}});
    let secret =
        |kind: &str, data: Value| json!({"metadata": {"name": "s"}, "type": kind, "data": data});
    let node = |taints: Value| json!({"metadata": {"name": "n"}, "spec": {"taints": taints}});
    let lease = |spec: Value| json!({"metadata": {"name": "l"}, "spec": spec});
    let events = "/api/v1/namespaces/default/events";
    let dockercfg = "kubernetes.io/dockerconfigjson";
    for (path, object, wanted) in [
        (
            MAPS,
            config_map("m", "k", &big),
            "ConfigMap \"m\" is invalid: []: Too long: may not be more than 1048576 bytes",
        ),
        (
            SECRETS,
            json!({"metadata": {"name": "s"}, "stringData": {"k": big}}),
            "Secret \"s\" is invalid: data: Too long: may not be more than 1048576 bytes",
        ),
        (
            MAPS,
            config_map("m", "a b", "v"),
            "data[a b]: Invalid value: \"a b\": a valid config key must consist of",
        ),
        (
            MAPS,
            config_map("m", "..a", "v"),
            "data[..a]: Invalid value: \"..a\": must not start with '..'",
        ),
        (
            SECRETS,
            secret("kubernetes.io/tls", json!({})),
            "[data[tls.crt]: Required value, data[tls.key]: Required value]",
        ),
        (
            SECRETS,
            secret("kubernetes.io/basic-auth", json!({})),
            "[data[username]: Required value, data[password]: Required value]",
        ),
        (
            SECRETS,
            secret("kubernetes.io/ssh-auth", json!({})),
            "data[ssh-privatekey]: Required value",
        ),
        (
            SECRETS,
            secret(dockercfg, json!({})),
            "data[.dockerconfigjson]: Required value",
        ),
        (
            SECRETS,
            secret(dockercfg, json!({".dockerconfigjson": "e30K"})),
            "",
        ),
        (
            SECRETS,
            secret(dockercfg, json!({".dockerconfigjson": "e3s="})),
            "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\"",
        ),
        (
            SECRETS,
            secret("kubernetes.io/service-account-token", json!({})),
            "metadata.annotations[kubernetes.io/service-account.name]: Required value",
        ),
        (
            SECRETS,
            secret("kubernetes.io/basic-auth", json!({"username": "YQ=="})),
            "",
        ),
        (
            NODES,
            node(json!([{"key": "a", "effect": "Nope"}])),
            "Node \"n\" is invalid: metadata.taints[0].effect: Unsupported value: \"Nope\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
        ),
        (
            NODES,
            node(json!([{"key": "a b", "effect": "NoSchedule"}])),
            "metadata.taints[0].key: Invalid value: \"a b\": name part must consist of",
        ),
        (
            NODES,
            node(
                json!([{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule", "value": "x"}]),
            ),
            "metadata.taints[1]: Duplicate value",
        ),
        (
            NODES,
            node(
                json!([{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoExecute"}]),
            ),
            "",
        ),
        (
            LEASES,
            lease(json!({"leaseDurationSeconds": -1})),
            "Lease.coordination.k8s.io \"l\" is invalid: spec.leaseDurationSeconds: Invalid value: -1: must be greater than 0",
        ),
        (
            LEASES,
            lease(json!({"leaseTransitions": -1})),
            "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            LEASES,
            lease(json!({"renewTime": "yesterday"})),
            "spec.renewTime",
        ),
        (
            LEASES,
            lease(json!({"renewTime": "2024-01-01T00:00:00.000000Z", "leaseDurationSeconds": 1})),
            "",
        ),
        (
            events,
            event("other"),
            "Event \"e\" is invalid: involvedObject.namespace: Invalid value: \"other\": does not match event.namespace",
        ),
        (events, event("default"), ""),
    ] {
        let answer = server.post(path, object.clone()).await;
        if wanted.is_empty() {
            let made = answer.expect(201);
            let name = made["metadata"]["name"].as_str().expect("a name");
            server
                .delete(&format!("{path}/{name}"), json!({}))
                .await
                .expect(200);
            continue;
        }
        let message: String = answer.message().chars().take(300).collect();
        assert!(message.contains(wanted), "{wanted}\n{message}");
        answer.expect(422);
    }
}

#[tokio::test]
async fn what_is_no_object_of_its_kind_is_a_bad_request() {
    let server = Server::with_widgets().await;
    let mut labelled = widget("a", 5);
    labelled["metadata"]["labels"] = json!({"x": 1});
    let mut nameless = widget("a", 5);
    nameless.as_object_mut().expect("an object").remove("kind");
    let data = json!({"metadata": {"name": "m"}, "data": {"a": 1}});
    let bytes = json!({"metadata": {"name": "s"}, "data": {"a": "!!"}});
    for (path, object, wanted) in [
        (
            PATH,
            labelled,
            "Widget in version \"v1\" cannot be handled as a Widget: json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string",
        ),
        (
            PATH,
            nameless,
            "the object provided is unrecognized (must be of type Widget): Object 'Kind' is missing",
        ),
        (
            MAPS,
            data,
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            SECRETS,
            bytes,
            "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 0",
        ),
    ] {
        let answer = server.post(path, object).await;
        assert!(answer.message().starts_with(wanted), "{wanted}\n{answer:?}");
        answer.expect(400);
    }
    let mut other = widget("a", 5);
    other["kind"] = json!("Gadget");
    let answer = server.post(PATH, other).await;
    assert_eq!(
        answer.message(),
        "Gadget.test.longshore.io \"a\" is invalid: kind: Invalid value: \"Gadget\": must be Widget"
    );
    answer.expect(422);
}

#[tokio::test]
async fn a_pod_is_refused_with_the_reason() {
    let server = Server::start();
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let answer = server.post("/api/v1/namespaces/default/pods", pod).await;
    assert!(answer.message().contains("runs no pods"), "{answer:?}");
    assert_eq!(answer.expect(403)["reason"], "Forbidden");
}
