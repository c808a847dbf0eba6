//! Plain requests: the words and codes that clients depend on.

use axum::body::Body;
use http::Request;
use longshore_apiserver::{ApiServer, Config, OpenError, User};
use serde_json::{Value, json};

use crate::support::{PATH, Server, config_map, widget};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn create_read_and_the_words_of_errors() {
    let server = Server::with_widgets().await;
    let made = server.post(PATH, widget("a", 5)).await.expect(201);
    assert_eq!(made["spec"], json!({"size": 5, "color": "red"}));
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(made["metadata"]["namespace"], "default");
    let read = server.get(&format!("{PATH}/a")).await.expect(200);
    assert_eq!(read, made);

    let again = server.post(PATH, widget("a", 5)).await;
    assert_eq!(
        again.message(),
        "widgets.test.longshore.io \"a\" already exists"
    );
    assert_eq!(again.expect(409)["reason"], "AlreadyExists");
    let missing = server.get(&format!("{PATH}/b")).await;
    assert_eq!(
        missing.message(),
        "widgets.test.longshore.io \"b\" not found"
    );
    assert_eq!(
        missing.expect(404)["details"],
        json!({"name": "b", "group": "test.longshore.io", "kind": "widgets"})
    );
    let invalid = server.post(PATH, widget("b", 500)).await;
    assert_eq!(
        invalid.message(),
        "Widget.test.longshore.io \"b\" is invalid: spec.size: Invalid value: 500: \
         spec.size in body should be less than or equal to 100"
    );
    assert_eq!(
        invalid.expect(422)["details"]["causes"][0]["field"],
        "spec.size"
    );
    server
        .get("/apis/test.longshore.io/v1/nothing")
        .await
        .expect(404);
    server.get("/apis/other.io/v1").await.expect(404);
    server
        .post("/api/v1/configmaps", config_map("a", "k", "v"))
        .await
        .expect(405);
    let nowhere = server
        .post(
            "/api/v1/namespaces/none/configmaps",
            config_map("a", "k", "v"),
        )
        .await;
    assert_eq!(nowhere.message(), "namespaces \"none\" not found");
}

#[tokio::test]
async fn unknown_fields_by_field_validation() {
    let server = Server::with_widgets().await;
    let mut given = widget("a", 5);
    given["spec"]["sise"] = json!(1);
    given["extra"] = json!(1);
    let strict = server
        .post(&format!("{PATH}?fieldValidation=Strict"), given.clone())
        .await;
    assert_eq!(
        strict.message(),
        "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: \
         unknown field \"spec.sise\", unknown field \"extra\""
    );
    strict.expect(400);
    let warned = server
        .post(&format!("{PATH}?fieldValidation=Warn"), given.clone())
        .await;
    assert_eq!(
        warned.warnings[0],
        "299 - \"unknown field \\\"spec.sise\\\"\""
    );
    assert_eq!(warned.expect(201)["spec"].get("sise"), None);
    given["metadata"]["name"] = json!("b");
    let ignored = server
        .post(&format!("{PATH}?fieldValidation=Ignore"), given)
        .await;
    assert!(ignored.warnings.is_empty());
    ignored.expect(201);
    let twice = r#"{"metadata": {"name": "c"}, "data": {"a": "1", "a": "2"}}"#;
    let answer = server
        .send(
            "POST",
            &format!("{MAPS}?fieldValidation=Strict"),
            "application/json",
            twice,
        )
        .await;
    assert!(
        answer
            .message()
            .ends_with("strict decoding error: duplicate field \"data.a\""),
        "{answer:?}"
    );
}

