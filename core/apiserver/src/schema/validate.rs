//! Checking an object against its schema, with the messages clients know.

use serde_json::Value;

use super::{Checks, Format, Kind, List, Schema};
use crate::cause::{Cause, Faults};
use crate::digest::Index;
use crate::path::Path;

/// Finds all faults of `value`, each at its path.
pub(crate) fn validate(value: &Value, schema: &Schema, faults: &mut Faults) {
    walk(value, schema, &Path::ROOT, faults);
}

/// The same for a value that stands at `path`.
pub(crate) fn check_at(value: &Value, schema: &Schema, path: &Path<'_>, faults: &mut Faults) {
    walk(value, schema, &path.body(), faults);
}

fn walk(value: &Value, schema: &Schema, path: &Path<'_>, faults: &mut Faults) {
    if faults.is_settled() || !faults.spend(1) || (value.is_null() && schema.nullable) {
        return;
    }
    if !is(value, schema.kind) {
        faults.push(|| {
            let found = type_of(value);
            let wanted = schema.kind.name();
            let name = path.in_body();
            let text = format!("{name} in body must be of type {wanted}: \"{found}\"");
            Cause::wrong_type(path, &Value::String(found.into()), &text)
        });
        return;
    }
    check(value, &schema.checks, path, faults);
    match value {
        Value::Object(map) => {
            for name in &schema.required {
                if map.get(name).is_none_or(|value| {
                    value.is_null() && schema.field(name).is_none_or(|field| !field.nullable)
                }) {
                    faults.push(|| Cause::required(path.field(name)));
                }
            }
            for (name, value) in map {
                if let Some(field) = schema.field(name)
                    && !(value.is_null() && schema.required.contains(name))
                {
                    walk(value, field, &path.field(name), faults);
                }
            }
        }
        Value::Array(items) => {
            if let Some(of) = &schema.items {
                for (index, item) in items.iter().enumerate() {
                    walk(item, of, &path.index(index), faults);
                }
            }
            duplicates(items, schema, path, faults);
        }
        _ => {}
    }
}

fn is(value: &Value, kind: Kind) -> bool {
    match kind {
        Kind::Any => true,
        Kind::Object => value.is_object(),
        Kind::Array => value.is_array(),
        Kind::String => value.is_string(),
        Kind::Integer => integer(value),
        Kind::Number => value.is_number(),
        Kind::Boolean => value.is_boolean(),
        Kind::IntOrString => value.is_string() || integer(value),
    }
}

fn integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Lists that are sets or maps may hold each item or key once.
fn duplicates(items: &[Value], schema: &Schema, path: &Path<'_>, faults: &mut Faults) {
    match &schema.list {
        List::Atomic => {}
        List::Set => repeated(items, path, faults),
        List::Map(keys) => {
            let keys = items.iter().map(|item| key_of(item, keys, schema));
            repeated(&keys.collect::<Vec<_>>(), path, faults);
        }
    }
}

fn key_of(item: &Value, keys: &[String], schema: &Schema) -> Value {
    let of = |key: &String| {
        let default = || schema.items.as_ref()?.field(key)?.default.clone();
        let value = item.get(key).cloned().or_else(default);
        (key.clone(), value.unwrap_or(Value::Null))
    };
    Value::Object(keys.iter().map(of).collect())
}

fn repeated(values: &[Value], path: &Path<'_>, faults: &mut Faults) {
    let mut seen = Index::default();
    for (at, value) in values.iter().enumerate() {
        if seen.find(value, |at| values.get(at)).is_some() {
            faults.push(|| Cause::duplicate(path.index(at), value));
        } else {
            seen.add(value, at);
        }
    }
}

