//! Single exchanges, step by step.

use std::time::{Duration, Instant};

use bytes::Bytes;
use longshore_link::{
    ChangeLog, CloseReason, Content, EdgeConfig, EdgeEffect, EdgeEvent, EdgePosition, EdgeSession,
    Epoch, Frame, Gap, Hello, HubConfig, HubEffect, HubEvent, HubSession, Lane, LogConfig,
    ObjectKey, Objects, Reading, RefuseReason, UpPosition, UpRecord, Welcome,
};

fn hello(node: &str) -> Hello {
    Hello {
        oldest_version: 1,
        version: 1,
        capabilities: Vec::new(),
        node: node.into(),
        agent: "test".into(),
        hub_epoch: Epoch(1),
        revision: 0,
        edge_epoch: Epoch(5),
        last_sequence: 0,
        last_telemetry: 0,
    }
}

fn welcome() -> Welcome {
    Welcome {
        version: 1,
        capabilities: Vec::new(),
        hub_epoch: Epoch(1),
        taken: 4,
        window_records: 2,
        window_bytes: 1000,
        keepalive_ms: 1000,
        schemas: Vec::new(),
    }
}

fn record(sequence: u64) -> UpRecord {
    UpRecord {
        sequence,
        payload: Bytes::from_static(b"x"),
    }
}

fn fetched(records: Vec<UpRecord>) -> EdgeEvent {
    let lane = Lane::Live;
    EdgeEvent::Fetched { lane, records }
}

fn live_edge(now: Instant) -> EdgeSession {
    let mut edge = EdgeSession::new(EdgeConfig::new("edge-1"));
    let position = EdgePosition {
        edge_epoch: Epoch(5),
        last_sequence: 10,
        ..EdgePosition::default()
    };
    edge.step(EdgeEvent::TransportUp(position), now);
    let effects = edge.step(EdgeEvent::Frame(Frame::Welcome(welcome())), now);
    assert_eq!(
        effects[0],
        EdgeEffect::Forget {
            lane: Lane::Live,
            through: 4
        }
    );
    assert_eq!(effects[1], EdgeEffect::Connected);
    assert_eq!(
        effects[2],
        EdgeEffect::Fetch {
            lane: Lane::Live,
            after: 4,
            max_records: 2,
            max_bytes: 1000
        }
    );
    edge
}

#[test]
fn the_hub_turns_another_node_away() {
    let now = Instant::now();
    let mut hub = HubSession::new(HubConfig::new("edge-1", Epoch(1)), now);
    let effects = hub.step(HubEvent::Frame(Frame::Hello(hello("edge-2"))), now);
    assert!(matches!(
        &effects[0],
        HubEffect::Send(Frame::Refuse {
            reason: RefuseReason::Identity,
            ..
        })
    ));
    assert!(matches!(
        &effects[1],
        HubEffect::Close(CloseReason::Refused { .. })
    ));
}

#[test]
fn the_hub_turns_a_version_away_that_it_does_not_speak() {
    let now = Instant::now();
    let mut hub = HubSession::new(HubConfig::new("edge-1", Epoch(1)), now);
    let later = Hello {
        oldest_version: 7,
        version: 9,
        ..hello("edge-1")
    };
    let effects = hub.step(HubEvent::Frame(Frame::Hello(later)), now);
    assert!(matches!(
        &effects[0],
        HubEffect::Send(Frame::Refuse {
            reason: RefuseReason::Version,
            ..
        })
    ));
}

#[test]
fn silence_ends_both_ends() {
    let now = Instant::now();
    let mut edge = live_edge(now);
    let ping = edge.step(EdgeEvent::Tick, now + Duration::from_secs(1));
    assert!(matches!(ping[..], [EdgeEffect::Send(Frame::Ping { .. })]));
    let end = edge.step(EdgeEvent::Tick, now + Duration::from_secs(3));
    assert_eq!(end, [EdgeEffect::Close(CloseReason::Silent)]);

    let mut hub = HubSession::new(HubConfig::new("edge-1", Epoch(1)), now);
    let late = hub.wake_at().expect("a hello is due");
    assert_eq!(
        hub.step(HubEvent::Tick, late),
        [HubEffect::Close(CloseReason::GreetingTimeout)]
    );
}

#[test]
fn the_window_bounds_what_is_under_way() {
    let now = Instant::now();
    let mut edge = live_edge(now);
    let effects = edge.step(fetched(vec![record(5), record(6)]), now);
    assert!(
        matches!(&effects[..], [EdgeEffect::Send(Frame::Records(_))]),
        "the window of two is full"
    );
    assert_eq!(edge.in_flight(), 2);
    assert!(edge.step(EdgeEvent::OutboxChanged, now).is_empty());
    let effects = edge.step(EdgeEvent::Frame(Frame::Taken { sequence: 5 }), now);
    assert_eq!(
        effects[0],
        EdgeEffect::Forget {
            lane: Lane::Live,
            through: 5
        }
    );
    assert_eq!(
        effects[1],
        EdgeEffect::Fetch {
            lane: Lane::Live,
            after: 6,
            max_records: 1,
            max_bytes: 983
        }
    );
}

