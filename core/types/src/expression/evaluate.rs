//! A tree and values to a value.

use std::cmp::Ordering;

use super::{
    ExpressionError, Term, functions,
    lexer::error,
    parser::{Kind, Node, Operator},
};

type Evaluated = Result<Term, ExpressionError>;
type Lookup<'a> = &'a dyn Fn(&str) -> Option<Term>;

pub(super) fn evaluate(root: &Node, variables: &[Box<str>], lookup: Lookup<'_>) -> Evaluated {
    Evaluation { variables, lookup }.node(root)
}

struct Evaluation<'a> {
    variables: &'a [Box<str>],
    lookup: Lookup<'a>,
}

impl Evaluation<'_> {
    fn node(&self, node: &Node) -> Evaluated {
        let column = node.column as usize;
        match &node.kind {
            Kind::Literal(term) => Ok(term.clone()),
            Kind::Variable(index) => {
                let name = self.variables.get(*index as usize);
                name.and_then(|name| (self.lookup)(name)).ok_or_else(|| {
                    let name = name.map(AsRef::as_ref).unwrap_or_default();
                    error(column, format!("`{name}` has no value"))
                })
            }
            Kind::List(items) => {
                let items = items.iter().map(|item| self.node(item));
                items.collect::<Result<_, _>>().map(Term::List)
            }
            Kind::Not(inner) => match self.node(inner)? {
                Term::Bool(v) => Ok(Term::Bool(!v)),
                other => Err(error(column, format!("`!` of {}", other.kind()))),
            },
            Kind::Negate(inner) => match self.node(inner)? {
                Term::Int(v) => v
                    .checked_neg()
                    .map(Term::Int)
                    .ok_or_else(|| overflow(column)),
                Term::Double(v) => Ok(Term::Double(-v)),
                other => Err(error(column, format!("`-` of {}", other.kind()))),
            },
            Kind::Binary(operator, sides) => {
                let (left, right) = (self.node(&sides[0])?, self.node(&sides[1])?);
                binary(*operator, left, right, column)
            }
            Kind::And(sides) => self.absorb(sides, false, column),
            Kind::Or(sides) => self.absorb(sides, true, column),
            Kind::Choose(parts) => match self.node(&parts[0])? {
                Term::Bool(true) => self.node(&parts[1]),
                Term::Bool(false) => self.node(&parts[2]),
                other => Err(error(
                    column,
                    format!("expected true or false before `?`, got {}", other.kind()),
                )),
            },
            Kind::Call(function, arguments) => {
                let arguments: Vec<Term> = arguments
                    .iter()
                    .map(|argument| self.node(argument))
                    .collect::<Result<_, _>>()?;
                functions::call(*function, &arguments).map_err(|message| error(column, message))
            }
        }
    }

    /// `&&` and `||`: one side that decides is enough, whatever is wrong with
    /// the other (`langdef.md`, "Logical Operators").
    fn absorb(&self, sides: &[Node; 2], decides: bool, column: usize) -> Evaluated {
        let side = |node: &Node| match self.node(node)? {
            Term::Bool(v) => Ok(v),
            other => Err(error(
                column,
                format!("expected true or false beside it, got {}", other.kind()),
            )),
        };
        let left = side(&sides[0]);
        if left == Ok(decides) {
            return Ok(Term::Bool(decides));
        }
        let right = side(&sides[1]);
        if right == Ok(decides) {
            return Ok(Term::Bool(decides));
        }
        left.and(right).map(Term::Bool)
    }
}

fn overflow(column: usize) -> ExpressionError {
    error(column, "a whole number is out of 64 bits")
}

