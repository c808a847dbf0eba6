//! What the schedule does, one story each.

use std::time::Duration;

use crate::{
    Reason, SampleValue, Status,
    schedule::{
        machine::BusCommandKind,
        tests::bench::{Bench, device, ms},
    },
};

fn write(point: u32) -> BusCommandKind<super::bench::Registers> {
    BusCommandKind::Write {
        point,
        value: SampleValue::Uint(1),
    }
}

#[test]
fn the_first_reading_comes_at_once_and_together() {
    let mut bench = Bench::new();
    bench.configure(device(1, 1, &[(1, 0, 1000), (2, 1, 500)]));
    bench.configure(device(2, 1, &[(3, 2, 200)]));
    bench.run_until(ms(50));
    assert_eq!(
        bench.exchanges.len(),
        1,
        "one request for three points of two devices"
    );
    assert!(bench.reads.iter().all(|(at, _)| *at <= ms(3)));
    assert_eq!(bench.states.len(), 2);
    assert!(bench.states.iter().all(|(_, state)| state.online));
}

#[test]
fn intervals_that_divide_each_other_meet() {
    let mut bench = Bench::new();
    bench.configure(device(1, 1, &[(1, 0, 100)]));
    bench.configure(device(2, 1, &[(2, 1, 200)]));
    bench.configure(device(3, 1, &[(3, 2, 1000)]));
    bench.run_until(ms(500));
    let before = bench.exchanges.len();
    bench.run_until(ms(10_500));
    assert_eq!(
        bench.exchanges.len() - before,
        100,
        "as many requests as the shortest interval alone needs"
    );
    assert_eq!(
        bench.reads_of(3).iter().filter(|at| **at > ms(500)).count(),
        10
    );
}

#[test]
fn a_write_goes_between_two_requests() {
    let mut bench = Bench::new();
    bench.world.latency = ms(10);
    // 20 requests, because the addresses are far apart: a cycle of 200 ms.
    let points: Vec<_> = (0..20).map(|i| (i + 1, 100 * i as u16, 1000)).collect();
    bench.configure(device(1, 1, &points));
    bench.command(ms(75), 99, 1, write(5));
    bench.run_until(ms(500));
    let (at, completion) = bench.completion(99).expect("the write has ended");
    assert_eq!(completion.status, Status::Ok);
    assert!(*at <= ms(75 + 20), "done at {at:?}");
    let before = bench
        .exchanges
        .iter()
        .position(|exchange| exchange.is_write)
        .unwrap();
    assert!(
        (6..=8).contains(&before),
        "{before} of 20 requests went first"
    );
}

#[test]
fn writes_in_a_row_do_not_starve_reads() {
    let mut bench = Bench::new();
    bench.world.latency = ms(10);
    bench.configure(device(1, 1, &[(1, 0, 100)]));
    for i in 0..200 {
        bench.command(ms(20), 1000 + i, 1, write(1));
    }
    bench.run_until(ms(2600));
    assert!(
        bench.reads_of(1).len() >= 15,
        "{} reads",
        bench.reads_of(1).len()
    );
    assert_eq!(
        bench
            .completions
            .iter()
            .filter(|(_, c)| c.token >= 1000 && c.status == Status::Ok)
            .count(),
        200
    );
}

#[test]
fn a_dead_unit_is_probed_alone() {
    let mut bench = Bench::new();
    bench.world.dead.insert(2);
    bench.configure(device(1, 1, &[(1, 0, 100)]));
    bench.configure(device(2, 2, &[(2, 0, 100), (3, 50, 100)]));
    bench.run_until(Duration::from_secs(600));

    let bad: Vec<_> = bench
        .bad
        .iter()
        .map(|(_, point, reason)| (*point, *reason))
        .collect();
    assert_eq!(
        bad,
        [(2, Reason::Timeout), (3, Reason::Timeout)],
        "one bad sample for each point, at the transition"
    );
    let offline: Vec<_> = bench
        .states
        .iter()
        .filter(|(_, state)| !state.online)
        .collect();
    assert_eq!(offline.len(), 1);

    let probes: Vec<_> = bench
        .exchanges
        .iter()
        .filter(|exchange| exchange.unit == 2)
        .map(|e| e.at)
        .collect();
    // More than with pauses that double: what was away a minute is found in seconds.
    assert!(
        (50..120).contains(&probes.len()),
        "{} probes in ten minutes",
        probes.len()
    );
    let reads = bench.reads_of(1);
    let longest = reads
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .max()
        .unwrap();
    assert!(
        longest <= ms(500 + 100 + 5),
        "a probe costs one timeout, here {longest:?}"
    );
    let late = reads
        .windows(2)
        .filter(|pair| pair[1] - pair[0] > ms(200))
        .count();
    assert!(late <= probes.len());
    let last_pause = probes[probes.len() - 1] - probes[probes.len() - 2];
    // A part of the ten minutes.
    assert!(
        (ms(20_000)..=ms(37_000)).contains(&last_pause),
        "{last_pause:?}"
    );
}

