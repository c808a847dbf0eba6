//! Devices, models and mappers come and go.

use super::*;
use crate::engine::links::{CONFIGURES_UNDER_WAY, WRITES_UNDER_WAY};

#[test]
fn the_mapper_gets_its_part_of_the_configuration() {
    let mut world = World::new();
    world.objects = vec![model(), device("boiler", None)];
    world.reconcile();
    assert!(world.commands.is_empty(), "nothing before the mapper is up");
    world.up();
    let configures = world.configures();
    assert_eq!(configures.len(), 1);
    let config = &configures[0].1;
    assert_eq!(config["device"], "default/boiler");
    assert_eq!(
        config["protocol"],
        json!({"url": "tcp://127.0.0.1:5020", "unit": 1})
    );
    assert_eq!(
        config["points"][1],
        json!({"id": 1, "name": "setpoint", "writable": true, "intervalMs": 1000, "type": "FLOAT",
               "config": {"address": "hr:0", "rawType": "int16"}}),
        "scale is the engine's"
    );
}

#[test]
fn the_fingerprint_is_told_once_the_mapper_has_looked() {
    let of = |objects: &[Stored]| {
        let [model, device] = [&objects[0], &objects[1]];
        let model = Some(model.json.as_bytes());
        fingerprint(device.json.as_bytes(), &device.uid, model)
    };
    let mut world = World::new();
    world.objects = vec![model(), device("boiler", None)];
    world.up();
    world.reconcile();
    let told = |world: &World| world.engine.get(&name("boiler")).unwrap().fingerprint;
    assert_eq!(told(&world), 1, "neither the hub's nor none");
    world.complete_configures();
    let first = of(&world.objects);
    assert_eq!(told(&world), first);

    world.objects[0].json = world.objects[0].json.replace("hr:0", "hr:7");
    world.reconcile();
    assert_eq!(told(&world), first, "the mapper has the new one, unheard");
    world.complete_configures();
    assert_eq!(told(&world), of(&world.objects));

    // What is not the mapper's needs no answer of it.
    world.objects[0].json = world.objects[0].json.replace("0.1", "0.2");
    world.reconcile();
    assert!(world.configures().is_empty());
    assert_eq!(told(&world), of(&world.objects));
    world.objects.remove(0);
    world.reconcile();
    assert_ne!(
        told(&world),
        first,
        "without a model there is no more to say"
    );
}

#[test]
fn a_device_deleted_while_a_write_is_under_way() {
    let mut world = World::with_boiler(Some("60"));
    let token = world.writes()[0].0;
    let point = world.point("boiler", "setpoint");
    world.objects.pop();
    world.reconcile();
    assert_eq!(world.take(|kind| *kind == CommandKind::Remove).len(), 1);
    assert_eq!(world.forgotten, ["default/boiler"]);
    world.complete(token, Status::Ok, "");
    world.read(&[(point, ValueRef::Int(600))]);
    assert_eq!(world.engine.stats().strays, 1);
    assert!(world.engine.get(&name("boiler")).is_none());
    world.objects.push(device("boiler", None));
    world.reconcile();
    world.complete_configures();
    assert_ne!(
        world.point("boiler", "setpoint"),
        point,
        "late readings of the former device must not find the new one"
    );
    assert_eq!(world.twin("boiler", "setpoint").value, None);
    assert_eq!(
        *world.ears.members.lock().unwrap(),
        ["+default/boiler", "-default/boiler", "+default/boiler"]
    );
}

#[test]
fn a_property_removed_and_a_model_changed_under_a_device() {
    let mut world = World::with_boiler(Some("60"));
    world.read_setpoint(600);
    let kept = world.point("boiler", "setpoint");
    let mut changed = device("boiler", Some("60"));
    let mut json: Json = serde_json::from_str(&changed.json).unwrap();
    json["spec"]["properties"].as_array_mut().unwrap().remove(0);
    changed.json = json.to_string();
    world.objects[1] = changed;
    world.reconcile();
    let configures = world.configures();
    assert_eq!(configures[0].1["points"].as_array().unwrap().len(), 2);
    assert_eq!(world.point("boiler", "setpoint"), kept);
    assert_eq!(
        world.twin("boiler", "setpoint").value,
        Some(Value::Float(60.0)),
        "the others are not disturbed"
    );

    let text = world.objects[0]
        .json
        .replace("\"maximum\":\"90\"", "\"maximum\":\"50\"");
    world.objects[0].json = text;
    world.reconcile();
    let (state, message) = world.write_state();
    assert_eq!(state, WriteState::Failed);
    assert!(message.contains("expected 20 to 50"), "{message}");

    let text = world.objects[0].json.replacen(
        "\"type\":\"FLOAT\",\"accessMode\":\"ReadWrite\"",
        "\"type\":\"STRING\",\"accessMode\":\"ReadWrite\"",
        1,
    );
    world.objects[0].json = text;
    world.reconcile();
    assert_eq!(
        world.twin("boiler", "setpoint").value,
        None,
        "another type: the old value means nothing"
    );
}

