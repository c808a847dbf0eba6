//! A mapper in this process, on a thread of its own.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use longshore_abi as abi;
use tokio::sync::Notify;

use super::{MapperLog, SpawnError};
use crate::{
    batch::Batch,
    child,
    gather::{Emitted, Gatherer},
    offer::Sink,
    spec::MapperSpec,
    stats::Counters,
    wire::{self, FromMapper, ToMapper},
};

/// Messages to the thread. The driver sends the next commands when the last
/// ones were answered, so with ping and stop there are never more than these.
const MESSAGES: usize = 4;
/// Batches that may wait for the driver …
const MAX_BATCHES: usize = 64;
/// … and their bytes, though one batch always fits.
const MAX_BYTES: usize = 1 << 20;

/// The thread's two queues.
pub(crate) struct Thread {
    messages: SyncSender<ToMapper>,
    queue: Arc<Queue>,
}

/// What the mapper emits, bounded, and what its thread answers.
struct Queue {
    log: Arc<MapperLog>,
    counters: Arc<Counters>,
    items: Mutex<Items>,
    /// Signalled when there is room again, or never will be.
    room: Condvar,
    filled: Notify,
}

#[derive(Default)]
struct Items {
    gatherer: Gatherer,
    queue: VecDeque<Item>,
    batches: usize,
    bytes: usize,
    closed: bool,
}

enum Item {
    Batch(Bytes),
    Answer(FromMapper),
}

impl Thread {
    pub(super) fn spawn(
        spec: &MapperSpec,
        file: &Path,
        counters: &Arc<Counters>,
        log: &Arc<MapperLog>,
    ) -> Result<Self, SpawnError> {
        let (messages, inbox) = mpsc::sync_channel(MESSAGES);
        let queue = Arc::new(Queue {
            log: log.clone(),
            counters: counters.clone(),
            items: Mutex::default(),
            room: Condvar::new(),
            filled: Notify::new(),
        });
        let (file, on_thread) = (file.to_owned(), queue.clone());
        thread::Builder::new()
            .name(format!("mapper-{}", spec.name))
            .spawn(move || serve(file, on_thread, &inbox))
            .map_err(SpawnError::Thread)?;
        Ok(Self { messages, queue })
    }

    pub(super) fn send(&mut self, message: ToMapper) {
        // Full or gone means that the thread hangs or ended: the watchdog or
        // `Exited` tell.
        let _ = self.messages.try_send(message);
    }

    pub(super) async fn receive(&mut self) -> FromMapper {
        loop {
            let filled = self.queue.filled.notified();
            if let Some(item) = self.queue.pop() {
                return match item {
                    Item::Answer(answer) => answer,
                    Item::Batch(body) => match Batch::parse(body) {
                        Ok(batch) => FromMapper::Batch(batch),
                        Err(fault) => FromMapper::Exited {
                            reason: format!("broke the contract: malformed batch: {fault}"),
                            fault: true,
                        },
                    },
                };
            }
            filled.await;
        }
    }

    pub(super) fn discard(self) {
        // The thread sees the end of its messages when it comes back, if ever.
        self.queue.close();
    }
}

/// The thread: what a child's first thread does, with a queue for the socket.
fn serve(file: PathBuf, queue: Arc<Queue>, inbox: &mpsc::Receiver<ToMapper>) {
    // Leaked: threads that the mapper leaves behind may use it for ever.
    let sink: &'static Arc<Queue> = Box::leak(Box::new(queue.clone()));
    let mut instance = None;
    for message in inbox {
        let answer = match message {
            ToMapper::Start(config) => match child::start(&file, sink, &config) {
                Ok(made) => {
                    instance = Some(made);
                    FromMapper::Ready
                }
                Err(failed) => failed,
            },
            ToMapper::Commands(commands) => FromMapper::Answer(
                instance
                    .as_ref()
                    .map_or(abi::STATUS_STOPPED, |instance| instance.submit(&commands)),
            ),
            ToMapper::Ping => FromMapper::Pong { of_child: None },
            ToMapper::Stop(budget) => {
                let status = instance
                    .as_ref()
                    .map_or(abi::STATUS_OK, |instance| instance.stop(budget));
                if let Some(instance) = instance.take() {
                    instance.destroy();
                }
                queue.push(Item::Answer(FromMapper::Stopped(status)));
                queue.close();
                return;
            }
        };
        queue.push(Item::Answer(answer));
    }
    // Discarded. What panicked or broke the contract still has to go.
    if let Some(instance) = instance {
        instance.stop(Duration::ZERO);
        instance.destroy();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Items> {
        // No code that panics runs under the lock.
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, item: Item) {
        self.lock().queue.push_back(item);
        self.filled.notify_one();
    }

    fn pop(&self) -> Option<Item> {
        let mut items = self.lock();
        let item = items.queue.pop_front()?;
        if let Item::Batch(body) = &item {
            items.batches -= 1;
            items.bytes -= body.len();
            drop(items);
            self.room.notify_all();
        }
        Some(item)
    }

    fn close(&self) {
        self.lock().closed = true;
        self.room.notify_all();
    }
}

impl Items {
    fn has_room(&self) -> bool {
        self.batches < MAX_BATCHES && self.bytes < MAX_BYTES
    }
}

impl Sink for Arc<Queue> {
    fn emit(&self, batch: Emitted<'_>) -> i32 {
        let mut items = self.lock();
        if items.closed {
            return abi::STATUS_STOPPED;
        }
        if !items.has_room() {
            self.counters.blocked_emit();
            return abi::STATUS_WOULD_BLOCK;
        }
        let gathered = match items.gatherer.gather(batch) {
            Ok(gathered) => gathered,
            Err(status) => return status,
        };
        let mut body = Vec::new();
        gathered.append_to(&mut body, wire::HEADER);
        items.batches += 1;
        items.bytes += body.len();
        items.queue.push_back(Item::Batch(body.into()));
        drop(items);
        self.filled.notify_one();
        abi::STATUS_OK
    }

    fn wait_writable(&self, timeout: Duration) -> i32 {
        let end = Instant::now() + timeout;
        let mut items = self.lock();
        loop {
            if items.closed {
                return abi::STATUS_STOPPED;
            }
            if items.has_room() {
                return abi::STATUS_OK;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return abi::STATUS_TIMEOUT;
            }
            items = self
                .room
                .wait_timeout(items, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn log(&self, level: u32, message: &str) {
        self.log.line(level, message, Instant::now());
    }
}
