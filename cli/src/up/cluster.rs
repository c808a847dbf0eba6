//! The demo's devices in the Kubernetes API.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use kube::{
    Client, Config,
    api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value as Json, json};

/// How long the API may take to know the device resources after its start.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);

/// Connects with the kubeconfig that the hub wrote.
pub(super) async fn connect(kubeconfig: &Path) -> Result<Client> {
    let read = Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("failed to read {}", kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Creates what does not exist. What exists keeps what people changed, but for
/// the simulator's address, which may be another one in this run.
pub(super) async fn apply(client: &Client, manifests: &[String]) -> Result<()> {
    for manifest in manifests {
        for document in documents(manifest)? {
            apply_one(client, document).await?;
        }
    }
    Ok(())
}

fn documents(manifest: &str) -> Result<Vec<Json>> {
    Ok(serde_saphyr::from_multiple::<Json>(manifest)?
        .into_iter()
        .filter(|document| !document.is_null())
        .collect())
}

async fn apply_one(client: &Client, document: Json) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(document)?;
    let kind = object
        .types
        .as_ref()
        .map(|types| types.kind.clone())
        .unwrap_or_default();
    let name = object.metadata.name.clone().unwrap_or_default();
    let what = format!("{kind} {name}");
    let resource = resource(&kind);
    let namespace = object
        .metadata
        .namespace
        .clone()
        .unwrap_or_else(|| "default".to_owned());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let Some(url) = object.data.pointer("/spec/protocol/configData/url") else {
                    return Ok(());
                };
                let patch = json!({"spec": {"protocol": {"configData": {"url": url}}}});
                api.patch(&name, &PatchParams::default(), &Patch::Merge(patch))
                    .await
                    .with_context(|| format!("failed to update {what}"))?;
                return Ok(());
            }
            // The hub brings the resources at its start.
            Err(kube::Error::Api(status))
                if status.code == 404 && tokio::time::Instant::now() < deadline =>
            {
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error).with_context(|| format!("failed to create {what}")),
        }
    }
}

fn resource(kind: &str) -> ApiResource {
    ApiResource {
        group: "devices.kubeedge.io".to_owned(),
        version: "v1beta1".to_owned(),
        api_version: "devices.kubeedge.io/v1beta1".to_owned(),
        kind: kind.to_owned(),
        plural: format!("{}s", kind.to_lowercase()),
    }
}
