//! Text to tokens.

use super::{ExpressionError, MAX_LENGTH};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Int(i64),
    Double(f64),
    Text(Box<str>),
    Name(Box<str>),
    /// An operator or a parenthesis.
    Mark(&'static str),
    End,
}

/// Longer ones first: `<=` is not `<` and `=`.
const MARKS: [&str; 23] = [
    "&&", "||", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "<", ">", "!", "?", ":", "(", ")",
    "[", "]", ",", ".", "=",
];

struct Lexer<'a> {
    chars: Vec<char>,
    at: usize,
    source: &'a str,
}

/// All tokens with their columns, ending with [`Token::End`].
pub(super) fn tokens(source: &str) -> Result<Vec<(Token, usize)>, ExpressionError> {
    let mut lexer = Lexer {
        chars: source.chars().collect(),
        at: 0,
        source,
    };
    if lexer.chars.len() > MAX_LENGTH {
        return Err(error(
            MAX_LENGTH + 1,
            format!("an expression has at most {MAX_LENGTH} characters"),
        ));
    }
    let mut tokens = Vec::new();
    loop {
        while lexer.peek().is_some_and(char::is_whitespace) {
            lexer.at += 1;
        }
        let column = lexer.at + 1;
        let token = lexer.token()?;
        let end = token == Token::End;
        tokens.push((token, column));
        if end {
            return Ok(tokens);
        }
    }
}

pub(super) fn error(column: usize, message: impl Into<String>) -> ExpressionError {
    ExpressionError {
        column,
        message: message.into(),
    }
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn token(&mut self) -> Result<Token, ExpressionError> {
        let Some(first) = self.peek() else {
            return Ok(Token::End);
        };
        let digit_follows = self
            .chars
            .get(self.at + 1)
            .is_some_and(char::is_ascii_digit);
        if first.is_ascii_digit() || (first == '.' && digit_follows) {
            return self.number();
        }
        if first == '\'' || first == '"' {
            return self.text(first);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            return Ok(Token::Name(self.take_while(is_name).into()));
        }
        let mark = MARKS.into_iter().find(|mark| {
            mark.chars()
                .enumerate()
                .all(|(i, c)| self.chars.get(self.at + i) == Some(&c))
        });
        let column = self.at + 1;
        match mark {
            Some("=") => Err(error(
                column,
                "`=` stands for nothing here, equal is written `==`",
            )),
            Some(mark) => {
                self.at += mark.len();
                Ok(Token::Mark(mark))
            }
            None => Err(error(
                column,
                format!("`{first}` has no meaning in `{}`", self.source),
            )),
        }
    }

    fn take_while(&mut self, wanted: fn(char) -> bool) -> String {
        let from = self.at;
        while self.peek().is_some_and(wanted) {
            self.at += 1;
        }
        self.chars[from..self.at].iter().collect()
    }

    fn number(&mut self) -> Result<Token, ExpressionError> {
        let column = self.at + 1;
        let hex = self.peek() == Some('0')
            && matches!(self.chars.get(self.at + 1), Some('x' | 'X'))
            && self
                .chars
                .get(self.at + 2)
                .is_some_and(char::is_ascii_hexdigit);
        let (text, whole) = if hex {
            self.at += 2;
            (self.take_while(|c| c.is_ascii_hexdigit()), true)
        } else {
            self.decimal()
        };
        if whole && matches!(self.peek(), Some('u' | 'U')) {
            self.at += 1;
        }
        if let Some(next) = self.peek().filter(|c| is_name(*c)) {
            return Err(error(
                column,
                format!("`{text}{next}` is not a number; write `*` between a number and a name"),
            ));
        }
        let too_large = || error(column, format!("`{text}` is out of 64 bits"));
        if whole {
            // Above 2⁶³ it is a double, as a reading is.
            let number = u64::from_str_radix(&text, if hex { 16 } else { 10 });
            let number = number.map_err(|_| too_large())?;
            Ok(i64::try_from(number).map_or(Token::Double(number as f64), Token::Int))
        } else {
            match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Token::Double(number)),
                _ => Err(too_large()),
            }
        }
    }

    /// The digits, and whether they are a whole number.
    fn decimal(&mut self) -> (String, bool) {
        let mut text = self.take_while(|c| c.is_ascii_digit());
        let mut whole = true;
        if self.peek() == Some('.')
            && self
                .chars
                .get(self.at + 1)
                .is_some_and(char::is_ascii_digit)
        {
            whole = false;
            self.at += 1;
            text.push('.');
            text.push_str(&self.take_while(|c| c.is_ascii_digit()));
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            let sign = matches!(self.chars.get(self.at + 1), Some('+' | '-'));
            let digits = self.at + 1 + usize::from(sign);
            if self.chars.get(digits).is_some_and(char::is_ascii_digit) {
                whole = false;
                text.extend(&self.chars[self.at..digits]);
                self.at = digits;
                text.push_str(&self.take_while(|c| c.is_ascii_digit()));
            }
        }
        (text, whole)
    }

    fn text(&mut self, quote: char) -> Result<Token, ExpressionError> {
        let column = self.at + 1;
        self.at += 1;
        let mut text = String::new();
        loop {
            let next = self.peek();
            self.at += 1;
            match next {
                None | Some('\n') => {
                    return Err(error(column, format!("the text has no closing {quote}")));
                }
                Some(c) if c == quote => return Ok(Token::Text(text.into())),
                Some('\\') => {
                    let escaped = self.peek();
                    self.at += 1;
                    text.push(match escaped {
                        Some('n') => '\n',
                        Some('r') => '\r',
                        Some('t') => '\t',
                        Some(c @ ('\\' | '\'' | '"' | '`' | '?')) => c,
                        _ => {
                            return Err(error(
                                self.at - 1,
                                "unknown escape, expected \\n, \\r, \\t, \\\\, \\' or \\\"",
                            ));
                        }
                    });
                }
                Some(c) => text.push(c),
            }
        }
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
