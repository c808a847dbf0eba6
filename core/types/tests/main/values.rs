//! Values, moments and topics as text.

use longshore_types::{
    DeviceName, Timestamp, Topic, Value, ValueRef,
    device::PropertyType::{Boolean, Bytes, Double, Float, Int, Stream, String as Text},
    topic::{DeviceEvent, NodeEvent},
};
use proptest::prelude::*;

#[test]
fn canonical_texts() {
    for (value, text) in [
        (Value::Bool(true), "true"),
        (Value::Int(-5), "-5"),
        (Value::Uint(u64::MAX), "18446744073709551615"),
        (Value::Float(21.5), "21.5"),
        (Value::Float(f64::from(21.1_f32)), "21.1"),
        (Value::Float(524_288.062_5), "524288.0625"),
        (Value::Float(60.0), "60"),
        (Value::Float(-0.0), "-0"),
        (Value::Float(1e300), "1e300"),
        (Value::Float(1.5e-9), "1.5e-9"),
        (Value::Float(f64::NAN), "NaN"),
        (Value::String("a b".into()), "a b"),
        (Value::Bytes(vec![0xff, 0].into()), "/wA="),
    ] {
        assert_eq!(value.to_string(), text);
    }
}

#[test]
fn texts_become_values_of_the_type() {
    for (wanted, text, value) in [
        (Int, " 60 ", Value::Int(60)),
        (Int, "18446744073709551615", Value::Uint(u64::MAX)),
        (Float, "21.5", Value::Float(21.5)),
        (Double, "1e3", Value::Float(1000.0)),
        (Boolean, "True", Value::Bool(true)),
        (Boolean, "0", Value::Bool(false)),
        (Text, " x ", Value::String(" x ".into())),
        (Bytes, "/wA=", Value::Bytes(vec![0xff, 0].into())),
    ] {
        assert_eq!(Value::parse_as(wanted, text), Ok(value));
    }
    for (wanted, text) in [
        (Int, "21.5"),
        (Int, ""),
        (Float, "warm"),
        (Float, "NaN"),
        (Double, "inf"),
        (Boolean, "on"),
        (Bytes, "***"),
        (Stream, ""),
    ] {
        let error = Value::parse_as(wanted, text).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("`{text}` is not a value of type {wanted}: ")),
            "{error}"
        );
    }
}

#[test]
fn a_wrong_value_is_quoted_as_far_as_a_person_reads() {
    let error = Value::parse_as(Int, &"ä".repeat(100_000)).unwrap_err();
    let begin = "ä".repeat(80);
    assert_eq!(
        error.to_string(),
        format!(
            "`{begin}…` is not a value of type INT: expected a whole number of at most 64 bits"
        )
    );
}

#[test]
fn moments() {
    for (text, millis) in [
        ("1970-01-01T00:00:00Z", 0),
        ("2000-02-29T23:59:59.5Z", 951_868_799_500),
        ("2024-11-19T08:06:40.123456789+01:00", 1_732_000_000_123),
        ("1969-12-31T23:59:59.999Z", -1),
    ] {
        assert_eq!(text.parse(), Ok(Timestamp::from_millis(millis)), "{text}");
    }
    for wrong in [
        "",
        "2024-11-19",
        "2023-02-29T00:00:00Z",
        "2024-11-19T07:06:40",
        "2024-11-19T07:06:40.Z",
        "2024-13-01T00:00:00Z",
    ] {
        assert!(wrong.parse::<Timestamp>().is_err(), "{wrong}");
    }
    assert_eq!(
        Timestamp::from_millis(1_732_000_000_123).to_seconds_string(),
        "2024-11-19T07:06:40Z"
    );
}

#[test]
fn foreign_topics_are_refused() {
    for topic in [
        "",
        "a",
        "$hw/events/device/default/boiler",
        "$hw/events/device/Default/boiler/twin/get",
        "longshore/boiler/batch",
    ] {
        assert!(topic.parse::<Topic>().is_err(), "{topic}");
    }
}

proptest! {
    #[test]
    fn floats_read_back(v in proptest::num::f64::NORMAL) {
        prop_assert_eq!(Value::parse_as(Double, &Value::Float(v).to_string()), Ok(Value::Float(v)));
    }

    #[test]
    fn single_floats_read_back(v in proptest::num::f32::NORMAL) {
        let text = ValueRef::Float(f64::from(v)).to_string();
        prop_assert_eq!(text.parse::<f32>().unwrap(), v);
        prop_assert!(text.len() <= 24, "{}", text);
    }

    #[test]
    fn bytes_read_back(v in proptest::collection::vec(any::<u8>(), 0..40)) {
        let value = Value::Bytes(v.into());
        prop_assert_eq!(Value::parse_as(Bytes, &value.to_string()), Ok(value));
    }

    #[test]
    fn moments_read_back(ms in -62_000_000_000_000_i64..253_000_000_000_000) {
        let moment = Timestamp::from_millis(ms);
        prop_assert_eq!(moment.to_string().parse(), Ok(moment));
    }

    #[test]
    fn any_text_is_no_panic(text in "\\PC{0,40}") {
        let _ = text.parse::<Timestamp>();
        let _ = text.parse::<Topic>();
        let _ = text.parse::<DeviceName>();
        for wanted in longshore_types::device::PropertyType::ALL {
            let _ = Value::parse_as(wanted, &text);
        }
    }

    #[test]
    fn topics_read_back(namespace in "[a-z][a-z0-9]{0,8}", name in "[a-z]([a-z0-9.]{0,8}[a-z0-9])?", event in 0_usize..13) {
        prop_assume!(!name.contains(".."));
        let topic = match DeviceName::new(&namespace, &name) {
            Ok(device) if event < 9 => Topic::device(&device, DeviceEvent::ALL[event]),
            _ => Topic::node(namespace.parse().unwrap(), NodeEvent::ALL[event % 4]),
        };
        prop_assert_eq!(topic.to_string().parse(), Ok(topic));
    }
}
