//! A schema with one of everything.

use serde_json::{Value, json};

use super::*;
use crate::cause::Faults;

fn schema() -> Schema {
    let source = json!({"type": "object", "properties": {"spec": {"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^[a-z]+$"},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "ratio": {"type": "number", "minimum": 0, "exclusiveMinimum": true},
        "mode": {"type": "string", "enum": ["on", "off"], "default": "on"},
        "port": {"x-kubernetes-int-or-string": true},
        "maybe": {"type": "string", "nullable": true},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"known": {"type": "object", "properties": {"a": {"type": "integer"}}}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "integer"}}}},
        "items": {"type": "array", "maxItems": 3, "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["id"], "items": {"type": "object", "properties": {
                "id": {"type": "string"}, "size": {"type": "integer", "default": 7}}}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "template": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {}},
        "either": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
    }}}});
    Schema::parse(&source, &Components::new())
}

/// The faults of a spec, as `field: message`.
fn faults(mut spec: Value) -> Vec<String> {
    if spec["name"].is_null() {
        spec["name"] = json!("ok");
    }
    let object = json!({ "spec": spec });
    let mut faults = Faults::new();
    validate(&object, &schema(), &mut faults);
    let told = faults.told().iter();
    told.map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect()
}

#[test]
fn what_fits_has_no_fault() {
    let spec = json!({"count": 9, "ratio": 0.5, "mode": "off", "port": "http", "maybe": null, "free": {"x": [1]},
        "map": {"k": {"a": 1}}, "items": [{"id": "a"}, {"id": "b"}], "set": ["a", "b"], "either": {"b": "x"}});
    assert_eq!(faults(spec), Vec::<String>::new());
    assert_eq!(
        faults(json!({"port": 80, "count": 2.0})),
        Vec::<String>::new()
    );
}

#[test]
fn each_fault_is_told_at_its_place() {
    let cases = [
        (
            json!({"name": 1}),
            r#"spec.name: Invalid value: "integer": spec.name in body must be of type string: "integer""#,
        ),
        (
            json!({"name": "Ab"}),
            r#"spec.name: Invalid value: "Ab": spec.name in body should match '^[a-z]+$'"#,
        ),
        (
            json!({"name": "a"}),
            r#"spec.name: Invalid value: "a": spec.name in body should be at least 2 chars long"#,
        ),
        (
            json!({"count": 0}),
            "spec.count: Invalid value: 0: spec.count in body should be greater than or equal to 1",
        ),
        (
            json!({"count": 10}),
            "spec.count: Invalid value: 10: spec.count in body should be less than or equal to 9",
        ),
        (
            json!({"count": 1.5}),
            r#"spec.count: Invalid value: "number": spec.count in body must be of type integer: "number""#,
        ),
        (
            json!({"ratio": 0}),
            "spec.ratio: Invalid value: 0: spec.ratio in body should be greater than 0",
        ),
        (
            json!({"mode": "x"}),
            r#"spec.mode: Unsupported value: "x": supported values: "on", "off""#,
        ),
        (
            json!({"items": [{"id": "a"}, {"id": "a"}]}),
            r#"spec.items[1]: Duplicate value: {"id":"a"}"#,
        ),
        (
            json!({"set": ["a", "a"]}),
            r#"spec.set[1]: Duplicate value: "a""#,
        ),
        (
            json!({"set": ["a", null]}),
            r#"spec.set[1]: Invalid value: "null": spec.set[1] in body must be of type string: "null""#,
        ),
        (
            json!({"either": {}}),
            "spec.either: Invalid value: {}: spec.either in body must validate one and only one schema (oneOf)",
        ),
    ];
    for (spec, wanted) in cases {
        assert_eq!(faults(spec.clone()), [wanted], "{spec}");
    }
    let mut faults = Faults::new();
    validate(&json!({"spec": {}}), &schema(), &mut faults);
    let missing = &faults.told()[0];
    assert_eq!(
        (missing.field.as_str(), missing.message.as_str()),
        ("spec.name", "Required value")
    );
}

