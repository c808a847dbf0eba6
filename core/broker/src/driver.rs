//! Sockets, clock and disk around the [`Core`].
//!
//! One lock holds the core; whoever has something for it takes it for as long as
//! that takes, which is never longer than a message takes to its queues. A
//! connection is one task that reads, asks the core what to write, and writes it
//! with as few calls as there can be.

mod connection;
mod keeper;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use longshore_process::{Explain, Group, Stop};
use longshore_sqlite::Writer;
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore, watch},
};

pub use self::keeper::Keeper;
use crate::{
    access::Access,
    core::{Core, Effects, Heard, Own},
    door::{Door, VisitorId},
    limits::Limits,
    session::ConnectionId,
    stats::Stats,
    store,
};

/// Connections that end, beside those that are there.
const ENDING: usize = 64;
/// After a connection could not be accepted, mostly for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two lines of the log about that.
const TOLD: Duration = Duration::from_secs(10);
/// How long connections may take to hear that the broker stops.
const FAREWELL: Duration = Duration::from_millis(500);
/// A peer that is gone is noticed by the system after about two minutes, also when
/// its client asks for no keep-alive.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;
/// Folders that the broker before this one kept its sessions in.
const FORMER: [&str; 4] = ["sessions", "retained", "queues", "inflight"];

/// Whoever owns the broker: decides, and listens. What it hears is told in the
/// order in which a client published it.
pub trait Owner: Access {
    /// A client published on a topic that the owner listens to. Must not wait; what
    /// it gives is published at once, at the cost of who asked.
    fn heard(&self, message: Heard) -> Option<Own>;
}

/// What a broker needs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder of `bus.db`; made if it is not there.
    pub folder: PathBuf,
    /// Its bounds.
    pub limits: Limits,
}

/// The broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The port is taken or may not be used.
    #[error("failed to listen for MQTT on {address}")]
    Listen {
        /// The address of the configuration.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder cannot be made.
    #[error("failed to make the folder of the MQTT broker `{}`", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its file cannot be used.
    #[error("failed to open what the MQTT broker keeps")]
    Store(#[source] longshore_sqlite::Error),
}

impl Explain for OpenError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Listen { .. } => None,
            Self::Folder { .. } => Some("the folder must be writable for edgecore".to_owned()),
            Self::Store(error) => error.hint(),
        }
    }
}

/// A broker, for its owner. Cheap to clone.
#[derive(Clone)]
pub struct Broker {
    shared: Arc<Shared>,
    address: SocketAddr,
    state: watch::Receiver<Result<(), String>>,
}

/// Accepts connections; runs until the end is asked for.
pub struct Server {
    shared: Arc<Shared>,
    listener: TcpListener,
    limits: Limits,
}

struct Shared {
    state: Mutex<State>,
    owner: Arc<dyn Owner>,
    limits: Limits,
    /// Of the subscriptions.
    version: AtomicU64,
    /// Something is to be written to the disk, and somebody waits for it, …
    urgent: Notify,
    /// … or nobody does.
    write: Notify,
    /// The core is due sooner.
    sooner: Notify,
    /// KiB of packets that are being read and are large.
    large: Arc<Semaphore>,
    writer: Writer<()>,
}

struct State {
    core: Core,
    door: Door,
    /// By connection.
    wakers: Vec<Option<Arc<Notify>>>,
    /// By visitor.
    visitors: Vec<Option<Arc<Notify>>>,
}

