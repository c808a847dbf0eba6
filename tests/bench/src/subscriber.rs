//! The client at the end of the way: counts what arrives.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Instant,
};

use anyhow::Context as _;
use serde_json::Value as Json;

use crate::{
    layout::SETPOINT_NAME,
    mqtt::{Connection, Publisher},
    procfs,
};

/// All batches of all devices.
pub const BATCHES: &str = "longshore/+/+/batch";
/// All documents of all devices.
pub const DOCUMENTS: &str = "$hw/events/device/+/+/twin/update/document";

#[derive(Default)]
struct Heard {
    points: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    documents: AtomicU64,
    /// When each value of a setpoint was first seen.
    setpoints: Mutex<HashMap<u64, Instant>>,
    /// When each batch came, by its topic.
    arrivals: Mutex<HashMap<Vec<u8>, Vec<Instant>>>,
}

/// What is kept of the messages beside their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// When each value of a setpoint was first seen.
    Setpoints,
    /// When each batch came.
    Arrivals,
}

/// What has arrived.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Values in batches.
    pub points: u64,
    /// Messages.
    pub messages: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Properties in documents.
    pub documents: u64,
}

/// A subscriber on a thread of its own; it ends with this value.
pub struct Subscriber {
    heard: Arc<Heard>,
    publisher: Publisher,
    tid: u32,
    thread: Option<JoinHandle<()>>,
}

impl Subscriber {
    /// Subscribes; returns once the broker has granted it.
    pub fn start(broker: SocketAddr, filters: &[&str], keep: Keep) -> anyhow::Result<Self> {
        let mut connection = Connection::subscribe(broker, "longshore-bench", filters)
            .with_context(|| format!("cannot subscribe at {broker}"))?;
        let publisher = connection
            .publisher()
            .context("cannot share the connection")?;
        let heard = Arc::new(Heard::default());
        let (started, wait) = mpsc::sync_channel(1);
        let hears = heard.clone();
        let thread = std::thread::Builder::new()
            .name("subscriber".to_owned())
            .spawn(move || {
                // Nobody waits any more only if the starter has panicked.
                let _ = started.send(procfs::thread_id());
                // It ends when the connection does, by either side.
                let _ = connection.listen(|topic, payload| hears.message(topic, payload, keep));
            })
            .context("cannot start a thread")?;
        let tid = wait.recv().context("the subscriber's thread ended")?;
        Ok(Self {
            heard,
            publisher,
            tid,
            thread: Some(thread),
        })
    }

    /// The thread that it runs on.
    pub fn tid(&self) -> u32 {
        self.tid
    }

    /// So far.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            points: read(&self.heard.points),
            messages: read(&self.heard.messages),
            bytes: read(&self.heard.bytes),
            documents: read(&self.heard.documents),
        }
    }

    /// Whether the connection still stands.
    pub fn is_alive(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }

    /// The client, to publish with.
    pub fn publisher(&mut self) -> &mut Publisher {
        &mut self.publisher
    }

    /// When each value of a setpoint was first seen.
    pub fn setpoints(&self) -> HashMap<u64, Instant> {
        self.heard.setpoints().clone()
    }

    /// When the batches of each topic have come so far; forgets them.
    pub fn take_arrivals(&self) -> HashMap<Vec<u8>, Vec<Instant>> {
        std::mem::take(&mut self.heard.arrivals())
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.publisher.close();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; there is nothing to add.
            let _ = thread.join();
        }
    }
}

