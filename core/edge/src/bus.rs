//! The MQTT side of the edge: a broker inside of this process, or a client of
//! one outside, and KubeEdge's topics answered from the twin engine.
//!
//! One task owns the way out, in order and through a bounded queue: the twin
//! engine never waits for a client. What does not fit is dropped and counted,
//! since each document and batch is followed by a newer one; the twin itself
//! loses nothing.
//!
//! # Guarantees
//!
//! - Nobody formats what nobody reads: [`Interest::wanted`](longshore_twin::Interest::wanted) follows the
//!   subscriptions of the embedded broker. With an external broker it is not
//!   known who listens, so everything is published there.
//! - A request on one of KubeEdge's topics gets exactly one answer, or is
//!   counted as dropped when more wait than the queue holds.

mod access;
mod calls;
mod embedded;
mod external;
mod interest;
mod kubeedge;
mod outgoing;
mod requests;
#[cfg(test)]
mod tests;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use longshore_process::{Explain, Loss, Stage, Tasks};
use longshore_twin::Message;
use longshore_types::{DeviceName, NodeName, Topic};
use tokio::sync::watch;

pub use self::access::User;
use self::{interest::Interest, outgoing::Outgoing};
use crate::{ports::BusPort, twin::TwinHandle};

/// The embedded broker writes each session before it accepts a client; with
/// less room it cannot.
const LEAST_ROOM: u64 = 16 * 1024;

/// What the bus is.
#[derive(Debug, Clone)]
pub enum BusMode {
    /// No bus.
    Off,
    /// A broker in this process.
    Embedded(EmbeddedOptions),
    /// A broker somewhere else, such as mosquitto.
    External(ExternalOptions),
}

/// The embedded broker.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Folder of retained messages and sessions.
    pub state_dir: PathBuf,
    /// Who may use it; when empty, anybody who reaches the port.
    pub users: Vec<User>,
}

/// The connection to an external broker.
#[derive(Debug, Clone)]
pub struct ExternalOptions {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// PEM of the authority that signed the broker's certificate; none means no TLS.
    pub tls: Option<TlsOptions>,
    /// User and password.
    pub credentials: Option<(String, String)>,
}

/// TLS towards an external broker.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// The authorities to trust, PEM.
    pub ca: Vec<u8>,
    /// Our certificate chain and key, PEM, when the broker asks for them.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Whether KubeEdge's topics of changes are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KubeEdgeTopics {
    /// When somebody subscribes to them (embedded broker), or always (external broker).
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never; requests are still answered.
    Never,
}

