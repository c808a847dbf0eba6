//! What is answered, told or written to a device is on the disk before.

use proptest::prelude::*;

use super::*;

/// The number of an update that waits for the store.
fn asked(world: &mut World, updates: &[LocalUpdate]) -> u64 {
    let now = world.now();
    let number = world.engine.update(&name("boiler"), updates, now).unwrap();
    world.collect();
    number
}

/// The store does what it was given, or refuses it.
fn goes_on(world: &mut World, store: Store) {
    let now = world.now();
    let save = world
        .engine
        .next_save(now, false)
        .expect("something to save");
    world.store = store;
    world.answer_of_store(save);
    world.store = Store::Waits;
    world.hand_out();
}

fn slow() -> World {
    let mut world = World::with_boiler(Some("60"));
    let (token, _) = world.writes()[0];
    world.complete(token, Status::Ok, "");
    world.read_setpoint(600);
    for token in world.reads() {
        world.complete(token, Status::Ok, "");
    }
    assert_eq!(world.write_state().0, WriteState::Confirmed);
    world.store = Store::Waits;
    world
}

#[test]
fn an_update_is_answered_and_written_once_it_is_on_the_disk() {
    let mut world = slow();
    let number = asked(&mut world, &[update("setpoint", "65")]);
    world.tick(5_000);
    assert!(world.answers.is_empty() && world.writes().is_empty());
    let shown = |world: &World| world.twin("boiler", "setpoint").desired.unwrap().value;
    assert_eq!(shown(&world), "60", "the former one stands until then");
    goes_on(&mut world, Store::Takes);
    let (of, answer) = world.answers.remove(0);
    let desired = answer.unwrap().properties[1].desired.clone().unwrap();
    assert_eq!(
        (of, desired.value.as_str(), desired.local),
        (number, "65", true)
    );
    assert_eq!(world.writes()[0].1, Value::Int(650));
    let row = world
        .disk
        .row(RowKind::Desired, "boiler", "setpoint")
        .unwrap();
    assert_eq!(
        (&row["text"], &row["write"]),
        (&json!("65"), &json!("pending"))
    );
}

#[test]
fn an_update_that_the_store_refuses_changes_nothing_and_says_why() {
    let mut world = slow();
    let both = [update("setpoint", "65"), update("mode", "eco")];
    asked(&mut world, &both);
    goes_on(&mut world, Store::Refuses);
    let (_, answer) = world.answers.remove(0);
    let error = answer.unwrap_err();
    let reason = "not kept, nothing has changed: the disk is full";
    assert_eq!((error.code, error.reason.as_str()), (500, reason));
    world.tick(10_000);
    assert!(world.writes().is_empty());
    assert_eq!(world.write_state().0, WriteState::Confirmed);
    assert_eq!(
        world.twin("boiler", "setpoint").desired.unwrap().value,
        "60"
    );
    assert!(world.twin("boiler", "mode").desired.is_none());
    // Nobody waits for a pause: the next one may be kept.
    asked(&mut world, &both);
    goes_on(&mut world, Store::Takes);
    assert!(world.answers.remove(0).1.is_ok());
    assert_eq!(world.writes().len(), 2);
}

#[test]
fn readings_do_not_wait_for_the_disk() {
    let mut world = slow();
    asked(&mut world, &[update("setpoint", "65")]);
    let point = world.point("boiler", "temperature");
    world.read(&[(point, ValueRef::Int(215))]);
    assert_eq!(
        world.twin("boiler", "temperature").value,
        Some(Value::Float(21.5))
    );
    let now = world.now();
    let reports = world.engine.due_reports(now, 9);
    let desired = reports[0].1.properties[1].desired.clone().unwrap();
    assert_eq!(desired.value, "60", "what is not kept is reported nowhere");
}

