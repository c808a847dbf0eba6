//! Methods: what one exchange with the device does that no property can.
//!
//! `readWrite` is function 23 of the Application Protocol V1.1b3 (section
//! 6.17): the device takes the registers that are written and gives those that
//! are read in one exchange, as drives want it for their parameter channel.
//! `write` is function 16 (or 15), so that a device gets several values together.
//! `identify` is function 43/14 (section 6.21).

use longshore_sdk::{
    Fault, MethodConfig, PointConfig, Reading, RequestError, SampleValue, Samples, config::Section,
};
use serde_json::{Map, Value, json};

use crate::{
    keys,
    pdu::{MAX_READ_WRITE_REGISTERS, MAX_READ_WRITE_REGISTERS as MOST},
    point::{self, Coding, Point, Table},
};

/// A validated method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Function 23.
    ReadWrite {
        /// Where the argument goes.
        write: Point,
        /// Where the result comes from.
        read: Point,
    },
    /// Functions 15 and 16, or 5 and 6 for one value.
    Write {
        /// Where the first argument goes; the others follow it.
        write: Point,
    },
    /// Function 43/14.
    Identify,
}

/// What `function` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    ReadWrite,
    Write,
    Identify,
}

pub(crate) const FUNCTIONS: &[(&str, Function)] = &[
    ("readWrite", Function::ReadWrite),
    ("write", Function::Write),
    ("identify", Function::Identify),
];

/// Reads a method's configuration; `None` when a fault was noted.
pub(crate) fn parse(section: &Section<'_>) -> Option<Method> {
    match section.choice("function", FUNCTIONS)? {
        Function::ReadWrite => {
            let write = place(section, "write", true);
            let read = place(section, "read", false);
            write
                .zip(read)
                .map(|(write, read)| Method::ReadWrite { write, read })
        }
        Function::Write => {
            section.pass_over(&["read"]);
            place_to_write(section).map(|write| Method::Write { write })
        }
        Function::Identify => {
            section.pass_over(&["write", "read"]);
            Some(Method::Identify)
        }
    }
}

/// As the host sends it with a call.
///
/// # Errors
/// All faults, each at its place.
pub fn of_call(method: &MethodConfig) -> Result<Method, Vec<Fault>> {
    let section = Section::new(&keys::METHOD, "config", &method.config);
    let found = parse(&section);
    match (found, section.finish().0) {
        (Some(method), faults) if faults.is_empty() => Ok(method),
        (_, faults) => Err(faults),
    }
}

/// Registers that are whole, or a coil.
fn place_to_write(section: &Section<'_>) -> Option<Point> {
    let point = any_place(section, "write", true)?;
    let fits = match &point.coding {
        Coding::Registers { codec, .. } => {
            point.table == Table::HoldingRegisters && codec.bit_range().is_none()
        }
        Coding::Bit => point.table == Table::Coils,
        Coding::Number => false,
    };
    if !fits {
        let message = "`write` takes whole holding registers, or a coil; the values of several arguments follow each other";
        section.fault("write", message);
        return None;
    }
    Some(point)
}

fn place(section: &Section<'_>, key: &'static str, writable: bool) -> Option<Point> {
    let point = any_place(section, key, writable)?;
    let is_whole =
        matches!(&point.coding, Coding::Registers { codec, .. } if codec.bit_range().is_none());
    if point.table != Table::HoldingRegisters || !is_whole {
        section.fault(key, "function 23 reads and writes whole holding registers");
        return None;
    }
    if writable && point.count > MAX_READ_WRITE_REGISTERS {
        section.fault(key, format!("function 23 writes {MOST} registers at most"));
        return None;
    }
    Some(point)
}

fn any_place(section: &Section<'_>, key: &'static str, writable: bool) -> Option<Point> {
    let Some(inner) = section.section(key) else {
        if !section.has(key) {
            section.fault(
                key,
                "missing; write for example {address: \"hr:100\", rawType: int16}",
            );
        }
        return None;
    };
    let as_point = PointConfig {
        writable,
        ..PointConfig::default()
    };
    let point = point::parse(&inner, &as_point, 0);
    section.absorb(inner);
    point
}

