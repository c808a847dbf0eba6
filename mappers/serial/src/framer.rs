//! Where a message begins and ends in a stream of bytes. Pure.
//!
//! [`next`] looks at what has come so far and says what its first bytes are: a
//! frame, rubbish, or the start of something that is still to come. It decides
//! on the bytes alone, so however they were cut on their way, the same frames
//! come out. After rubbish it finds the next frame by itself.

use std::{ops::Range, time::Duration};

use crate::checksum::Checksum;

/// Longer than this, it is no message but a stream of rubbish.
pub const MAX_FRAME: usize = 4096;

/// How a device's messages are delimited.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Framing {
    /// Lines of text.
    Line {
        /// What ends a line.
        delimiter: Vec<u8>,
        /// What a message begins with; bytes of the line before it are rubbish.
        start: Vec<u8>,
    },
    /// Blocks of bytes.
    Frame(Block),
}

/// How blocks of bytes are delimited.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Block {
    /// The bytes that a block begins with.
    pub start: Vec<u8>,
    /// The bytes that it ends with.
    pub end: Vec<u8>,
    /// Where it says how long it is.
    pub length: Option<Length>,
    /// How long it always is.
    pub fixed: Option<usize>,
    /// The silence that ends it.
    pub idle: Option<Duration>,
}

/// A number inside a block that says how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Length {
    /// Its first byte.
    pub offset: usize,
    /// How many bytes it has: 1, 2 or 4.
    pub size: usize,
    /// Whether its lowest byte comes first.
    pub little: bool,
    /// What is to be added to it to get the length of the whole block.
    pub adds: i32,
}

/// What the first bytes of the input are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A message at `frame`; `consumed` bytes are dealt with.
    Frame {
        /// Where it stands.
        frame: Range<usize>,
        /// The bytes to take off the input.
        consumed: usize,
    },
    /// So many bytes belong to no message.
    Skip(usize),
    /// So many bytes may have been a message, but their checksum is wrong.
    Spoiled(usize),
    /// The rest of it has not come yet.
    More,
}

impl Framing {
    /// The silence that ends a message or gives up the beginning of one.
    pub fn idle(&self) -> Option<Duration> {
        match self {
            Self::Line { .. } => None,
            Self::Frame(block) => block.idle,
        }
    }

    /// How many bytes of a frame its end mark takes.
    fn end(&self) -> usize {
        match self {
            Self::Line { .. } => 0,
            Self::Frame(block) => block.end.len(),
        }
    }
}

/// Says what the first bytes of the input are. `silent`: nothing has come for
/// as long as [`Framing::idle`] says.
pub fn next(framing: &Framing, checksum: Option<&Checksum>, input: &[u8], silent: bool) -> Found {
    if input.is_empty() {
        return Found::More;
    }
    let found = match framing {
        Framing::Line { delimiter, start } => line(delimiter, start, input),
        Framing::Frame(block) => self::block(block, input, silent),
    };
    match (found, checksum) {
        (Found::Frame { frame, consumed }, Some(checksum))
            if !checksum.is_right(&input[frame.clone()], framing.end()) =>
        {
            // What looked like the start of a block may have been a byte of
            // another one; a line ends at its delimiter in any case.
            let is_line = matches!(framing, Framing::Line { .. });
            Found::Spoiled(if is_line { consumed } else { frame.start + 1 })
        }
        (found, _) => found,
    }
}

fn line(delimiter: &[u8], start: &[u8], input: &[u8]) -> Found {
    // Only so far, so that it does not matter how much has come at once.
    let Some(end) = find(&input[..input.len().min(MAX_FRAME)], delimiter) else {
        return if input.len() >= MAX_FRAME {
            // The last bytes may be the first of the delimiter.
            Found::Skip(MAX_FRAME - (delimiter.len() - 1))
        } else {
            Found::More
        };
    };
    let consumed = end + delimiter.len();
    let text = &input[..end];
    let text = match delimiter {
        b"\n" => text.strip_suffix(b"\r").unwrap_or(text),
        _ => text,
    };
    let from = if start.is_empty() {
        0
    } else {
        match rfind(text, start) {
            Some(from) => from,
            None => return Found::Skip(consumed),
        }
    };
    if from > 0 {
        return Found::Skip(from);
    }
    if text.is_empty() {
        return Found::Skip(consumed);
    }
    Found::Frame {
        frame: 0..text.len(),
        consumed,
    }
}

fn block(block: &Block, input: &[u8], silent: bool) -> Found {
    if !block.start.is_empty() {
        match find(input, &block.start) {
            Some(0) => {}
            Some(at) => return Found::Skip(at),
            None => {
                let kept = partial(input, &block.start);
                return match input.len() - kept {
                    0 if silent => Found::Skip(input.len()),
                    0 => Found::More,
                    rubbish => Found::Skip(rubbish),
                };
            }
        }
    }
    match total(block, input) {
        Total::Known(total) if total > input.len() => {}
        Total::Known(total) => {
            return if input[..total].ends_with(&block.end) {
                Found::Frame {
                    frame: 0..total,
                    consumed: total,
                }
            } else {
                Found::Skip(1)
            };
        }
        Total::Impossible => return Found::Skip(1),
        Total::Open => {}
        // Only silence ends it.
        Total::None if silent || input.len() >= MAX_FRAME => {
            let total = input.len().min(MAX_FRAME);
            return Found::Frame {
                frame: 0..total,
                consumed: total,
            };
        }
        Total::None => {}
    }
    if silent {
        Found::Skip(input.len())
    } else {
        Found::More
    }
}

enum Total {
    /// So many bytes.
    Known(usize),
    /// What tells it has not come yet.
    Open,
    /// No block is like this.
    Impossible,
    /// Nothing tells it.
    None,
}

fn total(block: &Block, input: &[u8]) -> Total {
    if let Some(length) = &block.length {
        let Some(bytes) = input.get(length.offset..length.offset + length.size) else {
            return Total::Open;
        };
        let add = |number: i64, byte: &u8| number << 8 | i64::from(*byte);
        let number = if length.little {
            bytes.iter().rev().fold(0, add)
        } else {
            bytes.iter().fold(0, add)
        };
        let least = (length.offset + length.size).max(block.start.len() + block.end.len());
        let total = usize::try_from(number + i64::from(length.adds)).unwrap_or(0);
        return if (least..=MAX_FRAME).contains(&total) {
            Total::Known(total)
        } else {
            Total::Impossible
        };
    }
    if let Some(fixed) = block.fixed {
        return Total::Known(fixed);
    }
    if block.end.is_empty() {
        return Total::None;
    }
    let bounded = &input[..input.len().min(MAX_FRAME)];
    match find(&bounded[block.start.len()..], &block.end) {
        Some(at) => Total::Known(block.start.len() + at + block.end.len()),
        None if input.len() >= MAX_FRAME => Total::Impossible,
        None => Total::Open,
    }
}

/// How many bytes at the end of the input may be the first of `mark`.
fn partial(input: &[u8], mark: &[u8]) -> usize {
    (1..mark.len())
        .rev()
        .find(|count| input.ends_with(&mark[..*count]))
        .unwrap_or(0)
}

fn find(input: &[u8], mark: &[u8]) -> Option<usize> {
    input.windows(mark.len()).position(|window| window == mark)
}

fn rfind(input: &[u8], mark: &[u8]) -> Option<usize> {
    input.windows(mark.len()).rposition(|window| window == mark)
}
