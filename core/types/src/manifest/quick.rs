//! The YAML that manifests are mostly written in, read in one pass over its bytes.
//!
//! [`read`] knows collections in block and in flow style (so JSON, too) and scalars
//! that end on their line. To all else (anchors, tags, texts over several lines,
//! tabs) and to everything that may be wrong it says `None`: the parser of the whole
//! language then reads the document, and says what is wrong with it. What it does
//! take, it must take for the same as that parser does: the tests below hold the two
//! against each other.
//!
//! It is there for the start of a node with many points, most of which went into
//! reading them: the general parser costs thirty times as much for a byte.

use serde_json::Number;

#[cfg(test)]
mod tests;

use super::tree::{Key, Node, Tree, scalar};

/// Deeper ones are left to the other parser, which has a bound of its own.
const DEPTH: usize = 32;
/// As many nodes as the other parser takes.
const NODES: usize = 250_000;
/// A key that is longer need not be one.
const KEY: usize = 1_000;
/// Plain words that are not, or may not be, a text.
const WORDS: [&str; 15] = [
    "true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity", "none",
    "nil", "void",
];

/// The tree of one document whose first line has this number in its file.
pub(super) fn read(text: &str, first_line: usize) -> Option<Tree> {
    if !text.is_ascii() && text.chars().any(is_odd)
        || text
            .bytes()
            .any(|byte| byte < b' ' && byte != b'\n' || byte == 0x7F)
    {
        return None;
    }
    let mut reader = Reader {
        text,
        bytes: text.as_bytes(),
        at: 0,
        line: first_line,
        line_start: 0,
        nodes: 0,
        depth: 0,
    };
    let column = reader.content()?;
    let tree = if matches!(reader.peek(), Some(b'{')) {
        let tree = reader.flow(true)?;
        reader.end_of_line()?;
        tree
    } else {
        reader.block(column)?
    };
    reader.content().is_none().then_some(tree)
}

/// Line ends that only Unicode knows, controls and marks of the byte order.
fn is_odd(char: char) -> bool {
    matches!(
        char,
        '\u{80}'..='\u{A0}' | '\u{2028}' | '\u{2029}' | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}'
    )
}

