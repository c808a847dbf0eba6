//! Tokens to a tree: recursive descent with a bounded depth, the precedence
//! of cel-spec, `langdef.md`, "Syntax".

use super::{
    ExpressionError, MAX_DEPTH, Term,
    functions::{self, Function},
    lexer::{self, Token, error},
};

/// A part of an expression and its column.
pub(super) struct Node {
    pub(super) column: u32,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    Literal(Term),
    /// An index into the variables.
    Variable(u32),
    List(Vec<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Binary(Operator, Box<[Node; 2]>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    /// Condition, then, else.
    Choose(Box<[Node; 3]>),
    Call(Function, Vec<Node>),
}

impl Node {
    /// Whether one of these functions is called anywhere in it.
    pub(super) fn calls(&self, functions: &[Function]) -> bool {
        let any = |nodes: &[Self]| nodes.iter().any(|node| node.calls(functions));
        match &self.kind {
            Kind::Literal(_) | Kind::Variable(_) => false,
            Kind::List(nodes) => any(nodes),
            Kind::Not(node) | Kind::Negate(node) => node.calls(functions),
            Kind::Binary(_, sides) | Kind::And(sides) | Kind::Or(sides) => any(&sides[..]),
            Kind::Choose(parts) => any(&parts[..]),
            Kind::Call(function, arguments) => functions.contains(function) || any(arguments),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

impl Operator {
    /// As it is written.
    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
        }
    }
}

/// Words that CEL keeps for itself (`langdef.md`, "Syntax").
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

struct Parser<'a> {
    tokens: Vec<(Token, usize)>,
    at: usize,
    depth: usize,
    allowed: &'a [&'a str],
    variables: Vec<Box<str>>,
}

type Parsed = Result<Node, ExpressionError>;
/// The names of the variables, by their indexes.
pub(super) type Variables = Box<[Box<str>]>;

pub(super) fn parse(source: &str, allowed: &[&str]) -> Result<(Node, Variables), ExpressionError> {
    let mut parser = Parser {
        tokens: lexer::tokens(source)?,
        at: 0,
        depth: 0,
        allowed,
        variables: Vec::new(),
    };
    if parser.peek() == &Token::End {
        return Err(error(1, "the expression is empty"));
    }
    let root = parser.expression()?;
    if parser.peek() != &Token::End {
        return Err(parser.unexpected("an operator"));
    }
    Ok((root, parser.variables.into()))
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        // The last token is the end and is never passed.
        self.tokens
            .get(self.at)
            .map_or(&Token::End, |(token, _)| token)
    }

    fn column(&self) -> usize {
        self.tokens.get(self.at).map_or(1, |(_, column)| *column)
    }

