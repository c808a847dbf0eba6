use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use bytes::Bytes;
use longshore_host::{CommandKind, Status};
use longshore_types::{NodeName, Quality, Reason, Value, ValueRef};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::{
    ports::{DeviceChange, MembershipChange},
    store::{Object, ObjectKey, Source},
    twin::{handle::*, point::Reading, reconcile::Reconciliation},
};

/// A bus that remembers.
#[derive(Default)]
struct Ears {
    deaf: AtomicBool,
    changes_wanted: AtomicBool,
    interest: AtomicU64,
    batches: Mutex<Vec<(String, String)>>,
    changes: Mutex<Vec<DeviceChange>>,
    members: Mutex<Vec<String>>,
}

impl BusPort for Ears {
    fn interest(&self) -> u64 {
        self.interest.load(Ordering::Relaxed)
    }
    fn wanted(&self, topic: &str) -> bool {
        topic.ends_with("/batch") && !self.deaf.load(Ordering::Relaxed)
    }
    fn wants_changes(&self, _device: &DeviceName) -> bool {
        self.changes_wanted.load(Ordering::Relaxed)
    }
    fn publish(&self, topic: &Arc<str>, payload: Bytes) {
        let text = String::from_utf8(payload.to_vec()).unwrap();
        self.batches.lock().unwrap().push((topic.to_string(), text));
    }
    fn changed(&self, change: DeviceChange) {
        self.changes.lock().unwrap().push(change);
    }
    fn membership(&self, change: MembershipChange) {
        let text = match change {
            MembershipChange::Added(device) => format!("+{}", device.name),
            MembershipChange::Removed(name) => format!("-{name}"),
        };
        self.members.lock().unwrap().push(text);
    }
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

/// An engine, its world, and a hand-driven clock.
struct World {
    engine: Engine,
    ears: Arc<Ears>,
    objects: Vec<Object>,
    ms: u64,
    commands: Vec<Command>,
    rows: Vec<DesiredRow>,
    forgotten: Vec<TwinBlob>,
}

fn mapper(name: &str) -> MapperInfo {
    MapperInfo { name: name.to_owned(), protocol: name.to_owned() }
}

fn object(kind: &str, name: &str, json: Json) -> Object {
    let key = ObjectKey { kind: kind.to_owned(), namespace: "default".to_owned(), name: name.to_owned() };
    Object {
        key,
        uid: format!("uid-{name}"),
        resource_version: "1".to_owned(),
        source: Source::Hub,
        json: json.to_string(),
    }
}

/// Temperature (read), setpoint (read and write, 20 to 90, tenths), mode (text).
fn model() -> Object {
    object(
        "DeviceModel",
        "boiler",
        json!({"metadata": {"name": "boiler", "namespace": "default"}, "spec": {"protocol": "modbus", "properties": [
            {"name": "temperature", "type": "FLOAT", "accessMode": "ReadOnly", "visitors": {"configData": {"address": "ir:0", "scale": 0.1}}},
            {"name": "setpoint", "type": "FLOAT", "accessMode": "ReadWrite", "minimum": "20", "maximum": "90",
             "visitors": {"configData": {"address": "hr:0", "scale": 0.1, "rawType": "int16"}}},
            {"name": "mode", "type": "STRING", "accessMode": "ReadWrite", "visitors": {"configData": {"address": "hr:5"}}},
        ]}}),
    )
}

fn device(name: &str, setpoint: Option<&str>) -> Object {
    let mut setpoint_property = json!({"name": "setpoint"});
    if let Some(value) = setpoint {
        setpoint_property["desired"] = json!({"value": value});
    }
    object(
        "Device",
        name,
        json!({"metadata": {"name": name, "namespace": "default"}, "spec": {
            "deviceModelRef": {"name": "boiler"}, "nodeName": "edge-1",
            "protocol": {"protocolName": "modbus", "configData": {"url": "tcp://127.0.0.1:5020", "unit": 1}},
            "properties": [{"name": "temperature"}, setpoint_property, {"name": "mode"}],
        }}),
    )
}

impl World {
    fn new() -> Self {
        let ears = Arc::new(Ears::default());
        let engine = Engine::new(ears.clone(), vec![mapper("modbus"), mapper("opcua")], true);
        let (commands, rows, forgotten) = (Vec::new(), Vec::new(), Vec::new());
        Self { engine, ears, objects: Vec::new(), ms: 1_000, commands, rows, forgotten }
    }

