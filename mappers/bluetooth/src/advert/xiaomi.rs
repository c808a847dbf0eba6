//! MiBeacon, Xiaomi's own packets: service data of 0xFE95.
//!
//! Little-endian: frame control (bit 3 sealed, 4 address, 5 capability, 6
//! object, bits 12–15 version), product, counter, then address (6, reversed),
//! capability (1, and 2 more when its bit 5 is set), object. Sealed objects
//! (version 4 and 5) are AES-CCM with the nonce address (reversed), product,
//! counter, extended counter (3), the extra data 0x11, and end with the
//! extended counter and a tag of 4. Source: the maker's "MiBeacon protocol"
//! (iot.mi.com, Bluetooth access).

use aes::Aes128;
use ccm::{
    Ccm, KeyInit,
    aead::AeadInPlace,
    consts::{U4, U12},
};

use super::{AdvertError, Field, Seal, field};
use crate::value::{Value, little, signed};

pub(super) const SERVICE: u16 = 0xFE95;
const NAME: &str = "MiBeacon";
pub(super) const NAMES: &[&str] = &[
    "temperature",
    "humidity",
    "illuminance",
    "moisture",
    "conductivity",
    "battery",
];

pub(super) fn decode(bytes: &[u8], seal: Seal<'_>) -> Result<Option<Vec<Field>>, AdvertError> {
    let mut rest = bytes;
    let mut take = |size: usize| {
        let (taken, left) = rest
            .split_at_checked(size)
            .ok_or(AdvertError::Short(NAME))?;
        rest = left;
        Ok::<_, AdvertError>(taken)
    };
    let control = little(take(2)?);
    let product_counter = take(3)?;
    let mut address = seal.address;
    address.reverse();
    if control & 1 << 4 != 0 {
        address.copy_from_slice(take(6)?);
    }
    if control & 1 << 5 != 0 && take(1)?[0] & 1 << 5 != 0 {
        take(2)?;
    }
    if control & 1 << 6 == 0 {
        return Ok(None);
    }
    if control & 1 << 3 == 0 {
        return object(rest).map(Some);
    }
    let key = seal.key.ok_or(AdvertError::Sealed(NAME))?;
    let split = rest.len().checked_sub(7).ok_or(AdvertError::Short(NAME))?;
    let (sealed, end) = rest.split_at(split);
    let mut nonce = [0; 12];
    nonce[..6].copy_from_slice(&address);
    nonce[6..9].copy_from_slice(product_counter);
    nonce[9..].copy_from_slice(&end[..3]);
    let mut plain = sealed.to_vec();
    Ccm::<Aes128, U4, U12>::new(key.into())
        .decrypt_in_place_detached(&nonce.into(), &[0x11], &mut plain, end[3..].into())
        .map_err(|_| AdvertError::WrongKey(NAME))?;
    object(&plain).map(Some)
}

/// One object: id, length, value. Objects that are not known give no fields.
fn object(bytes: &[u8]) -> Result<Vec<Field>, AdvertError> {
    let short = AdvertError::Short(NAME);
    let (head, rest) = bytes.split_at_checked(3).ok_or(short.clone())?;
    let value = rest.get(..usize::from(head[2])).ok_or(short)?;
    let temperature = |bytes: &[u8]| {
        field(
            "temperature",
            "Cel",
            Value::scaled(signed(little(bytes), 2), true, 1),
        )
    };
    let humidity = |bytes: &[u8]| {
        field(
            "humidity",
            "%",
            Value::scaled(little(bytes) as i64, false, 1),
        )
    };
    Ok(match (little(&head[..2]), value.len()) {
        (0x1004, 2) => vec![temperature(value)],
        (0x1006, 2) => vec![humidity(value)],
        (0x1007, 3) => vec![field("illuminance", "lx", Value::Uint(little(value)))],
        (0x1008, 1) => vec![field("moisture", "%", Value::Uint(little(value)))],
        (0x1009, 2) => vec![field("conductivity", "uS/cm", Value::Uint(little(value)))],
        (0x100A, 1) => vec![field("battery", "%", Value::Uint(little(value)))],
        (0x100D, 4) => vec![temperature(&value[..2]), humidity(&value[2..])],
        _ => Vec::new(),
    })
}
