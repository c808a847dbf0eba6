//! The schema that a mapper carries: what may stand in its configurations.
//!
//! One JSON document with a JSON Schema (draft 2020-12) for each place where a
//! mapper's own vocabulary stands. A test makes it of the mapper's tables of
//! keys ([`crate::keys`]); it is checked in as `schema.json`, and put into the
//! library by `export_mapper!(…, schema: include_str!("../schema.json"))`, so
//! that it can be read without running the mapper.
//!
//! ```
//! use longshore_sdk::{keys::{Form, Table, key}, schema::Document};
//!
//! const DEVICE: Table = Table { about: "There is one.", keys: &[], examples: &[] };
//! const PROPERTY: Table = Table {
//!     about: "A counter.",
//!     keys: &[&[key("start", Form::Integer(0, 100), "Where it begins.")]],
//!     examples: &[],
//! };
//! let document = Document {
//!     protocol: "counter",
//!     description: "Counters that live in memory.",
//!     device: &DEVICE,
//!     property: &PROPERTY,
//!     method: None,
//!     discovery: None,
//!     mapper: None,
//! };
//! assert!(document.to_json().contains("\"start\""));
//! ```

use serde_json::{Map, Value, json};

use crate::keys::{Default, Form, Key, Table, key};

/// Whether a device's bytes are told.
const TRACE: Key = key(
    crate::wire::KEY,
    Form::Boolean,
    "Whether the bytes between mapper and device go into the log of edgecore, with what they were taken for; `longshore watch --wire` follows them.",
)
.or(Default::Truth(false));

/// The parts of a mapper's schema.
#[derive(Clone, Copy)]
pub struct Document {
    /// The `protocolName` of its devices.
    pub protocol: &'static str,
    /// What it is for, one or two sentences.
    pub description: &'static str,
    /// `protocol.configData` of a Device and `protocolConfigData` of its model.
    pub device: &'static Table,
    /// `visitors.configData` of a property, without the keys of the twin engine.
    pub property: &'static Table,
    /// A method's own keys.
    pub method: Option<&'static Table>,
    /// A request to look for devices.
    pub discovery: Option<&'static Table>,
    /// The mapper's configuration in that of the edge.
    pub mapper: Option<&'static Table>,
}

impl Document {
    /// The document as it is checked in: `{"protocol", "description", "device",
    /// "property", "method", "discovery", "mapper"}`, indented, with a newline
    /// at the end.
    pub fn to_json(&self) -> String {
        let mut whole = Map::new();
        whole.insert("protocol".to_owned(), self.protocol.into());
        whole.insert("description".to_owned(), self.description.into());
        for (name, table) in [
            ("device", Some(self.device)),
            ("property", Some(self.property)),
            ("method", self.method),
            ("discovery", self.discovery),
            ("mapper", self.mapper),
        ] {
            let Some(table) = table else { continue };
            let mut part = json!({"$schema": "https://json-schema.org/draft/2020-12/schema"});
            let examples = table.examples.iter().map(|text| json_of(text));
            if let Value::Object(part) = &mut part {
                part.extend(object(table));
                if name == "device" {
                    // The schedule's own key, which the mapper never sees.
                    part["properties"][crate::wire::KEY] = of_key(&TRACE);
                }
                if !table.examples.is_empty() {
                    part.insert("examples".to_owned(), examples.collect());
                }
            }
            whole.insert(name.to_owned(), part);
        }
        let mut text = serde_json::to_string_pretty(&Value::Object(whole)).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Compares the document with the file that is checked in, and writes it
    /// when the environment says `LONGSHORE_UPDATE=1`.
    ///
    /// # Errors
    /// The file says something else; the message tells how to mend it.
    pub fn check_file(&self, file: impl AsRef<std::path::Path>) -> Result<(), String> {
        let (file, text) = (file.as_ref(), self.to_json());
        if std::env::var_os("LONGSHORE_UPDATE").is_some() {
            return std::fs::write(file, text)
                .map_err(|error| format!("failed to write {}: {error}", file.display()));
        }
        match std::fs::read_to_string(file) {
            Ok(there) if there == text => Ok(()),
            Ok(_) => Err(format!(
                "{} is not what the tables of keys say; run the test with LONGSHORE_UPDATE=1",
                file.display()
            )),
            Err(error) => Err(format!("failed to read {}: {error}", file.display())),
        }
    }
}

/// The schema of a table.
fn object(table: &Table) -> Map<String, Value> {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "object".into());
    if !table.about.is_empty() {
        schema.insert("description".to_owned(), table.about.into());
    }
    let properties = table.iter().map(|key| (key.name.to_owned(), of_key(key)));
    schema.insert("properties".to_owned(), properties.collect());
    let required = table.iter().filter(|key| key.required.is_some());
    let required: Vec<Value> = required.map(|key| key.name.into()).collect();
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    schema
}

