//! A desired value is a state, a command happens once: whatever breaks, restarts, is
//! upgraded or changed at the panel.

use proptest::prelude::*;

use super::*;

/// `start` is a command, `mode` is a state, `auto` only turns out to be write-only.
fn machine(of_protocol: Json) -> World {
    World::with_device(
        json!([
            {"name": "start", "type": "INT", "accessMode": "ReadWrite",
             "visitors": {"configData": {"address": "hr:5", "write": {"command": true, "expires": "1m"}}}},
            {"name": "mode", "type": "INT", "accessMode": "ReadWrite",
             "visitors": {"configData": {"address": "hr:6", "write": {"retries": 50}}}},
            {"name": "auto", "type": "INT", "accessMode": "ReadWrite",
             "visitors": {"configData": {"address": "hr:7"}}},
        ]),
        of_protocol,
    )
}

impl World {
    fn asks(&mut self, property: &str, value: &str) {
        self.update("d", &[update(property, value)]).unwrap();
    }

    fn outcome(&self, property: &str) -> (WriteState, String) {
        let desired = self.twin("d", property).desired.unwrap();
        (desired.write, desired.message)
    }

    fn goes(&mut self, online: bool) {
        let id = self.engine.fleet.id(&name("d")).unwrap();
        let now = self.now();
        let why = if online { "" } else { "no answer" };
        self.engine.device_state(0, id, Some(online), why, now);
        self.collect();
    }

    fn is_bad(&mut self, point: u32, reason: Reason, message: &str) {
        let now = self.now();
        let reading = Reading {
            quality: Quality::Bad,
            reason,
            source_time_ns: now.unix_ms * 1_000_000,
            value: None,
            message,
        };
        self.engine.samples(0, [(point, reading)].into_iter(), now);
        self.collect();
    }

    fn row_of(&self, property: &str) -> Json {
        self.disk.row(RowKind::Desired, "d", property).unwrap()
    }
}

#[test]
fn a_command_is_sent_once_and_shows_what_was_commanded() {
    let mut world = machine(json!({}));
    world.asks("start", "1");
    let (token, _) = world.writes()[0];
    assert_eq!(
        world.row_of("start")["handed"],
        true,
        "on the disk before the mapper has it"
    );
    world.complete(token, Status::Ok, "");
    assert_eq!(world.outcome("start").0, WriteState::Confirmed);
    assert!(world.reads().is_empty(), "a register that clears itself");
    // The mapper says of all of its points that the line is down.
    let start = world.point("d", "start");
    world.is_bad(start, Reason::Line, "no connection");
    world.read(&[(start, ValueRef::Int(0))]);
    world.tick(600_000);
    let twin = world.twin("d", "start");
    assert_eq!(
        (twin.value, twin.quality),
        (Some(Value::Int(1)), Quality::Good)
    );
    world.goes(false);
    world.goes(true);
    world.tick(1_000);
    assert!(world.writes().is_empty());
    // The same value again is another command.
    world.asks("start", "1");
    assert_eq!(world.writes().len(), 1);
}

#[test]
fn a_command_of_the_device_object_is_announced_first() {
    let mut world = machine(json!({}));
    world.store = Store::Waits;
    let device = world.objects.last_mut().unwrap();
    let mut json: Json = serde_json::from_str(&device.json).unwrap();
    json["spec"]["properties"][0]["desired"] = json!({"value": "1"});
    device.json = json.to_string();
    world.reconcile();
    world.tick(50);
    assert!(world.writes().is_empty());
    world.store = Store::Takes;
    world.collect();
    world.tick(50);
    assert_eq!(world.row_of("start")["handed"], true);
    assert_eq!(world.writes().len(), 1);
    // The node is killed: whether it started is not known, and it is not started again.
    let mut after = world.restarted();
    after.up();
    after.complete_configures();
    after.tick(1_000);
    assert!(after.writes().is_empty());
    let (state, why) = after.outcome("start");
    assert_eq!(state, WriteState::Unknown);
    assert_eq!(
        why,
        "it may have been carried out or not: the node was restarted meanwhile"
    );
    let twin = after.twin("d", "start");
    assert_eq!(
        (twin.value, twin.quality),
        (Some(Value::Int(1)), Quality::Uncertain)
    );
    assert_eq!(after.row_of("start")["unknown"], true, "told once");
}

