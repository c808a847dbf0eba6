//! KubeEdge's topics and payloads: what comes in, what goes out, word for word.
//!
//! Source: KubeEdge 1.23, `edge/pkg/eventbus/mqtt/client.go` (topics) and
//! `edge/pkg/devicetwin/dttype` (payloads). A device's id is two levels,
//! `namespace/name`. Times are milliseconds since the epoch.
//!
//! Two things differ on purpose. Values may be any text, while KubeEdge allows
//! 512 characters of a small alphabet. And a twin that the Device does not
//! have is refused with 404, while KubeEdge would add it until the next change
//! of the Device.

use longshore_types::{
    DeviceName, NodeName, Quality, Topic,
    device::PropertyType,
    report::{DesiredReport, DeviceReport, DeviceState, PropertyReport},
    topic::{DeviceEvent, NodeEvent},
};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use longshore_twin::{DeviceChange, LocalUpdate, MembershipChange};

/// The topics that are published when something changes.
pub(super) const CHANGES: [DeviceEvent; 2] = [
    DeviceEvent::TwinUpdateDocument,
    DeviceEvent::TwinUpdateDelta,
];
/// The topic filters of requests, ours among them.
pub(super) const REQUEST_FILTERS: [&str; 5] = [
    "$hw/events/device/+/+/twin/update",
    "$hw/events/device/+/+/twin/get",
    "$hw/events/device/+/+/state/update",
    "$hw/events/node/+/membership/get",
    super::calls::FILTER,
];

/// What a client asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Request {
    /// `twin/update`
    Update {
        device: DeviceName,
        event_id: String,
        updates: Result<Vec<LocalUpdate>, String>,
    },
    /// `twin/get`
    Get {
        device: DeviceName,
        event_id: String,
    },
    /// `state/update`
    State {
        device: DeviceName,
        event_id: String,
        state: Result<DeviceState, String>,
    },
    /// `membership/get`
    Membership { node: NodeName, event_id: String },
}

impl Request {
    /// The device that it is about, if it is about one.
    pub(super) fn device(&self) -> Option<&DeviceName> {
        match self {
            Self::Update { device, .. } | Self::Get { device, .. } | Self::State { device, .. } => {
                Some(device)
            }
            Self::Membership { .. } => None,
        }
    }
}

/// An answer of the kind "it failed".
pub(super) struct Refusal {
    pub(super) code: u16,
    pub(super) reason: String,
}

/// Whether only the edge itself publishes on this topic.
pub(super) fn is_edge_topic(topic: &str) -> bool {
    match topic.parse::<Topic>() {
        Ok(topic @ (Topic::Device { .. } | Topic::Node { .. })) => !asks(&topic),
        Ok(Topic::Batch(_) | Topic::Event { .. } | Topic::CallResult { .. }) => true,
        _ => false,
    }
}

/// Whether a topic is one of requests.
pub(super) fn is_request(topic: &str) -> bool {
    topic.starts_with("$hw/") && topic.parse::<Topic>().is_ok_and(|topic| asks(&topic))
}

fn asks(topic: &Topic) -> bool {
    match topic {
        Topic::Device { event, .. } => {
            matches!(
                event,
                DeviceEvent::TwinUpdate | DeviceEvent::TwinGet | DeviceEvent::StateUpdate
            )
        }
        Topic::Node { event, .. } => *event == NodeEvent::MembershipGet,
        _ => false,
    }
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    event_id: String,
    #[serde(default)]
    twin: Option<std::collections::BTreeMap<String, Option<TwinBody>>>,
    #[serde(default)]
    state: Option<String>,
}

#[derive(Deserialize)]
struct TwinBody {
    #[serde(default)]
    actual: Option<ValueBody>,
    #[serde(default)]
    expected: Option<ValueBody>,
    #[serde(default)]
    metadata: Option<Map<String, Json>>,
}

#[derive(Deserialize)]
struct ValueBody {
    #[serde(default)]
    value: Option<Json>,
}

