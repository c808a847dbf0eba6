//! What is said between a request and its answer: the meter tells who it is and
//! how fast it can talk, is told to go on, and both change their speed
//! (IEC 62056-21, modes A to C). Pure; [`crate::driver`] carries it out.

use std::time::Duration;

use longshore_sdk::{RequestError, SampleValue};

use crate::{
    pattern::{Caught, Pattern, shown},
    template::{Filling, Template},
};

/// IEC 62056-21: the letter of mode C, whose change is confirmed.
const CONFIRMED: &[(&str, u32)] = &[
    ("0", 300),
    ("1", 600),
    ("2", 1200),
    ("3", 2400),
    ("4", 4800),
    ("5", 9600),
    ("6", 19_200),
];
/// That of mode B, where the meter changes by itself; any other is mode A, which does not.
const BY_ITSELF: &[(&str, u32)] = &[
    ("A", 600),
    ("B", 1200),
    ("C", 2400),
    ("D", 4800),
    ("E", 9600),
    ("F", 19_200),
];

/// A handshake.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handshake {
    /// The line that comes first; its field `speed` says how fast it can talk.
    pub response: Pattern,
    /// What it is told then.
    pub confirm: Option<Template>,
    /// Own words for speeds, in bits per second.
    pub speeds: Vec<(String, u32)>,
    /// Silence before that, and before the change.
    pub pause: Duration,
}

/// What follows from the first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    /// What is sent.
    pub(crate) confirm: Option<Vec<u8>>,
    /// The speed from then on, if it changes.
    pub(crate) baud: Option<u32>,
}

impl Handshake {
    /// What follows from the line that came.
    ///
    /// # Errors
    /// `Garbled`: it is none, or a speed that nobody knows.
    pub(crate) fn turn(&self, line: &[u8]) -> Result<Turn, RequestError> {
        let captures = self.response.matches(line).ok_or_else(|| {
            RequestError::Garbled(format!(
                "`{}` came first and does not look like `{}` (`handshake.response`)",
                shown(line),
                self.response.as_str()
            ))
        })?;
        let value = |caught: &Caught<'_>| match caught {
            Caught::Float(number) => SampleValue::Float(*number),
            Caught::Int(number) => SampleValue::Int(*number),
            Caught::Hex(number) => SampleValue::Uint(*number),
            Caught::Text(text) => SampleValue::String(text.clone().into_owned()),
        };
        let lookup = |name: &str| {
            let found = captures.iter().find(|(known, _)| *known == name);
            found.map(|(_, caught)| value(caught))
        };
        let word = lookup("speed").map(|value| match value {
            SampleValue::String(text) => text,
            SampleValue::Int(number) => number.to_string(),
            other => format!("{other:?}"),
        });
        let baud = match word {
            Some(word) => self.speed(&word)?,
            None => None,
        };
        let filling = Filling {
            lookup: &lookup,
            checksum: None,
            codec: None,
            truths: ("1", "0"),
            reserved: "",
        };
        let confirm = self
            .confirm
            .as_ref()
            .map(|confirm| confirm.render(&filling));
        let confirm = confirm
            .transpose()
            .map_err(|error| RequestError::InvalidValue(format!("`handshake.confirm`: {error}")))?;
        Ok(Turn { confirm, baud })
    }

    fn speed(&self, word: &str) -> Result<Option<u32>, RequestError> {
        let usual = match self.confirm {
            Some(_) => CONFIRMED,
            None => BY_ITSELF,
        };
        let mut own = self.speeds.iter().map(|(known, baud)| (&known[..], *baud));
        let found = if self.speeds.is_empty() {
            usual.iter().copied().find(|(known, _)| *known == word)
        } else {
            own.find(|(known, _)| *known == word)
        };
        match found {
            Some((_, baud)) => Ok(Some(baud)),
            None if self.confirm.is_none() => Ok(None),
            None => Err(RequestError::Garbled(format!(
                "the device names its speed `{word}`, which is not known; add it to `handshake.speeds`"
            ))),
        }
    }
}
