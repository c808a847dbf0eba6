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
//! - Nobody formats what nobody reads: [`Interest::wanted`] follows the
//!   subscriptions of the embedded broker. With an external broker it is not
//!   known who listens, so everything is published there.
//! - A request on one of KubeEdge's topics gets exactly one answer, or is
//!   counted as dropped when more wait than the queue holds.

mod access;
mod calls;
mod embedded;
mod external;
mod kubeedge;
mod outgoing;
mod requests;
mod subscriptions;
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
use longshore_twin::{Interest, Message};
use longshore_types::{DeviceName, NodeName, Topic};
use tokio::sync::watch;

use self::{outgoing::Outgoing, subscriptions::Subscriptions};
use crate::{
    config::{BusMode, KubeEdgeTopics},
    ports::BusPort,
    twin::TwinHandle,
};

/// The embedded broker writes each session before it accepts a client; with
/// less room it cannot.
const LEAST_ROOM: u64 = 16 * 1024;

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
    subscriptions: Option<Arc<Subscriptions>>,
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
                    subscriptions: Some(started.subscriptions),
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
                    subscriptions: None,
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

impl Interest for Bus {
    fn version(&self) -> u64 {
        self.subscriptions
            .as_ref()
            .map_or(0, |subscriptions| subscriptions.version())
    }

    fn wanted(&self, topic: &str) -> bool {
        self.subscriptions
            .as_ref()
            .is_none_or(|subscriptions| subscriptions.matches(topic))
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

    fn try_send(&self, message: Message) -> bool {
        self.outgoing.try_send(message)
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
