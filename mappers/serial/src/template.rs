//! What is sent: literal bytes with fields that are filled in.
//!
//! A text template such as `VOLT {value:.3}` is sent as it stands. A template
//! of hexadecimal digits, `02 {address:02X} 52 {checksum} 03`, gives the bytes
//! that its digits name once the fields are filled in.
//!
//! | field | |
//! |---|---|
//! | `{value}` | as short as it can be; in hexadecimal templates the bytes of the property's raw type |
//! | `{value:.3}` | three places after the point |
//! | `{value:05.1}` | five characters at least, filled with zeros |
//! | `{value:+07.3}` | with its sign, also `+` |
//! | `{value:d}` | a whole number; anything else is refused |
//! | `{value:04X}`, `{value:x}` | hexadecimal |
//! | `{value:e}` | with an exponent |
//! | `{checksum}`, `{crc}` | the device's checksum of what stands before it |

use longshore_sdk::{SampleValue, codec::Codec};

use crate::{
    checksum::Checksum,
    pattern::{SyntaxError, is_name, scan},
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Part {
    Literal(Vec<u8>),
    Field(Field),
    Checksum,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Field {
    name: String,
    /// A number that is not negative has a `+`.
    signed: bool,
    zeros: bool,
    width: usize,
    precision: Option<usize>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Plain,
    Whole,
    HexUpper,
    HexLower,
    Exponent,
}

/// A compiled template.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Template {
    parts: Vec<Part>,
    is_hex: bool,
}

/// A value that must not be sent so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// Nothing gives the field a value.
    #[error("`{{{0}}}` has no value; give it under `parameters`")]
    Missing(String),
    /// The value does not suit the field.
    #[error("`{field}`: {message}")]
    Value {
        /// The field.
        field: String,
        /// What is wrong with its value.
        message: String,
    },
    /// A text that the device would take for more than a text.
    #[error(
        "`{field}`: a text must not hold {character:?} here, which means something to the device"
    )]
    Unsafe {
        /// The field.
        field: String,
        /// The first such character.
        character: char,
    },
}

/// What the fields of a template are filled with.
pub struct Filling<'a> {
    /// The value of a field by name.
    pub lookup: &'a dyn Fn(&str) -> Option<SampleValue>,
    /// The checksum of the device.
    pub checksum: Option<&'a Checksum>,
    /// How `{value}` is coded in a hexadecimal template.
    pub codec: Option<&'a Codec>,
    /// How a truth value is written: true, false.
    pub truths: (&'a str, &'a str),
    /// Characters that texts must not hold, beside control characters.
    pub reserved: &'a str,
}

impl Template {
    /// Compiles a text.
    ///
    /// # Errors
    /// With the column of what is wrong.
    pub fn text(text: &str) -> Result<Self, SyntaxError> {
        let parts = std::cell::RefCell::new(Vec::new());
        scan(
            text,
            |_, character| {
                let mut buffer = [0; 4];
                push(
                    &mut parts.borrow_mut(),
                    character.encode_utf8(&mut buffer).as_bytes(),
                );
                Ok(())
            },
            |column, inner| {
                parts.borrow_mut().push(part(column, inner)?);
                Ok(())
            },
        )?;
        Ok(Self {
            parts: parts.into_inner(),
            is_hex: false,
        })
    }

    /// Compiles hexadecimal digits; blanks between bytes are left out.
    ///
    /// # Errors
    /// With the column of what is wrong.
    pub fn hex(text: &str) -> Result<Self, SyntaxError> {
        let parts = std::cell::RefCell::new(Vec::new());
        let half = std::cell::Cell::new(None);
        let odd = |column| SyntaxError::new(column, "a byte has two hexadecimal digits");
        scan(
            text,
            |column, character| {
                if character.is_ascii_whitespace() {
                    return if half.get().is_some() {
                        Err(odd(column))
                    } else {
                        Ok(())
                    };
                }
                let digit = character.to_digit(16).ok_or_else(|| {
                    SyntaxError::new(column, format!("`{character}` is no hexadecimal digit"))
                })? as u8;
                match half.take() {
                    None => half.set(Some(digit)),
                    Some(high) => push(&mut parts.borrow_mut(), &[high << 4 | digit]),
                }
                Ok(())
            },
            |column, inner| {
                if half.get().is_some() {
                    return Err(odd(column));
                }
                parts.borrow_mut().push(part(column, inner)?);
                Ok(())
            },
        )?;
        if half.get().is_some() {
            return Err(odd(text.chars().count()));
        }
        Ok(Self {
            parts: parts.into_inner(),
            is_hex: true,
        })
    }

