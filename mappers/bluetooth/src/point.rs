//! One property: where its bytes come from and what they mean.

use std::sync::Arc;

use longshore_sdk::{
    PointConfig, SampleValue, Samples, Sampling,
    codec::{Bits, ByteOrder, Codec, RawType, StringOrder},
    config::{Section, nearest},
    keys::Choices,
};
use serde_json::Value as Json;

use crate::{
    advert::{FORMATS, Format},
    gatt::{self, Standard},
    keys::Advertisements,
    kubeedge::{self, Converter},
    uuid::Uuid,
    value::{Value, hex, text},
};

/// The longest value of an attribute (Core 5.4, volume 3, part F, section 3.2.9).
pub const MAX_VALUE: usize = 512;

/// A property's validated place and coding. Cheap to clone: watches keep it.
#[derive(Debug, Clone)]
pub struct Point(Arc<Spec>);

/// What a [`Point`] is.
#[derive(Debug)]
pub struct Spec {
    /// Where its bytes come from.
    pub source: Source,
    /// What they mean.
    pub meaning: Meaning,
    /// Whether the device is asked to send it by itself.
    pub pushed: bool,
    /// How it is written; by what the characteristic can if it is not said.
    pub write: Option<WriteType>,
    /// Words and the bytes that they are written as.
    pub words: Vec<(String, Vec<u8>)>,
}

/// Where a point's bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A characteristic of the connected device.
    Characteristic(Place),
    /// What it says without a connection.
    Advert(Format),
}

/// A characteristic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Its service, if several have such a characteristic.
    pub service: Option<Uuid>,
    /// Which.
    pub uuid: Uuid,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteType {
    /// The device confirms it.
    Request,
    /// Without an answer.
    Command,
}

pub(crate) const WRITE_TYPES: &[(&str, WriteType)] = &[
    ("request", WriteType::Request),
    ("command", WriteType::Command),
];

/// What a point's bytes mean.
#[derive(Debug, Clone)]
pub enum Meaning {
    /// A named part of an advertisement; the number counts those of the same name from 1.
    Part(String, usize),
    /// A part of a standard characteristic.
    Standard(&'static Standard, &'static str),
    /// Bytes from a place on, by their raw type.
    Raw(usize, Raw),
    /// KubeEdge's converter.
    Converter(Converter),
    /// One of the words of `dataWrite`.
    Words,
}

/// A raw type with its order and length.
#[derive(Debug, Clone)]
pub enum Raw {
    /// Of a fixed size.
    Codec(Codec),
    /// One byte as truth.
    Truth,
    /// All the rest as text.
    Text,
    /// All the rest.
    Bytes,
}

impl std::ops::Deref for Point {
    type Target = Spec;

    fn deref(&self) -> &Spec {
        &self.0
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.service {
            Some(service) => write!(f, "characteristic {} of service {service}", self.uuid),
            None => write!(f, "characteristic {}", self.uuid),
        }
    }
}

/// Reads a point; `None` when a fault was noted.
pub(crate) fn parse(section: &Section<'_>, point: &PointConfig) -> Option<Point> {
    let uuid = |key, theirs| {
        let text = section.text(key).or_else(|| section.text(theirs))?;
        let parsed = text.parse::<Uuid>();
        parsed
            .map_err(|error| section.fault(key, error.to_string()))
            .ok()
    };
    let characteristic = uuid("characteristic", "characteristicUUID");
    let service = uuid("service", "serviceUUID");
    let format = format(section, service);
    let notify = section.boolean_or_default("notify");
    let indicate = section.boolean_or_default("indicate");
    let write = section.choice("writeType", WRITE_TYPES);
    let words = kubeedge::words(section);
    let converter = kubeedge::converter(section);
    let field = section.text("field");
    let index = section.integer_or_default("index");
    let raw = raw(section, point);
    let source = match (characteristic, format) {
        (Some(_), Some(_)) => {
            section.fault(
                "advertisement",
                "a property is either of a characteristic or of an advertisement",
            );
            return None;
        }
        (Some(uuid), None) => Source::Characteristic(Place { service, uuid }),
        (None, Some(format)) => Source::Advert(format),
        (None, None) => {
            if section.is_sound() {
                section.fault(
                    "characteristic",
                    "no place: write for example `characteristic: 2a19` or `advertisement: bthome`",
                );
            }
            return None;
        }
    };
    let meaning = match (source, raw, converter) {
        (_, Some((at, raw)), _) => Some(Meaning::Raw(at, raw)),
        (_, None, Some(converter)) => Some(Meaning::Converter(converter)),
        (Source::Advert(format), ..) => part(section, format, field.unwrap_or(&point.name), index),
        (Source::Characteristic(place), ..) => {
            of_characteristic(section, place, field, point, !words.is_empty())
        }
    }?;
    if matches!(source, Source::Advert(_)) && point.writable && section.is_sound() {
        section.warn("advertisement", "an advertisement cannot be written");
    }
    let sent_only = matches!(&meaning, Meaning::Standard(known, _) if known.is_sent_only());
    let pushed = match (source, point.sampling) {
        (Source::Advert(_), _) => true,
        (_, Sampling::Poll) => false,
        (_, Sampling::Push) => true,
        (_, Sampling::Auto) => notify || indicate || sent_only,
    };
    section.is_sound().then(|| {
        Point(Arc::new(Spec {
            source,
            meaning,
            pushed,
            write,
            words,
        }))
    })
}

