//! The hub as a whole: built, running, drained.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use axum::routing::get;
use kube::Client;
use longshore_apiserver::ApiServer;
use longshore_link::LINK_PATH;
use longshore_process::{
    Explain, Loss, Lost, RunFile, Running, Stage, Tasks,
    http::{ListenError, listen},
    private,
    run_file::RunFileError,
};
use serde_json::json;
use tokio::net::TcpListener;
use tracing::info;

use crate::{
    cluster::{
        self, ClusterError, Embedded,
        watch::{NodeObjects, Objects},
    },
    config::{ClusterConfig, Config},
    identity::{self, Authority, IdentityError, ServerIdentity},
    kinds::KINDS,
    metrics::{Metrics, Pages},
    nodes::NodeWriter,
    port::{self, Limits, Port},
    samples::{CountOnly, SampleConsumer},
    sessions,
    status::StatusWriter,
    store::{Store, StoreError},
    tables::{
        catalog::Catalog,
        listed::{Listed, Progress},
        logs::Logs,
        nodes::Nodes,
        reports::Reports,
        schemas::Schemas,
        statuses::Statuses,
    },
};

/// The server's certificate is looked at so often.
const RENEWAL_CHECK: Duration = Duration::from_secs(12 * 3600);

/// The end takes no longer. Requests under way have most of it; sessions say
/// goodbye within 3 s.
const DRAIN: Duration = Duration::from_secs(15);

/// Why the hub could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state folder cannot be used.
    #[error("cannot use the state folder `{path}`")]
    StateDir {
        /// The folder.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// Nobody could find the hub.
    #[error(transparent)]
    RunFile(#[from] RunFileError),
    /// The hub's database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The CA and certificates.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Kubernetes.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A port is taken or not allowed.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A task ended before the hub was ready.
    #[error(transparent)]
    Lost(#[from] Lost),
}

impl Explain for StartError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::StateDir { .. } => Some(
                "check its owner and mode, that its disk is not mounted read-only, and that the hub runs as the user who owns it"
                    .to_owned(),
            ),
            Self::RunFile(source) => source.hint(),
            Self::Store(source) => source.hint(),
            Self::Identity(source) => source.hint(),
            Self::Cluster(source) => source.hint(),
            Self::Listen(source) => source.hint(),
            Self::Lost(source) => source.hint(),
        }
    }
}

/// Where a running hub can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The link's port.
    pub link: SocketAddr,
    /// Health and metrics.
    pub metrics: SocketAddr,
    /// The embedded API server; none on another cluster.
    pub api_server: Option<SocketAddr>,
    /// Its administrator's kubeconfig; on another cluster the one that the hub uses.
    pub kubeconfig: Option<PathBuf>,
}

/// A hub that is running. Dropping it cuts everything off.
pub struct RunningHub {
    addresses: Addresses,
    client: Client,
    running: Running,
    /// Goes with the hub.
    _run_file: RunFile,
}

struct Ports {
    link: TcpListener,
    metrics: TcpListener,
    api: Option<TcpListener>,
    addresses: Addresses,
}

impl RunningHub {
    /// Opens the state, binds the ports, brings the cluster into shape, and
    /// starts to serve. When it returns, the hub is ready and `run.json` in its
    /// state folder says where.
    ///
    /// # Errors
    /// Each thing that can be wrong has its own.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        Self::start_with(config, Arc::new(CountOnly::default())).await
    }

    /// The same with somebody who takes the nodes' samples.
    ///
    /// # Errors
    /// Each thing that can be wrong has its own.
    pub async fn start_with(
        config: &Config,
        samples: Arc<dyn SampleConsumer>,
    ) -> Result<Self, StartError> {
        // Another part of the process may have chosen a provider: all is well then.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (built, listed) = build(config, samples).await?;
        let Built {
            addresses,
            client,
            tasks,
            health,
        } = built;
        let mut running = tasks.spawn();
        // Nobody else sets it.
        let _ = health.set(running.health());
        tokio::select! {
            () = listed.wait(Progress::is_whole) => {}
            lost = running.lost() => return Err(lost.into()),
        }
        let run_file = write_run_file(config.state_dir(), &addresses)?;
        info!(link = %addresses.link, metrics = %addresses.metrics, "hub is ready");
        Ok(Self {
            addresses,
            client,
            running,
            _run_file: run_file,
        })
    }

    /// Where it can be reached.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The client that the hub itself uses.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Names of its tasks.
    pub fn tasks(&self) -> Vec<String> {
        self.running.health().names().to_vec()
    }

    /// Watches over the tasks; ends with the first that the hub is of no use
    /// without.
    pub async fn lost(&mut self) -> Lost {
        self.running.lost().await
    }

    /// Makes a task panic, so that a test can see what is left without it.
    pub fn kill(&self, task: &str) {
        self.running.kill(task);
    }

    /// Ends the sessions, finishes what is being written, closes the databases.
    pub async fn stop(self) {
        self.running.drain(DRAIN).await;
        info!("hub stopped");
    }
}

