use bytes::Bytes;
use longshore_types::{
    DeviceName, Fault, Level, Quality, Reason, Timestamp, Value,
    device::{Condition, ConditionStatus, EventReport, PropertyType, WriteState},
    event::Severity,
    report::{DesiredReport, DeviceReport, DeviceState, PropertyReport},
};
use prost::Message;

use crate::frame::DecodeError;
use crate::up::{MAX_SCHEMA_BYTES, MapperReport, NodeAddress, NodeReport, SchemaReport, Up};
use crate::wire::{self, property, up::Body};

impl Up {
    /// The payload of a record of the outbox.
    pub fn encode(&self) -> Bytes {
        let body = match self {
            Self::Reported(reported) => Some(Body::Reported(reported.into())),
            Self::Node(node) => Some(Body::Node(node.into())),
            Self::Schema(schema) => Some(Body::Schema(wire::Schema {
                protocol: schema.protocol.clone(),
                text: schema.text.clone(),
            })),
            Self::Samples(samples) => Some(Body::Samples(samples.into())),
            Self::Unknown => None,
        };
        wire::Up { body }.encode_to_vec().into()
    }

    /// Reads a record's payload.
    ///
    /// # Errors
    /// It is not a report, or one that makes no sense.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(match wire::Up::decode(payload)?.body {
            None => Self::Unknown,
            Some(Body::Reported(reported)) => Self::Reported(reported.try_into()?),
            Some(Body::Node(node)) => Self::Node(node.into()),
            Some(Body::Schema(schema)) => Self::Schema(schema.try_into()?),
            Some(Body::Samples(samples)) => Self::Samples(samples.try_into()?),
        })
    }
}

impl TryFrom<wire::Schema> for SchemaReport {
    type Error = DecodeError;

    fn try_from(schema: wire::Schema) -> Result<Self, DecodeError> {
        if schema.protocol.is_empty() {
            return Err(DecodeError::Missing("schema.protocol"));
        }
        if schema.text.len() > MAX_SCHEMA_BYTES {
            return Err(DecodeError::Invalid {
                field: "schema.text",
                value: format!("{} bytes", schema.text.len()),
            });
        }
        Ok(Self {
            protocol: schema.protocol.to_ascii_lowercase(),
            text: schema.text,
        })
    }
}

impl From<&DeviceReport> for wire::Reported {
    fn from(reported: &DeviceReport) -> Self {
        Self {
            namespace: reported.name.namespace().to_owned(),
            name: reported.name.name().to_owned(),
            uid: reported.uid.clone(),
            state: reported.state.as_str().to_owned(),
            last_online_ms: reported.last_online_ms,
            properties: reported.properties.iter().map(Into::into).collect(),
            conditions: reported.conditions.iter().map(wire_condition).collect(),
            warnings: reported.warnings.iter().map(wire_fault).collect(),
            events: reported.events.iter().map(wire_event).collect(),
            fingerprint: reported.fingerprint,
        }
    }
}

impl TryFrom<wire::Reported> for DeviceReport {
    type Error = DecodeError;

    fn try_from(reported: wire::Reported) -> Result<Self, DecodeError> {
        let name = DeviceName::new(&reported.namespace, &reported.name).map_err(|source| {
            DecodeError::Name {
                field: "reported.name",
                source,
            }
        })?;
        let properties = reported
            .properties
            .into_iter()
            .map(PropertyReport::try_from)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            name,
            uid: reported.uid,
            state: DeviceState::from_word(&reported.state),
            last_online_ms: reported.last_online_ms,
            properties,
            conditions: reported
                .conditions
                .into_iter()
                .map(domain_condition)
                .collect(),
            warnings: reported.warnings.into_iter().map(domain_fault).collect(),
            events: reported.events.into_iter().map(domain_event).collect(),
            fingerprint: reported.fingerprint,
        })
    }
}

