//! Desired values on their way into the device.

use super::*;

#[test]
fn a_desired_value_is_written_and_confirmed() {
    let mut world = World::with_boiler(Some("60.5"));
    let writes = world.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].1, Value::Int(605), "raw");
    world.complete(writes[0].0, Status::Ok, "");
    let reads = world.reads();
    assert_eq!(reads.len(), 1, "read back at once");
    world.read_setpoint(605);
    assert_eq!(world.write_state().0, WriteState::Confirmed);
    world.complete(reads[0], Status::Ok, "");
    let row: Json =
        serde_json::from_str(world.rows.last().unwrap().json.as_deref().unwrap()).unwrap();
    assert_eq!(
        (row["text"].as_str(), row["write"].as_str()),
        (Some("60.5"), Some("confirmed"))
    );
    world.read_setpoint(700);
    world.tick(1_000);
    assert!(
        world.writes().is_empty(),
        "somebody turned the knob: left alone"
    );
}

#[test]
fn a_value_that_must_not_be_written_never_reaches_the_mapper() {
    for (value, why) in [
        ("95", "out of range"),
        ("warm", "expected a number"),
        ("21.55", "between two steps"),
    ] {
        let mut world = World::with_boiler(Some(value));
        world.tick(10_000);
        assert!(world.writes().is_empty(), "{value}");
        let (state, message) = world.write_state();
        assert_eq!(state, WriteState::Failed);
        assert!(message.contains(why), "{value}: {message}");
    }
    let mut world = World::with_boiler(None);
    let error = world
        .update("boiler", &[update("temperature", "20")])
        .unwrap_err();
    assert_eq!(
        (error.code, error.reason.as_str()),
        (400, "property `temperature` is read-only")
    );
}

#[test]
fn a_refusal_of_the_device_is_shown_and_final() {
    let mut world = World::with_boiler(Some("60"));
    let token = world.writes()[0].0;
    world.complete(token, Status::Refused, "illegal data value (exception 3)");
    assert_eq!(
        world.write_state(),
        (
            WriteState::Failed,
            "illegal data value (exception 3)".to_owned()
        )
    );
    world.tick(100_000);
    assert!(world.writes().is_empty());
    world.objects[1] = device("boiler", Some("61"));
    world.reconcile();
    assert_eq!(world.writes().len(), 1, "another value is another try");
}

#[test]
fn a_newer_desired_value_replaces_one_under_way() {
    let mut world = World::with_boiler(Some("60"));
    let first = world.writes()[0].0;
    world.objects[1] = device("boiler", Some("70"));
    world.reconcile();
    let second = world.writes();
    assert_eq!(second[0].1, Value::Int(700));
    world.complete(first, Status::Refused, "late");
    assert_eq!(
        world.write_state().0,
        WriteState::Pending,
        "the former one's answer means nothing"
    );
    world.complete(second[0].0, Status::Ok, "");
    world.read_setpoint(700);
    assert_eq!(world.write_state().0, WriteState::Confirmed);
}

#[test]
fn a_desired_value_alone_does_not_configure_the_mapper_anew() {
    let mut world = World::with_boiler(None);
    world.objects[1] = device("boiler", Some("60"));
    world.reconcile();
    assert!(world.configures().is_empty());
    assert_eq!(world.writes().len(), 1);
}

#[test]
fn the_same_desired_value_given_again_wins_over_a_local_one() {
    let stamped = |stamp: &str| {
        let mut device = device("boiler", Some("60"));
        let mut json: Json = serde_json::from_str(&device.json).unwrap();
        json["spec"]["properties"][1]["desired"]["metadata"] = json!({"timestamp": stamp});
        device.json = json.to_string();
        device
    };
    let mut world = World::with_boiler(None);
    world.objects[1] = stamped("1");
    world.reconcile();
    assert_eq!(world.writes().len(), 1);
    let locally = [update("setpoint", "65")];
    world.update("boiler", &locally).unwrap();
    assert_eq!(world.writes()[0].1, Value::Int(650));
    world.reconcile();
    assert!(world.writes().is_empty(), "nothing was said anew");
    world.objects[1] = stamped("2");
    world.reconcile();
    assert_eq!(world.writes()[0].1, Value::Int(600));
    let desired = world.twin("boiler", "setpoint").desired.unwrap();
    assert!(!desired.local);
    assert_eq!(desired.value, "60");
}

