//! Characteristics, byte by byte, as the GATT Specification Supplement has them.

use longshore_sdk::SampleValue;

use super::rig::hex;
use crate::{
    gatt::{GattError, STANDARD, standard},
    value::Value,
};

fn decode(number: u16, bytes: &str) -> Vec<(&'static str, Value)> {
    standard(number)
        .expect("known")
        .decode(&hex(bytes))
        .expect("decodes")
}

fn value(number: u16, bytes: &str) -> Value {
    decode(number, bytes).swap_remove(0).1
}

#[test]
fn numbers_come_in_their_unit() {
    // 87 %
    assert_eq!(value(0x2A19, "57"), Value::Uint(87));
    // 0x0866 = 2150 hundredths of a degree
    assert_eq!(value(0x2A6E, "6608"), Value::Float(21.5));
    // 0xFF38 = -200
    assert_eq!(value(0x2A6E, "38ff"), Value::Float(-2.0));
    // 0x8000: the device does not know it
    assert!(matches!(value(0x2A6E, "0080"), Value::Unknown(_)));
    // 0x11A3 = 4515 hundredths of a percent
    assert_eq!(value(0x2A6F, "a311"), Value::Float(45.15));
    // 0x000F76B2 = 1013426 tenths of a pascal
    assert_eq!(value(0x2A6D, "b2760f00"), Value::Float(101_342.6));
    // 0xFFFF9C in three bytes = -100 hundredths of a metre
    assert_eq!(value(0x2A6C, "9cffff"), Value::Float(-1.0));
    // -5 °C in one byte
    assert_eq!(value(0x2A7B, "fb"), Value::Int(-5));
    // 0x00C350 = 50000 hundredths of a lux
    assert_eq!(value(0x2AFB, "50c300"), Value::Float(500.0));
    assert_eq!(
        value(0x2A29, "506f6c617220456c656374726f204f7900"),
        Value::Text("Polar Electro Oy".to_owned())
    );
}

#[test]
fn a_heart_rate_has_what_its_flags_say() {
    // 0x16: contact supported and there, RR intervals; 72 beats; 853 and 840 of 1/1024 s.
    assert_eq!(
        decode(0x2A37, "16 48 5503 4803"),
        [
            ("heartRate", Value::Uint(72)),
            ("contact", Value::Bool(true)),
            ("rrInterval", Value::Float(840.0 / 1024.0)),
        ]
    );
    // 0x0D: 16 bits, contact supported and not there, energy; 300 beats; 5 kJ.
    assert_eq!(
        decode(0x2A37, "0d 2c01 0500"),
        [
            ("heartRate", Value::Uint(300)),
            ("contact", Value::Bool(false)),
            ("energyExpended", Value::Uint(5)),
        ]
    );
    // 16 bits, and only one byte of them.
    assert!(standard(0x2A37).unwrap().decode(&hex("0148")).is_err());
}

#[test]
fn a_thermometer_speaks_the_medical_float() {
    // Exponent -1 (0xFF), mantissa 365 (0x00016D): 36.5 °C.
    assert_eq!(decode(0x2A1C, "00 6d0100ff")[0].1, Value::Float(36.5));
    // Fahrenheit: 977 tenths are 36.5 °C; with a time and the place 2 (body).
    assert_eq!(
        decode(0x2A1C, "07 d10300ff ea07 0b 18 14 0f 1e 02"),
        [
            ("temperature", Value::Float((97.7 - 32.0) / 1.8)),
            ("time", Value::Text("2026-11-24T20:15:30".to_owned())),
            ("location", Value::Uint(2)),
        ]
    );
    // 0x007FFFFF is no number.
    assert!(matches!(
        decode(0x2A1C, "00 ffff7f00")[0].1,
        Value::Unknown(_)
    ));
}

#[test]
fn the_time_has_no_zone() {
    let parts = decode(0x2A2B, "ea07 01 02 03 04 05 05 80 01");
    assert_eq!(
        parts[0],
        ("time", Value::Text("2026-01-02T03:04:05".to_owned()))
    );
}

#[test]
fn what_is_written_is_what_was_read() {
    for known in STANDARD {
        let crate::gatt::Shape::Number { size, unknown, .. } = known.shape else {
            continue;
        };
        for seed in [0_u64, 1, 0x42, 0x7FFF_FFFF] {
            let bytes = seed.to_le_bytes()[..size].to_vec();
            if unknown == Some(crate::value::little(&bytes)) {
                continue;
            }
            let value = match known.decode(&bytes).unwrap().swap_remove(0).1 {
                Value::Int(number) => SampleValue::Int(number),
                Value::Uint(number) => SampleValue::Uint(number),
                Value::Float(number) => SampleValue::Float(number),
                other => panic!("{other:?}"),
            };
            assert_eq!(known.encode(&value).unwrap(), bytes, "{}", known.name);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let level = standard(0x2A06).unwrap();
    let error = level.encode(&SampleValue::Int(256)).unwrap_err();
    assert_eq!(error.to_string(), "256 does not fit alertLevel (0…255)");
    let error = level
        .encode(&SampleValue::String("on".to_owned()))
        .unwrap_err();
    assert_eq!(error.to_string(), "alertLevel takes a number");
    let short = standard(0x2A6E).unwrap().decode(&[1]).unwrap_err();
    assert!(matches!(short, GattError::Short { needed: 2, .. }));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_a_decoder_fall(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
        for known in STANDARD {
            let _ = known.decode(&bytes);
        }
    }
}
