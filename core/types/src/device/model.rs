//! `DeviceModel`: what devices of one kind have in common.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    FreeObject, PropertyType, VisitorConfig, is_default,
    meta::{ApiVersion, Kind, Named, ObjectMeta},
    or_default,
};

/// What devices of one kind have in common.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceModel {
    /// Always `devices.kubeedge.io/v1beta1`.
    pub api_version: ApiVersion,
    /// Always `DeviceModel`.
    pub kind: Kind<DeviceModel>,
    /// Name, labels and so on.
    #[serde(deserialize_with = "or_default")]
    pub metadata: ObjectMeta,
    /// The description.
    #[serde(deserialize_with = "or_default")]
    pub spec: DeviceModelSpec,
}

/// Properties and protocol of a kind of device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceModelSpec {
    /// What can be read and written.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub properties: Vec<ModelProperty>,
    /// The protocol that the devices speak.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub protocol: String,
    /// Defaults for the devices' `protocol.configData`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol_config_data: Option<FreeObject>,
}

/// One property of a kind of device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelProperty {
    /// The name; streams must be called `saveFrame` or `saveVideo`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub name: String,
    /// What it is.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub description: String,
    /// Type of the twin's value. Absent where a manifest left it out.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub value_type: Option<PropertyType>,
    /// Whether it may be written. KubeEdge gives no default; absent is read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_mode: Option<AccessMode>,
    /// Least value, as text.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub minimum: String,
    /// Greatest value, as text.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub maximum: String,
    /// The unit.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub unit: String,
    /// Default for the devices' `visitors`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visitors: Option<VisitorConfig>,
}

/// Whether a property may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum AccessMode {
    /// It may be read and written.
    ReadWrite,
    /// It may only be read.
    #[default]
    ReadOnly,
}

impl Named for DeviceModel {
    const KIND: &'static str = "DeviceModel";
}

impl AccessMode {
    /// The API's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadWrite => "ReadWrite",
            Self::ReadOnly => "ReadOnly",
        }
    }
}

impl fmt::Display for AccessMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
