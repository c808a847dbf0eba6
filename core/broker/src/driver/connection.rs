//! One connection: reads, asks the core what to write, and writes it.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use tokio::{
    net::TcpStream,
    sync::{Notify, OwnedSemaphorePermit},
};

use super::{Shared, until};
use crate::{
    codec::{self, Connect, Out, Packet, Version, WireError, code},
    core::Pulled,
    door::VisitorId,
    session::ConnectionId,
    store,
};

/// The largest CONNECT: an id, a will, a user and a password.
const CONNECT: usize = 160 * 1024;
/// Bytes that are read at a time from one that sends little, …
const READ: usize = 4 * 1024;
/// … and from one that sends much.
const READ_MUCH: usize = 64 * 1024;
/// Packets from here on need a part of what all connections may have in their
/// buffers together.
const LARGE: usize = 16 * 1024;
/// A packet that has begun is there after this, or never.
const PACKET: Duration = Duration::from_secs(60);
/// What a connection is told at its end waits no longer.
const FAREWELL: Duration = Duration::from_secs(1);
/// Until what is on the disk is asked for again, when there was no memory for it.
const LATER: Duration = Duration::from_millis(100);

/// Serves one connection to its end.
pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr) {
    // What is written together is written with one call, so nothing is to wait.
    let _ = stream.set_nodelay(true);
    let mut reading = Reading::default();
    let visit = Visit::new(&shared, peer);
    let connect = tokio::select! {
        connect = tokio::time::timeout(shared.limits.handshake, reading.connect(&stream)) => connect,
        () = visit.turned_away.notified() => return,
    };
    let Ok(Some(connect)) = connect else { return };
    let Some(presence) = log_in(&shared, visit, connect, peer).await else {
        return;
    };
    let mut connection = Connection {
        shared: &shared,
        stream: &stream,
        reading,
        out: Out::default(),
        presence,
        heard: Instant::now(),
        ends: None,
        later: None,
        pull: true,
        begun: None,
    };
    connection.run().await;
}

/// A place at the door, given back whatever happens.
struct Visit<'a> {
    shared: &'a Shared,
    visitor: VisitorId,
    turned_away: Arc<Notify>,
}

impl<'a> Visit<'a> {
    fn new(shared: &'a Shared, peer: SocketAddr) -> Self {
        let (visitor, turned_away) = shared.came(peer.ip());
        Self {
            shared,
            visitor,
            turned_away,
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        // One that was turned away has lost its place, maybe to another.
        let mine = state.visitors.get(self.visitor).and_then(Option::as_ref);
        if mine.is_some_and(|waker| Arc::ptr_eq(waker, &self.turned_away)) {
            state.visitors[self.visitor] = None;
            state.door.left(self.visitor);
        }
    }
}

/// A place in the core, given back whatever happens.
struct Presence<'a> {
    shared: &'a Shared,
    connection: ConnectionId,
    version: Version,
    keep_alive: Option<Duration>,
    waker: Arc<Notify>,
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        self.shared.with(|state, now| {
            state.core.lost(self.connection, now);
            state.wakers[self.connection] = None;
        });
    }
}

/// Looks whether the client is who it says; a failure takes its time.
async fn log_in<'a>(
    shared: &'a Shared,
    visit: Visit<'a>,
    connect: Connect,
    peer: SocketAddr,
) -> Option<Presence<'a>> {
    let user: Arc<str> = connect.user.as_deref().unwrap_or_default().into();
    let password = connect.password.as_ref().map(|password| &password.0[..]);
    let may_try = shared.lock().door.may_try(peer.ip(), &user, Instant::now());
    let refused = if !may_try {
        let pause = shared.lock().door.pause();
        Some((code::BUSY, Instant::now() + pause))
    } else if !shared.owner.admits(connect.user.as_deref(), password) {
        tracing::warn!(client = %peer, client_id = connect.client, "MQTT client refused: wrong user or password");
        let until = shared.lock().door.failed(peer.ip(), &user, Instant::now());
        Some((code::CREDENTIALS, until))
    } else {
        None
    };
    if let Some((_, due)) = refused {
        tokio::select! {
            () = until(Some(due)) => {}
            () = visit.turned_away.notified() => return None,
        }
    }
    drop(visit);
    let version = connect.version;
    // 3.1.2.10: one and a half of what was said. A client that says nothing is told
    // an hour, if its version knows of that.
    let keep_alive = match (connect.keep_alive, version) {
        (0, Version::V3) => None,
        (0, Version::V5) => Some(3600),
        (seconds, _) => Some(u64::from(seconds)),
    };
    let (connection, waker) = shared.with(|state, now| {
        let connection = match refused {
            Some((reason, _)) => state.core.rejected(version, reason),
            None => state.core.connect(connect, now),
        };
        (connection, state.watch(connection))
    });
    Some(Presence {
        shared,
        connection,
        version,
        keep_alive: keep_alive.map(|seconds| Duration::from_millis(seconds * 1500)),
        waker,
    })
}

