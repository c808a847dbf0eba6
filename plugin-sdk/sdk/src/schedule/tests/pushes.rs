//! What comes by itself, one story each.

use std::time::Duration;

use crate::{
    MethodConfig, Reason, SampleValue, Status, Watched,
    schedule::{
        machine::{BusCommandKind, MethodCall},
        tests::bench::{Bench, PUSHED, Push, Registers, device, ms},
    },
};

fn watches(bench: &Bench, unit: u8) -> Vec<Vec<u32>> {
    let exchanges = bench.exchanges.iter();
    let watches = exchanges.filter(|exchange| exchange.is_watch && exchange.unit == unit);
    watches.map(|exchange| exchange.points.clone()).collect()
}

#[test]
fn pushed_points_are_watched_once_and_never_polled() {
    let mut bench = Bench::new();
    bench.configure(device(1, 1, &[(1, PUSHED, 100), (2, PUSHED + 1, 0)]));
    bench.configure(device(2, 1, &[(3, PUSHED + 2, 100)]));
    bench.run_until(ms(1000));
    bench.push(ms(1000), Push::Values(vec![1, 3]));
    bench.run_until(Duration::from_secs(60));
    assert_eq!(watches(&bench, 1), [vec![1, 2, 3]]);
    assert_eq!(bench.exchanges.len(), 1, "nothing else is asked");
    assert_eq!(bench.reads, [(ms(1000), 1), (ms(1000), 3)]);
    assert!(
        bench
            .states
            .iter()
            .all(|(at, state)| state.online && *at < ms(10))
    );
    assert!(bench.logs.is_empty(), "{:?}", bench.logs);
}

#[test]
fn a_unit_with_both_kinds_works() {
    let mut bench = Bench::new();
    bench.configure(device(1, 1, &[(1, 0, 100), (2, PUSHED, 100)]));
    for time in (0..20).map(|index| ms(1000 + 10 * index)) {
        bench.push(time, Push::Values(vec![2]));
    }
    bench.run_until(ms(2000));
    assert_eq!(bench.reads_of(2).len(), 20);
    assert!((18..=21).contains(&bench.reads_of(1).len()));
}

#[test]
fn pushes_do_not_starve_on_a_busy_bus() {
    let mut bench = Bench::new();
    bench.world.latency = ms(50);
    let points: Vec<_> = (0..20).map(|i| (i + 1, 50 * i as u16, 100)).collect();
    bench.configure(device(1, 1, &points));
    bench.configure(device(2, 2, &[(100, PUSHED, 0)]));
    bench.run_until(ms(3000));
    bench.push(ms(3001), Push::Values(vec![100]));
    bench.run_until(ms(4000));
    let arrived = bench.reads_of(100);
    assert!(arrived[0] <= ms(3060), "{arrived:?}");
    // Also the bus that cannot keep up counts only what is polled.
    assert_eq!(
        bench
            .logs
            .iter()
            .filter(|line| line.contains("keep up"))
            .count(),
        1
    );
}

#[test]
fn a_device_that_joins_disturbs_no_other_unit() {
    let mut bench = Bench::new();
    bench.configure(device(1, 1, &[(1, PUSHED, 0)]));
    bench.configure(device(2, 2, &[(2, PUSHED, 0)]));
    bench.run_until(ms(500));
    bench.configure(device(3, 2, &[(3, PUSHED + 1, 0)]));
    bench.run_until(ms(1000));
    bench.command(ms(1000), 9, 2, BusCommandKind::Remove);
    bench.run_until(ms(1500));
    bench.command(ms(1500), 10, 3, BusCommandKind::Remove);
    bench.run_until(ms(2000));
    assert_eq!(watches(&bench, 1), [vec![1]]);
    let expected: [Vec<u32>; 4] = [vec![2], vec![2, 3], vec![3], vec![]];
    assert_eq!(watches(&bench, 2), expected);
}

#[test]
fn a_device_that_is_configured_anew_stays_online_and_gets_only_its_new_points() {
    let mut bench = Bench::new();
    bench.configure(device(1, 1, &[(1, PUSHED, 0), (2, PUSHED + 1, 0)]));
    bench.run_until(ms(500));
    bench.world.latency = ms(100);
    bench.configure(device(1, 1, &[(1, PUSHED + 9, 0)]));
    // While the device is told, it still sends the former set.
    bench.push(ms(550), Push::Values(vec![1, 2]));
    bench.push(ms(700), Push::Values(vec![1, 2]));
    bench.run_until(ms(1000));
    assert_eq!(bench.reads, [(ms(700), 1)]);
    assert!(bench.states.iter().all(|(_, state)| state.online));
}

