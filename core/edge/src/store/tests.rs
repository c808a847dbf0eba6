use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use tempfile::TempDir;

use super::*;

const BUDGET: u64 = 1 << 20;

fn open(folder: &Path) -> StoreHandle {
    StoreHandle::open(folder, BUDGET).unwrap()
}

/// Waits until the writer of dropped handles has closed the file.
async fn reopen(folder: &Path) -> StoreHandle {
    for _ in 0..500 {
        match StoreHandle::open(folder, BUDGET) {
            Err(StoreError::InUse { .. }) => tokio::task::yield_now().await,
            other => return other.unwrap(),
        }
    }
    panic!("the former writer does not end");
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

fn latest(key: &str, payload: &str) -> NewRecord {
    NewRecord {
        class: RecordClass::Latest(key.to_owned()),
        payload: payload.into(),
    }
}

fn texts(records: &[OutboxRecord]) -> Vec<(u64, String)> {
    records
        .iter()
        .map(|r| (r.sequence, String::from_utf8(r.payload.clone()).unwrap()))
        .collect()
}

#[tokio::test]
async fn objects_and_position_come_together_and_stay() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    assert_eq!(store.position(), None);
    let mut changed = store.objects_changed();
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
    drop(store);
    let store = reopen(folder.path()).await;
    assert_eq!(
        store.position(),
        Some(HubPosition {
            log: "log-1".to_owned(),
            revision: 8
        })
    );
    assert_eq!(store.epoch(), epoch);
    let objects = store.objects().await.unwrap();
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
    let objects = store.objects().await.unwrap();
    let seen: Vec<_> = objects
        .iter()
        .map(|o| (o.key.name.as_str(), o.json.as_str()))
        .collect();
    assert_eq!(seen, [("a", "snapshot"), ("m", "manifest")]);
    store
        .apply(apply(Source::Hub, 3, true, vec![]))
        .await
        .unwrap();
    let objects = store.objects().await.unwrap();
    assert_eq!(
        objects[0].json, "manifest",
        "the manifest shows again when the hub's object goes"
    );
}

#[tokio::test]
async fn sequences_are_gapless_and_what_was_handed_out_stays_as_it_is() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    store
        .put(vec![
            latest("x", "x1"),
            latest("y", "y1"),
            latest("x", "x2"),
        ])
        .await
        .unwrap();
    assert_eq!(
        store.outbox_size().records,
        2,
        "x1 was replaced while it waited"
    );
    let taken = store.take(0, 10, 1 << 20).await.unwrap();
    assert_eq!(texts(&taken), [(1, "y1".to_owned()), (2, "x2".to_owned())]);
    store
        .put(vec![latest("x", "x3"), latest("x", "x4")])
        .await
        .unwrap();
    drop(store);
    let store = reopen(folder.path()).await;
    let again = store.take(0, 10, 1 << 20).await.unwrap();
    assert_eq!(
        texts(&again),
        [
            (1, "y1".to_owned()),
            (2, "x2".to_owned()),
            (3, "x4".to_owned())
        ]
    );
    store.acknowledge(2).await.unwrap();
    assert_eq!(
        texts(&store.take(2, 10, 1 << 20).await.unwrap()),
        [(3, "x4".to_owned())]
    );
    store.acknowledge(3).await.unwrap();
    drop(store);
    let store = reopen(folder.path()).await;
    store.put(vec![latest("z", "z1")]).await.unwrap();
    assert_eq!(
        texts(&store.take(3, 10, 1 << 20).await.unwrap()),
        [(4, "z1".to_owned())],
        "never used twice"
    );
}

#[tokio::test]
async fn take_keeps_to_its_limits_but_always_gives_one() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    store
        .put(
            (0..5)
                .map(|i| latest(&i.to_string(), "0123456789"))
                .collect(),
        )
        .await
        .unwrap();
    assert_eq!(store.take(0, 2, 1 << 20).await.unwrap().len(), 2);
    assert_eq!(store.take(0, 10, 35).await.unwrap().len(), 3);
    assert_eq!(store.take(0, 10, 1).await.unwrap().len(), 1);
    assert_eq!(store.take(3, 10, 1 << 20).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_budget_costs_the_oldest_telemetry_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let store = StoreHandle::open(folder.path(), 10_000).unwrap();
    let telemetry = |i: usize| NewRecord {
        class: RecordClass::Telemetry,
        payload: format!("{i:0>100}").into_bytes(),
    };
    let confirmation = NewRecord {
        class: RecordClass::Confirmation,
        payload: vec![1; 9_000],
    };
    store
        .put(vec![confirmation.clone(), confirmation])
        .await
        .unwrap();
    store.put((0..300).map(telemetry).collect()).await.unwrap();
    let size = store.outbox_size();
    assert_eq!((size.records, size.dropped), (2, 300));
    store.acknowledge(0).await.unwrap();
    store.take(0, 2, 1 << 20).await.unwrap();
    store.acknowledge(2).await.unwrap();
    store.put((0..150).map(telemetry).collect()).await.unwrap();
    let size = store.outbox_size();
    assert!(size.bytes <= 10_000 && size.records > 0, "{size:?}");
    let first = store.take(2, 1, 1 << 20).await.unwrap();
    assert!(
        String::from_utf8_lossy(&first[0].payload)
            .trim_start_matches('0')
            .parse::<usize>()
            .unwrap()
            > 0
    );
}

