//! Devices merged with their models.

use std::{path::Path, time::Duration};

use longshore_types::{
    Device, DeviceModel, EffectiveDevice, Manifests, Value,
    device::{AccessMode, PropertyType},
    effective::{Blueprint, Desired},
    schema_check::Document,
};
use serde_json::{Value as Json, json};

fn build(properties: Json) -> EffectiveDevice {
    let model: DeviceModel = serde_json::from_value(json!({
        "metadata": {"name": "boiler"},
        "spec": {"protocol": "modbus", "protocolConfigData": {"unit": 1, "limits": {"gapFill": 4, "maxBits": 8}}, "properties": [
            {"name": "temperature", "type": "FLOAT", "accessMode": "ReadOnly", "minimum": "-20", "maximum": "120", "unit": "Cel",
             "visitors": {"configData": {"address": "ir:0", "rawType": "int16", "scale": 0.1}}},
            {"name": "setpoint", "type": "INT", "accessMode": "ReadWrite", "minimum": "20", "maximum": "90", "unit": "Cel"},
            {"name": "mode", "type": "STRING", "accessMode": "ReadWrite",
             "visitors": {"configData": {"address": "hr:9", "enum": {"0": "Off", "1": "Eco"}}}},
            {"name": "upside-down", "type": "INT", "minimum": "9", "maximum": "1"},
            {"name": "typeless"},
            {"name": "counter", "type": "INT", "accessMode": "ReadWrite", "maximum": "18446744073709551615"},
        ]},
    }))
    .unwrap();
    let device: Device = serde_json::from_value(json!({
        "metadata": {"name": "boiler-1", "namespace": "plant", "uid": "u1"},
        "spec": {"deviceModelRef": {"name": "boiler"}, "nodeName": "edge-1", "properties": properties,
                 "protocol": {"protocolName": "Modbus", "configData": {"url": "tcp://h:502", "limits": {"maxBits": 16}}}},
    }))
    .unwrap();
    EffectiveDevice::build(&device, &model).unwrap()
}

fn faults(device: &EffectiveDevice) -> Vec<String> {
    device.faults.iter().map(ToString::to_string).collect()
}

/// A device that lists none of its model's properties uses all of them, as often
/// as the model says.
#[test]
fn a_device_that_lists_nothing_uses_all_of_its_model() {
    let model: DeviceModel = serde_json::from_value(json!({
        "metadata": {"name": "m"},
        "spec": {"protocol": "modbus", "properties": [
            {"name": "a", "type": "INT", "visitors": {"configData": {"address": "hr:0", "collectCycle": "10s"}}},
            {"name": "b", "type": "INT", "visitors": {"configData": {"address": "hr:1"}}},
            {"name": "a", "type": "FLOAT"},
        ]},
    }))
    .unwrap();
    let device = |properties: Json| -> Device {
        serde_json::from_value(json!({
            "metadata": {"name": "d"},
            "spec": {"deviceModelRef": {"name": "m"}, "properties": properties},
        }))
        .unwrap()
    };
    let listed = json!([{"name": "a"}, {"name": "b"}]);
    let mut blueprint = Blueprint::new(&model);
    let as_listed = blueprint.build(&device(listed)).unwrap();
    for none in [json!([]), Json::Null] {
        let all = blueprint.build(&device(none)).unwrap();
        assert_eq!(all, as_listed);
    }
    let cycles: Vec<_> = as_listed
        .properties
        .iter()
        .map(|it| it.collect_cycle)
        .collect();
    assert_eq!(cycles, [Duration::from_secs(10), Duration::from_secs(1)]);
    // The device has the last word.
    let own = device(json!([{"name": "a", "collectCycle": 250}]));
    let own = EffectiveDevice::build(&own, &model).unwrap();
    assert_eq!(own.properties[0].collect_cycle, Duration::from_millis(250));
    assert!(own.properties[0].config.get("collectCycle").is_none());
}

