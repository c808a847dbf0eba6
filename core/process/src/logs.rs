//! The log: lines on standard error, as text or JSON, filtered by level and target.
//!
//! # Guarantees
//!
//! - No kind of line floods the log: after a burst it is a line a second for each
//!   device, mapper or node that it is about, and a count of what was left out.
//! - An event is one line; what is foreign in it does nothing to a terminal.

mod layer;
mod limit;
mod lines;

use std::{
    io::{self, IsTerminal},
    str::FromStr,
    sync::OnceLock,
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer,
    filter::{ParseError, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use self::{layer::Lines, lines::Format};

/// What writes the log of this process, for its end.
static LINES: OnceLock<Lines> = OnceLock::new();

/// What an operator wants to see.
pub const DEFAULT_LEVEL: LevelFilter = LevelFilter::INFO;

/// How the log is written. Its filter is checked when the configuration is read.
#[derive(Debug, Clone, Default)]
pub struct LogConfig {
    /// JSON lines instead of text.
    pub json: bool,
    /// Which events are written.
    pub filter: Filter,
    /// Targets that hand on what others say, and bound it themselves.
    relayed: Vec<String>,
}

/// Which events are written, such as `info` or `info,longshore_edge=debug`.
///
/// Not the filter of tracing with regular expressions: it alone would be a tenth
/// of `edgecore`.
#[derive(Debug, Clone)]
pub struct Filter(Targets);

impl FromStr for Filter {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.parse().map(Self)
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self(Targets::new().with_default(DEFAULT_LEVEL))
    }
}

impl LogConfig {
    /// What an operator wants to see, as JSON lines or as text.
    pub fn new(json: bool) -> Self {
        Self {
            json,
            ..Self::default()
        }
    }

    /// At the target `target` many kinds of lines come through one place, which
    /// bounds each of its sources itself: it gets more room than one kind.
    #[must_use]
    pub fn relayed(mut self, target: &str) -> Self {
        self.relayed.push(target.to_owned());
        self
    }

    /// Begins to log. A second call changes nothing: tests start daemons in one
    /// process.
    pub fn init(&self) {
        let Filter(filter) = self.filter.clone();
        let format = if self.json {
            Format::Json
        } else {
            Format::Text {
                colours: io::stderr().is_terminal(),
            }
        };
        let lines = Lines::new(format, self.relayed.clone());
        let begun = tracing_subscriber::registry()
            .with(lines.clone().with_filter(filter))
            .try_init();
        if begun.is_ok() {
            let _ = LINES.set(lines);
        }
    }
}

/// Tells what was left out and not told yet, at the end of the process.
pub fn finish() {
    if let Some(lines) = LINES.get() {
        lines.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_filter_is_refused() {
        assert!("a=b=c".parse::<Filter>().is_err());
        assert!("info,x=loud".parse::<Filter>().is_err());
    }
}
