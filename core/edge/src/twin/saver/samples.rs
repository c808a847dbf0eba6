//! Samples on their way to the store, in order and a job at a time.
//!
//! Once the store has them, the outbox's budget decides how long they may wait
//! for the hub. Until then they wait here, within a budget as well: a disk that
//! is full may stay so for days. What is over it costs the oldest, counted.

use std::collections::VecDeque;

use longshore_link::Up;
use longshore_types::DeviceSamples;

use super::answered;
use crate::store::{Answer, StoreError, StoreHandle};

/// Bytes that may wait while the store takes nothing: about two minutes of a
/// thousand samples a second.
const MOST_BYTES: usize = 2 * 1024 * 1024;
/// Records of one job, and their bytes after the first one.
const JOB_RECORDS: usize = 256;
const JOB_BYTES: usize = 256 * 1024;

/// See the module.
#[derive(Default)]
pub(super) struct Samples {
    waiting: VecDeque<Record>,
    bytes: usize,
    /// How many of the first ones the store is asked to take.
    under_way: Option<(Answer<()>, usize)>,
    dropped: u64,
    told: bool,
}

struct Record {
    payload: Vec<u8>,
    samples: u64,
}

impl Samples {
    pub(super) fn queue(&mut self, samples: Vec<DeviceSamples>) {
        for batch in samples {
            let samples = batch.samples.len() as u64;
            let payload = Vec::from(Up::Samples(batch).encode());
            self.bytes += payload.len();
            self.waiting.push_back(Record { payload, samples });
        }
        self.keep_to_budget();
    }

    fn keep_to_budget(&mut self) {
        // The store may have those already.
        let first = self.under_way.as_ref().map_or(0, |(_, count)| *count);
        let mut last = first;
        let mut dropped = 0;
        while self.bytes > MOST_BYTES && last < self.waiting.len() {
            let record = &self.waiting[last];
            self.bytes -= record.payload.len();
            dropped += record.samples;
            last += 1;
        }
        self.waiting.drain(first..last);
        self.dropped += dropped;
        if dropped > 0 && !std::mem::replace(&mut self.told, true) {
            tracing::error!("the store takes no samples; the oldest ones are dropped");
        }
    }

    /// The store's answer to the last job, if it came.
    pub(super) fn collect(&mut self) -> Option<Result<(), StoreError>> {
        let (answer, _) = self.under_way.as_mut()?;
        let result = answered(answer)?;
        let count = self.under_way.take().map_or(0, |(_, count)| count);
        if result.is_ok() {
            let taken = self.waiting.drain(..count);
            self.bytes -= taken.map(|record| record.payload.len()).sum::<usize>();
            self.told = false;
        }
        Some(result)
    }

    /// Hands out the next job.
    pub(super) fn start(&mut self, store: &StoreHandle) {
        if self.under_way.is_some() || self.waiting.is_empty() {
            return;
        }
        let mut bytes = 0;
        let fit = self.waiting.iter().take_while(|record| {
            bytes += record.payload.len();
            bytes <= JOB_BYTES
        });
        let count = fit.take(JOB_RECORDS).count().max(1);
        let records = self.waiting.iter().take(count);
        let payloads = records.map(|record| record.payload.clone()).collect();
        // With no room in its queue, they wait for the next turn.
        if let Ok(answer) = store.try_put_samples(payloads) {
            self.under_way = Some((answer, count));
        }
    }

    /// Nothing is under way, and nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Samples that are not on the disk yet.
    pub(super) fn unsaved(&self) -> u64 {
        self.waiting.iter().map(|record| record.samples).sum()
    }

    /// Samples that were dropped since start.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use longshore_link::Lane;
    use longshore_types::{DeviceName, PropertySample, Quality, Reason, Value};

    use super::*;
    use crate::config::StoreConfig;

