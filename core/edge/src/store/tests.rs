use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use longshore_link::Lane;
use longshore_sqlite::Connection;
use longshore_twin::{Row, RowKind};
use tempfile::TempDir;

use super::*;
use crate::config::StoreConfig;

const BUDGET: u64 = 1 << 20;

fn open(folder: &Path) -> StoreHandle {
    StoreHandle::open(folder, StoreConfig::with_outbox(BUDGET)).unwrap()
}

const DEVICES: &[&str] = &["Device"];
const ALL: &[&str] = &["Device", "DeviceModel"];

async fn reopen(store: StoreHandle, folder: &Path) -> StoreHandle {
    store.close().await;
    open(folder)
}

fn key(kind: &str, name: &str) -> ObjectKey {
    ObjectKey {
        kind: kind.to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
    }
}

fn put(name: &str, json: &str) -> Change {
    let (uid, resource_version) = (format!("uid-{name}"), "1".to_owned());
    Change::Put {
        key: key("Device", name),
        uid,
        resource_version,
        json: json.to_owned(),
    }
}

fn apply(source: Source, revision: u64, replace: bool, changes: Vec<Change>) -> Apply {
    let position = (source == Source::Hub).then(|| HubPosition {
        log: "log-1".to_owned(),
        revision,
    });
    Apply {
        source,
        position,
        replace,
        changes,
    }
}

fn report(store: &StoreHandle, key: &str, payload: &'static str) {
    store.report(key.to_owned(), payload.into());
}

async fn put_samples(store: &StoreHandle, payloads: Vec<String>) {
    let payloads = payloads.into_iter().map(String::into_bytes).collect();
    let kept = store.try_put_samples(payloads).unwrap();
    kept.await.unwrap().unwrap();
}

#[tokio::test]
async fn objects_and_position_come_together_and_stay() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    assert_eq!(store.position(), None);
    let mut changed = store.changed(DEVICES);
    store
        .apply(apply(
            Source::Hub,
            7,
            false,
            vec![put("a", "1"), put("b", "2")],
        ))
        .await
        .unwrap();
    assert!(changed.has_changed().unwrap());
    changed.mark_unchanged();
    store
        .apply(apply(
            Source::Hub,
            8,
            false,
            vec![Change::Delete(key("Device", "a")), put("b", "3")],
        ))
        .await
        .unwrap();
    let epoch = store.epoch();
    let store = reopen(store, folder.path()).await;
    assert_eq!(
        store.position(),
        Some(HubPosition {
            log: "log-1".to_owned(),
            revision: 8
        })
    );
    assert_eq!(store.epoch(), epoch);
    let objects = store.objects(ALL).await.unwrap();
    assert_eq!(
        objects
            .iter()
            .map(|o| (o.key.name.as_str(), o.json.as_str()))
            .collect::<Vec<_>>(),
        [("b", "3")]
    );
}

#[tokio::test]
async fn the_hub_wins_over_a_manifest_and_a_snapshot_replaces_only_its_own() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    store
        .apply(apply(
            Source::Manifest,
            0,
            true,
            vec![put("a", "manifest"), put("m", "manifest")],
        ))
        .await
        .unwrap();
    store
        .apply(apply(
            Source::Hub,
            1,
            false,
            vec![put("a", "hub"), put("old", "hub")],
        ))
        .await
        .unwrap();
    store
        .apply(apply(Source::Hub, 2, true, vec![put("a", "snapshot")]))
        .await
        .unwrap();
    let objects = store.objects(ALL).await.unwrap();
    let seen: Vec<_> = objects
        .iter()
        .map(|o| (o.key.name.as_str(), o.json.as_str()))
        .collect();
    assert_eq!(seen, [("a", "snapshot"), ("m", "manifest")]);
    store
        .apply(apply(Source::Hub, 3, true, vec![]))
        .await
        .unwrap();
    let objects = store.objects(ALL).await.unwrap();
    assert_eq!(
        objects[0].json, "manifest",
        "the manifest shows again when the hub's object goes"
    );
}

