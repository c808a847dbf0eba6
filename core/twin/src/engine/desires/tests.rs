use std::{collections::BTreeMap, sync::Arc, time::Duration};

use longshore_types::{
    Value,
    device::{AccessMode, PropertyType},
};

use super::*;

fn at(ms: u64) -> Now {
    let unix_ms = ms as i64;
    Now { ms, unix_ms }
}

/// A property whose Device says this.
fn says(desired: Desired) -> EffectiveProperty {
    EffectiveProperty {
        name: "setpoint".to_owned(),
        index: 0,
        value_type: PropertyType::Int,
        access: AccessMode::ReadWrite,
        minimum: None,
        maximum: None,
        unit: String::new(),
        policy: Arc::default(),
        config: Arc::default(),
        collect_cycle: Duration::from_secs(1),
        report_cycle: Duration::ZERO,
        report_to_cloud: true,
        desired,
        desired_metadata: BTreeMap::new(),
        broken: None,
        kind: None,
    }
}

fn value(whole: i64) -> EffectiveProperty {
    says(Desired::Value(Value::Int(whole)))
}

/// As a local client gives it, over what stood before.
fn local(text: &str, over: Option<&DesiredValue>) -> Box<DesiredValue> {
    let version = over.map_or(0, |over| over.version) + 1;
    let target = Ok(Value::Int(text.parse().unwrap()));
    let mut value = DesiredValue::new(text, target, true, 1, version);
    value.of_device = over.and_then(|over| over.of_device.clone());
    Box::new(value)
}

fn shown(value: Option<&DesiredValue>) -> Option<(&str, bool, u32)> {
    value.map(|value| (&*value.text, value.local, value.version))
}

/// A row as a former life left it, read back.
fn saved(value: &DesiredValue) -> SavedDesired {
    serde_json::from_str(&json(value)).unwrap()
}

#[test]
fn the_last_word_counts() {
    let device = choose(None, &value(20), None, at(1));
    assert_eq!(shown(device.as_deref()), Some(("20", false, 1)));
    let client = local("30", device.as_deref());
    // The Device says what it said before: no new word.
    let stands = choose(Some(client), &value(20), None, at(2));
    assert_eq!(shown(stands.as_deref()), Some(("30", true, 2)));
    let device = choose(stands, &value(25), None, at(3));
    assert_eq!(shown(device.as_deref()), Some(("25", false, 3)));
    // The same text, given anew.
    let mut again = value(25);
    again.desired_metadata = BTreeMap::from([("timestamp".to_owned(), "9".to_owned())]);
    let device = choose(device, &again, None, at(4));
    assert_eq!(shown(device.as_deref()), Some(("25", false, 4)));
}

#[test]
fn what_is_said_again_stays_as_far_as_it_came() {
    let mut first = choose(None, &value(20), None, at(1)).unwrap();
    first.state = State::Confirmed;
    let same = choose(Some(first.clone()), &value(20), None, at(2));
    assert_eq!(same, Some(first.clone()));
    // Another meaning of the same text begins anew.
    let mut text = value(20);
    text.value_type = PropertyType::String;
    text.desired = Desired::Value(Value::String("20".into()));
    let other = choose(Some(first), &text, None, at(3)).unwrap();
    assert_eq!(
        (other.version, other.state),
        (1, State::Pending { not_before: 0 })
    );
}

#[test]
fn withdrawn_by_the_device_only_a_later_local_one_stands() {
    let nothing = says(Desired::None);
    let device = choose(None, &value(20), None, at(1));
    assert_eq!(choose(device.clone(), &nothing, None, at(2)), None);
    let client = local("30", device.as_deref());
    let stands = choose(Some(client), &nothing, None, at(2)).unwrap();
    assert_eq!(
        (&*stands.text, stands.local, stands.of_device),
        ("30", true, None)
    );
    assert_eq!(choose(None, &nothing, None, at(3)), None);
}

#[test]
fn what_the_device_may_not_want_is_refused_from_the_start() {
    let refused = says(Desired::Refused {
        text: "much".to_owned(),
        message: "not a number".to_owned(),
    });
    let value = choose(None, &refused, None, at(1)).unwrap();
    assert_eq!(
        (value.state, &*value.message),
        (State::Refused, "not a number")
    );
}

#[test]
fn a_former_life_is_taken_up_where_nothing_else_was_said() {
    let mut former = choose(None, &value(20), None, at(1)).unwrap();
    former.state = State::Confirmed;
    let resumed = choose(None, &value(20), Some(saved(&former)), at(2)).unwrap();
    assert_eq!(resumed.state, State::Confirmed);
    // The Device speaks of something else by now.
    let other = choose(None, &value(21), Some(saved(&former)), at(2)).unwrap();
    assert_eq!(
        (&*other.text, other.state),
        ("21", State::Pending { not_before: 0 })
    );
    let client = local("30", Some(&former));
    let resumed = choose(None, &value(20), Some(saved(&client)), at(2)).unwrap();
    assert_eq!((&*resumed.text, resumed.local), ("30", true));
}

