//! The newest events of each resource, in memory: a bounded window before the log.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch as signal;

use crate::Event;

/// Events taken at one time.
pub(crate) const CHUNK: usize = 256;

/// The newest events of one resource.
struct Window {
    /// Every event after this revision is in `events`.
    floor: u64,
    events: VecDeque<Arc<Event>>,
    /// Wakes who watches this resource, and nobody else.
    changed: signal::Sender<()>,
}

/// The newest events of each resource.
pub(crate) struct Windows {
    windows: Mutex<HashMap<Arc<str>, Window>>,
    size: usize,
    /// Events up to this revision were never in memory.
    opened_at: u64,
}

impl Windows {
    pub(crate) fn new(size: usize, opened_at: u64) -> Self {
        Self {
            windows: Mutex::default(),
            size,
            opened_at,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn window<'a>(
        &self,
        windows: &'a mut HashMap<Arc<str>, Window>,
        resource: &Arc<str>,
    ) -> &'a mut Window {
        windows.entry(resource.clone()).or_insert_with(|| Window {
            floor: self.opened_at,
            events: VecDeque::new(),
            changed: signal::Sender::new(()),
        })
    }

    /// Adds an event; the oldest goes when the window is full. `publish` makes
    /// its revision the newest, before anybody is woken.
    pub(crate) fn push(&self, event: Event, publish: impl FnOnce()) {
        let mut windows = self.lock();
        let window = self.window(&mut windows, &event.resource);
        if window.events.len() == self.size
            && let Some(oldest) = window.events.pop_front()
        {
            window.floor = oldest.record.revision;
        }
        window.events.push_back(Arc::new(event));
        publish();
        window.changed.send_replace(());
    }

    pub(crate) fn subscribe(&self, resource: &Arc<str>) -> signal::Receiver<()> {
        self.window(&mut self.lock(), resource).changed.subscribe()
    }

    /// Events after `position`, or `None` when some of them have left the window.
    pub(crate) fn after(&self, resource: &str, position: u64) -> Option<Vec<Arc<Event>>> {
        let windows = self.lock();
        let Some(window) = windows.get(resource) else {
            return (position >= self.opened_at).then(Vec::new);
        };
        if position < window.floor {
            return None;
        }
        let start = window
            .events
            .partition_point(|event| event.record.revision <= position);
        Some(window.events.range(start..).take(CHUNK).cloned().collect())
    }
}