/// What was read and not understood yet.
#[derive(Default)]
struct Reading {
    buffer: BytesMut,
    /// For a packet that is large.
    permit: Option<OwnedSemaphorePermit>,
    /// The last read filled what there was.
    much: bool,
}

impl Reading {
    async fn connect(&mut self, stream: &TcpStream) -> Option<Connect> {
        loop {
            match codec::frame(&self.buffer, CONNECT) {
                Ok(Some((header, total))) if self.buffer.len() >= total => {
                    let packet = self.buffer.split_to(total);
                    return match codec::decode(&packet, header, Version::V3) {
                        Ok(Packet::Connect(connect)) => Some(*connect),
                        Err(error) if error.code == code::VERSION => {
                            // 3.1.2.2: said as the oldest would, which all understand.
                            let _ = stream.try_write(&[0x20, 2, 0, 1]);
                            None
                        }
                        _ => None,
                    };
                }
                Ok(_) => {}
                Err(_) => return None,
            }
            // 3.1: anything else than a CONNECT ends it.
            if self.buffer.first().is_some_and(|first| *first != 0x10) {
                return None;
            }
            stream.readable().await.ok()?;
            match self.read(stream) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }

    fn read(&mut self, stream: &TcpStream) -> io::Result<usize> {
        let room = if self.much { READ_MUCH } else { READ };
        self.buffer.reserve(room);
        let room = self.buffer.capacity() - self.buffer.len();
        let read = stream.try_read_buf(&mut self.buffer);
        self.much = matches!(read, Ok(count) if count == room);
        if self.buffer.is_empty() {
            // An idle connection keeps no buffer.
            self.buffer = BytesMut::new();
        }
        read
    }

    /// Takes packets apart, as many as there are whole.
    fn packets(
        &mut self,
        version: Version,
        maximum: usize,
        packets: &mut Vec<Packet>,
    ) -> Result<(), WireError> {
        while let Some((header, total)) = codec::frame(&self.buffer, maximum)? {
            if self.buffer.len() < total {
                break;
            }
            packets.push(codec::decode(&self.buffer[..total], header, version)?);
            self.buffer.advance(total);
            self.permit = None;
        }
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(())
    }

    /// KiB of a packet that has begun and is large, if nobody has granted it yet.
    fn asks(&self, maximum: usize) -> Option<u32> {
        if self.permit.is_some() {
            return None;
        }
        let (_, total) = codec::frame(&self.buffer, maximum).ok()??;
        (total > LARGE).then(|| u32::try_from(total.div_ceil(1024)).unwrap_or(u32::MAX))
    }
}

type Grant = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

struct Connection<'a> {
    shared: &'a Arc<Shared>,
    stream: &'a TcpStream,
    reading: Reading,
    out: Out,
    presence: Presence<'a>,
    /// When something came last.
    heard: Instant,
    /// It ends when all is written, or at this time.
    ends: Option<Instant>,
    later: Option<Instant>,
    /// There may be something to write.
    pull: bool,
    /// When the packet began that is not whole.
    begun: Option<Instant>,
}