impl From<&PropertyReport> for wire::Property {
    fn from(report: &PropertyReport) -> Self {
        let desired = report.desired.as_ref();
        Self {
            name: report.name.to_string(),
            value: report.value.as_ref().map(wire_value),
            text: report.text(),
            data_type: report
                .value_type
                .map_or("", PropertyType::metadata_name)
                .to_owned(),
            quality: quality_code(report.quality),
            reason: reason_code(report.reason),
            source_time_ms: report.source_time_ms,
            last_read_ms: report.last_read_ms,
            last_error: report.last_error.clone(),
            desired: desired.map(|desired| desired.value.clone()),
            desired_local: desired.is_some_and(|desired| desired.local),
            write: desired.map(|desired| wire::Write {
                phase: match desired.write {
                    WriteState::Pending => 0,
                    WriteState::Confirmed => 1,
                    WriteState::Failed | WriteState::Unknown => 2,
                },
                unknown: desired.write == WriteState::Unknown,
                message: desired.message.clone(),
                time_ms: desired.since_ms,
            }),
        }
    }
}

impl TryFrom<wire::Property> for PropertyReport {
    type Error = DecodeError;

    fn try_from(report: wire::Property) -> Result<Self, DecodeError> {
        if report.name.is_empty() {
            return Err(DecodeError::Missing("reported.properties.name"));
        }
        let write = report.write.unwrap_or_default();
        let state = match write.phase {
            0 => WriteState::Pending,
            1 => WriteState::Confirmed,
            2 if write.unknown => WriteState::Unknown,
            2 => WriteState::Failed,
            other => {
                return Err(DecodeError::Invalid {
                    field: "write.phase",
                    value: other.to_string(),
                });
            }
        };
        Ok(Self {
            value: report.value.map(domain_value),
            value_type: PropertyType::from_word(&report.data_type),
            quality: quality_of(report.quality),
            reason: reason_of(report.reason),
            source_time_ms: report.source_time_ms,
            last_read_ms: report.last_read_ms,
            last_error: report.last_error,
            desired: report.desired.map(|value| DesiredReport {
                value,
                local: report.desired_local,
                write: state,
                message: write.message,
                since_ms: write.time_ms,
                ..DesiredReport::default()
            }),
            ..Self::new(report.name)
        })
    }
}

fn wire_fault(fault: &Fault) -> wire::Fault {
    wire::Fault {
        path: fault.path.clone(),
        message: fault.message.clone(),
        error: fault.is_error(),
    }
}

fn domain_fault(fault: wire::Fault) -> Fault {
    let level = if fault.error {
        Level::Error
    } else {
        Level::Warning
    };
    Fault {
        path: fault.path,
        message: fault.message,
        level,
    }
}

fn wire_event(event: &EventReport) -> wire::Event {
    wire::Event {
        name: event.name.clone(),
        active: event.active,
        severity: match event.severity {
            Severity::Info => 0,
            Severity::Minor => 1,
            Severity::Major => 2,
            Severity::Critical => 3,
        },
        message: event.message.clone(),
        since_ms: event.since.map_or(0, Timestamp::as_millis),
    }
}

fn domain_event(event: wire::Event) -> EventReport {
    EventReport {
        name: event.name,
        active: event.active,
        severity: match event.severity {
            0 => Severity::Info,
            2 => Severity::Major,
            3 => Severity::Critical,
            // 1, and severities of a later version.
            _ => Severity::Minor,
        },
        message: event.message,
        since: Some(Timestamp::from_millis(event.since_ms)),
    }
}

pub(super) fn wire_value(value: &Value) -> property::Value {
    match value {
        Value::Bool(v) => property::Value::Bool(*v),
        Value::Int(v) => property::Value::Int(*v),
        Value::Uint(v) => property::Value::Uint(*v),
        Value::Float(v) => property::Value::Float(*v),
        Value::String(v) => property::Value::String(v.to_string()),
        Value::Bytes(v) => property::Value::Bytes(v.to_vec()),
    }
}

pub(super) fn domain_value(value: property::Value) -> Value {
    match value {
        property::Value::Bool(v) => Value::Bool(v),
        property::Value::Int(v) => Value::Int(v),
        property::Value::Uint(v) => Value::Uint(v),
        property::Value::Float(v) => Value::Float(v),
        property::Value::String(v) => Value::String(v.into()),
        property::Value::Bytes(v) => Value::Bytes(v.into()),
    }
}

pub(super) fn quality_code(quality: Quality) -> u32 {
    match quality {
        Quality::Good => 0,
        Quality::Uncertain => 1,
        Quality::Bad => 2,
    }
}

