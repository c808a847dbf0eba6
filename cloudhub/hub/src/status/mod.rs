//! Writes DeviceStatus: what the edges report, at a rate that etcd can bear.
//!
//! Level-triggered: a device is marked, and when it is due its status is
//! computed from what is known then. Reports that came in between cost
//! nothing. What is computed here can always be computed again from the hub's
//! database, so a status that was deleted comes back, and a hub that was
//! killed writes what it had acknowledged.

mod document;
mod judge;
mod pace;

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch},
};
use longshore_link::{Reported, fingerprint};
use longshore_types::DeviceName;
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
};
use tracing::{debug, warn};

use crate::{
    cluster::api::{self, has_code},
    config::StatusConfig,
    kinds::{Object, device_key},
    state::{Hub, Known, lock},
    store::StoreError,
};
use pace::{Next, Pace};

/// A request that takes longer is given up and made again.
const PATIENCE: Duration = Duration::from_secs(30);

/// The devices whose status must be looked at.
#[derive(Debug)]
pub(crate) struct StatusQueue {
    config: StatusConfig,
    inner: Mutex<Inner>,
    wake: Notify,
}

#[derive(Debug)]
struct Inner {
    pace: Pace,
    existing: HashSet<DeviceName>,
    /// What was written last, to leave out what would change nothing.
    written: HashMap<DeviceName, Written>,
}

/// A write of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Written {
    /// Hash of the content.
    hash: u64,
    /// The resource version that it became. A later one is somebody else's.
    version: u64,
}

impl StatusQueue {
    pub(crate) fn new(config: StatusConfig) -> Self {
        let inner = Inner {
            pace: Pace::new(config.interval),
            existing: HashSet::new(),
            written: HashMap::new(),
        };
        Self {
            config,
            inner: Mutex::new(inner),
            wake: Notify::new(),
        }
    }