#[test]
fn unknown_fields_go_and_are_named() {
    let mut object = json!({"x": 1, "spec": {"name": "ok", "y": {"deep": 1}, "free": {"any": 1, "known": {"b": 1}},
        "map": {"k": {"z": 1}}, "items": [{"id": "a", "q": 1}],
        "template": {"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, "other": 1}}});
    let unknown = prune(&mut object, &schema());
    assert_eq!(
        unknown.into_list(),
        [
            "x",
            "spec.y",
            "spec.free.known.b",
            "spec.map.k.z",
            "spec.items[0].q",
            "spec.template.other"
        ]
    );
    assert_eq!(
        object,
        json!({"spec": {"name": "ok", "free": {"any": 1, "known": {}}, "map": {"k": {}}, "items": [{"id": "a"}],
            "template": {"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}}}})
    );
}

#[test]
fn defaults_fill_in_what_is_missing_or_null() {
    let mut object =
        json!({"spec": {"mode": null, "items": [{"id": "a"}, {"id": "b", "size": 1}]}});
    let mut room = 100;
    assert!(apply_defaults(&mut object, &schema(), &mut room));
    assert_eq!(room, 100 - "mode".len() - 4 - "size".len() - 2);
    assert_eq!(
        object,
        json!({"spec": {"mode": "on", "items": [{"id": "a", "size": 7}, {"id": "b", "size": 1}]}})
    );
}

#[test]
fn the_table_of_built_in_types_is_whole() {
    let components = text::components(include_str!("../registry/builtin.types"));
    assert!(components.len() > 30);
    for (name, component) in &components {
        assert!(
            !component["description"]
                .as_str()
                .unwrap_or_default()
                .is_empty(),
            "{name}"
        );
        Schema::parse(component, &components);
    }
    let meta = Schema::parse(
        &components["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"],
        &components,
    );
    assert_eq!(meta.properties["finalizers"].merge_key.as_deref(), Some(""));
    assert_eq!(
        meta.properties["ownerReferences"].list,
        List::Map(vec!["uid".into()])
    );
}

/// The kinds of hostile objects: of size `n`, with a schema for them.
fn hostile(n: usize) -> Vec<(&'static str, Value, Value)> {
    let long = "k".repeat(n);
    let strings = || (0..n).map(|at| json!(at.to_string())).collect::<Vec<_>>();
    let objects = || (0..n).map(|at| json!({"id": at})).collect::<Vec<_>>();
    let array = |more: Value| {
        let mut schema = json!({"type": "array"});
        schema
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        schema
    };
    let all_kinds = |count: usize| vec![json!({"type": "string"}); count];
    vec![
        (
            "a long key above many small items",
            json!({long.clone(): vec![0; n]}),
            json!({"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}}),
        ),
        (
            "unknown fields below a long key",
            json!({long: vec![json!({"x": 1}); n]}),
            json!({"type": "object", "additionalProperties": {"type": "array", "items": {"type": "object"}}}),
        ),
        (
            "unique items",
            json!(strings()),
            array(json!({"uniqueItems": true})),
        ),
        (
            "a set",
            json!(strings()),
            array(json!({"x-kubernetes-list-type": "set"})),
        ),
        (
            "a map of items",
            json!(objects()),
            array(
                json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"], "items": {"type": "object"}}),
            ),
        ),
        (
            "many allowed values",
            json!(strings()),
            array(json!({"items": {"type": "string", "enum": strings()}})),
        ),
        (
            "a text for a pattern that backtracks elsewhere",
            json!("a".repeat(n)),
            json!({"type": "string", "pattern": "^(a+)+$|^(a|aa)+b$"}),
        ),
        (
            "items that fit none of several schemas",
            json!(vec![1; n]),
            array(
                json!({"items": {"anyOf": all_kinds(3), "oneOf": all_kinds(3), "not": {"type": "integer"}}}),
            ),
        ),
    ]
}

/// Twice the object takes twice the steps, not four times, and the words told of it
/// do not grow at all.
#[test]
fn the_check_of_an_object_costs_in_proportion_to_its_size() {
    let cost = |object: &Value, schema: &Value| {
        let schema = Schema::parse(schema, &Components::new());
        let mut faults = Faults::new();
        validate(object, &schema, &mut faults);
        let unknown = prune(&mut object.clone(), &schema).into_list();
        let words: usize = faults.told().iter().map(|cause| cause.text().len()).sum();
        let words = words + unknown.iter().map(String::len).sum::<usize>();
        (faults.steps(), words)
    };
    for ((what, small, schema), (_, large, large_schema)) in
        hostile(2_000).into_iter().zip(hostile(4_000))
    {
        let (few, short) = cost(&small, &schema);
        let (many, long) = cost(&large, &large_schema);
        assert!(
            few > 0 && many <= 2 * few + 10,
            "{what}: {few} and {many} steps"
        );
        assert!(
            long <= short + 1_000 && long < 128 * 1024,
            "{what}: {short} and {long} bytes told"
        );
    }
}

/// The largest body of each kind: what is not linear takes minutes here, and hours in
/// a debug build.
#[test]
fn the_largest_objects_are_checked() {
    for (what, object, schema) in hostile(150_000) {
        let schema = Schema::parse(&schema, &Components::new());
        let mut faults = Faults::new();
        validate(&object, &schema, &mut faults);
        prune(&mut object.clone(), &schema);
        assert!(faults.told().len() <= 50, "{what}");
    }
}

#[test]
fn a_schema_that_is_made_to_cost_runs_into_the_bound() {
    // Each level doubles the work: two to the thirtieth in all.
    let mut schema = json!({"type": "string"});
    for _ in 0..30 {
        schema = json!({"anyOf": [schema.clone(), schema]});
        if crate::size::of(&schema) > 100_000 {
            break;
        }
    }
    let schema = json!({"type": "array", "items": schema});
    let schema = Schema::parse(&schema, &Components::new());
    let mut faults = Faults::with_steps(1_000_000);
    validate(&json!(vec![1; 100_000]), &schema, &mut faults);
    let last = faults.told().last().unwrap();
    assert_eq!(last.reason, "FieldValueTooMany", "{}", last.text());
}

#[test]
fn defaults_make_no_object_that_is_too_large() {
    let schema = json!({"type": "array", "items": {"type": "object", "properties": {
        "a": {"type": "string", "default": "x".repeat(1_000)}}}});
    let schema = Schema::parse(&schema, &Components::new());
    let mut room = crate::size::OBJECT;
    assert!(!apply_defaults(
        &mut json!(vec![json!({}); 10_000]),
        &schema,
        &mut room
    ));
}
