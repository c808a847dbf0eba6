//! What the hub itself finds in a device's configuration. Pure.
//!
//! It is a stand-in: what the edge says of these very objects takes its place.

use longshore_types::{
    Device, DeviceModel, DeviceName, EffectiveDevice, Fault,
    device::{Condition, ConditionStatus},
    schema_check::Document,
};

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct Judgement {
    /// The condition `ConfigValid`.
    pub(super) condition: Condition,
    /// Faults and doubts, at key paths in the Device.
    pub(super) faults: Vec<Fault>,
}

/// Looks at a device and its model; `schema` gives that of a protocol, as far
/// as it is known. None where nothing can be said: nobody told a schema yet,
/// and without one nothing is wrong.
pub(super) fn judge(
    name: &DeviceName,
    device: &[u8],
    model: &[u8],
    schema: impl FnOnce(&str) -> Option<std::sync::Arc<Document>>,
) -> Option<Judgement> {
    let unreadable = |what: &str, error: serde_json::Error| {
        let message = format!("the {what} cannot be read: {error}");
        Some(judgement("Unreadable", Vec::new(), message))
    };
    let mut device: Device = match serde_json::from_slice(device) {
        Ok(device) => device,
        Err(error) => return unreadable("Device", error),
    };
    name.namespace().clone_into(&mut device.metadata.namespace);
    name.name().clone_into(&mut device.metadata.name);
    let model: DeviceModel = match serde_json::from_slice(model) {
        Ok(model) => model,
        Err(error) => return unreadable("DeviceModel", error),
    };
    let effective = match EffectiveDevice::build(&device, &model) {
        Ok(effective) => effective,
        Err(faults) => return Some(judgement("Invalid", faults, String::new())),
    };
    let of_manifest = effective.faults.iter().any(Fault::is_error);
    let schema: Option<std::sync::Arc<Document>> = schema(&effective.protocol);
    let known = schema.is_some();
    let found = schema.map_or_else(Vec::new, |schema| effective.check(&schema));
    let by_schema = found.iter().any(Fault::is_error);
    let mut faults = effective.faults;
    faults.extend(found);
    match (by_schema, of_manifest, known) {
        (true, ..) => Some(judgement("SchemaViolation", faults, String::new())),
        (false, true, _) => Some(judgement("Faults", faults, String::new())),
        (false, false, true) => Some(judgement("Valid", faults, String::new())),
        (false, false, false) => None,
    }
}

/// The message lists the errors, unless it is given.
fn judgement(reason: &str, faults: Vec<Fault>, message: String) -> Judgement {
    let valid = reason == "Valid";
    let message = if valid {
        "checked by the mapper's schema; the node has not seen it yet".to_owned()
    } else if message.is_empty() {
        let errors = faults.iter().filter(|fault| fault.is_error());
        let errors: Vec<_> = errors.map(ToString::to_string).collect();
        errors.join("; ")
    } else {
        message
    };
    let status = if valid {
        ConditionStatus::True
    } else {
        ConditionStatus::False
    };
    Judgement {
        condition: Condition {
            condition: "ConfigValid".to_owned(),
            status,
            reason: reason.to_owned(),
            message,
            last_transition_time: None,
        },
        faults,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn found(visitor: &str, schema: Option<&str>) -> Option<Judgement> {
        let name = DeviceName::new("default", "boiler").unwrap();
        let model = json!({"metadata": {"name": "boiler"}, "spec": {"protocol": "modbus", "properties": [
            {"name": "temperature", "type": "INT", "accessMode": "ReadOnly"}]}});
        let device = format!(
            r#"{{"metadata": {{"name": "boiler"}}, "spec": {{"deviceModelRef": {{"name": "boiler"}},
                "properties": [{{"name": "temperature", "visitors": {{"configData": {visitor}}}}}]}}}}"#
        );
        let schema = |protocol: &str| {
            assert_eq!(protocol, "modbus");
            schema.map(|text| Arc::new(Document::parse(text).unwrap()))
        };
        judge(
            &name,
            device.as_bytes(),
            model.to_string().as_bytes(),
            schema,
        )
    }

    const SCHEMA: &str =
        r#"{"property": {"properties": {"address": {"type": "string"}}, "required": ["address"]}}"#;

    #[test]
    fn faults_stand_at_key_paths_of_the_device() {
        let judged = found(r#"{"adress": "hr:1"}"#, Some(SCHEMA)).unwrap();
        assert_eq!(judged.condition.reason, "SchemaViolation");
        assert_eq!(judged.condition.status, ConditionStatus::False);
        let at = "spec.properties[0].visitors.configData";
        assert_eq!(
            judged.condition.message,
            format!("{at}.address: is missing")
        );
        assert_eq!(judged.faults.len(), 2, "a doubt about `adress` as well");

        let judged = found(r#"{"address": "hr:1"}"#, Some(SCHEMA)).unwrap();
        assert_eq!(judged.condition.reason, "Valid");
        assert!(judged.faults.is_empty());
    }

    #[test]
    fn without_a_schema_only_what_is_wrong_is_told() {
        assert_eq!(found(r#"{"adress": "hr:1"}"#, None), None);
        let judged = found(r#"{"address": "hr:1", "scale": "much"}"#, None).unwrap();
        assert_eq!(judged.condition.reason, "Faults");
        assert!(judged.condition.message.contains("scale"), "{judged:?}");
        let judged = found("7", None).unwrap();
        assert_eq!(judged.condition.reason, "Unreadable");
    }
}
