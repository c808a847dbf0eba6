use std::{path::Path, time::Duration};

use longshore_sqlite::{Connection, Error, Schema};
use serde_json::json;
use tempfile::TempDir;

use super::*;

static SCHEMA: Schema = Schema {
    owner: "tester",
    without: "it starts with no objects",
    application: 0x4c53_5454,
    migrations: MIGRATIONS,
};

fn open(path: &Path, options: Options) -> Log {
    Log::open(path, &SCHEMA, options, Vec::new(), "").unwrap().0
}

fn key(resource: &str, name: &str) -> Key {
    Key {
        resource: resource.into(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
    }
}

fn create(resource: &str, name: &str) -> Write {
    Write {
        key: key(resource, name),
        expect: Expect::Absent,
        object: json!({"metadata": {"name": name}}).into(),
        delete: false,
    }
}

fn names(events: &[std::sync::Arc<Event>]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event.record.name.as_str())
        .collect()
}

/// What does not come within a moment does not come.
async fn is_quiet(watcher: &mut Watcher) -> bool {
    let wait = tokio::time::timeout(Duration::from_millis(50), watcher.next());
    wait.await.is_err()
}

#[tokio::test]
async fn one_write_that_the_database_refuses_costs_no_other() {
    let folder = TempDir::new().unwrap();
    let log = open(&folder.path().join("objects.db"), Options::default());
    // Stands for any row that SQLite refuses.
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON objects WHEN NEW.name = 'bad'
        BEGIN SELECT RAISE(ABORT, 'refused'); END";
    log.writer()
        .run(|job| job.execute_batch(refuse))
        .await
        .unwrap();
    let mut watcher = log.watch(Selector::kind("pods"), 0);
    let (first, bad, exists, last) = tokio::join!(
        log.write(create("pods", "first")),
        log.write(create("pods", "bad")),
        log.write(create("pods", "first")),
        log.write(create("pods", "last")),
    );
    assert_eq!(first.unwrap().revision, 1);
    assert!(
        matches!(bad, Err(WriteError::Database(Error::Sql { .. }))),
        "{bad:?}"
    );
    assert!(matches!(exists, Err(WriteError::Exists)), "{exists:?}");
    assert_eq!(last.unwrap().revision, 2, "no revision is left out");
    assert_eq!(log.current(), 2);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(watcher.next().await.unwrap());
    }
    assert_eq!(names(&seen), ["first", "last"]);
    assert!(log.get(key("pods", "bad")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_watcher_is_woken_by_its_kind_and_namespace_and_yet_keeps_up() {
    let folder = TempDir::new().unwrap();
    let log = open(&folder.path().join("objects.db"), Options::default());
    let mut pods = log.watch(Selector::kind("pods"), 0);
    let mut here = log.watch(
        Selector {
            kind: "pods".into(),
            namespace: Some("default".to_owned()),
        },
        0,
    );
    log.write(create("leases", "l")).await.unwrap();
    assert!(is_quiet(&mut pods).await);
    assert_eq!(pods.position(), 1, "what is of no interest is seen too");
    let mut elsewhere = create("pods", "p");
    elsewhere.key.namespace = "other".to_owned();
    log.write(elsewhere).await.unwrap();
    assert_eq!(names(&pods.next().await.unwrap()), ["p"]);
    assert!(is_quiet(&mut here).await);
    log.write(create("pods", "q")).await.unwrap();
    assert_eq!(names(&here.next().await.unwrap()), ["q"]);
    assert_eq!(here.position(), 3);
}

#[tokio::test]
async fn what_is_superseded_is_dropped_and_said_to_be() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("objects.db");
    let options = Options {
        history: 5,
        window: 2,
        ..Options::default()
    };
    let log = open(&path, options);
    let mut revision = log.write(create("pods", "p")).await.unwrap().revision;
    for n in 0..20 {
        let write = Write {
            expect: Expect::At(revision),
            object: json!({"n": n}).into(),
            ..create("pods", "p")
        };
        revision = log.write(write).await.unwrap().revision;
    }
    // Behind what waits for the writer.
    log.writer().flush().await.unwrap();
    let old = log.watch(Selector::kind("pods"), 3).next().await;
    assert!(
        matches!(old, Err(ReadError::Expired { wanted: 3, .. })),
        "{old:?}"
    );
    let mut recent = log.watch(Selector::kind("pods"), 17);
    let events = recent.next().await.unwrap();
    let revisions: Vec<_> = events.iter().map(|event| event.record.revision).collect();
    assert_eq!(
        revisions,
        [18, 19, 20, 21],
        "from the file, as the window has two"
    );
    assert_eq!(
        events[0].previous().map(|object| object["n"].clone()),
        Some(json!(15))
    );
    log.close().await;
    assert!(matches!(
        log.write(create("pods", "late")).await,
        Err(WriteError::Closed)
    ));
    let again = open(&path, options);
    assert_eq!(again.current(), 21);
    let record = again.get(key("pods", "p")).await.unwrap().unwrap();
    assert_eq!(record.object()["n"], json!(19));
}

/// As the API server made it before its file had a version, with rows.
#[tokio::test]
async fn a_file_without_a_version_is_taken_over() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("objects.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(
        r#"
        PRAGMA journal_mode = wal;
        PRAGMA application_id = 0x4c535454;
        CREATE TABLE IF NOT EXISTS log (
            revision  INTEGER PRIMARY KEY,
            resource  TEXT NOT NULL,
            namespace TEXT NOT NULL,
            name      TEXT NOT NULL,
            kind      INTEGER NOT NULL,
            value     BLOB NOT NULL
        );
        CREATE INDEX IF NOT EXISTS log_by_key ON log (resource, namespace, name, revision);
        CREATE INDEX IF NOT EXISTS log_by_resource ON log (resource, revision);
        CREATE TABLE IF NOT EXISTS live (
            resource  TEXT NOT NULL,
            namespace TEXT NOT NULL,
            name      TEXT NOT NULL,
            revision  INTEGER NOT NULL,
            uid       TEXT NOT NULL,
            PRIMARY KEY (resource, namespace, name)
        ) WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS live_by_namespace ON live (namespace);
        CREATE INDEX IF NOT EXISTS live_by_uid ON live (uid);
        CREATE TABLE IF NOT EXISTS owners (
            resource  TEXT NOT NULL,
            namespace TEXT NOT NULL,
            name      TEXT NOT NULL,
            uid       TEXT NOT NULL,
            PRIMARY KEY (resource, namespace, name, uid)
        ) WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS owners_by_uid ON owners (uid);
        CREATE TABLE IF NOT EXISTS meta (
            key   TEXT PRIMARY KEY,
            value INTEGER NOT NULL
        ) WITHOUT ROWID;
        INSERT INTO log VALUES (1, 'pods', 'default', 'gone', 0, x'7b7d'), (2, 'pods', 'default', 'p', 0, CAST('{"n":7}' AS BLOB)),
            (3, 'pods', 'default', 'gone', 2, x'7b7d');
        INSERT INTO live VALUES ('pods', 'default', 'p', 2, 'u');
        INSERT INTO owners VALUES ('pods', 'default', 'p', 'owner');
        INSERT INTO meta VALUES ('compacted', 1);
        "#,
    )
    .unwrap();
    drop(old);
    let seed = vec![create("pods", "seed")];
    let (log, listed) = Log::open(&path, &SCHEMA, Options::default(), seed, "pods").unwrap();
    assert_eq!(listed.len(), 1, "it is not seeded again");
    assert_eq!(listed[0].object(), json!({"n": 7}));
    assert_eq!(log.current(), 3);
    assert_eq!(
        log.dependents("owner".to_owned()).await.unwrap(),
        [key("pods", "p")]
    );
    let early = log.watch(Selector::kind("pods"), 0).next().await;
    assert!(
        matches!(early, Err(ReadError::Expired { oldest: 1, .. })),
        "{early:?}"
    );
    assert_eq!(log.write(create("pods", "q")).await.unwrap().revision, 4);
    log.close().await;
    let file = Connection::open(&path).unwrap();
    let version = |row: &longshore_sqlite::Row<'_>| row.get::<_, i64>(0);
    assert_eq!(
        file.query_row("PRAGMA user_version", [], version).unwrap(),
        MIGRATIONS.len() as i64,
    );
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name IN ('log', 'live', 'owned')";
    assert_eq!(file.query_row(tables, [], version).unwrap(), 0);
}

