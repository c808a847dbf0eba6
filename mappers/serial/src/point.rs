//! The keys of a property: what is sent, and how its value is found in the answer.

use std::{sync::Arc, time::Duration};

use longshore_sdk::{
    PointConfig, RequestError, SampleValue,
    codec::{Bits, ByteOrder, Codec, RawType, StringOrder},
    config::Section,
};
use serde_json::Value;

use crate::{
    answer::{Answer, Coding, Extract, TextKind},
    bus::Link,
    framer::Framing,
    known,
    options::{Parameters, parameters},
    pattern::Pattern,
    template::{Filling, RenderError, Template},
};

/// A validated property.
#[derive(Debug, Clone)]
pub struct Point(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    request: Option<Vec<u8>>,
    answer: Answer,
    set: Option<Set>,
    silent_after: Option<Duration>,
}

/// How a property is written.
#[derive(Debug)]
pub(crate) struct Set {
    template: Template,
    /// What the device says when it has taken the value.
    pub(crate) response: Option<Head>,
    parameters: Parameters,
    codec: Option<Codec>,
    truths: (String, String),
}

/// What an answer must look like.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Head {
    /// From its first byte to its last.
    Pattern(Pattern),
    /// Its first bytes; `None` stands for any.
    Bytes(Vec<Option<u8>>),
}

/// How a text of a property may be read, by the names of `rawType`.
const TEXT_KINDS: &[(&str, TextKind)] = &[
    ("float", TextKind::Float),
    ("int", TextKind::Int),
    ("hex", TextKind::Hex),
    ("bool", TextKind::Bool),
    ("string", TextKind::Text),
    ("nmeaLatitude", TextKind::NmeaDegrees { limit: 90 }),
    ("nmeaLongitude", TextKind::NmeaDegrees { limit: 180 }),
    ("nmeaTime", TextKind::NmeaTime),
];

impl Point {
    /// What is sent to get it; `None` when the device sends it by itself.
    pub fn request(&self) -> Option<&[u8]> {
        self.0.request.as_deref()
    }

    /// How its value is found.
    pub fn answer(&self) -> &Answer {
        &self.0.answer
    }

    /// The silence after which the value of a message that comes by itself is
    /// not known any more; `None` for one that may stay away for ever.
    pub(crate) fn silent_after(&self, link: &Link) -> Option<Duration> {
        let own = self.0.silent_after.unwrap_or(link.silent_after);
        (!own.is_zero()).then_some(own)
    }

    pub(crate) fn set(&self) -> Option<&Set> {
        self.0.set.as_ref()
    }
}

impl Head {
    pub(crate) fn fits(&self, message: &[u8]) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.matches(message).is_some(),
            Self::Bytes(head) => {
                let fits = |(byte, wanted): (&u8, &Option<u8>)| wanted.is_none_or(|w| w == *byte);
                message.len() >= head.len() && message.iter().zip(head).all(fits)
            }
        }
    }
}

impl Set {
    /// The request that writes a value.
    pub(crate) fn request(
        &self,
        value: &SampleValue,
        link: &Link,
    ) -> Result<Vec<u8>, RequestError> {
        let lookup = |name: &str| match name {
            "value" => Some(value.clone()),
            name => self.parameters.get(name).cloned(),
        };
        let filling = Filling {
            lookup: &lookup,
            checksum: link.checksum.as_ref(),
            codec: self.codec.as_ref(),
            truths: (&self.truths.0, &self.truths.1),
            reserved: &link.reserved,
        };
        let bytes = self.template.render(&filling);
        bytes
            .map(|bytes| link.sent(bytes))
            .map_err(|error| RequestError::InvalidValue(error.to_string()))
    }
}

