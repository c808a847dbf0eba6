//! BTHome version 2: service data of 0xFCD2.
//!
//! A byte that says how (bit 0 sealed, bits 5–7 the version), then objects: an
//! id and a little-endian value whose size the id tells. Sealed packets are
//! AES-CCM with the nonce address, UUID, that byte, counter (4); they end with
//! the counter and a tag of 4. Source: bthome.io, "Format" and "Encryption".

use aes::Aes128;
use ccm::{
    Ccm, KeyInit,
    aead::AeadInPlace,
    consts::{U4, U13},
};

use super::{AdvertError, Field, Seal, field};
use crate::value::{Value, little, signed, text};

pub(super) const SERVICE: u16 = 0xFCD2;
const NAME: &str = "BTHome";

/// What an object's bytes are.
#[derive(Clone, Copy)]
enum Kind {
    /// A number in steps of a power of ten.
    Number(i8),
    Signed(i8),
    /// A signed number in steps of 0.35.
    Thirds,
    Truth,
    Button,
    Dimmer,
}

use Kind::{Button, Dimmer, Number, Signed, Thirds, Truth};

/// Id, name, unit, size, kind.
const OBJECTS: &[(u8, &str, &str, u8, Kind)] = &[
    (0x00, "packetId", "", 1, Number(0)),
    (0x01, "battery", "%", 1, Number(0)),
    (0x02, "temperature", "Cel", 2, Signed(2)),
    (0x03, "humidity", "%", 2, Number(2)),
    (0x04, "pressure", "hPa", 3, Number(2)),
    (0x05, "illuminance", "lx", 3, Number(2)),
    (0x06, "mass", "kg", 2, Number(2)),
    (0x07, "mass", "[lb_av]", 2, Number(2)),
    (0x08, "dewPoint", "Cel", 2, Signed(2)),
    (0x09, "count", "", 1, Number(0)),
    (0x0A, "energy", "kW.h", 3, Number(3)),
    (0x0B, "power", "W", 3, Number(2)),
    (0x0C, "voltage", "V", 2, Number(3)),
    (0x0D, "pm25", "ug/m3", 2, Number(0)),
    (0x0E, "pm10", "ug/m3", 2, Number(0)),
    (0x0F, "boolean", "", 1, Truth),
    (0x10, "powerOn", "", 1, Truth),
    (0x11, "opening", "", 1, Truth),
    (0x12, "co2", "[ppm]", 2, Number(0)),
    (0x13, "tvoc", "ug/m3", 2, Number(0)),
    (0x14, "moisture", "%", 2, Number(2)),
    (0x15, "batteryLow", "", 1, Truth),
    (0x16, "batteryCharging", "", 1, Truth),
    (0x17, "carbonMonoxide", "", 1, Truth),
    (0x18, "cold", "", 1, Truth),
    (0x19, "connectivity", "", 1, Truth),
    (0x1A, "door", "", 1, Truth),
    (0x1B, "garageDoor", "", 1, Truth),
    (0x1C, "gasDetected", "", 1, Truth),
    (0x1D, "heat", "", 1, Truth),
    (0x1E, "light", "", 1, Truth),
    (0x1F, "lock", "", 1, Truth),
    (0x20, "moistureDetected", "", 1, Truth),
    (0x21, "motion", "", 1, Truth),
    (0x22, "moving", "", 1, Truth),
    (0x23, "occupancy", "", 1, Truth),
    (0x24, "plug", "", 1, Truth),
    (0x25, "presence", "", 1, Truth),
    (0x26, "problem", "", 1, Truth),
    (0x27, "running", "", 1, Truth),
    (0x28, "safety", "", 1, Truth),
    (0x29, "smoke", "", 1, Truth),
    (0x2A, "sound", "", 1, Truth),
    (0x2B, "tamper", "", 1, Truth),
    (0x2C, "vibration", "", 1, Truth),
    (0x2D, "window", "", 1, Truth),
    (0x2E, "humidity", "%", 1, Number(0)),
    (0x2F, "moisture", "%", 1, Number(0)),
    (0x3A, "button", "", 1, Button),
    (0x3C, "dimmer", "", 2, Dimmer),
    (0x3D, "count", "", 2, Number(0)),
    (0x3E, "count", "", 4, Number(0)),
    (0x3F, "rotation", "deg", 2, Signed(1)),
    (0x40, "distance", "mm", 2, Number(0)),
    (0x41, "distance", "m", 2, Number(1)),
    (0x42, "duration", "s", 3, Number(3)),
    (0x43, "current", "A", 2, Number(3)),
    (0x44, "speed", "m/s", 2, Number(2)),
    (0x45, "temperature", "Cel", 2, Signed(1)),
    (0x46, "uvIndex", "", 1, Number(1)),
    (0x47, "volume", "L", 2, Number(1)),
    (0x48, "volume", "mL", 2, Number(0)),
    (0x49, "flow", "m3/h", 2, Number(3)),
    (0x4A, "voltage", "V", 2, Number(1)),
    (0x4B, "gas", "m3", 3, Number(3)),
    (0x4C, "gas", "m3", 4, Number(3)),
    (0x4D, "energy", "kW.h", 4, Number(3)),
    (0x4E, "volume", "L", 4, Number(3)),
    (0x4F, "water", "L", 4, Number(3)),
    (0x50, "timestamp", "s", 4, Number(0)),
    (0x51, "acceleration", "m/s2", 2, Number(3)),
    (0x52, "gyroscope", "deg/s", 2, Number(3)),
    (0x55, "volumeStorage", "L", 4, Number(3)),
    (0x56, "conductivity", "uS/cm", 2, Number(0)),
    (0x57, "temperature", "Cel", 1, Signed(0)),
    (0x58, "temperature", "Cel", 1, Thirds),
    (0x59, "count", "", 1, Signed(0)),
    (0x5A, "count", "", 2, Signed(0)),
    (0x5B, "count", "", 4, Signed(0)),
    (0x5C, "power", "W", 4, Signed(2)),
    (0x5D, "current", "A", 2, Signed(3)),
    (0x5E, "direction", "deg", 2, Number(2)),
    (0x5F, "precipitation", "mm", 2, Number(1)),
    (0x60, "channel", "", 1, Number(0)),
    (0x61, "rotationalSpeed", "{rev}/min", 2, Number(0)),
    (0x62, "speed", "m/s", 4, Signed(6)),
    (0x63, "acceleration", "m/s2", 4, Signed(6)),
    (0x64, "lightLevel", "", 1, Number(0)),
    (0xF0, "deviceType", "", 2, Number(0)),
    (0xF1, "firmware", "", 4, Number(0)),
    (0xF2, "firmware", "", 3, Number(0)),
];
const TEXT: u8 = 0x53;
const RAW: u8 = 0x54;