    /// These devices' status may have to change.
    pub(crate) fn mark(&self, devices: impl IntoIterator<Item = DeviceName>) {
        let now = Instant::now();
        let mut inner = lock(&self.inner);
        for device in devices {
            inner.pace.mark(device, now);
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// Number of devices that wait.
    pub(crate) fn pending(&self) -> usize {
        lock(&self.inner).pace.pending()
    }

    /// These are all DeviceStatuses that there are.
    pub(crate) fn existing(&self, names: HashSet<DeviceName>) {
        let mut inner = lock(&self.inner);
        let vanished: Vec<_> = inner.existing.difference(&names).cloned().collect();
        let news: Vec<_> = names.difference(&inner.existing).cloned().collect();
        for device in &vanished {
            inner.written.remove(device);
        }
        inner.existing = names;
        drop(inner);
        self.mark(vanished.into_iter().chain(news));
    }

    /// There is a DeviceStatus, of this resource version. If it is later than
    /// our last write, somebody else wrote: ours is written again.
    pub(crate) fn appeared(&self, device: Option<DeviceName>, version: u64) {
        let Some(device) = device else { return };
        let mut inner = lock(&self.inner);
        inner.existing.insert(device.clone());
        let foreign = inner
            .written
            .get(&device)
            .is_some_and(|written| version > written.version);
        if foreign {
            inner.written.remove(&device);
            drop(inner);
            self.mark([device]);
        }
    }

    pub(crate) fn vanished(&self, device: Option<DeviceName>) {
        if let Some(device) = device {
            let mut inner = lock(&self.inner);
            inner.existing.remove(&device);
            inner.written.remove(&device);
            drop(inner);
            self.mark([device]);
        }
    }

    fn next(&self) -> Next {
        lock(&self.inner).pace.next(Instant::now())
    }

    fn exists(&self, device: &DeviceName) -> bool {
        lock(&self.inner).existing.contains(device)
    }

    fn is_written(&self, device: &DeviceName, hash: u64) -> bool {
        let inner = lock(&self.inner);
        inner
            .written
            .get(device)
            .is_some_and(|written| written.hash == hash)
    }

    fn done(&self, device: DeviceName, outcome: &Outcome) {
        let now = Instant::now();
        let mut inner = lock(&self.inner);
        match outcome {
            Outcome::Written(written) => {
                inner.written.insert(device.clone(), *written);
                inner.existing.insert(device.clone());
                inner.pace.done(device, now);
            }
            Outcome::Unchanged => inner.pace.done(device, now),
            Outcome::Gone => {
                inner.written.remove(&device);
                inner.existing.remove(&device);
                inner.pace.gone(device, now);
            }
            Outcome::Failed => {
                inner.written.remove(&device);
                inner.pace.failed(device, now);
            }
        }
        drop(inner);
        self.wake.notify_one();
    }
}

/// Why a status could not be written. All are tried again.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("the API server refuses")]
    Api(#[from] kube::Error),
    #[error("the hub's database refuses")]
    Store(#[from] StoreError),
    #[error("the API server did not answer within {} s", PATIENCE.as_secs())]
    Timeout,
}

enum Outcome {
    Written(Written),
    Unchanged,
    Gone,
    Failed,
}

/// Runs until it is told to stop, and then ends what is under way.
pub(crate) async fn run(client: Client, hub: Arc<Hub>, mut stop: watch::Receiver<bool>) {
    let mut known = hub.known();
    tokio::select! {
        _ = known.wait_for(Known::all) => {}
        _ = stop.wait_for(|stop| *stop) => return,
    }
    let permits = Arc::new(Semaphore::new(hub.status.config.concurrency));
    let mut writes = JoinSet::new();
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&permits).acquire_owned() => permit,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        // Finished tasks are let go, so that the set stays as small as the permits.
        while writes.try_join_next().is_some() {}
        let wait_until = match hub.status.next() {
            Next::Ready(device) => {
                let (client, hub) = (client.clone(), Arc::clone(&hub));
                writes.spawn(async move {
                    let outcome = reconcile(&client, &hub, &device).await;
                    hub.status.done(device, &outcome);
                    drop(permit);
                });
                continue;
            }
            Next::At(at) => Some(at),
            Next::Idle => None,
        };
        tokio::select! {
            () = hub.status.wake.notified() => {}
            () = sleep_until(wait_until) => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    while writes.join_next().await.is_some() {}
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn reconcile(client: &Client, hub: &Hub, device: &DeviceName) -> Outcome {
    let (entry, model) = {
        let catalog = hub.catalog();
        let entry = catalog.get(&device_key(device)).cloned();
        let model = entry
            .as_ref()
            .and_then(|entry| catalog.get(entry.needs.first()?))
            .map(|model| model.content.json.clone());
        (entry, model)
    };
    let work = async {
        match &entry {
            Some(entry) => write(client, hub, device, entry, model.as_ref()).await,
            None => remove(client, hub, device).await,
        }
    };
    let outcome = tokio::time::timeout(PATIENCE, work)
        .await
        .unwrap_or(Err(WriteError::Timeout));
    outcome.unwrap_or_else(|error| {
        hub.metrics.status_errors.increment();
        let error = crate::error_chain(&error);
        warn!(device = %device, error, "status could not be written, trying again");
        Outcome::Failed
    })
}

async fn write(
    client: &Client,
    hub: &Hub,
    device: &DeviceName,
    entry: &Object,
    model: Option<&Bytes>,
) -> Result<Outcome, WriteError> {
    let report = hub.report_of(device, &entry.content.uid, &entry.node);
    let presence = hub.nodes.presence(&entry.node);
    let judged = judge_for(hub, device, entry, model, report.as_ref());
    let of_hub = judged.is_some();
    let known = document::Known {
        entry,
        report: report.as_ref(),
        presence,
        has_model: model.is_some(),
        judged,
    };
    let mut status = document::status(known);
    let exists = hub.status.exists(device);
    let mut hasher = DefaultHasher::new();
    (status.to_string(), &entry.content.uid).hash(&mut hasher);
    let hash = hasher.finish();
    if exists && hub.status.is_written(device, hash) {
        hub.metrics.status_unchanged.increment();
        return Ok(Outcome::Unchanged);
    }
    let api = api::within(client, device.namespace(), &api::device_status());
    if exists && report.is_none() && belongs_to(&api, device, entry).await? {
        // The hub's database is new, the edge will report what changes: what
        // was known before is better than nothing.
        document::keep_what_was_reported(&mut status, of_hub);
    }
    hub.metrics.status_writes.increment();
    let version = put(&api, device, exists, document::owner(device, entry), status).await?;
    Ok(Outcome::Written(Written { hash, version }))
}

/// What the hub finds in a device of which the edge did not speak since it
/// changed: the node is away, or just about to.
fn judge_for(
    hub: &Hub,
    device: &DeviceName,
    entry: &Object,
    model: Option<&Bytes>,
    report: Option<&Reported>,
) -> Option<judge::Judgement> {
    let now = fingerprint(
        &entry.content.json,
        &entry.content.uid,
        model.map(AsRef::as_ref),
    );
    // An edge of before does not tell what it saw: its word counts.
    if report.is_some_and(|report| report.fingerprint == now || report.fingerprint == 0) {
        return None;
    }
    let schema = |protocol: &str| hub.schema_of(&entry.node, protocol);
    judge::judge(device, &entry.content.json, model?, schema)
}

/// Patches or creates, whichever it takes; gives the resource version that came of it.
async fn put(
    api: &Api<DynamicObject>,
    device: &DeviceName,
    mut exists: bool,
    owner: Value,
    status: Value,
) -> Result<u64, kube::Error> {
    let patch = json!({"metadata": {"ownerReferences": [owner]}, "status": status});
    let patch = Patch::Merge(&patch);
    let mut object = DynamicObject::new(device.name(), &api::device_status())
        .within(device.namespace())
        .data(json!({"status": document::for_creation(status.clone())}));
    object.metadata.owner_references = serde_json::from_value(json!([owner])).ok();
    let mut tries = 2;
    loop {
        let outcome = if exists {
            api.patch(device.name(), &api::patch(), &patch).await
        } else {
            api.create(&api::post(), &object).await
        };
        tries -= 1;
        match outcome {
            Ok(object) => return Ok(version_of(object.metadata.resource_version.as_deref())),
            // The watch is a little behind.
            Err(error) if tries > 0 && exists && has_code(&error, 404) => exists = false,
            Err(error) if tries > 0 && !exists && has_code(&error, 409) => exists = true,
            Err(error) => return Err(error),
        }
    }
}

/// A resource version as a number, which it is on every API server that
/// Kubernetes has; 0 elsewhere, and then foreign writes go unnoticed.
pub(crate) fn version_of(version: Option<&str>) -> u64 {
    version
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

/// Whether a DeviceStatus is of this very device, not of a former one of the name.
async fn belongs_to(
    api: &Api<DynamicObject>,
    device: &DeviceName,
    entry: &Object,
) -> Result<bool, kube::Error> {
    let present = api.get_metadata_opt(device.name()).await?;
    let owners = present.and_then(|present| present.metadata.owner_references);
    Ok(owners.is_some_and(|owners| owners.iter().any(|owner| owner.uid == entry.content.uid)))
}

/// The device is gone: so is what was known of it. The garbage collector would
/// take the DeviceStatus as well, where there is one.
async fn remove(client: &Client, hub: &Hub, device: &DeviceName) -> Result<Outcome, WriteError> {
    if hub.forget(device) {
        debug!(device = %device, "device is gone, its state is forgotten");
        hub.store.forget(device.clone()).await?;
    }
    if hub.status.exists(device) {
        let api = api::within(client, device.namespace(), &api::device_status());
        match api.delete(device.name(), &DeleteParams::default()).await {
            Ok(_) => {}
            Err(error) if has_code(&error, 404) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Outcome::Gone)
}
