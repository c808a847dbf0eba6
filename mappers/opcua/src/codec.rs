//! From the server's values to samples: quality, time, and JSON for what is no scalar.

use std::time::SystemTime;

use longshore_sdk::{Reason, Samples};
use opcua::types::{Array, DataValue, NumericRange, StatusCode, UAString, Variant};
use serde_json::{Map, Number, Value};

use crate::{
    point::{Field, Step},
    range,
    room::Room,
    structure::Types,
    wire::status_text,
};

/// Ticks of 100 ns from 1601-01-01 (Part 6, section 5.2.2.5) to 1970-01-01.
const UNIX_EPOCH_TICKS: i64 = 116_444_736_000_000_000;

/// What is needed to make a sample of a value.
pub(crate) struct Decoder<'a> {
    /// The structures that are known.
    pub(crate) types: &'a Types,
    /// For values that bring no time.
    pub(crate) now_ns: i64,
}

/// What is said of a value that is none.
const NULL: &str = "the node has no value (null)";

/// The part of an array that an index range means, where the server did not look at
/// the range; of a single index, the element itself.
fn cut(value: &Variant, wanted: &NumericRange) -> Result<Option<Variant>, String> {
    let Variant::Array(array) = value else {
        return Ok(None);
    };
    if wanted.is_none() {
        return Ok(None);
    }
    let part = match range::is_ignored(array, wanted) {
        false => None,
        true => Some(range::part(array, wanted).ok_or_else(|| {
            format!("the server gives the whole array, and it ends before {wanted}")
        })?),
    };
    if range::is_one(wanted) {
        let mut values = part.as_ref().unwrap_or(array).values.iter();
        return match (values.next(), values.next()) {
            (Some(one), None) => Ok(Some(one.clone())),
            _ => Err(format!("the server gives no single element for {wanted}")),
        };
    }
    Ok(part.map(|part| Variant::Array(Box::new(part))))
}

/// A bad status with what to do, where that is known.
pub(crate) fn refusal_text(status: StatusCode) -> String {
    let text = status_text(status);
    match StatusCode::from_category(status.sub_code()) {
        StatusCode::BadAttributeIdInvalid => format!(
            "{text}\n\nhint: a folder or another object has no value, and not each node has each attribute; \
             longshore discover opcua lists the variables below it"
        ),
        StatusCode::BadIndexRangeNoData | StatusCode::BadIndexRangeInvalid => {
            format!("{text}\n\nhint: indexRange lies outside of the array, or the value is none")
        }
        _ => text,
    }
}

/// A part of a value.
enum Part<'a> {
    Value(&'a Variant),
    Json(Value),
}