#[test]
fn what_is_settled_waits_for_nothing() {
    let mut desires = Desires::default();
    let mut value = local("30", None);
    desires.note(4, Some(&value));
    desires.note(2, Some(&value));
    desires.note(3, None);
    assert_eq!((desires.unsettled(), desires.len()), (vec![2, 4], 2));
    value.state = State::Confirmed;
    desires.note(4, Some(&value));
    assert_eq!(desires.unsettled(), [2]);
    desires.forget(2);
    assert_eq!(desires.len(), 0);
}

fn restore_one(desires: &mut Desires, device: &str, value: &DesiredValue) -> bool {
    desires.restore(device.to_owned(), "setpoint".to_owned(), &json(value))
}

/// As a version wrote it that knew neither commands nor what is in doubt.
fn of_former_version(write: &str, local: bool) -> SavedDesired {
    let row = serde_json::json!({"text": "20", "local": local, "of_device": "20", "given_ms": 1,
        "write": write, "refused": false, "message": "", "since_ms": 1});
    serde_json::from_value(row).unwrap()
}

#[test]
fn rows_of_a_former_version_start_nothing_that_may_have_been_a_command() {
    let resumed = |property: &EffectiveProperty, row| choose(None, property, Some(row), at(2));
    let state = value(20);
    let mut command = value(20);
    let policy = Arc::make_mut(&mut command.policy);
    policy.write.command = true;
    let in_doubt = State::Settling {
        read: None,
        again_at: 0,
    };
    for (property, write, local, expected) in [
        (&state, "pending", false, in_doubt),
        (&state, "failed", false, in_doubt),
        (&state, "pending", true, State::Unknown),
        (&state, "confirmed", true, State::Confirmed),
        (&command, "pending", false, State::Unknown),
        (&command, "confirmed", false, State::Confirmed),
    ] {
        let resumed = resumed(property, of_former_version(write, local)).unwrap();
        assert_eq!(resumed.state, expected, "{write}, local: {local}");
    }
}

#[test]
fn a_version_that_knows_less_leaves_alone_what_is_unknown() {
    let mut value = *local("30", None);
    value.command = true;
    value.state = State::Unknown;
    let row: serde_json::Value = serde_json::from_str(&json(&value)).unwrap();
    assert_eq!(
        (&row["write"], &row["refused"]),
        (&"failed".into(), &true.into())
    );
    let resumed = choose(None, &says(Desired::None), Some(saved(&value)), at(2));
    assert_eq!(resumed.unwrap().state, State::Unknown);
}

#[test]
fn a_command_in_the_store_is_as_old_as_its_giver_says() {
    let mut command = value(20);
    Arc::make_mut(&mut command.policy).write.command = true;
    let stamp = "1700000000000".to_owned();
    command.desired_metadata = BTreeMap::from([("timestamp".to_owned(), stamp)]);
    let fresh = choose(None, &command, None, at(1_700_000_600_000)).unwrap();
    assert_eq!((fresh.given_ms, fresh.command), (1_700_000_000_000, true));
    let later = choose(None, &command, Some(saved(&fresh)), at(1_700_000_900_000)).unwrap();
    assert_eq!(later.given_ms, 1_700_000_000_000);
}

#[test]
fn what_is_left_of_devices_is_theirs_when_they_come_and_told_when_they_do_not() {
    let mut desires = Desires::default();
    let value = local("30", None);
    let mut restore = |device: &str, property: &str, json: &str| {
        desires.restore(device.to_owned(), property.to_owned(), json)
    };
    assert!(restore("default/boiler", "setpoint", &json(&value)));
    assert!(restore("default/gone", "setpoint", &json(&value)));
    assert!(!restore("default/gone", "mode", "nonsense"));
    assert_eq!(
        desires.take_saved("default/boiler")["setpoint"],
        saved(&value)
    );
    assert!(desires.take_saved("default/boiler").is_empty());
    // A device that cannot be used yet keeps its own.
    assert!(restore_one(&mut desires, "default/late", &value));
    let known = |device: &str| device == "default/late";
    assert_eq!(desires.take_orphans(known), ["default/gone"]);
    assert!(desires.take_orphans(known).is_empty());
    assert_eq!(
        desires.take_saved("default/late")["setpoint"],
        saved(&value)
    );
}
