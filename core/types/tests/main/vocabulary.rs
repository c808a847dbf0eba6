//! Bits, calculations, groups, methods, events and units.

use std::time::Duration;

use longshore_types::{
    Device, DeviceModel, EffectiveDevice, Value, ValueRef,
    event::Severity,
    policy::{Bits, PropertyPolicy, Sampling},
    unit::{self, units},
    vocabulary::{PROPERTY_PATHS, below},
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn policy(config: Json) -> (PropertyPolicy, Json, Vec<String>) {
    let Json::Object(config) = config else {
        panic!("an object")
    };
    let (policy, rest, faults) = PropertyPolicy::parse(&config, "v");
    let faults = faults.iter().map(ToString::to_string).collect();
    (policy, Json::Object(rest), faults)
}

mod writes;

/// A device of a model with `properties` and `protocolConfigData`.
fn device(properties: Json, of_model: Json, of_device: Json, methods: Json) -> EffectiveDevice {
    let names: Vec<Json> = properties
        .as_array()
        .unwrap()
        .iter()
        .map(|property| json!({"name": property["name"]}))
        .collect();
    let model: DeviceModel = serde_json::from_value(json!({
        "metadata": {"name": "m"},
        "spec": {"protocol": "modbus", "protocolConfigData": of_model, "properties": properties},
    }))
    .unwrap();
    let device: Device = serde_json::from_value(json!({
        "metadata": {"name": "d"},
        "spec": {"deviceModelRef": {"name": "m"}, "nodeName": "n", "properties": names,
                 "protocol": {"configData": of_device}, "methods": methods},
    }))
    .unwrap();
    EffectiveDevice::build(&device, &model).unwrap()
}

fn faults(device: &EffectiveDevice) -> Vec<String> {
    device.faults.iter().map(ToString::to_string).collect()
}

/// Key paths at which something is wrong.
fn one_property(property: Json) -> Vec<String> {
    let mut property = property;
    property["name"] = "p".into();
    faults(&device(json!([property]), json!({}), json!({}), json!([])))
}

#[test]
fn the_engine_takes_each_key_of_the_table_and_leaves_the_rest() {
    let (parsed, rest, faults) = policy(json!({
        "address": "hr:0", "mask": "0x00F0", "shift": 4, "expression": "x * 2", "inverse": "x / 2",
        "badWhen": "x == 0x8000", "sampling": "notify", "group": "energy",
        "report": {"mode": "always", "deadband": {"percent": 2}, "minInterval": "1s", "maxInterval": "5m", "history": true},
        "write": {"priority": "high", "timeout": "1500ms"},
    }));
    assert_eq!(faults, [""; 0]);
    assert_eq!(rest, json!({"address": "hr:0"}));
    assert_eq!(parsed.bits, Bits::new(Some(0xF0), 4));
    assert_eq!(parsed.sampling, Sampling::Push);
    assert_eq!(parsed.group.as_deref(), Some("energy"));
    assert!(parsed.report_always && parsed.history);
    assert_eq!(parsed.deadband.percent, Some(2.0));
    assert_eq!(parsed.max_interval, Some(Duration::from_secs(300)));
    assert_eq!(parsed.write.priority, 1);
    assert_eq!(parsed.write.timeout, Duration::from_millis(1500));
    for key in below(&PROPERTY_PATHS, "") {
        let (_, rest, _) = policy(json!({key: "?"}));
        assert_eq!(
            rest,
            json!({}),
            "`{key}` stands in the table and is not read"
        );
    }
}

/// `on` was the key at first, and YAML 1.1 turns that into `true`.
#[test]
fn the_old_spellings_of_report_mode_count_as_well() {
    for key in ["mode", "on", "true"] {
        let (parsed, rest, faults) = policy(json!({"report": {key: "always"}}));
        assert_eq!((faults, rest), (Vec::new(), json!({})), "{key}");
        assert!(parsed.report_always, "{key}");
    }
}

#[test]
fn names_that_yaml_reads_as_truth_values_are_to_be_quoted() {
    let faults = |of_protocol: Json| {
        let x = json!([{"name": "x", "type": "INT"}]);
        faults(&device(x, of_protocol, json!({}), json!([])))
    };
    let at = "model.spec.protocolConfigData";
    let quote = "is read as `true`, quote it: YAML takes on, off, yes and no for truth values";
    for list in ["methods", "events", "groups"] {
        assert_eq!(
            faults(json!({list: [{"name": true}]})),
            [format!("{at}.{list}[0].name: the name {quote}")]
        );
    }
    assert_eq!(
        faults(
            json!({"methods": [{"name": "m", "call": {}, "parameters": [{"name": true, "type": "INT"}]}]})
        ),
        [format!(
            "{at}.methods[0].parameters[0].name: the name {quote}"
        )]
    );
    assert_eq!(
        faults(json!({"groups": [{"name": "g", "properties": ["x", true]}]})),
        [format!("{at}.groups[0].properties[1]: the name {quote}")]
    );
}

#[test]
fn wrong_keys_say_what_to_do() {
    for (config, expected) in [
        (
            json!({"mask": 0}),
            "v.mask: expected bits such as 240 or \"0x00F0\", not 0, got `0`",
        ),
        (
            json!({"shift": 64}),
            "v.shift: expected a whole number from -63 to 63, got `64`",
        ),
        (
            json!({"expression": "y + 1"}),
            "v.expression: unknown name `y`, expected `x`; a text stands in quotes (column 1)",
        ),
        (
            json!({"inverse": "x"}),
            "v.inverse: there is no `expression` that it inverts",
        ),
        (
            json!({"expression": "x", "inverse": "x", "scale": 2, "enum": {"0": "a"}}),
            "v.expression: cannot stand beside `scale`, `enum`: put all of it into the expression",
        ),
        (
            json!({"sampling": "push"}),
            "v.sampling: expected poll, subscribe or notify, got `push`",
        ),
        (
            json!({"group": ""}),
            "v.group: expected the name of a group, got ``",
        ),
        (
            json!({"report": {"mode": "never"}}),
            "v.report.mode: expected change or always, got `never`",
        ),
        (
            json!({"report": {"deadband": 1}, "deadband": 2}),
            "v.deadband: `report.deadband` says it as well, which counts",
        ),
        (
            json!({"report": {"every": 1}}),
            "v.report.every: unknown key, expected one of mode, deadband, minInterval, maxInterval, history",
        ),
        (
            json!({"report": {"history": "yes"}}),
            "v.report.history: expected true or false, got `yes`",
        ),
        (
            json!({"write": {"priority": 7}}),
            "v.write.priority: expected high, normal or low, got `7`",
        ),
    ] {
        assert_eq!(policy(config).2, [expected]);
    }
}

#[test]
fn history_of_what_the_cloud_does_not_get_is_a_doubt() {
    let of = |to_cloud: bool| {
        let model: DeviceModel = serde_json::from_value(json!({
            "metadata": {"name": "m"}, "spec": {"protocol": "modbus", "properties": [
                {"name": "a", "type": "INT", "visitors": {"configData": {"report": {"history": true}}}}]},
        }))
        .unwrap();
        let device: Device = serde_json::from_value(json!({
            "metadata": {"name": "d"}, "spec": {"deviceModelRef": {"name": "m"},
                "properties": [{"name": "a", "reportToCloud": to_cloud}]},
        }))
        .unwrap();
        let effective = EffectiveDevice::build(&device, &model).unwrap();
        assert!(effective.properties[0].broken.is_none());
        faults(&effective)
    };
    assert_eq!(of(true), [""; 0]);
    assert_eq!(
        of(false),
        [
            "model.spec.properties[0].visitors.configData.report.history: property `a`: has no effect, since `reportToCloud` is false"
        ]
    );
}

#[test]
fn an_inverse_that_does_not_invert_is_found_with_an_example() {
    let property = |expression: &str, inverse: Json, range: (&str, &str)| {
        json!({"type": "FLOAT", "accessMode": "ReadWrite", "minimum": range.0, "maximum": range.1,
               "visitors": {"configData": {"expression": expression, "inverse": inverse}}})
    };
    let at = "model.spec.properties[0].visitors.configData";
    let good = property("x * 1.8 + 32", json!("(x - 32) / 1.8"), ("", ""));
    assert_eq!(one_property(good), [""; 0]);
    assert_eq!(
        one_property(property("x * 1.8 + 32", json!("(x - 30) / 1.8"), ("", ""))),
        [format!(
            "{at}.inverse: property `p`: does not invert `expression`: -1000 is written as -572.2222222222222 and read back as -998"
        )]
    );
    // A square root is inverted by a square, but not below 0: the range says where.
    assert_eq!(
        one_property(property("sqrt(x)", json!("x * x"), ("-1", "3"))),
        [format!(
            "{at}.inverse: property `p`: does not invert `expression`: -1 is written as 1 and read back as 1"
        )]
    );
    assert_eq!(
        one_property(property("sqrt(x)", json!("x * x"), ("0", "3"))),
        [""; 0]
    );
    let mut without = property("x * 2", json!("x"), ("", ""));
    without["visitors"]["configData"]
        .as_object_mut()
        .unwrap()
        .remove("inverse");
    assert_eq!(
        one_property(without),
        [format!(
            "{at}.expression: property `p`: a property that is written needs `inverse` as well, or accessMode ReadOnly"
        )]
    );
    let mask =
        json!({"type": "INT", "visitors": {"configData": {"mask": 1, "rawType": "float32"}}});
    assert_eq!(
        one_property(mask),
        [format!(
            "{at}.mask: property `p`: `mask` and `shift` need a whole raw value, not rawType float32"
        )]
    );
}

#[test]
fn an_expression_that_cannot_be_a_value_of_its_property_is_found() {
    let at = "model.spec.properties[0].visitors.configData";
    for (of, config, wrong) in [
        (
            "FLOAT",
            json!({"expression": "x > 5"}),
            "expression: property `p`: gives a bool, which cannot be FLOAT",
        ),
        (
            "BOOLEAN",
            json!({"expression": "'a' + x"}),
            "expression: property `p`: gives a string, which cannot be BOOLEAN",
        ),
        (
            "INT",
            json!({"expression": "x - 'a'"}),
            "expression: property `p`: `-` between any value and a string (column 3)",
        ),
        (
            "INT",
            json!({"badWhen": "x + 1.5"}),
            "badWhen: property `p`: expected a condition, true or false, got a double",
        ),
    ] {
        let found = one_property(json!({"type": of, "visitors": {"configData": config}}));
        assert_eq!(found, [format!("{at}.{wrong}")]);
    }
    for (of, source) in [
        ("BOOLEAN", "x > 5"),
        ("STRING", "x > 5"),
        ("INT", "x > 5 ? 1 : 0"),
        ("FLOAT", "x"),
        ("INT", "math.bitAnd(x, 15)"),
        ("DOUBLE", "min([x, 3])"),
    ] {
        let config = json!({"type": of, "visitors": {"configData": {"expression": source}}});
        assert_eq!(one_property(config), [""; 0], "{source}");
    }
}

#[test]
fn a_property_that_names_another_protocol_gets_a_warning() {
    let of = |protocol: &str| {
        one_property(json!({"type": "INT", "visitors": {"protocolName": protocol}}))
    };
    assert_eq!(of("Modbus"), [""; 0]);
    assert_eq!(
        of("opcua"),
        [
            "model.spec.properties[0].visitors.protocolName: `opcua` does not count, the device speaks `modbus`"
        ]
    );
}

#[test]
fn a_unit_that_is_nearly_one_of_ucum_gets_the_right_code() {
    assert_eq!(
        one_property(json!({"type": "FLOAT", "unit": "°C"})),
        [
            "model.spec.properties[0].unit: unit `°C` of property `p` in model `m` is not a code of UCUM, write `Cel`"
        ]
    );
    for silent in ["Cel", "kW.h", "widgets", "", "mm[Hg]"] {
        assert_eq!(
            one_property(json!({"type": "FLOAT", "unit": silent})),
            [""; 0]
        );
    }
    assert_eq!(unit::symbol("kW.h"), "kWh");
    assert!(units().count() > 70);
    for unit in units() {
        let same = units().filter(|other| other.code == unit.code);
        assert_eq!(same.count(), 1, "{}", unit.code);
        for miss in unit.misses() {
            assert!(
                units().all(|other| other.code != miss),
                "`{miss}` is a code"
            );
            let known = units().filter(|other| other.misses().any(|m| m == miss));
            assert_eq!(known.count(), 1, "`{miss}` stands twice");
        }
    }
}

fn pump(of_model: Json, of_device: Json, methods: Json) -> EffectiveDevice {
    device(
        json!([
            {"name": "level", "type": "FLOAT", "accessMode": "ReadWrite", "minimum": "0", "maximum": "10"},
            {"name": "mode", "type": "STRING", "accessMode": "ReadWrite",
             "visitors": {"configData": {"enum": {"0": "Off", "1": "Eco"}}}},
            {"name": "flow", "type": "FLOAT"},
        ]),
        of_model,
        of_device,
        methods,
    )
}

#[test]
fn groups_methods_and_events_are_taken_out_of_what_the_mapper_gets() {
    let device = pump(
        json!({
            "unit": 1,
            "groups": [{"name": "hydraulic", "properties": ["level", "flow", "notUsedHere"], "interval": "10s"}],
            "events": [{"name": "dry", "when": "flow < 1"}, {"name": "full", "when": "level > 9", "clear": "level < 8",
                        "severity": "major", "message": "level {level}", "delay": "2s"}],
        }),
        json!({
            "url": "tcp://h:502",
            "events": [{"name": "dry", "when": "flow < 2 && mode != 'Off'"}],
            "methods": [{"name": "fill", "parameters": [
                {"name": "to", "type": "FLOAT", "minimum": 1, "maximum": 9}, {"name": "mode", "type": "STRING", "default": "Eco", "enum": ["Eco", "Off"]}],
                "steps": [{"write": "mode", "value": "{mode}"}, {"write": "level", "value": "to * 0.5"}],
                "confirm": {"property": "flow", "value": 0}}, {"name": "reset", "call": {"node": "ns=2;s=Reset"}}],
        }),
        json!([{"name": "setBoth", "description": "Sets both", "propertyNames": ["level", "mode"]}]),
    );
    assert_eq!(faults(&device), [""; 0]);
    assert_eq!(
        Json::Object(device.protocol_config.clone()),
        json!({"unit": 1, "url": "tcp://h:502"})
    );
    let flow = device.property("flow").unwrap();
    assert_eq!(flow.policy.group.as_deref(), Some("hydraulic"));
    assert_eq!(flow.collect_cycle, Duration::from_secs(10));
    let events: Vec<_> = device
        .events
        .iter()
        .map(|event| (&*event.name, event.when.source()))
        .collect();
    assert_eq!(
        events,
        [("full", "level > 9"), ("dry", "flow < 2 && mode != 'Off'")]
    );
    assert_eq!(device.events[0].severity, Severity::Major);
    assert_eq!(device.events[1].properties(), ["flow", "mode"]);

    let names: Vec<_> = device.methods.iter().map(|method| &*method.name).collect();
    assert_eq!(names, ["fill", "reset", "setBoth"]);
    let fill = &device.methods[0];
    let arguments = fill.arguments(&json!({"to": 4})).unwrap();
    assert_eq!(arguments.to_json(), json!({"to": 4.0, "mode": "Eco"}));
    let value = arguments
        .evaluate(&fill.steps[1].value)
        .unwrap()
        .into_value();
    assert_eq!(value, Some(Value::Float(2.0)));
    let wrong = fill
        .arguments(&json!({"to": 12, "mode": "Turbo", "colour": 1}))
        .unwrap_err();
    let wrong: Vec<_> = wrong.iter().map(ToString::to_string).collect();
    assert_eq!(
        wrong,
        [
            "arguments.to: 12 is above 9",
            "arguments.mode: `Turbo` is not one of Eco, Off",
            "arguments.colour: unknown, `fill` takes to, mode",
        ]
    );
    let both = &device.methods[2];
    let wrong = both
        .arguments(&json!({"level": "5", "mode": "Eco"}))
        .unwrap_err();
    assert_eq!(
        wrong[0].to_string(),
        "arguments.level: expected FLOAT, got `5`"
    );
    assert!(both.arguments(&json!({"level": 5, "mode": "Eco"})).is_ok());
}

#[test]
fn a_wrong_method_or_event_costs_itself_only() {
    let device = pump(
        json!({"events": [{"name": "odd", "when": "presure > 1"}]}),
        json!({
            "events": [{"name": "good", "when": "flow > 1", "colour": "red"}, {"name": "sev", "when": "flow > 1", "severity": "bad"},
                       {"name": "a/b", "when": "true"}, {"name": "good", "when": "true"}, {"name": "never"}, 7],
            "methods": [
                {"name": "writesReadOnly", "steps": [{"write": "flow", "value": 1}]},
                {"name": "empty"},
                {"name": "unknown", "parameters": [{"name": "x", "type": "COLOUR"}], "steps": [{"write": "tank", "value": "eco"}]},
                {"name": "stays", "steps": [{"write": "level", "value": 1}]},
            ],
            "groups": [{"name": "g", "properties": ["tank"]}],
        }),
        json!([{"name": "stays", "propertyNames": ["level"]}, {"name": "api", "propertyNames": ["flow"]}]),
    );
    insta::assert_snapshot!(faults(&device).join("\n"), @r#"
    spec.protocol.configData.events[2].name: expected a name of letters, digits, `_`, `-` and `.`
    spec.protocol.configData.events[3].name: `good` stands twice, the first one counts
    spec.protocol.configData.events[5]: expected an object, got `7`
    spec.protocol.configData.groups[0].properties[0]: the device has no property `tank`
    spec.protocol.configData.methods[0].steps[0].write: property `flow` is read-only
    spec.protocol.configData.methods[1].steps: a method needs `steps`, or a `call` of the protocol
    spec.protocol.configData.methods[2].parameters[0].type: expected INT, FLOAT, DOUBLE, STRING or BOOLEAN, got `COLOUR`
    spec.protocol.configData.methods[2].steps[0].write: the device has no property `tank`
    spec.protocol.configData.methods[2].steps[0].value: unknown name `eco`, expected `x`; a text stands in quotes (column 1)
    spec.methods[0].name: there is another method `stays`, which counts
    spec.methods[1].propertyNames[0]: property `flow` is read-only
    model.spec.protocolConfigData.events[0].when: unknown name `presure`, expected one of level, mode, flow; a text stands in quotes (column 1)
    spec.protocol.configData.events[0].colour: unknown key, expected one of name, when, clear, severity, message, delay
    spec.protocol.configData.events[1].severity: expected info, minor, major or critical
    spec.protocol.configData.events[4].when: an event needs a condition
    "#);
    let events: Vec<_> = device.events.iter().map(|event| &*event.name).collect();
    assert_eq!(events, ["good"]);
    let methods: Vec<_> = device.methods.iter().map(|method| &*method.name).collect();
    assert_eq!(methods, ["stays"]);
}

#[test]
fn what_fails_whatever_the_values_are_is_a_fault_of_its_method_or_event() {
    let device = pump(
        json!({"events": [
            {"name": "number", "when": "level + 1"}, {"name": "text", "when": "mode > 3"},
            {"name": "same", "when": "level == 'full'"}, {"name": "side", "when": "flow > 1 && mode"},
            {"name": "list", "when": "mode in ['Eco', 1]"}, {"name": "clear", "when": "flow > 1", "clear": "string(flow)"},
            {"name": "call", "when": "startsWith(flow, 'a') || true"}, {"name": "member", "when": "flow.startsWith('a')"},
            {"name": "told", "when": "level > 1 ? true : flow < 2", "message": "{level} of { nosuch }, {mode}"},
        ]}),
        json!({"methods": [{"name": "set", "parameters": [
            {"name": "to", "type": "FLAOT"}, {"name": "by", "type": "INT", "minimum": 9, "maximum": 1, "default": 5}],
            "steps": [{"write": "level", "value": "to * 2"}, {"write": "level", "value": "by + 'x'"}],
            "confirm": {"property": "flow", "value": "{to}"}}]}),
        json!([]),
    );
    insta::assert_snapshot!(faults(&device).join("\n"), @r"
    spec.protocol.configData.methods[0].parameters[0].type: expected INT, FLOAT, DOUBLE, STRING or BOOLEAN, got `FLAOT`
    spec.protocol.configData.methods[0].parameters[1].minimum: 9 is above the maximum 1
    spec.protocol.configData.methods[0].steps[1].value: `+` between an int and a string (column 4)
    model.spec.protocolConfigData.events[0].when: expected a condition, true or false, got a double
    model.spec.protocolConfigData.events[1].when: `>` between a string and an int (column 6)
    model.spec.protocolConfigData.events[2].when: `==` between a double and a string (column 7)
    model.spec.protocolConfigData.events[3].when: expected true or false beside `&&`, got a string (column 13)
    model.spec.protocolConfigData.events[4].when: a string is never an int (column 17)
    model.spec.protocolConfigData.events[5].clear: expected a condition, true or false, got a string
    model.spec.protocolConfigData.events[6].when: `startsWith` is called as `s.startsWith(t)` (column 1)
    model.spec.protocolConfigData.events[7].when: expected a string, got a double (column 6)
    model.spec.protocolConfigData.events[8].message: the device has no property `nosuch`, the text stays as it is
    ");
    let events: Vec<_> = device.events.iter().map(|event| &*event.name).collect();
    assert_eq!((events, device.methods.len()), (vec!["told"], 0));
}

#[test]
fn a_model_may_speak_of_properties_that_a_device_does_not_use() {
    let model: DeviceModel = serde_json::from_value(json!({
        "metadata": {"name": "m"},
        "spec": {"protocol": "modbus", "properties": [{"name": "a", "type": "INT", "accessMode": "ReadWrite"}, {"name": "b", "type": "INT"}],
                 "protocolConfigData": {
                    "events": [{"name": "ofA", "when": "a > 1"}, {"name": "ofB", "when": "a + b > 1"}],
                    "methods": [{"name": "setB", "steps": [{"write": "b", "value": 1}]}]}},
    }))
    .unwrap();
    let device: Device = serde_json::from_value(json!({
        "metadata": {"name": "d"}, "spec": {"deviceModelRef": {"name": "m"}, "properties": [{"name": "a"}]},
    }))
    .unwrap();
    let effective = EffectiveDevice::build(&device, &model).unwrap();
    assert_eq!(faults(&effective), [""; 0]);
    let events: Vec<_> = effective.events.iter().map(|event| &*event.name).collect();
    assert_eq!((events, effective.methods.len()), (vec!["ofA"], 0));
}

proptest! {
    #[test]
    fn bits_that_are_written_are_read_and_the_others_stay(
        former in any::<u16>(), value in any::<u16>(), low in 0..16_i32, width in 1..16_u32, signed in any::<bool>(),
    ) {
        let mask = ((1_u64 << width) - 1) << low & 0xFFFF;
        let value = i64::from(value) & ((mask >> low) as i64);
        let bits = Bits::new(Some(mask), low);
        let (former, width) = if signed { (i64::from(former as i16), Some(16)) } else { (i64::from(former), None) };
        let raw = bits.insert(value, former, width).unwrap();
        prop_assert_eq!(bits.extract(raw.borrow()).unwrap(), ValueRef::Int(value));
        let Value::Int(raw) = raw else { panic!("{raw:?}") };
        prop_assert_eq!((raw ^ former) & 0xFFFF & !(mask as i64), 0);
        if signed {
            prop_assert!(i16::try_from(raw).is_ok());
        }
    }

    #[test]
    fn a_value_that_is_too_large_for_its_bits_is_refused(value in 16..1000_i64, former in any::<u16>()) {
        prop_assert!(Bits::new(Some(0xF0), 4).insert(value, i64::from(former), None).is_err());
        prop_assert!(Bits::new(Some(0xF0), 4).insert(-value, i64::from(former), None).is_err());
    }
}
