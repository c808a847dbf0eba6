//! What a mapper emits, and what it does when nobody takes it.

use std::time::Duration;

use longshore_abi as abi;
use longshore_host::{
    Status,
    bare::{Layout, MalformedKind},
};

use super::{Found, broken, ending::memory_kib};
use crate::{
    child::Context,
    clock::Stopwatch,
    devices::Device,
    recorder::{Gate, Instance, Recorder},
    session::{BATCH, BUDGET, GRACE, Session, completions, watch_for},
    writes::Pen,
};

/// So long the host takes nothing.
const FULL: Duration = Duration::from_secs(1);
/// What the memory may grow meanwhile.
const SLACK_KIB: u64 = 16 << 10;
/// Calls of emit within a second that are no longer a mapper that ends.
const SPINNING: usize = 200;
/// 2000-01-01 in nanoseconds since 1970.
const LONG_AGO: i64 = 946_684_800_000_000_000;
/// A clock may be off by this much.
const FUTURE: i64 = 1_000_000_000;

/// Everything that a host does in a while.
fn busy_session(context: &Context) -> Result<Session, super::Finding> {
    let mut session = Session::start(context)?;
    let device = Device::new(&context.devices.any(), 0, 50).with_point(wrong());
    let pen = Pen::take(&mut session, context, &device)?;
    for _ in 0..2 {
        let orders = session.mix(&pen, &device);
        for chunk in orders.chunks(BATCH) {
            let tokens: Vec<u64> = chunk.iter().map(|order| order.token).collect();
            if session.submit(chunk) == abi::STATUS_OK {
                session.all_done(&tokens, BUDGET + GRACE);
            }
        }
    }
    let order = session.configuring(&device);
    let token = order.token;
    session.submit(&[order]);
    session.done(token, BUDGET + GRACE);
    watch_for(Duration::from_millis(500));
    Ok(session)
}

/// The configuration of a point that no protocol understands.
pub(super) fn wrong() -> serde_json::Value {
    serde_json::json!({"conformance": "garbage", "address": {"no": ["such", "place"]}, "rawType": "conformance"})
}

fn judge_malformed(context: &Context, wanted: &[MalformedKind]) -> Found {
    let session = busy_session(context)?;
    let found = session.recorder.malformed();
    match found.iter().find(|found| wanted.contains(&found.kind)) {
        Some(found) => broken(found.message.clone()),
        None => Ok(()),
    }
}

pub(super) fn well_formed(context: &Context) -> Found {
    judge_malformed(context, &[MalformedKind::Shape, MalformedKind::Value])
}

pub(super) fn reserved(context: &Context) -> Found {
    judge_malformed(context, &[MalformedKind::Reserved])
}

pub(super) fn texts(context: &Context) -> Found {
    for config in [&b"no JSON"[..], b"{\"a\": \"\xFF\"}"] {
        let made = Instance::create(&context.mapper, config, Recorder::new(), Layout::default());
        match made {
            Ok(instance) => instance.destroy(),
            Err(refused) if refused.message.is_none() => {
                return broken("the ErrorText of create is not UTF-8");
            }
            Err(_) => {}
        }
    }
    judge_malformed(context, &[MalformedKind::Text])
}

pub(super) fn reasons(context: &Context) -> Found {
    let session = busy_session(context)?;
    for record in session.recorder.records() {
        for sample in record.batch.samples() {
            if sample.value.is_none() && sample.reason == longshore_types::Reason::None {
                return broken(format!("a bad sample of point {} has none", sample.point));
            }
        }
    }
    Ok(())
}

pub(super) fn back_pressure(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    let device = Device::new(&context.devices.any(), 0, 50);
    session.configure(&device)?;
    let recorder = session.recorder;
    recorder.set_gate(Gate::Full);
    // `submit` may wait for room, so somebody else opens.
    let opener = std::thread::spawn(move || {
        watch_for(FULL);
        recorder.set_gate(Gate::Open);
    });
    let mut tokens = Vec::new();
    for _ in 0..10 {
        let mut orders = vec![session.order(abi::COMMAND_REMOVE, 900, 0)];
        for point in device.points().into_iter().take(3) {
            orders.push(session.order(abi::COMMAND_READ, 0, point));
        }
        session.give(&orders)?;
        tokens.extend(orders.iter().map(|order| order.token));
    }
    // A panic of the opener would show as a completion that does not come.
    let _ = opener.join();
    match session.all_done(&tokens, BUDGET + GRACE) {
        0 => Ok(()),
        lost => broken(format!(
            "{lost} of {} completions did not come after the host took nothing for {} ms",
            tokens.len(),
            FULL.as_millis()
        )),
    }
}

pub(super) fn bounded(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    for id in 0..4 {
        session.configure(&Device::new(&context.devices.any(), id, 10))?;
    }
    session.recorder.set_gate(Gate::Full);
    watch_for(Duration::from_millis(200));
    let before = memory_kib()?;
    watch_for(2 * FULL);
    let grown = memory_kib()?.saturating_sub(before);
    if grown > SLACK_KIB {
        return broken(format!(
            "{grown} KiB more while the host took nothing for {} ms",
            2 * FULL.as_millis()
        ));
    }
    Ok(())
}

pub(super) fn closed(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    session.configure(&Device::new(&context.devices.any(), 0, 20))?;
    session.recorder.set_gate(Gate::Closed);
    let order = session.order(abi::COMMAND_REMOVE, 900, 0);
    session.submit(&[order]);
    watch_for(Duration::from_millis(500));
    let before = session.recorder.refused();
    watch_for(Duration::from_secs(1));
    let again = session.recorder.refused() - before;
    if again > SPINNING {
        return broken(format!(
            "it called emit {again} times within a second after it had been told STATUS_STOPPED"
        ));
    }
    let watch = Stopwatch::start();
    session.instance.stop(BUDGET);
    if watch.has_passed(BUDGET + GRACE) {
        return broken("stop did not return within its budget any more");
    }
    Ok(())
}

pub(super) fn read_brings_sample(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    let device = session.configure_live(context, 0, 0)?;
    for point in device.points().into_iter().take(10) {
        let before = session.recorder.records().len();
        let order = session.order(abi::COMMAND_READ, 0, point);
        let token = order.token;
        let done = session.carry_out(order)?;
        if done.status != Status::Ok {
            continue;
        }
        let records = session.recorder.records();
        let mut sampled = false;
        for record in &records[before..] {
            sampled |= record.batch.samples().any(|sample| sample.point == point);
            if !completions(std::slice::from_ref(record), |found| found == token).is_empty() {
                break;
            }
        }
        if !sampled {
            return broken(format!(
                "the read of point {point} ended with OK before any sample of it had come"
            ));
        }
    }
    Ok(())
}

pub(super) fn source_times(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    session.configure_live(context, 0, 100)?;
    watch_for(Duration::from_millis(500));
    for record in session.recorder.records() {
        for sample in record.batch.samples() {
            if sample.source_time_ns > record.unix_ns + FUTURE {
                let ahead = (sample.source_time_ns - record.unix_ns) / 1_000_000;
                return broken(format!(
                    "a sample of point {} is from {ahead} ms in the future",
                    sample.point
                ));
            }
            if sample.source_time_ns < LONG_AGO {
                return broken(format!(
                    "a sample of point {} is from before the year 2000: {} ns",
                    sample.point, sample.source_time_ns
                ));
            }
        }
    }
    Ok(())
}
