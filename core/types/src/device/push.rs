//! `pushMethod`: where else a property's values go.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{FreeObject, is_default, or_default};

/// Where else a property's values go.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushMethod {
    /// Posted to a web server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<PushHttp>,
    /// Published to an MQTT broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt: Option<PushMqtt>,
    /// Sent to an OpenTelemetry collector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otel: Option<PushOtel>,
    /// Written to a database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub db_method: Option<DbMethod>,
    /// Handed to a service that looks for anomalies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anomaly_detection: Option<FreeObject>,
}

/// Writing values to a database.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DbMethod {
    /// InfluxDB 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub influxdb2: Option<Influxdb2>,
    /// Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// TDengine; the spelling is the API's.
    #[serde(rename = "TDEngine", skip_serializing_if = "Option::is_none")]
    pub tdengine: Option<TdEngine>,
    /// MySQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mysql: Option<Mysql>,
    /// KWDB; newer than KubeEdge 1.23, read so that its manifests load too.
    #[serde(rename = "Kwdb", skip_serializing_if = "Option::is_none")]
    pub kwdb: Option<Kwdb>,
}

/// Posting values to a web server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushHttp {
    /// Name or address of the server.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub host_name: String,
    /// TCP port.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub port: i64,
    /// Path of the request.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub request_path: String,
    /// Time limit.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub timeout: i64,
}

/// Publishing values to an MQTT broker.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushMqtt {
    /// The broker.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub address: String,
    /// The topic.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub topic: String,
    /// Quality of service, 0 to 2.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub qos: i32,
    /// Whether the broker keeps the last value.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub retained: bool,
}

/// Sending values to an OpenTelemetry collector.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PushOtel {
    /// The collector.
    #[serde(
        rename = "endpointURL",
        deserialize_with = "or_default",
        skip_serializing_if = "is_default"
    )]
    pub endpoint_url: String,
}

/// InfluxDB 2.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Influxdb2 {
    /// The server.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub influxdb2_client_config: Influxdb2ClientConfig,
    /// How values are stored.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub influxdb2_data_config: Influxdb2DataConfig,
}

/// An InfluxDB 2 server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Influxdb2ClientConfig {
    /// Its address.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub url: String,
    /// The organisation.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub org: String,
    /// The bucket.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub bucket: String,
}

/// How values are stored in InfluxDB 2.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Influxdb2DataConfig {
    /// The measurement.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub measurement: String,
    /// Tags.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub tag: BTreeMap<String, String>,
    /// The field.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub field_key: String,
}

/// Redis.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Redis {
    /// The server.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub redis_client_config: RedisClientConfig,
}

/// A Redis server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RedisClientConfig {
    /// Its address.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub addr: String,
    /// Number of the database.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub db: i64,
    /// Connections at most.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub poolsize: i64,
    /// Connections kept open.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub min_idle_conns: i64,
}

/// TDengine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TdEngine {
    /// The server.
    #[serde(
        rename = "TDEngineClientConfig",
        deserialize_with = "or_default",
        skip_serializing_if = "is_default"
    )]
    pub tdengine_client_config: TdEngineClientConfig,
}

/// A TDengine server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TdEngineClientConfig {
    /// Its address.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub addr: String,
    /// Name of the database.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub db_name: String,
}

/// MySQL.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mysql {
    /// The server.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub mysql_client_config: MysqlClientConfig,
}

/// A MySQL server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MysqlClientConfig {
    /// Its address.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub addr: String,
    /// Name of the database.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub database: String,
    /// Name of the user.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub user_name: String,
}

/// KWDB.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Kwdb {
    /// The server.
    #[serde(
        rename = "KWDBClientConfig",
        deserialize_with = "or_default",
        skip_serializing_if = "is_default"
    )]
    pub kwdb_client_config: KwdbClientConfig,
}

/// A KWDB server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KwdbClientConfig {
    /// Its address.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub addr: String,
    /// Name of the database.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub db_name: String,
}