/// Understands a request; `None` when the topic is not one of requests.
pub(super) fn parse(topic: &str, payload: &[u8]) -> Option<Request> {
    let topic: Topic = topic.parse().ok().filter(asks)?;
    // An empty payload asks for the twin as well as `{}` does.
    let body = if payload.is_empty() {
        Ok(None)
    } else {
        serde_json::from_slice::<Body>(payload).map(Some)
    };
    let event_id = body
        .as_ref()
        .ok()
        .and_then(Option::as_ref)
        .map(|b| b.event_id.clone())
        .unwrap_or_default();
    let broken = |error: &serde_json::Error| format!("invalid JSON: {error}");
    Some(match topic {
        Topic::Node { node, .. } => Request::Membership { node, event_id },
        Topic::Device {
            device,
            event: DeviceEvent::TwinGet,
        } => Request::Get { device, event_id },
        Topic::Device {
            device,
            event: DeviceEvent::TwinUpdate,
        } => {
            let updates = match body {
                Err(error) => Err(broken(&error)),
                Ok(body) => updates(body.and_then(|b| b.twin).unwrap_or_default()),
            };
            Request::Update {
                device,
                event_id,
                updates,
            }
        }
        Topic::Device {
            device,
            event: DeviceEvent::StateUpdate,
        } => {
            let state = match body {
                Err(error) => Err(broken(&error)),
                Ok(body) => state(body.and_then(|b| b.state).as_deref()),
            };
            Request::State {
                device,
                event_id,
                state,
            }
        }
        _ => return None,
    })
}

fn updates(
    twin: std::collections::BTreeMap<String, Option<TwinBody>>,
) -> Result<Vec<LocalUpdate>, String> {
    if twin.is_empty() {
        return Err("`twin` is missing or empty: expected {\"twin\": {\"PROPERTY\": {\"expected\": {\"value\": \"…\"}}}}".to_owned());
    }
    twin.into_iter()
        .map(|(property, body)| {
            let deleted = |body: &TwinBody| {
                body.metadata.as_ref().and_then(|m| m.get("type")).and_then(Json::as_str) == Some("deleted")
            };
            let body = body.filter(|body| !deleted(body)).ok_or_else(|| {
                format!("twin.{property}: a twin cannot be deleted over MQTT, remove the property from the Device")
            })?;
            let text = |value: Option<ValueBody>, which: &str| match value.and_then(|v| v.value) {
                None | Some(Json::Null) => Ok(None),
                Some(Json::String(text)) => Ok(Some(text)),
                // Clients in other languages send plain numbers and truth values.
                Some(other @ (Json::Number(_) | Json::Bool(_))) => Ok(Some(other.to_string())),
                Some(_) => Err(format!("twin.{property}.{which}.value: expected a string, number or boolean")),
            };
            let update = LocalUpdate {
                expected: text(body.expected, "expected")?,
                actual: text(body.actual, "actual")?,
                property,
            };
            if update.expected.is_none() && update.actual.is_none() {
                return Err(format!("twin.{}: neither `expected.value` nor `actual.value` is given", update.property));
            }
            Ok(update)
        })
        .collect()
}

fn state(state: Option<&str>) -> Result<DeviceState, String> {
    // KubeEdge's words; `ok` and `unhealthy` say that something answers.
    match state {
        Some("online" | "ok" | "unhealthy") => Ok(DeviceState::Online),
        Some("offline" | "disconnected") => Ok(DeviceState::Offline),
        Some("unknown") => Ok(DeviceState::Unknown),
        Some(other) => Err(format!(
            "state `{other}` is not one of online, offline, ok, unhealthy, disconnected, unknown"
        )),
        None => Err("`state` is missing".to_owned()),
    }
}

/// Where a request is answered, and the id that its answer repeats.
pub(super) fn answer_to(request: Request) -> (Topic, String) {
    match request {
        Request::Get { device, event_id } => {
            (Topic::device(&device, DeviceEvent::TwinGetResult), event_id)
        }
        Request::Update {
            device, event_id, ..
        } => (
            Topic::device(&device, DeviceEvent::TwinUpdateResult),
            event_id,
        ),
        Request::State {
            device, event_id, ..
        } => (
            Topic::device(&device, DeviceEvent::StateUpdateResult),
            event_id,
        ),
        Request::Membership { node, event_id } => {
            (Topic::node(node, NodeEvent::MembershipGetResult), event_id)
        }
    }
}

/// `twin/get/result` and `twin/update/result`.
pub(super) fn twin_result(
    event_id: &str,
    device: &DeviceReport,
    only: Option<&[String]>,
    now_ms: i64,
) -> Vec<u8> {
    let twin: Map<String, Json> = device
        .properties
        .iter()
        .filter(|property| {
            only.is_none_or(|names| names.iter().any(|name| **name == *property.name))
        })
        .map(|property| (property.name.to_string(), twin(property)))
        .collect();
    bytes(&json!({"event_id": event_id, "timestamp": now_ms, "twin": twin}))
}

/// Any `…/result` that reports a failure.
pub(super) fn failure(event_id: &str, failure: &Refusal, now_ms: i64) -> Vec<u8> {
    bytes(
        &json!({"event_id": event_id, "timestamp": now_ms, "code": failure.code, "reason": failure.reason}),
    )
}

