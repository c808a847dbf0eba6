//! Towards a broker outside.

use std::{
    io::{Read, Write},
    sync::atomic::Ordering::Relaxed,
};

use super::*;

/// A mosquitto of our own, ended with the test.
struct Mosquitto(Child, #[allow(dead_code)] TempDir);

impl Mosquitto {
    fn start(port: u16) -> Self {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("mosquitto.conf");
        std::fs::write(
            &config,
            format!("listener {port} 127.0.0.1\nallow_anonymous true\n"),
        )
        .unwrap();
        let child = ["mosquitto", "/usr/sbin/mosquitto"]
            .iter()
            .find_map(|program| {
                Command::new(program)
                    .arg("-c")
                    .arg(&config)
                    .stderr(Stdio::null())
                    .spawn()
                    .ok()
            })
            .unwrap_or_else(|| panic!("mosquitto does not start; install it: {INSTALL}"));
        Self(child, folder)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_broker_may_be_down_come_and_go() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (bus, _tasks) = external(port).await;
    until("a reason", || {
        bus.ready().is_err_and(|reason| reason.contains("refused"))
    })
    .await;
    bus.send(Message::Changed(change(1.0, 2.0, None)));
    until("the drop to be counted", || {
        bus.counters()
            .dropped
            .load(std::sync::atomic::Ordering::Relaxed)
            == 1
    })
    .await;

    for _ in 0..2 {
        let _mosquitto = Mosquitto::start(port);
        until("the connection", || bus.ready().is_ok()).await;
        let answer = subscribe(
            port,
            &Topic::device(&boiler(), DeviceEvent::TwinGetResult).to_string(),
            1,
            &[],
        );
        let mut asked = 0;
        // The subscription of the edge and that of the client are not yet there at once.
        until("an answer", || {
            publish(port, "$hw/events/device/default/boiler/twin/get", "{}", &[]);
            asked += 1;
            bus.counters()
                .requests
                .load(std::sync::atomic::Ordering::Relaxed)
                > 0
                && asked > 3
        })
        .await;
        assert_eq!(
            lines(answer).await[0].1["twin"]["temperature"]["actual"]["value"],
            "21.5"
        );
        // Another node may have it: silence. The next request is answered.
        let refused = || bus.counters().requests_refused.load(Relaxed);
        let answer = subscribe(port, "$hw/events/device/default/+/twin/get/result", 1, &[]);
        let asked = bus.counters().requests.load(Relaxed);
        until("an answer", || {
            publish(
                port,
                "$hw/events/device/default/stranger/twin/get",
                "{}",
                &[],
            );
            publish(port, "$hw/events/device/default/boiler/twin/get", "{}", &[]);
            bus.counters().requests.load(Relaxed) > asked + 3
        })
        .await;
        assert!(lines(answer).await[0].0.contains("/boiler/"));
        assert_eq!(refused(), 0);
        drop(_mosquitto);
        until("the loss to be seen", || bus.ready().is_err()).await;
    }
}

async fn external(port: u16) -> (Arc<Bus>, Running) {
    let options = ExternalOptions {
        host: "127.0.0.1".into(),
        port,
        tls: None,
        credentials: Some(("press".to_owned(), "secret".to_owned())),
    };
    let node = NodeName::new("edge-1").unwrap();
    let mut tasks = Tasks::new();
    let bus = Bus::build(
        BusMode::External(options),
        KubeEdgeTopics::Auto,
        node,
        engine(),
        &mut tasks,
    )
    .await
    .unwrap()
    .unwrap();
    (bus, tasks.spawn())
}

/// A broker that gives these answers to the first packets of each client.
fn broker_that_answers(answers: &'static [&'static [u8]]) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut clients = Vec::new();
        while let Ok((mut client, _)) = listener.accept() {
            for answer in answers {
                let mut packet = [0; 1024];
                if client.read(&mut packet).is_err() {
                    break;
                }
                let _ = client.write_all(answer);
            }
            clients.push(client);
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broker_refuses_is_told() {
    // CONNACK, then SUBACK of packet 1: the third filter is refused.
    let port = broker_that_answers(&[&[0x20, 2, 0, 0], &[0x90, 7, 0, 1, 1, 1, 0x80, 1, 1]]);
    let (bus, _tasks) = external(port).await;
    let refusal = "the broker refuses the subscription to $hw/events/device/+/+/state/update";
    until("the refusal", || bus.ready() == Err(refusal.to_owned())).await;
    bus.send(Message::Changed(change(1.0, 2.0, None)));
    until("it is published all the same", || {
        bus.counters().published.load(Relaxed) > 0
    })
    .await;

    let port = broker_that_answers(&[&[0x20, 2, 0, 5]]);
    let (bus, _tasks) = external(port).await;
    let refusal = format!(
        "the MQTT broker 127.0.0.1:{port} refuses user \"press\": check bus.external.user and passwordFile"
    );
    until("the refusal", || bus.ready() == Err(refusal.clone())).await;
}

/// Whether this process's connections to a port send at once what they are given.
fn nodelays(port: u16) -> Vec<bool> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let this = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let sockets = open.filter_map(|entry| {
        let number = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let fd = pidfd_getfd(&this, number, PidfdGetfdFlags::empty()).ok()?;
        let stream = std::net::TcpStream::from(fd);
        let there = stream.peer_addr().ok()?.port() == port;
        there.then(|| stream.nodelay().unwrap())
    });
    sockets.collect()
}

/// Otherwise each answer waits up to 40 ms for the broker to acknowledge the one
/// before it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_to_a_broker_outside_is_sent_at_once() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let _mosquitto = Mosquitto::start(port);
    let (bus, _tasks) = external(port).await;
    until("the connection", || bus.ready().is_ok()).await;
    assert_eq!(nodelays(port), [true]);
}
