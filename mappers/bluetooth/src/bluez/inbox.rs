//! What happened to one device, in order, until its link takes it.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::Notify;

use crate::{advert::Advert, bus::Target};

/// A device that floods loses its oldest values: the newest count.
const ROOM: usize = 256;

/// Something that happened to a device.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It was heard.
    Advert(Advert),
    /// A characteristic has a new value.
    Value {
        /// Its object.
        path: String,
        /// The value.
        bytes: Vec<u8>,
    },
    /// Its connection ended.
    Disconnected,
    /// Its services have changed: they are found anew.
    Unresolved,
    /// BlueZ has forgotten it.
    Removed,
    /// Its adapter was pulled or switched off.
    AdapterDown,
    /// bluetoothd ended, or the bus.
    Gone,
}

/// An event with its time.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// What.
    pub event: Event,
    /// When, in nanoseconds since the Unix epoch.
    pub time_ns: i64,
}

/// The events of one device.
#[derive(Debug)]
pub struct Inbox {
    /// The adapter's object.
    pub adapter: String,
    /// Which device.
    pub target: Target,
    queue: Mutex<VecDeque<Received>>,
    wake: Notify,
}

impl Inbox {
    pub(super) fn new(adapter: String, target: Target) -> Self {
        Self {
            adapter,
            target,
            queue: Mutex::default(),
            wake: Notify::new(),
        }
    }

    pub(super) fn put(&self, event: Event) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() == ROOM {
            queue.pop_front();
        }
        queue.push_back(Received {
            event,
            time_ns: now_ns(),
        });
        drop(queue);
        self.wake.notify_one();
    }

    /// The oldest event, if there is one.
    pub fn take(&self) -> Option<Received> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.pop_front()
    }

    /// Waits until there may be one; cancel safe, as the wake-up is kept.
    pub async fn ready(&self) {
        self.wake.notified().await;
    }
}

/// The time now, in nanoseconds since the Unix epoch.
pub(crate) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    })
}
