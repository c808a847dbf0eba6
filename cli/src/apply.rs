//! `longshore apply`: devices and models out of files into the API, for whoever
//! has no kubectl.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kube::{
    Client,
    api::{Api, DynamicObject, Patch, PatchParams},
};
use longshore_types::Manifests;
use serde_json::Value as Json;

use crate::{
    api::{ApiArgs, Connection, Kind},
    output::say,
};

/// Who owns what is applied, towards the API.
const MANAGER: &str = "longshore";

/// Arguments of `longshore apply`.
#[derive(Debug, clap::Args)]
pub struct ApplyArgs {
    /// Manifests of devices and models (YAML or JSON), or folders of them
    #[arg(short, long = "filename", required = true, value_name = "FILE")]
    filename: Vec<PathBuf>,
    #[command(flatten)]
    api: ApiArgs,
}

/// Runs the command.
pub(crate) async fn run(args: ApplyArgs) -> Result<bool> {
    let objects = read(&args.filename)?;
    let connection = Connection::open(&args.api).await?;
    for (kind, object) in objects {
        let told = connection
            .ask(one(
                connection.client(),
                kind,
                connection.namespace(),
                object,
            ))
            .await?;
        say(&format!("{told}\n"));
    }
    Ok(true)
}

/// The objects of some files, models first; any fault is told and nothing is sent.
pub(crate) fn read(files: &[PathBuf]) -> Result<Vec<(Kind, Json)>> {
    let manifests = Manifests::load_all(files).map_err(|(file, error)| {
        anyhow::Error::from(error).context(format!("failed to read {}", file.display()))
    })?;
    let faults: Vec<String> = manifests.errors().map(ToString::to_string).collect();
    if !faults.is_empty() {
        bail!("{}", faults.join("\nerror: "));
    }
    let mut objects = Vec::new();
    for model in &manifests.models {
        objects.push((Kind::Model, serde_json::to_value(&model.object)?));
    }
    for device in &manifests.devices {
        objects.push((Kind::Device, serde_json::to_value(&device.object)?));
    }
    if objects.is_empty() {
        let names: Vec<_> = files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        bail!(
            "there is no Device and no DeviceModel in {}",
            names.join(", ")
        );
    }
    Ok(objects)
}

/// Brings one object into the API; what became of it, in words.
pub(crate) async fn one(
    client: &Client,
    kind: Kind,
    namespace: &str,
    mut object: Json,
) -> kube::Result<String> {
    let resource = kind.resource();
    let name = object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let namespace = object["metadata"]["namespace"]
        .as_str()
        .unwrap_or(namespace)
        .to_owned();
    object["apiVersion"] = resource.api_version.clone().into();
    object["kind"] = resource.kind.clone().into();
    if let Some(object) = object.as_object_mut() {
        // What the edge and the server write is theirs.
        object.shift_remove("status");
        if let Some(metadata) = object.get_mut("metadata").and_then(Json::as_object_mut) {
            for key in [
                "managedFields",
                "resourceVersion",
                "uid",
                "creationTimestamp",
                "generation",
            ] {
                metadata.shift_remove(key);
            }
        }
    }
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
    let before = api.get_opt(&name).await?;
    let parameters = PatchParams::apply(MANAGER).force();
    let after = api
        .patch(&name, &parameters, &Patch::Apply(&object))
        .await?;
    let what = match before {
        None => "created",
        Some(before) if before.metadata.resource_version == after.metadata.resource_version => {
            "unchanged"
        }
        Some(_) => "configured",
    };
    Ok(format!("{} {namespace}/{name} {what}", resource.kind))
}

/// As [`run`], of one file, for who follows a folder.
pub(crate) async fn file(client: &Client, file: &Path) -> Result<Vec<String>> {
    let mut told = Vec::new();
    for (kind, object) in read(&[file.to_owned()])? {
        let done = one(client, kind, "default", object).await;
        told.push(done.with_context(|| format!("failed to apply {}", file.display()))?);
    }
    Ok(told)
}
