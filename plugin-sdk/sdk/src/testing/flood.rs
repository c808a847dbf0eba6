//! A server that babbles without end.

use std::{
    io::{ErrorKind, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// A server that sends what it likes, all the time and to whoever comes.
pub struct Flood {
    address: SocketAddr,
    over: Arc<AtomicBool>,
}

impl Flood {
    /// Sends `message` again and again.
    ///
    /// # Panics
    /// There is no port for it.
    pub fn of(message: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0");
        let bound = listener.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = match bound {
            Ok(bound) => bound,
            Err(error) => panic!("no port: {error}"),
        };
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let is_over = Arc::clone(&is_over);
                thread::spawn(move || send(stream, message, &is_over));
            }
        });
        Self { address, over }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn send(mut stream: TcpStream, message: &[u8], is_over: &AtomicBool) {
    let block = message.repeat(64 * 1024 / message.len());
    let patience = Some(Duration::from_millis(100));
    if stream.set_write_timeout(patience).is_err() {
        return;
    }
    while !is_over.load(Ordering::Relaxed) {
        match stream.write(&block) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the one that waits for clients; it may have ended.
        let _ = TcpStream::connect(self.address);
    }
}
