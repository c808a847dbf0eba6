//! Reading configuration so that all faults come out at once, each at its place.
//!
//! [`Section`] wraps one JSON object and the [`Table`] of its keys: each getter
//! takes a key, checks it by what the table says and either gives the value or
//! notes a [`Fault`] with the key's path. [`Section::finish`] turns the keys
//! that the table does not have into warnings: a manifest may carry vocabulary
//! that is not ours.

mod parts;

use std::{cell::RefCell, fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use self::parts::{joined, of_mapper, of_methods, of_points};
use crate::{
    Fault,
    keys::{self, Default, Form, Key, Table},
};

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

fn fault(prefix: &str, inner: &str, message: &dyn Display) -> Fault {
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

/// One JSON object under validation, against the [`Table`] of its keys.
pub struct Section<'a> {
    table: &'static Table,
    path: String,
    map: &'a Map<String, Value>,
    used: RefCell<Vec<&'static str>>,
    faults: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<Fault>>,
}

impl<'a> Section<'a> {
    /// The object `map`, which stands at `path` of the whole configuration.
    pub fn new(
        table: &'static Table,
        path: impl Into<String>,
        map: &'a Map<String, Value>,
    ) -> Self {
        let (used, faults, warnings) = std::default::Default::default();
        Self {
            table,
            path: path.into(),
            map,
            used,
            faults,
            warnings,
        }
    }

    /// The table's key, which a reader must not ask for by another name.
    fn key(&self, name: &str) -> &'static Key {
        const OTHER: Key = keys::key("", Form::Any, "");
        let found = self.table.find(name);
        debug_assert!(found.is_some(), "`{name}` is read and is in no table");
        found.unwrap_or(&OTHER)
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
        let known = self.key(key);
        let value = self.map.get(key).filter(|value| !value.is_null());
        let is_first = !self.used.borrow().contains(&key);
        self.used.borrow_mut().push(key);
        if let (None, Some(missing), true) = (value, known.required, is_first) {
            self.fault(key, missing);
        }
        value
    }

    /// Keys that say what others say already, as manifests with two
    /// vocabularies have them, or that are meant for somebody else.
    pub fn pass_over(&self, keys: &[&'static str]) {
        self.used.borrow_mut().extend(keys);
    }

    /// A value through `read`, which gives none for what is no `expected`.
    fn parsed<T>(
        &self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(key)?;
        let parsed = read(value);
        if parsed.is_none() {
            self.fault(key, format!("expected {expected}, found {}", kind(value)));
        }
        parsed
    }

    /// A text.
    pub fn text(&self, key: &'static str) -> Option<&'a str> {
        self.parsed(key, "a text", Value::as_str)
    }

    /// A text that may look like a number: `7` and `"07"` are both texts.
    pub fn label(&self, key: &'static str) -> Option<String> {
        self.parsed(key, "a text", |value| match value {
            Value::Number(number) => Some(number.to_string()),
            value => value.as_str().map(str::to_owned),
        })
    }

    /// A whole number, also written as a text, within the table's range.
    pub fn integer<T: TryFrom<i64>>(&self, key: &'static str) -> Option<T> {
        let range = match self.key(key).form {
            Form::Integer(least, most) => least..=most,
            _ => i64::MIN..=i64::MAX,
        };
        self.integer_in(key, range)
    }

    /// A whole number within a range that depends on other keys.
    pub fn integer_in<T: TryFrom<i64>>(
        &self,
        key: &'static str,
        range: RangeInclusive<i64>,
    ) -> Option<T> {
        let number = self.parsed(key, "a whole number", |value| match value {
            Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        })?;
        if !range.contains(&number) {
            let (least, most) = range.into_inner();
            self.fault(key, format!("{number} is outside of {least}…{most}"));
            return None;
        }
        T::try_from(number).ok()
    }

    /// A whole number, or the table's default.
    pub fn integer_or_default<T: TryFrom<i64> + std::default::Default>(
        &self,
        key: &'static str,
    ) -> T {
        let default = || match self.key(key).default {
            Default::Whole(number) => T::try_from(number).ok(),
            _ => None,
        };
        self.integer(key).or_else(default).unwrap_or_default()
    }

    /// A truth value, also written as a text.
    pub fn boolean(&self, key: &'static str) -> Option<bool> {
        self.parsed(key, "true or false", |value| match value {
            Value::Bool(truth) => Some(*truth),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        })
    }

    /// A truth value, or the table's default, which is false if it says none.
    pub fn boolean_or_default(&self, key: &'static str) -> bool {
        let default = self.key(key).default == Default::Truth(true);
        self.boolean(key).unwrap_or(default)
    }

    /// A time: milliseconds, or a text such as `500ms`, `5s` or `1m30s`.
    pub fn duration(&self, key: &'static str) -> Option<Duration> {
        let (least, most) = match self.key(key).form {
            Form::Duration(least, most) => (least, most),
            _ => (Duration::ZERO, Duration::MAX),
        };
        let value = self.value(key)?;
        let found = match value {
            Value::Number(number) => number.as_f64().and_then(of_millis),
            Value::String(text) => duration(text.trim()),
            _ => None,
        };
        match found {
            Some(found) if (least..=most).contains(&found) => Some(found),
            Some(found) => {
                let [found, least, most] = [found, least, most].map(|time| time.as_millis());
                self.fault(key, format!("{found} ms is outside of {least}…{most} ms"));
                None
            }
            None => {
                self.fault(
                    key,
                    format!("{value} is no duration; write milliseconds or a text like `500ms`, `5s` or `1m30s`"),
                );
                None
            }
        }
    }

    /// A time, or the table's default, which is none if it says nothing.
    pub fn duration_or_default(&self, key: &'static str) -> Duration {
        let default = match self.key(key).default {
            Default::Time(time) => time,
            _ => Duration::ZERO,
        };
        self.duration(key).unwrap_or(default)
    }

    /// What a text stands for by its own words; its error is the fault.
    pub fn parse<T: FromStr<Err: Display>>(&self, key: &'static str) -> Option<T> {
        let parsed = self.text(key)?.parse();
        parsed
            .map_err(|error: T::Err| self.fault(key, error.to_string()))
            .ok()
    }

    /// One of a few words, without regard to case.
    pub fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = choice(text.trim(), choices);
        if found.is_none() {
            let mut words: Vec<&str> = Vec::new();
            for (word, _) in choices {
                if !words.iter().any(|other| other.eq_ignore_ascii_case(word)) {
                    words.push(word);
                }
            }
            self.fault(key, format!("`{text}` is none of {}", words.join(", ")));
        }
        found
    }

    /// What the word stands for, or the table's default; the first choice where
    /// the word is wrong.
    ///
    /// # Panics
    /// There are no choices.
    pub fn choice_or_default<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> T {
        let default = match self.key(key).default {
            Default::Text(word) => choice(word, choices),
            _ => None,
        };
        let found = self.choice(key, choices).or(default);
        found.unwrap_or(choices[0].1)
    }

    /// An object of its own, as a section whose faults join this one's through [`Section::absorb`].
    pub fn section(&self, key: &'static str) -> Option<Section<'a>> {
        let map = self.parsed(key, "an object", Value::as_object)?;
        let table = self.key(key).form.table();
        debug_assert!(
            table.is_some(),
            "`{key}` is read as an object and has no table"
        );
        Some(Section::new(table?, self.path_of(key), map))
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

    /// The faults, and a warning for each key that the table does not have or
    /// that has no effect beside the others.
    pub fn finish(self) -> (Vec<Fault>, Vec<Fault>) {
        let used = self.used.borrow();
        let ignored = self.map.keys().filter(|key| !used.contains(&key.as_str()));
        let ignored = ignored.filter_map(|key| {
            let message = match self.table.find(key) {
                Some(_) if self.is_sound() => "has no effect beside the other keys".to_owned(),
                // A reader that met a fault may not have come to it.
                Some(_) => return None,
                None => {
                    let known: Vec<_> = self.table.iter().map(|key| key.name).collect();
                    match nearest(key, &known) {
                        Some(near) => format!("unknown key, ignored; did you mean `{near}`?"),
                        None => "unknown key, ignored".to_owned(),
                    }
                }
            };
            let path = self.path_of(key);
            Some(Fault { path, message })
        });
        let ignored: Vec<_> = ignored.collect();
        drop(used);
        let mut warnings = self.warnings.into_inner();
        warnings.extend(ignored);
        (self.faults.into_inner(), warnings)
    }
}

/// What a word stands for, without regard to case.
pub fn choice<T: Copy>(word: &str, choices: &[(&str, T)]) -> Option<T> {
    let found = choices
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(word));
    found.map(|(_, value)| *value)
}

/// `250`, `500ms`, `1.5s` or `1m30s`.
fn duration(text: &str) -> Option<Duration> {
    if let Ok(number) = text.parse() {
        return of_millis(number);
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic());
        let (unit, after) = rest.split_at(letters.unwrap_or(rest.len()));
        let millis = match unit {
            "ms" => 1.0,
            "s" => 1e3,
            "m" => 60e3,
            "h" => 3600e3,
            _ => return None,
        };
        sum = sum.checked_add(of_millis(number * millis)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(sum)
}

fn of_millis(millis: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(millis / 1e3).ok()
}

/// The known word that a mistyped one is nearest to, if any is near.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    let word = word.to_lowercase();
    known
        .iter()
        .map(|known| (strsim::levenshtein(&word, &known.to_lowercase()), *known))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
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

    const WORDS: &[(&str, u8)] = &[("slow", 1), ("fast", 2)];
    const INNER: Table = Table {
        about: "",
        keys: &[&[keys::key("name", Form::Text, "").required("no name")]],
        examples: &[],
    };
    const SECOND: Duration = Duration::from_secs(1);
    const TABLE: Table = Table {
        about: "",
        keys: &[&[
            keys::key("port", Form::Integer(1, 65_535), "").or(Default::Whole(502)),
            keys::key("unit", Form::Integer(0, 255), ""),
            keys::key("fast", Form::Boolean, "").or(Default::Truth(true)),
            keys::key("speed", Form::Words(&WORDS), "").or(Default::Text("fast")),
            keys::key("timeoutMs", Form::Integer(1, 10), ""),
            keys::key(
                "timeout",
                Form::Duration(SECOND, SECOND.saturating_mul(60)),
                "",
            )
            .or(Default::Time(SECOND)),
            keys::key(
                "user",
                Form::Either(&[Form::Text, Form::Object(&INNER)]),
                "",
            ),
        ]],
        examples: &[],
    };

    fn texts(faults: &[Fault]) -> Vec<String> {
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_faults_come_at_once_with_their_paths() {
        let value = json!({
            "port": "5502", "unit": 300, "fast": "yes", "timeoutms": 5, "brightness": 1,
            "timeout": "1.5s", "user": {"nam": "x"},
        });
        let section = Section::new(&TABLE, "protocol", value.as_object().unwrap());
        assert_eq!(section.integer("port"), Some(5502));
        assert_eq!(section.integer::<u8>("unit"), None);
        assert_eq!(section.boolean("fast"), None);
        assert_eq!(section.duration_or_default("timeout").as_millis(), 1500);
        let user = section.section("user").unwrap();
        assert_eq!((user.text("name"), user.text("name")), (None, None));
        section.absorb(user);
        let (faults, warnings) = section.finish();
        assert_eq!(
            texts(&faults),
            [
                "protocol.unit: 300 is outside of 0…255",
                "protocol.fast: expected true or false, found `yes`",
                "protocol.user.name: no name",
            ]
        );
        assert_eq!(
            texts(&warnings),
            [
                "protocol.user.nam: unknown key, ignored; did you mean `name`?",
                "protocol.timeoutms: unknown key, ignored; did you mean `timeoutMs`?",
                "protocol.brightness: unknown key, ignored"
            ]
        );
    }

    #[test]
    fn what_is_left_out_is_the_table_s_default() {
        let value = json!({"unit": 1, "port": null});
        let section = Section::new(&TABLE, "", value.as_object().unwrap());
        assert_eq!(section.integer_or_default::<u16>("port"), 502);
        assert!(section.boolean_or_default("fast"));
        assert_eq!(section.choice_or_default("speed", WORDS), 2);
        assert_eq!(section.duration_or_default("timeout"), SECOND);
        let (faults, warnings) = section.finish();
        assert_eq!(faults, []);
        assert_eq!(
            texts(&warnings),
            ["unit: has no effect beside the other keys"]
        );
    }

    #[test]
    fn durations_are_milliseconds_or_have_units() {
        let read = |value: Value| {
            let map = Map::from_iter([("timeout".to_owned(), value)]);
            let section = Section::new(&TABLE, "", &map);
            let found = section.duration("timeout").map(|time| time.as_millis());
            found.ok_or_else(|| texts(&section.finish().0).join("; "))
        };
        assert_eq!(read(json!(2500)), Ok(2500));
        assert_eq!(read(json!(" 2500 ")), Ok(2500));
        assert_eq!(read(json!("59s500ms")), Ok(59_500));
        assert_eq!(
            read(json!("1m1s")),
            Err("timeout: 61000 ms is outside of 1000…60000 ms".to_owned())
        );
        for wrong in [
            json!("2 weeks"),
            json!(""),
            json!("1e400"),
            json!("s"),
            json!(-1),
        ] {
            let told = read(wrong).unwrap_err();
            assert!(
                told.contains(" is no duration; write milliseconds"),
                "{told}"
            );
        }
    }

    #[test]
    fn json_faults_name_their_path() {
        let error =
            from_json::<crate::DeviceConfig>("", r#"{"device": "a/b", "points": [{"id": "x"}]}"#)
                .unwrap_err();
        assert_eq!(error.path, "points[0].id");
    }
}
