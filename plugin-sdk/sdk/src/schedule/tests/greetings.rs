//! What a device gets after each connecting, one story each.

use std::{sync::Arc, time::Duration};

use crate::{
    SampleValue,
    schedule::{
        tests::bench::{Bench, PUSHED, Push, Registers, device, ms},
        unit::Device,
    },
};

/// It gets so many values when it was connected.
fn greeted(id: u32, unit: u8, points: &[(u32, u16, u64)], values: usize) -> Arc<Device<Registers>> {
    let mut device = device(id, unit, points);
    let one = Arc::get_mut(&mut device).unwrap();
    one.connect = (0..values)
        .map(|at| (0, SampleValue::Int(at as i64)))
        .collect();
    device
}

/// `w` for a write, `s` for a watch and `r` for a read of a unit.
fn order(bench: &Bench, unit: u8) -> String {
    let of = bench.exchanges.iter().filter(|one| one.unit == unit);
    of.map(|one| match (one.is_write, one.is_watch) {
        (true, _) => 'w',
        (_, true) => 's',
        _ => 'r',
    })
    .collect()
}

#[test]
fn a_device_is_greeted_before_it_is_watched_and_read_on_each_connection() {
    let mut bench = Bench::new();
    bench.configure(greeted(1, 1, &[(1, PUSHED, 0), (2, 0, 0), (3, 7, 400)], 2));
    bench.run_until(ms(300));
    let first = order(&bench, 1);
    assert!(first.starts_with("ww") && first[2..].chars().all(|one| one != 'w'));
    bench.push(ms(300), Push::Broken);
    bench.run_until(Duration::from_secs(3));
    let later = &order(&bench, 1)[first.len()..];
    let greeting = later.find("ww").unwrap();
    assert!(!later[..greeting].contains('s'), "{later}");
    assert_eq!(later.matches('w').count(), 2, "{later}");
}

#[test]
fn a_unit_that_only_sends_is_greeted_again_when_it_was_lost() {
    let mut bench = Bench::new();
    bench.configure(greeted(1, 1, &[(1, PUSHED, 0)], 1));
    bench.run_until(ms(500));
    assert_eq!(order(&bench, 1), "ws");
    bench.world.dead.insert(1);
    bench.push(ms(500), Push::Lost(1));
    bench.run_until(Duration::from_secs(60));
    let tries = order(&bench, 1);
    assert_eq!(
        tries.matches('s').count(),
        1,
        "without a greeting it would not send"
    );
    assert!((10..60).contains(&tries.matches('w').count()), "{tries}");
    bench.world.dead.clear();
    bench.run_until(Duration::from_secs(80));
    assert!(order(&bench, 1).ends_with("ws"), "{}", order(&bench, 1));
    assert!(bench.states.last().unwrap().1.online);
}

#[test]
fn a_unit_that_was_silent_is_greeted_when_it_answers() {
    let mut bench = Bench::new();
    bench.configure(greeted(1, 1, &[(1, 0, 100)], 1));
    bench.run_until(ms(300));
    bench.world.dead.insert(1);
    bench.run_until(Duration::from_secs(5));
    bench.world.dead.clear();
    bench.run_until(Duration::from_secs(9));
    let order = order(&bench, 1);
    assert_eq!(order.matches('w').count(), 2, "{order}");
    assert!(bench.states.last().unwrap().1.online);
}

#[test]
fn who_is_configured_anew_with_the_same_is_not_greeted_again() {
    let mut bench = Bench::new();
    let points = [(1, 0, 100)];
    bench.configure(greeted(1, 1, &points, 1));
    bench.run_until(ms(300));
    bench.configure(greeted(1, 1, &points, 1));
    bench.run_until(ms(600));
    assert_eq!(order(&bench, 1).matches('w').count(), 1);
    bench.configure(greeted(1, 1, &points, 2));
    bench.run_until(ms(900));
    assert_eq!(order(&bench, 1).matches('w').count(), 3);
}
