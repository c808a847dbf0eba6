//! Nobody outside can use up the inside.

use bytes::Bytes;
use proptest::prelude::*;

use super::{Client, World};
use crate::{
    codec::{Content, QoS, Version},
    core::Own,
    limits::{Bound, Limits},
    shelf,
};

const KIB: usize = 1024;

fn small() -> Limits {
    Limits {
        sessions: 12,
        client_subscriptions: 4,
        subscriptions: 20,
        queue: Bound {
            messages: 20,
            bytes: 32 * KIB,
        },
        away: Bound {
            messages: 30,
            bytes: 64 * KIB,
        },
        retained: Bound {
            messages: 10,
            bytes: 48 * KIB,
        },
        memory: 160 * KIB,
        disk: 128 * KIB,
        ..Limits::default()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Connect(usize, bool),
    Cut(usize),
    Subscribe(usize, &'static str),
    Publish(usize, &'static str, usize, u8, bool),
    Own(&'static str, usize, bool),
    Work(usize),
    Commit(bool),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = || 0..6_usize;
    let topic = || prop_oneof![Just("a/1"), Just("a/2"), Just("b"), Just("c/d/e")];
    let filter = prop_oneof![Just("#"), Just("a/+"), Just("b"), Just("$share/g/a/#")];
    let step = prop_oneof![
        3 => (client(), any::<bool>()).prop_map(|(client, clean)| Step::Connect(client, clean)),
        1 => client().prop_map(Step::Cut),
        3 => (client(), filter).prop_map(|(client, filter)| Step::Subscribe(client, filter)),
        12 => (client(), topic(), 1..20_000_usize, 0..3_u8, prop::bool::weighted(0.2))
            .prop_map(|(client, topic, size, qos, retain)| Step::Publish(client, topic, size, qos, retain)),
        3 => (topic(), 1..20_000_usize, any::<bool>())
            .prop_map(|(topic, size, retain)| Step::Own(topic, size, retain)),
        4 => client().prop_map(Step::Work),
        4 => prop::bool::weighted(0.8).prop_map(Step::Commit),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever clients do, memory and disk stay within their bounds at each step,
    /// and what is counted is what there is.
    #[test]
    fn memory_and_disk_never_grow_beyond_their_bounds(steps in steps()) {
        let mut world = World::new(small());
        let mut clients: Vec<_> = (0..6)
            .map(|index| {
                let version = if index % 2 == 0 { Version::V5 } else { Version::V3 };
                Client::new(&format!("c{index}"), version, true)
            })
            .collect();
        for step in steps {
            let now = world.now;
            match step {
                Step::Connect(index, clean) => {
                    clients[index].cut(&mut world.core, now);
                    clients[index].clean = clean;
                    clients[index].connect(&mut world.core, now);
                }
                Step::Cut(index) => clients[index].cut(&mut world.core, now),
                Step::Subscribe(index, filter) => {
                    clients[index].subscribe(&mut world.core, filter, QoS::ExactlyOnce, now);
                }
                Step::Publish(index, topic, size, qos, retain) => {
                    let payload = "x".repeat(size);
                    let qos = QoS::new(qos).unwrap();
                    clients[index].publish(&mut world.core, topic, &payload, qos, retain, now);
                }
                Step::Own(topic, size, retain) => {
                    world.core.publish_own(own(topic, size, retain), now);
                }
                Step::Work(index) => {
                    clients[index].work(&mut world.core, &world.disk, 50, now);
                }
                Step::Commit(works) => world.commit(works),
                Step::Restart => world.restart(&mut clients),
            }
            world.assert_bounded();
        }
        // When all are gone and forgotten, so is what they cost.
        for client in &mut clients {
            client.cut(&mut world.core, world.now);
        }
        world.commit(true);
        world.now += Limits::default().session_expiry * 2;
        world.core.tick(world.now);
        world.commit_all();
        let core = &world.core;
        let retained = core.retained.len();
        prop_assert_eq!((core.sessions.len(), core.subscriptions.len()), (0, 0));
        prop_assert_eq!(core.shelf.len(), retained);
        prop_assert_eq!((core.overhead, core.entries_on_disk), (0, 0));
        prop_assert_eq!(core.disk(), core.retained.bytes() + retained * shelf::COST);
        prop_assert!(!world.disk.has_orphans());
    }
}

fn own(topic: &str, size: usize, retain: bool) -> Own {
    Own {
        content: Content::new(topic, Bytes::from(vec![b'y'; size])),
        qos: QoS::AtLeastOnce,
        retain,
    }
}

/// A world in which `count` clients subscribed to everything and went.
fn with_away(limits: Limits, count: usize) -> (World, Client) {
    let mut world = World::new(limits);
    for index in 0..count {
        let mut away = Client::new(&format!("away{index}"), Version::V3, false);
        world.connect(&mut away);
        away.subscribe(&mut world.core, "#", QoS::AtLeastOnce, world.now);
        world.settle(std::slice::from_mut(&mut away));
        away.cut(&mut world.core, world.now);
    }
    let mut publisher = Client::new("p", Version::V5, true);
    world.connect(&mut publisher);
    (world, publisher)
}

#[test]
fn a_message_for_many_who_are_away_is_kept_once_and_not_in_memory() {
    let (mut world, mut publisher) = with_away(Limits::default(), 100);
    let before = world.core.memory();
    for number in 0..50 {
        let payload = format!("{number:020000}");
        publisher.publish(
            &mut world.core,
            "x",
            &payload,
            QoS::AtLeastOnce,
            false,
            world.now,
        );
        world.settle(std::slice::from_mut(&mut publisher));
    }
    assert_eq!(publisher.promised.len(), 50);
    let (memory, disk) = (world.core.memory() - before, world.core.disk());
    // 5,000 places in queues, and 50 messages of 20 kB that stand on the disk alone.
    assert!(memory < 400_000, "{memory} bytes of memory");
    assert!(disk < 1_500_000, "{disk} bytes on the disk");
}

#[test]
fn one_that_is_away_and_full_loses_its_oldest_and_its_publisher_nothing() {
    let (mut world, mut publisher) = with_away(small(), 1);
    for number in 0..40 {
        let payload = number.to_string();
        publisher.publish(
            &mut world.core,
            "x",
            &payload,
            QoS::AtLeastOnce,
            false,
            world.now,
        );
        world.settle(std::slice::from_mut(&mut publisher));
    }
    assert_eq!(publisher.promised.len(), 40);
    let mut away = Client::new("away0", Version::V3, false);
    world.connect(&mut away);
    world.settle(std::slice::from_mut(&mut away));
    let expected: Vec<_> = (10..40).map(|number| number.to_string()).collect();
    assert_eq!(away.got, expected);
    assert_eq!(world.core.stats().dropped, 10);
}

#[test]
fn one_that_does_not_read_loses_its_oldest_of_qos_0_first() {
    let mut world = World::new(small());
    let mut slow = Client::new("slow", Version::V5, true);
    world.connect(&mut slow);
    slow.subscribe(&mut world.core, "#", QoS::AtLeastOnce, world.now);
    world.settle(std::slice::from_mut(&mut slow));
    let mut publisher = Client::new("p", Version::V5, true);
    world.connect(&mut publisher);
    for number in 0..30 {
        let qos = QoS::new(number % 2).unwrap();
        let payload = number.to_string();
        publisher.publish(&mut world.core, "x", &payload, qos, false, world.now);
    }
    world.settle(std::slice::from_mut(&mut slow));
    let lost: Vec<_> = (0..30_u8)
        .filter(|number| !slow.got.contains(&number.to_string()))
        .collect();
    assert_eq!(lost, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
}

#[test]
fn who_cannot_be_told_that_a_message_is_not_retained_stays_and_nobody_gets_a_stale_one() {
    let mut world = World::new(small());
    let mut listener = Client::new("l", Version::V5, true);
    world.connect(&mut listener);
    listener.subscribe(&mut world.core, "r/#", QoS::AtLeastOnce, world.now);
    let mut old = Client::new("old", Version::V3, true);
    world.connect(&mut old);
    for number in 0..20 {
        let topic = format!("r/{number}");
        old.publish(
            &mut world.core,
            &topic,
            "kept?",
            QoS::AtLeastOnce,
            true,
            world.now,
        );
        world.settle(std::slice::from_mut(&mut old));
        world.settle(std::slice::from_mut(&mut listener));
    }
    assert_eq!(old.promised.len(), 20, "each has its answer");
    assert_eq!(listener.got.len(), 20, "who listens has all");
    assert_eq!(world.core.stats().retained, 9);
    assert_eq!(world.core.stats().refused, 11);
    // A larger one on a topic that is retained, with no room for it.
    let large = "x".repeat(44 * KIB);
    old.publish(
        &mut world.core,
        "r/0",
        &large,
        QoS::AtLeastOnce,
        true,
        world.now,
    );
    world.settle(std::slice::from_mut(&mut old));
    assert_eq!(world.core.stats().retained, 8, "what was so is so no more");
}

#[test]
fn retained_messages_are_refused_over_their_bound_and_room_is_kept_for_the_owner() {
    let mut world = World::new(small());
    let mut client = Client::new("c", Version::V5, true);
    world.connect(&mut client);
    for number in 0..20 {
        let topic = format!("r/{number}");
        client.publish(
            &mut world.core,
            &topic,
            "kept",
            QoS::AtLeastOnce,
            true,
            world.now,
        );
        world.settle(std::slice::from_mut(&mut client));
    }
    // 10, less an eighth.
    assert_eq!(client.promised.len(), 9);
    assert_eq!(world.core.stats().retained, 9);
    assert!(
        world
            .core
            .publish_own(own("edge/event", 100, true), world.now)
    );
    assert!(
        !world
            .core
            .publish_own(own("edge/more", 100, true), world.now)
    );
    // What is there can be replaced and taken back.
    client.publish(
        &mut world.core,
        "r/1",
        "new",
        QoS::AtLeastOnce,
        true,
        world.now,
    );
    client.publish(
        &mut world.core,
        "r/2",
        "",
        QoS::AtLeastOnce,
        true,
        world.now,
    );
    world.settle(std::slice::from_mut(&mut client));
    assert_eq!(client.promised.len(), 11);
}

#[test]
fn subscriptions_and_sessions_have_their_bounds() {
    let mut world = World::new(small());
    let mut client = Client::new("c", Version::V5, true);
    world.connect(&mut client);
    for number in 0..5 {
        let filter = format!("f/{number}");
        client.subscribe(&mut world.core, &filter, QoS::AtMostOnce, world.now);
    }
    client.pull(&mut world.core, &world.disk, world.now);
    let codes: Vec<_> = client.inbox.drain(..).collect();
    let code = |code| super::client::Told::SubAck(vec![code]);
    assert_eq!(codes, [code(0), code(0), code(0), code(0), code(0x97)]);
    for number in 0..12 {
        let mut kept = Client::new(&format!("k{number}"), Version::V5, false);
        kept.connect(&mut world.core, world.now);
        world.commit_all();
        kept.pull(&mut world.core, &world.disk, world.now);
        let expected = if number < 11 { 0 } else { 0x97 };
        let accepted = super::client::Told::ConnAck {
            present: false,
            code: expected,
        };
        assert_eq!(kept.inbox.front(), Some(&accepted), "{number}");
    }
}
