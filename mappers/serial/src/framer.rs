//! Where a message begins and ends in a stream of bytes. Pure.
//!
//! [`next`] looks at what has come so far and says what its first bytes are: a
//! frame, rubbish, or the start of something that is still to come. It decides
//! on the bytes alone, so however they were cut on their way, the same frames
//! come out. After rubbish it finds the next frame by itself.

use std::{borrow::Cow, ops::Range, time::Duration};

use crate::{
    checksum::{Checksum, Place},
    stuffing::Stuffing,
};

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
    /// How its marks are kept out of what stands between them.
    pub stuffing: Option<Stuffing>,
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

    /// A message as it is meant, without its stuffing; `None` if that means nothing.
    pub(crate) fn plain<'a>(
        &self,
        checksum: Option<&Checksum>,
        frame: &'a [u8],
    ) -> Option<Cow<'a, [u8]>> {
        let Self::Frame(block) = self else {
            return Some(Cow::Borrowed(frame));
        };
        let Some(stuffing) = &block.stuffing else {
            return Some(Cow::Borrowed(frame));
        };
        let tail = block.end.len() + block.behind(checksum);
        let inner = block.start.len()..frame.len().checked_sub(tail)?;
        let mut plain = block.start.clone();
        plain.extend(stuffing.plain(frame.get(inner.clone())?)?);
        plain.extend_from_slice(&frame[inner.end..]);
        Some(Cow::Owned(plain))
    }

    /// A request as it goes on the line. One without the marks goes as it is.
    pub(crate) fn sent(&self, checksum: Option<&Checksum>, request: Vec<u8>) -> Vec<u8> {
        let Self::Frame(block) = self else {
            return request;
        };
        let Some(stuffing) = &block.stuffing else {
            return request;
        };
        let (start, behind) = (block.start.len(), block.behind(checksum));
        let Some(end) = request.len().checked_sub(block.end.len() + behind) else {
            return request;
        };
        let marked = end >= start
            && request.starts_with(&block.start)
            && request[end..].starts_with(&block.end);
        if !marked {
            return request;
        }
        let mut sent = block.start.clone();
        let marks = [&block.start[..], &block.end[..]];
        stuffing.stuff(&request[start..end], marks, &mut sent);
        sent.extend_from_slice(&request[end..]);
        sent
    }
}

impl Block {
    /// How many bytes of the checksum stand behind the end mark.
    fn behind(&self, checksum: Option<&Checksum>) -> usize {
        match checksum {
            Some(checksum) if checksum.place == Place::End && !self.end.is_empty() => {
                checksum.size()
            }
            _ => 0,
        }
    }

    /// It says itself how long it is.
    fn is_sized(&self) -> bool {
        self.length.is_some() || self.fixed.is_some()
    }

    /// The mark that ends a block begins the next one too, so that it alone is nothing.
    fn shares_its_mark(&self) -> bool {
        !self.start.is_empty() && self.start == self.end
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
        Framing::Frame(block) => self::block(block, checksum, input, silent),
    };
    let Found::Frame { frame, consumed } = found else {
        return found;
    };
    let is_right = framing
        .plain(checksum, &input[frame.clone()])
        .is_some_and(|plain| checksum.is_none_or(|sum| sum.is_right(&plain, framing.end())));
    if is_right {
        return Found::Frame { frame, consumed };
    }
    // What looked like the start of a block may have been a byte of
    // another one; a line ends at its delimiter in any case.
    let is_line = matches!(framing, Framing::Line { .. });
    Found::Spoiled(if is_line { consumed } else { frame.start + 1 })
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

fn block(block: &Block, checksum: Option<&Checksum>, input: &[u8], silent: bool) -> Found {
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
    let behind = block.behind(checksum);
    match total(block, behind, input) {
        Total::Known(total) if total > input.len() => {}
        Total::Known(total) => {
            let marked = total - behind;
            return if block.shares_its_mark() && marked == block.start.len() + block.end.len() {
                Found::Skip(block.start.len())
            } else if input[..marked].ends_with(&block.end) {
                // A mark between two blocks may be there once for both.
                let shared = block.shares_its_mark() && behind == 0 && !block.is_sized();
                let kept = if shared { block.end.len() } else { 0 };
                Found::Frame {
                    frame: 0..total,
                    consumed: total - kept,
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

/// `behind` bytes stand behind the end mark.
fn total(block: &Block, behind: usize, input: &[u8]) -> Total {
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
        let marks = block.start.len() + block.end.len() + behind;
        let least = (length.offset + length.size).max(marks);
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
    let inner = &bounded[block.start.len()..];
    let end = match &block.stuffing {
        Some(stuffing) => stuffing.find(inner, &block.end),
        None => find(inner, &block.end),
    };
    match end {
        Some(at) => Total::Known(block.start.len() + at + block.end.len() + behind),
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