/// Reads the visitor of a property. Faults are noted in the section.
pub(crate) fn parse(
    section: &Section<'_>,
    point: &PointConfig,
    link: &Link,
    device: &Parameters,
) -> Option<Point> {
    let parameters = parameters(section, device.clone());
    let truths = truths(section);
    let template = template(section, "request");
    let request = template.map(|template| {
        let truths = usual(truths.as_ref());
        render(section, "request", &template, link, &parameters, &truths)
    });
    let (is_binary, raw) = raw_type(section, link);
    let codec = if is_binary {
        codec(section, point, raw)
    } else {
        None
    };
    let answer = answer(
        section,
        point,
        is_binary,
        codec,
        (truths.clone(), &parameters),
    );
    if request.is_none() && !section.has("request") && !link.stream {
        section.fault(
            "request",
            "no request; for a device that talks by itself write `stream: true` in the device's protocol",
        );
    }
    let set = set(section, point, link, &parameters, codec, &truths);
    let silent_after = section.duration("silentAfter");
    let request = match request {
        Some(Some(bytes)) => Some(bytes),
        Some(None) => return None,
        None => None,
    };
    if !section.is_sound() {
        return None;
    }
    Some(Point(Arc::new(Inner {
        request,
        answer: answer?,
        set,
        silent_after,
    })))
}

fn usual(truths: Option<&(String, String)>) -> (String, String) {
    truths
        .cloned()
        .unwrap_or_else(|| ("1".to_owned(), "0".to_owned()))
}

fn truths(section: &Section<'_>) -> Option<(String, String)> {
    // YAML makes a truth value of a bare ON in some versions, a number of 1.
    let text = |key| section.label(key);
    match (text("trueText"), text("falseText")) {
        (Some(yes), Some(no)) => Some((yes, no)),
        (None, None) => None,
        (Some(_), None) => {
            section.fault("falseText", "`trueText` needs a `falseText` beside it");
            None
        }
        (None, Some(_)) => {
            section.fault("trueText", "`falseText` needs a `trueText` beside it");
            None
        }
    }
}

/// A text, or `{hex: …}`.
pub(crate) fn template(section: &Section<'_>, key: &'static str) -> Option<Template> {
    let parsed = match section.value(key)? {
        Value::String(text) if text.is_empty() => {
            section.fault(key, "nothing to send");
            return None;
        }
        Value::String(text) => Template::text(text),
        Value::Object(map) if map.len() == 1 && map.get("hex").is_some_and(Value::is_string) => {
            Template::hex(map["hex"].as_str().unwrap_or_default())
        }
        _ => {
            section.fault(key, "expected a text, or `{hex: \"…\"}` for bytes");
            return None;
        }
    };
    match parsed {
        Ok(template) => Some(template),
        Err(error) => {
            section.fault(key, error.to_string());
            None
        }
    }
}

fn render(
    section: &Section<'_>,
    key: &'static str,
    template: &Template,
    link: &Link,
    parameters: &Parameters,
    truths: &(String, String),
) -> Option<Vec<u8>> {
    needs_checksum(section, key, template, link);
    let filling = Filling {
        lookup: &|name| parameters.get(name).cloned(),
        checksum: link.checksum.as_ref(),
        codec: None,
        truths: (&truths.0, &truths.1),
        reserved: "",
    };
    match template.render(&filling) {
        Ok(bytes) => Some(link.sent(bytes)),
        Err(error) => {
            section.fault(key, missing(&error));
            None
        }
    }
}

fn missing(error: &RenderError) -> String {
    match error {
        RenderError::Missing(name) if name == "address" => {
            "`{address}` has no value; give the device an `address`".to_owned()
        }
        RenderError::Missing(name) if name == "value" => {
            "`{value}` is for `set`: a request that reads has no value".to_owned()
        }
        error => error.to_string(),
    }
}

pub(crate) fn needs_checksum(section: &Section<'_>, key: &str, template: &Template, link: &Link) {
    if template.has_checksum() && link.checksum.is_none() {
        section.fault(
            key,
            "`{checksum}` needs to know which: give the device a `checksum`",
        );
    }
}

/// What the answer to a write or a method must look like: a pattern, or `{hex: …}`.
pub(crate) fn head(
    section: &Section<'_>,
    key: &'static str,
    parameters: &Parameters,
) -> Option<Head> {
    match section.value(key)? {
        Value::String(text) => match known::pattern(text, parameters) {
            Ok(pattern) => Some(Head::Pattern(pattern)),
            Err(error) => {
                section.fault(key, error.to_string());
                None
            }
        },
        Value::Object(map) if map.len() == 1 && map.get("hex").is_some_and(Value::is_string) => {
            let bytes = wildcards(map["hex"].as_str().unwrap_or_default());
            if bytes.is_none() {
                section.fault(key, "expected hexadecimal digits, with `??` for any byte");
            }
            bytes.map(Head::Bytes)
        }
        _ => {
            section.fault(
                key,
                "expected a pattern, or `{hex: \"…\"}` for the first bytes",
            );
            None
        }
    }
}

