//! Reading the body of a request.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::intake::Hold;
use super::protobuf;
use super::status::ApiError;
use crate::cause::Texts;
use crate::path::{Path, begin};
use crate::size;

/// How long a body may take.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Until it is whole, …
    whole: Duration,
    /// … and until the next part of it.
    silence: Duration,
}

const PATIENCE: Patience = Patience {
    whole: Duration::from_secs(60),
    silence: Duration::from_secs(15),
};

/// Bytes of a body that is too large, which are still taken before it is refused.
const DROPPED: usize = 4 * size::BODY;

/// Bytes of the words of a parser, which may quote what it did not like.
const FAULT: usize = 1024;

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
    pub(crate) duplicates: Texts,
}

/// Reads the body whole. `hold` is who may keep so many bytes in memory.
pub(crate) async fn read(body: Body, hold: &mut Hold) -> Result<Bytes, ApiError> {
    within(PATIENCE, body, hold).await
}

async fn within(patience: Patience, body: Body, hold: &mut Hold) -> Result<Bytes, ApiError> {
    let collect = collect(body, hold, patience.silence);
    let whole = tokio::time::timeout(patience.whole, collect).await;
    whole.unwrap_or_else(|_| Err(too_slow()))
}

async fn collect(body: Body, hold: &mut Hold, silence: Duration) -> Result<Bytes, ApiError> {
    let mut body = body;
    let mut parts: Vec<Bytes> = Vec::new();
    let mut bytes = 0;
    loop {
        let frame = tokio::time::timeout(silence, body.frame());
        match frame.await.map_err(|_| too_slow())? {
            None => break,
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                bytes += data.len();
                if bytes > size::BODY {
                    // Who is still sending when the connection ends sees no answer, so
                    // the rest is taken, up to a bound, and dropped.
                    parts.clear();
                    if bytes > DROPPED {
                        return Err(ApiError::too_large(size::BODY));
                    }
                    continue;
                }
                hold.add(data.len())?;
                parts.push(data);
            }
            Some(Err(_)) => {
                return Err(ApiError::bad_request(
                    "the body of the request could not be read",
                ));
            }
        }
    }
    if bytes > size::BODY {
        return Err(ApiError::too_large(size::BODY));
    }
    Ok(match parts.len() {
        0 | 1 => parts.pop().unwrap_or_default(),
        _ => parts.concat().into(),
    })
}

fn too_slow() -> ApiError {
    let text = "Timeout: the body of the request did not come in time";
    ApiError::new(408, "Timeout", text)
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
                duplicates: Texts::default(),
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
    let mut reader = serde_json::Deserializer::from_slice(body);
    let notes = Notes::default();
    let value = Seed::root(&notes)
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    notes.conclude(value, "couldn't parse the body as JSON")
}

/// YAML, of which JSON is a part; the error names line and column.
pub(crate) fn yaml(body: &[u8]) -> Result<Decoded, ApiError> {
    if body.trim_ascii_start().starts_with(b"{") {
        return json(body);
    }
    let what = "error decoding YAML";
    let text = std::str::from_utf8(body)
        .map_err(|error| ApiError::bad_request(format!("{what}: {error}")))?;
    let notes = Notes::default();
    // An alias may stand for a megabyte, so what counts is what comes out.
    let value = serde_saphyr::with_deserializer_from_str(text, |reader| {
        Seed::root(&notes).deserialize(reader)
    });
    notes.conclude(value, what)
}

/// What a decoder notes on its way.
struct Notes {
    duplicates: RefCell<Texts>,
    /// Bytes that the object may still grow by.
    room: Cell<usize>,
    too_large: Cell<bool>,
}

impl Default for Notes {
    fn default() -> Notes {
        Notes {
            duplicates: RefCell::default(),
            room: Cell::new(size::BODY),
            too_large: Cell::new(false),
        }
    }
}

impl Notes {
    fn grow<E: serde::de::Error>(&self, bytes: usize) -> Result<(), E> {
        let left = self.room.get().checked_sub(bytes);
        self.room.set(left.unwrap_or_default());
        self.too_large.set(left.is_none());
        left.map(|_| ()).ok_or_else(|| E::custom("too large"))
    }

    fn conclude<E: fmt::Display>(
        self,
        value: Result<Value, E>,
        what: &str,
    ) -> Result<Decoded, ApiError> {
        if self.too_large.get() {
            return Err(ApiError::too_large(size::BODY));
        }
        let duplicates = self.duplicates.into_inner();
        let decoded = value.map(|value| Decoded { value, duplicates });
        decoded.map_err(|fault| {
            let text = format!("{what}: {fault}");
            ApiError::bad_request(begin(&text, FAULT))
        })
    }
}

