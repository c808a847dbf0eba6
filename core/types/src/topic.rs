//! MQTT topics as types: nobody formats one by hand.
//!
//! ```
//! use longshore_types::{DeviceName, Topic, topic::{DeviceEvent, NodeEvent}};
//!
//! let boiler: DeviceName = "default/boiler".parse()?;
//! for (text, topic) in [
//!     ("$hw/events/device/default/boiler/twin/update", Topic::device(&boiler, DeviceEvent::TwinUpdate)),
//!     ("$hw/events/device/default/boiler/twin/update/result", Topic::device(&boiler, DeviceEvent::TwinUpdateResult)),
//!     ("$hw/events/device/default/boiler/twin/update/delta", Topic::device(&boiler, DeviceEvent::TwinUpdateDelta)),
//!     ("$hw/events/device/default/boiler/twin/update/document", Topic::device(&boiler, DeviceEvent::TwinUpdateDocument)),
//!     ("$hw/events/device/default/boiler/twin/get", Topic::device(&boiler, DeviceEvent::TwinGet)),
//!     ("$hw/events/device/default/boiler/twin/get/result", Topic::device(&boiler, DeviceEvent::TwinGetResult)),
//!     ("$hw/events/device/default/boiler/state/update", Topic::device(&boiler, DeviceEvent::StateUpdate)),
//!     ("$hw/events/device/default/boiler/state/update/result", Topic::device(&boiler, DeviceEvent::StateUpdateResult)),
//!     ("$hw/events/device/default/boiler/updated", Topic::device(&boiler, DeviceEvent::Updated)),
//!     ("$hw/events/node/edge-1/membership/get", Topic::node("edge-1".parse()?, NodeEvent::MembershipGet)),
//!     ("$hw/events/node/edge-1/membership/get/result", Topic::node("edge-1".parse()?, NodeEvent::MembershipGetResult)),
//!     ("$hw/events/node/edge-1/membership/updated", Topic::node("edge-1".parse()?, NodeEvent::MembershipUpdated)),
//!     ("$hw/events/node/edge-1/authInfo/get/result", Topic::node("edge-1".parse()?, NodeEvent::AuthInfoGetResult)),
//!     ("$hw/events/upload/a/b", Topic::Upload("a/b".into())),
//!     ("SYS/dis/upload_records", Topic::UploadRecords),
//!     ("shop/user/orders/7", Topic::User { scope: "shop".into(), rest: "orders/7".into() }),
//!     ("longshore/default/boiler/batch", Topic::Batch(boiler.clone())),
//!     ("longshore/default/boiler/event/overTemp", Topic::Event { device: boiler.clone(), event: "overTemp".into() }),
//!     ("longshore/default/boiler/call/fill", Topic::Call { device: boiler.clone(), method: "fill".into() }),
//!     ("longshore/default/boiler/call/fill/result", Topic::CallResult { device: boiler.clone(), method: "fill".into() }),
//! ] {
//!     assert_eq!(topic.to_string(), text);
//!     assert_eq!(text.parse::<Topic>()?, topic);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{fmt, str::FromStr};

use crate::name::{DeviceName, InvalidName, NodeName};

/// What edgecore of KubeEdge subscribes to, and so do we.
pub const KUBEEDGE_REQUESTS: [&str; 6] = [
    "$hw/events/upload/#",
    "$hw/events/device/+/+/state/update",
    "$hw/events/device/+/+/twin/+",
    "$hw/events/node/+/membership/get",
    "SYS/dis/upload_records",
    "+/user/#",
];

const DEVICE_PREFIX: &str = "$hw/events/device/";
const NODE_PREFIX: &str = "$hw/events/node/";
const UPLOAD_PREFIX: &str = "$hw/events/upload/";
const UPLOAD_RECORDS: &str = "SYS/dis/upload_records";
const OUR_PREFIX: &str = "longshore/";

