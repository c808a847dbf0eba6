//! The mapper under test on a simulated or foreign bus.

use longshore_sdk::testing;
use serde_json::json;

use crate::Bluetooth;

/// The mapper under test.
pub(super) type Rig = testing::Rig<Bluetooth>;

/// A mapper on this bus.
pub(super) fn rig(bus: &str) -> Rig {
    Rig::with(json!({"bus": bus}))
}

/// Bytes by their hexadecimal digits.
pub(super) fn hex(text: &str) -> Vec<u8> {
    crate::value::from_hex(text).expect("hexadecimal")
}
