//! Keeps the Node and the Lease of each edge true to its session.
//!
//! Level-triggered: what should be is computed from the table, whatever woke
//! the task. A node is never deleted; one that somebody deleted comes back
//! while its edge is connected. A Node that the hub did not make and that does
//! not carry its label belongs to a kubelet, and is left alone.

mod document;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::StreamExt;
use kube::{
    Client,
    api::{DynamicObject, Patch},
};
use longshore_process::{chain, clock::now_ms};
use longshore_types::Timestamp;
use serde_json::Value;
use tracing::{info, warn};

use crate::{
    cluster::api::{self, has_code},
    metrics::Metrics,
    tables::{
        catalog::Catalog,
        lock,
        nodes::{Nodes, Presence, Task},
        statuses::Statuses,
    },
};

const LEASE_NAMESPACE: &str = "kube-node-lease";

/// So many nodes are written at once.
const CONCURRENCY: usize = 16;

/// A request that takes longer is given up and made again, so that one node
/// does not hold up the others' leases.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the table is looked at when nothing wakes the task.
const TICK: Duration = Duration::from_millis(250);

/// Writes Nodes and Leases, with the tables that tell what is due.
pub(crate) struct NodeWriter {
    pub(crate) client: Client,
    pub(crate) catalog: Arc<Mutex<Catalog>>,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) statuses: Arc<Statuses>,
    pub(crate) metrics: Arc<Metrics>,
}

impl NodeWriter {
    /// Runs for ever; what is cut off is written at the next start.
    pub(crate) async fn run(self) {
        loop {
            let due = self.nodes.due(Instant::now());
            for node in &due.changed {
                let catalog = lock(&self.catalog);
                self.statuses.mark_objects(catalog.bound_to(node));
            }
            for (node, ends_ms) in due.ending {
                let ends = Timestamp::from_millis(ends_ms);
                warn!(
                    node,
                    %ends,
                    hint = "make another one with `cloudhub issue-node` and bring it to the node",
                    "the node's certificate ends soon; then it cannot connect any more"
                );
            }
            futures::stream::iter(due.tasks)
                .for_each_concurrent(CONCURRENCY, |task| self.perform(task))
                .await;
            tokio::select! {
                () = self.nodes.woken() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    async fn perform(&self, task: Task) {
        let work = async {
            if task.write_status {
                self.write_node(&task).await?;
            }
            if task.renew_lease {
                renew_lease(&self.client, &task.node).await?;
            }
            Ok::<(), kube::Error>(())
        };
        let outcome = match tokio::time::timeout(PATIENCE, work).await {
            Ok(outcome) => outcome.map_err(|error| chain(&error)),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        if let Err(error) = &outcome {
            self.metrics.node_errors.increment();
            warn!(
                node = task.node,
                error, "node could not be written, trying again"
            );
        }
        self.nodes.done(&task, outcome.is_ok(), Instant::now());
    }

    async fn write_node(&self, task: &Task) -> Result<(), kube::Error> {
        let api = api::all(&self.client, &api::node());
        let node = task.node.as_str();
        let present = match api.get_opt(node).await? {
            Some(present) => present,
            // A node that was deleted while its edge is away does not come back for that.
            None if task.presence != Presence::Connected => return Ok(()),
            None => match api
                .create(
                    &api::post(),
                    &object(document::new_node(node, &task.report)),
                )
                .await
            {
                Ok(created) => {
                    info!(node, "node registered");
                    self.nodes.set_exists(node, true);
                    created
                }
                Err(error) if has_code(&error, 409) => api.get(node).await?,
                Err(error) => return Err(error),
            },
        };
        if !document::is_ours(&present) {
            warn!(
                node,
                label = document::LABEL,
                hint = "rename the edge, or give the node the label",
                "a node of this name exists that is not an edge; it is left alone"
            );
            return Ok(());
        }
        if let Some(labels) = document::labels_patch(&present, &task.report) {
            api.patch(node, &api::patch(), &Patch::Merge(&labels))
                .await?;
        }
        let status = document::status(task, &present, now());
        api.patch_status(node, &api::patch(), &Patch::Merge(&status))
            .await?;
        Ok(())
    }
}

async fn renew_lease(client: &Client, node: &str) -> Result<(), kube::Error> {
    let api = api::within(client, LEASE_NAMESPACE, &api::lease());
    let patch = document::lease_patch(node, now());
    match api.patch(node, &api::patch(), &Patch::Merge(&patch)).await {
        Err(error) if has_code(&error, 404) => {
            let lease = document::new_lease(node, now());
            match api.create(&api::post(), &object(lease)).await {
                Err(error) if !has_code(&error, 409) => Err(error),
                _ => Ok(()),
            }
        }
        outcome => outcome.map(drop),
    }
}

fn object(value: Value) -> DynamicObject {
    // The documents of this module are objects; one that is not is empty and refused.
    serde_json::from_value(value).unwrap_or_else(|_| DynamicObject::new("", &api::node()))
}

fn now() -> Timestamp {
    Timestamp::from_millis(now_ms())
}
