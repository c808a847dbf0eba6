//! The device API, `devices.kubeedge.io/v1beta1`, field by field.
//!
//! Reading is as tolerant as an API client's: fields that are not known here
//! are passed over and `null` is the same as absent. Files that people write
//! go through [`crate::manifest`], which is strict. Writing leaves out what is
//! empty, as KubeEdge does.

mod extensions;
mod instance;
mod meta;
mod model;
mod push;
mod status;

use serde::{Deserialize, Deserializer};

pub use extensions::{
    Condition, ConditionStatus, EventReport, Extensions, PropertyStatus, WriteState, WriteStatus,
};
pub use instance::{
    Device, DeviceMethod, DeviceProperty, DeviceSpec, LocalObjectReference, ProtocolConfig,
    StateReport, TwinProperty, VisitorConfig,
};
pub use meta::{ApiVersion, Kind, ListMeta, ObjectList, ObjectMeta};
pub use model::{AccessMode, DeviceModel, DeviceModelSpec, ModelProperty};
pub use push::{
    DbMethod, Influxdb2, Influxdb2ClientConfig, Influxdb2DataConfig, Kwdb, KwdbClientConfig, Mysql,
    MysqlClientConfig, PushHttp, PushMethod, PushMqtt, PushOtel, Redis, RedisClientConfig,
    TdEngine, TdEngineClientConfig,
};
pub use status::{DeviceStatus, DeviceStatusSpec, DeviceStatusStatus, Twin};

pub use crate::property_type::PropertyType;

/// The API group of the three kinds.
pub const GROUP: &str = "devices.kubeedge.io";
/// Its version.
pub const VERSION: &str = "v1beta1";
/// Group and version as manifests write them.
pub const API_VERSION: &str = "devices.kubeedge.io/v1beta1";

/// An object whose keys the API does not prescribe.
pub type FreeObject = serde_json::Map<String, serde_json::Value>;

/// Reads `null` as absent, as Go's decoder does.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
