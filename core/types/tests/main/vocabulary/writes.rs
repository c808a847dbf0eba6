//! What is written, when, and as what.

use super::*;

#[test]
fn what_a_device_gets_after_connecting_is_checked_like_a_desired_value() {
    let of_model = json!({"connect": [{"write": "level", "value": 2.5}]});
    let pump_of = |of_device: Json| pump(of_model.clone(), of_device, json!([]));
    let device = pump_of(json!({}));
    assert_eq!(faults(&device), [""; 0]);
    assert_eq!(
        (device.connect[0].property, &device.connect[0].value),
        (0, &Value::Float(2.5))
    );
    assert!(!device.protocol_config.contains_key("connect"));
    // The device's list counts, in its order.
    let both =
        json!({"connect": [{"write": "mode", "value": "Eco"}, {"write": "level", "value": "1"}]});
    let device = pump_of(both);
    let order: Vec<_> = device.connect.iter().map(|write| write.property).collect();
    assert_eq!(order, [1, 0]);
    let device = pump_of(
        json!({"connect": [{"write": "level", "value": 20}, {"write": "flow", "value": 1},
        {"write": "speed", "value": 1}, {"write": "level"}, 7, {"write": "level", "value": 1, "delay": 3}]}),
    );
    let path = "spec.protocol.configData.connect";
    assert_eq!(
        faults(&device),
        [
            format!("{path}[0].value: 20 is out of range for `level`, expected 0 to 10"),
            format!("{path}[1].write: property `flow` is read-only"),
            format!("{path}[2].write: the device has no property `speed`"),
            format!("{path}[3].value: expected the value"),
            format!("{path}[4]: expected {{write, value}}, got `7`"),
            format!("{path}[5].delay: unknown key, expected one of write, value"),
        ]
    );
    assert_eq!(device.connect.len(), 1, "one that is wrong costs itself");
}

#[test]
fn a_write_is_a_state_or_a_command() {
    let write = |write: Json| {
        one_property(
            json!({"type": "INT", "accessMode": "ReadWrite", "visitors": {"configData": {"write": write}}}),
        )
    };
    let place = "spec.properties[0].visitors.configData.write.";
    assert_eq!(write(json!({"command": true, "expires": "30s"})), [""; 0]);
    assert_eq!(
        write(json!({"onReturn": "restore", "repeat": "10s"})),
        [""; 0]
    );
    for (keys, key, why) in [
        (
            json!({"command": "yes"}),
            "command",
            "expected true or false",
        ),
        (
            json!({"onReturn": "resume"}),
            "onReturn",
            "expected keep or restore",
        ),
        (
            json!({"repeat": "10ms"}),
            "repeat",
            "must be at least 100ms",
        ),
        (json!({"expires": 0}), "expires", "must be greater than 0"),
        (
            json!({"command": true, "repeat": "1s"}),
            "repeat",
            "cannot stand beside `command: true`",
        ),
        (
            json!({"command": true, "onReturn": "keep"}),
            "onReturn",
            "cannot stand beside `command: true`",
        ),
    ] {
        let faults = write(keys);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains(&format!("{place}{key}:")), "{faults:?}");
        assert!(faults[0].contains(why), "{faults:?}");
    }
}

#[test]
fn an_argument_may_be_a_list_or_a_structure() {
    let methods = json!({"methods": [{"name": "limits", "call": {"function": "write"},
        "parameters": [{"name": "all", "type": "STRING"}, {"name": "level", "type": "INT"}]}]});
    let device = pump(methods, json!({}), json!([]));
    let method = &device.methods[0];
    for given in [json!([1, 2.5, "x"]), json!([[1], [2]]), json!({"low": 1})] {
        let arguments = method
            .arguments(&json!({"all": given, "level": 3}))
            .unwrap();
        let text = arguments.to_json()["all"].as_str().unwrap().to_owned();
        assert_eq!(serde_json::from_str::<Json>(&text).unwrap(), given);
    }
    let faults = method
        .arguments(&json!({"all": 7, "level": [1]}))
        .unwrap_err();
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [
            "arguments.all: expected STRING, got `7`",
            "arguments.level: expected INT, got a list"
        ]
    );
}