#[test]
fn of_values_that_came_together_the_device_gets_the_last_and_each_is_answered() {
    let mut world = slow();
    asked(&mut world, &[update("setpoint", "61")]);
    asked(&mut world, &[update("setpoint", "62")]);
    goes_on(&mut world, Store::Takes);
    let values: Vec<_> = world.writes().into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, [Value::Int(620)]);
    let accepted = world.answers.iter().map(|(_, answer)| {
        let twin = answer.as_ref().unwrap();
        twin.properties[1].desired.clone().unwrap().value
    });
    assert_eq!(accepted.collect::<Vec<_>>(), ["61", "62"]);
}

#[test]
fn a_confirmation_is_told_once_it_is_on_the_disk() {
    let mut world = slow();
    asked(&mut world, &[update("setpoint", "65")]);
    goes_on(&mut world, Store::Takes);
    let (token, _) = world.writes()[0];
    world.complete(token, Status::Ok, "");
    world.read_setpoint(650);
    assert_eq!(world.write_state().0, WriteState::Pending);
    let refused = "its outcome cannot be stored yet: the disk is full";
    goes_on(&mut world, Store::Refuses);
    assert_eq!(
        world.write_state(),
        (WriteState::Pending, refused.to_owned())
    );
    world.tick(1_000);
    goes_on(&mut world, Store::Takes);
    assert_eq!(world.write_state(), (WriteState::Confirmed, String::new()));
    let row = world
        .disk
        .row(RowKind::Desired, "boiler", "setpoint")
        .unwrap();
    assert_eq!(row["write"], "confirmed");
}

#[test]
fn the_device_speaks_while_a_local_value_is_being_saved_and_has_the_last_word() {
    let mut world = slow();
    asked(&mut world, &[update("setpoint", "65")]);
    world.objects[1] = device("boiler", Some("70"));
    world.reconcile();
    assert_eq!(world.writes()[0].1, Value::Int(700));
    goes_on(&mut world, Store::Takes);
    assert!(world.answers.remove(0).1.is_ok());
    assert!(world.writes().is_empty());
    world.store = Store::Takes;
    world.collect();
    let row = world
        .disk
        .row(RowKind::Desired, "boiler", "setpoint")
        .unwrap();
    assert_eq!(row["text"], "70");
    let mut after = world.restarted();
    after.up();
    after.complete_configures();
    // It was under way: a reading tells whether it arrived.
    let read = after.reads()[0];
    after.read_setpoint(600);
    after.complete(read, Status::Ok, "");
    after.tick(200);
    assert_eq!(after.writes()[0].1, Value::Int(700));
}

#[test]
fn a_device_goes_while_its_value_is_being_saved() {
    let mut world = slow();
    // While its mapper is up, nobody else says what was measured.
    world.down();
    asked(
        &mut world,
        &[update("setpoint", "65"), measured("temperature", "20")],
    );
    let former = world.objects.clone();
    world.objects.clear();
    world.reconcile();
    goes_on(&mut world, Store::Takes);
    assert_eq!(world.answers.remove(0).1.unwrap_err().code, 404);
    // It is back under its name before its rows went.
    world.objects = former;
    world.store = Store::Takes;
    world.reconcile();
    assert_eq!(
        world.twin("boiler", "setpoint").desired.unwrap().value,
        "60"
    );
    assert_eq!(
        world.disk.row(RowKind::Actual, "boiler", "temperature"),
        None
    );
    let row = world.disk.row(RowKind::Desired, "boiler", "setpoint");
    assert_eq!(row.unwrap()["text"], "60", "what counts now");
}

#[test]
fn a_mapper_that_restarts_while_a_value_is_being_saved_gets_it_afterwards() {
    let mut world = slow();
    asked(&mut world, &[update("setpoint", "65")]);
    let now = world.now();
    world.engine.mapper_down(0, "killed by signal 9", now);
    goes_on(&mut world, Store::Takes);
    assert!(world.answers.remove(0).1.is_ok());
    assert!(world.writes().is_empty());
    world.up();
    world.complete_configures();
    assert_eq!(world.writes()[0].1, Value::Int(650));
}