impl Decoder<'_> {
    /// Puts one value as one sample into `samples`.
    pub(crate) fn push(&self, point: u32, field: &Field, value: &DataValue, samples: &mut Samples) {
        let time = self.time(value);
        let status = value.status.unwrap_or(StatusCode::Good);
        if status.is_bad() {
            let message = refusal_text(status);
            samples.push_bad(point, reason(status), &message, time);
            return;
        }
        let inner = match &value.value {
            None | Some(Variant::Empty) => {
                samples.push_bad(point, Reason::Decode, NULL, time);
                return;
            }
            Some(inner) => inner,
        };
        let cut = cut(inner, &field.range);
        let inner = match &cut {
            Ok(Some(cut)) => cut,
            Ok(None) => inner,
            Err(message) => {
                samples.push_bad(point, Reason::Decode, message, time);
                return;
            }
        };
        match self.part(inner, &field.element) {
            Ok(Part::Value(inner)) => self.push_variant(point, inner, time, samples),
            Ok(Part::Json(json)) => push_json(point, &json, time, samples),
            Err(message) => {
                samples.push_bad(point, Reason::Decode, &message, time);
                return;
            }
        }
        if status.is_uncertain() {
            samples.mark_last_uncertain();
        }
    }

    /// When the value was true: the source's time, else the server's, else now.
    fn time(&self, value: &DataValue) -> i64 {
        let given = [&value.source_timestamp, &value.server_timestamp];
        let mut known = given.into_iter().flatten().filter_map(|time| {
            let ticks = time.ticks();
            // A null time is no time; so is one of a clock that was never set.
            (ticks > UNIX_EPOCH_TICKS).then(|| ticks - UNIX_EPOCH_TICKS)
        });
        known
            .next()
            .and_then(|ticks| ticks.checked_mul(100))
            .unwrap_or(self.now_ns)
    }

    fn push_variant(&self, point: u32, value: &Variant, time: i64, samples: &mut Samples) {
        match value {
            Variant::Boolean(value) => samples.push_bool(point, *value, time),
            Variant::SByte(value) => samples.push_i64(point, i64::from(*value), time),
            Variant::Int16(value) => samples.push_i64(point, i64::from(*value), time),
            Variant::Int32(value) => samples.push_i64(point, i64::from(*value), time),
            Variant::Int64(value) => samples.push_i64(point, *value, time),
            Variant::Byte(value) => samples.push_u64(point, u64::from(*value), time),
            Variant::UInt16(value) => samples.push_u64(point, u64::from(*value), time),
            Variant::UInt32(value) => samples.push_u64(point, u64::from(*value), time),
            Variant::UInt64(value) => samples.push_u64(point, *value, time),
            Variant::Float(value) => samples.push_f64(point, f64::from(*value), time),
            Variant::Double(value) => samples.push_f64(point, *value, time),
            Variant::ByteString(value) if !value.is_null() => {
                samples.push_bytes(point, value.as_ref(), time);
            }
            Variant::String(value) if !value.is_null() => {
                samples.push_str(point, value.as_ref(), time);
            }
            Variant::Variant(value) => self.push_variant(point, value, time, samples),
            value => push_json(point, &self.json(value), time, samples),
        }
    }

    /// Goes down into arrays and structures.
    fn part<'a>(&self, value: &'a Variant, steps: &[Step]) -> Result<Part<'a>, String> {
        let Some((step, rest)) = steps.split_first() else {
            return Ok(Part::Value(value));
        };
        match (value, step) {
            (Variant::Array(array), Step::Index(index)) if array.dimensions.is_none() => {
                let inner = array.values.get(*index).ok_or_else(|| {
                    format!("no element {index}: the array has {}", array.values.len())
                })?;
                self.part(inner, rest)
            }
            _ => {
                let mut json = self.json(value);
                for step in steps {
                    json = down(json, step)?;
                }
                Ok(Part::Json(json))
            }
        }
    }

    /// A value as JSON.
    pub(crate) fn json(&self, value: &Variant) -> Value {
        self.json_within(value, &mut Room::new())
    }

    /// A value as JSON, as a part of one that has so much room left.
    pub(crate) fn json_within(&self, value: &Variant, room: &mut Room) -> Value {
        match value {
            Variant::Empty | Variant::DiagnosticInfo(_) => Value::Null,
            Variant::Boolean(value) => Value::from(*value),
            Variant::SByte(value) => Value::from(*value),
            Variant::Byte(value) => Value::from(*value),
            Variant::Int16(value) => Value::from(*value),
            Variant::UInt16(value) => Value::from(*value),
            Variant::Int32(value) => Value::from(*value),
            Variant::UInt32(value) => Value::from(*value),
            Variant::Int64(value) => Value::from(*value),
            Variant::UInt64(value) => Value::from(*value),
            // 0.1 as 0.1, not as 0.10000000149011612.
            Variant::Float(value) => value.to_string().parse().map_or(Value::Null, float),
            Variant::Double(value) => float(*value),
            Variant::String(value) => text(value),
            Variant::XmlElement(value) => Value::from(value.to_string()),
            Variant::DateTime(value) => {
                let time = value.as_chrono();
                Value::from(time.format("%Y-%m-%dT%H:%M:%S%.fZ").to_string())
            }
            Variant::Guid(value) => Value::from(value.to_string()),
            Variant::StatusCode(value) => Value::from(value.to_string()),
            Variant::ByteString(value) if value.is_null() => Value::Null,
            Variant::ByteString(value) => Value::from(value.as_base64()),
            Variant::QualifiedName(value) if value.name.is_null() => Value::Null,
            Variant::QualifiedName(value) => Value::from(match value.namespace_index {
                0 => value.name.to_string(),
                index => format!("{index}:{}", value.name),
            }),
            Variant::LocalizedText(value) => text(&value.text),
            Variant::NodeId(value) => Value::from(value.to_string()),
            Variant::ExpandedNodeId(value) => Value::from(value.to_string()),
            Variant::ExtensionObject(value) => self.types.json(value, self, room),
            Variant::Variant(value) => self.json_within(value, room),
            Variant::DataValue(value) => value
                .value
                .as_ref()
                .map_or(Value::Null, |value| self.json_within(value, room)),
            Variant::Array(array) => self.array(array, room),
        }
    }

    fn array(&self, array: &Array, room: &mut Room) -> Value {
        let values = array.values.iter();
        let values: Vec<Value> = values.map(|value| self.json_within(value, room)).collect();
        let sizes = array.dimensions.as_deref().unwrap_or_default().iter();
        let sizes: Vec<_> = sizes
            .map(|size| usize::try_from(*size).unwrap_or(usize::MAX))
            .collect();
        matrix(values, &sizes)
    }
}

