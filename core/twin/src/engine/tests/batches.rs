//! Readings in, messages and reports out.

use super::*;

#[test]
fn a_batch_becomes_one_message_for_each_device() {
    let mut world = World::with_boiler(None);
    world.objects.push(device("other", None));
    world.reconcile();
    world.complete_configures();
    let (a, b) = (
        world.point("boiler", "temperature"),
        world.point("boiler", "mode"),
    );
    let c = world.point("other", "temperature");
    world.read(&[
        (a, ValueRef::Int(215)),
        (b, ValueRef::String("eco \"2\"")),
        (c, ValueRef::Int(7)),
    ]);
    let batches = std::mem::take(&mut *world.ears.batches.lock().unwrap());
    assert_eq!(
        batches,
        [
            (
                "longshore/default/boiler/batch".to_owned(),
                r#"{"timestamp":1700000001000,"values":{"temperature":21.5,"mode":"eco \"2\""}}"#
                    .to_owned()
            ),
            (
                "longshore/default/other/batch".to_owned(),
                r#"{"timestamp":1700000001000,"values":{"temperature":0.7}}"#.to_owned()
            ),
        ]
    );
    world.read(&[(a, ValueRef::Int(215))]);
    assert!(
        world.ears.batches.lock().unwrap().is_empty(),
        "nothing new, nothing said"
    );
    world.ears.deaf.store(true, Ordering::Relaxed);
    world.ears.interest.store(1, Ordering::Relaxed);
    world.read(&[(a, ValueRef::Int(216))]);
    assert!(
        world.ears.batches.lock().unwrap().is_empty(),
        "nobody listens"
    );
    assert_eq!(
        world.twin("boiler", "temperature").value,
        Some(Value::Float(21.6))
    );
}

#[test]
fn quality_stands_beside_the_values() {
    let mut world = World::with_boiler(None);
    let point = world.point("boiler", "temperature");
    world.read(&[(point, ValueRef::Int(215))]);
    world.ears.batches.lock().unwrap().clear();
    let bad = Reading {
        quality: Quality::Bad,
        reason: Reason::Timeout,
        source_time_ns: 5_000_000,
        value: None,
        message: "no answer",
    };
    let now = world.now();
    world.engine.samples(0, [(point, bad)].into_iter(), now);
    world.collect();
    assert_eq!(
        world.ears.batches.lock().unwrap()[0].1,
        r#"{"timestamp":5,"values":{},"quality":{"temperature":"bad"}}"#
    );
    let twin = world.twin("boiler", "temperature");
    assert_eq!(
        (twin.reason, twin.last_error.as_deref()),
        (Reason::Timeout, Some("no answer"))
    );
    assert_eq!(
        twin.value,
        Some(Value::Float(21.5)),
        "the last usable value stays"
    );
}

#[test]
fn documents_tell_last_and_current() {
    let mut world = World::with_boiler(None);
    world.ears.changes_wanted.store(true, Ordering::Relaxed);
    world.ears.interest.store(1, Ordering::Relaxed);
    let point = world.point("boiler", "temperature");
    world.read(&[(point, ValueRef::Int(215))]);
    world.read(&[(point, ValueRef::Int(216))]);
    let changes = world.ears.changes.lock().unwrap();
    let change = &changes[1].properties[0];
    assert_eq!(
        (change.last.value.clone(), change.current.value.clone()),
        (Some(Value::Float(21.5)), Some(Value::Float(21.6)))
    );
    assert_eq!((change.last.version, change.current.version), (1, 2));
}

#[test]
fn a_desired_value_is_told_when_it_is_given_and_not_whenever_its_device_is_looked_at() {
    let mut world = World::with_boiler(Some("60"));
    world.ears.changes_wanted.store(true, Ordering::Relaxed);
    world.ears.interest.store(1, Ordering::Relaxed);
    let given = |world: &World| {
        let changes = std::mem::take(&mut *world.ears.changes.lock().unwrap());
        let properties = changes.into_iter().flat_map(|change| change.properties);
        let desired = properties.filter_map(|property| property.current.desired);
        desired.map(|desired| desired.value).collect::<Vec<_>>()
    };
    // Another unit: the device is made anew, its desired value is not.
    let json = world.objects[1].json.replace("\"unit\":1", "\"unit\":2");
    assert_ne!(json, world.objects[1].json);
    world.objects[1].json = json;
    world.reconcile();
    assert_eq!(given(&world), Vec::<String>::new());
    world.objects[1] = device("boiler", Some("61"));
    world.reconcile();
    assert_eq!(given(&world), ["61"]);
}

#[test]
fn a_value_that_is_not_read_goes_stale() {
    let mut world = World::with_boiler(None);
    let point = world.point("boiler", "temperature");
    world.read(&[(point, ValueRef::Int(215))]);
    world.tick(4_000);
    assert_eq!(world.twin("boiler", "temperature").quality, Quality::Good);
    world.tick(2_000);
    let twin = world.twin("boiler", "temperature");
    assert_eq!(
        (twin.quality, twin.reason),
        (Quality::Uncertain, Reason::Stale)
    );
    assert!(
        world
            .ears
            .batches
            .lock()
            .unwrap()
            .last()
            .unwrap()
            .1
            .contains(r#""quality":{"temperature":"uncertain"}"#)
    );
    world.read(&[(point, ValueRef::Int(215))]);
    assert_eq!(world.twin("boiler", "temperature").quality, Quality::Good);
}

/// A subscription is silent while nothing changes.
#[test]
fn a_value_that_the_device_sends_by_itself_may_stand_still() {
    let mut world = World::with_boiler(None);
    let mut pushing = mapper("modbus");
    pushing.pushes = true;
    let now = world.now();
    assert!(!world.engine.knows_mapper(0, &pushing));
    world.engine.know_mapper(0, pushing, now);
    let point = world.point("boiler", "temperature");
    world.read(&[(point, ValueRef::Int(215))]);
    world.tick(600_000);
    assert_eq!(world.twin("boiler", "temperature").quality, Quality::Good);
    // The mapper's next version polls again.
    let now = world.now();
    world.engine.know_mapper(0, mapper("modbus"), now);
    world.tick(6_000);
    let twin = world.twin("boiler", "temperature");
    assert_eq!(twin.quality, Quality::Uncertain);
}

#[test]
fn reports_are_whole_and_at_a_bounded_rate() {
    let mut world = World::with_boiler(None);
    world.engine.set_linked(true);
    let now = world.now();
    let reports = world.engine.due_reports(now, 10);
    assert_eq!((reports.len(), reports[0].1.properties.len()), (1, 3));
    let point = world.point("boiler", "temperature");
    let mut made = 0;
    for i in 0..100 {
        world.read(&[(point, ValueRef::Int(i))]);
        world.tick(50);
        let now = world.now();
        made += world.engine.due_reports(now, 10).len();
    }
    assert_eq!(made, 5, "one a second");
    world.read(&[(point, ValueRef::Int(-1))]);
    world.tick(2_000);
    let now = world.now();
    assert_eq!(world.engine.due_reports(now, 10).len(), 1);
    assert!(world.engine.due_reports(now, 10).is_empty());
}