/// A minute, and the worst moment in it: the probe before has just failed.
#[test]
fn a_unit_that_was_away_a_minute_is_read_within_five_seconds() {
    for phase in 0..20 {
        let mut bench = Bench::new();
        bench.configure(device(1, 1, &[(1, 0, 1000)]));
        bench.configure(device(2, 2, &[(2, 0, 1000)]));
        bench.run_until(Duration::from_secs(60));
        bench.world.dead.insert(2);
        let back = Duration::from_secs(120) + ms(250) * phase;
        bench.run_until(back);
        bench.world.dead.clear();
        bench.run_until(back + Duration::from_secs(10));
        let read = bench.reads_of(2).into_iter().find(|at| *at > back).unwrap();
        assert!(read <= back + Duration::from_secs(5), "{:?}", read - back);
    }
}

#[test]
fn a_line_that_was_down_a_minute_is_up_within_five_seconds() {
    for phase in 0..20 {
        let mut bench = Bench::new();
        bench.configure(device(1, 1, &[(1, 0, 1000)]));
        bench.run_until(Duration::from_secs(60));
        bench.world.is_down = true;
        let back = Duration::from_secs(120) + ms(250) * phase;
        bench.run_until(back);
        bench.world.is_down = false;
        bench.run_until(back + Duration::from_secs(10));
        let read = bench.reads_of(1).into_iter().find(|at| *at > back).unwrap();
        assert!(read <= back + Duration::from_secs(5), "{:?}", read - back);
    }
}

#[test]
fn a_unit_that_comes_back_is_read_at_once() {
    let mut bench = Bench::new();
    bench.world.dead.insert(1);
    bench.configure(device(1, 1, &[(1, 0, 1000), (2, 90, 60_000)]));
    bench.run_until(Duration::from_secs(5));
    assert!(bench.reads.is_empty());
    bench.world.dead.clear();
    bench.run_until(Duration::from_secs(20));
    let back = bench.states.last().unwrap();
    assert!(back.1.online);
    assert!(
        bench.reads_of(2)[0] <= back.0 + ms(5),
        "also what is read once a minute"
    );
    assert!(bench.reads_of(1).len() >= 5);
}

#[test]
fn a_write_to_a_dead_unit_is_its_probe_but_not_too_often() {
    let mut bench = Bench::new();
    bench.world.dead.insert(1);
    bench.configure(device(1, 1, &[(1, 0, 1000)]));
    bench.run_until(Duration::from_secs(40));
    bench.world.dead.clear();
    let asked = bench.at;
    bench.command(asked, 50, 1, write(1));
    bench.run_until(asked + ms(100));
    assert_eq!(bench.completion(50).unwrap().1.status, Status::Ok);
    assert!(bench.states.last().unwrap().1.online);

    bench.world.dead.insert(1);
    bench.run_until(asked + Duration::from_secs(3));
    for token in 60..70 {
        bench.command(bench.at, token, 1, write(1));
    }
    let before = bench.exchanges.len();
    bench.run_until(bench.at + ms(900));
    assert!(
        bench.exchanges.len() - before <= 3,
        "the bus is not taken by writes to the dead"
    );
    // Those that were tried may have arrived; of the others it is known that nothing went.
    let ends = (60..70).map(|token| bench.completion(token).unwrap().1.status);
    let ends: Vec<_> = ends.collect();
    let tried = |status: &&Status| **status == Status::Timeout;
    assert!(ends.iter().filter(tried).count() <= 3, "{ends:?}");
    let known = [Status::Timeout, Status::NotSent];
    assert!(ends.iter().all(|status| known.contains(status)), "{ends:?}");
}

