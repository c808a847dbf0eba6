//! `DeviceModel`: what devices of one kind have in common.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    FreeObject, VisitorConfig, is_default,
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

/// Type of a property's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PropertyType {
    /// A whole number of up to 64 bits.
    Int,
    /// A number; 32 bits in KubeEdge's mappers.
    Float,
    /// A number of 64 bits.
    Double,
    /// Text.
    String,
    /// A truth value.
    Boolean,
    /// Raw bytes, base64 as text.
    Bytes,
    /// Pictures; not a twin value.
    Stream,
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

impl PropertyType {
    /// All types, in the order of the API.
    pub const ALL: [Self; 7] = [
        Self::Int,
        Self::Float,
        Self::Double,
        Self::String,
        Self::Boolean,
        Self::Bytes,
        Self::Stream,
    ];

    /// The API's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Int => "INT",
            Self::Float => "FLOAT",
            Self::Double => "DOUBLE",
            Self::String => "STRING",
            Self::Boolean => "BOOLEAN",
            Self::Bytes => "BYTES",
            Self::Stream => "STREAM",
        }
    }

    /// `int`, `float`, … as the twin's metadata says it.
    pub fn metadata_name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Float => "float",
            Self::Double => "double",
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::Bytes => "bytes",
            Self::Stream => "stream",
        }
    }

    /// Reads either spelling.
    pub fn from_word(word: &str) -> Option<Self> {
        let spells = |kind: &Self| kind.as_str().eq_ignore_ascii_case(word);
        Self::ALL.into_iter().find(spells)
    }

    /// Whether its values are numbers.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Float | Self::Double)
    }
}

impl fmt::Display for PropertyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
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