#[tokio::test]
async fn garbage_is_a_query() {
    let folder = TempDir::new().unwrap();
    let log = open(&folder.path().join("objects.db"), Options::default());
    let mut ownership = log.ownership();
    let mut owned = create("pods", "p");
    owned.object = json!({"metadata": {"name": "p", "uid": "child",
        "ownerReferences": [{"uid": "nobody"}]}})
    .into();
    log.write(owned).await.unwrap();
    assert!(ownership.has_changed().unwrap());
    ownership.mark_unchanged();
    let dangling = log.dangling().await.unwrap();
    assert_eq!((dangling.len(), dangling[0].uid.as_str()), (1, "nobody"));
    log.write(create("pods", "free")).await.unwrap();
    assert!(!ownership.has_changed().unwrap());
    let keys = log.resources_in("default".to_owned()).await.unwrap();
    assert_eq!(keys.len(), 2);
    let delete = Write {
        expect: Expect::At(1),
        object: json!({}).into(),
        delete: true,
        ..create("pods", "p")
    };
    log.write(delete).await.unwrap();
    assert!(log.dangling().await.unwrap().is_empty());
}

#[test]
fn a_draft_is_the_object_with_its_revision() {
    for object in [
        json!({"kind": "K", "metadata": {"name": "n", "resourceVersion": "3", "uid": "u"}, "x": "\"é"}),
        json!({"a": {"metadata": {"resourceVersion": "1"}}}),
        json!({"metadata": 7}),
        json!(null),
    ] {
        let text = Draft::new(&object).stamped(42);
        let written: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let mut wanted = object;
        if !wanted["metadata"].is_object() {
            wanted["metadata"] = json!({});
        }
        wanted["metadata"]["resourceVersion"] = json!("42");
        assert_eq!(written, wanted);
    }
}