#[test]
fn a_command_waits_for_its_device_for_a_while_and_over_a_restart() {
    let mut world = machine(json!({}));
    world.goes(false);
    world.asks("start", "1");
    world.tick(30_000);
    assert!(world.writes().is_empty());
    let mut after = world.restarted();
    after.up();
    after.goes(false);
    after.complete_configures();
    after.tick(31_000);
    assert_eq!(
        after.outcome("start"),
        (
            WriteState::Failed,
            "not sent, and given up after 60 s: the device is offline: no answer".to_owned()
        )
    );
    after.goes(true);
    after.tick(1_000);
    assert!(after.writes().is_empty());
}

#[test]
fn what_turns_out_to_be_write_only_is_a_command() {
    let mut world = machine(json!({}));
    let auto = world.point("d", "auto");
    world.is_bad(auto, Reason::Refused, "illegal data address");
    world.asks("auto", "3");
    let (token, _) = world.writes()[0];
    world.complete(token, Status::Line, "connection lost");
    assert_eq!(world.outcome("auto").0, WriteState::Unknown);
    world.tick(100_000);
    assert!(world.writes().is_empty());
    // The mapper says so itself: it is not bad for that.
    world.is_bad(auto, Reason::WriteOnly, "");
    assert_eq!(world.twin("d", "auto").quality, Quality::Uncertain);
    world.asks("auto", "4");
    let (token, _) = world.writes()[0];
    world.complete(token, Status::Ok, "");
    let twin = world.twin("d", "auto");
    assert_eq!(
        (twin.value, twin.quality, twin.last_error),
        (Some(Value::Int(4)), Quality::Good, None)
    );
    let mut after = world.restarted();
    after.up();
    after.complete_configures();
    after.is_bad(auto, Reason::Refused, "illegal data address");
    let twin = after.twin("d", "auto");
    assert_eq!(
        (twin.value, twin.quality),
        (Some(Value::Int(4)), Quality::Good)
    );
    assert!(after.writes().is_empty());
}

#[test]
fn a_write_that_is_accepted_and_cannot_be_read_back_is_done() {
    let mut world = machine(json!({}));
    world.asks("auto", "3");
    let (token, _) = world.writes()[0];
    world.complete(token, Status::Ok, "");
    let read = world.reads()[0];
    world.complete(read, Status::Refused, "illegal data address");
    assert_eq!(world.outcome("auto").0, WriteState::Confirmed);
    assert_eq!(world.twin("d", "auto").value, Some(Value::Int(3)));
}

#[test]
fn what_is_only_written_and_is_to_be_read_is_bad() {
    let mut world = World::with_device(
        json!([{"name": "t", "type": "INT", "visitors": {"configData": {"address": "hr:0"}}}]),
        json!({}),
    );
    let t = world.point("d", "t");
    world.is_bad(t, Reason::WriteOnly, "it can only be written");
    let twin = world.twin("d", "t");
    assert_eq!((twin.quality, twin.reason), (Quality::Bad, Reason::Refused));
}

#[test]
fn a_mapper_that_learns_at_the_read_back_that_it_can_only_be_written() {
    let mut world = machine(json!({}));
    world.asks("auto", "3");
    let (token, _) = world.writes()[0];
    world.complete(token, Status::Ok, "");
    let read = world.reads()[0];
    let auto = world.point("d", "auto");
    world.is_bad(auto, Reason::WriteOnly, "it can only be written");
    world.complete(read, Status::Ok, "");
    assert_eq!(world.outcome("auto").0, WriteState::Confirmed);
    assert_eq!(world.twin("d", "auto").value, Some(Value::Int(3)));
}

