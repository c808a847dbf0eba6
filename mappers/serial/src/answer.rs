//! From a message to the value of one property. Pure.

use longshore_sdk::{Reason, Samples, codec::Codec};

use crate::pattern::{self, Caught, Pattern};

/// How one property is found in a message, and which messages hold it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What the message begins with; `None` in it stands for any byte.
    pub head: Vec<Option<u8>>,
    /// How the value is taken out.
    pub extract: Extract,
}

/// How a value is taken out of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Extract {
    /// The field `value` of a pattern.
    Pattern {
        /// The pattern.
        pattern: Pattern,
        /// How a text is read, where the pattern leaves it open.
        coding: Coding,
    },
    /// One of the fields between separators.
    Field {
        /// What separates them.
        separator: Vec<u8>,
        /// Which, counted from 0.
        index: usize,
        /// How it is read.
        coding: Coding,
    },
    /// The whole message as text.
    Whole(Coding),
    /// Bytes at a place.
    Binary {
        /// The first byte.
        offset: usize,
        /// How they are read.
        codec: Codec,
    },
    /// All bytes from a place on.
    Rest {
        /// The first byte.
        offset: usize,
    },
}

/// How a text is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Coding {
    /// What it stands for.
    pub kind: TextKind,
    /// The texts of true and false, where they are not the usual ones.
    pub truths: Option<(String, String)>,
}

/// What a text stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextKind {
    /// A number.
    Float,
    /// A whole number.
    Int,
    /// Hexadecimal digits.
    Hex,
    /// A truth value.
    Bool,
    /// Itself.
    Text,
    /// Degrees and minutes with the hemisphere in the next field, as NMEA 0183
    /// writes a latitude (`ddmm.mmmm,N`) or a longitude (`dddmm.mmmm,E`); as
    /// degrees, south and west negative.
    NmeaDegrees {
        /// The greatest possible number of degrees: 90 or 180.
        limit: u8,
    },
    /// The time of day as NMEA 0183 writes it, `hhmmss.ss`, as `hh:mm:ss.ss`.
    NmeaTime,
}

const TRUE: &[&str] = &["1", "on", "true", "yes", "A"];
const FALSE: &[&str] = &["0", "off", "false", "no", "V"];

impl Answer {
    /// Whether this message is the one that holds the property.
    pub fn accepts(&self, message: &[u8]) -> bool {
        let fits = |(byte, wanted): (&u8, &Option<u8>)| wanted.is_none_or(|wanted| wanted == *byte);
        let head = message.len() >= self.head.len() && message.iter().zip(&self.head).all(fits);
        match &self.extract {
            Extract::Pattern { pattern, .. } => head && pattern.matches(message).is_some(),
            _ => head,
        }
    }

    /// Whether it is read as the text that it is.
    pub(crate) fn is_text(&self) -> bool {
        match &self.extract {
            Extract::Pattern { coding, .. } | Extract::Field { coding, .. } => {
                coding.kind == TextKind::Text
            }
            Extract::Whole(coding) => coding.kind == TextKind::Text,
            Extract::Binary { .. } | Extract::Rest { .. } => false,
        }
    }

    /// Puts the property's value, or why there is none, into `samples`.
    pub fn sample(&self, point: u32, message: &[u8], time_ns: i64, samples: &mut Samples) {
        let result = match &self.extract {
            Extract::Binary { offset, codec } => {
                let bytes = message.get(*offset..).unwrap_or_default();
                codec.decode(point, bytes, time_ns, samples);
                Ok(())
            }
            Extract::Rest { offset } => {
                let bytes = message.get(*offset..).unwrap_or_default();
                samples.push_bytes(point, bytes, time_ns);
                Ok(())
            }
            Extract::Whole(coding) => coding.push(point, message, None, time_ns, samples),
            Extract::Field {
                separator,
                index,
                coding,
            } => {
                let mut fields = Fields::new(message, separator).skip(*index);
                match fields.next() {
                    Some(field) => coding.push(point, field, fields.next(), time_ns, samples),
                    None => Err(format!("the message has no field {index}")),
                }
            }
            Extract::Pattern { pattern, coding } => match pattern.matches(message) {
                None => Err(format!(
                    "`{}` does not look like `{}`",
                    pattern::text(message).escape_debug(),
                    pattern.as_str()
                )),
                Some(captures) => match captures.into_iter().find(|(name, _)| *name == "value") {
                    Some((_, caught)) => coding.caught(point, &caught, time_ns, samples),
                    None => Err("the pattern has no `{value}`".to_owned()),
                },
            },
        };
        if let Err(message) = result {
            samples.push_bad(point, Reason::Decode, &message, time_ns);
        }
    }
}