/// A file of the first version, with what it can hold: states, tombstones, owners.
#[tokio::test]
async fn a_file_of_the_first_version_is_brought_up() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("objects.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(MIGRATIONS[0]).unwrap();
    old.execute_batch(
        r#"
        PRAGMA application_id = 0x4c535454;
        PRAGMA user_version = 1;
        INSERT INTO log VALUES
            (1, 'pods', 'default', 'a', 0, CAST('{"n":1}' AS BLOB)),
            (2, 'pods', 'default', 'b', 0, CAST('{"n":2}' AS BLOB)),
            (3, 'pods', 'default', 'a', 1, CAST('{"n":3}' AS BLOB)),
            (4, 'pods', 'default', 'b', 2, CAST('{"n":4}' AS BLOB));
        INSERT INTO live VALUES ('pods', 'default', 'a', 3, 'uid-a');
        INSERT INTO owners VALUES ('pods', 'default', 'a', 'owner');
        "#,
    )
    .unwrap();
    drop(old);
    let log = open(&path, Options::default());
    let numbers = |records: &[Record]| -> Vec<_> {
        let records = records.iter();
        records.map(|record| record.object()["n"].clone()).collect()
    };
    let at = |revision| PageRequest {
        resource: "pods".into(),
        namespace: None,
        name: None,
        revision,
        after: None,
        limit: 10,
    };
    assert_eq!(numbers(&log.page(at(None)).await.unwrap().records), [3]);
    assert_eq!(
        numbers(&log.page(at(Some(2))).await.unwrap().records),
        [1, 2]
    );
    let events = log.watch(Selector::kind("pods"), 1).next().await.unwrap();
    assert_eq!(names(&events), ["b", "a", "b"]);
    assert_eq!(events[1].previous(), Some(json!({"n": 1})));
    let dangling = log.dangling().await.unwrap();
    assert_eq!((dangling.len(), dangling[0].uid.as_str()), (1, "owner"));
    let write = Write {
        expect: Expect::At(3),
        object: json!({"metadata": {"uid": "uid-a"}}).into(),
        ..create("pods", "a")
    };
    assert_eq!(log.write(write).await.unwrap().revision, 5);
    assert_eq!(log.write(create("pods", "b")).await.unwrap().revision, 6);
}