#[test]
fn a_property_that_changes_its_type_while_its_value_is_being_saved() {
    let mut world = slow();
    asked(&mut world, &[update("mode", "eco")]);
    world.objects[0].json = world.objects[0]
        .json
        .replace(r#""type":"STRING""#, r#""type":"INT""#);
    world.reconcile();
    world.complete_configures();
    goes_on(&mut world, Store::Takes);
    let desired = world.twin("boiler", "mode").desired.unwrap();
    assert_eq!(
        (desired.value.as_str(), desired.write),
        ("eco", WriteState::Failed)
    );
    assert!(world.writes().is_empty(), "it would be something else now");
}

#[test]
fn what_a_client_measured_survives_as_a_small_row() {
    let mut world = World::with_boiler(None);
    world.down();
    world
        .update("boiler", &[measured("temperature", "21.5")])
        .unwrap();
    assert!(world.disk.twins.is_empty(), "not the whole device");
    let after = world.restarted();
    let twin = after.twin("boiler", "temperature");
    assert_eq!(
        (twin.value, twin.reason),
        (Some(Value::Float(21.5)), Reason::Stale)
    );
    // What was read later counts more.
    let point = world.point("boiler", "temperature");
    world.ms += 1_000;
    world.read(&[(point, ValueRef::Int(330))]);
    world.save_all();
    let after = world.restarted();
    assert_eq!(
        after.twin("boiler", "temperature").value,
        Some(Value::Float(33.0))
    );
}

#[test]
fn after_a_kill_the_hub_hears_no_value_that_may_be_older_than_what_it_heard() {
    let mut world = World::with_boiler(None);
    let temperature = world.point("boiler", "temperature");
    world.read(&[(temperature, ValueRef::Int(215))]);
    world.save_all();
    // This one is reported, and then the edge is killed.
    world.read(&[(temperature, ValueRef::Int(330))]);
    let reported = |world: &mut World| {
        let now = world.now();
        let report = world.engine.due_reports(now, 9).remove(0).1;
        report.properties[0].value.clone()
    };
    let mut after = world.restarted();
    let here = after.twin("boiler", "temperature").value;
    assert_eq!(here, Some(Value::Float(21.5)), "the node shows what it has");
    assert_eq!(reported(&mut after), None);
    after.ms += 10_000;
    let temperature = after.point("boiler", "temperature");
    after.read(&[(temperature, ValueRef::Int(340))]);
    assert_eq!(reported(&mut after), Some(Value::Float(34.0)));
    // One that ended in good order has saved what it reported last.
    after.save_all();
    let mut again = World::new();
    again
        .engine
        .restore(after.disk.twins(), after.disk.rows(), true);
    again.objects = after.objects.clone();
    again.reconcile();
    assert_eq!(reported(&mut again), Some(Value::Float(34.0)));
}

#[test]
fn a_former_device_of_the_name_leaves_nothing_to_the_next_one() {
    let mut world = World::with_boiler(None);
    world.down();
    world
        .update("boiler", &[measured("temperature", "21.5")])
        .unwrap();
    world.objects[1].uid = "another".to_owned();
    let after = world.restarted();
    assert_eq!(after.twin("boiler", "temperature").value, None);
    assert!(after.disk.rows.is_empty());
}

#[test]
fn an_alarm_is_told_once_it_is_on_the_disk_or_the_disk_is_full() {
    let properties =
        json!([{"name": "t", "type": "INT", "visitors": {"configData": {"address": "ir:0"}}}]);
    let hot = json!({"events": [{"name": "hot", "when": "t > 90"}]});
    for store in [Store::Takes, Store::Refuses] {
        let mut world = World::with_device(properties.clone(), hot.clone());
        world.tick(1_000);
        world.store = Store::Waits;
        let t = world.point("d", "t");
        world.read(&[(t, ValueRef::Int(95))]);
        world.tick(1_000);
        assert_eq!(world.retained(), []);
        assert!(world.engine.get(&name("d")).unwrap().events.is_empty());
        goes_on(&mut world, store);
        assert_eq!(world.retained()[0].1["active"], true);
        let kept = world.disk.row(RowKind::Event, "d", "hot").is_some();
        assert_eq!(kept, store == Store::Takes);
        world.tick(1_000);
        world.store = Store::Takes;
        world.collect();
        assert!(world.disk.row(RowKind::Event, "d", "hot").is_some());
        assert_eq!(world.retained(), [], "once");
    }
}

/// A method is a command: nothing of it is kept, so that nothing of it comes again.
#[test]
fn a_step_of_a_call_leaves_nothing_on_the_disk() {
    let mut world = super::methods::pump();
    world.store = Store::Waits;
    world.call("fill", json!({"to": 8})).unwrap();
    let (token, _) = world.writes()[0];
    world.complete(token, Status::Refused, "illegal data value");
    let why = "step 1 (write `level`): illegal data value";
    assert_eq!(world.end(), Err(why.to_owned()));
    world.store = Store::Takes;
    world.save_all();
    assert!(world.disk.rows.is_empty());
    assert!(world.twin("d", "level").desired.is_none());
    let mut after = world.restarted();
    after.up();
    after.complete_configures();
    after.tick(1_000);
    assert!(after.writes().is_empty());
}

#[test]
fn rows_that_cannot_be_read_go_and_cost_nothing_else() {
    let mut world = World::with_boiler(Some("60"));
    world.update("boiler", &[update("mode", "eco")]).unwrap();
    world.save_all();
    let of = |name: &str| {
        (
            RowKind::Desired,
            "default/boiler".to_owned(),
            name.to_owned(),
        )
    };
    world.disk.rows.insert(of("setpoint"), "[1,2".to_owned());
    world.disk.rows.insert(
        (
            RowKind::Event,
            "default/boiler".to_owned(),
            "hot".to_owned(),
        ),
        "7".to_owned(),
    );
    world
        .disk
        .twins
        .insert("default/boiler".to_owned(), vec![0xff; 30]);
    let mut after = world.restarted();
    assert_eq!(
        after.twin("boiler", "setpoint").desired.unwrap().value,
        "60"
    );
    assert_eq!(after.twin("boiler", "mode").desired.unwrap().value, "eco");
    after.save_all();
    let again = after
        .disk
        .row(RowKind::Desired, "boiler", "setpoint")
        .unwrap();
    assert_eq!(again["text"], "60", "what counts took its place");
    assert_eq!(after.disk.row(RowKind::Event, "boiler", "hot"), None);
}

#[derive(Debug, Clone)]
enum Move {
    /// The next higher value.
    Update,
    Measure,
    Store(bool),
    Complete(bool),
    Read,
    Mapper(bool),
    Crash,
    Tick(u16),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => Just(Move::Update),
        1 => Just(Move::Measure),
        3 => prop::bool::weighted(0.8).prop_map(Move::Store),
        3 => prop::bool::weighted(0.8).prop_map(Move::Complete),
        1 => Just(Move::Read),
        1 => any::<bool>().prop_map(Move::Mapper),
        1 => Just(Move::Crash),
        1 => (0..3_000_u16).prop_map(Move::Tick),
    ];
    prop::collection::vec(one, 0..120)
}

