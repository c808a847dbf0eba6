//! Counters of the hub, and the loopback port that shows them.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{Router, extract::State, http::StatusCode, http::header::CONTENT_TYPE, routing::get};
use tokio::net::TcpListener;

use crate::{
    kinds::{DEVICE, DEVICE_MODEL},
    state::Hub,
};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

/// What the hub counts.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Connections that reached the link's port.
    pub(crate) link_connections: Counter,
    /// Connections turned away: certificate, name, version, protocol.
    pub(crate) link_refused: Counter,
    /// Sessions that became live.
    pub(crate) sessions: Counter,
    /// Records taken.
    pub(crate) records: Counter,
    /// Records that were known already.
    pub(crate) records_repeated: Counter,
    /// Records about what the node has no say in, or that no longer exists.
    pub(crate) records_dropped: Counter,
    /// Records that could not be understood.
    pub(crate) records_unknown: Counter,
    /// Revisions that edges confirmed.
    pub(crate) delivered: Counter,
    /// DeviceStatus writes.
    pub(crate) status_writes: Counter,
    /// DeviceStatus writes that were not needed.
    pub(crate) status_unchanged: Counter,
    /// DeviceStatus writes that failed and are tried again.
    pub(crate) status_errors: Counter,
    /// Node and Lease writes that failed and are tried again.
    pub(crate) node_errors: Counter,
    /// Watches that broke and began anew.
    pub(crate) watch_errors: Counter,
}

impl Counter {
    /// One more.
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The number.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Metrics {
    fn counters(&self) -> [(&'static str, &'static str, &Counter); 13] {
        [
            (
                "link_connections_total",
                "Connections to the link's port",
                &self.link_connections,
            ),
            (
                "link_refused_total",
                "Connections turned away",
                &self.link_refused,
            ),
            (
                "sessions_total",
                "Sessions that became live",
                &self.sessions,
            ),
            ("records_total", "Records taken from edges", &self.records),
            (
                "records_repeated_total",
                "Records that were known already",
                &self.records_repeated,
            ),
            (
                "records_dropped_total",
                "Records about what the node has no say in",
                &self.records_dropped,
            ),
            (
                "records_unknown_total",
                "Records that were not understood",
                &self.records_unknown,
            ),
            (
                "objects_delivered_total",
                "Revisions confirmed by edges",
                &self.delivered,
            ),
            (
                "status_writes_total",
                "DeviceStatus writes",
                &self.status_writes,
            ),
            (
                "status_unchanged_total",
                "DeviceStatus writes that were not needed",
                &self.status_unchanged,
            ),
            (
                "status_errors_total",
                "DeviceStatus writes that failed",
                &self.status_errors,
            ),
            (
                "node_errors_total",
                "Node and Lease writes that failed",
                &self.node_errors,
            ),
            (
                "watch_errors_total",
                "Watches that broke",
                &self.watch_errors,
            ),
        ]
    }
}

/// Serves `/healthz`, `/readyz` and `/metrics` for ever.
pub(crate) async fn serve(listener: TcpListener, hub: Arc<Hub>) {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(text))
        .with_state(hub);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "metrics are no longer served");
    }
}

async fn ready(State(hub): State<Arc<Hub>>) -> (StatusCode, String) {
    match hub.not_ready() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn text(
    State(hub): State<Arc<Hub>>,
) -> ([(axum::http::HeaderName, &'static str); 1], String) {
    let mut out = String::new();
    for (name, help, counter) in hub.metrics.counters() {
        let value = counter.get();
        // Writing to a String does not fail.
        let _ = writeln!(
            out,
            "# HELP longshore_hub_{name} {help}\n# TYPE longshore_hub_{name} counter\nlongshore_hub_{name} {value}"
        );
    }
    let (devices, models) = {
        let catalog = hub.catalog();
        let count = |kind| catalog.of_kind(kind).count();
        (count(DEVICE), count(DEVICE_MODEL))
    };
    let gauges = [
        ("devices", "Devices in the cluster", devices),
        ("device_models", "DeviceModels in the cluster", models),
        (
            "nodes_connected",
            "Nodes with a live session",
            hub.nodes.connected_count(),
        ),
        (
            "schemas",
            "Schemas of mappers that are held",
            hub.schemas.hashes().len(),
        ),
        (
            "status_pending",
            "DeviceStatuses that wait to be written",
            hub.status.pending(),
        ),
    ];
    for (name, help, value) in gauges {
        let _ = writeln!(
            out,
            "# HELP longshore_hub_{name} {help}\n# TYPE longshore_hub_{name} gauge\nlongshore_hub_{name} {value}"
        );
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], out)
}
