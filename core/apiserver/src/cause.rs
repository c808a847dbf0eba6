//! What is wrong with an object, in the words that clients know.

use std::fmt;
use std::io;

use serde_json::{Value, json};

use crate::path::begin;

/// Faults told for one object; more would not be read.
const TOLD: usize = 50;

/// Bytes of all that is told.
const BYTES: usize = 64 * 1024;

/// Bytes of a value that are told.
const VALUE: usize = 1024;

/// One fault of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) field: String,
}

/// The beginning of a value as JSON. Stops to write where it is cut, so that a large
/// value costs no more than a small one.
fn print(value: &Value) -> String {
    let mut text = Cut(Vec::new());
    // An error says that it was cut.
    let whole = serde_json::to_writer(&mut text, value).is_ok();
    let text = String::from_utf8_lossy(&text.0);
    if whole {
        return text.into_owned();
    }
    format!("{}…", begin(&text, VALUE))
}

struct Cut(Vec<u8>);

impl io::Write for Cut {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = VALUE - self.0.len();
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Cause {
    fn new(reason: &'static str, field: &dyn fmt::Display, message: String) -> Cause {
        let mut field = field.to_string();
        if field.is_empty() {
            field = "<nil>".to_owned();
        }
        Cause {
            reason,
            message,
            field,
        }
    }

    pub(crate) fn invalid(field: impl fmt::Display, value: &Value, detail: &str) -> Cause {
        Cause::new(
            "FieldValueInvalid",
            &field,
            format!("Invalid value: {}: {detail}", print(value)),
        )
    }

    /// The same for a value of another type than it must be.
    pub(crate) fn wrong_type(field: impl fmt::Display, value: &Value, detail: &str) -> Cause {
        let cause = Cause::invalid(field, value, detail);
        Cause {
            reason: "FieldValueTypeInvalid",
            ..cause
        }
    }

    pub(crate) fn required(field: impl fmt::Display) -> Cause {
        Cause::new("FieldValueRequired", &field, "Required value".into())
    }

    pub(crate) fn missing(field: impl fmt::Display, detail: &str) -> Cause {
        Cause::new(
            "FieldValueRequired",
            &field,
            format!("Required value: {detail}"),
        )
    }

    pub(crate) fn duplicate(field: impl fmt::Display, value: &Value) -> Cause {
        Cause::new(
            "FieldValueDuplicate",
            &field,
            format!("Duplicate value: {}", print(value)),
        )
    }

    pub(crate) fn forbidden(field: impl fmt::Display, detail: &str) -> Cause {
        Cause::new(
            "FieldValueForbidden",
            &field,
            format!("Forbidden: {detail}"),
        )
    }

    pub(crate) fn unsupported(field: impl fmt::Display, value: &Value, allowed: &[Value]) -> Cause {
        let list: Vec<String> = allowed.iter().take(TOLD).map(print).collect();
        let text = format!(
            "Unsupported value: {}: supported values: {}",
            print(value),
            list.join(", ")
        );
        Cause::new("FieldValueNotSupported", &field, text)
    }

    /// More bytes than it may have. The value itself is too long to be told.
    pub(crate) fn too_long(field: impl fmt::Display, most: usize) -> Cause {
        let text = format!("Too long: may not be more than {most} bytes");
        Cause::new("FieldValueTooLong", &field, text)
    }

    /// The object asks for more work than one request may cost.
    pub(crate) fn too_much(field: impl fmt::Display, detail: &str) -> Cause {
        Cause::new("FieldValueTooMany", &field, format!("Too many: {detail}"))
    }

    pub(crate) fn text(&self) -> String {
        format!("{}: {}", self.field, self.message)
    }

    pub(crate) fn json(&self) -> Value {
        json!({"reason": self.reason, "message": self.message, "field": self.field})
    }
}

/// Steps that the check of one object may take: about a second of one thread. An object of
/// the largest size takes some millions, unless its schema is made to cost.
const STEPS: u64 = 50_000_000;

/// The faults of one object: the first ones in words, of the others how many. Also
/// what it cost to find them, which has a bound.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    told: Vec<Cause>,
    bytes: usize,
    more: usize,
    /// Nobody reads the words; the first one is enough.
    silent: bool,
    steps: u64,
}

