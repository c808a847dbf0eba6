//! The words that edge, hub and command line share: names, topics, typed
//! values with quality and time, and the device API.
//!
//! No sockets and no runtime, and of I/O only the reading of files ([`files`]), so
//! that everything else may depend on it. The API
//! types are KubeEdge's `devices.kubeedge.io/v1beta1`, field by field; what
//! Longshore adds lives where that API leaves room (see [`policy`]).

pub mod backoff;
mod bound;
pub mod command;
pub mod crd;
pub mod device;
pub mod effective;
pub mod event;
pub mod expression;
pub mod fault;
pub mod files;
pub mod manifest;
pub mod method;
pub mod name;
pub mod near;
pub mod policy;
mod property_type;
mod raw;
pub mod report;
pub mod samples;
pub mod schema;
pub mod schema_check;
pub mod time;
pub mod topic;
pub mod unit;
pub mod value;
pub mod vocabulary;

pub use device::{Device, DeviceModel, DeviceStatus};
pub use effective::EffectiveDevice;
pub use fault::{Fault, Level};
pub use manifest::Manifests;
pub use name::{DeviceName, InvalidName, NodeName};
pub use policy::PropertyPolicy;
pub use samples::{DeviceSamples, PropertySample};
pub use time::Timestamp;
pub use topic::Topic;
pub use value::{ParseValueError, Quality, Reason, Value, ValueRef};
