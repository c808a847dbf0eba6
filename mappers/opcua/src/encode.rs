//! From values of the host to the server's types, range and all.

use std::{fmt, str::FromStr};

use longshore_sdk::SampleValue;
use opcua::types::{
    Array, ByteString, DateTime, Guid, LocalizedText, NodeId, QualifiedName, StatusCode,
    SubStatusCode, UAString, Variant, VariantScalarTypeId as Type,
};
use serde_json::Value;

use crate::point::TYPES;

/// What a node takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Target {
    pub(crate) scalar: Type,
    pub(crate) is_array: bool,
}

/// Why a value does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodeError {
    /// It is of another kind.
    #[error("`{value}` is not {wanted}")]
    Kind { value: String, wanted: String },
    /// It is too large or too small.
    #[error("{value} does not fit {wanted} ({least}…{most})")]
    Range {
        value: String,
        wanted: &'static str,
        least: String,
        most: String,
    },
    /// Nothing can be written as this.
    #[error("values of type {0} cannot be written")]
    Unsupported(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let array = if self.is_array { "array of " } else { "" };
        write!(f, "{array}{}", type_name(self.scalar))
    }
}

/// The name of a type as a configuration has it.
pub(crate) fn type_name(scalar: Type) -> &'static str {
    let known = TYPES.iter().find(|(_, known)| *known == scalar);
    known.map_or("another type", |(name, _)| *name)
}

/// A value of the host as the node takes it.
///
/// # Errors
/// It does not fit.
pub(crate) fn sample(value: &SampleValue, target: Target) -> Result<Variant, EncodeError> {
    if let (SampleValue::Bytes(bytes), Type::ByteString, false) =
        (value, target.scalar, target.is_array)
    {
        return Ok(Variant::ByteString(ByteString::from(bytes)));
    }
    let json = match value {
        SampleValue::Bool(value) => Value::from(*value),
        SampleValue::Int(value) => Value::from(*value),
        SampleValue::Uint(value) => Value::from(*value),
        SampleValue::Float(value) => match serde_json::Number::from_f64(*value) {
            Some(number) => Value::Number(number),
            None => Value::from(value.to_string()),
        },
        SampleValue::String(text) if target.is_array => {
            let parsed = serde_json::from_str(text);
            parsed.map_err(|_| EncodeError::Kind {
                value: text.clone(),
                wanted: format!("a JSON array for an {target}"),
            })?
        }
        SampleValue::String(text) => Value::from(text.clone()),
        SampleValue::Bytes(bytes) => Value::from(ByteString::from(bytes).as_base64()),
    };
    self::json(&json, target)
}

/// JSON as the node takes it.
///
/// # Errors
/// It does not fit.
pub(crate) fn json(value: &Value, target: Target) -> Result<Variant, EncodeError> {
    if !target.is_array {
        return scalar(value, target.scalar);
    }
    let Value::Array(rows) = value else {
        return Err(kind(value, &format!("an {target}")));
    };
    let (mut flat, mut dimensions) = (Vec::new(), Vec::new());
    flatten(rows, 0, &mut flat, &mut dimensions)?;
    let values: Result<Vec<_>, _> = flat
        .into_iter()
        .map(|value| scalar(value, target.scalar))
        .collect();
    let array = if dimensions.len() > 1 {
        Array::new_multi(target.scalar, values?, dimensions)
    } else {
        Array::new(target.scalar, values?)
    };
    let array = array.map_err(|_| EncodeError::Unsupported(target.to_string()))?;
    Ok(Variant::Array(Box::new(array)))
}

/// Arrays in arrays are a matrix; all rows must be of one length.
fn flatten<'a>(
    rows: &'a [Value],
    depth: usize,
    flat: &mut Vec<&'a Value>,
    dimensions: &mut Vec<u32>,
) -> Result<(), EncodeError> {
    let length = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    match dimensions.get(depth) {
        // A row where there were single values before.
        None if !flat.is_empty() => {
            return Err(kind(
                &Value::from(rows.to_vec()),
                "a single value like those before",
            ));
        }
        None => dimensions.push(length),
        Some(known) if *known == length => {}
        Some(known) => {
            return Err(EncodeError::Kind {
                value: Value::from(rows.to_vec()).to_string(),
                wanted: format!("a row of {known} like the one before"),
            });
        }
    }
    for row in rows {
        match row {
            Value::Array(inner) => flatten(inner, depth + 1, flat, dimensions)?,
            value if dimensions.len() == depth + 1 => flat.push(value),
            value => return Err(kind(value, "a row of the matrix")),
        }
    }
    Ok(())
}

