//! Watches: a position in the changes, and what is asked for.
//!
//! A watcher pulls. It holds nothing but its position, so a slow one costs no
//! memory and holds up nobody: when it falls out of the window it reads the
//! log, and when the log was compacted past it, it is told so.

use std::sync::Arc;

use tokio::sync::watch as signal;

use crate::{
    Event, EventKind, Log, ReadError, read,
    window::{CHUNK, CHUNK_BYTES},
};

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

/// A position in the changes that a selector names.
pub struct Watcher {
    log: Log,
    selector: Selector,
    position: u64,
    changed: signal::Receiver<()>,
}

impl Log {
    /// Watches what `selector` names from just after `revision`.
    pub fn watch(&self, selector: Selector, revision: u64) -> Watcher {
        Watcher::new(self.clone(), selector, revision)
    }
}

impl Watcher {
    fn new(log: Log, selector: Selector, position: u64) -> Watcher {
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
            .run(move |db| read::changes(db, &kind, position, CHUNK, CHUNK_BYTES))
            .await??;
        let events = rows.into_iter().map(|(record, kind, previous)| {
            let kind = match kind {
                0 => EventKind::Added,
                1 => EventKind::Modified,
                _ => EventKind::Deleted,
            };
            let resource = self.selector.kind.clone();
            Arc::new(Event::new(kind, resource, record, previous))
        });
        Ok(events.collect())
    }
}