#[test]
fn the_order_of_model_device_and_mapper_does_not_matter() {
    let mut world = World::new();
    world.up();
    world.objects = vec![device("boiler", None)];
    world.reconcile();
    let condition = world.condition("boiler", "ConfigValid");
    assert_eq!(
        (condition.status, &*condition.reason),
        (ConditionStatus::False, "ModelNotFound")
    );
    assert!(condition.message.contains("`boiler`"));
    world.objects.push(model());
    world.reconcile();
    world.complete_configures();
    assert_eq!(
        world.condition("boiler", "ConfigValid").status,
        ConditionStatus::True
    );
    assert_eq!(
        world.condition("boiler", "Served").status,
        ConditionStatus::True
    );
    world.objects.pop();
    world.reconcile();
    assert_eq!(
        world.take(|kind| *kind == CommandKind::Remove).len(),
        1,
        "without a model it is not served"
    );

    let mut foreign = device("foreign", None);
    foreign.json = foreign.json.replace("modbus", "profibus");
    world.objects = vec![model(), foreign];
    world.reconcile();
    let condition = world.condition("foreign", "Served");
    assert_eq!(
        (condition.status, &*condition.reason),
        (ConditionStatus::False, "MapperNotFound")
    );
}

#[test]
fn devices_of_other_nodes_and_unreadable_objects() {
    let mut world = World::new();
    let mut other = device("other", None);
    other.json = other.json.replace("edge-1", "edge-2");
    let mut broken = device("broken", None);
    broken.json = "{".to_owned();
    world.objects = vec![model(), other, broken];
    world.reconcile();
    assert!(world.engine.get(&name("other")).is_none());
    assert_eq!(
        world.condition("broken", "ConfigValid").reason,
        "Unreadable"
    );
}

#[test]
fn faults_that_the_mapper_finds_stand_at_the_devices_own_keys() {
    let mut world = World::new();
    world.objects = vec![model(), device("boiler", None)];
    world.reconcile();
    world.up();
    let token = world.configures()[0].2;
    let faults = json!([{"path": "points[1].config.address", "message": "no such table", "level": "error"},
                        {"path": "protocol.speed", "message": "unknown key", "level": "warning"}]);
    world.complete(token, Status::Ok, &faults.to_string());
    let twin = world.engine.get(&name("boiler")).unwrap();
    let paths: Vec<_> = twin
        .warnings
        .iter()
        .map(|fault| fault.path.as_str())
        .collect();
    assert_eq!(
        paths,
        [
            "spec.properties[1].visitors.configData.address",
            "spec.protocol.configData.speed"
        ]
    );
    assert_eq!(
        world.condition("boiler", "ConfigValid").status,
        ConditionStatus::False
    );
    assert_eq!(
        world.condition("boiler", "Served").status,
        ConditionStatus::True,
        "the rest of the device is served"
    );
}

#[test]
fn a_full_queue_of_the_mapper_only_costs_time() {
    let mut world = World::new();
    world.objects = vec![model(), device("boiler", Some("60"))];
    world.reconcile();
    world.up();
    for _ in 0..3 {
        let token = world.configures()[0].2;
        let now = world.now();
        world.engine.not_submitted(&[token], now);
        world.tick(100);
        assert!(world.configures().is_empty(), "not at once");
        world.tick(500);
    }
    world.complete_configures();
    let token = world.writes()[0].0;
    let now = world.now();
    world.engine.not_submitted(&[token], now);
    world.tick(60);
    assert_eq!(world.writes().len(), 1);
    assert_eq!(world.write_state().0, WriteState::Pending);
}

