mod anything;
mod batches;
mod commands;
mod dangling;
mod desired;
mod devices;
mod events;
mod groups;
mod heard;
mod history;
mod keeping;
mod methods;
mod next;
mod users;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use longshore_types::{
    DeviceName, DeviceSamples, NodeName, Quality, Reason, Value, ValueRef,
    command::{Command, CommandKind, Status},
    device::{Condition, ConditionStatus, WriteState},
    report::{DeviceReport, DeviceState, PropertyReport},
};
use serde_json::{Value as Json, json};

use super::{links::OUTAGE_MS, *};
use crate::{
    outputs::{
        DeviceChange, Interest, LocalUpdate, MembershipChange, Message, Row, RowKind, Save,
        TwinBlob, UpdateError,
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
            Message::Membership(_) => panic!("the engine tells of members when it is asked"),
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
    /// All rows that were ever written, and what came of them.
    rows: Vec<Row>,
    forgotten: Vec<String>,
    disk: Disk,
    store: Store,
    answers: Vec<(u64, Result<DeviceReport, UpdateError>)>,
    ended: Vec<(u64, Result<Json, UpdateError>)>,
    history: Vec<DeviceSamples>,
}

/// How the store takes what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    Takes,
    /// It is full.
    Refuses,
    /// It takes its time: the test says when.
    Waits,
}

/// What is on the disk.
#[derive(Debug, Clone, Default)]
struct Disk {
    rows: BTreeMap<(RowKind, String, String), String>,
    twins: BTreeMap<String, Vec<u8>>,
}

impl Disk {
    fn write(&mut self, save: Save) {
        for device in save.forgotten {
            self.rows.retain(|(_, of, _), _| *of != device);
            self.twins.remove(&device);
        }
        for row in save.rows {
            let key = (row.kind, row.device, row.name);
            match row.json {
                Some(json) => drop(self.rows.insert(key, json)),
                None => drop(self.rows.remove(&key)),
            }
        }
        for twin in save.twins {
            self.twins.insert(twin.device, twin.data);
        }
    }

    fn row(&self, kind: RowKind, device: &str, name: &str) -> Option<Json> {
        let key = (kind, format!("default/{device}"), name.to_owned());
        let json = self.rows.get(&key)?;
        Some(serde_json::from_str(json).unwrap())
    }

    fn twins(&self) -> Vec<TwinBlob> {
        let twins = self.twins.clone().into_iter();
        twins
            .map(|(device, data)| TwinBlob { device, data })
            .collect()
    }

    fn rows(&self) -> Vec<Row> {
        let rows = self.rows.clone().into_iter();
        rows.map(|((kind, device, name), json)| Row {
            kind,
            device,
            name,
            json: Some(json),
        })
        .collect()
    }
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
            disk: Disk::default(),
            store: Store::Takes,
            answers: Vec::new(),
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

    /// What a restart finds: what the disk has, and the objects.
    fn restarted(&self) -> Self {
        let mut after = Self::new();
        after.ms = self.ms;
        after.disk = self.disk.clone();
        after.objects = self.objects.clone();
        (after.engine).restore(after.disk.twins(), after.disk.rows(), false);
        after.reconcile();
        after.engine.forget_orphans();
        after.collect();
        after
    }

    /// Hands out, and plays the store.
    fn collect(&mut self) {
        loop {
            self.hand_out();
            if self.store == Store::Waits {
                return;
            }
            let now = self.now();
            let Some(save) = self.engine.next_save(now, false) else {
                return;
            };
            self.answer_of_store(save);
        }
    }

    /// The store does its work.
    fn answer_of_store(&mut self, save: Save) {
        let now = self.now();
        if self.store == Store::Refuses {
            return self.engine.stored(Err("the disk is full".to_owned()), now);
        }
        self.rows.extend(save.rows.clone());
        self.forgotten.extend(save.forgotten.clone());
        self.disk.write(save);
        self.engine.stored(Ok(()), now);
    }

    fn hand_out(&mut self) {
        for message in self.engine.messages() {
            self.ears.hear(message);
        }
        while let Some(change) = self.engine.member_to_tell() {
            let text = match change {
                MembershipChange::Added(device) => format!("+{}", device.name),
                MembershipChange::Removed(name) => format!("-{name}"),
            };
            self.ears.members.lock().unwrap().push(text);
            self.engine.member_told();
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
        self.answers.extend(out.updates);
        self.ended.extend(out.calls);
        self.history.extend(out.samples);
        let dangling = self.engine.stats().dangling;
        assert_eq!(dangling, 0, "an id of the engine's own leads nowhere");
    }

    /// A client's update, up to its answer.
    fn update(
        &mut self,
        device: &str,
        updates: &[LocalUpdate],
    ) -> Result<DeviceReport, UpdateError> {
        let now = self.now();
        let number = self.engine.update(&name(device), updates, now)?;
        self.collect();
        let at = self.answers.iter().position(|(of, _)| *of == number);
        self.answers.remove(at.expect("an answer")).1
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

    fn down(&mut self) {
        let now = self.now();
        self.engine.mapper_down(0, "killed by signal 9", now);
        self.collect();
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

    /// What the store would be given next, with all that is not due as well.
    fn save_all(&mut self) {
        let now = self.now();
        while let Some(save) = self.engine.next_save(now, true) {
            self.answer_of_store(save);
        }
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

fn measured(property: &str, actual: &str) -> LocalUpdate {
    LocalUpdate {
        property: property.to_owned(),
        expected: None,
        actual: Some(actual.to_owned()),
    }
}

fn update(property: &str, expected: &str) -> LocalUpdate {
    LocalUpdate {
        property: property.to_owned(),
        expected: Some(expected.to_owned()),
        actual: None,
    }
}