impl Heard {
    fn arrivals(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Vec<Instant>>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn setpoints(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.setpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn message(&self, topic: &[u8], payload: &[u8], keep: Keep) {
        let add = |counter: &AtomicU64, by: u64| counter.fetch_add(by, Ordering::Relaxed);
        add(&self.messages, 1);
        add(&self.bytes, payload.len() as u64);
        if !topic.ends_with(b"/batch") {
            add(&self.documents, document_size(payload));
            return;
        }
        if keep == Keep::Arrivals {
            let mut arrivals = self.arrivals();
            let now = Instant::now();
            match arrivals.get_mut(topic) {
                Some(times) => times.push(now),
                None => drop(arrivals.insert(topic.to_vec(), vec![now])),
            }
        }
        if keep == Keep::Setpoints
            && let Some(value) = setpoint(payload)
        {
            self.setpoints().entry(value).or_insert_with(Instant::now);
        }
        add(&self.points, batch_size(payload));
    }
}

/// How many values a batch holds. Values are numbers, so each has one colon and
/// two quotes; where the quotes say otherwise there is a `quality`, and the
/// message is taken apart properly.
fn batch_size(payload: &[u8]) -> u64 {
    const HEAD: &[u8] = b"\"values\":{";
    let Some(start) = payload
        .windows(HEAD.len())
        .take(64)
        .position(|bytes| bytes == HEAD)
    else {
        return 0;
    };
    let values = &payload[start + HEAD.len()..];
    let (colons, quotes) = (count(values, b':'), count(values, b'"'));
    if quotes == 2 * colons {
        return colons;
    }
    let message: Json = serde_json::from_slice(payload).unwrap_or_default();
    message["values"]
        .as_object()
        .map_or(0, |values| values.len() as u64)
}

/// By blocks whose sums fit a byte, which the compiler turns into vectors.
fn count(bytes: &[u8], wanted: u8) -> u64 {
    let block = |block: &[u8]| {
        block
            .iter()
            .fold(0_u8, |sum, byte| sum + u8::from(*byte == wanted))
    };
    bytes.chunks(255).map(|chunk| u64::from(block(chunk))).sum()
}

fn document_size(payload: &[u8]) -> u64 {
    let message: Json = serde_json::from_slice(payload).unwrap_or_default();
    message["twin"]
        .as_object()
        .map_or(0, |twin| twin.len() as u64)
}

/// The setpoint in a batch. No other name begins with its letter, so few places are looked at.
fn setpoint(payload: &[u8]) -> Option<u64> {
    let mut rest = payload;
    loop {
        let at = rest
            .iter()
            .position(|byte| *byte == SETPOINT_NAME.as_bytes()[0])?;
        rest = &rest[at..];
        if let Some(value) = rest.strip_prefix(SETPOINT_NAME.as_bytes()) {
            let digits = value.strip_prefix(b"\":")?;
            let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
            return std::str::from_utf8(&digits[..end]).ok()?.parse().ok();
        }
        rest = &rest[1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_values_of_a_batch_and_not_its_qualities() {
        let good = br#"{"timestamp":1732000000123,"values":{"p000":1.25,"p001":-3}}"#;
        let bad = br#"{"timestamp":1732000000123,"values":{"p000":1.25},"quality":{"p001":"bad"}}"#;
        assert_eq!(batch_size(good), 2);
        assert_eq!(batch_size(bad), 1);
        assert_eq!(batch_size(br#"{"timestamp":1,"values":{}}"#), 0);
        assert_eq!(batch_size(b"no batch"), 0);
    }

    #[test]
    fn finds_the_setpoint_wherever_it_stands() {
        let alone = br#"{"timestamp":1732000000123,"values":{"setpoint":417}}"#;
        let among = br#"{"timestamp":1732000000123,"values":{"p000":1.25,"setpoint":18,"p001":2}}"#;
        assert_eq!(setpoint(alone), Some(417));
        assert_eq!(setpoint(among), Some(18));
        assert_eq!(setpoint(br#"{"timestamp":1,"values":{"p000":1.25}}"#), None);
    }

    #[test]
    fn counts_long_blocks_without_overflow() {
        assert_eq!(count(&[b':'; 1000], b':'), 1000);
    }

    #[test]
    fn counts_the_properties_of_a_document() {
        let payload =
            br#"{"event_id":"","timestamp":1,"twin":{"a":{"last":{},"current":{}},"b":{}}}"#;
        assert_eq!(document_size(payload), 2);
    }
}