fn format(section: &Section<'_>, service: Option<Uuid>) -> Option<Format> {
    let company = company(section);
    let word = section.text("advertisement")?;
    let own = match word.to_ascii_lowercase().as_str() {
        "manufacturer" => company.map(Format::Manufacturer).ok_or("company"),
        "service" => service.map(Format::Service).ok_or("service"),
        other => match FORMATS.iter().find(|(name, _)| *name == other) {
            Some((_, format)) => Ok(*format),
            None => {
                let words = Advertisements.words().join(", ");
                section.fault("advertisement", format!("`{word}` is none of {words}"));
                return None;
            }
        },
    };
    own.map_err(|key| section.fault(key, format!("`advertisement: {word}` needs `{key}`")))
        .ok()
}

/// A company's number, also as hexadecimal text.
fn company(section: &Section<'_>) -> Option<u16> {
    let value = section.value("company")?;
    let number = match value {
        Json::Number(number) => number
            .as_u64()
            .and_then(|number| u16::try_from(number).ok()),
        Json::String(text) => u16::from_str_radix(text.trim_start_matches("0x"), 16).ok(),
        _ => None,
    };
    if number.is_none() {
        section.fault(
            "company",
            "expected the company's number, for example `0x004c`",
        );
    }
    number
}

fn part(section: &Section<'_>, format: Format, name: &str, index: usize) -> Option<Meaning> {
    let names = format.names();
    if names.contains(&name) {
        return Some(Meaning::Part(name.to_owned(), index));
    }
    let key = if matches!(format, Format::Manufacturer(_) | Format::Service(_)) {
        "rawType"
    } else {
        "field"
    };
    let known = match nearest(name, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are {}", names.join(", ")),
    };
    section.fault(key, format!("the format has no field `{name}`; {known}"));
    None
}

fn of_characteristic(
    section: &Section<'_>,
    place: Place,
    field: Option<&str>,
    point: &PointConfig,
    has_words: bool,
) -> Option<Meaning> {
    if has_words {
        return Some(Meaning::Words);
    }
    let Some(known) = place.uuid.number().and_then(gatt::standard) else {
        return match point.twin_type.to_ascii_uppercase().as_str() {
            "STRING" => Some(Meaning::Raw(0, Raw::Text)),
            "BYTES" => Some(Meaning::Raw(0, Raw::Bytes)),
            _ => {
                section.fault(
                    "rawType",
                    format!(
                        "{} is not a standard one that is known here: write its `rawType`",
                        place.uuid
                    ),
                );
                None
            }
        };
    };
    let fields = known.fields();
    let name = match field {
        Some(name) => fields.iter().find(|known| **known == name),
        None => fields
            .iter()
            .find(|known| **known == point.name)
            .or(fields.first()),
    };
    if name.is_none() {
        section.fault(
            "field",
            format!("{} has the fields {}", place.uuid, fields.join(", ")),
        );
    }
    name.map(|name| Meaning::Standard(known, name))
}

/// `rawType` with `at`, `byteOrder`, `length`, `bit`; `None` when there is no `rawType`.
fn raw(section: &Section<'_>, point: &PointConfig) -> Option<(usize, Raw)> {
    let at = section.integer("at");
    let length: Option<u16> = section.integer("length");
    let bit = section.integer("bit");
    let order = match section.text("byteOrder").map(str::parse::<ByteOrder>) {
        Some(Ok(order)) => order,
        Some(Err(error)) => {
            section.fault("byteOrder", error.to_string());
            return None;
        }
        // Nearly everything in Bluetooth has the lowest byte first.
        None => ByteOrder::from_swaps(true, true),
    };
    let given = section.text("rawType");
    let raw = match given.map(str::parse::<RawType>) {
        Some(Ok(raw)) => raw,
        Some(Err(error)) => {
            section.fault("rawType", error.to_string());
            return None;
        }
        None if bit.is_some() => RawType::Uint8,
        None if at.is_some() => match point.twin_type.to_ascii_uppercase().as_str() {
            "STRING" => RawType::String,
            "BYTES" => RawType::Bytes,
            _ => {
                section.fault("rawType", "`at` needs a `rawType`");
                return None;
            }
        },
        None => return None,
    };
    let codec = match (raw, bit, length) {
        (RawType::Bool, None, _) => return Some((at.unwrap_or(0), Raw::Truth)),
        (RawType::Bool, Some(first), _) => {
            Codec::bits(RawType::Uint8, &order, Bits { first, length: 1 }, false)
        }
        (RawType::String, _, None) => return Some((at.unwrap_or(0), Raw::Text)),
        (RawType::Bytes, _, None) => return Some((at.unwrap_or(0), Raw::Bytes)),
        (RawType::String, _, Some(length)) => Ok(Codec::text(length, StringOrder::High)),
        (RawType::Bytes, _, Some(length)) => Ok(Codec::bytes(length)),
        (raw, Some(first), length) => {
            let length = length.unwrap_or(1).min(64) as u8;
            let numeric = !point.twin_type.eq_ignore_ascii_case("BOOLEAN");
            Codec::bits(raw, &order, Bits { first, length }, numeric)
        }
        (raw, None, _) => Codec::number(raw, &order),
    };
    codec
        .map(|codec| (at.unwrap_or(0), Raw::Codec(codec)))
        .map_err(|error| section.fault("rawType", error.to_string()))
        .ok()
}

