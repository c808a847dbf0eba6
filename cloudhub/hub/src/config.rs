//! The hub's configuration: a YAML file, checked as a whole.
//!
//! All faults are reported at once, each with its line. Reading it binds no port,
//! makes no file, and looks at nothing but the text and the [`Environment`] that
//! it is given.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use longshore_process::{
    ConfigError, ConfigFault, LogConfig,
    config::{self, Section},
};

/// Where the state lives when the file does not say: as the systemd unit makes it.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/longshore-hub";
/// The link's port; KubeEdge's, so that firewalls are open for it.
pub const DEFAULT_LINK_LISTEN: &str = "0.0.0.0:10000";
/// The embedded API server's port: on loopback, since it is a laptop's.
pub const DEFAULT_API_LISTEN: &str = "127.0.0.1:6443";
/// Health and metrics: on loopback, for they have no authentication.
pub const DEFAULT_METRICS_LISTEN: &str = "127.0.0.1:9091";
/// A DeviceStatus is written at most so often: a person watches no faster, and
/// etcd should not carry telemetry.
pub const DEFAULT_STATUS_INTERVAL_MS: u64 = 1000;
/// So many writes of DeviceStatus are under way at once.
pub const DEFAULT_STATUS_CONCURRENCY: u64 = 8;
/// A node is not ready when it was silent for so long; Kubernetes' own grace period.
pub const DEFAULT_NODE_GRACE_MS: u64 = 40_000;
/// The lease of a connected node is renewed so often, as a kubelet does.
pub const DEFAULT_LEASE_INTERVAL_MS: u64 = 10_000;

/// What else than the file decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Environment {
    /// Whether the hub runs in a pod of a cluster.
    pub in_pod: bool,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        Self {
            in_pod: std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
        }
    }
}

/// The configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    state_dir: PathBuf,
    cluster: ClusterConfig,
    link: LinkConfig,
    metrics_listen: SocketAddr,
    status: StatusConfig,
    nodes: NodesConfig,
    log: LogConfig,
}

/// Which Kubernetes the hub works on.
#[derive(Debug, Clone)]
pub enum ClusterConfig {
    /// The one that a kubeconfig names.
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Whether the hub may apply its CRDs.
        manage_crds: bool,
    },
    /// The one that the hub runs in as a pod.
    InCluster {
        /// Whether the hub may apply its CRDs.
        manage_crds: bool,
    },
    /// The embedded API server.
    Embedded {
        /// Where it listens for kubectl.
        listen: SocketAddr,
        /// More names for its certificate.
        names: Vec<String>,
        /// Where to write the administrator's kubeconfig.
        kubeconfig: PathBuf,
    },
}

/// The port for the edges.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Names and addresses by which edges reach it, for its certificate.
    pub names: Vec<String>,
}

/// How DeviceStatus is written.
#[derive(Debug, Clone, Copy)]
pub struct StatusConfig {
    /// At most so often for each device.
    pub interval: Duration,
    /// So many at once.
    pub concurrency: usize,
}

/// How nodes are kept.
#[derive(Debug, Clone, Copy)]
pub struct NodesConfig {
    /// A node is not ready after so much silence.
    pub grace: Duration,
    /// How often its lease is renewed while it is connected.
    pub lease_interval: Duration,
}

impl Config {
    /// Reads a file. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// The file cannot be read, is not YAML, or has faults: all of them.
    pub fn load(file: &Path, environment: Environment) -> Result<Self, ConfigError> {
        config::load(file, |root| Some(read(root, environment)))
    }

    /// Reads a text; relative paths in it are relative to `base`.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn parse(
        text: &str,
        base: &Path,
        environment: Environment,
    ) -> Result<Self, Vec<ConfigFault>> {
        config::parse(text, base, |root| Some(read(root, environment)))
    }

    /// Where the state lives.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Which Kubernetes the hub works on.
    pub fn cluster(&self) -> &ClusterConfig {
        &self.cluster
    }

    /// The port for the edges.
    pub fn link(&self) -> &LinkConfig {
        &self.link
    }

    /// Where health and metrics are served.
    pub fn metrics_listen(&self) -> SocketAddr {
        self.metrics_listen
    }

    /// How DeviceStatus is written.
    pub fn status(&self) -> StatusConfig {
        self.status
    }

    /// How nodes are kept.
    pub fn nodes(&self) -> NodesConfig {
        self.nodes
    }

    /// How logs look.
    pub fn log(&self) -> &LogConfig {
        &self.log
    }
}

fn read(root: &mut Section, environment: Environment) -> Config {
    let state_dir = root.path("stateDir");
    let state_dir = state_dir.unwrap_or_else(|| PathBuf::from(DEFAULT_STATE_DIR));
    let cluster = cluster(root, &state_dir, environment);
    let mut link = root.section("link");
    let link = LinkConfig {
        listen: link.address("listen", DEFAULT_LINK_LISTEN),
        names: names(&mut link),
    };
    let mut metrics = root.section("metrics");
    let metrics_listen = metrics.address("listen", DEFAULT_METRICS_LISTEN);
    let mut status = root.section("deviceStatus");
    let interval = status.number("intervalMs", DEFAULT_STATUS_INTERVAL_MS, 0..=3_600_000);
    let concurrency = status.number("concurrency", DEFAULT_STATUS_CONCURRENCY, 1..=256);
    let mut nodes = root.section("nodes");
    let grace = nodes.number("graceMs", DEFAULT_NODE_GRACE_MS, 100..=3_600_000);
    let lease = nodes.number("leaseIntervalMs", DEFAULT_LEASE_INTERVAL_MS, 50..=600_000);
    Config {
        state_dir,
        cluster,
        link,
        metrics_listen,
        status: StatusConfig {
            interval: Duration::from_millis(interval),
            concurrency: concurrency as usize,
        },
        nodes: NodesConfig {
            grace: Duration::from_millis(grace),
            lease_interval: Duration::from_millis(lease),
        },
        log: root.section("log").log(),
    }
}