struct Reader<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    /// Number of the line in its file.
    line: usize,
    line_start: usize,
    nodes: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn after(&self) -> Option<u8> {
        self.bytes.get(self.at + 1).copied()
    }

    /// Passes over spaces and says whether there were any.
    fn spaces(&mut self) -> bool {
        let from = self.at;
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
        self.at > from
    }

    fn new_line(&mut self) {
        self.at += 1;
        self.line += 1;
        self.line_start = self.at;
    }

    /// To the end of the line, where nothing more than a comment stands.
    fn end_of_line(&mut self) -> Option<()> {
        let spaced = self.spaces();
        match self.peek() {
            None | Some(b'\n') => Some(()),
            Some(b'#') if spaced => {
                self.comment();
                Some(())
            }
            Some(_) => None,
        }
    }

    fn comment(&mut self) {
        while self.peek().is_some_and(|byte| byte != b'\n') {
            self.at += 1;
        }
    }

    /// To the next thing that counts, from the end of a line or from there; its column.
    fn content(&mut self) -> Option<usize> {
        loop {
            self.spaces();
            match self.peek()? {
                b'\n' => self.new_line(),
                b'#' => self.comment(),
                _ => return Some(self.at - self.line_start),
            }
        }
    }

    /// Whether an item of a sequence begins here.
    fn is_dash(&self) -> bool {
        self.peek() == Some(b'-') && matches!(self.after(), None | Some(b' ' | b'\n'))
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth == DEPTH {
            return None;
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn tree(&mut self, line: usize, value: Node) -> Option<Tree> {
        self.nodes += 1;
        (self.nodes <= NODES).then_some(Tree { line, value })
    }

    /// A mapping or sequence whose first line begins here, in this column.
    fn block(&mut self, column: usize) -> Option<Tree> {
        self.deeper(|reader| {
            if reader.is_dash() {
                reader.sequence(column)
            } else {
                reader.mapping(column)
            }
        })
    }

    fn mapping(&mut self, column: usize) -> Option<Tree> {
        let line = self.line;
        let mut fields = Vec::new();
        loop {
            let key = self.key(false)?;
            if !matches!(self.peek(), None | Some(b' ' | b'\n')) {
                return None;
            }
            fields.push((key, self.field(column)?));
            match self.content() {
                Some(next) if next == column && !self.is_dash() => {}
                Some(next) if next >= column => return None,
                _ => break,
            }
        }
        self.tree(line, Node::Object(fields))
    }

    /// What stands behind a key of a mapping in this column.
    fn field(&mut self, column: usize) -> Option<Tree> {
        self.spaces();
        if !matches!(self.peek(), None | Some(b'\n' | b'#')) {
            return self.inline(column);
        }
        let line = self.line;
        match self.content() {
            Some(next) if next > column => self.block(next),
            Some(next) if next == column && self.is_dash() => {
                self.deeper(|reader| reader.sequence(column))
            }
            _ => self.tree(line, Node::Null),
        }
    }

    fn sequence(&mut self, column: usize) -> Option<Tree> {
        let line = self.line;
        let mut items = Vec::new();
        loop {
            self.at += 1;
            self.spaces();
            // An item that begins on a line of its own is rare, and may be none.
            if matches!(self.peek(), None | Some(b'\n' | b'#')) {
                return None;
            }
            let item = if self.is_dash() || self.is_key() {
                let column = self.at - self.line_start;
                self.block(column)?
            } else {
                self.inline(column)?
            };
            items.push(item);
            match self.content() {
                Some(next) if next == column && self.is_dash() => {}
                Some(next) if next > column => return None,
                _ => break,
            }
        }
        self.tree(line, Node::List(items))
    }

    /// Whether a key stands here and not a value.
    fn is_key(&mut self) -> bool {
        let (at, nodes) = (self.at, self.nodes);
        let is_key = !matches!(self.peek(), Some(b'{' | b'[')) && self.key(false).is_some();
        (self.at, self.nodes) = (at, nodes);
        is_key
    }

    /// A value that ends on its line, inside of a collection in this column.
    fn inline(&mut self, column: usize) -> Option<Tree> {
        if self.is_dash() {
            return None;
        }
        let tree = self.value(false, false)?;
        self.end_of_line()?;
        // What is deeper would go on with it.
        match self.content() {
            Some(next) if next > column => None,
            _ => Some(tree),
        }
    }

    fn value(&mut self, in_flow: bool, lines: bool) -> Option<Tree> {
        let line = self.line;
        let node = match self.peek()? {
            b'{' | b'[' => return self.flow(lines),
            b'"' | b'\'' => Node::Text(self.quoted()?),
            _ => plain_node(self.plain(in_flow)?)?,
        };
        self.tree(line, node)
    }

    /// A key and its colon.
    fn key(&mut self, in_flow: bool) -> Option<Key> {
        let (line, from) = (self.line, self.at);
        let name = match self.peek()? {
            b'"' | b'\'' => self.quoted()?,
            _ => match plain_node(self.plain(in_flow)?)? {
                Node::Text(text) => text,
                Node::Number(number) if number.is_i64() => number.to_string(),
                Node::Bool(value) => value.to_string(),
                _ => return None,
            },
        };
        self.spaces();
        if self.peek() != Some(b':') || self.at - from > KEY {
            return None;
        }
        self.at += 1;
        self.nodes += 1;
        Some(Key { line, name })
    }

    /// A collection in flow style, over several lines if `lines` says so.
    fn flow(&mut self, lines: bool) -> Option<Tree> {
        let line = self.line;
        let is_object = self.peek() == Some(b'{');
        let close = if is_object { b'}' } else { b']' };
        let (mut fields, mut items) = (Vec::new(), Vec::new());
        self.at += 1;
        self.blank(lines)?;
        if self.peek() == Some(close) {
            self.at += 1;
        } else {
            self.deeper(|reader| {
                loop {
                    if is_object {
                        let quoted = matches!(reader.peek(), Some(b'"' | b'\''));
                        let key = reader.key(true)?;
                        if !quoted && reader.peek() != Some(b' ') {
                            return None;
                        }
                        reader.blank(lines)?;
                        fields.push((key, reader.value(true, lines)?));
                    } else {
                        items.push(reader.value(true, lines)?);
                    }
                    reader.blank(lines)?;
                    let found = reader.peek()?;
                    reader.at += 1;
                    match found {
                        b',' => reader.blank(lines)?,
                        found if found == close => return Some(()),
                        _ => return None,
                    }
                }
            })?;
        }
        let node = if is_object {
            Node::Object(fields)
        } else {
            Node::List(items)
        };
        self.tree(line, node)
    }

    /// Blanks inside of a collection in flow style.
    fn blank(&mut self, lines: bool) -> Option<()> {
        loop {
            self.spaces();
            if self.peek() != Some(b'\n') {
                return Some(());
            }
            if !lines {
                return None;
            }
            self.new_line();
        }
    }

    /// A text in quotes, of one line.
    fn quoted(&mut self) -> Option<String> {
        let from = self.at;
        let quote = self.peek()?;
        let mut escaped = false;
        self.at += 1;
        loop {
            match self.peek()? {
                b'\n' => return None,
                b'\\' if quote == b'"' => {
                    if self.after() == Some(b'\n') {
                        return None;
                    }
                    escaped = true;
                    self.at += 2;
                }
                byte if byte == quote => {
                    self.at += 1;
                    if quote == b'"' || self.peek() != Some(quote) {
                        break;
                    }
                    escaped = true;
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
        if !escaped {
            return Some(self.text.get(from + 1..self.at - 1)?.to_owned());
        }
        match scalar(self.text.get(from..self.at)?)? {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A scalar without quotes, without the blanks behind it.
    fn plain(&mut self, in_flow: bool) -> Option<&'t str> {
        let from = self.at;
        let may_begin = match self.peek()? {
            b'-' => self
                .after()
                .is_some_and(|next| next.is_ascii_alphanumeric() || next == b'.'),
            b'_' | b'/' | b'.' | b'+' | b'(' | b'$' | b'~' | b'^' | b';' | b'\\' => true,
            first => first.is_ascii_alphanumeric() || first >= 0x80,
        };
        if !may_begin {
            return None;
        }
        let mut end = from;
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' => break,
                b'#' if self.at > end => break,
                b':' => match self.after() {
                    None | Some(b' ' | b'\n') => break,
                    Some(b',' | b'[' | b']' | b'{' | b'}') if in_flow => return None,
                    Some(_) => {}
                },
                b',' | b'[' | b']' | b'{' | b'}' if in_flow => break,
                _ => {}
            }
            self.at += 1;
            if byte != b' ' {
                end = self.at;
            }
        }
        self.at = end;
        self.text.get(from..end)
    }
}

/// What a scalar without quotes is.
fn plain_node(text: &str) -> Option<Node> {
    let first = *text.as_bytes().first()?;
    if first.is_ascii_alphabetic() || matches!(first, b'_' | b'/' | b'(' | b'$') || first >= 0x80 {
        return match text {
            "true" => Some(Node::Bool(true)),
            "false" => Some(Node::Bool(false)),
            "null" => Some(Node::Null),
            word if WORDS.iter().any(|known| known.eq_ignore_ascii_case(word)) => scalar(word),
            text => Some(Node::Text(text.to_owned())),
        };
    }
    if let Some(number) = whole(text) {
        return Some(Node::Number(number.into()));
    }
    if let Some(number) = fraction(text) {
        return Number::from_f64(number).map(Node::Number);
    }
    // As a document these are marks.
    if text.starts_with("---") || text.starts_with("...") {
        return None;
    }
    scalar(text)
}

/// A decimal number as everybody writes it.
fn whole(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let usual = match digits.as_bytes() {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.len() < 18 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if usual { text.parse().ok() } else { None }
}

/// A decimal fraction as everybody writes it.
fn fraction(text: &str) -> Option<f64> {
    let (before, behind) = text.split_once('.')?;
    let digits = before.strip_prefix('-').unwrap_or(before);
    let usual = |part: &str| {
        (1..16).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let leading = digits.len() > 1 && digits.starts_with('0');
    if usual(digits) && usual(behind) && !leading {
        text.parse().ok()
    } else {
        None
    }
}