#[tokio::test]
async fn bad_bodies_name_their_place() {
    let server = Server::start();
    let json = server
        .send(
            "POST",
            MAPS,
            "application/json",
            "{\"metadata\":\n {\"name\" \"x\"}}",
        )
        .await;
    assert!(json.message().contains("line 2 column"), "{json:?}");
    json.expect(400);
    let yaml = server
        .send("POST", MAPS, "application/yaml", "metadata:\n  name: [x\n")
        .await;
    assert!(yaml.message().contains("line"), "{yaml:?}");
    yaml.expect(400);
    server
        .send("POST", MAPS, "text/plain", "x")
        .await
        .expect(415);
    server
        .send("POST", MAPS, "application/vnd.kubernetes.protobuf", "x")
        .await
        .expect(400);
    server.post(MAPS, json!([1])).await.expect(400);
    server
        .post(MAPS, json!({"apiVersion": "v2", "metadata": {"name": "x"}}))
        .await
        .expect(400);
    server
        .send("POST", MAPS, "application/json", vec![b' '; 4 << 20])
        .await
        .expect(413);
    server
        .patch("strategic", &format!("{MAPS}/x"), json!({}))
        .await
        .expect(404);
}

#[tokio::test]
async fn an_old_revision_is_a_conflict() {
    let server = Server::with_widgets().await;
    let made = server.post(PATH, widget("a", 5)).await.expect(201);
    let path = format!("{PATH}/a");
    let mut next = made.clone();
    next["spec"]["size"] = json!(6);
    let updated = server.put(&path, next.clone()).await.expect(200);
    assert_eq!(updated["metadata"]["generation"], 2);
    let late = server.put(&path, next).await;
    assert_eq!(
        late.message(),
        "Operation cannot be fulfilled on widgets.test.longshore.io \"a\": the object has been modified; \
         please apply your changes to the latest version and try again"
    );
    assert_eq!(late.expect(409)["reason"], "Conflict");
    server.put(&path, widget("a", 7)).await.expect(422);
    // a change that changes nothing writes nothing
    let same = server.put(&path, updated.clone()).await.expect(200);
    assert_eq!(
        same["metadata"]["resourceVersion"],
        updated["metadata"]["resourceVersion"]
    );
}

#[tokio::test]
async fn the_status_subresource_is_apart() {
    let server = Server::with_widgets().await;
    let mut given = widget("a", 5);
    given["status"] = json!({"message": "from create"});
    assert_eq!(
        server.post(PATH, given).await.expect(201).get("status"),
        None
    );
    let both = json!({"spec": {"size": 9}, "status": {"message": "m"}, "metadata": {"labels": {"x": "y"}}});
    let through_status = server
        .patch("merge", &format!("{PATH}/a/status"), both.clone())
        .await
        .expect(200);
    assert_eq!(through_status["spec"]["size"], 5);
    assert_eq!(through_status["status"]["message"], "m");
    assert_eq!(through_status["metadata"]["generation"], 1);
    assert_eq!(through_status["metadata"].get("labels"), None);
    let other = json!({"spec": {"size": 9}, "status": {"message": "other"}});
    let through_main = server
        .patch("merge", &format!("{PATH}/a"), other)
        .await
        .expect(200);
    assert_eq!(through_main["spec"]["size"], 9);
    assert_eq!(through_main["status"]["message"], "m");
    assert_eq!(through_main["metadata"]["generation"], 2);
    server.get(&format!("{PATH}/a/scale")).await.expect(404);
}

#[tokio::test]
async fn dry_run_answers_and_stores_nothing() {
    let server = Server::with_widgets().await;
    server
        .post(&format!("{PATH}?dryRun=All"), widget("a", 5))
        .await
        .expect(201);
    server.get(&format!("{PATH}/a")).await.expect(404);
    server.post(PATH, widget("a", 5)).await.expect(201);
    let patched = server
        .patch(
            "merge",
            &format!("{PATH}/a?dryRun=All"),
            json!({"spec": {"size": 8}}),
        )
        .await;
    assert_eq!(patched.expect(200)["spec"]["size"], 8);
    server
        .delete(&format!("{PATH}/a?dryRun=All"), json!({}))
        .await
        .expect(200);
    assert_eq!(
        server.get(&format!("{PATH}/a")).await.expect(200)["spec"]["size"],
        5
    );
}