#[test]
fn a_model_that_comes_late_does_not_bring_a_command_back() {
    let mut world = machine(json!({}));
    let device = world.objects.last_mut().unwrap();
    let mut json: Json = serde_json::from_str(&device.json).unwrap();
    json["spec"]["properties"][0]["desired"] = json!({"value": "1"});
    device.json = json.to_string();
    world.reconcile();
    world.tick(50);
    let (token, _) = world.writes()[0];
    world.complete(token, Status::Ok, "");
    let objects = world.objects.clone();
    world.objects.retain(|object| object.kind == "Device");
    let mut after = world.restarted();
    after.tick(1_000);
    after.objects = objects;
    after.reconcile();
    after.up();
    after.complete_configures();
    after.tick(1_000);
    assert!(after.writes().is_empty());
    assert_eq!(after.outcome("start").0, WriteState::Confirmed);
}

#[test]
fn a_call_whose_answer_is_missing_is_settled_by_reading_or_unknown() {
    let methods = json!({"methods": [
        {"name": "go", "steps": [{"write": "start", "value": 1}]},
        {"name": "set", "steps": [{"write": "mode", "value": 7}]}]});
    let mut world = machine(methods);
    world.call("go", json!({})).unwrap();
    let (token, _) = world.writes()[0];
    world.complete(token, Status::Timeout, "no answer");
    assert_eq!(
        world.end(),
        Err("step 1 (write `start`): it may have been carried out or not: no answer".to_owned())
    );
    assert_eq!(world.twin("d", "start").quality, Quality::Uncertain);
    for (shows, end) in [
        (7, Ok(json!({"mode": 7}))),
        (
            4,
            Err("step 1 (write `mode`): it may have been carried out or not: no answer; the device shows 4".to_owned()),
        ),
    ] {
        world.call("set", json!({})).unwrap();
        let (token, _) = world.writes()[0];
        world.complete(token, Status::Timeout, "no answer");
        let mode = world.point("d", "mode");
        while world.ended.is_empty() {
            for token in world.reads() {
                world.read(&[(mode, ValueRef::Int(shows))]);
                world.complete(token, Status::Ok, "");
            }
            world.tick(100);
        }
        assert!(world.writes().is_empty(), "once");
        assert_eq!(world.end(), end);
    }
}

#[test]
fn a_call_that_did_not_go_out_says_so() {
    let methods = json!({"methods": [{"name": "go", "steps": [{"write": "start", "value": 1}]}]});
    let mut world = machine(methods);
    world.goes(false);
    assert_eq!(
        world.call("go", json!({})),
        Err("nothing was sent: the device is offline: no answer".to_owned())
    );
    world.goes(true);
    world.call("go", json!({})).unwrap();
    let (token, _) = world.writes()[0];
    world.complete(token, Status::NotSent, "no connection");
    assert_eq!(
        world.end(),
        Err("step 1 (write `start`): not sent: no connection".to_owned())
    );
    assert!(world.twin("d", "start").value.is_none());
}

#[test]
fn a_mapper_is_told_what_is_a_command_and_what_to_write_after_connecting() {
    let mut world = World::new();
    let properties = json!([
        {"name": "start", "type": "INT", "accessMode": "ReadWrite", "collectCycle": 500,
         "visitors": {"configData": {"address": "hr:5", "write": {"command": true}}}},
        {"name": "level", "type": "FLOAT", "accessMode": "ReadWrite",
         "visitors": {"configData": {"address": "hr:6", "rawType": "int16", "scale": 0.1}}}]);
    let connect =
        json!({"connect": [{"write": "level", "value": 2.5}, {"write": "level", "value": 2.55}]});
    world.objects = objects(&properties, &connect);
    world.reconcile();
    world.up();
    let (_, config, token) = world.configures().remove(0);
    let (start, level) = (&config["points"][0], &config["points"][1]);
    assert_eq!(
        (&start["command"], &start["intervalMs"]),
        (&json!(true), &json!(0))
    );
    assert_eq!(level["command"], Json::Null);
    assert_eq!(
        config["connect"],
        json!([{"point": level["id"], "value": 25}])
    );
    world.complete(token, Status::Ok, "");
    let why = world.condition("d", "ConfigValid").message;
    assert!(
        why.contains("protocolConfigData.connect[1].value: "),
        "{why}"
    );
}

