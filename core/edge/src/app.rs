//! `edgecore` put together: what is built, in which order it starts, and in
//! which order it ends.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle};

use crate::{
    bus::{Bus, BusError},
    config::Config,
    manifests,
    mappers::Mappers,
    metrics,
    ports::{BusPort, LinkState, NoBus},
    store::{StoreError, StoreHandle},
    sync::{self, Sync},
    twin,
};

/// Time for the twin engine to save everything at the end.
const SAVE_BUDGET: Duration = Duration::from_secs(2);
/// Time for the mappers to stop.
const MAPPER_BUDGET: Duration = Duration::from_millis(1_000);
/// Time for what is left: the link's goodbye, the broker's connections.
const LAST_BUDGET: Duration = Duration::from_millis(1_000);

/// `edgecore` did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be used.
    #[error("failed to open the store")]
    Store(#[source] StoreError),
    /// The bus cannot be used.
    #[error("failed to start the bus")]
    Bus(#[source] BusError),
    /// The port of the metrics cannot be used.
    #[error("failed to serve metrics")]
    Metrics(#[source] metrics::ListenError),
    /// The file with the bound addresses cannot be written.
    #[error("failed to write `{}`", path.display())]
    RunFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A running edge.
pub struct App {
    stop: watch::Sender<bool>,
    store: StoreHandle,
    mappers: Arc<Mappers>,
    bus: Option<Arc<Bus>>,
    sync: Option<Sync>,
    twin: JoinHandle<()>,
    helpers: Vec<JoinHandle<()>>,
    run_file: PathBuf,
}

impl App {
    /// Starts everything. When it returns, all ports are bound and
    /// `stateDir/run.json` tells them.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let store = StoreHandle::open(config.state_dir(), config.outbox_budget())
            .map_err(StartError::Store)?;
        let listener = metrics::listen(config.metrics_listen())
            .await
            .map_err(StartError::Metrics)?;
        let (handle, inbox) = twin::channel();
        let bus = Bus::start(
            config.bus().clone(),
            config.kubeedge_topics(),
            config.node().clone(),
            handle.clone(),
        )
        .await
        .map_err(StartError::Bus)?;
        let (stop, stopped) = watch::channel(false);
        let (mappers, events) = Mappers::start(config);
        let mappers = Arc::new(mappers);
        let (reports, report_receiver) = watch::channel(mappers.reports());
        let nodes_own = sync::Own {
            mappers: report_receiver,
            schema: {
                let mappers = mappers.clone();
                Box::new(move |hash| mappers.schema(hash))
            },
        };
        let (sync, link) = start_link(config, &store, nodes_own);
        let port: Arc<dyn BusPort> = match &bus {
            Some(bus) => bus.clone(),
            None => Arc::new(NoBus),
        };
        let twin = tokio::spawn(twin::run(twin::Parts {
            node: config.node().clone(),
            inbox,
            bus: port,
            store: store.clone(),
            mappers: mappers.clone(),
            events,
            link: link.clone(),
            stop: stopped.clone(),
        }));
        let address = listener.local_addr().unwrap_or(config.metrics_listen());
        let (manifest_faults, seen_faults) = watch::channel(Vec::new());
        let sources = metrics::Sources {
            manifest_faults: seen_faults,
            node: config.node().clone(),
            twin: handle,
            store: store.clone(),
            mappers: mappers.clone(),
            bus: bus.clone(),
            link,
            link_counters: sync.as_ref().map(Sync::counters),
        };
        let helpers = vec![
            tokio::spawn(metrics::serve(listener, sources, stopped.clone())),
            tokio::spawn(manifests::run(
                config.manifests().map(Path::to_owned),
                store.clone(),
                manifest_faults,
                stopped,
            )),
            tokio::spawn(mappers.clone().watch(reports)),
        ];
        let run_file = config.state_dir().join("run.json");
        let app = Self {
            stop,
            store,
            mappers,
            bus,
            sync,
            twin,
            helpers,
            run_file,
        };
        app.write_run_file(config, address)?;
        Ok(app)
    }

    fn write_run_file(
        &self,
        config: &Config,
        metrics: std::net::SocketAddr,
    ) -> Result<(), StartError> {
        let bus = self.bus.as_ref().and_then(|bus| bus.address());
        let run = serde_json::json!({
            "pid": std::process::id(),
            "node": config.node().as_str(),
            "bus": bus.map(|address| address.to_string()),
            "metrics": metrics.to_string(),
        });
        // Whole or not at all: others wait for this file and read it at once.
        let fresh = self.run_file.with_extension("json.new");
        let written = std::fs::write(&fresh, run.to_string())
            .and_then(|()| std::fs::rename(&fresh, &self.run_file));
        written.map_err(|source| StartError::RunFile {
            path: self.run_file.clone(),
            source,
        })?;
        let bus = self.bus.as_ref().map_or("off", |bus| bus.broker());
        tracing::info!(node = %config.node(), %metrics, bus, state = %config.state_dir().display(), "edge is ready");
        Ok(())
    }

    /// Ends everything within 5 s: first the twins are saved, then the rest.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        within(SAVE_BUDGET, "twins", self.twin).await;
        within(MAPPER_BUDGET + LAST_BUDGET, "mappers", async {
            self.mappers.stop(MAPPER_BUDGET).await;
            Ok(())
        })
        .await;
        within(LAST_BUDGET, "link and bus", async {
            if let Some(sync) = self.sync {
                sync.stop().await;
            }
            if let Some(bus) = &self.bus {
                bus.stop().await;
            }
            Ok(())
        })
        .await;
        self.helpers.iter().for_each(JoinHandle::abort);
        if let Err(error) = self.store.flush().await {
            tracing::error!(%error, "the store could not be written at the end");
        }
        if let Err(error) = std::fs::remove_file(&self.run_file) {
            tracing::debug!(%error, "run.json was gone already");
        }
    }

    /// Ends when the twin engine does, which is never but by a fault of ours.
    pub async fn failed(&mut self) {
        let end = (&mut self.twin).await;
        tracing::error!(?end, "the twin engine ended by itself");
    }
}

fn start_link(
    config: &Config,
    store: &StoreHandle,
    own: sync::Own,
) -> (Option<Sync>, watch::Receiver<LinkState>) {
    match config.hub() {
        Some(hub) => {
            let sync = Sync::start(config.node().clone(), hub.clone(), store.clone(), own);
            let state = sync.state();
            (Some(sync), state)
        }
        None => (None, watch::channel(LinkState::NoHub).1),
    }
}

async fn within(
    budget: Duration,
    what: &str,
    work: impl Future<Output = Result<(), tokio::task::JoinError>>,
) {
    match tokio::time::timeout(budget, work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, what, "ended badly"),
        Err(_) => tracing::warn!(what, ?budget, "did not end in time"),
    }
}
