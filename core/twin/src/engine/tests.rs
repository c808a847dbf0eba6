mod anything;
mod batches;
mod dangling;
mod desired;
mod devices;
mod events;
mod groups;
mod history;
mod methods;
mod users;

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use longshore_types::{
    DeviceName, DeviceSamples, NodeName, Quality, Reason, Value, ValueRef,
    command::{Command, CommandKind, Status},
    device::{Condition, ConditionStatus, WriteState},
    report::{DeviceState, PropertyReport},
};
use serde_json::{Value as Json, json};

use super::{links::OUTAGE_MS, *};
use crate::{
    outputs::{
        DesiredRow, DeviceChange, Interest, LocalUpdate, MembershipChange, Message, TwinBlob,
        UpdateError,
    },
    point::Reading,
    reconcile::{Object, Reconciliation},
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
    retained: Mutex<Vec<(String, String)>>,
    full: AtomicBool,
}

impl Interest for Ears {
    fn version(&self) -> u64 {
        self.interest.load(Ordering::Relaxed)
    }
    fn wanted(&self, topic: &str) -> bool {
        topic.ends_with("/batch") && !self.deaf.load(Ordering::Relaxed)
    }
    fn wants_changes(&self, _device: &DeviceName) -> bool {
        self.changes_wanted.load(Ordering::Relaxed)
    }
}

impl Ears {
    fn hear(&self, message: Message) {
        match message {
            Message::Batch { topic, payload } => {
                let text = String::from_utf8(payload.to_vec()).unwrap();
                self.batches.lock().unwrap().push((topic.to_string(), text));
            }
            Message::Changed(change) => self.changes.lock().unwrap().push(change),
            Message::Membership(change) => {
                let text = match change {
                    MembershipChange::Added(device) => format!("+{}", device.name),
                    MembershipChange::Removed(name) => format!("-{name}"),
                };
                self.members.lock().unwrap().push(text);
            }
        }
    }
}

/// An object as a store has it.
#[derive(Debug, Clone)]
struct Stored {
    kind: String,
    name: String,
    uid: String,
    json: String,
}

impl Stored {
    fn view(&self) -> Object<'_> {
        Object {
            kind: &self.kind,
            namespace: "default",
            name: &self.name,
            uid: &self.uid,
            of_folder: false,
            json: &self.json,
        }
    }
}

fn fingerprint(device: &[u8], uid: &str, model: Option<&[u8]>) -> u64 {
    crate::planned::hash(&(device, uid, model)).max(1)
}

/// An engine, its world, and a hand-driven clock.
struct World {
    engine: Engine,
    ears: Arc<Ears>,
    objects: Vec<Stored>,
    ms: u64,
    commands: Vec<Command>,
    rows: Vec<DesiredRow>,
    forgotten: Vec<TwinBlob>,
    ended: Vec<(u64, Result<Json, UpdateError>)>,
    history: Vec<DeviceSamples>,
}

fn mapper(name: &str) -> MapperInfo {
    MapperInfo {
        name: name.to_owned(),
        protocol: name.to_owned(),
        pushes: false,
    }
}

fn object(kind: &str, name: &str, json: Json) -> Stored {
    Stored {
        kind: kind.to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        json: json.to_string(),
    }
}