#[tokio::test]
async fn no_number_is_used_twice_however_the_process_ends() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    report(&store, "x", "x1");
    report(&store, "y", "y1");
    let taken = store.take(Lane::Live, 0, 10, 1 << 20).await.unwrap();
    assert_eq!(taken.len(), 2);
    let mut last = taken[1].sequence;
    // A copy of its files is what a kill leaves.
    let killed = TempDir::new().unwrap();
    for file in fs::read_dir(folder.path()).unwrap().flatten() {
        fs::copy(file.path(), killed.path().join(file.file_name())).unwrap();
    }
    store.close().await;
    for folder in [&killed, &folder] {
        let again = open(folder.path());
        // The hub knows by it that this is no older copy of the database.
        assert!(again.last_sequence(Lane::Live).await.unwrap() >= 2);
        // What is so now is reported anew, so nothing is kept of it.
        assert_eq!(again.outbox_size().records, 0);
        report(&again, "z", "z1");
        let taken = again.take(Lane::Live, 2, 10, 1 << 20).await.unwrap();
        assert!(taken[0].sequence > 2);
        last = last.max(taken[0].sequence);
        again.close().await;
    }
    let again = open(folder.path());
    assert!(again.last_sequence(Lane::Live).await.unwrap() >= last);
}

#[tokio::test]
async fn a_start_knows_how_the_last_one_ended() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    assert!(!store.ended_well(), "there was none");
    store.note_end().await.unwrap();
    let store = reopen(store, folder.path()).await;
    assert!(store.ended_well());
    // This one says nothing.
    let store = reopen(store, folder.path()).await;
    assert!(!store.ended_well());
}

#[tokio::test]
async fn the_budget_costs_the_oldest_telemetry_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let store = StoreHandle::open(folder.path(), StoreConfig::with_outbox(10_000)).unwrap();
    report(&store, "x", "x1");
    put_samples(&store, (0..300).map(|i| format!("{i:0>100}")).collect()).await;
    let size = store.outbox_size();
    assert!(size.bytes <= 10_002 && size.records > 1, "{size:?}");
    assert_eq!(size.records - 1 + size.dropped, 300);
    let first = store.take(Lane::Telemetry, 0, 1, 1 << 20).await.unwrap();
    let first: u64 = String::from_utf8_lossy(&first[0].payload).parse().unwrap();
    assert_eq!(first, size.dropped, "the oldest went");
    let live = store.take(Lane::Live, 0, 9, 1 << 20).await.unwrap();
    assert_eq!(live.len(), 1);
}

#[tokio::test]
async fn telemetry_has_a_lane_of_its_own_and_keeps_its_order() {
    let folder = TempDir::new().unwrap();
    let store = StoreHandle::open(folder.path(), StoreConfig::with_outbox(1_000)).unwrap();
    let telemetry = |i: u64| format!("{i:0>10}");
    let numbers = |records: &[OutboxRecord]| -> Vec<_> {
        let records = records.iter();
        records
            .map(|r| {
                (
                    r.sequence,
                    String::from_utf8_lossy(&r.payload).parse::<u64>().unwrap(),
                )
            })
            .collect()
    };
    put_samples(&store, (1..=20).map(telemetry).collect()).await;
    let first = store.take(Lane::Telemetry, 0, 3, 1 << 20).await.unwrap();
    assert_eq!(numbers(&first), [(1, 1), (2, 2), (3, 3)]);
    store.acknowledge(Lane::Telemetry, 2).await.unwrap();
    store.close().await;
    let store = StoreHandle::open(folder.path(), StoreConfig::with_outbox(1_000)).unwrap();
    assert_eq!(store.last_sequence(Lane::Telemetry).await.unwrap(), 3);
    let again = store.take(Lane::Telemetry, 2, 2, 1 << 20).await.unwrap();
    assert_eq!(numbers(&again), [(3, 3), (4, 4)], "the same numbers again");

    // What is on its way stays when the budget is used up.
    put_samples(&store, (21..=200).map(telemetry).collect()).await;
    let size = store.outbox_size();
    assert!(size.bytes <= 1_000 && size.dropped > 0, "{size:?}");
    let left = store.take(Lane::Telemetry, 2, 500, 1 << 20).await.unwrap();
    let left = numbers(&left);
    assert_eq!(left[..2], [(3, 3), (4, 4)]);
    assert_eq!(left.last(), Some(&(200, 200)));
    assert!(left[2].0 > 5, "the oldest are dropped: {:?}", left[2]);
    store.acknowledge(Lane::Telemetry, 200).await.unwrap();
    assert_eq!(store.outbox_size().records, 0);
}

