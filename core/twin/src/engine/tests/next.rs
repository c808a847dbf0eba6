//! When the engine wants to look at the time: soon enough for everything, and
//! not at all for nothing.

use super::*;

impl World {
    /// Ticks when the engine asks for it and at no other time, until `end`. Gives
    /// how often.
    fn doze(&mut self, end: u64) -> usize {
        for times in 0.. {
            let now = self.now();
            // As the saver does in each turn.
            self.engine.due_reports(now, 99);
            match self.engine.next_due(now).filter(|at| *at <= end) {
                Some(at) => {
                    assert!(at > self.ms, "asks for the past");
                    self.tick(at - self.ms);
                }
                None => {
                    self.ms = end;
                    return times;
                }
            }
        }
        unreachable!("a range without an end")
    }
}

#[test]
fn with_nothing_to_do_nobody_wakes() {
    let mut world = World::new();
    world.tick(1);
    // The mapper that is starting is missed once, and that is all.
    assert!(world.doze(1_000_000) <= 2);
    let now = world.now();
    assert_eq!(world.engine.next_due(now), None);
}

#[test]
fn a_value_is_stale_in_time_though_nobody_looked_in_between() {
    let mut world = World::with_boiler(None);
    world.read_setpoint(600);
    world.tick(1);
    let read = world.ms;
    let mut woken = 0;
    while world.twin("boiler", "setpoint").quality == Quality::Good {
        let now = world.now();
        world.engine.due_reports(now, 99);
        let at = world.engine.next_due(now).expect("it will be stale");
        world.tick(at - world.ms);
        woken += 1;
        assert!(woken < 20, "a look each second at most");
    }
    // Three cycles, but not before five seconds, and a second for the search.
    assert!((5_000..=6_100).contains(&(world.ms - read)), "{}", world.ms);
}

#[test]
fn a_write_is_tried_again_in_time_and_waits_for_its_mapper_asleep() {
    let mut world = World::with_boiler(Some("60"));
    let (token, _) = world.writes()[0];
    world.complete(token, Status::Line, "no answer");
    world.doze(world.ms + 100);
    let read = world.reads()[0];
    world.read_setpoint(200);
    world.complete(read, Status::Ok, "");
    let end = world.ms + 1_000;
    world.doze(end);
    assert_eq!(world.writes().len(), 1, "the first pause is 200 ms");
    world.down();
    let end = world.ms + 600_000;
    let woken = world.doze(end);
    assert!(woken < 200, "{woken} times in ten minutes, for snapshots");
    world.up();
    world.complete_configures();
    assert_eq!(world.reads().len(), 1, "it may have arrived: that is read");
}

#[test]
fn a_delay_of_an_event_and_the_end_of_a_call_are_kept() {
    let properties =
        json!([{"name": "t", "type": "INT", "visitors": {"configData": {"address": "ir:0"}}}]);
    let hot = json!({"events": [{"name": "hot", "when": "t > 90", "delay": "30s"}]});
    let mut world = World::with_device(properties, hot);
    world.tick(1);
    let point = world.point("d", "t");
    world.read(&[(point, ValueRef::Int(95))]);
    world.retained();
    let end = world.ms + 20_000;
    for _ in 0..20 {
        world.doze(world.ms + 1_000);
        world.read(&[(point, ValueRef::Int(95))]);
    }
    assert!(world.ms >= end && world.retained().is_empty());
    for _ in 0..11 {
        world.doze(world.ms + 1_000);
        world.read(&[(point, ValueRef::Int(95))]);
    }
    assert_eq!(world.retained().len(), 1);
}

/// A pass over all devices rests for what it did in vain, and so has to know it.
#[test]
fn a_pass_knows_which_part_of_it_was_in_vain() {
    let mut world = World::with_boiler(None);
    let node = NodeName::new("edge-1").unwrap();
    let mut pass = |objects: &[Stored]| {
        let now = world.now();
        let all = objects.iter().map(Stored::view);
        let mut pass = Reconciliation::new(&node, all, fingerprint);
        while pass.run_while(&mut world.engine, now, || false) {}
        let in_vain = pass.passed_over();
        drop(pass.finish(&mut world.engine));
        in_vain
    };
    let (one, other) = (device("boiler", None), device("tank", None));
    assert_eq!(pass(&[model(), one.clone()]), 1.0);
    assert_eq!(pass(&[model(), one.clone(), other.clone()]), 0.5);
    assert_eq!(pass(&[model(), one, other]), 1.0);
    assert_eq!(pass(&[]), 0.0);
}