fn scalar(value: &Value, wanted: Type) -> Result<Variant, EncodeError> {
    let bad = |what: &str| kind(value, what);
    Ok(match wanted {
        Type::Boolean => Variant::Boolean(truth(value).ok_or_else(|| bad("true or false"))?),
        Type::SByte => {
            Variant::SByte(integer(value, wanted, i8::MIN.into(), i8::MAX.into())? as i8)
        }
        Type::Byte => Variant::Byte(integer(value, wanted, 0, u8::MAX.into())? as u8),
        Type::Int16 => {
            Variant::Int16(integer(value, wanted, i16::MIN.into(), i16::MAX.into())? as i16)
        }
        Type::UInt16 => Variant::UInt16(integer(value, wanted, 0, u16::MAX.into())? as u16),
        Type::Int32 => {
            Variant::Int32(integer(value, wanted, i32::MIN.into(), i32::MAX.into())? as i32)
        }
        Type::UInt32 => Variant::UInt32(integer(value, wanted, 0, u32::MAX.into())? as u32),
        Type::Int64 => {
            Variant::Int64(integer(value, wanted, i64::MIN.into(), i64::MAX.into())? as i64)
        }
        Type::UInt64 => Variant::UInt64(integer(value, wanted, 0, u64::MAX.into())? as u64),
        Type::Float => {
            let number = float(value).ok_or_else(|| bad("a number"))?;
            if number.is_finite() && number.abs() > f64::from(f32::MAX) {
                return Err(EncodeError::Range {
                    value: number.to_string(),
                    wanted: "float32",
                    least: f32::MIN.to_string(),
                    most: f32::MAX.to_string(),
                });
            }
            Variant::Float(number as f32)
        }
        Type::Double => Variant::Double(float(value).ok_or_else(|| bad("a number"))?),
        Type::DateTime => Variant::DateTime(Box::new(
            time(value).ok_or_else(|| bad("a time such as 2024-05-06T07:08:09Z"))?,
        )),
        Type::ByteString => {
            let bytes = value.as_str().and_then(ByteString::from_base64);
            Variant::ByteString(bytes.ok_or_else(|| bad("base64"))?)
        }
        _ => return worded(value, wanted),
    })
}

/// The types that are texts.
fn worded(value: &Value, wanted: Type) -> Result<Variant, EncodeError> {
    let bad = |what: &str| kind(value, what);
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        _ => return Err(bad("a text")),
    };
    Ok(match wanted {
        Type::String => Variant::String(UAString::from(text)),
        Type::LocalizedText => Variant::LocalizedText(Box::new(LocalizedText::from(text.as_str()))),
        Type::Guid => {
            let guid = Guid::from_str(&text);
            Variant::Guid(Box::new(guid.map_err(|_| bad("a GUID"))?))
        }
        Type::NodeId => {
            let node = NodeId::from_str(&text);
            Variant::NodeId(Box::new(node.map_err(|_| bad("a node id"))?))
        }
        Type::QualifiedName => {
            let (namespace_index, name) = match text.split_once(':') {
                Some((index, name)) => match index.parse() {
                    Ok(index) => (index, name),
                    Err(_) => (0, text.as_str()),
                },
                None => (0, text.as_str()),
            };
            Variant::QualifiedName(Box::new(QualifiedName {
                namespace_index,
                name: UAString::from(name),
            }))
        }
        Type::StatusCode => {
            let status = match text.trim().parse::<u32>() {
                Ok(number) => Some(StatusCode::from(number)),
                Err(_) => SubStatusCode::from_str(text.trim())
                    .ok()
                    .map(StatusCode::from_category),
            };
            Variant::StatusCode(status.ok_or_else(|| bad("a status such as BadSensorFailure"))?)
        }
        _ => return Err(EncodeError::Unsupported(format!("{wanted:?}"))),
    })
}

fn kind(value: &Value, wanted: &str) -> EncodeError {
    let value = match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    EncodeError::Kind {
        value,
        wanted: wanted.to_owned(),
    }
}

fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => match number.as_f64() {
            Some(0.0) => Some(false),
            Some(1.0) => Some(true),
            _ => None,
        },
        _ => None,
    }
}

