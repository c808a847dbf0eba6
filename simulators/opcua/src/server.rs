//! The only file that awaits: the listener, its connections, and the clock.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longshore_sim_world::run::{Stopping, joined};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::channel::{self, Channel, Incoming};
use crate::core::{Core, Out, Spoil};
use crate::time::Now;

/// Messages that wait for one connection; one that takes none is closed.
const WAITING_MOST: usize = 1024;

/// How long accepting pauses after it failed, as when file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a restarted server tries to get its port back.
const REBIND_FOR: Duration = Duration::from_secs(5);

/// The clock looks no more often than this.
const SHORTEST_WAIT: Duration = Duration::from_millis(2);

/// What all parts of a simulator have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    core: Mutex<Core>,
    /// The way to each connection.
    lines: Mutex<HashMap<u64, mpsc::Sender<Out>>>,
    pub(crate) open: AtomicU64,
    next: AtomicU64,
    /// Something may be due earlier than the clock knows.
    wake: Notify,
    /// Changes when all connections are to be dropped.
    pub(crate) hang_up: watch::Sender<u64>,
}

/// For how long the server is away, and a sign that it is back.
#[derive(Debug)]
pub(crate) struct Away {
    pub(crate) down: Duration,
    pub(crate) back: oneshot::Sender<io::Result<()>>,
}

impl Shared {
    pub(crate) fn new(core: Core) -> Self {
        Self {
            core: Mutex::new(core),
            lines: Mutex::default(),
            open: AtomicU64::new(0),
            next: AtomicU64::new(0),
            wake: Notify::new(),
            hang_up: watch::Sender::new(0),
        }
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Out>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the server, and sends what came of it.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Core) -> T) -> T {
        let (result, out) = {
            let mut core = self.core();
            let result = act(&mut core);
            (result, std::mem::take(&mut core.out))
        };
        self.send(out);
        self.wake.notify_one();
        result
    }

    fn send(&self, out: Vec<Out>) {
        if out.is_empty() {
            return;
        }
        let mut lines = self.lines();
        for message in out {
            let connection = message.connection;
            let full = match lines.get(&connection) {
                Some(line) => line.try_send(message).is_err(),
                None => false,
            };
            if full {
                // Without its way in, the connection ends.
                tracing::warn!(
                    connection,
                    "a client takes no answers; its connection is closed"
                );
                lines.remove(&connection);
            }
        }
    }
}

/// Lets subscriptions look and speak when it is time, until the simulator stops.
pub(crate) async fn clock(shared: Arc<Shared>, mut stop: Stopping) {
    loop {
        let next = shared.core().next();
        let due = next.map_or_else(
            || Instant::now() + Duration::from_secs(3600),
            |at| Instant::from_std(at).max(Instant::now() + SHORTEST_WAIT),
        );
        tokio::select! {
            () = stop.told() => return,
            () = shared.wake.notified() => continue,
            () = sleep_until(due) => {}
        }
        let out = {
            let mut core = shared.core();
            core.tick(Now::read());
            std::mem::take(&mut core.out)
        };
        shared.send(out);
    }
}

