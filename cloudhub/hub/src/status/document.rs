//! The status of a device as JSON. Pure.

use std::collections::BTreeMap;

use longshore_link::MAX_OBJECT_BYTES;
use longshore_types::{
    DeviceName, Timestamp,
    device::{
        Condition, ConditionStatus, DeviceStatusStatus, Extensions, PropertyStatus, Twin,
        TwinProperty, WriteStatus,
    },
    report::{DeviceReport, PropertyReport},
};
use serde_json::{Value, json};

use super::judge::Judgement;
use crate::{
    kinds::Object,
    tables::{nodes::Presence, reports::Refused},
};

/// Who owns the DeviceStatus: with the Device it goes.
pub(super) fn owner(device: &DeviceName, entry: &Object) -> Value {
    json!({
        "apiVersion": "devices.kubeedge.io/v1beta1",
        "kind": "Device",
        "name": device.name(),
        "uid": entry.content.uid,
    })
}

/// What is known of a device.
pub(super) struct Known<'a> {
    /// The Device.
    pub(super) entry: &'a Object,
    /// What its edge said last.
    pub(super) report: Option<&'a DeviceReport>,
    /// Whether its node is there, and since when.
    pub(super) presence: (Presence, i64),
    /// Whether its model exists.
    pub(super) has_model: bool,
    /// Bytes of its model.
    pub(super) model_bytes: usize,
    /// Why reports of it are not taken any more.
    pub(super) refused: Option<Refused>,
    /// What the hub found in it, where the edge has not seen it as it is now.
    pub(super) judged: Option<Judgement>,
}

/// All of it as the API has it.
pub(super) fn status(known: Known<'_>) -> Value {
    let Known {
        entry,
        report,
        presence,
        has_model,
        model_bytes,
        refused,
        judged,
    } = known;
    let mut status = DeviceStatusStatus::default();
    let mut extensions = Extensions::default();
    if let Some(report) = report {
        report.state.as_str().clone_into(&mut status.state);
        status.twins = report.properties.iter().map(twin).collect();
        if let Some(time) = report.last_online_ms {
            status.last_online_time = Timestamp::from_millis(time).to_seconds_string();
        }
        extensions.conditions.clone_from(&report.conditions);
        extensions.properties = report.properties.iter().map(property).collect();
        extensions.warnings.clone_from(&report.warnings);
        extensions.events.clone_from(&report.events);
    }
    if presence.0 != Presence::Connected || report.is_none() {
        // Nobody is there who would know.
        "unknown".clone_into(&mut status.state);
    }
    if let Some(judged) = judged {
        let former = |condition: &Condition| condition.condition == judged.condition.condition;
        extensions.conditions.retain(|condition| !former(condition));
        extensions.conditions.push(judged.condition);
        extensions.warnings = judged.faults;
    }
    extensions.conditions.push(node_condition(entry, presence));
    extensions
        .conditions
        .extend(model_condition(entry, has_model));
    let bytes = entry.content.json.len();
    extensions.conditions.extend(
        size_condition("Device", bytes).or_else(|| size_condition("DeviceModel", model_bytes)),
    );
    extensions.conditions.extend(refused.map(refused_condition));
    status.set_extensions(extensions);
    let mut value = serde_json::to_value(&status).unwrap_or_default();
    // A merge patch keeps what is not named: an empty list must be said.
    if let Value::Object(keys) = &mut value {
        for (key, empty) in [
            ("twins", json!([])),
            ("state", json!("")),
            ("lastOnlineTime", json!("")),
        ] {
            keys.entry(key).or_insert(empty);
        }
        if let Some(Value::Object(extensions)) = keys.get_mut("extensions") {
            for key in ["summary", "properties", "warnings", "events"] {
                extensions.entry(key).or_insert(Value::Null);
            }
        }
    }
    value
}

