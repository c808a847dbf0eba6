//! Brings to the disk what is to outlive the broker.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use longshore_process::{Stop, chain};
use longshore_sqlite::Writer;
use tokio::sync::watch;

use super::{Shared, until};
use crate::store;

/// What nobody waits for is written after this, so that what comes and goes
/// meanwhile costs no flash.
const LAZY: Duration = Duration::from_secs(1);
/// Between two tries while the disk refuses.
const AGAIN: Duration = Duration::from_secs(1);

/// Writes what the core says is to be written; runs until the end is asked for,
/// and then writes what is left.
pub struct Keeper {
    shared: Arc<Shared>,
    writer: Writer<()>,
    state: watch::Sender<Result<(), String>>,
}

impl Keeper {
    pub(super) fn new(
        shared: Arc<Shared>,
        writer: Writer<()>,
    ) -> (Self, watch::Receiver<Result<(), String>>) {
        let (state, receiver) = watch::channel(Ok(()));
        let keeper = Self {
            shared,
            writer,
            state,
        };
        (keeper, receiver)
    }

    /// Runs until the end is asked for. When this returns, the file is closed.
    pub async fn run(self, mut stop: Stop) {
        let mut lazy: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                () = stop.asked() => break,
                () = self.shared.urgent.notified() => {}
                () = until(lazy) => {}
                () = self.shared.write.notified(), if lazy.is_none() => {
                    lazy = Some(Instant::now() + LAZY);
                    continue;
                }
            }
            lazy = None;
            while !self.write().await {
                tokio::select! {
                    () = stop.asked() => break,
                    () = tokio::time::sleep(AGAIN) => {}
                }
            }
        }
        if !self.write().await {
            tracing::error!(
                "what MQTT clients left could not be kept: the disk refuses what is written"
            );
        }
        self.writer.close().await;
    }

    /// Writes all that is to be written; false when the disk refuses it.
    async fn write(&self) -> bool {
        loop {
            let batch = self.shared.with(|state, now| state.core.batch(now));
            let Some(batch) = batch else {
                return self.is_well().await;
            };
            let written = store::write(&self.writer, batch).await;
            let done = written.is_ok();
            self.shared
                .with(|state, now| state.core.batch_done(done, now));
            match written {
                Ok(()) => {
                    self.state.send_if_modified(|state| {
                        let changed = state.is_err();
                        *state = Ok(());
                        changed
                    });
                }
                Err(error) => {
                    let reason = format!(
                        "the MQTT broker cannot write, so what needs its disk is refused: {}",
                        chain(&error)
                    );
                    let _ = self.state.send_replace(Err(reason));
                    return false;
                }
            }
        }
    }

    /// Whether the disk takes what is written, also when there is nothing to write.
    async fn is_well(&self) -> bool {
        if !self.shared.lock().core.is_failing() {
            return true;
        }
        let tried = self.writer.flush().await;
        let well = tried.is_ok() && self.writer.health().fault.is_none();
        if well {
            self.shared.with(|state, _| state.core.storage_is_well());
            let _ = self.state.send_replace(Ok(()));
        }
        well
    }
}
