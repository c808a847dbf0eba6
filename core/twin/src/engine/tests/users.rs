//! What users of other gateways miss, in their words.

use super::*;

fn meter(config: Json) -> World {
    let mut config = config;
    config["address"] = "ir:0".into();
    World::with_device(
        json!([
            {"name": "v", "type": "FLOAT", "accessMode": "ReadWrite", "visitors": {"configData": config}},
            {"name": "w", "type": "FLOAT", "visitors": {"configData": {"address": "ir:1"}}},
        ]),
        json!({}),
    )
}

fn told(world: &World) -> Vec<Json> {
    let batches = std::mem::take(&mut *world.ears.batches.lock().unwrap());
    batches
        .iter()
        .map(|(_, text)| serde_json::from_str(text).unwrap())
        .collect()
}

#[test]
fn only_changed_values_are_sent() {
    let mut world = meter(json!({"report": {"deadband": 0.5}}));
    let (v, w) = (world.point("d", "v"), world.point("d", "w"));
    world.read(&[(v, ValueRef::Float(230.0)), (w, ValueRef::Float(1.0))]);
    told(&world);
    world.read(&[(v, ValueRef::Float(230.4)), (w, ValueRef::Float(2.0))]);
    let told = told(&world);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["values"], json!({"w": 2}));
}

#[test]
fn a_heartbeat_comes_although_the_value_is_unchanged() {
    let mut world = meter(json!({"report": {"deadband": 0.5, "maxInterval": "10s"}}));
    let v = world.point("d", "v");
    world.read(&[(v, ValueRef::Float(230.0))]);
    told(&world);
    world.ms += 9_000;
    world.read(&[(v, ValueRef::Float(230.1))]);
    assert_eq!(told(&world), [] as [Json; 0]);
    world.ms += 1_000;
    world.read(&[(v, ValueRef::Float(230.1))]);
    assert_eq!(told(&world)[0]["values"], json!({"v": 230.1}));
}

#[test]
fn each_reading_is_sent_where_that_is_wanted() {
    let mut world = meter(json!({"report": {"on": "always"}}));
    let (v, w) = (world.point("d", "v"), world.point("d", "w"));
    for _ in 0..3 {
        world.ms += 1;
        world.read(&[(v, ValueRef::Float(230.0)), (w, ValueRef::Float(1.0))]);
    }
    let values: Vec<_> = told(&world)
        .iter()
        .map(|told| told["values"].clone())
        .collect();
    assert_eq!(
        values,
        [
            json!({"v": 230, "w": 1}),
            json!({"v": 230}),
            json!({"v": 230})
        ]
    );
}

#[test]
fn a_resend_does_not_invent_a_fresh_timestamp() {
    let mut world = meter(json!({}));
    let v = world.point("d", "v");
    world.read(&[(v, ValueRef::Float(230.0))]);
    let read_at = told(&world)[0]["timestamp"].clone();
    world.engine.set_linked(true);
    // Reports that repeat the device, and the mark that the value is old.
    for _ in 0..5 {
        world.tick(10_000);
        let now = world.now();
        for (_, twin) in world.engine.due_reports(now, 10) {
            assert_eq!(
                twin.properties[0].source_time_ms.map(Json::from),
                Some(read_at.clone())
            );
        }
    }
    let stale = told(&world);
    assert_eq!(
        stale[0],
        json!({"timestamp": read_at, "values": {}, "quality": {"v": "uncertain"}})
    );
}

#[test]
fn the_user_can_see_why_a_twin_does_not_change() {
    let mut world = meter(json!({"badWhen": "x == 32768", "write": {"retries": 0}}));
    let v = world.point("d", "v");
    let why = |world: &World| {
        let twin = world.twin("d", "v");
        (
            twin.quality,
            twin.reason,
            twin.last_error.unwrap_or_default(),
        )
    };
    world.read(&[(v, ValueRef::Int(32768))]);
    assert_eq!(
        why(&world),
        (
            Quality::Bad,
            Reason::Sensor,
            "raw value 32768 says that there is none (badWhen: x == 32768)".to_owned()
        )
    );
    world.bad(v, "no answer within 500 ms");
    assert_eq!(
        why(&world),
        (
            Quality::Bad,
            Reason::Timeout,
            "no answer within 500 ms".to_owned()
        )
    );
    world.read(&[(v, ValueRef::Float(1.0))]);
    world.tick(30_000);
    assert_eq!(
        why(&world),
        (
            Quality::Uncertain,
            Reason::Stale,
            "no reading for too long".to_owned()
        )
    );
    world.update("d", &[update("v", "5")]).unwrap();
    let (token, _) = world.writes()[0];
    world.complete(token, Status::Refused, "illegal data value");
    let desired = world.twin("d", "v").desired.unwrap();
    assert_eq!(
        (desired.write, desired.message.as_str()),
        (WriteState::Failed, "illegal data value")
    );
    let now = world.now();
    world.engine.mapper_down(0, "exit code 1", now);
    assert_eq!(world.condition("d", "Served").message, "exit code 1");
}

#[test]
fn a_status_report_does_not_reconfigure_the_device() {
    let mut world = meter(json!({}));
    let v = world.point("d", "v");
    world.engine.set_linked(true);
    for i in 0..5 {
        world.read(&[(v, ValueRef::Float(f64::from(i)))]);
        world.tick(2_000);
        let now = world.now();
        assert_eq!(world.engine.due_reports(now, 10).len(), 1);
        // The hub writes the status; the object comes back with another version.
        world.objects[1].json.push(' ');
        world.reconcile();
    }
    assert_eq!(world.configures(), []);
    assert_eq!(world.twin("d", "v").value, Some(Value::Float(4.0)));
}
