//! Ten minutes without a link, and what comes after it.

use std::time::Duration;

use longshore_link::Lane;

use crate::world::World;

const SECONDS: u64 = 600;
const SAMPLES_EACH_SECOND: u64 = 5;

/// Ten minutes of samples, and every ten seconds something live.
fn after_an_outage() -> World {
    let mut world = World::new();
    for second in 1..=SECONDS {
        for _ in 0..SAMPLES_EACH_SECOND {
            world.report(Lane::Telemetry);
        }
        if second % 10 == 0 {
            world.report(Lane::Live);
        }
        world.wait(Duration::from_secs(1));
    }
    world
}

#[test]
fn samples_of_an_outage_come_in_order_once_and_behind_what_is_live() {
    let mut world = after_an_outage();
    world.settle();
    let (live, samples) = (SECONDS / 10, SECONDS * SAMPLES_EACH_SECOND);
    let live = (1..=live).map(|sequence| (Lane::Live, sequence));
    let samples = (1..=samples).map(|sequence| (Lane::Telemetry, sequence));
    assert_eq!(world.arrived, live.chain(samples).collect::<Vec<_>>());
}

#[test]
fn what_is_live_does_not_wait_for_whoever_takes_the_samples() {
    let mut world = after_an_outage();
    world.connect();
    // The lane is opened, and then nobody takes anything.
    world.rounds(3, &[Lane::Live, Lane::Telemetry]);
    world.rounds(500, &[Lane::Live]);
    let (live, samples) = (world.held(Lane::Live), world.held(Lane::Telemetry));
    assert_eq!((live, samples), (SECONDS / 10, 0));
    let under_way = |world: &World| {
        let of_telemetry = world.arrived.iter().filter(|(l, _)| *l == Lane::Telemetry);
        of_telemetry.count()
    };
    assert_eq!(under_way(&world), 3, "the window is closed");
    for n in 1..=100 {
        world.report(Lane::Live);
        world.rounds(10, &[Lane::Live]);
        assert_eq!(world.held(Lane::Live), live + n);
    }
    assert_eq!(under_way(&world), 3, "the window is still closed");
    world.settle();
}
