//! `stop`, `destroy`, and what is left afterwards.

use std::{
    fs,
    time::{Duration, Instant},
};

use longshore_abi as abi;
use longshore_host::release_memory;

use super::{Finding, Found, broken};
use crate::{
    child::Context,
    clock::Stopwatch,
    devices::Device,
    recorder::Phase,
    session::{BUDGET, GRACE, Session, completions, watch_for},
};

/// The budget of a stop whose time is the matter.
const STOP: Duration = Duration::from_secs(2);
/// So long a mapper is watched that should be silent.
const SILENCE: Duration = Duration::from_secs(1);
/// Lives of an instance before a measurement, and between two.
const WARM_UP: usize = 5;
const LIVES: usize = 30;
/// What the memory may grow in all these lives: an allocator is not exact.
const SLACK_KIB: u64 = 2 << 10;

/// An instance with a device that is polled.
fn busy(context: &Context) -> Result<Session, Finding> {
    let mut session = Session::start(context)?;
    session.configure(&Device::new(&context.devices.any(), 0, 20))?;
    watch_for(Duration::from_millis(100));
    Ok(session)
}

pub(super) fn stop_keeps_its_budget(context: &Context) -> Found {
    let session = busy(context)?;
    let watch = Stopwatch::start();
    let status = session.instance.stop(STOP);
    let took = watch.elapsed();
    if took > STOP + GRACE / 2 {
        return broken(format!(
            "with a budget of {} ms it took {} ms",
            STOP.as_millis(),
            took.as_millis()
        ));
    }
    if status == abi::STATUS_OK {
        Ok(())
    } else {
        broken(format!("it answered status {status}"))
    }
}

pub(super) fn silent_after_stop(context: &Context) -> Found {
    let session = busy(context)?;
    session.instance.stop(BUDGET);
    watch_for(SILENCE);
    match session.recorder.emits(Phase::Stopped) {
        0 => Ok(()),
        calls => broken(format!(
            "{calls} calls of emit within {} ms after it had returned",
            SILENCE.as_millis()
        )),
    }
}

pub(super) fn stopped_refuses(context: &Context) -> Found {
    let mut session = busy(context)?;
    session.instance.stop(BUDGET);
    let order = session.order(abi::COMMAND_REMOVE, 0, 0);
    match session.instance.submit(&[order]) {
        abi::STATUS_STOPPED => Ok(()),
        status => broken(format!("submit answered status {status}")),
    }
}

pub(super) fn silent_after_destroy(context: &Context) -> Found {
    let session = busy(context)?;
    let recorder = session.recorder;
    session.instance.destroy();
    watch_for(SILENCE);
    match recorder.calls(Phase::Destroyed) {
        0 => Ok(()),
        calls => broken(format!(
            "the host was called {calls} times within {} ms after it had returned",
            SILENCE.as_millis()
        )),
    }
}

/// A whole life: create, configure, stop, destroy.
fn live_once(context: &Context) -> Found {
    let mut session = Session::start(context)?;
    session.configure(&Device::new(&context.devices.any(), 0, 20))?;
    session.instance.stop(BUDGET);
    let recorder = session.recorder;
    session.instance.destroy();
    recorder.forget();
    Ok(())
}

pub(super) fn threads_end(context: &Context) -> Found {
    // The first life may start what the process keeps, such as a pool.
    live_once(context)?;
    watch_for(Duration::from_millis(200));
    let before = threads()?;
    for _ in 0..WARM_UP {
        live_once(context)?;
    }
    // The kernel takes a moment to forget a thread that was joined.
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let now = threads()?;
        if now <= before {
            return Ok(());
        }
        if Instant::now() >= end {
            return broken(format!(
                "{} threads more after {WARM_UP} instances came and went",
                now - before
            ));
        }
        watch_for(Duration::from_millis(20));
    }
}

fn threads() -> Result<usize, Finding> {
    fs::read_dir("/proc/self/task")
        .map(Iterator::count)
        .map_err(|error| Finding::NotJudged(format!("failed to count threads: {error}")))
}

pub(super) fn memory_is_given_back(context: &Context) -> Found {
    for _ in 0..WARM_UP {
        live_once(context)?;
    }
    let before = memory_kib()?;
    for _ in 0..LIVES {
        live_once(context)?;
    }
    let grown = memory_kib()?.saturating_sub(before);
    if grown > SLACK_KIB {
        return broken(format!(
            "{grown} KiB more after {LIVES} instances came and went"
        ));
    }
    Ok(())
}

/// Memory that is this process's own, without the pages of files.
pub(super) fn memory_kib() -> Result<u64, Finding> {
    release_memory();
    let smaps = fs::read_to_string("/proc/self/smaps_rollup")
        .map_err(|error| Finding::NotJudged(format!("failed to read the memory: {error}")))?;
    let line = smaps
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok())
        .ok_or_else(|| Finding::NotJudged("the kernel does not tell the memory".to_owned()))
}

pub(super) fn instances_are_independent(context: &Context) -> Found {
    let first = busy(context)?;
    let mut second = busy(context)?;
    // Tokens of the two differ from here on.
    for _ in 0..1_000 {
        second.order(0, 0, 0);
    }
    first.instance.stop(BUDGET);
    let firsts = first.recorder;
    first.instance.destroy();
    let order = second.order(abi::COMMAND_REMOVE, 0, 0);
    let token = order.token;
    match second.submit(&[order]) {
        abi::STATUS_OK => {}
        status => {
            return broken(format!(
                "after the end of one instance the other answers status {status}"
            ));
        }
    }
    if second.done(token, BUDGET + GRACE).is_none() {
        return broken("after the end of one instance the other completes nothing");
    }
    if !completions(&firsts.records(), |found| found == token).is_empty() {
        return broken("a completion came out of the other instance");
    }
    Ok(())
}