fn binary(operator: Operator, left: Term, right: Term, column: usize) -> Evaluated {
    use Operator as O;
    match operator {
        O::Equal => Ok(Term::Bool(equal(&left, &right))),
        O::NotEqual => Ok(Term::Bool(!equal(&left, &right))),
        O::In => match &right {
            Term::List(items) => Ok(Term::Bool(items.iter().any(|item| equal(item, &left)))),
            other => Err(error(
                column,
                format!("expected a list after `in`, got {}", other.kind()),
            )),
        },
        O::Less | O::LessOrEqual | O::Greater | O::GreaterOrEqual => {
            let order =
                order(&left, &right).ok_or_else(|| mixed(operator, &left, &right, column))?;
            // No order means that one is not a number: all comparisons are false.
            Ok(Term::Bool(order.is_some_and(|order| match operator {
                O::Less => order.is_lt(),
                O::LessOrEqual => order.is_le(),
                O::Greater => order.is_gt(),
                _ => order.is_ge(),
            })))
        }
        _ => calculate(operator, left, right, column),
    }
}

fn calculate(operator: Operator, left: Term, right: Term, column: usize) -> Evaluated {
    use Operator as O;
    match (left, right) {
        (Term::Int(a), Term::Int(b)) => {
            if b == 0 && matches!(operator, O::Divide | O::Remainder) {
                return Err(error(column, "division by 0"));
            }
            let result = match operator {
                O::Add => a.checked_add(b),
                O::Subtract => a.checked_sub(b),
                O::Multiply => a.checked_mul(b),
                O::Divide => a.checked_div(b),
                _ => a.checked_rem(b),
            };
            result.map(Term::Int).ok_or_else(|| overflow(column))
        }
        (Term::Text(a), Term::Text(b)) if operator == O::Add => {
            Ok(Term::Text([&*a, &*b].concat().into()))
        }
        (Term::List(mut a), Term::List(b)) if operator == O::Add => {
            a.extend(b);
            Ok(Term::List(a))
        }
        (left, right) => match (left.as_f64(), right.as_f64()) {
            (Some(a), Some(b)) => Ok(Term::Double(match operator {
                O::Add => a + b,
                O::Subtract => a - b,
                O::Multiply => a * b,
                O::Divide => a / b,
                _ => a % b,
            })),
            _ => Err(mixed(operator, &left, &right, column)),
        },
    }
}

fn mixed(operator: Operator, left: &Term, right: &Term, column: usize) -> ExpressionError {
    let mark = operator.mark();
    error(
        column,
        format!("`{mark}` between {} and {}", left.kind(), right.kind()),
    )
}

/// Numbers are equal by their value, whatever their type; things of other
/// types are not equal.
fn equal(left: &Term, right: &Term) -> bool {
    match (left, right) {
        (Term::Int(_) | Term::Double(_), Term::Int(_) | Term::Double(_)) => {
            order(left, right) == Some(Some(Ordering::Equal))
        }
        (Term::List(a), Term::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (left, right) => left == right,
    }
}

/// `None` when they cannot be compared, `Some(None)` beside a NaN.
fn order(left: &Term, right: &Term) -> Option<Option<Ordering>> {
    match (left, right) {
        (Term::Int(a), Term::Int(b)) => Some(Some(a.cmp(b))),
        (Term::Int(a), Term::Double(b)) => Some(whole_with_double(*a, *b)),
        (Term::Double(a), Term::Int(b)) => Some(whole_with_double(*b, *a).map(Ordering::reverse)),
        (Term::Double(a), Term::Double(b)) => Some(a.partial_cmp(b)),
        (Term::Text(a), Term::Text(b)) => Some(Some(a.cmp(b))),
        (Term::Bool(a), Term::Bool(b)) => Some(Some(a.cmp(b))),
        _ => None,
    }
}

/// Exact, also where an int has no double of its own.
fn whole_with_double(a: i64, b: f64) -> Option<Ordering> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if b.is_nan() {
        None
    } else if b >= LIMIT {
        Some(Ordering::Less)
    } else if b < -LIMIT {
        Some(Ordering::Greater)
    } else {
        let whole = b.trunc();
        let order = a.cmp(&(whole as i64));
        Some(order.then_with(|| 0.0.partial_cmp(&(b - whole)).unwrap_or(Ordering::Equal)))
    }
}
