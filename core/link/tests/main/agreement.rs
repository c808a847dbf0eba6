//! Whatever the wire does and whoever crashes: no record is lost or taken
//! twice on either lane, and the edge's objects become the cluster's.

use longshore_link::Lane;
use proptest::prelude::*;

use crate::step::Step;
use crate::world::World;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..6, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => (0u8..6).prop_map(Step::Delete),
        5 => Just(Step::Report(Lane::Live)),
        5 => Just(Step::Report(Lane::Telemetry)),
        12 => (0usize..3).prop_map(Step::ToHub),
        12 => Just(Step::ToEdge),
        10 => Just(Step::HubStore(Lane::Live)),
        6 => Just(Step::HubStore(Lane::Telemetry)),
        10 => Just(Step::EdgeStore),
        1 => (0usize..3).prop_map(Step::RepeatToHub),
        1 => Just(Step::RepeatToEdge),
        1 => (0usize..3).prop_map(Step::LoseToHub),
        1 => Just(Step::LoseToEdge),
        2 => Just(Step::CutAtEdge),
        1 => Just(Step::CutBoth),
        5 => Just(Step::Connect),
        1 => Just(Step::CrashEdge),
        1 => Just(Step::WipeEdge),
        1 => Just(Step::CrashHub),
        2 => (0u16..15_000).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_ends_agree_whatever_happens(steps in proptest::collection::vec(step(), 0..200)) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
            world.check();
        }
        world.settle();
        world.check();
    }
}