/// A topic that has a meaning on the bus.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// `$hw/events/device/{namespace}/{name}/{event}`.
    Device {
        /// The device.
        device: DeviceName,
        /// What about it.
        event: DeviceEvent,
    },
    /// `$hw/events/node/{node}/{event}`.
    Node {
        /// The node.
        node: NodeName,
        /// What about it.
        event: NodeEvent,
    },
    /// `$hw/events/upload/…`: anything, to the cloud.
    Upload(Box<str>),
    /// `SYS/dis/upload_records`: anything, to the cloud.
    UploadRecords,
    /// `…/user/…`: anything, to the cloud.
    User {
        /// The first level.
        scope: Box<str>,
        /// What follows `user/`.
        rest: Box<str>,
    },
    /// `longshore/{namespace}/{name}/batch`: all changes of a device in one message.
    Batch(DeviceName),
    /// `longshore/{namespace}/{name}/event/{event}`: an event of a device, retained.
    Event {
        /// The device.
        device: DeviceName,
        /// The event's name.
        event: Box<str>,
    },
    /// `longshore/{namespace}/{name}/call/{method}`: calls a method.
    Call {
        /// The device.
        device: DeviceName,
        /// The method's name.
        method: Box<str>,
    },
    /// `longshore/{namespace}/{name}/call/{method}/result`: the answer to it.
    CallResult {
        /// The device.
        device: DeviceName,
        /// The method's name.
        method: Box<str>,
    },
}

/// What is said of, or asked from, a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceEvent {
    /// In: new actual or expected values.
    TwinUpdate,
    /// Out: the answer to it.
    TwinUpdateResult,
    /// Out: twins whose expected value is not the actual one.
    TwinUpdateDelta,
    /// Out: last and current of each changed twin.
    TwinUpdateDocument,
    /// In: asks for all twins.
    TwinGet,
    /// Out: all twins.
    TwinGetResult,
    /// In: the device's new state.
    StateUpdate,
    /// Out: the answer to it.
    StateUpdateResult,
    /// Out: the device's attributes have changed.
    Updated,
}

/// What is said of, or asked from, a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeEvent {
    /// In: asks for the node's devices.
    MembershipGet,
    /// Out: the node's devices.
    MembershipGetResult,
    /// Out: devices that came or went.
    MembershipUpdated,
    /// Out: a mapper's permission.
    AuthInfoGetResult,
}

/// A topic that has no meaning here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopic {
    /// It is none of ours.
    #[error("topic `{0}` has no meaning here")]
    Unknown(String),
    /// It has the form of ours but a wrong name in it.
    #[error("topic `{topic}` has a wrong name in it")]
    Name {
        /// The topic.
        topic: String,
        /// What is wrong with the name.
        #[source]
        source: InvalidName,
    },
}

impl Topic {
    /// A device's topic.
    pub fn device(device: &DeviceName, event: DeviceEvent) -> Self {
        Self::Device {
            device: device.clone(),
            event,
        }
    }

    /// A node's topic.
    pub fn node(node: NodeName, event: NodeEvent) -> Self {
        Self::Node { node, event }
    }
}

impl DeviceEvent {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::TwinUpdate,
        Self::TwinUpdateResult,
        Self::TwinUpdateDelta,
        Self::TwinUpdateDocument,
        Self::TwinGet,
        Self::TwinGetResult,
        Self::StateUpdate,
        Self::StateUpdateResult,
        Self::Updated,
    ];

    /// The end of the topic.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TwinUpdate => "twin/update",
            Self::TwinUpdateResult => "twin/update/result",
            Self::TwinUpdateDelta => "twin/update/delta",
            Self::TwinUpdateDocument => "twin/update/document",
            Self::TwinGet => "twin/get",
            Self::TwinGetResult => "twin/get/result",
            Self::StateUpdate => "state/update",
            Self::StateUpdateResult => "state/update/result",
            Self::Updated => "updated",
        }
    }
}

