//! Writes DeviceStatus: what the edges report, at a rate that etcd can bear.
//!
//! Level-triggered: a device is marked, and when it is due its status is
//! computed from what is known then. Reports that came in between cost
//! nothing. What is computed here can always be computed again from the hub's
//! database, so a status that was deleted comes back, and a hub that was
//! killed writes what it had acknowledged.

mod change;
mod document;
mod judge;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch},
};
use longshore_link::{Content, fingerprint};
use longshore_process::{Group, Stop, chain};
use longshore_types::{DeviceName, report::DeviceReport};
use serde_json::{Value, json};
use tracing::{debug, warn};

use crate::{
    cluster::api::{self, has_code, version_of},
    kinds::{Object, device_key},
    metrics::Metrics,
    store::{Store, StoreError},
    tables::{
        catalog::Catalog,
        listed::{Listed, Progress},
        lock,
        nodes::Nodes,
        reports::Reports,
        schemas::Schemas,
        statuses::{Outcome, Statuses, Step, Written},
    },
};

/// A status in which only the times of reading are others is written so often: they
/// say that the device is read, and a write of each would be one for each device and
/// report, though nothing happens.
const TIMES_EVERY: Duration = Duration::from_secs(30);

/// A request that takes longer is given up and made again.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// Writes DeviceStatus, with the tables that it is made of.
pub(crate) struct StatusWriter {
    pub(crate) client: Client,
    pub(crate) catalog: Arc<Mutex<Catalog>>,
    pub(crate) listed: Arc<Listed>,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) reports: Arc<Reports>,
    pub(crate) schemas: Arc<Schemas>,
    pub(crate) statuses: Arc<Statuses>,
    pub(crate) store: Store,
    pub(crate) metrics: Arc<Metrics>,
    /// So many writes at once.
    pub(crate) concurrency: usize,
}

impl StatusWriter {
    /// Runs until it is told to stop, and then ends what is under way.
    pub(crate) async fn run(self, mut stop: Stop) {
        tokio::select! {
            () = self.listed.wait(Progress::is_whole) => {}
            () = stop.asked() => return,
        }
        let mut writes = Group::new("write of a DeviceStatus", self.concurrency);
        let this = Arc::new(self);
        loop {
            let wait_until = if writes.is_full() {
                None
            } else {
                match this.statuses.next() {
                    Step::Look(attempt) => {
                        let this = Arc::clone(&this);
                        writes.spawn(async move {
                            let outcome = this.look(&attempt.device).await;
                            attempt.finish(outcome);
                        });
                        continue;
                    }
                    Step::Wait(until) => until,
                }
            };
            tokio::select! {
                () = writes.reap() => {}
                () = this.statuses.marked() => {}
                () = sleep_until(wait_until) => {}
                () = stop.asked() => break,
            }
        }
        writes.finish().await;
    }

    async fn look(&self, device: &DeviceName) -> Outcome {
        let (entry, model) = {
            let catalog = lock(&self.catalog);
            let entry = catalog.get(&device_key(device)).cloned();
            let model = entry
                .as_ref()
                .and_then(|entry| catalog.get(entry.needs.first()?))
                .map(|model| model.content.json.clone());
            (entry, model)
        };
        let work = async {
            match &entry {
                Some(entry) => self.write(device, entry, model.as_ref()).await,
                None => self.remove(device).await,
            }
        };
        let outcome = tokio::time::timeout(PATIENCE, work)
            .await
            .unwrap_or(Err(WriteError::Timeout));
        outcome.unwrap_or_else(|error| {
            self.metrics.status_errors.increment();
            let error = chain(&error);
            warn!(device = %device, error, "status could not be written, trying again");
            Outcome::Failed
        })
    }

