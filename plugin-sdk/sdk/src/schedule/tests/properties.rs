//! What holds whatever happens.

use std::{collections::BTreeMap, time::Duration};

use proptest::{collection::vec, prelude::*};

use crate::{
    MethodConfig, Received, RequestError, SampleValue, Watched,
    schedule::{
        machine::{BusCommandKind, Input, MethodCall, Outcome},
        tests::bench::{Bench, PUSHED, Push, device, ms},
    },
};

/// Devices as lists of (unit, points as (address, interval)).
fn devices() -> impl Strategy<Value = Vec<(u8, Vec<(u16, u64)>)>> {
    let interval = prop_oneof![Just(100_u64), Just(200), Just(250), Just(500), Just(1000)];
    let points = vec((0..200_u16, interval), 1..12);
    vec((1..4_u8, points), 1..6)
}

/// Any input, also such as make no sense at the moment.
#[derive(Debug, Clone)]
enum Anything {
    Configure(u32, u8, Vec<(u16, u64)>),
    Remove(u32),
    Read(u32, u32),
    Write(u32, u32),
    Call(u32),
    Received(u8),
    Dialled(bool),
    Done(u8, bool),
    Pass(u64),
}

fn anything() -> impl Strategy<Value = Anything> {
    let address = prop_oneof![0..30_u16, PUSHED..PUSHED + 30];
    let points = vec(
        (address, prop_oneof![Just(0_u64), Just(100), Just(1000)]),
        0..6,
    );
    prop_oneof![
        (0..4_u32, 1..4_u8, points)
            .prop_map(|(id, unit, points)| Anything::Configure(id, unit, points)),
        (0..4_u32).prop_map(Anything::Remove),
        (0..4_u32, 0..40_u32).prop_map(|(device, point)| Anything::Read(device, point)),
        (0..4_u32, 0..40_u32).prop_map(|(device, point)| Anything::Write(device, point)),
        (0..4_u32).prop_map(Anything::Call),
        (0..5_u8).prop_map(Anything::Received),
        any::<bool>().prop_map(Anything::Dialled),
        (0..9_u8, any::<bool>()).prop_map(|(result, usable)| Anything::Done(result, usable)),
        (0..5000_u64).prop_map(Anything::Pass),
    ]
}

fn received(code: u8) -> Result<Received<u8>, RequestError> {
    let error = || RequestError::Timeout("x".to_owned());
    match code {
        0 => Ok(Received::Samples),
        1..=3 => Ok(Received::Lost {
            unit: code,
            error: error(),
        }),
        _ => Err(error()),
    }
}

fn result(code: u8) -> Result<Outcome, RequestError> {
    let text = || "x".to_owned();
    match code {
        0 => Ok(Outcome::Done),
        7 => Ok(Outcome::Watched(Watched::Answered)),
        8 => Ok(Outcome::Watched(Watched::Waiting)),
        1 => Err(RequestError::Refused(text())),
        2 => Err(RequestError::RefusedTogether(text())),
        3 => Err(RequestError::Timeout(text())),
        4 => Err(RequestError::Garbled(text())),
        5 => Err(RequestError::Line(text())),
        _ => Err(RequestError::InvalidValue(text())),
    }
}

/// Points as (id, address, interval).
type Points = Vec<(u32, u16, u64)>;

