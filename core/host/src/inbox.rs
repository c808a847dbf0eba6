//! What the edge asked of a mapper and the mapper has not taken yet.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{
    command::{Command, Status},
    stats::Counters,
    wire,
};

/// Commands of one frame, and roughly its bytes.
const FRAME_COMMANDS: usize = 256;
const FRAME_BYTES: usize = 256 << 10;

/// What the handle of a mapper and its task share.
#[derive(Default)]
pub(crate) struct Shared {
    inbox: Mutex<Inbox>,
    pub(crate) wake: Notify,
    pub(crate) counters: Arc<Counters>,
}

/// What the edge asked for.
#[derive(Default)]
pub(crate) struct Inbox {
    /// The mapper is up.
    pub(crate) accepting: bool,
    pub(crate) queue: VecDeque<Queued>,
    /// Roughly the bytes of the queue.
    pub(crate) weight: usize,
    /// It should stop within this time.
    pub(crate) stop: Option<Duration>,
    /// Its library stands somewhere else now.
    pub(crate) file: Option<PathBuf>,
}

/// A command and when its budget ends.
#[derive(Clone)]
pub(crate) struct Queued {
    pub(crate) command: Command,
    pub(crate) due: Instant,
}

impl Shared {
    pub(crate) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // Nothing that panics runs under the lock.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    /// Takes the commands of the next frame; those that cannot be sent go to `refused`.
    pub(crate) fn next_frame(
        &mut self,
        now: Instant,
        refused: &mut Vec<(u64, Status, &'static str)>,
    ) -> Vec<Queued> {
        let (mut frame, mut bytes) = (Vec::new(), 0);
        while frame.len() < FRAME_COMMANDS && bytes < FRAME_BYTES {
            let Some(queued) = self.queue.pop_front() else {
                break;
            };
            let weight = queued.command.kind.weight();
            self.weight -= weight;
            if queued.due <= now {
                refused.push((
                    queued.command.token,
                    Status::Timeout,
                    "its time was over before the mapper took it",
                ));
            } else if weight > wire::MAX_FRAME - 2 * FRAME_BYTES {
                refused.push((
                    queued.command.token,
                    Status::InvalidArgument,
                    "it is too large",
                ));
            } else {
                bytes += weight;
                frame.push(queued);
            }
        }
        frame
    }

    pub(crate) fn put_back(&mut self, frame: Vec<Queued>) {
        for queued in frame.into_iter().rev() {
            self.weight += queued.command.kind.weight();
            self.queue.push_front(queued);
        }
    }
}
