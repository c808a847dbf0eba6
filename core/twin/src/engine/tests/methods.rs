//! Methods: arguments, steps, the protocol's call, and confirmation.

use super::*;

pub(super) fn pump() -> World {
    World::with_device(
        json!([
            {"name": "level", "type": "FLOAT", "accessMode": "ReadWrite", "minimum": "0", "maximum": "10",
             "visitors": {"configData": {"address": "hr:0", "rawType": "int16", "scale": 0.1, "write": {"retries": 0}}}},
            {"name": "run", "type": "BOOLEAN", "accessMode": "ReadWrite", "visitors": {"configData": {"address": "co:0"}}},
            {"name": "running", "type": "BOOLEAN", "visitors": {"configData": {"address": "di:0"}}},
        ]),
        json!({"methods": [
            {"name": "fill", "parameters": [{"name": "to", "type": "FLOAT"}],
             "steps": [{"write": "level", "value": "to / 2"}, {"write": "run", "value": true}],
             "confirm": {"property": "running", "value": true, "timeout": "2s"}, "timeout": "10s"},
            {"name": "reset", "parameters": [{"name": "mode", "type": "STRING", "default": "soft"}],
             "call": {"node": "ns=2;s=Reset"}},
        ]}),
    )
}

impl World {
    pub(super) fn call(&mut self, method: &str, arguments: Json) -> Result<u64, String> {
        let now = self.now();
        let called = self.engine.call(&name("d"), method, &arguments, now);
        self.collect();
        called.map_err(|error| error.reason)
    }

    pub(super) fn end(&mut self) -> Result<Json, String> {
        assert_eq!(self.ended.len(), 1, "one call ended");
        self.ended.remove(0).1.map_err(|error| error.reason)
    }

    /// The mapper takes the write, and the reading shows it.
    fn confirm_write(&mut self, property: &str, raw: ValueRef<'_>) {
        let (token, _) = self.writes()[0];
        self.complete(token, Status::Ok, "");
        let point = self.point("d", property);
        self.read(&[(point, raw)]);
        for token in self.reads() {
            self.complete(token, Status::Ok, "");
        }
    }
}

#[test]
fn steps_are_written_and_confirmed_one_after_the_other() {
    let mut world = pump();
    world.call("fill", json!({"to": 8})).unwrap();
    let first = world.writes();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].1, Value::Int(40));
    world.complete(first[0].0, Status::Ok, "");
    assert!(
        world.writes().is_empty(),
        "the second waits until the first is read back"
    );
    let level = world.point("d", "level");
    world.read(&[(level, ValueRef::Int(40))]);
    for token in world.reads() {
        world.complete(token, Status::Ok, "");
    }
    world.confirm_write("run", ValueRef::Bool(true));
    assert!(world.ended.is_empty(), "the feedback is missing");
    let running = world.point("d", "running");
    world.ms += 10;
    world.read(&[(running, ValueRef::Bool(false))]);
    world.tick(50);
    assert!(world.ended.is_empty());
    world.read(&[(running, ValueRef::Bool(true))]);
    world.tick(50);
    assert_eq!(world.end(), Ok(json!({"level": 4.0, "run": true})));
}

#[test]
fn everything_wrong_with_a_call_is_told_at_once_and_nothing_is_written() {
    let mut world = pump();
    assert_eq!(
        world.call("fill", json!({"To": 8})).unwrap_err(),
        "arguments.to: missing, expected FLOAT; arguments.To: unknown, `fill` takes to"
    );
    assert_eq!(
        world.call("fill", json!({"to": 50})).unwrap_err(),
        "steps[0]: 25 is out of range for `level`, expected 0 to 10"
    );
    assert_eq!(
        world.call("fly", json!({})).unwrap_err(),
        "device `default/d` has no method `fly`, it has fill, reset"
    );
    assert!(world.writes().is_empty() && world.ended.is_empty());
}

#[test]
fn the_first_failure_ends_a_call_and_names_the_step() {
    let mut world = pump();
    world.call("fill", json!({"to": 8})).unwrap();
    let (token, _) = world.writes()[0];
    world.complete(token, Status::Refused, "illegal data value");
    assert_eq!(
        world.end(),
        Err("step 1 (write `level`): illegal data value".to_owned())
    );
    assert!(world.writes().is_empty());

    // What somebody else wants of the property is no business of the call.
    world.call("fill", json!({"to": 6})).unwrap();
    world.update("d", &[update("level", "1")]).unwrap();
    let written: Vec<_> = world.writes().into_iter().map(|(_, value)| value).collect();
    assert_eq!(written, [Value::Int(30), Value::Int(10)]);
    assert!(world.ended.is_empty());
}