    /// The names of its fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(field) => Some(field.name.as_str()),
            _ => None,
        })
    }

    /// Whether it holds a checksum.
    pub fn has_checksum(&self) -> bool {
        self.parts.contains(&Part::Checksum)
    }

    /// The bytes to send.
    ///
    /// # Errors
    /// A field without a value, or with one that does not suit it or the device.
    pub fn render(&self, filling: &Filling<'_>) -> Result<Vec<u8>, RenderError> {
        let mut out = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(bytes) => out.extend_from_slice(bytes),
                Part::Checksum => {
                    if let Some(checksum) = filling.checksum {
                        checksum.append(&mut out);
                    }
                }
                Part::Field(field) => {
                    let value = (filling.lookup)(&field.name)
                        .ok_or_else(|| RenderError::Missing(field.name.clone()))?;
                    if self.is_hex {
                        field.bytes(&value, filling, &mut out)?;
                    } else {
                        let text = field.text(&value, filling)?;
                        // Only a text comes as it is from outside.
                        if matches!(value, SampleValue::String(_)) {
                            field.check(&text, filling)?;
                        }
                        out.extend_from_slice(text.as_bytes());
                    }
                }
            }
        }
        Ok(out)
    }
}

fn push(parts: &mut Vec<Part>, bytes: &[u8]) {
    match parts.last_mut() {
        Some(Part::Literal(text)) => text.extend_from_slice(bytes),
        _ => parts.push(Part::Literal(bytes.to_vec())),
    }
}

fn part(column: usize, inner: &str) -> Result<Part, SyntaxError> {
    let (name, format) = inner.split_once(':').unwrap_or((inner, ""));
    if inner.contains(char::is_whitespace) {
        return Err(SyntaxError::new(
            column,
            format!(
                "`{{{inner}}}` holds a blank; write fields without any, as in `{{value:06.2}}`"
            ),
        ));
    }
    if !is_name(name) {
        return Err(SyntaxError::new(
            column,
            format!("`{name}` is no name of a field; write letters and digits"),
        ));
    }
    if matches!(name, "checksum" | "crc") {
        return if format.is_empty() {
            Ok(Part::Checksum)
        } else {
            Err(SyntaxError::new(
                column,
                "how a checksum is written stands in the device's `checksum`",
            ))
        };
    }
    let field = format_of(name, format).ok_or_else(|| {
        let message = format!(
            "`{inner}` is no format; write for example `{name}:.3`, `{name}:05.1`, `{name}:+07.3` (with its sign), `{name}:d`, `{name}:04X` or `{name}:e`"
        );
        SyntaxError::new(column, message)
    })?;
    Ok(Part::Field(field))
}

/// `[+][0][width][.places][d|X|x|e|f]`, and nothing else.
fn format_of(name: &str, format: &str) -> Option<Field> {
    let (kind, rest) = match format.char_indices().last() {
        Some((at, 'd')) => (Kind::Whole, &format[..at]),
        Some((at, 'X')) => (Kind::HexUpper, &format[..at]),
        Some((at, 'x')) => (Kind::HexLower, &format[..at]),
        Some((at, 'e')) => (Kind::Exponent, &format[..at]),
        Some((at, 'f')) => (Kind::Plain, &format[..at]),
        _ => (Kind::Plain, format),
    };
    let (signed, rest) = match rest.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let (width, places) = match rest.split_once('.') {
        Some((width, places)) => (width, Some(places)),
        None => (rest, None),
    };
    let number = |digits: &str, most: usize| {
        let only_digits = digits.bytes().all(|digit| digit.is_ascii_digit());
        let number = digits.parse().ok().filter(|_| only_digits)?;
        (number <= most).then_some(number)
    };
    let precision = match places {
        Some(places) => Some(number(places, 17)?),
        None => None,
    };
    let zeros = width.len() > 1 && width.starts_with('0');
    let width = match width {
        "" => 0,
        digits => number(digits, 64)?,
    };
    let is_hex = matches!(kind, Kind::HexUpper | Kind::HexLower);
    if (precision.is_some() && !matches!(kind, Kind::Plain | Kind::Exponent)) || (signed && is_hex)
    {
        return None;
    }
    Some(Field {
        name: name.to_owned(),
        signed,
        zeros,
        width,
        precision,
        kind,
    })
}

impl Field {
    fn wrong(&self, message: impl Into<String>) -> RenderError {
        RenderError::Value {
            field: self.name.clone(),
            message: message.into(),
        }
    }

