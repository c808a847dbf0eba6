//! What is special to Modbus: the common check, and the registers behind it.

use longshore_sdk::{SampleValue, Status, testing};
use serde_json::{Value, json};

use crate::Modbus;

/// The mapper under test.
pub(super) type Rig = testing::Rig<Modbus>;

/// The points of the common check, and the values that devices start with.
pub(super) fn readable() -> Vec<(u32, &'static str, Value, SampleValue)> {
    vec![
        (1, "INT", json!({"address": "hr:0"}), SampleValue::Int(215)),
        (
            2,
            "FLOAT",
            json!({"address": "hr:1"}),
            SampleValue::Float(21.5),
        ),
        (
            3,
            "FLOAT",
            json!({"address": "hr:3#CDAB"}),
            SampleValue::Float(21.5),
        ),
        (
            4,
            "INT",
            json!({"address": "hr:5", "rawType": "uint64"}),
            SampleValue::Uint(4_294_967_298),
        ),
        (
            5,
            "STRING",
            json!({"address": "hr:10:4"}),
            SampleValue::String("Shore".to_owned()),
        ),
        (
            6,
            "BOOLEAN",
            json!({"address": "hr:20.1"}),
            SampleValue::Bool(true),
        ),
        (
            7,
            "BOOLEAN",
            json!({"address": "hr:20.2"}),
            SampleValue::Bool(false),
        ),
        (
            8,
            "INT",
            json!({"address": "hr:20.0:4"}),
            SampleValue::Uint(10),
        ),
        (9, "INT", json!({"address": "ir:0"}), SampleValue::Int(-5)),
        (
            10,
            "INT",
            json!({"address": 30_002}),
            SampleValue::Int(1000),
        ),
        (
            11,
            "BOOLEAN",
            json!({"address": "co:0"}),
            SampleValue::Bool(true),
        ),
        (
            12,
            "BOOLEAN",
            json!({"address": "co:1"}),
            SampleValue::Bool(false),
        ),
        (
            13,
            "BOOLEAN",
            json!({"address": "di:3"}),
            SampleValue::Bool(true),
        ),
        (
            14,
            "INT",
            json!({"address": "di:0:4"}),
            SampleValue::Uint(9),
        ),
    ]
}

/// Points to write, and what to write. Functions 6, 16, 16 by wish, 22, 22, 5, 15.
pub(super) fn writable() -> Vec<(u32, &'static str, Value, SampleValue)> {
    vec![
        (20, "INT", json!({"address": "hr:30"}), SampleValue::Int(-7)),
        (
            21,
            "FLOAT",
            json!({"address": "hr:31"}),
            SampleValue::Float(3.25),
        ),
        (
            22,
            "INT",
            json!({"address": "hr:33", "writeFunction": "multiple"}),
            SampleValue::Int(42),
        ),
        (
            23,
            "BOOLEAN",
            json!({"address": "hr:34.3"}),
            SampleValue::Bool(true),
        ),
        (
            24,
            "INT",
            json!({"address": "hr:34.8:4"}),
            SampleValue::Uint(5),
        ),
        (
            25,
            "BOOLEAN",
            json!({"address": "co:5"}),
            SampleValue::Bool(true),
        ),
        (
            26,
            "INT",
            json!({"address": "co:8:4"}),
            SampleValue::Uint(9),
        ),
        (
            27,
            "STRING",
            json!({"address": "hr:40:3"}),
            SampleValue::String("abc".to_owned()),
        ),
    ]
}

/// The one check for all transports and peers: what is there is read, what is written is read back.
pub(super) fn check_device(protocol: &Value) {
    let rig = Rig::new();
    let (readable, writable) = (readable(), writable());
    let points: Vec<_> = readable
        .iter()
        .chain(&writable)
        .map(|(id, twin, config, _)| (*id, *twin, config.clone()))
        .collect();
    rig.configure(1, protocol, 50, &points);
    for (id, _, _, value) in &readable {
        rig.wait_value(*id, value);
    }
    for (id, _, _, value) in &writable {
        rig.write_ok(1, *id, value.clone());
    }
    for (id, _, _, value) in &writable {
        rig.wait_value(*id, value);
    }
    rig.look(|record| {
        assert!(record.bad.is_empty(), "{:?}", record.bad);
        assert_eq!(record.online.get(&1), Some(&(true, String::new())));
    });
    // Outside of the type, and what nothing can write.
    assert_eq!(
        rig.write(1, 20, SampleValue::Int(40_000)).status,
        Status::InvalidArgument
    );
    assert_eq!(
        rig.write(1, 9, SampleValue::Int(1)).status,
        Status::InvalidArgument
    );
    assert_eq!(
        rig.write(1, 99, SampleValue::Int(1)).status,
        Status::InvalidArgument
    );
    rig.stop();
    let events = rig.look(|record| record.events);
    assert_eq!(
        events,
        rig.look(|record| record.events),
        "nothing is emitted after the stop"
    );
}

/// The registers that [`readable`] expects, as a simulator.
pub(super) fn simulator() -> longshore_sim_modbus::Builder {
    let mut plc = longshore_sim_modbus::modbus();
    for unit in [2, 1] {
        plc = plc
            .unit(unit)
            .registers(40_001, &[215, 0x41AC, 0, 0, 0x41AC, 0, 1, 0, 2])
            .registers(40_011, &[0x5368, 0x6F72, 0x6500, 0])
            .registers(40_021, &[0x000A])
            .registers(40_010, &[0])
            .registers(40_015, &[0; 6])
            .registers(40_022, &[0; 30])
            .registers(30_001, &[0xFFFB, 1000]);
        for bit in 0..32 {
            plc = plc
                .bit(1 + bit, bit % 2 == 0)
                .bit(10_001 + bit, bit % 3 == 0);
        }
    }
    plc
}
