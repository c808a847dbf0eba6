//! Bytes that show signals: advertisements and values of characteristics.

use longshore_sim_world::{Problem, SignalId, World};

use crate::scenario::{FieldSpec, NumberType};

/// A part of some bytes, checked.
#[derive(Debug, Clone)]
pub(crate) enum Field {
    Fixed(Vec<u8>),
    Number {
        source: Source,
        kind: NumberType,
        times: f64,
        big: bool,
    },
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    Number(f64),
    Signal(SignalId),
}

/// Why bytes were not taken.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// Too few or too many.
    Length,
    /// The signal does not take it.
    Set,
    /// There is nothing that could be set.
    Fixed,
}

pub(crate) fn check(
    specs: &[FieldSpec],
    world: &World,
    path: &str,
    problems: &mut Vec<Problem>,
) -> Vec<Field> {
    let mut fields = Vec::with_capacity(specs.len());
    for (index, spec) in specs.iter().enumerate() {
        let at = |key: &str| format!("{path}[{index}].{key}");
        let source = match (&spec.bytes, &spec.text, &spec.signal, spec.value) {
            (Some(digits), None, None, None) => {
                match from_hex(digits) {
                    Some(bytes) => fields.push(Field::Fixed(bytes)),
                    None => problems.push(Problem::new(
                        at("bytes"),
                        format!("`{digits}` is no hexadecimal"),
                    )),
                }
                continue;
            }
            (None, Some(text), None, None) => {
                fields.push(Field::Fixed(text.clone().into_bytes()));
                continue;
            }
            (None, None, Some(name), None) => match world.id(name) {
                Some(id) => Source::Signal(id),
                None => {
                    problems.push(Problem::new(
                        at("signal"),
                        format!("no signal is named `{name}`"),
                    ));
                    continue;
                }
            },
            (None, None, None, Some(value)) => Source::Number(value),
            (None, None, None, None) if spec.kind == NumberType::Counter => Source::Number(0.0),
            _ => {
                let message = "write one of bytes, text, signal, value";
                problems.push(Problem::new(format!("{path}[{index}]"), message));
                continue;
            }
        };
        fields.push(Field::Number {
            source,
            kind: spec.kind,
            times: spec.times,
            big: spec.big,
        });
    }
    fields
}

/// The bytes now; `count` is for counters.
pub(crate) fn show(fields: &[Field], world: &World, count: u64) -> Vec<u8> {
    let values = world.values();
    let mut bytes = Vec::new();
    for field in fields {
        match field {
            Field::Fixed(fixed) => bytes.extend_from_slice(fixed),
            Field::Number {
                source,
                kind,
                times,
                big,
            } => {
                let value = match source {
                    Source::Number(number) => *number,
                    Source::Signal(id) => values.get(*id),
                };
                let mut part = encode(value * times, *kind, count);
                if *big {
                    part.reverse();
                }
                bytes.extend_from_slice(&part);
            }
        }
    }
    bytes
}

/// Sets the setpoints that the bytes show.
pub(crate) fn write(fields: &[Field], world: &World, mut bytes: &[u8]) -> Result<(), WriteError> {
    let mut settings = Vec::new();
    for field in fields {
        let Field::Number {
            source: Source::Signal(id),
            kind,
            times,
            big,
        } = field
        else {
            return Err(WriteError::Fixed);
        };
        let (part, rest) = bytes
            .split_at_checked(size(*kind))
            .ok_or(WriteError::Length)?;
        bytes = rest;
        let mut part = part.to_vec();
        if *big {
            part.reverse();
        }
        let value = decode(&part, *kind) / times;
        world.check(*id, value).map_err(|_| WriteError::Set)?;
        settings.push((*id, value));
    }
    if !bytes.is_empty() {
        return Err(WriteError::Length);
    }
    for (id, value) in settings {
        world.set_id(id, value).map_err(|_| WriteError::Set)?;
    }
    Ok(())
}

/// Whether a write to these fields sets signals.
pub(crate) fn is_bound(fields: &[Field]) -> bool {
    let is_signal = |field: &Field| {
        matches!(
            field,
            Field::Number {
                source: Source::Signal(_),
                ..
            }
        )
    };
    !fields.is_empty() && fields.iter().all(is_signal)
}

fn size(kind: NumberType) -> usize {
    match kind {
        NumberType::Uint8 | NumberType::Int8 | NumberType::Counter => 1,
        NumberType::Uint16 | NumberType::Int16 => 2,
        NumberType::Uint24 | NumberType::Int24 => 3,
        NumberType::Uint32 | NumberType::Int32 | NumberType::Float32 | NumberType::Float => 4,
    }
}

fn encode(number: f64, kind: NumberType, count: u64) -> Vec<u8> {
    let bytes = match kind {
        NumberType::Counter => return vec![count as u8],
        NumberType::Float32 => return (number as f32).to_le_bytes().to_vec(),
        // Mantissa in hundredths, exponent -2.
        NumberType::Float => {
            let mantissa = (number * 100.0).round() as i32;
            let [a, b, c, _] = mantissa.to_le_bytes();
            return vec![a, b, c, 0xFE];
        }
        _ => (number.round() as i64).to_le_bytes(),
    };
    bytes[..size(kind)].to_vec()
}

fn decode(bytes: &[u8], kind: NumberType) -> f64 {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let unsigned = u64::from_le_bytes(wide);
    let shift = 64 - 8 * bytes.len() as u32;
    let signed = (unsigned << shift) as i64 >> shift;
    match kind {
        NumberType::Int8 | NumberType::Int16 | NumberType::Int24 | NumberType::Int32 => {
            signed as f64
        }
        NumberType::Float32 => f64::from(f32::from_bits(unsigned as u32)),
        NumberType::Float => (signed << 40 >> 40) as f64 * 10_f64.powi(i32::from(bytes[3] as i8)),
        _ => unsigned as f64,
    }
}

pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !b" :-".contains(byte)).collect();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// A UUID as BlueZ writes it: 36 characters in lower case.
pub(crate) fn uuid(text: &str) -> Option<String> {
    let digits: String = text
        .chars()
        .filter(|c| *c != '-')
        .collect::<String>()
        .to_lowercase();
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    match digits.len() {
        4 => Some(format!("0000{digits}-0000-1000-8000-00805f9b34fb")),
        8 => Some(format!("{digits}-0000-1000-8000-00805f9b34fb")),
        32 => Some(
            [
                &digits[..8],
                &digits[8..12],
                &digits[12..16],
                &digits[16..20],
                &digits[20..],
            ]
            .join("-"),
        ),
        _ => None,
    }
}