/// The bus did not start.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The port is taken or may not be used.
    #[error("failed to listen for MQTT on {address}")]
    Listen {
        /// The address of the configuration.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The embedded broker refused to start.
    #[error("failed to start the embedded MQTT broker in `{}`", state_dir.display())]
    Start {
        /// Its folder.
        state_dir: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The TLS material for the external broker is unusable.
    #[error("invalid TLS material for the MQTT broker {host}: {reason}")]
    Tls {
        /// The broker.
        host: String,
        /// What is wrong.
        reason: String,
    },
}

impl Explain for BusError {
    fn hint(&self) -> Option<String> {
        let listen = matches!(self, Self::Listen { .. });
        listen.then(|| "set bus.listen to another one, port 0 takes a free one".to_owned())
    }
}

/// What the bus has done since start.
#[derive(Debug, Default)]
pub struct BusCounters {
    /// Messages handed to the broker.
    pub published: AtomicU64,
    /// Messages dropped because the queue was full.
    pub dropped: AtomicU64,
    /// Requests answered.
    pub requests: AtomicU64,
    /// Requests that did not fit the queue, or could not be understood.
    pub requests_refused: AtomicU64,
}

/// A running bus.
pub struct Bus {
    address: Option<SocketAddr>,
    broker: String,
    /// Where the embedded broker keeps its sessions.
    state_dir: Option<PathBuf>,
    topics: KubeEdgeTopics,
    /// `None` for an external broker: anything may be wanted.
    interest: Option<Arc<Interest>>,
    outgoing: Outgoing,
    counters: Arc<BusCounters>,
    state: watch::Receiver<Result<(), String>>,
}

impl Bus {
    /// Makes the bus, and adds its tasks. The port of an embedded broker is bound
    /// when this returns; an external broker that is down is dialled for ever and
    /// is no error.
    ///
    /// # Errors
    /// The port, the broker's folder or the TLS material cannot be used.
    pub async fn build(
        mode: BusMode,
        topics: KubeEdgeTopics,
        node: NodeName,
        twin: TwinHandle,
        tasks: &mut Tasks,
    ) -> Result<Option<Arc<Self>>, BusError> {
        let counters = Arc::new(BusCounters::default());
        let (outgoing, queue) = outgoing::channel(counters.clone());
        let (incoming, requests) = requests::channel(counters.clone());
        let responder = requests::Responder {
            node,
            twin,
            outgoing: outgoing.clone(),
            counters: counters.clone(),
            shared: matches!(mode, BusMode::External(_)),
        };
        let bus = match mode {
            BusMode::Off => return Ok(None),
            BusMode::Embedded(options) => {
                let state_dir = options.state_dir.clone();
                let started = embedded::build(
                    options,
                    responder.node.clone(),
                    queue,
                    incoming,
                    responder.counters.clone(),
                    tasks,
                )
                .await?;
                Self {
                    address: Some(started.address),
                    broker: started.address.to_string(),
                    state_dir: Some(state_dir),
                    topics,
                    interest: Some(started.interest),
                    outgoing,
                    counters,
                    state: started.state,
                }
            }
            BusMode::External(options) => {
                let broker = format!("{}:{}", options.host, options.port);
                let started = external::build(
                    options,
                    responder.node.clone(),
                    queue,
                    incoming,
                    responder.counters.clone(),
                    tasks,
                )?;
                Self {
                    address: None,
                    broker,
                    state_dir: None,
                    topics,
                    interest: None,
                    outgoing,
                    counters,
                    state: started.state,
                }
            }
        };
        tasks.add("mqtt requests", Stage::Links, Loss::IsFault, |stop| {
            stop.cut(responder.run(requests))
        });
        Ok(Some(Arc::new(bus)))
    }

    /// Where the embedded broker listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Where the broker is, embedded or not.
    pub fn broker(&self) -> &str {
        &self.broker
    }

    /// What it has done since start.
    pub fn counters(&self) -> &BusCounters {
        &self.counters
    }
}

impl longshore_twin::Interest for Bus {
    fn version(&self) -> u64 {
        self.interest
            .as_ref()
            .map_or(0, |interest| interest.version())
    }

    fn wanted(&self, topic: &str) -> bool {
        self.interest
            .as_ref()
            .is_none_or(|interest| interest.matches(topic))
    }

    fn wants_changes(&self, device: &DeviceName) -> bool {
        match self.topics {
            KubeEdgeTopics::Never => false,
            KubeEdgeTopics::Always => true,
            KubeEdgeTopics::Auto => kubeedge::CHANGES
                .iter()
                .any(|event| self.wanted(&Topic::device(device, *event).to_string())),
        }
    }
}

impl BusPort for Bus {
    fn send(&self, message: Message) {
        self.outgoing.send(message);
    }

    fn retain(&self, topic: Arc<str>, payload: Bytes) -> bool {
        self.outgoing.retained(topic, payload)
    }

    fn has_room(&self) -> bool {
        self.outgoing.has_room()
    }

    fn ready(&self) -> Result<(), String> {
        self.state.borrow().clone()?;
        match &self.state_dir {
            Some(folder) if free_bytes(folder).is_some_and(|free| free < LEAST_ROOM) => {
                Err(format!(
                    "the disk of {} is full, so new clients are refused until there is room",
                    folder.display()
                ))
            }
            _ => Ok(()),
        }
    }
}

/// What this process may still write there; none if that cannot be told.
fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    let root = rustix::process::geteuid().is_root();
    let blocks = if root { disk.f_bfree } else { disk.f_bavail };
    Some(blocks.saturating_mul(disk.f_frsize))
}

impl BusCounters {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