impl Connection<'_> {
    async fn run(&mut self) {
        let waker = Arc::clone(&self.presence.waker);
        let mut grant: Option<Grant> = None;
        // What came behind the CONNECT.
        self.understand();
        loop {
            if !self.write().await {
                return;
            }
            if self.ends.is_some() && self.out.is_empty() {
                return;
            }
            let may_read = self.ends.is_none() && grant.is_none() && self.may_read();
            let deadline = self.deadline(may_read);
            if !may_read {
                self.heard = Instant::now();
            }
            tokio::select! {
                () = waker.notified() => self.pull = true,
                ready = self.stream.writable(), if !self.out.is_empty() => {
                    if ready.is_err() { return }
                }
                permit = granted(&mut grant) => {
                    grant = None;
                    self.reading.permit = permit;
                }
                () = until(self.later) => {
                    self.later = None;
                    self.pull = true;
                }
                ready = self.stream.readable(), if may_read => {
                    if ready.is_err() || !self.read() { return }
                    grant = self.ask();
                    if self.reading.much {
                        // Others have their turn before the next piece of a flood.
                        tokio::task::yield_now().await;
                    }
                }
                () = until(deadline) => self.late(),
            }
        }
    }

    fn may_read(&self) -> bool {
        let connection = self.presence.connection;
        self.shared.lock().core.may_read(connection)
    }

    fn deadline(&self, may_read: bool) -> Option<Instant> {
        if self.ends.is_some() {
            return self.ends;
        }
        // Who is not read cannot be heard.
        let silent = self.presence.keep_alive.filter(|_| may_read);
        let silent = silent.map(|keep_alive| self.heard + keep_alive);
        let begun = self.begun.filter(|_| may_read).map(|begun| begun + PACKET);
        [silent, begun].into_iter().flatten().min()
    }

    /// A deadline has come.
    fn late(&mut self) {
        if self.ends.is_some() {
            // It does not take what it is told.
            self.out = Out::default();
            return;
        }
        let error = WireError {
            code: code::KEEP_ALIVE,
            what: "nothing came for one and a half times its keep-alive",
        };
        self.refuse(error);
    }

    fn refuse(&mut self, error: WireError) {
        let connection = self.presence.connection;
        self.shared
            .with(|state, now| state.core.refuse(connection, error, now));
        self.pull = true;
    }

    /// Reads once; false when the peer is gone.
    fn read(&mut self) -> bool {
        match self.reading.read(self.stream) {
            Ok(0) => return false,
            Ok(_) => self.heard = Instant::now(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        }
        self.understand();
        true
    }

    fn understand(&mut self) {
        if self.ends.is_some() || self.reading.buffer.is_empty() {
            return;
        }
        let mut packets = Vec::new();
        let maximum = self.shared.limits.packet;
        let version = self.presence.version;
        let understood = self.reading.packets(version, maximum, &mut packets);
        let whole = !packets.is_empty();
        if whole {
            let connection = self.presence.connection;
            self.shared.with(|state, now| {
                for packet in packets {
                    state.core.packet(connection, packet, now);
                }
            });
        }
        if let Err(error) = understood {
            self.reading.buffer.clear();
            self.refuse(error);
        }
        if self.reading.buffer.is_empty() {
            self.begun = None;
        } else if whole || self.begun.is_none() {
            self.begun = Some(Instant::now());
        }
    }

    fn ask(&self) -> Option<Grant> {
        let most = u32::try_from(self.shared.limits.memory / 4 / 1024).unwrap_or(u32::MAX);
        let kib = self.reading.asks(self.shared.limits.packet)?.min(most);
        let large = Arc::clone(&self.shared.large);
        Some(Box::pin(
            async move { large.acquire_many_owned(kib).await.ok() },
        ))
    }

    /// Writes what there is, as far as the peer takes it; false when it is gone.
    async fn write(&mut self) -> bool {
        loop {
            while !self.out.is_empty() {
                let pieces: Vec<_> = self.out.pieces().map(IoSlice::new).collect();
                match self.stream.try_write_vectored(&pieces) {
                    Ok(written) => self.out.advance(written),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                    Err(_) => return false,
                }
            }
            if !self.pull || self.ends.is_some() {
                return true;
            }
            let connection = self.presence.connection;
            let pulled = self
                .shared
                .with(|state, now| state.core.pull(connection, &mut self.out, now));
            self.pull = false;
            match pulled {
                Pulled::All => {}
                Pulled::More => {
                    self.pull = true;
                    // Others have their turn.
                    tokio::task::consume_budget().await;
                }
                Pulled::Later => self.later = Some(Instant::now() + LATER),
                Pulled::Close => self.ends = Some(Instant::now() + FAREWELL),
                Pulled::Load(wanted) => {
                    match store::load(&self.shared.writer, wanted).await {
                        Ok(found) => self.shared.with(|state, _| state.core.loaded(found)),
                        Err(error) => {
                            tracing::warn!(%error, "MQTT client disconnected: what waits for it cannot be read");
                            self.shared.with(|state, now| {
                                state.core.close(connection, code::UNAVAILABLE, now);
                            });
                        }
                    }
                    self.pull = true;
                }
            }
        }
    }
}

async fn granted(grant: &mut Option<Grant>) -> Option<OwnedSemaphorePermit> {
    match grant {
        Some(grant) => grant.await,
        None => std::future::pending().await,
    }
}
