//! Random configurations from a fixed seed: some nearly right, some not at all.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use crate::{child::Context, devices::Devices, writes::Writes};

/// Whoever reads a verdict can repeat it.
pub(crate) const SEED: u64 = 0x10_57_40_2E;

const TEXTS: &[&str] = &[
    "",
    " ",
    "0",
    "-1",
    "tcp://127.0.0.1:1",
    "tcp://",
    "://",
    "opc.tcp://[::1]:99999",
    "/dev/null",
    "\u{0}",
    "ß→🦀",
    "hr:0",
    "ns=2;s=a",
    "NaN",
    "1e400",
    "AA:BB:CC:DD:EE:FF",
    "../../etc/passwd",
];

/// A device that is wrong in some way, or by chance is not. One that may not be
/// written to is not the one to change by chance: a request that stands in a
/// configuration is sent as it is.
pub(crate) fn device(rng: &mut Rng, context: &Context, number: usize) -> Vec<u8> {
    let devices = &context.devices;
    let mut config = match context.writes {
        Writes::Anything => devices.any(),
        Writes::Never | Writes::PutBack => Devices::nowhere(),
    };
    match rng.u8(0..10) {
        // Not even JSON.
        0 => return (0..rng.usize(0..40)).map(|_| rng.u8(0x20..0x7F)).collect(),
        // Something else.
        1 => return anything(rng, 4).to_string().into_bytes(),
        // The right frame around random keys.
        2..=4 => {
            config["protocol"] = object(rng, devices.schema("device"));
            config["points"] = points(rng, devices);
        }
        // One thing in it is changed.
        _ => {
            for _ in 0..rng.usize(1..4) {
                mutate(rng, &mut config);
            }
        }
    }
    if config.is_object() {
        config["device"] = format!("conformance/random-{number}").into();
    }
    config.to_string().into_bytes()
}

/// A configuration for the mapper as a whole.
pub(crate) fn mapper_config(rng: &mut Rng, devices: &Devices) -> Vec<u8> {
    match rng.u8(0..4) {
        0 => (0..rng.usize(1..40)).map(|_| rng.u8(..)).collect(),
        1 => anything(rng, 4).to_string().into_bytes(),
        _ => object(rng, devices.schema("mapper"))
            .to_string()
            .into_bytes(),
    }
}

fn points(rng: &mut Rng, devices: &Devices) -> Value {
    let count = rng.usize(0..6);
    (0..count)
        .map(|i| {
            json!({
                "id": i, "name": TEXTS[rng.usize(..TEXTS.len())], "writable": rng.bool(),
                "intervalMs": rng.u32(0..2000), "type": "FLOAT",
                "config": object(rng, devices.schema("property")),
            })
        })
        .collect()
}

/// An object with keys of the schema, if there is one.
fn object(rng: &mut Rng, schema: Option<&Value>) -> Value {
    let mut map = Map::new();
    let known = schema.and_then(|schema| schema["properties"].as_object());
    for (key, _) in known.into_iter().flatten() {
        if rng.bool() {
            map.insert(key.clone(), anything(rng, 2));
        }
    }
    if known.is_none() || rng.u8(0..4) == 0 {
        for _ in 0..rng.usize(0..4) {
            map.insert(TEXTS[rng.usize(..TEXTS.len())].to_owned(), anything(rng, 2));
        }
    }
    Value::Object(map)
}

fn anything(rng: &mut Rng, depth: u8) -> Value {
    match rng.u8(0..if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => rng.bool().into(),
        2 => rng.i64(..).into(),
        3 => rng.u32(0..300).into(),
        4 => (rng.f64() * 1e12 - 5e11).into(),
        5 => TEXTS[rng.usize(..TEXTS.len())].into(),
        6 => (0..rng.usize(0..4))
            .map(|_| anything(rng, depth - 1))
            .collect(),
        _ => object(rng, None),
    }
}

/// Changes, adds or removes something at a random place.
fn mutate(rng: &mut Rng, value: &mut Value) {
    match value {
        Value::Object(map) if !map.is_empty() && rng.u8(0..5) > 0 => {
            let key = map.keys().nth(rng.usize(..map.len())).cloned();
            let Some(key) = key else { return };
            if rng.u8(0..6) == 0 {
                map.remove(&key);
            } else if let Some(inner) = map.get_mut(&key) {
                mutate(rng, inner);
            }
        }
        Value::Array(list) if !list.is_empty() && rng.u8(0..5) > 0 => {
            let at = rng.usize(..list.len());
            if rng.u8(0..6) == 0 {
                list.remove(at);
            } else {
                mutate(rng, &mut list[at]);
            }
        }
        value => *value = anything(rng, 2),
    }
}
