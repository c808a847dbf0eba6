//! The keys of a configuration, said once: the reader ([`crate::config::Section`])
//! takes from this table which keys there are, what may stand there and what
//! is taken where one is left out; the mapper's schema and the reference pages
//! are made of it ([`crate::schema::Document`]).
//!
//! ```
//! use longshore_sdk::{config::Section, keys::{Default, Form, Table, key}};
//!
//! const DEVICE: Table = Table {
//!     about: "Where the device is.",
//!     keys: &[&[
//!         key("url", Form::Text, "Its address.").required("no address: write `tcp://HOST:PORT`"),
//!         key("timeoutMs", Form::Integer(1, 60_000), "Until an answer must have come.")
//!             .or(Default::Whole(1000)),
//!     ]],
//!     examples: &[r#"{"url": "tcp://192.0.2.7:7000"}"#],
//! };
//!
//! let config = serde_json::json!({"url": "tcp://192.0.2.7:7000", "timeoutms": 5});
//! let section = Section::new(&DEVICE, "protocol", config.as_object().unwrap());
//! assert_eq!(section.text("url"), Some("tcp://192.0.2.7:7000"));
//! assert_eq!(section.integer_or_default::<u32>("timeoutMs"), 1000);
//! let (faults, warnings) = section.finish();
//! assert_eq!(faults, []);
//! assert_eq!(
//!     warnings[0].to_string(),
//!     "protocol.timeoutms: unknown key, ignored; did you mean `timeoutMs`?"
//! );
//! ```

mod fields;

use std::time::Duration;

pub use fields::{Field, Keys};
#[doc(hidden)]
pub use fields::{field, required, sentence};

/// The keys of one object.
pub struct Table {
    /// What the object is for.
    pub about: &'static str,
    /// Its keys, in the order of the reference; those that several objects share
    /// stand in slices of their own. Of two with one name the first counts.
    pub keys: &'static [&'static [Key]],
    /// Whole objects as JSON; the conformance suite makes devices of them.
    pub examples: &'static [&'static str],
}

impl Table {
    /// The key of this name.
    pub fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys
            .iter()
            .copied()
            .flatten()
            .find(|key| key.name == name)
    }

    /// Its keys, each name once.
    pub fn iter(&self) -> impl Iterator<Item = &'static Key> + '_ {
        let all = || self.keys.iter().copied().flatten();
        all().enumerate().filter_map(move |(at, key)| {
            let known = all().take(at).any(|earlier| earlier.name == key.name);
            (!known).then_some(key)
        })
    }
}

/// One key and its meaning.
#[derive(Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What may stand there.
    pub form: Form,
    /// What it means, for the reference.
    pub meaning: &'static str,
    /// What is taken where it is left out.
    pub default: Default,
    /// For a key that must be there: the fault where it is not.
    pub required: Option<&'static str>,
}

/// A key that may be left out.
pub const fn key(name: &'static str, form: Form, meaning: &'static str) -> Key {
    Key {
        name,
        form,
        meaning,
        default: Default::Nothing,
        required: None,
    }
}

impl Key {
    /// With what is taken where it is left out.
    #[must_use]
    pub const fn or(mut self, default: Default) -> Self {
        self.default = default;
        self
    }

    /// A key that must be there; `missing` is the fault where it is not.
    #[must_use]
    pub const fn required(mut self, missing: &'static str) -> Self {
        self.required = Some(missing);
        self
    }
}

/// What may stand at a key. Numbers and truth values may be written as texts.
#[derive(Clone, Copy)]
pub enum Form {
    /// Anything.
    Any,
    /// A text.
    Text,
    /// A text that may look like a number, such as an address `01`.
    Label,
    /// True or false.
    Boolean,
    /// A whole number between the two.
    Integer(i64, i64),
    /// A number between the two.
    Number(f64, f64),
    /// A time between the two: milliseconds, or a text such as `1m30s`.
    Duration(Duration, Duration),
    /// One of a few words. The schema holds these spellings; the reader does not
    /// mind the case.
    Words(&'static dyn Choices),
    /// One of a few words in any case, which a schema cannot say: it has a text.
    AnyCase(&'static dyn Choices),
    /// A list.
    List(&'static Form),
    /// An object whose keys are free.
    Map,
    /// An object.
    Object(&'static Table),
    /// An object with the keys of another part of the reference, which stand there.
    As(&'static Table),
    /// One of several forms.
    Either(&'static [Form]),
}

impl Form {
    /// The table of an object, also of one that is one of several forms.
    pub fn table(self) -> Option<&'static Table> {
        match self {
            Self::Object(table) | Self::As(table) => Some(table),
            Self::Either(forms) => forms.iter().find_map(|form| form.table()),
            _ => None,
        }
    }
}

/// Words with what they stand for, such as `&[("none", Parity::None), …]`.
pub trait Choices: Sync {
    /// The words.
    fn words(&self) -> Vec<&'static str>;
}

impl<T: Sync> Choices for &'static [(&'static str, T)] {
    fn words(&self) -> Vec<&'static str> {
        self.iter().map(|(word, _)| *word).collect()
    }
}

impl Choices for &'static [&'static str] {
    fn words(&self) -> Vec<&'static str> {
        self.to_vec()
    }
}

/// What is taken where a key is left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Default {
    /// Nothing, or what other keys make of it.
    Nothing,
    /// A whole number.
    Whole(i64),
    /// A truth value.
    Truth(bool),
    /// A text, or the word of a choice.
    Text(&'static str),
    /// A time.
    Time(Duration),
    /// Anything else, as JSON.
    Json(&'static str),
}
