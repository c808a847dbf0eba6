//! How a line of the log reads, as text or JSON.
//!
//! Whatever is foreign in it stands within one line and does nothing to the
//! terminal that shows it.

use std::{
    error::Error,
    fmt::{self, Debug, Write},
};

use tracing::{
    Event, Level, Metadata,
    field::{Field, Visit},
};

use crate::printable::{Printable, spell};

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text { colours: bool },
    Json,
}

/// What is said where, the fields apart.
pub(super) struct Head<'a> {
    pub(super) time: &'a str,
    pub(super) metadata: &'static Metadata<'static>,
}

impl Format {
    /// Appends an event.
    pub(super) fn event(self, out: &mut String, head: &Head<'_>, event: &Event<'_>) {
        self.line(out, head, |fields| event.record(fields));
    }

    /// Appends that lines of a place were left out.
    pub(super) fn left_out(self, out: &mut String, head: &Head<'_>, count: u64, like: &str) {
        self.line(out, head, |fields| {
            fields.add("message", &format_args!("lines like this were left out"));
            fields.number("left_out", &count);
            fields.add("like", &format_args!("{like:?}"));
        });
    }

    fn line(self, out: &mut String, head: &Head<'_>, fill: impl FnOnce(&mut Fields<'_>)) {
        let (time, target) = (head.time, head.metadata.target());
        let level = head.metadata.level();
        // A string takes all that is written to it.
        let _ = match self {
            Self::Json => write!(
                out,
                r#"{{"timestamp":"{time}","level":"{level}","fields":{{"#
            ),
            Self::Text { colours: false } => write!(out, "{time} {level:>5} {target}:"),
            Self::Text { colours: true } => write!(
                out,
                "{DIM}{time}{PLAIN} {}{level:>5}{PLAIN} {DIM}{target}:{PLAIN}",
                colour(*level)
            ),
        };
        let mut fields = Fields {
            out,
            format: self,
            first: true,
        };
        fill(&mut fields);
        match self {
            Self::Json => {
                out.push_str(r#"},"target":"#);
                json(out, &target);
                out.push_str("}\n");
            }
            Self::Text { .. } => out.push('\n'),
        }
    }
}

const DIM: &str = "\x1b[2m";
const ITALIC: &str = "\x1b[3m";
const PLAIN: &str = "\x1b[0m";

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

struct Fields<'a> {
    out: &'a mut String,
    format: Format,
    first: bool,
}

impl Fields<'_> {
    /// A field whose value is text.
    fn add(&mut self, name: &str, value: &dyn fmt::Display) {
        self.name(name);
        match self.format {
            Format::Json => json(self.out, value),
            Format::Text { .. } => {
                let _ = write!(Printable(self.out), "{value}");
            }
        }
    }

    /// A field whose value is the same in JSON.
    fn number(&mut self, name: &str, value: &dyn fmt::Display) {
        self.name(name);
        let _ = write!(self.out, "{value}");
    }

    fn name(&mut self, name: &str) {
        let name = name.strip_prefix("r#").unwrap_or(name);
        let _ = match self.format {
            Format::Json => {
                let comma = if self.first { "" } else { "," };
                write!(self.out, r#"{comma}"{name}":"#)
            }
            Format::Text { .. } if name == "message" => self.out.write_char(' '),
            Format::Text { colours: true } => write!(self.out, " {ITALIC}{name}{PLAIN}="),
            Format::Text { colours: false } => write!(self.out, " {name}="),
        };
        self.first = false;
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field.name(), &format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match self.format {
            Format::Text { .. } if field.name() != "message" => {
                self.add(field.name(), &format_args!("{value:?}"));
            }
            _ => self.add(field.name(), &value),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add(field.name(), &crate::chain(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field.name(), &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.number(field.name(), &value);
        } else {
            self.add(field.name(), &value);
        }
    }
}

/// Appends a text as JSON has it, with what acts on a terminal spelt out too.
fn json(out: &mut String, value: &dyn fmt::Display) {
    out.push('"');
    let _ = write!(JsonText(out), "{value}");
    out.push('"');
}

struct JsonText<'a>(&'a mut String);

impl Write for JsonText<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(['"', '\\']) {
            let plain = part.trim_end_matches(['"', '\\']);
            spell(
                self.0,
                plain,
                |_| false,
                // All that acts has four digits at most.
                |out, character| write!(out, "\\u{:04x}", u32::from(character)),
            )?;
            if let Some(last) = part[plain.len()..].chars().next() {
                self.0.push('\\');
                self.0.push(last);
            }
        }
        Ok(())
    }
}

/// The message of an event, not more of it than names it.
pub(super) fn message(event: &Event<'_>) -> String {
    struct Message(String);
    impl Visit for Message {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            if field.name() == "message" {
                let _ = write!(Short(&mut self.0), "{value:?}");
            }
        }
    }
    let mut message = Message(String::new());
    event.record(&mut message);
    message.0
}

/// What of a message is kept.
const SHORT: usize = 120;

struct Short<'a>(&'a mut String);

impl Write for Short<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut room = SHORT.saturating_sub(self.0.len()).min(text.len());
        while !text.is_char_boundary(room) {
            room -= 1;
        }
        self.0.push_str(&text[..room]);
        Ok(())
    }
}