    /// With a boiler that is configured.
    fn with_boiler(setpoint: Option<&str>) -> Self {
        let mut world = Self::new();
        world.objects = vec![model(), device("boiler", setpoint)];
        world.reconcile();
        world.up();
        world.complete_configures();
        world
    }

    fn now(&self) -> Now {
        Now { ms: self.ms, unix_ms: 1_700_000_000_000 + self.ms as i64 }
    }

    fn collect(&mut self) {
        let out = self.engine.take_outputs();
        self.commands.extend(out.commands.into_iter().map(|(_, command)| command));
        self.rows.extend(out.desired);
        self.forgotten.extend(out.forgotten);
    }

    fn reconcile(&mut self) {
        let node = NodeName::new("edge-1").unwrap();
        let now = self.now();
        let seen = Reconciliation::new(&node, &self.objects).run(&mut self.engine, now);
        self.engine.retain_devices(|name| seen.contains(name), now);
        self.engine.pump(now);
        self.collect();
    }

    fn up(&mut self) {
        let now = self.now();
        self.engine.mapper_up(0, now);
        self.collect();
    }

    fn tick(&mut self, ms: u64) {
        self.ms += ms;
        let now = self.now();
        self.engine.tick(now);
        self.collect();
    }

    fn complete(&mut self, token: u64, status: Status, message: &str) {
        let now = self.now();
        self.engine.completion(0, token, status, message, now);
        self.engine.pump(now);
        self.collect();
    }

    /// Takes the commands of one kind that were sent.
    fn take(&mut self, kind: fn(&CommandKind) -> bool) -> Vec<Command> {
        let (taken, rest) = std::mem::take(&mut self.commands).into_iter().partition(|c| kind(&c.kind));
        self.commands = rest;
        taken
    }

    fn configures(&mut self) -> Vec<(u32, Json, u64)> {
        let taken = self.take(|kind| matches!(kind, CommandKind::Configure(_)));
        let json = |command: &Command| match &command.kind {
            CommandKind::Configure(text) => serde_json::from_str(text).unwrap(),
            _ => Json::Null,
        };
        taken.iter().map(|command| (command.device, json(command), command.token)).collect()
    }

    fn writes(&mut self) -> Vec<(u64, Value)> {
        let taken = self.take(|kind| matches!(kind, CommandKind::Write { .. }));
        let value = |command: Command| match command.kind {
            CommandKind::Write { value, .. } => (command.token, value),
            other => panic!("{other:?}"),
        };
        taken.into_iter().map(value).collect()
    }

    fn reads(&mut self) -> Vec<u64> {
        self.take(|kind| matches!(kind, CommandKind::Read { .. })).iter().map(|command| command.token).collect()
    }

    fn complete_configures(&mut self) {
        for (_, _, token) in self.configures() {
            self.complete(token, Status::Ok, "");
        }
    }

    fn point(&self, device: &str, property: &str) -> u32 {
        let id = self.engine.by_name[&name(device)];
        let device = self.engine.device(id).unwrap();
        device.points[device.position(property).unwrap()]
    }

