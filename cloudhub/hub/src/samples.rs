//! Who takes the nodes' samples: history, and what will come beside it.
//!
//! # Contract
//!
//! The session of a node hands over what came on the telemetry lane, a batch
//! at a time and in order, and confirms a batch to the node only after the
//! consumer said that it has it. From then on the node forgets it. So:
//!
//! - **Once**: the consumer keeps its position for each node
//!   ([`UpPosition`]) in the same transaction as the samples. What it takes a
//!   second time, since the hub died between its commit and the confirmation,
//!   it finds by [`SampleBatch::admit`].
//! - **Slow is allowed**: until it is done, the node's window closes and the
//!   samples wait in the node's own store. Live values have a lane and a window
//!   of their own and pass by.
//! - **Dropped is taken**: a future that is dropped, since the connection
//!   ended, may still take effect; the batch comes again.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::BoxFuture;
use longshore_link::{Admitted, Epoch, Gap, UpPosition, UpRecord};
use longshore_types::{DeviceSamples, NodeName};

/// Consecutive records of one node's telemetry.
#[derive(Debug)]
pub struct SampleBatch {
    /// The node; what follows is about devices that are bound to it.
    pub node: NodeName,
    /// The node's outbox.
    pub epoch: Epoch,
    /// The record before the first one.
    pub after: u64,
    /// The records, as they came; their numbers are what counts here.
    pub records: Vec<UpRecord>,
    /// What each of the records says; none where it is of no use, such as
    /// samples of a device that is no longer this node's.
    pub samples: Vec<Option<DeviceSamples>>,
}

/// Why samples were not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// They do not follow what is held. The node begins after that anew.
    #[error(transparent)]
    Gap(#[from] Gap),
    /// They belong to another outbox than the one that was opened last.
    #[error("samples belong to an outbox that the node no longer has")]
    Superseded,
    /// Not now; the session asks again until it ends.
    #[error("samples cannot be taken now")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

/// Takes samples. See the [module](self) for what it has to keep.
pub trait SampleConsumer: fmt::Debug + Send + Sync + 'static {
    /// A node says hello: the last record that is held, by
    /// [`UpPosition::greet`], whose outcome is the node's position from now on.
    fn open<'a>(
        &'a self,
        node: &'a NodeName,
        epoch: Epoch,
        last_sequence: u64,
    ) -> BoxFuture<'a, Result<u64, ConsumerError>>;

    /// Takes a batch; it is safe when this says so.
    fn take(&self, batch: Arc<SampleBatch>) -> BoxFuture<'_, Result<Admitted, ConsumerError>>;
}

impl SampleBatch {
    /// What of the batch is new to a consumer that is at this position, and the
    /// position after it.
    ///
    /// # Errors
    /// The batch does not follow.
    pub fn admit(&self, held: UpPosition) -> Result<Admitted, ConsumerError> {
        if held.epoch != self.epoch {
            return Err(ConsumerError::Superseded);
        }
        Ok(held.admit(self.epoch, self.after, &self.records)?)
    }

    /// Number of samples in the records from this one on.
    pub fn count(&self, skip: usize) -> usize {
        let known = self.samples.iter().skip(skip).flatten();
        known.map(|batch| batch.samples.len()).sum()
    }
}

/// Takes samples and keeps nothing but their number: the session's counters
/// show it. Where nobody wants history, nodes need not store it either.
#[derive(Debug, Default)]
pub struct CountOnly {
    positions: Mutex<HashMap<NodeName, UpPosition>>,
}

impl SampleConsumer for CountOnly {
    fn open<'a>(
        &'a self,
        node: &'a NodeName,
        epoch: Epoch,
        last_sequence: u64,
    ) -> BoxFuture<'a, Result<u64, ConsumerError>> {
        Box::pin(async move {
            let mut positions = self
                .positions
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let held = positions.entry(node.clone()).or_default();
            *held = held.greet(epoch, last_sequence);
            Ok(held.sequence)
        })
    }

    fn take(&self, batch: Arc<SampleBatch>) -> BoxFuture<'_, Result<Admitted, ConsumerError>> {
        Box::pin(async move {
            let mut positions = self
                .positions
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let held = positions.entry(batch.node.clone()).or_default();
            let admitted = batch.admit(*held)?;
            *held = admitted.position;
            Ok(admitted)
        })
    }
}