/// Takes out of a status what only a report can say, so that a merge patch
/// leaves that as it is. Warnings are of the hub when it looked itself.
pub(super) fn keep_what_was_reported(status: &mut Value, judged: bool) {
    if let Value::Object(keys) = status {
        keys.remove("twins");
        keys.remove("lastOnlineTime");
        if let Some(Value::Object(extensions)) = keys.get_mut("extensions") {
            extensions.retain(|key, _| key == "conditions" || (judged && key == "warnings"));
        }
    }
}

/// The same for a status that is not there yet: a merge patch's `null` deletes,
/// in a new object it would stay.
pub(super) fn for_creation(mut status: Value) -> Value {
    if let Some(Value::Object(extensions)) = status.get_mut("extensions") {
        extensions.retain(|_, value| !value.is_null());
    }
    status
}

fn twin(report: &PropertyReport) -> Twin {
    let metadata = |time: Option<i64>| {
        let mut metadata = BTreeMap::new();
        if let Some(time) = time {
            metadata.insert("timestamp".to_owned(), time.to_string());
        }
        if let Some(kind) = report.value_type {
            metadata.insert("type".to_owned(), kind.metadata_name().to_owned());
        }
        metadata
    };
    Twin {
        property_name: report.name.to_string(),
        reported: report.value.as_ref().map(|value| TwinProperty {
            value: value.to_string(),
            metadata: metadata(report.source_time_ms),
        }),
        observed_desired: report.desired.as_ref().map(|desired| TwinProperty {
            value: desired.value.clone(),
            metadata: metadata(Some(desired.since_ms)),
        }),
    }
}

fn property(report: &PropertyReport) -> PropertyStatus {
    let desired = report.desired.as_ref();
    PropertyStatus {
        name: report.name.to_string(),
        quality: report.quality,
        reason: report.reason,
        source_time: report.source_time_ms.map(Timestamp::from_millis),
        last_read: report.last_read_ms.map(Timestamp::from_millis),
        last_error: report.last_error.clone(),
        desired: desired.map(|desired| desired.value.clone()),
        desired_by: desired.map(|desired| {
            let by = if desired.local { "local" } else { "device" };
            by.to_owned()
        }),
        write: desired.map(|desired| WriteStatus {
            state: desired.write,
            message: desired.message.clone(),
            time: Some(Timestamp::from_millis(desired.since_ms)),
        }),
    }
}

fn node_condition(entry: &Object, (presence, since_ms): (Presence, i64)) -> Condition {
    let node = &entry.node;
    let (status, reason, message) = match presence {
        _ if node.is_empty() => (
            ConditionStatus::False,
            "NoNode",
            "the device is bound to no node: set spec.nodeName".to_owned(),
        ),
        Presence::Connected => (
            ConditionStatus::True,
            "Connected",
            format!("node `{node}` is connected"),
        ),
        Presence::Unknown => (
            ConditionStatus::False,
            "NodeNotFound",
            format!("there is no node `{node}`: correct spec.nodeName, or let the edge join"),
        ),
        Presence::NeverConnected => (
            ConditionStatus::False,
            "NodeNeverConnected",
            format!("node `{node}` never connected to this hub"),
        ),
        Presence::Away | Presence::Lost => (
            ConditionStatus::False,
            "NodeOffline",
            format!("node `{node}` is not connected; what is shown is the last that it said"),
        ),
    };
    Condition {
        condition: "NodeConnected".to_owned(),
        status,
        reason: reason.to_owned(),
        message,
        last_transition_time: (since_ms > 0).then(|| Timestamp::from_millis(since_ms)),
    }
}

/// Only said when something is wrong with it.
fn model_condition(entry: &Object, has_model: bool) -> Option<Condition> {
    let message = match (has_model, entry.needs.first()) {
        (true, _) => return None,
        (false, None) => "the device names no model: set spec.deviceModelRef.name".to_owned(),
        (false, Some(model)) => format!(
            "there is no DeviceModel `{}` in the device's namespace",
            model.name
        ),
    };
    Some(Condition {
        condition: "ModelFound".to_owned(),
        status: ConditionStatus::False,
        reason: "ModelNotFound".to_owned(),
        message,
        last_transition_time: None,
    })
}

