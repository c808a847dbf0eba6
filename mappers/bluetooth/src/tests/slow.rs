//! A bluetoothd that does not say at once what there is.

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use tempfile::TempDir;

use super::{
    rig::rig,
    stories::{room, thermometer},
};
use serde_json::json;

/// A socket before the bus's that loses some of the questions for all objects.
struct Lossy {
    address: String,
    left: Arc<AtomicU32>,
    _folder: TempDir,
}

impl Lossy {
    fn before(bus: &str, losses: u32) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let path = folder.path().join("bus");
        let listener = UnixListener::bind(&path).expect("a socket");
        let bus = bus.strip_prefix("unix:path=").expect("a bus on a socket");
        let bus = bus.split(',').next().unwrap_or_default().to_owned();
        let left = Arc::new(AtomicU32::new(losses));
        let losses = Arc::clone(&left);
        // It waits for clients until the tests end.
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, UnixStream::connect(&bus)) else {
                    return;
                };
                let twice = |stream: &UnixStream| stream.try_clone().expect("a second handle");
                let (to_client, to_server) = (twice(&client), twice(&server));
                let losses = Arc::clone(&losses);
                thread::spawn(move || pass(server, to_client, &AtomicU32::new(0)));
                thread::spawn(move || pass(client, to_server, &losses));
            }
        });
        Self {
            address: format!("unix:path={}", path.display()),
            left,
            _folder: folder,
        }
    }
}

fn pass(mut from: UnixStream, mut to: UnixStream, losses: &AtomicU32) {
    let mut buffer = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..count];
        let asks = bytes.windows(17).any(|part| part == b"GetManagedObjects");
        let less = |left: u32| left.checked_sub(1);
        if asks
            && losses
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
                .is_ok()
        {
            continue;
        }
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    // The other side may be gone already.
    let _ = to.shutdown(Shutdown::Both);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bluetoothd_that_does_not_answer_at_first_is_asked_again() {
    let radio = room().await;
    let bus = Lossy::before(radio.address(), 1);
    let rig = rig(&bus.address);
    rig.configure(1, &json!({"name": "ATC_000001"}), 0, &thermometer(11));
    rig.wait_online(1, false);
    rig.look(|record| {
        let why = &record.online[&1].1;
        assert!(
            why.contains("bluetoothd does not say what there is"),
            "{why}"
        );
    });
    rig.wait_online(1, true);
    rig.wait_samples(11, 2);
    assert_eq!(bus.left.load(Ordering::SeqCst), 0);
    rig.stop();
}
