//! What an answer looks like: literal text, blanks and fields.
//!
//! `S S {value:float} g` is literal text with one field. A blank stands for
//! one or more blanks, because devices align their numbers with them. A field
//! is `{name:kind}` or `{name:kind:width}`; one without a name, `{}` or
//! `{:float}`, is passed over. `{{` and `}}` are braces.
//!
//! A name that the device knows (`address`, those of its `parameters`) is no
//! capture: it stands for its value, so that an answer of the neighbour on the
//! line is none. What may be anything has no name: `{:text:2}`.
//!
//! There is no going back: a text ends at the first place where what follows
//! it in the pattern stands. So a match takes one pass, whatever a broken
//! device sends, and a pattern means what it looks like.

use std::borrow::Cow;

/// What a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Up to what follows in the pattern.
    Text,
    /// Up to the next blank, or to what follows in the pattern.
    Word,
    /// A number with an optional sign, fraction and exponent.
    Float,
    /// A whole number with an optional sign.
    Int,
    /// Hexadecimal digits.
    Hex,
}

const KINDS: &[(&str, Kind)] = &[
    ("text", Kind::Text),
    ("word", Kind::Word),
    ("float", Kind::Float),
    ("int", Kind::Int),
    ("hex", Kind::Hex),
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Piece {
    Literal(Vec<u8>),
    Blanks,
    Field {
        name: Option<String>,
        kind: Option<Kind>,
        width: Option<usize>,
    },
}

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    pieces: Vec<Piece>,
    written: String,
}

/// A pattern or template that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct SyntaxError {
    /// The character, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

impl SyntaxError {
    pub(crate) fn new(column: usize, message: impl Into<String>) -> Self {
        Self {
            column,
            message: message.into(),
        }
    }
}

/// What a field has caught.
#[derive(Debug, Clone, PartialEq)]
pub enum Caught<'a> {
    /// A number.
    Float(f64),
    /// A whole number.
    Int(i64),
    /// Hexadecimal digits.
    Hex(u64),
    /// Text; also that of a field whose kind the pattern leaves open.
    Text(Cow<'a, str>),
}

/// The fields with a name, in the order of the pattern.
pub type Captures<'p, 'a> = Vec<(&'p str, Caught<'a>)>;

/// Splits a text with fields in braces: calls `literal` for each character
/// outside and `field` for the contents of each pair of braces.
pub(crate) fn scan(
    text: &str,
    mut literal: impl FnMut(usize, char) -> Result<(), SyntaxError>,
    mut field: impl FnMut(usize, &str) -> Result<(), SyntaxError>,
) -> Result<(), SyntaxError> {
    let mut characters = text.chars().enumerate().peekable();
    while let Some((index, character)) = characters.next() {
        let column = index + 1;
        match character {
            '{' | '}'
                if characters
                    .peek()
                    .is_some_and(|(_, next)| *next == character) =>
            {
                characters.next();
                literal(column, character)?;
            }
            '{' => {
                let mut inner = String::new();
                loop {
                    match characters.next() {
                        Some((_, '}')) => break,
                        Some((_, '{')) | None => {
                            return Err(SyntaxError::new(
                                column,
                                "this `{` is never closed; a brace that is meant is written `{{`",
                            ));
                        }
                        Some((_, other)) => inner.push(other),
                    }
                }
                field(column, &inner)?;
            }
            '}' => {
                return Err(SyntaxError::new(
                    column,
                    "there is no `{` before this `}`; a brace that is meant is written `}}`",
                ));
            }
            other => literal(column, other)?,
        }
    }
    Ok(())
}

/// What the fields of a pattern stand for that are no captures.
pub(crate) type Known<'k> = &'k dyn Fn(usize, &str) -> Result<Option<String>, SyntaxError>;

/// Whether a word is a kind of field.
pub(crate) fn is_kind(word: &str) -> bool {
    KINDS.iter().any(|(known, _)| *known == word)
}