pub(super) fn quality_of(code: u32) -> Quality {
    match code {
        0 => Quality::Good,
        2 => Quality::Bad,
        _ => Quality::Uncertain,
    }
}

pub(super) fn reason_code(reason: Reason) -> u32 {
    match reason {
        Reason::None => 0,
        Reason::Line => 1,
        Reason::Timeout => 2,
        Reason::Refused => 3,
        Reason::Config => 4,
        Reason::Decode => 5,
        Reason::Stale => 6,
        Reason::Range => 7,
        Reason::Sensor => 8,
        // No twin has it.
        Reason::WriteOnly => 0,
    }
}

pub(super) fn reason_of(code: u32) -> Reason {
    match code {
        1 => Reason::Line,
        2 => Reason::Timeout,
        3 => Reason::Refused,
        4 => Reason::Config,
        5 => Reason::Decode,
        6 => Reason::Stale,
        7 => Reason::Range,
        8 => Reason::Sensor,
        // 0, and reasons of a later version: the quality still tells.
        _ => Reason::None,
    }
}

fn wire_condition(condition: &Condition) -> wire::Condition {
    wire::Condition {
        kind: condition.condition.clone(),
        status: match condition.status {
            ConditionStatus::Unknown => 0,
            ConditionStatus::True => 1,
            ConditionStatus::False => 2,
        },
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        since_ms: condition
            .last_transition_time
            .map_or(0, Timestamp::as_millis),
    }
}

fn domain_condition(condition: wire::Condition) -> Condition {
    Condition {
        condition: condition.kind,
        status: match condition.status {
            1 => ConditionStatus::True,
            2 => ConditionStatus::False,
            _ => ConditionStatus::Unknown,
        },
        reason: condition.reason,
        message: condition.message,
        last_transition_time: Some(Timestamp::from_millis(condition.since_ms)),
    }
}

impl From<&NodeReport> for wire::NodeReport {
    fn from(node: &NodeReport) -> Self {
        let pair = |key: &String, value: &String| wire::Pair {
            key: key.clone(),
            value: value.clone(),
        };
        Self {
            labels: node
                .labels
                .iter()
                .map(|(key, value)| pair(key, value))
                .collect(),
            os: node.os.clone(),
            architecture: node.architecture.clone(),
            version: node.version.clone(),
            kernel: node.kernel.clone(),
            os_image: node.os_image.clone(),
            machine_id: node.machine_id.clone(),
            boot_id: node.boot_id.clone(),
            cpus: node.cpus,
            memory_bytes: node.memory_bytes,
            addresses: node
                .addresses
                .iter()
                .map(|a| pair(&a.kind, &a.address))
                .collect(),
            mappers: node.mappers.iter().map(Into::into).collect(),
        }
    }
}

impl From<wire::NodeReport> for NodeReport {
    fn from(node: wire::NodeReport) -> Self {
        let address = |pair: wire::Pair| NodeAddress {
            kind: pair.key,
            address: pair.value,
        };
        Self {
            labels: node
                .labels
                .into_iter()
                .map(|pair| (pair.key, pair.value))
                .collect(),
            os: node.os,
            architecture: node.architecture,
            version: node.version,
            kernel: node.kernel,
            os_image: node.os_image,
            machine_id: node.machine_id,
            boot_id: node.boot_id,
            cpus: node.cpus,
            memory_bytes: node.memory_bytes,
            addresses: node.addresses.into_iter().map(address).collect(),
            mappers: node.mappers.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<&MapperReport> for wire::Mapper {
    fn from(mapper: &MapperReport) -> Self {
        Self {
            name: mapper.name.clone(),
            protocol: mapper.protocol.clone(),
            version: mapper.version.clone(),
            state: mapper.state.clone(),
            message: mapper.message.clone(),
            schema: mapper.schema,
        }
    }
}

impl From<wire::Mapper> for MapperReport {
    fn from(mapper: wire::Mapper) -> Self {
        Self {
            name: mapper.name,
            protocol: mapper.protocol,
            version: mapper.version,
            state: mapper.state,
            message: mapper.message,
            schema: mapper.schema,
        }
    }
}
