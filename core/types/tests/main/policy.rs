//! The twin engine's keys.

use std::time::Duration;

use longshore_types::expression::Term;
use longshore_types::policy::{
    Confirm, Deadband, InverseError, OnViolation, PropertyPolicy, Transform,
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn parse(config: Json) -> (PropertyPolicy, Json, Vec<String>) {
    let Json::Object(config) = config else {
        panic!("an object")
    };
    let (policy, rest, faults) = PropertyPolicy::parse(&config, "v");
    (
        policy,
        Json::Object(rest),
        faults.iter().map(ToString::to_string).collect(),
    )
}

#[test]
fn all_keys() {
    let (policy, rest, faults) = parse(json!({
        "address": "hr:3#CDAB", "rawType": "int16", "scale": 0.1, "offset": -40, "enum": {"0": "Off", "1": "On"},
        "deadband": {"abs": 0.2, "percent": 1}, "minInterval": 100, "maxInterval": "1m30s", "staleAfter": "5s",
        "onViolation": "clamp", "write": {"confirm": "none", "tolerance": 0.1, "timeoutMs": 500, "retries": 0},
        "vendorKey": true,
    }));
    assert_eq!(faults, [""; 0]);
    assert_eq!(
        rest,
        json!({"address": "hr:3#CDAB", "rawType": "int16", "vendorKey": true})
    );
    assert_eq!(policy.transform, Transform::new(0.1, -40.0));
    let names = policy.names.unwrap();
    assert_eq!(
        (names.name(1), names.raw("Off"), names.name(2)),
        (Some("On"), Some(0), None)
    );
    assert_eq!(
        policy.deadband,
        Deadband {
            abs: Some(0.2),
            percent: Some(1.0)
        }
    );
    assert_eq!(policy.min_interval, Duration::from_millis(100));
    assert_eq!(policy.max_interval, Some(Duration::from_secs(90)));
    assert_eq!(policy.stale_after, Some(Duration::from_secs(5)));
    assert_eq!(policy.on_violation, OnViolation::Clamp);
    assert_eq!(policy.write.confirm, Confirm::None);
    assert_eq!(policy.write.timeout, Duration::from_millis(500));
    assert_eq!(policy.write.retries, 0);
}

#[test]
fn nothing_is_the_default() {
    let (policy, rest, faults) = parse(json!({"address": "ir:1"}));
    assert_eq!(
        (policy, rest, faults.len()),
        (PropertyPolicy::default(), json!({"address": "ir:1"}), 0)
    );
}

/// KubeEdge's Modbus visitor: its `offset` is the address of a register.
#[test]
fn the_offset_of_a_register_is_left_to_the_mapper() {
    let (policy, rest, faults) = parse(
        json!({"register": "HoldingRegister", "offset": 2, "limit": 1, "scale": 0.1, "transform": {"offset": 5}}),
    );
    assert_eq!(faults, [""; 0]);
    assert_eq!(
        rest,
        json!({"register": "HoldingRegister", "offset": 2, "limit": 1})
    );
    assert_eq!(policy.transform, Transform::new(0.1, 5.0));
}

#[test]
fn wrong_values_are_faults_at_their_place() {
    for (config, expected) in [
        (
            json!({"scale": "much"}),
            "v.scale: expected a number, got `much`",
        ),
        (json!({"scale": 0}), "v.scale: must not be 0"),
        (
            json!({"enum": ["Off"]}),
            "v.enum: expected names of raw numbers such as {0: Off, 1: On}, got a list",
        ),
        (
            json!({"enum": {"x": "Off"}}),
            "v.enum.x: the key must be a whole number, the raw value",
        ),
        (
            json!({"enum": {"0": false}}),
            "v.enum.0: the name was read as the truth value false, write it in quotes",
        ),
        (
            json!({"enum": {"0": "Off", "1": "Off"}}),
            "v.enum.1: the name `Off` stands twice, so that writing it would be ambiguous",
        ),
        (json!({"deadband": -1}), "v.deadband: must not be negative"),
        (
            json!({"deadband": {"rel": 1}}),
            "v.deadband.rel: unknown key, expected one of abs, percent",
        ),
        (
            json!({"staleAfter": "5 parsecs"}),
            "v.staleAfter: expected milliseconds or a time such as 500ms, 5s or 1m30s, got `5 parsecs`",
        ),
        (
            json!({"minInterval": 10, "maxInterval": 5}),
            "v.maxInterval: must be greater than 0 and not below minInterval",
        ),
        (
            json!({"onViolation": "explode"}),
            "v.onViolation: expected flagBad, clamp or reject, got `explode`",
        ),
        (
            json!({"write": true}),
            "v.write: expected an object with confirm, tolerance, timeout, timeoutMs, retries, command, expires, onReturn, repeat, priority, got `true`",
        ),
        (
            json!({"write": {"confirm": "maybe"}}),
            "v.write.confirm: expected readback or none, got `maybe`",
        ),
        (
            json!({"write": {"timeoutMs": 0}}),
            "v.write.timeoutMs: must be greater than 0",
        ),
    ] {
        assert_eq!(parse(config).2, [expected]);
    }
}

#[test]
fn decimal_scales_leave_no_dust() {
    let tenth = Transform::new(0.1, 0.0);
    assert_eq!(tenth.apply(217.0), 21.7);
    assert_eq!(tenth.invert_whole(21.7), Ok(217.0));
    assert_eq!(
        tenth.invert_whole(21.75),
        Err(InverseError::BetweenSteps {
            value: 21.75,
            step: 0.1
        })
    );
    let celsius = Transform::new(1.8, 32.0);
    assert_eq!(celsius.apply(100.0), 212.0);
    assert_eq!(celsius.invert_whole(212.0), Ok(100.0));
}

#[test]
fn deadbands_hide_small_changes() {
    let (policy, ..) = parse(json!({"deadband": {"percent": 10}}));
    assert!(policy.deadband.hides(100.0, 109.0) && !policy.deadband.hides(100.0, 110.0));
    let (policy, ..) = parse(json!({"deadband": 0.2}));
    assert!(policy.deadband.hides(1.0, 1.1) && !policy.deadband.hides(1.0, 1.3));
}

proptest! {
    #[test]
    fn what_a_device_can_hold_comes_back(raw in any::<i32>(), digits in 0_i32..6, offset in -1000_i32..1000) {
        let transform = Transform::new(10_f64.powi(-digits), f64::from(offset));
        prop_assert_eq!(transform.invert_whole(transform.apply(f64::from(raw))), Ok(f64::from(raw)));
    }

    #[test]
    fn no_text_is_a_panic(text in "\\PC{0,12}") {
        let _ = parse(json!({"staleAfter": text, "scale": text, "enum": {text.clone(): text}, "write": text}));
    }
}

/// Numbers that a raw value cannot have: the bit pattern of a signed type is the
/// number that it is, anything else is a fault.
#[test]
fn constants_fit_the_raw_type() {
    let bad = |config: Json, raw: i64| {
        let (policy, _, faults) = parse(config);
        assert_eq!(faults, [""; 0]);
        let condition = policy.bad_when.expect("a condition");
        condition.holds(&|_| Some(Term::Int(raw))) == Ok(true)
    };
    let of = |raw: &str, when: &str| json!({"rawType": raw, "badWhen": when});
    assert!(bad(of("int16", "x == 0x8000"), -32_768));
    assert!(bad(of("int32", "x == 0x80000000"), i64::from(i32::MIN)));
    assert!(bad(of("int32", "x in [0x7FFFFFFF, 4294967295]"), -1));
    assert!(bad(of("int16", "0xFFFF == x || x > 3000"), -1));
    assert!(!bad(of("int24", "x != 0xFFFFFF"), -1));
    assert!(bad(of("uint16", "x == 0x8000"), 32_768));
    assert!(
        bad(of("int16", "x + 1.0 == 32768.0"), 32_767),
        "it is not the value itself"
    );
    for (raw, when, what) in [
        (
            "int16",
            "x == 0x80000000",
            "2147483648 is outside of int16 (-32768…32767)",
        ),
        ("uint16", "x < 0", ""),
        ("uint16", "x == -1", "-1 is outside of uint16 (0…65535)"),
        ("int16", "x > 40000", "40000 is outside of int16"),
        ("bcd16", "x == 0xFFFF", "65535 is outside of bcd16 (0…9999)"),
    ] {
        let (_, _, faults) = parse(of(raw, when));
        let is_told = faults
            .iter()
            .any(|fault| !what.is_empty() && fault.contains(what));
        assert_eq!(is_told, !what.is_empty(), "{raw} {when}: {faults:?}");
    }
    let names =
        json!({"rawType": "int16", "enum": {"0": "Off", "65535": "Error", "0x7FFF": "Most"}});
    let (policy, _, faults) = parse(names);
    assert_eq!(faults, [""; 0]);
    let names = policy.names.expect("names");
    assert_eq!(
        (names.name(-1), names.name(32_767)),
        (Some("Error"), Some("Most"))
    );
    let (_, _, faults) = parse(json!({"rawType": "uint8", "enum": {"0": "Off", "256": "On"}}));
    assert_eq!(
        faults,
        ["v.enum.256: 256 is outside of uint8 (0…255): no value has it"]
    );
    // What a mask takes out, and bits of a register, are other numbers.
    for config in [
        json!({"rawType": "int8", "mask": "0xF00", "enum": {"3840": "All"}}),
        json!({"rawType": "uint16", "address": "hr:5.0:4", "badWhen": "x == 70000"}),
    ] {
        let (_, _, faults) = parse(config);
        assert_eq!(faults, [""; 0]);
    }
}
