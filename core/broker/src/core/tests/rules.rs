//! What the standard asks for, one rule at a time.

use std::time::Duration;

use super::{
    Client, World,
    client::{Message, Told},
};
use crate::{
    codec::{
        Ack, AckKind, Content, Filter, Packet, Publish, QoS, Retention, Subscribe, Unsubscribe,
        Version, Will, code,
    },
    limits::Limits,
};

fn world() -> World {
    World::new(Limits::default())
}

fn client(world: &mut World, name: &str, version: Version) -> Client {
    let mut client = Client::new(name, version, true);
    world.connect(&mut client);
    client
}

/// What comes next, unread.
fn told(world: &mut World, client: &mut Client) -> Vec<Told> {
    world.commit_all();
    client.pull(&mut world.core, &world.disk, world.now);
    client.inbox.drain(..).collect()
}

fn messages(world: &mut World, client: &mut Client) -> Vec<Message> {
    let told = told(world, client).into_iter();
    told.filter_map(|told| match told {
        Told::Publish(message) => Some(message),
        _ => None,
    })
    .collect()
}

fn payloads(world: &mut World, client: &mut Client) -> Vec<String> {
    let messages = messages(world, client).into_iter();
    messages.map(|message| message.payload).collect()
}

fn filter(filter: &str) -> Filter {
    Filter {
        filter: filter.to_owned(),
        qos: QoS::ExactlyOnce,
        no_local: false,
        as_published: false,
        retention: Retention::Always,
    }
}

fn subscribe(world: &mut World, client: &mut Client, identifier: Option<u32>, of: Filter) -> u8 {
    let subscribe = Subscribe {
        id: 7,
        identifier,
        filters: vec![of],
    };
    client.send(&mut world.core, Packet::Subscribe(subscribe), world.now);
    world.commit_all();
    client.pull(&mut world.core, &world.disk, world.now);
    let at = client
        .inbox
        .iter()
        .position(|told| matches!(told, Told::SubAck(_)));
    match at.and_then(|at| client.inbox.remove(at)) {
        Some(Told::SubAck(codes)) => codes[0],
        other => panic!("{other:?}"),
    }
}

fn publish(world: &mut World, client: &mut Client, topic: &str, payload: &str, qos: u8) {
    let qos = QoS::new(qos).unwrap();
    client.publish(&mut world.core, topic, payload, qos, false, world.now);
}

fn retain(world: &mut World, client: &mut Client, topic: &str, payload: &str) {
    client.publish(
        &mut world.core,
        topic,
        payload,
        QoS::AtLeastOnce,
        true,
        world.now,
    );
}

#[test]
fn the_lower_qos_counts() {
    let mut world = world();
    let mut subscriber = client(&mut world, "s", Version::V3);
    let mut publisher = client(&mut world, "p", Version::V3);
    for granted in 0..3 {
        let mut of = filter(&format!("q/{granted}"));
        of.qos = QoS::new(granted).unwrap();
        assert_eq!(subscribe(&mut world, &mut subscriber, None, of), granted);
        for published in 0..3 {
            publish(
                &mut world,
                &mut publisher,
                &format!("q/{granted}"),
                "x",
                published,
            );
            let got = messages(&mut world, &mut subscriber);
            assert_eq!(got[0].qos as u8, published.min(granted));
            assert_eq!(got.len(), 1);
        }
    }
}

#[test]
fn overlapping_subscriptions_give_one_message_with_all_identifiers() {
    let mut world = world();
    let mut subscriber = client(&mut world, "s", Version::V5);
    let mut publisher = client(&mut world, "p", Version::V5);
    subscribe(&mut world, &mut subscriber, Some(1), filter("a/+"));
    subscribe(&mut world, &mut subscriber, Some(300), filter("a/#"));
    publish(&mut world, &mut publisher, "a/b", "x", 1);
    let got = messages(&mut world, &mut subscriber);
    assert_eq!(got.len(), 1);
    // 0x0b is a subscription identifier; 300 takes two bytes.
    assert_eq!(got[0].properties, [0x0b, 0xac, 0x02, 0x0b, 1]);
}