    fn batch(times: std::ops::Range<i64>, bytes: usize) -> DeviceSamples {
        let sample = |time_ms| PropertySample {
            property: "p".into(),
            value: Some(Value::Bytes(vec![0; bytes].into())),
            quality: Quality::Good,
            reason: Reason::None,
            time_ms,
        };
        DeviceSamples {
            device: DeviceName::new("default", "d").unwrap(),
            uid: "uid".to_owned(),
            samples: times.map(sample).collect(),
        }
    }

    async fn stored(store: &StoreHandle) -> Vec<i64> {
        let records = store.take(Lane::Telemetry, 0, 10_000, 1 << 30).await;
        let mut times = Vec::new();
        for record in records.unwrap() {
            match Up::decode(&record.payload).unwrap() {
                Up::Samples(batch) => times.extend(batch.samples.iter().map(|s| s.time_ms)),
                other => panic!("{other:?}"),
            }
        }
        times
    }

    /// Gives the store all of it.
    async fn save(samples: &mut Samples, store: &StoreHandle) {
        while !samples.is_empty() {
            samples.start(store);
            store.flush().await.unwrap();
            samples.collect().unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn the_store_gets_each_once_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let store = StoreHandle::open(folder.path(), StoreConfig::with_outbox(64 << 20)).unwrap();
        let mut samples = Samples::default();
        for n in 0..600 {
            samples.queue(vec![batch(2 * n..2 * n + 2, 10)]);
        }
        // One that is larger than a job.
        samples.queue(vec![batch(1_200..1_201, JOB_BYTES)]);
        assert_eq!(samples.unsaved(), 1_201);
        samples.start(&store);
        samples.queue(vec![batch(1_201..1_202, 10)]);
        store.flush().await.unwrap();
        samples.collect().unwrap().unwrap();
        save(&mut samples, &store).await;
        assert_eq!(stored(&store).await, (0..1_202).collect::<Vec<_>>());
        let all = (samples.unsaved(), samples.bytes, samples.dropped());
        assert_eq!(all, (0, 0, 0));
    }

    #[tokio::test]
    async fn a_store_that_takes_nothing_costs_the_oldest_and_no_more_than_the_budget() {
        let folder = tempfile::tempdir().unwrap();
        let store = StoreHandle::open(folder.path(), StoreConfig::with_outbox(64 << 20)).unwrap();
        let mut samples = Samples::default();
        samples.queue(vec![batch(0..3, 10), batch(3..5, 10)]);
        samples.start(&store);
        // The store has those by now, or not.
        let large = MOST_BYTES / 4;
        for n in 5..12 {
            samples.queue(vec![batch(n..n + 1, large)]);
        }
        assert!(samples.bytes <= MOST_BYTES);
        assert_eq!(samples.dropped(), 4);
        store.flush().await.unwrap();
        samples.collect().unwrap().unwrap();
        save(&mut samples, &store).await;
        assert_eq!(stored(&store).await, [0, 1, 2, 3, 4, 9, 10, 11]);
    }

    #[tokio::test]
    async fn what_the_store_refused_comes_again() {
        let [broken, folder] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let store = StoreHandle::open(broken.path(), StoreConfig::with_outbox(64 << 20)).unwrap();
        let mut samples = Samples::default();
        samples.queue(vec![batch(0..3, 10)]);
        samples.start(&store);
        let (answer, count) = samples.under_way.take().unwrap();
        drop(answer);
        store.close().await;
        // As if the answer had been a refusal.
        let (sender, answer) = tokio::sync::oneshot::channel();
        samples.under_way = Some((answer, count));
        sender.send(Err(StoreError::Closed)).unwrap();
        assert!(samples.collect().unwrap().is_err());
        samples.start(&store);
        assert!(samples.under_way.is_none(), "it is closed");
        let store = StoreHandle::open(folder.path(), StoreConfig::with_outbox(64 << 20)).unwrap();
        save(&mut samples, &store).await;
        assert_eq!(stored(&store).await, [0, 1, 2]);
    }
}