    async fn write(
        &self,
        device: &DeviceName,
        entry: &Object,
        model: Option<&Bytes>,
    ) -> Result<Outcome, WriteError> {
        let report = self.reports.find(device, &entry.content.uid, &entry.node);
        let judged = self.judge(device, entry, model, report.as_ref());
        let of_hub = judged.is_some();
        let mut status = document::status(document::Known {
            entry,
            report: report.as_ref(),
            presence: self.nodes.presence(&entry.node),
            has_model: model.is_some(),
            model_bytes: model.map_or(0, Bytes::len),
            refused: self.reports.refused(device),
            judged,
        });
        document::fit(&mut status);
        let exists = self.statuses.exists(device);
        let content = change::prints(&status);
        let written = self.statuses.written(device).filter(|_| exists);
        // Another device of the name is another owner: all is written.
        let written = written.filter(|written| written.uid == entry.content.uid);
        if written.as_ref().is_some_and(|written| {
            written.content.parts == content.parts
                || (written.content.still == content.still && written.at.elapsed() < TIMES_EVERY)
        }) {
            self.metrics.status_unchanged.increment();
            return Ok(Outcome::Unchanged(content.bytes));
        }
        let api = self.api_for(device);
        if exists && report.is_none() && belongs_to(&api, device, entry).await? {
            // The hub's database is new, the edge will report what changes: what
            // was known before is better than nothing.
            document::keep_what_was_reported(&mut status, of_hub);
        }
        self.metrics.status_writes.increment();
        let whole = Whole {
            owner: document::owner(device, entry),
            status,
        };
        let changed = written.map(|written| {
            let status = change::changed(&whole.status, &written.content, &content);
            let version = written.version.to_string();
            json!({"metadata": {"resourceVersion": version}, "status": status})
        });
        let version = put(&api, device, exists, changed, whole).await?;
        Ok(Outcome::Written(Written {
            content,
            uid: entry.content.uid.clone(),
            version,
            at: Instant::now(),
        }))
    }

    /// What the hub finds in a device of which the edge did not speak since it
    /// changed: the node is away, or just about to.
    fn judge(
        &self,
        device: &DeviceName,
        entry: &Object,
        model: Option<&Bytes>,
        report: Option<&DeviceReport>,
    ) -> Option<judge::Judgement> {
        let Content { uid, json, .. } = &entry.content;
        let now = fingerprint(json, uid, model.map(AsRef::as_ref));
        // An edge of before does not tell what it saw: its word counts.
        if report.is_some_and(|report| report.fingerprint == now || report.fingerprint == 0) {
            return None;
        }
        let schema = |protocol: &str| {
            let of_node = self.nodes.schema_of(&entry.node, protocol)?;
            self.schemas.find(protocol, of_node)
        };
        judge::judge(device, json, model?, schema)
    }

    /// The device is gone: so is what was known of it. The garbage collector would
    /// take the DeviceStatus as well, where there is one.
    async fn remove(&self, device: &DeviceName) -> Result<Outcome, WriteError> {
        if self.reports.forget(device) {
            debug!(device = %device, "device is gone, its state is forgotten");
            self.store.forget(device.clone()).await?;
        }
        if self.statuses.exists(device) {
            let api = self.api_for(device);
            match api.delete(device.name(), &DeleteParams::default()).await {
                Ok(_) => {}
                Err(error) if has_code(&error, 404) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Outcome::Gone)
    }

    fn api_for(&self, device: &DeviceName) -> Api<DynamicObject> {
        api::within(&self.client, device.namespace(), &api::device_status())
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// All that a DeviceStatus says.
struct Whole {
    owner: Value,
    status: Value,
}

/// Patches or creates, whichever it takes; gives the resource version that came of
/// it. `changed` is the patch for one that is as it was written last, by its resource
/// version.
async fn put(
    api: &Api<DynamicObject>,
    device: &DeviceName,
    mut exists: bool,
    mut changed: Option<Value>,
    Whole { owner, status }: Whole,
) -> Result<u64, kube::Error> {
    let mut tries = 3;
    loop {
        let outcome = match (exists, &changed) {
            (true, Some(changed)) => {
                let patch = Patch::Merge(changed);
                api.patch(device.name(), &api::patch(), &patch).await
            }
            (true, None) => {
                let patch = json!({"metadata": {"ownerReferences": [owner]}, "status": status});
                let patch = Patch::Merge(&patch);
                api.patch(device.name(), &api::patch(), &patch).await
            }
            (false, _) => {
                let status = document::for_creation(status.clone());
                let mut object = DynamicObject::new(device.name(), &api::device_status())
                    .within(device.namespace())
                    .data(json!({"status": status}));
                object.metadata.owner_references = serde_json::from_value(json!([owner])).ok();
                api.create(&api::post(), &object).await
            }
        };
        tries -= 1;
        match outcome {
            Ok(object) => return Ok(version_of(object.metadata.resource_version.as_deref())),
            // Somebody else wrote to it, and the watch is a little behind.
            Err(error) if tries > 0 && exists && changed.is_some() && has_code(&error, 409) => {
                changed = None;
            }
            // The watch is a little behind.
            Err(error) if tries > 0 && exists && has_code(&error, 404) => exists = false,
            Err(error) if tries > 0 && !exists && has_code(&error, 409) => {
                (exists, changed) = (true, None);
            }
            Err(error) => return Err(error),
        }
    }
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
