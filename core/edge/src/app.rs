//! `edgecore` put together: what is built, and which task each part becomes.
//!
//! [`App::build`] opens the store and binds the ports; nothing runs until
//! [`App::spawn`]. A part whose loss would leave devices unserved, or the node out
//! of everybody's reach, ends the process, and systemd starts it again. The loss
//! of any other part stands in `/readyz`.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use longshore_process::{
    Explain, Health, Loss, Lost, RunFile, Running, Stage, Tasks, http, run_file::RunFileError,
};
use longshore_twin::Nobody;
use tokio::sync::watch;

use crate::{
    bus::{Bus, BusError},
    config::Config,
    manifests,
    mappers::Mappers,
    metrics,
    ports::{BusPort, LinkState},
    store::{StoreError, StoreHandle},
    sync::{self, Sync},
    twin,
};

/// Time for the mappers to stop before they are killed.
const MAPPER_BUDGET: Duration = Duration::from_millis(1_000);

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
    Metrics(#[source] http::ListenError),
    /// The file with the bound addresses cannot be written.
    #[error(transparent)]
    RunFile(#[from] RunFileError),
}

impl Explain for StartError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(source) => source.hint(),
            Self::Bus(source) => source.hint(),
            Self::Metrics(source) => source.hint(),
            Self::RunFile(source) => source.hint(),
        }
    }
}

/// An edge whose parts stand and wait.
pub struct App {
    tasks: Tasks,
    bus: Option<Arc<Bus>>,
    metrics: SocketAddr,
}

impl App {
    /// Opens the store, binds the ports and makes all parts. Must be called
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// The store, a port or the broker's folder cannot be used.
    pub async fn build(config: &Config) -> Result<Self, StartError> {
        let mut tasks = Tasks::new();
        let store =
            StoreHandle::open(config.state_dir(), config.store()).map_err(StartError::Store)?;
        let (listener, metrics) = http::listen(config.metrics_listen(), "metrics.listen")
            .await
            .map_err(StartError::Metrics)?;
        let (handle, inbox) = twin::channel();
        let bus = Bus::build(
            config.bus().clone(),
            config.kubeedge_topics(),
            config.node().clone(),
            handle.clone(),
            &mut tasks,
        )
        .await
        .map_err(StartError::Bus)?;
        let (mappers, events) = Mappers::start(config);
        let mappers = Arc::new(mappers);
        let reports = tell_of_mappers(&mappers, &mut tasks);
        let link = build_link(config, &store, &mappers, reports, &mut tasks);
        let parts = twin::Parts {
            node: config.node().clone(),
            inbox,
            bus: match &bus {
                Some(bus) => Arc::clone(bus) as Arc<dyn BusPort>,
                None => Arc::new(Nobody),
            },
            store: store.clone(),
            mappers: mappers.clone(),
            events,
            link: link.state.clone(),
        };
        tasks.add("twin engine", Stage::Engines, Loss::EndsProcess, |stop| {
            twin::run(parts, stop)
        });
        let (manifest_faults, seen_faults) = watch::channel(Vec::new());
        let (folder, manifest_store) = (config.manifests().map(Path::to_owned), store.clone());
        tasks.add("manifests", Stage::Workers, Loss::IsFault, |stop| {
            stop.cut(manifests::run(folder, manifest_store, manifest_faults))
        });
        let sources = metrics::Sources {
            health: tasks.health(),
            manifest_faults: seen_faults,
            node: config.node().clone(),
            twin: handle,
            store: store.clone(),
            mappers,
            bus: bus.clone(),
            link: link.state,
            link_counters: link.counters,
        };
        // Without it nobody would hear of the loss of the others.
        tasks.add("pages", Stage::Pages, Loss::EndsProcess, |stop| {
            metrics::serve(listener, sources, stop)
        });
        tasks.add(
            "store",
            Stage::Stores,
            Loss::EndsProcess,
            |mut stop| async move {
                stop.asked().await;
                store.flush().await
            },
        );
        Ok(Self {
            tasks,
            bus,
            metrics,
        })
    }

    /// Starts everything; `stateDir/run.json` then tells what is bound.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn spawn(self, config: &Config) -> Result<RunningApp, StartError> {
        let Self {
            tasks,
            bus,
            metrics,
        } = self;
        let running = tasks.spawn();
        let address = bus.as_ref().and_then(|bus| bus.address());
        let run = serde_json::json!({
            "node": config.node().as_str(),
            "bus": address.map(|address| address.to_string()),
            "metrics": metrics.to_string(),
        });
        let run_file = RunFile::write(config.state_dir(), run)?;
        let bus = bus.as_ref().map_or("off".to_owned(), |bus| bus.broker());
        tracing::info!(node = %config.node(), %metrics, bus, state = %config.state_dir().display(), "edge is ready");
        Ok(RunningApp {
            running,
            metrics,
            _run_file: run_file,
        })
    }
}

/// A running edge.
pub struct RunningApp {
    running: Running,
    metrics: SocketAddr,
    _run_file: RunFile,
}

impl RunningApp {
    /// Where health and metrics are served.
    pub fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    /// Its tasks.
    pub fn health(&self) -> Health {
        self.running.health()
    }

    /// Makes a task panic, so that a test can see what is left without it.
    pub fn kill(&self, task: &str) {
        self.running.kill(task);
    }

    /// Watches over the tasks; ends with the first whose loss ends the process.
    pub async fn lost(&mut self) -> Lost {
        self.running.lost().await
    }

    /// Ends everything within `budget`: first the twins are saved, then the rest.
    pub async fn drain(self, budget: Duration) {
        self.running.drain(budget).await;
    }
}

/// The task that follows the mappers: what it finds goes to the hub.
fn tell_of_mappers(
    mappers: &Arc<Mappers>,
    tasks: &mut Tasks,
) -> watch::Receiver<Vec<longshore_link::MapperReport>> {
    let (reports, receiver) = watch::channel(mappers.reports());
    let mappers = mappers.clone();
    tasks.add(
        "mappers",
        Stage::Workers,
        Loss::EndsProcess,
        |stop| async move {
            stop.cut(mappers.clone().watch(reports)).await;
            mappers.stop(MAPPER_BUDGET).await;
        },
    );
    receiver
}

/// The link, seen from here.
struct Link {
    state: watch::Receiver<LinkState>,
    counters: Option<Arc<sync::LinkCounters>>,
}

fn build_link(
    config: &Config,
    store: &StoreHandle,
    mappers: &Arc<Mappers>,
    reports: watch::Receiver<Vec<longshore_link::MapperReport>>,
    tasks: &mut Tasks,
) -> Link {
    let Some(hub) = config.hub() else {
        return Link {
            state: watch::channel(LinkState::NoHub).1,
            counters: None,
        };
    };
    let mappers = mappers.clone();
    let own = sync::Own {
        mappers: reports,
        schema: Box::new(move |hash| mappers.schema(hash)),
    };
    let sync = Sync::new(config.node().clone(), hub.clone(), store.clone(), own);
    let link = Link {
        state: sync.state(),
        counters: Some(sync.counters()),
    };
    tasks.add("link", Stage::Links, Loss::EndsProcess, |stop| {
        sync.run(stop)
    });
    link
}
