//! Which schemas a definition may have: the rules and the words of apiextensions v1
//! (`ValidateCustomResourceDefinitionOpenAPISchema`, `ValidateStructural` and
//! `ValidateDefaults` there), so that what is taken here is taken by any cluster.

use serde_json::{Map, Value, json};

use crate::cause::{Cause, Faults};
use crate::path::Path;
use crate::schema::{self, COMPILED, Components, Pattern, Schema};

/// Where a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Keywords that are no part of a definition's schema.
const UNSUPPORTED: &[&str] = &[
    "id",
    "additionalItems",
    "patternProperties",
    "definitions",
    "dependencies",
    "$ref",
];

/// What a type may be.
const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];

/// What may not stand inside of `allOf` and its like: keyword, and in words.
const NESTED: &[(&str, &str)] = &[
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    (
        "x-kubernetes-preserve-unknown-fields",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-embedded-resource",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-int-or-string",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-list-map-keys",
        "must be empty to be structural",
    ),
    (
        "x-kubernetes-list-type",
        "must be undefined to be structural",
    ),
    (
        "x-kubernetes-map-type",
        "must be undefined to be structural",
    ),
];

/// Finds the faults of a schema at `path`.
pub(super) fn check(schema: &Value, path: &Path<'_>, faults: &mut Faults) {
    let mut room = COMPILED;
    keywords(schema, path, None, true, faults, &mut room);
    structure(schema, path, Level::Root, faults);
    completeness(schema, schema, path, path, faults);
    defaults(schema, path, faults);
}

fn flag(schema: &Value, name: &str) -> bool {
    schema[name] == true
}

fn text<'a>(schema: &'a Value, name: &str) -> &'a str {
    schema[name].as_str().unwrap_or_default()
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    }
}

/// What each schema may say by itself. `no_defaults` is why there may be none.
fn keywords(
    schema: &Value,
    path: &Path<'_>,
    no_defaults: Option<&str>,
    root: bool,
    faults: &mut Faults,
    room: &mut usize,
) {
    let Some(map) = schema.as_object().filter(|_| faults.spend(1)) else {
        return;
    };
    let kind = text(schema, "type");
    if kind == "null" {
        let detail = "type cannot be set to null, use nullable as an alternative";
        faults.push(|| Cause::forbidden(path.field("type"), detail));
    } else if !kind.is_empty() && !TYPES.contains(&kind) {
        let types: Vec<Value> = TYPES.iter().map(|kind| json!(kind)).collect();
        faults.push(|| Cause::unsupported(path.field("type"), &schema["type"], &types));
    }
    if map.contains_key("default")
        && let Some(why) = no_defaults
    {
        let detail = format!("must not be set {why}");
        faults.push(|| Cause::forbidden(path.field("default"), &detail));
    }
    for name in UNSUPPORTED {
        if map.contains_key(*name) {
            faults.push(|| Cause::forbidden(path.field(name), &format!("{name} is not supported")));
        }
    }
    if schema["items"].is_array() {
        let detail = "items must be a schema object and not an array";
        faults.push(|| Cause::forbidden(path.field("items"), detail));
    }
    if flag(schema, "uniqueItems") {
        let detail =
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        faults.push(|| Cause::forbidden(path.field("uniqueItems"), detail));
    }
    pattern(schema, path, faults, room);
    lists_and_maps(schema, path, faults);

    let additional = &schema["additionalProperties"];
    let properties = schema["properties"].as_object();
    if !additional.is_null()
        && *additional != true
        && properties.is_some_and(|properties| !properties.is_empty())
    {
        let detail = "additionalProperties and properties are mutual exclusive";
        faults.push(|| Cause::forbidden(path.field("additionalProperties"), detail));
    }
    keywords(
        additional,
        &path.field("additionalProperties"),
        no_defaults,
        false,
        faults,
        room,
    );
    let all = path.field("properties");
    for (name, inner) in properties.into_iter().flatten() {
        let meta = root && matches!(&**name, "metadata" | "apiVersion" | "kind");
        let why = meta.then(|| format!("in top-level {name}"));
        keywords(
            inner,
            &all.key(name),
            why.as_deref().or(no_defaults),
            false,
            faults,
            room,
        );
    }
    keywords(
        &schema["items"],
        &path.field("items"),
        no_defaults,
        false,
        faults,
        room,
    );
    keywords(
        &schema["not"],
        &path.field("not"),
        no_defaults,
        false,
        faults,
        room,
    );
    for (at, inner) in junctors(schema) {
        let list = path.field(at.0);
        keywords(inner, &list.index(at.1), no_defaults, false, faults, room);
    }
}

