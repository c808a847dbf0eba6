//! The log: lines on standard error, as text or JSON, filtered by level and target.

use std::{
    io::{self, IsTerminal},
    str::FromStr,
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer,
    filter::{ParseError, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// What an operator wants to see.
pub const DEFAULT_LEVEL: LevelFilter = LevelFilter::INFO;

/// How the log is written. Its filter is checked when the configuration is read.
#[derive(Debug, Clone, Default)]
pub struct LogConfig {
    /// JSON lines instead of text.
    pub json: bool,
    /// Which events are written.
    pub filter: Filter,
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
    /// Keeps a talkative crate down to `level`, unless the configuration names it.
    #[must_use]
    pub fn quiet(mut self, target: &str, level: LevelFilter) -> Self {
        let Filter(targets) = &self.filter;
        if !targets.iter().any(|(named, _)| named.starts_with(target)) {
            let targets = targets.clone().with_target(target, level);
            self.filter = Filter(targets);
        }
        self
    }

    /// Begins to log. A second call changes nothing: tests start daemons in one
    /// process.
    pub fn init(&self) {
        let Filter(filter) = self.filter.clone();
        let layer = fmt::layer().with_writer(io::stderr);
        let layer = if self.json {
            layer.json().boxed()
        } else {
            layer.with_ansi(io::stderr().is_terminal()).boxed()
        };
        let _ = tracing_subscriber::registry()
            .with(layer.with_filter(filter))
            .try_init();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn a_crate_is_quiet_unless_it_is_named() {
        let quiet = |text: &str| {
            let config = LogConfig {
                json: false,
                filter: text.parse().unwrap(),
            };
            let Filter(targets) = config.quiet("mqtt5", LevelFilter::WARN).filter;
            targets.would_enable("mqtt5::broker", &Level::INFO)
        };
        assert!(!quiet("debug"));
        assert!(quiet("warn,mqtt5=info"));
        assert!(quiet("warn,mqtt5::broker=debug"));
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        assert!("a=b=c".parse::<Filter>().is_err());
        assert!("info,x=loud".parse::<Filter>().is_err());
    }
}
