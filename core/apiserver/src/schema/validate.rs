//! Checking an object against its schema, with the messages clients know.

use serde_json::Value;

use super::{Checks, Kind, List, Schema};
use crate::cause::Cause;

/// Faults reported for one object; more would not be read.
const MAX_FAULTS: usize = 50;

/// All faults of `value`, each at its path.
pub(crate) fn validate(value: &Value, schema: &Schema) -> Vec<Cause> {
    let mut faults = Vec::new();
    walk(value, schema, "", &mut faults);
    faults.truncate(MAX_FAULTS);
    faults
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn walk(value: &Value, schema: &Schema, path: &str, faults: &mut Vec<Cause>) {
    if value.is_null() && schema.nullable {
        return;
    }
    if !is(value, schema.kind) {
        let found = type_of(value);
        let text = format!(
            "{path} in body must be of type {}: \"{found}\"",
            schema.kind.name()
        );
        faults.push(Cause::invalid(path, &Value::String(found.into()), &text));
        return;
    }
    check(value, &schema.checks, path, faults);
    match value {
        Value::Object(map) => {
            for name in &schema.required {
                if map.get(name).is_none_or(|value| {
                    value.is_null() && schema.field(name).is_none_or(|field| !field.nullable)
                }) {
                    faults.push(Cause::required(&join(path, name)));
                }
            }
            for (name, value) in map {
                if let Some(field) = schema.field(name)
                    && !(value.is_null() && schema.required.contains(name))
                {
                    walk(value, field, &join(path, name), faults);
                }
            }
        }
        Value::Array(items) => {
            if let Some(of) = &schema.items {
                for (index, item) in items.iter().enumerate() {
                    walk(item, of, &format!("{path}[{index}]"), faults);
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
fn duplicates(items: &[Value], schema: &Schema, path: &str, faults: &mut Vec<Cause>) {
    let key_of = |item: &Value| -> Value {
        match &schema.list {
            List::Map(keys) => keys
                .iter()
                .map(|key| {
                    let default = || schema.items.as_ref()?.field(key)?.default.clone();
                    (
                        key.clone(),
                        item.get(key)
                            .cloned()
                            .or_else(default)
                            .unwrap_or(Value::Null),
                    )
                })
                .collect::<serde_json::Map<_, _>>()
                .into(),
            _ => item.clone(),
        }
    };
    if schema.list == List::Atomic {
        return;
    }
    let mut seen: Vec<Value> = Vec::with_capacity(items.len());
    let mut lookup = std::collections::HashSet::new();
    for (index, item) in items.iter().enumerate() {
        let key = key_of(item);
        if lookup.insert(key.to_string()) {
            seen.push(key);
        } else {
            faults.push(Cause::duplicate(&format!("{path}[{index}]"), &key));
        }
    }
}

fn check(value: &Value, checks: &Checks, path: &str, faults: &mut Vec<Cause>) {
    if let Some(allowed) = &checks.one_of_values
        && !allowed.contains(value)
    {
        faults.push(Cause::unsupported(path, value, allowed));
    }
    let mut invalid = |text: String| {
        faults.push(Cause::invalid(
            path,
            value,
            &format!("{path} in body {text}"),
        ))
    };
    if let Some(number) = value.as_f64() {
        bounds(number, checks, &mut invalid);
    }
    if let Some(text) = value.as_str() {
        let length = text.chars().count() as u64;
        if let (Some(least), _) = checks.length
            && length < least
        {
            invalid(format!("should be at least {least} chars long"));
        }
        if let (_, Some(most)) = checks.length
            && length > most
        {
            invalid(format!("should be at most {most} chars long"));
        }
        if let Some((pattern, Some(regex))) = &checks.pattern
            && !regex.is_match(text)
        {
            invalid(format!("should match '{pattern}'"));
        }
    }
    let sized = match value {
        Value::Array(items) => Some((items.len() as u64, checks.items, "items")),
        Value::Object(map) => Some((map.len() as u64, checks.properties, "properties")),
        _ => None,
    };
    if let Some((size, (least, most), what)) = sized {
        if let Some(least) = least.filter(|least| size < *least) {
            invalid(format!("should have at least {least} {what}"));
        }
        if let Some(most) = most.filter(|most| size > *most) {
            invalid(format!("should have at most {most} {what}"));
        }
    }
    if checks.unique
        && let Value::Array(items) = value
        && items
            .iter()
            .enumerate()
            .any(|(index, item)| items[..index].contains(item))
    {
        invalid("shouldn't contain duplicates".to_owned());
    }
    junctors(value, checks, path, faults);
}

fn bounds(number: f64, checks: &Checks, invalid: &mut impl FnMut(String)) {
    if let Some((least, exclusive)) = checks.minimum
        && (number < least || (exclusive && number == least))
    {
        let or_equal = if exclusive { "" } else { " or equal to" };
        invalid(format!("should be greater than{or_equal} {least}"));
    }
    if let Some((most, exclusive)) = checks.maximum
        && (number > most || (exclusive && number == most))
    {
        let or_equal = if exclusive { "" } else { " or equal to" };
        invalid(format!("should be less than{or_equal} {most}"));
    }
    if let Some(step) = checks.multiple_of
        && (number / step).fract() != 0.0
    {
        invalid(format!("should be a multiple of {step}"));
    }
}

fn junctors(value: &Value, checks: &Checks, path: &str, faults: &mut Vec<Cause>) {
    let fits = |schema: &&Schema| {
        let mut inner = Vec::new();
        walk(value, schema, path, &mut inner);
        inner.is_empty()
    };
    for schema in &checks.all_of {
        walk(value, schema, path, faults);
    }
    let mut invalid = |text: &str| {
        faults.push(Cause::invalid(
            path,
            value,
            &format!("{path} in body {text}"),
        ))
    };
    if !checks.any_of.is_empty() && !checks.any_of.iter().any(|schema| fits(&schema)) {
        invalid("must validate at least one schema (anyOf)");
    }
    if !checks.one_of.is_empty() && checks.one_of.iter().filter(fits).count() != 1 {
        invalid("must validate one and only one schema (oneOf)");
    }
    if checks.not.as_ref().is_some_and(|schema| fits(&&**schema)) {
        invalid("must not validate the schema (not)");
    }
}
