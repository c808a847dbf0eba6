//! Everything in any order.

use proptest::prelude::*;

use super::*;

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
    /// The store takes what it gets, or refuses it.
    Disk(bool),
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
        any::<bool>().prop_map(Move::Disk),
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
                    if let Some(at) = world.objects.iter().position(|o| o.kind == "Device") {
                        world.objects[at] = device("boiler", desired.map(|v| v.to_string()).as_deref());
                    }
                    world.reconcile();
                }
                Move::Local(value) => {
                    let _ = world.update("boiler", &[update("setpoint", &value.to_string())]);
                }
                Move::Device(there) => {
                    world.objects.retain(|o| o.kind != "Device");
                    if there { world.objects.push(device("boiler", desired.map(|v| v.to_string()).as_deref())); }
                    world.reconcile();
                }
                Move::Model(there) => {
                    world.objects.retain(|o| o.kind != "DeviceModel");
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
                Move::Disk(takes) => {
                    world.store = if takes { Store::Takes } else { Store::Refuses };
                    world.collect();
                }
                Move::Tick(ms) => world.tick(u64::from(ms)),
            }
        }
        world.store = Store::Takes;
        world.objects = vec![model(), device("boiler", Some("77.5"))];
        world.reconcile();
        if !up { world.up(); }
        // Nothing is sent to a device that is away.
        let (id, now) = (world.engine.fleet.id(&name("boiler")).unwrap(), world.now());
        world.engine.device_state(0, id, Some(true), "", now);
        for _ in 0..3_000 {
            play(&mut world, &mut register, Status::Ok);
            world.tick(100);
        }
        let now = world.twin("boiler", "setpoint").desired.unwrap();
        prop_assert_eq!((now.value.as_str(), now.write, register), ("77.5", WriteState::Confirmed, 775));
        let row = world.disk.row(RowKind::Desired, "boiler", "setpoint").unwrap();
        prop_assert_eq!((row["text"].as_str(), row["write"].as_str()), (Some("77.5"), Some("confirmed")));
    }
}
