mod kinds;

use longshore_types::{
    device::{AccessMode, FreeObject, PropertyType},
    effective::{Bound, EffectiveProperty},
    policy::PropertyPolicy,
};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn rules(
    value_type: PropertyType,
    config: serde_json::Value,
    minimum: Option<f64>,
    maximum: Option<f64>,
) -> Arc<Rules> {
    let config: FreeObject = config.as_object().cloned().unwrap_or_default();
    let (policy, rest, faults) = PropertyPolicy::parse(&config, "config");
    assert_eq!(faults, [], "the test's own configuration is right");
    let property = EffectiveProperty {
        config: Arc::new(rest),
        policy: Arc::new(policy),
        minimum: minimum.map(Bound::Float),
        maximum: maximum.map(Bound::Float),
        access: AccessMode::ReadWrite,
        value_type,
        collect_cycle: std::time::Duration::from_secs(1),
        report_cycle: std::time::Duration::ZERO,
        report_to_cloud: true,
        desired: longshore_types::effective::Desired::None,
        desired_metadata: Default::default(),
        broken: None,
        kind: None,
        name: "p".to_owned(),
        index: 0,
        unit: String::new(),
    };
    Arc::new(Rules::new(&property))
}

fn good(value: ValueRef<'_>) -> Reading<'_> {
    Reading {
        quality: Quality::Good,
        reason: Reason::None,
        source_time_ns: 1,
        value: Some(value),
        message: "",
    }
}

fn after(value_type: PropertyType, config: serde_json::Value, raw: ValueRef<'_>) -> Point {
    let mut point = Point::new(0, "p", rules(value_type, config, None, None));
    point.apply(&good(raw), 0);
    point
}

/// Whatever the way into the twin: what is no finite number is never good.
#[test]
fn infinity_and_nan_are_never_good() {
    use PropertyType as T;
    let expression = |text: &str| json!({"rawType": "float32", "expression": text, "inverse": "x"});
    let float32 = || json!({"rawType": "float32"});
    let (infinite, nan) = (f64::INFINITY, f64::NAN);
    let large = f64::from(1e20_f32);
    // Type of the twin, configuration, raw number.
    let cases: Vec<(T, serde_json::Value, f64)> = vec![
        (T::Double, float32(), infinite),
        (T::Float, json!({}), nan),
        (T::Float, json!({"rawType": "float64"}), -infinite),
        (T::Int, json!({}), nan),
        (T::Int, json!({"scale": 2}), infinite),
        (T::Boolean, json!({}), nan),
        (T::String, json!({}), infinite),
        (T::Bytes, json!({}), nan),
        (T::String, json!({"enum": {"0": "Off"}}), nan),
        (
            T::Float,
            json!({"rawType": "float32", "scale": 1e30}),
            large,
        ),
        (T::Double, json!({"scale": 1e300}), large),
        (T::Float, expression("x * 1e30"), large),
        (T::Double, expression("x * 1e300"), large),
        (T::Double, expression("x / 0.0"), 5.0),
        (T::Double, expression("1.0 / x"), 0.0),
        (T::Double, expression("x / x"), 0.0),
        (T::Int, expression("x * 1e10"), large),
        (T::Int, expression("x / x"), 0.0),
        (T::Boolean, expression("x / x"), 0.0),
        (T::String, expression("x / x"), 0.0),
        // The largest double, with its last digits rounded off.
        (T::Double, expression("x * 1.0"), f64::MAX),
        // What is compared with NaN has an answer that means nothing.
        (T::Boolean, expression("x > 5.0"), nan),
        (T::String, expression("x > 5.0 ? 'hot' : 'cold'"), nan),
        (T::Int, expression("int(x)"), large),
    ];
    for (of, config, raw) in cases {
        let point = after(of, config.clone(), ValueRef::Float(raw));
        let told = format!("{of} {config} of {raw}: {point:?}");
        assert_eq!(point.quality, Quality::Bad, "{told}");
        assert_eq!(point.reason, Reason::Decode, "{told}");
        assert!(point.error.is_some(), "{told}");
        assert_eq!(point.value, None, "{told}");
    }
    let texts = ["inf", "-Infinity", "NaN", "1e999"];
    for text in texts {
        let point = after(T::Double, json!({}), ValueRef::String(text));
        assert_eq!(point.quality, Quality::Bad, "{text}");
    }
    let overflow = json!({"expression": "int(x) * 4611686018427387904", "inverse": "x"});
    let point = after(T::Int, overflow, ValueRef::Int(4));
    assert_eq!((point.quality, point.value), (Quality::Bad, None));
}

#[test]
fn a_double_made_of_a_float32_may_leave_its_range() {
    let config = json!({"rawType": "float32", "expression": "x * 1e30", "inverse": "x / 1e30"});
    let raw = ValueRef::Float(f64::from(1e20_f32));
    let point = after(PropertyType::Double, config, raw);
    assert_eq!(point.quality, Quality::Good);
    assert!(matches!(point.value, Some(Value::Float(v)) if (v / 1e50 - 1.0).abs() < 1e-6));
}

#[test]
fn an_expression_may_say_what_no_number_means() {
    let config = json!({"rawType": "float32", "expression": "math.isFinite(x) ? x : -1.0"});
    let point = after(PropertyType::Double, config, ValueRef::Float(f64::NAN));
    assert_eq!(
        (point.quality, point.value),
        (Quality::Good, Some(Value::Float(-1.0)))
    );
}

#[test]
fn raw_values_become_twin_values() {
    use PropertyType as T;
    let cases: &[(T, serde_json::Value, ValueRef<'_>, Value)] = &[
        (
            T::Float,
            json!({"scale": 0.1}),
            ValueRef::Int(215),
            Value::Float(21.5),
        ),
        (
            T::Float,
            json!({"scale": 0.1}),
            ValueRef::Int(217),
            Value::Float(21.7),
        ),
        (
            T::Float,
            json!({"scale": 0.1, "offset": -40}),
            ValueRef::Uint(650),
            Value::Float(25.0),
        ),
        // 3 × 1.1 is 3.3000000000000003 in binary fractions.
        (
            T::Float,
            json!({"scale": 1.1}),
            ValueRef::Int(3),
            Value::Float(3.3),
        ),
        (
            T::Double,
            json!({"scale": 0.000136173}),
            ValueRef::Int(1_234_567),
            Value::Float(168.114_692_091),
        ),
        // All 16 digits of a whole number stay.
        (
            T::Double,
            json!({"scale": 2}),
            ValueRef::Int(1_234_567_890_123_457),
            Value::Float(2_469_135_780_246_914.0),
        ),
        (
            T::Int,
            json!({}),
            ValueRef::Uint(u64::MAX),
            Value::Uint(u64::MAX),
        ),
        (
            T::Int,
            json!({"scale": 10}),
            ValueRef::Int(-3),
            Value::Int(-30),
        ),
        (T::Int, json!({}), ValueRef::Float(2.6), Value::Int(3)),
        (T::Boolean, json!({}), ValueRef::Int(1), Value::Bool(true)),
        (
            T::Boolean,
            json!({}),
            ValueRef::String("false"),
            Value::Bool(false),
        ),
        (
            T::String,
            json!({"enum": {"0": "Off", "1": "On"}}),
            ValueRef::Int(1),
            Value::String("On".into()),
        ),
        (
            T::Int,
            json!({"enum": {"0": "Off", "1": "On"}}),
            ValueRef::Uint(1),
            Value::Int(1),
        ),
        (
            T::String,
            json!({}),
            ValueRef::Int(7),
            Value::String("7".into()),
        ),
        (
            T::Double,
            json!({}),
            ValueRef::String(" 1.25 "),
            Value::Float(1.25),
        ),
        (
            T::Bytes,
            json!({}),
            ValueRef::Bytes(&[1, 2]),
            Value::Bytes([1, 2].into()),
        ),
    ];
    for (value_type, config, raw, expected) in cases {
        let point = after(*value_type, config.clone(), *raw);
        assert_eq!(
            point.value.as_ref(),
            Some(expected),
            "{value_type} {config} {raw:?}"
        );
        assert_eq!(point.quality, Quality::Good);
    }
}

#[test]
fn bits_and_expressions_become_twin_values_and_raw_values() {
    let (int, float, text, truth) = (
        PropertyType::Int,
        PropertyType::Float,
        PropertyType::String,
        PropertyType::Boolean,
    );
    // Type, configuration, raw value, twin value, what is written for it.
    for (value_type, config, raw, twin, written) in [
        // 0xABCD & 0x0FF0 >> 4 = 0xBC; the other bits stay when it is written.
        (
            int,
            json!({"mask": "0x0FF0", "shift": 4}),
            Value::Uint(0xABCD),
            Value::Int(0xBC),
            Value::Int(0xABCD),
        ),
        // A signed register: -2 is 0xFFFE.
        (
            int,
            json!({"mask": 0xF000, "shift": 12, "rawType": "int16"}),
            Value::Int(-2),
            Value::Int(15),
            Value::Int(-2),
        ),
        (
            float,
            json!({"mask": 0xFF, "scale": 0.5}),
            Value::Uint(0x1203),
            Value::Float(1.5),
            Value::Int(0x1203),
        ),
        (
            text,
            json!({"mask": 3, "enum": {"2": "Eco"}}),
            Value::Int(6),
            Value::String("Eco".into()),
            Value::Int(6),
        ),
        (
            truth,
            json!({"mask": "0b100"}),
            Value::Int(7),
            Value::Bool(true),
            Value::Int(7),
        ),
        (
            int,
            json!({"shift": -2}),
            Value::Int(3),
            Value::Int(12),
            Value::Int(3),
        ),
        (
            float,
            json!({"expression": "x * 1.8 + 32", "inverse": "(x - 32) / 1.8"}),
            Value::Float(100.0),
            Value::Float(212.0),
            Value::Float(100.0),
        ),
        (
            float,
            json!({"expression": "x / 10", "inverse": "x * 10", "rawType": "int16"}),
            Value::Int(215),
            Value::Float(21.5),
            Value::Int(215),
        ),
        (
            truth,
            json!({"expression": "x == 1", "inverse": "x ? 1 : 2"}),
            Value::Int(2),
            Value::Bool(false),
            Value::Int(2),
        ),
        (
            text,
            json!({"expression": "x > 5 ? 'high' : 'low'", "inverse": "x == 'high' ? 9 : 1"}),
            Value::Int(9),
            Value::String("high".into()),
            Value::Int(9),
        ),
    ] {
        let rules = rules(value_type, config.clone(), None, None);
        let mut point = Point::new(0, "p", rules);
        point.apply(&good(raw.borrow()), 1);
        assert_eq!(point.value, Some(twin.clone()), "{config}");
        let back = point.rules.invert(&twin, point.raw_whole).unwrap();
        let former = point.raw.as_deref().copied().unwrap_or(0);
        assert_eq!(point.rules.among(back, former), Ok(written), "{config}");
    }
    let rules = rules(
        float,
        json!({"expression": "x * 0.3", "inverse": "x / 0.3", "rawType": "int16"}),
        None,
        None,
    );
    assert_eq!(
        rules.invert(&Value::Float(1.0), None),
        Err("1 is between two steps, the nearest is 0.9; write.tolerance allows it".to_owned())
    );
}

proptest! {
    /// What is written through bits, scale and offset is what is read.
    #[test]
    fn bits_scale_and_offset_give_back_what_was_written(
        width in 1..12_u32, low in 0..20_i64, former in any::<u32>(), part in any::<u32>(), offset in -50..50_i32,
    ) {
        let part = i64::from(part) & ((1 << width) - 1);
        let mask = ((1_u64 << width) - 1) << low;
        let config = json!({"mask": mask, "shift": low, "scale": 0.1, "offset": offset, "rawType": "uint32"});
        let rules = rules(PropertyType::Float, config, None, None);
        let twin = (part + i64::from(offset) * 10) as f64 / 10.0;
        let raw = rules.invert(&Value::Float(twin), None).unwrap();
        let raw = rules.among(raw, i64::from(former)).unwrap();
        let mut point = Point::new(0, "p", rules);
        point.apply(&good(raw.borrow()), 1);
        prop_assert_eq!(point.value, Some(Value::Float(twin)));
        let Value::Int(raw) = raw else { panic!("{raw:?}") };
        prop_assert_eq!((raw ^ i64::from(former)) & !(mask as i64), 0);
    }
}

#[test]
fn what_cannot_be_a_value_is_bad_and_says_why() {
    let cases: &[(PropertyType, serde_json::Value, ValueRef<'_>, &str)] = &[
        (
            PropertyType::String,
            json!({"enum": {"0": "Off"}}),
            ValueRef::Int(7),
            "raw value 7 has no name in `enum`",
        ),
        (
            PropertyType::Float,
            json!({}),
            ValueRef::Float(f64::NAN),
            "raw value NaN is not a finite number",
        ),
        (
            PropertyType::Int,
            json!({}),
            ValueRef::String("x"),
            "raw value x is not a number",
        ),
        (
            PropertyType::Bytes,
            json!({}),
            ValueRef::Int(1),
            "raw value 1 is not BYTES",
        ),
    ];
    for (value_type, config, raw, error) in cases {
        let point = after(*value_type, config.clone(), *raw);
        assert_eq!(
            (point.quality, point.reason, point.error.as_deref()),
            (Quality::Bad, Reason::Decode, Some(*error))
        );
        assert_eq!(point.value, None);
    }
}

#[test]
fn a_bad_reading_keeps_the_last_value() {
    let mut point = after(PropertyType::Float, json!({}), ValueRef::Float(5.0));
    let bad = Reading {
        quality: Quality::Bad,
        reason: Reason::Timeout,
        source_time_ns: 2,
        value: None,
        message: "no answer",
    };
    assert!(point.apply(&bad, 1), "news");
    assert!(!point.apply(&bad, 2), "no news");
    assert_eq!(
        (point.value.clone(), point.error.as_deref()),
        (Some(Value::Float(5.0)), Some("no answer"))
    );
    assert_eq!(point.good_ns, 1);
    assert!(
        point.apply(&good(ValueRef::Float(5.0)), 3),
        "good again is news, though the value is the same"
    );
    assert_eq!(point.error, None);
}

#[test]
fn outside_of_the_range() {
    let reading = good(ValueRef::Float(95.0));
    let of = |violation: &str| {
        let rules = rules(
            PropertyType::Float,
            json!({ "onViolation": violation }),
            Some(20.0),
            Some(90.0),
        );
        let mut point = Point::new(0, "p", rules);
        point.apply(&good(ValueRef::Float(50.0)), 0);
        let report = point.apply(&reading, 1);
        (report, point.value.clone(), point.quality, point.reason)
    };
    assert_eq!(
        of("flagBad"),
        (true, Some(Value::Float(95.0)), Quality::Bad, Reason::Range)
    );
    assert_eq!(
        of("clamp"),
        (
            true,
            Some(Value::Float(90.0)),
            Quality::Uncertain,
            Reason::Range
        )
    );
    assert_eq!(
        of("reject"),
        (false, Some(Value::Float(50.0)), Quality::Good, Reason::None)
    );
}

#[test]
fn what_is_reported_and_when() {
    let config = json!({"deadband": 0.5, "minInterval": 100, "maxInterval": 1000});
    let mut point = Point::new(0, "p", rules(PropertyType::Float, config, None, None));
    let mut at = |ms, value| point.apply(&good(ValueRef::Float(value)), ms);
    assert!(at(0, 10.0), "the first");
    assert!(!at(200, 10.4), "within the deadband");
    assert!(at(300, 10.6), "measured from the last reported value");
    assert!(!at(350, 12.0), "too soon after the last report");
    assert!(at(400, 12.0), "held back until now");
    assert!(!at(1399, 12.0));
    assert!(at(1400, 12.0), "heartbeat");
}

#[test]
fn a_change_that_was_held_back_is_not_lost_when_the_value_returns_to_it() {
    let config = json!({"minInterval": 100});
    let mut point = Point::new(0, "p", rules(PropertyType::String, config, None, None));
    assert!(point.apply(&good(ValueRef::String("a")), 0));
    assert!(!point.apply(&good(ValueRef::String("b")), 50));
    assert!(point.apply(&good(ValueRef::String("b")), 150));
    assert!(!point.apply(&good(ValueRef::String("b")), 300));
}

#[test]
fn twin_values_become_raw_values() {
    let float = rules(
        PropertyType::Float,
        json!({"scale": 0.1, "rawType": "int16"}),
        None,
        None,
    );
    assert_eq!(float.invert(&Value::Float(21.7), None), Ok(Value::Int(217)));
    assert!(
        float
            .invert(&Value::Float(21.75), None)
            .unwrap_err()
            .contains("between two steps")
    );
    let seen = rules(PropertyType::Float, json!({"scale": 0.5}), None, None);
    assert_eq!(
        seen.invert(&Value::Float(2.0), Some(true)),
        Ok(Value::Int(4)),
        "the last reading was whole"
    );
    assert_eq!(
        seen.invert(&Value::Float(2.25), None),
        Ok(Value::Float(4.5))
    );
    let named = rules(
        PropertyType::String,
        json!({"enum": {"0": "Off", "1": "On"}}),
        None,
        None,
    );
    assert_eq!(
        named.invert(&Value::String("On".into()), None),
        Ok(Value::Int(1))
    );
    let plain = rules(PropertyType::Boolean, json!({}), None, None);
    assert_eq!(
        plain.invert(&Value::Bool(true), None),
        Ok(Value::Bool(true))
    );
}

#[test]
fn a_value_of_32_bits_matches_what_was_desired() {
    let rules = rules(PropertyType::Float, json!({}), None, None);
    assert!(rules.matches(&Value::Float(f64::from(21.1_f32)), &Value::Float(21.1)));
    assert!(!rules.matches(&Value::Float(21.2), &Value::Float(21.1)));
    assert!(!rules.matches(&Value::Int(21), &Value::Int(22)));
}

proptest! {
    /// What is written is what is read back, at every scale of a whole raw value.
    #[test]
    fn writing_and_reading_agree(raw in -32_768_i64..=32_767, scale in prop::sample::select(vec![1.0, 0.1, 0.01, 0.5, 2.0, 10.0, 0.001]), offset in -100_i32..100) {
        let rules = rules(PropertyType::Float, json!({"scale": scale, "offset": offset, "rawType": "int16"}), None, None);
        let mut point = Point::new(0, "p", rules.clone());
        point.apply(&good(ValueRef::Int(raw)), 0);
        let twin = point.value.clone().unwrap();
        prop_assert_eq!(rules.invert(&twin, None), Ok(Value::Int(raw)));
    }

    /// However readings come: what was reported last is never further from the
    /// last reading than the deadband once minInterval has passed.
    #[test]
    fn the_last_report_is_near_the_truth(values in prop::collection::vec((0_u32..400, -10.0..10.0_f64), 1..100)) {
        let config = json!({"deadband": 0.5, "minInterval": 150});
        let mut point = Point::new(0, "p", rules(PropertyType::Float, config, None, None));
        let (mut now, mut reported, mut last) = (0, 0.0, 0.0);
        for (pause, value) in values {
            now += pause;
            if point.apply(&good(ValueRef::Float(value)), now) {
                reported = value;
            }
            last = value;
        }
        if point.apply(&good(ValueRef::Float(last)), now + 200) {
            reported = last;
        }
        prop_assert!((reported - last).abs() < 0.5);
    }
}
