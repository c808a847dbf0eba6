//! Events: told, kept, reported.

use super::*;

fn kettle(events: Json) -> World {
    let properties = json!([
        {"name": "t", "type": "FLOAT", "visitors": {"configData": {"address": "ir:0", "scale": 0.1, "deadband": 5}}},
        {"name": "on", "type": "BOOLEAN", "visitors": {"configData": {"address": "co:0"}}},
    ]);
    let mut world = World::with_device(properties, json!({ "events": events }));
    world.tick(1_000);
    world
}

fn hot() -> Json {
    json!([{"name": "hot", "when": "t > 90 && on", "clear": "t < 85", "severity": "major", "message": "{t} °C"}])
}

#[test]
fn an_event_is_told_with_its_values_when_it_is_set_and_when_it_is_over() {
    let mut world = kettle(hot());
    let (t, on) = (world.point("d", "t"), world.point("d", "on"));
    world.read(&[(t, ValueRef::Int(899)), (on, ValueRef::Bool(true))]);
    assert_eq!(world.retained(), []);
    // A change that the deadband hides from reports is an event all the same.
    world.read(&[(t, ValueRef::Int(915))]);
    assert_eq!(
        world.retained(),
        [(
            "longshore/default/d/event/hot".to_owned(),
            json!({"timestamp": 1_700_000_002_000_i64, "event": "hot", "active": true, "severity": "major",
                   "message": "91.5 °C", "values": {"t": 91.5, "on": true}})
        )]
    );
    let twin = world.engine.get(&name("d")).unwrap();
    assert_eq!(
        (
            twin.events[0].active,
            twin.events[0].since.map(|at| at.as_millis())
        ),
        (true, Some(1_700_000_002_000))
    );
    world.ms += 10;
    world.read(&[(t, ValueRef::Int(870))]);
    world.read(&[(on, ValueRef::Bool(false))]);
    assert_eq!(
        world.retained(),
        [],
        "between the two conditions nothing changes"
    );
    world.read(&[(t, ValueRef::Int(840))]);
    let told = world.retained();
    assert_eq!(
        (&told[0].1["active"], &told[0].1["timestamp"]),
        (&json!(false), &json!(1_700_000_002_010_i64))
    );
    assert!(!world.engine.get(&name("d")).unwrap().events[0].active);
}

#[test]
fn a_bad_reading_neither_sets_nor_clears_an_event() {
    let mut world = kettle(json!([{"name": "cold", "when": "t < 5"}]));
    let t = world.point("d", "t");
    world.read(&[(t, ValueRef::Int(20))]);
    assert_eq!(world.retained()[0].1["active"], true);
    world.bad(t, "no answer");
    world.tick(60_000);
    assert_eq!(world.retained(), []);
    assert!(world.engine.get(&name("d")).unwrap().events[0].active);
}

#[test]
fn an_event_waits_for_its_delay() {
    let mut world = kettle(json!([{"name": "hot", "when": "t > 90", "delay": "2s"}]));
    let t = world.point("d", "t");
    world.read(&[(t, ValueRef::Int(950))]);
    world.tick(1_900);
    assert_eq!(world.retained(), []);
    world.tick(100);
    assert_eq!(
        world.retained()[0].1["active"],
        true,
        "time alone is enough"
    );
}

#[test]
fn an_active_event_survives_a_restart() {
    let mut world = kettle(hot());
    let (t, on) = (world.point("d", "t"), world.point("d", "on"));
    world.read(&[(t, ValueRef::Int(950)), (on, ValueRef::Bool(true))]);
    let mut world = world.restarted();
    world.up();
    world.complete_configures();
    world.tick(1_000);
    let twin = world.engine.get(&name("d")).unwrap();
    assert_eq!(
        (
            twin.events[0].active,
            twin.events[0].since.map(|at| at.as_millis())
        ),
        (true, Some(1_700_000_002_000))
    );
    let told = world.retained();
    assert_eq!(
        (&told[0].1["active"], &told[0].1["message"]),
        (&json!(true), &json!("95 °C"))
    );
    assert_eq!(told[0].1["values"], json!({"t": 95.0, "on": true}));
    let t = world.point("d", "t");
    world.read(&[(t, ValueRef::Int(800))]);
    assert_eq!(world.retained()[0].1["active"], false);
}

#[test]
fn an_event_that_is_no_more_is_taken_back() {
    let mut world = kettle(hot());
    let (t, on) = (world.point("d", "t"), world.point("d", "on"));
    world.read(&[(t, ValueRef::Int(950)), (on, ValueRef::Bool(true))]);
    world.retained();
    let json = world.objects[0].json.replace("\"hot\"", "\"tooHot\"");
    world.objects[0].json = json;
    world.reconcile();
    let told = world.retained();
    assert_eq!(
        told[0],
        ("longshore/default/d/event/hot".to_owned(), Json::Null)
    );
    assert_eq!(
        told[1].0, "longshore/default/d/event/tooHot",
        "the new rule looks at what is known"
    );
    world.objects.clear();
    world.reconcile();
    assert_eq!(
        world.retained(),
        [("longshore/default/d/event/tooHot".to_owned(), Json::Null)]
    );
}

#[test]
fn an_event_that_the_bus_cannot_take_is_told_later() {
    let mut world = kettle(json!([{"name": "hot", "when": "t > 90"}]));
    let t = world.point("d", "t");
    world.ears.full.store(true, Ordering::Relaxed);
    world.read(&[(t, ValueRef::Int(950))]);
    world.tick(50);
    assert_eq!(world.retained(), []);
    world.ears.full.store(false, Ordering::Relaxed);
    world.tick(50);
    assert_eq!(world.retained()[0].1["active"], true);
    world.tick(50);
    assert_eq!(world.retained(), [], "once");
}
