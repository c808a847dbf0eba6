//! Drives the link's session over a [`longshore_link::transport`] line in TLS 1.3
//! with certificates on both sides, dialled again for ever.
//!
//! It knows the store and nothing else. What the hub sends goes into the
//! store; what stands in the outbox goes to the hub. Whether there is a link
//! changes nothing for the twin engine, the bus and the mappers.
//!
//! # Guarantees
//!
//! - The hub hears that objects have arrived only after the store holds them.
//! - A record leaves the outbox only after the hub said that it holds it.
//! - The certificate files are read anew for each attempt, so that a renewed
//!   certificate needs no restart.

mod connection;
mod dial;
mod error;
mod expiry;
mod report;
mod schemas;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use longshore_link::{EdgeConfig, EdgeSession, MapperReport, SchemaReport, Up};
use longshore_process::{Explain, Stop, chain};
use longshore_types::{NodeName, Timestamp, backoff::Backoff};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::{config::HubConfig, ports::LinkState, store::StoreHandle};

pub use error::LinkError;
pub use expiry::is_soon;
pub use report::node_report;
use schemas::{Held, Wanted};

/// Short enough that a hub that restarts is met at once.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Long enough that thousands of edges do not keep a hub busy with handshakes.
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// An attempt that lasted so long was a success. A shorter one was not, even if
/// it got through: two nodes of one name would replace each other without pause.
const PROVEN: Duration = Duration::from_secs(10);

/// What the link did since start, for the metrics.
#[derive(Debug, Default)]
pub struct LinkCounters {
    /// Attempts to reach the hub.
    pub attempts: AtomicU64,
    /// Sessions that became live.
    pub connections: AtomicU64,
    /// Bytes of messages received.
    pub received_bytes: AtomicU64,
    /// Bytes of messages sent.
    pub sent_bytes: AtomicU64,
    /// Records that the hub has taken: the last sequence.
    pub taken: AtomicU64,
    /// The revision of the hub's log that the store holds.
    pub revision: AtomicU64,
    /// When the node's certificate ends (ms since 1970); 0 where that is not known.
    pub certificate_ends_ms: AtomicI64,
}

impl LinkCounters {
    /// When the node's certificate ends, once there was a link.
    pub fn certificate_ends(&self) -> Option<Timestamp> {
        let ends = self.certificate_ends_ms.load(Ordering::Relaxed);
        (ends != 0).then(|| Timestamp::from_millis(ends))
    }
}

/// What the node says of itself.
pub struct Own {
    /// Its mappers; each change is reported.
    pub mappers: watch::Receiver<Vec<MapperReport>>,
    /// The schema of a mapper, by its hash.
    pub schema: Box<dyn Fn(u64) -> Option<SchemaReport> + Send + std::marker::Sync>,
}

/// The link client.
pub struct Sync {
    state: watch::Receiver<LinkState>,
    driver: Driver,
    own: Own,
    held: watch::Receiver<Held>,
}

struct Driver {
    hub: HubConfig,
    node: NodeName,
    store: StoreHandle,
    session: EdgeSession,
    state: watch::Sender<LinkState>,
    /// What the hub holds; none while it keeps no schemas, or is not there.
    held: watch::Sender<Held>,
    counters: Arc<LinkCounters>,
}

impl Sync {
    /// Dials nothing before it runs.
    pub fn new(node: NodeName, hub: HubConfig, store: StoreHandle, own: Own) -> Self {
        let (state, state_receiver) = watch::channel(LinkState::Connecting {
            reason: String::new(),
        });
        let (held, held_receiver) = watch::channel(None);
        let session = EdgeSession::new(EdgeConfig::new(node.as_str()));
        let driver = Driver {
            hub,
            node,
            store,
            session,
            state,
            held,
            counters: Arc::default(),
        };
        Self {
            state: state_receiver,
            driver,
            own,
            held: held_receiver,
        }
    }

    /// Whether the hub is there.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.state.clone()
    }

    /// What the link did since start.
    pub fn counters(&self) -> Arc<LinkCounters> {
        Arc::clone(&self.driver.counters)
    }

    /// Dials until it is asked to end; then says goodbye to the hub.
    pub async fn run(self, stop: Stop) {
        let Self {
            driver, own, held, ..
        } = self;
        let (node, store) = (driver.node.clone(), driver.store.clone());
        tokio::join!(
            driver.run(stop.clone()),
            report_node(node, store, own, held, stop)
        );
    }
}

