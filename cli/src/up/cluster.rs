//! The demo's devices in the Kubernetes API.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use kube::{
    Client, Config,
    api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value as Json, json};

use super::ports::is_simulator;

/// How long the API may take to know the device resources after its start.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where `kubectl apply` keeps what it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const URL: &str = "/spec/protocol/configData/url";
const PAUSE: Duration = Duration::from_millis(50);

/// Connects with the kubeconfig that the hub wrote.
pub(super) async fn connect(kubeconfig: &Path) -> Result<Client> {
    let read = Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("failed to read {}", kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Creates what does not exist. What exists keeps what people changed; only
/// the address of a former run's simulator follows the simulator of this one.
pub(super) async fn apply(client: &Client, manifests: &[String]) -> Result<()> {
    for manifest in manifests {
        for document in documents(manifest)? {
            apply_one(client, document).await?;
        }
    }
    Ok(())
}

/// The document with the note that `kubectl apply` leaves, so that an apply of
/// the same file later merges and does not warn.
fn noted(mut document: Json) -> Json {
    document["metadata"]["annotations"] = json!({});
    let note = format!("{document}\n");
    document["metadata"]["annotations"] = json!({ LAST_APPLIED: note });
    document
}

fn documents(manifest: &str) -> Result<Vec<Json>> {
    Ok(serde_saphyr::from_multiple::<Json>(manifest)?
        .into_iter()
        .filter(|document| !document.is_null())
        .collect())
}

async fn apply_one(client: &Client, document: Json) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(noted(document))?;
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
                return follow(&api, &name, &object)
                    .await
                    .with_context(|| format!("failed to update {what}"));
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

/// Points an existing device at this run's simulator, if it hung on one before.
async fn follow(api: &Api<DynamicObject>, name: &str, wanted: &DynamicObject) -> Result<()> {
    if let Some(patch) = moved(&api.get(name).await?, wanted) {
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
    }
    Ok(())
}

/// The change of address; none where people have given the device another one.
fn moved(found: &DynamicObject, wanted: &DynamicObject) -> Option<Json> {
    let found = found.data.pointer(URL)?.as_str()?;
    let wanted = wanted.data.pointer(URL)?.as_str()?;
    (found != wanted && is_simulator(found))
        .then(|| json!({"spec": {"protocol": {"configData": {"url": wanted}}}}))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_created_carries_the_note_of_kubectl_apply() {
        let noted = noted(json!({"kind": "Device", "metadata": {"name": "a"}}));
        let note = noted["metadata"]["annotations"][LAST_APPLIED]
            .as_str()
            .unwrap();
        assert_eq!(
            serde_json::from_str::<Json>(note).unwrap(),
            json!({"kind": "Device", "metadata": {"name": "a", "annotations": {}}})
        );
    }

    #[test]
    fn an_address_that_people_gave_stays() {
        let at = |url: &str| -> DynamicObject {
            let spec = json!({"protocol": {"configData": {"url": url}}});
            serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap()
        };
        let moved = |found: &str| moved(&at(found), &at("tcp://127.0.0.1:5020"));
        assert_eq!(moved("tcp://10.0.0.5:502"), None);
        assert_eq!(moved("rtu:///dev/ttyUSB0"), None);
        assert_eq!(moved("tcp://127.0.0.1:5020"), None);
        let patch = moved("tcp://127.0.0.1:5022").unwrap();
        assert_eq!(patch.pointer(URL), Some(&json!("tcp://127.0.0.1:5020")));
    }
}
