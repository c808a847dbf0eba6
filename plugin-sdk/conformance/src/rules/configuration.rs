//! `COMMAND_CONFIGURE`, and when points are polled.

use std::time::{Duration, Instant};

use longshore_abi as abi;
use longshore_host::Status;
use serde_json::Value;

use super::{Finding, Found, broken, create::show, emitting::wrong};
use crate::{
    child::Context,
    clock::Stopwatch,
    devices::Device,
    garbage,
    session::{Done, Session, samples_of, watch_for},
};

/// An interval that is short and yet many ticks of a scheduler.
const INTERVAL_MS: u64 = 100;
/// Samples that show how often a point is polled, and the time for them.
const POLLS: usize = 13;
const POLLS_TIME: Duration = Duration::from_secs(15);
/// A device that sends by itself has done so in this time.
const BY_ITSELF: Duration = Duration::from_secs(5);
/// A read that was under way may still end.
const UNDER_WAY: Duration = Duration::from_millis(500);
/// A neighbour that is quick may pause for so long, and what must be silent is
/// watched for so long.
const PAUSE: Duration = Duration::from_secs(1);
/// Samples that show how often a device gives one, and the time for them.
const RHYTHM: usize = 4;
const RHYTHM_TIME: Duration = Duration::from_secs(30);
/// What else a machine or a device does may disturb a rhythm once.
const TRIES: usize = 3;

pub(super) fn not_judged<T>(why: impl Into<String>) -> Result<T, Finding> {
    Err(Finding::NotJudged(why.into()))
}

/// Only a mapper that says it polls is held to it.
pub(super) fn must_poll(context: &Context) -> Found {
    match context.states(abi::CAPABILITY_POLL) {
        Some(false) => not_judged("the descriptor does not state CAPABILITY_POLL"),
        _ => Ok(()),
    }
}

/// A device that is to be polled, with a good value of its first point.
fn polled(
    context: &Context,
    session: &mut Session,
    interval_ms: u64,
) -> Result<(Device, u32), Finding> {
    let device = to_poll(context, interval_ms);
    let done = session.configure_answering(context, &device)?;
    if done.warns_of("sampling") {
        return not_judged("the mapper says that it cannot poll the device");
    }
    match device.points().first() {
        Some(point) => Ok((device.clone(), *point)),
        None => not_judged("the device has no points"),
    }
}

pub(super) fn to_poll(context: &Context, interval_ms: u64) -> Device {
    Device::new(&context.devices.any(), 0, interval_ms).with("sampling", &"poll".into())
}

/// A mapper with `CAPABILITY_PUSH` may be told to poll and pass on what comes
/// by itself all the same, because there is nothing that could be asked for.
pub(super) fn must_not_come_by_itself(context: &Context, session: &mut Session) -> Found {
    if context.states(abi::CAPABILITY_PUSH) == Some(false) {
        return Ok(());
    }
    let device = to_poll(context, 0);
    session.configure(&device)?;
    if comes_unasked(session, &device) {
        return not_judged("the device's values come by themselves");
    }
    Ok(())
}

/// Whether a value comes of a device whose points are not to be polled.
fn comes_unasked(session: &Session, device: &Device) -> bool {
    watch_for(UNDER_WAY);
    let since = Instant::now();
    let points = device.points();
    let came = session.wait(BY_ITSELF, |records| {
        let mut sent = points
            .iter()
            .map(|point| samples_of(records, *point, since));
        sent.any(|times| !times.is_empty()).then_some(())
    });
    came.is_some()
}

pub(super) fn polls(context: &Context) -> Found {
    must_poll(context)?;
    let mut session = Session::start(context)?;
    must_not_come_by_itself(context, &mut session)?;
    let (device, point) = polled(context, &mut session, INTERVAL_MS)?;
    let times = session.wait_samples(point, Instant::now(), POLLS, POLLS_TIME);
    let pauses = times.windows(2).map(|pair| pair[1].duration_since(pair[0]));
    let mut pauses: Vec<Duration> = pauses.collect();
    pauses.sort_unstable();
    let interval = Duration::from_millis(INTERVAL_MS);
    let count = u32::try_from(pauses.len()).unwrap_or(u32::MAX);
    let is_often = pauses.iter().sum::<Duration>() < interval * count * 2 / 3;
    // A busy machine makes some of the pauses longer, but not all of them.
    let usual = pauses.get(pauses.len() / 4).copied();
    if !is_often && usual.is_some_and(|usual| usual <= 3 * interval) {
        return Ok(());
    }
    if let Some(usual) = usual.filter(|_| !is_often)
        && usual <= 2 * time_of_reads(&mut session, &device)?
    {
        return not_judged("the device is too slow to be polled so often");
    }
    broken(format!(
        "{} samples, usually {} ms apart, came of a point with an interval of {INTERVAL_MS} ms",
        times.len(),
        usual.unwrap_or_default().as_millis()
    ))
}

