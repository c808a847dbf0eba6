//! Counters of the hub, and the loopback port that shows them.

use std::{
    fmt::Write as _,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use longshore_apiserver::ApiServer;
use longshore_process::{
    Health, Stop,
    http::{self, Request, Response},
};
use tokio::net::TcpListener;

use crate::{
    kinds::{DEVICE, DEVICE_MODEL},
    store::Store,
    tables::{
        catalog::Catalog, listed::Listed, lock, nodes::Nodes, reports::Reports, schemas::Schemas,
        statuses::Statuses,
    },
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
    /// Properties in reports that their models do not have.
    pub(crate) properties_dropped: Counter,
    /// Records that could not be understood.
    pub(crate) records_unknown: Counter,
    /// Samples that the consumer has taken.
    pub(crate) samples: Counter,
    /// Times that the consumer could not take samples, to be tried again.
    pub(crate) samples_retries: Counter,
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
    fn counters(&self) -> [(&'static str, &'static str, &Counter); 16] {
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
                "properties_dropped_total",
                "Properties in reports that their models do not have",
                &self.properties_dropped,
            ),
            (
                "records_unknown_total",
                "Records that were not understood",
                &self.records_unknown,
            ),
            ("samples_total", "Samples taken from edges", &self.samples),
            (
                "samples_retries_total",
                "Times that samples could not be taken at once",
                &self.samples_retries,
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

/// What the pages show.
pub(crate) struct Pages {
    pub(crate) catalog: Arc<Mutex<Catalog>>,
    pub(crate) listed: Arc<Listed>,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) reports: Arc<Reports>,
    pub(crate) schemas: Arc<Schemas>,
    pub(crate) statuses: Arc<Statuses>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) store: Store,
    /// The embedded one, if there is one.
    pub(crate) api_server: Option<ApiServer>,
    /// The tasks of the hub, once they run.
    pub(crate) health: Arc<OnceLock<Health>>,
}

impl Pages {
    /// Serves them until the end is asked for.
    pub(crate) async fn serve(self, listener: TcpListener, stop: Stop) {
        let pages = Arc::new(self);
        let answer = move |request: Request| {
            let pages = Arc::clone(&pages);
            async move { pages.answer(request.path()) }
        };
        http::serve(listener, answer, stop).await;
    }

    fn answer(&self, path: &str) -> Response {
        match path {
            "/healthz" => Response::text(200, "ok\n"),
            "/readyz" => Response::ready(&self.faults(), ""),
            "/metrics" => Response::metrics(self.text()),
            _ => Response::not_found(&["/healthz", "/readyz", "/metrics"]),
        }
    }

    /// Why the hub is not ready, or no longer.
    fn faults(&self) -> Vec<String> {
        let lost = self.health.get().map(Health::faults).unwrap_or_default();
        let missing = self.listed.missing().map(str::to_owned);
        let store = self.store.fault();
        let store = store.map(|fault| format!("store: {fault}"));
        let api_server = self.api_server.as_ref();
        let api_server = api_server.and_then(|server| server.health().fault);
        let api_server = api_server.map(|fault| format!("API server: {fault}"));
        let databases = store.into_iter().chain(api_server);
        missing.into_iter().chain(databases).chain(lost).collect()
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for (name, help, counter) in self.metrics.counters() {
            write_metric(&mut out, "counter", name, help, counter.get());
        }
        let (devices, models) = {
            let catalog = lock(&self.catalog);
            let count = |kind| catalog.of_kind(kind).count();
            (count(DEVICE), count(DEVICE_MODEL))
        };
        let gauges = [
            ("devices", "Devices in the cluster", devices),
            ("device_models", "DeviceModels in the cluster", models),
            (
                "nodes_connected",
                "Nodes with a live session",
                self.nodes.connected_count(),
            ),
            (
                "certificates_ending",
                "Nodes whose certificate ends within 30 days",
                self.nodes.ending_count(),
            ),
            (
                "schemas",
                "Schemas of mappers that are held",
                self.schemas.hashes().len(),
            ),
            (
                "reports_bytes",
                "Bytes of the devices' latest reports",
                self.reports.bytes(),
            ),
            (
                "status_pending",
                "DeviceStatuses that wait to be written",
                self.statuses.pending(),
            ),
        ];
        for (name, help, value) in gauges {
            write_metric(&mut out, "gauge", name, help, value as u64);
        }
        out
    }
}

fn write_metric(out: &mut String, kind: &str, name: &str, help: &str, value: u64) {
    // Writing to a String does not fail.
    let _ = writeln!(
        out,
        "# HELP longshore_hub_{name} {help}\n# TYPE longshore_hub_{name} {kind}\nlongshore_hub_{name} {value}"
    );
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        time::{Duration, Instant},
    };

    use bytes::Bytes;
    use longshore_link::{Epoch, UpRecord};
    use longshore_types::DeviceName;

    use super::*;
    use crate::{config::NodesConfig, kinds::KINDS, store::Write};

    #[tokio::test]
    async fn a_database_that_cannot_be_written_stands_in_readyz_until_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        let (store, _) = Store::open(&path).unwrap();
        let listed = Listed::default();
        listed.learn(|progress| &mut progress.catalog);
        let silence = NodesConfig {
            grace: Duration::from_secs(3600),
            lease_interval: Duration::from_secs(3600),
        };
        let pages = Pages {
            catalog: Arc::new(Mutex::new(Catalog::new(KINDS))),
            listed: Arc::new(listed),
            nodes: Arc::new(Nodes::new(silence, HashMap::new(), Instant::now())),
            reports: Arc::default(),
            schemas: Arc::default(),
            statuses: Arc::new(Statuses::new(Duration::ZERO)),
            metrics: Arc::default(),
            store: store.clone(),
            api_server: None,
            health: Arc::default(),
        };
        assert_eq!(pages.answer("/readyz"), Response::ready(&[], ""));

        store.open_node("n", Epoch(5), 10).await.unwrap();
        store.fill(true).await;
        let record = UpRecord {
            sequence: 1,
            payload: Bytes::from_static(b"x"),
        };
        let device = DeviceName::new("default", "boiler").unwrap();
        let large = Write::Report(device, Bytes::from(vec![0; 1 << 20]));
        let take = || store.take("n", Epoch(5), 0, vec![record.clone()], vec![large.clone()]);
        take().await.unwrap_err();
        let fault = format!(
            "store: the disk of `{}` is full; make room on the disk, then what waits is written",
            path.display()
        );
        assert_eq!(pages.answer("/readyz"), Response::ready(&[fault], ""));

        store.fill(false).await;
        assert_eq!(take().await.unwrap(), (1, 0));
        assert_eq!(pages.answer("/readyz"), Response::ready(&[], ""));
    }
}