/// A boiler and somebody who counts its setpoint up, from 20 on.
struct Storm {
    world: World,
    asked: i64,
    answered: i64,
    measured: i64,
    measured_answered: i64,
    /// What the device was told last.
    told: i64,
    /// What it has not done yet.
    commands: Vec<Command>,
    pending: BTreeMap<u64, (bool, i64)>,
}

impl Storm {
    fn look(&mut self) {
        self.world.hand_out();
        for (number, answer) in std::mem::take(&mut self.world.answers) {
            let (actual, value) = self.pending.remove(&number).expect("answered once");
            if answer.is_ok() {
                let last = if actual {
                    &mut self.measured_answered
                } else {
                    &mut self.answered
                };
                *last = value.max(*last);
            }
        }
        let commands = std::mem::take(&mut self.world.commands);
        for command in commands {
            if let CommandKind::Write {
                value: Value::Int(raw),
                ..
            } = &command.kind
            {
                assert!(*raw >= self.told, "written {raw} after {}", self.told);
                self.told = *raw;
                let row = self.world.disk.row(RowKind::Desired, "boiler", "setpoint");
                let kept = row.map_or(0.0_f64, |row| {
                    row["text"].as_str().unwrap().parse().unwrap()
                });
                assert!(
                    (kept * 10.0).round() as i64 >= *raw,
                    "told {raw}, kept {kept}"
                );
            }
            self.commands.push(command);
        }
        let kept = self.kept();
        assert!(
            kept >= self.answered,
            "answered {}, kept {kept}",
            self.answered
        );
    }

