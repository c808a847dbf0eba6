//! Bits of one register, groups, and what the mapper is told of both.

use super::*;

fn flags() -> Json {
    let property = |name: &str, mask: &str, shift: i64| {
        json!({"name": name, "type": "INT", "accessMode": "ReadWrite",
               "visitors": {"configData": {"address": "hr:7", "rawType": "uint16", "mask": mask, "shift": shift}}})
    };
    json!([property("speed", "0x00F0", 4), property("stage", "0x0F00", 8),
           {"name": "alarm", "type": "BOOLEAN", "visitors": {"configData": {"address": "hr:7", "mask": 1}}}])
}

#[test]
fn one_register_gives_several_bit_values() {
    let mut world = World::with_device(flags(), json!({}));
    let points = ["speed", "stage", "alarm"].map(|name| world.point("d", name));
    world.read(&points.map(|point| (point, ValueRef::Uint(0x0A31))));
    assert_eq!(world.twin("d", "speed").value, Some(Value::Int(3)));
    assert_eq!(world.twin("d", "stage").value, Some(Value::Int(0xA)));
    assert_eq!(world.twin("d", "alarm").value, Some(Value::Bool(true)));
}

#[test]
fn writing_some_bits_leaves_the_others() {
    let mut world = World::with_device(flags(), json!({}));
    let both = [update("speed", "5"), update("stage", "2")];
    world.update("d", &both).unwrap();
    assert!(world.writes().is_empty(), "first the register is read");
    let reads = world.reads();
    assert_eq!(reads.len(), 1, "the second waits for the first");
    let (speed, stage) = (world.point("d", "speed"), world.point("d", "stage"));
    world.read(&[(speed, ValueRef::Uint(0x8A31))]);
    world.complete(reads[0], Status::Ok, "");
    let writes = world.writes();
    assert_eq!(writes[0].1, Value::Int(0x8A51), "only the bits of the mask");
    world.complete(writes[0].0, Status::Ok, "");
    world.tick(60);
    // One read back of speed, one read before the write of stage.
    let reads = world.reads();
    assert_eq!(reads.len(), 2);
    world.read(&[
        (speed, ValueRef::Uint(0x8A51)),
        (stage, ValueRef::Uint(0x8A51)),
    ]);
    for read in reads {
        world.complete(read, Status::Ok, "");
    }
    let writes = world.writes();
    assert_eq!(writes[0].1, Value::Int(0x8251));
    assert_eq!(
        world.twin("d", "speed").desired.unwrap().write,
        WriteState::Confirmed
    );
}

#[test]
fn a_register_that_cannot_be_read_first_is_tried_again_and_says_why() {
    let mut world = World::with_device(flags(), json!({}));
    world.update("d", &[update("speed", "5")]).unwrap();
    let read = world.reads()[0];
    world.complete(read, Status::Timeout, "no answer within 500 ms");
    let desired = world.twin("d", "speed").desired.unwrap();
    assert_eq!(
        (desired.write, desired.message.as_str()),
        (WriteState::Pending, "no answer within 500 ms")
    );
    world.tick(500);
    assert_eq!(world.reads().len(), 1, "tried again");
    assert!(world.writes().is_empty());
    let refused = world.update("d", &[update("speed", "16")]);
    assert!(refused.is_ok(), "its type allows it");
    let read = world.reads()[0];
    let point = world.point("d", "speed");
    world.read(&[(point, ValueRef::Uint(0))]);
    world.complete(read, Status::Ok, "");
    let desired = world.twin("d", "speed").desired.unwrap();
    assert_eq!(
        desired.message,
        "16 does not fit into the bits of mask 0x00f0"
    );
    assert_eq!(desired.write, WriteState::Failed);
}

#[test]
fn a_group_is_reported_as_one_snapshot() {
    let property = |name: &str| json!({"name": name, "type": "INT", "visitors": {"configData": {"address": name}}});
    let mut world = World::with_device(
        json!([property("kwh"), property("kw"), property("other")]),
        json!({"groups": [{"name": "energy", "properties": ["kwh", "kw"], "interval": "10s"}]}),
    );
    let [kwh, kw, other] = ["kwh", "kw", "other"].map(|name| world.point("d", name));
    world.read(&[
        (kwh, ValueRef::Int(1)),
        (kw, ValueRef::Int(2)),
        (other, ValueRef::Int(3)),
    ]);
    world.ears.batches.lock().unwrap().clear();
    world.ms += 100;
    world.read(&[
        (kwh, ValueRef::Int(1)),
        (kw, ValueRef::Int(5)),
        (other, ValueRef::Int(3)),
    ]);
    let batches = std::mem::take(&mut *world.ears.batches.lock().unwrap());
    assert_eq!(
        batches[0].1, r#"{"timestamp":1700000001100,"values":{"kw":5,"kwh":1}}"#,
        "kwh did not change, but it belongs to kw"
    );
    world.read(&[
        (kwh, ValueRef::Int(1)),
        (kw, ValueRef::Int(5)),
        (other, ValueRef::Int(3)),
    ]);
    assert!(
        world.ears.batches.lock().unwrap().is_empty(),
        "nothing of it changed"
    );
}

#[test]
fn the_mapper_is_told_what_was_said_and_nothing_else() {
    let property = |config: Json| json!({"name": "a", "type": "INT", "accessMode": "ReadWrite", "visitors": {"configData": config}});
    let configuration = |config: Json, of_protocol: Json| {
        let mut world = World::new();
        world.objects = objects(&json!([property(config)]), &of_protocol);
        world.reconcile();
        world.up();
        world.configures()[0].1.clone()
    };
    let plain = configuration(json!({"address": "hr:0"}), json!({"unit": 1}));
    assert_eq!(
        plain,
        json!({"device": "default/d", "protocol": {"unit": 1}, "points": [
            {"id": 0, "name": "a", "writable": true, "intervalMs": 1000, "type": "INT", "config": {"address": "hr:0"}}]})
    );
    let told = configuration(
        json!({"address": "hr:0", "sampling": "subscribe", "group": "g", "write": {"priority": "high"}, "badWhen": "x == 1"}),
        json!({"unit": 1, "methods": [{"name": "reset", "call": {"node": "n"}}, {"name": "set", "steps": [{"write": "a", "value": 1}]}],
               "events": [{"name": "e", "when": "a > 1"}]}),
    );
    assert_eq!(
        told,
        json!({"device": "default/d", "protocol": {"unit": 1}, "points": [
            {"id": 0, "name": "a", "writable": true, "intervalMs": 1000, "type": "INT",
             "sampling": "push", "group": "g", "priority": 1, "config": {"address": "hr:0"}}],
            "methods": [{"name": "reset", "config": {"node": "n"}}]})
    );
}
