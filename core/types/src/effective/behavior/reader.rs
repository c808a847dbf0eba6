//! One entry of a list of the device's keys, and what is wrong with it.

use std::time::Duration;

use serde_json::Value as Json;

use crate::{
    device::FreeObject,
    expression::{Expression, ExpressionError, Type},
    fault::Fault,
    policy::{duration, kind},
    vocabulary::{self, DEVICE_PATHS},
};

/// An entry of `groups`, `methods` or `events`.
pub(super) struct Entry {
    pub(super) name: String,
    path: String,
    object: FreeObject,
    faults: Vec<Fault>,
    faulty: bool,
    /// Of the model, about properties that this device does not use.
    beside: bool,
    unused: Vec<String>,
}

/// Takes the list `key` out of `object`; entries replace those of the same name.
pub(super) fn take(
    object: &mut FreeObject,
    path: &str,
    key: &str,
    entries: &mut Vec<Entry>,
    faults: &mut Vec<Fault>,
) {
    let Some(value) = object.shift_remove(key) else {
        return;
    };
    let path = format!("{path}.{key}");
    let Json::Array(items) = value else {
        faults.push(Fault::error(
            path,
            format!("expected a list, got {}", kind(&value)),
        ));
        return;
    };
    let mut here: Vec<Entry> = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Json::Object(object) = item else {
            faults.push(Fault::error(
                path,
                format!("expected an object, got {}", kind(&item)),
            ));
            continue;
        };
        let name = object
            .get("name")
            .and_then(Json::as_str)
            .unwrap_or_default();
        if let Some(Json::Bool(read)) = object.get("name") {
            faults.push(Fault::error(format!("{path}.name"), unquoted(*read)));
            continue;
        }
        if !is_topic_level(name) {
            faults.push(Fault::error(
                format!("{path}.name"),
                "expected a name of letters, digits, `_`, `-` and `.`",
            ));
            continue;
        }
        if here.iter().any(|known| known.name == name) {
            faults.push(Fault::error(
                format!("{path}.name"),
                format!("`{name}` stands twice, the first one counts"),
            ));
            continue;
        }
        let mut entry = Entry {
            name: name.to_owned(),
            path,
            object,
            faults: Vec::new(),
            faulty: false,
            beside: false,
            unused: Vec::new(),
        };
        entry.check_keys("", &entry.object.clone(), &format!("{key}[]"));
        here.push(entry);
    }
    entries.retain(|known| !here.iter().any(|entry| entry.name == known.name));
    entries.append(&mut here);
}

/// A name such as `on`, of which a reader of YAML 1.1 makes a truth value.
pub(super) fn unquoted(read: bool) -> String {
    format!(
        "the name is read as `{read}`, quote it: YAML takes on, off, yes and no for truth values"
    )
}