#[test]
fn no_local_and_retain_as_published_are_kept_to() {
    let mut world = world();
    let mut one = client(&mut world, "one", Version::V5);
    let mut two = client(&mut world, "two", Version::V5);
    let local = Filter {
        no_local: true,
        as_published: true,
        ..filter("a")
    };
    subscribe(&mut world, &mut one, None, local);
    subscribe(&mut world, &mut two, None, filter("a"));
    retain(&mut world, &mut one, "a", "mine");
    assert_eq!(payloads(&mut world, &mut one), [] as [&str; 0]);
    assert!(!messages(&mut world, &mut two)[0].retain);
    retain(&mut world, &mut two, "a", "yours");
    assert!(messages(&mut world, &mut one)[0].retain);
}

#[test]
fn retained_messages_come_as_the_subscription_says() {
    let mut world = world();
    let mut one = client(&mut world, "one", Version::V5);
    retain(&mut world, &mut one, "a/b", "old");
    world.settle(std::slice::from_mut(&mut one));
    for (retention, first, second) in [
        (Retention::Always, 1, 1),
        (Retention::IfNew, 1, 0),
        (Retention::Never, 0, 0),
    ] {
        let mut two = client(&mut world, "two", Version::V5);
        let of = Filter {
            retention,
            ..filter("a/#")
        };
        for expected in [first, second] {
            subscribe(&mut world, &mut two, None, of.clone());
            let got = messages(&mut world, &mut two);
            assert_eq!(got.len(), expected, "{retention:?}");
            assert!(got.iter().all(|message| message.retain));
        }
    }
    retain(&mut world, &mut one, "a/b", "");
    let mut three = client(&mut world, "three", Version::V3);
    subscribe(&mut world, &mut three, None, filter("#"));
    assert_eq!(payloads(&mut world, &mut three), [] as [&str; 0]);
}

#[test]
fn a_group_shares_and_gets_nothing_retained() {
    let mut world = world();
    let mut publisher = client(&mut world, "p", Version::V5);
    retain(&mut world, &mut publisher, "a", "old");
    let mut members = [
        client(&mut world, "one", Version::V5),
        client(&mut world, "two", Version::V3),
    ];
    for member in &mut members {
        assert_eq!(subscribe(&mut world, member, None, filter("$share/g/a")), 2);
    }
    for number in 0..6 {
        publish(&mut world, &mut publisher, "a", &number.to_string(), 0);
    }
    let got = members
        .each_mut()
        .map(|member| payloads(&mut world, member));
    assert_eq!(got, [["0", "2", "4"], ["1", "3", "5"]]);
    let local = Filter {
        no_local: true,
        ..filter("$share/g/a")
    };
    let subscribe = Subscribe {
        id: 1,
        identifier: None,
        filters: vec![local],
    };
    members[0].send(&mut world.core, Packet::Subscribe(subscribe), world.now);
    assert_eq!(
        told(&mut world, &mut members[0]),
        [Told::Disconnect(code::PROTOCOL)]
    );
}

#[test]
fn a_will_is_told_when_its_client_is_lost_and_not_when_it_goes() {
    let mut world = world();
    let mut watcher = client(&mut world, "w", Version::V3);
    let of = Filter {
        qos: QoS::AtMostOnce,
        ..filter("will")
    };
    subscribe(&mut world, &mut watcher, None, of);
    let will = |delay| Will {
        content: Content::new("will", "gone"),
        qos: QoS::AtLeastOnce,
        retain: false,
        delay,
        expiry: None,
    };
    let goes = |code| Packet::Disconnect { code, expiry: None };
    for (clean, delay, farewell, expected) in [
        (true, 0, None, 1),
        (true, 0, Some(goes(code::SUCCESS)), 0),
        (true, 0, Some(goes(code::WITH_WILL)), 1),
        // A session that ends has no time to wait.
        (true, 100, None, 1),
        (false, 0, None, 1),
    ] {
        let mut mortal = Client::new("m", Version::V5, clean);
        mortal.will = Some(will(delay));
        world.connect(&mut mortal);
        if let Some(farewell) = farewell {
            mortal.send(&mut world.core, farewell, world.now);
        }
        mortal.cut(&mut world.core, world.now);
        assert_eq!(
            payloads(&mut world, &mut watcher).len(),
            expected,
            "{clean} {delay}"
        );
    }
    // Who is back in time is not missed; who is not, is.
    let mut mortal = Client::new("m", Version::V5, false);
    mortal.will = Some(will(100));
    world.connect(&mut mortal);
    mortal.cut(&mut world.core, world.now);
    world.now += Duration::from_secs(99);
    world.core.tick(world.now);
    world.connect(&mut mortal);
    world.now += Duration::from_secs(99);
    world.core.tick(world.now);
    assert_eq!(payloads(&mut world, &mut watcher).len(), 0);
    mortal.cut(&mut world.core, world.now);
    world.now += Duration::from_secs(100);
    assert!(world.core.due().is_some_and(|due| due <= world.now));
    world.core.tick(world.now);
    assert_eq!(payloads(&mut world, &mut watcher).len(), 1);
    let mut forger = Client::new("f", Version::V5, true);
    forger.will = Some(Will {
        content: Content::new("edge/x", "forged"),
        ..will(0)
    });
    forger.connect(&mut world.core, world.now);
    let refused = Told::ConnAck {
        present: false,
        code: code::NOT_AUTHORIZED,
    };
    assert_eq!(told(&mut world, &mut forger), [refused]);
}