/// A step of a life with points that come by themselves.
#[derive(Debug, Clone)]
enum Step {
    Configure(u32, u8, Vec<(u16, u64)>),
    Remove(u32),
    Push(Push),
    Down(bool),
    Dead(u8, bool),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let address = prop_oneof![1 => 0..30_u16, 3 => PUSHED..PUSHED + 30];
    let points = vec(
        (address, prop_oneof![Just(0_u64), Just(200), Just(1000)]),
        0..5,
    );
    prop_oneof![
        3 => (0..4_u32, 1..4_u8, points).prop_map(|(id, unit, points)| Step::Configure(id, unit, points)),
        1 => (0..4_u32).prop_map(Step::Remove),
        2 => vec(0..40_u32, 1..6).prop_map(|points| Step::Push(Push::Values(points))),
        1 => (0..40_u32).prop_map(|point| Step::Push(Push::Bad(point))),
        1 => (1..4_u8).prop_map(|unit| Step::Push(Push::Lost(unit))),
        1 => any::<bool>().prop_map(Step::Down),
        1 => (1..4_u8, any::<bool>()).prop_map(|(unit, is_dead)| Step::Dead(unit, is_dead)),
        4 => (1..3000_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_point_is_read_exactly_once_in_each_period(devices in devices()) {
        let mut bench = Bench::new();
        let mut intervals = BTreeMap::new();
        let mut next = 0;
        for (index, (unit, points)) in devices.iter().enumerate() {
            let points: Vec<_> = points.iter().map(|(address, interval)| {
                next += 1;
                intervals.insert(next, *interval);
                (next, *address, *interval)
            }).collect();
            bench.configure(device(index as u32, *unit, &points));
        }
        bench.run_until(Duration::from_millis(2050));
        bench.reads.clear();
        bench.run_until(Duration::from_millis(12_050));
        for (point, interval) in intervals {
            let reads = bench.reads_of(point);
            let expected = (10_000 / interval) as i64;
            // A period that is cut by the edge of the window may count or not.
            prop_assert!((reads.len() as i64 - expected).abs() <= 1, "point {point}: {} of {expected}", reads.len());
            for pair in reads.windows(2) {
                let gap = pair[1] - pair[0];
                prop_assert!(gap <= ms(interval + 70), "point {point} of {interval} ms: {gap:?}");
                prop_assert!(gap + ms(70) >= ms(interval), "point {point} of {interval} ms: {gap:?}");
            }
        }
    }

    #[test]
    fn a_dead_unit_costs_others_one_timeout_at_a_time(dead in 1..4_u8, devices in devices()) {
        let mut bench = Bench::new();
        bench.world.dead.insert(dead);
        let mut next = 0;
        let mut alive = Vec::new();
        for (index, (unit, points)) in devices.iter().enumerate() {
            let points: Vec<_> = points.iter().map(|(address, interval)| {
                next += 1;
                if *unit != dead {
                    alive.push((next, *interval));
                }
                (next, *address, *interval)
            }).collect();
            bench.configure(device(index as u32, *unit, &points));
        }
        bench.run_until(Duration::from_secs(30));
        for (point, interval) in alive {
            let reads = bench.reads_of(point);
            let longest = reads.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
            prop_assert!(longest <= ms(interval.max(500) + 500 + 100), "point {point} of {interval} ms: {longest:?}");
        }
    }

    #[test]
    fn no_order_of_events_panics_and_each_command_ends_once(events in vec(anything(), 0..200)) {
        let mut bench = Bench::new();
        let mut token = 0;
        for event in events {
            token += 1;
            let now = bench.now().instant;
            let mut command = |device, kind| {
                bench.step(Input::Command(crate::schedule::machine::BusCommand {
                    token: Some(token),
                    deadline: now + Duration::from_secs(2),
                    device,
                    kind,
                }));
            };
            match event {
                Anything::Configure(id, unit, points) => {
                    let points: Vec<_> = points.iter().enumerate()
                        .map(|(index, (address, interval))| (id * 10 + index as u32, *address, *interval)).collect();
                    command(id, BusCommandKind::Configure { device: device(id, unit, &points), message: String::new() });
                }
                Anything::Remove(id) => command(id, BusCommandKind::Remove),
                Anything::Read(id, point) => command(id, BusCommandKind::Read { point }),
                Anything::Write(id, point) => command(id, BusCommandKind::Write { point, value: SampleValue::Bool(true) }),
                Anything::Call(id) => {
                    let method = MethodConfig { name: "m".to_owned(), ..MethodConfig::default() };
                    command(id, BusCommandKind::Call(MethodCall { method, arguments: serde_json::Value::Null }));
                }
                Anything::Received(code) => {
                    token -= 1;
                    bench.step(Input::Received(received(code)));
                }
                Anything::Dialled(up) => {
                    token -= 1;
                    let result = if up { Ok(()) } else { Err(RequestError::Line("x".to_owned())) };
                    bench.step(Input::Dialled(result));
                }
                Anything::Done(code, usable) => {
                    token -= 1;
                    bench.step(Input::Done { result: result(code), usable });
                }
                Anything::Pass(time) => {
                    token -= 1;
                    bench.at += ms(time);
                    bench.step(Input::Tick);
                }
            }
        }
        bench.stop();
        let mut tokens: Vec<_> = bench.completions.iter().map(|(_, completion)| completion.token).collect();
        tokens.sort_unstable();
        prop_assert_eq!(tokens, (1..=token).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_device_sends_arrives_whatever_happened_before(steps in vec(step(), 1..60)) {
        let mut bench = Bench::new();
        let mut configured: BTreeMap<u32, (u8, Points)> = BTreeMap::new();
        let mut token = 0;
        for step in steps {
            let at = bench.at;
            token += 1;
            match step {
                Step::Configure(id, unit, points) => {
                    let points: Vec<_> = points.iter().enumerate()
                        .map(|(index, (address, interval))| (id * 10 + index as u32, *address, *interval)).collect();
                    bench.command(at, token, id, BusCommandKind::Configure { device: device(id, unit, &points), message: String::new() });
                    configured.insert(id, (unit, points));
                }
                Step::Remove(id) => {
                    bench.command(at, token, id, BusCommandKind::Remove);
                    configured.remove(&id);
                }
                Step::Push(push) => bench.push(at, push),
                Step::Down(is_down) => {
                    bench.world.is_down = is_down;
                    bench.push(at, Push::Broken);
                }
                Step::Dead(unit, true) => { bench.world.dead.insert(unit); }
                Step::Dead(unit, false) => { bench.world.dead.remove(&unit); }
                Step::Pass(time) => bench.run_until(at + ms(time)),
            }
        }
        // All is well again, and the longest pauses pass.
        bench.world.is_down = false;
        bench.world.dead.clear();
        bench.run_until(bench.at + Duration::from_secs(80));
        let pushed = |(_, address, _): &&(u32, u16, u64)| *address >= PUSHED;
        let mut wanted: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
        for (unit, points) in configured.values() {
            wanted.entry(*unit).or_default().extend(points.iter().filter(pushed).map(|(id, ..)| *id));
        }
        let told: BTreeMap<u8, Vec<u32>> = bench.watched.clone();
        for (unit, points) in &wanted {
            let told = told.get(unit).cloned().unwrap_or_default();
            prop_assert_eq!(&told, points, "unit {}", unit);
        }
        for (unit, points) in told {
            prop_assert!(points.is_empty() || wanted.contains_key(&unit) || wanted.is_empty(), "unit {unit} still sends {points:?}");
        }
        // What is sent arrives, and nothing else.
        bench.reads.clear();
        let all: Vec<u32> = wanted.values().flatten().copied().collect();
        let at = bench.at;
        bench.push(at, Push::Values(all.clone()));
        bench.run_until(at + ms(700));
        for point in &all {
            prop_assert_eq!(bench.reads_of(*point).len(), 1, "point {}", point);
        }
        bench.stop();
        let mut tokens: Vec<_> = bench.completions.iter().map(|(_, completion)| completion.token).collect();
        let count = tokens.len();
        tokens.dedup();
        prop_assert_eq!(tokens.len(), count, "each command ended once");
    }
}