    /// The characters of a value.
    fn text(&self, value: &SampleValue, filling: &Filling<'_>) -> Result<String, RenderError> {
        let (width, zeros) = (self.width, self.zeros);
        let body = match self.kind {
            Kind::Whole => self.whole(value)?.to_string(),
            Kind::HexUpper | Kind::HexLower => {
                let number = self.whole(value)?;
                let number = u64::try_from(number)
                    .map_err(|_| self.wrong(format!("{number} has no hexadecimal form here")))?;
                let text = match self.kind {
                    Kind::HexUpper => format!("{number:X}"),
                    _ => format!("{number:x}"),
                };
                if width > 0 && text.len() > width {
                    return Err(self.wrong(format!("{number} does not fit {width} digits")));
                }
                text
            }
            Kind::Exponent => {
                let number = self.number(value)?;
                match self.precision {
                    Some(places) => format!("{number:.places$e}"),
                    None => format!("{number:e}"),
                }
            }
            Kind::Plain => match self.precision {
                Some(places) => format!("{:.places$}", self.number(value)?),
                None if self.signed => self.number(value)?.to_string(),
                None => self.plain(value, filling)?,
            },
        };
        let body = match self.signed && !body.starts_with('-') {
            true => format!("+{body}"),
            false => body,
        };
        // Zeros stand behind the sign.
        let signs = usize::from(body.starts_with(['-', '+']));
        let (sign, digits) = body.split_at(signs);
        Ok(match zeros {
            true => format!(
                "{sign}{digits:0>width$}",
                width = width.saturating_sub(signs)
            ),
            false => format!("{body:>width$}"),
        })
    }

    fn plain(&self, value: &SampleValue, filling: &Filling<'_>) -> Result<String, RenderError> {
        Ok(match value {
            SampleValue::Bool(true) => filling.truths.0.to_owned(),
            SampleValue::Bool(false) => filling.truths.1.to_owned(),
            SampleValue::Int(number) => number.to_string(),
            SampleValue::Uint(number) => number.to_string(),
            SampleValue::Float(_) => self.number(value)?.to_string(),
            SampleValue::String(text) => text.clone(),
            SampleValue::Bytes(bytes) => bytes.iter().map(|b| format!("{b:02X}")).collect(),
        })
    }

    fn number(&self, value: &SampleValue) -> Result<f64, RenderError> {
        let number = match value {
            SampleValue::Bool(truth) => f64::from(u8::from(*truth)),
            SampleValue::Int(number) => *number as f64,
            SampleValue::Uint(number) => *number as f64,
            SampleValue::Float(number) => *number,
            SampleValue::String(text) => text
                .trim()
                .parse()
                .map_err(|_| self.wrong(format!("`{text}` is not a number")))?,
            SampleValue::Bytes(_) => return Err(self.wrong("expected a number, found bytes")),
        };
        if number.is_finite() {
            Ok(number)
        } else {
            Err(self.wrong(format!("{number} cannot be sent")))
        }
    }

    fn whole(&self, value: &SampleValue) -> Result<i128, RenderError> {
        if let SampleValue::Int(number) = value {
            return Ok(i128::from(*number));
        }
        if let SampleValue::Uint(number) = value {
            return Ok(i128::from(*number));
        }
        let number = self.number(value)?;
        // An inverse scale such as 21.5 / 0.1 misses the whole number by a hair.
        let rounded = number.round();
        if (number - rounded).abs() > 1e-6 * rounded.abs().max(1.0) || rounded.abs() > 1e20 {
            return Err(self.wrong(format!("{number} is not a whole number")));
        }
        Ok(rounded as i128)
    }

    /// A text may not end the request and begin another one.
    fn check(&self, text: &str, filling: &Filling<'_>) -> Result<(), RenderError> {
        let meaning = |c: &char| c.is_control() || filling.reserved.contains(*c);
        match text.chars().find(meaning) {
            None => Ok(()),
            Some(character) => Err(RenderError::Unsafe {
                field: self.name.clone(),
                character,
            }),
        }
    }

    /// The bytes of a value in a hexadecimal template.
    fn bytes(
        &self,
        value: &SampleValue,
        filling: &Filling<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), RenderError> {
        let plain = self.kind == Kind::Plain && self.width == 0 && self.precision.is_none();
        if let (true, "value", Some(codec)) = (plain, self.name.as_str(), filling.codec) {
            let start = out.len();
            out.resize(start + codec.size(), 0);
            return codec
                .encode(value, &mut out[start..])
                .map_err(|error| self.wrong(error.to_string()));
        }
        let digits = self.text(value, filling)?;
        if !digits.len().is_multiple_of(2) || !digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        {
            return Err(self.wrong(format!(
                "`{digits}` is not whole bytes in hexadecimal; write for example `{{{}:02X}}`",
                self.name
            )));
        }
        for pair in digits.as_bytes().chunks_exact(2) {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            out.push(u8::from_str_radix(pair, 16).unwrap_or_default());
        }
        Ok(())
    }
}
