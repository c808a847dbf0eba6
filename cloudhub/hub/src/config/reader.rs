//! Reads a tree of keys and notes all that is wrong with it.

use std::{net::SocketAddr, path::PathBuf};

use serde_json::{Map, Value};

use super::ConfigFault;

/// One mapping of the file. Keys are taken out; what is left is unknown.
pub(super) struct Section<'a> {
    path: String,
    keys: Map<String, Value>,
    faults: &'a mut Vec<ConfigFault>,
}

impl<'a> Section<'a> {
    pub(super) fn new(value: Value, faults: &'a mut Vec<ConfigFault>) -> Self {
        let keys = match value {
            Value::Object(keys) => keys,
            Value::Null => Map::new(),
            _ => {
                faults.push(ConfigFault {
                    path: ".".to_owned(),
                    message: "expected keys and values".to_owned(),
                });
                Map::new()
            }
        };
        Self {
            path: String::new(),
            keys,
            faults,
        }
    }

    /// The mapping under a key, and whether it is there at all.
    pub(super) fn section(&mut self, key: &str) -> (Section<'_>, bool) {
        let value = self.keys.remove(key);
        let present = value.is_some();
        let path = self.path_of(key);
        let keys = match value {
            Some(Value::Object(keys)) => keys,
            None | Some(Value::Null) => Map::new(),
            Some(_) => {
                self.fault(key, "expected keys and values");
                Map::new()
            }
        };
        (
            Section {
                path,
                keys,
                faults: self.faults,
            },
            present,
        )
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.keys.remove(key)? {
            Value::String(text) if !text.is_empty() => Some(text),
            Value::Null => None,
            _ => {
                self.fault(key, "expected a text that is not empty");
                None
            }
        }
    }

    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    pub(super) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let value = self.keys.remove(key)?;
        let list = value.as_array().and_then(|items| {
            items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect()
        });
        if list.is_none() {
            self.fault(key, "expected a list of texts");
        }
        list
    }

    pub(super) fn flag(&mut self, key: &str, default: bool) -> bool {
        match self.keys.remove(key) {
            None | Some(Value::Null) => default,
            Some(Value::Bool(flag)) => flag,
            Some(_) => {
                self.fault(key, "expected true or false");
                default
            }
        }
    }

    pub(super) fn number(&mut self, key: &str, default: u64, range: (u64, u64)) -> u64 {
        let Some(value) = self.keys.remove(key) else {
            return default;
        };
        match value.as_u64() {
            Some(number) if (range.0..=range.1).contains(&number) => number,
            _ => {
                let message = format!("expected a number from {} to {}", range.0, range.1);
                self.fault(key, message);
                default
            }
        }
    }

    pub(super) fn address(&mut self, key: &str, default: &'static str) -> SocketAddr {
        let text = self.text(key).unwrap_or_else(|| default.to_owned());
        text.parse().unwrap_or_else(|_| {
            self.fault(
                key,
                format!("`{text}` is not an address and port, such as {default}"),
            );
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    pub(super) fn word(&mut self, key: &str, words: &[&'static str]) -> &'static str {
        let Some(text) = self.text(key) else {
            return words[0];
        };
        let found = words.iter().find(|word| **word == text);
        found.copied().unwrap_or_else(|| {
            self.fault(key, format!("`{text}` is none of {}", words.join(", ")));
            words[0]
        })
    }

    pub(super) fn fault(&mut self, key: &str, message: impl Into<String>) {
        let path = self.path_of(key);
        self.faults.push(ConfigFault {
            path,
            message: message.into(),
        });
    }

    /// Whatever was not taken is unknown.
    pub(super) fn finish(self) {
        let Self { path, keys, faults } = self;
        for key in keys.keys() {
            faults.push(ConfigFault {
                path: join(&path, key),
                message: "unknown key".to_owned(),
            });
        }
    }

    fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