/// All arguments in their order, lists among them (a list may be text, as JSON).
///
/// # Errors
/// There is none, or one is no number, truth value or text.
pub(crate) fn all_arguments(arguments: &Value) -> Result<Vec<SampleValue>, RequestError> {
    fn flatten(value: &Value, values: &mut Vec<SampleValue>) -> Result<(), RequestError> {
        match value {
            Value::Array(list) => list.iter().try_for_each(|item| flatten(item, values)),
            Value::Object(map) => map.values().try_for_each(|item| flatten(item, values)),
            Value::String(text) if text.trim_start().starts_with('[') => {
                match serde_json::from_str::<Value>(text) {
                    Ok(list) => flatten(&list, values),
                    Err(_) => {
                        values.push(argument(value)?);
                        Ok(())
                    }
                }
            }
            one => {
                values.push(argument(one)?);
                Ok(())
            }
        }
    }
    let mut values = Vec::new();
    flatten(arguments, &mut values)?;
    if values.is_empty() {
        let message = "expected at least one argument".to_owned();
        return Err(RequestError::InvalidValue(message));
    }
    Ok(values)
}

/// The only argument of a call.
///
/// # Errors
/// There is none, there are several, or it is no number, truth value or text.
pub(crate) fn argument(arguments: &Value) -> Result<SampleValue, RequestError> {
    let invalid = |message: &str| Err(RequestError::InvalidValue(message.to_owned()));
    let only = match arguments {
        Value::Object(map) if map.len() == 1 => map.values().next(),
        Value::Array(list) if list.len() == 1 => list.first(),
        Value::Object(_) | Value::Array(_) => return invalid("expected exactly one argument"),
        other => Some(other),
    };
    match only {
        Some(Value::Bool(value)) => Ok(SampleValue::Bool(*value)),
        Some(Value::String(text)) => Ok(SampleValue::String(text.clone())),
        Some(Value::Number(number)) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), _, _) => Ok(SampleValue::Int(value)),
            (_, Some(value), _) => Ok(SampleValue::Uint(value)),
            (_, _, Some(value)) => Ok(SampleValue::Float(value)),
            _ => invalid("the argument is no number that fits"),
        },
        _ => invalid("the argument must be a number, a truth value or a text"),
    }
}

/// What the registers of a point say, as JSON.
pub(crate) fn decoded(point: &Point, data: &[u8]) -> Result<Value, RequestError> {
    let Coding::Registers { codec, skip } = &point.coding else {
        return Err(RequestError::InvalidValue("no registers".to_owned()));
    };
    let mut samples = Samples::default();
    codec.decode(
        0,
        data.get(usize::from(*skip)..).unwrap_or_default(),
        0,
        &mut samples,
    );
    let reading = samples.iter().next().map(|sample| match sample.reading {
        Reading::Bool(value) => Ok(json!(value)),
        Reading::Int(value) => Ok(json!(value)),
        Reading::Uint(value) => Ok(json!(value)),
        Reading::Float(value) => Ok(json!(value)),
        Reading::String(text) => Ok(json!(text)),
        Reading::Bytes(bytes) => Ok(json!(bytes)),
        Reading::Bad { message, .. } => Err(RequestError::Garbled(message.to_owned())),
    });
    reading.unwrap_or_else(|| Err(RequestError::Garbled("no value".to_owned())))
}

/// The names of the objects (section 6.21, table of object ids).
const OBJECTS: [&str; 7] = [
    "vendorName",
    "productCode",
    "majorMinorRevision",
    "vendorUrl",
    "productName",
    "modelName",
    "userApplicationName",
];

/// One answer of function 43/14.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identification {
    /// Texts by name.
    pub objects: Map<String, Value>,
    /// Where to go on, when more follows.
    pub next: Option<u8>,
}

/// Takes apart what follows the category: conformity, more follows, next
/// object, count, then the objects.
pub fn identification(data: &[u8]) -> Identification {
    let mut found = Identification::default();
    let [_conformity, more, next, _count, rest @ ..] = data else {
        return found;
    };
    found.next = (*more == 0xFF).then_some(*next);
    let mut rest = rest;
    while let [id, length, tail @ ..] = rest {
        let length = usize::from(*length).min(tail.len());
        let (text, after) = tail.split_at(length);
        let name = OBJECTS
            .get(usize::from(*id))
            .map_or_else(|| format!("object{id}"), |name| (*name).to_owned());
        found
            .objects
            .insert(name, String::from_utf8_lossy(text).trim().into());
        rest = after;
    }
    found
}