#[test]
fn ten_thousand_devices_at_once() {
    let mut world = World::new();
    world.objects = vec![model()];
    world
        .objects
        .extend((0..10_000).map(|i| device(&format!("d{i}"), Some("60"))));
    world.up();
    world.reconcile();
    let mut configured = 0;
    while configured < 10_000 {
        let configures = world.configures();
        assert!(
            !configures.is_empty() && configures.len() <= CONFIGURES_UNDER_WAY,
            "{configured}: {}",
            configures.len()
        );
        configured += configures.len();
        for (_, _, token) in configures {
            let now = world.now();
            world.engine.completion(0, token, Status::Ok, "", now);
        }
        world.tick(1);
    }
    let mut written = 0;
    while written < 10_000 {
        let writes = world.writes();
        assert!(!writes.is_empty() && writes.len() <= WRITES_UNDER_WAY);
        written += writes.len();
        for (token, _) in writes {
            world.engine.completion(
                0,
                token,
                Status::Refused,
                "no",
                Now {
                    ms: world.ms,
                    unix_ms: 0,
                },
            );
        }
        world.tick(1);
    }
    world.reconcile();
    assert!(world.configures().is_empty(), "as before: nothing to do");
    let stats = world.engine.stats();
    let sizes = (stats.devices, stats.properties, stats.unsettled);
    assert_eq!(sizes, (10_000, 30_000, 0));
}

#[test]
fn a_mapper_that_stays_down_takes_the_devices_state_with_it() {
    let mut world = World::with_boiler(None);
    world.read_setpoint(600);
    let state = |world: &World| world.engine.get(&name("boiler")).unwrap().state;
    assert_eq!(state(&world), DeviceState::Online);
    let now = world.now();
    world.engine.mapper_down(0, "killed by signal 9", now);
    world.tick(1_000);
    assert_eq!(state(&world), DeviceState::Online, "it may be back at once");
    let now = world.now();
    let why = "library `libmodbus.so` does not exist";
    world.engine.mapper_is_down(0, why, false, now);
    world.tick(1_500);
    assert_eq!(state(&world), DeviceState::Unknown);
    let reachable = world.condition("boiler", "Reachable");
    assert_eq!(
        (reachable.status, &*reachable.reason),
        (ConditionStatus::Unknown, "MapperDown")
    );
    assert_eq!(reachable.message, format!("mapper modbus: {why}"));
    assert_eq!(world.condition("boiler", "Served").message, why);
    let twin = world.twin("boiler", "setpoint");
    assert_eq!(
        (twin.quality, twin.reason),
        (Quality::Uncertain, Reason::Stale)
    );
    let now = world.now();
    assert_eq!(
        world.engine.due_reports(now, 9).len(),
        1,
        "the hub hears of it"
    );
    world.up();
    world.complete_configures();
    world.read_setpoint(600);
    assert_eq!(state(&world), DeviceState::Online);
    let now = world.now();
    world.engine.mapper_down(0, "out of service", now);
    world.engine.mapper_is_down(0, "not a mapper", true, now);
    world.tick(0);
    assert_eq!(
        state(&world),
        DeviceState::Unknown,
        "failed for good: at once"
    );
    world.up();
    world.complete_configures();
    world.read_setpoint(600);
    for _ in 0..3 {
        assert_eq!(state(&world), DeviceState::Online);
        let now = world.now();
        world.engine.mapper_down(0, "killed by signal 11", now);
        world.up();
        world.complete_configures();
        world.tick(900);
    }
    assert_eq!(
        state(&world),
        DeviceState::Unknown,
        "one that dies again and again without a reading is down"
    );
}

#[test]
fn a_client_does_not_overrule_the_mapper() {
    let mut world = World::with_boiler(None);
    world.read_setpoint(600);
    let now = world.now();
    let boiler = name("boiler");
    let offline = DeviceState::Offline;
    let error = world.engine.set_state(&boiler, offline, now).unwrap_err();
    assert_eq!(
        (error.code, error.reason.as_str()),
        (
            409,
            "mapper `modbus` tells the state of device `default/boiler`"
        )
    );
    world.engine.mapper_down(0, "killed", now);
    world.engine.set_state(&boiler, offline, now).unwrap();
    assert_eq!(world.engine.get(&boiler).unwrap().state, offline);
}

