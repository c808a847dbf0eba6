//! Foreign text on a terminal or in a log: what is not to be seen is spelt out.
//!
//! A device's name, an answer of a mapper or a client's id may hold escape
//! sequences that move a terminal's cursor, line breaks that look like lines of
//! ours, or marks that turn the order of letters. Here they become the text
//! that Rust has for them (`\n`, `\u{1b}`), which does nothing.

use std::fmt::{self, Write};

/// Whether a character does something else than to be seen: control characters,
/// both kinds of line separators, and what changes the direction of writing.
pub fn acts(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Writes text with everything that [`acts`] spelt out.
///
/// ```
/// use std::fmt::Write;
/// use longshore_process::printable::Printable;
///
/// let mut out = String::new();
/// write!(Printable(&mut out), "{}", "boiler\u{1b}[2J\nok").unwrap();
/// assert_eq!(out, "boiler\\u{1b}[2J\\nok");
/// ```
#[derive(Debug)]
pub struct Printable<'a, W>(pub &'a mut W);

impl<W: Write> Write for Printable<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        spell(
            self.0,
            text,
            |_| false,
            |out, character| write!(out, "{}", character.escape_default()),
        )
    }
}

/// The text with everything that [`acts`] spelt out.
pub fn line(text: &str) -> String {
    printed(text, |_| false)
}

/// The same for what has lines: these stay.
pub fn lines(text: &str) -> String {
    printed(text, |character| character == '\n')
}

fn printed(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    // A string takes all that is written to it.
    let _ = spell(&mut out, text, stays, |out, character| {
        write!(out, "{}", character.escape_default())
    });
    out
}

/// Copies `text` in pieces, and what acts through `spelt`, unless it `stays`.
pub(crate) fn spell<W: Write>(
    out: &mut W,
    text: &str,
    stays: impl Fn(char) -> bool,
    spelt: impl Fn(&mut W, char) -> fmt::Result,
) -> fmt::Result {
    let mut rest = text;
    while let Some((at, character)) = rest
        .char_indices()
        .find(|(_, character)| acts(*character) && !stays(*character))
    {
        out.write_str(&rest[..at])?;
        spelt(out, character)?;
        rest = &rest[at + character.len_utf8()..];
    }
    out.write_str(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_spelt_out_and_the_rest_stays() {
        assert_eq!(line("21.5 °C, größer 東京"), "21.5 °C, größer 東京");
        assert_eq!(line("a\u{1b}]0;title\u{7}b"), "a\\u{1b}]0;title\\u{7}b");
        // The second kind of control characters, which xterm obeys as well.
        assert_eq!(line("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(line("abc\u{202e}fed"), "abc\\u{202e}fed");
        assert_eq!(
            line("one\r\ntwo\tthree\u{7f}"),
            "one\\r\\ntwo\\tthree\\u{7f}"
        );
        assert_eq!(lines("one\ntwo\r\n"), "one\ntwo\\r\n");
    }
}
