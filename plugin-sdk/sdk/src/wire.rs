//! What goes over the wire, for whoever wonders: with `trace: true` in a device's
//! protocol each piece of bytes stands in the log with its direction, and behind
//! each exchange what it was taken for.
//!
//! A protocol calls [`sent`] and [`came`] where it writes and reads bytes. While
//! nobody traces that costs a look at one flag.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{Host, Level, Reading, Samples};

/// The key that turns it on.
pub(crate) const KEY: &str = "trace";
/// Bytes of one piece that are shown.
const SHOWN: usize = 256;

tokio::task_local! {
    static LINE: Arc<Line>;
}

/// Bytes that were written to the device.
pub fn sent(bytes: &[u8]) {
    tell("->", bytes);
}

/// Bytes that came from it.
pub fn came(bytes: &[u8]) {
    tell("<-", bytes);
}

/// Tells the operator something about the bus that no sample can say.
pub fn warn(text: &str) {
    let _ = LINE.try_with(|line| line.host.log(Level::Warn, &format!("{} {text}", line.bus)));
}

fn tell(direction: &str, bytes: &[u8]) {
    // Outside of a schedule, as in a protocol's own tests, nobody traces.
    let _ = LINE.try_with(|line| {
        if line.is_on() && !bytes.is_empty() {
            line.say(&format!("{direction} {}", shown(bytes)));
        }
    });
}

/// `23 30 31 0D  "#01\r"`
fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(SHOWN)];
    let mut text = String::with_capacity(cut.len() * 4);
    for byte in cut {
        // A text never fails to take more.
        let _ = write!(text, "{byte:02X} ");
    }
    if cut.len() < bytes.len() {
        let _ = write!(text, "… ({} bytes) ", bytes.len());
    }
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t');
    if cut.iter().all(is_text) {
        let _ = write!(text, " \"{}\"", cut.escape_ascii());
    }
    text.trim_end().to_owned()
}

/// One bus, and who wants to see it.
pub(crate) struct Line {
    on: AtomicBool,
    host: Host,
    bus: String,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    /// Devices with `trace: true`.
    traced: BTreeSet<u32>,
    /// `default/boiler temperature` by the id of the point.
    points: HashMap<u32, (u32, String)>,
}

impl Line {
    pub(crate) fn new(host: Host, bus: String) -> Arc<Self> {
        Arc::new(Self {
            on: AtomicBool::new(false),
            host,
            bus,
            inside: Mutex::default(),
        })
    }

    /// Carries out what is done on the bus, seen by this line.
    pub(crate) fn scope<F: Future>(self: Arc<Self>, work: F) -> impl Future<Output = F::Output> {
        LINE.scope(self, work)
    }

    /// A device was configured: whether it is traced, and its points.
    pub(crate) fn configured<'p>(
        &self,
        device: u32,
        name: &str,
        traced: bool,
        points: impl Iterator<Item = (u32, &'p str)>,
    ) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.points.retain(|_, (of, _)| *of != device);
        if traced {
            inside.traced.insert(device);
            let named = points.map(|(id, point)| (id, (device, format!("{name} {point}"))));
            inside.points.extend(named);
        } else {
            inside.traced.remove(&device);
        }
        self.on.store(!inside.traced.is_empty(), Ordering::Relaxed);
    }

    /// A device is gone.
    pub(crate) fn removed(&self, device: u32) {
        self.configured(device, "", false, std::iter::empty());
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// What an exchange was taken for.
    pub(crate) fn taken_for(&self, what: &str, samples: &Samples, error: Option<&str>) {
        if !self.is_on() {
            return;
        }
        let inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for sample in samples.iter() {
            let Some((_, name)) = inside.points.get(&sample.point) else {
                continue;
            };
            // A text never fails to take more.
            let _ = match sample.reading {
                Reading::Bool(value) => write!(text, "{name} = {value}; "),
                Reading::Int(value) => write!(text, "{name} = {value}; "),
                Reading::Uint(value) => write!(text, "{name} = {value}; "),
                Reading::Float(value) => write!(text, "{name} = {value}; "),
                Reading::String(value) => write!(text, "{name} = {value:?}; "),
                Reading::Bytes(value) => write!(text, "{name} = {}; ", shown(value)),
                Reading::Bad { message, .. } => write!(text, "{name}: {message}; "),
            };
        }
        drop(inside);
        if let Some(error) = error {
            text.push_str(error);
        }
        let text = text.trim_end_matches("; ");
        let text = if text.is_empty() { "done" } else { text };
        self.say(&format!("   {what}: {text}"));
    }

    fn say(&self, text: &str) {
        self.host
            .log(Level::Info, &format!("wire {} {text}", self.bus));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_digits_and_as_text_where_they_are_one() {
        assert_eq!(shown(b"#01\r"), "23 30 31 0D  \"#01\\r\"");
        assert_eq!(shown(&[1, 4, 0, 255]), "01 04 00 FF");
        assert!(shown(&[0; 300]).ends_with("… (300 bytes)"));
    }
}
