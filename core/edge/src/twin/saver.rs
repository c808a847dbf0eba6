//! Takes the engine's rows and records to the store, one job of each kind at
//! a time. What the store cannot take now stays dirty in the engine and comes
//! again: a full disk costs nothing but time.

mod samples;

use std::collections::BTreeMap;

use longshore_link::Up;
use longshore_twin::{DesiredRow, Engine, Now, TwinBlob};
use longshore_types::{DeviceSamples, report::DeviceReport};
use tokio::sync::oneshot::error::TryRecvError;

use self::samples::Samples;
use crate::store::{Answer, NewRecord, RecordClass, StoreError, StoreHandle};

/// Devices of one job.
const DEVICES: usize = 256;
/// Pause after the store refused.
const PAUSE_MS: u64 = 1_000;

/// See the module.
pub(crate) struct Saver {
    store: StoreHandle,
    waiting: BTreeMap<(String, String), Option<String>>,
    forgotten: Vec<TwinBlob>,
    desired: Option<(Answer<()>, Vec<DesiredRow>)>,
    snapshots: Option<(Answer<()>, Vec<u32>, Vec<TwinBlob>)>,
    reports: Option<(Answer<()>, Vec<u32>)>,
    samples: Samples,
    pause_until: u64,
}

impl Saver {
    pub(crate) fn new(store: StoreHandle) -> Self {
        Self {
            store,
            waiting: BTreeMap::new(),
            forgotten: Vec::new(),
            desired: None,
            snapshots: None,
            reports: None,
            samples: Samples::default(),
            pause_until: 0,
        }
    }

    /// Takes rows and samples over; they are kept until the store has them.
    pub(crate) fn queue(
        &mut self,
        desired: Vec<DesiredRow>,
        forgotten: Vec<TwinBlob>,
        samples: Vec<DeviceSamples>,
    ) {
        self.samples.queue(samples);
        self.waiting.extend(
            desired
                .into_iter()
                .map(|row| ((row.device, row.property), row.json)),
        );
        self.forgotten.extend(forgotten);
    }

    /// Rows that are not on the disk yet.
    pub(crate) fn unsaved(&self) -> usize {
        self.waiting.len() + self.desired.as_ref().map_or(0, |(_, rows)| rows.len())
    }

    /// Samples that are not on the disk yet, and those that were dropped since
    /// the store took none.
    pub(crate) fn samples(&self) -> (u64, u64) {
        (self.samples.unsaved(), self.samples.dropped())
    }

    /// Collects answers and hands out what is due.
    pub(crate) fn work(&mut self, engine: &mut Engine, now: Now) {
        self.collect(engine, now);
        if now.ms >= self.pause_until {
            self.start(engine, now, false);
        }
    }

    /// Saves all that is not saved, for the last time.
    pub(crate) async fn finish(&mut self, engine: &mut Engine, now: Now) {
        loop {
            if let Err(error) = self.store.flush().await {
                tracing::error!(%error, "twins could not be saved at the end");
                return;
            }
            self.collect(engine, now);
            self.start(engine, now, true);
            let rows = self.desired.is_none() && self.snapshots.is_none();
            if rows && self.reports.is_none() && self.samples.is_empty() {
                return;
            }
        }
    }

    fn collect(&mut self, engine: &mut Engine, now: Now) {
        if let Some(result) = self
            .desired
            .as_mut()
            .and_then(|(answer, _)| answered(answer))
        {
            let rows = self
                .desired
                .take()
                .map(|(_, rows)| rows)
                .unwrap_or_default();
            if self.failed(result, now) {
                for row in rows {
                    // A newer row of the same property wins.
                    self.waiting
                        .entry((row.device, row.property))
                        .or_insert(row.json);
                }
            }
        }
        if let Some(result) = self
            .snapshots
            .as_mut()
            .and_then(|(answer, ..)| answered(answer))
        {
            let (ids, forgotten) = self
                .snapshots
                .take()
                .map(|(_, ids, gone)| (ids, gone))
                .unwrap_or_default();
            if self.failed(result, now) {
                engine.snapshot_again(&ids, now);
                self.forgotten.extend(forgotten);
            }
        }
        if let Some(result) = self
            .reports
            .as_mut()
            .and_then(|(answer, _)| answered(answer))
        {
            let ids = self.reports.take().map(|(_, ids)| ids).unwrap_or_default();
            if self.failed(result, now) {
                engine.report_again(&ids, now.ms + PAUSE_MS);
            }
        }
        if let Some(result) = self.samples.collect() {
            self.failed(result, now);
        }
    }

    fn failed(&mut self, result: Result<(), StoreError>, now: Now) -> bool {
        if let Err(error) = result {
            // The store itself says so in the log, once.
            tracing::debug!(%error, "store refused; tried again");
            self.pause_until = now.ms + PAUSE_MS;
            return true;
        }
        false
    }

    fn start(&mut self, engine: &mut Engine, now: Now, all: bool) {
        if self.desired.is_none() && !self.waiting.is_empty() {
            let rows = std::mem::take(&mut self.waiting).into_iter();
            let rows: Vec<_> = rows
                .map(|((device, property), json)| DesiredRow {
                    device,
                    property,
                    json,
                })
                .collect();
            match self.store.try_save_desired(rows.clone()) {
                Ok(answer) => self.desired = Some((answer, rows)),
                Err(_) => self.queue(rows, Vec::new(), Vec::new()),
            }
        }
        self.samples.start(&self.store);
        if self.snapshots.is_none() {
            let due = engine.due_snapshots(now, DEVICES, all);
            let forgotten = std::mem::take(&mut self.forgotten);
            let (ids, mut blobs): (Vec<u32>, Vec<TwinBlob>) = due.into_iter().unzip();
            // Deletions first: a device may have been made anew under its name.
            blobs.splice(0..0, forgotten.iter().cloned());
            if !blobs.is_empty() {
                match self.store.try_save_twins(blobs) {
                    Ok(answer) => self.snapshots = Some((answer, ids, forgotten)),
                    Err(_) => {
                        engine.snapshot_again(&ids, now);
                        self.forgotten.extend(forgotten);
                    }
                }
            }
        }
        if self.reports.is_none() {
            let due = engine.due_reports(now, DEVICES);
            let ids: Vec<u32> = due.iter().map(|(id, _)| *id).collect();
            let records: Vec<_> = due.into_iter().map(|(_, twin)| record(twin)).collect();
            if !records.is_empty() {
                match self.store.try_put(records) {
                    Ok(answer) => self.reports = Some((answer, ids)),
                    Err(_) => engine.report_again(&ids, now.ms + PAUSE_MS),
                }
            }
        }
    }
}

fn answered(answer: &mut Answer<()>) -> Option<Result<(), StoreError>> {
    match answer.try_recv() {
        Ok(result) => Some(result),
        Err(TryRecvError::Empty) => None,
        Err(TryRecvError::Closed) => Some(Err(StoreError::Closed)),
    }
}

/// A device's report as a record of the outbox.
fn record(report: DeviceReport) -> NewRecord {
    let up = Up::Reported(report);
    let class = up
        .key()
        .map_or(RecordClass::Confirmation, RecordClass::Latest);
    NewRecord {
        class,
        payload: up.encode().to_vec(),
    }
}
