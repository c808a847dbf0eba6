//! `COMMAND_CONFIGURE`, and when points are polled.

use std::time::{Duration, Instant};

use longshore_abi as abi;
use longshore_host::Status;
use serde_json::Value;

use super::{Finding, Found, broken, create::show, emitting::wrong};
use crate::{
    child::Context,
    devices::Device,
    garbage,
    session::{Done, Session, watch_for},
};

/// An interval that is short and yet many ticks of a scheduler.
const INTERVAL_MS: u64 = 100;
/// So long polling is watched.
const WATCHED: Duration = Duration::from_secs(3);
/// A read that was under way may still end.
const UNDER_WAY: Duration = Duration::from_millis(500);
/// A neighbour's longest pause.
const PAUSE: Duration = Duration::from_secs(1);

fn not_judged<T>(why: impl Into<String>) -> Result<T, Finding> {
    Err(Finding::NotJudged(why.into()))
}

/// Only a mapper that says it polls is held to it.
fn must_poll(context: &Context) -> Found {
    let capabilities = context.descriptor.as_ref().map(|it| it.capabilities);
    if capabilities.is_none_or(|it| it & abi::CAPABILITY_POLL != 0) {
        return Ok(());
    }
    not_judged("the descriptor does not state CAPABILITY_POLL")
}

/// A device that is polled, with a good value of its first point; values that
/// come by themselves are no polling.
fn polled(
    context: &Context,
    session: &mut Session,
    interval_ms: u64,
) -> Result<(Device, u32), Finding> {
    let device = session.configure_live(context, 0, interval_ms)?;
    let points = device.config["points"].as_array();
    let pushed = |point: &&Value| point["sampling"] == "push";
    if points.into_iter().flatten().any(|point| pushed(&point)) {
        return not_judged("the device's values come by themselves");
    }
    match device.points().first() {
        Some(point) => Ok((device.clone(), *point)),
        None => not_judged("the device has no points"),
    }
}

pub(super) fn polls(context: &Context) -> Found {
    must_poll(context)?;
    let mut session = Session::start(context)?;
    let (_, point) = polled(context, &mut session, INTERVAL_MS)?;
    let since = Instant::now();
    watch_for(WATCHED);
    let count = session.samples_since(point, since).len();
    let wanted = (WATCHED.as_millis() as u64 / INTERVAL_MS) as usize;
    // A busy machine takes its share; a mapper that polls at all is near.
    if (wanted / 3..=wanted + wanted / 2).contains(&count) {
        return Ok(());
    }
    broken(format!(
        "{count} samples within {} ms of a point with an interval of {INTERVAL_MS} ms",
        WATCHED.as_millis()
    ))
}

pub(super) fn zero(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    let (_, point) = polled(context, &mut session, 0)?;
    watch_for(UNDER_WAY);
    let since = Instant::now();
    watch_for(PAUSE);
    match session.samples_since(point, since).len() {
        0 => Ok(()),
        count => broken(format!(
            "{count} samples came within {} ms that nobody had asked for",
            PAUSE.as_millis()
        )),
    }
}

pub(super) fn replaces(context: &Context) -> Found {
    must_poll(context)?;
    let mut session = Session::start(context)?;
    let (device, _) = polled(context, &mut session, INTERVAL_MS)?;
    // A second copy of the points, which the next configuration leaves out.
    let points = device.points();
    let Some(last) = points.last().copied().filter(|_| points.len() > 1) else {
        return not_judged("the device has only one point");
    };
    session.configure(&device.shorter())?;
    watch_for(UNDER_WAY);
    let since = Instant::now();
    watch_for(PAUSE);
    match session.samples_since(last, since).len() {
        0 => Ok(()),
        count => broken(format!(
            "{count} samples of point {last} came after a configuration that has no such point"
        )),
    }
}

pub(super) fn removed(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    let device = session.configure_live(context, 0, INTERVAL_MS / 2)?;
    let order = session.order(abi::COMMAND_REMOVE, 0, 0);
    session.carry_out(order)?;
    // The completion is in the record already: what is behind it came later.
    let since = Instant::now();
    watch_for(PAUSE);
    for point in device.points() {
        let count = session.samples_since(point, since).len();
        if count > 0 {
            return broken(format!("{count} samples of point {point} came afterwards"));
        }
    }
    Ok(())
}