impl Faults {
    /// None yet.
    pub(crate) fn new() -> Faults {
        Faults::default()
    }

    /// Whether `look` finds one, without a word. What it costs counts here.
    pub(crate) fn finds(&mut self, look: impl FnOnce(&mut Faults)) -> bool {
        let mut silent = Faults {
            silent: true,
            steps: self.steps,
            ..Faults::default()
        };
        look(&mut silent);
        // Who goes beyond the bound there, goes beyond it here.
        self.spend((silent.steps - self.steps) as usize);
        !silent.is_empty()
    }

    /// Takes so many steps. False, with a fault, when they are used up.
    pub(crate) fn spend(&mut self, steps: usize) -> bool {
        let before = self.steps;
        self.steps = before.saturating_add(steps as u64);
        if self.steps <= STEPS {
            return true;
        }
        if before <= STEPS {
            let detail = "to check this object by its schema takes more than one request may cost";
            self.told.push(Cause::too_much("", detail));
        }
        self.more += usize::from(self.silent);
        false
    }

    /// None yet, but so many steps are left only.
    #[cfg(test)]
    pub(crate) fn with_steps(left: u64) -> Faults {
        Faults {
            steps: STEPS - left,
            ..Faults::default()
        }
    }

    /// What it took so far.
    #[cfg(test)]
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// Adds one. Its words are made only where they are told.
    pub(crate) fn push(&mut self, cause: impl FnOnce() -> Cause) {
        if self.silent || self.told.len() >= TOLD || self.bytes >= BYTES {
            self.more += 1;
            return;
        }
        let cause = cause();
        self.bytes += cause.field.len() + cause.message.len();
        self.told.push(cause);
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty() && self.more == 0
    }

    /// Whether nothing is gained by looking further.
    pub(crate) fn is_settled(&self) -> bool {
        (self.silent && self.more > 0) || self.steps > STEPS
    }

    /// Those in words.
    pub(crate) fn told(&self) -> &[Cause] {
        &self.told
    }

    /// How many others there are.
    pub(crate) fn more(&self) -> usize {
        self.more
    }
}

/// Short texts of which there may be very many: the first ones, and how many more.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    told: Vec<String>,
    bytes: usize,
    more: usize,
}

/// As many as Kubernetes tells of one kind.
const TEXTS: usize = 100;

impl Texts {
    /// Adds one; it is made only where it is told.
    pub(crate) fn push(&mut self, text: impl FnOnce() -> String) {
        if self.told.len() >= TEXTS || self.bytes >= BYTES {
            self.more += 1;
            return;
        }
        let text = text();
        self.bytes += text.len();
        self.told.push(text);
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Adds those of another list, each as `change` says.
    pub(crate) fn extend(&mut self, other: &Texts, change: impl Fn(&str) -> String) {
        for text in &other.told {
            self.push(|| change(text));
        }
        self.more += other.more;
    }

    /// Those that are told, with a word about the rest.
    pub(crate) fn into_list(self) -> Vec<String> {
        let mut list = self.told;
        if self.more > 0 {
            list.push(format!("and {} more", self.more));
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_value_is_cut_where_it_is_told() {
        let cause = Cause::invalid("spec", &json!(vec![7; 1_000_000]), "is too long");
        assert!(cause.message.len() < 2 * VALUE, "{}", cause.message.len());
        assert!(cause.message.ends_with("…: is too long"));
        assert_eq!(
            Cause::invalid("", &json!({"a": "b"}), "x").text(),
            r#"<nil>: Invalid value: {"a":"b"}: x"#
        );
    }

    #[test]
    fn faults_are_told_up_to_a_bound_and_counted_beyond() {
        let mut faults = Faults::new();
        for n in 0..1000 {
            faults.push(|| Cause::required(format_args!("f{n}")));
        }
        assert_eq!((faults.told().len(), faults.more()), (TOLD, 1000 - TOLD));
        let mut faults = Faults::new();
        assert!(faults.finds(|silent| {
            silent.push(|| unreachable!("nobody reads it"));
            assert!(silent.is_settled());
        }));
        assert!(faults.is_empty() && !faults.is_settled());
    }
}