/// How long it takes to read all points, one after the other.
fn time_of_reads(session: &mut Session, device: &Device) -> Result<Duration, Finding> {
    let begun = Instant::now();
    for point in device.points() {
        let order = session.order(abi::COMMAND_READ, device.id, point);
        session.carry_out(order)?;
    }
    Ok(begun.elapsed())
}

pub(super) fn zero(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    let (device, _) = polled(context, &mut session, 0)?;
    match (
        comes_unasked(&session, &device),
        context.states(abi::CAPABILITY_PUSH),
    ) {
        (false, _) => Ok(()),
        (true, Some(false)) => broken("samples came that nobody had asked for"),
        (true, _) => not_judged("the device's values come by themselves"),
    }
}

pub(super) fn replaces(context: &Context) -> Found {
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
    stays_silent(&session, &device)
}

/// Nothing comes of the device from now on: the completion is in the record already,
/// and what is behind it came later.
fn stays_silent(session: &Session, device: &Device) -> Found {
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
    let mut found = neighbours_once(context);
    for _ in 1..TRIES {
        if !matches!(found, Err(Finding::Broken(_))) {
            break;
        }
        found = neighbours_once(context);
    }
    found
}

fn neighbours_once(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    let (_, point) = polled(context, &mut session, INTERVAL_MS / 2)?;
    let longest = longest_pause(&session, point)?;
    let (since, watch) = (Instant::now(), Stopwatch::start());
    let mut round = 0;
    while !watch.has_passed(2 * longest) {
        round += 1;
        if round % 3 == 0 {
            let order = session.order(abi::COMMAND_REMOVE, 1, 0);
            session.carry_out(order)?;
        } else {
            let neighbour = Device::new(&context.devices.any(), 1, INTERVAL_MS);
            session.configure(&neighbour)?;
        }
        watch_for(Duration::from_millis(INTERVAL_MS * 2));
    }
    let end = Instant::now();
    let longest = longest + watch.lost();
    let mut last = since;
    let times = session.samples_since(point, since);
    for at in times.into_iter().chain([end]) {
        if at.saturating_duration_since(last) > longest {
            return broken(format!(
                "a device had no sample for {} ms while another was configured, {} ms would have been usual",
                at.duration_since(last).as_millis(),
                longest.as_millis()
            ));
        }
        last = at;
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

/// The longest pause between the samples of a device that nothing disturbs,
/// with room for a busy machine.
fn longest_pause(session: &Session, point: u32) -> Result<Duration, Finding> {
    let since = Instant::now();
    let times = session.wait_samples(point, since, RHYTHM, RHYTHM_TIME);
    if times.len() < RHYTHM {
        return not_judged(format!(
            "{} samples came within {} ms, too few to see a pause",
            times.len(),
            RHYTHM_TIME.as_millis()
        ));
    }
    let pauses = times.windows(2).map(|pair| pair[1].duration_since(pair[0]));
    Ok((2 * pauses.max().unwrap_or_default() + PAUSE / 2).max(PAUSE))
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

/// Whoever says that it only judges answers as usual, and what was there before
/// goes on alone.
pub(super) fn check(context: &Context) -> Found {
    if context.states(abi::CAPABILITY_CHECK) != Some(true) {
        return not_judged("the descriptor does not state CAPABILITY_CHECK");
    }
    let mut session = Session::start(context)?;
    let device = Device::new(&context.devices.any(), 0, INTERVAL_MS / 2);
    let mut checked = device.clone();
    checked.config["check"] = true.into();
    let judged = session.configure(&checked)?;
    stays_silent(&session, &device)?;
    let records = session.recorder.records();
    if records
        .iter()
        .any(|record| record.batch.states().count() > 0)
    {
        return broken("the state of a device was told that was only to be judged");
    }
    let wrong = device.with_point(wrong());
    let mut checked = wrong.clone();
    checked.config["check"] = true.into();
    let with_fault = session.configure(&checked)?;
    for (judged, device) in [(judged, &device), (with_fault, &wrong)] {
        let taken = session.configure(device)?;
        if (judged.status, &judged.message) != (taken.status, &taken.message) {
            return broken(format!(
                "it was judged with {:?} {}, and taken over with {:?} {}",
                judged.status, judged.message, taken.status, taken.message
            ));
        }
    }
    Ok(())
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
        order.text = garbage::device(&mut rng, context, number);
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
