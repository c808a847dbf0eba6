//! Protobuf request bodies, which kubectl sends for some of its commands.
//!
//! A body is `k8s\0` and a `runtime.Unknown` with the object inside. A table of
//! field numbers turns it into the JSON form; answers are always JSON.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::time;

/// How a field is read.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Flag,
    /// A message of seconds and nanoseconds.
    Time,
    Message(&'static [Field]),
    /// string → string
    Texts,
    /// string → bytes
    Blobs,
}

struct Field(u64, &'static str, Kind, /* repeated */ bool);

const fn one(number: u64, name: &'static str, kind: Kind) -> Field {
    Field(number, name, kind, false)
}

const fn many(number: u64, name: &'static str, kind: Kind) -> Field {
    Field(number, name, kind, true)
}

use Kind::{Blobs, Flag, Message, Number, Text, Texts, Time};

const OWNER: &[Field] = &[
    one(1, "kind", Text),
    one(3, "name", Text),
    one(4, "uid", Text),
    one(5, "apiVersion", Text),
    one(6, "controller", Flag),
    one(7, "blockOwnerDeletion", Flag),
];
const META: &[Field] = &[
    one(1, "name", Text),
    one(2, "generateName", Text),
    one(3, "namespace", Text),
    one(5, "uid", Text),
    one(6, "resourceVersion", Text),
    one(7, "generation", Number),
    one(8, "creationTimestamp", Time),
    one(9, "deletionTimestamp", Time),
    one(10, "deletionGracePeriodSeconds", Number),
    one(11, "labels", Texts),
    one(12, "annotations", Texts),
    many(13, "ownerReferences", Message(OWNER)),
    many(14, "finalizers", Text),
];
const NAMESPACE: &[Field] = &[
    one(1, "metadata", Message(META)),
    one(2, "spec", Message(&[many(1, "finalizers", Text)])),
    one(3, "status", Message(&[one(1, "phase", Text)])),
];
const CONFIG_MAP: &[Field] = &[
    one(1, "metadata", Message(META)),
    one(2, "data", Texts),
    one(3, "binaryData", Blobs),
    one(4, "immutable", Flag),
];
const SECRET: &[Field] = &[
    one(1, "metadata", Message(META)),
    one(2, "data", Blobs),
    one(3, "type", Text),
    one(4, "stringData", Texts),
    one(5, "immutable", Flag),
];
const DELETE: &[Field] = &[
    one(1, "gracePeriodSeconds", Number),
    one(
        2,
        "preconditions",
        Message(&[one(1, "uid", Text), one(2, "resourceVersion", Text)]),
    ),
    one(3, "orphanDependents", Flag),
    one(4, "propagationPolicy", Text),
    many(5, "dryRun", Text),
];
const ACCESS_REVIEW: &[Field] = &[
    one(1, "metadata", Message(META)),
    one(
        2,
        "spec",
        Message(&[
            one(
                1,
                "resourceAttributes",
                Message(&[
                    one(1, "namespace", Text),
                    one(2, "verb", Text),
                    one(3, "group", Text),
                    one(4, "version", Text),
                    one(5, "resource", Text),
                    one(6, "subresource", Text),
                    one(7, "name", Text),
                ]),
            ),
            one(
                2,
                "nonResourceAttributes",
                Message(&[one(1, "path", Text), one(2, "verb", Text)]),
            ),
        ]),
    ),
];
const REVIEW: &[Field] = &[one(1, "metadata", Message(META))];
const LEASE: &[Field] = &[
    one(1, "metadata", Message(META)),
    one(
        2,
        "spec",
        Message(&[
            one(1, "holderIdentity", Text),
            one(2, "leaseDurationSeconds", Number),
            one(3, "acquireTime", Time),
            one(4, "renewTime", Time),
            one(5, "leaseTransitions", Number),
            one(6, "strategy", Text),
            one(7, "preferredHolder", Text),
        ]),
    ),
];
const REFERENCE: &[Field] = &[
    one(1, "kind", Text),
    one(2, "namespace", Text),
    one(3, "name", Text),
    one(4, "uid", Text),
    one(5, "apiVersion", Text),
    one(6, "resourceVersion", Text),
    one(7, "fieldPath", Text),
];
const SERIES: &[Field] = &[one(1, "count", Number), one(2, "lastObservedTime", Time)];
const EVENT: &[Field] = &[
    one(1, "metadata", Message(META)),
    one(2, "involvedObject", Message(REFERENCE)),
    one(3, "reason", Text),
    one(4, "message", Text),
    one(
        5,
        "source",
        Message(&[one(1, "component", Text), one(2, "host", Text)]),
    ),
    one(6, "firstTimestamp", Time),
    one(7, "lastTimestamp", Time),
    one(8, "count", Number),
    one(9, "type", Text),
    one(10, "eventTime", Time),
    one(11, "series", Message(SERIES)),
    one(12, "action", Text),
    one(13, "related", Message(REFERENCE)),
    one(14, "reportingComponent", Text),
    one(15, "reportingInstance", Text),
];

fn table(kind: &str) -> Option<&'static [Field]> {
    Some(match kind {
        "Namespace" => NAMESPACE,
        "ConfigMap" => CONFIG_MAP,
        "Secret" => SECRET,
        "DeleteOptions" => DELETE,
        "SelfSubjectAccessReview" => ACCESS_REVIEW,
        "SelfSubjectReview" => REVIEW,
        "Lease" => LEASE,
        "Event" => EVENT,
        _ => return None,
    })
}

/// Why a body could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not what it says it is.
    Malformed,
    /// A kind that is not in the table.
    Unknown(String),
}