#[tokio::test]
async fn lists_page_through_one_state() {
    let server = Server::start();
    for index in 0..7 {
        let mut map = config_map(&format!("m{index}"), "k", "v");
        map["metadata"]["labels"] = json!({"odd": (index % 2 == 1).to_string()});
        server.post(MAPS, map).await.expect(201);
    }
    let first = server.get(&format!("{MAPS}?limit=3")).await.expect(200);
    assert_eq!(first["metadata"]["remainingItemCount"], 4);
    server
        .delete(&format!("{MAPS}/m5"), json!({}))
        .await
        .expect(200);
    let (mut names, mut page) = (Vec::new(), first);
    loop {
        let items = page["items"].as_array().cloned().unwrap_or_default();
        names.extend(
            items
                .iter()
                .filter_map(|item| item["metadata"]["name"].as_str().map(str::to_owned)),
        );
        let Some(next) = page["metadata"]["continue"].as_str().map(str::to_owned) else {
            break;
        };
        page = server
            .get(&format!("{MAPS}?limit=3&continue={next}"))
            .await
            .expect(200);
    }
    assert_eq!(names, ["m0", "m1", "m2", "m3", "m4", "m5", "m6"]);
    let odd = server
        .get(&format!("{MAPS}?labelSelector=odd%3Dtrue&limit=1"))
        .await
        .expect(200);
    assert_eq!(odd["items"][0]["metadata"]["name"], "m1");
    let token = odd["metadata"]["continue"].as_str().expect("more follows");
    let rest = server
        .get(&format!(
            "{MAPS}?labelSelector=odd%3Dtrue&limit=5&continue={token}"
        ))
        .await
        .expect(200);
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(1));
    server
        .get(&format!("{MAPS}?continue=nonsense"))
        .await
        .expect(400);
    server
        .get(&format!("{MAPS}?fieldSelector=spec.x%3D1"))
        .await
        .expect(400);
    let late = server
        .get(&format!("{MAPS}?resourceVersion=99999"))
        .await
        .expect(504);
    assert_eq!(
        late["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
}

#[tokio::test]
async fn tables_and_metadata() {
    let server = Server::with_widgets().await;
    server.post(PATH, widget("a", 5)).await.expect(201);
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
    let table = server.get_as(PATH, accept).await.expect(200);
    let names: Vec<&Value> = table["columnDefinitions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|column| &column["name"])
        .collect();
    assert_eq!(names, ["Name", "Size", "Ready", "Age"]);
    assert_eq!(table["rows"][0]["cells"][1], 5);
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let full = server
        .get_as(&format!("{PATH}?includeObject=Object"), accept)
        .await
        .expect(200);
    assert_eq!(full["rows"][0]["object"]["spec"]["size"], 5);
    let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = server.get_as(PATH, partial).await.expect(200);
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0].get("spec"), None);
}

#[tokio::test]
async fn events_are_one_store_in_two_forms() {
    let server = Server::start();
    let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "regarding": {"kind": "Node", "name": "n"}, "note": "hello",
        "reason": "Started", "action": "Start", "type": "Normal", "reportingController": "c", "reportingInstance": "i"});
    server
        .post("/apis/events.k8s.io/v1/namespaces/default/events", event)
        .await
        .expect(201);
    let core = server
        .get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dn,involvedObject.kind%3DNode")
        .await
        .expect(200);
    assert_eq!(core["items"][0]["message"], "hello");
    assert_eq!(core["items"][0]["reportingComponent"], "c");
    let new = server
        .get("/apis/events.k8s.io/v1/namespaces/default/events/e")
        .await
        .expect(200);
    assert_eq!(
        (&new["note"], &new["apiVersion"]),
        (&json!("hello"), &json!("events.k8s.io/v1"))
    );
}