/// A copy of the files in the middle of writing is what a power cut leaves.
#[tokio::test]
async fn a_power_cut_at_any_time_leaves_whole_transactions() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let writer = store.clone();
    let writing = tokio::spawn(async move {
        for i in 1..=200_u64 {
            let json = "x".repeat(2_000);
            let changes = (0..5)
                .map(|n| put(&format!("d{n}"), &format!("{i}:{json}")))
                .collect();
            writer
                .apply(apply(Source::Hub, i, false, changes))
                .await
                .unwrap();
        }
    });
    let mut cuts = 0;
    while !writing.is_finished() {
        let copy = TempDir::new().unwrap();
        // The log first: what it holds may be newer than the file, never older.
        let before = store.position().map_or(0, |p| p.revision);
        for file in ["edge.db-wal", "edge.db"] {
            let _ = fs::copy(folder.path().join(file), copy.path().join(file));
        }
        // A checkpoint between the two copies is what no power cut can do.
        let wal = |f: &Path| {
            fs::metadata(f.join("edge.db-wal"))
                .map(|m| m.len())
                .unwrap_or(0)
        };
        if before == 0 || wal(copy.path()) > wal(folder.path()) {
            tokio::task::yield_now().await;
            continue;
        }
        if let Ok(cut) = StoreHandle::open(copy.path(), StoreConfig::with_outbox(BUDGET)) {
            let revision = cut.position().map_or(0, |p| p.revision);
            let objects = cut.objects(ALL).await.unwrap();
            let prefix = format!("{revision}:");
            assert!(
                objects.iter().all(|o| o.json.starts_with(&prefix)),
                "revision {revision} with other objects"
            );
            cuts += 1;
        }
        tokio::task::yield_now().await;
    }
    writing.await.unwrap();
    assert!(cuts > 0);
}

#[tokio::test]
async fn a_change_of_one_kind_wakes_only_who_reads_that_kind() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let (mut devices, mut pods) = (store.changed(ALL), store.changed(&["Pod"]));
    let pod = Change::Put {
        key: key("Pod", "web"),
        uid: String::new(),
        resource_version: String::new(),
        json: "{}".to_owned(),
    };
    let mut apply_and_see = async |revision, replace, changes| {
        store
            .apply(apply(Source::Hub, revision, replace, changes))
            .await
            .unwrap();
        let woken = (devices.has_changed().unwrap(), pods.has_changed().unwrap());
        devices.mark_unchanged();
        pods.mark_unchanged();
        woken
    };
    assert_eq!(
        apply_and_see(1, false, vec![put("a", "1")]).await,
        (true, false)
    );
    assert_eq!(apply_and_see(2, false, vec![pod]).await, (false, true));
    assert_eq!(apply_and_see(3, false, vec![]).await, (false, false));
    assert_eq!(
        apply_and_see(4, false, vec![Change::Delete(key("Pod", "web"))]).await,
        (false, true)
    );
    assert_eq!(
        apply_and_see(5, true, vec![]).await,
        (true, false),
        "a snapshot takes away what it does not name"
    );
    drop(pods);
    store
        .apply(apply(Source::Hub, 6, false, vec![put("b", "1")]))
        .await
        .unwrap();
    assert!(devices.has_changed().unwrap());
    let pods = store.objects(&["Pod"]).await.unwrap();
    assert!(pods.is_empty());
    assert_eq!(store.objects(DEVICES).await.unwrap()[0].key.name, "b");
}

#[tokio::test]
async fn a_failed_apply_leaves_signals_and_the_rest_as_they_were() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    // Stands for any row that SQLite refuses.
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON objects WHEN NEW.name = 'bad'
        BEGIN SELECT RAISE(ABORT, 'refused'); END";
    store
        .writer()
        .run(|job| job.execute_batch(refuse))
        .await
        .unwrap();
    let changed = store.changed(DEVICES);
    let changes = vec![put("a", "1"), put("bad", "1")];
    let (failed, ()) = tokio::join!(
        store.apply(apply(Source::Hub, 1, false, changes)),
        put_samples(&store, vec!["x1".to_owned()]),
    );
    assert!(matches!(failed, Err(StoreError::Sql { .. })), "{failed:?}");
    assert!(!changed.has_changed().unwrap());
    assert_eq!(store.position(), None);
    assert_eq!(store.objects(ALL).await.unwrap(), []);
    assert_eq!(store.outbox_size().records, 1);
}

