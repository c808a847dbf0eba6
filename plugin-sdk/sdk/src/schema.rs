//! The schema that a mapper carries: what may stand in its configurations.
//!
//! One JSON document with a JSON Schema (draft 2020-12) for each place where a
//! mapper's own vocabulary stands. It is generated from the mapper's Rust types
//! by a test, checked in as `schema.json`, and put into the library by
//! `export_mapper!(…, schema: include_str!("../schema.json"))`, so that it can
//! be read without running the mapper.
//!
//! ```
//! let document = longshore_sdk::schema::Document {
//!     protocol: "counter",
//!     description: "Counters that live in memory.",
//!     device: serde_json::json!({"type": "object"}),
//!     property: serde_json::json!({"type": "object", "properties": {"start": {"type": "integer"}}}),
//!     method: None,
//!     discovery: None,
//!     mapper: None,
//! };
//! assert!(document.to_json().contains("\"start\""));
//! ```

use serde_json::{Map, Value};

/// The parts of a mapper's schema.
#[derive(Debug, Clone)]
pub struct Document {
    /// The `protocolName` of its devices.
    pub protocol: &'static str,
    /// What it is for, one or two sentences.
    pub description: &'static str,
    /// `protocol.configData` of a Device and `protocolConfigData` of its model.
    pub device: Value,
    /// `visitors.configData` of a property, without the keys of the twin engine.
    pub property: Value,
    /// A method's own keys.
    pub method: Option<Value>,
    /// A request to look for devices.
    pub discovery: Option<Value>,
    /// The mapper's configuration in that of the edge.
    pub mapper: Option<Value>,
}

impl Document {
    /// The document as it is checked in: `{"protocol", "description", "device",
    /// "property", "method", "discovery", "mapper"}`, indented, with a newline
    /// at the end.
    pub fn to_json(&self) -> String {
        let mut whole = Map::new();
        whole.insert("protocol".to_owned(), self.protocol.into());
        whole.insert("description".to_owned(), self.description.into());
        whole.insert("device".to_owned(), self.device.clone());
        whole.insert("property".to_owned(), self.property.clone());
        for (key, part) in [
            ("method", &self.method),
            ("discovery", &self.discovery),
            ("mapper", &self.mapper),
        ] {
            if let Some(part) = part {
                whole.insert(key.to_owned(), part.clone());
            }
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
                "{} is not what the types say; run the test with LONGSHORE_UPDATE=1",
                file.display()
            )),
            Err(error) => Err(format!("failed to read {}: {error}", file.display())),
        }
    }
}