#[test]
fn a_record_that_comes_while_the_outbox_is_read_is_not_forgotten() {
    let now = Instant::now();
    let mut edge = live_edge(now);
    assert!(
        edge.step(EdgeEvent::OutboxChanged, now).is_empty(),
        "a fetch is under way"
    );
    let effects = edge.step(fetched(Vec::new()), now);
    assert!(matches!(effects[..], [EdgeEffect::Fetch { .. }]));
}

#[test]
fn objects_that_do_not_follow_end_the_connection() {
    let now = Instant::now();
    let mut edge = live_edge(now);
    let gap = Frame::Objects(Objects::Changes {
        from: 3,
        to: 4,
        changes: Vec::new(),
    });
    let effects = edge.step(EdgeEvent::Frame(gap), now);
    assert_eq!(
        effects,
        [EdgeEffect::Close(CloseReason::RevisionGap {
            have: 0,
            got: 3
        })]
    );
}

#[test]
fn records_are_admitted_once_and_without_gaps() {
    let held = UpPosition {
        epoch: Epoch(5),
        sequence: 7,
    };
    let admitted = held
        .admit(Epoch(5), 5, &[record(6), record(7), record(9)])
        .expect("it follows");
    assert_eq!((admitted.skip, admitted.position.sequence), (2, 9));
    assert_eq!(
        held.admit(Epoch(5), 8, &[record(9)]),
        Err(Gap { after: 8, held: 7 })
    );
    assert_eq!(
        held.admit(Epoch(6), 0, &[record(1)])
            .expect("a new outbox")
            .skip,
        0
    );
}

#[test]
fn an_outbox_that_went_back_in_time_begins_anew() {
    let held = UpPosition {
        epoch: Epoch(5),
        sequence: 7,
    };
    assert_eq!(held.greet(Epoch(5), 7).sequence, 7);
    assert_eq!(
        held.greet(Epoch(5), 3).sequence,
        0,
        "records 4 to 7 will be other records"
    );
    assert_eq!(held.greet(Epoch(6), 9).sequence, 0);
}

#[test]
fn the_log_keeps_the_latest_of_each_object_and_few_deletions() {
    let key = |n: u32| ObjectKey {
        kind: "Device".into(),
        namespace: "default".into(),
        name: format!("d{n}"),
    };
    let content = |n: u32| Content {
        uid: "u".into(),
        resource_version: n.to_string(),
        json: Bytes::new(),
    };
    let mut log = ChangeLog::new(Epoch(1), LogConfig { deletions: 1 });
    for n in 0..3 {
        assert!(log.put(key(n), content(n)));
    }
    assert!(
        !log.put(key(0), content(0)),
        "the same content is no change"
    );
    assert!(log.put(key(0), content(9)));
    let Reading::Changes { to, changes } = log.read_after(0, 10_000) else {
        panic!("all is there")
    };
    assert_eq!((to, changes.len()), (4, 3));
    assert!(log.delete(&key(1)));
    assert!(!log.delete(&key(1)));
    assert!(matches!(
        log.read_after(4, 10_000),
        Reading::Changes { to: 5, .. }
    ));
    assert!(log.delete(&key(2)));
    assert_eq!(
        log.read_after(4, 10_000),
        Reading::Compacted,
        "one deletion was forgotten"
    );
    assert!(matches!(
        log.read_after(5, 10_000),
        Reading::Changes { to: 6, .. }
    ));
    assert_eq!(
        log.read_after(7, 10_000),
        Reading::Compacted,
        "a revision of another life"
    );
    assert_eq!(log.len(), 1);

    // As it was kept: objects and deletions with their revisions.
    let entries = [
        (key(0), 4, Some(content(9))),
        (key(1), 5, None),
        (key(2), 6, None),
    ];
    let mut log = ChangeLog::restored(Epoch(1), LogConfig { deletions: 1 }, 6, 3, entries);
    assert_eq!((log.head(), log.floor(), log.len()), (6, 5, 1));
    assert!(!log.put(key(0), content(9)), "it is held");
    assert!(matches!(
        log.read_after(5, 10_000),
        Reading::Changes { to: 6, changes } if changes.len() == 1
    ));
    assert!(log.put(key(0), content(10)));
    assert_eq!(log.head(), 7);
}
