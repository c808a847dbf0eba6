//! What a decoder with typed fields would not take: values of the wrong type in built-in
//! kinds and in everybody's metadata. The real server decodes before it checks, so such an
//! object is no object of its kind at all, and not an invalid one.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{Format, Kind, Schema};
use crate::path::Path;

/// Why `value` cannot be decoded as a `root`, in the words of Go; `None` when it can.
pub(crate) fn decode_fault(value: &Value, schema: &Schema, root: &str) -> Option<String> {
    walk(value, schema, &Path::ROOT, root)
}

fn walk(value: &Value, schema: &Schema, path: &Path<'_>, root: &str) -> Option<String> {
    if value.is_null() {
        return None;
    }
    let wanted = match schema.kind {
        Kind::Any | Kind::IntOrString => None,
        Kind::Object => (!value.is_object()).then_some("map"),
        Kind::Array => (!value.is_array()).then_some("slice"),
        Kind::String => (!value.is_string()).then_some("string"),
        Kind::Integer => (!value.is_i64() && !value.is_u64()).then_some("int64"),
        Kind::Number => (!value.is_number()).then_some("float64"),
        Kind::Boolean => (!value.is_boolean()).then_some("bool"),
    };
    if let Some(wanted) = wanted {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        return Some(format!(
            "json: cannot unmarshal {found} into Go struct field {root}.{path} of type {wanted}"
        ));
    }
    match value {
        Value::Object(map) => map.iter().find_map(|(name, value)| {
            let field = schema.field(name)?;
            // Entries of a map are no fields: their map is what is named.
            if schema.properties.contains_key(name) {
                walk(value, field, &path.field(name), root)
            } else {
                walk(value, field, path, root)
            }
        }),
        Value::Array(items) => {
            let of = schema.items.as_ref()?;
            items.iter().find_map(|item| walk(item, of, path, root))
        }
        Value::String(text) => {
            let format = schema.checks.format.map(Format::name);
            let bytes = format == Some("byte");
            let illegal = bytes.then(|| not_base64(text)).flatten()?;
            Some(format!("illegal base64 data at input byte {illegal}"))
        }
        _ => None,
    }
}

/// Where a text stops to be base64. Like Go's decoder, this skips line breaks.
fn not_base64(text: &str) -> Option<usize> {
    let plain: Vec<u8> = text
        .bytes()
        .filter(|byte| !b"\r\n".contains(byte))
        .collect();
    match STANDARD.decode(&plain) {
        Ok(_) => None,
        Err(
            base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _),
        ) => Some(at),
        Err(_) => Some(plain.len() / 4 * 4),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::Components;

    #[test]
    fn the_first_value_of_a_wrong_type_is_named() {
        let schema = json!({"type": "object", "properties": {
            "data": {"type": "object", "additionalProperties": {"type": "string"}},
            "blobs": {"type": "object", "additionalProperties": {"type": "string", "format": "byte"}},
            "spec": {"type": "object", "properties": {"on": {"type": "boolean"}}}}});
        let schema = Schema::parse(&schema, &Components::new());
        let fault = |value: Value| decode_fault(&value, &schema, "Thing");
        assert_eq!(
            fault(json!({"data": {"a": "1"}, "spec": {"on": true}, "x": 1})),
            None
        );
        assert_eq!(
            fault(json!({"data": {"a": 1}})).as_deref(),
            Some("json: cannot unmarshal number into Go struct field Thing.data of type string")
        );
        assert_eq!(
            fault(json!({"spec": {"on": "yes"}})).as_deref(),
            Some("json: cannot unmarshal string into Go struct field Thing.spec.on of type bool")
        );
        assert_eq!(
            fault(json!({"blobs": {"a": "!!"}})).as_deref(),
            Some("illegal base64 data at input byte 0")
        );
        assert_eq!(fault(json!({"blobs": {"a": "YQ=\n="}})), None);
    }
}
