//! What a mapper says goes to the log, with its name, and not too much of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use longshore_abi as abi;
use tokio::{io::AsyncReadExt, net::unix::pipe};

use crate::{stats::Counters, wire::MAX_LOG_LINE};

/// Lines for each second of a mapper's standard output; the rest is counted.
const LINES_EACH_SECOND: u32 = 100;

/// Writes a line of the mapper's log.
pub(crate) fn write_line(mapper: &str, level: u32, message: &str) {
    match level {
        abi::LOG_ERROR => tracing::error!(mapper, "{message}"),
        abi::LOG_WARN => tracing::warn!(mapper, "{message}"),
        abi::LOG_INFO => tracing::info!(mapper, "{message}"),
        _ => tracing::debug!(mapper, "{message}"),
    }
}

/// Forwards what the child prints, line by line, until it ends.
pub(crate) async fn forward(mut output: pipe::Receiver, mapper: Arc<str>, counters: Arc<Counters>) {
    let mut lines = Lines {
        mapper,
        counters,
        line: Vec::new(),
        second: Instant::now(),
        count: 0,
        lost: 0,
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
    second: Instant,
    count: u32,
    lost: u32,
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
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            self.tell_lost();
            (self.second, self.count) = (now, 0);
        }
        self.count += 1;
        if self.count > LINES_EACH_SECOND {
            self.lost += 1;
            self.counters.lost_log_lines(1);
        } else {
            let line = String::from_utf8_lossy(&self.line);
            let line = line.trim_end();
            if !line.is_empty() {
                // What a mapper prints, rather than logs, is seldom good news.
                write_line(&self.mapper, abi::LOG_WARN, line);
            }
        }
        self.line.clear();
    }

    fn tell_lost(&mut self) {
        if self.lost > 0 {
            tracing::warn!(
                mapper = &*self.mapper,
                lines = self.lost,
                "the mapper prints too much; lines were dropped"
            );
            self.lost = 0;
        }
    }

    fn end(&mut self) {
        self.end_line(Instant::now());
        self.tell_lost();
    }
}