/// Builds a tree and remembers the keys that came twice (the last one wins).
#[derive(Clone, Copy)]
struct Seed<'a> {
    notes: &'a Notes,
    path: Path<'a>,
    depth: usize,
}

impl<'a> Seed<'a> {
    fn root(notes: &'a Notes) -> Seed<'a> {
        Seed {
            notes,
            path: Path::ROOT,
            depth: 0,
        }
    }

    /// The same for what stands in a container here.
    fn inside<'b, E: serde::de::Error>(&self, path: Path<'b>) -> Result<Seed<'b>, E>
    where
        'a: 'b,
    {
        if self.depth >= size::DEPTH {
            return Err(E::custom("exceeded max depth"));
        }
        Ok(Seed {
            notes: self.notes,
            path,
            depth: self.depth + 1,
        })
    }
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

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        self.notes.grow(4)?;
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.notes.grow(1)?;
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.notes.grow(1)?;
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.notes.grow(1)?;
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.notes.grow(value.len())?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Value, E> {
        self.notes.grow(value.len())?;
        Ok(Value::String(value))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.notes.grow(4)?;
        Ok(Value::Null)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        self.notes.grow(1)?;
        let mut items = Vec::new();
        loop {
            let path = self.path.index(items.len());
            let Some(item) = access.next_element_seed(self.inside(path)?)? else {
                break;
            };
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        self.notes.grow(1)?;
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            self.notes.grow::<A::Error>(key.len() + 2)?;
            let path = self.path.field(&key);
            let value = access.next_value_seed(self.inside(path)?)?;
            if map.contains_key(&key) {
                let mut duplicates = self.notes.duplicates.borrow_mut();
                duplicates.push(|| path.to_string());
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;
    use crate::rest::intake::Intake;

    /// A body that stops, and one that goes on for ever, a byte at a time.
    #[tokio::test]
    async fn a_body_comes_in_time_or_is_not_waited_for() {
        let [soon, never] = [Duration::from_millis(30), Duration::from_secs(3600)];
        for (whole, silence, pause) in [(never, soon, never), (soon, never, soon / 10)] {
            let bytes = futures::stream::repeat(()).then(move |()| async move {
                tokio::time::sleep(pause).await;
                Ok::<_, std::convert::Infallible>(Bytes::from_static(b"{"))
            });
            let patience = Patience { whole, silence };
            let mut hold = Intake::default().hold("somebody");
            let read = within(patience, Body::from_stream(bytes), &mut hold).await;
            let error = read.expect_err("it never ends");
            assert_eq!(error.code(), 408, "{patience:?}");
        }
    }

    #[test]
    fn a_key_given_twice_is_told() {
        let decoded = json(br#"{"a": 1, "b": [{"c": 1, "c": 2}]}"#).expect("parses");
        assert_eq!(decoded.duplicates.into_list(), ["b[0].c"]);
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

    /// What a small body can become, and what its keys can cost.
    #[test]
    fn a_body_becomes_no_more_than_it_may() {
        let code = |decoded: Result<Decoded, ApiError>| decoded.map(drop).map_err(|e| e.code());
        let alias = format!(
            "a: &a \"{}\"\nb: [{}]",
            "x".repeat(100_000),
            ["*a"; 100].join(", ")
        );
        assert_eq!(code(yaml(alias.as_bytes())), Err(413));
        let laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
            + &('b'..='k')
                .map(|c| {
                    let below = char::from(c as u8 - 1);
                    format!("{c}: &{c} [{}]\n", vec![format!("*{below}"); 9].join(","))
                })
                .collect::<String>();
        assert!(matches!(code(yaml(laughs.as_bytes())), Err(400 | 413)));
        let deep = "[".repeat(500_000);
        assert_eq!(code(json(deep.as_bytes())), Err(400));
        assert_eq!(code(yaml(deep.as_bytes())), Err(400));
        let line = format!("a: {}: b: c", "é".repeat(400_000));
        let error = yaml(line.as_bytes()).expect_err("is no YAML").status();
        assert!(error.to_string().len() < 2 * FAULT, "{error}");
    }

    #[test]
    fn a_long_key_above_many_small_items_costs_its_length_once() {
        let key = "k".repeat(1_000_000);
        let items = vec!["0"; 900_000].join(",");
        let decoded = json(format!("{{\"{key}\":[{items}]}}").as_bytes()).expect("decodes");
        assert_eq!(decoded.value[&key].as_array().map(Vec::len), Some(900_000));
        let twice = vec!["{\"x\":1,\"x\":2}"; 100_000].join(",");
        let decoded = json(format!("{{\"{key}\":[{twice}]}}").as_bytes()).expect("decodes");
        let told = decoded.duplicates.into_list();
        assert!(told.len() <= 101 && told.concat().len() < 100_000);
    }
}