/// Whatever stood before it, a device comes to the same as alone.
#[test]
fn devices_of_one_blueprint_are_as_each_alone() {
    let model: DeviceModel = serde_json::from_value(json!({
        "metadata": {"name": "m"},
        "spec": {"protocol": "modbus",
            "protocolConfigData": {"groups": [{"name": "g", "properties": ["b"], "interval": "7s"}]},
            "properties": [
                {"name": "a", "type": "FLOAT", "accessMode": "ReadWrite", "visitors": {"configData": {"address": "hr:0", "scale": 0.1}}},
                {"name": "b", "type": "INT", "visitors": {"configData": {"address": "ir:1", "deadband": 2}}},
                {"name": "bad", "type": "INT", "visitors": {"configData": {"scale": 0}}},
                {"name": "a", "type": "INT"},
        ]},
    }))
    .unwrap();
    let own = json!({"configData": {"address": "hr:7"}});
    let of_devices = [
        json!([{"name": "a"}, {"name": "b"}]),
        json!([{"name": "b"}, {"name": "a", "desired": {"value": "2.5", "metadata": {"by": "me"}}}]),
        json!([{"name": "a", "desired": {"value": "warm"}}, {"name": "bad"}, {"name": "none"}]),
        json!([{"name": "a", "collectCycle": 250}, {"name": "b", "reportToCloud": false}]),
        json!([{"name": "a", "visitors": own}, {"name": "a"}, {"name": "b", "reportCycle": -1}]),
        json!([{"name": "a"}, {"name": "b"}, {"name": "bad"}]),
    ];
    let mut blueprint = Blueprint::new(&model);
    let mut kinds = Vec::new();
    for properties in of_devices {
        let device: Device = serde_json::from_value(json!({
            "metadata": {"name": "d"},
            "spec": {"deviceModelRef": {"name": "m"}, "properties": properties},
        }))
        .unwrap();
        let mut shared = blueprint.build(&device).unwrap();
        let mut alone = EffectiveDevice::build(&device, &model).unwrap();
        kinds.push(shared.property("a").unwrap().kind);
        let properties = shared.properties.iter_mut();
        for property in properties.chain(&mut alone.properties) {
            property.kind = None;
        }
        assert_eq!(shared, alone);
    }
    // The same as the model has it, and what differs from that.
    assert!(kinds[0].is_some() && kinds[0] == kinds[1] && kinds[0] == kinds[2]);
    assert_eq!((kinds[3], kinds[4], kinds[5]), (None, None, kinds[0]));
}

#[test]
fn model_and_device_are_merged() {
    let device = build(json!([
        {"name": "temperature", "collectCycle": 250, "visitors": {"configData": {"address": "ir:7", "deadband": 0.5}}},
        {"name": "setpoint", "desired": {"value": "60"}},
        {"name": "mode", "desired": {"value": "Eco"}, "reportToCloud": false},
    ]));
    assert_eq!(faults(&device), [""; 0]);
    assert_eq!(device.name.to_string(), "plant/boiler-1");
    assert_eq!(device.protocol, "modbus");
    let limits = json!({"gapFill": 4, "maxBits": 16});
    assert_eq!(
        json!(device.protocol_config),
        json!({"unit": 1, "limits": limits, "url": "tcp://h:502"})
    );
    let temperature = device.property("temperature").unwrap();
    assert_eq!(
        json!(*temperature.config),
        json!({"address": "ir:7", "rawType": "int16"})
    );
    assert_eq!(temperature.value_type, PropertyType::Float);
    assert_eq!(temperature.access, AccessMode::ReadOnly);
    assert_eq!(temperature.policy.transform.scale(), 0.1);
    assert_eq!(temperature.policy.deadband.abs, Some(0.5));
    assert_eq!(temperature.collect_cycle, Duration::from_millis(250));
    assert_eq!(temperature.range_text(), "-20 to 120 °C");
    let setpoint = device.property("setpoint").unwrap();
    assert_eq!(setpoint.desired, Desired::Value(Value::Int(60)));
    assert_eq!(setpoint.collect_cycle, Duration::from_secs(1));
    let mode = device.property("mode").unwrap();
    assert_eq!(mode.desired, Desired::Value(Value::String("Eco".into())));
    assert!(!mode.report_to_cloud && setpoint.report_to_cloud);
}

