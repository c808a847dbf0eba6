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
    /// A newer one may have been reported.
    pub(crate) doubtful: bool,
}

/// All saved values of a device.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct SavedDevice {
    pub(crate) uid: String,
    pub(crate) values: Vec<SavedValue>,
    pub(crate) events: Vec<SavedEvent>,
    /// Kept in rows of their own, each with the uid of its device.
    pub(crate) rows: Vec<(String, SavedRow)>,
}

/// What a row of its own has of a device.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SavedRow {
    Actual(SavedValue),
    Event(SavedEvent),
}

impl SavedDevice {
    /// What of it is of the device with this uid, with its rows in it; and the
    /// rows that are of another one, which had the name before.
    pub(crate) fn of(self, uid: &str) -> (Self, Vec<SavedRow>) {
        let mut saved = match self.uid == uid {
            true => Self {
                rows: Vec::new(),
                ..self.clone()
            },
            false => Self::default(),
        };
        let mut others = Vec::new();
        for (of, row) in self.rows {
            match row {
                _ if of != uid => others.push(row),
                SavedRow::Actual(value) => saved.measured(value),
                SavedRow::Event(event) => {
                    saved.events.retain(|former| former.name != event.name);
                    saved.events.push(event);
                }
            }
        }
        (saved, others)
    }

    /// A client's value counts where no newer one was read.
    fn measured(&mut self, value: SavedValue) {
        let former = self
            .values
            .iter_mut()
            .find(|former| former.name == value.name);
        match former {
            Some(former) if former.source_time_ns >= value.source_time_ns => {}
            Some(former) => *former = value,
            None => self.values.push(value),
        }
    }
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
        out.push(b',');
        tagged(&mut out, value);
        format::whole(&mut out, source_time_ns);
        out.push(b',');
        format::whole(&mut out, good_ns);
        out.push(b']');
    }
    out.extend_from_slice(b"]}");
    out
}

/// `"tag",value,`
fn tagged(out: &mut Vec<u8>, value: &Value) {
    out.extend_from_slice(match value {
        Value::Bool(_) => b"\"b\",",
        Value::Int(_) => b"\"i\",",
        Value::Uint(_) => b"\"u\",",
        Value::Float(_) => b"\"f\",",
        Value::String(_) => b"\"s\",",
        Value::Bytes(_) => b"\"y\",",
    });
    format::value(out, value.borrow(), false);
    out.push(b',');
}

/// Packs one value of a device with the time at which it was measured.
pub(crate) fn pack_one(uid: &str, value: &Value, time_ns: i64) -> String {
    let mut out = Vec::with_capacity(64);
    out.push(b'[');
    format::string(&mut out, uid);
    out.push(b',');
    tagged(&mut out, value);
    format::whole(&mut out, time_ns);
    out.push(b']');
    // Made of strs and ASCII.
    String::from_utf8(out).unwrap_or_default()
}

/// Unpacks what [`pack_one`] made: the device's uid and the value. None when it
/// cannot be read.
pub(crate) fn unpack_one(name: &str, json: &str) -> Option<(String, SavedValue)> {
    let (uid, tag, json, time_ns) =
        serde_json::from_str::<(String, String, serde_json::Value, i64)>(json).ok()?;
    let value = SavedValue {
        name: name.to_owned(),
        value: value(&tag, &json)?,
        source_time_ns: time_ns,
        good_ns: time_ns,
        doubtful: false,
    };
    Some((uid, value))
}

/// Packs an event of a device.
pub(crate) fn pack_event(uid: &str, event: &SavedEvent) -> String {
    // Texts and numbers always have a JSON form.
    serde_json::to_string(&(uid, event)).unwrap_or_default()
}

/// Unpacks what [`pack_event`] made: the device's uid and the event.
pub(crate) fn unpack_event(json: &str) -> Option<(String, SavedEvent)> {
    serde_json::from_str(json).ok()
}

/// Unpacks; none when it cannot be read. A single value of another version is
/// left out, as it is read again.
pub(crate) fn unpack(data: &[u8]) -> Option<SavedDevice> {
    #[derive(Deserialize)]
    struct Raw {
        uid: String,
        values: Vec<(String, String, serde_json::Value, i64, i64)>,
        /// Former versions kept them here and not in rows.
        #[serde(default)]
        events: Vec<SavedEvent>,
    }
    let raw = serde_json::from_slice::<Raw>(data).ok()?;
    let values = raw
        .values
        .into_iter()
        .filter_map(|(name, tag, json, source_time_ns, good_ns)| {
            Some(SavedValue {
                name,
                value: value(&tag, &json)?,
                source_time_ns,
                good_ns,
                doubtful: false,
            })
        });
    Some(SavedDevice {
        values: values.collect(),
        uid: raw.uid,
        events: raw.events,
        rows: Vec::new(),
    })
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
        let packed = pack("uid-1", values.iter().map(|(n, v)| (*n, v, 5, 4)));
        let saved = unpack(&packed).unwrap();
        assert_eq!(saved.uid, "uid-1");
        let back: Vec<_> = saved
            .values
            .into_iter()
            .map(|v| (v.name, v.value))
            .collect();
        let expected: Vec<_> = values.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
        assert_eq!(back, expected);
        assert_eq!(unpack(b"nonsense"), None);
    }

    #[test]
    fn one_value_comes_back_with_its_time() {
        for value in [
            Value::Float(21.1),
            Value::String("x\ny".into()),
            Value::Bytes([0, 255].into()),
        ] {
            let (uid, saved) = unpack_one("a", &pack_one("uid \"1\"", &value, 5)).unwrap();
            assert_eq!(
                (uid.as_str(), &saved.value, saved.source_time_ns),
                ("uid \"1\"", &value, 5)
            );
        }
        assert_eq!(unpack_one("a", "[1,2"), None);
    }

    #[test]
    fn events_of_a_former_version_are_read() {
        let data = br#"{"uid":"u","values":[],"events":[{"name":"hot","since_ms":7,"message":"m","values":"{}"}]}"#;
        let saved = unpack(data).unwrap();
        assert_eq!(
            (saved.events[0].name.as_str(), saved.events[0].since_ms),
            ("hot", 7)
        );
    }
}
