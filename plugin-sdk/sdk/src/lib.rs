//! Everything that a mapper's author needs: describe how to talk to one bus,
//! and the SDK does the rest.
//!
//! An author implements [`Protocol`] (parse the configuration, plan the reads,
//! open a connection) and [`Connection`] (read, write; where the protocol has
//! it also watch, receive and call). The SDK owns the schedule: one queue for
//! each bus, reads coalesced across devices and intervals, groups read as one
//! snapshot, writes first, values that devices send by themselves, a dead unit
//! quarantined alone, reconnect for ever with jittered backoff, a deadline on
//! every call. `export_mapper!` turns the protocol into the C contract of
//! `longshore-abi`; [`testing`] drives it in tests.

pub mod codec;
pub mod config;
pub mod files;
#[doc(hidden)]
pub mod glue;
pub mod keys;
pub mod mapper;
pub mod polled;
pub mod protocol;
mod samples;
mod schedule;
pub mod schema;
pub mod testing;
pub mod wire;

pub use mapper::{
    Command, CommandKind, Completion, CreateError, DeviceState, Event, Host, HostFunctions, Level,
    Mapper, SampleValue, Status, Stopped, SubmitError,
};
pub use protocol::{
    Connection, Delivery, DeviceConfig, DiscoverError, Discovered, Fault, FoundDevice,
    FoundProperty, MethodConfig, Parsed, PlanPoint, Planned, PointConfig, Protocol, Received,
    RequestError, Sampling, WatchPoint, Watched,
};
pub use samples::{Reading, Reason, SampleView, Samples};
pub use schedule::ProtocolMapper;
