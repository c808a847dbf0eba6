//! Kinds of numbers.

use super::*;

/// A mapper may read `21` where the device says 21: the type of the model says
/// what the property is, unless its configuration says what the device holds.
#[test]
fn a_float_that_was_read_as_a_whole_number_takes_fractions() {
    for (value_type, config, twin, expected) in [
        (PropertyType::Float, json!({}), 24.5, Ok(Value::Float(24.5))),
        (
            PropertyType::Double,
            json!({}),
            24.5,
            Ok(Value::Float(24.5)),
        ),
        // What has none is written as it was read.
        (PropertyType::Float, json!({}), 24.0, Ok(Value::Int(24))),
        (
            PropertyType::Float,
            json!({"scale": 0.1}),
            2.15,
            Ok(Value::Float(21.5)),
        ),
        (
            PropertyType::Float,
            json!({"scale": 0.1}),
            2.1,
            Ok(Value::Int(21)),
        ),
        (
            PropertyType::Float,
            json!({"expression": "x / 2", "inverse": "x * 2"}),
            10.25,
            Ok(Value::Float(20.5)),
        ),
        (
            PropertyType::Float,
            json!({"rawType": "int16"}),
            24.5,
            Err("24.5 is between two steps of 1".to_owned()),
        ),
    ] {
        let rules = rules(value_type, config.clone(), None, None);
        let mut point = Point::new(0, "p", rules);
        point.apply(&good(Value::Int(21).borrow()), 1);
        let raw = point.rules.invert(&Value::Float(twin), point.raw_whole);
        assert_eq!(raw, expected, "{config} {twin}");
    }
}