#[test]
fn a_session_is_taken_over_and_belongs_to_its_user() {
    let mut world = world();
    let mut first = Client::new("same", Version::V5, false);
    world.connect(&mut first);
    first.subscribe(&mut world.core, "a", QoS::AtLeastOnce, world.now);
    world.settle(std::slice::from_mut(&mut first));
    let mut second = Client::new("same", Version::V5, false);
    second.connect(&mut world.core, world.now);
    assert_eq!(
        told(&mut world, &mut first),
        [Told::Disconnect(code::TAKEN_OVER)]
    );
    let present = Told::ConnAck {
        present: true,
        code: 0,
    };
    assert_eq!(told(&mut world, &mut second), [present]);
    assert!(world.core.wanted("a"));
    let id = world.core.clients["same"];
    world.core.sessions[id].user = Some("ada".into());
    let mut thief = Client::new("same", Version::V5, false);
    thief.connect(&mut world.core, world.now);
    let refused = Told::ConnAck {
        present: false,
        code: code::NOT_AUTHORIZED,
    };
    assert_eq!(told(&mut world, &mut thief), [refused]);
    assert!(second.connection.is_some());
}

#[test]
fn sessions_end_when_they_said_so() {
    let mut world = world();
    let mut kept = Client::new("k", Version::V5, false);
    world.connect(&mut kept);
    kept.subscribe(&mut world.core, "a", QoS::AtLeastOnce, world.now);
    world.settle(std::slice::from_mut(&mut kept));
    kept.cut(&mut world.core, world.now);
    world.now += Duration::from_secs(3599);
    world.core.tick(world.now);
    assert!(world.core.wanted("a"));
    world.now += Duration::from_secs(1);
    world.core.tick(world.now);
    assert!(!world.core.wanted("a"));
    // Another time, told at the end (3.14.2.2.2).
    world.connect(&mut kept);
    let now_or_never = Packet::Disconnect {
        code: 0,
        expiry: Some(0),
    };
    kept.send(&mut world.core, now_or_never, world.now);
    assert_eq!(world.core.stats().sessions, 0);
}

#[test]
fn messages_expire_and_say_how_long_they_have_left() {
    let mut world = world();
    let mut kept = Client::new("k", Version::V5, false);
    world.connect(&mut kept);
    kept.subscribe(&mut world.core, "#", QoS::AtLeastOnce, world.now);
    world.settle(std::slice::from_mut(&mut kept));
    kept.cut(&mut world.core, world.now);
    let mut publisher = client(&mut world, "p", Version::V5);
    for (id, expiry) in [(1, 10), (2, 100)] {
        let publish = Publish {
            again: false,
            qos: QoS::AtLeastOnce,
            retain: false,
            id: Some(id),
            content: Content::new("a", expiry.to_string()),
            alias: None,
            expiry: Some(expiry),
        };
        publisher.send(&mut world.core, Packet::Publish(publish), world.now);
    }
    world.commit_all();
    world.now += Duration::from_secs(40);
    kept.connect(&mut world.core, world.now);
    let got = messages(&mut world, &mut kept);
    assert_eq!(got.len(), 1);
    // 0x02 is the message's expiry: 60 seconds are left of 100.
    assert_eq!(
        (&*got[0].payload, &got[0].properties[..]),
        ("100", &[2, 0, 0, 0, 60][..])
    );
}

