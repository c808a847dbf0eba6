//! What is wrong with an object, in the words that clients know.

use serde_json::{Value, json};

/// One fault of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) field: String,
}

fn print(value: &Value) -> String {
    match value {
        Value::Object(_) | Value::Array(_) => value.to_string(),
        Value::String(text) => format!("{text:?}"),
        plain => plain.to_string(),
    }
}

impl Cause {
    fn new(reason: &'static str, field: &str, message: String) -> Cause {
        let field = if field.is_empty() { "<nil>" } else { field };
        Cause {
            reason,
            message,
            field: field.to_owned(),
        }
    }

    pub(crate) fn invalid(field: &str, value: &Value, detail: &str) -> Cause {
        Cause::new(
            "FieldValueInvalid",
            field,
            format!("Invalid value: {}: {detail}", print(value)),
        )
    }

    pub(crate) fn required(field: &str) -> Cause {
        Cause::new("FieldValueRequired", field, "Required value".into())
    }

    pub(crate) fn missing(field: &str, detail: &str) -> Cause {
        Cause::new(
            "FieldValueRequired",
            field,
            format!("Required value: {detail}"),
        )
    }

    pub(crate) fn duplicate(field: &str, value: &Value) -> Cause {
        Cause::new(
            "FieldValueDuplicate",
            field,
            format!("Duplicate value: {}", print(value)),
        )
    }

    pub(crate) fn forbidden(field: &str, detail: &str) -> Cause {
        Cause::new("FieldValueForbidden", field, format!("Forbidden: {detail}"))
    }

    pub(crate) fn unsupported(field: &str, value: &Value, allowed: &[Value]) -> Cause {
        let list: Vec<String> = allowed.iter().map(print).collect();
        let text = format!(
            "Unsupported value: {}: supported values: {}",
            print(value),
            list.join(", ")
        );
        Cause::new("FieldValueNotSupported", field, text)
    }

    pub(crate) fn text(&self) -> String {
        format!("{}: {}", self.field, self.message)
    }

    pub(crate) fn json(&self) -> Value {
        json!({"reason": self.reason, "message": self.message, "field": self.field})
    }
}
