//! `Device`: one device, the model it follows and the node it hangs on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    FreeObject, PushMethod, is_default,
    meta::{ApiVersion, Kind, Named, ObjectMeta},
    or_default,
};
use crate::name::{DeviceName, InvalidName};

/// One device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    /// Always `devices.kubeedge.io/v1beta1`.
    pub api_version: ApiVersion,
    /// Always `Device`.
    pub kind: Kind<Device>,
    /// Name, labels and so on.
    #[serde(deserialize_with = "or_default")]
    pub metadata: ObjectMeta,
    /// What is wanted.
    #[serde(deserialize_with = "or_default")]
    pub spec: DeviceSpec,
    /// How often the state is reported; KubeEdge keeps it for a transition.
    /// The state itself is in [`super::DeviceStatus`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<StateReport>,
}

/// What is wanted of a device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceSpec {
    /// The model, in the same namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_model_ref: Option<LocalObjectReference>,
    /// The node that the device hangs on.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub node_name: String,
    /// The properties that are used; each must be in the model. None means all of
    /// them: see [`Device::properties`].
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub properties: Vec<DeviceProperty>,
    /// How to reach the device.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub protocol: ProtocolConfig,
    /// Groups of properties under a name.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub methods: Vec<DeviceMethod>,
    /// Whether and how often the device's state is reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_report: Option<StateReport>,
}

/// The name of another object in the same namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LocalObjectReference {
    /// The name.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub name: String,
}

/// One property of a device. An omitted number is 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceProperty {
    /// Name of the property in the model.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub name: String,
    /// The value that it should have. An empty value is none: Go clients
    /// write `desired: {value: ""}` on each property that has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<TwinProperty>,
    /// Where and how to read it; over what the model says.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub visitors: VisitorConfig,
    /// Milliseconds between two reports to the push method.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub report_cycle: i64,
    /// Milliseconds between two reads; 0 is a second.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub collect_cycle: i64,
    /// Whether the cloud gets the values. KubeEdge reads an omitted one as
    /// false, so that a new user sees nothing; here omitted means true and
    /// only a written `false` switches it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report_to_cloud: Option<bool>,
    /// Where else the values go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push_method: Option<PushMethod>,
}

/// A value as text, with what is known about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TwinProperty {
    /// The value. Written even if empty, because the API requires it.
    #[serde(deserialize_with = "or_default")]
    pub value: String,
    /// `timestamp` (milliseconds) and `type` among others.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub metadata: BTreeMap<String, String>,
}

/// Where and how a property is read and written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VisitorConfig {
    /// Name of the protocol; the device's own if empty.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub protocol_name: String,
    /// What the mapper and the twin engine ([`crate::policy`]) need to know.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub config_data: FreeObject,
}

/// How a device is reached.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProtocolConfig {
    /// Name of the protocol; the model's if empty.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub protocol_name: String,
    /// What the mapper needs to know; over the model's `protocolConfigData`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub config_data: FreeObject,
}

/// Properties that are written together under one name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceMethod {
    /// The method's name.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub name: String,
    /// What it is for.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub description: String,
    /// The properties that it writes.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub property_names: Vec<String>,
}

/// Whether and how often a device's state is reported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StateReport {
    /// Omitted means true, see [`DeviceProperty::report_to_cloud`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report_to_cloud: Option<bool>,
    /// Milliseconds.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub report_cycle: i64,
}

impl Named for Device {
    const KIND: &'static str = "Device";
}

impl Device {
    /// Namespace and name; an absent namespace is `default`.
    pub fn device_name(&self) -> Result<DeviceName, InvalidName> {
        DeviceName::new(self.metadata.namespace_or_default(), &self.metadata.name)
    }

    /// Name of the model; empty if the device names none.
    pub fn model_name(&self) -> &str {
        self.spec
            .device_model_ref
            .as_ref()
            .map_or("", |reference| &reference.name)
    }
}

impl DeviceProperty {
    /// The desired value, if there is one.
    pub fn desired_value(&self) -> Option<&str> {
        self.desired
            .as_ref()
            .map(|desired| desired.value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Whether the cloud gets the values; omitted means that it does.
    pub fn reports_to_cloud(&self) -> bool {
        self.report_to_cloud.unwrap_or(true)
    }
}

impl ObjectMeta {
    /// The namespace, `default` if it is empty.
    pub fn namespace_or_default(&self) -> &str {
        if self.namespace.is_empty() {
            "default"
        } else {
            &self.namespace
        }
    }
}
