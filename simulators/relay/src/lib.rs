//! A bad network between two programs, on purpose.
//!
//! A [`Relay`] listens on a free port of this machine and passes everything on
//! to its target, until it is told to misbehave. Neither end knows of it, so
//! that any client can be tried against any server: it speaks no protocol.
//!
//! # Guarantees
//! - A [`Trouble`] counts from the moment it is set, also for connections that
//!   are open already, and ends with [`Relay::clear`].
//! - Bytes are never reordered, and without trouble never changed.
//! - Nothing outlives the relay: its connections end with it.
//!
//! ```
//! # async fn example(server: std::net::SocketAddr) {
//! use longshore_sim_relay::{Relay, Trouble};
//!
//! let relay = Relay::to(server).await;
//! // The client connects to relay.addr() and works; then the line goes dead.
//! relay.make(Trouble::HalfOpen);
//! // And comes back; what was sent meanwhile is lost.
//! relay.clear();
//! # }
//! ```

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Trouble {
    /// It works.
    #[default]
    None,
    /// Each piece comes so much later, in both directions.
    Delay(Duration),
    /// So many bytes each second in each direction, one by one where need be.
    Slow(u32),
    /// What the server says is lost.
    DropAnswers,
    /// One bit of the first byte of each piece that the server says is turned,
    /// counted from the given offset of the piece.
    FlipBit {
        /// Which byte of the piece; the last one where it is shorter.
        offset: usize,
        /// Which bit, 0 is the lowest.
        bit: u8,
    },
    /// Nothing comes through in either direction, and neither end is told; new
    /// connections are accepted and lead nowhere.
    HalfOpen,
    /// Connections that are open are reset, new ones are reset as well.
    Reset,
}

/// The relay. Ends with its connections when it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    trouble: watch::Sender<Trouble>,
    accepted: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Relay {
    /// A relay on a free port of the loopback interface.
    ///
    /// # Panics
    /// When no port can be bound.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.unwrap_or_else(|error| panic!("no free port for a relay: {error}"));
        let address = listener.local_addr();
        let address = address.unwrap_or_else(|error| panic!("a relay without address: {error}"));
        let (trouble, watched) = watch::channel(Trouble::None);
        let accepted = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(serve(listener, target, watched, Arc::clone(&accepted)));
        Self {
            address,
            trouble,
            accepted,
            task,
        }
    }

    /// Where the client connects to.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// From now on.
    pub fn make(&self, trouble: Trouble) {
        self.trouble.send_replace(trouble);
    }

    /// The network works again. Connections that were reset stay so.
    pub fn clear(&self) {
        self.make(Trouble::None);
    }

    /// Connections that clients have made so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    target: SocketAddr,
    trouble: watch::Receiver<Trouble>,
    accepted: Arc<AtomicU64>,
) {
    // Dropped with this task, and with it every connection.
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            return;
        };
        accepted.fetch_add(1, Ordering::Relaxed);
        let now = *trouble.borrow();
        if now == Trouble::Reset {
            // Nothing can be done where even this fails.
            let _ = client.set_zero_linger();
            continue;
        }
        connections.spawn(connect(client, target, trouble.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(client: TcpStream, target: SocketAddr, trouble: watch::Receiver<Trouble>) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    for end in [&client, &server] {
        let _ = end.set_nodelay(true);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = pass(from_client, to_server, false, trouble.clone());
    let down = pass(from_server, to_client, true, trouble);
    // An end that closes its half lets the other half go on.
    tokio::join!(up, down);
}

/// Passes one direction on until its sender ends it.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    is_answer: bool,
    mut trouble: watch::Receiver<Trouble>,
) {
    let mut piece = vec![0; 16 * 1024];
    loop {
        let count = tokio::select! {
            biased;
            _ = trouble.wait_for(|now| *now == Trouble::Reset) => {
                // Closed without ceremony when both halves are dropped.
                let _ = to.as_ref().set_zero_linger();
                return to.forget();
            }
            count = from.read(&mut piece) => count,
        };
        let Ok(count @ 1..) = count else {
            break;
        };
        let bytes = &mut piece[..count];
        let now = *trouble.borrow();
        match now {
            Trouble::None | Trouble::Reset => {}
            Trouble::Delay(time) => tokio::time::sleep(time).await,
            Trouble::DropAnswers if !is_answer => {}
            Trouble::DropAnswers | Trouble::HalfOpen => continue,
            Trouble::FlipBit { offset, bit } if is_answer => {
                bytes[offset.min(count - 1)] ^= 1 << (bit & 7);
            }
            Trouble::FlipBit { .. } => {}
            Trouble::Slow(rate) => {
                if slowly(&mut to, bytes, rate).await.is_err() {
                    break;
                }
                continue;
            }
        }
        if to.write_all(bytes).await.is_err() {
            break;
        }
    }
    // The other end sees that no more comes; unless it has gone already.
    let _ = to.shutdown().await;
}

async fn slowly(to: &mut OwnedWriteHalf, bytes: &[u8], rate: u32) -> std::io::Result<()> {
    let pause = Duration::from_secs(1) / rate.max(1);
    for byte in bytes {
        tokio::time::sleep(pause).await;
        to.write_all(std::slice::from_ref(byte)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