fn check(value: &Value, checks: &Checks, path: &Path<'_>, faults: &mut Faults) {
    if let Some(allowed) = &checks.one_of_values
        && !allowed.contains(value)
    {
        faults.push(|| Cause::unsupported(path, value, allowed.list()));
    }
    if let Some((pattern, Some(regex))) = &checks.pattern
        && let Some(text) = value.as_str()
    {
        if !faults.spend(regex.cost(text)) {
            return;
        }
        if !regex.is_match(text) {
            invalid(value, path, faults, || format!("should match '{pattern}'"));
        }
    }
    if let Some(format) = checks.format.filter(|format| !format.fits(value)) {
        faults.push(|| wrong_format(value, format, path));
    }
    if let Some(number) = value.as_f64() {
        bounds(value, number, checks, path, faults);
    }
    sizes(value, checks, path, faults);
    if checks.unique
        && let Value::Array(items) = value
        && faults.finds(|silent| repeated(items, path, silent))
    {
        invalid(value, path, faults, || {
            "shouldn't contain duplicates".to_owned()
        });
    }
    junctors(value, checks, path, faults);
}

fn wrong_format(value: &Value, format: Format, path: &Path<'_>) -> Cause {
    let name = format.name();
    let text = format!("{} in body must be of type {name}: {value}", path.in_body());
    Cause::wrong_type(path, value, &text)
}

fn invalid(value: &Value, path: &Path<'_>, faults: &mut Faults, text: impl FnOnce() -> String) {
    faults.push(|| {
        let text = format!("{} in body {}", path.in_body(), text());
        Cause::invalid(path, value, &text)
    });
}

fn sizes(value: &Value, checks: &Checks, path: &Path<'_>, faults: &mut Faults) {
    if let Some(text) = value.as_str()
        && checks.length != (None, None)
    {
        let length = text.chars().count() as u64;
        if let Some(least) = checks.length.0.filter(|least| length < *least) {
            let text = || format!("should be at least {least} chars long");
            invalid(value, path, faults, text);
        }
        if let Some(most) = checks.length.1.filter(|most| length > *most) {
            faults.push(|| Cause::too_long(path, usize::try_from(most).unwrap_or(usize::MAX)));
        }
    }
    let (size, (least, most), what) = match value {
        Value::Array(items) => (items.len() as u64, checks.items, "items"),
        Value::Object(map) => (map.len() as u64, checks.properties, "properties"),
        _ => return,
    };
    if let Some(least) = least.filter(|least| size < *least) {
        let text = || format!("should have at least {least} {what}");
        invalid(value, path, faults, text);
    }
    if let Some(most) = most.filter(|most| size > *most) {
        let text = format!("{size}: must have at most {most} items");
        faults.push(|| Cause::too_much(path, &text));
    }
}

fn bounds(value: &Value, number: f64, checks: &Checks, path: &Path<'_>, faults: &mut Faults) {
    let or_equal = |exclusive: bool| if exclusive { "" } else { " or equal to" };
    if let Some((least, exclusive)) = checks.minimum
        && (number < least || (exclusive && number == least))
    {
        let text = || format!("should be greater than{} {least}", or_equal(exclusive));
        invalid(value, path, faults, text);
    }
    if let Some((most, exclusive)) = checks.maximum
        && (number > most || (exclusive && number == most))
    {
        let text = || format!("should be less than{} {most}", or_equal(exclusive));
        invalid(value, path, faults, text);
    }
    if let Some(step) = checks.multiple_of
        && (number / step).fract() != 0.0
    {
        let text = || format!("should be a multiple of {step}");
        invalid(value, path, faults, text);
    }
}

fn junctors(value: &Value, checks: &Checks, path: &Path<'_>, faults: &mut Faults) {
    for schema in &checks.all_of {
        walk(value, schema, path, faults);
    }
    let fits = |schema: &Schema, faults: &mut Faults| {
        !faults.finds(|silent| walk(value, schema, path, silent))
    };
    if !checks.any_of.is_empty() && !checks.any_of.iter().any(|schema| fits(schema, faults)) {
        let text = || "must validate at least one schema (anyOf)".to_owned();
        invalid(value, path, faults, text);
    }
    let fitting = |faults: &mut Faults| {
        let one_of = checks.one_of.iter();
        one_of.filter(|schema| fits(schema, faults)).count()
    };
    if !checks.one_of.is_empty() && fitting(faults) != 1 {
        let text = || "must validate one and only one schema (oneOf)".to_owned();
        invalid(value, path, faults, text);
    }
    if checks
        .not
        .as_ref()
        .is_some_and(|schema| fits(schema, faults))
    {
        let text = || "must not validate the schema (not)".to_owned();
        invalid(value, path, faults, text);
    }
}