impl Spec {
    /// Makes a sample of a characteristic's or an advertisement's bytes. Parts
    /// that are not there give none.
    pub fn decode(&self, id: u32, bytes: &[u8], samples: &mut Samples, time_ns: i64) {
        let bad = |samples: &mut Samples, message: &str| {
            samples.push_bad(id, longshore_sdk::Reason::Decode, message, time_ns);
        };
        match &self.meaning {
            Meaning::Standard(known, field) => match known.decode(bytes) {
                Ok(parts) => {
                    for (name, value) in parts {
                        if name == *field {
                            value.push(id, samples, time_ns);
                        }
                    }
                }
                Err(error) => bad(samples, &error.to_string()),
            },
            Meaning::Raw(at, raw) => match (bytes.get(*at..), raw) {
                (Some(bytes), Raw::Codec(codec)) => codec.decode(id, bytes, time_ns, samples),
                (Some(rest), Raw::Text) => Value::Text(text(rest)).push(id, samples, time_ns),
                (Some(rest), Raw::Bytes) => Value::Bytes(rest.to_vec()).push(id, samples, time_ns),
                (Some([byte, ..]), Raw::Truth) => samples.push_bool(id, *byte != 0, time_ns),
                _ => bad(
                    samples,
                    &format!("the value has only {} bytes", bytes.len()),
                ),
            },
            Meaning::Converter(converter) => match converter.decode(bytes) {
                Some(number) => samples.push_f64(id, number, time_ns),
                None => bad(
                    samples,
                    &format!("the value has only {} bytes", bytes.len()),
                ),
            },
            Meaning::Words => match self.words.iter().find(|(_, of)| of == bytes) {
                Some((word, _)) => samples.push_str(id, word, time_ns),
                None => bad(samples, &format!("`{}` is none of the words", hex(bytes))),
            },
            Meaning::Part(..) => {}
        }
    }

    /// Whether a write changes only a part of the value, which must be read before.
    pub fn is_part(&self) -> bool {
        match &self.meaning {
            Meaning::Raw(at, Raw::Codec(codec)) => *at > 0 || codec.bit_range().is_some(),
            Meaning::Raw(at, _) => *at > 0,
            _ => false,
        }
    }

    /// The bytes to write; `present` is the value as it is, for parts of it.
    ///
    /// # Errors
    /// Why the value does not fit, for people.
    pub fn encode(&self, value: &SampleValue, mut present: Vec<u8>) -> Result<Vec<u8>, String> {
        if !self.words.is_empty() {
            let word = match value {
                SampleValue::String(text) => text.clone(),
                SampleValue::Bool(truth) => truth.to_string(),
                SampleValue::Int(number) => number.to_string(),
                SampleValue::Uint(number) => number.to_string(),
                _ => String::new(),
            };
            let found = self
                .words
                .iter()
                .find(|(of, _)| of.eq_ignore_ascii_case(&word));
            let names = || {
                self.words
                    .iter()
                    .map(|(word, _)| &word[..])
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            return found
                .map(|(_, bytes)| bytes.clone())
                .ok_or_else(|| format!("`{word}` is none of {}", names()));
        }
        match (&self.meaning, value) {
            (Meaning::Standard(known, _), value) => {
                known.encode(value).map_err(|error| error.to_string())
            }
            (Meaning::Raw(at, Raw::Codec(codec)), value) => {
                if present.len() < at + codec.size() {
                    present.resize(at + codec.size(), 0);
                }
                codec
                    .encode(value, &mut present[*at..])
                    .map_err(|error| error.to_string())?;
                Ok(present)
            }
            (Meaning::Raw(at, Raw::Truth), value) => {
                let truth = match value {
                    SampleValue::Bool(truth) => *truth,
                    SampleValue::Int(number @ 0..=1) => *number == 1,
                    SampleValue::Uint(number @ 0..=1) => *number == 1,
                    _ => return Err("it takes true or false".to_owned()),
                };
                present.resize(present.len().max(at + 1), 0);
                present[*at] = u8::from(truth);
                Ok(present)
            }
            (Meaning::Raw(at, _), SampleValue::String(text)) => {
                Ok(end(present, *at, text.as_bytes()))
            }
            (Meaning::Raw(at, _), SampleValue::Bytes(bytes)) => Ok(end(present, *at, bytes)),
            _ => Err("this property takes no such value".to_owned()),
        }
    }
}

fn end(mut present: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    present.resize(at, 0);
    present.extend_from_slice(bytes);
    present
}