pub(super) fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = OBJECTS.iter().map(|(_, name, ..)| *name).collect();
    names.extend(["text", "raw"]);
    names.sort_unstable();
    names.dedup();
    names
}

pub(super) fn decode(bytes: &[u8], seal: Seal<'_>) -> Result<Vec<Field>, AdvertError> {
    let short = AdvertError::Short(NAME);
    let (how, rest) = bytes.split_first().ok_or(short.clone())?;
    match how >> 5 {
        2 => {}
        other => return Err(AdvertError::Version(NAME, other)),
    }
    if how & 1 == 0 {
        return objects(rest);
    }
    let key = seal.key.ok_or(AdvertError::Sealed(NAME))?;
    let (sealed, end) = rest.split_at(rest.len().checked_sub(8).ok_or(short)?);
    let mut nonce = [0; 13];
    nonce[..6].copy_from_slice(&seal.address);
    nonce[6..8].copy_from_slice(&SERVICE.to_le_bytes());
    nonce[8] = *how;
    nonce[9..].copy_from_slice(&end[..4]);
    let mut plain = sealed.to_vec();
    Ccm::<Aes128, U4, U13>::new(key.into())
        .decrypt_in_place_detached(&nonce.into(), &[], &mut plain, end[4..].into())
        .map_err(|_| AdvertError::WrongKey(NAME))?;
    objects(&plain)
}

/// The sizes are known by the ids only, so that an id from a newer list ends
/// the reading: what came before it is kept, as the format asks for.
fn objects(mut bytes: &[u8]) -> Result<Vec<Field>, AdvertError> {
    let short = AdvertError::Short(NAME);
    let mut fields = Vec::new();
    while let Some((id, rest)) = bytes.split_first() {
        if matches!(*id, TEXT | RAW) {
            let (length, rest) = rest.split_first().ok_or(short.clone())?;
            let (value, rest) = rest
                .split_at_checked(usize::from(*length))
                .ok_or(short.clone())?;
            fields.push(match *id {
                TEXT => field("text", "", Value::Text(text(value))),
                _ => field("raw", "", Value::Bytes(value.to_vec())),
            });
            bytes = rest;
            continue;
        }
        let Some((_, name, unit, size, kind)) = OBJECTS.iter().find(|(of, ..)| of == id) else {
            break;
        };
        let (value, rest) = rest
            .split_at_checked(usize::from(*size))
            .ok_or(short.clone())?;
        fields.push(field(name, unit, object(value, *kind)));
        bytes = rest;
    }
    Ok(fields)
}

fn object(bytes: &[u8], kind: Kind) -> Value {
    let number = little(bytes);
    match kind {
        Number(decimals) => Value::scaled(number as i64, false, decimals),
        Signed(decimals) => Value::scaled(signed(number, bytes.len()), true, decimals),
        Thirds => Value::Float(signed(number, bytes.len()) as f64 * 35.0 / 100.0),
        Truth => Value::Bool(number != 0),
        Button => Value::Text(
            match number {
                0x00 => "none",
                0x01 => "press",
                0x02 => "doublePress",
                0x03 => "triplePress",
                0x04 => "longPress",
                0x05 => "longDoublePress",
                0x06 => "longTriplePress",
                0x80 => "holdPress",
                _ => "unknown",
            }
            .to_owned(),
        ),
        // Which way and how many steps: to the left is negative.
        Dimmer => match bytes {
            [0x01, steps] => Value::Int(-i64::from(*steps)),
            [0x02, steps] => Value::Int(i64::from(*steps)),
            _ => Value::Int(0),
        },
    }
}
