//! Devices and models from files on the node itself, for nodes that work alone.
//!
//! The folder is looked at once a second; what changed is loaded and applied
//! to the store in one transaction, like the hub's objects, which win where
//! both name the same thing.
//!
//! While a file has a fault, nothing is deleted: a slip of the pen must not
//! take a device away. What loads is applied all the same.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use longshore_process::{Lost, tasks};
use longshore_types::{
    Device,
    manifest::{Loaded, Manifests, Reading},
};
use tokio::sync::watch;

use crate::store::{Apply, Change, ObjectKey, Source, StoreHandle};

/// How often the folder is looked at.
const POLL: Duration = Duration::from_secs(1);

/// Bytes of files that are read before what they hold goes to the store.
const PART: u64 = 256 << 10;

/// Name, size and time of each file: what tells that something changed.
type Fingerprint = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

/// Keeps the store in step with the folder, for ever. Without a folder, what a
/// former configuration left is taken away.
/// `faults` gets what is wrong in it.
pub async fn run(folder: Option<PathBuf>, store: StoreHandle, faults: watch::Sender<Vec<String>>) {
    let Some(folder) = folder else {
        let none = Apply {
            source: Source::Manifest,
            position: None,
            replace: true,
            changes: Vec::new(),
        };
        if let Err(error) = store.apply(none).await {
            tracing::warn!(%error, "objects of former manifests could not be taken away");
        }
        return std::future::pending().await;
    };
    let mut applied: Option<Fingerprint> = None;
    loop {
        let found = fingerprint(&folder);
        if applied.as_ref() != Some(&found) && apply(&folder, &store, &faults).await {
            applied = Some(found);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// True when it need not be tried again before something changes.
async fn apply(folder: &Path, store: &StoreHandle, faults: &watch::Sender<Vec<String>>) -> bool {
    // Ten thousand manifests take a moment, and others share this thread.
    let loaded = match read(folder, store).await {
        Ok(Ok(loaded)) => loaded,
        Ok(Err(error)) => {
            tracing::error!(folder = %folder.display(), %error, "manifests cannot be read; what was applied before stays");
            let _ = faults.send_replace(vec![format!("{}: {error}", folder.display())]);
            return true;
        }
        Err(error) => {
            tracing::error!(folder = %folder.display(), %error, "reading manifests failed; what was applied before stays");
            let _ = faults.send_replace(vec![format!("{}: {error}", folder.display())]);
            return true;
        }
    };
    for fault in &loaded.faults {
        tracing::warn!(%fault, "fault in a manifest");
    }
    let errors: Vec<String> = loaded.errors().map(ToString::to_string).collect();
    let faulty = !errors.is_empty();
    let _ = faults.send_replace(errors);
    let changes = changes(&loaded, (0, 0), false);
    let count = changes.len();
    match store
        .apply(Apply {
            source: Source::Manifest,
            position: None,
            replace: !faulty,
            changes,
        })
        .await
    {
        Ok(()) => {
            tracing::info!(folder = %folder.display(), objects = count, faulty, "manifests applied");
            true
        }
        Err(error) => {
            tracing::error!(folder = %folder.display(), %error, "manifests could not be stored; tried again");
            false
        }
    }
}

/// Reads the folder. What of it is read while more comes is in the store already:
/// a hundred thousand properties take a moment, and the first need not wait for
/// the last.
async fn read(folder: &Path, store: &StoreHandle) -> Result<io::Result<Manifests>, Lost> {
    let path = folder.to_owned();
    let mut reading = match tasks::blocking("manifests", move || Reading::begin(&path)).await? {
        Ok(reading) => reading,
        Err(error) => return Ok(Err(error)),
    };
    let mut told = (0, 0);
    loop {
        let (back, more) = tasks::blocking("manifests", move || {
            let more = reading.go_on(PART);
            (reading, more)
        })
        .await?;
        if !more {
            return Ok(Ok(back.end()));
        }
        let so_far = back.so_far();
        let part = Apply {
            source: Source::Manifest,
            position: None,
            replace: false,
            changes: changes(so_far, told, true),
        };
        told = (so_far.models.len(), so_far.devices.len());
        // All of it comes again at the end, whatever became of this.
        if let Err(error) = store.apply(part).await {
            tracing::debug!(%error, "a part of the manifests could not be stored");
        }
        reading = back;
    }
}

/// The objects, but for so many models and devices at the beginning; `served` leaves
/// out devices whose model was not read yet.
fn changes(loaded: &Manifests, (models, devices): (usize, usize), served: bool) -> Vec<Change> {
    let known: HashSet<(&str, &str)> = loaded
        .models
        .iter()
        .map(|model| &model.object.metadata)
        .map(|metadata| (&*metadata.namespace, &*metadata.name))
        .collect();
    let is_served = |device: &&Loaded<Device>| {
        let model = device.object.spec.device_model_ref.as_ref();
        let namespace = &*device.object.metadata.namespace;
        model.is_some_and(|model| known.contains(&(namespace, &*model.name)))
    };
    let models = loaded.models.iter().skip(models).map(|model| {
        let metadata = &model.object.metadata;
        put(
            "DeviceModel",
            &metadata.namespace,
            &metadata.name,
            &model.object,
        )
    });
    let devices = loaded.devices.iter().skip(devices);
    let devices = devices.filter(|device| !served || is_served(device));
    let devices = devices.map(|device| {
        let metadata = &device.object.metadata;
        put(
            "Device",
            &metadata.namespace,
            &metadata.name,
            &device.object,
        )
    });
    models.chain(devices).collect()
}

fn put(kind: &str, namespace: &str, name: &str, object: &impl serde::Serialize) -> Change {
    Change::Put {
        key: ObjectKey {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        },
        uid: String::new(),
        resource_version: String::new(),
        // Objects that were read from text have a JSON form.
        json: serde_json::to_string(object).unwrap_or_default(),
    }
}

fn fingerprint(folder: &Path) -> Fingerprint {
    let mut found = Fingerprint::new();
    let mut note = |path: PathBuf| {
        if let Ok(metadata) = path.metadata() {
            found.insert(path, (metadata.len(), metadata.modified().ok()));
        }
    };
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.flatten().for_each(|entry| note(entry.path())),
        Err(_) => note(folder.to_owned()),
    }
    found
}

#[cfg(test)]
mod tests;