#[test]
fn what_this_version_would_misread_is_a_warning() {
    let device = build(json!([
        {"name": "temperature", "collectCycle": 10_000_000_000_i64, "pushMethod": {"mqtt": {"address": "tcp://h:1883", "topic": "t", "qos": 0}}},
        {"name": "setpoint", "collectCycle": 86_400_000, "desired": {"value": "60", "metadata": {"timestamp": "17"}}},
    ]));
    insta::assert_snapshot!(faults(&device).join("\n"), @r"
    spec.properties[0].collectCycle: 10000000000 ms are more than a day; cycles are milliseconds, while old KubeEdge samples have nanoseconds
    spec.properties[0].pushMethod: not carried out by this version
    ");
    assert!(device.faults.iter().all(|fault| !fault.is_error()));
    let setpoint = device.property("setpoint").unwrap();
    assert_eq!(setpoint.desired_metadata["timestamp"], "17");
}

#[test]
fn each_fault_stands_at_its_place_and_the_rest_is_usable() {
    let device = build(json!([
        {"name": "temperature", "desired": {"value": "30"}},
        {"name": "setpoint", "desired": {"value": "91"}},
        {"name": "setpoint"},
        {"name": "colour"},
        {"name": "upside-down"},
        {"name": "typeless"},
        {"name": ""},
        {"name": "mode", "desired": {"value": "Turbo"}, "collectCycle": -1, "visitors": {"configData": {"deadband": "x"}}},
        {"name": "counter", "desired": {"value": "many"}},
    ]));
    insta::assert_snapshot!(faults(&device).join("\n"), @r"
    spec.properties[0].desired.value: property `temperature` is read-only
    spec.properties[1].desired.value: 91 is out of range for `setpoint`, expected 20 to 90 °C
    spec.properties[2].name: property `setpoint` stands twice, the first one counts
    spec.properties[3].name: model `boiler` has no property `colour`
    model.spec.properties[3].minimum: minimum 9 of property `upside-down` in the model is above its maximum 1
    model.spec.properties[4].type: the type of property `typeless` in model `boiler` is missing
    spec.properties[6].name: a property needs a name
    spec.properties[7].collectCycle: must not be negative, 0 is taken
    spec.properties[7].visitors.configData.deadband: expected a number, got `x` (its mapper may find more once this is mended)
    spec.properties[8].desired.value: `many` is not a value of type INT: expected a whole number of at most 64 bits
    ");
    let usable: Vec<_> = device
        .properties
        .iter()
        .filter(|p| p.broken.is_none())
        .map(|p| p.name.as_str())
        .collect();
    assert_eq!(usable, ["temperature", "setpoint", "counter"]);
    assert_eq!(device.properties.len(), 7);
}

#[test]
fn a_type_fault_names_what_is_expected() {
    let device = build(json!([{"name": "setpoint"}, {"name": "mode"}, {"name": "counter"}]));
    let check = |name: &str, text: &str| match device.property(name).unwrap().check_text(text) {
        Ok(value) => value.to_string(),
        Err(error) => error.to_string(),
    };
    assert_eq!(check("setpoint", "42"), "42");
    assert_eq!(
        check("setpoint", "91"),
        "91 is out of range for `setpoint`, expected 20 to 90 °C"
    );
    assert_eq!(
        check("setpoint", "warm"),
        "`warm` is not a value of type INT: expected a whole number of at most 64 bits"
    );
    assert_eq!(
        check("mode", "Turbo"),
        "`Turbo` is not a value of `mode`, expected one of Off, Eco"
    );
    assert_eq!(
        check("counter", "18446744073709551615"),
        "18446744073709551615"
    );
}

#[test]
fn a_device_without_a_protocol_is_refused() {
    let error = EffectiveDevice::build(
        &serde_json::from_value(json!({"metadata": {"name": "d"}})).unwrap(),
        &serde_json::from_value(json!({"metadata": {"name": "m"}})).unwrap(),
    )
    .unwrap_err();
    assert_eq!(
        error[0].to_string(),
        "spec.protocol.protocolName: neither the device nor its model `m` names a protocol"
    );
}

/// Manifests in KubeEdge's own vocabulary, as they are.
#[test]
fn kubeedge_devices_are_usable() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kubeedge");
    let manifests = Manifests::load(&folder).unwrap();
    for device in &manifests.devices {
        let name = device.object.model_name();
        let model = manifests
            .models
            .iter()
            .find(|model| model.object.metadata.name == name)
            .unwrap();
        let effective = EffectiveDevice::build(&device.object, &model.object).unwrap();
        let faults = faults(&effective);
        let other =
            |fault: &&String| !fault.ends_with("pushMethod: not carried out by this version");
        assert_eq!(faults.iter().find(other), None, "{}", effective.name);
        if effective.protocol == "modbus" {
            let busbar = effective.property("busbar-temperature").unwrap();
            assert_eq!(busbar.config["offset"], 2);
            assert_eq!(busbar.policy.transform.scale(), 0.1);
            assert_eq!(busbar.desired, Desired::None);
            assert_eq!(
                effective.property("fan-enable").unwrap().desired,
                Desired::Value(Value::String("OFF".into()))
            );
        }
    }
}

#[test]
fn a_schema_is_held_against_what_is_the_mappers() {
    let device = build(json!([
        {"name": "temperature", "visitors": {"configData": {"adress": "ir:7", "deadband": 0.5}}},
        {"name": "setpoint"},
        {"name": "typeless"},
    ]));
    let schema = Document::parse(
        r#"{"device": {"properties": {"url": {}, "unit": {}}},
            "property": {"properties": {"address": {"type": "string"}, "rawType": {}}, "required": ["address"]}}"#,
    )
    .unwrap();
    let faults: Vec<_> = device
        .check(&schema)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        faults,
        [
            "spec.protocol.configData.limits: unknown key",
            "spec.properties[0].visitors.configData.adress: unknown key; did you mean `address`?",
            "spec.properties[1].visitors.configData.address: is missing",
        ],
        "the model gives the first one its address; what is broken is left out"
    );
}