    fn read(&mut self, readings: &[(u32, ValueRef<'_>)]) {
        let now = self.now();
        let time = now.unix_ms * 1_000_000;
        let good = |value| Reading { quality: Quality::Good, reason: Reason::None, source_time_ns: time, value: Some(value), message: "" };
        self.engine.samples(0, readings.iter().map(|(point, value)| (*point, good(*value))), now);
        self.collect();
    }

    fn read_setpoint(&mut self, raw: i64) {
        let point = self.point("boiler", "setpoint");
        self.read(&[(point, ValueRef::Int(raw))]);
    }

    fn twin(&self, device: &str, property: &str) -> PropertyTwin {
        let twin = self.engine.get(&name(device)).unwrap();
        twin.properties.into_iter().find(|p| &*p.name == property).unwrap()
    }

    fn write_state(&self) -> (WriteState, String) {
        let desired = self.twin("boiler", "setpoint").desired.unwrap();
        (desired.write, desired.message)
    }

    fn condition(&self, device: &str, kind: &str) -> Condition {
        let twin = self.engine.get(&name(device)).unwrap();
        twin.conditions.into_iter().find(|condition| condition.kind == kind).unwrap()
    }
}

fn name(device: &str) -> DeviceName {
    DeviceName::new("default", device).unwrap()
}

fn update(property: &str, expected: &str) -> LocalUpdate {
    LocalUpdate { property: property.to_owned(), expected: Some(expected.to_owned()), actual: None }
}

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
    assert_eq!(config["protocol"], json!({"url": "tcp://127.0.0.1:5020", "unit": 1}));
    assert_eq!(
        config["points"][1],
        json!({"id": 1, "name": "setpoint", "writable": true, "intervalMs": 1000, "type": "FLOAT",
               "config": {"address": "hr:0", "rawType": "int16"}}),
        "scale is the engine's"
    );
}

#[test]
fn a_batch_becomes_one_message_for_each_device() {
    let mut world = World::with_boiler(None);
    world.objects.push(device("other", None));
    world.reconcile();
    world.complete_configures();
    let (a, b) = (world.point("boiler", "temperature"), world.point("boiler", "mode"));
    let c = world.point("other", "temperature");
    world.read(&[(a, ValueRef::Int(215)), (b, ValueRef::String("eco \"2\"")), (c, ValueRef::Int(7))]);
    let batches = std::mem::take(&mut *world.ears.batches.lock().unwrap());
    assert_eq!(
        batches,
        [
            (
                "longshore/default/boiler/batch".to_owned(),
                r#"{"timestamp":1700000001000,"values":{"temperature":21.5,"mode":"eco \"2\""}}"#.to_owned()
            ),
            (
                "longshore/default/other/batch".to_owned(),
                r#"{"timestamp":1700000001000,"values":{"temperature":0.7}}"#.to_owned()
            ),
        ]
    );
    world.read(&[(a, ValueRef::Int(215))]);
    assert!(world.ears.batches.lock().unwrap().is_empty(), "nothing new, nothing said");
    world.ears.deaf.store(true, Ordering::Relaxed);
    world.ears.interest.store(1, Ordering::Relaxed);
    world.read(&[(a, ValueRef::Int(216))]);
    assert!(world.ears.batches.lock().unwrap().is_empty(), "nobody listens");
    assert_eq!(world.twin("boiler", "temperature").value, Some(Value::Float(21.6)));
}

#[test]
fn quality_stands_beside_the_values() {
    let mut world = World::with_boiler(None);
    let point = world.point("boiler", "temperature");
    world.read(&[(point, ValueRef::Int(215))]);
    world.ears.batches.lock().unwrap().clear();
    let bad = Reading { quality: Quality::Bad, reason: Reason::Timeout, source_time_ns: 5_000_000, value: None, message: "no answer" };
    let now = world.now();
    world.engine.samples(0, [(point, bad)].into_iter(), now);
    assert_eq!(
        world.ears.batches.lock().unwrap()[0].1,
        r#"{"timestamp":5,"values":{},"quality":{"temperature":"bad"}}"#
    );
    let twin = world.twin("boiler", "temperature");
    assert_eq!((twin.reason, twin.last_error.as_deref()), (Reason::Timeout, Some("no answer")));
    assert_eq!(twin.value, Some(Value::Float(21.5)), "the last usable value stays");
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
    assert_eq!((change.last.value.clone(), change.current.value.clone()), (Some(Value::Float(21.5)), Some(Value::Float(21.6))));
    assert_eq!((change.last.version, change.current.version), (1, 2));
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
    assert_eq!((twin.quality, twin.reason), (Quality::Uncertain, Reason::Stale));
    assert!(world.ears.batches.lock().unwrap().last().unwrap().1.contains(r#""quality":{"temperature":"uncertain"}"#));
    world.read(&[(point, ValueRef::Int(215))]);
    assert_eq!(world.twin("boiler", "temperature").quality, Quality::Good);
}

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
    let row: Json = serde_json::from_str(world.rows.last().unwrap().json.as_deref().unwrap()).unwrap();
    assert_eq!((row["text"].as_str(), row["write"].as_str()), (Some("60.5"), Some("confirmed")));
    world.read_setpoint(700);
    world.tick(1_000);
    assert!(world.writes().is_empty(), "somebody turned the knob: left alone");
}

#[test]
fn a_value_that_must_not_be_written_never_reaches_the_mapper() {
    for (value, why) in [("95", "out of range"), ("warm", "expected a number"), ("21.55", "between two steps")] {
        let mut world = World::with_boiler(Some(value));
        world.tick(10_000);
        assert!(world.writes().is_empty(), "{value}");
        let (state, message) = world.write_state();
        assert_eq!(state, WriteState::Failed);
        assert!(message.contains(why), "{value}: {message}");
    }
    let mut world = World::with_boiler(None);
    let now = world.now();
    let error = world.engine.update(&name("boiler"), &[update("temperature", "20")], now).unwrap_err();
    assert_eq!((error.code, error.reason.as_str()), (400, "property `temperature` is read-only"));
}

#[test]
fn a_refusal_of_the_device_is_shown_and_final() {
    let mut world = World::with_boiler(Some("60"));
    let token = world.writes()[0].0;
    world.complete(token, Status::Refused, "illegal data value (exception 3)");
    assert_eq!(world.write_state(), (WriteState::Failed, "illegal data value (exception 3)".to_owned()));
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
    assert_eq!(world.write_state().0, WriteState::Pending, "the former one's answer means nothing");
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
fn a_local_value_stands_until_the_device_object_changes() {
    let mut world = World::with_boiler(Some("60"));
    let now = world.now();
    let twin = world.engine.update(&name("boiler"), &[update("setpoint", "65")], now).unwrap();
    let desired = twin.properties[1].desired.clone().unwrap();
    assert_eq!((desired.value.as_str(), desired.local), ("65", true));
    world.collect();
    assert_eq!(world.writes().last().unwrap().1, Value::Int(650));
    world.objects[1].resource_version = "2".to_owned();
    world.reconcile();
    assert_eq!(world.twin("boiler", "setpoint").desired.unwrap().value, "65");
    world.objects[1] = device("boiler", Some("62"));
    world.reconcile();
    let desired = world.twin("boiler", "setpoint").desired.unwrap();
    assert_eq!((desired.value.as_str(), desired.local), ("62", false));
}

#[test]
fn an_update_is_applied_as_a_whole_or_not_at_all() {
    let mut world = World::with_boiler(None);
    let now = world.now();
    let error = world.engine.update(&name("boiler"), &[update("setpoint", "65"), update("nothing", "1")], now).unwrap_err();
    assert_eq!(error.code, 404);
    assert!(world.twin("boiler", "setpoint").desired.is_none());
    assert_eq!(world.engine.update(&name("nobody"), &[], now).unwrap_err().code, 404);
    let actual = LocalUpdate { property: "temperature".to_owned(), expected: None, actual: Some("21.5".to_owned()) };
    let twin = world.engine.update(&name("boiler"), &[actual], now).unwrap();
    assert_eq!(twin.properties[0].value, Some(Value::Float(21.5)), "scale is not applied to a client's value");
}

#[test]
fn unconfirmed_values_are_written_again_after_the_mapper_died() {
    let mut world = World::with_boiler(Some("60"));
    let first = world.writes()[0].0;
    let now = world.now();
    world.engine.mapper_down(0, "killed by signal 9", now);
    assert_eq!(world.condition("boiler", "Served").reason, "MapperDown");
    world.complete(first, Status::Ok, "");
    assert_eq!(world.write_state().0, WriteState::Pending, "an answer of the former instance means nothing");
    world.up();
    world.complete_configures();
    assert_eq!(world.writes().len(), 1);
}

#[test]
fn a_confirmed_value_is_written_after_a_restart_only_when_it_is_gone() {
    for (raw, writes) in [(605, 0), (500, 1)] {
        let mut before = World::with_boiler(Some("60.5"));
        let token = before.writes()[0].0;
        before.complete(token, Status::Ok, "");
        before.read_setpoint(605);
        let now = before.now();
        let blobs: Vec<_> = before.engine.due_snapshots(now, 10, true).into_iter().map(|(_, blob)| blob).collect();

        let mut after = World::new();
        after.engine.restore(blobs, before.rows.clone());
        after.objects = before.objects.clone();
        after.reconcile();
        let twin = after.twin("boiler", "setpoint");
        assert_eq!((twin.value, twin.quality, twin.reason), (Some(Value::Float(60.5)), Quality::Uncertain, Reason::Stale));
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
fn a_device_deleted_while_a_write_is_under_way() {
    let mut world = World::with_boiler(Some("60"));
    let token = world.writes()[0].0;
    let point = world.point("boiler", "setpoint");
    world.objects.pop();
    world.reconcile();
    assert_eq!(world.take(|kind| *kind == CommandKind::Remove).len(), 1);
    assert_eq!(world.forgotten.last().unwrap().device, "default/boiler");
    world.complete(token, Status::Ok, "");
    world.read(&[(point, ValueRef::Int(600))]);
    assert_eq!(world.engine.counters().strays, 1);
    assert!(world.engine.get(&name("boiler")).is_none());
    world.objects.push(device("boiler", None));
    world.reconcile();
    world.complete_configures();
    assert_ne!(world.point("boiler", "setpoint"), point, "late readings of the former device must not find the new one");
    assert_eq!(world.twin("boiler", "setpoint").value, None);
    assert_eq!(*world.ears.members.lock().unwrap(), ["+default/boiler", "-default/boiler", "+default/boiler"]);
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
    assert_eq!(world.twin("boiler", "setpoint").value, Some(Value::Float(60.0)), "the others are not disturbed");

    let text = world.objects[0].json.replace("\"maximum\":\"90\"", "\"maximum\":\"50\"");
    world.objects[0].json = text;
    world.reconcile();
    let (state, message) = world.write_state();
    assert_eq!(state, WriteState::Failed);
    assert!(message.contains("expected 20 to 50"), "{message}");

    let text = world.objects[0].json.replacen("\"type\":\"FLOAT\",\"accessMode\":\"ReadWrite\"", "\"type\":\"STRING\",\"accessMode\":\"ReadWrite\"", 1);
    world.objects[0].json = text;
    world.reconcile();
    assert_eq!(world.twin("boiler", "setpoint").value, None, "another type: the old value means nothing");
}

#[test]
fn the_order_of_model_device_and_mapper_does_not_matter() {
    let mut world = World::new();
    world.up();
    world.objects = vec![device("boiler", None)];
    world.reconcile();
    let condition = world.condition("boiler", "ConfigValid");
    assert_eq!((condition.status, condition.reason), (Some(false), "ModelNotFound"));
    assert!(condition.message.contains("`boiler`"));
    world.objects.push(model());
    world.reconcile();
    world.complete_configures();
    assert_eq!(world.condition("boiler", "ConfigValid").status, Some(true));
    assert_eq!(world.condition("boiler", "Served").status, Some(true));
    world.objects.pop();
    world.reconcile();
    assert_eq!(world.take(|kind| *kind == CommandKind::Remove).len(), 1, "without a model it is not served");

    let mut foreign = device("foreign", None);
    foreign.json = foreign.json.replace("modbus", "profibus");
    world.objects = vec![model(), foreign];
    world.reconcile();
    let condition = world.condition("foreign", "Served");
    assert_eq!((condition.status, condition.reason), (Some(false), "MapperNotFound"));
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
    assert_eq!(world.condition("broken", "ConfigValid").reason, "Unreadable");
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
    let paths: Vec<_> = twin.warnings.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, ["spec.properties[1].visitors.configData.address", "spec.protocol.configData.speed"]);
    assert_eq!(world.condition("boiler", "ConfigValid").status, Some(false));
    assert_eq!(world.condition("boiler", "Served").status, Some(true), "the rest of the device is served");
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
    world.objects.extend((0..10_000).map(|i| device(&format!("d{i}"), Some("60"))));
    world.up();
    world.reconcile();
    let mut configured = 0;
    while configured < 10_000 {
        let configures = world.configures();
        assert!(!configures.is_empty() && configures.len() <= CONFIGURES_UNDER_WAY, "{configured}: {}", configures.len());
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
            world.engine.completion(0, token, Status::Refused, "no", Now { ms: world.ms, unix_ms: 0 });
        }
        world.tick(1);
    }
    world.reconcile();
    assert!(world.configures().is_empty(), "as before: nothing to do");
    assert_eq!(world.engine.sizes(), (10_000, 30_000, 0));
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
    let ids: Vec<u32> = world.engine.due_reports(now, 10).into_iter().map(|(id, _)| id).collect();
    assert!(world.engine.due_reports(now, 10).is_empty());
    world.engine.report_again(&ids, now.ms);
    assert_eq!(world.engine.due_reports(now, 10).len(), 1, "what could not be kept comes again");
}

#[test]
fn a_device_that_comes_back_gets_its_setpoint_again() {
    let mut world = World::with_boiler(Some("60"));
    let token = world.writes()[0].0;
    world.complete(token, Status::Ok, "");
    world.read_setpoint(600);
    let id = world.engine.by_name[&name("boiler")];
    let now = world.now();
    world.engine.device_state(0, id, Some(false), "no answer", now);
    assert_eq!(world.condition("boiler", "Reachable").status, Some(false));
    assert_eq!(world.engine.get(&name("boiler")).unwrap().state, DeviceState::Offline);
    world.engine.device_state(0, id, Some(true), "", now);
    world.read_setpoint(200);
    world.tick(50);
    assert_eq!(world.writes()[0].1, Value::Int(600), "it lost its setpoint with the power");
}

#[derive(Debug, Clone)]
enum Move {
    Desire(Option<u8>),
    Local(u8),
    Device(bool),
    Model(bool),
    Mapper(bool),
    Complete(u8),
    Read(u8),
    State(bool),
    Tick(u16),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        prop::option::of(10..100_u8).prop_map(Move::Desire),
        (10..100_u8).prop_map(Move::Local),
        any::<bool>().prop_map(Move::Device),
        any::<bool>().prop_map(Move::Model),
        any::<bool>().prop_map(Move::Mapper),
        (0..6_u8).prop_map(Move::Complete),
        any::<u8>().prop_map(Move::Read),
        any::<bool>().prop_map(Move::State),
        (0..5_000_u16).prop_map(Move::Tick),
    ];
    prop::collection::vec(one, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any order of everything: no panic, nothing out of range is ever written,
    /// and once the world holds still, a valid desired value is in the device.
    #[test]
    fn any_order_of_everything(moves in moves()) {
        let mut world = World::new();
        let (mut up, mut register) = (false, 0_i64);
        let mut desired: Option<u8> = None;
        let statuses = [Status::Ok, Status::Ok, Status::Line, Status::Timeout, Status::Busy, Status::Internal];
        let play = |world: &mut World, register: &mut i64, status: Status| {
            for command in std::mem::take(&mut world.commands) {
                if let CommandKind::Write { value, .. } = &command.kind {
                    let Value::Int(raw) = value else { panic!("{value:?}") };
                    assert!((200..=900).contains(raw), "{raw} is out of range");
                    if status == Status::Ok { *register = *raw; }
                }
                let read = matches!(command.kind, CommandKind::Read { .. }) && status == Status::Ok;
                if read && world.engine.get(&name("boiler")).is_some_and(|d| d.properties.len() == 3) {
                    world.read_setpoint(*register);
                }
                world.complete(command.token, status, "");
            }
        };
        for one in moves {
            match one {
                Move::Desire(value) => {
                    desired = value;
                    if let Some(at) = world.objects.iter().position(|o| o.key.kind == "Device") {
                        world.objects[at] = device("boiler", desired.map(|v| v.to_string()).as_deref());
                    }
                    world.reconcile();
                }
                Move::Local(value) => {
                    let now = world.now();
                    let _ = world.engine.update(&name("boiler"), &[update("setpoint", &value.to_string())], now);
                    world.collect();
                }
                Move::Device(there) => {
                    world.objects.retain(|o| o.key.kind != "Device");
                    if there { world.objects.push(device("boiler", desired.map(|v| v.to_string()).as_deref())); }
                    world.reconcile();
                }
                Move::Model(there) => {
                    world.objects.retain(|o| o.key.kind != "DeviceModel");
                    if there { world.objects.push(model()); }
                    world.reconcile();
                }
                Move::Mapper(now_up) => {
                    let now = world.now();
                    world.commands.clear();
                    if now_up { world.up(); } else { world.engine.mapper_down(0, "gone", now); world.collect(); }
                    up = now_up;
                }
                Move::Complete(status) => play(&mut world, &mut register, statuses[usize::from(status)]),
                Move::Read(raw) => if world.engine.get(&name("boiler")).is_some_and(|d| d.properties.len() == 3) {
                    world.read_setpoint(i64::from(raw));
                },
                Move::State(online) => {
                    let now = world.now();
                    world.engine.device_state(0, 0, Some(online), "", now);
                    world.collect();
                }
                Move::Tick(ms) => world.tick(u64::from(ms)),
            }
        }
        world.objects = vec![model(), device("boiler", Some("77.5"))];
        world.reconcile();
        if !up { world.up(); }
        for _ in 0..3_000 {
            play(&mut world, &mut register, Status::Ok);
            world.tick(100);
        }
        let now = world.twin("boiler", "setpoint").desired.unwrap();
        prop_assert_eq!((now.value.as_str(), now.write, register), ("77.5", WriteState::Confirmed, 775));
    }
}