#[test]
fn a_local_value_stands_until_the_device_object_changes() {
    let mut world = World::with_boiler(Some("60"));
    let twin = world.update("boiler", &[update("setpoint", "65")]).unwrap();
    let desired = twin.properties[1].desired.clone().unwrap();
    assert_eq!((desired.value.as_str(), desired.local), ("65", true));
    world.collect();
    assert_eq!(world.writes().last().unwrap().1, Value::Int(650));
    world.objects[1].json.push('\n');
    world.reconcile();
    assert_eq!(
        world.twin("boiler", "setpoint").desired.unwrap().value,
        "65"
    );
    world.objects[1] = device("boiler", Some("62"));
    world.reconcile();
    let desired = world.twin("boiler", "setpoint").desired.unwrap();
    assert_eq!((desired.value.as_str(), desired.local), ("62", false));
}

#[test]
fn an_update_is_applied_as_a_whole_or_not_at_all() {
    let mut world = World::with_boiler(None);
    let both = [update("setpoint", "65"), update("nothing", "1")];
    let error = world.update("boiler", &both).unwrap_err();
    assert_eq!(error.code, 404);
    assert!(world.twin("boiler", "setpoint").desired.is_none());
    assert_eq!(world.update("nobody", &[]).unwrap_err().code, 404);
    // A mapper serves the device, and it alone knows what was read.
    let both = [update("setpoint", "65"), measured("temperature", "21.5")];
    let error = world.update("boiler", &both).unwrap_err();
    assert_eq!(
        (error.code, error.reason.as_str()),
        (
            409,
            "mapper `modbus` tells readings of device `default/boiler`"
        )
    );
    assert!(world.twin("boiler", "setpoint").desired.is_none());
    assert_eq!(world.twin("boiler", "temperature").value, None);
    // While it is down, a client may stand in for it.
    world.down();
    let twin = world
        .update("boiler", &[measured("temperature", "21.5")])
        .unwrap();
    assert_eq!(
        twin.properties[0].value,
        Some(Value::Float(21.5)),
        "scale is not applied to a client's value"
    );
}

#[test]
fn a_client_cannot_forge_the_confirmation_of_a_write() {
    let mut world = World::with_boiler(Some("60"));
    let token = world.writes()[0].0;
    world.complete(token, Status::Line, "no answer");
    let error = world.update("boiler", &[measured("setpoint", "60")]);
    assert_eq!(error.unwrap_err().code, 409);
    assert_eq!(world.write_state().0, WriteState::Pending);
}

/// A mapper that died may have written it: what is there tells, so that nothing is
/// written twice that arrived.
#[test]
fn unconfirmed_values_are_settled_by_reading_after_the_mapper_died() {
    let mut world = World::with_boiler(Some("60"));
    let first = world.writes()[0].0;
    let now = world.now();
    world.engine.mapper_down(0, "killed by signal 9", now);
    assert_eq!(world.condition("boiler", "Served").reason, "MapperDown");
    world.complete(first, Status::Ok, "");
    assert_eq!(
        world.write_state().0,
        WriteState::Pending,
        "an answer of the former instance means nothing"
    );
    world.up();
    world.complete_configures();
    assert!(world.writes().is_empty());
    let read = world.reads()[0];
    world.read_setpoint(200);
    world.complete(read, Status::Ok, "");
    world.tick(200);
    assert_eq!(world.writes().len(), 1, "it had not arrived");
}