/// The schemas in `allOf`, `oneOf` and `anyOf`, with their places.
fn junctors(schema: &Value) -> impl Iterator<Item = ((&'static str, usize), &Value)> {
    ["allOf", "oneOf", "anyOf"].into_iter().flat_map(|name| {
        let list = schema[name].as_array().into_iter().flatten();
        list.enumerate()
            .map(move |(index, inner)| ((name, index), inner))
    })
}

fn pattern(schema: &Value, path: &Path<'_>, faults: &mut Faults, room: &mut usize) {
    let Some(source) = schema["pattern"].as_str() else {
        return;
    };
    let compiled = Pattern::new(source);
    if let Err(error) = &compiled {
        let detail = format!("must be a valid regular expression, but isn't: {error}");
        faults.push(|| Cause::invalid(path.field("pattern"), &schema["pattern"], &detail));
    }
    // One that is none costs as much as the largest before that shows.
    let size = compiled.map_or(Pattern::LARGEST, |pattern| pattern.size());
    let left = room.checked_sub(size);
    if left.is_none() && *room > 0 {
        let detail = "the regular expressions of a schema together are too large";
        faults.push(|| Cause::too_much(path.field("pattern"), detail));
    }
    *room = left.unwrap_or_default();
}

fn lists_and_maps(schema: &Value, path: &Path<'_>, faults: &mut Faults) {
    let kind = text(schema, "type");
    let wrong_type = |wanted: &str, name: &str| {
        let detail = format!("must be {wanted} if {name} is specified");
        match kind {
            "" => Cause::missing(path.field("type"), &detail),
            _ => Cause::invalid(path.field("type"), &schema["type"], &detail),
        }
    };
    if schema["x-kubernetes-preserve-unknown-fields"] == false {
        let name = "x-kubernetes-preserve-unknown-fields";
        faults
            .push(|| Cause::invalid(path.field(name), &json!(false), "must be true or undefined"));
    }
    let map_type = &schema["x-kubernetes-map-type"];
    if !map_type.is_null() {
        if kind != "object" {
            faults.push(|| wrong_type("object", "x-kubernetes-map-type"));
        }
        let known = [json!("atomic"), json!("granular")];
        if !known.contains(map_type) {
            let path = path.field("x-kubernetes-map-type");
            faults.push(|| Cause::unsupported(path, map_type, &known));
        }
    }
    let list_type = &schema["x-kubernetes-list-type"];
    let keys = schema["x-kubernetes-list-map-keys"].as_array();
    let keys = keys.map(Vec::as_slice).unwrap_or_default();
    if !list_type.is_null() {
        if kind != "array" {
            faults.push(|| wrong_type("array", "x-kubernetes-list-type"));
        } else if list_type == "set" {
            set_items(&schema["items"], path, faults);
        }
        let known = [json!("atomic"), json!("set"), json!("map")];
        if !known.contains(list_type) {
            let path = path.field("x-kubernetes-list-type");
            faults.push(|| Cause::unsupported(path, list_type, &known));
        }
    }
    if !keys.is_empty() && list_type != "map" {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        let path = path.field("x-kubernetes-list-type");
        faults.push(|| match list_type {
            Value::Null => Cause::missing(path, detail),
            other => Cause::invalid(path, other, detail),
        });
    }
    if list_type == "map" {
        map_keys(schema, keys, path, faults);
    }
}

fn set_items(items: &Value, path: &Path<'_>, faults: &mut Faults) {
    let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let path = path.field("items");
    let (name, atomic) = match text(items, "type") {
        "array" => (
            "x-kubernetes-list-type",
            matches!(text(items, "x-kubernetes-list-type"), "" | "atomic"),
        ),
        "object" => (
            "x-kubernetes-map-type",
            text(items, "x-kubernetes-map-type") == "atomic",
        ),
        _ => return,
    };
    if !atomic {
        faults.push(|| Cause::invalid(path.field(name), &items[name], detail));
    }
}

fn map_keys(schema: &Value, keys: &[Value], path: &Path<'_>, faults: &mut Faults) {
    let at = path.field("x-kubernetes-list-map-keys");
    let all = &schema["x-kubernetes-list-map-keys"];
    if keys.is_empty() {
        let detail = "must not be empty if x-kubernetes-list-type is map";
        faults.push(|| Cause::missing(at, detail));
    }
    let (items, of) = (&schema["items"], path.field("items"));
    if items.is_null() {
        let detail = "must have a schema if x-kubernetes-list-type is map";
        faults.push(|| Cause::missing(of, detail));
        return;
    }
    if items["type"] != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        faults.push(|| Cause::invalid(of.field("type"), &items["type"], detail));
        return;
    }
    let properties = of.field("properties");
    let required = items["required"].as_array();
    let mut seen = std::collections::HashSet::new();
    for key in keys.iter().filter_map(Value::as_str) {
        if !seen.insert(key) {
            faults.push(|| Cause::invalid(at, all, "must not contain duplicate entries"));
        }
        let (property, place) = (&items["properties"][key], properties.key(key));
        if property.is_null() {
            let detail = "entries must all be names of item properties";
            faults.push(|| Cause::invalid(at, all, detail));
            continue;
        }
        if matches!(text(property, "type"), "array" | "object") {
            let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            faults.push(|| Cause::invalid(place.field("type"), &items["type"], detail));
        }
        let is_required = required.is_some_and(|list| list.iter().any(|name| name == key));
        if property["default"].is_null() && !is_required {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            faults.push(|| Cause::missing(place.field("default"), detail));
        }
        if flag(property, "nullable") {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            faults.push(|| Cause::forbidden(place.field("nullable"), detail));
        }
    }
}

