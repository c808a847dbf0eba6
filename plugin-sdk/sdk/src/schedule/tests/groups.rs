//! Groups that are read as one, one story each.

use std::{sync::Arc, time::Duration};

use proptest::{collection::vec, prelude::*};

use crate::{
    Reason, SampleValue, Status,
    schedule::{
        machine::BusCommandKind,
        tests::bench::{Bench, PUSHED, Push, Registers, device, ms},
        unit::Device,
    },
};

/// A device of points `(id, address, interval, group)`.
fn grouped(id: u32, unit: u8, points: &[(u32, u16, u64, &str)]) -> Arc<Device<Registers>> {
    let plain: Vec<_> = points.iter().map(|of| (of.0, of.1, of.2)).collect();
    let mut device = device(id, unit, &plain);
    let slots = &mut Arc::get_mut(&mut device).unwrap().slots;
    for (slot, (.., group)) in slots.iter_mut().zip(points) {
        slot.group = (!group.is_empty()).then(|| (*group).into());
    }
    device
}

fn write(point: u32) -> BusCommandKind<Registers> {
    BusCommandKind::Write {
        point,
        value: SampleValue::Uint(1),
    }
}

/// The batches with any of the points, each with how many of them it has and
/// at how many different times.
fn batches(bench: &Bench, points: &[u32]) -> Vec<(usize, usize)> {
    let batches = bench.batches.iter().map(|batch| {
        let of = batch.iter().filter(|(point, _)| points.contains(point));
        let mut times: Vec<_> = of.map(|(_, time)| *time).collect();
        let count = times.len();
        times.dedup();
        (count, times.len())
    });
    batches.filter(|(count, _)| *count > 0).collect()
}

#[test]
fn a_group_comes_in_one_batch_with_one_time_and_nothing_in_between() {
    let mut bench = Bench::new();
    bench.world.latency = ms(10);
    let points = [
        (1, 0, 500, "energy"),
        (2, 100, 500, "energy"),
        (3, 200, 500, "energy"),
        (4, 1, 500, ""),
        (5, 300, 500, ""),
    ];
    bench.configure(grouped(1, 1, &points));
    bench.configure(device(2, 2, &[(9, 0, 100)]));
    for token in 100..300 {
        bench.command(ms(token * 15), token, 2, write(9));
    }
    bench.run_until(Duration::from_secs(5));
    let snapshots = batches(&bench, &[1, 2, 3]);
    assert!((9..=11).contains(&snapshots.len()), "{}", snapshots.len());
    assert!(snapshots.iter().all(|of| *of == (3, 1)), "{snapshots:?}");
    let exchanges: Vec<_> = bench.exchanges.iter().map(|of| of.points.clone()).collect();
    for (index, points) in exchanges.iter().enumerate() {
        if points.first() == Some(&1) {
            assert_eq!(points, &[1], "the others have requests of their own");
            assert_eq!(exchanges[index + 1..index + 3], [vec![2], vec![3]]);
        }
    }
    assert!((9..=11).contains(&bench.reads_of(4).len()));
    let writes = bench
        .completions
        .iter()
        .filter(|(_, done)| done.token >= 100);
    assert!(
        writes.clone().count() == 200 && writes.clone().all(|(_, done)| done.status == Status::Ok)
    );
}

#[test]
fn a_group_that_fits_one_request_costs_none() {
    let mut bench = Bench::new();
    let points = [
        (1, 0, 1000, "a"),
        (2, 1, 1000, ""),
        (3, 2, 1000, "a"),
        (4, 3, 1000, "b"),
        (5, 4, 1000, "b"),
    ];
    bench.configure(grouped(1, 1, &points));
    bench.run_until(ms(900));
    assert_eq!(bench.exchanges.len(), 1);
    assert_eq!(bench.reads.len(), 5);
    assert_eq!(bench.batches.len(), 1);
}

#[test]
fn a_group_that_is_refused_in_part_is_bad_as_a_whole() {
    let mut bench = Bench::new();
    bench.world.illegal.insert(100);
    let points = [
        (1, 0, 1000, "energy"),
        (2, 100, 1000, "energy"),
        (3, 1, 1000, ""),
    ];
    bench.configure(grouped(1, 1, &points));
    bench.run_until(ms(900));
    let mut bad: Vec<_> = bench
        .bad
        .iter()
        .map(|(_, point, reason)| (*point, *reason))
        .collect();
    bad.sort_unstable_by_key(|of| of.0);
    assert_eq!(bad, [(1, Reason::Refused), (2, Reason::Refused)]);
    assert_eq!(bench.reasons[0], "group `energy`: illegal address");
    assert_eq!(bench.reads_of(3).len(), 1);
    bench.world.illegal.clear();
    bench.run_until(ms(3900));
    assert_eq!(bench.reads_of(1).len(), bench.reads_of(2).len());
    assert!(bench.reads_of(1).len() >= 2);
}

