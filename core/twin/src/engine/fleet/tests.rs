use std::{collections::BTreeMap, time::Duration};

use longshore_types::{
    Quality, Reason, Value,
    device::{AccessMode, PropertyType},
    effective::Desired,
};

use super::*;
use crate::point::FREE;

fn at(ms: u64) -> Now {
    let unix_ms = ms as i64;
    Now { ms, unix_ms }
}

fn name(device: &str) -> DeviceName {
    DeviceName::new("default", device).unwrap()
}

fn property(name: &str, value_type: PropertyType) -> EffectiveProperty {
    EffectiveProperty {
        name: name.to_owned(),
        index: 0,
        value_type,
        access: AccessMode::ReadWrite,
        minimum: None,
        maximum: None,
        unit: String::new(),
        policy: Arc::default(),
        config: Arc::default(),
        collect_cycle: Duration::from_secs(1),
        report_cycle: Duration::ZERO,
        report_to_cloud: true,
        desired: Desired::None,
        desired_metadata: BTreeMap::new(),
        broken: None,
        kind: None,
    }
}

fn ints(names: &[&str]) -> Vec<EffectiveProperty> {
    let int = |name: &&str| property(name, PropertyType::Int);
    names.iter().map(int).collect()
}

/// A fleet with one device that has these properties.
fn with(properties: &[&str]) -> (Fleet, u32, Arc<Dangling>) {
    let dangling = Arc::new(Dangling::default());
    let mut fleet = Fleet::new(dangling.clone());
    let id = fleet.add(name("boiler"), "uid", at(0));
    let gone = fleet.lay_out(id, &ints(properties), Vec::new(), false, at(0));
    assert!(gone.is_empty());
    (fleet, id, dangling)
}

/// What has to hold at any time between names, devices and points.
fn check(fleet: &Fleet) {
    for (name, id) in fleet.ids() {
        assert_eq!(fleet.device(id).unwrap().name, *name);
    }
    assert_eq!(fleet.devices().count(), fleet.sizes().0);
    let mut used = 0;
    for (id, device) in fleet.devices() {
        assert_eq!(device.names.len(), device.points.len());
        for (property, point) in device.properties() {
            used += 1;
            assert_eq!(fleet.point(point).device, id, "{property}");
            assert_eq!(device.point(property), Some(point));
            assert_eq!(fleet.place(id, point).unwrap().1, property);
        }
    }
    assert_eq!(used, fleet.sizes().1);
}

#[test]
fn a_property_keeps_its_point_whatever_comes_and_goes_beside_it() {
    let (mut fleet, id, _) = with(&["a", "b", "c"]);
    let b = fleet.device(id).unwrap().point("b").unwrap();
    let gone = fleet.lay_out(id, &ints(&["d", "b"]), Vec::new(), false, at(1));
    check(&fleet);
    let mut gone: Vec<_> = gone
        .iter()
        .map(|gone| (&*gone.property, gone.point))
        .collect();
    gone.sort_unstable();
    assert_eq!(gone, [("a", 0), ("c", 2)]);
    assert_eq!(fleet.device(id).unwrap().point("b"), Some(b));
    // Not one of those that have just become free.
    assert_eq!(fleet.device(id).unwrap().point("d"), Some(3));
    assert_eq!(fleet.sizes(), (1, 2));
    assert_eq!(fleet.point(0).device, FREE);
}

#[test]
fn an_id_is_given_out_again_when_nothing_can_be_under_way_any_more() {
    let (mut fleet, id, _) = with(&["a"]);
    let (removed, device) = fleet.remove(&name("boiler"), at(10)).unwrap();
    assert_eq!((removed, device.points()), (id, &[0][..]));
    check(&fleet);
    let early = fleet.add(name("early"), "", at(9 + REUSE_MS));
    fleet.lay_out(early, &ints(&["a"]), Vec::new(), false, at(9 + REUSE_MS));
    let late = fleet.add(name("late"), "", at(10 + REUSE_MS));
    fleet.lay_out(late, &ints(&["a"]), Vec::new(), false, at(10 + REUSE_MS));
    check(&fleet);
    assert_eq!(
        (early, fleet.device(early).unwrap().points()),
        (1, &[1][..])
    );
    assert_eq!((late, fleet.device(late).unwrap().points()), (0, &[0][..]));
}

#[test]
fn another_type_forgets_the_value_and_other_limits_do_not() {
    let (mut fleet, id, _) = with(&["a"]);
    fleet.point_mut(0).restore(SavedValue {
        name: "a".to_owned(),
        value: Value::Int(5),
        source_time_ns: 1,
        good_ns: 1,
        doubtful: false,
    });
    let mut limited = ints(&["a"]);
    limited[0].maximum = Some(longshore_types::effective::Bound::Int(9));
    fleet.lay_out(id, &limited, Vec::new(), false, at(1));
    assert_eq!(fleet.point(0).value, Some(Value::Int(5)));
    let text = [property("a", PropertyType::String)];
    fleet.lay_out(id, &text, Vec::new(), false, at(2));
    assert_eq!(fleet.point(0).value, None);
    check(&fleet);
}

#[test]
fn what_was_saved_is_the_value_of_a_new_point_only() {
    let (mut fleet, id, _) = with(&["a"]);
    let saved = |name: &str| SavedValue {
        name: name.to_owned(),
        value: Value::Int(7),
        source_time_ns: 3,
        good_ns: 2,
        doubtful: false,
    };
    let values = vec![saved("a"), saved("b"), saved("c")];
    fleet.lay_out(id, &ints(&["a", "b"]), values, false, at(1));
    let a = fleet.property(id, "a").unwrap();
    let b = fleet.property(id, "b").unwrap();
    assert_eq!((&a.value, &b.value), (&None, &Some(Value::Int(7))));
    assert_eq!(
        (b.quality, b.reason, b.good_ns),
        (Quality::Uncertain, Reason::Stale, 2)
    );
}

#[test]
fn stale_is_what_is_good_and_was_not_read() {
    let (mut fleet, _, _) = with(&["a", "b", "c"]);
    for id in [0, 1] {
        fleet.read(id, 1_000).quality = Quality::Good;
    }
    fleet.read(2, 1_000);
    assert!(fleet.stale(2_000).is_empty());
    fleet.read(1, 9_000);
    assert!(fleet.is_read_since(1, 8_999) && !fleet.is_read_since(1, 9_000));
    assert_eq!(fleet.stale(9_000), [0]);
    // What comes by itself is not missed.
    if let Some(device) = fleet.device_mut(0) {
        device.mapper = Some(0);
    }
    fleet.set_staleness(0, true);
    assert!(fleet.stale(9_000).is_empty());
}

#[test]
fn an_id_that_leads_nowhere_is_told_unless_it_may() {
    let (mut fleet, id, dangling) = with(&["a"]);
    assert!(fleet.device_if_there(9).is_none() && fleet.device_mut_if_there(9).is_none());
    assert!(fleet.remove(&name("nobody"), at(1)).is_none());
    assert!(fleet.point_if_known(9).is_none());
    assert_eq!(dangling.count(), 0);
    assert!(fleet.device(9).is_none());
    assert!(fleet.device_mut(9).is_none());
    assert!(fleet.points_of(9).is_empty());
    assert!(fleet.place(id, 9).is_none());
    assert_eq!(dangling.count(), 4);
    fleet.remove(&name("boiler"), at(1));
    assert!(fleet.was_device(id) && !fleet.was_device(9));
    assert!(fleet.device(id).is_none());
    assert_eq!(dangling.count(), 5);
}
