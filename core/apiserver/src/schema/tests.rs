//! A schema with one of everything.

use serde_json::{Value, json};

use super::*;

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
    validate(&object, &schema())
        .into_iter()
        .map(|cause| format!("{}: {}", cause.field, cause.message))
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
    let missing = validate(&json!({"spec": {}}), &schema());
    assert_eq!(
        (missing[0].field.as_str(), missing[0].message.as_str()),
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
        unknown,
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
    apply_defaults(&mut object, &schema());
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