/// The schema of a key. One that may be left out may also be null.
fn of_key(key: &Key) -> Value {
    let mut schema = of_form(&key.form);
    if key.required.is_none() {
        schema = or_null(schema);
    }
    schema.insert("description".to_owned(), key.meaning.into());
    let default = match key.default {
        Default::Nothing => return Value::Object(schema),
        Default::Whole(number) => number.into(),
        Default::Truth(truth) => truth.into(),
        Default::Text(text) => text.into(),
        Default::Time(time) => match (time.as_millis() as u64, time.subsec_millis()) {
            (0, _) => 0.into(),
            (millis, 0) => format!("{}s", millis / 1000).into(),
            (millis, _) => format!("{millis}ms").into(),
        },
        Default::Json(text) => json_of(text),
    };
    schema.insert("default".to_owned(), default);
    Value::Object(schema)
}

fn or_null(mut schema: Map<String, Value>) -> Map<String, Value> {
    let null = json!({"type": "null"});
    if let Some(Value::Array(forms)) = schema.get_mut("anyOf") {
        forms.push(null);
    } else if schema.contains_key("enum") {
        let forms = vec![Value::Object(schema), null];
        return Map::from_iter([("anyOf".to_owned(), forms.into())]);
    } else if let Some(kind) = schema.get_mut("type") {
        *kind = match kind.take() {
            Value::Array(mut kinds) => {
                kinds.push("null".into());
                kinds.into()
            }
            one => json!([one, "null"]),
        };
    }
    schema
}

fn of_form(form: &Form) -> Map<String, Value> {
    // What a text has to be that stands for the number is its `format`.
    let between = |kind: &str, format: &str, least: Value, most: Value| {
        let mut schema = json!({"type": [kind, "string"], "format": format});
        for (word, bound, none) in [
            ("minimum", least, json!(i64::MIN)),
            ("maximum", most, json!(i64::MAX)),
        ] {
            if bound != none && !bound.is_null() {
                schema[word] = bound;
            }
        }
        schema
    };
    let schema = match form {
        Form::Any => json!({}),
        Form::Text | Form::AnyCase(_) => json!({"type": "string"}),
        Form::Label => json!({"type": ["string", "integer"]}),
        Form::Boolean => json!({"type": ["boolean", "string"], "format": "boolean"}),
        Form::Integer(least, most) => between("integer", "integer", json!(least), json!(most)),
        // Infinity is no JSON, so an open end becomes null.
        Form::Number(least, most) => between("number", "number", json!(least), json!(most)),
        Form::Duration(least, most) => between(
            "integer",
            "milliseconds",
            json!(least.as_millis() as u64),
            json!(most.as_millis() as u64),
        ),
        Form::Words(choices) => json!({"type": "string", "enum": choices.words()}),
        Form::List(form) => json!({"type": "array", "items": of_form(form)}),
        Form::Map | Form::As(_) => json!({"type": "object", "additionalProperties": true}),
        Form::Object(table) => Value::Object(object(table)),
        Form::Either(forms) => {
            let forms: Vec<_> = forms.iter().map(of_form).collect();
            json!({"anyOf": forms})
        }
    };
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

/// An example or a default of a table; what is no JSON shows in the file.
fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| error.to_string().into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::keys::key;

    const WORDS: &[(&str, u8)] = &[("slow", 1), ("fast", 2)];
    const TABLE: Table = Table {
        about: "",
        keys: &[
            &[
                key("a", Form::Words(&WORDS), "A.").or(Default::Text("slow")),
                key("b", Form::Integer(1, i64::MAX), "B.").required("no b"),
                key("c", Form::Either(&[Form::Text, Form::Map]), "C."),
            ],
            &[
                key("b", Form::Any, "Not this one."),
                key(
                    "d",
                    Form::Duration(Duration::ZERO, Duration::from_secs(1)),
                    "D.",
                )
                .or(Default::Time(Duration::from_millis(1500))),
            ],
        ],
        examples: &[],
    };

    #[test]
    fn a_key_that_may_be_left_out_may_be_null_and_the_first_of_a_name_counts() {
        let expected = json!({
            "type": "object",
            "properties": {
                "a": {
                    "anyOf": [{"type": "string", "enum": ["slow", "fast"]}, {"type": "null"}],
                    "description": "A.", "default": "slow",
                },
                "b": {"type": ["integer", "string"], "format": "integer", "minimum": 1, "description": "B."},
                "c": {
                    "anyOf": [
                        {"type": "string"},
                        {"type": "object", "additionalProperties": true},
                        {"type": "null"},
                    ],
                    "description": "C.",
                },
                "d": {
                    "type": ["integer", "string", "null"], "format": "milliseconds",
                    "minimum": 0, "maximum": 1000,
                    "description": "D.", "default": "1500ms",
                },
            },
            "required": ["b"],
        });
        assert_eq!(Value::Object(object(&TABLE)), expected);
    }
}