impl Broker {
    /// Opens the file and binds the port; nothing runs yet. The [`Server`] and the
    /// [`Keeper`] are to be run; the keeper is to end after the server.
    ///
    /// # Errors
    /// The port, the folder or the file cannot be used.
    pub async fn open(
        options: Options,
        owner: Arc<dyn Owner>,
    ) -> Result<(Self, Server, Keeper), OpenError> {
        let Options {
            listen,
            folder,
            limits,
        } = options;
        let failed = |source| OpenError::Listen {
            address: listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        probe_peers(&listener);
        make_folder(&folder)?;
        let (writer, restored) = store::open(&folder, &limits).map_err(OpenError::Store)?;
        tell_of_former(&folder);
        // The core sees the owner as what it may be asked.
        let access: Arc<dyn Access> = owner.clone();
        let core = Core::restore(limits.clone(), access, restored, Instant::now());
        let shared = Arc::new(Shared {
            version: AtomicU64::new(core.version()),
            state: Mutex::new(State {
                core,
                door: Door::new(limits.handshakes, limits.failed_login),
                wakers: Vec::new(),
                visitors: Vec::new(),
            }),
            owner,
            urgent: Notify::new(),
            write: Notify::new(),
            sooner: Notify::new(),
            large: Arc::new(Semaphore::new(limits.memory / 4 / 1024)),
            writer: writer.clone(),
            limits: limits.clone(),
        });
        // What a crash left behind is put right.
        shared.with(|_, _| ());
        shared.write.notify_one();
        let (keeper, state) = Keeper::new(Arc::clone(&shared), writer);
        let broker = Self {
            shared: Arc::clone(&shared),
            address,
            state,
        };
        let server = Server {
            shared,
            listener,
            limits,
        };
        Ok((broker, server, keeper))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Publishes for the owner; never waits. False when there is no room for it.
    pub fn publish(&self, message: Own) -> bool {
        self.shared
            .with(|state, now| state.core.publish_own(message, now))
    }

    /// Changes with each change of the subscriptions.
    pub fn version(&self) -> u64 {
        self.shared.version.load(Ordering::Acquire)
    }

    /// Whether anybody subscribed to this topic.
    pub fn wanted(&self, topic: &str) -> bool {
        self.shared.lock().core.wanted(topic)
    }

    /// Why what needs the disk is refused, if it is.
    ///
    /// # Errors
    /// The reason, for people.
    pub fn health(&self) -> Result<(), String> {
        self.state.borrow().clone()
    }

    /// What it counted.
    pub fn stats(&self) -> Stats {
        self.shared.lock().core.stats()
    }
}

impl Server {
    /// Accepts connections until the end is asked for; then tells the clients, and
    /// leaves what they left to the [`Keeper`].
    pub async fn run(self, mut stop: Stop) {
        let bound = self.limits.connections + self.limits.handshakes + ENDING;
        let mut connections = Group::new("mqtt connection", bound);
        let mut refused = Refused::default();
        loop {
            let due = self.shared.lock().core.due();
            tokio::select! {
                () = stop.asked() => break,
                () = connections.reap() => {}
                () = until(due) => self.shared.with(|state, now| state.core.tick(now)),
                () = self.shared.sooner.notified() => {}
                accepted = self.listener.accept(), if !connections.is_full() => match accepted {
                    Ok((stream, peer)) => {
                        let shared = Arc::clone(&self.shared);
                        connections.spawn(connection::serve(shared, stream, peer));
                    }
                    Err(error) => {
                        refused.tell(&error);
                        // Who has said nothing yet gives its descriptor back.
                        self.shared.turn_one_away();
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
        drop(self.listener);
        self.shared.with(|state, now| state.core.stop(now));
        // Whoever does not take the farewell is cut off.
        let _ = tokio::time::timeout(FAREWELL, connections.finish()).await;
    }
}

/// Connections that could not be accepted, told now and then.
#[derive(Default)]
struct Refused {
    count: u64,
    told: Option<Instant>,
}

impl Refused {
    fn tell(&mut self, error: &io::Error) {
        self.count += 1;
        let now = Instant::now();
        if self.told.is_none_or(|told| now >= told + TOLD) {
            let refused = std::mem::take(&mut self.count);
            tracing::warn!(%error, refused, "MQTT connections cannot be accepted; is the limit of open files too low?");
            self.told = Some(now);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The core's state is whole after each of its methods.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the core, and does what follows from it.
    fn with<T>(&self, change: impl FnOnce(&mut State, Instant) -> T) -> T {
        let (result, heard) = self.change(change);
        for message in heard {
            if let Some(answer) = self.owner.heard(message) {
                // Nobody hears what the owner says itself.
                self.change(|state, now| state.core.publish_own(answer, now));
            }
        }
        result
    }

    fn change<T>(&self, change: impl FnOnce(&mut State, Instant) -> T) -> (T, Vec<Heard>) {
        let mut state = self.lock();
        let result = change(&mut state, Instant::now());
        let Effects {
            wake,
            heard,
            urgent,
            write,
            sooner,
        } = state.core.effects();
        for connection in wake {
            if let Some(Some(waker)) = state.wakers.get(connection) {
                waker.notify_one();
            }
        }
        self.version.store(state.core.version(), Ordering::Release);
        drop(state);
        if urgent {
            self.urgent.notify_one();
        }
        if write {
            self.write.notify_one();
        }
        if sooner {
            self.sooner.notify_one();
        }
        (result, heard)
    }

    fn came(&self, address: IpAddr) -> (VisitorId, Arc<Notify>) {
        let mut state = self.lock();
        let (visitor, gone) = state.door.came(address);
        if let Some(gone) = gone {
            state.turn_away(gone);
        }
        let waker = Arc::new(Notify::new());
        put(&mut state.visitors, visitor, Arc::clone(&waker));
        (visitor, waker)
    }

    fn turn_one_away(&self) {
        let mut state = self.lock();
        if let Some(gone) = state.door.turn_away() {
            state.turn_away(gone);
        }
    }
}

impl State {
    fn turn_away(&mut self, visitor: VisitorId) {
        let waker = self.visitors.get_mut(visitor).and_then(Option::take);
        if let Some(waker) = waker {
            waker.notify_one();
        }
    }

    fn watch(&mut self, connection: ConnectionId) -> Arc<Notify> {
        let waker = Arc::new(Notify::new());
        waker.notify_one();
        put(&mut self.wakers, connection, Arc::clone(&waker));
        waker
    }
}

fn put<T>(places: &mut Vec<Option<T>>, index: usize, value: T) {
    if places.len() <= index {
        places.resize_with(index + 1, || None);
    }
    places[index] = Some(value);
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// The connections that are accepted have it from the listener.
fn probe_peers(listener: &TcpListener) {
    use rustix::net::sockopt;
    let set = || {
        sockopt::set_socket_keepalive(listener, true)?;
        sockopt::set_tcp_keepidle(listener, PROBE_AFTER)?;
        sockopt::set_tcp_keepintvl(listener, PROBE_EVERY)?;
        sockopt::set_tcp_keepcnt(listener, PROBES)
    };
    if let Err(error) = set() {
        tracing::warn!(%error, "the system does not look whether MQTT clients are still there");
    }
}

/// For its owner alone.
fn make_folder(path: &Path) -> Result<(), OpenError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path);
    made.map_err(|source| OpenError::Folder {
        path: path.to_owned(),
        source,
    })
}

fn tell_of_former(folder: &Path) {
    let left: Vec<_> = FORMER
        .into_iter()
        .filter(|name| folder.join(name).is_dir())
        .collect();
    if !left.is_empty() {
        tracing::info!(
            folder = %folder.display(),
            left = left.join(", "),
            "what a former version kept of MQTT sessions and retained messages is not taken over; these folders may be removed"
        );
    }
}