#[test]
fn a_unit_that_changes_hands_quickly_is_told_to_stop() {
    let mut bench = Bench::new();
    bench.world.latency = ms(100);
    bench.configure(device(1, 1, &[(1, 0, 100_000)]));
    bench.configure(device(2, 2, &[(2, PUSHED, 0)]));
    bench.run_until(ms(1000));
    assert_eq!(watches(&bench, 2), [vec![2]]);
    // Its device is elsewhere now, another one takes its place, …
    let configure = |device| BusCommandKind::Configure {
        device,
        message: String::new(),
    };
    bench.command(ms(1000), 10, 1, BusCommandKind::Read { point: 1 });
    bench.command(ms(1010), 11, 2, configure(device(2, 1, &[(2, 1, 0)])));
    bench.command(ms(1020), 12, 3, configure(device(3, 2, &[(3, PUSHED, 0)])));
    // … and that one is gone before the unit, which is lost for a while, has
    // heard of it.
    bench.push(ms(1030), Push::Lost(2));
    bench.command(ms(1200), 13, 3, BusCommandKind::Remove);
    bench.run_until(ms(3000));
    assert_eq!(watches(&bench, 2), [vec![2], vec![]]);
}

#[test]
fn a_waiting_unit_is_online_at_its_first_good_sample() {
    let mut bench = Bench::new();
    bench.world.watched = Watched::Waiting;
    bench.configure(device(1, 1, &[(1, PUSHED, 0)]));
    bench.push(ms(1000), Push::Bad(1));
    bench.run_until(ms(2000));
    assert!(bench.states.is_empty());
    assert_eq!(bench.bad.len(), 1);
    bench.push(ms(2000), Push::Values(vec![1]));
    bench.run_until(ms(3000));
    assert_eq!(bench.states.len(), 1);
    assert!(bench.states[0].1.online);
}

#[test]
fn a_lost_unit_is_watched_again_with_growing_pauses() {
    let mut bench = Bench::new();
    bench.configure(device(1, 1, &[(1, PUSHED, 0), (2, PUSHED, 0)]));
    bench.configure(device(2, 2, &[(3, PUSHED, 0)]));
    bench.run_until(ms(500));
    bench.world.dead.insert(1);
    bench.push(ms(500), Push::Lost(1));
    bench.run_until(Duration::from_secs(300));
    let bad: Vec<_> = bench
        .bad
        .iter()
        .map(|(_, point, reason)| (*point, *reason))
        .collect();
    assert_eq!(bad, [(1, Reason::Timeout), (2, Reason::Timeout)]);
    assert_eq!(bench.reasons[0], "no answer: silent");
    let count = watches(&bench, 1).len();
    // A part of the time that it is away, so that it is found soon when it is back.
    assert!((25..90).contains(&count), "{count} times");
    assert_eq!(watches(&bench, 2).len(), 1, "the neighbour is left alone");
    bench.world.dead.clear();
    bench.run_until(Duration::from_secs(380));
    assert!(bench.states.last().unwrap().1.online);
    assert_eq!(bench.dials.len(), 1);
}

#[test]
fn a_lost_unit_that_is_only_awaited_comes_back_with_a_sample() {
    let mut bench = Bench::new();
    bench.world.watched = Watched::Waiting;
    bench.configure(device(1, 1, &[(1, PUSHED, 0)]));
    bench.push(ms(100), Push::Values(vec![1]));
    bench.push(ms(200), Push::Lost(1));
    bench.run_until(Duration::from_secs(100));
    assert_eq!(
        watches(&bench, 1).len(),
        2,
        "at the start and after the loss"
    );
    bench.push(bench.at, Push::Values(vec![1]));
    bench.run_until(Duration::from_secs(200));
    let states: Vec<_> = bench.states.iter().map(|(_, state)| state.online).collect();
    assert_eq!(states, [true, false, true]);
    assert_eq!(bench.bad.len(), 1);
}