    fn take(&mut self, mark: &'static str) -> bool {
        let found = self.peek() == &Token::Mark(mark);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, mark: &'static str) -> Result<(), ExpressionError> {
        if self.take(mark) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{mark}`")))
        }
    }

    fn unexpected(&self, wanted: &str) -> ExpressionError {
        let found = match self.peek() {
            Token::Int(v) => format!("`{v}`"),
            Token::Double(v) => format!("`{v}`"),
            Token::Text(v) => format!("the text `{v}`"),
            Token::Name(v) => format!("`{v}`"),
            Token::Mark(v) => format!("`{v}`"),
            Token::End => "the end".to_owned(),
        };
        error(self.column(), format!("expected {wanted}, got {found}"))
    }

    fn deeper(&mut self, parse: fn(&mut Self) -> Parsed) -> Parsed {
        if self.depth >= MAX_DEPTH {
            return Err(error(
                self.column(),
                format!("nested deeper than {MAX_DEPTH} levels"),
            ));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// `or ? or : expression`
    fn expression(&mut self) -> Parsed {
        self.deeper(|parser| {
            let condition = parser.or()?;
            let column = parser.column();
            if !parser.take("?") {
                return Ok(condition);
            }
            let then = parser.or()?;
            parser.expect(":")?;
            let otherwise = parser.expression()?;
            Ok(node(
                column,
                Kind::Choose(Box::new([condition, then, otherwise])),
            ))
        })
    }

    fn or(&mut self) -> Parsed {
        self.chain(Self::and, "||", Kind::Or)
    }

    fn and(&mut self) -> Parsed {
        self.chain(Self::relation, "&&", Kind::And)
    }

    /// `next (mark next)*`, from the left. A long chain is a deep tree.
    fn chain(
        &mut self,
        next: fn(&mut Self) -> Parsed,
        mark: &'static str,
        make: fn(Box<[Node; 2]>) -> Kind,
    ) -> Parsed {
        let mut left = next(self)?;
        let mut links = 0;
        loop {
            let column = self.column();
            if !self.take(mark) {
                return Ok(left);
            }
            links += 1;
            self.check_chain(links, column)?;
            left = node(column, make(Box::new([left, next(self)?])));
        }
    }

    fn check_chain(&self, links: usize, column: usize) -> Result<(), ExpressionError> {
        const MAX_LINKS: usize = 200;
        if links > MAX_LINKS {
            return Err(error(column, "too many operators in a row"));
        }
        Ok(())
    }

    fn relation(&mut self) -> Parsed {
        self.binary(Self::sum, |token| {
            Some(match token {
                Token::Mark("==") => Operator::Equal,
                Token::Mark("!=") => Operator::NotEqual,
                Token::Mark("<") => Operator::Less,
                Token::Mark("<=") => Operator::LessOrEqual,
                Token::Mark(">") => Operator::Greater,
                Token::Mark(">=") => Operator::GreaterOrEqual,
                Token::Name(name) if &**name == "in" => Operator::In,
                _ => return None,
            })
        })
    }

    fn sum(&mut self) -> Parsed {
        self.binary(Self::product, |token| match token {
            Token::Mark("+") => Some(Operator::Add),
            Token::Mark("-") => Some(Operator::Subtract),
            _ => None,
        })
    }

    fn product(&mut self) -> Parsed {
        self.binary(Self::unary, |token| match token {
            Token::Mark("*") => Some(Operator::Multiply),
            Token::Mark("/") => Some(Operator::Divide),
            Token::Mark("%") => Some(Operator::Remainder),
            _ => None,
        })
    }

    fn binary(
        &mut self,
        next: fn(&mut Self) -> Parsed,
        operator: fn(&Token) -> Option<Operator>,
    ) -> Parsed {
        let mut left = next(self)?;
        let mut links = 0;
        while let Some(operator) = operator(self.peek()) {
            let column = self.column();
            self.at += 1;
            links += 1;
            self.check_chain(links, column)?;
            let right = next(self)?;
            left = node(column, Kind::Binary(operator, Box::new([left, right])));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed {
        let column = self.column();
        if self.take("!") {
            let inner = self.deeper(Self::unary)?;
            return Ok(node(column, Kind::Not(Box::new(inner))));
        }
        if self.take("-") {
            let inner = self.deeper(Self::unary)?;
            return Ok(node(column, Kind::Negate(Box::new(inner))));
        }
        self.member()
    }

    /// `primary (. name ( … ))*`
    fn member(&mut self) -> Parsed {
        let mut receiver = self.primary()?;
        let mut links = 0;
        while self.peek() == &Token::Mark(".") {
            self.at += 1;
            let column = self.column();
            links += 1;
            self.check_chain(links, column)?;
            let Token::Name(name) = self.peek().clone() else {
                return Err(self.unexpected("the name of a function"));
            };
            self.at += 1;
            self.expect("(")?;
            let mut arguments = vec![receiver];
            arguments.extend(self.list(")")?);
            receiver = call(&name, true, arguments, column)?;
        }
        Ok(receiver)
    }

    fn list(&mut self, end: &'static str) -> Result<Vec<Node>, ExpressionError> {
        let mut items = Vec::new();
        while !self.take(end) {
            if !items.is_empty() {
                self.expect(",")?;
                // CEL allows a comma after the last item.
                if self.take(end) {
                    break;
                }
            }
            items.push(self.expression()?);
        }
        Ok(items)
    }

    fn primary(&mut self) -> Parsed {
        let column = self.column();
        let token = self.peek().clone();
        if token == Token::End {
            return Err(self.unexpected("a value"));
        }
        self.at += 1;
        let literal = |term| Ok(node(column, Kind::Literal(term)));
        match token {
            Token::Int(v) => literal(Term::Int(v)),
            Token::Double(v) => literal(Term::Double(v)),
            Token::Text(v) => literal(Term::Text(v)),
            Token::Name(name) => self.name(&name, column),
            Token::Mark("(") => {
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Mark("[") => {
                let items = self.list("]")?;
                Ok(node(column, Kind::List(items)))
            }
            _ => {
                self.at -= 1;
                Err(self.unexpected("a value"))
            }
        }
    }

    fn name(&mut self, name: &str, column: usize) -> Parsed {
        let literal = |term| Ok(node(column, Kind::Literal(term)));
        match name {
            "true" => return literal(Term::Bool(true)),
            "false" => return literal(Term::Bool(false)),
            "null" => return literal(Term::Null),
            "in" => {
                self.at -= 1;
                return Err(self.unexpected("a value"));
            }
            _ => {}
        }
        if name == "math" && !self.allowed.contains(&name) && self.take(".") {
            let Token::Name(function) = self.peek().clone() else {
                return Err(self.unexpected("the name of a function"));
            };
            self.at += 1;
            self.expect("(")?;
            let arguments = self.list(")")?;
            return call(&format!("math.{function}"), false, arguments, column);
        }
        if self.take("(") {
            let arguments = self.list(")")?;
            return call(name, false, arguments, column);
        }
        if !self.allowed.contains(&name) {
            return Err(self.unknown(name, column));
        }
        let index = self.variables.iter().position(|known| &**known == name);
        let index = index.unwrap_or_else(|| {
            self.variables.push(name.into());
            self.variables.len() - 1
        });
        Ok(node(
            column,
            Kind::Variable(u32::try_from(index).unwrap_or(u32::MAX)),
        ))
    }

    fn unknown(&self, name: &str, column: usize) -> ExpressionError {
        if RESERVED.contains(&name) {
            return error(
                column,
                format!("`{name}` is a word that CEL keeps for itself"),
            );
        }
        let mut known: Vec<_> = self.allowed.to_vec();
        known.truncate(8);
        let known = match known.as_slice() {
            [] => "there are no names here".to_owned(),
            names if self.allowed.len() > names.len() => {
                format!("expected one of {}, …", names.join(", "))
            }
            [one] => format!("expected `{one}`"),
            names => format!("expected one of {}", names.join(", ")),
        };
        error(
            column,
            format!("unknown name `{name}`, {known}; a text stands in quotes"),
        )
    }
}

fn call(
    name: &str,
    member: bool,
    arguments: Vec<Node>,
    column: usize,
) -> Result<Node, ExpressionError> {
    let function =
        functions::find(name, member, arguments.len()).map_err(|message| error(column, message))?;
    Ok(node(column, Kind::Call(function, arguments)))
}

fn node(column: usize, kind: Kind) -> Node {
    Node {
        column: u32::try_from(column).unwrap_or(u32::MAX),
        kind,
    }
}
