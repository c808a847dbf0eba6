//! The edge's own reader of JSON Schema, and what people read of it.

use longshore_types::schema_check::{Document, Part, check, is_valid};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn texts(schema: &Value, value: &Value) -> Vec<String> {
    let faults = check(schema, value, "config");
    faults.iter().map(ToString::to_string).collect()
}

/// As `schemars` writes a struct with an option, words with texts, and a choice.
fn like_generated() -> Value {
    json!({
        "type": "object",
        "properties": {
            "address": {"type": "string", "minLength": 1},
            "unit": {"type": ["integer", "null"], "minimum": 0, "maximum": 255},
            "byteOrder": {"anyOf": [{"$ref": "#/$defs/Order"}, {"type": "null"}]},
            "frame": {"oneOf": [
                {"type": "object", "properties": {"kind": {"const": "line"}, "end": {"type": "string"}},
                 "required": ["kind", "end"]},
                {"type": "object", "properties": {"kind": {"const": "length"}, "bytes": {"type": "integer"}},
                 "required": ["kind", "bytes"]}
            ]},
            "timeout": {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 1}]},
            "fields": {"type": "array", "maxItems": 2, "items": {"$ref": "#/$defs/Field"}}
        },
        "required": ["address"],
        "additionalProperties": false,
        "$defs": {
            "Order": {"oneOf": [{"const": "big", "description": "First."}, {"const": "little"}]},
            "Field": {"type": "object", "properties": {"at": {"type": "integer"}}, "required": ["at"]}
        }
    })
}

#[test]
fn faults_stand_at_their_key_path() {
    let schema = like_generated();
    let good = json!({"address": "hr:0", "unit": null, "byteOrder": "big", "timeout": "1s",
        "frame": {"kind": "line", "end": "\n"}, "fields": [{"at": 1.0}]});
    assert_eq!(texts(&schema, &good), [""; 0]);
    let bad = json!({"adress": "hr:0", "unit": 256, "byteOrder": "bik", "timeout": 0,
        "frame": {"kind": "length"}, "fields": [{}, {"at": "x"}, {"at": 1}]});
    assert_eq!(
        texts(&schema, &bad),
        [
            "config.address: is missing",
            "config.unit: must be at most 255, found 256",
            "config.byteOrder: `bik` is none of `big`, `little`; did you mean `big`?",
            "config.timeout: must be at least 1, found 0",
            "config.frame.bytes: is missing",
            "config.fields: must have at most 2 items, has 3",
            "config.fields[0].at: is missing",
            "config.fields[1].at: expected a whole number, found `x`",
            "config.adress: unknown key; did you mean `address`?",
        ]
    );
    assert_eq!(
        texts(&schema, &json!([1])),
        ["config: expected a mapping, found a list"]
    );
    assert_eq!(
        texts(&schema, &json!({"address": "", "timeout": true})),
        [
            "config.address: must have at least 1 characters, has 0",
            "config.timeout: fits none of the possible forms: expected a text, found true; \
             or expected a whole number, found true",
        ]
    );
}

#[test]
fn an_unknown_key_is_a_warning_whatever_the_schema_says() {
    let schema = like_generated();
    let value = json!({"address": "hr:0", "limit": 1});
    let faults = check(&schema, &value, "config");
    assert_eq!(faults.len(), 1);
    assert!(!faults[0].is_error());
    assert!(!is_valid(&schema, &value), "JSON Schema forbids it");
    // Keys of all parts are known, and where anything goes nothing is unknown.
    let parts = json!({"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]});
    assert_eq!(texts(&parts, &json!({"a": 1, "b": 2})), [""; 0]);
    assert_eq!(
        texts(&parts, &json!({"bb": 2})),
        ["config.bb: unknown key; did you mean `b`?"]
    );
    let open = json!({"properties": {"a": {}}, "additionalProperties": {"type": "integer"}});
    assert_eq!(texts(&open, &json!({"z": 1})), [""; 0]);
    assert_eq!(
        texts(&open, &json!({"z": "1"})),
        ["config.z: expected a whole number, found `1`"]
    );
    assert_eq!(texts(&json!({"type": "object"}), &json!({"z": 1})), [""; 0]);
}

#[test]
fn a_schema_that_refers_to_itself_ends() {
    let circle = json!({"$ref": "#"});
    assert_eq!(texts(&circle, &json!({"a": 1})), [""; 0]);
    let tree =
        json!({"type": "object", "properties": {"next": {"$ref": "#"}, "n": {"type": "integer"}}});
    let value = json!({"next": {"next": {"n": "x"}}});
    assert_eq!(
        texts(&tree, &value),
        ["config.next.next.n: expected a whole number, found `x`"]
    );
}

#[test]
fn a_device_is_checked_part_by_part() {
    let document = json!({
        "protocol": "counter",
        "device": {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]},
        "property": {"type": "object", "properties": {"start": {"$ref": "#/$defs/N"}},
            "$defs": {"N": {"type": "integer"}}}
    });
    let document = Document::parse(&document.to_string()).expect("an object");
    let faults = document.check_device(&json!({"device": "default/a", "protocol": {},
        "points": [{"id": 1, "config": {"start": 1}}, {"id": 2, "config": {"start": "x"}}],
        "methods": [{"name": "reset", "config": {"any": "thing"}}]}));
    let texts: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "protocol.url: is missing",
            "points[1].config.start: expected a whole number, found `x`"
        ]
    );
    assert!(document.part(Part::Method).is_none());
    assert!(Document::parse("[]").is_err() && Document::parse("{").is_err());
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..6).prop_map(Value::from),
        (-6_i64..12).prop_map(|half| json!(half as f64 / 2.0)),
        prop_oneof![Just(u64::MAX), Just(1 << 53), Just((1 << 53) + 1)].prop_map(Value::from),
        "[abä]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inner, 0..4)
                .prop_map(|keys| Value::Object(keys.into_iter().collect())),
        ]
    })
}