impl NodeEvent {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::MembershipGet,
        Self::MembershipGetResult,
        Self::MembershipUpdated,
        Self::AuthInfoGetResult,
    ];

    /// The end of the topic.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MembershipGet => "membership/get",
            Self::MembershipGetResult => "membership/get/result",
            Self::MembershipUpdated => "membership/updated",
            Self::AuthInfoGetResult => "authInfo/get/result",
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { device, event } => {
                write!(f, "{DEVICE_PREFIX}{device}/{}", event.as_str())
            }
            Self::Node { node, event } => write!(f, "{NODE_PREFIX}{node}/{}", event.as_str()),
            Self::Upload(rest) => write!(f, "{UPLOAD_PREFIX}{rest}"),
            Self::UploadRecords => f.write_str(UPLOAD_RECORDS),
            Self::User { scope, rest } => write!(f, "{scope}/user/{rest}"),
            Self::Batch(device) => write!(f, "{OUR_PREFIX}{device}/batch"),
            Self::Event { device, event } => write!(f, "{OUR_PREFIX}{device}/event/{event}"),
            Self::Call { device, method } => write!(f, "{OUR_PREFIX}{device}/call/{method}"),
            Self::CallResult { device, method } => {
                write!(f, "{OUR_PREFIX}{device}/call/{method}/result")
            }
        }
    }
}

impl FromStr for Topic {
    type Err = InvalidTopic;

    fn from_str(text: &str) -> Result<Self, InvalidTopic> {
        let unknown = || InvalidTopic::Unknown(text.to_owned());
        let name = |source| InvalidTopic::Name {
            topic: text.to_owned(),
            source,
        };
        if let Some(rest) = text.strip_prefix(DEVICE_PREFIX) {
            let mut parts = rest.splitn(3, '/');
            let (Some(namespace), Some(device), Some(end)) =
                (parts.next(), parts.next(), parts.next())
            else {
                return Err(unknown());
            };
            let event = DeviceEvent::ALL
                .into_iter()
                .find(|event| event.as_str() == end)
                .ok_or_else(unknown)?;
            return Ok(Self::Device {
                device: DeviceName::new(namespace, device).map_err(name)?,
                event,
            });
        }
        if let Some(rest) = text.strip_prefix(NODE_PREFIX) {
            let (node, end) = rest.split_once('/').ok_or_else(unknown)?;
            let event = NodeEvent::ALL
                .into_iter()
                .find(|event| event.as_str() == end)
                .ok_or_else(unknown)?;
            return Ok(Self::Node {
                node: node.parse().map_err(name)?,
                event,
            });
        }
        if let Some(rest) = text.strip_prefix(UPLOAD_PREFIX) {
            return Ok(Self::Upload(rest.into()));
        }
        if text == UPLOAD_RECORDS {
            return Ok(Self::UploadRecords);
        }
        if let Some(rest) = text.strip_prefix(OUR_PREFIX)
            && let Some(topic) = ours(rest)
        {
            return topic.map_err(name);
        }
        match text.split_once('/') {
            Some((scope, rest)) if rest.starts_with("user/") => Ok(Self::User {
                scope: scope.into(),
                rest: rest["user/".len()..].into(),
            }),
            _ => Err(unknown()),
        }
    }
}

/// What follows `longshore/`; `None` when it is not one of our topics.
fn ours(rest: &str) -> Option<Result<Topic, InvalidName>> {
    let levels: Vec<&str> = rest.split('/').collect();
    let (namespace, device, rest) = match levels.as_slice() {
        [namespace, device, rest @ ..] => (namespace, device, rest),
        _ => return None,
    };
    let make: fn(DeviceName, Box<str>) -> Topic = match rest {
        ["batch"] => |device, _| Topic::Batch(device),
        ["event", name] if !name.is_empty() => |device, event| Topic::Event { device, event },
        ["call", name] if !name.is_empty() => |device, method| Topic::Call { device, method },
        ["call", name, "result"] if !name.is_empty() => {
            |device, method| Topic::CallResult { device, method }
        }
        _ => return None,
    };
    let name = rest.get(1).copied().unwrap_or_default().into();
    Some(DeviceName::new(namespace, device).map(|device| make(device, name)))
}
