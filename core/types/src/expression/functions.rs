//! The functions, in one table that the documentation is made from.

use super::Term;

/// A function, for the reference page.
#[derive(Debug, Clone, Copy)]
pub struct FunctionHelp {
    /// How it is called, for example `clamp(x, low, high)`.
    pub form: &'static str,
    /// What it gives.
    pub meaning: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Abs,
    Ceil,
    Floor,
    Round,
    Trunc,
    Sign,
    Sqrt,
    Pow,
    Exp,
    Ln,
    Log10,
    Least,
    Greatest,
    IsNan,
    IsFinite,
    BitAnd,
    BitOr,
    BitXor,
    BitShiftLeft,
    BitShiftRight,
    Int,
    Double,
    Bool,
    String,
    Size,
    StartsWith,
    EndsWith,
    Contains,
}

#[derive(Clone, Copy)]
struct Row {
    function: Function,
    /// The names that it has.
    names: &'static [&'static str],
    least: usize,
    most: usize,
    /// Written after its first argument, or so as well.
    place: Place,
    form: &'static str,
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum Place {
    Global,
    Member,
    Either,
}

const fn row(
    function: Function,
    names: &'static [&'static str],
    arguments: (usize, usize),
    place: Place,
    form: &'static str,
    meaning: &'static str,
) -> (Row, FunctionHelp) {
    let row = Row {
        function,
        names,
        least: arguments.0,
        most: arguments.1,
        place,
        form,
    };
    (row, FunctionHelp { form, meaning })
}

const MANY: usize = 16;

#[rustfmt::skip]
const TABLE: [(Row, FunctionHelp); 28] = [
    row(Function::Abs, &["abs", "math.abs"], (1, 1), Place::Global, "abs(x)", "without its sign"),
    row(Function::Ceil, &["ceil", "math.ceil"], (1, 1), Place::Global, "ceil(x)", "the next whole number above, as a double"),
    row(Function::Floor, &["floor", "math.floor"], (1, 1), Place::Global, "floor(x)", "the next whole number below, as a double"),
    row(Function::Round, &["round", "math.round"], (1, 1), Place::Global, "round(x)", "the nearest whole number, halves away from 0, as a double"),
    row(Function::Trunc, &["trunc", "math.trunc"], (1, 1), Place::Global, "trunc(x)", "without its fraction, as a double"),
    row(Function::Sign, &["sign", "math.sign"], (1, 1), Place::Global, "sign(x)", "-1, 0 or 1"),
    row(Function::Sqrt, &["sqrt", "math.sqrt"], (1, 1), Place::Global, "sqrt(x)", "the square root"),
    row(Function::Pow, &["pow"], (2, 2), Place::Global, "pow(x, y)", "x to the power of y, as a double"),
    row(Function::Exp, &["exp"], (1, 1), Place::Global, "exp(x)", "e to the power of x"),
    row(Function::Ln, &["ln"], (1, 1), Place::Global, "ln(x)", "the natural logarithm"),
    row(Function::Log10, &["log10"], (1, 1), Place::Global, "log10(x)", "the logarithm to base 10"),
    row(Function::Least, &["min", "math.least"], (1, MANY), Place::Global, "min(x, y, …)", "the least of the numbers"),
    row(Function::Greatest, &["max", "math.greatest"], (1, MANY), Place::Global, "max(x, y, …)", "the greatest of the numbers"),
    row(Function::IsNan, &["math.isNaN"], (1, 1), Place::Global, "math.isNaN(x)", "whether it is not a number"),
    row(Function::IsFinite, &["math.isFinite"], (1, 1), Place::Global, "math.isFinite(x)", "whether it is neither infinite nor NaN"),
    row(Function::BitAnd, &["math.bitAnd"], (2, 2), Place::Global, "math.bitAnd(x, y)", "bits that both ints have"),
    row(Function::BitOr, &["math.bitOr"], (2, 2), Place::Global, "math.bitOr(x, y)", "bits that either int has"),
    row(Function::BitXor, &["math.bitXor"], (2, 2), Place::Global, "math.bitXor(x, y)", "bits that differ"),
    row(Function::BitShiftLeft, &["math.bitShiftLeft"], (2, 2), Place::Global, "math.bitShiftLeft(x, n)", "bits moved to the left by 0 or more"),
    row(Function::BitShiftRight, &["math.bitShiftRight"], (2, 2), Place::Global, "math.bitShiftRight(x, n)", "bits moved to the right, zeros coming in"),
    row(Function::Int, &["int"], (1, 1), Place::Global, "int(x)", "a whole number, from a double (its fraction is cut off) or a text"),
    row(Function::Double, &["double"], (1, 1), Place::Global, "double(x)", "a double, from an int or a text"),
    row(Function::Bool, &["bool"], (1, 1), Place::Global, "bool(x)", "a truth value, from `true`, `false` and the like as text"),
    row(Function::String, &["string"], (1, 1), Place::Global, "string(x)", "a text"),
    row(Function::Size, &["size"], (1, 1), Place::Either, "size(x)", "characters of a text, items of a list"),
    row(Function::StartsWith, &["startsWith"], (2, 2), Place::Member, "s.startsWith(t)", "whether the text begins with the other"),
    row(Function::EndsWith, &["endsWith"], (2, 2), Place::Member, "s.endsWith(t)", "whether the text ends with the other"),
    row(Function::Contains, &["contains"], (2, 2), Place::Member, "s.contains(t)", "whether the other is in the text"),
];

