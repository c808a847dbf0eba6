//! What simulated devices say: texts and bytes with signals in them.
//!
//! | in a text | |
//! |---|---|
//! | `{weight}` | the signal's value, as short as it can be |
//! | `{weight:10.2}` | ten characters wide, two places after the point; `{weight:+8.1}` with its sign |
//! | `{output?ON:OFF}` | the first text unless the signal is 0 |
//! | `{latitude@lat}`, `{longitude@lon}` | as NMEA 0183 has it: `4807.0380,N` |
//! | `{time}`, `{date}` | now in UTC: `hhmmss.00`, `ddmmyy` |
//!
//! In bytes (hexadecimal digits) `{temperature:int16:10}` is the signal times
//! ten in two bytes; the types are `int8 uint8 int16 uint16 int32 uint32
//! float32`, with `le` at the end for the lowest byte first.

use std::time::{SystemTime, UNIX_EPOCH};

use longshore_sim_world::{SignalId, Values, World};

#[derive(Debug, Clone)]
enum Piece {
    Bytes(Vec<u8>),
    Number {
        signal: SignalId,
        sign: bool,
        width: usize,
        places: Option<usize>,
    },
    Choice(SignalId, String, String),
    Degrees(SignalId, bool),
    Binary(SignalId, Raw, f64),
    Time,
    Date,
}

/// How a number lies in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Raw {
    kind: RawKind,
    little: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RawKind {
    Int(usize),
    Uint(usize),
    Float32,
}

/// A compiled text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Text(Vec<Piece>);

impl Raw {
    pub(crate) fn parse(word: &str) -> Option<Self> {
        let (word, little) = match word.strip_suffix("le") {
            Some(word) => (word, true),
            None => (word, false),
        };
        let kind = match word {
            "int8" => RawKind::Int(1),
            "uint8" => RawKind::Uint(1),
            "int16" => RawKind::Int(2),
            "uint16" => RawKind::Uint(2),
            "int32" => RawKind::Int(4),
            "uint32" => RawKind::Uint(4),
            "float32" => RawKind::Float32,
            _ => return None,
        };
        Some(Self { kind, little })
    }

    pub(crate) fn size(self) -> usize {
        match self.kind {
            RawKind::Int(size) | RawKind::Uint(size) => size,
            RawKind::Float32 => 4,
        }
    }

    fn write(self, number: f64, out: &mut Vec<u8>) {
        let bytes = match self.kind {
            RawKind::Int(size) => (number.round() as i64).to_be_bytes()[8 - size..].to_vec(),
            RawKind::Uint(size) => (number.round() as u64).to_be_bytes()[8 - size..].to_vec(),
            RawKind::Float32 => (number as f32).to_be_bytes().to_vec(),
        };
        if self.little {
            out.extend(bytes.iter().rev());
        } else {
            out.extend(bytes);
        }
    }

    pub(crate) fn read(self, bytes: &[u8]) -> f64 {
        let mut whole = [0; 8];
        for (i, byte) in bytes.iter().enumerate() {
            let at = if self.little {
                7 - i
            } else {
                8 - bytes.len() + i
            };
            whole[at] = *byte;
        }
        let number = u64::from_be_bytes(whole);
        match self.kind {
            RawKind::Uint(_) => number as f64,
            RawKind::Int(size) => {
                let shift = 64 - 8 * size;
                ((number << shift) as i64 >> shift) as f64
            }
            RawKind::Float32 => f64::from(f32::from_bits(number as u32)),
        }
    }
}

/// Splits a text at its braces: literal parts and fields.
pub(crate) fn split(text: &str) -> Result<Vec<Result<String, String>>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let close = rest[open..].find('}').ok_or("a `{` is never closed")? + open;
        if open > 0 {
            parts.push(Ok(rest[..open].to_owned()));
        }
        parts.push(Err(rest[open + 1..close].to_owned()));
        rest = &rest[close + 1..];
    }
    if !rest.is_empty() {
        parts.push(Ok(rest.to_owned()));
    }
    Ok(parts)
}

pub(crate) fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| {
            c.to_digit(16)
                .ok_or_else(|| format!("`{c}` is no hexadecimal digit"))
        })
        .collect::<Result<_, _>>()?;
    if !digits.len().is_multiple_of(2) {
        return Err(format!("`{text}` is half a byte too long"));
    }
    Ok(digits
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect())
}

impl Text {
    /// Compiles a text, or bytes written as hexadecimal digits.
    pub(crate) fn parse(text: &str, binary: bool, world: &World) -> Result<Self, String> {
        let mut pieces = Vec::new();
        for part in split(text)? {
            pieces.push(match part {
                Ok(literal) if binary => Piece::Bytes(hex(&literal)?),
                Ok(literal) => Piece::Bytes(literal.into_bytes()),
                Err(field) if binary => {
                    let mut words = field.split(':');
                    let signal = find(words.next().unwrap_or_default(), world)?;
                    let raw = words.next().and_then(Raw::parse);
                    let raw = raw.ok_or_else(|| format!("`{field}` has no known type"))?;
                    let times = words.next().map_or(Ok(1.0), str::parse);
                    let times = times.map_err(|_| format!("`{field}`: the factor is no number"))?;
                    Piece::Binary(signal, raw, times)
                }
                Err(field) => Piece::field(&field, world)?,
            });
        }
        Ok(Self(pieces))
    }

    pub(crate) fn write(&self, values: &Values<'_>, out: &mut Vec<u8>) {
        for piece in &self.0 {
            piece.write(values, out);
        }
    }
}

pub(crate) fn find(name: &str, world: &World) -> Result<SignalId, String> {
    world
        .id(name)
        .ok_or_else(|| format!("there is no signal `{name}`"))
}

