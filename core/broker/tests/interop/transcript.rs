//! One script of behaviours against mosquitto and against ours: what each client of
//! it hears is the same, byte for byte, but for what a broker may choose.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Instant,
};

use longshore_broker::Limits;
use tempfile::TempDir;

use super::{
    Edge, Fixture, PATIENCE, apart,
    raw::{self, Client},
    start,
};

const INSTALL: &str = "apt-get install mosquitto";

struct Mosquitto(Child, #[allow(dead_code)] TempDir, SocketAddr);

impl Mosquitto {
    fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("mosquitto.conf");
        let port = address.port();
        let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\n");
        std::fs::write(&config, text).unwrap();
        let start = |program: &&str| {
            let mut command = Command::new(program);
            let command = command.arg("-c").arg(&config);
            command
                .stderr(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .ok()
        };
        let child = ["mosquitto", "/usr/sbin/mosquitto"].iter().find_map(start);
        let child =
            child.unwrap_or_else(|| panic!("mosquitto does not start; install it: {INSTALL}"));
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < PATIENCE, "mosquitto does not listen");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Self(child, folder, address)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Clients by name, and what they heard.
struct Script {
    address: SocketAddr,
    clients: BTreeMap<&'static str, Client>,
    lines: Vec<String>,
}

impl Script {
    fn connect(&mut self, name: &'static str, version: u8, clean: bool) {
        let client = Client::connect(self.address, name, version, clean);
        self.say(name, format!("session present {}", client.session_present));
        self.clients.insert(name, client);
    }

    fn client(&mut self, name: &str) -> &mut Client {
        self.clients.get_mut(name).unwrap()
    }

    fn say(&mut self, name: &str, line: String) {
        self.lines.push(format!("{name}: {line}"));
    }

    /// What a client has heard by now; packets of QoS 1 are acknowledged.
    fn hears(&mut self, name: &'static str) {
        let client = self.clients.get_mut(name).unwrap();
        let all = client.all();
        for packet in &all {
            if packet[0] & 0xf6 == 0x32 {
                client.acknowledge(packet);
            }
        }
        for packet in all {
            let line = raw::without_id(packet).escape_ascii().to_string();
            self.say(name, line);
        }
    }

    fn drop(&mut self, name: &str) {
        self.clients.remove(name);
    }
}

/// The behaviours.
fn play(address: SocketAddr) -> Vec<String> {
    let mut script = Script {
        address,
        clients: BTreeMap::new(),
        lines: Vec::new(),
    };
    let s = &mut script;
    for (version, sub, publ) in [(4, "s4", "p4"), (5, "s5", "p5")] {
        s.connect(sub, version, true);
        s.connect(publ, version, true);
        // The lower QoS counts.
        for granted in 0..3 {
            s.client(sub)
                .subscribe(&format!("q/{granted}/{version}"), granted);
            for qos in 0..2 {
                let topic = format!("q/{granted}/{version}");
                s.client(publ).publish(&topic, &[b'0' + qos], qos, 5);
                s.hears(publ);
                s.hears(sub);
            }
        }
        // Wildcards, and what they leave out.
        s.client(sub).subscribe("w/+/x", 0);
        s.client(sub).subscribe("h/#", 1);
        for topic in ["w/a/x", "w//x", "w/a/b/x", "h", "h/a/b", "$hw/x", "w/x"] {
            s.client(publ).publish(topic, topic.as_bytes(), 0, 0);
        }
        s.hears(publ);
        s.hears(sub);
        // Retained ones, for who comes later and who was there.
        s.client(publ).retain("h/kept", b"one");
        s.client(publ).retain("h/gone", b"two");
        s.client(publ).retain("h/gone", b"");
        s.hears(publ);
        s.hears(sub);
        // By another client: what two subscriptions of one get, brokers may choose.
        s.connect("later", version, true);
        s.client("later").subscribe("h/+", 0);
        s.hears("later");
        s.client(publ).retain("h/kept", b"");
        s.hears(publ);
        s.hears(sub);
        // QoS 2, step by step, the second time with the same id before its release.
        s.client(publ).publish("h/two", b"2", 2, 9);
        s.client(publ).publish("h/two", b"2", 2, 9);
        s.hears(publ);
        s.client(publ).send(&[0x62, 2, 0, 9]);
        s.hears(publ);
        s.hears(sub);
    }
    // A session that is kept, and one that takes it over.
    for (version, kept) in [(4, "k4"), (5, "k5")] {
        s.connect(kept, version, false);
        s.client(kept).subscribe("k", 1);
        s.drop(kept);
        for number in 0..3_u8 {
            s.client("p4")
                .publish("k", &[b'0' + number], 1, 20 + u16::from(number));
            s.hears("p4");
        }
        s.client("p4").publish("k", b"not kept", 0, 0);
        s.hears("p4");
        s.connect(kept, version, false);
        s.hears(kept);
        s.drop(kept);
        s.connect(kept, version, true);
        s.hears(kept);
    }
    // What is not MQTT ends the connection.
    for (version, wrong) in [(4, &[0x36, 5, 0, 1, b'a', 0, 1][..]), (4, &[0x82, 2, 0, 1])] {
        s.connect("wrong", version, true);
        s.client("wrong").send(wrong);
        s.hears("wrong");
    }
    // Options of MQTT 5: no local, retain as published, retain handling.
    s.connect("n5", 5, true);
    s.client("n5").subscribe("o/local", 0x04);
    s.client("n5").subscribe("o/flag", 0x08);
    for topic in ["o/local", "o/flag"] {
        s.client("n5").publish(topic, b"own", 0, 0);
    }
    s.client("p5").retain("o/flag", b"kept");
    s.hears("n5");
    s.client("n5").subscribe("o/flag", 0x10);
    s.client("n5").subscribe("o/flag", 0x20);
    s.hears("n5");
    s.client("n5").subscribe("o/flag", 0x00);
    s.hears("n5");
    script.lines
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_script_gives_the_transcript_of_mosquitto() {
    let theirs = apart(|| {
        let mosquitto = Mosquitto::start();
        play(mosquitto.2)
    })
    .await;
    let Fixture { broker, tasks, .. } = start(Limits::default(), Edge::default()).await;
    let address = broker.address();
    let ours = apart(move || play(address)).await;
    // The whole of it, so that a difference is seen in its place.
    assert_eq!(ours.join("\n"), theirs.join("\n"));
    assert!(tasks.drain(PATIENCE).await.is_empty());
}