/// All functions, for the reference page.
pub const FUNCTIONS: [FunctionHelp; TABLE.len()] = {
    let mut help = [TABLE[0].1; TABLE.len()];
    let mut at = 0;
    while at < TABLE.len() {
        help[at] = TABLE[at].1;
        at += 1;
    }
    help
};

/// The same without the texts, which only the page needs.
const ROWS: [Row; TABLE.len()] = {
    let mut rows = [TABLE[0].0; TABLE.len()];
    let mut at = 0;
    while at < TABLE.len() {
        rows[at] = TABLE[at].0;
        at += 1;
    }
    rows
};

/// The function of this name, if it takes so many arguments.
pub(super) fn find(name: &str, member: bool, arguments: usize) -> Result<Function, String> {
    let row = ROWS.iter().find(|row| row.names.contains(&name));
    let Some(row) = row else {
        return Err(match name {
            "has" | "all" | "exists" | "exists_one" | "map" | "filter" | "matches" => {
                format!("`{name}` is not in this part of CEL")
            }
            _ => format!("unknown function `{name}`"),
        });
    };
    let fits = match row.place {
        Place::Global => !member,
        Place::Member => member,
        Place::Either => true,
    };
    if !fits || arguments < row.least || arguments > row.most {
        return Err(format!("`{name}` is called as `{}`", row.form));
    }
    Ok(row.function)
}

type Called = Result<Term, String>;

pub(super) fn call(function: Function, arguments: &[Term]) -> Called {
    use Function as F;
    let first = arguments.first().unwrap_or(&Term::Null);
    let second = arguments.get(1).unwrap_or(&Term::Null);
    match function {
        F::Abs => match first {
            Term::Int(v) => v.checked_abs().map(Term::Int).ok_or_else(too_large),
            _ => number(first).map(|v| Term::Double(v.abs())),
        },
        F::Sign => match first {
            Term::Int(v) => Ok(Term::Int(v.signum())),
            _ => number(first).map(|v| Term::Double(if v == 0.0 { v } else { v.signum() })),
        },
        F::Ceil => number(first).map(|v| Term::Double(v.ceil())),
        F::Floor => number(first).map(|v| Term::Double(v.floor())),
        F::Round => number(first).map(|v| Term::Double(v.round())),
        F::Trunc => number(first).map(|v| Term::Double(v.trunc())),
        F::Sqrt => number(first).map(|v| Term::Double(v.sqrt())),
        F::Pow => Ok(Term::Double(number(first)?.powf(number(second)?))),
        F::Exp => number(first).map(|v| Term::Double(v.exp())),
        F::Ln => number(first).map(|v| Term::Double(v.ln())),
        F::Log10 => number(first).map(|v| Term::Double(v.log10())),
        F::Least => pick(arguments, |candidate, best| candidate < best),
        F::Greatest => pick(arguments, |candidate, best| candidate > best),
        F::IsNan => number(first).map(|v| Term::Bool(v.is_nan())),
        F::IsFinite => number(first).map(|v| Term::Bool(v.is_finite())),
        F::BitAnd => Ok(Term::Int(whole(first)? & whole(second)?)),
        F::BitOr => Ok(Term::Int(whole(first)? | whole(second)?)),
        F::BitXor => Ok(Term::Int(whole(first)? ^ whole(second)?)),
        F::BitShiftLeft | F::BitShiftRight => shift(function, whole(first)?, whole(second)?),
        F::Int => int(first),
        F::Double => match first {
            Term::Text(v) => {
                let number = v.trim().parse();
                number
                    .map(Term::Double)
                    .map_err(|_| format!("`{v}` is not a number"))
            }
            _ => number(first).map(Term::Double),
        },
        F::Bool => match first {
            Term::Bool(v) => Ok(Term::Bool(*v)),
            Term::Text(v) => match &**v {
                "true" | "True" | "TRUE" | "1" | "t" => Ok(Term::Bool(true)),
                "false" | "False" | "FALSE" | "0" | "f" => Ok(Term::Bool(false)),
                other => Err(format!("`{other}` is neither true nor false")),
            },
            other => Err(format!("bool() of {}", other.kind())),
        },
        F::String => string(first),
        F::Size => match first {
            Term::Text(v) => Ok(count(v.chars().count())),
            Term::List(v) => Ok(count(v.len())),
            other => Err(format!("size() of {}", other.kind())),
        },
        F::StartsWith => Ok(Term::Bool(text(first)?.starts_with(text(second)?))),
        F::EndsWith => Ok(Term::Bool(text(first)?.ends_with(text(second)?))),
        F::Contains => Ok(Term::Bool(text(first)?.contains(text(second)?))),
    }
}

