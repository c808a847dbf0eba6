//! The way out: batches to the host, until the instance is stopped.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{Event, Host, Level, Samples};

/// How long one wait for the host's queue may take, so that a stop is noticed.
const WAIT: Duration = Duration::from_millis(20);

/// Bytes of samples in one batch at most; the contract allows 4 MiB with all
/// that goes with them.
const LONGEST: usize = 2 << 20;

/// What the machine gives: events, lines for the log, and the samples of the
/// exchange that has just ended, before it is known whether they still count.
#[derive(Default)]
pub(super) struct Output {
    pub(super) event: Event,
    pub(super) read: Samples,
    /// What came by itself, likewise.
    pub(super) pushed: Samples,
    pub(super) logs: Vec<(Level, String)>,
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        let Event {
            samples,
            completions,
            states,
        } = &self.event;
        samples.is_empty() && completions.is_empty() && states.is_empty() && self.logs.is_empty()
    }

    /// Whether somebody waits for more than samples.
    pub(super) fn is_pressing(&self) -> bool {
        !self.event.completions.is_empty() || !self.event.states.is_empty() || !self.logs.is_empty()
    }
}

/// Emits to the host. All tasks of an instance share one thread, so waiting
/// here for room is the back-pressure that slows them all down.
#[derive(Clone)]
pub(super) struct Emitter {
    host: Host,
    /// Held while emitting, so that nothing is emitted once `close` has returned.
    open: Arc<Mutex<bool>>,
}

impl Emitter {
    pub(super) fn new(host: Host) -> Self {
        Self {
            host,
            open: Arc::new(Mutex::new(true)),
        }
    }

    /// The host, for lines of the log that wait for nothing.
    pub(super) fn host(&self) -> Host {
        self.host.clone()
    }

    /// Emits all that has gathered, and empties it.
    pub(super) fn flush(&self, output: &mut Output) {
        if output.is_empty() {
            return;
        }
        for (level, line) in output.logs.drain(..) {
            self.host.log(level, &line);
        }
        if output.event.samples.bytes() <= LONGEST {
            self.emit(&output.event);
        } else {
            // The contract bounds a batch. States go first, completions last.
            let completions = std::mem::take(&mut output.event.completions);
            let mut parts = output.event.samples.split(LONGEST).into_iter().peekable();
            while let Some(part) = parts.next() {
                output.event.samples = part;
                if parts.peek().is_none() {
                    output.event.completions.extend_from_slice(&completions);
                }
                self.emit(&output.event);
                output.event.states.clear();
            }
        }
        output.event.samples.clear();
        output.event.completions.clear();
        output.event.states.clear();
    }

    fn emit(&self, event: &Event) {
        loop {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if !*open || !matches!(self.host.try_emit(event), Ok(false)) {
                break;
            }
            drop(open);
            if self.host.0.wait_writable(WAIT).is_err() {
                break;
            }
        }
    }

    /// Lets nothing through any more.
    pub(super) fn close(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }
}