/// A matrix has no more dimensions than this; what claims to is shown as a list.
/// Each is an array in an array, and a million of them end whoever walks through it.
const DIMENSIONS: usize = 16;

/// Arrays in arrays for a matrix; the last dimension runs fastest (Part 6, section 5.2.2.16).
pub(crate) fn matrix(mut level: Vec<Value>, sizes: &[usize]) -> Value {
    if sizes.len() <= DIMENSIONS {
        for size in sizes.iter().skip(1).rev() {
            level = level
                .chunks((*size).max(1))
                .map(|row| Value::from(row.to_vec()))
                .collect();
        }
    }
    Value::Array(level)
}

/// JSON knows no infinity and no NaN.
fn float(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| Value::from(value.to_string()), Value::Number)
}

fn text(value: &UAString) -> Value {
    value
        .value()
        .as_deref()
        .map_or(Value::Null, |text| Value::from(text.to_owned()))
}

fn down(json: Value, step: &Step) -> Result<Value, String> {
    match (json, step) {
        (Value::Array(mut values), Step::Index(index)) => {
            if *index >= values.len() {
                return Err(format!(
                    "no element {index}: the array has {}",
                    values.len()
                ));
            }
            Ok(values.swap_remove(*index))
        }
        (Value::Object(mut fields), Step::Field(name)) => match fields.remove(name) {
            Some(value) => Ok(value),
            None if fault_of(&fields).is_some() => Err(fault_of(&fields).unwrap_or_default()),
            None => Err(format!("no field `{name}`: there are {}", names(&fields))),
        },
        (_, Step::Index(index)) => Err(format!("no element {index}: the value is no array")),
        (_, Step::Field(name)) => Err(format!("no field `{name}`: the value is no structure")),
    }
}

/// Why a structure is shown as its bytes, though its fields are known.
fn fault_of(fields: &Map<String, Value>) -> Option<String> {
    let fault = fields
        .get("fault")
        .filter(|_| fields.contains_key("typeId"))?;
    Some(format!("the structure cannot be read: {}", fault.as_str()?))
}

fn names(fields: &Map<String, Value>) -> String {
    let names: Vec<_> = fields.keys().map(String::as_str).collect();
    names.join(", ")
}

fn push_json(point: u32, value: &Value, time: i64, samples: &mut Samples) {
    match value {
        Value::Null => samples.push_bad(point, Reason::Decode, NULL, time),
        Value::Bool(value) => samples.push_bool(point, *value, time),
        Value::String(value) => samples.push_str(point, value, time),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), ..) => samples.push_i64(point, value, time),
            (_, Some(value), _) => samples.push_u64(point, value, time),
            (_, _, value) => samples.push_f64(point, value.unwrap_or(f64::NAN), time),
        },
        Value::Object(fields) if fault_of(fields).is_some() => {
            let fault = fault_of(fields).unwrap_or_default();
            samples.push_bad(point, Reason::Decode, &fault, time);
        }
        value => samples.push_str(point, &value.to_string(), time),
    }
}

/// What a bad status is for programs: the way to the source is down, or it said no.
pub(crate) fn reason(status: StatusCode) -> Reason {
    let bare = StatusCode::from_category(status.sub_code());
    let line = [
        StatusCode::BadNoCommunication,
        StatusCode::BadCommunicationError,
        StatusCode::BadNotConnected,
        StatusCode::BadDeviceFailure,
        StatusCode::BadOutOfService,
        StatusCode::BadServerNotConnected,
    ];
    match bare {
        StatusCode::BadTimeout => Reason::Timeout,
        StatusCode::BadNotReadable => Reason::WriteOnly,
        status if line.contains(&status) => Reason::Line,
        _ => Reason::Refused,
    }
}

/// Nanoseconds since the Unix epoch.
pub(crate) fn now_ns() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