#[test]
fn a_call_that_does_not_end_is_ended() {
    let mut world = pump();
    world.call("fill", json!({"to": 8})).unwrap();
    world.confirm_write("level", ValueRef::Int(40));
    world.confirm_write("run", ValueRef::Bool(true));
    let running = world.point("d", "running");
    world.ms += 10;
    world.read(&[(running, ValueRef::Bool(false))]);
    world.tick(2_000);
    assert_eq!(
        world.end(),
        Err("`running` to show true: it shows false".to_owned())
    );

    let now = world.now();
    world.engine.mapper_down(0, "exit code 1", now);
    // Nobody waits for a device that is away.
    assert_eq!(
        world.call("fill", json!({"to": 8})),
        Err("nothing was sent: exit code 1".to_owned())
    );
    assert!(world.writes().is_empty());
}

#[test]
fn a_call_of_the_protocol_goes_through_the_mapper() {
    let mut world = pump();
    let calls = |world: &mut World| world.take(|kind| matches!(kind, CommandKind::Call(_)));
    world.call("reset", Json::Null).unwrap();
    let command = calls(&mut world).remove(0);
    let CommandKind::Call(text) = &command.kind else {
        unreachable!()
    };
    let text: Json = serde_json::from_str(text).unwrap();
    assert_eq!(
        text,
        json!({"name": "reset", "config": {"node": "ns=2;s=Reset"}, "arguments": {"mode": "soft"}})
    );
    world.complete(command.token, Status::Ok, r#"{"code": 7}"#);
    assert_eq!(world.end(), Ok(json!({"code": 7})));

    world.call("reset", Json::Null).unwrap();
    let command = calls(&mut world).remove(0);
    world.complete(command.token, Status::Refused, "bad state");
    assert_eq!(world.end(), Err("call: bad state".to_owned()));

    world.call("reset", Json::Null).unwrap();
    let now = world.now();
    world.engine.mapper_down(0, "exit code 1", now);
    world.tick(50);
    assert_eq!(
        world.end(),
        Err("call: it may have been carried out or not: the mapper went down".to_owned())
    );
}

#[test]
fn a_device_has_only_so_many_calls_at_a_time() {
    let mut world = pump();
    for _ in 0..4 {
        world.call("reset", Json::Null).unwrap();
    }
    let refused = world.call("reset", Json::Null).unwrap_err();
    assert_eq!(
        refused,
        "4 calls of device `default/d` run already, call again later"
    );
    world.objects.clear();
    world.reconcile();
    world.tick(50);
    assert_eq!(world.ended.len(), 4);
    assert!(world.ended.iter().all(|(_, result)| {
        result
            .as_ref()
            .is_err_and(|e| e.reason == "device `default/d` is gone")
    }));
}

#[test]
fn a_call_that_the_mapper_finds_wrong_says_so_at_its_place() {
    let mut world = World::new();
    let of_protocol = json!({"methods": [
        {"name": "set", "parameters": [], "steps": [{"write": "level", "value": 1}]},
        {"name": "reset", "call": {"function": "reste"}}]});
    let level = json!([{"name": "level", "type": "INT", "accessMode": "ReadWrite", "visitors": {"configData": {"address": "hr:0"}}}]);
    world.objects = objects(&level, &of_protocol);
    world.reconcile();
    world.up();
    let token = world.configures()[0].2;
    // Of the methods the mapper knows the second one only.
    let fault = json!([{"path": "methods[0].config.function", "message": "unknown", "level": "warning"},
                       {"path": "methods[0].config.speed", "message": "unknown key", "level": "warning"}]);
    world.complete(token, Status::Ok, &fault.to_string());
    let shown = "model.spec.protocolConfigData.methods[1].call.function: unknown";
    assert_eq!(world.condition("d", "ConfigValid").message, shown);
    assert_eq!(
        world.call("reset", json!({})),
        Err(format!("`reset` cannot be called: {shown}"))
    );
    world.call("set", json!({})).unwrap();
}
