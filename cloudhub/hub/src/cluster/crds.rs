//! The definitions of the device API: there before anything else begins.
//!
//! A definition that carries the hub's label is kept up to date. One that
//! somebody else applied (KubeEdge, or a person with other rights than the
//! hub) is used as it is.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use kube::{
    Client, ResourceExt,
    api::{DynamicObject, Patch},
    runtime::watcher::{self, Event, watcher},
};
use longshore_process::chain;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tracing::{info, warn};

use super::{ClusterError, api, follow::follow};
use crate::metrics::Metrics;

const LABEL: &str = "app.kubernetes.io/managed-by";
const OWNER: &str = "longshore";
const ESTABLISHED_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
/// Between two tries to put the definitions right.
const RETRY: Duration = Duration::from_secs(2);

/// Applies the definitions, if allowed, and waits until they are served.
pub(crate) async fn ensure(client: &Client, manage: bool) -> Result<(), ClusterError> {
    for crd in longshore_types::crd::all() {
        let mut object = crd.object;
        object["metadata"]["labels"][LABEL] = json!(OWNER);
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        ensure_one(client, &name, object, manage).await?;
    }
    Ok(())
}

/// Keeps the definitions as they are applied, for ever: one that somebody deletes comes
/// back as soon as it is gone, and one of ours that somebody changed is put right. Which
/// change woke it does not matter.
pub(crate) async fn keep(client: Client, metrics: Arc<Metrics>) {
    let ours: HashSet<String> = longshore_types::crd::all()
        .into_iter()
        .filter_map(|crd| Some(crd.object["metadata"]["name"].as_str()?.to_owned()))
        .collect();
    let changed = Notify::new();
    let watching = async {
        let definitions = api::all_metadata(&client, &api::definition());
        let stream = watcher(definitions, watcher::Config::default());
        follow("CustomResourceDefinition", stream, &metrics, |event| {
            let concerns = match &event {
                Event::Init | Event::InitApply(_) => false,
                Event::InitDone => true,
                Event::Apply(object) | Event::Delete(object) => ours.contains(&object.name_any()),
            };
            if concerns {
                changed.notify_one();
            }
        })
        .await;
    };
    let keeping = async {
        loop {
            changed.notified().await;
            while let Err(error) = ensure(&client, true).await {
                let error = chain(&error);
                warn!(
                    error,
                    "cannot keep the definitions of the device API, trying again"
                );
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    tokio::select! {
        () = watching => {}
        () = keeping => {}
    }
}

pub(super) async fn ensure_one(
    client: &Client,
    name: &str,
    object: Value,
    manage: bool,
) -> Result<(), ClusterError> {
    let api = api::all(client, &api::definition());
    let failed = |verb: &'static str| {
        let name = name.to_owned();
        move |source: kube::Error| {
            let (source, forbidden) = (Box::new(source), 403);
            if api::has_code(&source, forbidden) {
                ClusterError::CrdForbidden { verb, name, source }
            } else {
                ClusterError::Crd { verb, name, source }
            }
        }
    };
    let present = match api.get_opt(name).await {
        Ok(present) => present,
        // An account that may use the kinds may still not look at their
        // definitions; then the watches tell whether they are served.
        Err(error) if !manage && api::has_code(&error, 403) => return Ok(()),
        Err(error) => return Err(failed("read")(error)),
    };
    match present {
        None if !manage => {
            return Err(ClusterError::CrdMissing {
                name: name.to_owned(),
            });
        }
        None => {
            let object: DynamicObject = serde_json::from_value(object)
                .map_err(|source| failed("make")(kube::Error::SerdeError(source)))?;
            match api.create(&api::post(), &object).await {
                Ok(_) => info!(definition = name, "definition created"),
                Err(error) if api::has_code(&error, 409) => {}
                Err(error) => return Err(failed("create")(error)),
            }
        }
        Some(present) => {
            let labels = present.metadata.labels.unwrap_or_default();
            if manage && labels.get(LABEL).is_some_and(|owner| owner == OWNER) {
                let spec = json!({"spec": object["spec"]});
                api.patch(name, &api::patch(), &Patch::Merge(&spec))
                    .await
                    .map_err(failed("update"))?;
            }
        }
    }
    wait_established(&api, name)
        .await
        .map_err(|error| match error {
            Some(source) => failed("read")(source),
            None => ClusterError::CrdNotEstablished {
                name: name.to_owned(),
                seconds: ESTABLISHED_WITHIN.as_secs(),
            },
        })
}

async fn wait_established(
    api: &kube::Api<DynamicObject>,
    name: &str,
) -> Result<(), Option<kube::Error>> {
    let deadline = Instant::now() + ESTABLISHED_WITHIN;
    loop {
        let object = api.get(name).await.map_err(Some)?;
        let conditions = object.data["status"]["conditions"].as_array();
        let established = conditions.is_some_and(|list| {
            list.iter()
                .any(|c| c["type"] == "Established" && c["status"] == "True")
        });
        if established {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(None);
        }
        tokio::time::sleep(POLL).await;
    }
}