/// Only said when it is too large for the link to its node.
fn size_condition(what: &str, bytes: usize) -> Option<Condition> {
    (bytes > MAX_OBJECT_BYTES).then(|| Condition {
        condition: "Deliverable".to_owned(),
        status: ConditionStatus::False,
        reason: "TooLarge".to_owned(),
        message: format!(
            "the {what} has {bytes} bytes, and the link to its node takes {MAX_OBJECT_BYTES} at most: \
             make it smaller; until then the node does without it"
        ),
        last_transition_time: None,
    })
}

/// Only said when the hub does not take what the node reports.
fn refused_condition(why: Refused) -> Condition {
    Condition {
        condition: "ReportTaken".to_owned(),
        status: ConditionStatus::False,
        reason: match why {
            Refused::TooLarge(_) => "TooLarge",
            Refused::NodeFull | Refused::Full => "NoRoom",
        }
        .to_owned(),
        message: format!("the last report is not taken: {why}; what is shown is the one before it"),
        last_transition_time: None,
    }
}

/// The most that a status may have: what a Kubernetes API takes of one object, and
/// room for what else is in it.
const STATUS_BYTES: usize = 1024 * 1024;

/// Leaves out of a status that is too large for the API what can be done without, and
/// says so: how the values came about first, then the last values.
pub(super) fn fit(status: &mut Value) {
    let size = |value: &Value| value.to_string().len();
    // Cheap for the many: a value has at least so many bytes.
    let values = |status: &Value| status["twins"].as_array().map_or(0, Vec::len);
    let texts = |status: &Value| {
        let twins = status["twins"].as_array().into_iter().flatten();
        let texts = twins.filter_map(|twin| twin["reported"]["value"].as_str());
        texts.map(str::len).sum::<usize>()
    };
    if values(status) < 1000 && texts(status) < STATUS_BYTES / 8 {
        return;
    }
    let whole = size(status);
    if whole <= STATUS_BYTES {
        return;
    }
    status["extensions"]["properties"] = Value::Null;
    let all = values(status);
    let mut left = STATUS_BYTES.saturating_sub(size(status) - size(&status["twins"]));
    if let Some(twins) = status["twins"].as_array_mut() {
        twins.retain(|twin| {
            let bytes = size(twin) + 1;
            let fits = bytes <= left;
            left = left.saturating_sub(bytes);
            fits
        });
    }
    let shown = values(status);
    let condition = Condition {
        condition: "StatusWhole".to_owned(),
        status: ConditionStatus::False,
        reason: "TooLarge".to_owned(),
        message: format!(
            "the status would have {whole} bytes, and {STATUS_BYTES} is the most: {shown} of {all} values \
             are shown, without their quality; the node and its bus have all of them"
        ),
        last_transition_time: None,
    };
    if let Some(conditions) = status["extensions"]["conditions"].as_array_mut() {
        conditions.extend(serde_json::to_value(condition));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kinds::DEVICE_MODEL;
    use longshore_link::{Content, ObjectKey};
    use longshore_types::{
        Quality, Value as TwinValue,
        device::{EventReport, PropertyType},
        report::{DesiredReport, DeviceState},
    };

    fn entry() -> Object {
        Object {
            node: "edge-1".to_owned(),
            needs: vec![ObjectKey {
                kind: DEVICE_MODEL.to_owned(),
                namespace: "default".to_owned(),
                name: "boiler".to_owned(),
            }],
            properties: Arc::default(),
            content: Content {
                uid: "u".to_owned(),
                resource_version: "1".to_owned(),
                json: bytes::Bytes::new(),
            },
        }
    }

    fn shown(report: Option<&DeviceReport>, presence: (Presence, i64), has_model: bool) -> Value {
        status(Known {
            entry: &entry(),
            report,
            presence,
            has_model,
            model_bytes: 0,
            refused: None,
            judged: None,
        })
    }

    #[test]
    fn what_is_too_large_says_so() {
        let report = DeviceReport {
            name: DeviceName::new("default", "boiler").unwrap(),
            uid: "u".to_owned(),
            state: DeviceState::Online,
            last_online_ms: None,
            properties: (0..10_000)
                .map(|n| PropertyReport {
                    value: Some(TwinValue::Int(n)),
                    ..PropertyReport::new(format!("property-{n}"))
                })
                .collect(),
            conditions: Vec::new(),
            warnings: Vec::new(),
            events: Vec::new(),
            fingerprint: 0,
        };
        let mut entry = entry();
        entry.content.json = vec![b' '; MAX_OBJECT_BYTES + 1].into();
        let mut value = status(Known {
            entry: &entry,
            report: Some(&report),
            presence: (Presence::Connected, 1),
            has_model: true,
            model_bytes: 0,
            refused: Some(Refused::TooLarge(5)),
            judged: None,
        });
        fit(&mut value);
        assert!(value.to_string().len() <= STATUS_BYTES + 1024);
        assert!(value["twins"].as_array().unwrap().len() > 5000);
        let conditions = value["extensions"]["conditions"].as_array().unwrap().iter();
        let types: Vec<_> = conditions.map(|c| c["type"].as_str().unwrap()).collect();
        assert_eq!(
            types,
            ["NodeConnected", "Deliverable", "ReportTaken", "StatusWhole"]
        );
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let mut value = shown(None, (Presence::Unknown, 0), false);
        let before = value.clone();
        fit(&mut value);
        assert_eq!(value, before);
    }

    #[test]
    fn what_nobody_reported_says_why() {
        let value = shown(None, (Presence::Unknown, 0), false);
        assert_eq!(value["state"], "unknown");
        assert_eq!(value["twins"], json!([]));
        let conditions = &value["extensions"]["conditions"];
        assert_eq!(conditions[0]["reason"], "NodeNotFound");
        assert_eq!(conditions[1]["reason"], "ModelNotFound");
    }

    #[test]
    fn twins_are_as_kubeedge_has_them() {
        let report = DeviceReport {
            name: DeviceName::new("default", "boiler").unwrap(),
            uid: "u".to_owned(),
            state: DeviceState::Online,
            last_online_ms: Some(1_732_000_000_123),
            properties: vec![PropertyReport {
                value: Some(TwinValue::Float(21.5)),
                value_type: Some(PropertyType::Float),
                quality: Quality::Good,
                source_time_ms: Some(1_732_000_000_000),
                desired: Some(DesiredReport {
                    value: "22".to_owned(),
                    local: true,
                    since_ms: 1_732_000_000_001,
                    ..DesiredReport::default()
                }),
                ..PropertyReport::new("temperature")
            }],
            conditions: Vec::new(),
            warnings: Vec::new(),
            events: vec![EventReport {
                name: "hot".to_owned(),
                active: true,
                severity: longshore_types::event::Severity::Major,
                message: "21.5 °C".to_owned(),
                since: Some(Timestamp::from_millis(1_732_000_000_000)),
            }],
            fingerprint: 0,
        };
        let value = shown(Some(&report), (Presence::Connected, 1), true);
        assert_eq!(value["state"], "online");
        assert_eq!(value["lastOnlineTime"], "2024-11-19T07:06:40Z");
        assert_eq!(
            value["twins"][0],
            json!({
                "propertyName": "temperature",
                "reported": {"value": "21.5", "metadata": {"timestamp": "1732000000000", "type": "float"}},
                "observedDesired": {"value": "22", "metadata": {"timestamp": "1732000000001", "type": "float"}},
            })
        );
        assert_eq!(value["extensions"]["properties"][0]["quality"], "good");
        assert_eq!(value["extensions"]["properties"][0]["desiredBy"], "local");
        assert_eq!(
            value["extensions"]["conditions"].as_array().unwrap().len(),
            1
        );
        assert_eq!(
            value["extensions"]["events"],
            json!([{"name": "hot", "active": true, "severity": "major", "message": "21.5 °C",
                    "since": "2024-11-19T07:06:40.000Z"}])
        );
        let lost = shown(Some(&report), (Presence::Lost, 1), true);
        assert_eq!(lost["state"], "unknown", "nobody is there who would know");
    }
}