/// Large states are packed in their rows; nobody who reads them sees that, also not in
/// a file that has such states from before they were.
#[tokio::test]
async fn large_states_are_found_as_they_were() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("objects.db");
    let old = Connection::open(&path).unwrap();
    for step in &MIGRATIONS[..2] {
        old.execute_batch(step).unwrap();
    }
    let large = |word: &str| json!({"words": vec![word; 2_000]});
    old.execute_batch(&format!(
        "PRAGMA application_id = 0x4c535454;
        PRAGMA user_version = 2;
        INSERT INTO objects VALUES (1, 'pods', 'default', 'a', 1, 0, 'uid-a');
        INSERT INTO changes VALUES (1, 1, NULL, 0, CAST('{}' AS BLOB));",
        large("first")
    ))
    .unwrap();
    drop(old);
    let log = open(&path, Options::default());
    let second = Write {
        expect: Expect::At(1),
        object: large("second").into(),
        ..create("pods", "a")
    };
    log.write(second).await.unwrap();
    log.close().await;
    let raw = Connection::open(&path).unwrap();
    let sizes = "SELECT (SELECT length(value) FROM changes WHERE revision = 1), (SELECT length(value) FROM changes WHERE revision = 2)";
    let (first, second): (i64, i64) = raw
        .query_row(sizes, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert!(
        first > 10_000 && second < 1_000,
        "{first} and {second} bytes"
    );
    drop(raw);
    let log = open(&path, Options::default());
    let page = |revision| PageRequest {
        resource: "pods".into(),
        namespace: None,
        name: None,
        revision,
        after: None,
        limit: 10,
    };
    for (revision, word) in [(Some(1), "first"), (Some(2), "second"), (None, "second")] {
        let found = log.page(page(revision)).await.unwrap().records;
        assert_eq!(found[0].object()["words"], large(word)["words"]);
    }
    let one = log.get(key("pods", "a")).await.unwrap().unwrap();
    assert_eq!(one.object()["words"], large("second")["words"]);
    let events = log.watch(Selector::kind("pods"), 1).next().await.unwrap();
    assert_eq!(events[0].object()["words"], large("second")["words"]);
    assert_eq!(events[0].previous(), Some(large("first")));
    assert_eq!(
        log.mentioning("second".into()).await.unwrap(),
        [key("pods", "a")]
    );
    assert_eq!(log.mentioning("first".into()).await.unwrap(), []);
    let third = Write {
        expect: Expect::At(2),
        object: large("third").into(),
        ..create("pods", "a")
    };
    log.write(third).await.unwrap();
    let events = log.watch(Selector::kind("pods"), 2).next().await.unwrap();
    let before = events[0].previous().unwrap();
    assert_eq!(before["words"], large("second")["words"]);
}

/// Whatever is created, changed, deleted and made again: each state that is kept is
/// found as it was, and the others are said to be gone.
#[tokio::test]
async fn every_state_that_is_kept_is_found_as_it_was() {
    type State = std::collections::BTreeMap<String, u64>;
    let folder = TempDir::new().unwrap();
    let options = Options {
        history: 40,
        window: 3,
        ..Options::default()
    };
    let log = open(&folder.path().join("objects.db"), options);
    let (mut states, mut state, mut seed) = (vec![State::new()], State::new(), 5_u64);
    for _ in 0..400 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let name = format!("o{}", (seed >> 33) % 6);
        let known = state.get(&name).copied();
        let delete = known.is_some() && (seed >> 40).is_multiple_of(3);
        let write = Write {
            expect: known.map_or(Expect::Absent, Expect::At),
            delete,
            ..create("pods", &name)
        };
        let revision = log.write(write).await.unwrap().revision;
        if delete {
            state.remove(&name);
            assert!(log.get(key("pods", &name)).await.unwrap().is_none());
        } else {
            state.insert(name, revision);
        }
        states.push(state.clone());
    }
    log.writer().flush().await.unwrap();
    let mut found = 0;
    for (revision, wanted) in states.iter().enumerate() {
        let request = PageRequest {
            resource: "pods".into(),
            namespace: Some("default".to_owned()),
            name: None,
            revision: Some(revision as u64),
            after: None,
            limit: 100,
        };
        match log.page(request).await {
            Ok(page) => {
                let records = page.records.into_iter();
                let state: State = records.map(|r| (r.name, r.revision)).collect();
                assert_eq!(state, *wanted, "at revision {revision}");
                found += 1;
            }
            Err(ReadError::Expired { .. }) => assert_eq!(found, 0, "only old ones are gone"),
            Err(error) => panic!("{error}"),
        }
    }
    assert!((40..=46).contains(&found), "{found} are kept");
    let mut watcher = log.watch(Selector::kind("pods"), 370);
    let mut seen = Vec::new();
    while seen.len() < 30 {
        let events = watcher.next().await.unwrap();
        seen.extend(events.iter().map(|event| event.record.revision));
    }
    assert_eq!(seen, (371..=400).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_changes_all_the_time_takes_no_more_than_its_bound() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("objects.db");
    let options = Options {
        history_bytes: 1_000_000,
        window_bytes: 300_000,
        ..Options::default()
    };
    let log = open(&path, options);
    let mut revisions = [0_u64; 4];
    for turn in 0..400 {
        let which = turn % revisions.len();
        let write = Write {
            expect: match revisions[which] {
                0 => Expect::Absent,
                revision => Expect::At(revision),
            },
            object: json!({"text": "x".repeat(50_000)}).into(),
            ..create(["pods", "leases"][which / 2], &format!("o{which}"))
        };
        revisions[which] = log.write(write).await.unwrap().revision;
        let held = log.shared.windows.bytes();
        assert!(held <= 4 * 300_000, "{held} bytes of events");
    }
    log.close().await;
    // Twenty megabytes were written.
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size < 3_000_000, "{size} bytes of file");
}