/// The schema of the first release, as it was, with rows.
#[tokio::test]
async fn a_database_of_the_first_release_is_read() {
    let folder = TempDir::new().unwrap();
    let old = Connection::open(folder.path().join("edge.db")).unwrap();
    old.execute_batch(
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
         CREATE TABLE objects (
             kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
             source INTEGER NOT NULL, uid TEXT NOT NULL, resource_version TEXT NOT NULL, json TEXT NOT NULL,
             PRIMARY KEY (kind, namespace, name, source)
         ) WITHOUT ROWID;
         CREATE TABLE outbox (
             id INTEGER PRIMARY KEY AUTOINCREMENT,
             sequence INTEGER UNIQUE,
             class INTEGER NOT NULL,
             key TEXT,
             payload BLOB NOT NULL
         );
         CREATE UNIQUE INDEX outbox_waiting ON outbox (key) WHERE sequence IS NULL AND key IS NOT NULL;
         CREATE TABLE twins (device TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
         CREATE TABLE desired (
             device TEXT NOT NULL, property TEXT NOT NULL, json TEXT NOT NULL,
             PRIMARY KEY (device, property)
         ) WITHOUT ROWID;
         INSERT INTO meta VALUES ('epoch', '77'), ('sequence', '4'), ('hub.log', 'l'), ('hub.revision', '9');
         INSERT INTO objects VALUES ('Device', 'default', 'a', 0, 'u', '1', '{}');
         INSERT INTO outbox (sequence, class, key, payload) VALUES (4, 0, 'k', x'31'), (NULL, 0, 'k', x'32');
         INSERT INTO twins VALUES ('default/a', x'01');
         INSERT INTO desired VALUES ('default/a', 'p', '1');
         PRAGMA application_id = 1280526385; PRAGMA user_version = 1",
    )
    .unwrap();
    drop(old);
    let store = open(folder.path());
    assert_eq!(store.epoch(), 77);
    assert_eq!(
        store.position().map(|p| (p.log, p.revision)),
        Some(("l".to_owned(), 9))
    );
    assert_eq!(store.objects(ALL).await.unwrap()[0].uid, "u");
    // Reports are made anew; their numbers go on behind the former ones.
    assert_eq!(store.outbox_size().records, 0);
    assert_eq!(store.last_sequence(Lane::Live).await.unwrap(), 4);
    assert_eq!(store.twins().await.unwrap()[0].data, [1]);
    let rows = store.rows().await.unwrap();
    let desired = Row {
        device: "default/a".to_owned(),
        kind: RowKind::Desired,
        name: "p".to_owned(),
        json: Some("1".to_owned()),
    };
    assert_eq!(rows, [desired]);
    assert_eq!(store.last_sequence(Lane::Telemetry).await.unwrap(), 0);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = TempDir::new().unwrap();
    let blocked = folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    let error =
        StoreHandle::open(&blocked.join("state"), StoreConfig::with_outbox(BUDGET)).unwrap_err();
    assert!(matches!(error, StoreError::Folder { .. }), "{error:?}");
}

#[test]
fn a_read_only_file_is_refused() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("edge.db");
    drop(schema::open(folder.path()).unwrap());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write everything, so there is nothing to see for it.
    let root = fs::write(folder.path().join("probe"), "").is_ok();
    let result = StoreHandle::open(folder.path(), StoreConfig::with_outbox(BUDGET));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(
        root || matches!(result, Err(StoreError::ReadOnly { .. })),
        "{result:?}"
    );
}

#[test]
fn what_the_folder_holds_is_for_its_owner_alone() {
    let parent = TempDir::new().unwrap();
    let folder = parent.path().join("state");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    drop(open(&folder));
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("edge.db")), 0o600);

    let former = parent.path().join("former");
    let session = former.join("bus/sessions/one.log");
    fs::create_dir_all(session.parent().unwrap()).unwrap();
    fs::write(&session, "").unwrap();
    for (path, loose) in [(&former, 0o755), (&session, 0o644)] {
        fs::set_permissions(path, fs::Permissions::from_mode(loose)).unwrap();
    }
    drop(open(&former));
    assert_eq!(mode(&former), 0o700);
    assert_eq!(mode(session.parent().unwrap()), 0o700);
    assert_eq!(mode(&session), 0o600);
}