/// The rules of structural schemas.
fn structure(schema: &Value, path: &Path<'_>, level: Level, faults: &mut Faults) {
    if !schema.is_object() || !faults.spend(1) {
        return;
    }
    let kind = text(schema, "type");
    let int_or_string = flag(schema, "x-kubernetes-int-or-string");
    let preserve = flag(schema, "x-kubernetes-preserve-unknown-fields");
    let embedded = flag(schema, "x-kubernetes-embedded-resource");
    if kind == "array" && schema["items"].is_null() {
        faults.push(|| Cause::missing(path.field("items"), "must be specified"));
    }
    structure(&schema["items"], &path.field("items"), Level::Item, faults);
    let all = path.field("properties");
    let properties = schema["properties"].as_object();
    for (name, inner) in properties.into_iter().flatten() {
        structure(inner, &all.key(name), Level::Field, faults);
    }
    let additional = path.field("additionalProperties");
    if !schema["additionalProperties"].is_null() {
        if level == Level::Root {
            faults.push(|| Cause::forbidden(additional, "must not be used at the root"));
        }
        structure(
            &schema["additionalProperties"],
            &additional,
            Level::Field,
            faults,
        );
    }
    for (name, is) in [
        ("x-kubernetes-preserve-unknown-fields", preserve),
        ("x-kubernetes-embedded-resource", embedded),
    ] {
        if int_or_string && is {
            let detail = "must be false if x-kubernetes-int-or-string is true";
            faults.push(|| Cause::invalid(path.field(name), &json!(true), detail));
        }
    }
    nested_of(
        schema,
        path,
        is_number_or_text(schema, int_or_string),
        faults,
    );
    if embedded && kind != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        faults.push(|| match kind {
            "" => Cause::missing(path.field("type"), detail),
            _ => Cause::invalid(path.field("type"), &schema["type"], detail),
        });
    } else if kind.is_empty() && !int_or_string && !preserve {
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        faults.push(|| Cause::missing(path.field("type"), detail));
    }
    if embedded && !schema["additionalProperties"].is_null() {
        let detail = "must not be used if x-kubernetes-embedded-resource is set";
        faults.push(|| Cause::forbidden(additional, detail));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        let detail = "must be object at the root";
        faults.push(|| Cause::invalid(path.field("type"), &schema["type"], detail));
    }
    if (level == Level::Root || embedded)
        && let Some(properties) = properties
    {
        metadata(properties, level, &all, faults);
    }
    if embedded && !preserve && properties.is_none_or(Map::is_empty) {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        faults.push(|| Cause::missing(all, detail));
    }
}

/// `apiVersion`, `kind` and `metadata` are Kubernetes' own.
fn metadata(properties: &Map<String, Value>, level: Level, all: &Path<'_>, faults: &mut Faults) {
    for name in ["kind", "apiVersion"] {
        if let Some(given) = properties
            .get(name)
            .filter(|given| given["type"] != "string")
        {
            let place = all.key(name);
            faults.push(|| Cause::invalid(place.field("type"), &given["type"], "must be string"));
        }
    }
    let Some(metadata) = properties.get("metadata") else {
        return;
    };
    let place = all.key("metadata");
    if metadata["type"] != "object" {
        faults.push(|| Cause::invalid(place.field("type"), &metadata["type"], "must be object"));
    }
    if level == Level::Root {
        let free = |name: &String| matches!(&**name, "type" | "properties" | "description");
        let inner = metadata["properties"].as_object();
        let mut names = inner.into_iter().flat_map(Map::keys);
        let plain = names.all(|name| matches!(&**name, "name" | "generateName"));
        let keywords = metadata.as_object();
        if !plain || !keywords.is_none_or(|map| map.keys().all(free)) {
            let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
            faults.push(|| Cause::forbidden(place, detail));
        }
    }
}