#[test]
fn a_group_in_which_the_device_minds_one_point_is_bad_but_its_neighbours_are_not() {
    let mut bench = Bench::new();
    bench.world.illegal.insert(2);
    let points = [
        (1, 0, 1000, ""),
        (2, 1, 1000, "a"),
        (3, 2, 1000, "a"),
        (4, 3, 1000, ""),
        (5, 4, 1000, "b"),
        (6, 5, 1000, "b"),
    ];
    bench.configure(grouped(1, 1, &points));
    bench.run_until(ms(3900));
    let bad: Vec<_> = bench.bad.iter().map(|(_, point, _)| *point).collect();
    assert!(bad.iter().all(|point| [2, 3].contains(point)), "{bad:?}");
    assert!(bench.reads_of(2).is_empty() && bench.reads_of(3).is_empty());
    for point in [1, 4, 5, 6] {
        assert!(bench.reads_of(point).len() >= 3);
    }
    assert!(batches(&bench, &[5, 6]).iter().all(|of| *of == (2, 1)));
}

#[test]
fn a_group_is_read_from_its_start_after_a_silence() {
    let mut bench = Bench::new();
    let points = [(1, 0, 2000, "energy"), (2, 100, 2000, "energy")];
    bench.configure(grouped(1, 1, &points));
    bench.run_until(ms(500));
    // Of the next reading the second request is not answered, once.
    bench.world.silent_at = vec![4];
    bench.run_until(ms(6000));
    let order: Vec<_> = bench
        .exchanges
        .iter()
        .map(|of| of.points[0])
        .take(6)
        .collect();
    assert_eq!(order, [1, 2, 1, 2, 1, 2]);
    assert!(bench.bad.is_empty(), "{:?}", bench.bad);
    assert!(batches(&bench, &[1, 2]).iter().all(|of| *of == (2, 1)));
}

#[test]
fn a_unit_that_is_back_does_not_show_half_a_group() {
    let mut bench = Bench::new();
    bench.world.dead.insert(1);
    let points = [(1, 0, 500, "energy"), (2, 100, 500, "energy")];
    bench.configure(grouped(1, 1, &points));
    bench.run_until(Duration::from_secs(5));
    bench.world.dead.clear();
    bench.run_until(Duration::from_secs(15));
    let snapshots = batches(&bench, &[1, 2]);
    assert!(snapshots.len() > 10);
    assert!(
        snapshots.iter().skip(1).all(|of| *of == (2, 1)),
        "{snapshots:?}"
    );
}

#[test]
fn a_probe_that_is_refused_does_not_show_half_a_group() {
    let mut bench = Bench::new();
    let points = [(1, 0, 500, "energy"), (2, 100, 500, "energy")];
    bench.world.dead.insert(1);
    bench.configure(grouped(1, 1, &points));
    bench.run_until(ms(4000));
    bench.world.dead.clear();
    bench.world.illegal.insert(0);
    bench.run_until(ms(10_000));
    assert!(bench.logs.iter().any(|line| line.contains("answers again")));
    let snapshots = batches(&bench, &[1, 2]);
    assert!(snapshots.len() > 2);
    assert!(snapshots.iter().all(|of| *of == (2, 1)), "{snapshots:?}");
}

/// The bad samples: points and messages.
fn bad(bench: &Bench) -> Vec<(u32, &str)> {
    let points = bench.bad.iter().map(|(_, point, _)| *point);
    points
        .zip(bench.reasons.iter().map(String::as_str))
        .collect()
}

#[test]
fn one_value_that_is_bad_or_missing_makes_its_group_bad() {
    // In one request with others, and in several of its own.
    for far in [2, 200] {
        let mut bench = Bench::new();
        let points = [
            (1, 0, 1000, "energy"),
            (2, far, 1000, "energy"),
            (3, 1, 1000, ""),
        ];
        bench.world.undecodable.insert(2);
        bench.configure(grouped(1, 1, &points));
        bench.run_until(ms(400));
        let nonsense = "group `energy`: nonsense";
        assert_eq!(bad(&bench), [(1, nonsense), (2, nonsense)]);
        assert_eq!(bench.reads_of(3).len(), 1);
        bench.world.undecodable.clear();
        bench.world.left_out.insert(1);
        bench.run_until(ms(1900));
        let missing = "group `energy`: the mapper has not read all of it";
        assert_eq!(bad(&bench)[2..], [(1, missing), (2, missing)]);
        bench.world.left_out.clear();
        bench.run_until(ms(2900));
        assert_eq!(batches(&bench, &[1, 2]), [(2, 1); 3]);
        assert_eq!(bench.reads_of(1).len(), 1);
    }
}

