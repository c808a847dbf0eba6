//! Ids that lead nowhere: told where it is a bug, passed over where it may be.

use super::*;

/// Bugs of the mapper, bugs of the engine.
fn told(world: &World) -> (u64, u64) {
    let stats = world.engine.stats();
    (stats.never_given, stats.dangling)
}

#[test]
fn what_was_on_its_way_while_a_device_went_is_no_bug() {
    let mut world = World::with_boiler(Some("60"));
    let point = world.point("boiler", "temperature");
    let id = world.engine.fleet.id(&name("boiler")).unwrap();
    let (write, _) = world.writes()[0];
    world.objects[1] = device("other", None);
    world.reconcile();
    let configure = world.configures()[0].2;
    world.objects.clear();
    world.reconcile();
    // A reading, a state, the ends of a write and of a configuration.
    world.read(&[(point, ValueRef::Int(215))]);
    let now = world.now();
    world.engine.device_state(0, id, Some(true), "", now);
    world.complete(write, Status::Ok, "");
    world.complete(configure, Status::Ok, "");
    // A snapshot that could not be kept.
    world.engine.snapshot_again(&[id], now);
    world.tick(60_000);
    assert!(world.engine.due_reports(world.now(), 9).is_empty());
    assert!(world.engine.due_snapshots(world.now(), 9, true).is_empty());
    assert_eq!((told(&world), world.engine.stats().strays), ((0, 0), 1));
}

#[test]
fn a_mapper_that_names_what_it_was_never_given_is_told() {
    let mut world = World::with_boiler(None);
    let now = world.now();
    world.read(&[(99, ValueRef::Int(1))]);
    assert_eq!((told(&world), world.engine.stats().strays), ((1, 0), 1));
    world.engine.device_state(0, 99, Some(true), "", now);
    assert_eq!(told(&world), (2, 0));
    world.complete(12_345, Status::Ok, "");
    assert_eq!(told(&world), (3, 0));
}

#[test]
fn a_command_that_is_answered_twice_is_told() {
    let mut world = World::with_boiler(Some("60"));
    let (write, _) = world.writes()[0];
    world.complete(write, Status::Line, "no answer");
    assert_eq!(told(&world), (0, 0));
    world.complete(write, Status::Line, "no answer");
    assert_eq!(told(&world), (1, 0));
}

#[test]
fn what_was_not_handed_out_when_a_mapper_went_is_not_for_the_next_one() {
    let mut world = World::new();
    world.objects = vec![model(), device("boiler", None)];
    world.reconcile();
    let now = world.now();
    world.engine.mapper_up(0, now);
    world.engine.mapper_down(0, "killed", now);
    world.collect();
    assert!(world.configures().is_empty());
    world.up();
    assert_eq!(world.configures().len(), 1);
    assert_eq!(told(&world), (0, 0));
}

#[test]
fn commands_given_back_after_their_mapper_went_are_no_bug() {
    let mut world = World::new();
    world.objects = vec![model(), device("boiler", None)];
    world.reconcile();
    world.up();
    let token = world.configures()[0].2;
    let now = world.now();
    world.engine.mapper_down(0, "killed", now);
    world.engine.not_submitted(&[token], now);
    world.collect();
    assert_eq!(told(&world), (0, 0));
}