/// Temperature (read), setpoint (read and write, 20 to 90, tenths), mode (text).
fn model() -> Stored {
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

fn device(name: &str, setpoint: Option<&str>) -> Stored {
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
        Self {
            engine,
            ears,
            objects: Vec::new(),
            ms: 1_000,
            commands,
            rows,
            forgotten,
            ended: Vec::new(),
            history: Vec::new(),
        }
    }

    /// With one device `d` of a model with these properties, configured.
    fn with_device(properties: Json, of_protocol: Json) -> Self {
        let mut world = Self::new();
        world.objects = objects(&properties, &of_protocol);
        world.reconcile();
        world.up();
        world.complete_configures();
        world
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
        Now {
            ms: self.ms,
            unix_ms: 1_700_000_000_000 + self.ms as i64,
        }
    }

    fn collect(&mut self) {
        for message in self.engine.messages() {
            self.ears.hear(message);
        }
        let out = self.engine.take_outputs();
        for retained in out.retained {
            if self.ears.full.load(Ordering::Relaxed) {
                self.engine.not_retained(retained);
                continue;
            }
            let text = String::from_utf8(retained.payload.to_vec()).unwrap();
            let topic = retained.topic.to_string();
            self.ears.retained.lock().unwrap().push((topic, text));
        }
        self.commands
            .extend(out.commands.into_iter().map(|(_, command)| command));
        self.rows.extend(out.desired);
        self.ended.extend(out.calls);
        self.history.extend(out.samples);
        self.forgotten.extend(out.forgotten);
        let dangling = self.engine.stats(0).dangling;
        assert_eq!(dangling, 0, "an id of the engine's own leads nowhere");
    }

    fn reconcile(&mut self) {
        let node = NodeName::new("edge-1").unwrap();
        let now = self.now();
        let seen = Reconciliation::new(&node, self.objects.iter().map(Stored::view), fingerprint)
            .run(&mut self.engine, now);
        self.engine.retain_devices(|name| seen.contains(name), now);
        self.engine.pump(now);
        self.collect();
    }

    fn up(&mut self) {
        let now = self.now();
        self.engine.mapper_up(0, now);
        self.collect();
        if self.engine.take_wants_objects() {
            self.reconcile();
        }
    }

    fn tick(&mut self, ms: u64) {
        self.ms += ms;
        let now = self.now();
        self.engine.set_bus_ready(true);
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
        let (taken, rest) = std::mem::take(&mut self.commands)
            .into_iter()
            .partition(|c| kind(&c.kind));
        self.commands = rest;
        taken
    }

    fn configures(&mut self) -> Vec<(u32, Json, u64)> {
        let taken = self.take(|kind| matches!(kind, CommandKind::Configure(_)));
        let json = |command: &Command| match &command.kind {
            CommandKind::Configure(text) => serde_json::from_str(text).unwrap(),
            _ => Json::Null,
        };
        taken
            .iter()
            .map(|command| (command.device, json(command), command.token))
            .collect()
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
        self.take(|kind| matches!(kind, CommandKind::Read { .. }))
            .iter()
            .map(|command| command.token)
            .collect()
    }

    fn complete_configures(&mut self) {
        for (_, _, token) in self.configures() {
            self.complete(token, Status::Ok, "");
        }
    }

    fn point(&self, device: &str, property: &str) -> u32 {
        let id = self.engine.fleet.id(&name(device)).unwrap();
        let device = self.engine.fleet.device(id).unwrap();
        device.point(property).unwrap()
    }

    fn read(&mut self, readings: &[(u32, ValueRef<'_>)]) {
        let now = self.now();
        let time = now.unix_ms * 1_000_000;
        let good = |value| Reading {
            quality: Quality::Good,
            reason: Reason::None,
            source_time_ns: time,
            value: Some(value),
            message: "",
        };
        self.engine.samples(
            0,
            readings.iter().map(|(point, value)| (*point, good(*value))),
            now,
        );
        self.collect();
    }

    fn read_setpoint(&mut self, raw: i64) {
        let point = self.point("boiler", "setpoint");
        self.read(&[(point, ValueRef::Int(raw))]);
    }

    fn twin(&self, device: &str, property: &str) -> PropertyReport {
        let twin = self.engine.get(&name(device)).unwrap();
        twin.properties
            .into_iter()
            .find(|p| &*p.name == property)
            .unwrap()
    }

    fn bad(&mut self, point: u32, message: &str) {
        let now = self.now();
        let reading = Reading {
            quality: Quality::Bad,
            reason: Reason::Timeout,
            source_time_ns: now.unix_ms * 1_000_000,
            value: None,
            message,
        };
        self.engine.samples(0, [(point, reading)].into_iter(), now);
        self.collect();
    }

    fn retained(&self) -> Vec<(String, Json)> {
        let retained = std::mem::take(&mut *self.ears.retained.lock().unwrap());
        let parse = |text: String| serde_json::from_str(&text).unwrap_or(Json::Null);
        retained
            .into_iter()
            .map(|(topic, text)| (topic, parse(text)))
            .collect()
    }

    fn write_state(&self) -> (WriteState, String) {
        let desired = self.twin("boiler", "setpoint").desired.unwrap();
        (desired.write, desired.message)
    }

    fn condition(&self, device: &str, kind: &str) -> Condition {
        let twin = self.engine.get(&name(device)).unwrap();
        twin.conditions
            .into_iter()
            .find(|condition| condition.condition == kind)
            .unwrap()
    }
}

/// A model with these properties and a device `d` that uses all of them.
fn objects(properties: &Json, of_protocol: &Json) -> Vec<Stored> {
    let names: Vec<Json> = properties
        .as_array()
        .unwrap()
        .iter()
        .map(|property| json!({"name": property["name"]}))
        .collect();
    let model = json!({"metadata": {"name": "m", "namespace": "default"},
        "spec": {"protocol": "modbus", "properties": properties, "protocolConfigData": of_protocol}});
    let device = json!({"metadata": {"name": "d", "namespace": "default"},
        "spec": {"deviceModelRef": {"name": "m"}, "nodeName": "edge-1", "properties": names}});
    vec![
        object("DeviceModel", "m", model),
        object("Device", "d", device),
    ]
}

fn name(device: &str) -> DeviceName {
    DeviceName::new("default", device).unwrap()
}

fn update(property: &str, expected: &str) -> LocalUpdate {
    LocalUpdate {
        property: property.to_owned(),
        expected: Some(expected.to_owned()),
        actual: None,
    }
}