/// `kubernetes:` names a cluster; without it the environment of a pod does;
/// without that the embedded server is started.
fn cluster(root: &mut Section, state_dir: &Path, environment: Environment) -> ClusterConfig {
    let mut kubernetes = root.section("kubernetes");
    let path = kubernetes.path("kubeconfig");
    let in_cluster = kubernetes.flag("inCluster", false);
    let manage_crds = kubernetes.flag("manageCrds", true);
    if path.is_some() && in_cluster {
        kubernetes.fault("inCluster", "stands beside `kubeconfig`: choose one");
    }
    if kubernetes.is_present() && path.is_none() && !in_cluster {
        kubernetes.fault(
            "kubeconfig",
            "missing: name a kubeconfig, or set `inCluster: true`, or leave `kubernetes` out for the embedded server",
        );
    }

    let mut api = root.section("apiServer");
    let listen = api.address("listen", DEFAULT_API_LISTEN);
    let names = names(&mut api);
    let kubeconfig = api.path("kubeconfig");
    if kubernetes.is_present() && api.is_present() {
        root.fault(
            "apiServer",
            "is the embedded server, but `kubernetes` names another one: choose one",
        );
    }
    match path {
        Some(path) => ClusterConfig::Kubeconfig { path, manage_crds },
        None if in_cluster || (environment.in_pod && !api.is_present()) => {
            ClusterConfig::InCluster { manage_crds }
        }
        None => ClusterConfig::Embedded {
            listen,
            names,
            kubeconfig: kubeconfig.unwrap_or_else(|| state_dir.join("admin.kubeconfig")),
        },
    }
}

fn names(section: &mut Section) -> Vec<String> {
    let names: Vec<String> = section.optional("names").unwrap_or_default();
    for (index, name) in names.iter().enumerate() {
        let valid = name.parse::<std::net::IpAddr>().is_ok()
            || longshore_types::NodeName::new(name.trim_start_matches("*.")).is_ok();
        if !valid {
            section.fault(
                &format!("names[{index}]"),
                format!("`{name}` is neither a host name nor an address"),
            );
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, Vec<ConfigFault>> {
        Config::parse(text, Path::new("/base"), Environment::default())
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let config = parse("").unwrap();
        assert_eq!(config.state_dir(), Path::new(DEFAULT_STATE_DIR));
        assert_eq!(config.link().listen.port(), 10_000);
        assert!(matches!(config.cluster(), ClusterConfig::Embedded { .. }));
    }

    #[test]
    fn a_pod_s_cluster_is_taken_unless_the_file_says_otherwise() {
        let in_pod = |text: &str| {
            let environment = Environment { in_pod: true };
            Config::parse(text, Path::new("/base"), environment).unwrap()
        };
        for text in ["", "apiServer:\n", "kubernetes: null\n"] {
            let config = in_pod(text);
            assert!(
                matches!(
                    config.cluster(),
                    ClusterConfig::InCluster { manage_crds: true }
                ),
                "{text}"
            );
        }
        let config = in_pod("apiServer: {}");
        assert!(matches!(config.cluster(), ClusterConfig::Embedded { .. }));
        let config = in_pod("kubernetes: {kubeconfig: k}");
        assert!(matches!(config.cluster(), ClusterConfig::Kubeconfig { .. }));
    }

    #[test]
    fn all_faults_come_at_once_each_with_its_line() {
        let text = "stateDir: hub
link:
  listen: here
  names: ['-x']
  lisetn: 1
kubernetes: {manageCrds: perhaps}
apiServer: {}
deviceStatus: {concurrency: 0}
log:
  format: xml
  level: 'info,x=loud'
extra: 1
";
        let faults = parse(text).unwrap_err();
        let places: Vec<_> = faults
            .iter()
            .map(|fault| (fault.line.unwrap(), fault.path.as_str()))
            .collect();
        assert_eq!(
            places,
            [
                (3, "link.listen"),
                (4, "link.names[0]"),
                (5, "link.lisetn"),
                (6, "kubernetes.manageCrds"),
                (6, "kubernetes.kubeconfig"),
                (7, "apiServer"),
                (8, "deviceStatus.concurrency"),
                (10, "log.format"),
                (11, "log.level"),
                (12, "extra"),
            ]
        );
        assert_eq!(faults[2].message, "unknown key, did you mean `listen`");
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = parse("stateDir: hub\nkubernetes: {kubeconfig: k.yaml}\n").unwrap();
        assert_eq!(config.state_dir(), Path::new("/base/hub"));
        assert!(
            matches!(config.cluster(), ClusterConfig::Kubeconfig { path, .. } if path == Path::new("/base/k.yaml"))
        );
    }

    /// The examples that people copy from the reference.
    #[test]
    fn the_documented_examples_are_valid() {
        let text = include_str!("../../../docs/reference/cloudhub.md");
        let examples: Vec<_> = text
            .split("```yaml\n")
            .skip(1)
            .filter_map(|part| part.split("```").next())
            .map(|example| parse(example).expect(example))
            .collect();
        assert_eq!(examples.len(), 2);
        assert!(matches!(
            examples[0].cluster(),
            ClusterConfig::Kubeconfig {
                manage_crds: true,
                ..
            }
        ));
        assert!(matches!(
            examples[1].cluster(),
            ClusterConfig::Embedded { .. }
        ));
    }
}
