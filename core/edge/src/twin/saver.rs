//! Takes the engine's rows, samples and reports to the store. What the engine
//! wants to be saved is one job at a time, and its answer goes back to the
//! engine; samples have jobs of their own, reports wait in memory. What the store
//! cannot take now comes again: a full disk costs nothing but time.

mod reports;
mod samples;

use std::{sync::Arc, time::Duration};

use longshore_process::chain;
use longshore_twin::{Engine, Now, Save};
use longshore_types::DeviceSamples;
use tokio::sync::oneshot::{self, error::TryRecvError};

use self::{reports::Reports, samples::Samples};
use crate::store::{Answer, StoreError, StoreHandle};

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
    reports: Reports,
    samples: Samples,
    pause_until: u64,
}

impl Saver {
    pub(crate) fn new(store: StoreHandle) -> Self {
        Self {
            store,
            job: None,
            reports: Reports::default(),
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

    /// Whether the store has something whose answer is looked for with each tick.
    pub(crate) fn waits(&self) -> bool {
        !self.samples.is_empty() || matches!(self.job, Some(Job::Waits(_)))
    }

    /// When it goes on after a refusal, if it has to wait for that.
    pub(crate) fn resumes(&self, now_ms: u64) -> Option<u64> {
        (self.pause_until > now_ms).then_some(self.pause_until)
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

    /// Hands out what is due; reports only while somebody is there to take them.
    pub(crate) fn work(&mut self, engine: &mut Engine, linked: bool, now: Now) {
        self.save(engine, now, false);
        if let Some(result) = self.samples.collect() {
            self.failed(result, now);
        }
        if now.ms >= self.pause_until {
            self.samples.start(&self.store);
        }
        if linked {
            self.reports.start(engine, &self.store, now);
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
            self.samples.start(&self.store);
            if self.samples.is_empty() {
                return self.store.note_end().await;
            }
            self.store.flush().await?;
            if let Some(result) = self.samples.collect() {
                result?;
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

    fn failed(&mut self, result: Result<(), StoreError>, now: Now) {
        if let Err(error) = result {
            // The store itself says so in the log, once.
            tracing::debug!(%error, "store refused; tried again");
            self.pause_until = now.ms + PAUSE_MS;
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