#[tokio::test]
async fn secrets_hide_plain_text_and_keep_their_promises() {
    let server = Server::start();
    let path = "/api/v1/namespaces/default/secrets";
    let given =
        json!({"metadata": {"name": "s"}, "stringData": {"password": "pass"}, "immutable": true});
    let made = server.post(path, given).await.expect(201);
    assert_eq!(
        (&made["data"]["password"], &made["type"]),
        (&json!("cGFzcw=="), &json!("Opaque"))
    );
    assert_eq!(made.get("stringData"), None);
    let change = json!({"stringData": {"password": "other"}});
    server
        .patch("strategic", &format!("{path}/s"), change)
        .await
        .expect(422);
    server
        .post(
            path,
            json!({"metadata": {"name": "t"}, "data": {"x": "no base64!"}}),
        )
        .await
        .expect(400);
}

#[tokio::test]
async fn names_are_generated_and_checked() {
    let server = Server::start();
    let given = json!({"metadata": {"generateName": "m-"}, "data": {}});
    let made = server.post(MAPS, given.clone()).await.expect(201);
    let other = server.post(MAPS, given).await.expect(201);
    let name = made["metadata"]["name"].as_str().expect("a name");
    assert!(name.starts_with("m-") && name.len() == 7, "{name}");
    assert_ne!(name, other["metadata"]["name"]);
    for bad in ["", "UPPER", "-x", "a_b"] {
        server
            .post(MAPS, config_map(bad, "k", "v"))
            .await
            .expect(422);
    }
    let mut labelled = config_map("x", "k", "v");
    labelled["metadata"]["labels"] = json!({"a b": "c"});
    server.post(MAPS, labelled).await.expect(422);
}

#[tokio::test]
async fn server_side_apply_over_the_wire() {
    let server = Server::with_widgets().await;
    let path = format!("{PATH}/a");
    server
        .patch("apply", &path, widget("a", 5))
        .await
        .expect(422);
    server
        .patch("apply", &format!("{path}?fieldManager=one"), widget("a", 5))
        .await
        .expect(201);
    let conflict = server
        .patch("apply", &format!("{path}?fieldManager=two"), widget("a", 6))
        .await;
    assert_eq!(
        conflict.message(),
        "Apply failed with 1 conflict: conflict with \"one\": .spec.size"
    );
    assert_eq!(
        conflict.expect(409)["details"]["causes"][0]["reason"],
        "FieldManagerConflict"
    );
    server
        .patch(
            "apply",
            &format!("{path}?fieldManager=two&force=true"),
            widget("a", 6),
        )
        .await
        .expect(200);
    let status =
        json!({"apiVersion": "test.longshore.io/v1", "kind": "Widget", "status": {"message": "m"}});
    let answer = server
        .patch(
            "apply",
            &format!("{path}/status?fieldManager=three"),
            status.clone(),
        )
        .await
        .expect(200);
    assert_eq!(answer["status"]["message"], "m");
    let managers: Vec<&Value> = answer["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| &entry["manager"])
        .collect();
    assert_eq!(managers, ["two", "three"]);
    let again = server
        .patch(
            "apply",
            &format!("{path}/status?fieldManager=three"),
            status,
        )
        .await
        .expect(200);
    assert_eq!(
        again["metadata"]["resourceVersion"],
        answer["metadata"]["resourceVersion"]
    );
    let unknown = json!({"apiVersion": "test.longshore.io/v1", "kind": "Widget", "spec": {"size": 6, "x": 1}});
    server
        .patch(
            "apply",
            &format!("{path}?fieldManager=two&fieldValidation=Strict"),
            unknown,
        )
        .await
        .expect(400);
}

#[tokio::test]
async fn others_than_administrators_may_only_look_around() {
    let server = Server::start();
    let request = |path: &str| {
        let mut request = Request::get(path).body(Body::empty()).expect("a request");
        request.extensions_mut().insert(User::new("eve", []));
        request
    };
    server.raw(request("/version")).await.expect(200);
    server.raw(request("/apis")).await.expect(200);
    let refused = server.raw(request(MAPS)).await;
    assert_eq!(
        refused.message(),
        "configmaps is forbidden: User \"eve\" cannot list resource \"configmaps\" in API group \"\" \
         in the namespace \"default\""
    );
    refused.expect(403);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let file = folder.path().join("notes.txt");
    let text = "these are my notes, not a database\n".repeat(100);
    std::fs::write(&file, &text).expect("written");
    let error = ApiServer::open(Config::new(&file))
        .err()
        .expect("is refused");
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}");
    assert!(error.to_string().contains("notes.txt"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).expect("still there"), text);
    let nowhere = ApiServer::open(Config::new(folder.path().join("no/such/folder/api.db"))).err();
    assert!(
        matches!(nowhere, Some(OpenError::Lock { .. })),
        "{nowhere:?}"
    );
    let server = Server::start();
    let second = ApiServer::open(Config::new(server.database())).err();
    assert!(
        matches!(second, Some(OpenError::InUse { .. })),
        "{second:?}"
    );
}

