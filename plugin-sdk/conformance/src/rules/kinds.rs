//! Kinds of numbers.

use longshore_host::Status;

use super::{Found, broken, configuration::not_judged, order::writable};
use crate::{
    child::Context,
    session::Session,
    writes::{Kept, Pen, Writes},
};

/// Bound of the whole numbers that a floating point number holds.
const EXACT: f64 = 9_007_199_254_740_992.0;

pub(super) fn any_number(context: &Context) -> Found {
    context.writes.allowed()?;
    let mut session = Session::start(context)?;
    let found = writable(context, &|point| {
        point["type"] == "FLOAT" || point["type"] == "DOUBLE"
    })?;
    session.configure_answering(context, &found.device)?;
    let value = match session.read(0, found.usual)? {
        Some(value) if !same_number(&value).is_empty() => value,
        // Another rule may have written something else to the simulator.
        _ if context.writes == Writes::Anything => Kept::Int(1),
        Some(value) => {
            return not_judged(format!(
                "the point that can be written has {value}, which is no whole number"
            ));
        }
        None => return not_judged("the point that can be written gives no value"),
    };
    let others = same_number(&value);
    let place = (0, found.usual, &*found.name);
    let first = Pen::same(&mut session, context, place, &value)?;
    let done = session.carry_out(first)?;
    if done.status != Status::Ok {
        return not_judged(format!(
            "the device does not take the value back that it gave: {:?} {}",
            done.status, done.message
        ));
    }
    for (kind, other) in others {
        let order = Pen::same(&mut session, context, place, &other)?;
        let done = session.carry_out(order)?;
        if done.status != Status::Ok {
            return broken(format!(
                "the point takes {value} as it was read, and not as {kind}: {:?} {}",
                done.status, done.message
            ));
        }
    }
    Ok(())
}

/// The same number in the other kinds that hold it.
fn same_number(value: &Kept) -> Vec<(&'static str, Kept)> {
    let number = match value {
        Kept::Int(number) => *number as f64,
        Kept::Uint(number) => *number as f64,
        Kept::Float(bits) => f64::from_bits(*bits),
        Kept::Bool(_) | Kept::Text(_) | Kept::Bytes(_) => return Vec::new(),
    };
    if number.fract() != 0.0 || number.abs() > EXACT {
        return Vec::new();
    }
    let mut same = vec![
        ("FLOAT64", Kept::Float(number.to_bits())),
        ("INT64", Kept::Int(number as i64)),
    ];
    if number >= 0.0 {
        same.push(("UINT64", Kept::Uint(number as u64)));
    }
    same.retain(|(_, other)| other != value);
    same
}