#[tokio::test]
async fn twins_and_desired_values_stay() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let blob = |device: &str, data: &[u8]| TwinBlob {
        device: device.to_owned(),
        data: data.to_vec(),
    };
    store
        .try_save_twins(vec![
            blob("a", b"1"),
            blob("b", b"2"),
            blob("a", b"3"),
            blob("b", b""),
        ])
        .unwrap()
        .await
        .unwrap()
        .unwrap();
    let row = |json: Option<&str>| DesiredRow {
        device: "a".to_owned(),
        property: "p".to_owned(),
        json: json.map(str::to_owned),
    };
    store
        .try_save_desired(vec![row(Some("{}"))])
        .unwrap()
        .await
        .unwrap()
        .unwrap();
    drop(store);
    let store = reopen(folder.path()).await;
    assert_eq!(store.twins().await.unwrap(), [blob("a", b"3")]);
    assert_eq!(store.desired().await.unwrap(), [row(Some("{}"))]);
    store
        .try_save_desired(vec![row(None)])
        .unwrap()
        .await
        .unwrap()
        .unwrap();
    assert_eq!(store.desired().await.unwrap(), []);
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
        if let Ok(cut) = StoreHandle::open(copy.path(), BUDGET) {
            let revision = cut.position().map_or(0, |p| p.revision);
            let objects = cut.objects().await.unwrap();
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

#[test]
fn each_unusable_file_has_its_own_error() {
    let text = |error: StoreError| error.to_string();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("edge.db");

    fs::write(
        &file,
        "this is certainly not a database, but a text of some length",
    )
    .unwrap();
    let error = StoreHandle::open(folder.path(), BUDGET).unwrap_err();
    assert!(
        matches!(error, StoreError::NotADatabase { .. }),
        "{error:?}"
    );
    assert!(text(error).contains("edge.db"));

    fs::remove_file(&file).unwrap();
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("CREATE TABLE t (x)").unwrap();
    drop(other);
    assert!(matches!(
        StoreHandle::open(folder.path(), BUDGET).unwrap_err(),
        StoreError::Foreign { .. }
    ));

    fs::remove_file(&file).unwrap();
    drop(schema::open(folder.path(), &file).unwrap());
    let newer = rusqlite::Connection::open(&file).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let error = StoreHandle::open(folder.path(), BUDGET).unwrap_err();
    assert!(text(error).contains("schema 99, this edgecore knows up to 1"));

    let blocked = folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    assert!(matches!(
        StoreHandle::open(&blocked.join("state"), BUDGET).unwrap_err(),
        StoreError::Folder { .. }
    ));
}

#[test]
fn a_second_process_is_refused() {
    let folder = TempDir::new().unwrap();
    let _first = open(folder.path());
    let error = StoreHandle::open(folder.path(), BUDGET).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
}

#[test]
fn damage_in_the_middle_is_noticed_at_start() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("edge.db");
    let connection = schema::open(folder.path(), &file).unwrap();
    for i in 0..200 {
        connection
            .execute(
                "INSERT INTO twins VALUES (?1, randomblob(2000))",
                [format!("d{i}")],
            )
            .unwrap();
    }
    drop(connection);
    let mut bytes = fs::read(&file).unwrap();
    bytes[20_000..24_096].fill(0xa5);
    fs::write(&file, bytes).unwrap();
    let error = StoreHandle::open(folder.path(), BUDGET).unwrap_err();
    assert!(
        matches!(error, StoreError::NotADatabase { .. }),
        "{error:?}"
    );
}

#[test]
fn a_read_only_file_is_refused() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("edge.db");
    drop(schema::open(folder.path(), &file).unwrap());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write everything, so there is nothing to see for it.
    let root = fs::write(folder.path().join("probe"), "").is_ok();
    let result = StoreHandle::open(folder.path(), BUDGET);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(
        root || matches!(result, Err(StoreError::ReadOnly { .. })),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_full_disk_applies_nothing_and_ends_when_there_is_room() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("edge.db");
    let connection = schema::open(folder.path(), &file).unwrap();
    let pages: i64 = connection
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    // SQLite's own limit of pages says SQLITE_FULL, as a full disk does.
    connection
        .query_row(
            &format!("PRAGMA max_page_count = {}", pages + 20),
            [],
            |_| Ok(()),
        )
        .unwrap();
    let store = StoreHandle::with_connection(connection, &file, BUDGET).unwrap();
    store
        .apply(apply(Source::Hub, 1, false, vec![put("a", "small")]))
        .await
        .unwrap();
    let big = "x".repeat(200_000);
    let error = store
        .apply(apply(
            Source::Hub,
            2,
            false,
            vec![put("a", "new"), put("b", &big)],
        ))
        .await
        .unwrap_err();
    assert!(
        matches!(error, StoreError::Full { .. }) && error.is_retryable(),
        "{error:?}"
    );
    assert!(
        store
            .health()
            .fault
            .is_some_and(|fault| fault.contains("full"))
    );
    assert_eq!(
        store.position().map(|p| p.revision),
        Some(1),
        "nothing half-applied"
    );
    let objects = store.objects().await.unwrap();
    assert_eq!((objects.len(), objects[0].json.as_str()), (1, "small"));
    store
        .apply(apply(Source::Hub, 3, false, vec![put("a", "fits")]))
        .await
        .unwrap();
    store.flush().await.unwrap();
    assert_eq!(store.health().fault, None, "well again");
    assert!(store.health().errors > 0);
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
