//! The configuration of `edgecore`: one YAML file, read once at start.
//!
//! Reading has no side effect: no port is bound, no file is made. All faults
//! are collected before it fails, each with its key path and line.

mod bus;
mod validate;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use longshore_host::Isolation;
use longshore_process::{ConfigError, ConfigFault, LogConfig, config};
use longshore_types::NodeName;

pub use bus::{BusMode, EmbeddedOptions, ExternalOptions, KubeEdgeTopics, TlsOptions, User};

/// Where the store and everything else that must survive lies.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/longshore";
/// The bus listens on loopback: who else may use it is the operator's decision.
pub const DEFAULT_BUS_LISTEN: &str = "127.0.0.1:1883";
/// Health, metrics and twins; loopback, since nobody has to log in there.
pub const DEFAULT_METRICS_LISTEN: &str = "127.0.0.1:10350";
/// MiB of records that may wait for the hub before old telemetry is dropped.
pub const DEFAULT_OUTBOX_MIB: u64 = 64;
/// Milliseconds that the first change of a group waits for others. At once: the
/// commit that is under way is the time in which a group gathers.
pub const DEFAULT_COMMIT_INTERVAL_MS: u64 = 0;
/// Longer, and clients would ask again before they are answered.
pub const LONGEST_COMMIT_INTERVAL_MS: u64 = 1_000;

/// The validated configuration.
#[derive(Debug, Clone)]
pub struct Config {
    node: NodeName,
    state_dir: PathBuf,
    mappers: Vec<MapperConfig>,
    mapper_dir: Option<PathBuf>,
    bus: BusMode,
    kubeedge_topics: KubeEdgeTopics,
    hub: Option<HubConfig>,
    manifests: Option<PathBuf>,
    metrics_listen: SocketAddr,
    store: StoreConfig,
    log: LogConfig,
}

/// How the store keeps things.
#[derive(Debug, Clone, Copy)]
pub struct StoreConfig {
    /// Bytes of records that may wait for the hub.
    pub outbox_budget: u64,
    /// How long the first change of a group waits for others, so that they share
    /// a commit.
    pub commit_interval: Duration,
}

#[cfg(test)]
impl StoreConfig {
    /// With so many bytes for the hub's records.
    pub(crate) fn with_outbox(bytes: u64) -> Self {
        Self {
            outbox_budget: bytes,
            ..Self::default()
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            outbox_budget: DEFAULT_OUTBOX_MIB * 1024 * 1024,
            commit_interval: Duration::from_millis(DEFAULT_COMMIT_INTERVAL_MS),
        }
    }
}

/// A mapper library to run.
#[derive(Debug, Clone)]
pub struct MapperConfig {
    /// Its name in logs and metrics.
    pub name: String,
    /// The library.
    pub file: PathBuf,
    /// In a process of its own (the default) or in this one.
    pub isolation: Isolation,
    /// The mapper's own configuration, a JSON object.
    pub config: serde_json::Map<String, serde_json::Value>,
}

/// How to reach the hub.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// `wss://host:port`.
    pub url: String,
    /// Host of `url`.
    pub host: String,
    /// Port of `url`.
    pub port: u16,
    /// Certificate of the hub's CA, PEM.
    pub ca_file: PathBuf,
    /// This node's certificate, PEM.
    pub cert_file: PathBuf,
    /// This node's key, PEM.
    pub key_file: PathBuf,
}

impl Config {
    /// Reads and validates a file.
    ///
    /// # Errors
    /// The file cannot be read, or is wrong: all that is wrong.
    pub fn load(file: &std::path::Path) -> Result<Self, ConfigError> {
        config::load(file, validate::config)
    }

    /// Validates a text. Relative paths in it are relative to `base`.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn parse(text: &str, base: &std::path::Path) -> Result<Self, Vec<ConfigFault>> {
        config::parse(text, base, validate::config)
    }

    /// The node's name in Kubernetes.
    pub fn node(&self) -> &NodeName {
        &self.node
    }
    /// Folder of everything that must survive.
    pub fn state_dir(&self) -> &std::path::Path {
        &self.state_dir
    }
    /// The mappers that the file lists.
    pub fn mappers(&self) -> &[MapperConfig] {
        &self.mappers
    }
    /// A folder in which every `lib*.so` is a mapper.
    pub fn mapper_dir(&self) -> Option<&std::path::Path> {
        self.mapper_dir.as_deref()
    }
    /// The bus.
    pub fn bus(&self) -> &BusMode {
        &self.bus
    }
    /// Whether KubeEdge's topics of changes are published.
    pub fn kubeedge_topics(&self) -> KubeEdgeTopics {
        self.kubeedge_topics
    }
    /// The hub; none for a node that works alone.
    pub fn hub(&self) -> Option<&HubConfig> {
        self.hub.as_ref()
    }
    /// Folder of local Device and DeviceModel manifests.
    pub fn manifests(&self) -> Option<&std::path::Path> {
        self.manifests.as_deref()
    }
    /// Where health, metrics and twins are served.
    pub fn metrics_listen(&self) -> SocketAddr {
        self.metrics_listen
    }
    /// How the store keeps things.
    pub fn store(&self) -> StoreConfig {
        self.store
    }
    /// How to write the log.
    pub fn log(&self) -> &LogConfig {
        &self.log
    }
}

#[cfg(test)]
mod tests;
