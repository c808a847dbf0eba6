//! The Kubernetes that the hub works on, always through one `kube::Client`.
//!
//! A kubeconfig or the environment of a pod names a cluster. Without either
//! the embedded API server is opened and reached in this process, through the
//! same client type. Nothing after [`connect`] knows the difference.

pub(crate) mod api;
pub(crate) mod crds;
mod embedded;
mod follow;
pub(crate) mod watch;

use std::path::PathBuf;

use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};

use longshore_process::Explain;

use crate::{config::ClusterConfig, identity::IdentityError};

pub(crate) use embedded::Embedded;

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The kubeconfig cannot be used.
    #[error("cannot use the kubeconfig `{path}`")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// The hub does not run in a pod, or the pod has no service account.
    #[error("cannot use the service account of this pod")]
    InCluster(#[source] Box<kube::config::InClusterError>),
    /// The client cannot be made.
    #[error("cannot make a client for Kubernetes")]
    Client(#[source] Box<kube::Error>),
    /// The embedded server cannot be opened.
    #[error("cannot open the embedded API server")]
    Embedded(#[source] longshore_apiserver::OpenError),
    /// No certificate for the embedded server.
    #[error("cannot secure the embedded API server")]
    Identity(#[from] IdentityError),
    /// A file cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The hub may not apply its CRDs.
    #[error("not allowed to {verb} the definition `{name}`")]
    CrdForbidden {
        /// What was tried.
        verb: &'static str,
        /// The definition.
        name: String,
        /// Cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// A definition is missing and the hub must not apply it.
    #[error("the definition `{name}` is missing")]
    CrdMissing {
        /// The definition.
        name: String,
    },
    /// A definition cannot be applied or read.
    #[error("cannot {verb} the definition `{name}`")]
    Crd {
        /// What was tried.
        verb: &'static str,
        /// The definition.
        name: String,
        /// Cause.
        #[source]
        source: Box<kube::Error>,
    },
    /// A definition is there but the API server does not serve it.
    #[error("the definition `{name}` was not established within {seconds} s")]
    CrdNotEstablished {
        /// The definition.
        name: String,
        /// How long it was waited.
        seconds: u64,
    },
}

impl Explain for ClusterError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::CrdForbidden { .. } => {
                "apply deploy/crds with an account that may, and set `kubernetes.manageCrds: false`"
            }
            Self::CrdMissing { .. } => "apply deploy/crds, or set `kubernetes.manageCrds: true`",
            Self::Identity(source) => return source.hint(),
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// A client of a cluster that is not the embedded one.
pub(crate) async fn connect(config: &ClusterConfig) -> Result<Option<Client>, ClusterError> {
    let config = match config {
        ClusterConfig::Embedded { .. } => return Ok(None),
        ClusterConfig::InCluster { .. } => {
            kube::Config::incluster().map_err(|source| ClusterError::InCluster(Box::new(source)))?
        }
        ClusterConfig::Kubeconfig { path, .. } => {
            let bad = |source| ClusterError::Kubeconfig {
                path: path.clone(),
                source: Box::new(source),
            };
            let kubeconfig = Kubeconfig::read_from(path).map_err(bad)?;
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .map_err(bad)?
        }
    };
    let client =
        Client::try_from(config).map_err(|source| ClusterError::Client(Box::new(source)))?;
    Ok(Some(client))
}