#[derive(Debug, Clone)]
enum Move {
    /// A new value for the command, the state, or a call.
    Ask(u8),
    /// What is under way ends so; a write that is not answered may have arrived.
    Complete {
        status: u8,
        arrived: bool,
    },
    Panel(u8),
    Read,
    Online(bool),
    Mapper(bool),
    Store(bool),
    /// Of the edge; an upgrade as well, from a version that did not know commands.
    Crash {
        upgrade: bool,
    },
    Tick(u16),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => (0..3_u8).prop_map(Move::Ask),
        5 => (0..8_u8, any::<bool>()).prop_map(|(status, arrived)| Move::Complete { status, arrived }),
        1 => any::<u8>().prop_map(Move::Panel),
        2 => Just(Move::Read),
        2 => any::<bool>().prop_map(Move::Online),
        1 => any::<bool>().prop_map(Move::Mapper),
        4 => prop::bool::weighted(0.8).prop_map(Move::Store),
        1 => prop::bool::weighted(0.2).prop_map(|upgrade| Move::Crash { upgrade }),
        2 => (0..3_000_u16).prop_map(Move::Tick),
    ];
    prop::collection::vec(one, 0..150)
}

/// A machine with a register for its start, one for its mode, and people at its panel.
struct Plant {
    world: World,
    /// Each revision and each call has a value of its own.
    asked: i64,
    /// How often a value of the start register was on the wire, by value.
    started: BTreeMap<i64, u32>,
    mode: i64,
    /// Values of the mode that were shown as confirmed.
    confirmed: Vec<i64>,
    commands: Vec<Command>,
    outcomes: BTreeMap<i64, WriteState>,
    ended: BTreeMap<u64, u32>,
}