impl Coding {
    fn caught(
        &self,
        point: u32,
        caught: &Caught<'_>,
        time_ns: i64,
        samples: &mut Samples,
    ) -> Result<(), String> {
        match caught {
            Caught::Float(number) => samples.push_f64(point, *number, time_ns),
            Caught::Int(number) => samples.push_i64(point, *number, time_ns),
            Caught::Hex(number) => samples.push_u64(point, *number, time_ns),
            Caught::Text(text) => {
                return self.push(point, text.as_bytes(), None, time_ns, samples);
            }
        }
        Ok(())
    }

    /// `next` is the field after this one.
    fn push(
        &self,
        point: u32,
        field: &[u8],
        next: Option<&[u8]>,
        time_ns: i64,
        samples: &mut Samples,
    ) -> Result<(), String> {
        let field = pattern::trim(field);
        let text = pattern::text(field);
        if field.is_empty() && self.kind != TextKind::Text {
            return Err("the device left the field empty".to_owned());
        }
        let wrong = |what: &str| format!("`{}` is not {what}", text.escape_debug());
        let whole = |(number, taken)| (taken == field.len()).then_some(number);
        match self.kind {
            TextKind::Float => {
                let number = pattern::float(field).and_then(whole);
                samples.push_f64(point, number.ok_or_else(|| wrong("a number"))?, time_ns);
            }
            TextKind::Int => {
                let number = pattern::int(field)
                    .and_then(|(number, taken)| (taken == field.len()).then_some(number));
                let number = number.ok_or_else(|| wrong("a whole number"))?;
                samples.push_i64(point, number, time_ns);
            }
            TextKind::Hex => {
                let digits = text.trim_start_matches("0x");
                let number = u64::from_str_radix(digits, 16);
                let number = number.map_err(|_| wrong("a hexadecimal number"))?;
                samples.push_u64(point, number, time_ns);
            }
            TextKind::Bool => {
                let truth = self.truth(&text).ok_or_else(|| wrong("a truth value"))?;
                samples.push_bool(point, truth, time_ns);
            }
            TextKind::Text => samples.push_str(point, &text, time_ns),
            TextKind::NmeaDegrees { limit } => {
                let degrees = degrees(&text, next.unwrap_or_default(), limit);
                let degrees =
                    degrees.ok_or_else(|| wrong("degrees and minutes with a hemisphere"))?;
                samples.push_f64(point, degrees, time_ns);
            }
            TextKind::NmeaTime => {
                let is_time = text.len() >= 6 && text.bytes().take(6).all(|b| b.is_ascii_digit());
                if !is_time {
                    return Err(wrong("a time of day"));
                }
                let time = format!("{}:{}:{}", &text[..2], &text[2..4], &text[4..]);
                samples.push_str(point, &time, time_ns);
            }
        }
        Ok(())
    }

    fn truth(&self, text: &str) -> Option<bool> {
        if let Some((yes, no)) = &self.truths {
            return if text.eq_ignore_ascii_case(yes) {
                Some(true)
            } else if text.eq_ignore_ascii_case(no) {
                Some(false)
            } else {
                None
            };
        }
        let is_one_of = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
        match (is_one_of(TRUE), is_one_of(FALSE)) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    }
}

/// NMEA 0183, "latitude" and "longitude" fields: two or three digits of
/// degrees, two of minutes and their fraction; the hemisphere is a field of its own.
fn degrees(text: &str, hemisphere: &[u8], limit: u8) -> Option<f64> {
    let sign = match (pattern::trim(hemisphere), limit) {
        (b"N", 90) | (b"E", 180) => 1.0,
        (b"S", 90) | (b"W", 180) => -1.0,
        _ => return None,
    };
    let point = text.find('.').unwrap_or(text.len());
    let split = point.checked_sub(2)?;
    if !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let whole: f64 = match &text[..split] {
        "" => 0.0,
        digits => digits.parse().ok()?,
    };
    let minutes: f64 = text[split..].parse().ok()?;
    let degrees = whole + minutes / 60.0;
    (minutes < 60.0 && degrees <= f64::from(limit)).then_some(sign * degrees)
}

/// The parts of a message between separators.
struct Fields<'a> {
    rest: Option<&'a [u8]>,
    separator: &'a [u8],
}

impl<'a> Fields<'a> {
    fn new(message: &'a [u8], separator: &'a [u8]) -> Self {
        Self {
            rest: Some(message),
            separator,
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        let length = self.separator.len();
        let at = rest
            .windows(length.max(1))
            .position(|w| w == self.separator);
        match at {
            Some(at) => {
                self.rest = Some(&rest[at + length..]);
                Some(&rest[..at])
            }
            None => Some(rest),
        }
    }
}
