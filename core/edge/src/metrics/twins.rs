//! Twins as JSON.

use longshore_types::{
    NodeName, Timestamp, Value, ValueRef,
    device::{Condition, EventReport},
    report::{DeviceReport, PropertyReport},
};
use serde_json::{Map, json};

pub(super) fn list(node: &NodeName, twins: &[DeviceReport]) -> Vec<u8> {
    let devices: Vec<_> = twins.iter().map(device).collect();
    json!({ "node": node.as_str(), "devices": devices })
        .to_string()
        .into_bytes()
}

pub(super) fn one(twin: &DeviceReport) -> Vec<u8> {
    device(twin).to_string().into_bytes()
}

fn device(twin: &DeviceReport) -> serde_json::Value {
    json!({
        "device": twin.name.as_str(),
        "namespace": twin.name.namespace(),
        "name": twin.name.name(),
        "state": twin.state.as_str(),
        "lastOnlineTime": time(twin.last_online_ms),
        "conditions": twin.conditions.iter().map(condition).collect::<Vec<_>>(),
        "warnings": twin.warnings.iter().map(|fault| json!({
            "path": fault.path,
            "message": fault.message,
            "level": if fault.is_error() { "error" } else { "warning" },
        })).collect::<Vec<_>>(),
        "events": twin.events.iter().map(event).collect::<Vec<_>>(),
        "properties": twin.properties.iter().map(property).collect::<Vec<_>>(),
    })
}

fn event(event: &EventReport) -> serde_json::Value {
    json!({
        "name": event.name,
        "active": event.active,
        "severity": event.severity.as_str(),
        "message": event.message,
        "since": event.since,
    })
}

fn condition(condition: &Condition) -> serde_json::Value {
    json!({
        "type": condition.condition,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": condition.last_transition_time,
    })
}

fn property(twin: &PropertyReport) -> serde_json::Value {
    let mut out = Map::new();
    let mut put = |key: &str, value: serde_json::Value| {
        if !value.is_null() {
            out.insert(key.to_owned(), value);
        }
    };
    put("name", json!(&*twin.name));
    put("type", json!(twin.value_type));
    put("writable", json!(twin.writable));
    put(
        "value",
        twin.value.as_ref().map_or(serde_json::Value::Null, typed),
    );
    put("text", json!(twin.value.as_ref().map(ToString::to_string)));
    put("quality", json!(twin.quality.as_str()));
    put("reason", json!(twin.reason.as_str()));
    put("sourceTime", json!(time(twin.source_time_ms)));
    put("lastRead", json!(time(twin.last_read_ms)));
    put("lastError", json!(twin.last_error));
    if let Some(desired) = &twin.desired {
        put("desired", json!(desired.value));
        put(
            "desiredBy",
            json!(if desired.local { "local" } else { "device" }),
        );
        let write = json!({
            "state": desired.write.as_str(),
            "message": desired.message,
            "time": time(Some(desired.since_ms)),
        });
        put("write", write);
    }
    out.into()
}

fn time(ms: Option<i64>) -> Option<String> {
    ms.map(|ms| Timestamp::from_millis(ms).to_string())
}

/// The value as JSON has it; bytes are base64.
fn typed(value: &Value) -> serde_json::Value {
    match value.borrow() {
        ValueRef::Bool(v) => json!(v),
        ValueRef::Int(v) => json!(v),
        ValueRef::Uint(v) => json!(v),
        // By way of the canonical text, so that 32 bits read short here too.
        ValueRef::Float(_) => value
            .to_string()
            .parse::<f64>()
            .map_or(serde_json::Value::Null, |v| json!(v)),
        ValueRef::String(v) => json!(v),
        bytes @ ValueRef::Bytes(_) => json!(bytes.to_string()),
    }
}