/// `state/update/result`.
pub(super) fn state_result(event_id: &str, device: &DeviceReport, now_ms: i64) -> Vec<u8> {
    bytes(&json!({
        "event_id": event_id, "timestamp": now_ms,
        "device": {"name": device.name.name(), "state": device.state.as_str(), "last_online": last_online(device)},
    }))
}

/// `membership/get/result`.
pub(super) fn membership(event_id: &str, devices: &[DeviceReport], now_ms: i64) -> Vec<u8> {
    let devices: Vec<Json> = devices.iter().map(member).collect();
    bytes(&json!({"event_id": event_id, "timestamp": now_ms, "devices": devices}))
}

/// `membership/updated`.
pub(super) fn membership_updated(change: &MembershipChange, now_ms: i64) -> Vec<u8> {
    let (added, removed) = match change {
        MembershipChange::Added(device) => (vec![member(device)], vec![]),
        MembershipChange::Removed(name) => (
            vec![],
            vec![json!({"id": name.as_str(), "name": name.name()})],
        ),
    };
    bytes(
        &json!({"event_id": "", "timestamp": now_ms, "added_devices": added, "removed_devices": removed}),
    )
}

/// `twin/update/document`: each changed property before and after.
pub(super) fn document(change: &DeviceChange, now_ms: i64) -> Vec<u8> {
    let twin: Map<String, Json> = change
        .properties
        .iter()
        .map(|p| {
            (
                p.current.name.to_string(),
                json!({"last": twin(&p.last), "current": twin(&p.current)}),
            )
        })
        .collect();
    bytes(&json!({"event_id": "", "timestamp": now_ms, "twin": twin}))
}

/// `twin/update/delta`: the changed properties that are not as desired; `None` when all are.
pub(super) fn delta(change: &DeviceChange, now_ms: i64) -> Option<Vec<u8>> {
    let mut delta = Map::new();
    let mut twins = Map::new();
    for property in change.properties.iter().map(|p| &p.current) {
        let Some(desired) = &property.desired else {
            continue;
        };
        if property
            .value
            .as_ref()
            .is_none_or(|value| value.to_string() != desired.value)
        {
            delta.insert(property.name.to_string(), desired.value.clone().into());
            twins.insert(property.name.to_string(), twin(property));
        }
    }
    (!delta.is_empty()).then(|| {
        bytes(&json!({"event_id": "", "timestamp": now_ms, "twin": twins, "delta": delta}))
    })
}

fn member(device: &DeviceReport) -> Json {
    json!({
        "id": device.name.as_str(), "name": device.name.name(), "description": "",
        "state": device.state.as_str(), "last_online": last_online(device), "attributes": {},
        "twin": device.properties.iter().map(|p| (p.name.to_string(), twin(p))).collect::<Map<_, _>>(),
    })
}

fn last_online(device: &DeviceReport) -> String {
    device
        .last_online_ms
        .map(|ms| ms.to_string())
        .unwrap_or_default()
}

/// One twin. Quality and reason stand in `actual.metadata`, where KubeEdge leaves room.
fn twin(property: &PropertyReport) -> Json {
    let mut twin = Map::new();
    if let Some(desired) = &property.desired {
        twin.insert(
            "expected".into(),
            json!({"value": desired.value, "metadata": {"timestamp": desired.time_ms}}),
        );
    }
    if let Some(value) = &property.value {
        let mut metadata = Map::new();
        metadata.insert(
            "timestamp".into(),
            property.source_time_ms.unwrap_or_default().into(),
        );
        if property.quality != Quality::Good {
            metadata.insert("quality".into(), property.quality.as_str().into());
            metadata.insert("reason".into(), property.reason.as_str().into());
        }
        twin.insert(
            "actual".into(),
            json!({"value": value.to_string(), "metadata": metadata}),
        );
    }
    twin.insert("optional".into(), false.into());
    twin.insert(
        "metadata".into(),
        json!({"type": property.value_type.map_or("", PropertyType::metadata_name)}),
    );
    if let Some(desired) = &property.desired {
        twin.insert("expected_version".into(), version(desired));
    }
    twin.insert(
        "actual_version".into(),
        json!({"cloud": 0, "edge": property.version}),
    );
    Json::Object(twin)
}

fn version(desired: &DesiredReport) -> Json {
    let (cloud, edge) = if desired.local {
        (0, desired.version)
    } else {
        (desired.version, 0)
    };
    json!({"cloud": cloud, "edge": edge})
}

fn bytes(json: &Json) -> Vec<u8> {
    json.to_string().into_bytes()
}
