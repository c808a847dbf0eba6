//! The broker over real sockets, with clients of others, and beside mosquitto: the
//! same script gives the same transcript.

#[path = "interop/paho.rs"]
mod paho;
#[path = "interop/raw.rs"]
mod raw;
#[path = "interop/transcript.rs"]
mod transcript;

use std::{
    io::Read,
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use longshore_broker::{
    Access, Broker, Heard, Limits, Options, Own, Owner, Who,
    codec::{Content, QoS},
};
use longshore_process::{Loss, Running, Stage, Tasks};
use tempfile::TempDir;

use self::raw::Client;

/// Long enough for a machine that does ten other things.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Edge {
    password: Option<&'static str>,
    heard: Mutex<Vec<Heard>>,
}

impl Access for Edge {
    fn admits(&self, _: Option<&str>, password: Option<&[u8]>) -> bool {
        self.password
            .is_none_or(|expected| password == Some(expected.as_bytes()))
    }
    fn may_publish(&self, _: Who<'_>, _: &str) -> bool {
        true
    }
    fn may_subscribe(&self, _: Who<'_>, _: &str) -> bool {
        true
    }
    fn listens(&self, topic: &str) -> bool {
        topic.starts_with("ask/")
    }
}

impl Owner for Edge {
    fn heard(&self, message: Heard) -> Option<Own> {
        self.heard.lock().unwrap().push(message);
        None
    }
}

struct Fixture {
    broker: Broker,
    tasks: Running,
    folder: TempDir,
    edge: Arc<Edge>,
}

async fn start_in(folder: TempDir, limits: Limits, edge: Edge) -> Fixture {
    let edge = Arc::new(edge);
    let options = Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        folder: PathBuf::from(folder.path()),
        limits,
    };
    let (broker, server, keeper) = Broker::open(options, edge.clone()).await.unwrap();
    let mut tasks = Tasks::new();
    tasks.add("server", Stage::Links, Loss::IsFault, |stop| {
        server.run(stop)
    });
    tasks.add("keeper", Stage::Stores, Loss::IsFault, |stop| {
        keeper.run(stop)
    });
    Fixture {
        broker,
        tasks: tasks.spawn(),
        folder,
        edge,
    }
}

