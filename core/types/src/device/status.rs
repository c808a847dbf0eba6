//! `DeviceStatus`: what is known of a device.

use serde::{Deserialize, Serialize};

use super::{
    Extensions, FreeObject, TwinProperty, is_default,
    meta::{ApiVersion, Kind, Named, ObjectMeta},
    or_default,
};

/// What is known of a device; it has the device's name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceStatus {
    /// Always `devices.kubeedge.io/v1beta1`.
    pub api_version: ApiVersion,
    /// Always `DeviceStatus`.
    pub kind: Kind<DeviceStatus>,
    /// Name, labels and so on.
    #[serde(deserialize_with = "or_default")]
    pub metadata: ObjectMeta,
    /// Empty.
    #[serde(deserialize_with = "or_default")]
    pub spec: DeviceStatusSpec,
    /// State and twins.
    #[serde(deserialize_with = "or_default")]
    pub status: DeviceStatusStatus,
}

/// Nothing: the API has an empty object here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceStatusSpec {}

/// State and twins of a device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceStatusStatus {
    /// The twins.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub twins: Vec<Twin>,
    /// `online`, `offline`, `unknown`, `ok` or `unhealthy`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub state: String,
    /// RFC 3339.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub last_online_time: String,
    /// What Longshore has to add; see [`DeviceStatusStatus::extensions`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extensions: Option<FreeObject>,
}

/// Desired and reported value of one property.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Twin {
    /// The property.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub property_name: String,
    /// The last value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<TwinProperty>,
    /// The desired value as the edge has seen it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_desired: Option<TwinProperty>,
}

impl Named for DeviceStatus {
    const KIND: &'static str = "DeviceStatus";
}

impl DeviceStatusStatus {
    /// What Longshore has added, as far as it can be read: somebody else may
    /// use the same free object for other things.
    pub fn extensions(&self) -> Extensions {
        let Some(object) = &self.extensions else {
            return Extensions::default();
        };
        Extensions::from_object(object)
    }

    /// Puts `extensions` in, with a summary of the twins for `kubectl get`.
    /// Keys of others stay.
    pub fn set_extensions(&mut self, mut extensions: Extensions) {
        extensions.summary = self.summary();
        let mut object = self.extensions.take().unwrap_or_default();
        extensions.write_into(&mut object);
        self.extensions = Some(object);
    }

    /// `temperature=21.5 setpoint=60 …`, cut where a line gets too long.
    pub fn summary(&self) -> String {
        const MAX: usize = 100;
        let mut text = String::new();
        for twin in &self.twins {
            let Some(reported) = &twin.reported else {
                continue;
            };
            let more = twin.property_name.len() + reported.value.len() + 2;
            if text.len() + more > MAX {
                text.push_str(if text.is_empty() { "…" } else { " …" });
                break;
            }
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&twin.property_name);
            text.push('=');
            text.push_str(&reported.value);
        }
        text
    }
}