pub(super) fn unknown_keys(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    let device = Device::new(&context.devices.any(), 0, INTERVAL_MS);
    let usual = session.configure(&device)?;
    let mut newer = device.clone();
    newer.config["fromTomorrow"] = serde_json::json!({"a": [1, 2]});
    for point in newer.config["points"].as_array_mut().into_iter().flatten() {
        point["fromTomorrow"] = true.into();
    }
    let done = session.configure(&newer)?;
    if done.status == usual.status {
        return Ok(());
    }
    broken(format!(
        "without such keys it ended with {:?}, with them with {:?}: {}",
        usual.status, done.status, done.message
    ))
}

pub(super) fn neighbours(context: &Context) -> Found {
    must_poll(context)?;
    let mut session = Session::start(context)?;
    let (_, point) = polled(context, &mut session, INTERVAL_MS / 2)?;
    let since = Instant::now();
    for round in 0..10 {
        let neighbour = Device::new(&context.devices.any(), 1, INTERVAL_MS);
        if round % 3 == 2 {
            let order = session.order(abi::COMMAND_REMOVE, 1, 0);
            session.carry_out(order)?;
        } else {
            session.configure(&neighbour)?;
        }
        watch_for(Duration::from_millis(INTERVAL_MS * 2));
    }
    let mut last = since;
    for at in session.samples_since(point, since) {
        if at.duration_since(last) > PAUSE {
            return paused(at.duration_since(last));
        }
        last = at;
    }
    if last.elapsed() > PAUSE {
        return paused(last.elapsed());
    }
    let records = session.recorder.records();
    let mut after = records.iter().filter(|record| record.at >= since);
    if after.any(|record| {
        let offline =
            |state: longshore_host::StateRef<'_>| state.device == 0 && state.online == Some(false);
        record.batch.states().any(offline)
    }) {
        return broken("the neighbour was told to be offline meanwhile");
    }
    Ok(())
}

fn paused(pause: Duration) -> Found {
    broken(format!(
        "a device with an interval of {} ms had no sample for {} ms while another was configured",
        INTERVAL_MS / 2,
        pause.as_millis()
    ))
}

pub(super) fn wrong_point(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    let device = Device::new(&context.devices.any(), 0, INTERVAL_MS);
    let right = session.configure(&device)?;
    if right.status != Status::Ok {
        return not_judged(format!(
            "the device was refused already without a wrong point: {:?} {}",
            right.status, right.message
        ));
    }
    let done = session.configure(&device.with_point(wrong()))?;
    if done.status == Status::Ok {
        Ok(())
    } else {
        broken(format!(
            "with a point of {} the device ended with {:?}: {}",
            wrong(),
            done.status,
            done.message
        ))
    }
}

pub(super) fn faults_are_json(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    let device = Device::new(&context.devices.any(), 0, INTERVAL_MS);
    let done = session.configure(&device)?;
    judge_message(&done, &device.text())?;
    let device = device.with_point(wrong());
    let done = session.configure(&device)?;
    judge_message(&done, &device.text())?;
    let mut rng = fastrand::Rng::with_seed(garbage::SEED);
    for number in 0..50 {
        let mut order = session.order(abi::COMMAND_CONFIGURE, 1, 0);
        order.text = garbage::device(&mut rng, &context.devices, number);
        let text = order.text.clone();
        let done = session.carry_out(order)?;
        judge_message(&done, &text)?;
    }
    Ok(())
}

fn judge_message(done: &Done, config: &[u8]) -> Found {
    // Another failure, such as a line that is down, is told in plain words.
    if done.message.is_empty() || !matches!(done.status, Status::Ok | Status::InvalidConfig) {
        return Ok(());
    }
    let wrong = |what: &str| broken(format!("{what}: `{}`, with {}", done.message, show(config)));
    let Ok(Value::Array(faults)) = serde_json::from_str::<Value>(&done.message) else {
        return wrong("the message is no JSON array");
    };
    for fault in &faults {
        let texts = fault["path"].is_string() && fault["message"].is_string();
        if !texts || !(fault["level"] == "error" || fault["level"] == "warning") {
            return wrong("an entry lacks `path`, `message` or `level`");
        }
    }
    Ok(())
}