/// A hub of which nothing runs yet.
struct Built {
    addresses: Addresses,
    client: Client,
    tasks: Tasks,
    health: Arc<OnceLock<longshore_process::Health>>,
}

/// Opens files, binds ports, makes the tables, and hands each worker those that
/// it uses.
async fn build(
    config: &Config,
    samples: Arc<dyn SampleConsumer>,
) -> Result<(Built, Arc<Listed>), StartError> {
    let state_dir = config.state_dir();
    private::folder(state_dir).map_err(|source| StartError::StateDir {
        path: state_dir.to_owned(),
        source,
    })?;
    let authority = Arc::new(Authority::open(state_dir)?);
    let (store, contents) = Store::open(&state_dir.join("hub.db"))?;
    let mut ports = bind(config).await?;
    let server = ServerIdentity::open(&authority, state_dir, names(config, &ports.addresses))?;
    let link_tls = identity::server_config(&authority, Arc::clone(&server))?;
    let mut tasks = Tasks::new();
    let cluster = open_cluster(config, &mut ports, &authority, &server, &mut tasks).await?;
    let Cluster {
        client,
        manage_crds,
        embedded,
    } = cluster;
    cluster::crds::ensure(&client, manage_crds).await?;

    let catalog = Arc::new(Mutex::new(Catalog::new(KINDS)));
    let listed = Arc::new(Listed::default());
    let logs = Arc::new(Logs::new(contents.logs));
    let metrics = Arc::new(Metrics::default());
    let nodes = Nodes::new(config.nodes(), contents.nodes, Instant::now());
    let nodes = Arc::new(nodes);
    let schemas = Arc::new(Schemas::new(contents.schemas));
    let statuses = Arc::new(Statuses::new(config.status().interval));
    // Devices that went while the hub was down are noticed here.
    statuses.mark(contents.reports.keys().cloned());
    let reports = Arc::new(Reports::new(contents.reports));

    let objects = Objects {
        client: client.clone(),
        catalog: Arc::clone(&catalog),
        logs: Arc::clone(&logs),
        listed: Arc::clone(&listed),
        statuses: Arc::clone(&statuses),
        metrics: Arc::clone(&metrics),
    };
    for kind in KINDS {
        let name = format!("watch of {}", kind.name);
        tasks.add(name, Stage::Workers, Loss::EndsProcess, |stop| {
            stop.cut(objects.clone().follow(kind))
        });
    }
    let existing = cluster::watch::statuses(
        client.clone(),
        Arc::clone(&listed),
        Arc::clone(&statuses),
        Arc::clone(&metrics),
    );
    let work = Stage::Workers;
    tasks.add("watch of DeviceStatus", work, Loss::EndsProcess, |stop| {
        stop.cut(existing)
    });
    if manage_crds {
        let kept = cluster::crds::keep(client.clone(), Arc::clone(&metrics));
        let name = "watch of CustomResourceDefinition";
        tasks.add(name, work, Loss::EndsProcess, |stop| stop.cut(kept));
    }
    let node_objects = NodeObjects {
        client: client.clone(),
        catalog: Arc::clone(&catalog),
        listed: Arc::clone(&listed),
        nodes: Arc::clone(&nodes),
        statuses: Arc::clone(&statuses),
        metrics: Arc::clone(&metrics),
    };
    tasks.add("watch of Node", work, Loss::EndsProcess, |stop| {
        stop.cut(node_objects.follow())
    });
    let status_writer = StatusWriter {
        client: client.clone(),
        catalog: Arc::clone(&catalog),
        listed: Arc::clone(&listed),
        nodes: Arc::clone(&nodes),
        reports: Arc::clone(&reports),
        schemas: Arc::clone(&schemas),
        statuses: Arc::clone(&statuses),
        store: store.clone(),
        metrics: Arc::clone(&metrics),
        concurrency: config.status().concurrency,
    };
    tasks.add("status writer", work, Loss::EndsProcess, |stop| {
        status_writer.run(stop)
    });
    let node_writer = NodeWriter {
        client: client.clone(),
        catalog: Arc::clone(&catalog),
        nodes: Arc::clone(&nodes),
        statuses: Arc::clone(&statuses),
        metrics: Arc::clone(&metrics),
    };
    tasks.add("node writer", work, Loss::EndsProcess, |stop| {
        stop.cut(node_writer.run())
    });
    let keeper = Arc::clone(&logs).keep(store.clone());
    tasks.add("keeper of the logs", work, Loss::EndsProcess, |stop| {
        stop.cut(keeper)
    });
    let renewal = renew(authority, server, state_dir.to_owned());
    tasks.add("certificate renewal", work, Loss::IsFault, |stop| {
        stop.cut(renewal)
    });
    let of_sessions = sessions::Tables {
        catalog: Arc::clone(&catalog),
        listed: Arc::clone(&listed),
        logs,
        nodes: Arc::clone(&nodes),
        reports: Arc::clone(&reports),
        schemas: Arc::clone(&schemas),
        samples,
        statuses: Arc::clone(&statuses),
        store: store.clone(),
        metrics: Arc::clone(&metrics),
    };
    // What the edges' port answers to, a line for each path.
    let router = port::router([(
        LINK_PATH,
        get(sessions::link).with_state(Arc::new(of_sessions)),
    )]);
    let port = Port::new(link_tls, router, Arc::clone(&metrics), Limits::default());
    tasks.add("link", Stage::Links, Loss::EndsProcess, |stop| {
        port.serve(ports.link, stop)
    });
    let health = Arc::new(OnceLock::new());
    let pages = Pages {
        catalog,
        listed: Arc::clone(&listed),
        nodes,
        reports,
        schemas,
        statuses,
        metrics,
        store: store.clone(),
        api_server: embedded,
        health: Arc::clone(&health),
    };
    tasks.add("pages", Stage::Pages, Loss::EndsProcess, |stop| {
        pages.serve(ports.metrics, stop)
    });
    tasks.add("store", Stage::Stores, Loss::EndsProcess, |stop| {
        store.attend(stop)
    });
    let built = Built {
        addresses: ports.addresses,
        client,
        tasks,
        health,
    };
    Ok((built, listed))
}

