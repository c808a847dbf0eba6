//! A device's values, packed for the store: compact JSON, one row per property
//! with a value.

use longshore_types::{Value, device::PropertyType};
use serde::{Deserialize, Serialize};

use super::format;

/// A value from a former life.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SavedValue {
    pub(crate) name: String,
    pub(crate) value: Value,
    pub(crate) source_time_ns: i64,
    pub(crate) good_ns: i64,
}

/// All saved values of a device.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct SavedDevice {
    pub(crate) uid: String,
    pub(crate) values: Vec<SavedValue>,
    pub(crate) events: Vec<SavedEvent>,
}

/// An event that is active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedEvent {
    pub(crate) name: String,
    pub(crate) since_ms: i64,
    pub(crate) message: String,
    /// A JSON object.
    pub(crate) values: String,
}

/// Packs values. The caller gives name, value and the two times.
pub(crate) fn pack<'a>(
    uid: &str,
    values: impl Iterator<Item = (&'a str, &'a Value, i64, i64)>,
    events: &[SavedEvent],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"uid\":");
    format::string(&mut out, uid);
    out.extend_from_slice(b",\"values\":[");
    let mut first = true;
    for (name, value, source_time_ns, good_ns) in values {
        if matches!(value, Value::Float(v) if !v.is_finite()) {
            continue;
        }
        out.extend_from_slice(if first { b"[" } else { b",[" });
        first = false;
        format::string(&mut out, name);
        out.extend_from_slice(match value {
            Value::Bool(_) => b",\"b\",",
            Value::Int(_) => b",\"i\",",
            Value::Uint(_) => b",\"u\",",
            Value::Float(_) => b",\"f\",",
            Value::String(_) => b",\"s\",",
            Value::Bytes(_) => b",\"y\",",
        });
        format::value(&mut out, value.borrow(), false);
        out.push(b',');
        format::whole(&mut out, source_time_ns);
        out.push(b',');
        format::whole(&mut out, good_ns);
        out.push(b']');
    }
    out.push(b']');
    if !events.is_empty() {
        out.extend_from_slice(b",\"events\":");
        // Structs of texts and numbers always have a JSON form.
        out.extend_from_slice(&serde_json::to_vec(events).unwrap_or_else(|_| b"[]".to_vec()));
    }
    out.push(b'}');
    out
}

/// Unpacks; what cannot be read is left out, it is only a cache of readings.
pub(crate) fn unpack(data: &[u8]) -> SavedDevice {
    #[derive(Deserialize)]
    struct Raw {
        uid: String,
        values: Vec<(String, String, serde_json::Value, i64, i64)>,
        #[serde(default)]
        events: Vec<SavedEvent>,
    }
    let Ok(raw) = serde_json::from_slice::<Raw>(data) else {
        return SavedDevice::default();
    };
    let values = raw
        .values
        .into_iter()
        .filter_map(|(name, tag, json, source_time_ns, good_ns)| {
            Some(SavedValue {
                name,
                value: value(&tag, &json)?,
                source_time_ns,
                good_ns,
            })
        });
    SavedDevice {
        values: values.collect(),
        uid: raw.uid,
        events: raw.events,
    }
}

fn value(tag: &str, json: &serde_json::Value) -> Option<Value> {
    match tag {
        "b" => json.as_bool().map(Value::Bool),
        "i" => json.as_i64().map(Value::Int),
        "u" => json.as_u64().map(Value::Uint),
        "f" => json.as_f64().map(Value::Float),
        "s" => json.as_str().map(|text| Value::String(text.into())),
        "y" => json
            .as_str()
            .and_then(|text| Value::parse_as(PropertyType::Bytes, text).ok()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back() {
        let values = [
            ("a", Value::Float(21.1)),
            ("b", Value::Float(f64::from(21.1_f32))),
            ("c", Value::Int(-5)),
            ("d", Value::Uint(u64::MAX)),
            ("e \"quoted\"", Value::String("x\ny".into())),
            ("f", Value::Bytes([0, 255, 7].into())),
            ("g", Value::Bool(true)),
        ];
        let events = [SavedEvent {
            name: "hot".to_owned(),
            since_ms: 7,
            message: "\"hot\"".to_owned(),
            values: "{\"t\":91.5}".to_owned(),
        }];
        let saved = unpack(&pack(
            "uid-1",
            values.iter().map(|(n, v)| (*n, v, 5, 4)),
            &events,
        ));
        assert_eq!(saved.uid, "uid-1");
        assert_eq!(saved.events, events);
        let back: Vec<_> = saved
            .values
            .into_iter()
            .map(|v| (v.name, v.value))
            .collect();
        let expected: Vec<_> = values.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
        assert_eq!(back, expected);
        assert_eq!(unpack(b"nonsense"), SavedDevice::default());
    }
}