#[test]
fn aliases_stand_for_topics_once_they_are_given() {
    let mut world = world();
    let mut subscriber = client(&mut world, "s", Version::V5);
    subscribe(&mut world, &mut subscriber, None, filter("a"));
    let mut publisher = client(&mut world, "p", Version::V5);
    let message = |topic: &str, alias| {
        Packet::Publish(Publish {
            again: false,
            qos: QoS::AtMostOnce,
            retain: false,
            id: None,
            content: Content::new(topic, "x"),
            alias: Some(alias),
            expiry: None,
        })
    };
    for topic in ["a", "", ""] {
        publisher.send(&mut world.core, message(topic, 16), world.now);
    }
    let got = messages(&mut world, &mut subscriber);
    assert_eq!(got.iter().filter(|message| message.topic == "a").count(), 3);
    for (topic, alias) in [("", 3), ("a", 0), ("a", 17)] {
        let mut wrong = client(&mut world, "wrong", Version::V5);
        wrong.send(&mut world.core, message(topic, alias), world.now);
        let end = Told::Disconnect(code::TOPIC_ALIAS);
        assert_eq!(told(&mut world, &mut wrong), [end], "{topic} {alias}");
    }
}

#[test]
fn what_may_not_be_is_said() {
    let mut world = world();
    let mut five = client(&mut world, "five", Version::V5);
    publish(&mut world, &mut five, "edge/x", "forged", 1);
    publish(&mut world, &mut five, "nobody", "x", 1);
    publish(&mut world, &mut five, "ask/x", "x", 1);
    let codes: Vec<_> = told(&mut world, &mut five)
        .into_iter()
        .map(|told| match told {
            Told::Ack(ack) => ack.code,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        codes,
        [code::NOT_AUTHORIZED, code::NO_SUBSCRIBERS, code::SUCCESS]
    );
    let heard = world.core.effects().heard;
    assert_eq!(heard.len(), 1);
    assert_eq!((&*heard[0].client, &*heard[0].topic), ("five", "ask/x"));
    let secret = subscribe(&mut world, &mut five, None, filter("secret"));
    assert_eq!(secret, code::NOT_AUTHORIZED);
    let wrong = subscribe(&mut world, &mut five, None, filter("a/#/b"));
    assert_eq!(wrong, code::TOPIC_FILTER);
    let end = Unsubscribe {
        id: 3,
        filters: vec!["x".into(), "a+".into()],
    };
    five.send(&mut world.core, Packet::Unsubscribe(end), world.now);
    let codes = vec![code::NO_SUBSCRIPTION, code::TOPIC_FILTER];
    assert_eq!(told(&mut world, &mut five), [Told::UnsubAck(codes)]);
    publish(&mut world, &mut five, "a/+", "x", 0);
    assert_eq!(
        told(&mut world, &mut five),
        [Told::Disconnect(code::TOPIC_NAME)]
    );
    // A client of 3.1.1 hears of one failure, and nothing of a publish's.
    let mut three = client(&mut world, "three", Version::V3);
    assert_eq!(
        subscribe(&mut world, &mut three, None, filter("secret")),
        0x80
    );
    publish(&mut world, &mut three, "edge/x", "forged", 1);
    assert!(matches!(
        told(&mut world, &mut three)[..],
        [Told::Ack(Ack { code: 0, .. })]
    ));
}

#[test]
fn a_disk_that_refuses_costs_what_needs_it_and_nothing_else() {
    let mut world = world();
    let mut kept = Client::new("k", Version::V5, false);
    world.connect(&mut kept);
    kept.subscribe(&mut world.core, "away", QoS::AtLeastOnce, world.now);
    world.settle(std::slice::from_mut(&mut kept));
    kept.cut(&mut world.core, world.now);
    world.commit_all();
    let mut here = client(&mut world, "here", Version::V5);
    subscribe(&mut world, &mut here, None, filter("here"));
    // Two that were under way when it failed, of either version.
    let mut three = client(&mut world, "three", Version::V3);
    publish(&mut world, &mut here, "away", "lost", 1);
    publish(&mut world, &mut three, "away", "lost", 1);
    world.commit(false);
    let quota = |told: &[Told]| {
        matches!(
            told,
            [Told::Ack(Ack {
                code: code::QUOTA,
                ..
            })]
        )
    };
    here.pull(&mut world.core, &world.disk, world.now);
    assert!(quota(&here.inbox.drain(..).collect::<Vec<_>>()));
    three.pull(&mut world.core, &world.disk, world.now);
    assert!(
        three.connection.is_none() && three.inbox.is_empty(),
        "no answer is none"
    );
    // From now on it is known.
    publish(&mut world, &mut here, "away", "lost", 1);
    retain(&mut world, &mut here, "here", "lost");
    publish(&mut world, &mut here, "here", "live", 1);
    here.pull(&mut world.core, &world.disk, world.now);
    let told: Vec<_> = here.inbox.drain(..).collect();
    assert!(quota(&told[..1]) && quota(&told[1..2]), "{told:?}");
    assert!(
        told.iter()
            .any(|told| matches!(told, Told::Publish(m) if m.payload == "live"))
    );
    let mut new = Client::new("new", Version::V5, false);
    new.connect(&mut world.core, world.now);
    new.pull(&mut world.core, &world.disk, world.now);
    let unavailable = Told::ConnAck {
        present: false,
        code: code::UNAVAILABLE,
    };
    assert_eq!(new.inbox.pop_front(), Some(unavailable));
    // And when there is room again, all is as before.
    world.commit(true);
    world.commit(true);
    let mut late = client(&mut world, "late", Version::V5);
    publish(&mut world, &mut late, "away", "kept", 1);
    world.settle(std::slice::from_mut(&mut late));
    world.connect(&mut kept);
    world.settle(std::slice::from_mut(&mut kept));
    assert_eq!(kept.got, ["kept"]);
}

#[test]
fn answers_come_in_the_order_of_what_they_answer() {
    let mut world = world();
    let mut kept = Client::new("k", Version::V5, false);
    world.connect(&mut kept);
    kept.subscribe(&mut world.core, "away", QoS::AtLeastOnce, world.now);
    world.settle(std::slice::from_mut(&mut kept));
    kept.cut(&mut world.core, world.now);
    world.commit_all();
    let mut publisher = client(&mut world, "p", Version::V5);
    publish(&mut world, &mut publisher, "away", "x", 1);
    publish(&mut world, &mut publisher, "nobody", "x", 1);
    publisher.pull(&mut world.core, &world.disk, world.now);
    assert!(
        publisher.inbox.is_empty(),
        "the first one is not on the disk yet"
    );
    world.commit(true);
    publisher.pull(&mut world.core, &world.disk, world.now);
    let ids = publisher.inbox.drain(..).map(|told| match told {
        Told::Ack(Ack {
            kind: AckKind::PubAck,
            id,
            ..
        }) => id,
        other => panic!("{other:?}"),
    });
    assert!(ids.is_sorted());
}

#[test]
fn what_comes_again_while_it_is_written_is_answered_when_that_is_done() {
    let mut world = world();
    let mut kept = Client::new("k", Version::V5, false);
    world.connect(&mut kept);
    kept.subscribe(&mut world.core, "away", QoS::ExactlyOnce, world.now);
    world.settle(std::slice::from_mut(&mut kept));
    kept.cut(&mut world.core, world.now);
    world.commit_all();
    let mut publisher = client(&mut world, "p", Version::V5);
    publish(&mut world, &mut publisher, "away", "x", 2);
    let batch = world.core.batch(world.now).unwrap();
    let again = Packet::Publish(Publish {
        again: true,
        qos: QoS::ExactlyOnce,
        retain: false,
        id: Some(2),
        content: Content::new("away", "x"),
        alias: None,
        expiry: None,
    });
    publisher.send(&mut world.core, again, world.now);
    world.disk.write(&batch);
    world.core.batch_done(true, world.now);
    publisher.pull(&mut world.core, &world.disk, world.now);
    let received = Told::Ack(Ack {
        kind: AckKind::PubRec,
        id: 2,
        code: 0,
    });
    assert_eq!(publisher.inbox, [received.clone(), received]);
}
