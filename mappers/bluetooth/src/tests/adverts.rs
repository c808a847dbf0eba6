//! Advertisements, byte by byte.

use super::rig::hex;
use crate::{
    advert::{Advert, AdvertError, FORMATS, Field, Format, Seal},
    uuid::Uuid,
    value::Value,
};

fn of_service(number: u16, bytes: &str) -> Advert {
    Advert {
        rssi: Some(-60),
        service: vec![(Uuid::short(number), hex(bytes))],
        ..Advert::default()
    }
}

fn fields(advert: &Advert, format: Format) -> Vec<Field> {
    let fields = advert.fields(format, Seal::default()).expect("decodes");
    fields.expect("is of the format")
}

fn get(fields: &[Field], name: &str) -> Value {
    let found = fields.iter().find(|field| field.name == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {fields:?}"))
        .value
        .clone()
}

#[test]
fn the_atc_firmware_is_big_endian() {
    // Address, 0x00D7 = 215 tenths, 45 %, 87 %, 0x0BB8 = 3000 mV, packet 42.
    let advert = of_service(0x181A, "a4c138010203 00d7 2d 57 0bb8 2a");
    let fields = fields(&advert, Format::Thermometer);
    assert_eq!(get(&fields, "temperature"), Value::Float(21.5));
    assert_eq!(get(&fields, "humidity"), Value::Float(45.0));
    assert_eq!(get(&fields, "battery"), Value::Uint(87));
    assert_eq!(get(&fields, "voltage"), Value::Float(3.0));
    assert_eq!(get(&fields, "counter"), Value::Uint(42));
    assert_eq!(get(&fields, "rssi"), Value::Int(-60));
    assert_eq!(get(&fields, "present"), Value::Bool(true));
    assert_eq!(advert.word(Format::Thermometer), "atc");
}

#[test]
fn the_pvvx_firmware_is_little_endian() {
    // Address backwards, 0xFF38 = -200 hundredths, 0x11A3 = 4515 hundredths,
    // 0x0BB8 = 3000 mV, 87 %, packet 42, flags 0x04.
    let advert = of_service(0x181A, "03020138c1a4 38ff a311 b80b 57 2a 04");
    let fields = fields(&advert, Format::Thermometer);
    assert_eq!(get(&fields, "temperature"), Value::Float(-2.0));
    assert_eq!(get(&fields, "humidity"), Value::Float(45.15));
    assert_eq!(get(&fields, "voltage"), Value::Float(3.0));
    assert_eq!(get(&fields, "battery"), Value::Uint(87));
    assert_eq!(get(&fields, "flags"), Value::Uint(4));
    // What is found is listed under the word of its firmware.
    assert_eq!(advert.word(Format::Thermometer), "pvvx");
    assert_eq!(advert.word(Format::Any), "any");
}

#[test]
fn bthome_is_a_list_of_objects() {
    // 0x40: version 2, open. Packet 9; battery 87 %; temperature 0x0866; humidity
    // 0x11A3; a second temperature of one byte; button double press; dimmer 3 left.
    let advert = of_service(0xFCD2, "40 0009 0157 026608 03a311 57fb 3a02 3c0103 2101");
    let fields = fields(&advert, Format::BtHome);
    assert_eq!(get(&fields, "packetId"), Value::Uint(9));
    assert_eq!(get(&fields, "battery"), Value::Uint(87));
    assert_eq!(get(&fields, "temperature"), Value::Float(21.5));
    assert_eq!(get(&fields, "humidity"), Value::Float(45.15));
    assert_eq!(
        get(&fields, "button"),
        Value::Text("doublePress".to_owned())
    );
    assert_eq!(get(&fields, "dimmer"), Value::Int(-3));
    assert_eq!(get(&fields, "motion"), Value::Bool(true));
    let second: Vec<_> = fields
        .iter()
        .filter(|field| field.name == "temperature")
        .collect();
    assert_eq!(second[1].value, Value::Int(-5));
}

#[test]
fn an_object_of_a_newer_list_ends_the_reading() {
    // 0xEE is not in the list; what comes before it counts.
    let fields = fields(&of_service(0xFCD2, "40 0157 ee0102"), Format::BtHome);
    assert_eq!(get(&fields, "battery"), Value::Uint(87));
    let short = of_service(0xFCD2, "40 0266").fields(Format::BtHome, Seal::default());
    assert_eq!(short, Err(AdvertError::Short("BTHome")));
    let first = of_service(0xFCD2, "20 0157").fields(Format::BtHome, Seal::default());
    assert_eq!(first, Err(AdvertError::Version("BTHome", 1)));
}

#[test]
fn a_sealed_packet_opens_with_its_key_only() {
    // The example of bthome.io, "Encryption": 25.06 °C and 50.55 %.
    let advert = of_service(0xFCD2, "41 a47266c95f73 00112233 78237214");
    let key: [u8; 16] = hex("231d39c1d7cc1ab1aee224cd096db932").try_into().unwrap();
    let address = [0x54, 0x48, 0xE6, 0x8F, 0x80, 0xA5];
    let seal = Seal {
        address,
        key: Some(&key),
    };
    let fields = advert
        .fields(Format::BtHome, seal)
        .expect("opens")
        .expect("is one");
    assert_eq!(get(&fields, "temperature"), Value::Float(25.06));
    assert_eq!(get(&fields, "humidity"), Value::Float(50.55));
    let without = advert.fields(Format::BtHome, Seal { address, key: None });
    assert_eq!(without, Err(AdvertError::Sealed("BTHome")));
    let wrong = [0; 16];
    let with = advert.fields(
        Format::BtHome,
        Seal {
            address,
            key: Some(&wrong),
        },
    );
    assert_eq!(with, Err(AdvertError::WrongKey("BTHome")));
}

#[test]
fn mibeacon_has_an_object_behind_what_its_bits_say() {
    // 0x5050: version 5, address and object; product 0x01AA; packet 3; address
    // backwards; object 0x100D of 4: 0x00D7 = 215 tenths, 0x01C3 = 451 tenths.
    let advert = of_service(0xFE95, "5050 aa01 03 03020138c1a4 0d10 04 d700 c301");
    let fields = fields(&advert, Format::Xiaomi);
    assert_eq!(get(&fields, "temperature"), Value::Float(21.5));
    assert_eq!(get(&fields, "humidity"), Value::Float(45.1));
    // 0x1058 sealed, 0x5010 without an object.
    let sealed = of_service(0xFE95, "5858 5b05 03 03020138c1a4 0102030405060708090a");
    assert_eq!(
        sealed.fields(Format::Xiaomi, Seal::default()),
        Err(AdvertError::Sealed("MiBeacon"))
    );
    let empty = of_service(0xFE95, "1050 aa01 03 03020138c1a4");
    assert_eq!(empty.fields(Format::Xiaomi, Seal::default()), Ok(None));
}

#[test]
fn eddystone_tells_how_the_beacon_is() {
    // Type 0x20, version 0, 0x0BB8 mV, 0x1580 = 21.5 in 8.8, 1000 packets, 36000 tenths.
    let advert = of_service(0xFEAA, "20 00 0bb8 1580 000003e8 00008ca0");
    let tlm = fields(&advert, Format::EddystoneTlm);
    assert_eq!(get(&tlm, "voltage"), Value::Float(3.0));
    assert_eq!(get(&tlm, "temperature"), Value::Float(21.5));
    assert_eq!(get(&tlm, "packets"), Value::Uint(1000));
    assert_eq!(get(&tlm, "uptime"), Value::Float(3600.0));
    // 0x8000 and 0 mV: it has no such thing.
    let bare = fields(
        &of_service(0xFEAA, "20 00 0000 8000 00000001 00000001"),
        Format::EddystoneTlm,
    );
    assert!(
        !bare
            .iter()
            .any(|field| matches!(field.name, "temperature" | "voltage"))
    );
    // UID: -18 dBm, namespace, instance, two reserved bytes.
    let uid = fields(
        &of_service(0xFEAA, "00 ee 00112233445566778899 aabbccddeeff 0000"),
        Format::EddystoneUid,
    );
    assert_eq!(
        get(&uid, "namespace"),
        Value::Text("00112233445566778899".to_owned())
    );
    assert_eq!(get(&uid, "measuredPower"), Value::Int(-18));
}

#[test]
fn an_ibeacon_is_manufacturer_data_of_apple() {
    let data = "02 15 e2c56db5dffb48d2b060d0f5a71096e0 0001 0203 c5";
    let advert = Advert {
        manufacturer: vec![(0x004C, hex(data))],
        ..Advert::default()
    };
    let beacon = fields(&advert, Format::IBeacon);
    assert_eq!(
        get(&beacon, "uuid"),
        Value::Text("e2c56db5-dffb-48d2-b060-d0f5a71096e0".to_owned())
    );
    assert_eq!(get(&beacon, "major"), Value::Uint(1));
    assert_eq!(get(&beacon, "minor"), Value::Uint(0x0203));
    assert_eq!(get(&beacon, "measuredPower"), Value::Int(-59));
    // Apple sends much else under its number.
    let other = Advert {
        manufacturer: vec![(0x004C, hex("10 05 0118"))],
        ..Advert::default()
    };
    assert_eq!(other.fields(Format::IBeacon, Seal::default()), Ok(None));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_a_decoder_fall(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
        let mut advert = Advert { manufacturer: vec![(0x004C, bytes.clone())], ..Advert::default() };
        for number in [0x181A, 0xFCD2, 0xFE95, 0xFEAA] {
            advert.service.push((Uuid::short(number), bytes.clone()));
        }
        let key = [7; 16];
        for (_, format) in FORMATS {
            let _ = advert.fields(*format, Seal { address: [1; 6], key: Some(&key) });
        }
    }
}
