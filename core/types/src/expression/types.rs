//! What an expression comes to, before there are values: the faults that each
//! evaluation would have, found when the configuration is read.

use super::{
    ExpressionError, Term,
    functions::Function,
    lexer::error,
    parser::{Kind, Node, Operator},
};
use crate::property_type::PropertyType;

/// The type of a value that is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Not known before there is a value.
    Any,
    /// Nothing.
    Null,
    /// A truth value.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Double,
    /// A text.
    Text,
    /// A list.
    List,
}

impl Type {
    /// As [`Term::kind`] says it.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Any => "any value",
            Self::Null => "null",
            Self::Bool => "a bool",
            Self::Int => "an int",
            Self::Double => "a double",
            Self::Text => "a string",
            Self::List => "a list",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Any | Self::Int | Self::Double)
    }

    fn may_be(self, wanted: Self) -> bool {
        self == Self::Any || self == wanted
    }

    /// Whether values of both can be compared.
    fn is_like(self, other: Self) -> bool {
        self == other
            || self == Self::Any
            || other == Self::Any
            || (self.is_number() && other.is_number())
    }
}

impl From<PropertyType> for Type {
    fn from(of: PropertyType) -> Self {
        match of {
            PropertyType::Int => Self::Int,
            PropertyType::Float | PropertyType::Double => Self::Double,
            PropertyType::Boolean => Self::Bool,
            PropertyType::String | PropertyType::Bytes => Self::Text,
            PropertyType::Stream => Self::Any,
        }
    }
}

impl From<&Term> for Type {
    fn from(term: &Term) -> Self {
        match term {
            Term::Null => Self::Null,
            Term::Bool(_) => Self::Bool,
            Term::Int(_) => Self::Int,
            Term::Double(_) => Self::Double,
            Term::Text(_) => Self::Text,
            Term::List(_) => Self::List,
        }
    }
}

type Found = Result<Type, ExpressionError>;

pub(super) fn infer(
    root: &Node,
    variables: &[Box<str>],
    type_of: &dyn Fn(&str) -> Type,
) -> Result<Type, ExpressionError> {
    Inference { variables, type_of }.node(root)
}

struct Inference<'a> {
    variables: &'a [Box<str>],
    type_of: &'a dyn Fn(&str) -> Type,
}

