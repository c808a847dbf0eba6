//! The twin engine.

mod handle;

pub(crate) use handle::Request;

pub use handle::{
    Condition, DesiredTwin, DeviceState, DeviceTwin, LocalUpdate, PropertyTwin, TwinHandle, TwinInbox, UpdateError,
    WriteState, channel,
};
