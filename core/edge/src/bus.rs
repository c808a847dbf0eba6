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
//! - Nobody formats what nobody reads: [`Interest::wanted`] asks the embedded
//!   broker for its subscriptions. With an external broker it is not
//!   known who listens, so everything is published there.
//! - A request on one of KubeEdge's topics gets exactly one answer; one that more
//!   of its client wait before than the queue holds is answered with 429. At a
//!   broker outside, where another node may have the device, that one is dropped
//!   and counted.

mod access;
mod calls;
mod embedded;
mod external;
#[doc(hidden)]
pub mod fuzzing;
mod kubeedge;
mod outgoing;
mod requests;
#[cfg(test)]
mod tests;
mod turns;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use longshore_broker::{Broker, OpenError};
use longshore_process::{Explain, Loss, Stage, Tasks};
use longshore_twin::{Interest, Message};
use longshore_types::{DeviceName, NodeName, Topic};
use tokio::sync::watch;

use self::outgoing::Outgoing;
use crate::{
    config::{BusMode, KubeEdgeTopics},
    ports::BusPort,
    twin::TwinHandle,
};

/// The bus did not start.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The embedded broker did not start.
    #[error(transparent)]
    Broker(OpenError),
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
        match self {
            Self::Broker(OpenError::Listen { .. }) => {
                Some("set bus.listen to another one, port 0 takes a free one".to_owned())
            }
            Self::Broker(error) => error.hint(),
            Self::Tls { .. } => None,
        }
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
    /// Requests that were answered with a refusal, for want of room too.
    pub requests_refused: AtomicU64,
}

/// A running bus.
pub struct Bus {
    broker: Where,
    topics: KubeEdgeTopics,
    outgoing: Outgoing,
    counters: Arc<BusCounters>,
}

/// The broker, seen from here.
enum Where {
    Inside(Broker),
    /// Nobody knows who listens there: anything may be wanted.
    Outside {
        /// Host and port.
        name: String,
        state: watch::Receiver<Result<(), String>>,
    },
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
        let shared = matches!(mode, BusMode::External(_));
        let (outgoing, queue) = outgoing::channel(counters.clone());
        let (incoming, requests) = requests::channel(counters.clone());
        let responder = requests::Responder {
            node: node.clone(),
            twin,
            outgoing: outgoing.clone(),
            counters: counters.clone(),
            shared,
        };
        let counted = counters.clone();
        let broker = match mode {
            BusMode::Off => return Ok(None),
            BusMode::Embedded(options) => Where::Inside(
                embedded::build(options, node, queue, incoming, counted, tasks).await?,
            ),
            BusMode::External(options) => {
                let name = format!("{}:{}", options.host, options.port);
                let started = external::build(options, node, queue, incoming, counted, tasks)?;
                let state = started.state;
                Where::Outside { name, state }
            }
        };
        let bus = Self {
            broker,
            topics,
            outgoing,
            counters,
        };
        tasks.add("mqtt requests", Stage::Links, Loss::IsFault, |stop| {
            stop.cut(responder.run(requests))
        });
        Ok(Some(Arc::new(bus)))
    }

    /// Where the embedded broker listens.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.broker {
            Where::Inside(broker) => Some(broker.address()),
            Where::Outside { .. } => None,
        }
    }

    /// Where the broker is, embedded or not.
    pub fn broker(&self) -> String {
        match &self.broker {
            Where::Inside(broker) => broker.address().to_string(),
            Where::Outside { name, .. } => name.clone(),
        }
    }

    /// What the embedded broker counted.
    pub fn broker_stats(&self) -> Option<longshore_broker::Stats> {
        match &self.broker {
            Where::Inside(broker) => Some(broker.stats()),
            Where::Outside { .. } => None,
        }
    }

    /// What it has done since start.
    pub fn counters(&self) -> &BusCounters {
        &self.counters
    }
}

impl Interest for Bus {
    fn version(&self) -> u64 {
        match &self.broker {
            Where::Inside(broker) => broker.version(),
            Where::Outside { .. } => 0,
        }
    }

    fn wanted(&self, topic: &str) -> bool {
        match &self.broker {
            Where::Inside(broker) => broker.wanted(topic),
            Where::Outside { .. } => true,
        }
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
        match &self.broker {
            Where::Inside(broker) => broker.health(),
            Where::Outside { state, .. } => state.borrow().clone(),
        }
    }
}

impl BusCounters {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