impl Plant {
    fn new() -> Self {
        let methods = json!({"methods": [{"name": "go", "parameters": [{"name": "n", "type": "INT"}],
            "timeout": "20s", "steps": [{"write": "start", "value": "n"}]}]});
        let mut world = machine(methods);
        world.store = Store::Waits;
        Self {
            world,
            asked: 100,
            started: BTreeMap::new(),
            mode: 0,
            confirmed: Vec::new(),
            commands: Vec::new(),
            outcomes: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    fn look(&mut self) {
        self.world.hand_out();
        self.world.answers.clear();
        for (number, _) in std::mem::take(&mut self.world.ended) {
            let ends = self.ended.entry(number).or_default();
            *ends += 1;
            assert_eq!(*ends, 1, "a call is answered once");
        }
        for command in std::mem::take(&mut self.world.commands) {
            if let CommandKind::Write { point, value } = &command.kind {
                let Value::Int(value) = value else { panic!() };
                let is_mode = *point == self.world.point("d", "mode");
                assert!(
                    !is_mode || !self.confirmed.contains(value),
                    "{value} was confirmed and is written again"
                );
            }
            self.commands.push(command);
        }
        let told = |world: &World, property| {
            let desired = world.twin("d", property).desired?;
            Some((desired.value.parse::<i64>().unwrap(), desired.write))
        };
        if let Some((value, WriteState::Confirmed)) = told(&self.world, "mode")
            && !self.confirmed.contains(&value)
        {
            self.confirmed.push(value);
        }
        if let Some((value, state)) =
            told(&self.world, "start").filter(|(_, state)| *state != WriteState::Pending)
        {
            let told = *self.outcomes.entry(value).or_insert(state);
            assert_eq!(told, state, "the outcome of {value} is told once");
        }
    }

    fn complete(&mut self, status: u8, arrived: bool) {
        let status = match status {
            0..=3 => Status::Ok,
            4 => Status::Line,
            5 => Status::Timeout,
            6 => Status::NotSent,
            _ => Status::Busy,
        };
        for command in std::mem::take(&mut self.commands) {
            let lost = matches!(status, Status::Line | Status::Timeout);
            let arrives = status == Status::Ok || (lost && arrived);
            match &command.kind {
                CommandKind::Write {
                    point,
                    value: Value::Int(value),
                } if arrives => {
                    if *point == self.world.point("d", "start") {
                        let times = self.started.entry(*value).or_default();
                        *times += 1;
                        assert_eq!(*times, 1, "{value} was started again");
                    } else {
                        self.mode = *value;
                    }
                }
                CommandKind::Read { .. } if status == Status::Ok => self.read(),
                _ => {}
            }
            self.world.complete(command.token, status, "no answer");
            self.look();
        }
    }

    fn read(&mut self) {
        let mode = self.world.point("d", "mode");
        let shown = self.mode;
        self.world.read(&[(mode, ValueRef::Int(shown))]);
    }

    fn ask(&mut self, what: u8) {
        self.asked += 1;
        let value = self.asked;
        let now = self.world.now();
        let text = value.to_string();
        match what {
            0 | 1 => {
                let property = if what == 0 { "start" } else { "mode" };
                let updates = [update(property, &text)];
                self.world.engine.update(&name("d"), &updates, now).unwrap();
            }
            // Refused at once where the machine is away.
            _ => drop((self.world.engine).call(&name("d"), "go", &json!({"n": value}), now)),
        }
    }

    /// Rows of a version that did not know what a command is.
    fn rows_of_old(&mut self) {
        for (_, json) in self.world.disk.rows.iter_mut() {
            let mut row: Json = serde_json::from_str(json).unwrap();
            let row = row.as_object_mut().unwrap();
            for key in ["kind", "handed", "unknown"] {
                row.remove(key);
            }
            *json = Json::Object(row.clone()).to_string();
        }
    }

    fn play(&mut self, one: Move) {
        match one {
            Move::Ask(what) => self.ask(what),
            Move::Complete { status, arrived } => self.complete(status, arrived),
            Move::Panel(value) => self.mode = i64::from(value % 90),
            Move::Read => self.read(),
            Move::Online(online) => self.world.goes(online),
            Move::Mapper(true) => {
                self.commands.clear();
                self.world.up();
            }
            Move::Mapper(false) => {
                let now = self.world.now();
                self.commands.clear();
                self.world.engine.mapper_down(0, "gone", now);
            }
            Move::Store(takes) => {
                let now = self.world.now();
                if let Some(save) = self.world.engine.next_save(now, false) {
                    self.world.store = if takes { Store::Takes } else { Store::Refuses };
                    self.world.answer_of_store(save);
                    self.world.store = Store::Waits;
                }
            }
            Move::Crash { upgrade } => {
                // What is with the mapper may still arrive.
                self.complete(4, true);
                self.commands.clear();
                if upgrade {
                    self.rows_of_old();
                    self.outcomes.clear();
                }
                self.ended.clear();
                self.world = self.world.restarted();
                self.world.store = Store::Waits;
                self.world.up();
            }
            Move::Tick(ms) => self.world.tick(u64::from(ms)),
        }
        self.look();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Outages, restarts of edge, mapper and device, upgrades, a store that refuses,
    /// and hands at the panel, in any order: a command reaches the wire at most once, a
    /// confirmed state is never written again, each outcome is told once; and when
    /// the line is good, everything comes to its end.
    #[test]
    fn a_command_happens_once_and_a_confirmed_state_is_done(moves in moves()) {
        let mut plant = Plant::new();
        for one in moves {
            plant.play(one);
        }
        plant.play(Move::Crash { upgrade: false });
        plant.play(Move::Online(true));
        plant.play(Move::Ask(1));
        for _ in 0..300 {
            plant.play(Move::Store(true));
            plant.play(Move::Complete { status: 0, arrived: true });
            plant.play(Move::Tick(100));
        }
        prop_assert_eq!(plant.world.outcome("mode").0, WriteState::Confirmed);
        prop_assert_eq!(plant.mode, plant.asked, "the state is in the machine");
        if let Some(start) = plant.world.twin("d", "start").desired {
            prop_assert_ne!(start.write, WriteState::Pending);
        }
    }
}
