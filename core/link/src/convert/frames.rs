use bytes::Bytes;
use prost::Message;

use crate::Epoch;
use crate::frame::{
    Change, Content, DecodeError, Frame, Hello, ObjectKey, Objects, Records, RefuseReason,
    UpRecord, Welcome,
};
use crate::wire::{self, frame::Body};

impl Frame {
    /// The bytes of one WebSocket message.
    pub fn encode(&self) -> Bytes {
        wire::Frame {
            body: body_of(self),
        }
        .encode_to_vec()
        .into()
    }

    /// Reads one WebSocket message. Payloads share the message's memory.
    ///
    /// # Errors
    /// It is not a message of the link, or one that makes no sense.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let frame = wire::Frame::decode(bytes)?;
        Ok(match frame.body {
            None => Self::Unknown,
            Some(Body::Hello(hello)) => Self::Hello(hello.into()),
            Some(Body::Welcome(welcome)) => Self::Welcome(welcome.into()),
            Some(Body::Refuse(refuse)) => Self::Refuse {
                reason: refuse_reason(refuse.reason),
                message: refuse.message,
            },
            Some(Body::Objects(objects)) => Self::Objects(objects.try_into()?),
            Some(Body::Stored(revision)) => Self::Stored { revision },
            Some(Body::PartReceived(part)) => Self::PartReceived { part },
            Some(Body::Records(records)) => Self::Records(records.try_into()?),
            Some(Body::Taken(sequence)) => Self::Taken { sequence },
            Some(Body::Ping(nonce)) => Self::Ping { nonce },
            Some(Body::Pong(nonce)) => Self::Pong { nonce },
            Some(Body::TelemetryFrom(from)) => Self::TelemetryFrom {
                taken: from.taken,
                window_records: from.window_records,
                window_bytes: from.window_bytes,
            },
            Some(Body::Telemetry(records)) => Self::Telemetry(records.try_into()?),
            Some(Body::TelemetryTaken(sequence)) => Self::TelemetryTaken { sequence },
        })
    }
}

fn body_of(frame: &Frame) -> Option<Body> {
    Some(match frame {
        Frame::Hello(hello) => Body::Hello(hello.into()),
        Frame::Welcome(welcome) => Body::Welcome(welcome.into()),
        Frame::Refuse { reason, message } => Body::Refuse(wire::Refuse {
            reason: refuse_code(*reason),
            message: message.clone(),
        }),
        Frame::Objects(objects) => Body::Objects(objects.into()),
        Frame::Stored { revision } => Body::Stored(*revision),
        Frame::PartReceived { part } => Body::PartReceived(*part),
        Frame::Records(records) => Body::Records(records.into()),
        Frame::Taken { sequence } => Body::Taken(*sequence),
        Frame::Ping { nonce } => Body::Ping(*nonce),
        Frame::Pong { nonce } => Body::Pong(*nonce),
        Frame::TelemetryFrom {
            taken,
            window_records,
            window_bytes,
        } => Body::TelemetryFrom(wire::TelemetryFrom {
            taken: *taken,
            window_records: *window_records,
            window_bytes: *window_bytes,
        }),
        Frame::Telemetry(records) => Body::Telemetry(records.into()),
        Frame::TelemetryTaken { sequence } => Body::TelemetryTaken(*sequence),
        Frame::Unknown => return None,
    })
}

fn refuse_code(reason: RefuseReason) -> u32 {
    match reason {
        RefuseReason::Version => 1,
        RefuseReason::Identity => 2,
        RefuseReason::Replaced => 3,
        RefuseReason::Unavailable => 4,
        RefuseReason::Protocol => 5,
    }
}

fn refuse_reason(code: u32) -> RefuseReason {
    match code {
        1 => RefuseReason::Version,
        2 => RefuseReason::Identity,
        3 => RefuseReason::Replaced,
        5 => RefuseReason::Protocol,
        // A reason of a later version: to come back later is right for all of them.
        _ => RefuseReason::Unavailable,
    }
}

impl From<&Hello> for wire::Hello {
    fn from(hello: &Hello) -> Self {
        Self {
            oldest_version: hello.oldest_version,
            version: hello.version,
            capabilities: hello.capabilities.clone(),
            node: hello.node.clone(),
            agent: hello.agent.clone(),
            hub_epoch: hello.hub_epoch.0,
            revision: hello.revision,
            edge_epoch: hello.edge_epoch.0,
            last_sequence: hello.last_sequence,
            last_telemetry: hello.last_telemetry,
        }
    }
}