/// One keyword and what stands there.
fn any_keyword(inner: BoxedStrategy<Value>) -> impl Strategy<Value = (String, Value)> {
    let kinds = [
        "null", "boolean", "object", "array", "string", "number", "integer",
    ];
    let kind = prop::sample::select(kinds.to_vec()).prop_map(Value::from);
    let keyed = |words: &'static [&'static str], value: BoxedStrategy<Value>| {
        (prop::sample::select(words), value).prop_map(|(word, value)| (word.to_owned(), value))
    };
    let named = prop::collection::btree_map("[abc]", inner.clone(), 0..3)
        .prop_map(|keys| Value::Object(keys.into_iter().collect()))
        .boxed();
    let several = prop::collection::vec(inner.clone(), 1..4)
        .prop_map(Value::from)
        .boxed();
    let sizes = [
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
    ];
    let bounds = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];
    prop_oneof![
        4 => kind.clone().prop_map(|kind| ("type".to_owned(), kind)),
        1 => prop::collection::btree_set("null|object|string|integer", 1..3)
            .prop_map(|kinds| ("type".to_owned(), json!(kinds))),
        1 => any_value().prop_map(|word| ("const".to_owned(), word)),
        1 => prop::collection::vec(any_value(), 1..4).prop_map(|words| ("enum".to_owned(), json!(words))),
        2 => (prop::sample::select(bounds.to_vec()), -4_i64..8)
            .prop_map(|(key, half)| (key.to_owned(), json!(half as f64 / 2.0))),
        2 => (prop::sample::select(sizes.to_vec()), 0_u64..4).prop_map(|(key, size)| (key.to_owned(), json!(size))),
        1 => prop::collection::btree_set("[abc]", 0..3).prop_map(|keys| ("required".to_owned(), json!(keys))),
        3 => keyed(&["properties"], named),
        2 => keyed(&["additionalProperties", "items", "not"], inner),
        3 => keyed(&["anyOf", "oneOf", "allOf", "prefixItems"], several),
        1 => Just(("$ref".to_owned(), json!("#/$defs/A"))),
    ]
}

fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![3 => Just(json!({})), 1 => any::<bool>().prop_map(Value::from)];
    let part = leaf
        .prop_recursive(4, 24, 4, |inner| {
            let inner = inner.boxed();
            prop::collection::vec(any_keyword(inner), 1..4)
                .prop_map(|keys| Value::Object(keys.into_iter().collect::<Map<_, _>>()))
        })
        .boxed();
    // `A` may be referred to; it refers to nothing, so that all of it ends.
    let plain = prop_oneof![
        Just(json!({"type": "integer"})),
        Just(
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false})
        ),
    ];
    (part, plain).prop_map(|(mut schema, plain)| {
        if let Value::Object(keys) = &mut schema {
            keys.insert("$defs".to_owned(), json!({ "A": plain }));
        }
        schema
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn it_agrees_with_another_implementation(schema in any_schema(), value in any_value()) {
        let other = jsonschema::draft202012::new(&schema).expect("a schema");
        prop_assert_eq!(is_valid(&schema, &value), other.is_valid(&value));
    }

    #[test]
    fn what_is_told_as_an_error_is_one(schema in any_schema(), value in any_value()) {
        let faults = check(&schema, &value, "config");
        if faults.iter().any(longshore_types::Fault::is_error) {
            prop_assert!(!is_valid(&schema, &value), "{:?}", faults);
        }
        for fault in &faults {
            prop_assert!(fault.path.starts_with("config") && !fault.message.is_empty());
        }
    }
}

#[test]
fn a_schema_that_doubles_with_each_level_ends_too() {
    let itself = json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}], "allOf": [{"$ref": "#"}]});
    // Thirty levels, each of which names the next one twice.
    let mut levels = Map::new();
    for level in 0..30 {
        let next = json!({"$ref": format!("#/$defs/{}", level + 1)});
        levels.insert(level.to_string(), json!({"anyOf": [next.clone(), next]}));
    }
    levels.insert("30".to_owned(), json!({"properties": {"a": {}}}));
    let levels = json!({"$ref": "#/$defs/0", "$defs": levels});
    let began = std::time::Instant::now();
    for schema in [itself, levels] {
        check(&schema, &json!({"unit": 1}), "protocol");
    }
    let took = began.elapsed();
    assert!(took < std::time::Duration::from_secs(20), "{took:?}");
}
