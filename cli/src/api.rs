//! Talking to the Kubernetes API.

use std::{
    future::Future,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use kube::{
    Client, Config,
    api::{Api, ApiResource, DynamicObject},
    config::{KubeConfigOptions, Kubeconfig},
};
use longshore_types::{
    Device, DeviceModel, DeviceStatus,
    device::{API_VERSION, GROUP, VERSION},
};
use serde::de::DeserializeOwned;

use crate::{home::Home, output::advised, view::DeviceView};

/// How long the API may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which API server, and where in it.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ApiArgs {
    /// Kubeconfig [default: $KUBECONFIG, then .longshore/kubeconfig here or above, then ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Namespace [default: that of the context]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

/// A client and the namespace that is meant.
#[derive(Clone)]
pub(crate) struct Connection {
    client: Client,
    namespace: String,
    server: String,
}

/// A kind of the device API.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Device,
    Model,
    Status,
}

impl Connection {
    /// Connects as the arguments say. Nothing is sent yet.
    pub(crate) async fn open(args: &ApiArgs) -> Result<Self> {
        let options = KubeConfigOptions {
            context: args.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match find_kubeconfig(args) {
            Some(file) => Config::from_custom_kubeconfig(read(&file)?, &options)
                .await
                .with_context(|| format!("failed to use kubeconfig {}", file.display()))?,
            None => Config::from_kubeconfig(&options).await.map_err(|error| {
                advised(
                    format!("no Kubernetes API to talk to: {error}"),
                    "start the demo with `make up`, or name a kubeconfig with --kubeconfig or KUBECONFIG",
                )
            })?,
        };
        let namespace = args
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config).context("failed to set up the Kubernetes client")?;
        Ok(Self {
            client,
            namespace,
            server,
        })
    }

    /// The namespace that is meant.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Objects of one kind in the namespace.
    pub(crate) fn objects(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.resource())
    }

    /// Objects of one kind in all namespaces.
    pub(crate) fn all_objects(&self, kind: Kind) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &kind.resource())
    }

    /// Sends a request and waits for the answer, but not for ever.
    pub(crate) async fn in_time<T>(
        &self,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<kube::Result<T>> {
        within(PATIENCE, &self.server, request).await
    }

    /// The same, with errors told.
    pub(crate) async fn ask<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T> {
        self.in_time(request)
            .await?
            .map_err(|error| self.reached(error))
    }

    /// A device, or an error that says where it was looked for.
    pub(crate) async fn device(&self, name: &str) -> Result<DynamicObject> {
        match self.ask(self.objects(Kind::Device).get_opt(name)).await? {
            Some(object) => Ok(object),
            None => Err(advised(
                format!(
                    "device `{name}` not found in namespace `{}`",
                    self.namespace
                ),
                "longshore get devices -A",
            )),
        }
    }

    /// Sends a JSON patch of a device: all of it is done, or nothing.
    pub(crate) async fn patch_device(
        &self,
        name: &str,
        patch: &[serde_json::Value],
    ) -> kube::Result<()> {
        let url = format!(
            "/apis/{API_VERSION}/namespaces/{}/devices/{name}",
            self.namespace
        );
        let body = serde_json::to_vec(patch).map_err(kube::Error::SerdeError)?;
        let request = http::Request::patch(url)
            .header("content-type", "application/json-patch+json")
            .body(body)
            .map_err(kube::Error::HttpError)?;
        self.client
            .request::<DynamicObject>(request)
            .await
            .map(drop)
    }

    /// A device's model, if it is there.
    pub(crate) async fn model(&self, device: &Device) -> Result<Option<DeviceModel>> {
        let name = device.model_name();
        if name.is_empty() {
            return Ok(None);
        }
        self.ask(self.objects(Kind::Model).get_opt(name))
            .await?
            .map(typed)
            .transpose()
    }

    /// All that is known of a device.
    pub(crate) async fn view(&self, name: &str) -> Result<DeviceView> {
        let device: Device = typed(self.device(name).await?)?;
        let model = self.model(&device).await?;
        let status: Option<DeviceStatus> = self
            .ask(self.objects(Kind::Status).get_opt(name))
            .await?
            .map(typed)
            .transpose()?;
        Ok(DeviceView {
            device,
            model,
            status,
        })
    }

    /// An error of a request, with what to do about the frequent ones.
    pub(crate) fn reached(&self, error: kube::Error) -> anyhow::Error {
        match &error {
            kube::Error::Api(status) if status.code == 404 => advised(
                format!(
                    "the API server does not know the device API: {}",
                    status.message
                ),
                "is a hub connected to this cluster? `longshore status` shows what runs",
            ),
            kube::Error::Api(status) => advised(
                status.message.clone(),
                match status.code {
                    401 | 403 => "the kubeconfig's user may not do this",
                    _ => "the API server has refused; the message says why",
                },
            ),
            _ => {
                let error = anyhow::Error::from(error);
                advised(
                    format!(
                        "cannot reach the Kubernetes API at {}: {}",
                        self.server,
                        last(&error)
                    ),
                    "is it running? `longshore status` shows what runs, `make up` starts the demo",
                )
            }
        }
    }
}

impl Kind {
    /// The resource of the API.
    pub(crate) fn resource(self) -> ApiResource {
        let (kind, plural) = match self {
            Self::Device => ("Device", "devices"),
            Self::Model => ("DeviceModel", "devicemodels"),
            Self::Status => ("DeviceStatus", "devicestatuses"),
        };
        ApiResource {
            group: GROUP.into(),
            version: VERSION.into(),
            api_version: API_VERSION.into(),
            kind: kind.into(),
            plural: plural.into(),
        }
    }
}

/// An object of the API as our type.
pub(crate) fn typed<T: DeserializeOwned>(object: DynamicObject) -> Result<T> {
    let name = object.metadata.name.clone().unwrap_or_default();
    let json = serde_json::to_value(object)?;
    serde_json::from_value(json)
        .with_context(|| format!("failed to read object `{name}` of the API"))
}

async fn within<T>(
    patience: Duration,
    server: &str,
    request: impl Future<Output = T>,
) -> Result<T> {
    tokio::time::timeout(patience, request).await.map_err(|_| {
        advised(
            format!(
                "the Kubernetes API at {server} did not answer within {} s",
                patience.as_secs()
            ),
            "it hangs, or something on the way to it does; `longshore status` shows what runs here",
        )
    })
}

/// The innermost cause, which names the address or the fault of the certificate.
fn last(error: &anyhow::Error) -> String {
    error
        .chain()
        .last()
        .map(ToString::to_string)
        .unwrap_or_default()
}

fn find_kubeconfig(args: &ApiArgs) -> Option<PathBuf> {
    if args.kubeconfig.is_some() {
        return args.kubeconfig.clone();
    }
    if std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty()) {
        // kube reads it by itself: it may hold several files.
        return None;
    }
    Home::find()
        .map(|home| home.kubeconfig())
        .filter(|file| file.is_file())
}

fn read(file: &Path) -> Result<Kubeconfig> {
    Kubeconfig::read_from(file)
        .with_context(|| format!("failed to read kubeconfig {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_hangs_is_given_up() {
        let hanging = std::future::pending::<()>();
        let error = within(Duration::ZERO, "https://a:6443", hanging)
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the Kubernetes API at https://a:6443 did not answer within 0 s"
        );
    }
}
