//! What a mapper says goes to the log, with its name, and not too much of it.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use longshore_abi as abi;
use tokio::{io::AsyncReadExt, net::unix::pipe};

use crate::{
    pace::{LINES_EACH_SECOND, Pace},
    stats::Counters,
    wire::MAX_LOG_LINE,
};

/// The log of one mapper, whatever instance of it speaks and from which thread.
pub(crate) struct MapperLog {
    mapper: Arc<str>,
    counters: Arc<Counters>,
    pace: Mutex<Pace>,
}

impl MapperLog {
    pub(crate) fn new(mapper: Arc<str>, counters: Arc<Counters>, now: Instant) -> Self {
        Self {
            mapper,
            counters,
            pace: Mutex::new(Pace::new(now)),
        }
    }

    /// Writes a line that the mapper logs, if there is room for it.
    pub(crate) fn line(&self, level: u32, message: &str, now: Instant) {
        if is_unheard(level) {
            return;
        }
        self.tell_lost(now);
        if self.pace().takes(now) {
            write_line(&self.mapper, level, message);
        } else {
            self.counters.lost_log_lines(1);
        }
    }

    /// Lines of it were left out before they came here.
    pub(crate) fn lost_before(&self, lines: u64, now: Instant) {
        self.pace().missed(lines);
        self.counters.lost_log_lines(lines);
        self.tell_lost(now);
    }

    /// Tells how many lines were left out, at most once a second.
    pub(crate) fn tell_lost(&self, now: Instant) {
        let lost = self.pace().lost(now);
        tell_lost(&self.mapper, lost, "logs");
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        // Nothing that panics runs under the lock.
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody wants lines of this level: they cost no room.
fn is_unheard(level: u32) -> bool {
    let loud = [abi::LOG_ERROR, abi::LOG_WARN, abi::LOG_INFO].contains(&level);
    !loud && !tracing::enabled!(tracing::Level::DEBUG)
}

fn tell_lost(mapper: &str, lines: u64, does: &str) {
    if lines > 0 {
        tracing::warn!(
            mapper,
            lines,
            "the mapper {does} more than {LINES_EACH_SECOND} lines a second; the rest was left out"
        );
    }
}

/// Writes a line of the mapper's log.
fn write_line(mapper: &str, level: u32, message: &str) {
    let message = escaped(message);
    match level {
        abi::LOG_ERROR => tracing::error!(mapper, "{message}"),
        abi::LOG_WARN => tracing::warn!(mapper, "{message}"),
        abi::LOG_INFO => tracing::info!(mapper, "{message}"),
        _ => tracing::debug!(mapper, "{message}"),
    }
}

/// A text in which nothing moves the cursor of a terminal or begins a line.
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// Forwards what the child prints, line by line, until it ends.
pub(crate) async fn forward(mut output: pipe::Receiver, mapper: Arc<str>, counters: Arc<Counters>) {
    let mut lines = Lines {
        mapper,
        counters,
        line: Vec::new(),
        pace: Pace::new(Instant::now()),
    };
    let mut buffer = [0; 1024];
    // An error is the end as well: there is nothing more to hear.
    while let Ok(read @ 1..) = output.read(&mut buffer).await {
        lines.feed(&buffer[..read], Instant::now());
    }
    lines.end();
}

struct Lines {
    mapper: Arc<str>,
    counters: Arc<Counters>,
    line: Vec<u8>,
    pace: Pace,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8], now: Instant) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") || self.line.len() >= MAX_LOG_LINE {
                self.end_line(now);
            }
        }
    }

    fn end_line(&mut self, now: Instant) {
        tell_lost(&self.mapper, self.pace.lost(now), "prints");
        if self.pace.takes(now) {
            let line = String::from_utf8_lossy(&self.line);
            let line = line.trim_end();
            if !line.is_empty() {
                // What a mapper prints, rather than logs, is seldom good news.
                write_line(&self.mapper, abi::LOG_WARN, line);
            }
        } else {
            self.counters.lost_log_lines(1);
        }
        self.line.clear();
    }

    fn end(&mut self) {
        self.end_line(Instant::now());
        tell_lost(&self.mapper, self.pace.last_lost(), "prints");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_mapper_logs_is_bounded_and_counted() {
        let counters = Arc::new(Counters::default());
        let begin = Instant::now();
        let log = MapperLog::new("x".into(), counters.clone(), begin);
        for _ in 0..150 {
            log.line(abi::LOG_ERROR, "noise", begin);
        }
        // What nobody hears takes no room and is no loss.
        log.line(abi::LOG_DEBUG, "detail", begin);
        assert_eq!(counters.read().lost_log_lines, 50);
        log.lost_before(7, begin);
        assert_eq!(counters.read().lost_log_lines, 57);
        log.tell_lost(begin);
        log.tell_lost(begin + std::time::Duration::from_secs(1));
        assert_eq!(log.pace().last_lost(), 0, "they are told");
    }

    #[test]
    fn no_control_character_reaches_the_log() {
        assert_eq!(escaped("Kessel 21 °C"), "Kessel 21 °C");
        assert_eq!(
            escaped("\u{1b}[2J\nERROR forged\u{9b}"),
            "\\u{1b}[2J\\nERROR forged\\u{9b}"
        );
    }
}
