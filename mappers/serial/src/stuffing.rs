//! Byte stuffing: how a block's marks are kept out of what stands between them. Pure.
//!
//! Three ways are known. With the first the escaped byte is changed by
//! exclusive or (RFC 1662, section 4.2; Sensirion's SHDLC), with the second
//! another one stands for it (RFC 1055, SLIP), with the third the escape byte
//! itself is doubled, and the marks begin with it (DLE STX … DLE ETX, ANSI X3.28).

/// How bytes between the marks are escaped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stuffing {
    /// What goes before an escaped byte.
    pub escape: u8,
    /// What becomes of the byte behind it.
    pub way: Way,
    /// Bytes that are escaped when they are sent, beside the escape byte and the
    /// first bytes of the marks. Whatever is escaped is read.
    pub also: Vec<u8>,
}

/// What becomes of an escaped byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// It is changed by exclusive or with this.
    Xor(u8),
    /// Another byte stands for it: pairs of the byte and what is sent.
    Map(Vec<(u8, u8)>),
    /// Only the escape byte is escaped, by itself.
    Double,
}

impl Stuffing {
    /// The kinds that have a name.
    pub(crate) fn named(word: &str) -> Option<Self> {
        let of = |escape, way, also: &[u8]| Self {
            escape,
            way,
            also: also.to_vec(),
        };
        Some(match word.to_ascii_lowercase().as_str() {
            "hdlc" => of(0x7D, Way::Xor(0x20), &[]),
            // Sensirion: XON and XOFF too.
            "shdlc" => of(0x7D, Way::Xor(0x20), &[0x11, 0x13]),
            "slip" => of(0xDB, Way::Map(vec![(0xC0, 0xDC), (0xDB, 0xDD)]), &[]),
            "dle" => of(0x10, Way::Double, &[]),
            _ => return None,
        })
    }

    /// Where the end mark begins in what follows the start mark.
    pub(crate) fn find(&self, input: &[u8], end: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < input.len() {
            let is_pair = input[at] == self.escape
                && match (&self.way, input.get(at + 1)) {
                    (Way::Double, next) => next == Some(&self.escape),
                    // The end mark behind the escape byte gives the block up.
                    (_, next) => next.is_some() && next != end.first(),
                };
            if is_pair {
                at += 2;
            } else if input[at..].starts_with(end) {
                return Some(at);
            } else {
                at += 1;
            }
        }
        None
    }

    /// What an escaped text means; `None` if it means nothing.
    pub(crate) fn plain(&self, stuffed: &[u8]) -> Option<Vec<u8>> {
        let mut plain = Vec::with_capacity(stuffed.len());
        let mut bytes = stuffed.iter().copied();
        while let Some(byte) = bytes.next() {
            if byte != self.escape {
                plain.push(byte);
                continue;
            }
            let next = bytes.next()?;
            plain.push(match &self.way {
                Way::Xor(mask) => next ^ mask,
                Way::Double => (next == self.escape).then_some(next)?,
                Way::Map(pairs) => pairs.iter().find(|(_, sent)| *sent == next)?.0,
            });
        }
        Some(plain)
    }

    /// Appends bytes so that no mark is in them.
    pub(crate) fn stuff(&self, plain: &[u8], marks: [&[u8]; 2], into: &mut Vec<u8>) {
        for &byte in plain {
            let is_mark = marks.iter().any(|mark| mark.first() == Some(&byte));
            let must = byte == self.escape || is_mark || self.also.contains(&byte);
            match &self.way {
                Way::Xor(mask) if must => into.extend([self.escape, byte ^ mask]),
                Way::Map(pairs) => match pairs.iter().find(|(of, _)| *of == byte) {
                    Some((_, sent)) => into.extend([self.escape, *sent]),
                    None => into.push(byte),
                },
                Way::Double if byte == self.escape => into.extend([byte, byte]),
                _ => into.push(byte),
            }
        }
    }
}
