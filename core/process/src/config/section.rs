//! A mapping of the file, taken apart key by key.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, rc::Rc};

use longshore_types::near::nearest;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{File, kind};
use crate::LogConfig;

/// A mapping whose keys are taken one by one. What is left over when it is dropped
/// was not asked for, and is a fault.
pub struct Section {
    path: String,
    map: Map<String, Value>,
    known: Vec<&'static str>,
    present: bool,
    file: Rc<File>,
}

impl Section {
    pub(super) fn new(path: String, value: Value, file: &Rc<File>) -> Self {
        let (map, present) = match value {
            Value::Object(map) => (map, true),
            Value::Null => (Map::new(), false),
            other => {
                let found = kind(&other);
                file.add(path.clone(), format!("expected a mapping, found {found}"));
                (Map::new(), true)
            }
        };
        Self {
            path,
            map,
            known: Vec::new(),
            present,
            file: Rc::clone(file),
        }
    }

    /// Whether the file has it at all.
    pub fn is_present(&self) -> bool {
        self.present
    }

    /// Notes what is wrong with a key: what stands there, or what should.
    pub fn fault(&self, key: &str, message: impl Into<String>) {
        self.file.add(self.at(key), message.into());
    }

    /// The value of a key; of another type is a fault.
    pub fn optional<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        let value = self.take(key)?;
        match serde_path_to_error::deserialize::<_, T>(value) {
            Ok(value) => Some(value),
            Err(error) => {
                let path = match error.path().to_string().as_str() {
                    "." => self.at(key),
                    inner if inner.starts_with('[') => format!("{}{inner}", self.at(key)),
                    inner => format!("{}.{inner}", self.at(key)),
                };
                self.file.add(path, error.into_inner().to_string());
                None
            }
        }
    }

    /// The value of a key; absent is a fault.
    pub fn required<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        if self.map.get(key).is_none_or(Value::is_null) {
            self.take(key);
            self.fault(key, "missing");
            return None;
        }
        self.optional(key)
    }

    /// A path, relative to the file's folder.
    pub fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let path = self.optional::<PathBuf>(key)?;
        Some(self.file.base.join(path))
    }

    /// A path, relative to the file's folder; absent is a fault.
    pub fn required_path(&mut self, key: &'static str) -> Option<PathBuf> {
        let path = self.required::<PathBuf>(key)?;
        Some(self.file.base.join(path))
    }

    /// True or false.
    pub fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.optional(key).unwrap_or(default)
    }

    /// A whole number of a range.
    pub fn number(&mut self, key: &'static str, default: u64, range: RangeInclusive<u64>) -> u64 {
        let Some(value) = self.take(key) else {
            return default;
        };
        match value.as_u64() {
            Some(number) if range.contains(&number) => number,
            _ => {
                let (least, most) = range.into_inner();
                let message = if most == u64::MAX {
                    format!("must be at least {least}")
                } else {
                    format!("expected a number from {least} to {most}")
                };
                self.fault(key, message);
                default
            }
        }
    }

    /// An address and port.
    pub fn address(&mut self, key: &'static str, default: &str) -> SocketAddr {
        let fallback = || {
            let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
            default.parse().unwrap_or(nowhere)
        };
        let Some(text) = self.optional::<String>(key) else {
            return fallback();
        };
        text.parse().unwrap_or_else(|_| {
            let message = format!("`{text}` is no address and port, such as `{default}`");
            self.fault(key, message);
            fallback()
        })
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)], default: T) -> T {
        let named = |word: &str| words.iter().find(|(known, _)| *known == word);
        // YAML reads a plain `off` or `on` as a truth value.
        let plain = match self.map.get(key) {
            Some(Value::Bool(false)) => named("off"),
            Some(Value::Bool(true)) => named("on"),
            _ => None,
        };
        if let Some((_, value)) = plain {
            self.take(key);
            return *value;
        }
        let Some(word) = self.optional::<String>(key) else {
            return default;
        };
        if let Some((_, value)) = named(&word) {
            return *value;
        }
        let list = words.iter().map(|(known, _)| format!("`{known}`"));
        let list = list.collect::<Vec<_>>().join(", ");
        let meant = hint(&word, words.iter().map(|(known, _)| *known));
        self.fault(key, format!("`{word}` is none of {list}{meant}"));
        default
    }

    /// The mapping under a key; an empty one where it is absent.
    pub fn section(&mut self, key: &'static str) -> Section {
        let value = self.take(key).unwrap_or_default();
        Self::new(self.at(key), value, &self.file)
    }

    /// The mappings in the list under a key; none where it is absent.
    pub fn list(&mut self, key: &'static str) -> Vec<Section> {
        let items = match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.fault(key, format!("expected a list, found {}", kind(&other)));
                Vec::new()
            }
        };
        let sections = items.into_iter().enumerate().map(|(index, value)| {
            let mut section = Self::new(format!("{}[{index}]", self.at(key)), value, &self.file);
            // An item without keys is still an item.
            section.present = true;
            section
        });
        sections.collect()
    }

    /// How the log is written: the section `log` of both daemons.
    pub fn log(mut self) -> LogConfig {
        let json = self.choice("format", &[("text", false), ("json", true)], false);
        let mut config = LogConfig::new(json);
        if let Some(level) = self.optional::<String>("level") {
            match level.parse() {
                Ok(filter) => config.filter = filter,
                Err(error) => self.fault("level", format!("`{level}` is no log filter: {error}")),
            }
        }
        config
    }

    /// Null counts as absent.
    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.map.remove(key).filter(|value| !value.is_null())
    }

    fn at(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        for key in self.map.keys() {
            let meant = hint(key, self.known.iter().copied());
            self.fault(key, format!("unknown key{meant}"));
        }
    }
}

fn hint<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    nearest(word, known).map_or_else(String::new, |near| format!(", did you mean `{near}`"))
}
