use super::*;
use crate::codec::QoS;

fn message(row: Row, payload: &str, left: Option<Duration>) -> Change {
    Change::SaveMessage {
        row,
        content: Content::new("a/b", payload.as_bytes().to_vec()),
        qos: QoS::AtLeastOnce,
        left,
    }
}

fn queue(key: u64, seq: u64, row: Option<Row>, id: Option<u16>) -> Change {
    Change::Queue {
        key,
        seq,
        row,
        id,
        qos: QoS::ExactlyOnce,
        retain: false,
        identifiers: [7, 300].into(),
    }
}

fn session(key: u64, left: Option<Duration>) -> Change {
    Change::SaveSession {
        key,
        client: format!("c{key}").into(),
        user: Some("ada".into()),
        expiry: Duration::from_secs(1000),
        left,
        received: vec![1, 65535],
    }
}

#[tokio::test]
async fn what_is_written_is_what_a_start_finds() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, restored) = open(folder.path(), &Limits::default()).unwrap();
    assert!(restored.sessions.is_empty() && restored.messages.is_empty());
    let options = Options {
        qos: QoS::AtLeastOnce,
        no_local: true,
        as_published: false,
        identifier: Some(300),
    };
    let filter = Change::SaveFilter {
        key: 2,
        filter: "a/+".into(),
        options,
    };
    let kept = Change::Retain {
        topic: "a/b".into(),
        row: 5,
        own: true,
    };
    let batch = vec![
        session(1, None),
        session(2, Some(Duration::from_secs(60))),
        filter,
        message(5, "five", Some(Duration::from_secs(100))),
        message(6, "six", None),
        queue(2, 1, Some(5), None),
        queue(2, 2, None, Some(9)),
        queue(1, 1, Some(6), None),
        kept,
    ];
    write(&writer, batch).await.unwrap();
    let gone = vec![
        Change::EndSession(1),
        Change::DropMessage(6),
        Change::Unqueue { key: 2, seq: 7 },
    ];
    write(&writer, gone).await.unwrap();
    let found = load(&writer, vec![(0, 5), (1, 6)]).await.unwrap();
    assert_eq!(found.len(), 1, "one is gone");
    assert_eq!(found[0].2, Content::new("a/b", "five"));
    writer.close().await;

    let (writer, restored) = open(folder.path(), &Limits::default()).unwrap();
    assert_eq!((restored.next_row, restored.next_key), (5, 2));
    let [session] = &restored.sessions[..] else {
        panic!("{:?}", restored.sessions);
    };
    assert_eq!(
        (&*session.client, session.user.as_deref()),
        ("c2", Some("ada"))
    );
    assert_eq!(session.received, [1, 65535]);
    assert!(session.left <= Duration::from_secs(60) && session.left > Duration::ZERO);
    assert_eq!(session.filters, [("a/+".into(), options)]);
    let entries: Vec<_> = session
        .entries
        .iter()
        .map(|e| (e.seq, e.message, e.id))
        .collect();
    assert_eq!(entries, [(1, Some(5), None), (2, None, Some(9))]);
    assert_eq!(*session.entries[0].identifiers, [7, 300]);
    let (row, size, qos, left) = restored.messages[0];
    assert_eq!((row, size, qos), (5, 7, QoS::AtLeastOnce));
    assert!(left.is_some_and(|left| left <= Duration::from_secs(100)));
    assert_eq!(restored.retained, [("a/b".into(), 5, true)]);
    writer.close().await;
}

/// Steps that were released are never changed: this is a file of the first version.
#[test]
fn a_file_of_the_first_version_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let mut database = Database::open(&path, &SCHEMA, Settings::default()).unwrap();
    database
        .with(|file| {
            file.execute_batch(
                "INSERT INTO sessions VALUES (3, 'c', NULL, 100, NULL, x'0007');
                 INSERT INTO filters VALUES (3, 'a/#', 1, NULL);
                 INSERT INTO messages VALUES (4, 4, 1, NULL, NULL, 'a/b', x'', x'78');
                 INSERT INTO queue VALUES (3, 1, 4, NULL, 1, 0, x'');
                 INSERT INTO retained VALUES ('a/b', 4, 0);",
            )
        })
        .unwrap();
    let restored = database.with(|file| restore(file, now_ms())).unwrap();
    let session = &restored.sessions[0];
    assert_eq!((session.key, &session.received[..]), (3, &[7][..]));
    // The clock knows nothing of one that was connected: it has all of its time.
    assert_eq!(session.left, Duration::from_secs(100));
    assert_eq!(session.entries[0].message, Some(4));
    assert_eq!(restored.retained.len(), 1);
}

#[test]
fn a_clock_that_was_wrong_keeps_nothing_longer_than_it_was_to_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let mut database = Database::open(&path, &SCHEMA, Settings::default()).unwrap();
    let day: i64 = 24 * 3600 * 1000;
    database
        .with(|file| {
            let change = session(1, Some(Duration::from_secs(500)));
            apply(file, &change, 20 * day)
        })
        .unwrap();
    let mut left = |now| {
        let restored = database.with(|file| restore(file, now)).unwrap();
        restored.sessions[0].left
    };
    assert_eq!(left(20 * day), Duration::from_secs(500));
    assert_eq!(left(0), Duration::from_secs(1000), "the clock was set back");
    assert_eq!(left(30 * day), Duration::ZERO);
}
