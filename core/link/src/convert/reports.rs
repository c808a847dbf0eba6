use bytes::Bytes;
use longshore_types::{DeviceName, Fault, Level, Quality, Reason, Value, event::Severity};
use prost::Message;

use crate::frame::DecodeError;
use crate::up::{
    Condition, ConditionStatus, EventReport, MAX_SCHEMA_BYTES, MapperReport, NodeAddress,
    NodeReport, PropertyReport, Reported, SchemaReport, Up, WritePhase, WriteReport,
};
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

impl From<&Reported> for wire::Reported {
    fn from(reported: &Reported) -> Self {
        Self {
            namespace: reported.device.namespace().to_owned(),
            name: reported.device.name().to_owned(),
            uid: reported.uid.clone(),
            state: reported.state.clone(),
            last_online_ms: reported.last_online_ms,
            properties: reported.properties.iter().map(Into::into).collect(),
            conditions: reported.conditions.iter().map(Into::into).collect(),
            warnings: reported.warnings.iter().map(wire_fault).collect(),
            events: reported.events.iter().map(wire_event).collect(),
            fingerprint: reported.fingerprint,
        }
    }
}

impl TryFrom<wire::Reported> for Reported {
    type Error = DecodeError;

    fn try_from(reported: wire::Reported) -> Result<Self, DecodeError> {
        let device = DeviceName::new(&reported.namespace, &reported.name).map_err(|source| {
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
            device,
            uid: reported.uid,
            state: reported.state,
            last_online_ms: reported.last_online_ms,
            properties,
            conditions: reported.conditions.into_iter().map(Into::into).collect(),
            warnings: reported.warnings.into_iter().map(domain_fault).collect(),
            events: reported.events.into_iter().map(domain_event).collect(),
            fingerprint: reported.fingerprint,
        })
    }
}

impl From<&PropertyReport> for wire::Property {
    fn from(report: &PropertyReport) -> Self {
        Self {
            name: report.name.clone(),
            value: report.value.as_ref().map(wire_value),
            text: report.text.clone(),
            data_type: report.data_type.clone(),
            quality: match report.quality {
                Quality::Good => 0,
                Quality::Uncertain => 1,
                Quality::Bad => 2,
            },
            reason: reason_code(report.reason),
            source_time_ms: report.source_time_ms,
            last_read_ms: report.last_read_ms,
            last_error: report.last_error.clone(),
            desired: report.desired.clone(),
            desired_local: report.desired_local,
            write: report.write.as_ref().map(|write| wire::Write {
                phase: match write.phase {
                    WritePhase::Pending => 0,
                    WritePhase::Confirmed => 1,
                    WritePhase::Failed => 2,
                },
                message: write.message.clone(),
                time_ms: write.time_ms,
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
        let write = report.write.map(|write| {
            let phase = match write.phase {
                0 => WritePhase::Pending,
                1 => WritePhase::Confirmed,
                2 => WritePhase::Failed,
                other => {
                    return Err(DecodeError::Invalid {
                        field: "write.phase",
                        value: other.to_string(),
                    });
                }
            };
            Ok(WriteReport {
                phase,
                message: write.message,
                time_ms: write.time_ms,
            })
        });
        Ok(Self {
            name: report.name,
            value: report.value.map(domain_value),
            text: report.text,
            data_type: report.data_type,
            quality: match report.quality {
                0 => Quality::Good,
                2 => Quality::Bad,
                _ => Quality::Uncertain,
            },
            reason: reason_of(report.reason),
            source_time_ms: report.source_time_ms,
            last_read_ms: report.last_read_ms,
            last_error: report.last_error,
            desired: report.desired,
            desired_local: report.desired_local,
            write: write.transpose()?,
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
        since_ms: event.since_ms,
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
        since_ms: event.since_ms,
    }
}

fn wire_value(value: &Value) -> property::Value {
    match value {
        Value::Bool(v) => property::Value::Bool(*v),
        Value::Int(v) => property::Value::Int(*v),
        Value::Uint(v) => property::Value::Uint(*v),
        Value::Float(v) => property::Value::Float(*v),
        Value::String(v) => property::Value::String(v.to_string()),
        Value::Bytes(v) => property::Value::Bytes(v.to_vec()),
    }
}

fn domain_value(value: property::Value) -> Value {
    match value {
        property::Value::Bool(v) => Value::Bool(v),
        property::Value::Int(v) => Value::Int(v),
        property::Value::Uint(v) => Value::Uint(v),
        property::Value::Float(v) => Value::Float(v),
        property::Value::String(v) => Value::String(v.into()),
        property::Value::Bytes(v) => Value::Bytes(v.into()),
    }
}

fn reason_code(reason: Reason) -> u32 {
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
    }
}

fn reason_of(code: u32) -> Reason {
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

impl From<&Condition> for wire::Condition {
    fn from(condition: &Condition) -> Self {
        Self {
            kind: condition.kind.clone(),
            status: match condition.status {
                ConditionStatus::Unknown => 0,
                ConditionStatus::True => 1,
                ConditionStatus::False => 2,
            },
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            since_ms: condition.since_ms,
        }
    }
}

impl From<wire::Condition> for Condition {
    fn from(condition: wire::Condition) -> Self {
        Self {
            kind: condition.kind,
            status: match condition.status {
                1 => ConditionStatus::True,
                2 => ConditionStatus::False,
                _ => ConditionStatus::Unknown,
            },
            reason: condition.reason,
            message: condition.message,
            since_ms: condition.since_ms,
        }
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