/// Reads a body into the JSON form.
pub(crate) fn decode(body: &[u8]) -> Result<Value, Fault> {
    let body = body.strip_prefix(b"k8s\0").ok_or(Fault::Malformed)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for (number, value) in fields(body)? {
        match (number, value) {
            (1, Wire::Bytes(bytes)) => {
                for (number, value) in fields(bytes)? {
                    match (number, value) {
                        (1, Wire::Bytes(bytes)) => api_version = text(bytes)?,
                        (2, Wire::Bytes(bytes)) => kind = text(bytes)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let table = table(&kind).ok_or_else(|| Fault::Unknown(kind.clone()))?;
    let mut object = message(raw, table)?;
    if kind == "Event" && api_version == "events.k8s.io/v1" {
        return Err(Fault::Unknown("Event of events.k8s.io/v1".into()));
    }
    object.insert("apiVersion".into(), Value::String(api_version));
    object.insert("kind".into(), Value::String(kind));
    Ok(Value::Object(object))
}

enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Fault> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Fault::Malformed)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Fault::Malformed)
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], Fault> {
    let (head, tail) = bytes.split_at_checked(count).ok_or(Fault::Malformed)?;
    *bytes = tail;
    Ok(head)
}

fn fields(mut bytes: &[u8]) -> Result<Vec<(u64, Wire<'_>)>, Fault> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let value = match tag & 7 {
            0 => Wire::Number(varint(&mut bytes)?),
            1 => Wire::Bytes(take(&mut bytes, 8)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).map_err(|_| Fault::Malformed)?;
                Wire::Bytes(take(&mut bytes, length)?)
            }
            5 => Wire::Bytes(take(&mut bytes, 4)?),
            _ => return Err(Fault::Malformed),
        };
        found.push((tag >> 3, value));
    }
    Ok(found)
}

fn text(bytes: &[u8]) -> Result<String, Fault> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Fault::Malformed)
}

/// Reads a message. What is at its zero value is left out: the encoder writes
/// empty strings where the JSON form has nothing.
fn message(bytes: &[u8], table: &[Field]) -> Result<Map<String, Value>, Fault> {
    let mut object = Map::new();
    for (number, wire) in fields(bytes)? {
        let Some(Field(_, name, kind, repeated)) = table.iter().find(|field| field.0 == number)
        else {
            continue;
        };
        if let (Texts | Blobs, Wire::Bytes(bytes)) = (kind, &wire) {
            let slot = object
                .entry(*name)
                .or_insert_with(|| Value::Object(Map::new()));
            let (key, value) = pair(bytes, matches!(kind, Blobs))?;
            slot[key] = Value::String(value);
            continue;
        }
        let value = match (kind, wire) {
            (Text, Wire::Bytes(bytes)) => Value::String(text(bytes)?),
            (Number, Wire::Number(number)) => json!(number as i64),
            (Flag, Wire::Number(number)) => json!(number != 0),
            (Time, Wire::Bytes(bytes)) => timestamp(bytes)?,
            (Message(table), Wire::Bytes(bytes)) => Value::Object(message(bytes, table)?),
            _ => return Err(Fault::Malformed),
        };
        if *repeated {
            let slot = object
                .entry(*name)
                .or_insert_with(|| Value::Array(Vec::new()));
            slot.as_array_mut().ok_or(Fault::Malformed)?.push(value);
        } else if !(value.is_null() || value == "" || (*name == "generation" && value == 0)) {
            object.insert((*name).to_owned(), value);
        }
    }
    Ok(object)
}

fn pair(bytes: &[u8], blob: bool) -> Result<(String, String), Fault> {
    let (mut key, mut value) = (String::new(), String::new());
    for (number, wire) in fields(bytes)? {
        match (number, wire) {
            (1, Wire::Bytes(bytes)) => key = text(bytes)?,
            (2, Wire::Bytes(bytes)) => {
                value = if blob {
                    STANDARD.encode(bytes)
                } else {
                    text(bytes)?
                }
            }
            _ => return Err(Fault::Malformed),
        }
    }
    Ok((key, value))
}

fn timestamp(bytes: &[u8]) -> Result<Value, Fault> {
    let mut seconds = None;
    for (number, wire) in fields(bytes)? {
        if let (1, Wire::Number(value)) = (number, wire) {
            seconds = Some(value as i64);
        }
    }
    Ok(seconds.map_or(Value::Null, |seconds| Value::String(time::format(seconds))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(number: u8, inner: &[u8]) -> Vec<u8> {
        [
            &[number << 3 | 2, u8::try_from(inner.len()).expect("short")],
            inner,
        ]
        .concat()
    }

    #[test]
    fn a_config_map_as_kubectl_encodes_it() {
        let meta = [bytes(1, b"cm"), bytes(2, b""), bytes(8, b"")].concat();
        let data = [bytes(1, b"k"), bytes(2, b"v")].concat();
        let object = [bytes(1, &meta), bytes(2, &data)].concat();
        let header = [bytes(1, b"v1"), bytes(2, b"ConfigMap")].concat();
        let body = [b"k8s\0".to_vec(), bytes(1, &header), bytes(2, &object)].concat();
        assert_eq!(
            decode(&body).expect("decodes"),
            json!({"metadata": {"name": "cm"}, "data": {"k": "v"}, "apiVersion": "v1", "kind": "ConfigMap"})
        );
        assert_eq!(decode(&body[..body.len() - 1]), Err(Fault::Malformed));
        assert_eq!(decode(b"{}"), Err(Fault::Malformed));
    }
}