/// Whether the schema is of the form that a value of two types has: an `anyOf` of
/// integer and string, by itself or as the first of an `allOf`.
fn is_number_or_text(schema: &Value, int_or_string: bool) -> (bool, bool) {
    let both = json!([{"type": "integer"}, {"type": "string"}]);
    let first = &schema["allOf"][0]["anyOf"];
    (
        int_or_string && schema["anyOf"] == both,
        int_or_string && *first == both,
    )
}

/// What is only for checks may not say what a value is.
fn nested_of(schema: &Value, path: &Path<'_>, skip: (bool, bool), faults: &mut Faults) {
    nested(&schema["not"], &path.field("not"), false, faults);
    for ((name, index), inner) in junctors(schema) {
        if name == "anyOf" && skip.0 {
            continue;
        }
        let list = path.field(name);
        let skip_inner = name == "allOf" && index == 0 && skip.1;
        nested(inner, &list.index(index), skip_inner, faults);
    }
}

fn nested(schema: &Value, path: &Path<'_>, skip_any_of: bool, faults: &mut Faults) {
    if !schema.is_object() || !faults.spend(1) {
        return;
    }
    nested_of(schema, path, (skip_any_of, false), faults);
    nested(&schema["items"], &path.field("items"), false, faults);
    let all = path.field("properties");
    let properties = schema["properties"].as_object();
    for (name, inner) in properties.into_iter().flatten() {
        nested(inner, &all.key(name), false, faults);
        if name == "metadata" {
            let detail = "must not be specified in a nested context";
            faults.push(|| Cause::forbidden(all.key(name), detail));
        }
    }
    for (name, detail) in NESTED {
        if is_set(&schema[*name]) {
            faults.push(|| Cause::forbidden(path.field(name), detail));
        }
    }
}

/// What is checked must be described.
fn completeness(
    checks: &Value,
    structure: &Value,
    place: &Path<'_>,
    path: &Path<'_>,
    faults: &mut Faults,
) {
    let mut inner = |checks: &Value, path: &Path<'_>| {
        described(checks, structure, place, path, faults);
    };
    inner(&checks["not"], &path.field("not"));
    for ((name, index), schema) in junctors(checks) {
        inner(schema, &path.field(name).index(index));
    }
}

fn described(
    checks: &Value,
    structure: &Value,
    place: &Path<'_>,
    path: &Path<'_>,
    faults: &mut Faults,
) {
    if !checks.is_object() || !faults.spend(1) {
        return;
    }
    if !structure.is_object() {
        faults.push(|| Cause::missing(place, &format!("because it is defined in {path}")));
        return;
    }
    completeness(checks, structure, place, path, faults);
    described(
        &checks["items"],
        &structure["items"],
        &place.field("items"),
        &path.field("items"),
        faults,
    );
    let (places, paths) = (place.field("properties"), path.field("properties"));
    for (name, inner) in checks["properties"].as_object().into_iter().flatten() {
        let of = &structure["properties"][name];
        described(inner, of, &places.key(name), &paths.key(name), faults);
    }
}

/// Defaults must be what they are a default of.
fn defaults(schema: &Value, path: &Path<'_>, faults: &mut Faults) {
    if !schema.is_object() || !faults.spend(1) {
        return;
    }
    if let Some(default) = schema.get("default") {
        let of = Schema::parse(schema, &Components::new());
        let mut pruned = default.clone();
        // Each default costs what its schema and itself are large.
        if !faults.spend(crate::size::of(schema)) {
            return;
        }
        if !schema::prune(&mut pruned, &of).is_empty() {
            let detail = "must not have unknown fields";
            faults.push(|| Cause::invalid(path.field("default"), default, detail));
        }
        schema::check_at(default, &of, &path.field("default"), faults);
    }
    defaults(&schema["items"], &path.field("items"), faults);
    let all = path.field("properties");
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        defaults(inner, &all.key(name), faults);
    }
}
