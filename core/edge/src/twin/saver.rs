//! Takes the engine's rows, samples and reports to the store. What the engine
//! wants to be saved is one job at a time, and its answer goes back to the
//! engine; samples and reports have jobs of their own. What the store cannot
//! take now comes again: a full disk costs nothing but time.

mod samples;

use std::{sync::Arc, time::Duration};

use longshore_link::Up;
use longshore_process::chain;
use longshore_twin::{Engine, Now, Save};
use longshore_types::{DeviceSamples, report::DeviceReport};
use tokio::sync::oneshot::{self, error::TryRecvError};

use self::samples::Samples;
use crate::store::{Answer, NewRecord, RecordClass, StoreError, StoreHandle};

/// Devices of one job.
const DEVICES: usize = 256;
/// Pause after the store refused.
const PAUSE_MS: u64 = 1_000;
/// At the end the store gets so much time: a disk may never answer.
const LAST: Duration = Duration::from_secs(5);

/// What the engine wanted to be saved last.
enum Job {
    /// There is no room in the store's queue.
    Waits(Arc<Save>),
    UnderWay(Answer<()>),
}

/// See the module.
pub(crate) struct Saver {
    store: StoreHandle,
    job: Option<Job>,
    reports: Option<(Answer<()>, Vec<u32>)>,
    samples: Samples,
    pause_until: u64,
}

impl Saver {
    pub(crate) fn new(store: StoreHandle) -> Self {
        Self {
            store,
            job: None,
            reports: None,
            samples: Samples::default(),
            pause_until: 0,
        }
    }

    /// Takes samples over; they are kept until the store has them.
    pub(crate) fn queue(&mut self, samples: Vec<DeviceSamples>) {
        self.samples.queue(samples);
    }

    /// Samples that are not on the disk yet, and those that were dropped since
    /// the store took none.
    pub(crate) fn samples(&self) -> (u64, u64) {
        (self.samples.unsaved(), self.samples.dropped())
    }

    /// Waits for what became of the engine's job; for ever while there is none.
    /// Nothing is lost if it is dropped before; [`Saver::collect`] takes it.
    pub(crate) async fn answer(&mut self) -> Result<(), StoreError> {
        match &mut self.job {
            Some(Job::UnderWay(answer)) => answer.await.unwrap_or(Err(StoreError::Closed)),
            Some(Job::Waits(_)) | None => std::future::pending().await,
        }
    }

    /// The engine hears of its job.
    pub(crate) fn collect(
        &mut self,
        answer: Result<(), StoreError>,
        engine: &mut Engine,
        now: Now,
    ) {
        self.job = None;
        // The store itself says so in the log, once.
        engine.stored(answer.map_err(|error| chain(&error)), now);
    }

    /// Hands out what is due.
    pub(crate) fn work(&mut self, engine: &mut Engine, now: Now) {
        self.save(engine, now, false);
        self.collect_records(engine, now);
        if now.ms >= self.pause_until {
            self.start_records(engine, now);
        }
    }

    /// Saves all that is not saved, for the last time. Ends with the first
    /// refusal, and when the disk takes too long: nothing that was answered is
    /// lost by that.
    pub(crate) async fn finish(&mut self, engine: &mut Engine, now: Now) {
        let done = tokio::time::timeout(LAST, self.finish_all(engine, now)).await;
        let why = match done {
            Ok(Ok(())) => return,
            Ok(Err(error)) => chain(&error),
            Err(_) => format!("the disk did not answer for {} s", LAST.as_secs()),
        };
        let unsaved = engine.stats().unsaved;
        let samples = self.samples.unsaved();
        tracing::error!(%why, unsaved, samples, "not all could be saved at the end: last values are read again, outcomes are found out again, samples are lost");
    }

    async fn finish_all(&mut self, engine: &mut Engine, now: Now) -> Result<(), StoreError> {
        loop {
            self.save(engine, now, true);
            if let Some(Job::Waits(_)) = self.job {
                self.store.flush().await?;
                continue;
            }
            if self.job.is_some() {
                let answer = self.answer().await;
                self.collect(answer.clone(), engine, now);
                answer?;
                continue;
            }
            self.start_records(engine, now);
            if self.reports.is_none() && self.samples.is_empty() {
                return Ok(());
            }
            self.store.flush().await?;
            let refused = self.pause_until;
            self.collect_records(engine, now);
            if self.pause_until != refused {
                // It has said why in the log.
                return Err(StoreError::Busy);
            }
        }
    }

    fn save(&mut self, engine: &mut Engine, now: Now, all: bool) {
        let save = match self.job.take() {
            None => engine.next_save(now, all).map(Arc::new),
            Some(Job::Waits(save)) => Some(save),
            under_way => {
                self.job = under_way;
                return;
            }
        };
        self.job = save.map(|save| match self.store.try_save(save.clone()) {
            Ok(answer) => Job::UnderWay(answer),
            Err(StoreError::Busy) => Job::Waits(save),
            Err(error) => Job::UnderWay(refused(error)),
        });
    }

    fn collect_records(&mut self, engine: &mut Engine, now: Now) {
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

    fn start_records(&mut self, engine: &mut Engine, now: Now) {
        self.samples.start(&self.store);
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

/// As if the store had answered so.
fn refused(error: StoreError) -> Answer<()> {
    let (reply, answer) = oneshot::channel();
    // The other end is here.
    let _ = reply.send(Err(error));
    answer
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
