//! From the telemetry lane of a session to whoever takes the samples.

use std::{future::Future, sync::Arc, time::Duration};

use longshore_link::{Epoch, Up, UpRecord};
use longshore_types::{DeviceSamples, NodeName};
use tracing::{debug, warn};

use super::{
    outcome::{Done, End},
    tables::Tables,
};
use crate::samples::{ConsumerError, SampleBatch};

/// A consumer that cannot take samples now, its disk is full, say, is asked
/// again so often. Meanwhile they wait on the nodes.
const RETRY: Duration = Duration::from_secs(2);

/// Looks up how far the node's samples are held.
pub(super) async fn open(
    hub: Arc<Tables>,
    node: NodeName,
    epoch: Epoch,
    last_sequence: u64,
) -> Result<Done, End> {
    let asked = || hub.samples.open(&node, epoch, last_sequence);
    let taken = patiently(&hub, &node, asked).await?;
    Ok(Done::TelemetryOpened(taken))
}

/// Hands records over. What is of no use is dropped and counted, but taken, or
/// it would block what comes after it.
pub(super) async fn take(
    hub: Arc<Tables>,
    node: NodeName,
    epoch: Epoch,
    after: u64,
    records: Vec<UpRecord>,
) -> Result<Done, End> {
    let samples = records.iter().map(|record| samples(&hub, &node, record));
    let batch = Arc::new(SampleBatch {
        samples: samples.collect(),
        node,
        epoch,
        after,
        records,
    });
    let asked = || hub.samples.take(Arc::clone(&batch));
    let admitted = patiently(&hub, &batch.node, asked).await?;
    let metrics = &hub.metrics;
    metrics.records_repeated.add(admitted.skip as u64);
    metrics
        .records
        .add((batch.records.len() - admitted.skip) as u64);
    metrics.samples.add(batch.count(admitted.skip) as u64);
    Ok(Done::Handled(
        longshore_link::Lane::Telemetry,
        admitted.position.sequence,
    ))
}

/// Asks until there is an answer. The end of the session ends it.
async fn patiently<T, F>(
    hub: &Tables,
    node: &NodeName,
    ask: impl Fn() -> F,
) -> Result<T, ConsumerError>
where
    F: Future<Output = Result<T, ConsumerError>>,
{
    let mut told = false;
    loop {
        match ask().await {
            Err(error @ ConsumerError::Unavailable(_)) => {
                hub.metrics.samples_retries.increment();
                let error = longshore_process::chain(&error);
                if told {
                    debug!(%node, error, "samples still wait on their node");
                } else {
                    warn!(%node, error, "samples wait on their node");
                }
                told = true;
                tokio::time::sleep(RETRY).await;
            }
            outcome => return outcome,
        }
    }
}

/// The samples of a record, where the node has a say in their device.
fn samples(hub: &Tables, node: &NodeName, record: &UpRecord) -> Option<DeviceSamples> {
    match Up::decode(&record.payload) {
        Ok(Up::Samples(samples)) => {
            if hub.is_of(&samples.device, &samples.uid, node) {
                return Some(samples);
            }
            hub.metrics.records_dropped.increment();
            debug!(%node, device = %samples.device, "samples of a device that is not this node's");
        }
        Ok(_) => hub.metrics.records_unknown.increment(),
        Err(error) => {
            hub.metrics.records_unknown.increment();
            let error = longshore_process::chain(&error);
            warn!(%node, sequence = record.sequence, error, "telemetry cannot be understood");
        }
    }
    None
}