fn number(term: &Term) -> Result<f64, String> {
    term.as_f64()
        .ok_or_else(|| format!("expected a number, got {}", term.kind()))
}

fn whole(term: &Term) -> Result<i64, String> {
    match term {
        Term::Int(v) => Ok(*v),
        other => Err(format!("expected an int, got {}", other.kind())),
    }
}

fn text(term: &Term) -> Result<&str, String> {
    match term {
        Term::Text(v) => Ok(v),
        other => Err(format!("expected a string, got {}", other.kind())),
    }
}

fn count(n: usize) -> Term {
    Term::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

fn too_large() -> String {
    "a whole number is out of 64 bits".to_owned()
}

/// The first one that no other beats; its type stays.
fn pick(arguments: &[Term], beats: fn(f64, f64) -> bool) -> Called {
    let items = match arguments {
        [Term::List(items)] => items.as_slice(),
        items => items,
    };
    let mut best: Option<(&Term, f64)> = None;
    for item in items {
        let value = number(item)?;
        if best.is_none_or(|(_, best)| beats(value, best)) {
            best = Some((item, value));
        }
    }
    best.map(|(item, _)| item.clone())
        .ok_or_else(|| "an empty list has none".to_owned())
}

fn shift(function: Function, value: i64, by: i64) -> Called {
    if by < 0 {
        return Err("bits are moved by 0 or more".to_owned());
    }
    let by = u32::try_from(by).unwrap_or(64);
    let bits = value as u64;
    let moved = if function == Function::BitShiftLeft {
        bits.checked_shl(by)
    } else {
        bits.checked_shr(by)
    };
    Ok(Term::Int(moved.unwrap_or(0) as i64))
}

fn int(term: &Term) -> Called {
    match term {
        Term::Int(v) => Ok(Term::Int(*v)),
        // The bounds themselves are not ints that a double tells exactly.
        Term::Double(v) if v.abs() < 9_223_372_036_854_775_808.0 => Ok(Term::Int(*v as i64)),
        Term::Double(v) => Err(format!("{v} is out of 64 bits")),
        Term::Text(v) => {
            let number = v.trim().parse();
            number
                .map(Term::Int)
                .map_err(|_| format!("`{v}` is not a whole number"))
        }
        other => Err(format!("int() of {}", other.kind())),
    }
}

fn string(term: &Term) -> Called {
    let text = match term {
        Term::Text(v) => v.clone(),
        Term::Int(v) => v.to_string().into(),
        Term::Double(v) => v.to_string().into(),
        Term::Bool(v) => v.to_string().into(),
        other => return Err(format!("string() of {}", other.kind())),
    };
    Ok(Term::Text(text))
}