/// Bytes as hexadecimal digits, with `??` for any.
fn wildcards(text: &str) -> Option<Vec<Option<u8>>> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let byte = |pair: &[char]| match pair {
        ['?', '?'] => Some(None),
        [high, low] => {
            let (high, low) = (high.to_digit(16)?, low.to_digit(16)?);
            Some(Some((high << 4 | low) as u8))
        }
        _ => None,
    };
    digits.chunks_exact(2).map(byte).collect()
}

/// Whether the value is read from bytes and not from text, and its raw type.
fn raw_type(section: &Section<'_>, link: &Link) -> (bool, Option<RawType>) {
    let word = section.text("rawType").unwrap_or_default().trim();
    let is_text = TEXT_KINDS
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case(word));
    let is_block = matches!(link.framing, Framing::Frame(_));
    let is_placed = section.has("address") || section.has("bit");
    let is_binary = is_placed || (is_block && !section.has("field") && !has_pattern(section));
    if word.is_empty() || (is_text && !is_binary) {
        return (is_binary, None);
    }
    match word.parse() {
        Ok(raw) => (true, Some(raw)),
        Err(error) if !is_text => {
            let texts: Vec<_> = TEXT_KINDS.iter().map(|(name, _)| *name).collect();
            section.fault(
                "rawType",
                format!("{error}; for texts {}", texts.join(", ")),
            );
            (true, None)
        }
        Err(_) => {
            section.fault("rawType", "is read from text, and `address` means bytes");
            (true, None)
        }
    }
}

fn has_pattern(section: &Section<'_>) -> bool {
    matches!(section.value("response"), Some(Value::String(_)))
}

fn codec(section: &Section<'_>, point: &PointConfig, raw: Option<RawType>) -> Option<Codec> {
    let order = section.parse("byteOrder");
    if order.is_none() && section.has("byteOrder") {
        return None;
    }
    let order: ByteOrder = order.unwrap_or_default();
    let length: Option<u16> = section.integer("length");
    let bit = section.integer("bit");
    let raw = raw.unwrap_or(match point.twin_type.as_str() {
        "FLOAT" => RawType::Float32,
        "DOUBLE" => RawType::Float64,
        "STRING" => RawType::String,
        "BYTES" => RawType::Bytes,
        "BOOLEAN" => RawType::Uint8,
        _ if bit.is_some() => RawType::Uint8,
        _ => RawType::Int16,
    });
    let size = length.unwrap_or(1);
    let bits = |first| Bits {
        first,
        length: length.unwrap_or(1).min(64) as u8,
    };
    let codec = match (bit, raw) {
        (Some(first), raw) => Codec::bits(raw, &order, bits(first), false),
        (None, RawType::String) => Ok(Codec::text(size, StringOrder::High)),
        (None, RawType::Bytes) => Ok(Codec::bytes(size)),
        (None, RawType::Bool) => Codec::bits(RawType::Uint8, &order, bits(0), false),
        (None, raw) => Codec::number(raw, &order),
    };
    if matches!(raw, RawType::String) && length.is_none() && !section.has("length") {
        section.fault("length", "a text needs to know how many bytes it has");
    }
    match codec {
        Ok(codec) => Some(codec),
        Err(error) => {
            let key = if bit.is_some() { "bit" } else { "byteOrder" };
            section.fault(key, error.to_string());
            None
        }
    }
}