async fn bind(config: &Config) -> Result<Ports, StartError> {
    let link = listen(config.link().listen, "link.listen").await?;
    let metrics = listen(config.metrics_listen(), "metrics.listen").await?;
    let (api, kubeconfig) = match config.cluster() {
        ClusterConfig::Embedded {
            listen: address,
            kubeconfig,
            ..
        } => {
            let api = listen(*address, "apiServer.listen").await?;
            (Some(api), Some(kubeconfig.clone()))
        }
        ClusterConfig::Kubeconfig { path, .. } => (None, Some(path.clone())),
        ClusterConfig::InCluster { .. } => (None, None),
    };
    let addresses = Addresses {
        link: link.1,
        metrics: metrics.1,
        api_server: api.as_ref().map(|api| api.1),
        kubeconfig,
    };
    Ok(Ports {
        link: link.0,
        metrics: metrics.0,
        api: api.map(|api| api.0),
        addresses,
    })
}

/// Where the objects are.
struct Cluster {
    client: Client,
    /// Whether the hub may apply its CRDs.
    manage_crds: bool,
    embedded: Option<ApiServer>,
}

/// Connects to the cluster. An embedded server becomes two of the tasks.
async fn open_cluster(
    config: &Config,
    ports: &mut Ports,
    authority: &Authority,
    server: &Arc<ServerIdentity>,
    tasks: &mut Tasks,
) -> Result<Cluster, StartError> {
    let manage_crds = match config.cluster() {
        ClusterConfig::Kubeconfig { manage_crds, .. }
        | ClusterConfig::InCluster { manage_crds } => *manage_crds,
        ClusterConfig::Embedded { .. } => true,
    };
    if let Some(client) = cluster::connect(config.cluster()).await? {
        return Ok(Cluster {
            client,
            manage_crds,
            embedded: None,
        });
    }
    let embedded = Embedded::open(config.state_dir())?;
    let controllers = embedded.server.controllers();
    let name = "controllers of the API server";
    tasks.add(name, Stage::Workers, Loss::EndsProcess, |stop| {
        stop.cut(controllers)
    });
    if let (ClusterConfig::Embedded { kubeconfig, .. }, Some(listener), Some(address)) = (
        config.cluster(),
        ports.api.take(),
        ports.addresses.api_server,
    ) {
        let server = Arc::clone(server);
        let serve = embedded.serve(listener, address, authority, server, kubeconfig)?;
        tasks.add("API server", Stage::Stores, Loss::EndsProcess, serve);
        info!(%address, kubeconfig = %kubeconfig.display(), "embedded API server");
    }
    Ok(Cluster {
        client: embedded.client,
        manage_crds,
        embedded: Some(embedded.server),
    })
}

/// Names of the server's certificate: those of the configuration, and the
/// addresses that it listens on.
fn names(config: &Config, addresses: &Addresses) -> Vec<String> {
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    let extra = match config.cluster() {
        ClusterConfig::Embedded { names, .. } => names.as_slice(),
        _ => &[],
    };
    names.extend(config.link().names.iter().chain(extra).cloned());
    for address in [Some(addresses.link), addresses.api_server]
        .into_iter()
        .flatten()
    {
        if !address.ip().is_unspecified() {
            names.push(address.ip().to_string());
        }
    }
    names.sort();
    names.dedup();
    names
}

async fn renew(authority: Arc<Authority>, server: Arc<ServerIdentity>, state_dir: PathBuf) {
    loop {
        tokio::time::sleep(RENEWAL_CHECK).await;
        if let Err(error) = server.renew(&authority, &state_dir) {
            let error = longshore_process::chain(&error);
            tracing::error!(error, "the server's certificate could not be renewed");
        }
    }
}

fn write_run_file(state_dir: &Path, addresses: &Addresses) -> Result<RunFile, RunFileError> {
    let content = json!({
        "link": addresses.link.to_string(),
        "metrics": addresses.metrics.to_string(),
        "apiServer": addresses.api_server.map(|address| address.to_string()),
        "kubeconfig": addresses.kubeconfig,
    });
    RunFile::write(state_dir, content)
}
