//! Readings in, samples for the hub's history out.

use longshore_types::PropertySample;

use super::*;

fn property(name: &str, config: Json) -> Json {
    json!({"name": name, "type": "INT", "visitors": {"configData": config}})
}

fn kept(name: &str, mut report: Json) -> Json {
    report["history"] = true.into();
    property(name, json!({"address": name, "report": report}))
}

impl World {
    /// What was given out so far: property, value, quality, reason and time.
    fn samples(&mut self) -> Vec<(String, Option<Value>, Quality, Reason, i64)> {
        let records = std::mem::take(&mut self.history);
        let all = records.into_iter().inspect(|record| {
            assert_eq!(record.device, name("d"));
            assert_eq!(record.uid, "uid-d");
        });
        let flat = |s: PropertySample| {
            let time = s.time_ms - 1_700_000_000_000;
            (s.property.to_string(), s.value, s.quality, s.reason, time)
        };
        all.flat_map(|record| record.samples).map(flat).collect()
    }

    fn values(&mut self) -> Vec<(String, Option<Value>)> {
        let samples = self.samples().into_iter();
        samples.map(|(name, value, ..)| (name, value)).collect()
    }

    fn closed(&mut self) -> Vec<(String, Option<Value>)> {
        self.engine.close_history();
        self.collect();
        self.values()
    }
}

fn int(name: &str, value: i64) -> (String, Option<Value>) {
    (name.to_owned(), Some(Value::Int(value)))
}

#[test]
fn what_is_reported_is_kept_and_nothing_else() {
    let mut world = World::with_device(
        json!([
            kept("a", json!({"deadband": 5, "maxInterval": "2s"})),
            property("b", json!({"address": "b"})),
        ]),
        json!({}),
    );
    world.engine.set_linked(true);
    let (a, b) = (world.point("d", "a"), world.point("d", "b"));
    for value in [100, 101, 110] {
        world.read(&[(a, ValueRef::Int(value)), (b, ValueRef::Int(value))]);
        world.tick(100);
    }
    assert_eq!(world.samples(), [], "they are still collected");
    assert_eq!(world.engine.stats().history_unsaved, 2);
    world.tick(900);
    assert_eq!(world.values(), [int("a", 100), int("a", 110)]);
    assert_eq!(world.engine.stats().history_unsaved, 0);
    // Not changed, but its longest interval is over.
    world.tick(1_100);
    world.read(&[(a, ValueRef::Int(110))]);
    assert_eq!(world.closed(), [int("a", 110)]);
    assert_eq!(world.engine.stats().history, 3);
}

#[test]
fn a_sample_says_when_it_was_so_and_how_far_to_trust_it() {
    let mut world = World::with_device(json!([kept("a", json!({}))]), json!({}));
    let a = world.point("d", "a");
    world.read(&[(a, ValueRef::Int(1))]);
    world.ms += 500;
    world.bad(a, "no answer");
    world.bad(a, "no answer");
    world.ms += 500;
    // A mapper that does not tell the time.
    let untimed = Reading {
        quality: Quality::Good,
        reason: Reason::None,
        source_time_ns: 0,
        value: Some(ValueRef::Int(2)),
        message: "",
    };
    let now = world.now();
    world.engine.samples(0, [(a, untimed)].into_iter(), now);
    world.tick(6_000);
    world.engine.close_history();
    world.collect();
    let of = |value: Option<i64>, quality, reason, time| {
        let value = value.map(Value::Int);
        ("a".to_owned(), value, quality, reason, time)
    };
    assert_eq!(
        world.samples(),
        [
            of(Some(1), Quality::Good, Reason::None, 1_000),
            of(None, Quality::Bad, Reason::Timeout, 1_500),
            of(Some(2), Quality::Good, Reason::None, 2_000),
            // When that was noticed: at the time of the reading it was good.
            of(Some(2), Quality::Uncertain, Reason::Stale, 8_000),
        ]
    );
}

#[test]
fn a_group_is_kept_as_one_snapshot() {
    let mut world = World::with_device(
        json!([kept("kwh", json!({})), kept("kw", json!({}))]),
        json!({"groups": [{"name": "energy", "properties": ["kwh", "kw"]}]}),
    );
    let [kwh, kw] = ["kwh", "kw"].map(|name| world.point("d", name));
    world.read(&[(kwh, ValueRef::Int(1)), (kw, ValueRef::Int(2))]);
    assert_eq!(world.closed().len(), 2);
    world.ms += 100;
    world.read(&[(kwh, ValueRef::Int(1)), (kw, ValueRef::Int(5))]);
    world.engine.close_history();
    world.collect();
    let samples = world.samples();
    assert_eq!(samples.len(), 2, "kwh did not change, but belongs to kw");
    assert!(samples.iter().all(|(.., time)| *time == 1_100));
}

#[test]
fn without_a_link_records_are_fewer_and_nothing_is_missing() {
    let mut world = World::with_device(json!([kept("a", json!({}))]), json!({}));
    let a = world.point("d", "a");
    for n in 0..595 {
        world.read(&[(a, ValueRef::Int(n))]);
        world.tick(100);
    }
    assert_eq!(world.history.len(), 5, "ten seconds each");
    world.engine.set_linked(true);
    world.tick(0);
    assert_eq!(world.history.len(), 6);
    let expected: Vec<_> = (0..595).map(|n| int("a", n)).collect();
    assert_eq!(world.values(), expected);
}

#[test]
fn a_device_that_goes_leaves_its_samples() {
    let mut world = World::with_device(json!([kept("a", json!({}))]), json!({}));
    let a = world.point("d", "a");
    world.read(&[(a, ValueRef::Int(1))]);
    world.objects.retain(|object| object.kind != "Device");
    world.reconcile();
    assert_eq!(world.values(), [int("a", 1)]);
}

#[test]
fn nothing_is_kept_where_nobody_could_take_it() {
    let mut world = World::with_device(json!([kept("a", json!({}))]), json!({}));
    // A device of the node's own folder has no uid.
    for object in &mut world.objects {
        object.uid.clear();
    }
    world.reconcile();
    world.complete_configures();
    let a = world.point("d", "a");
    world.read(&[(a, ValueRef::Int(1))]);
    assert_eq!(world.closed(), []);
    assert_eq!(world.engine.stats().changes, 1);
}

#[test]
fn a_value_that_no_frame_could_carry_is_counted() {
    let text = json!({"name": "a", "type": "STRING",
        "visitors": {"configData": {"address": "a", "report": {"history": true}}}});
    let mut world = World::with_device(json!([text]), json!({}));
    let a = world.point("d", "a");
    let large = "x".repeat(crate::engine::history::MOST_VALUE_BYTES + 1);
    world.read(&[(a, ValueRef::String(&large))]);
    world.read(&[(a, ValueRef::String(&large[1..]))]);
    assert_eq!(world.closed().len(), 1);
    let stats = world.engine.stats();
    assert_eq!((stats.history, stats.history_dropped), (1, 1));
}
