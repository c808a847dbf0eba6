//! Expressions over values, in the Common Expression Language (CEL).
//!
//! A profile calculates (`x * 1.8 + 32`), recognises fault codes
//! (`x == 0x8000`) and says when an event holds (`temperature > 90 &&
//! heating`). This is the part of CEL that such texts need, read once and
//! evaluated often, in some 700 lines: the crates for all of CEL bring a parser
//! generator of 1.2 MB, an eighth of `edgecore`.
//!
//! # What it is
//!
//! Literals (`1`, `0x1F`, `1.5e3`, `true`, `'text'`, `"text"`, `null`,
//! `[1, 2]`), `+ - * / %`, comparisons, `in`, `&& || !`, `? :`, parentheses,
//! and the functions of [`FUNCTIONS`]. `a.f(b)` is `f(a, b)` for the functions
//! of texts.
//!
//! # What differs from CEL
//!
//! - An int and a double may be mixed: the int becomes a double. CEL refuses
//!   `x * 2` for a double `x`.
//! - There are no unsigned ints: `5u` is `5`, and a reading above 2⁶³ is a double.
//! - `%` is defined for doubles too (the remainder has the dividend's sign).
//! - `abs`, `ceil`, `floor`, `round`, `trunc`, `sqrt`, `min` and `max` need no
//!   `math.` before them, and `pow`, `exp`, `ln`, `log10` are ours.
//!
//! # Guarantees
//!
//! - Reading and evaluating end in bounded time and depth, and never panic.
//! - What is not an error in CEL's specification (cel-spec, `langdef.md`) has
//!   the value that it has there; tests compare with another implementation.
//!
//! ```
//! use longshore_types::expression::{Expression, Term};
//!
//! let fahrenheit = Expression::parse("x * 1.8 + 32", &["x"])?;
//! let value = fahrenheit.evaluate(&|_| Some(Term::Int(100)));
//! assert_eq!(value, Ok(Term::Double(212.0)));
//! # Ok::<(), longshore_types::expression::ExpressionError>(())
//! ```

mod evaluate;
mod fit;
mod functions;
mod lexer;
mod parser;
mod types;

use std::{fmt, sync::Arc};

pub use functions::{FUNCTIONS, FunctionHelp};
pub use types::Type;

use crate::{
    raw::RawRange,
    value::{Value, ValueRef},
};

/// Longest text of an expression.
pub const MAX_LENGTH: usize = 1_000;
/// Deepest nesting of an expression.
pub const MAX_DEPTH: usize = 32;

/// An expression, read and checked. Cheap to clone.
#[derive(Clone)]
pub struct Expression(Arc<Parsed>);

struct Parsed {
    source: Box<str>,
    root: parser::Node,
    variables: Box<[Box<str>]>,
}

/// What an expression is made of, and what it comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Term {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// A text.
    Text(Box<str>),
    /// A list.
    List(Vec<Term>),
}

/// What is wrong with an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (column {column})")]
pub struct ExpressionError {
    /// Counted in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl Expression {
    /// Reads `source`, which may use `variables` and no others.
    ///
    /// # Errors
    /// It is not an expression, or uses a name or function that is not there.
    pub fn parse(source: &str, variables: &[&str]) -> Result<Self, ExpressionError> {
        parser::parse(source, variables).map(|(root, variables)| {
            Self(Arc::new(Parsed {
                source: source.into(),
                root,
                variables,
            }))
        })
    }

    /// Its value; `lookup` gives the value of a variable, `None` when it has none.
    ///
    /// # Errors
    /// A value of a wrong type, a division of whole numbers by 0, a whole number
    /// out of 64 bits, or a variable without a value.
    pub fn evaluate(&self, lookup: &dyn Fn(&str) -> Option<Term>) -> Result<Term, ExpressionError> {
        evaluate::evaluate(&self.0.root, &self.0.variables, lookup)
    }

    /// Its value as a truth value.
    ///
    /// # Errors
    /// As [`Expression::evaluate`], or the value is no truth value.
    pub fn holds(&self, lookup: &dyn Fn(&str) -> Option<Term>) -> Result<bool, ExpressionError> {
        match self.evaluate(lookup)? {
            Term::Bool(holds) => Ok(holds),
            other => Err(ExpressionError {
                column: 1,
                message: format!("expected true or false, got {}", other.kind()),
            }),
        }
    }

    /// The type of its value, before there are values; `type_of` gives that of
    /// a variable. Where `&&` and `||` would get away with a wrong side, this
    /// does not, and things of different types are not compared.
    ///
    /// # Errors
    /// A part that fails whatever the values are.
    pub fn infer(&self, type_of: &dyn Fn(&str) -> Type) -> Result<Type, ExpressionError> {
        types::infer(&self.0.root, &self.0.variables, type_of)
    }

    /// The same over a raw value `x` that has these numbers: a bit pattern of a signed
    /// type is the number that it is (`x == 0x8000` of an int16).
    ///
    /// # Errors
    /// `x` is compared with a number that it cannot have.
    pub fn over_raw(&self, range: &RawRange) -> Result<Self, ExpressionError> {
        let variables: Vec<&str> = self.variables().collect();
        let Some(x) = variables.iter().position(|name| *name == "x") else {
            return Ok(self.clone());
        };
        let (mut root, variables) = parser::parse(self.source(), &variables)?;
        fit::fit(&mut root, x as u32, range)?;
        Ok(Self(Arc::new(Parsed {
            source: self.source().into(),
            root,
            variables,
        })))
    }

    /// Whether it calls `math.isNaN` or `math.isFinite`: then it says itself
    /// what a value that is no number means.
    pub fn asks_whether_finite(&self) -> bool {
        use functions::Function as F;
        self.0.root.calls(&[F::IsNan, F::IsFinite])
    }

    /// The text that it was read from.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The variables that it uses.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.variables.iter().map(AsRef::as_ref)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source() && self.0.variables == other.0.variables
    }
}

/// The text only: what it was made of is no news.
impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?})", self.source())
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.source())
    }
}

impl Term {
    /// The number that it is, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(v) => Some(*v as f64),
            Self::Double(v) => Some(*v),
            _ => None,
        }
    }

    /// What it is, in words of the language.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "an int",
            Self::Double(_) => "a double",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
        }
    }

    /// The same as a value of a twin; none for `null` and lists.
    pub fn into_value(self) -> Option<Value> {
        match self {
            Self::Bool(v) => Some(Value::Bool(v)),
            Self::Int(v) => Some(Value::Int(v)),
            Self::Double(v) => Some(Value::Float(v)),
            Self::Text(v) => Some(Value::String(v)),
            Self::Null | Self::List(_) => None,
        }
    }
}

impl From<ValueRef<'_>> for Term {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Bool(v) => Self::Bool(v),
            ValueRef::Int(v) => Self::Int(v),
            ValueRef::Uint(v) => i64::try_from(v).map_or(Self::Double(v as f64), Self::Int),
            ValueRef::Float(v) => Self::Double(v),
            ValueRef::String(v) => Self::Text(v.into()),
            bytes @ ValueRef::Bytes(_) => Self::Text(bytes.to_string().into()),
        }
    }
}
