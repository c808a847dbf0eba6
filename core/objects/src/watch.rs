//! Watches: a bounded window of events in memory, and the log behind it.
//!
//! A watcher pulls. It holds nothing but its position, so a slow one costs no
//! memory and holds up nobody: when it falls out of the window it reads the
//! log, and when the log was compacted past it, it is told so.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch as signal;

use crate::{Log, ReadError, Record, read};

/// Events taken at one time.
const CHUNK: usize = 256;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It is new.
    Added = 0,
    /// It changed.
    Modified = 1,
    /// It is gone.
    Deleted = 2,
}

/// One change of one object.
#[derive(Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Of which resource.
    pub resource: Arc<str>,
    /// The object after the change; after a deletion, its last state.
    pub record: Record,
    object: OnceLock<Value>,
    previous: Option<Bytes>,
}

impl Event {
    pub(crate) fn new(
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
    pub fn object(&self) -> &Value {
        self.object.get_or_init(|| self.record.object())
    }

    /// The object before a modification, if that is known.
    pub fn previous(&self) -> Option<Value> {
        self.previous
            .as_ref()
            .and_then(|json| serde_json::from_slice(json).ok())
    }
}

/// Which changes a watcher wants.
#[derive(Clone, Debug)]
pub struct Selector {
    /// The resource, as in [`Key::resource`](crate::Key::resource).
    pub kind: Arc<str>,
    /// `None` for all namespaces.
    pub namespace: Option<String>,
}

impl Selector {
    /// All objects of a resource.
    pub fn kind(kind: impl Into<Arc<str>>) -> Self {
        Self {
            kind: kind.into(),
            namespace: None,
        }
    }

    fn matches(&self, event: &Event) -> bool {
        let namespace = self.namespace.as_ref();
        namespace.is_none_or(|namespace| *namespace == event.record.namespace)
    }
}

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

    fn subscribe(&self, resource: &Arc<str>) -> signal::Receiver<()> {
        self.window(&mut self.lock(), resource).changed.subscribe()
    }

    /// Events after `position`, or `None` when some of them have left the window.
    fn after(&self, resource: &str, position: u64) -> Option<Vec<Arc<Event>>> {
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

/// A position in the changes that a selector names.
pub struct Watcher {
    log: Log,
    selector: Selector,
    position: u64,
    changed: signal::Receiver<()>,
}

impl Watcher {
    pub(crate) fn new(log: Log, selector: Selector, position: u64) -> Watcher {
        let changed = log.shared.windows.subscribe(&selector.kind);
        Watcher {
            log,
            selector,
            position,
            changed,
        }
    }

    /// The revision up to which everything was seen. It grows also while nothing
    /// of this selector happens.
    pub fn position(&mut self) -> u64 {
        let (current, unseen) = self.unseen();
        if unseen.is_some_and(|events| events.is_empty()) {
            self.position = self.position.max(current);
        }
        self.position
    }

    /// The newest revision, and the events up to it (at least) that were not seen.
    fn unseen(&self) -> (u64, Option<Vec<Arc<Event>>>) {
        // In this order: what is published stands in its window.
        let current = self.log.current();
        let windows = &self.log.shared.windows;
        (current, windows.after(&self.selector.kind, self.position))
    }

    /// The next changes, in order; waits until there is one. Cancel safe.
    ///
    /// # Errors
    ///
    /// The watcher's revision has expired, or the log cannot be read.
    pub async fn next(&mut self) -> Result<Vec<Arc<Event>>, ReadError> {
        loop {
            self.changed.mark_unchanged();
            let (current, unseen) = self.unseen();
            let mut events = match unseen {
                Some(events) => events,
                None => self.read_log().await?,
            };
            if let Some(last) = events.last() {
                self.position = last.record.revision;
                events.retain(|event| self.selector.matches(event));
                if !events.is_empty() {
                    return Ok(events);
                }
                continue;
            }
            // Nothing up to `current` was of this resource.
            self.position = self.position.max(current);
            self.changed
                .changed()
                .await
                .map_err(|_| ReadError::Closed)?;
        }
    }

    async fn read_log(&self) -> Result<Vec<Arc<Event>>, ReadError> {
        let (kind, position) = (self.selector.kind.clone(), self.position);
        let rows = self
            .log
            .readers
            .run(move |db| read::changes(db, &kind, position, CHUNK))
            .await??;
        let events = rows.into_iter().map(|(record, kind, previous)| {
            let kind = match kind {
                0 => EventKind::Added,
                1 => EventKind::Modified,
                _ => EventKind::Deleted,
            };
            let resource = self.selector.kind.clone();
            Arc::new(Event::new(kind, resource, record, None, previous))
        });
        Ok(events.collect())
    }
}