#[tokio::test]
async fn a_database_of_a_newer_server_is_refused_with_the_words_that_say_so() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let file = folder.path().join("api.db");
    let server = ApiServer::open(Config::new(&file)).expect("a new one");
    server.shutdown().await;
    let newer = longshore_sqlite::Connection::open(&file).expect("is a database");
    newer
        .execute_batch("PRAGMA user_version = 99")
        .expect("written");
    drop(newer);
    let error = ApiServer::open(Config::new(&file)).err().expect("refused");
    let text = error.to_string();
    assert!(
        text.contains("has schema 99, this API server knows up to 3"),
        "{text}"
    );
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("install the newer API server"))
    );
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_keeps_what_is_there() {
    let server = Server::with(|config| config.storage.max_bytes = Some(300_000));
    // What repeats itself would be packed into next to nothing.
    let mut random = fastrand::Rng::with_seed(1);
    let big: String = std::iter::repeat_with(|| random.alphanumeric())
        .take(40_000)
        .collect();
    let mut stored = 0;
    let refused = loop {
        let answer = server
            .post(MAPS, config_map(&format!("m{stored}"), "k", &big))
            .await;
        if answer.code != 201 {
            break answer;
        }
        stored += 1;
        assert!(stored < 50, "the limit was never reached");
    };
    assert!(stored > 0);
    assert_eq!(refused.expect(500)["reason"], "InternalError");
    let list = server.get(MAPS).await.expect(200);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(stored));
    server.get(&format!("{MAPS}/m{stored}")).await.expect(404);
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let server = Server::with_widgets().await;
    let made = server.post(PATH, widget("a", 5)).await.expect(201);
    let server = server.restart().await;
    assert_eq!(server.get(&format!("{PATH}/a")).await.expect(200), made);
    let next = server.post(PATH, widget("b", 5)).await.expect(201);
    let revision = |object: &Value| -> u64 {
        object["metadata"]["resourceVersion"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("a number")
    };
    assert!(revision(&next) > revision(&made));
    let namespaces = server.get("/api/v1/namespaces").await.expect(200);
    assert_eq!(namespaces["items"].as_array().map(Vec::len), Some(4));
}

#[tokio::test]
async fn a_merge_patch_that_is_no_object_is_refused() {
    let server = Server::with_widgets().await;
    server.post(PATH, widget("a", 5)).await.expect(201);
    let path = format!("{PATH}/a");
    for body in [Value::Null, json!([1]), json!("x")] {
        let refused = server.patch("merge", &path, body).await.expect(400);
        assert_eq!(refused["reason"], "BadRequest");
    }
    assert_eq!(server.get(&path).await.expect(200)["spec"]["size"], 5);
}