impl Inference<'_> {
    fn node(&self, node: &Node) -> Found {
        let column = node.column as usize;
        match &node.kind {
            Kind::Literal(term) => Ok(term.into()),
            Kind::Variable(index) => {
                let name = self.variables.get(*index as usize);
                Ok(name.map_or(Type::Any, |name| (self.type_of)(name)))
            }
            Kind::List(items) => {
                for item in items {
                    self.node(item)?;
                }
                Ok(Type::List)
            }
            Kind::Not(inner) => self.truth(inner, "after `!`"),
            Kind::Negate(inner) => match self.node(inner)? {
                of if of.is_number() => Ok(of),
                other => Err(error(column, format!("`-` of {}", other.kind()))),
            },
            Kind::Binary(operator, sides) => self.binary(*operator, sides, column),
            Kind::And(sides) => self.both(sides, "beside `&&`"),
            Kind::Or(sides) => self.both(sides, "beside `||`"),
            Kind::Choose(parts) => {
                self.truth(&parts[0], "before `?`")?;
                let (then, otherwise) = (self.node(&parts[1])?, self.node(&parts[2])?);
                Ok(if then == otherwise { then } else { Type::Any })
            }
            Kind::Call(function, arguments) => self.call(*function, arguments, column),
        }
    }

    fn truth(&self, node: &Node, place: &str) -> Found {
        match self.node(node)? {
            Type::Bool | Type::Any => Ok(Type::Bool),
            other => Err(error(
                node.column as usize,
                format!("expected true or false {place}, got {}", other.kind()),
            )),
        }
    }

    fn both(&self, sides: &[Node; 2], place: &str) -> Found {
        self.truth(&sides[0], place)?;
        self.truth(&sides[1], place)
    }

    fn binary(&self, operator: Operator, sides: &[Node; 2], column: usize) -> Found {
        use Operator as O;
        let (left, right) = (self.node(&sides[0])?, self.node(&sides[1])?);
        let mixed = || {
            let mark = operator.mark();
            let (left, right) = (left.kind(), right.kind());
            error(column, format!("`{mark}` between {left} and {right}"))
        };
        match operator {
            O::Equal | O::NotEqual => {
                // `null` may be asked for.
                let fits = left.is_like(right) || left == Type::Null || right == Type::Null;
                fits.then_some(Type::Bool).ok_or_else(mixed)
            }
            O::Less | O::LessOrEqual | O::Greater | O::GreaterOrEqual => {
                let ordered = |of: Type| !matches!(of, Type::Null | Type::List);
                let fits = left.is_like(right) && ordered(left) && ordered(right);
                fits.then_some(Type::Bool).ok_or_else(mixed)
            }
            O::In => self.within(left, right, &sides[1], column),
            O::Add if left.may_be(Type::Text) && right.may_be(Type::Text) => Ok(sum(left, right)),
            O::Add if left.may_be(Type::List) && right.may_be(Type::List) => Ok(sum(left, right)),
            _ if left.is_number() && right.is_number() => Ok(match (left, right) {
                (Type::Int, Type::Int) => Type::Int,
                (Type::Double, _) | (_, Type::Double) => Type::Double,
                _ => Type::Any,
            }),
            _ => Err(mixed()),
        }
    }

    fn within(&self, left: Type, right: Type, list: &Node, column: usize) -> Found {
        if !right.may_be(Type::List) {
            return Err(error(
                column,
                format!("expected a list after `in`, got {}", right.kind()),
            ));
        }
        let Kind::List(items) = &list.kind else {
            return Ok(Type::Bool);
        };
        for item in items {
            let of = self.node(item)?;
            if !left.is_like(of) && of != Type::Null {
                return Err(error(
                    item.column as usize,
                    format!("{} is never {}", left.kind(), of.kind()),
                ));
            }
        }
        Ok(Type::Bool)
    }

    fn call(&self, function: Function, arguments: &[Node], column: usize) -> Found {
        use Function as F;
        let mut types = Vec::with_capacity(arguments.len());
        for argument in arguments {
            types.push(self.node(argument)?);
        }
        let expect =
            |fits: fn(Type) -> bool, wanted: &str| match types.iter().find(|of| !fits(**of)) {
                None => Ok(()),
                Some(other) => Err(error(
                    column,
                    format!("expected {wanted}, got {}", other.kind()),
                )),
            };
        let first = types.first().copied().unwrap_or(Type::Any);
        match function {
            F::Abs | F::Sign => expect(Type::is_number, "a number").map(|()| first),
            F::Least | F::Greatest if first.may_be(Type::List) => Ok(Type::Any),
            F::Least | F::Greatest => {
                expect(Type::is_number, "a number")?;
                let same = types.iter().all(|of| *of == first);
                Ok(if same { first } else { Type::Any })
            }
            F::Ceil
            | F::Floor
            | F::Round
            | F::Trunc
            | F::Sqrt
            | F::Pow
            | F::Exp
            | F::Ln
            | F::Log10 => expect(Type::is_number, "a number").map(|()| Type::Double),
            F::IsNan | F::IsFinite => expect(Type::is_number, "a number").map(|()| Type::Bool),
            F::BitAnd | F::BitOr | F::BitXor | F::BitShiftLeft | F::BitShiftRight => {
                expect(|of| of.may_be(Type::Int), "an int").map(|()| Type::Int)
            }
            F::Int | F::Double => {
                expect(
                    |of| of.is_number() || of == Type::Text,
                    "a number or a string",
                )?;
                Ok(if function == F::Int {
                    Type::Int
                } else {
                    Type::Double
                })
            }
            F::Bool => expect(
                |of| of.may_be(Type::Bool) || of == Type::Text,
                "a bool or a string",
            )
            .map(|()| Type::Bool),
            F::String => expect(
                |of| !matches!(of, Type::Null | Type::List),
                "a bool, a number or a string",
            )
            .map(|()| Type::Text),
            F::Size => expect(
                |of| of.may_be(Type::Text) || of == Type::List,
                "a string or a list",
            )
            .map(|()| Type::Int),
            F::StartsWith | F::EndsWith | F::Contains => {
                expect(|of| of.may_be(Type::Text), "a string").map(|()| Type::Bool)
            }
        }
    }
}

/// Of texts or lists, of which one may not be known.
fn sum(left: Type, right: Type) -> Type {
    if left == Type::Any { right } else { left }
}