/// Serves a listener until the simulator stops, then closes its connections.
pub(crate) async fn listen(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut stop: Stopping,
    mut away: mpsc::Receiver<Away>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    while let Some(open) = &listener {
        tokio::select! {
            () = stop.told() => break,
            Some(ended) = connections.join_next() => joined(ended),
            Some(command) = away.recv() => {
                let address = open.local_addr();
                // Nobody is answered while the server is away.
                listener = None;
                connections.shutdown().await;
                sleep(command.down).await;
                let bound = match address {
                    Ok(address) => rebind(address).await,
                    Err(error) => Err(error),
                };
                let result = match bound {
                    Ok(bound) => { listener = Some(bound); Ok(()) }
                    Err(error) => Err(error),
                };
                // The one who asked may be gone.
                let _ = command.back.send(result);
            }
            accepted = open.accept() => match accepted {
                Ok((stream, _)) => {
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move { attend(stream, shared).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    connections.shutdown().await;
}

async fn rebind(address: SocketAddr) -> io::Result<TcpListener> {
    let end = Instant::now() + REBIND_FOR;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < end => {
                sleep(ACCEPT_PAUSE).await;
            }
            result => return result,
        }
    }
}

/// Tells the core when a connection ends, however it does.
struct Attendance<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Attendance<'_> {
    fn drop(&mut self) {
        self.shared.lines().remove(&self.id);
        self.shared.open.fetch_sub(1, Ordering::AcqRel);
        self.shared.core().disconnected(self.id);
    }
}

async fn attend(stream: TcpStream, shared: Arc<Shared>) {
    // Small answers must not wait for each other.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot switch off delays of a connection");
    }
    let id = shared.next.fetch_add(1, Ordering::AcqRel) + 1;
    let (sender, receiver) = mpsc::channel(WAITING_MOST);
    shared.lines().insert(id, sender);
    shared.open.fetch_add(1, Ordering::AcqRel);
    shared.core().record.connections += 1;
    let _attendance = Attendance {
        shared: &shared,
        id,
    };
    let hang_up = shared.hang_up.subscribe();
    let connection = Connection {
        id,
        stream,
        channel: Channel::new(id as u32),
        late: VecDeque::new(),
    };
    if let Err(error) = connection.serve(&shared, receiver, hang_up).await {
        tracing::debug!(id, %error, "a connection ended");
    }
}

struct Connection {
    id: u64,
    stream: TcpStream,
    channel: Channel,
    /// Answers whose time has not come, in their order.
    late: VecDeque<(Instant, Out)>,
}

impl Connection {
    async fn serve(
        mut self,
        shared: &Shared,
        mut answers: mpsc::Receiver<Out>,
        mut hang_up: watch::Receiver<u64>,
    ) -> io::Result<()> {
        loop {
            let due = self.late.front().map(|(at, _)| *at);
            tokio::select! {
                _ = hang_up.changed() => return Ok(()),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Some((_, out)) = self.late.pop_front()
                        && !self.send(out).await?
                    {
                        return Ok(());
                    }
                }
                out = answers.recv() => match out {
                    Some(out) => {
                        if !self.answer(out).await? {
                            return Ok(());
                        }
                    }
                    None => return Ok(()),
                },
                read = self.stream.read_buf(self.channel.space()) => {
                    if read? == 0 || !self.hear(shared).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Takes what is whole; false at the end of the connection.
    async fn hear(&mut self, shared: &Shared) -> io::Result<bool> {
        loop {
            let now = Now::read();
            match self.channel.next(now) {
                Ok(None) => return Ok(true),
                Ok(Some(Incoming::Answer(bytes))) => self.stream.write_all(&bytes).await?,
                Ok(Some(Incoming::Request { request, body })) => {
                    shared.with(|core| core.request(self.id, request, &body, now));
                }
                Ok(Some(Incoming::Close)) => return Ok(false),
                Err(broken) => {
                    self.stream.write_all(&channel::error(broken)).await?;
                    return Ok(false);
                }
            }
        }
    }

    /// Sends a message now or later; false when the connection is to end.
    async fn answer(&mut self, out: Out) -> io::Result<bool> {
        if let Spoil::Late(late) = out.spoil {
            let at = Instant::now() + late;
            let place = self.late.partition_point(|(other, _)| *other <= at);
            self.late.insert(place, (at, out));
            return Ok(true);
        }
        self.send(out).await
    }

    async fn send(&mut self, out: Out) -> io::Result<bool> {
        let mut bytes = Vec::with_capacity(out.body.len() + 64);
        if out.spoil == Spoil::Close {
            return Ok(false);
        }
        self.channel.send(out.request, &out.body, &mut bytes);
        match out.spoil {
            Spoil::Half => bytes.truncate(bytes.len() / 2),
            Spoil::Header => bytes[..3].copy_from_slice(b"XXX"),
            _ => {}
        }
        self.stream.write_all(&bytes).await?;
        Ok(true)
    }
}
