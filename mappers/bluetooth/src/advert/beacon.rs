//! Beacons: Apple's iBeacon and Google's Eddystone.

use super::{AdvertError, Field, field};
use crate::value::{Value, big, hex, signed};

pub(super) const EDDYSTONE: u16 = 0xFEAA;
pub(super) const APPLE: u16 = 0x004C;
pub(super) const IBEACON: &[&str] = &["uuid", "major", "minor", "measuredPower"];
pub(super) const TELEMETRY: &[&str] = &["voltage", "temperature", "packets", "uptime"];
pub(super) const IDENTITY: &[&str] = &["namespace", "instance", "measuredPower"];

/// "Proximity Beacon Specification": type 0x02, length 0x15, UUID, major and
/// minor big-endian, power at one metre.
pub(super) fn ibeacon(bytes: &[u8]) -> Result<Option<Vec<Field>>, AdvertError> {
    let [0x02, 0x15, rest @ ..] = bytes else {
        return Ok(None);
    };
    if rest.len() < 21 {
        return Err(AdvertError::Short("iBeacon"));
    }
    let uuid = hex(&rest[..16]);
    let uuid = [
        &uuid[..8],
        &uuid[8..12],
        &uuid[12..16],
        &uuid[16..20],
        &uuid[20..],
    ]
    .join("-");
    Ok(Some(vec![
        field("uuid", "", Value::Text(uuid)),
        field("major", "", Value::Uint(big(&rest[16..18]))),
        field("minor", "", Value::Uint(big(&rest[18..20]))),
        field("measuredPower", "dB", Value::Int(i64::from(rest[20] as i8))),
    ]))
}

/// Eddystone protocol specification, "Eddystone-TLM" unencrypted (version 0):
/// big-endian battery (mV, 0 for none), temperature (8.8 fixed point, 0x8000
/// for none), packets and tenths of a second since the start.
pub(super) fn telemetry(bytes: &[u8]) -> Result<Option<Vec<Field>>, AdvertError> {
    let [0x20, version, rest @ ..] = bytes else {
        return Ok(None);
    };
    match version {
        0 => {}
        1 => return Err(AdvertError::Sealed("Eddystone TLM")),
        other => return Err(AdvertError::Version("Eddystone TLM", *other)),
    }
    if rest.len() < 12 {
        return Err(AdvertError::Short("Eddystone TLM"));
    }
    let mut fields = Vec::with_capacity(4);
    match big(&rest[..2]) {
        0 => {}
        millivolts => fields.push(field(
            "voltage",
            "V",
            Value::scaled(millivolts as i64, false, 3),
        )),
    }
    match big(&rest[2..4]) {
        0x8000 => {}
        fixed => {
            let celsius = signed(fixed, 2) as f64 / 256.0;
            fields.push(field("temperature", "Cel", Value::Float(celsius)));
        }
    }
    fields.push(field("packets", "", Value::Uint(big(&rest[4..8]))));
    let tenths = big(&rest[8..12]) as i64;
    fields.push(field("uptime", "s", Value::scaled(tenths, false, 1)));
    Ok(Some(fields))
}

/// "Eddystone-UID": power at no distance, namespace (10), instance (6).
pub(super) fn identity(bytes: &[u8]) -> Result<Option<Vec<Field>>, AdvertError> {
    let [0x00, power, rest @ ..] = bytes else {
        return Ok(None);
    };
    if rest.len() < 16 {
        return Err(AdvertError::Short("Eddystone UID"));
    }
    Ok(Some(vec![
        field("namespace", "", Value::Text(hex(&rest[..10]))),
        field("instance", "", Value::Text(hex(&rest[10..16]))),
        field("measuredPower", "dB", Value::Int(i64::from(*power as i8))),
    ]))
}
