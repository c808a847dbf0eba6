//! Random lives: what was promised arrives, in order, and QoS 2 once.

use proptest::prelude::*;

use super::{Client, World};
use crate::{
    codec::{QoS, Version},
    limits::Limits,
};

#[derive(Debug, Clone)]
enum Step {
    Connect(usize),
    Cut(usize),
    Publish { client: usize, exactly: bool },
    Work { client: usize, most: usize },
    Commit { works: bool },
    Restart,
}

const CLIENTS: usize = 4;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = 0..CLIENTS;
    let step = prop_oneof![
        3 => client.clone().prop_map(Step::Connect),
        2 => client.clone().prop_map(Step::Cut),
        6 => (0..2_usize, any::<bool>())
            .prop_map(|(client, exactly)| Step::Publish { client, exactly }),
        8 => (client, 1..6_usize).prop_map(|(client, most)| Step::Work { client, most }),
        6 => prop::bool::weighted(0.97).prop_map(|works| Step::Commit { works }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..120)
}

/// Two that publish and two that subscribe, all of them with sessions that are kept.
fn clients() -> Vec<Client> {
    let clients = [
        ("p5", Version::V5),
        ("p3", Version::V3),
        ("s5", Version::V5),
        ("s3", Version::V3),
    ];
    let clients = clients.map(|(name, version)| Client::new(name, version, false));
    clients.into_iter().collect()
}

fn live(steps: Vec<Step>) {
    let mut world = World::new(Limits::default());
    let mut clients = clients();
    for client in &mut clients {
        world.connect(client);
    }
    for client in &mut clients[2..] {
        client.subscribe(&mut world.core, "t/#", QoS::ExactlyOnce, world.now);
    }
    world.settle(&mut clients);
    // What is refused and tried again comes behind what was taken meanwhile.
    let refuses = |step: &Step| matches!(step, Step::Commit { works: false });
    let ordered = !steps.iter().any(refuses);
    let mut count = 0;
    for step in steps {
        match step {
            Step::Connect(index) => {
                let client = &mut clients[index];
                client.cut(&mut world.core, world.now);
                client.connect(&mut world.core, world.now);
            }
            Step::Cut(index) => clients[index].cut(&mut world.core, world.now),
            // Who is not there does not publish; what it has to say waits in it.
            Step::Publish { client, exactly }
                if clients[client].connection.is_some() && clients[client].ready =>
            {
                count += 1;
                let qos = match exactly {
                    true => QoS::ExactlyOnce,
                    false => QoS::AtLeastOnce,
                };
                let payload = format!("{client}{}{count:05}", qos as u8);
                let now = world.now;
                clients[client].publish(&mut world.core, "t/x", &payload, qos, false, now);
            }
            Step::Publish { .. } => {}
            Step::Work { client, most } => {
                clients[client].work(&mut world.core, &world.disk, most, world.now);
            }
            Step::Commit { works } => world.commit(works),
            Step::Restart => world.restart(&mut clients),
        }
        world.assert_bounded();
    }
    // In the end everything is well, and everybody comes.
    world.commit(true);
    for _ in 0..3 {
        for client in &mut clients {
            if client.connection.is_none() {
                client.connect(&mut world.core, world.now);
            }
        }
        world.settle(&mut clients);
    }
    let promised = || clients[..2].iter().flat_map(|client| &client.promised);
    for subscriber in &clients[2..] {
        for payload in promised() {
            let times = subscriber.got.iter().filter(|got| *got == payload).count();
            let exactly = &payload[1..2] == "2";
            assert!(times >= 1, "{}: {payload} is lost", subscriber.name);
            assert!(
                !exactly || times == 1,
                "{}: {payload} {times}",
                subscriber.name
            );
        }
        for publisher in ["0", "1"] {
            for qos in ["1", "2"] {
                let mut first = Vec::new();
                for got in &subscriber.got {
                    if got.starts_with(&format!("{publisher}{qos}")) && !first.contains(got) {
                        first.push(got.clone());
                    }
                }
                assert!(
                    !ordered || first.is_sorted(),
                    "{}: {first:?}",
                    subscriber.name
                );
            }
        }
    }
    assert_eq!(world.core.shelf.len(), 0, "a message is left behind");
    assert!(!world.disk.has_orphans());
    assert_eq!(world.core.disk(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_acknowledged_arrives_in_order_and_qos_2_once(steps in steps()) {
        live(steps);
    }

    /// Killed at any moment: what was acknowledged while its subscriber was away is
    /// there.
    #[test]
    fn what_is_acknowledged_for_one_that_is_away_outlives_a_kill(
        counts in prop::collection::vec((1..6_usize, any::<bool>()), 1..6),
    ) {
        let mut world = World::new(Limits::default());
        let mut clients = vec![
            Client::new("p", Version::V5, false),
            Client::new("s", Version::V3, false),
        ];
        for client in &mut clients {
            world.connect(client);
        }
        clients[1].subscribe(&mut world.core, "#", QoS::AtLeastOnce, world.now);
        world.settle(&mut clients);
        clients[1].cut(&mut world.core, world.now);
        let mut number = 0;
        for (count, commits) in counts {
            if clients[0].connection.is_none() {
                clients[0].connect(&mut world.core, world.now);
            }
            clients[0].work(&mut world.core, &world.disk, 9, world.now);
            for _ in 0..count {
                number += 1;
                let payload = format!("{number}");
                let now = world.now;
                clients[0].publish(&mut world.core, "a", &payload, QoS::AtLeastOnce, false, now);
            }
            if commits {
                world.commit(true);
            }
            clients[0].work(&mut world.core, &world.disk, 9, world.now);
            world.kill(&mut clients);
        }
        clients[1].connect(&mut world.core, world.now);
        world.settle(&mut clients[1..]);
        for payload in &clients[0].promised {
            prop_assert!(clients[1].got.contains(payload), "{} is lost", payload);
        }
    }
}