#[test]
fn a_line_that_is_down_is_dialled_for_ever() {
    let mut bench = Bench::new();
    bench.world.is_down = true;
    bench.configure(device(1, 1, &[(1, 0, 100)]));
    bench.configure(device(2, 2, &[(2, 0, 100)]));
    bench.run_until(Duration::from_secs(600));
    assert_eq!(
        bench
            .bad
            .iter()
            .map(|(_, point, reason)| (*point, *reason))
            .collect::<Vec<_>>(),
        [(1, Reason::Line), (2, Reason::Line)]
    );
    // Refused at once, which costs nobody anything.
    assert!(
        (50..130).contains(&bench.dials.len()),
        "{} dials",
        bench.dials.len()
    );
    bench.command(bench.at, 77, 1, write(1));
    bench.run_until(bench.at + Duration::from_secs(4));
    let (_, completion) = bench.completion(77).unwrap();
    assert_eq!(completion.status, Status::NotSent);
    assert!(
        completion.message.contains("connection refused"),
        "{}",
        completion.message
    );

    bench.world.is_down = false;
    bench.run_until(bench.at + Duration::from_secs(40));
    assert!(!bench.reads_of(1).is_empty() && !bench.reads_of(2).is_empty());
    assert!(
        bench
            .states
            .iter()
            .rev()
            .take(2)
            .all(|(_, state)| state.online)
    );
}

#[test]
fn a_connection_that_was_closed_is_opened_again_without_a_word() {
    let mut bench = Bench::new();
    bench.configure(device(1, 1, &[(1, 0, 100)]));
    bench.run_until(ms(2050));
    bench.world.is_down = true;
    bench.run_until(ms(2150));
    bench.world.is_down = false;
    // The dial failed once at most; if it did, that is told.
    bench.run_until(ms(4000));
    let online = bench.states.last().unwrap();
    assert!(online.1.online);
    assert!(bench.reads_of(1).last().unwrap() > &ms(3800));
}

#[test]
fn one_bad_register_costs_only_itself() {
    let mut bench = Bench::new();
    bench.world.illegal.insert(4);
    let points: Vec<_> = (0..10).map(|i| (i + 1, i as u16, 1000)).collect();
    bench.configure(device(1, 1, &points));
    bench.run_until(ms(900));
    assert_eq!(
        bench
            .bad
            .iter()
            .map(|(_, point, reason)| (*point, *reason))
            .collect::<Vec<_>>(),
        [(5, Reason::Refused)]
    );
    assert_eq!(
        bench.reads.len(),
        9,
        "the others were read in the same cycle"
    );
    bench.run_until(ms(1900));
    let before = bench.exchanges.len();
    bench.run_until(ms(2900));
    assert_eq!(
        bench.exchanges.len() - before,
        3,
        "left of it, it, right of it"
    );
}

#[test]
fn a_hole_in_the_address_space_is_learned() {
    let mut bench = Bench::new();
    // Nobody asks for 4, but it lies between two that are asked for.
    bench.world.illegal.insert(4);
    bench.configure(device(
        1,
        1,
        &[
            (1, 0, 1000),
            (2, 1, 1000),
            (3, 2, 1000),
            (4, 6, 1000),
            (5, 7, 1000),
        ],
    ));
    bench.run_until(ms(2900));
    assert!(bench.bad.is_empty(), "{:?}", bench.bad);
    let before = bench.exchanges.len();
    bench.run_until(ms(3900));
    assert_eq!(bench.exchanges.len() - before, 2);
}

#[test]
fn a_cycle_that_takes_too_long_skips_and_says_so() {
    let mut bench = Bench::new();
    bench.world.latency = ms(250);
    bench.configure(device(1, 1, &[(1, 0, 100)]));
    bench.run_until(Duration::from_secs(10));
    let reads = bench.reads_of(1).len();
    assert!(
        (38..=41).contains(&reads),
        "the bus is used all the time, and nothing queues up: {reads}"
    );
    assert_eq!(
        bench
            .logs
            .iter()
            .filter(|line| line.contains("cannot keep up"))
            .count(),
        1,
        "{:?}",
        bench.logs
    );
}

#[test]
fn removing_a_device_leaves_its_neighbours_alone() {
    let mut bench = Bench::new();
    bench.world.latency = ms(10);
    bench.configure(device(1, 1, &[(1, 0, 100)]));
    bench.configure(device(2, 1, &[(2, 1, 100)]));
    bench.run_until(ms(1000));
    // During an exchange: one write waits behind the other when the device goes.
    bench.command(ms(1000), 10, 2, write(2));
    bench.command(ms(1001), 11, 2, write(2));
    bench.command(ms(1002), 12, 2, BusCommandKind::Remove);
    bench.run_until(ms(3000));
    assert_eq!(
        bench.completion(10).unwrap().1.status,
        Status::Ok,
        "it was on the wire"
    );
    let (_, gone) = bench.completion(11).unwrap();
    assert_eq!(gone.status, Status::InvalidArgument);
    assert!(gone.message.contains("default/d2"), "{}", gone.message);
    assert_eq!(bench.completion(12).unwrap().1.status, Status::Ok);
    assert!(bench.reads_of(2).last().unwrap() <= &ms(1010));
    let reads = bench.reads_of(1);
    let longest = reads
        .windows(2)
        .skip(1)
        .map(|pair| pair[1] - pair[0])
        .max()
        .unwrap();
    assert!(longest <= ms(130), "{longest:?}");
    assert_eq!(bench.dials.len(), 1);
}