impl From<wire::Hello> for Hello {
    fn from(hello: wire::Hello) -> Self {
        Self {
            oldest_version: hello.oldest_version,
            version: hello.version,
            capabilities: hello.capabilities,
            node: hello.node,
            agent: hello.agent,
            hub_epoch: Epoch(hello.hub_epoch),
            revision: hello.revision,
            edge_epoch: Epoch(hello.edge_epoch),
            last_sequence: hello.last_sequence,
            last_telemetry: hello.last_telemetry,
        }
    }
}

impl From<&Welcome> for wire::Welcome {
    fn from(welcome: &Welcome) -> Self {
        Self {
            version: welcome.version,
            capabilities: welcome.capabilities.clone(),
            hub_epoch: welcome.hub_epoch.0,
            taken: welcome.taken,
            window_records: welcome.window_records,
            window_bytes: welcome.window_bytes,
            keepalive_ms: welcome.keepalive_ms,
            schemas: welcome.schemas.clone(),
        }
    }
}

impl From<wire::Welcome> for Welcome {
    fn from(welcome: wire::Welcome) -> Self {
        Self {
            version: welcome.version,
            capabilities: welcome.capabilities,
            hub_epoch: Epoch(welcome.hub_epoch),
            taken: welcome.taken,
            window_records: welcome.window_records,
            window_bytes: welcome.window_bytes,
            keepalive_ms: welcome.keepalive_ms,
            schemas: welcome.schemas,
        }
    }
}

impl From<&Objects> for wire::Objects {
    fn from(objects: &Objects) -> Self {
        match objects {
            Objects::Changes { from, to, changes } => Self {
                from: *from,
                to: *to,
                changes: changes.iter().map(Into::into).collect(),
                ..Self::default()
            },
            Objects::Snapshot {
                revision,
                part,
                last,
                changes,
            } => Self {
                to: *revision,
                changes: changes.iter().map(Into::into).collect(),
                snapshot: true,
                part: *part,
                last: *last,
                ..Self::default()
            },
        }
    }
}

impl TryFrom<wire::Objects> for Objects {
    type Error = DecodeError;

    fn try_from(objects: wire::Objects) -> Result<Self, DecodeError> {
        let changes = objects
            .changes
            .into_iter()
            .map(Change::try_from)
            .collect::<Result<Vec<_>, _>>()?;
        if objects.snapshot {
            if changes.iter().any(|c| c.content.is_none()) {
                return Err(DecodeError::Missing("changes.json"));
            }
            return Ok(Self::Snapshot {
                revision: objects.to,
                part: objects.part,
                last: objects.last,
                changes,
            });
        }
        if objects.to < objects.from {
            return Err(DecodeError::Invalid {
                field: "to",
                value: objects.to.to_string(),
            });
        }
        Ok(Self::Changes {
            from: objects.from,
            to: objects.to,
            changes,
        })
    }
}

impl From<&Change> for wire::Change {
    fn from(change: &Change) -> Self {
        let key = &change.key;
        let mut wire = Self {
            kind: key.kind.clone(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            deleted: true,
            ..Self::default()
        };
        if let Some(content) = &change.content {
            wire.deleted = false;
            wire.uid = content.uid.clone();
            wire.resource_version = content.resource_version.clone();
            wire.json = content.json.clone();
        }
        wire
    }
}

impl TryFrom<wire::Change> for Change {
    type Error = DecodeError;

    fn try_from(change: wire::Change) -> Result<Self, DecodeError> {
        if change.kind.is_empty() {
            return Err(DecodeError::Missing("changes.kind"));
        }
        if change.name.is_empty() {
            return Err(DecodeError::Missing("changes.name"));
        }
        let content = (!change.deleted).then_some(Content {
            uid: change.uid,
            resource_version: change.resource_version,
            json: change.json,
        });
        let key = ObjectKey {
            kind: change.kind,
            namespace: change.namespace,
            name: change.name,
        };
        Ok(Self { key, content })
    }
}

impl From<&Records> for wire::Records {
    fn from(records: &Records) -> Self {
        let list = records.records.iter();
        Self {
            after: records.after,
            records: list
                .map(|r| wire::Record {
                    sequence: r.sequence,
                    payload: r.payload.clone(),
                })
                .collect(),
        }
    }
}

impl TryFrom<wire::Records> for Records {
    type Error = DecodeError;

    fn try_from(records: wire::Records) -> Result<Self, DecodeError> {
        let mut last = records.after;
        for record in &records.records {
            if record.sequence <= last {
                let value = record.sequence.to_string();
                return Err(DecodeError::Invalid {
                    field: "records.sequence",
                    value,
                });
            }
            last = record.sequence;
        }
        let list = records.records.into_iter();
        let list = list
            .map(|r| UpRecord {
                sequence: r.sequence,
                payload: r.payload,
            })
            .collect();
        Ok(Self {
            after: records.after,
            records: list,
        })
    }
}
