//! Watches: a bounded window of events in memory, and the log behind it.
//!
//! A watcher pulls. It holds nothing but its position, so a slow one costs no
//! memory and holds up nobody: when it falls out of the window it reads the
//! log, and when the log was compacted past it, it is told so.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch as signal;

use super::{ReadError, Record, Shared, Store, reader};

/// Events taken at one time.
const CHUNK: usize = 256;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    Added = 0,
    Modified = 1,
    Deleted = 2,
}

/// One change of one object.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) kind: EventKind,
    pub(crate) resource: Arc<str>,
    pub(crate) record: Record,
    object: OnceLock<Value>,
    previous: Option<Bytes>,
}

impl Event {
    pub(super) fn new(
        kind: EventKind,
        resource: Arc<str>,
        record: Record,
        object: Option<Value>,
        previous: Option<Bytes>,
    ) -> Event {
        let cell = OnceLock::new();
        if let Some(object) = object {
            let _ = cell.set(object);
        }
        Event {
            kind,
            resource,
            record,
            object: cell,
            previous,
        }
    }

    /// The object after the change; after a deletion, its last state.
    pub(crate) fn object(&self) -> &Value {
        self.object.get_or_init(|| self.record.object())
    }

    /// The object before a modification, if that is known.
    pub(crate) fn previous(&self) -> Option<Value> {
        self.previous
            .as_ref()
            .and_then(|json| serde_json::from_slice(json).ok())
    }
}

/// The newest events of one resource.
pub(super) struct Window {
    /// Every event after this revision is in `events`.
    floor: u64,
    events: VecDeque<Arc<Event>>,
}

impl Shared {
    /// Adds an event; the oldest goes when the window is full.
    pub(super) fn push(&self, event: Event) {
        let Ok(mut windows) = self.windows.lock() else {
            return;
        };
        let window = windows
            .entry(event.resource.clone())
            .or_insert_with(|| Window {
                floor: self.opened_at,
                events: VecDeque::new(),
            });
        if window.events.len() == self.window_size
            && let Some(oldest) = window.events.pop_front()
        {
            window.floor = oldest.record.revision;
        }
        window.events.push_back(Arc::new(event));
    }

    /// Events after `position`, or `None` when some of them have left the window.
    fn after(&self, resource: &str, position: u64) -> Option<Vec<Arc<Event>>> {
        let windows = self.windows.lock().ok()?;
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

/// A position in the changes of one resource.
pub(crate) struct Watcher {
    store: Store,
    resource: Arc<str>,
    position: u64,
    current: signal::Receiver<u64>,
}

impl Watcher {
    pub(super) fn new(store: Store, resource: Arc<str>, position: u64) -> Watcher {
        let current = store.shared.current.subscribe();
        Watcher {
            store,
            resource,
            position,
            current,
        }
    }

    /// The revision up to which everything was seen.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next changes, in order; waits until there is one. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Vec<Arc<Event>>, ReadError> {
        loop {
            let current = *self.current.borrow_and_update();
            let events = match self.store.shared.after(&self.resource, self.position) {
                Some(events) => events,
                None => self.read_log().await?,
            };
            match events.last() {
                Some(last) => {
                    self.position = last.record.revision;
                    return Ok(events);
                }
                // Nothing up to `current` was of this resource.
                None => self.position = self.position.max(current),
            }
            self.current
                .changed()
                .await
                .map_err(|_| ReadError::Closed)?;
        }
    }

    async fn read_log(&self) -> Result<Vec<Arc<Event>>, ReadError> {
        let (resource, position) = (self.resource.clone(), self.position);
        let rows = self
            .store
            .readers
            .run(move |db| reader::changes(db, &resource, position, CHUNK))
            .await?;
        let events = rows.into_iter().map(|(record, kind, previous)| {
            let kind = match kind {
                0 => EventKind::Added,
                1 => EventKind::Modified,
                _ => EventKind::Deleted,
            };
            Arc::new(Event::new(
                kind,
                self.resource.clone(),
                record,
                None,
                previous,
            ))
        });
        Ok(events.collect())
    }
}