async fn start(limits: Limits, edge: Edge) -> Fixture {
    start_in(TempDir::new().unwrap(), limits, edge).await
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

/// A socket without answers blocks, so it has a thread.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_one_that_is_away_outlives_the_broker_and_is_not_loaded_at_its_start() {
    let Fixture {
        broker,
        tasks,
        folder,
        ..
    } = start(Limits::default(), Edge::default()).await;
    let address = broker.address();
    apart(move || {
        let mut away = Client::connect(address, "away", 4, false);
        away.subscribe("x/#", 1);
        drop(away);
        let mut publisher = Client::connect(address, "p", 4, true);
        for number in 0..20_u16 {
            publisher.publish("x/y", &[b'z'; 20_000], 1, number + 1);
            assert_eq!(publisher.packet()[0], 0x40);
        }
        publisher.retain("r/large", &[b'r'; 100_000]);
    })
    .await;
    assert!(tasks.drain(PATIENCE).await.is_empty());
    let Fixture { broker, tasks, .. } = start_in(folder, Limits::default(), Edge::default()).await;
    let memory = broker.stats().memory_bytes;
    assert!(memory < 20_000, "{memory} bytes after the start");
    let address = broker.address();
    apart(move || {
        let mut back = Client::connect(address, "away", 4, false);
        assert!(back.session_present);
        for _ in 0..20 {
            let packet = back.packet();
            assert_eq!(
                (packet[0] & 0xf0, packet.len()),
                (0x30, 4 + 2 + 3 + 2 + 20_000)
            );
            back.acknowledge(&packet);
        }
        let mut later = Client::connect(address, "later", 4, true);
        later.subscribe("r/#", 0);
        assert!(later.packet().ends_with(&[b'r'; 1000]));
    })
    .await;
    until("all to be forgotten", || {
        broker.stats().disk_bytes < 110_000
    })
    .await;
    assert!(tasks.drain(PATIENCE).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_publishes_and_listens_without_a_client() {
    let Fixture {
        broker,
        tasks,
        edge,
        ..
    } = start(Limits::default(), Edge::default()).await;
    let (address, version) = (broker.address(), broker.version());
    assert!(!broker.wanted("edge/x"));
    let mut client = apart(move || {
        let mut client = Client::connect(address, "c", 5, true);
        client.subscribe("edge/+", 1);
        client.publish("ask/x", b"?", 1, 9);
        assert_eq!(client.packet(), [0x40, 2, 0, 9], "somebody listens");
        client
    })
    .await;
    assert!(broker.wanted("edge/x") && !broker.wanted("edge/x/y"));
    assert_ne!(broker.version(), version);
    until("the question", || !edge.heard.lock().unwrap().is_empty()).await;
    let heard = edge.heard.lock().unwrap().remove(0);
    assert_eq!((&*heard.client, &*heard.topic), ("c", "ask/x"));
    assert!(broker.publish(Own {
        content: Content::new("edge/x", "!"),
        qos: QoS::AtLeastOnce,
        retain: false,
    }));
    let packet = apart(move || client.packet()).await;
    assert!(packet.ends_with(b"!"), "{packet:?}");
    assert!(tasks.drain(PATIENCE).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_say_nothing_keep_nobody_out() {
    let limits = Limits {
        handshakes: 8,
        ..Limits::default()
    };
    let Fixture { broker, tasks, .. } = start(limits, Edge::default()).await;
    let address = broker.address();
    let mut strangers = apart(move || {
        let strangers: Vec<_> = (0..50)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        Client::connect(address, "honest", 5, true);
        strangers
    })
    .await;
    // The oldest were sent away.
    apart(move || {
        strangers[0].set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(strangers[0].read(&mut [0]).unwrap_or(0), 0);
    })
    .await;
    assert!(tasks.drain(PATIENCE).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_waits_for_its_answer_and_a_right_one_does_not() {
    let limits = Limits {
        // Longer than the test runs: who waits for it shows that it waits.
        failed_login: Duration::from_secs(3600),
        handshake: Duration::from_secs(3600),
        ..Limits::default()
    };
    let edge = Edge {
        password: Some("right"),
        ..Edge::default()
    };
    let Fixture { broker, tasks, .. } = start(limits, edge).await;
    let address = broker.address();
    apart(move || {
        let wrong: Vec<_> = (0..20)
            .map(|_| Client::say_hello(address, "guess", 5, Some(("ada", "wrong"))))
            .collect();
        let mut right = Client::say_hello(address, "bob", 5, Some(("bob", "right")));
        assert_eq!(right.packet()[..4], [0x20, right.length(), 0, 0]);
        for client in wrong {
            client.nothing_came();
        }
    })
    .await;
    assert!(tasks.drain(PATIENCE).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_that_the_broker_stops() {
    let Fixture { broker, tasks, .. } = start(Limits::default(), Edge::default()).await;
    let address = broker.address();
    let mut client = apart(move || Client::connect(address, "c", 5, true)).await;
    assert!(tasks.drain(PATIENCE).await.is_empty());
    let packet = apart(move || client.packet()).await;
    assert_eq!(packet, [0xe0, 1, 0x8b]);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_clients_than_there_may_be_are_told_so() {
    let limits = Limits {
        connections: 3,
        ..Limits::default()
    };
    let Fixture { broker, tasks, .. } = start(limits, Edge::default()).await;
    let address = broker.address();
    apart(move || {
        let connect = |name: &str| Client::say_hello(address, name, 5, None);
        let mut there: Vec<_> = ["a", "b", "c"].map(connect).into_iter().collect();
        for client in &mut there {
            assert_eq!(client.packet()[3], 0);
        }
        assert_eq!(connect("d").packet()[..4], [0x20, 3, 0, 0x97]);
        drop(there.pop());
        loop {
            let answer = connect("d").packet();
            if answer[3] == 0 {
                break;
            }
            assert_eq!(answer[3], 0x97);
        }
    })
    .await;
    assert!(tasks.drain(PATIENCE).await.is_empty());
}

/// rumqttc has no sympathy with what we think that MQTT is.
#[tokio::test(flavor = "multi_thread")]
async fn rumqttc_gets_what_it_sends_in_each_qos() {
    use rumqttc::{AsyncClient, Event, MqttOptions, Packet};
    let Fixture { broker, tasks, .. } = start(Limits::default(), Edge::default()).await;
    let mut options = MqttOptions::new("rumqttc", "127.0.0.1", broker.address().port());
    options.set_max_packet_size(1 << 20, 1 << 20);
    let (client, mut events) = AsyncClient::new(options, 64);
    client
        .subscribe("q/+", rumqttc::QoS::ExactlyOnce)
        .await
        .unwrap();
    let qos = [
        rumqttc::QoS::AtMostOnce,
        rumqttc::QoS::AtLeastOnce,
        rumqttc::QoS::ExactlyOnce,
    ];
    let mut got = Vec::new();
    let work = async {
        while got.len() < 30 {
            match events.poll().await.unwrap() {
                Event::Incoming(Packet::SubAck(_)) => {
                    for number in 0..30_u8 {
                        let qos = qos[usize::from(number % 3)];
                        let payload = vec![number; 1 + usize::from(number) * 1000];
                        client.try_publish("q/x", qos, false, payload).unwrap();
                    }
                }
                Event::Incoming(Packet::Publish(publish)) => got.push(publish),
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, work).await.unwrap();
    for (number, publish) in (0..30_u8).zip(&got) {
        assert_eq!(publish.payload[0], number, "in order");
        assert_eq!(publish.qos, qos[usize::from(number % 3)]);
        assert_eq!(publish.payload.len(), 1 + usize::from(number) * 1000);
    }
    assert!(tasks.drain(PATIENCE).await.is_empty());
}
