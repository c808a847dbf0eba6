//! What is done together, and what is done first.

use std::time::{Duration, Instant};

use longshore_abi as abi;
use longshore_host::{
    Status,
    bare::{Order, OrderValue},
};
use longshore_types::ValueRef;
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
    let mut session = Session::start(context)?;
    let (device, usual, urgent) = writable(context)?;
    session.configure_answering(context, &device)?;
    let value = present(&mut session, usual)?;
    let write = |session: &mut Session, point: u32| {
        let mut order = session.order(abi::COMMAND_WRITE, 0, point);
        order.value = value.clone();
        order
    };
    let first = write(&mut session, usual);
    let done = session.carry_out(first)?;
    if done.status != Status::Ok {
        return not_judged(format!(
            "the device does not take the value back that it gave: {:?} {}",
            done.status, done.message
        ));
    }
    let mut orders: Vec<Order> = (0..WAITING).map(|_| write(&mut session, usual)).collect();
    orders.push(write(&mut session, urgent));
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
fn writable(context: &Context) -> Result<(Device, u32, u32), Finding> {
    let mut device = Device::new(&context.devices.any(), 0, 0);
    let given = context.devices.was_given();
    let points = device.config["points"].as_array_mut();
    let points = points.filter(|points| !points.is_empty());
    let Some(points) = points else {
        return not_judged("the device has no points");
    };
    // The examples of a schema do not tell what can be written.
    let Some(at) = points
        .iter()
        .position(|point| point["writable"] == true || !given)
    else {
        return not_judged("no point of the device can be written");
    };
    let id = |point: &Value| point["id"].as_u64().unwrap_or(0) as u32;
    points[at]["writable"] = true.into();
    points.swap(0, at);
    let usual = id(&points[0]);
    let urgent = points.iter().map(id).max().unwrap_or(0) + 1;
    let mut copy = points[0].clone();
    copy["id"] = urgent.into();
    copy["name"] = "urgent".into();
    copy["priority"] = 10.into();
    points.push(copy);
    Ok((device, usual, urgent))
}

/// The value that a point has, so that nothing changes at the device.
fn present(session: &mut Session, point: u32) -> Result<OrderValue, Finding> {
    let order = session.order(abi::COMMAND_READ, 0, point);
    session.carry_out(order)?;
    let records = session.recorder.records();
    let samples = records.iter().flat_map(|record| {
        let samples = record.batch.samples();
        samples
            .filter(|sample| sample.point == point)
            .filter_map(|sample| sample.value.map(owned))
            .collect::<Vec<_>>()
    });
    samples.last().ok_or_else(|| {
        Finding::NotJudged("the point that can be written gives no value".to_owned())
    })
}

fn owned(value: ValueRef<'_>) -> OrderValue {
    match value {
        ValueRef::Bool(value) => OrderValue::Bool(value),
        ValueRef::Int(value) => OrderValue::Int(value),
        ValueRef::Uint(value) => OrderValue::Uint(value),
        ValueRef::Float(value) => OrderValue::Float(value),
        ValueRef::String(text) => OrderValue::Text(text.as_bytes().to_vec()),
        ValueRef::Bytes(bytes) => OrderValue::Bytes(bytes.to_vec()),
    }
}
