//! Reading the body of a request.

use std::cell::RefCell;
use std::fmt;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::protobuf;
use super::status::ApiError;

/// The largest body, as with the real server.
const MAX_BODY: usize = 3 * 1024 * 1024;

const ACCEPTED: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

/// A decoded body.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) value: Value,
    /// Fields that were given more than once.
    pub(crate) duplicates: Vec<String>,
}

/// Reads the body whole.
pub(crate) async fn read(body: Body) -> Result<Bytes, ApiError> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(fault) if fault.downcast_ref::<LengthLimitError>().is_some() => Err(ApiError::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {MAX_BODY}"),
        )),
        Err(_) => Err(ApiError::bad_request(
            "the body of the request could not be read",
        )),
    }
}

/// The media type without its parameters.
pub(crate) fn content_type(headers: &HeaderMap) -> &str {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// Decodes an object in any of the forms that are accepted.
pub(crate) fn decode(headers: &HeaderMap, body: &[u8]) -> Result<Decoded, ApiError> {
    match content_type(headers) {
        "" | "application/json" => json(body),
        "application/yaml" => yaml(body),
        "application/vnd.kubernetes.protobuf" => match protobuf::decode(body) {
            Ok(value) => Ok(Decoded {
                value,
                duplicates: Vec::new(),
            }),
            Err(protobuf::Fault::Malformed) => Err(ApiError::bad_request(
                "the body of the request is no protobuf of the form k8s\\0",
            )),
            Err(protobuf::Fault::Unknown(_)) => {
                Err(ApiError::unsupported_media_type(&ACCEPTED[..2]))
            }
        },
        _ => Err(ApiError::unsupported_media_type(ACCEPTED)),
    }
}

/// JSON; the error names line and column.
pub(crate) fn json(body: &[u8]) -> Result<Decoded, ApiError> {
    let duplicates = RefCell::new(Vec::new());
    let mut reader = serde_json::Deserializer::from_slice(body);
    let seed = Seed {
        duplicates: &duplicates,
        path: String::new(),
    };
    let value = seed
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|fault| {
            ApiError::bad_request(format!("couldn't parse the body as JSON: {fault}"))
        })?;
    Ok(Decoded {
        value,
        duplicates: duplicates.into_inner(),
    })
}

/// YAML, of which JSON is a part; the error names line and column.
pub(crate) fn yaml(body: &[u8]) -> Result<Decoded, ApiError> {
    if body.trim_ascii_start().starts_with(b"{") {
        return json(body);
    }
    let fault = |text: String| ApiError::bad_request(format!("error decoding YAML: {text}"));
    let text = std::str::from_utf8(body).map_err(|error| fault(error.to_string()))?;
    let value = serde_saphyr::from_str::<Value>(text).map_err(|error| fault(error.to_string()))?;
    Ok(Decoded {
        value,
        duplicates: Vec::new(),
    })
}

/// Builds a tree and remembers the keys that came twice (the last one wins).
struct Seed<'a> {
    duplicates: &'a RefCell<Vec<String>>,
    path: String,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, items.len());
            let Some(item) = access.next_element_seed(Seed {
                duplicates: self.duplicates,
                path,
            })?
            else {
                break;
            };
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let path = if self.path.is_empty() {
                key.clone()
            } else {
                format!("{}.{key}", self.path)
            };
            let value = access.next_value_seed(Seed {
                duplicates: self.duplicates,
                path: path.clone(),
            })?;
            if map.insert(key, value).is_some() {
                self.duplicates.borrow_mut().push(path);
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_given_twice_is_told() {
        let decoded = json(br#"{"a": 1, "b": [{"c": 1, "c": 2}]}"#).expect("parses");
        assert_eq!(decoded.duplicates, ["b[0].c"]);
        assert_eq!(decoded.value["b"][0]["c"], 2);
    }

    #[test]
    fn a_syntax_error_names_its_place() {
        let error = json(b"{\"a\": \n nope}").expect_err("is no JSON").status();
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains("line 2 column"), "{message}");
        let error = yaml(b"a: [1\nb: 2").expect_err("is no YAML").status();
        assert!(
            error["message"]
                .as_str()
                .unwrap_or_default()
                .contains("line"),
            "{error}"
        );
    }
}
