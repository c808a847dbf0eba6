//! A server that babbles without end, and what it may cost the others.

use std::{
    io::{ErrorKind, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::json;

use super::rig::{Rig, simulator};

/// A server that sends what it likes, all the time and to whoever comes.
struct Flood {
    url: String,
    over: Arc<AtomicBool>,
}

impl Flood {
    fn of(message: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("rtu+tcp://{}", listener.local_addr().expect("an address"));
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let (mut stream, is_over) = (stream.expect("a client"), Arc::clone(&is_over));
                thread::spawn(move || {
                    let block = message.repeat(64 * 1024 / message.len());
                    let patience = Some(Duration::from_millis(100));
                    stream.set_write_timeout(patience).expect("a timeout");
                    while !is_over.load(Ordering::Relaxed) {
                        match stream.write(&block) {
                            Err(error) if error.kind() != ErrorKind::WouldBlock => return,
                            _ => {}
                        }
                    }
                });
            }
        });
        Self { url, over }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the one that waits for clients; it may have ended.
        let _ = TcpStream::connect(self.url.trim_start_matches("rtu+tcp://"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_babbling_server_costs_its_neighbours_nothing() {
    let flood = Flood::of(b"\x00\xFFzz");
    let plc = simulator().start().await;
    let point = |id: u32| [(id, "INT", json!({"address": "hr:0"}))];
    let rig = Rig::new();
    let babbler = json!({"url": flood.url, "timeoutMs": 3000});
    rig.configure(1, &babbler, 40, &point(1));
    let other = json!({"url": format!("tcp://{}", plc.addr())});
    rig.configure(2, &other, 40, &point(2));
    rig.wait_samples(2, 3);
    rig.wait("the babble to be told", |record| {
        let state = record.online.get(&1);
        state.is_some_and(|(online, message)| {
            !online
                && message.contains("the line does not stop talking: ")
                && message.contains("that belong to no message")
        })
    });
    rig.wait_samples(2, 20);
    rig.look(|record| {
        assert!(
            !record.counts.contains_key(&1),
            "nothing of it was taken for a value"
        );
        assert!(
            record.bad.iter().all(|(point, ..)| *point == 1),
            "{:?}",
            record.bad
        );
        assert!(record.online[&2].0);
    });
    rig.stop();
}