/// Names are levels of MQTT topics.
fn is_topic_level(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

impl Entry {
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn of_model(&self) -> bool {
        self.path.starts_with("model.")
    }

    pub(super) fn is_faulty(&self) -> bool {
        self.faulty || self.beside
    }

    /// Properties of the model that the device does not use: a model's entry
    /// that needs one of them is passed over and no fault.
    pub(super) fn with_unused(mut self, unused: &[String]) -> Self {
        if self.of_model() {
            self.unused = unused.to_vec();
        }
        self
    }

    /// Whether the property is one that the device does not use.
    pub(super) fn is_unused(&mut self, property: &str) -> bool {
        let unused = self.unused.iter().any(|known| known == property);
        self.beside |= unused;
        unused
    }

    /// The same, where the entry can do without it.
    pub(super) fn is_of_unused(&self, property: &str) -> bool {
        self.unused.iter().any(|known| known == property)
    }

    pub(super) fn fault(&mut self, place: &str, message: String) {
        self.faulty = true;
        let path = format!("{}.{place}", self.path);
        self.faults.push(Fault::error(path, message));
    }

    pub(super) fn warn(&mut self, place: &str, message: String) {
        let path = format!("{}.{place}", self.path);
        self.faults.push(Fault::warning(path, message));
    }

    /// Hands over what is wrong; whether the entry can be used.
    pub(super) fn finish(self, faults: &mut Vec<Fault>) -> bool {
        faults.extend(self.faults);
        !self.faulty && !self.beside
    }

    fn check_keys(&mut self, place: &str, object: &FreeObject, parent: &str) {
        let known = vocabulary::below(&DEVICE_PATHS, parent);
        for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
            let place = format!("{place}{}{key}", if place.is_empty() { "" } else { "." });
            self.warn(
                &place,
                format!("unknown key, expected one of {}", known.join(", ")),
            );
        }
    }

    pub(super) fn object_itself(&self) -> FreeObject {
        self.object.clone()
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let value = self.object.get(key)?.clone();
        match value {
            Json::String(text) => Some(text),
            other => {
                self.fault(key, format!("expected a text, got {}", kind(&other)));
                None
            }
        }
    }

    pub(super) fn names(&mut self, key: &str) -> Vec<String> {
        let names = match self.object.get(key).cloned() {
            Some(Json::Array(items)) => {
                let read = |(index, item): (usize, &Json)| Some((index, item.as_bool()?));
                if let Some((index, read)) = items.iter().enumerate().find_map(read) {
                    self.fault(&format!("{key}[{index}]"), unquoted(read));
                    return Vec::new();
                }
                let names = items.iter().map(|item| item.as_str().map(str::to_owned));
                names.collect::<Option<Vec<_>>>()
            }
            _ => None,
        };
        names.unwrap_or_else(|| {
            self.fault(key, "expected a list of names".to_owned());
            Vec::new()
        })
    }

    pub(super) fn duration(&mut self, key: &str) -> Option<Duration> {
        self.duration_at(&self.object.get(key)?.clone(), key)
    }

    pub(super) fn duration_in(
        &mut self,
        object: &FreeObject,
        place: &str,
        key: &str,
    ) -> Option<Duration> {
        self.duration_at(object.get(key)?, &format!("{place}.{key}"))
    }

    fn duration_at(&mut self, value: &Json, place: &str) -> Option<Duration> {
        let duration = match value {
            Json::Number(ms) => duration(&ms.to_string()),
            Json::String(text) => duration(text),
            _ => None,
        };
        if duration.is_none() {
            self.fault(
                place,
                format!(
                    "expected a duration such as 500, 500ms or 1m30s, got {}",
                    kind(value)
                ),
            );
        }
        duration
    }

    /// A free object, which is the mapper's.
    pub(super) fn free(&mut self, key: &str) -> Option<FreeObject> {
        match self.object.get(key)?.clone() {
            Json::Object(object) => Some(object),
            other => {
                self.fault(key, format!("expected an object, got {}", kind(&other)));
                None
            }
        }
    }

    pub(super) fn object(&mut self, key: &str, parent: &str) -> Option<FreeObject> {
        let object = self.free(key)?;
        self.check_keys(key, &object, parent);
        Some(object)
    }

    /// The objects of a list and their places.
    pub(super) fn objects(&mut self, key: &str, parent: &str) -> Vec<(String, FreeObject)> {
        let items = match self.object.get(key).cloned() {
            None => return Vec::new(),
            Some(Json::Array(items)) => items,
            Some(other) => {
                self.fault(key, format!("expected a list, got {}", kind(&other)));
                return Vec::new();
            }
        };
        let mut objects = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let place = format!("{key}[{index}]");
            match item {
                Json::Object(object) => {
                    self.check_keys(&place, &object, parent);
                    objects.push((place, object));
                }
                other => {
                    self.fault(&place, format!("expected an object, got {}", kind(&other)));
                }
            }
        }
        objects
    }

    /// An expression that is true or false.
    pub(super) fn condition(
        &mut self,
        object: &FreeObject,
        key: &str,
        names: &Names<'_>,
    ) -> Option<Expression> {
        let condition = match object.get(key)? {
            Json::String(source) => self.expression(source, key, names)?,
            other => {
                let message = format!("expected an expression of properties, got {}", kind(other));
                self.fault(key, message);
                return None;
            }
        };
        match names.infer(&condition) {
            Ok(Type::Bool | Type::Any) => Some(condition),
            Ok(other) => {
                let message = format!("expected a condition, true or false, got {}", other.kind());
                self.fault(key, message);
                None
            }
            Err(error) => {
                self.fault(key, error.to_string());
                None
            }
        }
    }

    /// An expression, `{name}` for a name alone, or a plain number or truth value.
    pub(super) fn formula(
        &mut self,
        object: &FreeObject,
        place: &str,
        key: &str,
        names: &Names<'_>,
    ) -> Option<Expression> {
        let place = format!("{place}.{key}");
        let formula = match object.get(key) {
            Some(Json::String(source)) => {
                let source = source.trim();
                let alone = source
                    .strip_prefix('{')
                    .and_then(|rest| rest.strip_suffix('}'))
                    .map(str::trim);
                self.expression(alone.unwrap_or(source), &place, names)?
            }
            Some(value @ (Json::Number(_) | Json::Bool(_))) => {
                self.expression(&value.to_string(), &place, names)?
            }
            _ => {
                self.fault(
                    &place,
                    "expected a value: an expression of the parameters".to_owned(),
                );
                return None;
            }
        };
        if let Err(error) = names.infer(&formula) {
            self.fault(&place, error.to_string());
            return None;
        }
        Some(formula)
    }

    fn expression(&mut self, source: &str, place: &str, names: &Names<'_>) -> Option<Expression> {
        let known = names.list();
        match Expression::parse(source, &known) {
            Ok(expression) => Some(expression),
            Err(error) => {
                let more = self.unused.iter().map(String::as_str);
                let all: Vec<&str> = known.into_iter().chain(more).collect();
                if Expression::parse(source, &all).is_ok() {
                    self.beside = true;
                } else {
                    self.fault(place, error.to_string());
                }
                None
            }
        }
    }
}

/// Names that an expression may use, and what they stand for.
pub(super) struct Names<'a>(pub(super) Vec<(&'a str, Type)>);

impl Names<'_> {
    fn list(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| *known == name)
    }

    fn infer(&self, expression: &Expression) -> Result<Type, ExpressionError> {
        expression.infer(&|name| {
            let known = self.0.iter().find(|(known, _)| *known == name);
            known.map_or(Type::Any, |(_, of)| *of)
        })
    }
}