#[test]
fn a_replaced_point_never_gets_the_value_of_its_old_address() {
    let mut bench = Bench::new();
    bench.world.latency = ms(50);
    bench.configure(device(1, 1, &[(1, 0, 1000), (2, 1, 1000)]));
    // The first reading is under way (50…100 ms) when point 1 moves.
    let moved = BusCommandKind::Configure {
        device: device(1, 1, &[(1, 9, 1000)]),
        message: String::new(),
    };
    bench.command(ms(60), 2, 1, moved);
    bench.run_until(ms(100));
    assert!(bench.reads.is_empty(), "{:?}", bench.reads);
    bench.run_until(ms(200));
    assert_eq!(bench.reads_of(1).len(), 1);
    assert!(bench.reads_of(2).is_empty());
}

#[test]
fn a_command_ends_at_its_deadline_even_when_the_bus_is_held_up() {
    let mut bench = Bench::new();
    bench.world.timeout = Duration::from_secs(10);
    bench.world.dead.insert(1);
    bench.configure(device(1, 1, &[(1, 0, 1000)]));
    bench.configure(device(2, 2, &[(2, 0, 0)]));
    bench.command(ms(100), 5, 2, write(2));
    bench.command(ms(3200), 6, 2, write(2));
    bench.run_until(ms(11_000));
    let (at, completion) = bench.completion(5).unwrap();
    assert_eq!(completion.status, Status::NotSent, "it had no turn");
    assert!(*at <= ms(3200), "{at:?}");
}

#[test]
fn a_device_that_is_configured_anew_during_an_outage_is_read_on() {
    let mut bench = Bench::new();
    bench.configure(device(1, 1, &[(1, 0, 200)]));
    bench.run_until(ms(1000));
    bench.world.dead.insert(1);
    bench.run_until(ms(2500));
    assert_eq!(bench.bad.len(), 1, "it is offline since a periodic reading");
    bench.world.dead.clear();
    bench.configure(device(1, 1, &[(1, 0, 200)]));
    bench.run_until(ms(4500));
    let reads = bench.reads_of(1);
    let after = reads.iter().filter(|at| **at > ms(2500)).count();
    assert!((9..=11).contains(&after), "{after} readings in two seconds");
}

/// A device that refuses for a while is read in parts for a while: the whole is tried
/// again, and no value is lost by that.
#[test]
fn what_was_refused_together_is_tried_together_again() {
    let mut bench = Bench::new();
    bench.world.illegal.insert(2);
    let points: Vec<_> = (0..8).map(|at| (u32::from(at) + 1, at, 1000)).collect();
    bench.configure(device(1, 1, &points));
    bench.run_until(ms(30_500));
    let told = |bench: &Bench| {
        let lines = bench.logs.iter();
        lines.filter(|line| line.contains("read in parts")).count()
    };
    assert_eq!(told(&bench), 1, "{:?}", bench.logs);
    let before = bench.exchanges.len();
    bench.run_until(ms(40_500));
    assert_eq!(
        bench.exchanges.len() - before,
        30,
        "the point alone, and its two sides"
    );
    bench.world.illegal.clear();
    bench.run_until(ms(90_500));
    let (before, bad) = (bench.exchanges.len(), bench.bad.len());
    bench.run_until(ms(100_500));
    assert_eq!(bench.exchanges.len() - before, 10, "all in one again");
    bench.world.illegal.insert(2);
    bench.run_until(ms(200_500));
    assert_eq!(told(&bench), 2);
    assert!(
        bench.bad[bad..].iter().all(|(_, point, _)| *point == 3),
        "{:?}",
        &bench.bad[bad..]
    );
    // Never to be had, it costs a few requests an hour.
    bench.run_until(ms(10 * 3_600_000));
    assert!(told(&bench) <= 17, "{}", told(&bench));
}
