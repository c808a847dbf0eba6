//! Everything that a mapper's author needs: describe how to talk to one bus,
//! and the SDK does the rest.
//!
//! An author implements [`Protocol`] (parse the configuration, plan the reads,
//! open a connection) and [`Connection`] (read, write). The SDK owns the
//! schedule: one queue for each bus, reads coalesced across devices and
//! intervals, writes first, a dead unit quarantined alone, reconnect for ever
//! with jittered backoff, a deadline on every call. `export_mapper!` turns
//! the protocol into the C contract of `longshore-abi`.

pub mod codec;
pub mod config;
#[doc(hidden)]
pub mod glue;
pub mod mapper;
pub mod protocol;
mod samples;
mod schedule;
pub mod schema;
pub mod testing;

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
