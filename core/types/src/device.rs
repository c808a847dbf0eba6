//! The device API (`devices.kubeedge.io/v1beta1`).

/// A device.
#[derive(Debug, Clone)]
pub struct Device;
/// What devices of one kind have in common.
#[derive(Debug, Clone)]
pub struct DeviceModel;
/// What is known of a device.
#[derive(Debug, Clone)]
pub struct DeviceStatus;
