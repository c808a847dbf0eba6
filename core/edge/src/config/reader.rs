//! Takes a YAML mapping apart key by key, so that one wrong key does not hide
//! the next: serde alone stops at the first.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::ConfigFault;

/// All that is wrong so far, and the text to find lines in.
pub(super) struct Faults<'a> {
    text: &'a str,
    list: Vec<ConfigFault>,
}

impl<'a> Faults<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            list: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        let path = path.into();
        self.list.push(ConfigFault {
            line: line_of(self.text, &path),
            path,
            message: message.into(),
        });
    }

    pub(super) fn at_line(&mut self, line: Option<usize>, message: String) {
        self.list.push(ConfigFault {
            path: String::new(),
            line,
            message,
        });
    }

    pub(super) fn into_result<T>(self, value: Option<T>) -> Result<T, Vec<ConfigFault>> {
        match value {
            Some(value) if self.list.is_empty() => Ok(value),
            _ => Err(self.list),
        }
    }
}

/// A mapping whose keys are taken one by one; what is left over is unknown.
pub(super) struct Section {
    path: String,
    map: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Section {
    pub(super) fn new(path: impl Into<String>, value: Value, faults: &mut Faults<'_>) -> Self {
        let path = path.into();
        let map = match value {
            Value::Object(map) => map,
            Value::Null => Map::new(),
            other => {
                faults.add(
                    path.clone(),
                    format!("expected a mapping, found {}", kind(&other)),
                );
                Map::new()
            }
        };
        Self {
            path,
            map,
            known: Vec::new(),
        }
    }

    /// Key path of `key`.
    pub(super) fn at(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The value of `key` as it stands, null counts as absent.
    pub(super) fn raw(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// The value of `key`; ill-typed is a fault.
    pub(super) fn optional<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        faults: &mut Faults<'_>,
    ) -> Option<T> {
        let value = self.raw(key)?;
        match serde_path_to_error::deserialize::<_, T>(value) {
            Ok(value) => Some(value),
            Err(error) => {
                let inner = error.path().to_string();
                let path = if inner == "." {
                    self.at(key)
                } else {
                    format!("{}.{inner}", self.at(key))
                };
                faults.add(path, error.into_inner().to_string());
                None
            }
        }
    }

    /// The value of `key`; absent is a fault.
    pub(super) fn required<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        faults: &mut Faults<'_>,
    ) -> Option<T> {
        if !self.map.contains_key(key) {
            self.known.push(key);
            faults.add(self.at(key), "missing");
            return None;
        }
        self.optional(key, faults)
    }

    /// The mapping under `key`; absent is `None`.
    pub(super) fn section(
        &mut self,
        key: &'static str,
        faults: &mut Faults<'_>,
    ) -> Option<Section> {
        let path = self.at(key);
        self.raw(key).map(|value| Self::new(path, value, faults))
    }

    /// The list under `key`; absent is empty.
    pub(super) fn list(&mut self, key: &'static str, faults: &mut Faults<'_>) -> Vec<Section> {
        let path = self.at(key);
        match self.raw(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => items
                .into_iter()
                .enumerate()
                .map(|(i, value)| Self::new(format!("{path}[{i}]"), value, faults))
                .collect(),
            Some(other) => {
                faults.add(path, format!("expected a list, found {}", kind(&other)));
                Vec::new()
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
        default: T,
        faults: &mut Faults<'_>,
    ) -> T {
        // YAML reads a plain `off` or `on` as a truth value.
        for (plain, word) in [(false, "off"), (true, "on")] {
            if self.map.get(key) == Some(&Value::Bool(plain))
                && words.iter().any(|(known, _)| *known == word)
            {
                self.map.insert(key.to_owned(), word.into());
            }
        }
        let Some(word) = self.optional::<String>(key, faults) else {
            return default;
        };
        if let Some((_, value)) = words.iter().find(|(known, _)| *known == word) {
            return *value;
        }
        let list: Vec<_> = words
            .iter()
            .map(|(known, _)| format!("`{known}`"))
            .collect();
        faults.add(
            self.at(key),
            format!("`{word}` is none of {}", list.join(", ")),
        );
        default
    }

    /// Whatever was not asked for is unknown.
    pub(super) fn finish(self, faults: &mut Faults<'_>) {
        for key in self.map.keys() {
            let hint = nearest(key, &self.known)
                .map(|near| format!(", did you mean `{near}`"))
                .unwrap_or_default();
            faults.add(self.at(key), format!("unknown key{hint}"));
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// The known word that differs by at most two letters.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|k| (distance(word, k), *k))
        .filter(|(d, _)| *d <= 2)
        .min()
        .map(|(_, k)| k)
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().map(|c| c.to_ascii_lowercase()).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x.to_ascii_lowercase() != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Line of a key path in block style YAML; the nearest known ancestor's when
/// the key itself is not found (absent, or flow style).
fn line_of(text: &str, path: &str) -> Option<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut from, mut to, mut found) = (0, lines.len(), None);
    for step in path.split('.').flat_map(|part| part.split_inclusive('[')) {
        let step = step.trim_end_matches('[');
        let hit = match step.strip_suffix(']') {
            Some(index) => index
                .parse()
                .ok()
                .and_then(|n| nth_item(&lines, from, to, n)),
            None => key_line(&lines, from, to, step),
        };
        let Some((line, end)) = hit else { break };
        found = Some(line + 1);
        // A list item's own line may hold its first key.
        from = if step.ends_with(']') { line } else { line + 1 };
        to = end;
    }
    found
}

/// Indentation of a line's content, the dash of a list item not counted.
fn indent(line: &str) -> Option<usize> {
    let content = line.trim_start_matches([' ', '-']);
    (!content.is_empty() && !content.starts_with('#')).then(|| line.len() - content.len())
}

fn key_line(lines: &[&str], from: usize, to: usize, key: &str) -> Option<(usize, usize)> {
    let level = (from..to).filter_map(|i| indent(lines[i])).min()?;
    let line = (from..to).find(|i| {
        let content = lines[*i].trim_start_matches([' ', '-']);
        // JSON is YAML too; its keys have quotes.
        let rest = content.trim_start_matches('"').strip_prefix(key);
        indent(lines[*i]) == Some(level)
            && rest.is_some_and(|rest| rest.trim_start_matches(['"', ' ']).starts_with(':'))
    })?;
    let end = (line + 1..to)
        .find(|i| indent(lines[*i]).is_some_and(|n| n <= level))
        .unwrap_or(to);
    Some((line, end))
}

fn nth_item(lines: &[&str], from: usize, to: usize, n: usize) -> Option<(usize, usize)> {
    let dash = |i: &usize| lines[*i].trim_start().starts_with("- ");
    let level = (from..to)
        .filter(dash)
        .map(|i| lines[i].len() - lines[i].trim_start().len())
        .min()?;
    let mut items =
        (from..to).filter(|i| dash(i) && lines[*i].len() - lines[*i].trim_start().len() == level);
    let line = items.nth(n)?;
    Some((line, items.next().unwrap_or(to)))
}
