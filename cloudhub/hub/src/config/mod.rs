//! The hub's configuration: a YAML file, checked as a whole.
//!
//! All faults are reported at once, each with its key path. Reading it binds
//! no port and makes no file.

mod reader;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use reader::Section;

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
/// Reported level of logs.
pub const DEFAULT_LOG_LEVEL: &str = "info";

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

/// How logs look.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// JSON instead of text.
    pub json: bool,
    /// A filter such as `info` or `longshore_hub=debug`.
    pub level: String,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// Key path.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is not YAML.
    #[error("`{path}` is not YAML")]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Cause, with the line.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// Keys or values are wrong.
    #[error("`{path}` has faults:{list}", list = Faults(faults))]
    Faults {
        /// The file.
        path: PathBuf,
        /// All of them.
        faults: Vec<ConfigFault>,
    },
}

struct Faults<'a>(&'a [ConfigFault]);

impl fmt::Display for Faults<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in self.0 {
            write!(f, "\n  {}: {}", fault.path, fault.message)?;
        }
        Ok(())
    }
}

impl Config {
    /// Reads a file. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// The file cannot be read, is not YAML, or has faults: all of them.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let base = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, base, path)
    }

    /// Reads a text; `path` is for the errors.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, base: &Path, path: &Path) -> Result<Self, ConfigError> {
        let value = if text.trim().is_empty() {
            serde_json::Value::Null
        } else {
            serde_saphyr::from_str(text).map_err(|source| ConfigError::Yaml {
                path: path.to_owned(),
                source: Box::new(source),
            })?
        };
        let mut faults = Vec::new();
        let config = read(Section::new(value, &mut faults), base);
        if faults.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError::Faults {
                path: path.to_owned(),
                faults,
            })
        }
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

fn read(mut root: Section<'_>, base: &Path) -> Config {
    let state_dir = base.join(
        root.path("stateDir")
            .unwrap_or_else(|| PathBuf::from(DEFAULT_STATE_DIR)),
    );
    let cluster = cluster(&mut root, base, &state_dir);
    let (mut link, _) = root.section("link");
    let link_config = LinkConfig {
        listen: link.address("listen", DEFAULT_LINK_LISTEN),
        names: names(&mut link),
    };
    link.finish();
    let (mut metrics, _) = root.section("metrics");
    let metrics_listen = metrics.address("listen", DEFAULT_METRICS_LISTEN);
    metrics.finish();
    let (mut section, _) = root.section("deviceStatus");
    let status = StatusConfig {
        interval: Duration::from_millis(section.number(
            "intervalMs",
            DEFAULT_STATUS_INTERVAL_MS,
            (0, 3_600_000),
        )),
        concurrency: section.number("concurrency", DEFAULT_STATUS_CONCURRENCY, (1, 256)) as usize,
    };
    section.finish();
    let (mut section, _) = root.section("nodes");
    let nodes = NodesConfig {
        grace: Duration::from_millis(section.number(
            "graceMs",
            DEFAULT_NODE_GRACE_MS,
            (100, 3_600_000),
        )),
        lease_interval: Duration::from_millis(section.number(
            "leaseIntervalMs",
            DEFAULT_LEASE_INTERVAL_MS,
            (50, 600_000),
        )),
    };
    section.finish();
    let (mut log, _) = root.section("log");
    let log_config = LogConfig {
        json: log.word("format", &["text", "json"]) == "json",
        level: log
            .text("level")
            .unwrap_or_else(|| DEFAULT_LOG_LEVEL.to_owned()),
    };
    log.finish();
    root.finish();
    Config {
        state_dir,
        cluster,
        link: link_config,
        metrics_listen,
        status,
        nodes,
        log: log_config,
    }
}

/// `kubernetes:` names a cluster; without it the environment of a pod does;
/// without that the embedded server is started.
fn cluster(root: &mut Section<'_>, base: &Path, state_dir: &Path) -> ClusterConfig {
    let (mut kubernetes, present) = root.section("kubernetes");
    let path = kubernetes.path("kubeconfig");
    let in_cluster = kubernetes.flag("inCluster", false);
    let manage_crds = kubernetes.flag("manageCrds", true);
    if present && path.is_some() && in_cluster {
        kubernetes.fault("inCluster", "stands beside `kubeconfig`: choose one");
    }
    if present && path.is_none() && !in_cluster {
        kubernetes.fault(
            "kubeconfig",
            "missing: name a kubeconfig, or set `inCluster: true`, or leave `kubernetes` out for the embedded server",
        );
    }
    kubernetes.finish();

    let (mut api, api_present) = root.section("apiServer");
    let listen = api.address("listen", DEFAULT_API_LISTEN);
    let names = names(&mut api);
    let kubeconfig = api.path("kubeconfig").map_or_else(
        || state_dir.join("admin.kubeconfig"),
        |path| base.join(path),
    );
    api.finish();
    if present && api_present {
        root.fault(
            "apiServer",
            "is the embedded server, but `kubernetes` names another one: choose one",
        );
    }
    match path {
        Some(path) => ClusterConfig::Kubeconfig {
            path: base.join(path),
            manage_crds,
        },
        None if in_cluster => ClusterConfig::InCluster { manage_crds },
        None if !api_present && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => {
            ClusterConfig::InCluster { manage_crds }
        }
        None => ClusterConfig::Embedded {
            listen,
            names,
            kubeconfig,
        },
    }
}

fn names(section: &mut Section<'_>) -> Vec<String> {
    let names = section.texts("names").unwrap_or_default();
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

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("/base"), Path::new("/base/hub.yaml"))
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let config = parse("").unwrap();
        assert_eq!(config.state_dir(), Path::new(DEFAULT_STATE_DIR));
        assert_eq!(config.link().listen.port(), 10_000);
        assert!(matches!(config.cluster(), ClusterConfig::Embedded { .. }));
    }

    #[test]
    fn all_faults_come_at_once() {
        let text = "stateDir: hub\nlink: {listen: here, names: ['-x'], nams: []}\n\
                    kubernetes: {manageCrds: perhaps}\napiServer: {}\n\
                    deviceStatus: {concurrency: 0}\nlog: {format: xml}\nextra: 1\n";
        let Err(ConfigError::Faults { faults, .. }) = parse(text) else {
            panic!("there are faults");
        };
        let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "kubernetes.manageCrds",
                "kubernetes.kubeconfig",
                "apiServer",
                "link.listen",
                "link.names[0]",
                "link.nams",
                "deviceStatus.concurrency",
                "log.format",
                "extra"
            ]
        );
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
        let text = include_str!("../../../../docs/reference/cloudhub.md");
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