#[test]
fn a_group_is_read_from_its_start_on_a_new_connection() {
    let mut bench = Bench::new();
    bench.world.latency = ms(10);
    bench.configure(device(2, 2, &[(9, PUSHED, 0)]));
    let points = [
        (1, 0, 2000, "energy"),
        (2, 100, 2000, "energy"),
        (3, 200, 2000, "energy"),
    ];
    bench.configure(grouped(1, 1, &points));
    bench.run_until(ms(1500));
    let start = bench.exchanges.len();
    let due = bench.next_due();
    // During the second request of the next reading the connection is lost.
    bench.push(due + ms(15), Push::Broken);
    bench.run_until(ms(3500));
    let reads = bench.exchanges[start..].iter().filter(|of| of.unit == 1);
    let order: Vec<_> = reads.map(|of| of.points[0]).collect();
    assert_eq!(order, [1, 2, 1, 2, 3]);
    assert_eq!(bench.dials.len(), 2);
    assert!(bench.bad.is_empty(), "{:?}", bad(&bench));
    assert_eq!(batches(&bench, &[1, 2, 3]), [(3, 1); 2]);
}

#[test]
fn a_group_that_is_configured_anew_while_it_is_read_shows_nothing_of_the_old() {
    let mut bench = Bench::new();
    bench.world.latency = ms(10);
    let points = [(1, 0, 2000, "energy"), (2, 100, 2000, "energy")];
    bench.configure(grouped(1, 1, &points));
    // A dial, then two requests: this comes during the second one.
    let anew = |points| BusCommandKind::Configure {
        device: grouped(1, 1, points),
        message: String::new(),
    };
    bench.command(ms(25), 50, 1, anew(&points));
    // Another device on the same unit disturbs nobody.
    bench.command(
        ms(45),
        51,
        3,
        BusCommandKind::Configure {
            device: grouped(3, 1, &[(5, 1, 2000, "energy"), (6, 101, 2000, "energy")]),
            message: String::new(),
        },
    );
    bench.run_until(ms(500));
    let reads: Vec<_> = bench.exchanges.iter().map(|of| of.points[0]).collect();
    assert_eq!(reads, [1, 2, 1, 2, 5, 6]);
    assert_eq!(batches(&bench, &[1, 2]), [(2, 1)]);
    assert_eq!(batches(&bench, &[5, 6]), [(2, 1)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_group_is_whole_whatever_happens(
        points in vec((0..150_u16, prop_oneof![Just(200_u64), Just(500)], 0..4_usize), 2..20),
        illegal in vec(0..150_u16, 0..3),
        silent_at in vec(1..60_usize, 0..6),
        writes in vec(0..5000_u64, 0..40),
        undecodable in vec(1..20_u32, 0..2),
        broken in vec(0..4000_u64, 0..4),
        configured in vec(0..5000_u64, 0..4),
    ) {
        let mut bench = Bench::new();
        bench.world.latency = ms(5);
        bench.world.illegal.extend(illegal);
        bench.world.silent_at = silent_at;
        bench.world.undecodable.extend(undecodable);
        let points: Vec<_> = points.iter().enumerate()
            .map(|(index, (address, interval, group))| (index as u32 + 1, *address, *interval, ["", "a", "b", "c"][*group]))
            .collect();
        bench.configure(grouped(1, 1, &points));
        bench.configure(device(2, 2, &[(100, 0, 100), (101, PUSHED, 0)]));
        let anew = || BusCommandKind::Configure { device: grouped(1, 1, &points), message: String::new() };
        let writes = writes.into_iter().map(|at| (at, 2, write(100)));
        let mut commands: Vec<_> = configured.into_iter().map(|at| (at, 1, anew())).chain(writes).collect();
        commands.sort_by_key(|of| of.0);
        for (index, (at, device, kind)) in commands.into_iter().enumerate() {
            bench.command(ms(at), 1000 + index as u64, device, kind);
        }
        let mut broken = broken;
        broken.sort_unstable();
        for at in broken {
            bench.push(ms(at), Push::Broken);
        }
        bench.run_until(Duration::from_secs(10));
        for group in ["a", "b", "c"] {
            for interval in [200, 500] {
                let members: Vec<u32> = points.iter().filter(|of| of.2 == interval && of.3 == group).map(|of| of.0).collect();
                if members.len() > 1 {
                    for (count, times) in batches(&bench, &members) {
                        prop_assert_eq!((count % members.len(), times), (0, 1), "group {} of {:?}", group, members);
                    }
                }
            }
        }
        for (id, ..) in &points {
            let last = bench.batches.iter().flatten().filter(|(point, _)| point == id).map(|(_, time)| *time).max();
            prop_assert!(last.is_some_and(|time| time > 8_000_000_000), "point {} is read to the end: {:?}", id, last);
        }
    }
}
