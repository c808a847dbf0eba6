//! Reading configuration so that all faults come out at once, each at its place.
//!
//! [`Section`] wraps one JSON object: each getter takes a key, checks it and
//! either gives the value or notes a [`Fault`] with the key's path.
//! [`Section::finish`] turns the keys that nobody asked for into warnings:
//! a manifest may carry vocabulary that is not ours.

use std::{cell::RefCell, ops::RangeInclusive};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::Fault;

/// Deserializes, with the path of the first fault.
pub fn from_value<T: DeserializeOwned>(path: &str, value: &Value) -> Result<T, Fault> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| fault(path, &error.path().to_string(), error.inner()))
}

/// Deserializes JSON text, with the path of the first fault.
pub fn from_json<T: DeserializeOwned>(path: &str, text: &str) -> Result<T, Fault> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| fault(path, &error.path().to_string(), error.inner()))
}

fn fault(prefix: &str, inner: &str, message: &dyn std::fmt::Display) -> Fault {
    let path = match (prefix, inner) {
        (prefix, ".") => prefix.to_owned(),
        ("", inner) => inner.to_owned(),
        (prefix, inner) => format!("{prefix}.{inner}"),
    };
    Fault {
        path,
        message: message.to_string(),
    }
}

/// One JSON object under validation.
pub struct Section<'a> {
    path: String,
    map: &'a Map<String, Value>,
    used: RefCell<Vec<&'static str>>,
    faults: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<Fault>>,
}

impl<'a> Section<'a> {
    /// The object `map`, which stands at `path` of the whole configuration.
    pub fn new(path: impl Into<String>, map: &'a Map<String, Value>) -> Self {
        let (used, faults, warnings) = Default::default();
        Self {
            path: path.into(),
            map,
            used,
            faults,
            warnings,
        }
    }

    /// The path of a key in this section.
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Notes a fault at a key.
    pub fn fault(&self, key: &str, message: impl Into<String>) {
        self.faults.borrow_mut().push(Fault {
            path: self.path_of(key),
            message: message.into(),
        });
    }

    /// Whether no fault was noted so far.
    pub fn is_sound(&self) -> bool {
        self.faults.borrow().is_empty()
    }

    /// Whether the key is there and not null.
    pub fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    /// The value of a key; a null is as if it were not there.
    pub fn value(&self, key: &'static str) -> Option<&'a Value> {
        self.used.borrow_mut().push(key);
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// A text.
    pub fn text(&self, key: &'static str) -> Option<&'a str> {
        let value = self.value(key)?;
        let text = value.as_str();
        if text.is_none() {
            self.fault(key, format!("expected a text, found {}", kind(value)));
        }
        text
    }

    /// A whole number, also written as a text, within a range.
    pub fn integer(&self, key: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let value = self.value(key)?;
        let number = match value {
            Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if range.contains(&number) => Some(number),
            Some(number) => {
                self.fault(
                    key,
                    format!("{number} is outside of {}…{}", range.start(), range.end()),
                );
                None
            }
            None => {
                self.fault(
                    key,
                    format!("expected a whole number, found {}", kind(value)),
                );
                None
            }
        }
    }

    /// A truth value, also written as a text.
    pub fn boolean(&self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let truth = match value {
            Value::Bool(truth) => Some(*truth),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        };
        if truth.is_none() {
            self.fault(
                key,
                format!("expected true or false, found {}", kind(value)),
            );
        }
        truth
    }

    /// One of a few words, without regard to case.
    pub fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = choices
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text.trim()));
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            self.fault(key, format!("`{text}` is none of {}", words.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    /// An object of its own, as a section whose faults join this one's through [`Section::absorb`].
    pub fn section(&self, key: &'static str) -> Option<Section<'a>> {
        let value = self.value(key)?;
        match value.as_object() {
            Some(map) => Some(Section::new(self.path_of(key), map)),
            None => {
                self.fault(key, format!("expected an object, found {}", kind(value)));
                None
            }
        }
    }

    /// Takes over the faults and warnings of a section within this one.
    pub fn absorb(&self, inner: Section<'_>) {
        let (faults, warnings) = inner.finish();
        self.faults.borrow_mut().extend(faults);
        self.warnings.borrow_mut().extend(warnings);
    }

    /// Notes something that is accepted but doubtful at a key.
    pub fn warn(&self, key: &str, message: impl Into<String>) {
        self.warnings.borrow_mut().push(Fault {
            path: self.path_of(key),
            message: message.into(),
        });
    }

    /// The faults, and a warning for each key that nobody asked for.
    pub fn finish(self) -> (Vec<Fault>, Vec<Fault>) {
        let used = self.used.into_inner();
        let path = |key: &str| {
            if self.path.is_empty() {
                key.to_owned()
            } else {
                format!("{}.{key}", self.path)
            }
        };
        let mut warnings = self.warnings.into_inner();
        let unknown = self
            .map
            .keys()
            .filter(|key| !used.contains(&key.as_str()))
            .map(|key| Fault {
                path: path(key),
                message: match nearest(key, &used) {
                    Some(near) => format!("unknown key, ignored; did you mean `{near}`?"),
                    None => "unknown key, ignored".to_owned(),
                },
            });
        warnings.extend(unknown);
        (self.faults.into_inner(), warnings)
    }
}

/// The known word that a mistyped one is nearest to, if any is near.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    known
        .iter()
        .map(|candidate| {
            (
                distance(&word.to_lowercase(), &candidate.to_lowercase()),
                *candidate,
            )
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, in characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let cost = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(truth) => format!("`{truth}`"),
        Value::Number(number) => format!("`{number}`"),
        Value::String(text) => format!("`{text}`"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_faults_come_at_once_with_their_paths() {
        let value =
            json!({"port": "5502", "unit": 300, "fast": "yes", "timeoutms": 5, "brightness": 1});
        let section = Section::new("protocol", value.as_object().unwrap());
        assert_eq!(section.integer("port", 1..=65535), Some(5502));
        assert_eq!(section.integer("unit", 0..=255), None);
        assert_eq!(section.boolean("fast"), None);
        assert_eq!(section.integer("timeoutMs", 1..=10), None);
        let (faults, warnings) = section.finish();
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            faults,
            [
                "protocol.unit: 300 is outside of 0…255",
                "protocol.fast: expected true or false, found `yes`"
            ]
        );
        let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            [
                "protocol.timeoutms: unknown key, ignored; did you mean `timeoutMs`?",
                "protocol.brightness: unknown key, ignored"
            ]
        );
    }

    #[test]
    fn json_faults_name_their_path() {
        let error =
            from_json::<crate::DeviceConfig>("", r#"{"device": "a/b", "points": [{"id": "x"}]}"#)
                .unwrap_err();
        assert_eq!(error.path, "points[0].id");
    }
}
