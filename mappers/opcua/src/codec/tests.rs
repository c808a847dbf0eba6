//! Quality, time and form of values.

use std::sync::Arc;

use longshore_sdk::{Reading, SampleView};
use opcua::types::{DateTime, Guid, NumericRange, VariantScalarTypeId as Type};
use serde_json::json;

use super::*;
use crate::{
    node::{NodeName, Place},
    point::{Point, VALUE, Watch},
    structure::tests::alone,
};

fn field(element: &str) -> Point {
    Arc::new(Field {
        place: Place::node(NodeName::standard(1)),
        attribute: VALUE,
        range: NumericRange::None,
        element: match element {
            "" => Vec::new(),
            element => Field::steps(element).expect("a path"),
        },
        raw_type: None,
        watch: Watch {
            queue_size: 1,
            deadband: None,
            sampling_ms: None,
            publishing_ms: None,
        },
        polled: false,
    })
}

/// One value through a decoder.
fn decode<T>(value: &DataValue, element: &str, look: impl Fn(&SampleView<'_>) -> T) -> T {
    decode_of(&field(element), value, look)
}

fn decode_of<T>(field: &Field, value: &DataValue, look: impl Fn(&SampleView<'_>) -> T) -> T {
    let types = alone();
    let decoder = Decoder {
        types: &types,
        now_ns: 42,
    };
    let mut samples = Samples::default();
    decoder.push(1, field, value, &mut samples);
    assert_eq!(samples.len(), 1, "one sample for each value");
    let view = samples.iter().next().expect("one");
    look(&view)
}

fn text(value: impl Into<Variant>, element: &str) -> String {
    let value = DataValue::value_only(value.into());
    decode(&value, element, |view| match view.reading {
        Reading::Bad { message, .. } => format!("bad: {message}"),
        Reading::String(text) => text.to_owned(),
        other => format!("{other:?}"),
    })
}

#[test]
fn the_time_is_the_sources_by_its_own_clock() {
    let second = 1_000_000_000;
    let at = |hour| DateTime::ymd_hms(2024, 5, 6, hour, 0, 0);
    let unix = 1_714_953_600; // 2024-05-06T00:00:00Z
    let mut value = DataValue {
        value: Some(Variant::Int32(1)),
        source_timestamp: Some(at(7)),
        server_timestamp: Some(at(8)),
        ..DataValue::default()
    };
    let time = |value: &DataValue| decode(value, "", |view| view.source_time_ns);
    assert_eq!(time(&value), (unix + 7 * 3600) * second);
    value.source_timestamp = None;
    assert_eq!(time(&value), (unix + 8 * 3600) * second);
    // A null time, and that of a clock that was never set, are none.
    value.server_timestamp = Some(DateTime::null());
    assert_eq!(time(&value), 42);
    value.server_timestamp = Some(DateTime::ymd(1970, 1, 1));
    assert_eq!(time(&value), 42);
    value.server_timestamp = None;
    assert_eq!(time(&value), 42);
}

#[test]
fn the_top_bits_of_a_status_are_the_quality() {
    let value = |bits: u32| DataValue {
        value: Some(Variant::Double(2.5)),
        status: Some(StatusCode::from(bits)),
        ..DataValue::default()
    };
    let read = |bits| decode(&value(bits), "", |view| format!("{:?}", view.reading));
    assert_eq!(read(0), "Float(2.5)");
    // Good, clamped, with info bits.
    assert_eq!(read(0x0030_0000), "Float(2.5)");
    // UncertainLastUsableValue.
    assert_eq!(read(0x4090_0000), "Float(2.5)");
    let why = |bits| {
        decode(&value(bits), "", |view| match view.reading {
            Reading::Bad { reason, message } => (reason, message.to_owned()),
            other => panic!("{other:?}"),
        })
    };
    // BadSensorFailure, BadNoCommunication, BadTimeout, and one that nobody knows.
    assert!(why(0x808C_0000).1.starts_with("BadSensorFailure ("));
    assert_eq!(why(0x808C_0000).0, Some(Reason::Refused));
    assert_eq!(why(0x8031_0000).0, Some(Reason::Line));
    assert_eq!(why(0x800A_0000).0, Some(Reason::Timeout));
    assert_eq!(why(0x8FFF_0000).0, Some(Reason::Refused));
}

#[test]
fn what_is_no_scalar_is_json() {
    let numbers = |dimensions: Option<Vec<u32>>| {
        let values = (1..=6).map(Variant::Int16).collect::<Vec<_>>();
        let array = match dimensions {
            Some(dimensions) => Array::new_multi(Type::Int16, values, dimensions),
            None => Array::new(Type::Int16, values),
        };
        Variant::Array(Box::new(array.expect("an array")))
    };
    assert_eq!(text(numbers(None), ""), "[1,2,3,4,5,6]");
    assert_eq!(text(numbers(Some(vec![2, 3])), ""), "[[1,2,3],[4,5,6]]");
    assert_eq!(
        text(numbers(Some(vec![1, 2, 3])), ""),
        "[[[1,2,3],[4,5,6]]]"
    );
    assert_eq!(text(numbers(None), "4"), "Int(5)");
    assert_eq!(text(numbers(Some(vec![2, 3])), "1.0"), "Int(4)");
    assert_eq!(
        text(numbers(None), "6"),
        "bad: no element 6: the array has 6"
    );
    assert_eq!(
        text(numbers(None), "x"),
        "bad: no field `x`: the value is no structure"
    );
    let floats = vec![0.1_f32, f32::NAN];
    assert_eq!(text(floats, ""), r#"[0.1,"NaN"]"#);
    let guid = Guid::from_bytes([0x11; 16]);
    assert_eq!(text(guid, ""), "11111111-1111-1111-1111-111111111111");
    assert_eq!(
        text(Variant::Empty, ""),
        "bad: the node has no value (null)"
    );
    let types = alone();
    let decoder = Decoder {
        types: &types,
        now_ns: 0,
    };
    let time = Variant::from(DateTime::ymd_hms_nano(2024, 5, 6, 7, 8, 9, 123_400_000));
    assert_eq!(decoder.json(&time), json!("2024-05-06T07:08:09.123400Z"));
}

/// Each dimension is an array in an array, and a variant may claim a million of them.
#[test]
fn a_matrix_of_too_many_dimensions_is_a_list() {
    let ones = |count| {
        let array = Array::new_multi(Type::Int32, vec![Variant::Int32(7)], vec![1; count]);
        Variant::from(array.expect("one element"))
    };
    assert_eq!(text(ones(3), ""), "[[[7]]]");
    assert_eq!(text(ones(100_000), ""), "[7]");
}

/// One element of an array is that element, whether the server cut it out or not.
#[test]
fn a_part_of_an_array_is_taken_where_the_server_does_not() {
    let part = |values: &[i16], dimensions: Option<Vec<u32>>, range: &str| {
        let values: Vec<_> = values.iter().copied().map(Variant::Int16).collect();
        let array = match dimensions {
            Some(dimensions) => Array::new_multi(Type::Int16, values, dimensions),
            None => Array::new(Type::Int16, values),
        };
        let value = DataValue::value_only(Variant::from(array.expect("an array")));
        let mut field = (*field("")).clone();
        field.range = range.parse().expect("a range");
        decode_of(&field, &value, |view| match view.reading {
            Reading::Bad { message, .. } => format!("bad: {message}"),
            other => format!("{other:?}"),
        })
    };
    assert_eq!(part(&[7], None, "2"), "Int(7)");
    assert_eq!(part(&[5, 6, 7], None, "2"), "Int(7)");
    assert_eq!(part(&[5, 6, 7], None, "1:2"), r#"String("[6,7]")"#);
    assert_eq!(part(&[6, 7], None, "1:2"), r#"String("[6,7]")"#);
    assert_eq!(part(&[7], Some(vec![1, 1]), "1,2"), "Int(7)");
    let whole = [1, 2, 3, 4, 5, 6];
    assert_eq!(part(&whole, Some(vec![2, 3]), "1,2"), "Int(6)");
    assert_eq!(
        part(&whole, Some(vec![2, 3]), "0:1,1"),
        r#"String("[[2],[5]]")"#
    );
    let beyond = part(&[5, 6], None, "7");
    assert!(
        beyond.starts_with("bad: the server gives the whole array"),
        "{beyond}"
    );
}

#[test]
fn a_null_text_is_none_and_an_empty_one_is_a_text() {
    let null = "bad: the node has no value (null)";
    assert_eq!(text(UAString::null(), ""), null);
    assert_eq!(text(UAString::from(""), ""), "");
    assert_eq!(text(opcua::types::ByteString::null(), ""), null);
    assert_eq!(text(opcua::types::LocalizedText::null(), ""), null);
    let texts = vec![UAString::null(), UAString::from("a")];
    assert_eq!(text(texts, ""), r#"[null,"a"]"#);
}