/// A confirmed value is done: what stands at the device stands, unless the property
/// says that the device forgets.
#[test]
fn a_confirmed_value_is_written_after_a_restart_only_where_it_is_to_be_restored() {
    for (raw, restore, writes) in [
        (605, false, 0),
        (500, false, 0),
        (605, true, 0),
        (500, true, 1),
    ] {
        let mut before = boiler("60.5", restore);
        let token = before.writes()[0].0;
        before.complete(token, Status::Ok, "");
        before.read_setpoint(605);
        before.save_all();
        let mut after = before.restarted();
        let twin = after.twin("boiler", "setpoint");
        assert_eq!(
            (twin.value, twin.quality, twin.reason),
            (Some(Value::Float(60.5)), Quality::Uncertain, Reason::Stale)
        );
        after.up();
        after.complete_configures();
        assert_eq!(after.write_state().0, WriteState::Confirmed);
        assert!(after.writes().is_empty());
        after.read_setpoint(raw);
        after.tick(50);
        assert_eq!(after.writes().len(), writes, "read {raw}");
    }
}

#[test]
fn a_device_that_comes_back_keeps_what_it_has_unless_it_forgets() {
    for (restore, writes) in [(false, 0), (true, 1)] {
        comes_back(restore, writes);
    }
}

fn comes_back(restore: bool, writes: usize) {
    let mut world = boiler("60", restore);
    let token = world.writes()[0].0;
    world.complete(token, Status::Ok, "");
    world.read_setpoint(600);
    let id = world.engine.fleet.id(&name("boiler")).unwrap();
    let now = world.now();
    world
        .engine
        .device_state(0, id, Some(false), "no answer", now);
    assert_eq!(
        world.condition("boiler", "Reachable").status,
        ConditionStatus::False
    );
    assert_eq!(
        world.engine.get(&name("boiler")).unwrap().state,
        DeviceState::Offline
    );
    world.engine.device_state(0, id, Some(true), "", now);
    world.read_setpoint(200);
    world.tick(50);
    let written: Vec<_> = world.writes().into_iter().map(|(_, value)| value).collect();
    assert_eq!(written, vec![Value::Int(600); writes], "restore: {restore}");
}

/// With a setpoint that the device forgets, or not.
fn boiler(setpoint: &str, restore: bool) -> World {
    let mut world = World::new();
    let mut model = model();
    if restore {
        let restored = r#""rawType":"int16","write":{"onReturn":"restore"}"#;
        model.json = model.json.replace(r#""rawType":"int16""#, restored);
    }
    world.objects = vec![model, device("boiler", Some(setpoint))];
    world.reconcile();
    world.up();
    world.complete_configures();
    world
}

#[test]
fn a_takeover_by_another_version_moves_nothing_but_what_was_under_way() {
    for (planned, writes) in [(true, 0), (false, 1)] {
        let mut world = boiler("60", true);
        let token = world.writes()[0].0;
        world.complete(token, Status::Ok, "");
        world.read_setpoint(600);
        let now = world.now();
        if planned {
            world.engine.mapper_hands_over(0, "makes room", now);
        } else {
            world.engine.mapper_down(0, "killed by signal 9", now);
        }
        world.up();
        world.complete_configures();
        // Somebody turned the knob meanwhile.
        world.read_setpoint(700);
        world.tick(50);
        assert_eq!(world.writes().len(), writes, "planned: {planned}");
        assert_eq!(
            world.condition("boiler", "Reachable").status,
            ConditionStatus::True
        );
    }
    let mut world = World::with_boiler(Some("60"));
    assert_eq!(world.writes().len(), 1, "under way");
    let now = world.now();
    world.engine.mapper_hands_over(0, "makes room", now);
    world.up();
    world.complete_configures();
    let read = world.reads()[0];
    world.read_setpoint(200);
    world.complete(read, Status::Ok, "");
    world.tick(200);
    assert_eq!(
        world.writes().len(),
        1,
        "tried again, since it did not arrive"
    );
}

#[test]
fn a_takeover_that_takes_too_long_is_an_outage() {
    let mut world = boiler("60", true);
    let token = world.writes()[0].0;
    world.complete(token, Status::Ok, "");
    world.read_setpoint(600);
    let now = world.now();
    world.engine.mapper_hands_over(0, "makes room", now);
    world.tick(OUTAGE_MS + 1);
    world.up();
    world.complete_configures();
    world.read_setpoint(200);
    world.tick(50);
    assert_eq!(world.writes()[0].1, Value::Int(600));
}
