//! What Longshore says in `status.extensions`, where the API leaves room.

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{FreeObject, is_default, or_default};
use crate::{
    event::Severity,
    fault::Fault,
    time::Timestamp,
    value::{Quality, Reason},
};

/// What Longshore adds to a DeviceStatus.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Extensions {
    /// The twins in one line, for `kubectl get`. Filled in by
    /// [`super::DeviceStatusStatus::set_extensions`].
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub summary: String,
    /// `Reachable`, `ConfigValid` and what else is known of the whole device.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub conditions: Vec<Condition>,
    /// What is known of each property beside its value.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub properties: Vec<PropertyStatus>,
    /// Doubts about the configuration, and faults in it.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub warnings: Vec<Fault>,
    /// Events that are active, and those that were.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub events: Vec<EventReport>,
}

/// An event that is active, or was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventReport {
    /// Its name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Whether it is active.
    pub active: bool,
    /// How bad it is.
    pub severity: Severity,
    /// For people.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message: String,
    /// Since when it is active, or is not any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// One thing that is true, false or not known of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is said, in CamelCase: `Reachable`, `ConfigValid`.
    #[serde(rename = "type")]
    pub condition: String,
    /// Whether it is so.
    pub status: ConditionStatus,
    /// Why, in one CamelCase word.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "is_default"
    )]
    pub reason: String,
    /// Why, for people.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "is_default"
    )]
    pub message: String,
    /// When `status` changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Timestamp>,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody can tell.
    #[default]
    Unknown,
}

/// What is known of a property beside its value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PropertyStatus {
    /// The property.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// How far the value can be trusted.
    pub quality: Quality,
    /// Why it is not good.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub reason: Reason,
    /// When the value was so, by the device or the mapper.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_time: Option<Timestamp>,
    /// When a read succeeded last, changed or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_read: Option<Timestamp>,
    /// The last thing that went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The desired value in force, from the cloud or from a local client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<String>,
    /// Who gave it: `device` (the Device's spec) or `local` (a client of the node's bus).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_by: Option<String>,
    /// What became of the last write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<WriteStatus>,
}

/// What became of a write.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WriteStatus {
    /// How far it came.
    pub state: WriteState,
    /// Why it failed, or what it waits for.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub message: String,
    /// When it came to this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
}

/// How far a write came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WriteState {
    /// Not confirmed yet.
    #[default]
    Pending,
    /// The device has the value.
    Confirmed,
    /// It was refused, or given up: the device does not have the value, and is
    /// not asked again.
    Failed,
    /// It may have reached the device or not, and nothing tells: the line broke in
    /// between. A command is not sent again.
    Unknown,
}

impl Extensions {
    /// Reads what can be read and passes over the rest.
    pub fn from_object(object: &FreeObject) -> Self {
        Self {
            summary: object
                .get("summary")
                .and_then(|v| v.as_str())
                .unwrap_or_default()
                .to_owned(),
            conditions: each(object, "conditions"),
            properties: each(object, "properties"),
            warnings: each(object, "warnings"),
            events: each(object, "events"),
        }
    }

    /// Writes the five keys into `object`; what is empty is taken out.
    pub fn write_into(&self, object: &mut FreeObject) {
        put(object, "summary", &self.summary);
        put(object, "conditions", &self.conditions);
        put(object, "properties", &self.properties);
        put(object, "warnings", &self.warnings);
        put(object, "events", &self.events);
    }

    /// The report on one property.
    pub fn property(&self, name: &str) -> Option<&PropertyStatus> {
        self.properties
            .iter()
            .find(|property| property.name == name)
    }

    /// One condition.
    pub fn condition(&self, name: &str) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.condition == name)
    }
}

impl WriteState {
    /// The spelling of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for WriteState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ConditionStatus {
    /// The spelling of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for ConditionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn each<T: DeserializeOwned>(object: &FreeObject, key: &str) -> Vec<T> {
    let items = object
        .get(key)
        .and_then(|v| v.as_array())
        .map(Vec::as_slice)
        .unwrap_or_default();
    items
        .iter()
        .filter_map(|item| T::deserialize(item).ok())
        .collect()
}

fn put<T: Serialize + Default + PartialEq>(object: &mut FreeObject, key: &str, value: &T) {
    if is_default(value) {
        object.remove(key);
    } else {
        // Plain structs of strings, numbers and lists always have a JSON form.
        object.insert(
            key.to_owned(),
            serde_json::to_value(value).unwrap_or_default(),
        );
    }
}
