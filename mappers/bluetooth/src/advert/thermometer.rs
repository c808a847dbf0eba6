//! The open firmwares of Xiaomi's thermometers (LYWSD03MMC and its kin), whose
//! packets are service data of 0x181A.
//!
//! - ATC1441, 13 bytes, big-endian: address (6), temperature (0.1 °C, signed),
//!   humidity (1 %), battery (1 %), battery (mV), counter.
//! - PVVX "custom", 15 bytes, little-endian: address (6, reversed), temperature
//!   (0.01 °C, signed), humidity (0.01 %), battery (mV), battery (1 %),
//!   counter, flags.
//!
//! Source: README of github.com/pvvx/ATC_MiThermometer, "Bluetooth advertising
//! formats"; README of github.com/atc1441/ATC_MiThermometer.

use super::{AdvertError, Field, field};
use crate::value::{Value, big, little, signed};

pub(super) const SERVICE: u16 = 0x181A;
pub(super) const NAMES: &[&str] = &[
    "temperature",
    "humidity",
    "battery",
    "voltage",
    "counter",
    "flags",
];

/// Whether it is the "custom" packet of the PVVX firmware.
pub(super) fn is_pvvx(bytes: &[u8]) -> bool {
    bytes.len() == 15
}

/// Both firmwares, told apart by their lengths.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<Vec<Field>>, AdvertError> {
    let (temperature, humidity, millivolts, level, counter, flags) = match bytes {
        [_, _, _, _, _, _, rest @ ..] if rest.len() == 7 => (
            Value::scaled(signed(big(&rest[..2]), 2), true, 1),
            Value::Float(f64::from(rest[2])),
            big(&rest[4..6]),
            rest[3],
            rest[6],
            None,
        ),
        [_, _, _, _, _, _, rest @ ..] if rest.len() == 9 => (
            Value::scaled(signed(little(&rest[..2]), 2), true, 2),
            Value::scaled(little(&rest[2..4]) as i64, false, 2),
            little(&rest[4..6]),
            rest[6],
            rest[7],
            Some(rest[8]),
        ),
        // The sealed forms of the PVVX firmware; its BTHome form opens with a key.
        [..] if matches!(bytes.len(), 8 | 11) => return Err(AdvertError::Sealed("PVVX")),
        _ => return Ok(None),
    };
    let mut fields = vec![
        field("temperature", "Cel", temperature),
        field("humidity", "%", humidity),
        field("battery", "%", Value::Uint(u64::from(level))),
        field("voltage", "V", Value::scaled(millivolts as i64, false, 3)),
        field("counter", "", Value::Uint(u64::from(counter))),
    ];
    fields.extend(flags.map(|flags| field("flags", "", Value::Uint(u64::from(flags)))));
    Ok(Some(fields))
}