/// Whether a text can be the name of a field.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl Pattern {
    /// Compiles a pattern. Blanks and line ends at its end are left out.
    ///
    /// # Errors
    /// With the column: an unknown kind, two fields without anything between.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        Self::knowing(text, &|_, _| Ok(None))
    }

    /// Compiles a pattern; what `known` gives for a field (its column and what
    /// stands in the braces) stands in its place.
    ///
    /// # Errors
    /// As [`Pattern::parse`], and what `known` says.
    pub(crate) fn knowing(text: &str, known: Known<'_>) -> Result<Self, SyntaxError> {
        let text = text.trim_end_matches([' ', '\t', '\r', '\n']);
        let pieces = std::cell::RefCell::new(Vec::new());
        scan(
            text,
            |_, character| {
                push_literal(&mut pieces.borrow_mut(), character);
                Ok(())
            },
            |column, inner| {
                if let Some(value) = known(column, inner)? {
                    let mut pieces = pieces.borrow_mut();
                    value.chars().for_each(|c| push_literal(&mut pieces, c));
                    return Ok(());
                }
                let piece = field(column, inner)?;
                let mut pieces = pieces.borrow_mut();
                if let (
                    Some(Piece::Field {
                        kind, width: None, ..
                    }),
                    Piece::Field { .. },
                ) = (pieces.last(), &piece)
                    && matches!(kind, None | Some(Kind::Text | Kind::Word))
                {
                    return Err(SyntaxError::new(
                        column,
                        "nothing tells where the field before this one ends; write something between them or give it a width, as in `{name:text:3}`",
                    ));
                }
                pieces.push(piece);
                Ok(())
            },
        )?;
        Ok(Self {
            pieces: pieces.into_inner(),
            written: text.to_owned(),
        })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The names of its fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Field { name, .. } => name.as_deref(),
            _ => None,
        })
    }

    /// Whether a field takes a number that may have a fraction.
    pub(crate) fn has_fraction(&self, field: &str) -> bool {
        self.pieces.iter().any(|piece| {
            matches!(piece, Piece::Field { name: Some(name), kind: Some(Kind::Float), .. } if name == field)
        })
    }

    /// The fields of a message that looks so, from its first byte to its last.
    pub fn matches<'p, 'a>(&'p self, message: &'a [u8]) -> Option<Captures<'p, 'a>> {
        let mut rest = trim_end(message);
        let mut captures = Vec::new();
        for (index, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Literal(text) => rest = rest.strip_prefix(&text[..])?,
                Piece::Blanks => {
                    let trimmed = trim_start(rest);
                    // The blanks at the end of the message are gone already.
                    if trimmed.len() == rest.len() && !rest.is_empty() {
                        return None;
                    }
                    rest = trimmed;
                }
                Piece::Field { name, kind, width } => {
                    let room = match width {
                        Some(width) => rest.get(..*width)?,
                        None => &rest[..self.end_of(index, *kind, rest)?],
                    };
                    let (caught, taken) = catch(*kind, room, width.is_some())?;
                    rest = &rest[taken..];
                    if let Some(name) = name {
                        captures.push((name.as_str(), caught));
                    }
                }
            }
        }
        rest.is_empty().then_some(captures)
    }

    /// How far the field at `index` may reach.
    fn end_of(&self, index: usize, kind: Option<Kind>, rest: &[u8]) -> Option<usize> {
        if matches!(kind, Some(Kind::Float | Kind::Int | Kind::Hex)) {
            return Some(rest.len());
        }
        let end = match self.pieces.get(index + 1) {
            None | Some(Piece::Field { .. }) => Some(rest.len()),
            Some(Piece::Blanks) => {
                // A text that is not there leaves its blanks to what follows.
                Some(rest.iter().position(is_blank).unwrap_or(rest.len()))
            }
            Some(Piece::Literal(text)) => rest
                .windows(text.len())
                .position(|window| window == &text[..]),
        }?;
        if kind == Some(Kind::Word) {
            let blank = rest.iter().position(is_blank);
            return Some(blank.map_or(end, |blank| blank.min(end)));
        }
        Some(end)
    }
}

fn push_literal(pieces: &mut Vec<Piece>, character: char) {
    if character == ' ' || character == '\t' {
        if pieces.last() != Some(&Piece::Blanks) {
            pieces.push(Piece::Blanks);
        }
        return;
    }
    let mut buffer = [0; 4];
    let bytes = character.encode_utf8(&mut buffer).as_bytes();
    match pieces.last_mut() {
        Some(Piece::Literal(text)) => text.extend_from_slice(bytes),
        _ => pieces.push(Piece::Literal(bytes.to_vec())),
    }
}