fn integer(value: &Value, wanted: Type, least: i128, most: i128) -> Result<i128, EncodeError> {
    let number = match value {
        Value::Number(number) => number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from))
            .or_else(|| whole(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(truth) => Some(i128::from(*truth)),
        _ => None,
    };
    match number {
        Some(number) if (least..=most).contains(&number) => Ok(number),
        Some(number) => Err(EncodeError::Range {
            value: number.to_string(),
            wanted: type_name(wanted),
            least: least.to_string(),
            most: most.to_string(),
        }),
        None => Err(kind(value, "a whole number")),
    }
}

/// Doubles beyond 2^53 name no number exactly, but those are what was asked for.
fn whole(number: f64) -> Option<i128> {
    (number.fract() == 0.0 && number.abs() < 1e30).then_some(number as i128)
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// ISO 8601, or milliseconds since the Unix epoch.
fn time(value: &Value) -> Option<DateTime> {
    match value {
        Value::String(text) => DateTime::parse_from_rfc3339(text.trim()).ok(),
        Value::Number(number) => {
            let ticks = number.as_i64()?.checked_mul(10_000)?;
            Some(DateTime::from(ticks.checked_add(116_444_736_000_000_000)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as j;

    fn encoded(value: Value, scalar: Type, is_array: bool) -> Result<Variant, String> {
        json(&value, Target { scalar, is_array }).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_must_fit_their_type() {
        assert_eq!(encoded(j!(-8), Type::SByte, false), Ok(Variant::SByte(-8)));
        assert_eq!(encoded(j!(7.0), Type::Byte, false), Ok(Variant::Byte(7)));
        assert_eq!(
            encoded(j!("12"), Type::Int32, false),
            Ok(Variant::Int32(12))
        );
        assert_eq!(
            encoded(j!(u64::MAX), Type::UInt64, false),
            Ok(Variant::UInt64(u64::MAX))
        );
        assert_eq!(
            encoded(j!(256), Type::Byte, false),
            Err("256 does not fit uint8 (0…255)".to_owned())
        );
        assert_eq!(
            encoded(j!(-1), Type::UInt16, false),
            Err("-1 does not fit uint16 (0…65535)".to_owned())
        );
        assert_eq!(
            encoded(j!(1.5), Type::Int16, false),
            Err("`1.5` is not a whole number".to_owned())
        );
        assert!(encoded(j!(1e39), Type::Float, false).is_err());
        assert_eq!(
            encoded(j!(1), Type::Boolean, false),
            Ok(Variant::Boolean(true))
        );
        assert!(encoded(j!(2), Type::Boolean, false).is_err());
    }

    #[test]
    fn texts_become_times_names_and_bytes() {
        let time = DateTime::ymd_hms(2024, 5, 6, 7, 8, 9);
        assert_eq!(
            encoded(j!("2024-05-06T07:08:09Z"), Type::DateTime, false),
            Ok(Variant::DateTime(Box::new(time)))
        );
        assert_eq!(
            encoded(j!(1_714_979_289_000_i64), Type::DateTime, false),
            Ok(Variant::DateTime(Box::new(time)))
        );
        assert_eq!(
            encoded(j!("AQL/"), Type::ByteString, false),
            Ok(Variant::ByteString(ByteString::from(vec![1, 2, 255])))
        );
        let name = QualifiedName {
            namespace_index: 1,
            name: "name".into(),
        };
        assert_eq!(
            encoded(j!("1:name"), Type::QualifiedName, false),
            Ok(Variant::QualifiedName(Box::new(name)))
        );
        assert!(encoded(j!("12"), Type::Guid, false).is_err());
    }

    #[test]
    fn arrays_are_json_and_a_matrix_is_arrays_in_an_array() {
        let text = SampleValue::String("[[1,2,3],[4,5,6]]".to_owned());
        let target = Target {
            scalar: Type::Int32,
            is_array: true,
        };
        let Ok(Variant::Array(matrix)) = sample(&text, target) else {
            panic!("a matrix");
        };
        assert_eq!(matrix.dimensions, Some(vec![2, 3]));
        assert_eq!(matrix.values.len(), 6);
        assert!(encoded(j!([[1, 2], [3]]), Type::Int32, true).is_err());
        assert!(encoded(j!([1, [2]]), Type::Int32, true).is_err());
        assert!(encoded(j!(7), Type::Int32, true).is_err());
        let error = sample(&SampleValue::String("[1,".to_owned()), target).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`[1,` is not a JSON array for an array of int32"
        );
    }
}