    fn kept(&self) -> i64 {
        let row = self.world.disk.row(RowKind::Desired, "boiler", "setpoint");
        row.map_or(0, |row| {
            let text: f64 = row["text"].as_str().unwrap().parse().unwrap();
            (text * 10.0).round() as i64
        })
    }

    fn complete(&mut self, ok: bool) {
        for command in std::mem::take(&mut self.commands) {
            let read = matches!(command.kind, CommandKind::Read { .. });
            if ok && read {
                self.world.read_setpoint(self.told);
            }
            let status = if ok { Status::Ok } else { Status::Line };
            self.world.complete(command.token, status, "");
            self.look();
        }
    }

    fn ask(&mut self, actual: bool) {
        let update = if actual {
            self.measured += 1;
            measured("temperature", &self.measured.to_string())
        } else {
            self.asked += 1;
            update("setpoint", &format!("{:.1}", self.asked as f64 / 10.0))
        };
        let value = if actual { self.measured } else { self.asked };
        let now = self.world.now();
        let asked = self.world.engine.update(&name("boiler"), &[update], now);
        let number = match asked {
            // Its mapper knows better, while it is up.
            Err(error) if actual && error.code == 409 => return,
            asked => asked.unwrap(),
        };
        self.pending.insert(number, (actual, value));
    }

    fn play(&mut self, one: Move) {
        match one {
            Move::Update => self.ask(false),
            Move::Measure => self.ask(true),
            Move::Store(takes) => {
                let now = self.world.now();
                if let Some(save) = self.world.engine.next_save(now, false) {
                    self.world.store = if takes { Store::Takes } else { Store::Refuses };
                    self.world.answer_of_store(save);
                    self.world.store = Store::Waits;
                }
            }
            Move::Complete(ok) => self.complete(ok),
            Move::Read => self.world.read_setpoint(self.told),
            Move::Mapper(true) => self.world.up(),
            Move::Mapper(false) => {
                let now = self.world.now();
                self.world.engine.mapper_down(0, "gone", now);
            }
            Move::Crash => {
                self.commands.clear();
                self.pending.clear();
                self.world = self.world.restarted();
                self.world.store = Store::Waits;
                let twin = self.world.twin("boiler", "temperature");
                let shown = match twin.value {
                    Some(Value::Float(value)) => value as i64,
                    _ => 0,
                };
                assert!(
                    shown >= self.measured_answered,
                    "{shown} of {}",
                    self.measured_answered
                );
                self.world.up();
            }
            Move::Tick(ms) => self.world.tick(u64::from(ms)),
        }
        self.look();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A crash at any step, a store that refuses at any step: what was answered is
    /// there, the device never gets an older value after a newer one, and what it
    /// got last is on the disk.
    #[test]
    fn an_answer_is_a_promise(moves in moves()) {
        let mut world = World::with_boiler(None);
        world.store = Store::Waits;
        let mut storm = Storm {
            world, asked: 200, answered: 0, measured: 0, measured_answered: 0, told: 0,
            commands: Vec::new(), pending: BTreeMap::new(),
        };
        for one in moves {
            storm.play(one);
        }
        storm.play(Move::Crash);
        for _ in 0..200 {
            storm.play(Move::Store(true));
            storm.play(Move::Complete(true));
            storm.play(Move::Tick(100));
        }
        prop_assert!(storm.told >= storm.answered, "the device has {}", storm.told);
        prop_assert_eq!(storm.told, storm.kept());
    }
}