#[test]
fn a_steady_device_is_reported_for_its_times_while_there_is_a_link() {
    let mut world = World::with_boiler(None);
    let reports = |world: &mut World| {
        let now = world.now();
        world.engine.due_reports(now, 9).len()
    };
    for linked in [false, true] {
        world.engine.set_linked(linked);
        world.tick(12_000);
        world.read_setpoint(600);
        assert_eq!(reports(&mut world), 1, "good again");
        for (elapsed, expected) in [(4, 0), (8, 0), (12, usize::from(linked))] {
            world.tick(4_000);
            world.read_setpoint(600);
            assert_eq!(reports(&mut world), expected, "{elapsed} s");
        }
    }
}

#[test]
fn the_last_error_names_the_devices_own_key() {
    let mut world = World::with_boiler(None);
    let point = world.point("boiler", "setpoint");
    let bad = Reading {
        quality: Quality::Bad,
        reason: Reason::Config,
        source_time_ns: 1,
        value: None,
        message: "points[0].config.address: unknown table `xx`",
    };
    let now = world.now();
    world.engine.samples(0, [(point, bad)].into_iter(), now);
    assert_eq!(
        world.twin("boiler", "setpoint").last_error.as_deref(),
        Some("spec.properties[1].visitors.configData.address: unknown table `xx`")
    );
}

#[test]
fn reachable_tells_the_present_reason() {
    let mut world = World::new();
    let mut foreign = device("foreign", None);
    foreign.json = foreign.json.replace("modbus", "profibus");
    world.objects = vec![foreign];
    world.reconcile();
    assert_eq!(
        world.condition("foreign", "Reachable").reason,
        "ModelNotFound"
    );
    world.objects.insert(0, model());
    world.reconcile();
    let condition = world.condition("foreign", "Reachable");
    assert_eq!(
        (
            condition.status,
            &*condition.reason,
            condition.message.as_str()
        ),
        (
            ConditionStatus::Unknown,
            "MapperNotFound",
            "no mapper for protocol `profibus` runs on this node"
        )
    );
    world.objects[1].json = world.objects[1].json.replace("profibus", "modbus");
    world.reconcile();
    assert_eq!(world.condition("foreign", "Reachable").reason, "MapperDown");
    world.up();
    assert_eq!(world.condition("foreign", "Reachable").reason, "NotReadYet");
}

#[test]
fn a_device_that_its_mapper_refused_was_not_asked() {
    let mut world = World::new();
    world.objects = vec![model(), device("boiler", None)];
    world.reconcile();
    world.up();
    let (id, _, token) = world.configures().remove(0);
    let why = "protocol.timeoutMs: expected a duration; points[1].config.address: missing";
    let now = world.now();
    world.engine.device_state(0, id, Some(false), why, now);
    let fault = json!([{"path": "protocol.timeoutMs", "message": "expected a duration"}]);
    world.complete(token, Status::InvalidConfig, &fault.to_string());
    let condition = world.condition("boiler", "Reachable");
    assert_eq!(
        (
            condition.status,
            &*condition.reason,
            condition.message.as_str()
        ),
        (
            ConditionStatus::Unknown,
            "Config",
            "spec.protocol.configData.timeoutMs: expected a duration; spec.properties[1].visitors.configData.address: missing"
        )
    );
    assert_eq!(
        world.engine.get(&name("boiler")).unwrap().state,
        DeviceState::Unknown
    );
}

#[test]
fn each_fault_is_logged_once_per_configuration() {
    heard::listen();
    let count = |what: &str| {
        let of_it = |line: &&String| line.contains(what) && line.contains("default/boiler");
        heard::lines().iter().filter(of_it).count()
    };
    let mut world = World::new();
    let mut wrong = device("boiler", None);
    wrong.json = wrong.json.replace(r#""name":"mode""#, r#""name":"mood""#);
    world.objects = vec![model(), wrong];
    let unknown = "spec.properties[0].visitors.configData.adress: unknown key";
    for _ in 0..3 {
        world.reconcile();
        world.up();
        let token = world.configures()[0].2;
        let fault = json!([{"path": "points[0].config.adress", "message": "unknown key", "level": "warning"}]);
        world.complete(token, Status::Ok, &fault.to_string());
        assert_eq!(count("has no property `mood`"), 1);
        assert_eq!(count(unknown), 1);
    }
}
