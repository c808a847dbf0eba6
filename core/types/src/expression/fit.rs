//! Constants that are compared with a raw value, and the numbers that it can have.

use super::{
    ExpressionError, Term,
    lexer::error,
    parser::{Kind, Node, Operator},
};
use crate::raw::RawRange;

/// Makes bit patterns of signed numbers the numbers that they are: `x == 0x8000` of
/// an int16 is `x == -32768`.
///
/// # Errors
/// A comparison that is the same whatever the value is.
pub(super) fn fit(node: &mut Node, variable: u32, range: &RawRange) -> Result<(), ExpressionError> {
    let all = |nodes: &mut [Node]| {
        nodes
            .iter_mut()
            .try_for_each(|node| fit(node, variable, range))
    };
    match &mut node.kind {
        Kind::Literal(_) | Kind::Variable(_) => Ok(()),
        Kind::List(nodes) | Kind::Call(_, nodes) => all(nodes),
        Kind::Not(inner) | Kind::Negate(inner) => fit(inner, variable, range),
        Kind::And(sides) | Kind::Or(sides) => all(&mut sides[..]),
        Kind::Choose(parts) => all(&mut parts[..]),
        Kind::Binary(operator, sides) => {
            let [left, right] = &mut **sides;
            let is_it =
                |node: &Node| matches!(node.kind, Kind::Variable(index) if index == variable);
            match (is_it(left), is_it(right)) {
                (true, false) => compared(*operator, right, range),
                (false, true) if *operator != Operator::In => compared(*operator, left, range),
                _ => {
                    fit(left, variable, range)?;
                    fit(right, variable, range)
                }
            }
        }
    }
}

/// A constant, or a list of them, on the other side.
fn compared(operator: Operator, other: &mut Node, range: &RawRange) -> Result<(), ExpressionError> {
    if let (Operator::In, Kind::List(items)) = (operator, &mut other.kind) {
        return items
            .iter_mut()
            .try_for_each(|item| compared(Operator::Equal, item, range));
    }
    let Some(number) = constant(other) else {
        return Ok(());
    };
    let is_equality = matches!(operator, Operator::Equal | Operator::NotEqual);
    let is_order = matches!(
        operator,
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual
    );
    if !(is_equality || is_order) || range.holds(number) {
        return Ok(());
    }
    if let (true, Some(meant)) = (is_equality, range.by_pattern(number)) {
        other.kind = Kind::Literal(Term::Int(meant));
        return Ok(());
    }
    Err(error(
        other.column as usize,
        format!(
            "{number} is outside of {range}, so that the comparison says nothing about the value"
        ),
    ))
}

fn constant(node: &Node) -> Option<i64> {
    match &node.kind {
        Kind::Literal(Term::Int(number)) => Some(*number),
        Kind::Literal(Term::Double(number)) if number.fract() == 0.0 && number.abs() < 9e15 => {
            Some(*number as i64)
        }
        Kind::Negate(inner) => constant(inner)?.checked_neg(),
        _ => None,
    }
}
