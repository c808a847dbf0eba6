//! The newest events of each resource, in memory: a bounded window before the log.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch as signal;

use crate::Event;

/// Events taken at one time, and about so many bytes of them.
pub(crate) const CHUNK: usize = 256;
pub(crate) const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// What the windows may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Events of each resource.
    pub(crate) events: usize,
    /// Bytes of each resource.
    pub(crate) bytes: usize,
    /// Bytes of all.
    pub(crate) all: usize,
    /// An event that is older goes.
    pub(crate) age: Duration,
}

/// The newest events of one resource.
struct Window {
    /// Every event after this revision is in `events`.
    floor: u64,
    events: VecDeque<(Arc<Event>, Instant)>,
    bytes: usize,
    /// Wakes who watches this resource, and nobody else.
    changed: signal::Sender<()>,
}

impl Window {
    /// Forgets the oldest event; gives its bytes.
    fn pop(&mut self) -> usize {
        let Some((oldest, _)) = self.events.pop_front() else {
            return 0;
        };
        self.floor = oldest.record.revision;
        self.bytes -= oldest.size();
        oldest.size()
    }

    /// Forgets what is too old; gives its bytes.
    fn expire(&mut self, before: Option<Instant>) -> usize {
        let mut bytes = 0;
        while let Some((_, at)) = self.events.front()
            && before.is_some_and(|before| *at < before)
        {
            bytes += self.pop();
        }
        bytes
    }
}

/// The newest events of each resource.
pub(crate) struct Windows {
    inside: Mutex<Inside>,
    bounds: Bounds,
    /// Events up to this revision were never in memory.
    opened_at: u64,
}

#[derive(Default)]
struct Inside {
    windows: HashMap<Arc<str>, Window>,
    bytes: usize,
}

impl Windows {
    pub(crate) fn new(bounds: Bounds, opened_at: u64) -> Self {
        Self {
            inside: Mutex::default(),
            bounds,
            opened_at,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn window<'a>(&self, inside: &'a mut Inside, resource: &Arc<str>) -> &'a mut Window {
        let windows = &mut inside.windows;
        windows.entry(resource.clone()).or_insert_with(|| Window {
            floor: self.opened_at,
            events: VecDeque::new(),
            bytes: 0,
            changed: signal::Sender::new(()),
        })
    }

    /// Adds an event; the oldest ones go while there are too many, of its resource or of
    /// all. `publish` makes its revision the newest, before anybody is woken.
    pub(crate) fn push(&self, event: Event, publish: impl FnOnce()) {
        let now = Instant::now();
        let size = event.size();
        let mut inside = self.lock();
        let window = self.window(&mut inside, &event.resource);
        window.bytes += size;
        window.events.push_back((Arc::new(event), now));
        let mut freed = window.expire(now.checked_sub(self.bounds.age));
        while window.events.len() > self.bounds.events || window.bytes > self.bounds.bytes {
            freed += window.pop();
        }
        publish();
        window.changed.send_replace(());
        inside.bytes = inside.bytes + size - freed;
        while inside.bytes > self.bounds.all {
            let mut windows = inside.windows.values_mut();
            let Some(first) = windows.next() else { break };
            let largest = windows.fold(
                first,
                |one, other| {
                    if other.bytes > one.bytes { other } else { one }
                },
            );
            inside.bytes -= largest.pop();
        }
    }

    /// Forgets events that are too old.
    pub(crate) fn tidy(&self, now: Instant) {
        let before = now.checked_sub(self.bounds.age);
        let mut inside = self.lock();
        let windows = inside.windows.values_mut();
        let freed: usize = windows.map(|window| window.expire(before)).sum();
        inside.bytes -= freed;
    }

    /// Bytes of all events that are held.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    pub(crate) fn subscribe(&self, resource: &Arc<str>) -> signal::Receiver<()> {
        self.window(&mut self.lock(), resource).changed.subscribe()
    }

    /// Events after `position`, or `None` when some of them have left the window.
    pub(crate) fn after(&self, resource: &str, position: u64) -> Option<Vec<Arc<Event>>> {
        let inside = self.lock();
        let Some(window) = inside.windows.get(resource) else {
            return (position >= self.opened_at).then(Vec::new);
        };
        if position < window.floor {
            return None;
        }
        let start = window
            .events
            .partition_point(|(event, _)| event.record.revision <= position);
        let mut size = 0;
        let unseen = window.events.range(start..).take(CHUNK);
        let unseen = unseen.take_while(|(event, _)| {
            let fits = size < CHUNK_BYTES;
            size += event.record.json.len();
            fits
        });
        Some(unseen.map(|(event, _)| Arc::clone(event)).collect())
    }
}