#[test]
fn a_unit_that_cannot_be_watched_says_so_and_is_asked_again() {
    let mut bench = Bench::new();
    bench.world.unwatchable.insert(1);
    bench.configure(device(1, 1, &[(1, 0, 1000), (2, PUSHED, 0)]));
    bench.run_until(Duration::from_secs(20));
    let bad: Vec<_> = bench
        .bad
        .iter()
        .map(|(_, point, reason)| (*point, *reason))
        .collect();
    assert_eq!(bad, [(2, Reason::Refused)]);
    assert!(bench.states.iter().all(|(_, state)| state.online));
    let count = watches(&bench, 1).len();
    assert!((4..7).contains(&count), "{count} times");
    bench.world.unwatchable.clear();
    bench.run_until(Duration::from_secs(60));
    bench.push(bench.at, Push::Values(vec![2]));
    bench.run_until(bench.at + ms(10));
    assert_eq!(bench.reads_of(2).len(), 1);
}

#[test]
fn a_connection_that_ends_is_dialled_at_once_and_watched_anew() {
    let mut bench = Bench::new();
    bench.configure(device(1, 1, &[(1, PUSHED, 0)]));
    bench.run_until(Duration::from_secs(100));
    bench.push(bench.at, Push::Broken);
    bench.run_until(bench.at + ms(20));
    assert_eq!(bench.dials.len(), 2);
    assert_eq!(watches(&bench, 1).len(), 2);
    assert!(bench.bad.is_empty(), "nobody need know");
}

#[test]
fn connections_that_do_not_last_make_the_bus_down() {
    let mut bench = Bench::new();
    bench.configure(device(1, 1, &[(1, PUSHED, 0)]));
    for _ in 0..100 {
        bench.push(bench.at, Push::Broken);
        bench.run_until(bench.at + ms(500));
    }
    assert!(
        bench.dials.len() < 15,
        "{} dials in 50 s",
        bench.dials.len()
    );
    assert_eq!(bench.bad[0].2, Reason::Line);
    bench.run_until(bench.at + Duration::from_secs(60));
    assert!(bench.states.last().unwrap().1.online);
}

#[test]
fn a_read_of_a_pushed_point_reads() {
    let mut bench = Bench::new();
    bench.configure(device(1, 1, &[(1, PUSHED, 0)]));
    bench.command(ms(100), 7, 1, BusCommandKind::Read { point: 1 });
    bench.run_until(ms(200));
    assert_eq!(bench.completion(7).unwrap().1.status, Status::Ok);
    assert_eq!(bench.reads_of(1).len(), 1);
}

#[test]
fn a_method_is_called_with_the_device_s_own_keys() {
    let mut bench = Bench::new();
    bench.configure(device(1, 1, &[(1, 0, 1000)]));
    let call = |name: &str| -> BusCommandKind<Registers> {
        BusCommandKind::Call(MethodCall {
            method: MethodConfig {
                name: name.to_owned(),
                ..MethodConfig::default()
            },
            arguments: serde_json::json!({"to": 5}),
        })
    };
    bench.command(ms(100), 7, 1, call("reset"));
    bench.command(ms(100), 8, 9, call("reset"));
    bench.run_until(ms(200));
    let (_, done) = bench.completion(7).unwrap();
    assert_eq!(
        (done.status, done.message.as_str()),
        (Status::Ok, r#"{"to":5}"#)
    );
    let (_, unknown) = bench.completion(8).unwrap();
    assert_eq!(unknown.status, Status::InvalidArgument);
    bench.world.dead.insert(1);
    bench.command(ms(200), 9, 1, call("reset"));
    bench.run_until(ms(1000));
    assert_eq!(bench.completion(9).unwrap().1.status, Status::Timeout);
}

#[test]
fn writes_go_by_priority_then_by_age() {
    let mut bench = Bench::new();
    bench.world.latency = ms(100);
    let mut of = device(1, 1, &[(1, 0, 0), (2, 1, 0), (3, 2, 0)]);
    let slots = &mut std::sync::Arc::get_mut(&mut of).unwrap().slots;
    (slots[1].priority, slots[2].priority) = (5, -1);
    bench.configure(of);
    let write = |point| BusCommandKind::Write {
        point,
        value: SampleValue::Bool(true),
    };
    bench.run_until(ms(200));
    for (token, point) in [(10, 1), (11, 3), (12, 1), (13, 2), (14, 2)] {
        bench.command(ms(200), token, 1, write(point));
    }
    bench.run_until(ms(2000));
    let order: Vec<_> = bench
        .completions
        .iter()
        .map(|(_, done)| done.token)
        .filter(|token| *token >= 10)
        .collect();
    // The first is on its way when the others come.
    assert_eq!(order, [10, 13, 14, 12, 11]);
}