fn field(column: usize, inner: &str) -> Result<Piece, SyntaxError> {
    let mut parts = inner.split(':');
    let name = parts.next().unwrap_or_default().trim();
    let kind = parts.next().map(str::trim).filter(|kind| !kind.is_empty());
    let width = parts.next().map(str::trim);
    if parts.next().is_some() {
        return Err(SyntaxError::new(
            column,
            format!("`{{{inner}}}` has too many colons; write `{{name:kind:width}}`"),
        ));
    }
    let kind = match kind {
        None => None,
        Some(word) => match KINDS.iter().find(|(known, _)| *known == word) {
            Some((_, kind)) => Some(*kind),
            None => {
                return Err(SyntaxError::new(
                    column,
                    format!("`{word}` is no kind of field; write text, word, float, int or hex"),
                ));
            }
        },
    };
    let width = match width.map(str::parse::<usize>) {
        None => None,
        Some(Ok(width)) if (1..=1000).contains(&width) => Some(width),
        Some(_) => return Err(SyntaxError::new(column, "a width is 1 to 1000 characters")),
    };
    let name = match name {
        "" | "_" => None,
        name if is_name(name) => Some(name.to_owned()),
        other => {
            return Err(SyntaxError::new(
                column,
                format!("`{other}` is no name of a field; write letters and digits"),
            ));
        }
    };
    Ok(Piece::Field { name, kind, width })
}

/// The value at the start of `room`, and how many bytes it takes.
fn catch(kind: Option<Kind>, room: &[u8], whole: bool) -> Option<(Caught<'_>, usize)> {
    let (caught, taken) = match kind {
        None | Some(Kind::Text) => return Some((Caught::Text(text(room)), room.len())),
        Some(Kind::Word) => {
            let word = trim(room);
            if word.is_empty() {
                return None;
            }
            return Some((Caught::Text(text(word)), room.len()));
        }
        Some(Kind::Float) => {
            let (number, taken) = float(room)?;
            (Caught::Float(number), taken)
        }
        Some(Kind::Int) => {
            let (number, taken) = int(room)?;
            (Caught::Int(number), taken)
        }
        Some(Kind::Hex) => {
            let digits = room.iter().take_while(|b| b.is_ascii_hexdigit()).count();
            let digits = std::str::from_utf8(&room[..digits]).ok()?;
            (
                Caught::Hex(u64::from_str_radix(digits, 16).ok()?),
                digits.len(),
            )
        }
    };
    if whole && !trim(&room[taken..]).is_empty() {
        return None;
    }
    Some((caught, if whole { room.len() } else { taken }))
}

/// A number at the start, with blanks before it and after its sign.
pub(crate) fn float(bytes: &[u8]) -> Option<(f64, usize)> {
    let (negative, start) = sign(bytes);
    let digits = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        rest.iter().take_while(|b| b.is_ascii_digit()).count()
    };
    let mut end = start + digits(start);
    let mut count = end - start;
    if bytes.get(end) == Some(&b'.') {
        let more = digits(end + 1);
        count += more;
        // `5.` is a number as well, as NMEA and SCPI have it.
        end += 1 + more;
    }
    if count == 0 {
        return None;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let signed = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let more = digits(end + 1 + signed);
        if more > 0 {
            end += 1 + signed + more;
        }
    }
    let number: f64 = std::str::from_utf8(&bytes[start..end]).ok()?.parse().ok()?;
    Some((if negative { -number } else { number }, end))
}

pub(crate) fn int(bytes: &[u8]) -> Option<(i64, usize)> {
    let (negative, start) = sign(bytes);
    let digits = bytes[start..].iter().take_while(|b| b.is_ascii_digit());
    let end = start + digits.count();
    let digits = std::str::from_utf8(&bytes[start..end]).ok()?;
    let number: i128 = digits.parse().ok()?;
    let number = if negative { -number } else { number };
    Some((i64::try_from(number).ok()?, end))
}

/// Whether there is a minus, and where the digits begin.
fn sign(bytes: &[u8]) -> (bool, usize) {
    let rest = trim_start(bytes);
    let (negative, rest) = match rest.first() {
        Some(b'-') => (true, &rest[1..]),
        Some(b'+') => (false, &rest[1..]),
        _ => (false, rest),
    };
    (negative, bytes.len() - trim_start(rest).len())
}

/// Text of a device: UTF-8, else Latin-1, whose bytes are the first 256 characters.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
    }
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trim_start(bytes: &[u8]) -> &[u8] {
    let count = bytes.iter().take_while(|byte| is_blank(byte)).count();
    &bytes[count..]
}

fn trim_end(bytes: &[u8]) -> &[u8] {
    let blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let count = bytes.iter().rev().take_while(blank).count();
    &bytes[..bytes.len() - count]
}

pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    trim_start(trim_end(bytes))
}

/// A message as people read it: text, or bytes in hexadecimal.
pub(crate) fn shown(message: &[u8]) -> String {
    let start = &message[..message.len().min(60)];
    let dots = if start.len() < message.len() {
        "…"
    } else {
        ""
    };
    if start.iter().all(|byte| (0x20..0x7F).contains(byte)) {
        return format!("{}{dots}", text(start));
    }
    let digits: Vec<_> = start.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("{}{dots}", digits.join(" "))
}
