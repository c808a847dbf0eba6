//! The hub as a whole: opened, bound, running, stopped.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use kube::Client;
use longshore_link::Epoch;
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tracing::info;

use crate::{
    cluster::{self, ClusterError, Embedded},
    config::{ClusterConfig, Config},
    identity::{self, Authority, IdentityError, ServerIdentity},
    kinds::KINDS,
    metrics, nodes, sessions,
    state::{Hub, Known},
    status,
    store::{Store, StoreError},
};

/// The server's certificate is looked at so often.
const RENEWAL_CHECK: Duration = Duration::from_secs(12 * 3600);

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
    #[error(
        "cannot listen on {address} for {what}\n\nhint: another process may have the port; set `{key}` to another one, port 0 takes a free one"
    )]
    Bind {
        /// What for.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// Key of the configuration.
        key: &'static str,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
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

/// A hub that is running.
pub struct RunningHub {
    addresses: Addresses,
    client: Client,
    hub: Arc<Hub>,
    embedded: Option<Embedded>,
    stop: watch::Sender<bool>,
    /// End by themselves when told to stop.
    workers: JoinSet<()>,
    /// Are cut.
    watchers: Vec<JoinHandle<()>>,
    state_dir: PathBuf,
}

struct Ports {
    link: TcpListener,
    metrics: TcpListener,
    api: Option<TcpListener>,
    addresses: Addresses,
}

/// The state folder holds secrets: it, and what former versions left readable
/// in it, is for its owner alone. SQLite gives new files the mode of the database.
fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let private =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    private(folder, 0o700)?;
    let database = folder.join("hub.db");
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(database)?;
    for name in ["hub.db", "hub.db-wal", "hub.db-shm"] {
        let path = folder.join(name);
        if path.exists() {
            private(&path, 0o600)?;
        }
    }
    Ok(())
}

impl RunningHub {
    /// Opens the state, binds the ports, brings the cluster into shape, and
    /// starts to serve. When it returns, the hub is ready and `run.json` in its
    /// state folder says where.
    ///
    /// # Errors
    /// Each thing that can be wrong has its own.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        // Another part of the process may have chosen a provider: all is well then.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let state_dir = config.state_dir();
        make_private(state_dir).map_err(|source| StartError::StateDir {
            path: state_dir.to_owned(),
            source,
        })?;
        let authority = Arc::new(Authority::open(state_dir)?);
        let (store, contents) = Store::open(&state_dir.join("hub.db"))?;
        let mut ports = bind(config).await?;
        let server = ServerIdentity::open(&authority, state_dir, names(config, &ports.addresses))?;
        let link_tls = identity::server_config(&authority, Arc::clone(&server), true)?;

        let (client, embedded, manage_crds) =
            open_cluster(config, &mut ports, &authority, &server).await?;
        cluster::crds::ensure(&client, manage_crds).await?;

        let hub = Arc::new(Hub::new(config, KINDS, store, contents, Epoch(random())));
        let (stop, stopped) = watch::channel(false);
        let mut watchers: Vec<_> = KINDS
            .iter()
            .map(|kind| {
                let objects = cluster::watch::objects(client.clone(), kind, Arc::clone(&hub));
                tokio::spawn(objects)
            })
            .collect();
        watchers.extend([
            tokio::spawn(cluster::watch::statuses(client.clone(), Arc::clone(&hub))),
            tokio::spawn(cluster::watch::nodes(client.clone(), Arc::clone(&hub))),
            tokio::spawn(nodes::run(client.clone(), Arc::clone(&hub))),
            tokio::spawn(metrics::serve(ports.metrics, Arc::clone(&hub))),
            tokio::spawn(renew(authority, server, state_dir.to_owned())),
        ]);
        let mut workers = JoinSet::new();
        workers.spawn(status::run(
            client.clone(),
            Arc::clone(&hub),
            stopped.clone(),
        ));
        workers.spawn(sessions::serve(
            ports.link,
            link_tls,
            Arc::clone(&hub),
            stopped,
        ));
        // An error would mean that the hub just made is gone.
        let _ = hub.known().wait_for(Known::all).await;
        write_run_file(state_dir, &ports.addresses)?;
        let addresses = ports.addresses;
        info!(link = %addresses.link, metrics = %addresses.metrics, "hub is ready");
        Ok(Self {
            addresses,
            client,
            hub,
            embedded,
            stop,
            workers,
            watchers,
            state_dir: state_dir.to_owned(),
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

    /// Ends the sessions, finishes what is being written, closes the databases.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.workers.join_next().await.is_some() {}
        for watcher in &self.watchers {
            watcher.abort();
        }
        // What the sessions handed over is acknowledged only when it is on the
        // disk, so nothing is lost if this fails.
        self.hub.store.close().await;
        if let Some(embedded) = &self.embedded {
            embedded.server.shutdown().await;
        }
        // The next start writes it anew.
        let _ = std::fs::remove_file(self.state_dir.join("run.json"));
        info!("hub stopped");
    }
}

async fn bind(config: &Config) -> Result<Ports, StartError> {
    let link = listen("the link", "link.listen", config.link().listen).await?;
    let metrics = listen("metrics", "metrics.listen", config.metrics_listen()).await?;
    let (api, kubeconfig) = match config.cluster() {
        ClusterConfig::Embedded {
            listen: address,
            kubeconfig,
            ..
        } => {
            let api = listen("the API server", "apiServer.listen", *address).await?;
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

async fn listen(
    what: &'static str,
    key: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Bind {
        what,
        address,
        key,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

async fn open_cluster(
    config: &Config,
    ports: &mut Ports,
    authority: &Authority,
    server: &Arc<ServerIdentity>,
) -> Result<(Client, Option<Embedded>, bool), StartError> {
    let manage_crds = match config.cluster() {
        ClusterConfig::Kubeconfig { manage_crds, .. }
        | ClusterConfig::InCluster { manage_crds } => *manage_crds,
        ClusterConfig::Embedded { .. } => true,
    };
    if let Some(client) = cluster::connect(config.cluster()).await? {
        return Ok((client, None, manage_crds));
    }
    let embedded = Embedded::open(config.state_dir())?;
    if let (ClusterConfig::Embedded { kubeconfig, .. }, Some(listener), Some(address)) = (
        config.cluster(),
        ports.api.take(),
        ports.addresses.api_server,
    ) {
        let served =
            embedded.serve(listener, address, authority, Arc::clone(server), kubeconfig)?;
        info!(address = %served.address, kubeconfig = %served.kubeconfig.display(), "embedded API server is up");
    }
    Ok((embedded.client.clone(), Some(embedded), manage_crds))
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
            let error = crate::error_chain(&error);
            tracing::error!(error, "the server's certificate could not be renewed");
        }
    }
}

fn write_run_file(state_dir: &Path, addresses: &Addresses) -> Result<(), StartError> {
    let content = json!({
        "pid": std::process::id(),
        "link": addresses.link.to_string(),
        "metrics": addresses.metrics.to_string(),
        "apiServer": addresses.api_server.map(|address| address.to_string()),
        "kubeconfig": addresses.kubeconfig,
    });
    let path = state_dir.join("run.json");
    let temporary = state_dir.join("run.json.tmp");
    std::fs::write(&temporary, format!("{content:#}\n"))
        .and_then(|()| std::fs::rename(&temporary, &path))
        .map_err(|source| StartError::StateDir { path, source })
}

/// Not guessable by chance is enough: it tells two lives of the hub apart.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::hash::RandomState::new().build_hasher();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    hasher.write_u128(now.unwrap_or_default().as_nanos());
    hasher.finish() | 1
}