impl Driver {
    async fn run(mut self, mut stop: Stop) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
        let mut last_reason = String::new();
        while !stop.is_asked() {
            let began = Instant::now();
            let Err(error) = self.attempt(stop.clone()).await else {
                break;
            };
            let reason = told(&error);
            if began.elapsed() >= PROVEN {
                backoff.reset();
                last_reason.clear();
            }
            let pause = backoff.next(fastrand::f64());
            // One line for each new reason; an edge may be offline for weeks.
            if reason == last_reason {
                debug!(hub = %self.hub.url, %reason, ?pause, "hub is not reached");
            } else {
                warn!(hub = %self.hub.url, %reason, "hub is not reached, trying again");
                last_reason.clone_from(&reason);
            }
            self.state.send_replace(LinkState::Connecting { reason });
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.asked() => break,
            }
        }
        self.state.send_replace(LinkState::Connecting {
            reason: "stopped".to_owned(),
        });
    }

    /// One connection, from dialling to its end. `Ok` only when it was told to stop.
    async fn attempt(&mut self, mut stop: Stop) -> Result<(), LinkError> {
        self.counters.attempts.fetch_add(1, Ordering::Relaxed);
        let line = tokio::select! {
            line = dial::dial(&self.hub) => line?,
            () = stop.asked() => return Ok(()),
        };
        let connected = |schemas: Option<&[u64]>| {
            self.held.send_replace(schemas.map(<[u64]>::to_vec));
            info!(hub = %self.hub.url, node = %self.node, "link is up");
            tell_expiry(&self.hub, &self.counters);
            self.state.send_replace(LinkState::Connected);
        };
        connection::serve(
            &mut self.session,
            line,
            &self.store,
            &self.counters,
            connected,
            stop,
        )
        .await
    }
}

/// A certificate that ends soon is told once for each session; the pages have it all
/// the time.
fn tell_expiry(hub: &HubConfig, counters: &LinkCounters) {
    let Some(ends) = expiry::of_file(&hub.cert_file) else {
        return;
    };
    let told = &counters.certificate_ends_ms;
    told.store(ends.as_millis(), Ordering::Relaxed);
    if is_soon(ends, SystemTime::now().into()) {
        warn!(
            cert = %hub.cert_file.display(),
            %ends,
            hint = "have another one made by `cloudhub issue-node`",
            "this node's certificate ends soon; then the hub refuses it"
        );
    }
}

/// Puts the node's report into the outbox, at start and whenever it changes,
/// and the schemas of its mappers that the hub does not hold.
async fn report_node(
    node: NodeName,
    store: StoreHandle,
    mut own: Own,
    mut held: watch::Receiver<Held>,
    mut stop: Stop,
) {
    let mut reported = None;
    let mut wanted = Wanted::default();
    loop {
        if held.has_changed().unwrap_or(false) {
            wanted = Wanted::of_hub(held.borrow_and_update().clone());
        }
        let list = own.mappers.borrow_and_update().clone();
        let schemas = wanted.take(&list).into_iter();
        let mut ups: Vec<Up> = schemas
            .filter_map(|hash| (own.schema)(hash).map(Up::Schema))
            .collect();
        if reported.as_ref() != Some(&list) {
            ups.push(Up::Node(node_report(&node, list.clone())));
            reported = Some(list);
        }
        for up in ups {
            // Those two kinds have one.
            if let Some(key) = up.key() {
                store.report(key, up.encode());
            }
        }
        let changed = tokio::select! {
            changed = own.mappers.changed() => changed.is_ok(),
            // The driver ends when it is told to stop.
            Ok(()) = held.changed() => {
                held.mark_changed();
                true
            }
            () = stop.asked() => false,
        };
        if !changed {
            return;
        }
    }
}

/// Why there is no link, and what to do if anything.
fn told(error: &LinkError) -> String {
    let reason = chain(error);
    match error.hint() {
        Some(hint) => format!("{reason} ({hint})"),
        None => reason,
    }
}