impl Piece {
    fn field(field: &str, world: &World) -> Result<Self, String> {
        if field == "time" && world.id("time").is_none() {
            return Ok(Self::Time);
        }
        if field == "date" && world.id("date").is_none() {
            return Ok(Self::Date);
        }
        if let Some((name, texts)) = field.split_once('?') {
            let (yes, no) = texts
                .split_once(':')
                .ok_or_else(|| format!("`{field}`: write `{{signal?yes:no}}`"))?;
            return Ok(Self::Choice(
                find(name, world)?,
                yes.to_owned(),
                no.to_owned(),
            ));
        }
        if let Some((name, kind)) = field.split_once('@') {
            let is_latitude = match kind {
                "lat" => true,
                "lon" => false,
                _ => return Err(format!("`{field}`: write `@lat` or `@lon`")),
            };
            return Ok(Self::Degrees(find(name, world)?, is_latitude));
        }
        let (name, format) = field.split_once(':').unwrap_or((field, ""));
        let (sign, format) = match format.strip_prefix('+') {
            Some(format) => (true, format),
            None => (false, format),
        };
        let (width, places) = format.split_once('.').unwrap_or((format, ""));
        let number = |digits: &str| match digits {
            "" => Ok(None),
            digits => digits
                .parse()
                .map(Some)
                .map_err(|_| format!("`{field}`: write `{{signal:WIDTH.PLACES}}`")),
        };
        Ok(Self::Number {
            signal: find(name, world)?,
            sign,
            width: number(width)?.unwrap_or(0),
            places: number(places)?,
        })
    }

    fn write(&self, values: &Values<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
            Self::Binary(signal, raw, times) => raw.write(values.get(*signal) * times, out),
            Self::Choice(signal, yes, no) => {
                let text = if values.get(*signal) == 0.0 { no } else { yes };
                out.extend_from_slice(text.as_bytes());
            }
            Self::Number {
                signal,
                sign,
                width,
                places,
            } => {
                let number = values.get(*signal);
                let text = match (sign, places) {
                    (false, None) => format!("{number:>width$}"),
                    (true, None) => format!("{number:>+width$}"),
                    (false, Some(places)) => format!("{number:>width$.places$}"),
                    (true, Some(places)) => format!("{number:>+width$.places$}"),
                };
                out.extend_from_slice(text.as_bytes());
            }
            Self::Degrees(signal, is_latitude) => {
                let degrees = values.get(*signal);
                let (width, positive, negative) = match is_latitude {
                    true => (2, 'N', 'S'),
                    false => (3, 'E', 'W'),
                };
                let letter = if degrees < 0.0 { negative } else { positive };
                // In ten-thousandths of a minute, so that 59.99999 never becomes 60.
                let parts = (degrees.abs() * 600_000.0).round() as u64;
                let (whole, rest) = (parts / 600_000, parts % 600_000);
                let (minutes, fraction) = (rest / 10_000, rest % 10_000);
                let text = format!("{whole:0width$}{minutes:02}.{fraction:04},{letter}");
                out.extend_from_slice(text.as_bytes());
            }
            Self::Time => {
                let (seconds, _) = now();
                let text = format!(
                    "{:02}{:02}{:02}.00",
                    seconds / 3600,
                    seconds / 60 % 60,
                    seconds % 60
                );
                out.extend_from_slice(text.as_bytes());
            }
            Self::Date => {
                let (year, month, day) = civil(now().1);
                let text = format!("{day:02}{month:02}{:02}", year % 100);
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}

/// Seconds of the day, and days since 1970.
fn now() -> (u64, u64) {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    (since.as_secs() % 86_400, since.as_secs() / 86_400)
}

/// Year, month and day of a number of days since 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| {
        (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
    };
    let (mut year, mut left) = (1970, days);
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_sim_world::{Clock, scenario::parse};

    fn say(signals: &str, text: &str, binary: bool) -> Vec<u8> {
        let spec = parse("t.yaml", &format!("signals: {signals}")).expect("a world");
        let world = World::new(&spec, Clock::manual()).expect("a world");
        let text = Text::parse(text, binary, &world).expect("a text");
        let mut out = Vec::new();
        text.write(&world.values(), &mut out);
        out
    }

    #[test]
    fn numbers_choices_and_degrees() {
        let signals = "{w: {constant: 100.5}, on: {constant: 1}, la: {constant: 48.1173}, lo: {constant: -0.5}}";
        assert_eq!(say(signals, "S S {w:10.2} g", false), b"S S     100.50 g");
        assert_eq!(say(signals, "{w:+8.1}", false), b"  +100.5");
        assert_eq!(say(signals, "{on?ON:OFF}", false), b"ON");
        // 48.1173 degrees are 48 degrees and 7.038 minutes.
        assert_eq!(say(signals, "{la@lat}", false), b"4807.0380,N");
        assert_eq!(say(signals, "{lo@lon}", false), b"00030.0000,W");
        // 1005 is 03ED, and ED03 with the low byte first.
        assert_eq!(say(signals, "52 {w:int16:10}", true), [0x52, 0x03, 0xED]);
        assert_eq!(say(signals, "{w:int16le:10}", true), [0xED, 0x03]);
    }

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(20_088), (2024, 12, 31));
    }

    #[test]
    fn bytes_become_numbers() {
        let raw = |word| Raw::parse(word).expect("a type");
        assert_eq!(raw("int16").read(&[0xFF, 0xFE]), -2.0);
        assert_eq!(raw("uint16le").read(&[0x34, 0x12]), f64::from(0x1234));
        assert_eq!(raw("float32").read(&[0x41, 0xAC, 0, 0]), 21.5);
    }
}