#[test]
fn a_fault_stands_where_its_key_is_written() {
    let of_model = json!([
        {"name": "other", "type": "INT"},
        {"name": "p", "type": "INT", "visitors": {"configData": {"scale": 0, "write": {"retries": -1}}}},
    ]);
    let model: DeviceModel = serde_json::from_value(
        json!({"metadata": {"name": "m"}, "spec": {"protocol": "modbus", "properties": of_model}}),
    )
    .unwrap();
    let found = |config: serde_json::Value| {
        let device = serde_json::from_value(json!({"metadata": {"name": "d"}, "spec": {
            "deviceModelRef": {"name": "m"}, "properties": [{"name": "p", "visitors": {"configData": config}}]}}));
        let built = EffectiveDevice::build(&device.unwrap(), &model).unwrap();
        (
            faults(&built).join("\n"),
            built.properties[0].broken.clone(),
        )
    };
    let (told, broken) = found(json!({}));
    insta::assert_snapshot!(told, @r"
    model.spec.properties[1].visitors.configData.scale: property `p`: must not be 0
    model.spec.properties[1].visitors.configData.write.retries: property `p`: expected a whole number, got `-1`
    ");
    assert_eq!(broken.as_deref(), Some("scale: must not be 0"));
    let (told, _) = found(json!({"scale": 0, "write": {"retries": 2}}));
    assert_eq!(
        told,
        "spec.properties[0].visitors.configData.scale: must not be 0"
    );
}