/// What `match` and `response` say of the message, and where the value is in it.
fn answer(
    section: &Section<'_>,
    point: &PointConfig,
    is_binary: bool,
    codec: Option<Codec>,
    (truths, parameters): (Option<(String, String)>, &Parameters),
) -> Option<Answer> {
    let begins = section.text("match").map(|text| {
        let wanted = |byte| (byte != b'?').then_some(byte);
        text.bytes().map(wanted).collect::<Vec<_>>()
    });
    let response = head(section, "response", parameters);
    if begins.is_some() && response.is_some() {
        section.fault(
            "match",
            "`response` says already what the message looks like",
        );
    }
    let (head, pattern) = match response {
        Some(Head::Pattern(pattern)) => (Vec::new(), Some(pattern)),
        Some(Head::Bytes(bytes)) => (bytes, None),
        None => (begins.unwrap_or_default(), None),
    };
    let offset = section.integer("address");
    let field = section.integer("field");
    let separator = section.text("separator").unwrap_or(",");
    if separator.is_empty() {
        section.fault("separator", "expected the characters between two fields");
    }
    let extract = if is_binary {
        if field.is_some() {
            section.fault(
                "field",
                "fields are in texts, and `rawType` or `address` means bytes",
            );
        }
        if pattern.is_some() {
            section.fault(
                "response",
                "a pattern is for texts; for bytes write `{hex: \"…\"}`, the first bytes of the answer",
            );
        }
        bytes_at(section, point, offset.unwrap_or(0), codec)?
    } else {
        let coding = Coding {
            kind: text_kind(section, point),
            truths,
        };
        match (pattern, field) {
            (Some(_), Some(_)) => {
                section.fault("field", "`response` says already where the value is");
                return None;
            }
            (Some(pattern), None) if pattern.names().any(|name| name == "value") => {
                let loses = match point.twin_type.as_str() {
                    "INT" => Some("drops its fraction (after `scale`); write `{value:int}`"),
                    "BOOLEAN" => Some("is true for every number but 0; write `{value:int}`"),
                    _ => None,
                };
                if let Some(loses) = loses.filter(|_| pattern.has_fraction("value")) {
                    section.warn(
                        "response",
                        format!("`{{value:float}}` of a property of the type {} {loses}, or the type FLOAT", point.twin_type),
                    );
                }
                Extract::Pattern { pattern, coding }
            }
            (Some(_), None) => {
                let message = "no `{value}` in it: nothing tells where the value is";
                section.fault("response", message);
                return None;
            }
            (None, Some(index)) => Extract::Field {
                separator: separator.into(),
                index,
                coding,
            },
            (None, None) => Extract::Whole(coding),
        }
    };
    Some(Answer { head, extract })
}

fn bytes_at(
    section: &Section<'_>,
    point: &PointConfig,
    offset: usize,
    codec: Option<Codec>,
) -> Option<Extract> {
    let is_sized = section.has("length") || section.has("rawType");
    if point.twin_type == "BYTES" && !is_sized {
        return Some(Extract::Rest { offset });
    }
    let codec = codec?;
    Some(Extract::Binary { offset, codec })
}

/// How a text is read: by `rawType`, else by the type of the twin.
fn text_kind(section: &Section<'_>, point: &PointConfig) -> TextKind {
    let word = section.value("rawType").and_then(Value::as_str);
    let named = |word: &str| {
        let mut kinds = TEXT_KINDS.iter();
        kinds.find(|(name, _)| name.eq_ignore_ascii_case(word.trim()))
    };
    match (word.and_then(named), point.twin_type.as_str()) {
        (Some((_, kind)), _) => *kind,
        (None, "FLOAT" | "DOUBLE") => TextKind::Float,
        (None, "INT") => TextKind::Int,
        (None, "BOOLEAN") => TextKind::Bool,
        (None, _) => TextKind::Text,
    }
}

fn set(
    section: &Section<'_>,
    point: &PointConfig,
    link: &Link,
    parameters: &Parameters,
    codec: Option<Codec>,
    truths: &Option<(String, String)>,
) -> Option<Set> {
    let response = head(section, "setResponse", parameters);
    let template = template(section, "set");
    let Some(template) = template else {
        if point.writable && !section.has("set") {
            section.fault(
                "set",
                "the property may be written, and nothing says what to send",
            );
        } else if response.is_some() && !section.has("set") {
            section.fault("setResponse", "there is no `set` that it answers");
        }
        return None;
    };
    needs_checksum(section, "set", &template, link);
    // A truth value may be a push of a button.
    let is_button = point.twin_type == "BOOLEAN";
    if !is_button && !template.names().any(|name| name == "value") {
        section.fault(
            "set",
            "no `{value}` in it: the same is sent whatever is written; what is only done is a method (`call`)",
        );
    }
    let unknown = |name: &&str| *name != "value" && !parameters.contains_key(*name);
    if let Some(name) = template.names().find(unknown) {
        section.fault("set", missing(&RenderError::Missing(name.to_owned())));
    }
    Some(Set {
        template,
        response,
        parameters: parameters.clone(),
        codec,
        truths: usual(truths.as_ref()),
    })
}
