//! What is done together, and what is done first.

use std::time::{Duration, Instant};

use longshore_host::Status;
use serde_json::Value;

use super::{
    Finding, Found, broken,
    configuration::{must_not_come_by_itself, must_poll, not_judged, to_poll},
};
use crate::{
    child::Context,
    devices::Device,
    recorder::Record,
    session::{BUDGET, GRACE, Session},
    writes::{Pen, Writes},
};

/// How often a group is read.
const INTERVAL_MS: u64 = 100;
/// Readings that are looked at, and the time for them: there are devices that
/// talk once in some seconds.
const SNAPSHOTS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(30);
/// Writes that wait before the urgent one. All of them are one batch.
const WAITING: usize = 12;
/// So many of them may have been under way already.
const UNDER_WAY: usize = 8;
/// A device that does them all in this time makes nobody wait.
const QUICK: Duration = Duration::from_millis(20);
/// With fewer batches of completions nothing can be said about their order.
const SEEN: usize = 6;

pub(super) fn groups(context: &Context) -> Found {
    must_poll(context)?;
    let mut session = Session::start(context)?;
    let device = to_poll(context, INTERVAL_MS).with("group", &"conformance".into());
    let points = device.points();
    if points.len() < 2 {
        return not_judged("the device has only one point");
    }
    let done = session.configure_answering(context, &device)?;
    if done.warns_of("group") || done.warns_of("sampling") {
        return Ok(());
    }
    let since = Instant::now();
    let seen = session.wait(PATIENCE, |records| {
        let records = records.iter().filter(|record| record.at >= since);
        let mut whole = 0;
        for record in records {
            match snapshot(record, &points) {
                Ok(is_there) => whole += usize::from(is_there),
                Err(why) => return Some(Err(why)),
            }
        }
        (whole >= SNAPSHOTS).then_some(Ok(()))
    });
    match seen {
        Some(Ok(())) => Ok(()),
        Some(Err(why)) => {
            // What is sent cannot be read as one.
            must_not_come_by_itself(context, &mut session)?;
            broken(why)
        }
        None => not_judged(format!(
            "the points of a group were not read {SNAPSHOTS} times within {} s",
            PATIENCE.as_secs()
        )),
    }
}

/// Whether a batch holds the group, if it is whole and of one time.
fn snapshot(record: &Record, points: &[u32]) -> Result<bool, String> {
    let samples = record.batch.samples();
    let found: Vec<(u32, i64)> = samples
        .filter(|sample| points.contains(&sample.point))
        .map(|sample| (sample.point, sample.source_time_ns))
        .collect();
    let Some((_, time)) = found.first() else {
        return Ok(false);
    };
    for point in points {
        if !found.iter().any(|(other, _)| other == point) {
            return Err(format!(
                "point {point} is missing in a batch with {} of the group's {} points",
                found.len(),
                points.len()
            ));
        }
    }
    // Two snapshots in one batch are two times.
    let of_first = found.iter().filter(|(point, _)| *point == points[0]);
    let snapshots = of_first.count();
    let mut times: Vec<i64> = found.iter().map(|(_, time)| *time).collect();
    times.sort_unstable();
    times.dedup();
    if times.len() > snapshots {
        let apart = times.iter().map(|other| other.abs_diff(*time)).max();
        return Err(format!(
            "the source times in a batch of the group are up to {} ns apart",
            apart.unwrap_or(0)
        ));
    }
    Ok(true)
}

pub(super) fn priority(context: &Context) -> Found {
    context.writes.allowed()?;
    let mut session = Session::start(context)?;
    let Writable {
        device,
        usual,
        urgent,
        name,
    } = writable(context, &|_| true)?;
    session.configure_answering(context, &device)?;
    let Some(value) = session.read(0, usual)? else {
        return not_judged("the point that can be written gives no value");
    };
    let write =
        |session: &mut Session, point: u32| Pen::same(session, context, (0, point, &name), &value);
    let first = write(&mut session, usual)?;
    let done = session.carry_out(first)?;
    if done.status != Status::Ok {
        return not_judged(format!(
            "the device does not take the value back that it gave: {:?} {}",
            done.status, done.message
        ));
    }
    let mut orders = Vec::new();
    for _ in 0..WAITING {
        orders.push(write(&mut session, usual)?);
    }
    orders.push(write(&mut session, urgent)?);
    let tokens: Vec<u64> = orders.iter().map(|order| order.token).collect();
    let before = session.recorder.records().len();
    let begun = Instant::now();
    session.give(&orders)?;
    if session.all_done(&tokens, BUDGET + GRACE) > 0 {
        return not_judged("a write got no completion; see the rule `one-completion-each`");
    }
    judge_order(&session.recorder.records()[before..], &tokens, begun)
}

/// The last token is that of the urgent one.
fn judge_order(records: &[Record], tokens: &[u64], begun: Instant) -> Found {
    let (mut batches, mut earlier, mut urgent_seen, mut last) = (0, 0, false, begun);
    let (urgent, usual) = tokens.split_last().unwrap_or((&0, &[]));
    for record in records {
        let ended: Vec<u64> = record.batch.completions().map(|it| it.token).collect();
        batches += usize::from(ended.iter().any(|token| usual.contains(token)));
        for token in ended {
            last = record.at;
            urgent_seen |= token == *urgent;
            earlier += usize::from(!urgent_seen && usual.contains(&token));
        }
    }
    match earlier {
        0..=UNDER_WAY => Ok(()),
        _ if batches < SEEN || last.duration_since(begun) < QUICK => {
            not_judged("the device is too quick for writes to wait")
        }
        _ => broken(format!(
            "{earlier} of {WAITING} writes of a smaller priority went before one of a greater"
        )),
    }
}

/// A device with a point that can be written, and that point once more with a
/// greater priority.
pub(super) struct Writable {
    pub(super) device: Device,
    pub(super) usual: u32,
    urgent: u32,
    pub(super) name: String,
}

pub(super) fn writable(
    context: &Context,
    is_fit: &dyn Fn(&Value) -> bool,
) -> Result<Writable, Finding> {
    let mut device = Device::new(&context.devices.any(), 0, 0);
    // The examples of a schema do not tell what can be written.
    let any = !context.devices.was_given() && context.writes == Writes::Anything;
    let points = device.config["points"].as_array_mut();
    let points = points.filter(|points| !points.is_empty());
    let Some(points) = points else {
        return not_judged("the device has no points");
    };
    let Some(at) = points
        .iter()
        .position(|point| (point["writable"] == true || any) && is_fit(point))
    else {
        return not_judged(
            "no point of the device, of the type that the rule is about, can be written",
        );
    };
    let id = |point: &Value| point["id"].as_u64().unwrap_or(0) as u32;
    points[at]["writable"] = true.into();
    points.swap(0, at);
    let usual = id(&points[0]);
    let name = points[0]["name"].as_str().unwrap_or_default().to_owned();
    let urgent = points.iter().map(id).max().unwrap_or(0) + 1;
    let mut copy = points[0].clone();
    copy["id"] = urgent.into();
    copy["name"] = "urgent".into();
    copy["priority"] = 10.into();
    points.push(copy);
    Ok(Writable {
        device,
        usual,
        urgent,
        name,
    })
}
